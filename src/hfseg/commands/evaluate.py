# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg evaluate`: evaluates any model of the zoo on a labeled dataset of its kind; the same as `hfseg.evaluate`.

hfseg evaluate --model DIR --dataset FOLDER --output_dir OUT                    panoptic, instance, semantic
hfseg evaluate --model CRIS --dataset refcoco:ROOT --split testA --output_dir OUT
hfseg evaluate --model UNPAIRSEG --dataset FOLDER --labels NAMES.json --output_dir OUT
hfseg evaluate --model UNPAIRSEG --task promptable --dataset segment-anything:ROOT --output_dir OUT
hfseg evaluate --model UNPAIRSEG --task promptable --dataset promptable-sets:ROOT --output_dir OUT
hfseg evaluate --model MEDDENSEVIT --dataset decathlon:ROOT --split val:0/5 --output_dir OUT
hfseg evaluate --model LAVIN_DIT --task depth_estimation --dataset nyuv2:ROOT --output_dir OUT
accelerate launch -m hfseg evaluate ...                                         processes share the images

Writes metrics.json (numbers, what they average over, options, versions, the command), per_class.csv, confusion.png,
overlays/ (the worst and best images, or the first), report.html (all of it on a page) and model_index.yml (results for
a model card). Datasets: NAME[:PATH][,key=value], see `hfseg.data.specs`.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from ..tasks import DTYPES
from .running import command_line, describe, refuse_old, run_command

# Options that are handed on only if they were given: a task that does not take one refuses it.
TASK_OPTIONS: dict[str, dict[str, Any]] = {
    "universal and semantic models": {
        "protocol": {"help": "default, coco-panoptic or cityscapes: an authors' protocol by name"},
        "mode": {"choices": ("single", "sliding", "multiscale"), "help": "how an image is processed; default: single"},
        "scales": {"type": float, "nargs": "+", "metavar": "S", "help": "multiscale: factors of the usual size"},
        "flip": {"action": "store_true", "help": "multiscale: mirrored images too"},
        "window": {"type": int, "nargs": 2, "metavar": ("H", "W"), "help": "of the network input"},
        "stride": {"type": int, "nargs": 2, "metavar": ("H", "W"), "help": "default: half a window"},
        "weighting": {"choices": ("mean", "gaussian"), "help": "of the pixels of a window; default: mean"},
        "average": {"choices": ("probabilities", "logits"), "help": "of windows and views; default: probabilities"},
        "no_resize": {"action": "store_true", "help": "images keep their own scale"},
        "match_labels": {"choices": ("id", "name"), "help": "where the classes differ from the dataset's"},
        "instance_annotations": {"metavar": "FILE", "help": "COCO instances json for AP; none: the segments"},
        "threshold": {"type": float, "help": "smallest score of a segment, or of a pixel of a referring mask"},
        "mask_threshold": {"type": float, "help": "smallest probability of a mask's pixels"},
        "overlap_mask_area_threshold": {"type": float, "help": "smallest visible share of a segment"},
    },
    "open-vocabulary models": {
        "labels": {"metavar": "FILE.json", "help": "other names of classes, {class: [name, ...]}"},
        "templates": {"nargs": "+", "metavar": "SET|SENTENCE", "help": "vild (default), simple, ... or sentences"},
    },
    "mask generation": {
        "points_per_side": {"type": int, "metavar": "N", "help": "of the grid of points; default: the model's"},
        "prompts": {"nargs": "+", "choices": ("point", "box", "grid", "everything"), "help": "default: all"},
    },
    "volumes": {
        "measures": {"nargs": "+", "choices": ("dice", "surface_distance", "froc"), "help": "default: the first two"},
        "tolerance": {"type": float, "metavar": "MM", "help": "of nsd; default: 1"},
        "lesion_class": {"type": int, "metavar": "ID", "help": "whose parts froc counts; default: 1"},
        "modality": {"choices": ("CT", "MR", "XR"), "help": "default: the image processor's"},
        "input_mode": {"help": "windows, 2.5d, slice or sequences; default: the image processor's"},
        "flips": {"type": int, "nargs": "+", "metavar": "AXIS", "help": "0 rows, 1 columns: mirrored slices too"},
        "largest_component": {"action": "store_true", "help": "keep the largest part of each class"},
    },
    "in-context models": {
        "examples": {"metavar": "SPEC|DIR", "help": "where examples come from; default: the dataset"},
        "num_examples": {"type": int, "metavar": "N", "help": "pairs per query; default: 4, or as many as in training"},
        "num_inference_steps": {"type": int, "metavar": "N", "help": "default: 19, as 20 time steps"},
        "guidance_scale": {"type": float, "help": "default: 1.5"},
        "height": {"type": int, "help": "of the images generated"},
        "width": {"type": int, "help": "of the images generated"},
        "seed": {"type": int, "help": "of noise, examples and degradations; default: 0"},
        "only": {"nargs": "+", "metavar": "METRIC", "help": "some of the task's metrics"},
        "depth_space": {"choices": ("disparity", "depth"), "help": "what its images show; default: the data decide"},
        "depth_cap": {"type": float, "metavar": "M", "help": "pixels farther than this do not count"},
        "depth_crop": {"choices": ("eigen",), "help": "part of NYUv2's images that counts; default: all"},
        "normals_per_image": {"action": "store_true", "help": "average normals per image first, not over all pixels"},
    },
}  # fmt: skip
RENAMED = {
    "--points": "--num_inference_steps",
    "--guidance": "--guidance_scale",
    "--numbers": "--only",
    "--images": "--overlays",
}


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="hfseg evaluate", allow_abbrev=False, **describe(__doc__))
    parser.add_argument("--model", required=True, metavar="MODEL", help="shipped name, model folder or Hub id")
    parser.add_argument("--dataset", required=True, metavar="SPEC", help="folder, file, or NAME[:PATH][,key=value]")
    parser.add_argument("--output_dir", required=True, metavar="DIR")
    parser.add_argument(
        "--task",
        help="panoptic, instance, semantic or all; promptable, medical; of an in-context model one of its 22 "
        "tasks; default: what model and labels allow",
    )
    parser.add_argument("--split", help="default: the validation split, or a single annotation file as it is")
    parser.add_argument("--limit", type=int, metavar="N", help="the first N samples only")
    parser.add_argument("--batch_size", type=int, help="samples (windows, slices) per forward pass")
    parser.add_argument("--num_workers", type=int, default=0, help="processes that read and resize images")
    parser.add_argument("--overlays", type=int, default=4, metavar="N", help="samples to draw; 0: none")
    parser.add_argument("--device", help="default: an accelerator if there is one")
    parser.add_argument("--dtype", default="float32", choices=DTYPES)
    for title, task_options in TASK_OPTIONS.items():
        group = parser.add_argument_group(title)
        for name, settings in task_options.items():
            group.add_argument(f"--{name}", default=argparse.SUPPRESS, **settings)
    refuse_old(parser, RENAMED)
    options = parser.parse_args(argv)
    options.command = command_line("evaluate", argv)
    return options


def run(options: argparse.Namespace) -> int:
    """Evaluates, writes the results and prints the most telling numbers."""
    from ..evaluation.runner import evaluate

    given = {name: value for name, value in vars(options).items() if name != "output_dir"}
    result = evaluate(given.pop("model"), given.pop("dataset"), **given)
    if result.is_main_process:
        result.save(options.output_dir)
        print(result.summary())
        record = result.record
        print(f"{record['number_of_images']} samples in {record['seconds']:.1f} s; results in {options.output_dir}.")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry of `hfseg evaluate` and `scripts/evaluate.py`."""
    options = parse(argv)
    return run_command(lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
