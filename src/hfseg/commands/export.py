# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg export`: writes an image model as an ONNX or torch.export program and compares the file with the model.

hfseg export --model DIR --format onnx --dynamic -o model.onnx      one file for all image sizes
hfseg export --model DIR --format onnx --dtype int8 -o small.onnx   weights of matrix products in eight bits
hfseg export --model DIR --format torch_export -o model.pt2         one size, with `--size HEIGHT WIDTH`
hfseg export --model DIR --format web -o page.html                  a page that segments images in the browser

The program takes normalized pixels (of CRIS also token ids, of Unpair-Seg also points, and embeddings of names) and
gives logits; the image processor does the rest, before and after. The report beside the file, FILE.json, says at two
image sizes (one without --dynamic) how far file and model are apart and whether all masks and classes are the same.
The exit code is 1 if they are not (with --dtype int8: if more than a tenth of the masks' pixels and classes differ).

through ONNX Runtime, one file for two image sizes: PRO-SCALE (ResNet and Swin backbones), VPNeXt, CRIS, MedDenseViT,
UniSegFormer, Unpair-Seg by points and by names. Windows of free size take minutes to trace. LaVin-DiT is a loop over a
network with guidance, not one forward pass, and cannot be exported.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from .running import command_line, describe, run_command

ENDINGS = {"onnx": ".onnx", "torch_export": ".pt2", "web": ".html"}


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="hfseg export", **describe(__doc__))
    parser.add_argument("--model", required=True, metavar="MODEL", help="shipped name, model folder or Hub id")
    parser.add_argument("--format", required=True, choices=sorted(ENDINGS))
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="FILE.onnx, FILE.pt2 or FILE.html")
    parser.add_argument("--dynamic", action="store_true", help="free batch size and image size")
    parser.add_argument("--size", nargs=2, type=int, metavar=("HEIGHT", "WIDTH"), help="of the traced image")
    parser.add_argument("--check_size", nargs=2, type=int, metavar=("HEIGHT", "WIDTH"), help="second size to compare")
    parser.add_argument("--batch_size", type=int, default=1, help="without --dynamic the only one")
    parser.add_argument(
        "--candidate_labels", nargs="+", default=(), metavar="NAME", help="classes that an open-vocabulary file carries"
    )
    parser.add_argument(
        "--dtype", choices=("float32", "int8"), default="float32", help="of the weights; int8: onnx only"
    )
    parser.add_argument("--runtime", metavar="ADDRESS", help="of ONNX Runtime Web, for --format web")
    parser.add_argument("--json", action="store_true", help="print the report as json")
    options = parser.parse_args(argv)
    ending = ENDINGS[options.format]
    if not options.output.endswith(ending):
        parser.error(f"--output is {options.output}; with --format {options.format} the name must end in {ending}")
    if options.check_size and not options.dynamic:
        parser.error("--check_size needs --dynamic: without it the file serves one size")
    if options.dtype == "int8" and options.format != "onnx":
        parser.error("--dtype int8 needs --format onnx")
    if options.batch_size < 1:
        parser.error(f"--batch_size is {options.batch_size}; give 1 or more")
    options.command = command_line("export", argv)
    return options


def run(options: argparse.Namespace) -> int:
    """Exports and prints the comparison; returns 1 if file and model differ."""
    if options.format == "web":
        from ..inference.web import RUNTIME, export_web

        runtime = options.runtime or RUNTIME
        report = export_web(options.model, options.output, runtime=runtime, command=options.command)
    else:
        from ..inference.export import export_folder

        report = export_folder(
            options.model,
            options.output,
            options.format,
            size=tuple(options.size) if options.size else None,
            check_size=tuple(options.check_size) if options.check_size else None,
            batch_size=options.batch_size,
            dynamic=options.dynamic,
            command=options.command,
            candidate_labels=options.candidate_labels,
            dtype=options.dtype,
        )
    if options.json:
        print(json.dumps(report, indent=1))
        return 0 if report["passed"] else 1
    megabytes = Path(report["file"]).stat().st_size / 1e6
    print(f"{report['file']}: {report['class']} as {options.format}, {megabytes:.1f} MB")
    for entry in report["sizes"]:
        worst = ", ".join(f"{name} {value:.1e}" for name, value in entry["max_difference"].items())
        print(
            f"  {entry['batch_size']} x {entry['height']} x {entry['width']}: largest difference {worst}; "
            f"{entry['different']} of {entry['decisions']} masks' pixels and classes differ"
        )
    if options.dtype == "int8":
        share = max(entry["different"] / entry["decisions"] for entry in report["sizes"])
        print(f"  int8 changes up to {100 * share:.2f} % of the masks' pixels and classes of these random images")
        return 0 if report["passed"] else 1
    same = f"  NOT equal within {report['tolerance']:g} and with identical masks"
    print("  equal" if report["passed"] else same)
    return 0 if report["passed"] else 1


def main(argv: Sequence[str] | None = None) -> int:
    """Entry of `hfseg export`."""
    options = parse(argv)
    return run_command(lambda: run(options))
