# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Checks before an upload: what a folder lacks is found, and a complete one has no problem."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file, save_file

from hfseg import ProScaleForUniversalSegmentation
from hfseg.hub import checks
from hfseg.hub.checks import folder_problems, loading_problems
from hfseg.hub.publishing import MAX_SHARD_SIZE, stage
from hub_stand_in import CARD
from tiny_zoo import model_folder


@pytest.fixture
def folder(trained, tmp_path):
    """A copy to spoil."""
    return Path(shutil.copytree(trained, tmp_path / "tiny"))


def test_what_is_staged_names_its_own_class(tmp_path):
    """An Auto class that has two in this package: the published folder and its check name the one that was saved."""
    mine = model_folder("unisegformer_semantic", tmp_path)
    (mine / "README.md").write_text(CARD)
    stage(mine, tmp_path / "staged")
    auto_map = json.loads((tmp_path / "staged" / "config.json").read_text())["auto_map"]
    assert auto_map["AutoModelForImageSegmentation"] == "modeling_hfseg.UniSegFormerForSemanticSegmentation"
    assert not [problem for problem in folder_problems(tmp_path / "staged", MAX_SHARD_SIZE) if "auto_map" in problem]


def edit_json(path, **fields):
    content = json.loads(path.read_text())
    content.update(fields)
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda folder: (folder / "README.md").unlink(), "no model card"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no weights"),
        (lambda folder: (folder / "model.safetensors.index.json").write_text('{"weight_map": {}}'), "names no file"),
        (
            lambda folder: (folder / "model.safetensors.index.json").write_text(
                '{"weight_map": {"a": "b.safetensors"}}'
            ),
            "names b.safetensors, which is missing",
        ),
        (lambda folder: (folder / "preprocessor_config.json").unlink(), "save the image processor"),
        (lambda folder: edit_json(folder / "config.json", architectures=None), "architectures"),
        (lambda folder: edit_json(folder / "config.json", architectures=["BertModel"]), "BertModel"),
        (lambda folder: edit_json(folder / "config.json", id2label={"0": "LABEL_0"}), "no class names"),
        (lambda folder: edit_json(folder / "preprocessor_config.json", image_processor_type=None), "image_processor"),
        (lambda folder: (folder / "README.md").write_text("# no metadata"), "no metadata"),
        (lambda folder: (folder / "README.md").write_text("---\n- a\n---\n"), "not a mapping"),
        (lambda folder: (folder / "README.md").write_text("---\na: [\n---\n"), "no valid YAML"),
    ],
)
def test_incomplete_folders(folder, tmp_path, spoil, message):
    spoil(folder)
    stage(folder, tmp_path / "dry")
    assert any(message in problem for problem in folder_problems(tmp_path / "dry", MAX_SHARD_SIZE))


def test_a_complete_folder_has_no_problem(folder, tmp_path):
    (folder / "modeling_hfseg.py").write_text("import os\n")  # is written anew
    edit_json(folder / "config.json", auto_map=None)
    stage(folder, tmp_path / "dry")
    assert folder_problems(tmp_path / "dry", MAX_SHARD_SIZE) == []
    shim = tmp_path / "dry" / "modeling_hfseg.py"
    for content, problem in (
        ("import os\n", "code of its own"),
        ("from hfseg import ProScaleConfig\n", "not import ProS"),
    ):
        shim.write_text(content)
        assert problem in folder_problems(tmp_path / "dry", MAX_SHARD_SIZE)[0]


def test_settings_are_those_of_the_package_and_no_machine(folder, tmp_path):
    edit_json(folder / "config.json", _name_or_path="/home/me/secret")
    stage(folder, tmp_path / "dry")
    assert "secret" not in (tmp_path / "dry" / "config.json").read_text()
    edit_json(tmp_path / "dry" / "config.json", auto_map={"AutoConfig": "elsewhere.Config"})
    (problem,) = folder_problems(tmp_path / "dry", MAX_SHARD_SIZE)
    assert "auto_map is not that of this package" in problem


def test_what_does_not_load_is_found(folder, tmp_path, monkeypatch, loading_checks_start_soon):
    """In a new process, started as users' are: tensors that are missing, left over or not finite."""
    monkeypatch.setattr(checks, "subprocess", loading_checks_start_soon)
    weights = load_file(folder / "model.safetensors")
    first, second = sorted(weights)[:2]
    weights["stranger"] = weights.pop(first)
    weights[second] = weights[second] * float("nan")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    stage(folder, tmp_path / "dry")
    problems = loading_problems(tmp_path / "dry")
    assert len(problems) == 3
    for problem, text in zip(problems, (first, "stranger", second)):
        assert text in problem


def test_large_weights_are_split(folder, tmp_path):
    limit = 200_000
    stage(folder, tmp_path / "dry", max_shard_size=limit)
    shards = sorted((tmp_path / "dry").glob("model-*.safetensors"))
    assert len(shards) > 1 and not (tmp_path / "dry" / "model.safetensors").exists()
    assert max(path.stat().st_size for path in shards) < 1.05 * limit
    assert folder_problems(tmp_path / "dry", limit) == []
    merged = {name: value for path in shards for name, value in load_file(path).items()}
    expected = load_file(folder / "model.safetensors")
    assert merged.keys() == expected.keys() and all(torch.equal(merged[name], expected[name]) for name in expected)
    loaded = ProScaleForUniversalSegmentation.from_pretrained(tmp_path / "dry")
    assert all(torch.equal(value, expected[name]) for name, value in loaded.state_dict().items() if name in expected)
    shards[0].unlink()
    assert any(shards[0].name in problem for problem in folder_problems(tmp_path / "dry", limit))


def test_unsplit_weights_are_a_problem(folder, tmp_path):
    stage(folder, tmp_path / "dry")
    assert any("shards of at most" in problem for problem in folder_problems(tmp_path / "dry", 10_000))


def test_license_of_the_command_line(folder, tmp_path):
    card = folder / "README.md"
    card.write_text(CARD.replace("license: apache-2.0\n", ""))
    stage(folder, tmp_path / "without")
    assert "no license" in " ".join(folder_problems(tmp_path / "without", MAX_SHARD_SIZE))
    stage(folder, tmp_path / "dry", license_name="mit")
    assert folder_problems(tmp_path / "dry", MAX_SHARD_SIZE) == []
    written = ModelCard.load(tmp_path / "dry" / "README.md")
    card.write_text(CARD)
    stage(folder, tmp_path / "own", license_name="mit")
    assert ModelCard.load(tmp_path / "own" / "README.md").data.license == "apache-2.0"  # the card's own stays
    assert written.data.license == "mit" and written.data.eval_results[0].metric_value == 49.25
    assert written.text.strip() == ModelCard(CARD).text.strip()
