# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Referring evaluation: both protocols, kinds and controls on answers that are known; and the command."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hfseg.commands.evaluate import main
from hfseg.data.specs import open_dataset
from hfseg.data.synthetic.referring_shapes import ReferringShapesDataset
from hfseg.evaluation.referring import evaluate_referring, referring_overlays
from hfseg.training import load_recipe
from hfseg.training.tasks import build_task

# What each expression covers of a referent of four columns out of eight: IoU 1, 1/2, 0.
COLUMNS = {"all of it": 4, "half of it": 2, "nothing": 0}


class Answers(torch.nn.Module):
    """Says of every expression how many columns it covers."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.images = 0

    def forward(self, pixel_values, input_ids):
        self.images += len(pixel_values)
        inside = torch.arange(8) < input_ids[..., None, None]
        return SimpleNamespace(logits=(20.0 * inside - 10).expand(*input_ids.shape, 6, 8))


class Reader:
    """Processor whose tokens are the columns."""

    def __call__(self, images, text, return_tensors):
        ids = torch.tensor([[COLUMNS[one] for one in row] for row in text])
        return {"pixel_values": torch.zeros(len(images), 3, 8, 8), "input_ids": ids}

    def post_process_referring_segmentation(self, outputs, sizes):
        return [maps.sigmoid() > 0.5 for maps in outputs.logits]


def example(*expressions):
    mask = np.zeros((6, 8), np.uint8)
    mask[:, :4] = 255
    return {
        "image": np.zeros((6, 8, 3), np.uint8),
        "mask": mask,
        "expressions": list(expressions),
        "kinds": [text.split()[0] for text in expressions],
    }


EXAMPLES = [example("all of it", "half of it", "nothing"), example("half of it")]


def test_both_protocols():
    model = Answers()
    numbers = evaluate_referring(model, Reader(), EXAMPLES)
    assert numbers["num_samples"] == 4 and numbers["first_num_samples"] == 2
    assert numbers["miou"] == pytest.approx(100 * (1 + 0.5 + 0 + 0.5) / 4, abs=1e-4)
    assert numbers["first_miou"] == pytest.approx(100 * (1 + 0.5) / 2, abs=1e-4)
    assert numbers["oiou"] == pytest.approx(100 * (4 + 2 + 0 + 2) / 16)
    assert numbers["precision@0.5"] == 25 and numbers["first_precision@0.5"] == 50
    assert {kind: of["miou"] for kind, of in numbers["kinds"].items()} == pytest.approx(
        {"all": 100, "half": 50, "nothing": 0}, abs=1e-4
    )
    assert model.images == 2  # one per image, however many expressions
    assert evaluate_referring(Answers(), Reader(), EXAMPLES, limit=1)["num_samples"] == 3


def test_processes_share_the_examples():
    # In one process nothing is gathered, so each share shows.
    counts = [evaluate_referring(Answers(), Reader(), EXAMPLES, rank=rank, ranks=2)["num_samples"] for rank in (0, 1)]
    assert counts == [3, 1]


def test_shares_are_joined(monkeypatch):
    """What two processes counted, gathered, is what one counts."""
    gathered = []
    monkeypatch.setattr("hfseg.evaluation.referring.gathered", lambda own, ranks: gathered.append(own) or gathered)
    for rank in (1, 0):
        numbers = evaluate_referring(Answers(), Reader(), EXAMPLES, rank=rank, ranks=2)
    assert numbers == evaluate_referring(Answers(), Reader(), EXAMPLES)


def test_controls_ask_other_expressions():
    numbers = evaluate_referring(
        Answers(), Reader(), EXAMPLES, expressions_of=lambda index, example: ["nothing"] * len(example["expressions"])
    )
    assert numbers["miou"] == 0
    assert len(referring_overlays(Answers(), Reader(), EXAMPLES, 5)) == 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model of the tiny recipe, untrained."""
    folder = tmp_path_factory.mktemp("model")
    arguments = load_recipe("cris-tiny-shapes", ["data.train.num_scenes=2"])
    task = build_task(arguments)
    model = task.build_model(task.build_dataset(arguments.data.train))
    model.save_pretrained(folder)
    task.build_processor(model).save_pretrained(folder)
    return folder


def test_the_command_reports_both_protocols(folder, tmp_path, capsys):
    arguments = ["--task", "referring", "--model", str(folder), "--output_dir", str(tmp_path), "--overlays", "1"]
    dataset = "referring-shapes:num_scenes=3,image_size=64,combinations=held-out,none_share=0"
    assert main([*arguments, "--dataset", dataset, "--threshold", "0.3"]) == 0
    report = json.loads((tmp_path / "metrics.json").read_text())
    expected = ReferringShapesDataset("validation", 3, (64, 64), combinations="held-out", none_share=0.0)
    assert report["metrics"]["num_samples"] == sum(len(expected[index]["expressions"]) for index in range(3))
    assert report["metrics"]["first_num_samples"] == 3 and report["threshold"] == 0.3
    assert 0 <= report["metrics"]["miou"] <= 100 and (tmp_path / "overlays" / "00.png").is_file()
    page = (tmp_path / "report.html").read_text()
    assert page.count("<img") == 1 and f"{report['metrics']['oiou']:.2f} %" in page
    assert report["kinds"] and all(f'<td class="name">{kind}</td>' in page for kind in report["kinds"])
    counted = sum(of_kind["num_samples"] for of_kind in report["kinds"].values())
    assert counted == report["metrics"]["num_samples"]
    limited = [*arguments, "--dataset", dataset, "--limit", "1", "--overlays", "0"]
    assert main(limited) == 0
    report = json.loads((tmp_path / "metrics.json").read_text())
    assert report["number_of_images"] == 1 and report["metrics"]["num_samples"] == len(expected[0]["expressions"])
    for wrong in (["--mode", "multiscale", "--flip"], ["--protocol", "cityscapes"]):
        assert main([*limited, *wrong]) == 2
        assert "referring models takes no" in capsys.readouterr().err
    assert main([*arguments, "--dataset", "refcocos:x"]) == 2
    assert "refcocog" in capsys.readouterr().err


@pytest.mark.parametrize(
    "specification, message",
    [
        ("shapes:scenes=3", "scenes=3"),
        ("refcoco", "NAME:ROOT"),
        ("refcocog/unc:.", "refcocog umd"),
        ("nowhere", "is not known"),
    ],
)
def test_specifications_that_are_not_legal(specification, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        open_dataset(specification, None, kind="referring")


def test_missing_files_are_named(tmp_path):
    for specification in (f"{tmp_path}/x.json", f"{tmp_path}/x.lmdb", f"refcocog/google:{tmp_path}"):
        with pytest.raises(FileNotFoundError):
            open_dataset(specification, None, kind="referring")
