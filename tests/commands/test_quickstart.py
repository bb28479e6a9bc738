# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The main job, shortened: it leaves a model that loads, metrics and an image; wrong input is one clear line."""

import json

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoModelForUniversalSegmentation

from fresh_process import run_python
from hfseg import tasks
from hfseg.commands import main as hfseg_command
from hfseg.commands.quickstart import main
from hfseg.training.quickstart import set_up

SHORT = ["run.max_steps=2", "schedule.warmup_steps=1", "data.num_workers=0", "data.batch_size=2"]


def test_shapes(tmp_path, capsys):
    folder = tmp_path / "out"
    assert main(["--train", "--output_dir", str(folder), *SHORT, "data.validation.num_scenes=4"]) == 0
    metrics = json.loads((folder / "metrics.json").read_text())
    assert {"pq", "pq_things", "pq_stuff", "mean_iou", "seconds"} <= set(metrics)
    assert 0 <= metrics["pq"] <= 100
    model = AutoModelForUniversalSegmentation.from_pretrained(folder)
    assert model.config.id2label[0] == "circle" and list(model.config.stuff_class_ids) == [6, 7, 8, 9]
    with Image.open(folder / "overlay.png") as image:
        assert image.width > 3 * 300  # image, ground truth and prediction, enlarged
    assert str(folder) in capsys.readouterr().out
    assert hfseg_command.main(["push", str(folder), "me/tiny", "--dry_run", str(tmp_path / "repository")]) == 0
    card = ModelCard.load(tmp_path / "repository" / "README.md")
    assert card.data.license == "apache-2.0" and "hfseg quickstart --train" in card.text
    assert card.data.eval_results[0].metric_value == pytest.approx(next(iter(metrics.values())), abs=1e-3)


def test_training_goes_on_from_the_shipped_model_of_the_recipe(tmp_path, monkeypatch, capsys):
    """Its weights, its sizes and its processor; what the user changes wins; nothing of it with --from_scratch."""
    name = "vpnext-tiny-shapes"
    small = ["model.config.hiclr_channels=16", "data.validation.num_scenes=2"]
    first = tmp_path / "shelf" / name
    monkeypatch.setattr(tasks, "CHECKPOINTS", tmp_path / "empty")
    assert main(["--train", "--architecture", "vpnext", "--output_dir", str(first), *SHORT, *small]) == 0
    assert "shipped" not in capsys.readouterr().out
    monkeypatch.setattr(tasks, "CHECKPOINTS", tmp_path / "shelf")
    still = [*SHORT, "optimizer.learning_rate=1.0e-30", "data.validation.num_scenes=2"]
    second, third = tmp_path / "second", tmp_path / "third"
    assert main(["--train", "--architecture", "vpnext", "--output_dir", str(second), *still]) == 0
    assert f"from the shipped weights of {name}" in capsys.readouterr().out
    before, after = load_file(first / "model.safetensors"), load_file(second / "model.safetensors")
    assert json.loads((second / "config.json").read_text())["hiclr_channels"] == 16
    assert before.keys() == after.keys()
    trained = [key for key in before if "running" not in key and "num_batches" not in key]
    assert all(torch.allclose(before[key], after[key], rtol=0, atol=1e-25) for key in trained)
    changed = set_up("vpnext", None, ["model.config.vcr_affinity_dim=8", "model.processor.size_divisor=16"],
                     from_scratch=False)  # fmt: skip
    assert changed.model.config.vcr_affinity_dim == 8 and changed.model.config.hiclr_channels == 16
    assert changed.image_processor.size_divisor == 16
    scratch = ["--train", "--from_scratch", "--architecture", "vpnext", "--output_dir", str(third)]
    assert main([*scratch, *still]) == 0
    assert json.loads((third / "config.json").read_text())["hiclr_channels"] == 32


@pytest.mark.parametrize("option", [["--minutes", "1"], ["--from_scratch"], ["run.max_steps=3"]])
def test_options_of_training_need_train(option, capsys):
    with pytest.raises(SystemExit):
        main(option)
    assert f"{option[0]} is about training: add --train" in capsys.readouterr().err


SMALL = {
    "vpnext": [],
    "unisegformer": ["data.train.image_size=[64,64]"],
    "cris": ["data.validation.num_scenes=2", "data.train.num_scenes=4"],
    "lavin_dit": ["data.validation.num_scenes=4", "data.train.num_scenes=8", "data.train.length=8"],
}


@pytest.mark.parametrize("architecture", SMALL)
def test_every_architecture_with_a_tiny_recipe(architecture, tmp_path, capsys):
    """From data to the image of the loaded model; the recipe's own metrics, each finite."""
    folder, changes = tmp_path / "out", [*SHORT, *SMALL[architecture]]
    if architecture not in ("cris", "lavin_dit"):
        changes.append("data.validation.num_scenes=2")
    if architecture == "lavin_dit":
        changes += ["model.config.fit_images=8", "data.batch_size=1"]
    assert (
        main(["--train", "--from_scratch", "--architecture", architecture, "--output_dir", str(folder), *changes]) == 0
    )
    metrics = json.loads((folder / "metrics.json").read_text())
    assert len(metrics) > 1 and all(np.isfinite(value) for value in metrics.values())
    with Image.open(folder / "overlay.png") as image:
        assert image.width >= 3 * 64
    shown = capsys.readouterr().out
    assert "Held out: " in shown and str(folder) in shown.partition("Use it")[2]


def test_own_images(tmp_path):
    rng = np.random.default_rng(0)
    for kind in ("images", "labels"):
        (tmp_path / "data" / kind).mkdir(parents=True)
    for index in range(6):
        labels = np.zeros((40, 56), dtype=np.uint8)
        labels[:, 20 + index :] = 1
        image = (labels[..., None] * 120 + rng.integers(0, 60, (40, 56, 3))).astype(np.uint8)
        Image.fromarray(image).save(tmp_path / f"data/images/{index}.png")
        Image.fromarray(labels).save(tmp_path / f"data/labels/{index}.png")
    folder = tmp_path / "out"
    changes = [*SHORT, "data.transforms.crop_size=[32,32]", "data.transforms.short_sides=[32]"]
    assert main(["--train", "--data", str(tmp_path / "data"), "--output_dir", str(folder), *changes]) == 0
    metrics = json.loads((folder / "metrics.json").read_text())
    assert "mean_iou" in metrics and "pq" not in metrics


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--data", "no/such/folder"], ["no/such/folder"]),
        (["run.max_step=3"], ["max_step", "max_steps"]),
        (["--minutes", "-1"], ["-1", "positive"]),
        (["--architecture", "meddensevit"], ["proscale, ", "vpnext", "meddensevit-tiny-hippocampus"]),
        # A recipe of several stages of which none does the task alone.
        (["--architecture", "unpairseg"], ["no quickstart on shapes", "unpairseg-tiny-stage1"]),
    ],
)
def test_wrong_input_is_one_line(arguments, words, tmp_path, capsys):
    assert main(["--train", "--output_dir", str(tmp_path / "out"), *arguments]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ") and all(word in message for word in words)


def test_unknown_command(capsys):
    assert hfseg_command.main(["segment"]) == 2
    assert "quickstart" in capsys.readouterr().err
    assert hfseg_command.main(["--help"]) == 0


def test_without_any_extra(tmp_path):
    """What the README's first command installs is enough; average precision alone is left out."""
    extras = "timm pycocotools peft tensorboard lmdb ftfy monai nibabel pydicom kornia torchmetrics h5py av gradio onnx"
    program = f"""
import sys
sys.modules.update(dict.fromkeys({extras.split()!r}))
from hfseg.commands.quickstart import main
sys.exit(main(sys.argv[1:]))
"""
    arguments = ["--train", "--output_dir", str(tmp_path / "out"), *SHORT, "data.validation.num_scenes=4"]
    done = run_python(["-c", program, *arguments])
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert {"pq", "mean_iou"} <= set(metrics) and "ap" not in metrics
    assert "AP needs pycocotools (pip install 'hfseg[coco]')" in done.stderr
    # The sheet leaves out what needs an extra, and says which.
    done = run_python(["-c", program, "--output_dir", tmp_path / "sheet"])
    assert done.returncode == 0 and (tmp_path / "sheet" / "overview.png").is_file(), done.stderr
    for name, extra in (("proscale-tiny-nuclei", "timm"), ("meddensevit-tiny-hippocampus", "medical")):
        (line,) = [line for line in done.stdout.splitlines() if line.startswith(name)]
        assert "left out" in line and f"pip install 'hfseg[{extra}]'" in line
