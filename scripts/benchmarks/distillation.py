# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""A small PRO-SCALE from a Mask2Former on `shapes`: warm start, labels, teacher, and from scratch, by CPU time.

The teacher is a Mask2Former of transformers, trained here on the same scenes (by our implementation of it, which is
faster) unless its folder is there already.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate.utils import set_seed
from transformers import Mask2FormerForUniversalSegmentation

from hfseg.data.synthetic.shapes import stuff_class_ids
from hfseg.evaluation.segmentation import evaluate_segmentation
from hfseg.models.proscale.convert_mask2former import from_mask2former
from hfseg.models.proscale.modeling_proscale import ProScaleForUniversalSegmentation
from hfseg.training import train
from hfseg.training.arguments import load_recipe
from hfseg.training.quickstart import set_up
from hfseg.training.tasks import build_task

from .learning import peer_config

# The plain decoder, which Mask2Former has too, and its encoder of six layers.
PLAIN = [
    "model.config.mask_positions=false",
    "model.config.query_selection=learned",
    "model.config.position_code=normalized",
    "model.config.num_queries=20",
    "model.processor.suppress_duplicates=false",
]
STAGES = "model.config.encoder_stage_layers=[1,1,1]"
SCENES = "data.validation={split: validation, num_scenes: 128, image_size: [96, 96]}"
TRAINING = [
    "data.name=shapes",
    "data.train={split: train, num_scenes: 100000, image_size: [96, 96]}",
    SCENES,
    "data.transforms=null",
    "data.batch_size=8",
    "optimizer.learning_rate=1.0e-3",
    "optimizer.backbone_multiplier=1.0",
    "schedule.warmup_steps=1",
    "run.save_every=null",
]
# Mode -> changes of the recipe; "from scratch" has the student's sizes and random weights.
MODES = {
    "from scratch, labels": ["model.task=universal", "data.collate=universal"],
    "warm start, labels": ["model.task=universal", "data.collate=universal"],
    "warm start, teacher": ["data.collator={labels: false}"],
    "warm start, teacher and labels": [],
}
TIMED, WARM = 8, 2
NOTES = [
    "Teacher: a Mask2Former of transformers (six encoder layers), trained on the same scenes. Students: PRO-SCALE, "
    "encoder (1, 1, 1). All: same data and order, learning rate 1e-3 (poly), batch 8; a seed each for weights and "
    "order.",
    "Minutes are CPU minutes of training: each mode has as many updates as fit, timed before in turns, so a teacher "
    "costs updates. The earlier point lies on the way of the longer run. PQ in percent, 128 validation scenes.",
]


def to_mask2former(model: ProScaleForUniversalSegmentation) -> Mask2FormerForUniversalSegmentation:
    """Turns a model with `encoder="full"` into transformers' Mask2Former with the same weights.

    Every number of a Mask2Former is marked, and the marks are followed through the conversion to this model.
    """
    theirs = Mask2FormerForUniversalSegmentation(peer_config(model.config))
    state = {name: value for name, value in theirs.state_dict().items() if value.is_floating_point()}
    numbers = torch.cat([value.flatten() for value in state.values()])
    marked, start = {}, 0
    for name, value in state.items():
        marked[name] = torch.arange(start, start + value.numel(), dtype=torch.float32).view(value.shape)
        start += value.numel()
    assert start < 2**24  # whole numbers that float32 holds
    theirs.load_state_dict(marked, strict=False)
    marks = ProScaleForUniversalSegmentation.from_mask2former(theirs, encoder="full").state_dict()
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            numbers[marks[name].long().flatten()] = value.flatten()
    parts = numbers.split([value.numel() for value in state.values()])
    restored = {name: part.view(value.shape) for (name, value), part in zip(state.items(), parts)}
    theirs.load_state_dict(restored, strict=False)
    return theirs.eval()


def train_teacher(folder: Path, updates: int) -> None:
    """Trains a Mask2Former on scenes, by our implementation of it, and saves it as transformers' with its processor."""
    schedule = [f"run.max_steps={updates}", f"schedule.warmup_steps={min(50, updates)}", "run.ema_decay=0.99"]
    full = ["model.config.encoder=full", "model.config.encoder_layers=6"]
    job = set_up("proscale", None, [*PLAIN, SCENES, *schedule, *full, "data.num_workers=0"])
    with tempfile.TemporaryDirectory() as run:
        place = Path(run) / "run"
        train(job.model, job.training, job.collate, job.arguments, output_dir=place)
        model = ProScaleForUniversalSegmentation.from_pretrained(place)
    to_mask2former(model).save_pretrained(folder)
    settings = {"image_processor_type": "Mask2FormerImageProcessor", "size": {"shortest_edge": 96, "longest_edge": 192}}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")


class Student(NamedTuple):
    """What a run needs: the recipe, how it is put together, data, a fresh model and its collator."""

    arguments: Any
    task: Any
    training: Any
    held_out: Any
    model: Any
    processor: Any
    collate: Any


def student_of(teacher: Path, mode: str, seed: int) -> Student:
    """Builds the student of a mode and a seed."""
    changes = [f"model.pretrained={json.dumps(str(teacher))}", STAGES, *TRAINING, *MODES[mode], f"run.seed={seed}"]
    arguments = load_recipe("proscale-from-mask2former", changes)
    task = build_task(arguments)
    training, held_out = task.build_dataset(arguments.data.train), task.build_dataset(arguments.data.validation or {})
    set_seed(seed)
    model = task.build_model(training)
    if mode.startswith("from scratch"):
        model = ProScaleForUniversalSegmentation(model.config)
    processor = task.build_processor(model)
    return Student(
        arguments, task, training, held_out, model, processor, task.build_collator(training, model, processor)
    )


def updates_by_mode(teacher: Path, minutes: float) -> dict[str, int]:
    """How many updates fit into CPU minutes, of every mode: timed in turns, so that a busy machine is fair to all."""
    sides = {}
    for mode in MODES:
        one = student_of(teacher, mode, 0)
        model = one.model.train()
        batches = [one.collate([one.training[8 * n + place] for place in range(8)]) for n in range(TIMED + WARM)]
        sides[mode] = (model, torch.optim.AdamW(model.parameters(), lr=0.0), batches)
    taken: dict[str, list[float]] = {mode: [] for mode in MODES}
    for number in range(TIMED + WARM):
        for mode, (model, optimizer, batches) in sides.items():
            start = time.process_time()
            model(**batches[number])["loss"].backward()
            optimizer.step()
            optimizer.zero_grad()
            if number >= WARM:
                taken[mode].append(time.process_time() - start)
    return {mode: max(2, int(60 * minutes / statistics.median(times))) for mode, times in taken.items()}


def one_run(teacher: Path, mode: str, seed: int, minutes: Sequence[float], updates: int) -> list[dict]:
    """Trains one student; a row per measurement.

    Args:
        minutes: CPU minutes of the run, and before them the earlier point at which it is measured.
        updates: That fit into the last of these.
    """
    one = student_of(teacher, mode, seed)
    arguments, task, model = one.arguments, one.task, one.model
    share = max(round(updates * minutes[0] / minutes[-1]), 1)
    arguments.run.max_steps, arguments.run.evaluate_every = updates, share
    arguments.schedule.warmup_steps = min(20, max(updates // 10, 1))
    points: list[dict] = []
    spent, begun = 0.0, time.process_time()

    def evaluate(trained: Any) -> dict[str, float]:
        nonlocal spent, begun
        spent += time.process_time() - begun
        inner = task.inner(trained)
        numbers = evaluate_segmentation(inner, one.processor, one.held_out, tasks=("panoptic",))
        points.append({"CPU minutes": spent / 60, "pq": numbers["pq"]})
        begun = time.process_time()
        return numbers

    with tempfile.TemporaryDirectory() as run:
        train(model, one.training, one.collate, arguments, output_dir=Path(run) / "run", evaluate_fn=evaluate,
              loss_normalizer=None if hasattr(model, "loss_normalizer") else task.loss_normalizer(model))  # fmt: skip
    rows = [points[0], points[-1]] if len(points) > 1 else points
    counts = [share, updates][-len(rows) :]
    return [
        {"mode": mode, "seed": seed, "minutes": planned, "updates": count, **row}
        for planned, count, row in zip(minutes[-len(rows) :], counts, rows)
    ]


def kept_run(teacher: Path, mode: str, seed: int, minutes: Sequence[float]) -> list[dict]:
    """Returns the rows of a run that is in the teacher's folder, or trains it and puts them there.

    So are the numbers of updates: all runs of a mode have the same, however busy the machine is.
    """
    folder = teacher / "students"
    folder.mkdir(exist_ok=True)
    plan = folder / f"updates-{minutes[-1]:g}.json"
    if not plan.is_file():
        plan.write_text(json.dumps(updates_by_mode(teacher, minutes[-1]), indent=1), encoding="utf-8")
    updates = json.loads(plan.read_text(encoding="utf-8"))[mode]
    name = "-".join([mode.replace(", ", "-").replace(" ", "-"), str(seed), *(f"{part:g}" for part in minutes)])
    file = folder / f"{name}.json"
    if not file.is_file():
        file.write_text(json.dumps(one_run(teacher, mode, seed, minutes, updates)), encoding="utf-8")
    return json.loads(file.read_text(encoding="utf-8"))


def speed_rows(teacher: Path, sizes: Sequence[int], rounds: int = 7) -> list[dict]:
    """CPU milliseconds of a forward pass, interleaved in this process; the median of the rounds."""
    theirs = Mask2FormerForUniversalSegmentation.from_pretrained(teacher).eval()
    stuff = list(stuff_class_ids)
    sides = {
        "Mask2Former (transformers)": theirs,
        "the same, encoder=full": from_mask2former(teacher, stuff_class_ids=stuff).model,
        "encoder (1, 1, 1)": from_mask2former(teacher, stuff_class_ids=stuff, encoder_stage_layers=(1, 1, 1)).model,
    }
    rows = []
    for size in sizes:
        pixels, taken = torch.rand(1, 3, size, size), {name: [] for name in sides}
        with torch.inference_mode():
            for number in range(rounds + 1):
                for name, model in sides.items():
                    start = time.process_time()
                    model(pixel_values=pixels)
                    if number:
                        taken[name].append(1000 * (time.process_time() - start))
        base = statistics.median(taken["Mask2Former (transformers)"])
        for name, times in taken.items():
            median = statistics.median(times)
            rows.append({"size": size, "model": name, "CPU ms": median, "ratio": median / base})
    return rows


def summary(runs: Sequence[dict]) -> list[dict]:
    """Mean PQ of the seeds per mode and time."""
    rows = []
    for mode, minutes in dict.fromkeys((run["mode"], run["minutes"]) for run in runs):
        values = [run["pq"] for run in runs if (run["mode"], run["minutes"]) == (mode, minutes)]
        deviation = statistics.stdev(values) if len(values) > 1 else None
        rows.append(
            {
                "mode": mode,
                "minutes": minutes,
                "seeds": len(values),
                "pq": statistics.mean(values),
                "deviation": deviation,
            }
        )
    return rows


def distillation_tables(
    teacher: str,
    minutes: Sequence[float],
    seeds: Sequence[int],
    teacher_updates: int,
    done: Callable[[dict[str, list[dict]], list[str]], None] | None = None,
) -> tuple[dict[str, list[dict]], list[str]]:
    """Trains the teacher if its folder is empty, then every mode with every seed.

    Runs are kept in the teacher's folder: a call that was ended goes on where it was.

    Args:
        teacher: Folder of a Mask2Former with the classes of `shapes`.
        minutes: CPU minutes of a run, and before them the earlier point at which it is evaluated.
        seeds: Of the runs.
        teacher_updates: Of a teacher that is trained here.
        done: Called with the tables so far after every run.
    """
    folder = Path(teacher)
    torch.set_num_threads(1)
    if not (folder / "config.json").is_file():
        train_teacher(folder, teacher_updates)
    stuff = list(stuff_class_ids)
    converted = from_mask2former(folder, stuff_class_ids=stuff)
    held_out = build_task(load_recipe("proscale-tiny-shapes", [SCENES])).build_validation_dataset()
    whole = evaluate_segmentation(converted.model, converted.image_processor, held_out, tasks=("panoptic",))
    cut = from_mask2former(folder, stuff_class_ids=stuff, encoder_stage_layers=(1, 1, 1))
    at_once = evaluate_segmentation(cut.model, cut.image_processor, held_out, tasks=("panoptic",))
    before = [
        {"model": "teacher, as encoder=full", "pq": whole["pq"]},
        {"model": "warm start, untrained", "pq": at_once["pq"]},
    ]
    tables = {"Before training": before, "Forward pass": speed_rows(folder, (96, 384))}
    runs: list[dict] = []
    for seed in seeds:
        for mode in MODES:
            runs += kept_run(folder, mode, seed, minutes)
            tables |= {"Students": summary(runs), "Runs": runs}
            if done is not None:
                done(tables, NOTES)
    return tables, NOTES
