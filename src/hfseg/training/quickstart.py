# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The quickstart: from a tiny recipe to a trained model that is loaded back and used, in minutes on two cores."""

import copy
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import set_seed
from PIL import Image

from .. import auto, tasks
from ..data.readers.folders import load_folder
from ..evaluation.referring import tinted
from ..files.writing import write_json
from ..inference.loading import load
from ..results.drawing import image_grid, overlay, overlay_semantic
from .arguments import TrainingArguments, load_recipe, recipe_names
from .loop import create_accelerator, train
from .model_card import model_card
from .normalization import accepted_names
from .tasks import Task, build_task

__all__ = ["quickstart", "set_up", "tiny_recipe"]

# Updates timed to turn --minutes into a number of updates; the first ones are slower and not counted.
TIMED_UPDATES, WARM_UPDATES = 6, 2


def load_data(arguments: TrainingArguments, folder: str | None) -> tuple[Any, Any]:
    """Opens training and held-out data: the recipe's, or those of a folder.

    Raises:
        FileNotFoundError, ValueError: As `load_folder`.
    """
    if folder is None:
        task = build_task(arguments)
        return task.build_dataset(arguments.data.train), task.build_dataset(arguments.data.validation or {})
    spec = {name: value for name, value in arguments.data.train.items() if name not in ("path", "split")}
    spec["hold_out"] = True  # of the training split, where there is none for validation
    return load_folder(folder, "train", **spec), load_folder(folder, "validation", **spec)


def tiny_recipe(architecture: str, folder: str | None) -> str:
    """Names the tiny recipe for some data: embedded shapes, images with label maps, or images with instances.

    Raises:
        FileNotFoundError, ValueError: As `load_folder`; the architecture has no recipe for such data.
    """
    stem = architecture.replace("_", "-")
    names = [name for name in recipe_names() if "-tiny-" in name and starts_alone(load_recipe(name))]
    name = f"{stem}-tiny-shapes"
    if folder is not None:
        name = f"{stem}-tiny-folder"
        if f"{stem}-tiny-instances" in names and load_folder(folder, "train").kind == "instance":
            name = f"{stem}-tiny-instances"
    if name not in names:
        ending = name.removeprefix(stem)
        able = ", ".join(other.removesuffix(ending).replace("-", "_") for other in names if other.endswith(ending))
        own = ", ".join(other for other in recipe_names() if other.startswith(f"{stem}-tiny")) or "none"
        raise ValueError(
            f"--architecture {architecture} has no quickstart {'on shapes' if folder is None else 'with --data'} (no "
            f"recipe {name} of one stage); {able} have. Small recipes of {architecture} for scripts/train.py: {own}."
        )
    return name


def starts_alone(recipe: TrainingArguments) -> bool:
    """Says whether a recipe is one run, or its first stage already does the whole task; the others are for `train`."""
    return not recipe.stages or "base" not in recipe.stages[0]


def updates_in(minutes: float, model: torch.nn.Module, batches: Sequence[Mapping[str, Any]]) -> int:
    """Times some updates of a copy of the model and returns how many fit into the time."""
    trial = copy.deepcopy(model).train()
    optimizer = torch.optim.AdamW(trial.parameters(), lr=1e-6)
    accepted = accepted_names(trial)
    for number, batch in enumerate(batches):
        if number == WARM_UPDATES:
            start = time.perf_counter()
        trial(**{name: value for name, value in batch.items() if name in accepted})["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
    seconds = (time.perf_counter() - start) / (len(batches) - WARM_UPDATES)
    return max(1, int(60 * minutes / seconds))


def shorten(arguments: TrainingArguments, steps: int) -> None:
    """Fits a recipe to another number of updates: its warm-up and milestones keep their share of the run.

    Without a number of updates in the recipe the warm-up takes at most a tenth.
    """
    schedule, before = arguments.schedule, arguments.run.max_steps
    share = steps / before if before else 1.0
    schedule.warmup_steps = min(round(schedule.warmup_steps * min(share, 1.0)), max(steps // 10, 1))
    schedule.milestones = [stone if stone < 1 else round(stone * share) for stone in schedule.milestones]
    if schedule.backbone_full_rate_until >= 1:
        schedule.backbone_full_rate_until = round(schedule.backbone_full_rate_until * share)
    arguments.run.max_steps, arguments.run.epochs = steps, None


@dataclass
class Job:
    """What a training run needs.

    Attributes:
        arguments: The recipe, with overrides.
        task: How it is put together.
        training, held_out: Data.
        model: Randomly initialized under the recipe's seed.
        image_processor: What is saved beside the model: its image processor, with text its processor, or None.
        collate: Turns examples into batches of the model.
        start: Name of the shipped model whose weights it goes on from; None: randomly initialized, or as the recipe.
    """

    arguments: TrainingArguments
    task: Task
    training: Any
    held_out: Any
    model: Any
    image_processor: Any
    collate: Callable[[list], Mapping[str, Any]]
    start: str | None = None


def set_up(
    architecture: str,
    data: str | None,
    overrides: Sequence[str] = (),
    minutes: float | None = None,
    from_scratch: bool = True,
) -> Job:
    """Builds data, model and collator of an architecture's tiny recipe; of its first stage, where it has several.

    Args:
        architecture: Its `model_type`.
        data: Folder of images and labels; None for `shapes`.
        overrides: Changes of the recipe, `section.key=value`.
        minutes: Training time, from which the number of updates follows; None takes the recipe's.
        from_scratch: Do not start from the shipped model of the recipe's name.

    Raises:
        FileNotFoundError, ValueError: As the recipe and the data say; the time is not positive.
    """
    if minutes is not None and not 0 < minutes < float("inf"):  # before anything is loaded
        raise ValueError(f"--minutes {minutes} is not a training time; give a positive number.")
    name = tiny_recipe(architecture, data)
    _, arguments = load_recipe(name, overrides).stage_arguments()[0]
    start = name if name in tasks.shipped_checkpoints() and not from_scratch else None
    if start is not None and arguments.model.pretrained is None:
        _, arguments = load_recipe(name, [*overrides, f"model.pretrained={name}"]).stage_arguments()[0]
    task = build_task(arguments)
    training, held_out = load_data(arguments, data)
    set_seed(arguments.run.seed)
    model = task.build_model(training)
    processor = task.build_processor(model)
    collate = task.build_collator(training, model, processor)
    if minutes is not None:
        size = arguments.data.batch_size
        batches = [
            collate([training[(number * size + place) % len(training)] for place in range(size)])
            for number in range(WARM_UPDATES + TIMED_UPDATES)
        ]
        shorten(arguments, updates_in(minutes, model, batches))
    return Job(arguments, task, training, held_out, model, processor, collate, start)


# ------------------------------------------------------------------------------------------------------------- images


def draw_segments(folder: Path, example: Mapping[str, Any], dataset: Any) -> list[tuple[str, Any]]:
    """Segments an image through `pipeline("image-segmentation")` and shows it beside its truth."""
    from transformers import pipeline

    id2label = dataset.id2label
    label2id = {label: class_id for class_id, label in id2label.items()}
    image = Image.fromarray(np.asarray(example["image"]))
    semantic = "segmentation_map" in example
    segmenter = pipeline("image-segmentation", model=str(folder), device="cpu")
    semantic_model = "SemanticSegmentation" in type(segmenter.model).__name__
    subtask = "semantic" if semantic or semantic_model else "panoptic"
    found, info = np.zeros(image.size[::-1], dtype=np.int32), []
    for number, segment in enumerate(segmenter(image, subtask=subtask), start=1):
        found[np.asarray(segment["mask"]) > 0] = number
        info.append({"id": number, "label_id": label2id[segment["label"]], "score": segment["score"]})
    if semantic:
        truth = overlay_semantic(image, example["segmentation_map"], id2label, ignore_index=dataset.ignore_index)
    else:
        truth = overlay(image, example["segmentation"], example["segments_info"], id2label)
    plain = overlay(image, np.zeros_like(found), [], id2label)
    return [("image", plain), ("ground truth", truth), ("prediction", overlay(image, found, info, id2label))]


def draw_referent(folder: Path, example: Mapping[str, Any], dataset: Any) -> list[tuple[str, Any]]:
    """Finds what an expression means through `pipeline("referring-image-segmentation")`."""
    from transformers import pipeline

    text, image = example["expressions"][0], np.asarray(example["image"])
    task: Any = "referring-image-segmentation"  # ours; transformers' signature lists its own
    found = pipeline(task, model=str(folder), device="cpu")(Image.fromarray(image), text=text)
    masks = [np.asarray(entry["mask"]) > 0 for entry in found]
    mask = masks[0] if masks else np.zeros(image.shape[:2], dtype=bool)
    return [
        (text, image),
        ("ground truth", tinted(image, np.asarray(example["mask"]) != 0)),
        ("predicted", tinted(image, mask)),
    ]


def draw_masks(folder: Path, example: Mapping[str, Any], dataset: Any) -> list[tuple[str, Any]]:
    """Finds all masks of an image through `pipeline("mask-generation")`; the smaller ones lie on top."""
    from transformers import pipeline

    image = Image.fromarray(np.asarray(example["image"]))
    result = pipeline("mask-generation", model=str(folder), device="cpu")(image)
    found = np.zeros(image.size[::-1], dtype=np.int32)
    info, names = [], {}
    for number, mask in enumerate(sorted((np.asarray(mask) for mask in result["masks"]), key=np.sum)[::-1], start=1):
        found[mask > 0] = number
        info.append({"id": number, "label_id": number})
        names[number] = str(number)
    truth = overlay(image, example["segmentation"], example["segments_info"], dataset.id2label)
    plain = overlay(image, np.zeros_like(found), [], names)
    return [("image", plain), ("ground truth", truth), (f"{len(info)} masks", overlay(image, found, info, names))]


def draw_answer(folder: Path, example: Mapping[str, Any], dataset: Any) -> list[tuple[str, Any]]:
    """Answers a query by example through the trained diffusers pipeline."""
    pipe = load(folder).model
    pipe.set_progress_bar_config(disable=True)
    answer = pipe(example["query"], example["examples"], generator=torch.Generator().manual_seed(0)).images[0]
    return [("query", example["query"]), (f"truth: {example['task']}", example["target"]), ("answer", answer)]


def images(folder: Path, dataset: Any, count: int = 3) -> Image.Image:
    """Runs the saved model on the first held-out images, each beside its truth.

    Raises:
        ValueError: There is no way to show such examples.
    """
    shown: list[Any] = []
    titles: list[str] = []
    for index in range(min(count, len(dataset))):
        example = dataset[index]
        if "query" in example:
            draw = draw_answer
        elif "expressions" in example:
            draw = draw_referent
        elif json.loads((folder / "config.json").read_text())["architectures"][0].endswith("MaskGeneration"):
            draw = draw_masks
        else:
            draw = draw_segments
        for title, image in draw(folder, example, dataset):
            shown.append(image)
            titles.append(f"image {index}" if title == "image" else title)
    return image_grid(shown, columns=3, titles=titles)


def write_card(job: Job, folder: Path, result: Any, command: str, embedded: bool) -> None:
    """Writes the card of the trained model; the license of models of embedded scenes is the package's."""
    card = model_card(
        folder.resolve().name,
        job.task,
        job.model,
        result,
        samples=len(job.training),
        held_out=len(job.held_out),
        processes=1,
        command=command,
        id2label=getattr(job.training, "id2label", None),
    )
    if embedded:
        card.data["license"] = "apache-2.0"
    card.save(folder / "README.md")


def describe_job(architecture: str, job: Job) -> str:
    """Model, data, updates and start in one line."""
    parameters = sum(parameter.numel() for parameter in job.model.parameters())
    classes = f", {len(job.training.id2label)} classes" if hasattr(job.training, "id2label") else ""
    start = "" if job.start is None else f", from the shipped weights of {job.start}"
    return (
        f"{architecture}, {parameters / 1e6:.2f} M parameters{start}; {len(job.training)} training and "
        f"{len(job.held_out)} held-out examples{classes}; {job.arguments.run.max_steps} updates of "
        f"{job.arguments.data.batch_size}."
    )


def quickstart(
    architecture: str = auto.ARCHITECTURES[0].model_type,
    *overrides: str,
    data: str | None = None,
    output_dir: str | Path = "outputs/quickstart",
    minutes: float | None = None,
    from_scratch: bool = False,
    command: str = "hfseg.training.quickstart.quickstart()",
) -> dict[str, float]:
    """Trains a tiny model, evaluates it, saves it, loads it back and segments images with it.

    Args:
        architecture: Its `model_type`.
        *overrides: Changes of the recipe, `section.key=value`.
        data: Folder of images and labels; None for embedded scenes.
        output_dir: Becomes an ordinary model folder with a card, plus `overlay.png` and `metrics.json`.
        minutes: Training time; the updates that fit are timed first.
        from_scratch: Do not start from the shipped model of the recipe's name, where there is one.
        command: Recorded in the card.

    Returns:
        The held-out metrics.

    Raises:
        FileNotFoundError, ValueError: The recipe, the data or the time is not right.
    """
    started = time.perf_counter()
    job = set_up(architecture, data, overrides, minutes, from_scratch)
    arguments, task, training, held_out, model = job.arguments, job.task, job.training, job.held_out, job.model
    print(describe_job(architecture, job), flush=True)
    if data is None:
        # Measured: a second thread does nothing for tensors this small, and stalls when the machine is busy.
        torch.set_num_threads(1)
    folder = Path(output_dir)
    accelerator = create_accelerator(arguments.run, folder, several_phases=len(arguments.phases) > 1)
    validation_collate = task.build_collator(held_out, model, job.image_processor, training=False)
    result = train(
        model,
        training,
        job.collate,
        arguments,
        output_dir=folder,
        evaluate_fn=lambda trained: task.evaluate(
            trained, job.image_processor, held_out, validation_collate, accelerator
        ),
        image_processor=job.image_processor,
        loss_normalizer=None if hasattr(model, "loss_normalizer") else task.loss_normalizer(model),
        save_fn=task.save,
        accelerator=accelerator,
    )
    file = folder / "overlay.png"
    images(folder, held_out).save(file)
    write_card(job, folder, result, command, data is None)
    metrics = {**result.metrics, "seconds": time.perf_counter() - started}
    write_json(folder / "metrics.json", metrics)
    print("Held out: " + ", ".join(f"{name} {value:.4g}" for name, value in result.metrics.items()))
    print(f"Model {folder}, images {file}, {metrics['seconds']:.0f} s in all. Use it on an image of your own:")
    print("".join(f"  {line}\n" for line in task.example(str(folder)).splitlines() if line), end="")
    return metrics
