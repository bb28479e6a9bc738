# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg train --data FOLDER`: the folders that people have, as they are."""

import json

import pytest
import torch

from data.layout_folders import CLASS_MAPS, INSTANCES, VOLUMES, coco, mask, split_first_without_validation, yolo
from hfseg.commands.train import main
from hfseg.data.readers.folders import list_splits, load_folder
from hfseg.training.arguments import load_recipe
from hfseg.training.own_data import fit_warm_up

SMALL = [
    "model.backbone=null", "model.config.backbone_config.depths=[1,1,1,1]", "model.config.decoder_layers=1",
    "model.processor.size={height: 32, width: 32}", "data.batch_size=2", "data.transforms.crop_size=[64,64]",
    "model.config.train_num_points=64", "run.max_steps=2",
]  # fmt: skip


def train(recipe, folder, output, *overrides):
    return main(["--recipe", recipe, "--data", str(folder), "--output_dir", str(output), *overrides])


@pytest.mark.parametrize("fill", [*INSTANCES, *CLASS_MAPS], ids=lambda fill: fill.__name__)
def test_folders_are_trained_on_as_they_are(fill, tmp_path):
    if "table" in fill.__name__:
        pytest.importorskip("datasets")
    fill(tmp_path / "data")
    queries = ["model.config.num_queries=12", "model.config.num_learned_queries=2", "model.config.max_queries=16"]
    assert train("proscale-tiny-instances", tmp_path / "data", tmp_path / "out", *SMALL, *queries) == 0
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())["metrics"]
    assert ("pq" if fill in INSTANCES else "mean_iou") in metrics
    training, held_out = (load_folder(tmp_path / "data", split, hold_out=True) for split in ("train", "validation"))
    assert len(training) > 0 and len(held_out) > 0


@pytest.mark.parametrize("fill", VOLUMES, ids=lambda fill: fill.__name__)
def test_volumes_are_trained_on_as_they_are(fill, tmp_path, capsys):
    pytest.importorskip("nibabel")
    fill(tmp_path / "data")
    small = ["data.batch_size=2", "run.max_steps=1", "run.mixed_precision=no"]
    assert train("meddensevit-tiny-hippocampus", tmp_path / "data", tmp_path / "out", *small) == 0
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert config["id2label"] == {"0": "background", "1": "organ"}
    capsys.readouterr()
    assert train("proscale-tiny-instances", tmp_path / "data", tmp_path / "no", *SMALL) == 2
    assert "looks like an nnU-Net or Decathlon folder of volumes" in capsys.readouterr().err
    coco(tmp_path / "coco")
    assert train("meddensevit-tiny-hippocampus", tmp_path / "coco", tmp_path / "no") == 2
    assert "no medical layout" in capsys.readouterr().err


def test_a_folder_takes_the_place_of_drawn_scenes(tmp_path, capsys):
    """A recipe of the embedded scenes learns the folder's classes; one whose reader takes no folder says what does."""
    CLASS_MAPS[0](tmp_path / "data")
    assert train("vpnext-tiny-shapes", tmp_path / "data", tmp_path / "out", "run.max_steps=1", "data.batch_size=2") == 0
    names = json.loads((tmp_path / "out/config.json").read_text())["id2label"]
    assert set(names.values()) == set(load_folder(tmp_path / "data", "train").id2label.values())
    capsys.readouterr()
    for recipe, word in (("cris-tiny-shapes", "data.train.seed"), ("proscale-swin-t-coco", "data.train.root")):
        assert train(recipe, tmp_path / "data", tmp_path / "no") == 2
        error = capsys.readouterr().err
        assert "takes no folder of images and labels" in error and word in error and "-folder" in error


def test_a_share_of_train_is_held_out_where_nothing_is_for_validation(tmp_path):
    split_first_without_validation(tmp_path)
    assert len(load_folder(tmp_path, "train")) == 5 and list_splits(tmp_path) == ["test", "train"]
    with pytest.raises(ValueError, match=r"split 'validation' is not in .*; the splits there are test, train"):
        load_folder(tmp_path, "validation")
    training, held_out, test = (load_folder(tmp_path, s, hold_out=True) for s in ("train", "validation", "test"))
    assert (len(training), len(held_out), len(test)) == (4, 1, 5)
    assert sorted(sample.name for data in (training, held_out) for sample in data.samples) == list("01234")


def test_labels_that_cannot_be_measured_stop_before_the_training(tmp_path, capsys, monkeypatch):
    coco(tmp_path / "data")
    monkeypatch.setattr("hfseg.training.runner.run_loop", lambda *a, **k: pytest.fail("it was trained"))
    assert train("vpnext-tiny-folder", tmp_path / "data", tmp_path / "out") == 2
    assert "None of the tasks can be measured" in capsys.readouterr().err


def test_yolo_without_its_table_of_names_is_called_so(tmp_path, capsys):
    yolo(tmp_path / "a")
    (tmp_path / "data").mkdir()
    for kind in ("images", "labels"):
        (tmp_path / "data" / kind).mkdir()
        for split in ("train", "valid"):
            (tmp_path / "a" / split / kind).rename(tmp_path / "data" / kind / split)
    assert train("proscale-tiny-instances", tmp_path / "data", tmp_path / "out") == 2
    assert "it looks like YOLO without its data.yaml" in capsys.readouterr().err


def test_one_named_class_and_masks_of_0_and_255(tmp_path, capsys):
    """Background is no class, and the class itself void: every pixel that counts would be right."""
    from data.layout_folders import SQUARE, image

    for k in range(3):
        image(tmp_path / f"data/images/{k}.jpg", k)
        mask(tmp_path / f"data/masks/{k}.png", SQUARE * 255)
    (tmp_path / "data/classes.json").write_text('["cell"]')
    assert train("vpnext-tiny-folder", tmp_path / "data", tmp_path / "out") == 2
    assert '"names": ["background", "cell"]' in capsys.readouterr().err


def test_tables_of_0_and_255_are_two_classes(tmp_path):
    datasets = pytest.importorskip("datasets")
    from PIL import Image

    from data.layout_folders import SQUARE
    from hfseg.data.readers.tables import TableDataset

    rows = {"image": [Image.fromarray(SQUARE)] * 2, "label": [Image.fromarray(SQUARE * 255)] * 2}
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Image()})
    table = datasets.Dataset.from_dict(rows, features=features)
    names = {0: "background", 1: "cell"}
    labels = torch.from_numpy(SQUARE)
    assert torch.equal(torch.as_tensor(TableDataset(table, names)[0]["segmentation_map"]).to(labels), labels)
    stated = TableDataset(table, names, ignore_index=255)[0]["segmentation_map"]
    assert set(stated.ravel().tolist()) == {0, 255}


def test_the_warm_up_follows_a_shortened_run(caplog):
    recipe = load_recipe("proscale-tiny-instances", ["run.max_steps=5"])
    fit_warm_up(recipe, ["run.max_steps=5"])
    assert recipe.schedule.warmup_steps == 1 and "The warm-up of 20 updates" in caplog.text
    for overrides in (["run.max_steps=400"], ["run.max_steps=5", "schedule.warmup_steps=20"], []):
        recipe = load_recipe("proscale-tiny-instances", overrides)
        fit_warm_up(recipe, overrides)
        assert recipe.schedule.warmup_steps == 20
