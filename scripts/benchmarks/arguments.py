# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The arguments of `python scripts/benchmark.py`, a function per kind of measurement."""

import argparse
from collections.abc import Callable

TABLES = ("proscale", "vpnext", "cris", "unpairseg", "lavin_dit", "meddensevit", "unisegformer")


def counts_arguments(counts: argparse.ArgumentParser) -> None:
    """Adds those of both tables of counts."""
    counts.add_argument("--table", choices=TABLES, default="proscale", help="whose tables")


def flops_arguments(counts: argparse.ArgumentParser) -> None:
    """Adds those of the tables of FLOPs."""
    counts_arguments(counts)
    counts.add_argument("--data", choices=["coco", "cityscapes"], help="of proscale: this table alone")


def speed_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds those of `speed`."""
    parser.add_argument(
        "--model", choices=["proscale", "unisegformer", "vpnext", "cris", "lavin_dit"], default="proscale"
    )
    parser.add_argument(
        "--against",
        nargs="+",
        choices=[*(f"transformers:{peer}" for peer in ("mask2former", "eomt", "dpt", "upernet")), "authors:cris"],
        help="of proscale: mask2former; of vpnext: eomt, dpt, upernet (all of them); of unisegformer: its three; "
        "of cris: authors:cris",
    )
    parser.add_argument("--authors_code", metavar="DIR", help="checkout of the authors' repository, for authors:...")
    parser.add_argument(
        "--backbone", help="Swin-T (proscale's default), Swin-S, Swin-B, Swin-L, R50, R101; ViT-S (vpnext's), ViT-T/B/L"
    )
    parser.add_argument(
        "--rows",
        nargs="+",
        help="proscale's encoders: p1,p2,p3, full (M2F's), lite, lite-lpe, hybrid; vpnext-vcr, vpnext-lite, ...",
    )
    parser.add_argument("--size", nargs=2, type=int, default=[512, 672], metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 4])
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds; every round times every side once")
    parser.add_argument("--warmup", type=int, default=1, help="rounds that are not counted")
    parser.add_argument("--threads", type=int, help="CPU threads of torch")
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32", help="by autocast")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--compile", action="store_true", help="torch.compile both sides")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--postprocess", action="store_true", help="panoptic post-processing instead of the forward pass")
    what.add_argument("--training", action="store_true", help="training steps instead of the forward pass")
    parser.add_argument("--segments", type=int, default=10, help="targets per image of a training step")
    text = "encoder layers of the peer of a training step; default: as many as ours (its own default is 6)"
    parser.add_argument("--peer_layers", type=int, metavar="N", help=text)
    parser.add_argument("--output-size", nargs=2, type=int, default=[480, 640], metavar=("HEIGHT", "WIDTH"))

    parser.add_argument("--pairs", type=int, default=8, help="lavin_dit: examples")
    parser.add_argument("--points", type=int, default=20, help="lavin_dit: time steps of a sample")
    parser.add_argument(
        "--lavin-size", default="tiny", choices=["tiny", "0.1B", "1.0B", "3.4B"], help="lavin_dit: size of J-DiT"
    )
    parser.add_argument(
        "--authors", metavar="FOLDER", help="lavin_dit: checkout of the official code to run beside ours"
    )


def masks_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds those of `masks`."""
    parser.add_argument("--against", choices=["transformers:sam", "authors", "none"], default="transformers:sam")
    parser.add_argument("--authors_code", metavar="DIR", help="checkout of the authors' repository, for authors")
    parser.add_argument("--size", type=int, default=1024, help="longer side of the network input")
    parser.add_argument("--points", type=int, default=20, help="points per side of the grid")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--warmup", type=int, default=1, help="rounds that are not counted")
    parser.add_argument("--threads", type=int, help="CPU threads of torch")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32", help="of the weights")


def oracle_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds those of `oracle`."""
    parser.add_argument("--model", required=True, metavar="DIR")
    parser.add_argument(
        "--reader", default="hfseg.data.synthetic.shapes:ShapesDataset", help="package.module:attribute"
    )
    parser.add_argument("--points", type=int, default=10, help="points per side of the grid")
    parser.add_argument("arguments", nargs="*", metavar="key=value", help="of the reader, as YAML")


def open_vocabulary_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds those of `open-vocabulary`."""
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--folder", metavar="DIR", help="Unpair-Seg: where the models stay")
    which.add_argument("--model", metavar="FOLDER", help="PRO-SCALE with a CLIP: mask class tokens beside crops")
    parser.add_argument("--scenes", type=int, default=64, help="held-out scenes")
    parser.add_argument("--image", metavar="FILE.png", help="of --model: the worst and the best scenes")


def in_context_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds those of `in-context`."""
    parser.add_argument("--model", required=True, metavar="FOLDER", help="folder of a pipeline")
    parser.add_argument("--scenes", type=int, default=64, help="held-out scenes per task")
    parser.add_argument("--points", type=int, default=20, help="time steps")
    parser.add_argument("--guidance", type=float, default=1.5)
    parser.add_argument("--image", metavar="FILE.png", help="also draw a grid of answers")


def data_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds those of `data`."""
    parser.add_argument("--data", metavar="FOLDER", help="a folder that load_folder reads, instead of written images")
    parser.add_argument("--split", default="train")
    parser.add_argument("--transforms", choices=["instance", "semantic"], default="instance")
    parser.add_argument("--crop", nargs=2, type=int, default=[512, 512], metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--samples", type=int, default=64, help="samples per round")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--instances", type=int, default=200, help="of the memory measurement")
    parser.add_argument("--target", type=int, default=1024, help="height and width of the memory measurement")


def referring_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds those of `referring`."""
    parser.add_argument("--model", required=True, metavar="DIR", help="folder of `train --recipe cris-tiny-shapes`")
    parser.add_argument("--scenes", type=int, default=300)
    parser.add_argument(
        "--scene_size", nargs=2, type=int, metavar=("HEIGHT", "WIDTH"), help="pixels; default: the processor's frame"
    )
    parser.add_argument("--grid", metavar="FILE.png", help="predictions and ground truth")


def learn_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds those of `learn`."""
    parser.add_argument("--against", choices=["transformers:mask2former"], default="transformers:mask2former")
    parser.add_argument("--data", metavar="FOLDER", help="images and labels instead of the embedded shapes")
    parser.add_argument("--minutes", type=float, help="training time of our side; the other does as many updates")
    parser.add_argument(
        "--sides", nargs="+", choices=["ours", "theirs"], default=["ours", "theirs"], help="which to train"
    )
    parser.add_argument("--architecture", choices=["proscale", "unisegformer", "vpnext"], default="proscale")
    parser.add_argument(
        "--modes",
        nargs="+",
        default=None,
        help="of vpnext: its parts, or transformers:segformer, ...:eomt; of unisegformer: exchange, no-exchange, "
        "pretrained",
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="of vpnext's and unisegformer's runs")
    parser.add_argument("--pretrained", metavar="FOLDER", help="of unisegformer: a pre-training run for that mode")
    parser.add_argument("--keep", metavar="FOLDER", help="of unisegformer: where trained models stay")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="changes of the recipe")


def pretraining_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds those of `pretraining`."""
    parser.add_argument("--model", required=True, metavar="DIR", help="of `train --recipe ...-tiny-shapes-pretraining`")
    parser.add_argument("--image", metavar="FILE.png", help="also draw reconstructions")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="changes of the recipe")


def variants_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds those of `variants`."""
    parser.add_argument("--recipe", required=True, help="name or file")
    text = "a name, or a name and changes of the recipe: 'full: model.config.encoder=full'; the first is compared with"
    parser.add_argument("--variants", nargs="+", required=True, metavar="NAME[: CHANGES]", help=text)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--metrics", nargs="+", help="columns (default: every number of the evaluation)")
    parser.add_argument("--image_size", nargs=2, type=int, metavar=("HEIGHT", "WIDTH"), help="times a forward pass")
    parser.add_argument("--keep", metavar="FOLDER", help="where runs stay; finished ones are read, not trained again")
    text = "measure every trained model once more with these changes"
    parser.add_argument("--again", nargs="+", default=[], metavar="section.key=value", help=text)
    parser.add_argument("--overrides", nargs="+", default=[], metavar="section.key=value", help="changes for all")


def medical_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds those of `medical`."""
    parser.add_argument("--data", metavar="FOLDER", required=True, help="images/<split> and labels/<split> of NIfTI")
    parser.add_argument("--minutes", type=float, default=15.0, help="processor time of training, per side")
    parser.add_argument("--sides", nargs="+", default=["ours", "monai-unet", "monai-dynunet"])
    parser.add_argument("--keep", metavar="FOLDER", help="where trained models stay")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="changes of the recipe")


def volume_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds those of `volume`."""
    parser.add_argument("--shape", nargs=3, type=int, default=[512, 512, 300], metavar=("X", "Y", "Z"))
    parser.add_argument("--size", nargs=2, type=int, default=[512, 512], metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--batch", type=int, default=4, help="slices per forward pass")
    parser.add_argument("--rounds", type=int, default=3)


def distill_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds those of `distill`."""
    parser.add_argument("--teacher", required=True, metavar="FOLDER", help="of a Mask2Former; trained if empty")
    parser.add_argument("--teacher_updates", type=int, default=2000)
    parser.add_argument(
        "--minutes", nargs=2, type=float, default=[5.0, 15.0], help="CPU minutes: on the way, and whole"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])


def pipelines_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds those of `pipelines`."""
    parser.add_argument("--sizes", nargs="+", default=["480x640", "3000x4000"], metavar="HEIGHTxWIDTH")
    parser.add_argument("--rounds", type=int, default=3, help="measured images per side, after one that is not counted")


def waits_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds those of `waits`."""
    choices = ["loss", "metrics", "windows", "postprocess"]
    parser.add_argument("--parts", nargs="+", choices=choices, default=choices, help="which tables")
    parser.add_argument("--rounds", type=int, default=3, help="timed rounds, after one that is not counted")
    parser.add_argument("--tiny", action="store_true", help="small sizes: shows that it runs")


def gpu_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds those of `gpu`."""
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="bfloat16", help="by autocast")
    parser.add_argument("--minutes", type=float, default=8, help="after which no further part is begun")
    parser.add_argument("--only", nargs="+", metavar="PART", help="of these titles alone")
    parser.add_argument("--tiny", action="store_true", help="small sizes in float32: shows that it runs")


def precision_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds those of `precision`."""
    choices = ["proscale", "vpnext", "unisegformer", "meddensevit", "cris", "unpairseg", "lavin_dit"]
    parser.add_argument("--architectures", nargs="+", choices=choices, default=choices)
    parser.add_argument("--rounds", type=int, default=3, help="timed rounds, after one that is not counted")
    parser.add_argument("--scenes", type=int, default=40, help="held-out scenes per shipped model")
    parser.add_argument("--volumes", metavar="DIR", help="labeled volumes with splits, for the medical model")


def growth_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds those of `growth`."""
    choices = ["side", "targets", "queries", "names", "folder"]
    parser.add_argument("--parts", nargs="+", choices=choices, default=choices, help="what grows")
    parser.add_argument("--rounds", type=int, default=3, help="timed rounds, after one that is not counted")
    parser.add_argument("--tiny", action="store_true", help="small sizes: shows that it runs")


def lavin_curves_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds those of `lavin-curves`."""
    choices = ["latency", "context", "scaling"]
    parser.add_argument("--parts", nargs="+", choices=choices, default=choices, help="which figures")
    parser.add_argument("--plots", metavar="DIR", default="docs/figures", help="where the PNG files go")
    parser.add_argument("--model", metavar="FOLDER", help="a trained pipeline; default: as the module says")
    parser.add_argument(
        "--lavin_size",
        default="tiny",
        choices=["tiny", "0.1B", "1.0B", "3.4B"],
        help="latency: untrained, of this size",
    )
    parser.add_argument("--sides", nargs="+", type=int, default=[256, 320, 384, 448, 512], help="latency: pixels")
    parser.add_argument("--pairs", type=int, default=8, help="latency: examples")
    parser.add_argument("--steps", type=int, default=19, help="inference steps")
    parser.add_argument("--rounds", type=int, default=3, help="latency: timed rounds, after one that is not counted")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32")
    parser.add_argument("--data", default="shapes:num_scenes=24", metavar="SPEC", help="context: queries and examples")
    parser.add_argument("--counts", nargs="+", type=int, default=list(range(1, 13)), help="context: pairs")
    parser.add_argument("--limit", type=int, default=24, help="context, scaling: queries per task")
    parser.add_argument("--updates", type=int, default=1000, help="scaling: of each size")
    parser.add_argument("--every", type=int, help="scaling: updates between points; default: eight points")
    parser.add_argument("--keep", metavar="FOLDER", help="scaling: where the trained models stay")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="scaling: changes of the recipe")


# Kind of measurement -> what it is, and its arguments.
KINDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
    "params": ("Parameter counts beside the published ones (models are built without memory).", counts_arguments),
    "flops": ("FLOPs by the paper's convention beside the published ones; nothing is computed.", flops_arguments),
    "speed": ("Speed, memory and agreement, both sides interleaved in this process.", speed_arguments),
    "masks": (
        "Automatic mask generation of Unpair-Seg, beside transformers' SAM or the official code.",
        masks_arguments,
    ),
    "oracle": ("1-point and 1-box oracle IoU of a trained model, untrained, and of squares.", oracle_arguments),
    "open-vocabulary": (
        "Unpair-Seg on shapes with and without stage 2, training what lacks; or names of PRO-SCALE's masks.",
        open_vocabulary_arguments,
    ),
    "in-context": (
        "Whether a trained LaVin-DiT reads its examples: right, wrong and no examples, on shapes.",
        in_context_arguments,
    ),
    "lavin-curves": (
        "LaVin-DiT: latency with the VAE, number of examples and model size, as tables and PNG.",
        lavin_curves_arguments,
    ),
    "data": ("Speed and memory of the input pipeline beside a plain torchvision v2 pipeline.", data_arguments),
    "referring": ("What a model learned of the expressions of the embedded scenes.", referring_arguments),
    "learn": ("Training from scratch, both sides with the same data, updates and seed.", learn_arguments),
    "variants": ("Variants of one recipe, trained alike with several seeds.", variants_arguments),
    "pretraining": (
        "What a pre-trained UniSegFormer knows: hidden pixels, texts, classes of pixels.",
        pretraining_arguments,
    ),
    "pipelines": (
        "From JPEG bytes to masks, a Mask2Former of transformers and the PRO-SCALE made of it.",
        pipelines_arguments,
    ),
    "gpu": ("All tables of a machine with one GPU, in one command of a few minutes.", gpu_arguments),
    "waits": ("Losses, metrics, sliding windows and post-processing, beside peers.", waits_arguments),
    "precision": ("float32, bfloat16 and int8 on a CPU: time, memory, masks, quality.", precision_arguments),
    "growth": ("How cost grows with image size, targets, queries, names and images in a folder.", growth_arguments),
    "distill": ("A small PRO-SCALE from a Mask2Former on shapes, with and without it as teacher.", distill_arguments),
    "medical": ("Training on medical volumes from scratch, beside MONAI's networks.", medical_arguments),
    "volume": (
        "Segmenting a synthetic CT from file to file, beside MONAI's route with the same network.",
        volume_arguments,
    ),
}


def build_parser() -> argparse.ArgumentParser:
    """Builds the parser of `scripts/benchmark.py`."""
    parser = argparse.ArgumentParser(
        prog="benchmark.py",
        description="Parameters, FLOPs, speed and learning of the models, beside published figures and other code.",
    )
    commands = parser.add_subparsers(dest="what", required=True)
    for name, (text, add_arguments) in KINDS.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--output", metavar="FILE.json", help="also write the result here, with its origin")
        add_arguments(command)
    return parser
