# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The single-file scripts for transformers' Trainer: two updates too small to matter leave the model good.

Their own numbers are those of `hfseg.evaluate` for the folder that they write, which reads, segments and counts on
another way.
"""

import importlib.util
from pathlib import Path

import pytest

import hfseg

SCRIPTS = Path(__file__).parents[2] / "scripts" / "examples"
SCENES = "shapes:num_scenes=6,image_size=96"  # fewer than a batch: the last one is not full
CASES = {
    "run_semantic_segmentation": ("vpnext-tiny-shapes", ("mean_iou", "mean_accuracy", "pixel_accuracy")),
    "run_instance_segmentation": ("proscale-tiny-shapes", ("ap", "ap50", "ap75")),
}


@pytest.mark.parametrize("name", CASES)
def test_two_updates_and_the_numbers_of_evaluate(name, tmp_path):
    shipped, keys = CASES[name]
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    words = f"--model_name_or_path {shipped} --dataset {SCENES} --output_dir {tmp_path / 'out'} --max_steps 2 "
    words += "--learning_rate 1e-9 --per_device_train_batch_size 2 --report_to none --use_cpu --save_strategy no"
    metrics = script.main(words.split())
    expected = hfseg.evaluate(tmp_path / "out", SCENES, device="cpu")
    for key in keys:
        assert metrics[f"eval_{key}"] == pytest.approx(expected[key], abs=0.1) and expected[key] > 70, key
    assert (tmp_path / "out" / "train_results.json").is_file()


def test_all_scripts_are_tried():
    assert {path.stem for path in SCRIPTS.glob("*.py")} == set(CASES)
