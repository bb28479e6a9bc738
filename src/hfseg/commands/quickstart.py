# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg quickstart`: trains a tiny model, evaluates it, saves it, loads it back and segments a picture with it.

Runs offline on two cores: on embedded scenes in about two minutes, or with --data on your own pictures. What it leaves
in the output folder is an ordinary model folder, plus `overlay.png` and `metrics.json`.
"""

import argparse
import copy
import json
import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import set_seed
from PIL import Image

from .. import auto
from ..data.collation import UniversalCollator
from ..data.folders import list_splits, load_folder
from ..evaluation import TASKS, evaluate_segmentation
from ..training import TrainingArguments, load_recipe, train
from ..training.arguments import recipe_names
from ..visualization import image_grid, overlay, overlay_semantic
from .train import build_dataset, build_image_processor, build_model, build_transforms

# Updates timed to turn --minutes into a number of updates; the first ones are slower and not counted.
TIMED_UPDATES, WARM_UPDATES = 6, 2


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    trainable = [row.model_type for row in auto.ARCHITECTURES]
    parser = argparse.ArgumentParser(prog="quickstart", description=__doc__.split("\n\n")[0])
    parser.add_argument("--architecture", default="proscale", choices=trainable)
    parser.add_argument("--data", metavar="FOLDER", help="pictures and labels (or a COCO json) instead of `shapes`")
    parser.add_argument("--output_dir", default="outputs/quickstart", metavar="DIR")
    parser.add_argument("--minutes", type=float, help="training time; the updates that fit are timed first")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="changes of the recipe")
    return parser.parse_intermixed_args(argv)


def load_data(arguments: TrainingArguments, folder: str | None) -> tuple[Any, Any]:
    """Opens training and held-out data: the recipe's, or those of a folder.

    Raises:
        FileNotFoundError, ValueError: As `load_folder`.
    """
    if folder is None:
        return build_dataset(arguments.data, arguments.data.train), build_dataset(
            arguments.data, arguments.data.validation or {}
        )
    splits = list_splits(folder)
    named = [split for split in splits if split in ("val", "validation", "valid", "dev", "test")]
    if splits and not named:
        raise ValueError(f"{folder} has the splits {', '.join(splits)}: one for validation is missing (val or dev).")
    spec = {name: value for name, value in arguments.data.train.items() if name not in ("path", "split")}
    return load_folder(folder, "train", **spec), load_folder(folder, named[0] if named else "validation", **spec)


def tiny_recipe(architecture: str, folder: str | None) -> str:
    """Names the tiny recipe for some data: embedded shapes, pictures with label maps, or pictures with instances.

    Raises:
        FileNotFoundError, ValueError: As `load_folder`.
    """
    if folder is None:
        return f"{architecture}-tiny-shapes"
    instances = load_folder(folder, "train").kind == "instance"
    name = f"{architecture}-tiny-instances"
    return name if instances and name in recipe_names() else f"{architecture}-tiny-folder"


def updates_in(minutes: float, model: torch.nn.Module, batches: list[dict[str, Any]]) -> int:
    """Times some updates of a copy of the model and returns how many fit into the time.

    Raises:
        ValueError: If the time is not positive.
    """
    if minutes <= 0:
        raise ValueError(f"--minutes {minutes} is not a training time; give a positive number.")
    trial = copy.deepcopy(model).train()
    optimizer = torch.optim.AdamW(trial.parameters(), lr=1e-6)
    for number, batch in enumerate(batches):
        if number == WARM_UPDATES:
            start = time.perf_counter()
        trial(**{name: value for name, value in batch.items() if name != "image_id"}).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    seconds = (time.perf_counter() - start) / (len(batches) - WARM_UPDATES)
    return max(1, int(60 * minutes / seconds))


@dataclass
class Job:
    """What a training run needs.

    Attributes:
        arguments: The recipe, with overrides.
        training, held_out: Data.
        model: Freshly initialised under the recipe's seed.
        image_processor: That of the model.
        collate: Turns examples into batches of the model.
    """

    arguments: TrainingArguments
    training: Any
    held_out: Any
    model: Any
    image_processor: Any
    collate: Callable[[list], dict[str, Any]]


def set_up(architecture: str, data: str | None, overrides: Sequence[str] = (), minutes: float | None = None) -> Job:
    """Builds data, model and collator of an architecture's tiny recipe.

    Args:
        architecture: Its `model_type`.
        data: Folder of pictures and labels; None for `shapes`.
        overrides: Changes of the recipe, `section.key=value`.
        minutes: Training time, from which the number of updates follows; None takes the recipe's.

    Raises:
        FileNotFoundError, ValueError: As the recipe, the data and `updates_in` say.
    """
    arguments = load_recipe(tiny_recipe(architecture, data), overrides)
    training, held_out = load_data(arguments, data)
    arguments.model.config.setdefault("stuff_class_ids", list(training.stuff_class_ids))
    arguments.model.processor.setdefault("label_ids_to_fuse", list(training.stuff_class_ids))
    set_seed(arguments.run.seed)
    model = build_model(arguments.model, training.id2label)
    image_processor = build_image_processor(arguments.model, model)
    collate = UniversalCollator(
        ignore_index=training.ignore_index,
        transforms=build_transforms(arguments.data.transforms),
        num_labels=model.config.num_labels,
    )
    if minutes is not None:
        size = arguments.data.batch_size
        batches = [
            collate([training[(number * size + place) % len(training)] for place in range(size)])
            for number in range(WARM_UPDATES + TIMED_UPDATES)
        ]
        arguments.run.max_steps = updates_in(minutes, model, batches)
    return Job(arguments, training, held_out, model, image_processor, collate)


def pictures(folder: Path, dataset: Any, id2label: dict[int, str], count: int = 3) -> Image.Image:
    """Segments the first held-out pictures through `pipeline()` and puts each beside its truth."""
    from transformers import pipeline

    segmenter = pipeline("image-segmentation", model=str(folder), device="cpu")
    label2id = {label: class_id for class_id, label in id2label.items()}
    shown, titles = [], []
    for index in range(min(count, len(dataset))):
        example = dataset[index]
        image = Image.fromarray(np.asarray(example["image"]))
        semantic = "segmentation_map" in example
        found, info = np.zeros(image.size[::-1], dtype=np.int32), []
        for number, segment in enumerate(segmenter(image, subtask="semantic" if semantic else "panoptic"), start=1):
            found[np.asarray(segment["mask"]) > 0] = number
            info.append({"id": number, "label_id": label2id[segment["label"]], "score": segment["score"]})
        if semantic:
            truth = overlay_semantic(image, example["segmentation_map"], id2label, ignore_index=dataset.ignore_index)
        else:
            truth = overlay(image, example["segmentation"], example["segments_info"], id2label)
        shown += [overlay(image, np.zeros_like(found), [], id2label), truth, overlay(image, found, info, id2label)]
        titles += [f"picture {index}", "truth", "predicted"]
    return image_grid(shown, columns=3, titles=titles)


def run(options: argparse.Namespace) -> dict[str, float]:
    """Carries out one parsed command line and returns the held-out metrics."""
    started = time.perf_counter()
    job = set_up(options.architecture, options.data, options.overrides, options.minutes)
    arguments, training, held_out, model = job.arguments, job.training, job.held_out, job.model
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(
        f"{options.architecture}, {parameters / 1e6:.2f} M parameters; {len(training)} training and {len(held_out)} "
        f"held-out pictures, {len(training.id2label)} classes; {arguments.run.max_steps} updates of "
        f"{arguments.data.batch_size} pictures.",
        flush=True,
    )
    if options.data is None:
        # Measured: a second thread does nothing for tensors this small, and stalls when the machine is busy.
        torch.set_num_threads(1)
    folder = Path(options.output_dir)
    result = train(
        model,
        training,
        job.collate,
        arguments,
        output_dir=folder,
        evaluate_fn=lambda trained: evaluate_segmentation(trained, job.image_processor, held_out, tasks=TASKS),
        image_processor=job.image_processor,
    )
    file = folder / "overlay.png"
    pictures(folder, held_out, training.id2label).save(file)
    metrics = {**result.metrics, "seconds": time.perf_counter() - started}
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    print("Held out: " + ", ".join(f"{name} {value:.1f}" for name, value in result.metrics.items()))
    print(f"Model {folder}, pictures {file}, {metrics['seconds']:.0f} s in all. Use it on a picture of your own:")
    print(f'  import hfseg; from transformers import pipeline; pipeline("image-segmentation", "{folder}")("FILE.jpg")')
    return metrics


def main(argv: list[str] | None = None) -> int:
    """Entry of `hfseg quickstart` and `scripts/quickstart.py`."""
    logging.basicConfig(level=logging.WARNING)
    try:
        run(parse(argv))
    except (FileNotFoundError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
