# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg predict`: segments pictures, videos and volumes with any model folder, and writes what it finds.

hfseg predict photo.jpg --model DIR -o OUT                          panoptic, or what the model does
hfseg predict FOLDER --model DIR --subtask semantic -o OUT          every picture of a folder
hfseg predict photo.jpg --model CRIS --text "the man in yellow" -o OUT
hfseg predict photo.jpg --model UNPAIRSEG --labels "dog,sofa" -o OUT
hfseg predict photo.jpg --model UNPAIRSEG --points 120,80 --box 10,20,200,180 -o OUT
hfseg predict photo.jpg --model LAVIN_DIT --examples PAIRS --task depth -o OUT
hfseg predict clip.mp4 --model DIR -o OUT                           ids stay with their objects
hfseg predict scan.nii.gz --model MEDDENSEVIT -o OUT

Of each picture: NAME_overlay.png, NAME_ids.png (16-bit, 0 for nothing) and NAME.json (COCO, run-length masks); of a
volume NAME_segmentation.nii.gz; of a video NAME_overlay.mp4 and a folder of id maps; of an in-context model
NAME_answer.png. The exit status is 0 if all went well, 1 if some input could not be segmented (the others are), 2 for
a wrong command line.
"""

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

import hfseg

from ..files.images import DEFAULT_MAX_PIXELS
from ..files.writing import write_json
from ..inference.clips import segment_video
from ..inference.files import Source, find_sources, write_image, write_prediction
from ..inference.predictor import SUBTASKS, Options, Predictor, Prompts
from ..inference.video import VideoReader
from ..inference.volume_pictures import fullest_slice, labels_in_ras, slice_prediction
from ..results.visual_formats import FORMATS
from ..volumes import MODALITIES, read_volume

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# What a damaged or unsuitable input can end in; anything else is a defect of ours and shows its trace.
INPUT_ERRORS = (ValueError, TypeError, OSError, ImportError, RuntimeError, MemoryError)


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
    about, _, examples = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="hfseg predict",
        description=about.partition(": ")[2],
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="picture, folder, video (mp4, ...) or volume (NIfTI)"
    )
    parser.add_argument("--model", required=True, metavar="DIR", help="model folder, or a name on the Hub")
    parser.add_argument("-o", "--output_dir", required=True, metavar="OUT", help="folder of the results")
    ask = parser.add_argument_group("what to ask")
    ask.add_argument("--text", nargs="+", default=[], metavar="EXPRESSION", help="referring: one mask per expression")
    ask.add_argument("--labels", type=label_list, default=[], help="open vocabulary: a,b,c, or 'a, synonym; b; c'")
    ask.add_argument("--points", nargs="+", type=numbers(2, "x,y"), default=[], metavar="X,Y", help="one mask each")
    ask.add_argument(
        "--box", "--boxes", dest="boxes", nargs="+", type=numbers(4, "x0,y0,x1,y1"), default=[],
        metavar="X0,Y0,X1,Y1", help="one mask each",
    )  # fmt: skip
    ask.add_argument("--examples", metavar="DIR", help="in-context: folder of <id>_input.png and <id>_target.png")
    ask.add_argument("--task", choices=sorted(FORMATS), help="in-context: what the answer's colours mean")
    how = parser.add_argument_group("how")
    how.add_argument("--subtask", choices=SUBTASKS, help="default: the first that the model does")
    how.add_argument("--threshold", type=float, help="smallest score; default: the processor's; 0: all")
    how.add_argument("--tile", type=int, metavar="PIXELS", help="large pictures: overlapping windows of this side")
    how.add_argument("--steps", type=int, help="in-context: points of time")
    how.add_argument("--seed", type=int, default=0, help="in-context: of the noise")
    how.add_argument("--modality", choices=MODALITIES, help="volumes whose file does not say it")
    how.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps; default: a GPU if there is one")
    how.add_argument("--dtype", choices=DTYPES, default="float32")
    how.add_argument("--max_pixels", type=int, default=DEFAULT_MAX_PIXELS, help="larger pictures are refused")
    how.add_argument("--frames", action="store_true", help="a folder of pictures is one video")
    how.add_argument("--max_frames", type=int, metavar="N", help="stop a video after N frames")
    out = parser.add_argument_group("output")
    out.add_argument("--opacity", type=float, default=0.5, help="of the overlay, 0 to 1")
    out.add_argument("--legend", action="store_true", help="names and colors beside the overlay")
    out.add_argument("--json", action="store_true", help="print what was found as json; all else goes to stderr")
    out.add_argument("--quiet", action="store_true", help="no progress bar")
    options = parser.parse_args(argv)
    if not 0 <= options.opacity <= 1:
        parser.error(f"--opacity is {options.opacity}; give 0 to 1")
    for name in ("max_pixels", "max_frames"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            parser.error(f"--{name} is {getattr(options, name)}; give 1 or more")
    return options


def find_device(name: str) -> torch.device:
    """The device of that name; "auto" takes a GPU if there is one.

    Raises:
        ValueError: No such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).split("\n")[0]
        raise ValueError(f"The device {name!r} is not to be had: {reason}") from error
    return device


class Job:
    """A parsed command line with its loaded model."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.folder = Path(options.output_dir)
        self.prompts = Prompts(
            options.text, options.labels, options.points, options.boxes, options.examples, options.task
        )
        self.how = Options(options.subtask, options.threshold, options.tile, options.steps, options.seed)
        find_sources(options.inputs, True, options.frames)  # a name that is wrong is said before a model is loaded
        promptable = bool(options.points or options.boxes) or not (options.labels or options.text)
        shown = sys.stderr.isatty() and not options.quiet
        device, dtype = find_device(options.device), DTYPES[options.dtype]
        self.predictor = Predictor(options.model, device, dtype, promptable, progress=shown)
        self.predictor.check(self.prompts, self.how)
        self.sources = find_sources(options.inputs, self.predictor.reads_volumes, options.frames)
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(f"--output_dir {self.folder} is a file; name a folder.")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.about = {
            "hfseg": hfseg.__version__,
            "model": str(self.predictor.folder),
            "class": self.predictor.class_name,
            "task": self.predictor.task,
            **{name: value for name, value in vars(self.how).items() if value is not None and name != "seed"},
        }

    def run(self, source: Source) -> dict[str, Any]:
        """Segments one input and writes its results; returns its entry of the `--json` output."""
        work = {"picture": self.picture, "video": self.video, "volume": self.volume}[source.kind]
        return {"input": str(source.path), "kind": source.kind, **work(source)}

    def picture(self, source: Source) -> dict[str, Any]:
        """A picture."""
        start = time.perf_counter()
        image = self.predictor.read(source.path, self.options.max_pixels)
        prediction = self.predictor(image, self.prompts, self.how)
        legend = self.options.legend
        files = write_prediction(prediction, source, self.folder, self.about, self.options.opacity, legend)
        shown = ("id", "label", "score", "area", "bbox")
        segments = [{name: segment[name] for name in shown} for segment in prediction.entries()]
        return {"outputs": [str(file) for file in files], "segments": segments, "seconds": time.perf_counter() - start}

    def video(self, source: Source) -> dict[str, Any]:
        """A video; a damaged end leaves the frames before it, and is an error."""
        reader = VideoReader(source.path, self.options.max_pixels)
        total = min(filter(None, (reader.count, self.options.max_frames)), default=None)
        with self.bar(total, source.stem, "frame") as bar:
            done = segment_video(
                reader,
                lambda frame: self.predictor(frame, self.prompts, self.how),
                self.folder,
                source.stem,
                self.about,
                opacity=self.options.opacity,
                track="semantic" not in (self.how.subtask, self.predictor.task),
                max_frames=self.options.max_frames,
                progress=bar.update,
            )
        if done.broken is not None:
            raise ValueError(f"{done.broken} The {len(done.frames)} frame(s) before are in {done.video}.")
        outputs = [str(path) for path in (done.video, done.ids, done.record)]
        return {"outputs": outputs, "frames": len(done.frames), "segments": done.objects, "seconds": done.seconds}

    def volume(self, source: Source) -> dict[str, Any]:
        """A volume."""
        predictor = self.predictor
        if not predictor.reads_volumes:
            raise ValueError(f"{source.path} is a volume; {predictor.class_name} segments pictures only.")
        from ..inference import predict_volume

        start = time.perf_counter()
        volume = read_volume(source.path, self.options.modality)
        file = self.folder / f"{source.stem}_segmentation.nii.gz"
        found = predict_volume(
            predictor.pipe.model, predictor.image_processor, volume, file, modality=self.options.modality,
            progress=not self.options.quiet and sys.stderr.isatty(),
        )  # fmt: skip
        seconds = time.perf_counter() - start
        labels, axis = labels_in_ras(found), found.record["axis"]
        prediction = slice_prediction(volume, labels, axis, fullest_slice(labels, axis), predictor.labels)
        # A slice is small; its drawing is for the eye.
        drawn = prediction.overlay(self.options.opacity, legend=True, minimum_side=512)
        picture = write_image(self.folder / f"{source.stem}_overlay.png", drawn)
        about = {**self.about, "notice": found.notice, "seconds": round(seconds, 3)}
        content = {
            "info": about,
            "record": found.record,
            "voxels_per_class": found.voxels_per_class,
            "milliliters_per_class": found.milliliters_per_class,
        }
        record = write_json(self.folder / f"{source.stem}.json", json.loads(json.dumps(content, default=_plain)))
        segments = [
            {"id": index, "label": label, "milliliters": found.milliliters_per_class[label]}
            for index, label in enumerate(found.milliliters_per_class)
        ]
        outputs = [str(file), str(picture), str(record)]
        return {"outputs": outputs, "segments": segments, "seconds": seconds, "notice": found.notice}

    def bar(self, total: int | None, name: str, unit: str) -> Any:
        """A progress bar on the terminal, nothing elsewhere."""
        hidden = self.options.quiet or not sys.stderr.isatty()
        return tqdm(total=total, desc=name[:24], unit=unit, disable=hidden, leave=False, file=sys.stderr)


def _plain(value: Any) -> Any:
    """Numbers of NumPy for json."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


@contextlib.contextmanager
def pillow_limit(pixels: int) -> Iterator[None]:
    """Lets Pillow open pictures as large as the user allows."""
    from PIL import Image

    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = max(before or 0, pixels)
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def run(options: argparse.Namespace) -> int:
    """Carries out one parsed command line; returns the exit status."""
    job = Job(options)
    start = time.perf_counter()
    results, errors = [], []
    with pillow_limit(options.max_pixels), job.bar(len(job.sources), "predict", "input") as bar:
        for source in job.sources:
            try:
                results.append(job.run(source))
            except INPUT_ERRORS as error:
                message = str(error).strip() or type(error).__name__
                message = message if source.path.name in message else f"{source.path}: {message}"
                errors.append({"input": str(source.path), "message": message})
                tqdm.write(f"error: {message}", file=sys.stderr)
            bar.update()
    if options.json:
        print(json.dumps({**job.about, "results": results, "errors": errors}, indent=1))
    else:
        for result in results:
            print(f"{result['input']}: {describe(result)}")
    seconds = time.perf_counter() - start
    summary = f"{len(results)} of {len(job.sources)} segmented in {seconds:.1f} s; results in {job.folder}."
    print(summary, file=sys.stderr if options.json or errors else sys.stdout)
    return 1 if errors else 0


def describe(result: dict[str, Any]) -> str:
    """What was found, in one line."""
    found: dict[str, int] = {}
    for segment in result["segments"]:
        found[segment["label"]] = found.get(segment["label"], 0) + 1
    words = ", ".join(name if count == 1 else f"{count} {name}" for name, count in list(found.items())[:12])
    words += ", ..." if len(found) > 12 else ""
    frames = f"{result['frames']} frames, " if "frames" in result else ""
    answered = any(file.endswith("_answer.png") for file in result["outputs"])
    return f"{frames}{words or ('answered' if answered else 'nothing found')} ({result['seconds']:.2f} s)"


def main(argv: Sequence[str] | None = None) -> int:
    """Entry of `hfseg predict`."""
    options = parse(argv)
    try:
        return run(options)
    except (ValueError, FileNotFoundError, ImportError, PermissionError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
