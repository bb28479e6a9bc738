# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg export`: writes an image model as an ONNX or torch.export program and compares the file with the model.

hfseg export --model DIR --format onnx --dynamic -o model.onnx      one file for all picture sizes
hfseg export --model DIR --format torch_export -o model.pt2         one size, with `--size HEIGHT WIDTH`

The program takes normalised pixels (of CRIS also token ids, of Unpair-Seg also points, and embeddings of names) and
gives logits; the image processor does the rest, before and after. The report beside the file, FILE.json, says at two
picture sizes (one without --dynamic) how far file and model are apart and whether all masks and classes are the same.
The exit status is 1 if they are not.

through ONNX Runtime, one file for two picture sizes: PRO-SCALE (ResNet and Swin backbones), VPNeXt, CRIS, MedDenseViT,
UniSegFormer, Unpair-Seg by points and by names. Windows of free size take minutes to trace. LaVin-DiT is a loop over a
network with guidance, not one forward pass, and cannot be exported.
"""

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import hfseg

from ..files.model_folders import load_model as load_model_folder
from ..files.writing import write_json
from ..inference.export import FORMATS, export_model, exportable, parity_report
from ..inference.predictor import find_class, find_task

TOLERANCE = 1e-4  # of logits, as a share of their largest value where that is above 1
ENDINGS = {"onnx": ".onnx", "torch_export": ".pt2"}


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    about, _, examples = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="hfseg export",
        description=about.partition(": ")[2],
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", required=True, metavar="DIR", help="model folder")
    parser.add_argument("--format", required=True, choices=FORMATS)
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="FILE.onnx or FILE.pt2")
    parser.add_argument("--dynamic", action="store_true", help="free batch size and picture size")
    parser.add_argument("--size", nargs=2, type=int, metavar=("HEIGHT", "WIDTH"), help="of the traced picture")
    parser.add_argument("--check_size", nargs=2, type=int, metavar=("HEIGHT", "WIDTH"), help="second size to compare")
    parser.add_argument("--batch_size", type=int, default=1, help="without --dynamic the only one")
    parser.add_argument("--json", action="store_true", help="print the report as json")
    options = parser.parse_args(argv)
    ending = ENDINGS[options.format]
    if not options.output.endswith(ending):
        parser.error(f"--output is {options.output}; with --format {options.format} the name must end in {ending}")
    if options.check_size and not options.dynamic:
        parser.error("--check_size needs --dynamic: without it the file serves one size")
    if options.batch_size < 1:
        parser.error(f"--batch_size is {options.batch_size}; give 1 or more")
    options.command = shlex.join(["hfseg", "export", *(sys.argv[1:] if argv is None else argv)])
    return options


def load_model(folder: str) -> Any:
    """Loads the model class that a folder names, in float32.

    Raises:
        FileNotFoundError, ValueError: As `find_task` and `load_model_folder`; or the folder is a diffusion pipeline.
    """
    task, model_type, name = find_task(folder)
    if task == "in-context":
        raise ValueError(
            f"{folder} holds {name}, a loop of denoising steps over a transformer and an autoencoder; there is no "
            "single forward pass to export. Use it through diffusers."
        )
    return load_model_folder(folder, find_class(model_type, name))


def default_size(folder: str, divisor: int, smallest: int) -> tuple[int, int]:
    """The size to which the folder's image processor brings pictures, rounded up to what the model takes."""
    size: dict[str, Any] = {}
    file = next(
        (f for n in ("preprocessor_config.json", "processor_config.json") if (f := Path(folder) / n).is_file()), None
    )
    if file is not None:
        content = json.loads(file.read_text(encoding="utf-8"))
        size = content.get("size") or content.get("image_processor", {}).get("size") or {}
    short = size.get("shortest_edge") or size.get("longest_edge") or 512
    sides = (size.get("height") or short, size.get("width") or short)
    height, width = (max(-(-int(side) // divisor) * divisor, smallest) for side in sides)
    return height, width


def run(options: argparse.Namespace) -> int:
    """Carries out one parsed command line; returns the exit status."""
    model = load_model(options.model)
    target = exportable(model)
    size = tuple(options.size) if options.size else default_size(options.model, target.divisor, target.smallest)
    file = export_model(target, options.output, options.format, size, options.batch_size, options.dynamic)
    places = [(options.batch_size, *size)]
    if options.dynamic:
        unit = target.divisor
        other = (max(size[0] // 2 // unit * unit, target.smallest), size[1] + unit)
        places = [(max(options.batch_size, 2), *size), (1, *(options.check_size or other))]
    report = parity_report(target, file, options.format, places)
    difference = max(
        value / max(1.0, entry["largest_value"][name])
        for entry in report
        for name, value in entry["max_difference"].items()
    )
    different = sum(entry["different"] for entry in report)
    passed = difference <= TOLERANCE and different == 0
    content = {
        "command": options.command,
        "hfseg": hfseg.__version__,
        "torch": torch.__version__,
        "class": type(model).__name__,
        "format": options.format,
        "dynamic": options.dynamic,
        "inputs": {name: list(value.shape) for name, value in target.inputs(*places[0]).items()},
        "free_axes": {name: list(axes) for name, axes in target.dynamic.items()} if options.dynamic else {},
        "outputs": list(target.outputs),
        "tolerance": TOLERANCE,
        "passed": passed,
        "sizes": report,
    }
    write_json(Path(f"{file}.json"), content)
    if options.json:
        print(json.dumps(content, indent=1))
    else:
        print(f"{file}: {type(model).__name__} as {options.format}, {file.stat().st_size / 1e6:.1f} MB")
        for entry in report:
            worst = ", ".join(f"{name} {value:.1e}" for name, value in entry["max_difference"].items())
            print(
                f"  {entry['batch_size']} x {entry['height']} x {entry['width']}: largest difference {worst}; "
                f"{entry['different']} of {entry['decisions']} masks' pixels and classes differ"
            )
        print("  equal" if passed else f"  NOT equal within {TOLERANCE:g} and with identical masks")
    return 0 if passed else 1


def main(argv: Sequence[str] | None = None) -> int:
    """Entry of `hfseg export`."""
    options = parse(argv)
    try:
        return run(options)
    except (ValueError, FileNotFoundError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
