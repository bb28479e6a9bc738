# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""A training without a recipe: what is chosen from the data and the machine, and said in five lines.

Every choice is an override of a packaged recipe, so that the run has a recipe of its own that can be read, changed and
run again. What the user says on the command line comes last.
"""

import copy
import json
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psutil
import torch

from .. import auto
from ..backbone_weights import AUTOMATIC, packaged_is_installed
from ..data.facts import Facts, facts_of
from ..data.readers.reading import TolerantDataset
from .arguments import TrainingArguments, load_recipe
from .dry_run import activation_bytes, first_samples
from .loop import total_steps
from .normalization import accepted_names
from .own_data import with_folder
from .tasks import build_task

__all__ = ["Choice", "choose"]

METRICS = {"objects": ("pq", "PQ"), "classes": ("mean_iou", "mean IoU"), "volumes": ("dice", "Dice")}
# Objects in pixels of the network's input: masks are read from cells of 4 pixels, queries from cells of 8.
HALF_OF_OBJECTS, SMALL_OBJECTS = 20.0, 11.0
# Largest shorter side of the input: (CPU, accelerator).
LARGEST = {"objects": (384, 1024), "classes": (256, 512), "volumes": (160, 320)}
SMALLEST = 128
BATCHES = {"objects": 8, "classes": 8, "volumes": 16}  # samples of an update
MEMORY_SHARE = 0.4  # of what is free, for the activations of a micro-batch
CPU_MINUTES = 15
STEPS_PER_ROOT = 80  # updates per square root of the number of images or slices
FEWEST_STEPS, MOST_STEPS = 400, 30_000
EVALUATIONS, PATIENCE = 10, 4
TIMED = 3


@dataclass(frozen=True)
class Choice:
    """A recipe, what is changed in it, and the reasons.

    Attributes:
        recipe: Name of the packaged recipe.
        changes: `section.key=value`.
        lines: For the user: data, model, input, objects or classes, training.
    """

    recipe: str
    changes: list[str]
    lines: list[str]


@dataclass(frozen=True)
class Cost:
    """What an update needs on this machine.

    Attributes:
        bytes_per_sample: Activations that are kept for the gradient.
        samples: Images, or slices, of the training data.
        seconds: Of an update; None where it was not timed.
        image_seconds: Of a held-out image or slice.
    """

    bytes_per_sample: int
    samples: int
    seconds: float | None = None
    image_seconds: float = 0.0


def choose(folder: str, overrides: Sequence[str] = ()) -> Choice:
    """Chooses recipe, input size, queries, batch, learning rate and length for a folder.

    Of several processes each chooses the same: nothing is timed then.

    Args:
        folder: With images and labels, or volumes.
        overrides: What the user has decided, `section.key=value`; it is respected, and not repeated in `changes`.

    Raises:
        FileNotFoundError, ValueError: The folder cannot be read, or an override is not right.
    """
    facts = facts_of(folder, "skip" if "data.on_error=skip" in overrides else "stop")
    recipe = next(row.recipes[facts.kind] for row in auto.ARCHITECTURES if facts.kind in row.recipes)
    given = {text.partition("=")[0].strip() for text in overrides}
    accelerated = torch.cuda.is_available()
    changes = with_folder(load_recipe(recipe), folder)
    if facts.kind == "volumes":
        changes = [*volume_sides(changes, facts), *volume_changes(facts, accelerated)]
        size, counted = volume_lines(facts, accelerated)
    elif facts.kind == "objects":
        changes += object_changes(facts, accelerated)
        size, counted = object_lines(facts, accelerated)
    else:
        changes += class_changes(facts, accelerated)
        size, counted = class_lines(facts, accelerated)
    if "run.epochs" in given:  # exactly one of the two may be given
        changes.append("run.max_steps=null")
    if "model.pretrained" in given:  # the folder brings network and image processor
        changes = [text for text in changes if not text.startswith("model.")]
    arguments = load_recipe(recipe, [*changes, *overrides])
    cost = measured_cost(arguments, BATCHES[facts.kind], timed=processes() == 1 and not accelerated)
    more, training = length_changes(facts, cost, arguments, given, accelerated)
    changes = [text for text in [*changes, *more] if text.partition("=")[0] not in given]
    return Choice(recipe, changes, [data_line(folder, facts), model_line(recipe, arguments), size, counted, training])


# ---------------------------------------------------------------------------------------------------------------- input


def cells(length: float, unit: int = 32) -> int:
    """The nearest multiple of a unit, at least one."""
    return max(round(length / unit), 1) * unit


def object_scale(facts: Facts) -> float:
    """Pixels of the input per pixel of the image that make half of the objects, and small ones, large enough."""
    tenth, half, _ = facts.sides
    return max(HALF_OF_OBJECTS / half, SMALL_OBJECTS / tenth)


def short_side(facts: Facts, accelerated: bool) -> int:
    """Shorter side of the network's input for whole images."""
    short, largest = min(facts.height, facts.width), LARGEST[facts.kind][accelerated]
    wanted = short * object_scale(facts) if facts.kind == "objects" else short
    return cells(min(max(wanted, SMALLEST), largest))


def object_changes(facts: Facts, accelerated: bool) -> list[str]:
    """Changes of the recipe for objects: input, crops, queries, contrast."""
    short, ratio = min(facts.height, facts.width), max(facts.height, facts.width) / min(facts.height, facts.width)
    side = short_side(facts, accelerated)
    scale, longest = side / short, cells(side * min(ratio, 2.0))
    # A crop holds nearly all objects whole; more than 320 pixels are for accelerators.
    crop = min(max(cells(facts.sides[2] * scale / 0.75), 192), max(side, 192), 1024 if accelerated else 320)
    jitter = [round(share * longest / crop, 2) for share in (0.8, 1.3)]
    # Share of the fullest image's objects that a crop shows, at the smallest scale and where they lie close together.
    shown = min(1.0, 1.5 * (crop / (0.8 * side)) * (crop / (0.8 * longest)))
    learned = max(10, 2 * facts.stuff)
    queries = learned + min(max(math.ceil(facts.objects[1] * shown / 10) * 10, 50), 300)
    most = learned + min(max(3 * facts.objects[1], 300), 1000)
    return [
        f"model.processor.size={{shortest_edge: {side}, longest_edge: {2 * side}}}",
        f"model.processor.stretch_contrast={json.dumps(facts.dark)}",
        f"data.train.stretch_contrast={json.dumps(facts.dark)}",
        f"data.validation.stretch_contrast={json.dumps(facts.dark)}",
        f"data.transforms={{name: instance, crop_size: [{crop}, {crop}], scale_range: {jitter}}}",
        f"model.config.num_queries={queries}",
        f"model.config.num_learned_queries={learned}",
        f"model.config.max_queries={max(most, queries)}",
    ]


def class_changes(facts: Facts, accelerated: bool) -> list[str]:
    """Changes of the recipe for a class per pixel: input, crops of the images' shape, queries."""
    side = short_side(facts, accelerated)
    ratio = min(max(facts.width / facts.height, 0.75), 1.5)
    area = (0.8 * side) ** 2 * max(ratio, 1 / ratio)
    crop = [cells((area / ratio) ** 0.5), cells((area * ratio) ** 0.5)]
    sides = [cells(side * share, 8) for share in (0.8, 0.88, 0.96, 1.04, 1.12, 1.2, 1.28)]
    return [
        f"model.processor.size={{shortest_edge: {side}, longest_edge: {2 * side}}}",
        f"data.transforms={{name: semantic, crop_size: {crop}, short_sides: {sides}}}",
        f"model.config.num_queries={min(max(50, 2 * len(facts.names)), 200)}",
    ]


def volume_size(facts: Facts, accelerated: bool) -> tuple[int, int]:
    """Height and width of the network's input for slices, in cells of its patches of 8 pixels."""
    factor = min(1.0, LARGEST["volumes"][accelerated] / max(facts.height, facts.width))
    height, width = (max(math.ceil(side * factor / 8) * 8, 32) for side in (facts.height, facts.width))
    return height, width


def volume_changes(facts: Facts, accelerated: bool) -> list[str]:
    """Changes of the recipe for volumes: input and modality."""
    height, width = volume_size(facts, accelerated)
    size, mode = {"height": height, "width": width}, "windows" if facts.modality == "CT" else "2.5d"
    return [
        f"model.processor={json.dumps({'size': size, 'modality': facts.modality, 'input_mode': mode})}",
        f"data.collator.size=[{height}, {width}]",
        f"model.config.backbone_config.image_size={max(height, width)}",
    ]


def volume_sides(changes: Sequence[str], facts: Facts) -> list[str]:
    """The folder's changes, with the classes and the modality that were found."""
    told = {
        "id2label": dict(enumerate(facts.names)),
        "modality": facts.modality,
        "input_mode": "windows" if facts.modality == "CT" else "2.5d",
    }
    sides = [text.split("=", 1) for text in changes if text.startswith(("data.train=", "data.validation="))]
    return [f"{name}={json.dumps({**json.loads(side), **told})}" for name, side in sides]


# ------------------------------------------------------------------------------------------------------ cost and length


def measured_cost(arguments: TrainingArguments, size: int, timed: bool) -> Cost:
    """Builds the model once without its weights and measures an update's activations, and its time if asked for."""
    task = build_task(copy.deepcopy(arguments))  # which decides about the backbone in place
    dataset = TolerantDataset(task.build_dataset(arguments.data.train), arguments.data.on_error)
    model = task.build_model(dataset, load_backbone=False).train()
    processor = task.build_processor(model)
    collate = task.build_collator(dataset, model, processor)
    accepted = accepted_names(model)

    def batch(count: int, first: int = 0) -> dict[str, Any]:
        samples = [dataset[(first + index) % len(dataset)] for index in range(count)]
        return {name: value for name, value in collate(samples).items() if name in accepted}

    with torch.random.fork_rng(devices=[]):
        per_sample = activation_bytes(model, first_samples(batch(1), 1, 1), arguments.run.mixed_precision)
        if not timed:
            return Cost(per_sample, len(dataset))
        taken = []
        for number in range(TIMED + 1):
            start = time.perf_counter()
            model(**batch(size, number * size))["loss"].backward()
            taken.append(time.perf_counter() - start)
            model.zero_grad()
        image = torch.zeros(1, batch(1)["pixel_values"].shape[1], *image_side(processor, dataset))
        for _ in range(2):  # the first one warms up
            start = time.perf_counter()
            with torch.inference_mode():
                model.eval()(pixel_values=image)
            image_seconds = time.perf_counter() - start
    return Cost(per_sample, len(dataset), sorted(taken[1:])[TIMED // 2], image_seconds)


def image_side(processor: Any, dataset: Any) -> tuple[int, int]:
    """Height and width of the network's input for a whole image of the data."""
    size = dict(processor.size)
    if "height" in size:
        return int(size["height"]), int(size["width"])
    height, width = dataset[0]["image"].shape[:2]
    factor = min(size["shortest_edge"] / min(height, width), size["longest_edge"] / max(height, width))
    return cells(height * factor), cells(width * factor)


def processes() -> int:
    """Number of processes of this launch, which are not joined yet."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def free_memory(accelerated: bool) -> int:
    """Bytes that a process can have: of its accelerator, else its share of the machine's; alone, what is free."""
    if accelerated:
        return int(torch.cuda.get_device_properties(0).total_memory)
    memory = psutil.virtual_memory()
    return int(memory.available) if processes() == 1 else int(memory.total) // processes()


def length_changes(
    facts: Facts, cost: Cost, arguments: TrainingArguments, given: set[str], accelerated: bool
) -> tuple[list[str], str]:
    """Batch, learning rate, number of updates and evaluations, and the line about them."""
    ranks, room = processes(), MEMORY_SHARE * free_memory(accelerated)
    micro = arguments.data.batch_size if "data.batch_size" in given else max(BATCHES[facts.kind] // ranks, 1)
    size = micro * ranks  # samples of an update
    while "data.batch_size" not in given and micro > 1 and micro * cost.bytes_per_sample > room:
        micro //= 2
    wanted = cells(STEPS_PER_ROOT * cost.samples**0.5, 50)
    steps = min(max(wanted, FEWEST_STEPS), MOST_STEPS)
    minutes, budget = 0.0, arguments.run.max_seconds or 60 * CPU_MINUTES
    if "run.max_steps" in given or "run.epochs" in given:
        steps = wanted = total_steps(arguments.run, cost.samples, size)
    elif cost.seconds is not None:
        slices = cost.samples / facts.images if facts.kind == "volumes" else 1
        looked_at = facts.held_out * cost.image_seconds * slices
        affordable = (budget - EVALUATIONS * looked_at) / cost.seconds
        steps = cells(min(steps, max(affordable, FEWEST_STEPS / 2)), 10)
        minutes = (steps * cost.seconds + EVALUATIONS * looked_at) / 60
    every = min(max(steps // EVALUATIONS, FEWEST_STEPS // 16), steps)
    rate = {"volumes": 1e-3}.get(facts.kind, 1.5e-3) * min(1.0, (1500 / steps) ** 0.5)
    metric, called = METRICS[facts.kind]
    changes = [
        f"run.max_steps={steps}",
        f"data.batch_size={micro}",
        f"run.gradient_accumulation_steps={size // (micro * ranks)}",
        f"optimizer.learning_rate={rate:.2g}",
        f"schedule.warmup_steps={max(steps // 20, 1)}",
        f"run.ema_decay={0.99 if steps < 1000 else 0.995}",
        f"run.evaluate_every={every}",
        f"run.save_every={every}",
        f"run.metric={metric}",
        f"run.patience={PATIENCE}",
        "run.final_weights=best",
    ]
    if "run.epochs" in given:
        changes = [text for text in changes if not text.startswith("run.max_steps=")]
    about = f", about {max(minutes, 1):.0f} minutes on this machine" if minutes else ""
    cut = f" ({wanted:,} would suit the number of images: run.max_steps={wanted})" if steps < wanted else ""
    what = "slices" if facts.kind == "volumes" else "images"
    batch = f"{size} {what}" + (f" in parts of {micro}, for memory" if micro * ranks < size else "")
    return changes, (
        f"training: {steps:,} updates of {batch}{about}{cut}; learning rate {rate:.2g}; stops when {called} of the "
        f"held-out {what.replace('slices', 'volumes')}, measured every {every} updates, has not risen "
        f"{PATIENCE} times"
    )


# ---------------------------------------------------------------------------------------------------------------- lines


def data_line(folder: str, facts: Facts) -> str:
    """What there is."""
    what = "volumes" if facts.kind == "volumes" else "images"
    names = ", ".join(facts.names[:4]) + (", ..." if len(facts.names) > 4 else "")
    counted = f"{len(facts.names)} classes" if len(facts.names) > 1 else "1 class"
    return f"data: {facts.images} {what} of {folder} to learn from, {facts.held_out} held out; {counted} ({names})"


def model_line(recipe: str, arguments: TrainingArguments) -> str:
    """The network and where its weights come from."""
    start = arguments.model.pretrained or arguments.model.backbone
    if start == "auto":
        start = AUTOMATIC if packaged_is_installed(AUTOMATIC) else None
    weights = f"starts from {start}" if start else "starts from scratch"
    return f"model: that of recipe {recipe}, {weights}"


def object_lines(facts: Facts, accelerated: bool) -> tuple[str, str]:
    """Input and queries, with their reasons."""
    side, short = short_side(facts, accelerated), min(facts.height, facts.width)
    _, half, _ = facts.sides
    seen = half * side / short
    size = (
        f"input: shorter side {side}; images are {facts.height}x{facts.width}, half of the objects smaller than "
        f"{half:.0f} pixels across, which become {seen:.0f}"
    )
    if seen < 0.6 * HALF_OF_OBJECTS:
        size += " (few for a good mask: cut the images into tiles, train on them, and predict with --tile)"
    changes = dict(text.split("=", 1) for text in object_changes(facts, accelerated))
    queries, most = changes["model.config.num_queries"], changes["model.config.max_queries"]
    counted = (
        f"objects: nine of ten images have at most {facts.objects[0]}, the fullest {facts.objects[1]}: {queries} "
        f"queries in training, up to {most} afterwards"
    )
    return size, counted + ("; contrast is stretched, as many images are dark" if facts.dark else "")


def class_lines(facts: Facts, accelerated: bool) -> tuple[str, str]:
    """Input and classes, with their reasons."""
    changes = dict(text.split("=", 1) for text in class_changes(facts, accelerated))
    side, queries = short_side(facts, accelerated), changes["model.config.num_queries"]
    crop = changes["data.transforms"].partition("crop_size: [")[2].partition("]")[0].replace(", ", "x")
    where = "what a GPU does in reasonable time" if accelerated else "what a CPU does in minutes"
    short = min(facts.height, facts.width)
    limit = where if side < short else "enlarged" if side > short else "as they are"
    size = f"input: shorter side {side}, crops of {crop}; images are {facts.height}x{facts.width} ({limit})"
    return size, f"classes: one per pixel, all {len(facts.names)} together: {queries} queries"


def volume_lines(facts: Facts, accelerated: bool) -> tuple[str, str]:
    """Input and modality, with their reasons."""
    height, width = volume_size(facts, accelerated)
    size = f"input: slices of {height}x{width}; those of the volumes are {facts.height}x{facts.width} (median)"
    counted = (
        f"modality: {facts.modality}, as the data say, or by whether there are values below -200 (data.train.modality, "
        "data.validation.modality and model.processor.modality change it)"
    )
    return size, counted
