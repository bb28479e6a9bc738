# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What a model learned of `shapes` expressions: by kind, on combinations never seen, and with exchanged expressions."""

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import AutoProcessor

from hfseg.data.synthetic.referring_shapes import ReferringShapesDataset
from hfseg.evaluation.referring import evaluate_referring, referring_overlays
from hfseg.pipelines.auto_models import AutoModelForReferringImageSegmentation

NOTES = [
    "mean IoU over expressions, in percent; scenes of the test split, none of which training saw.",
    "held-out: referents whose combination of color and shape never occurs in training, in images or words.",
    "exchanged: every image is asked the expressions of the next one; what remains is the image's prior.",
]


def referring_tables(
    folder: str, scenes: int = 300, grid: str | None = None, scene_size: Sequence[int] | None = None
) -> tuple[dict[str, list[dict]], list[str]]:
    """Measures a trained folder.

    Args:
        folder: Model and processor.
        scenes: Number of scenes per table.
        grid: File of an image of predictions beside the truth, or None.
        scene_size: Height and width of the scenes in pixels; default: of the frame of the processor.
    """
    model = AutoModelForReferringImageSegmentation.from_pretrained(folder).eval()
    processor = AutoProcessor.from_pretrained(folder)
    size = processor.image_processor.size
    height, width = scene_size or (size["height"], size["width"])

    def dataset(**options: Any) -> ReferringShapesDataset:
        return ReferringShapesDataset("test", scenes, (height, width), **options)

    plain = dataset(none_share=0.0)

    def exchanged(index: int, example: Mapping[str, Any]) -> list[str]:
        others = plain[(index + 1) % scenes]["expressions"]
        return [others[position % len(others)] for position in range(len(example["expressions"]))]

    runs: dict[str, dict[str, Any]] = {
        "all": evaluate_referring(model, processor, dataset()),
        "held-out": evaluate_referring(model, processor, dataset(combinations="held-out", none_share=0.0)),
        "exchanged": evaluate_referring(model, processor, plain, expressions_of=exchanged),
    }
    kinds = {name: run.pop("kinds") for name, run in runs.items()}
    overall = [{"expressions": name, **{k: v for k, v in run.items()}} for name, run in runs.items()]
    by_kind = [
        {
            "kind": kind,
            "expressions": kinds["all"][kind]["num_samples"],
            "mean IoU %": percent(kinds["all"][kind]),
            "held-out %": percent(kinds["held-out"].get(kind, {})),
            "exchanged %": percent(kinds["exchanged"].get(kind, {})),
        }
        for kind in sorted(kinds["all"])
        if kind != "none"
    ]
    if grid is not None:
        draw_grid(referring_overlays(model, processor, plain, 12), grid)
    return {"Referring expressions": overall, "By kind": by_kind}, NOTES


def percent(numbers: Mapping[str, Any]) -> float | None:
    """Mean IoU in percent, if there is any."""
    return numbers.get("miou")


def draw_grid(images: list[Any], file: str) -> None:
    """Writes images in two columns."""
    from PIL import Image

    width, height = max(p.width for p in images), max(p.height for p in images)
    sheet = Image.new("RGB", (2 * width, -(-len(images) // 2) * height), "white")
    for position, image in enumerate(images):
        sheet.paste(image, (position % 2 * width, position // 2 * height))
    sheet.save(file)
