# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What may leave this machine: files by exact names, no secrets, no links out, no paths."""

from pathlib import Path

import pytest

from hfseg.files.repositories import is_component_file, is_model_file, leaves_folder, private_reason, without_paths


@pytest.mark.parametrize(
    "name, model, pipeline, component",
    [
        ("config.json", True, False, True),
        ("model.safetensors", True, False, True),
        ("model-00001-of-00002.safetensors", True, False, True),
        ("model.safetensors.index.json", True, False, True),
        ("diffusion_pytorch_model.safetensors", True, False, True),
        ("model_index.json", False, True, False),
        ("scheduler_config.json", False, False, True),
        ("README.md", True, True, False),
        ("metrics.json", True, True, False),
        ("model-1-of-2.safetensors", False, False, False),
        ("model.safetensors.bak", False, False, False),
        ("old_model.safetensors", False, False, False),
        ("pytorch_model.bin", False, False, False),
        ("config.json.py", False, False, False),
    ],
)
def test_files_of_a_repository(name, model, pipeline, component):
    assert (is_model_file(name), is_model_file(name, pipeline=True), is_component_file(name)) == (
        model,
        pipeline,
        component,
    )


@pytest.mark.parametrize(
    "name, reason",
    [
        ("a.py", "code"),
        ("x/run.sh", "code"),
        (".git/config", "hidden"),
        ("a/.env", "hidden"),
        ("server.key", "a secret by its name"),
        ("ID_RSA.pub", "a secret by its name"),
        ("hf_token.txt", "a secret by its name"),
        ("Credentials", "a secret by its name"),
        ("checkpoint-12/model.safetensors", "a record of the training run"),
        ("wandb/log.txt", "a record of the training run"),
        ("optimizer.safetensors", "the state of a training run"),
        ("scheduler-1.pt", "the state of a training run"),
        ("scheduler_config.json", None),
        ("tokenizer.json", None),
        ("images/scene.png", None),
        ("checkpoints.md", None),
        ("runs", None),
    ],
)
def test_why_a_file_stays(name, reason):
    assert private_reason(Path(name)) == reason


def test_links_out_of_a_folder_are_seen(tmp_path):
    folder = tmp_path / "model"
    (folder / "inner").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("x")
    (folder / "out.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "in.txt").symlink_to(folder / "inner")
    (tmp_path / "model2").mkdir()
    assert leaves_folder(folder / "out.txt", folder) and leaves_folder(tmp_path / "model2", folder)
    assert not leaves_folder(folder / "in.txt", folder) and not leaves_folder(folder / "inner" / "new", folder)


@pytest.mark.parametrize(
    "text, shown",
    [
        ("/data/coco/train2017", "train2017"),
        ("C:\\data\\coco", "coco"),
        ("~/runs/one", "one"),
        ("a/b and 3/4", "a/b and 3/4"),
        ("--data /data/x y", "--data x y"),
        ("owner/name", "owner/name"),
        ("/tmp", "/tmp"),
        ("read /home/me/a.json, then /home/me/b.json", "read a.json, then b.json"),
        (7, 7),
    ],
)
def test_paths_become_their_last_parts(text, shown):
    assert without_paths([{"key": text}]) == [{"key": shown}]
