# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Lines that once could be broken while every test stayed green."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import hfseg
import hfseg.commands.predict as predict_command
from hfseg.evaluation.segmentation import SegmentationMetrics
from hfseg.files.remote_code import shim_names
from hfseg.inference.files import find_sources
from hfseg.results.segmentation_result import SegmentationResult
from hfseg.training.arguments import OptimizerArguments
from hfseg.training.optimization import parameter_groups
from tiny_zoo import image, model_folder, volume_file


@pytest.mark.parametrize(
    "name",
    ["relative_position_bias_table", "rel_pos_h", "position_embeddings", "pos_embed", "cls_token", "mask_token"],
)
def test_learned_places_are_not_decayed(name):
    """Plain parameters of these names, not modules of nn.Embedding, which are exempt anyway."""
    model = nn.Module()
    setattr(model, name, nn.Parameter(torch.zeros(3, 4)))
    model.weight = nn.Parameter(torch.zeros(3, 4))
    groups = parameter_groups(model, OptimizerArguments(weight_decay=0.1))
    decay = {n: group["weight_decay"] for group in groups for n in group["parameter_names"]}
    assert decay == {name: 0.0, "weight": 0.1}


@pytest.mark.parametrize("owner", ["proscale", "unpairseg_masks"])
def test_level_codes_decay_as_in_mask2former(tmp_path, owner):
    """The encoder's bare parameter decays; the mask decoder's, a module of nn.Embedding, does not."""
    model = hfseg.load(str(model_folder(owner, tmp_path))).model
    groups = parameter_groups(model, OptimizerArguments(weight_decay=0.05))
    decay = {n: group["weight_decay"] for group in groups for n in group["parameter_names"] if "level_embed" in n}
    bare = {n: value for n, value in decay.items() if n.endswith("level_embed")}
    assert set(bare.values()) == {0.05} and {decay[n] for n in set(decay) - set(bare)} == {0.0}


def test_volumes_are_not_offered_to_image_models(tmp_path, capsys):
    pytest.importorskip("nibabel")
    folder = tmp_path / "inputs"
    folder.mkdir()
    image().save(folder / "a.png")
    volume_file(folder / "b.nii.gz")
    words = [str(folder), "-o", str(tmp_path / "out"), "--json", "--quiet", "--model"]
    assert predict_command.main([*words, str(model_folder("vpnext", tmp_path))]) == 0
    assert [entry["kind"] for entry in json.loads(capsys.readouterr().out)["results"]] == ["image"]
    assert [source.kind for source in find_sources([str(folder)], volumes=True)] == ["image", "volume"]
    only = tmp_path / "only"
    only.mkdir()
    volume_file(only / "b.nii.gz")
    assert predict_command.main([str(only), "-o", str(tmp_path / "o"), "--model", str(tmp_path / "vpnext")]) == 2
    assert predict_command.main(
        [str(only / "b.nii.gz"), "-o", str(tmp_path / "o"), "--model", str(tmp_path / "vpnext")]
    )


def test_no_tab_of_volumes_for_image_models(tmp_path):
    pytest.importorskip("gradio", reason="extra `demo`")
    from hfseg.demo.app import build_app, load

    app = build_app(load([str(model_folder("vpnext", tmp_path))]), folder=tmp_path / "results")
    assert "Volumes" not in {block.label for block in app.blocks.values() if type(block).__name__ == "Tab"}


@pytest.mark.parametrize("scores", [[0.5, 0.5, 0.5], [None, None, None], [0.0, None, 0.0]])
def test_of_equal_scores_the_first_is_on_top(scores):
    masks = [np.zeros((2, 4), bool) for _ in range(3)]
    masks[0][:, :2] = masks[1][:, 1:3] = masks[2][:, 2:] = True
    result = SegmentationResult.from_masks(masks, [7, 8, 9], scores, (2, 4))
    assert result.segmentation.tolist() == [[1, 1, 2, 3]] * 2
    result = SegmentationResult.from_masks(masks, [7, 8, 9], [0.1, 0.2, 0.2], (2, 4))
    assert result.segmentation.tolist() == [[1, 2, 2, 3]] * 2


def test_what_no_class_covers_is_background():
    """Void (-1) and classes without a name are 0 in the id map, and no segment."""
    result = SegmentationResult.from_class_map(np.array([[-1, 0, 2], [1, -1, 5]]), {0: "a", 1: "b", 2: "c"})
    assert result.segmentation.tolist() == [[0, 1, 3], [2, 0, 0]]
    assert [segment["label_id"] for segment in result.segments_info] == [0, 1, 2]
    assert SegmentationResult.from_class_map(np.full((2, 2), -1), {0: "a"}).segmentation.tolist() == [[0, 0]] * 2


def test_negative_classes_are_void_wherever_they_would_land():
    """-2 must not come round the end of a table (class 3) nor through its absolute value (class 0)."""
    result = SegmentationResult.from_class_map(np.array([[-2, 0, 3, -1]]))
    assert result["segmentation"].tolist() == [[0, 1, 4, 0]]
    assert [segment["label_id"] for segment in result["segments_info"]] == [0, 3]


def test_the_shim_imports_public_classes_only():
    names = {"AutoConfig": "modeling_hfseg.ProScaleConfig", "AutoModel": "modeling_hfseg.os", "Auto": "evil.ProScale"}
    assert shim_names(names) == {"ProScaleConfig"}


def test_what_no_instance_covers_is_predicted_background():
    """Instances leave background: pixels of an object that is missed are background in the confusion, not nothing."""
    dataset = SimpleNamespace(id2label={0: "cell"}, stuff_class_ids=(), ignore_index=255, kind="instance")
    metrics = SegmentationMetrics(dataset, ["instance"])
    ids = np.zeros((4, 4), np.int32)
    ids[:, :2] = 1
    example = {"segmentation": ids, "segments_info": [{"id": 1, "category_id": 0, "iscrowd": 0}], "image_id": "a"}
    metrics.add(0, example, {"instance": []})
    matrix, rows, columns = metrics.confusion()
    assert (list(rows), matrix[:, list(columns).index("background")].tolist()) == (["cell", "background"], [8, 8])
