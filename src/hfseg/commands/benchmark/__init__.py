# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Parameters, FLOPs, speed and learning of the models, beside published figures and beside transformers' own models."""

import argparse
import sys

TABLES = ("proscale",)


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
        add(name, text).add_argument("--table", choices=TABLES, default="proscale", help="whose tables")

    speed = add("speed", "Speed, memory and agreement, both sides interleaved in this process.")
    speed.add_argument("--model", choices=["proscale"], default="proscale")
    speed.add_argument("--against", choices=["transformers:mask2former"], default="transformers:mask2former")
    speed.add_argument("--backbone", default="Swin-T", help="Swin-T, Swin-S, Swin-B, Swin-L, R50 or R101")
    speed.add_argument(
        "--rows",
        nargs="+",
        default=["3,3,3", "1,1,1", "full"],
        help="encoders: p1,p2,p3 or full (Mask2Former's) or lite",
    )
    speed.add_argument("--size", nargs=2, type=int, default=[512, 672], metavar=("HEIGHT", "WIDTH"))
    speed.add_argument("--batch", nargs="+", type=int, default=[1, 4])
    speed.add_argument("--rounds", type=int, default=5, help="timed rounds; every round times every side once")
    speed.add_argument("--warmup", type=int, default=1, help="rounds that are not counted")
    speed.add_argument("--threads", type=int, help="CPU threads of torch")
    speed.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32", help="by autocast")
    speed.add_argument("--device", default="cpu", help="cpu or cuda")
    speed.add_argument("--compile", action="store_true", help="torch.compile both sides")
    speed.add_argument(
        "--postprocess", action="store_true", help="panoptic post-processing instead of the forward pass"
    )
    speed.add_argument("--output-size", nargs=2, type=int, default=[480, 640], metavar=("HEIGHT", "WIDTH"))

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

    learn = add("learn", "Training from scratch, both sides with the same data, updates and seed.")
    learn.add_argument("--against", choices=["transformers:mask2former"], default="transformers:mask2former")
    learn.add_argument("--data", metavar="FOLDER", help="pictures and labels instead of the embedded shapes")
    learn.add_argument("--minutes", type=float, help="training time of our side; the other does as many updates")
    learn.add_argument(
        "--sides", nargs="+", choices=["ours", "theirs"], default=["ours", "theirs"], help="which to train"
    )
    learn.add_argument("overrides", nargs="*", metavar="section.key=value", help="changes of the recipe")

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
    try:
        tables, notes, device = run(options)
    except (ValueError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    from .report import provenance, report

    report(tables, notes, provenance(arguments, device), options.output)
    return 0


def run(options: argparse.Namespace) -> tuple[dict[str, list[dict]], list[str], str]:
    """Measures what the options ask for.

    Returns:
        Tables by title, notes on how to read them, and the device.

    Raises:
        ValueError: For options that do not go together.
    """
    if options.what == "params":
        from .parameters import NOTES, parameter_table

        return {"Parameters": parameter_table()}, NOTES, "cpu"
    if options.what == "flops":
        from .flops import NOTES, cost_tables

        return cost_tables(), NOTES, "cpu"
    if options.what == "data":
        from .data import DataOptions, data_tables

        return (*data_tables(DataOptions.from_namespace(options)), "cpu")
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

    settings = SpeedOptions.from_namespace(options)
    return (*(postprocess_table if options.postprocess else forward_table)(settings), options.device)
