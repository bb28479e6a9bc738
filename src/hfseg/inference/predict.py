# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg.predict`, and the job of `hfseg predict`: from images, videos and volumes to what a model finds in them.

The way of an option: a keyword -> `Prompts` or `Options` -> the model's pipeline -> `Prediction` -> a file.
"""

import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from tqdm import tqdm

from ..files.downloads import download, is_address
from ..files.images import DEFAULT_MAX_PIXELS
from ..files.writing import write_json
from ..volumes import read_volume
from .clips import segment_video
from .files import Source, find_sources, refuse_results_among_inputs, write_image, write_prediction
from .loading import LoadedModel
from .predictor import Options, Prediction, Predictor, Prompts
from .processes import gathered, join_processes, number_of_processes, starting_together
from .video import VideoReader
from .volume_images import fullest_slice, labels_in_ras, slice_prediction
from .volumes import VolumeSegmentation, predict_volume

__all__ = ["Job", "JobOptions", "describe", "find_device", "predict"]

# What a damaged or unsuitable input can end in; anything else is a defect of ours and shows its trace.
INPUT_ERRORS = (ValueError, TypeError, OSError, ImportError, RuntimeError, MemoryError)


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
        raise ValueError(f"The device {name!r} is not available: {reason}") from error
    return device


def predict(
    model: str | os.PathLike[str] | LoadedModel | Predictor,
    images: Any,
    *,
    text: str | Sequence[str] = (),
    labels: Sequence[str] = (),
    points: Sequence[Sequence[float]] = (),
    boxes: Sequence[Sequence[float]] = (),
    negative_points: Sequence[Sequence[float]] = (),
    examples: Any = None,
    task: str | None = None,
    subtask: str | None = None,
    threshold: float | None = None,
    tile: int | None = None,
    num_inference_steps: int | None = None,
    guidance_scale: float | None = None,
    num_examples: int | None = None,
    scales: Sequence[float] = (),
    flip: bool = False,
    box_zoom: float | None = None,
    point_zoom: int | None = None,
    seed: int = 0,
    modality: str | None = None,
    device: str = "auto",
    dtype: torch.dtype | str = torch.float32,
) -> Any:
    """Segments images (and volumes) with any model of the zoo.

    Args:
        model: Shipped name, folder, Hub id, what `hfseg.load` returned, or a `Predictor`, which is not loaded again.
        images: An image as a path, PIL image or array (H, W, 3) uint8; a NIfTI file for a model of volumes; or a list.
        text: Expressions, for referring models: one mask each.
        labels: Names of classes, for open-vocabulary models.
        points, boxes: (x, y) or (x0, y0, x1, y1) in pixels of the image, for models of masks: one mask each.
        negative_points: (x, y) that none of these masks may cover.
        examples: Folder of pairs, or pairs of images or clips, for in-context models.
        task: What the generated image of an in-context model means, e.g. "depth".
        subtask: "panoptic", "instance" or "semantic"; default: the model's first.
        threshold: Smallest score; default: the processor's.
        tile: Side of overlapping windows, for large images.
        scales, flip: Test-time augmentation of class maps, see `Options`.
        box_zoom, point_zoom: Masks of boxes and points from parts of the image around each; see `Options`.
        num_inference_steps, guidance_scale, num_examples, seed: Of in-context models; see `Options`.
        modality: Of volumes whose file does not say it.
        device: "auto" takes a GPU if there is one.
        dtype: Of the model's weights; float32, with a warning, on a CPU without instructions for it.

    Returns:
        A `Prediction` (of a volume a `VolumeSegmentation`), or a list of them for a list.

    Raises:
        FileNotFoundError, ValueError: The model, an input or a prompt is not right.

    Example:
        >>> import hfseg
        >>> prediction = hfseg.predict("path/to/model", "photo.jpg")  # doctest: +SKIP
        >>> prediction.overlay().save("overlay.png")  # doctest: +SKIP
    """
    words = [text] if isinstance(text, str) else text
    prompts = Prompts(words, labels, points, boxes, examples, task, negative_points)
    options = Options(subtask, threshold, tile, num_inference_steps, seed, guidance_scale, num_examples, scales, flip)
    options = replace(options, box_zoom=box_zoom, point_zoom=point_zoom)
    if isinstance(model, Predictor):
        predictor = model
    else:
        promptable = bool(len(points) or len(boxes)) or not (prompts.labels or prompts.text)
        found = find_device(device)
        predictor = Predictor(model, found, dtype, promptable, progress=False)
    several = isinstance(images, (list, tuple))
    given = images if several else [images]
    results = [_predict_one(predictor, image, prompts, options, modality) for image in given]
    return results if several else results[0]


def _predict_one(
    predictor: Predictor, image: Any, prompts: Prompts, options: Options, modality: str | None
) -> Prediction | VolumeSegmentation:
    if isinstance(image, (str, os.PathLike)):
        (source,) = find_sources([os.fspath(image)], predictor.reads_volumes)
        if source.kind == "volume" and predictor.reads_volumes:
            volume = read_volume(source.path, modality)
            model = predictor.pipe.model
            return predict_volume(model, predictor.image_processor, volume, modality=modality, progress=False)
        image = source.path
    elif isinstance(image, Mapping):
        raise ValueError(f"An image must be a path, a PIL image or an array; got {type(image).__name__}.")
    return predictor(predictor.as_image(image), prompts, options)


@dataclass
class JobOptions:
    """What a job does with its inputs.

    Attributes:
        inputs: Files and folders.
        model: Shipped name, folder or Hub id.
        output_dir: Folder of the results.
        prompts: What the model is asked.
        how: How it is asked.
        modality: Of volumes whose file does not say it.
        device: Where the model runs.
        dtype: Name of the type of its weights.
        max_pixels: Larger images are refused.
        frames: Whether a folder of images is one video.
        max_frames: Frames of a video at most.
        opacity: Of overlays.
        legend: Whether names and colors stand beside them.
        quiet: Whether no bar is shown.
        allow_urls: Whether inputs may be http(s) addresses of public hosts.
        max_download: Larger downloads are refused, in MB.
    """

    inputs: list[str]
    model: str
    output_dir: str
    prompts: Prompts
    how: Options
    modality: str | None = None
    device: str = "auto"
    dtype: str = "float32"
    max_pixels: int = DEFAULT_MAX_PIXELS
    frames: bool = False
    max_frames: int | None = None
    opacity: float = 0.5
    legend: bool = False
    quiet: bool = False
    allow_urls: bool = False
    max_download: int = 256


class Job:
    """Inputs, a loaded model and a folder of results. Several processes share the inputs.

    Attributes:
        results: One entry per input that was segmented, in the order of the inputs.
        errors: One entry per input that failed, with its message.
        seconds: Of all inputs, as the user waited.
    """

    def __init__(self, options: JobOptions) -> None:
        import hfseg

        self.options, self.prompts, self.how = options, options.prompts, options.how
        self.folder = Path(options.output_dir)
        self.rank, self.ranks = 0, 1
        if number_of_processes() == 1:
            self.prepare()
        else:
            state = join_processes(options.device)
            self.rank, self.ranks = state.process_index, state.num_processes
            with starting_together(state):
                self.prepare()
        self.about = {
            "hfseg": hfseg.__version__,
            "model": str(self.predictor.folder),
            "class": self.predictor.class_name,
            "task": self.predictor.task,
            **{
                name: value
                for name, value in vars(self.how).items()
                if value not in (None, (), [], False) and name != "seed"
            },
        }
        self.results: list[dict[str, Any]] = []
        self.errors: list[dict[str, Any]] = []

    def prepare(self) -> None:
        """Finds the inputs, loads the model and makes the folder of the results."""
        options, prompts = self.options, self.prompts
        options.inputs = self.fetched(options.inputs)
        find_sources(options.inputs, True, options.frames)  # a name that is wrong is said before a model is loaded
        promptable = bool(prompts.points or prompts.boxes) or not (prompts.labels or prompts.text)
        self.shown = sys.stderr.isatty() and not options.quiet and self.rank == 0
        device = _own_device(options.device, self.ranks)
        self.predictor = Predictor(options.model, device, options.dtype, promptable, progress=self.shown)
        self.predictor.check(self.prompts, self.how)
        self.sources = find_sources(options.inputs, self.predictor.reads_volumes, options.frames)
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(f"--output_dir {self.folder} is a file; name a folder.")
        refuse_results_among_inputs(options.inputs, self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def fetched(self, inputs: Sequence[str]) -> list[str]:
        """Downloads the inputs that are addresses, where that was asked for; the others as they are."""
        if not self.options.allow_urls or not any(is_address(name) for name in inputs):
            return list(inputs)
        self.downloads = tempfile.TemporaryDirectory(prefix="hfseg-predict-")
        folder, limit = Path(self.downloads.name), self.options.max_download * 2**20
        return [str(download(name, folder, limit)) if is_address(name) else name for name in inputs]

    def work(self) -> None:
        """Segments this process's share of the inputs; what failed is named and does not stop the rest."""
        start = time.perf_counter()
        entries: list[tuple[int, str, dict[str, Any]]] = []
        own = list(enumerate(self.sources))[self.rank :: self.ranks]
        with pillow_limit(self.options.max_pixels), self.bar(len(own), "predict", "input") as bar:
            for number, source in own:
                try:
                    entries.append((number, "result", self.run(source)))
                except INPUT_ERRORS as error:
                    message = str(error).strip() or type(error).__name__
                    message = message if source.path.name in message else f"{source.path}: {message}"
                    entries.append((number, "error", {"input": str(source.path), "message": message}))
                    tqdm.write(f"error: {message}", file=sys.stderr)
                bar.update()
        entries = [entry for part in gathered(entries, self.ranks) for entry in part]
        entries.sort(key=lambda entry: entry[0])
        self.results = [entry for _, kind, entry in entries if kind == "result"]
        self.errors = [entry for _, kind, entry in entries if kind == "error"]
        self.seconds = time.perf_counter() - start

    def run(self, source: Source) -> dict[str, Any]:
        """Segments one input and writes its results; returns its entry of the `--json` output."""
        work = {"image": self.image, "video": self.video, "volume": self.volume}[source.kind]
        return {"input": str(source.path), "kind": source.kind, **work(source)}

    def image(self, source: Source) -> dict[str, Any]:
        """An image."""
        start = time.perf_counter()
        image = self.predictor.read(source.path, self.options.max_pixels)
        prediction = self.predictor(image, self.prompts, self.how)
        legend = self.options.legend
        files = write_prediction(prediction, source, self.folder, self.about, self.options.opacity, legend)
        shown = ("id", "label", "score", "area", "bbox")
        segments = [{name: segment[name] for name in shown} for segment in prediction.entries()]
        incomplete = "" if prediction.result is None else prediction.result.incomplete
        cut = {"incomplete": incomplete} if incomplete else {}
        seconds = time.perf_counter() - start
        return {"outputs": [str(file) for file in files], "segments": segments, "seconds": seconds, **cut}

    def video(self, source: Source) -> dict[str, Any]:
        """A video; a damaged end leaves the frames before it, and is an error."""
        reader = VideoReader(source.path, self.options.max_pixels)
        total = min(filter(None, (reader.count, self.options.max_frames)), default=None)
        with self.bar(total, source.stem, "frame") as bar:
            clip_frames = self.predictor.clip_frames(self.prompts, self.how)
            ask = self.predictor if clip_frames is None else self.predictor.answer_clip
            done = segment_video(
                reader,
                lambda frames: ask(frames, self.prompts, self.how),
                self.folder,
                source.stem,
                self.about,
                opacity=self.options.opacity,
                track="semantic" not in (self.how.subtask, self.predictor.task),
                max_frames=self.options.max_frames,
                clip_frames=clip_frames,
                progress=bar.update,
            )
        if done.broken is not None:
            raise ValueError(f"{done.broken} The {len(done.frames)} frame(s) before are in {done.video}.")
        outputs = [str(path) for path in (done.video, done.ids, done.record, done.answer) if path is not None]
        cut = {"incomplete": done.incomplete} if done.incomplete else {}
        found = {"frames": len(done.frames), "segments": done.objects, "seconds": done.seconds}
        return {"outputs": outputs, **found, **cut}

    def volume(self, source: Source) -> dict[str, Any]:
        """A volume."""
        predictor = self.predictor
        if not predictor.reads_volumes:
            raise ValueError(f"{source.path} is a volume; {predictor.class_name} segments images only.")
        start = time.perf_counter()
        volume = read_volume(source.path, self.options.modality)
        file = self.folder / f"{source.stem}_segmentation.nii.gz"
        found = predict_volume(
            predictor.pipe.model, predictor.image_processor, volume, file, modality=self.options.modality,
            progress=self.shown,
        )  # fmt: skip
        seconds = time.perf_counter() - start
        labels, axis = labels_in_ras(found), found.record["axis"]
        prediction = slice_prediction(volume, labels, axis, fullest_slice(labels, axis), predictor.labels)
        # A slice is small; its drawing is for the eye.
        drawn = prediction.overlay(self.options.opacity, legend=True, minimum_side=512)
        image = write_image(self.folder / f"{source.stem}_overlay.png", drawn)
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
        outputs = [str(file), str(image), str(record)]
        return {"outputs": outputs, "segments": segments, "seconds": seconds, "notice": found.notice}

    def bar(self, total: int | None, name: str, unit: str) -> Any:
        """A progress bar on the terminal, nothing elsewhere."""
        return tqdm(total=total, desc=name[:24], unit=unit, disable=not self.shown, leave=False, file=sys.stderr)


def _own_device(name: str, ranks: int) -> torch.device:
    """The device of this process: of several, each has its own GPU."""
    if ranks > 1 and name == "auto" and torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    return find_device(name)


def _plain(value: Any) -> Any:
    """Numbers of NumPy for json."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


@contextlib.contextmanager
def pillow_limit(pixels: int) -> Iterator[None]:
    """Lets Pillow open images as large as the user allows."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = max(before or 0, pixels)
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def describe(result: dict[str, Any]) -> str:
    """What was found, in one line."""
    found: dict[str, int] = {}
    for segment in result["segments"]:
        found[segment["label"]] = found.get(segment["label"], 0) + 1
    words = ", ".join(name if count == 1 else f"{count} {name}" for name, count in list(found.items())[:12])
    words += ", ..." if len(found) > 12 else ""
    frames = f"{result['frames']} frames, " if "frames" in result else ""
    answered = any(file.endswith("_answer.png") for file in result["outputs"])
    words += ", perhaps not all (see the warning)" if result.get("incomplete") else ""
    return f"{frames}{words or ('answered' if answered else 'nothing found')} ({result['seconds']:.2f} s)"
