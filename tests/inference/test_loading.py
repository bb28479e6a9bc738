# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The one loader: every folder of the zoo, and no model that is partly random or broken."""

import pytest
import torch
from safetensors.torch import load_file, save_file

import hfseg
from tiny_zoo import FOLDERS, model_folder

TASK_OF = {
    "proscale": "universal",
    "proscale_boxes": "object-detection",
    "unisegformer": "universal",
    "proscale_names": "open-vocabulary",
    "unisegformer_semantic": "semantic",
    "vpnext": "semantic",
    "meddensevit": "semantic",
    "cris": "referring",
    "unpairseg_masks": "mask-generation",
    "unpairseg": "open-vocabulary",
    "lavin_dit": "in-context",
}


@pytest.mark.parametrize("name", FOLDERS)
def test_every_folder_is_loaded_ready_for_its_task(name, tmp_path):
    loaded = hfseg.load(model_folder(name, tmp_path))
    assert loaded.task == TASK_OF[name] and type(loaded.model).__name__ == loaded.class_name
    assert loaded.num_parameters > 0 and not any(module.training for module in loaded.modules.values())
    assert (loaded.processor is None) == (name == "lavin_dit")


def test_an_open_vocabulary_folder_as_a_mask_generator(tmp_path):
    folder = model_folder("unpairseg", tmp_path)
    assert hfseg.load(folder, task="mask-generation").task == "mask-generation"
    with pytest.raises(ValueError, match=r"must be one of open-vocabulary, mask-generation; got 'referring'"):
        hfseg.load(folder, task="referring")


def change(folder, **changes):
    weights = load_file(folder / "model.safetensors")
    for name, value in changes.items():
        if value is None:
            del weights[name.replace("__", ".")]
        else:
            weights[name.replace("__", ".")] = value
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def test_missing_left_over_and_broken_weights_are_refused(tmp_path):
    folder = model_folder("vpnext", tmp_path)
    first = sorted(load_file(folder / "model.safetensors"))
    change(folder, **{name: None for name in first[:7]})
    with pytest.raises(ValueError, match=r"lacks 7 weights of VPNeXtForSemanticSegmentation \((\S+, ){4}\S+"):
        hfseg.load(folder)
    other = model_folder("vpnext", tmp_path / "again")
    change(other, stray=torch.zeros(2))
    with pytest.raises(ValueError, match=r"holds 1 weights that \w+ has no place for \(stray\)"):
        hfseg.load(other)
    third = model_folder("vpnext", tmp_path / "third")
    name = first[0]
    change(third, **{name: torch.full_like(load_file(third / "model.safetensors")[name], float("nan"))})
    with pytest.raises(ValueError, match="not finite"):
        hfseg.load(third)
    # transformers' own way is untouched.
    from transformers import AutoModelForSemanticSegmentation

    AutoModelForSemanticSegmentation.from_pretrained(third)


def test_a_pipelines_weights_are_checked_too(tmp_path):
    folder = model_folder("lavin_dit", tmp_path) / "transformer"
    file = next(folder.glob("*.safetensors"))
    weights = load_file(file)
    save_file({**weights, "stray": torch.zeros(1)}, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match="stray"):
        hfseg.load(folder.parent)
    name = next(iter(weights))
    save_file({**weights, name: torch.full_like(weights[name], float("inf"))}, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match="not finite"):
        hfseg.load(folder.parent)
