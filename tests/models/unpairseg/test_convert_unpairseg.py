# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Weights for Unpair-Seg: open_clip's parts, spare heads, and one folder for all classes."""

import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModel, AutoModelForMaskGeneration

from contract import assert_same
from golden import read_case
from hfseg import UnpairSegConfig, UnpairSegForOpenVocabularySegmentation
from hfseg.models.unpairseg.convert_unpairseg import CLIP, convert_state_dict, from_open_clip
from hfseg.models.unpairseg.open_vocabulary_unpairseg import pool_regions
from hfseg.pipelines.auto_models import AutoModelForOpenVocabularySegmentation
from unpairseg_models import TINY, close, converted, normalized


@pytest.fixture(scope="module")
def clip_parts():
    case = read_case("unpairseg/open_vocab_parts")
    weights = {key.removeprefix(CLIP): value for key, value in case.weights.items()}
    fields = {key: value for key, value in TINY.items() if not key.endswith("_config")}
    return case, from_open_clip(weights, case.config, **fields).eval()


def test_golden_texts_and_regions(clip_parts):
    """From an OpenCLIP checkpoint: text tower, region embeddings of given masks, and their classes."""
    case, model = clip_parts
    expected = case.outputs
    with torch.no_grad():
        texts = model.get_text_features(case.inputs["input_ids"].long())
        close(texts, expected["text_embeds_unnormalised"], 0, 1e-5)  # spelled as given
        features = model.model.extract_features(normalized(case))[-1]
        close(features, expected["clip_vis_dense"], 0, 1e-5)
        pooled = pool_regions(features, case.inputs["mask_logits"])
        close(pooled, expected["pooled"], 0, 1e-5)
        assert not pooled[0, 6].any()  # the last mask is empty
        regions = model.project_regions(pooled)
        close(regions, expected["region_embeds"], 0, 1e-5)
        # Classes have 3, 1, 2 and 2 rows; shorter ones repeat a row.
        rows = torch.tensor([[0, 1, 2], [3, 3, 3], [4, 5, 4], [6, 7, 6]])
        logits = model.classify(F.normalize(regions, dim=-1), F.normalize(texts, dim=-1)[rows])
    close(logits, expected["class_logits"], 0, 1e-3)
    close(logits.softmax(-1), expected["class_probs"], 0, 1e-5)


def test_width_of_the_visual_projection_is_the_checkpoints(clip_parts):
    """base_w has 1024 -> 1280 -> 640: the hidden width is neither the trunk's nor fixed."""
    case, _ = clip_parts
    weights = {key.removeprefix(CLIP): value for key, value in case.weights.items()}
    first, last = weights["visual.head.mlp.fc1.weight"], weights["visual.head.mlp.fc2.weight"]
    torch.manual_seed(0)
    weights["visual.head.mlp.fc1.weight"] = torch.randn(52, first.shape[1])
    weights["visual.head.mlp.fc1.bias"] = torch.randn(52)
    weights["visual.head.mlp.fc2.weight"] = torch.randn(last.shape[0], 52)
    fields = {key: value for key, value in TINY.items() if not key.endswith("_config")}
    model = from_open_clip(weights, case.config, **fields).eval()
    assert model.config.visual_projection_hidden_size == 52
    features = torch.randn(3, first.shape[1])
    hidden = F.gelu(features @ weights["visual.head.mlp.fc1.weight"].t() + weights["visual.head.mlp.fc1.bias"])
    expected = hidden @ weights["visual.head.mlp.fc2.weight"].t()
    with torch.no_grad():
        torch.testing.assert_close(model.visual_projection(features), expected, rtol=1e-5, atol=1e-5)
    base = {"hidden_sizes": [128, 256, 512, 1024], "depths": [3, 3, 27, 3], "model_type": "convnext"}
    assert (
        UnpairSegConfig(backbone_config=base, text_config={"projection_dim": 640}).visual_projection_hidden_size == 1280
    )


def test_spare_heads_of_fewer_masks_are_left_out():
    """The authors build five heads whatever NUM_MASKS says; with three masks per point the fifth is never used."""
    predictor = "sem_seg_head.predictor."
    state = {f"{predictor}prompt_encoder.mask_emb": torch.zeros(1, 4, 8)}
    for head in range(5):
        state[f"{predictor}mask_embed.{head}.layers.0.weight"] = torch.full((2, 2), float(head))
        state[f"{predictor}iou_embed.{head}.layers.0.weight"] = torch.full((2, 2), float(head))
    kept = convert_state_dict(state)
    for name in ("mask_embedders", "iou_predictors"):
        heads = {key.split(".")[3]: float(value[0, 0]) for key, value in kept.items() if name in key}
        assert heads == {str(head): float(head) for head in range(4)}


def test_open_clip_checkpoints_leave_the_rest_fresh(clip_parts):
    case, model = clip_parts
    assert model.config.adapter == "none" and model.config.region_source == "clip"
    weights = {key.removeprefix(CLIP): value for key, value in case.weights.items()}
    with pytest.raises(ValueError, match=r"1 missing key\(s\): text_model.text_model.final_layer_norm.bias"):
        from_open_clip({key: value for key, value in weights.items() if key != "ln_final.bias"}, case.config)
    with pytest.raises(ValueError, match=r"unexpected key.*something"):
        from_open_clip({**weights, "something": torch.zeros(1)}, case.config)
    with pytest.raises(ValueError, match=r"has no visual.trunk.stages.0.blocks.0.gamma"):
        from_open_clip({"visual.trunk.x": torch.zeros(1)})


def test_one_folder_serves_all_classes(tmp_path):
    case = read_case("unpairseg/train_points")
    full = converted(case, tmp_path, AutoModelForOpenVocabularySegmentation)
    assert type(full) is UnpairSegForOpenVocabularySegmentation
    masks = AutoModelForMaskGeneration.from_pretrained(tmp_path / "converted")
    base = AutoModel.from_pretrained(tmp_path / "converted")
    inputs = {"pixel_values": normalized(case)[:1], "points_per_side": 2}
    with torch.no_grad():
        expected = full(**inputs)
        assert_same(masks(**inputs).pred_masks.flatten(1, 2), expected.masks_queries_logits)
        assert_same(base(**inputs).iou_scores.flatten(1), expected.iou_scores)
