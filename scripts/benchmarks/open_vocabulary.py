# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Unpair-Seg on `shapes` from scratch: CLIP, masks without names, names without masks; with and without the adapter."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import AutoProcessor

from hfseg.commands.train import main as train
from hfseg.data.readers.entities import ShapesCaptions
from hfseg.evaluation.segmentation import evaluate_open_vocabulary
from hfseg.pipelines.auto_models import AutoModelForOpenVocabularySegmentation
from hfseg.training import load_recipe

RECIPE, STAGE_TWO = "unpairseg-tiny-shapes", "unpairseg-tiny-stage2"
# Changes of stage 2's recipe by name; the first is the recipe itself.
VARIANTS = {
    "adapter, one to one, three scales": "",
    "adapter, greedy, three scales": "model.config.matching=greedy",
    "adapter, one to one, one scale": "model.config.region_sizes=[{size}]",
}
BASELINE = "no adapter: CLIP's features of each mask"
NUMBERS = {"mean_iou": "mIoU", "pq": "PQ", "sq": "SQ", "rq": "RQ"}
NOTES = [
    "Percent, held-out scenes, names of the ten classes. No image with both masks and words was seen: CLIP saw "
    "images with captions, stage 1 images with masks without names, stage 2 images with captions.",
    "All rows share one CLIP and one stage 1; rows with adapter differ in stage 2's matching or in the sizes of the "
    "image at which CLIP describes the masks that are matched.",
]


def measure(folder: Path, scenes: int) -> dict[str, float]:
    """Measures a folder on held-out scenes, as stage 2's recipe says."""
    recipe = load_recipe(STAGE_TWO)
    spec = {**(recipe.data.validation or {}), "num_scenes": scenes, "split": "test"}
    processor = AutoProcessor.from_pretrained(folder)
    processor.image_processor.score_threshold = recipe.model.config["score_threshold"]  # the same masks in all rows
    found = evaluate_open_vocabulary(
        AutoModelForOpenVocabularySegmentation.from_pretrained(folder).eval(),
        processor,
        ShapesCaptions(**spec),
        templates=recipe.data.collator["templates"],
        thresholds={"threshold": recipe.run.evaluation["threshold"]},
    )
    return {title: found[name] for name, title in NUMBERS.items()}


def open_vocabulary_table(
    folder: str,
    scenes: int,
    finished: Callable[[dict, list[str]], Any] = lambda tables, notes: None,
) -> tuple[dict[str, list[dict]], list[str]]:
    """Trains what is not in the folder yet, and measures every row.

    Args:
        folder: Of the recipe's stages; a second call goes on where the first ended.
        scenes: Held-out scenes.
        finished: Gets the rows so far, after every row.
    """
    root = Path(folder)
    masks = root / "stage-2-masks"
    if not (root / "metrics.json").is_file():
        train(["--recipe", RECIPE, "--output_dir", str(root), "--resume_from_checkpoint", "latest"])
    notes = [*NOTES, f"{scenes} scenes of the test split."]
    rows = [{"names from": BASELINE, **measure(masks, scenes)}]
    size = AutoProcessor.from_pretrained(masks).image_processor.size["longest_edge"]
    for number, (name, change) in enumerate(VARIANTS.items()):
        own = root / f"words-{number}" if change else root
        if not (own / "metrics.json").is_file():
            given = [f"model.pretrained={masks}", "data.validation=null", change.format(size=size)]
            train(["--recipe", STAGE_TWO, *given, "--output_dir", str(own)])
        rows.append({"names from": name, **measure(own, scenes)})
        finished({"Open vocabulary on shapes": rows}, notes)
    return {"Open vocabulary on shapes": rows}, notes
