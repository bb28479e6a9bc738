# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg push-dataset`: a folder that `datasets.load_dataset` reads without this package, and that is trained on."""

import json

import datasets
import numpy as np
import pytest
import yaml
from PIL import Image

from data.layout_folders import decathlon, mmsegmentation
from fresh_process import run_python
from hfseg.commands.push_dataset import main
from hfseg.commands.train import main as train
from hfseg.data import load_table
from hfseg.data.specs import open_dataset
from hfseg.training.arguments import load_recipe
from hfseg.training.own_data import with_folder

SHAPES = "shapes:num_scenes=6,image_size=48"


def published(spec, folder, *more):
    assert main([spec, "me/data", "--dry_run", str(folder), *more]) == 0
    return folder


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    return published(SHAPES, tmp_path_factory.mktemp("hub") / "shapes")


def card_of(folder):
    text = (folder / "README.md").read_text(encoding="utf-8")
    _, block, body = text.split("---\n", 2)
    return yaml.safe_load(block), body


def test_datasets_reads_it_without_hfseg(shapes, tmp_path):
    code = (
        "import datasets, json, sys\n"
        f"table = datasets.load_dataset({str(shapes)!r}, split='validation')\n"
        "assert not [name for name in sys.modules if name.startswith('hfseg')]\n"
        "names = table.features['segments_info'].feature['category_id'].names\n"
        "print(json.dumps([len(table), names, table[0]['image'].size, table[0]['segments_info'][0]['category_id']]))"
    )
    done = run_python(["-c", code], check=True, cwd=tmp_path)
    reader = open_dataset(SHAPES, "validation")
    first = reader[0]["segments_info"][0]["category_id"]
    assert json.loads(done.stdout) == [6, list(reader.id2label.values()), [48, 48], first]


def test_what_readers_need_comes_back_with_the_table(shapes):
    reader = open_dataset(SHAPES, "test")
    table = load_table(shapes, "test")
    assert table.stuff_class_ids == reader.stuff_class_ids and table.id2label == reader.id2label
    np.testing.assert_array_equal(table[3]["segmentation"], reader[3]["segmentation"])
    stream = load_table(shapes, "test", streaming=True)
    assert stream.stuff_class_ids == reader.stuff_class_ids and stream.num_samples == 6


def test_the_card_says_what_is_in_it(shapes):
    metadata, body = card_of(shapes)
    assert metadata["license"] == "apache-2.0" and metadata["task_categories"] == ["image-segmentation"]
    assert metadata["size_categories"] == ["n<1K"] and (shapes / "examples.png").is_file()
    assert metadata["dataset_info"]["splits"][0]["num_examples"] == 6
    objects = sum(s["category_id"] == 6 for k in range(6) for s in open_dataset(SHAPES, "test")[k]["segments_info"])
    assert f"{objects} |" in next(line for line in body.splitlines() if line.startswith("| sky |"))
    assert 'load_dataset("me/data"' in body and Image.open(shapes / "examples.png").width > 1000


@pytest.mark.parametrize(
    ("recipe", "overrides", "metric"),
    [
        ("proscale-tiny-shapes", ["model.processor.size={shortest_edge: 48, longest_edge: 96}"], "pq"),
        ("vpnext-tiny-shapes", [], "mean_iou"),
    ],
)
def test_it_is_trained_on(shapes, tmp_path, recipe, overrides, metric):
    small = ["run.max_steps=1", "data.batch_size=2", "data.num_workers=0", *overrides]
    assert train(["--recipe", recipe, "--data", str(shapes), "--output_dir", str(tmp_path / "out"), *small]) == 0
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert config["id2label"]["3"] == "star"
    assert metric in json.loads((tmp_path / "out/metrics.json").read_text())["metrics"]


def test_expressions_are_rehearsed(tmp_path):
    folder = published("referring-shapes:num_scenes=4,image_size=64", tmp_path / "data")
    small = ["stages=[]", "model.pretrained=cris-tiny-shapes", "run.max_steps=1", "data.batch_size=2"]
    assert (
        train(["--recipe", "cris-tiny-shapes", "--data", str(folder), "--output_dir", str(tmp_path / "out"), *small])
        == 0
    )
    numbers = json.loads((tmp_path / "out/metrics.json").read_text())["metrics"]
    assert numbers["miou"] > 50  # the shipped model, hardly changed
    changes = with_folder(load_recipe("cris-tiny-shapes"), str(folder))
    stages = load_recipe("cris-tiny-shapes", changes).stage_arguments()
    assert len(stages) == 7 and all(stage.data.train == {"path": str(folder), "split": "train"} for _, stage in stages)


def test_slices_of_volumes_are_trained_on(tmp_path):
    pytest.importorskip("nibabel")
    decathlon(tmp_path / "scans")
    folder = published(str(tmp_path / "scans"), tmp_path / "data", "--license", "cc-by-4.0")
    metadata, body = card_of(folder)
    assert metadata["license"] == "cc-by-4.0" and "| organ | 15 |" in body
    small = ["data.batch_size=2", "run.max_steps=1", "run.mixed_precision=no"]
    options = ["--recipe", "meddensevit-tiny-hippocampus", "--data", str(folder), "--output_dir", str(tmp_path / "out")]
    assert train([*options, *small]) == 0
    assert set(json.loads((tmp_path / "out/metrics.json").read_text())["metrics"]) == {"loss"}


def test_class_maps_and_pairs(tmp_path):
    mmsegmentation(tmp_path / "photos")
    folder = published(str(tmp_path / "photos"), tmp_path / "maps", "--license", "other", "--split", "val")
    assert [split["name"] for split in card_of(folder)[0]["dataset_info"]["splits"]] == ["val"]
    assert len(datasets.load_dataset(str(folder), split="val")) == 3
    asked = ["--kind", "in-context", "--split", "train", "--task", "edge_detection"]
    pairs = published(SHAPES, tmp_path / "pairs", *asked)
    assert card_of(pairs)[0]["task_categories"] == ["image-to-image"]
    small = ["run.max_steps=1", "data.batch_size=1", "data.num_workers=0", "data.validation=null"]
    options = ["--recipe", "lavin-dit-tiny-shapes", "--data", str(pairs), "--output_dir", str(tmp_path / "out")]
    assert train([*options, *small]) == 0


def test_what_is_refused_is_one_line(tmp_path, capsys):
    mmsegmentation(tmp_path / "photos")
    assert main([str(tmp_path / "photos"), "me/data", "--dry_run", str(tmp_path / "out")]) == 2
    assert "The license of the data is missing" in capsys.readouterr().err
    assert main([SHAPES, "me/data", "--dry_run", str(tmp_path / "photos")]) == 2
    assert "exists and is not empty" in capsys.readouterr().err
    assert main([SHAPES, "data", "--dry_run", str(tmp_path / "out")]) == 2
    assert "give owner/name" in capsys.readouterr().err
    assert train(["--recipe", "proscale-tiny-shapes", "--data", "me/nothing", "--output_dir", str(tmp_path / "o")]) == 2
    assert "me/nothing is no folder here, and no dataset of the Hub" in capsys.readouterr().err
