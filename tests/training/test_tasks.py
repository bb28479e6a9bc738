# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Tasks: what a recipe's `model.task` and `data.name` stand for, with and without an architecture's own."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoImageProcessor, AutoModelForUniversalSegmentation

from hfseg import auto, tasks
from hfseg.commands.train import main
from hfseg.data import ImageTextCollator, ReferringCollator, SemanticCollator, ShapesDataset, UniversalCollator
from hfseg.training import TrainingArguments, load_recipe
from hfseg.training.tasks import build_task
from hfseg.training.tasks.base import build_model
from hfseg.training.tasks.closed_vocabulary import SemanticTask, UniversalTask

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


def test_an_architecture_brings_its_own(monkeypatch):
    row = dataclasses.replace(
        auto.find("proscale"), training={"semantic": "training.tasks.closed_vocabulary:UniversalTask"}
    )
    monkeypatch.setattr(auto, "ARCHITECTURES", [row])
    for model_type, expected in (("proscale", UniversalTask), ("segformer", SemanticTask)):
        recipe = {"model": {"model_type": model_type, "task": "semantic"}}
        assert type(build_task(TrainingArguments.from_dict(recipe))) is expected


def test_every_general_task_can_be_built():
    for name in tasks.training_places(None):
        task = build_task(TrainingArguments.from_dict({"model": {"task": name, "model_type": "proscale"}}))
        assert task.default_collator in task.collators


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("semantik", "must be one of universal, .*got 'semantik'.*Did you mean semantic"),
        ("hfseg.nowhere:Task", "cannot be imported"),
    ],
)
def test_unknown_tasks(task, message):
    with pytest.raises(ValueError, match=message):
        build_task(TrainingArguments.from_dict({"model": {"task": task, "model_type": "proscale"}}))


def test_semantic_labels_of_both_schemas_agree():
    scene = ShapesDataset(num_scenes=1)[0]
    truth = np.zeros((96, 96), dtype=np.int64)
    for segment in scene["segments_info"]:
        truth[scene["segmentation"] == segment["id"]] = segment["category_id"]
    truth[:4] = 255
    scene["segmentation"] = np.where(truth == 255, 0, scene["segmentation"])
    plain = {"image": scene["image"], "segmentation_map": truth}
    medical = {"image": scene["image"], "mask": truth}
    collate = SemanticCollator(num_labels=10, size_divisor=64)
    batch = collate([scene, plain, medical])
    assert batch["labels"].shape == (3, 128, 128) and batch["labels"].dtype == torch.int64
    for labels in batch["labels"]:
        assert torch.equal(labels[:96, :96], torch.from_numpy(truth))
        assert (labels[96:] == 255).all() and (labels[:, 96:] == 255).all()
    assert torch.equal(batch["pixel_values"], UniversalCollator(size_divisor=64)([scene] * 3)["pixel_values"])


def characters(texts, max_length, **options):
    """A tokenizer whose tokens are the letters' codes."""
    assert options == {"padding": "max_length", "truncation": True, "return_tensors": "pt"}
    rows = [[ord(letter) for letter in text[:max_length]] for text in texts]
    return {"input_ids": torch.tensor([row + [0] * (max_length - len(row)) for row in rows]), "other": None}


def test_referring_and_image_text_batches():
    scene = ShapesDataset(num_scenes=1, image_size=(40, 32))[0]
    example = {"image": scene["image"], "mask": 255 * (scene["segmentation"] == 1), "expressions": ["ab", "cd"]}
    batch = ReferringCollator(characters, max_length=3, size_divisor=16)([example] * 20)
    assert batch["labels"].shape == (20, 48, 32)
    assert torch.equal(batch["labels"][0, :40], torch.from_numpy(scene["segmentation"] == 1).float())
    assert {tuple(row.tolist()) for row in batch["input_ids"]} == {(97, 98, 0), (99, 100, 0)}
    assert set(ImageTextCollator(characters, max_length=3)([{"image": scene["image"], "text": "x"}])) == {
        "pixel_values",
        "input_ids",
    }
    with pytest.raises(ValueError, match=r"example 0 .*'expressions' .*none of them empty"):
        ReferringCollator(characters)([{**example, "expressions": [" "]}])
    with pytest.raises(ValueError, match=r"size .* and its mask .*must be equal"):
        ReferringCollator(characters)([{**example, "mask": np.zeros((3, 3), dtype=np.uint8)}])
    with pytest.raises(ValueError, match=r"model\.tokenizer"):
        ReferringCollator(None)


def test_a_text_task_without_vocabulary_is_refused():
    task = build_task(TrainingArguments.from_dict({"model": {"task": "referring", "model_type": "clipseg"}}))
    with pytest.raises(ValueError, match=r"needs model\.tokenizer"):
        task.build_processor(torch.nn.Identity())


def test_ranks_share_the_evaluation(monkeypatch):
    """What two ranks count is gathered to the numbers of one."""
    from hfseg.evaluation import segmentation as evaluation
    from hfseg.training import load_recipe
    from hfseg.training.tasks.base import build_image_processor, build_model

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


def test_training_starts_from_shipped_models_by_name():
    name = "proscale-tiny-nuclei"
    arguments = load_recipe("proscale-tiny-nuclei", [f"model.pretrained={name}"])
    assert arguments.model.pretrained == name  # and not a place on this machine, which the record would keep
    arguments.model.config = {}
    model = build_model(arguments.model, auto_class="AutoModelForUniversalSegmentation")
    shipped = load_file(tasks.CHECKPOINTS / name / "model.safetensors")
    state = model.state_dict()
    assert shipped and all(torch.equal(state[key].float(), value.float()) for key, value in shipped.items())


def test_a_folder_of_a_shipped_name_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert tasks.pretrained_source("proscale-tiny-nuclei").endswith("checkpoints/proscale-tiny-nuclei")
    (tmp_path / "proscale-tiny-nuclei").mkdir()
    assert tasks.pretrained_source("proscale-tiny-nuclei") == "proscale-tiny-nuclei"
    assert tasks.pretrained_source("owner/name") == "owner/name"
