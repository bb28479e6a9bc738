# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg predict`: segments images, videos and volumes with any model, and writes the results.

hfseg predict photo.jpg --model DIR -o OUT                          panoptic, or what the model does
hfseg predict FOLDER --model DIR --subtask semantic -o OUT          every image of a folder
hfseg predict photo.jpg --model CRIS --text "the man in yellow" -o OUT
hfseg predict photo.jpg --model UNPAIRSEG --labels "dog,sofa" -o OUT
hfseg predict photo.jpg --model UNPAIRSEG --points 120,80 --box 10,20,200,180 -o OUT
hfseg predict photo.jpg --model LAVIN_DIT --examples PAIRS --task depth -o OUT
hfseg predict clip.mp4 --model DIR -o OUT                           ids stay with their objects
hfseg predict clip.mp4 --model LAVIN_DIT --examples CLIPS --task depth -o OUT
hfseg predict scan.nii.gz --model MEDDENSEVIT -o OUT
accelerate launch -m hfseg predict FOLDER ...                       processes share the inputs

Of each image: NAME_overlay.png, NAME_ids.png (16-bit, 0 for nothing) and NAME.json (COCO, run-length masks); of a
volume NAME_segmentation.nii.gz; of a video NAME_overlay.mp4 and a folder of id maps; of an in-context model
NAME_answer.png. Exit code 1: some inputs could not be segmented and are named; the others are done.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from ..files.images import DEFAULT_MAX_PIXELS
from ..tasks import DTYPES, FORMATS, MODALITIES, SUBTASKS
from .running import describe, refuse_old, run_command


def numbers(count: int, form: str) -> Any:
    """Builds a reader of `count` numbers separated by commas."""

    def read(text: str) -> tuple[float, ...]:
        try:
            values = tuple(float(part) for part in text.split(","))
        except ValueError:
            values = ()
        if len(values) != count:
            raise argparse.ArgumentTypeError(f"{text!r} is not {form}, {count} numbers with commas between them")
        return values

    return read


def label_list(text: str) -> list[str]:
    """Splits names of classes: at semicolons if there are any (commas then separate synonyms), else at commas."""
    return [part.strip() for part in text.split(";" if ";" in text else ",")]


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="hfseg predict", **describe(__doc__))
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="image, folder, video (mp4, ...) or volume (NIfTI)")
    parser.add_argument("--model", required=True, metavar="MODEL", help="shipped name, model folder or Hub id")
    parser.add_argument("-o", "--output_dir", required=True, metavar="OUT", help="folder of the results")
    ask = parser.add_argument_group("prompts and examples")
    ask.add_argument("--text", nargs="+", default=[], metavar="EXPRESSION", help="referring: one mask per expression")
    ask.add_argument("--labels", type=label_list, default=[], help="open vocabulary: a,b,c, or 'a, synonym; b; c'")
    ask.add_argument("--points", nargs="+", type=numbers(2, "x,y"), default=[], metavar="X,Y", help="one mask each")
    ask.add_argument(
        "--box", "--boxes", dest="boxes", nargs="+", type=numbers(4, "x0,y0,x1,y1"), default=[],
        metavar="X0,Y0,X1,Y1", help="one mask each",
    )  # fmt: skip
    ask.add_argument(
        "--negative_points", nargs="+", type=numbers(2, "x,y"), default=[], metavar="X,Y",
        help="with points or boxes: points that no mask may cover",
    )  # fmt: skip
    ask.add_argument(
        "--examples",
        metavar="DIR",
        help="in-context: folder of <id>_input.png and <id>_target.png; of clips .mp4 or folders",
    )
    ask.add_argument("--task", choices=FORMATS, help="in-context: what the colors of the generated image mean")
    how = parser.add_argument_group("inference")
    how.add_argument("--subtask", choices=SUBTASKS, help="default: the first that the model does")
    how.add_argument(
        "--threshold", type=float, help="smallest score; default: the processor's, 0.5 for instances; 0: all"
    )
    how.add_argument("--tile", type=int, metavar="PIXELS", help="large images: overlapping windows of this side")
    how.add_argument(
        "--scales", nargs="+", type=float, default=[], metavar="S", help="semantic: average over these sizes"
    )
    how.add_argument("--flip", action="store_true", help="semantic: average with the mirror image")
    how.add_argument("--box_zoom", type=float, metavar="Z", help="see the part around each box, Z of its sides wide")
    how.add_argument("--point_zoom", type=int, metavar="PIXELS", help="see parts around each point, from this side on")
    how.add_argument("--num_inference_steps", type=int, metavar="N", help="in-context")
    how.add_argument(
        "--guidance_scale", type=float, metavar="S", help="in-context: weight of the examples; default: 1.5"
    )
    how.add_argument(
        "--num_examples", type=int, metavar="N", help="in-context: of those given; default: 8, or as in training"
    )
    how.add_argument("--seed", type=int, default=0, help="in-context: seed of the noise")
    how.add_argument("--modality", choices=MODALITIES, help="volumes whose file does not say it")
    how.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps; default: a GPU if there is one")
    how.add_argument("--dtype", choices=DTYPES, default="float32")
    how.add_argument("--max_pixels", type=int, default=DEFAULT_MAX_PIXELS, help="larger images are refused")
    how.add_argument("--allow_urls", action="store_true", help="inputs may be http(s) addresses of public hosts")
    how.add_argument("--max_download", type=int, default=256, metavar="MB", help="larger downloads are refused")
    how.add_argument("--frames", action="store_true", help="a folder of images is one video")
    how.add_argument("--max_frames", type=int, metavar="N", help="stop a video after N frames")
    out = parser.add_argument_group("output")
    out.add_argument("--opacity", type=float, default=0.5, help="of the overlay, 0 to 1")
    out.add_argument("--legend", action="store_true", help="add a legend to the overlay")
    out.add_argument("--json", action="store_true", help="print the results as JSON; everything else goes to stderr")
    out.add_argument("--quiet", action="store_true", help="no progress bar")
    refuse_old(parser, {"--steps": "--num_inference_steps"})
    options = parser.parse_args(argv)
    if not 0 <= options.opacity <= 1:
        parser.error(f"--opacity is {options.opacity}; give 0 to 1")
    for name in ("max_pixels", "max_frames", "max_download"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            parser.error(f"--{name} is {getattr(options, name)}; give 1 or more")
    return options


def run(options: argparse.Namespace) -> int:
    """Segments the inputs; returns 1 if some failed."""
    from ..inference.predict import Job, JobOptions
    from ..inference.predict import describe as in_one_line
    from ..inference.predictor import Options, Prompts

    given = {name: vars(options)[name] for name in JobOptions.__dataclass_fields__ if name in vars(options)}
    prompts = {name: vars(options)[name] for name in Prompts.__dataclass_fields__}
    how = {name: vars(options)[name] for name in Options.__dataclass_fields__}
    job = Job(JobOptions(prompts=Prompts(**prompts), how=Options(**how), **given))
    job.work()
    if job.rank == 0:
        if options.json:
            print(json.dumps({**job.about, "results": job.results, "errors": job.errors}, indent=1))
        else:
            for result in job.results:
                print(f"{result['input']}: {in_one_line(result)}")
        summary = f"{len(job.results)} of {len(job.sources)} segmented in {job.seconds:.1f} s; results in {job.folder}."
        print(summary, file=sys.stderr if options.json or job.errors else sys.stdout)
    # The first process speaks for all: a launcher stops the others, and this one too, at the first code that is not 0.
    return 1 if job.errors and job.rank == 0 else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry of `hfseg predict`."""
    options = parse(argv)
    return run_command(lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
