# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""From images with label PNGs to a fine-tuned, evaluated and (as a dry run) published model: four commands."""

import json

import numpy as np
import pytest
from PIL import Image
from transformers import pipeline

from hfseg.commands.main import COMMANDS, main

# Shortens the recipes; the commands are those of the README.
SHORT = ["run.max_steps=3", "schedule.warmup_steps=1", "data.batch_size=2", "data.num_workers=0"]


def write_data(folder):
    """Images of a bright disc or bar before a dark ground, with class indices, names and no split."""
    rng = np.random.default_rng(0)
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    rows, columns = np.mgrid[:48, :64]
    for index in range(10):
        labels = np.zeros((48, 64), dtype=np.uint8)
        x, y = rng.integers(12, 50), rng.integers(12, 36)
        labels[(rows - y) ** 2 + (columns - x) ** 2 < 90] = 1
        labels[:, : 4 + index % 3] = 2
        image = np.array([[30, 40, 60], [220, 160, 40], [60, 200, 90]], dtype=np.uint8)[labels]
        image = np.clip(image.astype(int) + rng.integers(-15, 16, image.shape), 0, 255).astype(np.uint8)
        Image.fromarray(image).save(folder / f"images/{index}.jpg", quality=95)
        Image.fromarray(labels).save(folder / f"labels/{index}.png")
    (folder / "classes.json").write_text(json.dumps(["ground", "disc", "bar"]))
    return folder


@pytest.mark.parametrize("recipe", [[], ["--recipe", "vpnext-tiny-folder"]], ids=["chosen", "vpnext"])
def test_own_images_to_published_model(tmp_path, monkeypatch, capsys, recipe):
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path / "photos")
    small = [
        "data.transforms.crop_size=[48,64]",
        "data.transforms.short_sides=[48]",
        "model.processor.size.shortest_edge=48",
    ]

    assert main(["train", *recipe, "--data", "photos", "--output_dir", "model", *SHORT, *small]) == 0
    assert main(["evaluate", "--model", "model", "--dataset", "photos", "--output_dir", "report"]) == 0
    assert main(["predict", "photos/images/0.jpg", "--model", "model", "--subtask", "semantic", "-o", "out"]) == 0

    assert "mean_iou" in json.loads((tmp_path / "model/metrics.json").read_text())["metrics"]
    assert (tmp_path / "model/README.md").is_file()
    report = json.loads((tmp_path / "report/metrics.json").read_text())
    assert "mean_iou" in json.dumps(report)
    record = json.loads((tmp_path / "out/0.json").read_text())
    assert record["categories"] and {c["name"] for c in record["categories"]} <= {"ground", "disc", "bar"}
    # What was written is what the trained folder says.
    with Image.open("photos/images/0.jpg") as image:
        found = pipeline("image-segmentation", model="model")(image.convert("RGB"), subtask="semantic")
    with Image.open("out/0_ids.png") as image:
        ids = np.array(image)
    names = {annotation["id"]: annotation["label"] for annotation in record["annotations"]}
    assert {entry["label"] for entry in found} == set(names.values())
    for entry in found:
        number = next(number for number, name in names.items() if name == entry["label"])
        assert np.array_equal(ids == number, np.asarray(entry["mask"]) > 0)

    if "push" in COMMANDS:
        assert main(["push", "model", "me/photos", "--dry_run", "published", "--license", "apache-2.0"]) == 0
        assert (tmp_path / "published/README.md").is_file() and list((tmp_path / "published").glob("*.safetensors"))
        assert (tmp_path / "published/examples.png").is_file()  # the image of its card
