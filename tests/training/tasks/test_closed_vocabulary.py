# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Tasks of closed vocabularies: metrics during training are those of the public evaluation."""

import json
from types import SimpleNamespace

import pytest
import torch
from accelerate.utils import DistributedType
from transformers import AutoImageProcessor, AutoModelForUniversalSegmentation

from hfseg.commands.train import main
from hfseg.data import ShapesDataset
from hfseg.training import load_recipe
from hfseg.training.tasks import build_task
from hfseg.training.tasks.base import build_model

SMALL = ["data.train.num_scenes=8", "data.validation.num_scenes=3", "data.batch_size=2"]
SMALL += ["data.num_workers=0", "schedule.warmup_steps=0"]


def test_metrics_during_training_best_weights_and_processor(tmp_path):
    folder = tmp_path / "out"
    run = ["run.max_steps=4", "run.evaluate_every=2", "run.metric=pq", "run.final_weights=best", "run.patience=3"]
    evaluation = ["run.evaluation={tasks: [panoptic, instance, semantic], loss: true}"]
    main(["--recipe", "proscale-tiny-shapes", "--output_dir", str(folder), *SMALL, *run, *evaluation])
    record = json.loads((folder / "metrics.json").read_text())
    assert {"pq", "ap", "mean_iou", "loss"} <= set(record["metrics"])
    evaluations = record["training"]["evaluations"]
    assert [entry["step"] for entry in evaluations] == [2, 4]
    best = max(evaluations, key=lambda entry: entry["pq"])
    assert record["metrics"]["pq"] == best["pq"] == record["training"]["best_metric"]
    assert record["step"] == record["training"]["best_step"]
    model = AutoModelForUniversalSegmentation.from_pretrained(folder)
    assert model.config.id2label[0] == "circle"
    assert list(AutoImageProcessor.from_pretrained(folder).label_ids_to_fuse) == list(model.config.stuff_class_ids)


def test_the_numbers_are_those_of_the_public_evaluation(tmp_path):
    from hfseg.evaluation.segmentation import evaluate_segmentation

    main(["--recipe", "proscale-tiny-shapes", "--output_dir", str(tmp_path), *SMALL, "run.max_steps=1"])
    model = AutoModelForUniversalSegmentation.from_pretrained(tmp_path).eval()
    held_out = ShapesDataset("validation", 3)
    tasks = ("panoptic", "instance", "semantic")
    measured = evaluate_segmentation(model, AutoImageProcessor.from_pretrained(tmp_path), held_out, 1, tasks)
    assert json.loads((tmp_path / "metrics.json").read_text())["metrics"] == pytest.approx(measured, abs=1e-6)


def test_ranks_share_the_evaluation(monkeypatch):
    """What two ranks count is gathered to the numbers of one."""
    from hfseg.evaluation import segmentation as evaluation
    from hfseg.training.tasks.base import build_image_processor

    torch.manual_seed(0)
    model_arguments = load_recipe("proscale-tiny-shapes").model
    held_out = ShapesDataset("validation", 5)
    model = build_model(model_arguments, held_out.id2label, held_out.stuff_class_ids).eval()
    processor = build_image_processor(model_arguments, model)
    tasks = ("panoptic", "instance", "semantic")
    whole = evaluation.evaluate_segmentation(model, processor, held_out, 2, tasks)
    states = []
    monkeypatch.setattr(evaluation, "gather_object", lambda own: states.extend(own) or list(states))
    evaluation.evaluate_segmentation(model, processor, held_out, 2, tasks, rank=1, ranks=2)
    shared = evaluation.evaluate_segmentation(model, processor, held_out, 2, tasks, rank=0, ranks=2)
    assert [sorted(state["indices"]) for state in states] == [[2, 3], [0, 1, 4]]
    assert shared == pytest.approx(whole, abs=1e-9)


@pytest.mark.parametrize("recipe", ["proscale-tiny-shapes", "proscale-tiny-shapes-detection"])
@pytest.mark.parametrize("sharded", [False, True])
def test_each_process_takes_its_share_unless_parameters_are_sharded(recipe, sharded, monkeypatch):
    """Sharded parameters are gathered in every pass: all ranks must make equally many."""
    task, asked = build_task(load_recipe(recipe)), []
    monkeypatch.setattr(task, "measure", lambda *_, rank, ranks: asked.append((rank, ranks)) or {})
    kind = DistributedType.FSDP if sharded else DistributedType.MULTI_CPU
    accelerator = SimpleNamespace(distributed_type=kind, process_index=1, num_processes=3)
    task.evaluate(torch.nn.Identity(), object(), ShapesDataset("validation", 2), list, accelerator)
    assert asked == [(0, 1) if sharded else (1, 3)]
