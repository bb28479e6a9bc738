# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Export of image models to ONNX and to `torch.export` programs, with a check of the file against the model.

The exported program is the model alone: normalized pixels (and prompts) in, logits out. Resizing, thresholds and
merging stay with the image processor. With `dynamic` one file serves all batch sizes and image sizes.

Shapes: B images of (H, W) pixels, Q queries or prompts, K classes, L tokens.
"""

import base64
import contextlib
import json
import logging
import operator
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .. import tasks
from ..files.writing import write_json
from .loading import load
from .quantization import LARGEST_CHANGE, quantize
from .vocabulary_inputs import looks_at_points

__all__ = ["FORMATS", "Exportable", "export_model", "exportable", "load_program", "parity_report"]

FORMATS = ("onnx", "torch_export")
OPSET = 20  # the first with `GridSample` as PyTorch has it, for every number of dimensions
LARGEST_FILE = 1_500_000_000  # bytes of weights; protocol buffers end at 2 GB, beyond this weights go beside the file


class _Images(nn.Module):
    """A model of images alone."""

    def __init__(self, model: nn.Module, outputs: Sequence[str]) -> None:
        super().__init__()
        self.model, self.outputs = model, tuple(outputs)

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        """Shape: `(B, 3, H, W)`."""
        outputs = self.model(pixel_values=pixel_values)
        return tuple(outputs[name] for name in self.outputs)


class _Expressions(_Images):
    """A referring model: one expression per image."""

    def forward(self, pixel_values: Tensor, input_ids: Tensor) -> tuple[Tensor, ...]:
        """Shape: `(B, 3, H, W)`, `(B, L)`."""
        outputs = self.model(pixel_values=pixel_values, input_ids=input_ids)
        return tuple(outputs[name] for name in self.outputs)


class _Points(_Images):
    """A promptable model: one point per mask."""

    def forward(self, pixel_values: Tensor, input_points: Tensor) -> tuple[Tensor, ...]:
        """Shape: `(B, 3, H, W)`, `(B, Q, 1, 2)`."""
        outputs = self.model(pixel_values=pixel_values, input_points=input_points)
        return tuple(outputs[name] for name in self.outputs)


class _NamesOnly(_Images):
    """An open-vocabulary model that proposes masks itself: embedded names of classes."""

    def forward(self, pixel_values: Tensor, text_embeds: Tensor) -> tuple[Tensor, ...]:
        """Shape: `(B, 3, H, W)`, `(K, D)`."""
        outputs = self.model(pixel_values=pixel_values, text_embeds=text_embeds[:, None])
        return tuple(outputs[name] for name in self.outputs)


class _Names(_Images):
    """An open-vocabulary model: embedded names of classes, and points where to look."""

    def forward(self, pixel_values: Tensor, input_points: Tensor, text_embeds: Tensor) -> tuple[Tensor, ...]:
        """Shape: `(B, 3, H, W)`, `(B, Q, 1, 2)`, `(K, D)`."""
        outputs = self.model(pixel_values=pixel_values, input_points=input_points, text_embeds=text_embeds[:, None])
        return tuple(outputs[name] for name in self.outputs)


@dataclass
class Exportable:
    """What is exported of a model.

    Attributes:
        module: The model with tensors as arguments and as results.
        inputs: Function from batch size, height and width to example inputs by name.
        dynamic: Name of an input to its axes of free length.
        outputs: Names of the results.
        decide: Function from the results to what a user sees: masks and classes, as integers or booleans.
        divisor: Both sides of an image must be multiples of it.
        smallest: Least length of a side of a program for all sizes.
        prompts: Axes of free length in programs for one image size, too: numbers of points and of names.
    """

    module: nn.Module
    inputs: Callable[[int, int, int], dict[str, Tensor]]
    dynamic: Mapping[str, tuple[int, ...]]
    outputs: tuple[str, ...]
    decide: Callable[[Sequence[Tensor]], tuple[Tensor, ...]]
    divisor: int = 32
    smallest: int = 64
    prompts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def _pixels(batch: int, height: int, width: int) -> Tensor:
    """Smooth images; noise pixel by pixel would make every decision a close one."""
    generator = torch.Generator().manual_seed(height * 10_007 + width)
    coarse = torch.randn(batch, 3, max(height // 16, 2), max(width // 16, 2), generator=generator)
    return nn.functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=False)


def _points(batch: int, height: int, width: int, count: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(batch, count, 1, 2, generator=generator) * torch.tensor([width, height], dtype=torch.float32)


def exportable(model: nn.Module) -> Exportable:
    """Chooses inputs and results of a model by the task of its class (`hfseg.tasks`, field `export`).

    Raises:
        ValueError: The model is of a kind that has no single forward pass to export.
    """
    name = type(model).__name__
    endings = {str(row.auto_class).removeprefix("AutoModel"): row.export for row in tasks.TASKS.values() if row.export}
    for ending, place in endings.items():
        if name.endswith(ending):
            return tasks.load(place)(model)
    raise ValueError(
        f"{name} cannot be exported: only models with one forward pass from images to masks can "
        f"({', '.join(f'...{ending}' for ending in endings)})."
    )


def _image_input(batch: int, height: int, width: int) -> dict[str, Tensor]:
    return {"pixel_values": _pixels(batch, height, width)}


PIXEL_AXES = {"pixel_values": (0, 2, 3)}


def universal(model: nn.Module) -> Exportable:
    """Images to classes and masks of queries."""
    results = ("class_queries_logits", "masks_queries_logits")
    return Exportable(
        _Images(model, results),
        _image_input,
        PIXEL_AXES,
        results,
        lambda values: (values[0].argmax(-1), values[1] > 0),
    )


def object_detection(model: nn.Module) -> Exportable:
    """Images to class logits and boxes of queries."""
    results = ("logits", "pred_boxes")
    return Exportable(
        _Images(model, results),
        _image_input,
        PIXEL_AXES,
        results,
        lambda values: (values[0].amax(-1) > 0, values[0].argmax(-1)),
        # A coarsest map of one row or column is a special case for tracing: strides are 64 with four scales.
        smallest=8 << getattr(model.config, "num_feature_levels", 4),
    )


def semantic(model: nn.Module) -> Exportable:
    """Images to scores per class and pixel."""
    return Exportable(
        _Images(model, ("logits",)), _image_input, PIXEL_AXES, ("logits",), lambda values: (values[0].argmax(1),)
    )


def referring(model: nn.Module) -> Exportable:
    """Images and token ids to masks."""
    config: Any = model.config
    text = config.text_config
    length = int(getattr(config, "max_text_length", None) or text.max_position_embeddings)

    def expressions(batch: int, height: int, width: int) -> dict[str, Tensor]:
        ids = torch.zeros(batch, length, dtype=torch.int64)
        for row in range(batch):
            words = min(2 + row % 4, length - 2)
            ids[row, 0] = text.bos_token_id
            ids[row, 1 : 1 + words] = torch.arange(1, 1 + words) + row
            ids[row, 1 + words] = text.eos_token_id
        return {"pixel_values": _pixels(batch, height, width), "input_ids": ids}

    return Exportable(
        _Expressions(model, ("logits",)),
        expressions,
        {**PIXEL_AXES, "input_ids": (0,)},
        ("logits",),
        lambda values: (values[0] > 0,),
    )


def mask_generation(model: nn.Module) -> Exportable:
    """Images and points to masks with their scores."""
    return Exportable(
        _Points(model, ("pred_masks", "iou_scores")),
        lambda batch, height, width: {
            "pixel_values": _pixels(batch, height, width),
            "input_points": _points(batch, height, width),
        },
        {**PIXEL_AXES, "input_points": (0, 1)},
        ("pred_masks", "iou_scores"),
        lambda values: (values[0] > 0, values[1].argmax(-1)),
        prompts={"input_points": (1,)},
    )


def open_vocabulary(model: nn.Module) -> Exportable:
    """Images, embedded names and, for a model that looks at points, those, to classes and masks."""
    config: Any = model.config
    size, points = int(config.text_config.projection_dim), looks_at_points(model)

    def names(batch: int, height: int, width: int) -> dict[str, Tensor]:
        embeds = torch.randn(3, size, generator=torch.Generator().manual_seed(2))
        inputs = {"pixel_values": _pixels(batch, height, width)}
        if points:
            inputs["input_points"] = _points(batch, height, width)
        return {**inputs, "text_embeds": nn.functional.normalize(embeds, dim=-1)}

    results = ("class_queries_logits", "masks_queries_logits", *(["iou_scores"] if points else []))
    free: dict[str, tuple[int, ...]] = {**({"input_points": (1,)} if points else {}), "text_embeds": (0,)}
    return Exportable(
        (_Names if points else _NamesOnly)(model, results),
        names,
        {**PIXEL_AXES, **({"input_points": (0, 1)} if points else {}), "text_embeds": (0,)},
        results,
        lambda values: (values[0].argmax(-1), values[1] > 0),
        prompts=free,
    )


@torch.no_grad()
def export_model(
    target: Exportable,
    file: str | os.PathLike[str],
    format: str,
    size: tuple[int, int],
    batch_size: int = 2,
    dynamic: bool = True,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Traces a model and writes it to a file, which appears when it is complete.

    Args:
        target: See `exportable`.
        file: `.onnx` or `.pt2`. An ONNX model beyond 1.5 GB has its weights in `<file>.data` beside it.
        format: "onnx" or "torch_export".
        size: Height and width of the traced images; without `dynamic` the only ones.
        batch_size: Of the traced images; likewise.
        dynamic: Whether batch, height, width (and numbers of prompts) are free.
        metadata: Texts that the ONNX file carries (`describe_model`); ONNX Runtime gives them back by
            `session.get_modelmeta().custom_metadata_map`. A `torch.export` program carries none.

    Raises:
        ValueError: The format or size is not legal, or the model cannot be traced.
        ImportError: ONNX packages are missing.
    """
    if format not in FORMATS:
        raise ValueError(f"format is {format!r}; must be one of {', '.join(FORMATS)}.")
    # A map of one row or column is a special case for tracing, and would be fixed.
    smallest = target.smallest if dynamic else target.divisor
    for side in size:
        if side < smallest or side % target.divisor:
            raise ValueError(f"size is {size}; both sides must be multiples of {target.divisor}, {smallest} or more.")
    # A batch of one is a special case for tracing and would be fixed.
    inputs = target.inputs(max(batch_size, 2) if dynamic else batch_size, *size)
    if format == "onnx":
        _need_onnx()
    shapes: Any = None
    free = target.dynamic if dynamic else target.prompts
    if free:
        shapes = tuple(dict.fromkeys(free.get(name, ()), torch.export.Dim.DYNAMIC) or None for name in inputs)
    target.module.eval()
    try:
        program = torch.export.export(target.module, tuple(inputs.values()), dynamic_shapes=shapes, strict=False)
    except Exception as error:  # tracing ends in errors of many kinds
        reason = str(error).strip().split("\n")[0]
        raise ValueError(f"The model cannot be traced: {reason}") from error
    path = Path(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
        temporary = Path(folder) / path.name
        if format == "torch_export":
            torch.export.save(program, temporary)
        else:
            weights = sum(value.numel() * value.element_size() for value in program.state_dict.values())
            with warnings.catch_warnings(), _quiet("onnxscript", "onnx_ir", "torch.onnx"), _plainly():
                warnings.simplefilter("ignore")
                converted = torch.onnx.export(
                    program,
                    dynamo=True,
                    opset_version=OPSET,
                    input_names=list(inputs),
                    output_names=list(target.outputs),
                    custom_translation_table=_translations(),
                    verbose=False,
                )
            assert converted is not None
            converted.model.metadata_props.update(metadata or {})
            converted.save(temporary, external_data=weights > LARGEST_FILE)
        for part in sorted(Path(folder).iterdir(), reverse=True):  # the weights first
            shutil.move(part, path.parent / part.name)
    return path


def _translations() -> dict[Any, Callable[..., Any]]:
    """Translations to ONNX that the exporter lacks, or has for positive numbers only.

    Tables of windows (`layers.shifted_windows`) take remainders of token numbers by lengths of axes, where the
    exporter's own translation wants a number and not a symbol; and they round sizes up by `-(-size // side)`, where its
    own rounds toward zero.
    """
    from onnxscript import opset20 as op

    def remainder(self: Any, other: Any) -> Any:
        if self.dtype.is_integer():
            return op.Mod(self, other)  # the sign is the divisor's, as in PyTorch
        return op.Sub(self, op.Mul(op.Floor(op.Div(self, other)), other))

    def floor_divide(self: Any, other: Any) -> Any:
        return op.Div(op.Sub(self, op.Mod(self, other)), other)

    return {torch.ops.aten.remainder.Scalar: remainder, operator.floordiv: floor_divide}


@contextlib.contextmanager
def _plainly() -> Iterator[None]:
    """Says in one line which operation the exporter could not translate."""
    try:
        yield
    except Exception as error:  # of many kinds
        causes: list[BaseException] = [error]
        while causes[-1].__cause__ is not None:
            causes.append(causes[-1].__cause__)
        node = next((str(cause) for cause in causes if "translating node" in str(cause)), "")
        found = re.search(r"target=(?:torch\.ops\.)?([\w.]+)", node)
        what = f"the operation {found[1]}" if found else "the program"
        reason = (str(causes[-1]).strip().split("\n")[0] or type(error).__name__)[:300]
        raise ValueError(
            f"ONNX has no translation for {what} ({reason}). --format torch_export writes the same program for PyTorch."
        ) from error


@contextlib.contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """Keeps the exporters' remarks about every folded constant to themselves."""
    levels = {name: logging.getLogger(name).level for name in names}
    try:
        for name in names:
            logging.getLogger(name).setLevel(logging.ERROR)
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _need_onnx() -> Any:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401

        import onnx  # noqa: F401
    except ImportError as error:
        raise ImportError(f"ONNX needs {error.name}: pip install 'hfseg[export]'.") from error
    return onnxruntime


def load_program(file: str | os.PathLike[str], format: str) -> Callable[[Mapping[str, Tensor]], tuple[Tensor, ...]]:
    """Loads an exported file as a function from inputs by name to results.

    The function of a `torch.export` program raises a ValueError for sizes that the program does not serve.
    """
    if format == "onnx":
        session = _need_onnx().InferenceSession(os.fspath(file), providers=["CPUExecutionProvider"])
        names = [value.name for value in session.get_inputs()]

        def run_onnx(inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
            values = session.run(None, {name: inputs[name].cpu().numpy() for name in names})
            return tuple(torch.from_numpy(value) for value in values)

        return run_onnx
    module = torch.export.load(os.fspath(file)).module()

    @torch.no_grad()
    def run(inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        try:
            return tuple(module(*inputs.values()))
        except AssertionError as error:  # torch's own words: "Guard failed: pixel_values.size()[2] >= 33"
            shapes = ", ".join(f"{name} {tuple(value.shape)}" for name, value in inputs.items())
            raise ValueError(
                f"The program {os.fspath(file)} does not serve {shapes}: {str(error).splitlines()[0]}. Export one for "
                "this size alone (without --dynamic), enlarge the image, or call the model."
            ) from error

    return run


@torch.no_grad()
def parity_report(
    target: Exportable,
    file: str | os.PathLike[str],
    format: str,
    sizes: Sequence[tuple[int, int, int]],
) -> list[dict[str, Any]]:
    """Compares a file with the model it came from.

    Args:
        target: See `exportable`.
        file: The exported file.
        format: Its format.
        sizes: Batch size, height and width of each comparison.

    Returns:
        For each size: `batch_size`, `height`, `width`, `max_difference` and `largest_value` of every result, and
        `decisions` (pixels and classes) with the number that are `different`.
    """
    program = load_program(file, format)
    report = []
    for batch, height, width in sizes:
        inputs = target.inputs(batch, height, width)
        expected, actual = target.module(*inputs.values()), program(inputs)
        wrong = [(tuple(a.shape), tuple(b.shape)) for a, b in zip(actual, expected) if a.shape != b.shape]
        if wrong:
            raise ValueError(f"The file gives the shape {wrong[0][0]} where the model gives {wrong[0][1]}.")
        decided = list(zip(target.decide(expected), target.decide(actual)))
        report.append(
            {
                "batch_size": batch,
                "height": height,
                "width": width,
                "max_difference": {
                    name: float((a - b).abs().max()) for name, a, b in zip(target.outputs, actual, expected)
                },
                "largest_value": {name: float(b.abs().max()) for name, b in zip(target.outputs, expected)},
                "decisions": sum(one.numel() for one, _ in decided),
                "different": sum(int((one != other).sum()) for one, other in decided),
            }
        )
    return report


TOLERANCE = 1e-4  # of logits, as a share of their largest value where that is above 1


PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")


def _processor_settings(folder: Path) -> dict[str, Any]:
    """The image processor's configuration as the folder has it; empty if it has none."""
    file = next((found for name in PROCESSOR_FILES if (found := folder / name).is_file()), None)
    content = {} if file is None else json.loads(file.read_text(encoding="utf-8"))
    return content.get("image_processor", content)


def describe_model(
    model: Any,
    folder: Path,
    task: str,
    target: Exportable,
    size: tuple[int, int],
    candidate_labels: Sequence[str] = (),
) -> dict[str, str]:
    """What whoever runs the file needs besides it, as texts; all but plain words are json.

    `hfseg` (version), `task`, `class`, `id2label`, `image_processor` (its whole configuration, with mean, deviation and
    size), `input_size` (height and width of the traced image), `size_divisor` and `smallest_side`; and `settings`: what
    of the model and its processor post-processing and prompts need (`hfseg.onnx`), by task.

    Args:
        model: The model.
        folder: Its folder.
        task: Its task.
        target: See `exportable`.
        size: Of the traced image.
        candidate_labels: Classes of an open-vocabulary model, whose embeddings the file then carries.

    Raises:
        ValueError: Classes for a model of another task.
    """
    import hfseg

    if candidate_labels and task != "open-vocabulary":
        raise ValueError(f"candidate_labels name classes of open-vocabulary models, and this one is {task}.")
    written = _processor_settings(folder)
    processor = {key: value for key, value in written.items() if key != "auto_map"}
    labels = {str(index): name for index, name in (getattr(model.config, "id2label", None) or {}).items()}
    if candidate_labels:
        labels = {str(index): name for index, name in enumerate(candidate_labels)}
    values = {
        "id2label": labels,
        "image_processor": processor,
        "input_size": list(size),
        "size_divisor": target.divisor,
        "smallest_side": target.smallest,
        "settings": _settings_of_task(model, folder, task, candidate_labels) if written else {},
    }
    words = {"hfseg": hfseg.__version__, "task": task, "class": type(model).__name__}
    return {**words, **{name: json.dumps(value) for name, value in values.items()}}


def _settings_of_task(model: Any, folder: Path, task: str, candidate_labels: Sequence[str]) -> dict[str, Any]:
    """What post-processing and prompts of a task need of model and processor."""
    config = model.config
    if task == "referring":
        length = int(getattr(config, "max_text_length", None) or config.text_config.max_position_embeddings)
        file = folder / "tokenizer.json"
        content = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8")) if file.is_file() else {}
        return {"tokenizer": content, "max_length": min(int(settings.get("model_max_length", length)), length)}
    from transformers import AutoImageProcessor

    found: dict[str, Any] = {}
    if hasattr(config, "points_per_side"):
        found["points_per_side"] = config.points_per_side
    if task in ("universal", "open-vocabulary"):
        processor: Any = AutoImageProcessor.from_pretrained(str(folder))
        found["shown_threshold"] = processor.shown_threshold()
        found["stuff_class_ids"] = getattr(config, "stuff_class_ids", None)
    if candidate_labels:
        from transformers import AutoProcessor

        _, embeddings = AutoProcessor.from_pretrained(str(folder)).embed_labels(model, list(candidate_labels))
        rows = nn.functional.normalize(embeddings[:, 0].float(), dim=-1).numpy()
        found["text_embeds"] = base64.b64encode(rows.astype("float32").tobytes()).decode("ascii")
    return found


def default_size(folder: str, divisor: int, smallest: int) -> tuple[int, int]:
    """The size to which the folder's image processor brings images, rounded up to what the model takes."""
    size = _processor_settings(Path(folder)).get("size") or {}
    short = size.get("shortest_edge") or size.get("longest_edge") or 512
    sides = (size.get("height") or short, size.get("width") or short)
    height, width = (max(-(-int(side) // divisor) * divisor, smallest) for side in sides)
    return height, width


def _passed(report: Sequence[Mapping[str, Any]], dtype: str) -> bool:
    """Whether a file agrees with its model, as `export_folder` says it."""
    if dtype == "int8":
        return all(entry["different"] <= LARGEST_CHANGE * entry["decisions"] for entry in report)
    difference = max(
        value / max(1.0, entry["largest_value"][name])
        for entry in report
        for name, value in entry["max_difference"].items()
    )
    return difference <= TOLERANCE and not any(entry["different"] for entry in report)


def export_folder(
    folder: str | os.PathLike[str],
    output: str | os.PathLike[str],
    format: str,
    *,
    size: tuple[int, int] | None = None,
    check_size: tuple[int, int] | None = None,
    batch_size: int = 1,
    dynamic: bool = False,
    command: str = "",
    candidate_labels: Sequence[str] = (),
    dtype: str = "float32",
) -> dict[str, Any]:
    """Exports a model and compares the file with it; the report is written beside the file.

    Args:
        folder: Shipped name, model folder or Hub id.
        output: File to write.
        format: Of `FORMATS`.
        size: Height and width of the traced image; default: the image processor's.
        check_size: Second size to compare, of a file for all sizes.
        batch_size: Of the traced batch.
        dynamic: One file for all batch and image sizes.
        command: Recorded in the report.
        candidate_labels: Classes of an open-vocabulary model, whose embeddings the file then carries.
        dtype: "float32", or "int8" for ONNX files whose matrix products have weights of eight bits.

    Returns:
        The report; `passed` says whether file and model agree: within the tolerance and with identical masks, or of
        int8 in all but `LARGEST_CHANGE` of the masks' pixels and classes.

    Raises:
        FileNotFoundError, ValueError: The model is not right, or has no single forward pass.
    """
    import hfseg

    if dtype not in ("float32", "int8") or (dtype == "int8" and format != "onnx"):
        raise ValueError(f"dtype is {dtype!r}; must be float32, or int8 with the format onnx.")

    found = tasks.model_folder(folder)
    task, _, name = tasks.find_task(found)
    if not tasks.find(task).export:
        raise ValueError(
            f"{found} holds {name}, a loop of denoising steps over a transformer and an autoencoder; there is no "
            "single forward pass to export. Use it through diffusers."
        )
    model = load(found, with_processor=False).model
    target = exportable(model)
    size = size or default_size(str(found), target.divisor, target.smallest)
    about = describe_model(model, Path(found), task, target, size, candidate_labels)
    file = export_model(target, output, format, size, batch_size, dynamic, about)
    if dtype == "int8":
        quantize(file)
    places = [(batch_size, *size)]
    if dynamic:
        unit = target.divisor
        other = (max(size[0] // 2 // unit * unit, target.smallest), size[1] + unit)
        places = [(max(batch_size, 2), *size), (1, *(check_size or other))]
    report = parity_report(target, file, format, places)
    content = {
        "command": command,
        "hfseg": hfseg.__version__,
        "torch": torch.__version__,
        "file": str(file),
        "class": type(model).__name__,
        "format": format,
        "dtype": dtype,
        "dynamic": dynamic,
        "inputs": {name: list(value.shape) for name, value in target.inputs(*places[0]).items()},
        "free_axes": {name: list(axes) for name, axes in (target.dynamic if dynamic else target.prompts).items()},
        "outputs": list(target.outputs),
        "tolerance": TOLERANCE,
        "passed": _passed(report, dtype),
        "sizes": report,
    }
    write_json(Path(f"{file}.json"), content)
    return content
