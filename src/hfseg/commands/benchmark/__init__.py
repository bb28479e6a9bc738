# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Parameters, FLOPs, speed and learning of the models, beside published figures and beside transformers' own models."""

import argparse
import sys

import torch
import yaml

TABLES = ("proscale", "vpnext", "cris", "unpairseg", "lavin_dit", "meddensevit", "unisegformer")


def build_parser() -> argparse.ArgumentParser:
    """Builds the parser of `hfseg benchmark`."""
    parser = argparse.ArgumentParser(prog="hfseg benchmark", description=__doc__)
    commands = parser.add_subparsers(dest="what", required=True)

    def add(name: str, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--output", metavar="FILE.json", help="also write the result here, with its origin")
        return command

    for name, text in (
        ("params", "Parameter counts beside the published ones (models are built without memory)."),
        ("flops", "FLOPs by the paper's convention beside the published ones; nothing is computed."),
    ):
        counts = add(name, text)
        counts.add_argument("--table", choices=TABLES, default="proscale", help="whose tables")
        if name == "flops":
            counts.add_argument("--data", choices=["coco", "cityscapes"], help="of proscale: this table alone")

    speed = add("speed", "Speed, memory and agreement, both sides interleaved in this process.")
    speed.add_argument(
        "--model", choices=["proscale", "unisegformer", "vpnext", "cris", "lavin_dit"], default="proscale"
    )
    speed.add_argument(
        "--against",
        nargs="+",
        choices=[*(f"transformers:{peer}" for peer in ("mask2former", "eomt", "dpt", "upernet")), "authors:cris"],
        help="of proscale: mask2former; of vpnext: eomt, dpt, upernet (all of them); of unisegformer: its three; "
        "of cris: authors:cris",
    )
    speed.add_argument("--authors_code", metavar="DIR", help="checkout of the authors' repository, for authors:...")
    speed.add_argument(
        "--backbone", help="Swin-T (proscale's default), Swin-S, Swin-B, Swin-L, R50, R101; ViT-S (vpnext's), ViT-T/B/L"
    )
    speed.add_argument(
        "--rows",
        nargs="+",
        help="proscale's encoders: p1,p2,p3 or full (Mask2Former's) or lite; vpnext-vcr, vpnext-lite, vpnext",
    )
    speed.add_argument("--size", nargs=2, type=int, default=[512, 672], metavar=("HEIGHT", "WIDTH"))
    speed.add_argument("--batch", nargs="+", type=int, default=[1, 4])
    speed.add_argument("--rounds", type=int, default=5, help="timed rounds; every round times every side once")
    speed.add_argument("--warmup", type=int, default=1, help="rounds that are not counted")
    speed.add_argument("--threads", type=int, help="CPU threads of torch")
    speed.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32", help="by autocast")
    speed.add_argument("--device", default="cpu", help="cpu or cuda")
    speed.add_argument("--compile", action="store_true", help="torch.compile both sides")
    what = speed.add_mutually_exclusive_group()
    what.add_argument("--postprocess", action="store_true", help="panoptic post-processing instead of the forward pass")
    what.add_argument("--training", action="store_true", help="training steps instead of the forward pass")
    speed.add_argument("--segments", type=int, default=10, help="targets per image of a training step")
    speed.add_argument("--output-size", nargs=2, type=int, default=[480, 640], metavar=("HEIGHT", "WIDTH"))

    speed.add_argument("--pairs", type=int, default=8, help="lavin_dit: examples")
    speed.add_argument("--points", type=int, default=20, help="lavin_dit: points of time of a sample")
    speed.add_argument(
        "--lavin-size", default="tiny", choices=["tiny", "0.1B", "1.0B", "3.4B"], help="lavin_dit: size of J-DiT"
    )
    speed.add_argument(
        "--authors", metavar="FOLDER", help="lavin_dit: checkout of the authors' code to run beside ours"
    )

    masks = add("masks", "Automatic mask generation of Unpair-Seg, beside transformers' SAM or the authors' code.")
    masks.add_argument("--against", choices=["transformers:sam", "authors", "none"], default="transformers:sam")
    masks.add_argument("--authors_code", metavar="DIR", help="checkout of the authors' repository, for authors")
    masks.add_argument("--size", type=int, default=1024, help="longer side of the network input")
    masks.add_argument("--points", type=int, default=20, help="points per side of the grid")
    masks.add_argument("--rounds", type=int, default=3)
    masks.add_argument("--warmup", type=int, default=1, help="rounds that are not counted")
    masks.add_argument("--threads", type=int, help="CPU threads of torch")

    oracle = add("oracle", "1-point and 1-box oracle IoU of a trained model, untrained, and of squares.")
    oracle.add_argument("--model", required=True, metavar="DIR")
    oracle.add_argument(
        "--reader", default="hfseg.data.synthetic.shapes:ShapesDataset", help="package.module:attribute"
    )
    oracle.add_argument("--points", type=int, default=10, help="points per side of the grid")
    oracle.add_argument("arguments", nargs="*", metavar="key=value", help="of the reader, as YAML")

    words = add("open-vocabulary", "Unpair-Seg on shapes from nothing, with and without stage 2; trains what lacks.")
    words.add_argument("--folder", required=True, metavar="DIR", help="where the models stay")
    words.add_argument("--scenes", type=int, default=64, help="held-out scenes")

    context = add(
        "in-context", "Whether a trained LaVin-DiT reads its examples: right, wrong and no examples, on shapes."
    )
    context.add_argument("--model", required=True, metavar="FOLDER", help="folder of a pipeline")
    context.add_argument("--scenes", type=int, default=64, help="held-out scenes per task")
    context.add_argument("--points", type=int, default=20, help="points of time")
    context.add_argument("--guidance", type=float, default=1.5)
    context.add_argument("--picture", metavar="FILE.png", help="also draw a grid of answers")

    data = add("data", "Speed and memory of the input pipeline beside a plain torchvision v2 pipeline.")
    data.add_argument("--data", metavar="FOLDER", help="a folder that load_folder reads, instead of written pictures")
    data.add_argument("--split", default="train")
    data.add_argument("--transforms", choices=["instance", "semantic"], default="instance")
    data.add_argument("--crop", nargs=2, type=int, default=[512, 512], metavar=("HEIGHT", "WIDTH"))
    data.add_argument("--samples", type=int, default=64, help="samples per round")
    data.add_argument("--batch", type=int, default=4)
    data.add_argument("--rounds", type=int, default=5)
    data.add_argument("--workers", type=int, default=2)
    data.add_argument("--instances", type=int, default=200, help="of the memory measurement")
    data.add_argument("--target", type=int, default=1024, help="height and width of the memory measurement")

    referring = add("referring", "What a model learned of the expressions of the embedded scenes.")
    referring.add_argument("--model", required=True, metavar="DIR", help="folder of `train --recipe cris-tiny-shapes`")
    referring.add_argument("--scenes", type=int, default=300)
    referring.add_argument(
        "--scene_size", nargs=2, type=int, metavar=("HEIGHT", "WIDTH"), help="pixels; default: the processor's frame"
    )
    referring.add_argument("--grid", metavar="FILE.png", help="predictions beside the truth")

    learn = add("learn", "Training from scratch, both sides with the same data, updates and seed.")
    learn.add_argument("--against", choices=["transformers:mask2former"], default="transformers:mask2former")
    learn.add_argument("--data", metavar="FOLDER", help="pictures and labels instead of the embedded shapes")
    learn.add_argument("--minutes", type=float, help="training time of our side; the other does as many updates")
    learn.add_argument(
        "--sides", nargs="+", choices=["ours", "theirs"], default=["ours", "theirs"], help="which to train"
    )
    learn.add_argument("--architecture", choices=["proscale", "unisegformer", "vpnext"], default="proscale")
    learn.add_argument(
        "--modes",
        nargs="+",
        default=None,
        help="of vpnext: its parts, or transformers:segformer, ...:eomt; of unisegformer: exchange, no-exchange, "
        "pretrained",
    )
    learn.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="of vpnext's and unisegformer's runs")
    learn.add_argument("--pretrained", metavar="FOLDER", help="of unisegformer: a pre-training run for that mode")
    learn.add_argument("--keep", metavar="FOLDER", help="of unisegformer: where trained models stay")
    learn.add_argument("overrides", nargs="*", metavar="section.key=value", help="changes of the recipe")

    known = add("pretraining", "What a pre-trained UniSegFormer knows: hidden pixels, texts, classes of pixels.")
    known.add_argument("--model", required=True, metavar="DIR", help="of `train --recipe ...-tiny-shapes-pretraining`")
    known.add_argument("--picture", metavar="FILE.png", help="also draw reconstructions")
    known.add_argument("overrides", nargs="*", metavar="section.key=value", help="changes of the recipe")

    medical = add("medical", "Training on medical volumes from scratch, beside MONAI's networks.")
    medical.add_argument("--data", metavar="FOLDER", required=True, help="images/<split> and labels/<split> of NIfTI")
    medical.add_argument("--minutes", type=float, default=15.0, help="processor time of training, per side")
    medical.add_argument("--sides", nargs="+", default=["ours", "monai-unet", "monai-dynunet"])
    medical.add_argument("--keep", metavar="FOLDER", help="where trained models stay")
    medical.add_argument("overrides", nargs="*", metavar="section.key=value", help="changes of the recipe")

    volume = add("volume", "Segmenting a synthetic CT from file to file, beside MONAI's route with the same network.")
    volume.add_argument("--shape", nargs=3, type=int, default=[512, 512, 300], metavar=("X", "Y", "Z"))
    volume.add_argument("--size", nargs=2, type=int, default=[512, 512], metavar=("HEIGHT", "WIDTH"))
    volume.add_argument("--batch", type=int, default=4, help="slices per forward pass")
    volume.add_argument("--rounds", type=int, default=3)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Runs `hfseg benchmark`."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = build_parser().parse_args(arguments)
    from .report import provenance, report

    # Long measurements report after every part, so that none is lost.
    options.finished = lambda tables, notes: report(tables, notes, provenance(arguments), options.output)
    try:
        tables, notes, device = run(options)
    except (ValueError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    report(tables, notes, provenance(arguments, device), options.output)
    return 0


def run(options: argparse.Namespace) -> tuple[dict[str, list[dict]], list[str], str]:
    """Measures what the options ask for.

    Returns:
        Tables by title, notes on how to read them, and the device.

    Raises:
        ValueError: For options that do not go together.
    """
    if options.what in ("params", "flops") and options.table == "lavin_dit":
        from . import lavin_dit

        tables = {"Parameters": lavin_dit.parameter_table()} if options.what == "params" else lavin_dit.cost_tables()
        return tables, lavin_dit.NOTES, "cpu"
    if options.what == "in-context":
        from .in_context import in_context_table

        tables, notes = in_context_table(
            options.model, options.scenes, options.points, options.guidance, options.picture
        )
        return tables, notes, "cpu"
    if options.what == "speed" and options.model == "lavin_dit":
        from .lavin_dit import speed_tables

        return (*speed_tables(options), options.device)
    if options.what in ("params", "flops") and options.table == "vpnext":
        from . import vpnext_cost

        if options.what == "params":
            return {"Parameters": vpnext_cost.vpnext_parameter_table()}, vpnext_cost.NOTES[:1], "cpu"
        return vpnext_cost.vpnext_cost_tables(), vpnext_cost.NOTES, "cpu"
    if options.what == "params" and options.table == "meddensevit":
        from . import medical_cost

        return {"Parameters": medical_cost.parameter_table()}, medical_cost.NOTES, "cpu"
    if options.what in ("params", "flops") and options.table == "unisegformer":
        from . import unisegformer_cost

        if options.what == "params":
            return {"Parameters": unisegformer_cost.parameter_table()}, unisegformer_cost.NOTES[:1], "cpu"
        return {"Multiply-adds": unisegformer_cost.cost_table()}, unisegformer_cost.NOTES, "cpu"
    if options.what == "params" and options.table in ("unpairseg", "cris"):
        from . import cris, unpairseg

        module = cris if options.table == "cris" else unpairseg
        return {"Parameters": module.parameter_table()}, module.PARAMETER_NOTES, "cpu"
    if options.what == "masks":
        from .unpairseg import speed_table as mask_speed_table

        torch.set_num_threads(options.threads or torch.get_num_threads())
        grid = (options.size, options.points, options.rounds)
        return (*mask_speed_table(*grid, options.against, options.authors_code, warmup=options.warmup), "cpu")
    if options.what == "open-vocabulary":
        from .open_vocabulary import open_vocabulary_table

        return (*open_vocabulary_table(options.folder, options.scenes, options.finished), "cpu")
    if options.what == "oracle":
        from .unpairseg import oracle_table

        given = {key: yaml.safe_load(value) for key, _, value in (text.partition("=") for text in options.arguments)}
        return (*oracle_table(options.model, options.reader, given, options.points), "cpu")
    if options.what == "flops" and options.table == "cris":
        from . import cris

        return cris.cost_tables(), cris.COST_NOTES, "cpu"
    if options.what == "flops" and options.table != "proscale":
        raise ValueError(f"There is no table of FLOPs of {options.table}; the paper prints none.")
    if options.what == "params":
        from .parameters import NOTES, parameter_table

        return {"Parameters": parameter_table()}, NOTES, "cpu"
    if options.what == "flops":
        from .flops import NOTES, cost_tables

        return cost_tables(options.data), NOTES, "cpu"
    if options.what == "data":
        from .data import DataOptions, data_tables

        return (*data_tables(DataOptions.from_namespace(options)), "cpu")
    if options.what == "learn" and options.architecture == "vpnext":
        from .semantic_learning import DEFAULT_MODES, semantic_learning_table

        modes = options.modes or list(DEFAULT_MODES)
        return (
            *semantic_learning_table(options.data, options.overrides, modes, options.seeds, options.finished),
            "cpu",
        )
    if options.what == "learn" and options.architecture == "unisegformer":
        from .universal_learning import universal_learning_table

        modes = options.modes or ["exchange", "no-exchange", *(["pretrained"] if options.pretrained else [])]
        chosen = (modes, options.seeds, options.pretrained, options.keep, options.finished)
        return (*universal_learning_table(options.data, options.overrides, *chosen), "cpu")
    if options.what == "pretraining":
        from .pretraining import pretraining_tables

        return (*pretraining_tables(options.model, options.overrides, options.picture), "cpu")
    if options.what == "referring":
        from .referring import referring_tables

        return (*referring_tables(options.model, options.scenes, options.grid, options.scene_size), "cpu")
    if options.what == "learn":
        from .learning import learning_table

        return (*learning_table(options.data, options.minutes, options.overrides, options.sides), "cpu")
    if options.what == "volume":
        from .volumes import volume_table

        shape, size = tuple(options.shape), tuple(options.size)
        return (*volume_table(shape, size, options.batch, options.rounds), "cpu")
    if options.what == "medical":
        from .medical import medical_learning_table

        arguments = (options.data, options.minutes, options.sides, options.overrides, options.keep)
        return (*medical_learning_table(*arguments), "cpu")
    from .speed import SpeedOptions, forward_table, postprocess_table

    if options.model == "vpnext":
        from .semantic_speed import PEERS, VARIANTS, semantic_speed_table, vit

        options.backbone, options.rows = options.backbone or "ViT-S", options.rows or list(VARIANTS)
        peers = [name.partition(":")[2] for name in options.against or ()] or list(PEERS)
        vit(options.backbone)  # a wrong name ends here
        return (*semantic_speed_table(SpeedOptions.checked(options), options.rows, peers), options.device)
    if options.model == "cris":
        from .cris import speed_table as cris_speed_table

        if options.authors_code is None:
            raise ValueError("--model cris needs --authors_code DIR, a checkout of CRIS.pytorch.")
        options.backbone, options.rows = "Swin-T", []
        return (*cris_speed_table(SpeedOptions.checked(options), options.authors_code), options.device)
    options.backbone, options.rows = options.backbone or "Swin-T", options.rows or ["3,3,3", "1,1,1", "full"]
    if options.model == "unisegformer":
        from .unisegformer import speed_table

        return (*speed_table(SpeedOptions.checked(options)), options.device)
    if options.against not in (None, ["transformers:mask2former"]):
        raise ValueError("--model proscale is measured against transformers:mask2former only.")
    settings = SpeedOptions.from_namespace(options)
    if options.training:
        from .training_step import training_table

        return (*training_table(settings), options.device)
    return (*(postprocess_table if options.postprocess else forward_table)(settings), options.device)
