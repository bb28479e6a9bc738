# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Unpair-Seg: the common contract, the authors' numbers, prompts, adapters and variants."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForMaskGeneration

from contract import ModelContract, assert_same, kaiming, peaked, xavier
from golden import FIXTURES, Case, read_case, read_tensors
from hfseg import (
    UnpairSegConfig,
    UnpairSegForMaskGeneration,
    UnpairSegForOpenVocabularySegmentation,
    UnpairSegModel,
)
from hfseg.commands.convert import main as convert_command
from hfseg.losses.mask_classification import Points
from hfseg.losses.promptable import PromptableLossWeights, binary_targets, match_points, promptable_loss
from hfseg.models.unpairseg.convert_unpairseg import CLIP, convert_state_dict, from_open_clip
from hfseg.models.unpairseg.open_vocabulary_unpairseg import pool_regions
from hfseg.pipelines.auto_models import AutoModelForOpenVocabularySegmentation
from hfseg.postprocess import mask_nms, unpack_masks

CONVNEXT = {
    "model_type": "convnext",
    "hidden_sizes": [8, 12, 16, 24],
    "depths": [1, 1, 1, 1],
    "layer_norm_eps": 1e-6,
    "layer_scale_init_value": 1.0,
}
TEXT = {
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 8,
    "hidden_act": "gelu",
    "projection_dim": 20,
    "bos_token_id": 62,
    "eos_token_id": 63,
    "pad_token_id": 63,
}
TINY = {
    "backbone_config": CONVNEXT,
    "text_config": TEXT,
    "feature_size": 32,
    "mask_feature_size": 32,
    "encoder_layers": 2,
    "encoder_feedforward_dim": 48,
    "hidden_size": 32,
    "decoder_layers": 3,
    "num_attention_heads": 4,
    "dim_feedforward": 48,
    "points_per_side": 3,
    "train_points_per_side": 3,
    "train_num_points": 64,
    "region_sizes": (64, 96),
}


def tiny_config(**fields: Any) -> UnpairSegConfig:
    """Builds a configuration of a few ten thousand parameters."""
    return UnpairSegConfig(**{**TINY, **fields})


class TestUnpairSegModel(ModelContract):
    model_class = UnpairSegModel
    auto_classes = ("AutoModel",)
    recorded = {
        "hidden_states": 4,
        "attentions": 3,
        "cross_attentions": 3,
        "encoder_hidden_states": 3,
        "encoder_attentions": 2,
    }
    # Keys' biases cancel in the softmax; prompts are points, so what only boxes read gets nothing.
    zero_gradients = (".k_proj.bias", "box_embedding")
    prompts = 4
    # A map of a single pixel (an input below 64 pixels) is another program for torch.export.
    odd_size = (70, 101)

    not_applicable = dict.fromkeys(
        (
            "test_compiles_to_one_graph",
            "test_exports_with_dynamic_shapes",
            "test_every_parameter_gets_a_gradient",
        ),
        "the test of the head runs the whole of this model, and its loss reaches all parameters",
    )

    def config(self):
        return tiny_config()

    def inputs(self, batch_size, height, width):
        generator = torch.Generator().manual_seed(4)
        points = torch.rand(batch_size, self.prompts, 1, 2, generator=generator) * torch.tensor([width, height])
        return {**super().inputs(batch_size, height, width), "input_points": points}

    def labels(self, batch_size, height, width, empty=False):
        return {}

    def shapes(self, batch_size, height, width):
        return {
            "iou_scores": (batch_size, self.prompts, 4),
            "pred_masks": (batch_size, self.prompts, 4, height // 4, width // 4),
            "last_hidden_state": (batch_size, self.prompts, 7, 32),
        }

    def fresh(self):
        torch_default = partial(kaiming, gain=3**-0.5)
        # Head k of 4 looks along an axis, so every point of index i contributes (i + 1)^2 to one of two numbers.
        return {
            "*sampling_offsets.bias": (sum(i * i for i in (1, 2, 3, 4)) / 8) ** 0.5,
            "*sampling_offsets.weight": 0.0,
            "*attention_weights.*": 0.0,
            "*level_embed*": 1.0,
            "*prompt_encoder.*": 1.0,
            "*norm*.weight": 1.0,
            "*norm*.bias": 0.0,
            "*lateral.1.weight": 1.0,
            "*input_projections.*.weight": xavier,
            "*input_projections.*.bias": 0.0,
            "*mask_embedders.*.weight": torch_default,
            "*mask_embedders.*.bias": 3**-0.5 * 32**-0.5,
            "*iou_predictors.*.weight": torch_default,
            "*iou_predictors.*.layers.2.bias": None,  # a single draw
            "*iou_predictors.*.bias": 3**-0.5 * 32**-0.5,
            "*pixel_projection.weight": torch_default,
            "*pixel_projection.bias": 3**-0.5 * 32**-0.5,
            "*feature_pyramid.*.weight": kaiming,
            "*feature_pyramid.*.bias": 0.0,
            "*.[qkv]_proj.weight": partial(xavier, gain=0.5**0.5),  # rows of one (3C, C) matrix
            "*_proj.weight": xavier,
            "*_proj.bias": 0.0,
            "*.fc?.weight": xavier,
            "*.fc1.bias": 3**-0.5 * 32**-0.5,
            "*.fc2.bias": 3**-0.5 * 48**-0.5,
        }


class TestUnpairSegForMaskGeneration(TestUnpairSegModel):
    model_class = UnpairSegForMaskGeneration
    auto_classes = ("AutoModelForMaskGeneration",)
    not_applicable = {}
    # Also the heads of the single mask of a box.
    zero_gradients = (".k_proj.bias", "box_embedding", *(
        f"{heads}.0.layers.{layer}.{kind}"
        for heads in ("mask_embedders", "iou_predictors") for layer in range(3) for kind in ("weight", "bias")
    ))  # fmt: skip

    def labels(self, batch_size, height, width, empty=False):
        # As many masks around every point as there are granularities, so that each has something to learn.
        masks = torch.ones(0 if empty else 4, height, width, dtype=torch.bool)
        for index in range(len(masks)):
            masks[index, : 2 * index, :5] = False
        return {"mask_labels": [masks] * batch_size}

    def shapes(self, batch_size, height, width):
        shapes = super().shapes(batch_size, height, width)
        shapes.pop("last_hidden_state")
        return shapes


class TestUnpairSegForOpenVocabularySegmentation(TestUnpairSegModel):
    model_class = UnpairSegForOpenVocabularySegmentation
    auto_classes = ("AutoModelForOpenVocabularySegmentation",)
    shared_inputs = ("input_ids",)
    zero_gradients = ()
    not_applicable = {
        "test_gradient_checkpointing_changes_nothing": (
            "everything but the adapter is frozen: there is nothing to recompute; the head of stage 1 is tested"
        ),
    }

    def config(self):
        # Any mask counts, so that a fresh model has some to match.
        return tiny_config(score_threshold=0.0, iou_threshold=1.1, cover_threshold=1.1)

    def inputs(self, batch_size, height, width):
        ids = torch.tensor([[62, 5, 63, 63], [62, 7, 9, 63], [62, 1, 63, 63]])
        return {**super().inputs(batch_size, height, width), "input_ids": ids}

    def labels(self, batch_size, height, width, empty=False):
        generator = torch.Generator().manual_seed(7)
        count = 0 if empty else 3
        return {"entity_labels": [torch.randn(count, 20, generator=generator) for _ in range(batch_size)]}

    def shapes(self, batch_size, height, width):
        return {
            "class_queries_logits": (batch_size, 16, 3),
            "masks_queries_logits": (batch_size, 16, height // 4, width // 4),
            "iou_scores": (batch_size, 16),
            "region_embeds": (batch_size, 16, 20),
        }

    def fresh(self):
        return {
            "text_model.*": None,  # a library's own class
            "logit_scale": 2.6592600,
            "visual_projection.*.weight": partial(kaiming, gain=3**-0.5),
            "visual_projection.fc1.bias": 3**-0.5 * 24**-0.5,
            "adapter.down.*.weight": partial(kaiming, gain=3**-0.5),
            "adapter.down.*.bias": None,  # eight draws each, of four different sizes
            "adapter.up.*": 0.0,  # the adapter starts as the identity
            "adapter.fuse.weight": partial(kaiming, gain=3**-0.5),
            "adapter.fuse.bias": 3**-0.5 * 60**-0.5,
            "adapter.projection.weight": partial(kaiming, gain=3**-0.5),
            "adapter.projection.bias": 3**-0.5 * 24**-0.5,
            **super().fresh(),
        }


# The authors' numbers, through the public route: convert command, folder, Auto class.


def converted(case: Case, folder: Any, auto_class: Any = AutoModelForMaskGeneration) -> Any:
    """Converts a case's weights with the command and loads the folder."""
    checkpoint, output = folder / "official.safetensors", folder / "converted"
    save_file(case.weights, checkpoint)
    arguments = ["--architecture", "unpairseg", "--checkpoint", str(checkpoint), "--config", str(case.config_file)]
    assert convert_command([*arguments, "--output_dir", str(output)]) == 0
    model, info = auto_class.from_pretrained(output, output_loading_info=True)
    assert not (info["missing_keys"] or info["unexpected_keys"] or info["mismatched_keys"])
    return model


def close(actual: torch.Tensor, expected: torch.Tensor, rtol: float = 0.0, atol: float = 1e-4) -> None:
    torch.testing.assert_close(actual, expected, rtol=rtol, atol=atol)


def normalized(case: Case) -> torch.Tensor:
    """Normalizes the images of a case."""
    mean = torch.tensor(case.config["MODEL"]["PIXEL_MEAN"]).view(3, 1, 1)
    std = torch.tensor(case.config["MODEL"]["PIXEL_STD"]).view(3, 1, 1)
    return (case.inputs["images"].float() - mean) / std


def test_golden_training_loss_and_gradients(tmp_path):
    case = read_case("unpairseg/train_points")
    model, inputs, expected = converted(case, tmp_path), case.inputs, case.outputs
    assert type(model) is UnpairSegForMaskGeneration
    assert model.config.decoder_layers == 3 and model.config.iou_weight == 1
    model.train()
    points = (inputs["points_xyxy"][..., :2] + 2)[:, :, None]
    outputs = model.model(normalized(case), input_points=points)
    close(outputs.pred_masks, expected["pred_masks"], 0, 1e-3)
    close(outputs.iou_scores, expected["pred_ious"], 0, 2e-5)
    for level in range(3):
        close(outputs.all_iou_scores[level], expected[f"aux{level}.pred_ious"], 0, 2e-5)

    masks, weights = [inputs["gt_masks.0"], inputs["gt_masks.1"]], PromptableLossWeights(2, 1, 1)
    match = match_points(
        outputs.mask_embeddings, outputs.pixel_embedding, binary_targets(masks, (96, 96)), points[:, :, 0], weights
    )
    for image, (queries, targets, quality) in enumerate(
        zip(
            *(
                part.split(match.pairs.counts)
                for part in (match.pairs.queries[0], match.pairs.targets[0], match.quality)
            )
        )
    ):
        assert queries.tolist() == expected[f"match.{image}.pred_index"].tolist()
        assert targets.tolist() == expected[f"match.{image}.gt_index"].tolist()
        close(1 - quality, expected[f"match.{image}.dice_cost"], 0, 1e-5)

    levels = ("aux0", "aux1", "aux2", "final")
    drawn = Points(
        torch.zeros(4, 2, 96, 2),
        torch.stack([inputs[f"rand.{level}.oversample"] for level in levels]),
        torch.stack([inputs[f"rand.{level}.uniform"] for level in levels]),
    )
    losses = promptable_loss(
        torch.stack(outputs.all_mask_embeddings),
        torch.stack(outputs.all_iou_scores),
        outputs.pixel_embedding,
        masks,
        points[:, :, 0],
        None,
        (96, 96),
        weights,
        num_points=96,
        random_points=drawn,
    )
    assert len(losses) == 12
    for name, value in losses.items():
        weight = 2 if name.startswith("loss_mask") else 1
        # The 72nd and 73rd least certain of 288 points of one mask have the logits -0.86250 and +0.86250: rounding
        # decides which is compared, and that moves this one Dice loss in the fourth digit.
        tolerance = 1e-3 if name == "loss_dice_1" else 1e-4
        close(value / weight, expected[f"loss.{name}"][0], tolerance, 0.0)
    total = sum(losses.values())
    close(total, expected["loss.total_weighted"][0], 1e-4, 0.0)
    total.backward()

    # Gradients, written as if they were weights, get the names that the converter gives.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)
    model.save_pretrained(tmp_path / "gradients")
    gradients, compared = load_file(tmp_path / "gradients" / "model.safetensors"), 0
    for key, weight in case.weights.items():
        norm = expected.get(f"gradnorm.{key}")
        if norm is None:
            continue
        parts = [gradients[name] for name in convert_state_dict({key: weight})]
        actual = torch.stack([part.double().norm() for part in parts]).norm().float()
        close(actual, norm[0].float(), 5e-3, 1e-5)  # the tie above moves some by 2e-3
        compared += 1
    assert compared == sum(name.startswith("gradnorm.") for name in expected)


def test_golden_boxes(tmp_path):
    case = read_case("unpairseg/train_points")
    model = converted(case, tmp_path)
    with torch.no_grad():
        outputs = model(normalized(case), input_boxes=case.inputs["eval_boxes_xyxy"])
    close(outputs.pred_masks, case.outputs["eval_box.pred_masks"], 0, 1e-3)
    close(outputs.iou_scores, case.outputs["eval_box.pred_ious"], 0, 2e-5)


def test_golden_grid_and_selection():
    """The authors' grid of points, score filter and order of kept masks, 484 masks of which 15 remain."""
    folder = FIXTURES / "unpairseg" / "point_grid_selection"
    inputs, expected = read_tensors(folder, "inputs"), read_tensors(folder, "outputs")
    model = UnpairSegModel(tiny_config(points_per_side=11)).eval()
    points = model.point_grid(1, (128, 128), torch.tensor([[120, 160]]))[:, :, 0]
    close(torch.cat((points - 2, points + 2), dim=-1), expected["points_xyxy"], 0, 2e-5)
    scores = inputs["all_scores"].flatten()
    kept = (scores >= UnpairSegConfig().score_threshold).nonzero().flatten()
    assert kept.tolist() == expected["kept_by_score"].tolist()
    masks = unpack_masks(inputs["packed_masks"], 64)
    order = mask_nms(masks, inputs["scores"])
    assert kept[order].tolist() == expected["kept_by_nms"].tolist()
    assert len(mask_nms(masks, inputs["scores"], rule="iou")) == 44


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


# Prompts.


def example(batch_size: int = 2) -> torch.Tensor:
    return TestUnpairSegModel().inputs(batch_size, 64, 96)["pixel_values"]


def test_chunks_and_kept_image_embeddings_change_nothing():
    torch.manual_seed(0)
    model = peaked(UnpairSegForMaskGeneration(tiny_config())).eval()
    points = torch.rand(2, 7, 1, 2) * 60
    with torch.no_grad():
        expected = model(example(), input_points=points, prompt_chunk_size=7)
        for chunk in (1, 3):
            actual = model(example(), input_points=points, prompt_chunk_size=chunk)
            assert_same(actual.pred_masks, expected.pred_masks, 1e-4, 1e-4)
            assert_same(actual.iou_scores, expected.iou_scores, 1e-4, 1e-4)
        embeddings = model.get_image_embeddings(example())
        assert_same(model(image_embeddings=embeddings, input_points=points).pred_masks, expected.pred_masks, 1e-4, 1e-4)
        lazy = model(example(), input_points=points, output_masks=False)
        assert lazy.pred_masks is None
        made = torch.einsum("bqmc,bchw->bqmhw", lazy.mask_embeddings, lazy.pixel_embedding)
        assert_same(made, expected.pred_masks, 1e-4, 1e-4)


def test_prompts_do_not_see_each_other():
    torch.manual_seed(0)
    model = peaked(UnpairSegForMaskGeneration(tiny_config())).eval()
    points = torch.rand(1, 4, 1, 2) * 60
    other = points.clone()
    other[:, 1:] = 5.0
    with torch.no_grad():
        first, second = (model(example(1), input_points=p).pred_masks for p in (points, other))
    assert_same(first[:, 0], second[:, 0], 1e-5, 1e-5)
    assert not torch.allclose(first[:, 1], second[:, 1])


@pytest.mark.parametrize("legacy", [False, True])
def test_several_points_give_one_mask(legacy):
    torch.manual_seed(0)
    model = peaked(UnpairSegForMaskGeneration(tiny_config(legacy_multipoint_readout=legacy))).eval()
    points, signs = torch.rand(2, 3, 2, 2) * 60, torch.tensor([1, 0]).expand(2, 3, 2)
    with torch.no_grad():
        outputs = model(example(), input_points=points, input_labels=signs)
        positive = model(example(), input_points=points)
    assert outputs.pred_masks.shape == (2, 3, 1, 16, 24)
    assert not torch.allclose(outputs.pred_masks, positive.pred_masks)  # the sign matters
    # The mask token is the fifth of five tokens; the released code reads the third.
    assert model.model.mask_decoder.readout_places(5, 2) == ((2, 0, 1) if legacy else (4, 0, 1))


def test_grid_avoids_padding_and_is_jittered_in_training():
    model = UnpairSegModel(tiny_config(points_per_side=4, train_points_per_side=4))
    sizes = torch.tensor([[30, 90], [1, 1]])
    points = model.eval().point_grid(2, (96, 96), sizes)
    assert points.shape == (2, 16, 1, 2) and torch.equal(points, model.point_grid(2, (96, 96), sizes))
    assert points[0, ..., 1].max() < 30 * 95 / 89 and points[0, ..., 0].max() > 80
    assert torch.isfinite(points).all() and not points[1].any()
    torch.manual_seed(0)
    jittered = model.train().point_grid(2, (96, 96), sizes)
    shift = (jittered - points)[0, :, 0] / (torch.tensor([89.0, 29.0]) * 95 / 89 / 4)  # in cells
    assert 0.3 < shift.abs().max() <= 0.5001 and jittered.min() >= 0


def test_points_and_boxes_train_different_parameters():
    model = peaked(UnpairSegForMaskGeneration(tiny_config())).train()
    masks = [torch.arange(64)[:, None].ge(32).int().expand(64, 96) + 1] * 2
    boxes = torch.tensor([[[0, 0, 96, 32], [0, 32, 96, 64], [0, 0, 96, 32.0]]] * 2)
    labels = torch.tensor([[0, 1, -1]] * 2)
    outputs = model(example(), input_boxes=boxes, box_labels=labels, mask_labels=masks)
    assert outputs.pred_masks.shape == (2, 3, 1, 16, 24)
    outputs.loss.backward()
    decoder = model.model.mask_decoder
    assert decoder.prompt_encoder.box_embedding.grad.any() and decoder.mask_embedders[0].layers[0].weight.grad.any()
    assert not decoder.prompt_encoder.point_embedding.grad.any()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_frozen_backbone():
    model = UnpairSegForMaskGeneration(tiny_config(backbone_config={**CONVNEXT, "drop_path_rate": 0.5})).train()
    assert not model.model.backbone.training
    assert not any(parameter.requires_grad for parameter in model.model.backbone.parameters())
    free = UnpairSegForMaskGeneration(tiny_config(freeze_backbone=False)).train()
    assert free.model.backbone.training and all(p.requires_grad for p in free.model.backbone.parameters())


def test_what_is_frozen_stays_frozen_when_loaded(tmp_path):
    # transformers makes every weight that it loads trainable.
    torch.manual_seed(0)
    UnpairSegForOpenVocabularySegmentation(tiny_config()).save_pretrained(tmp_path)
    loaded = UnpairSegForOpenVocabularySegmentation.from_pretrained(tmp_path)
    trainable = {name.split(".")[0] for name, weight in loaded.named_parameters() if weight.requires_grad}
    assert trainable == {"adapter"}
    masks, _ = UnpairSegForMaskGeneration.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(weight.requires_grad for weight in masks.model.backbone.parameters())
    assert all(weight.requires_grad for weight in masks.model.mask_decoder.parameters())
    free = UnpairSegForMaskGeneration.from_pretrained(tmp_path, freeze_backbone=False)
    assert all(weight.requires_grad for weight in free.parameters())


def test_an_image_is_the_region_that_covers_it():
    model = UnpairSegForOpenVocabularySegmentation(tiny_config()).eval()
    pixels = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        maps = model.model.extract_features(pixels)
        whole = model.clip_regions(maps[-1], torch.ones(2, 1, 2, 3))[:, 0]
        torch.testing.assert_close(model.get_image_features(pixels), whole, rtol=1e-5, atol=1e-5)


def test_parameters_of_the_published_model():
    """221M of the paper's table: visual trunk and projection, pixel decoder, mask decoder; the text tower not."""
    with torch.device("meta"):
        model = UnpairSegForOpenVocabularySegmentation(UnpairSegConfig())

    def count(module: torch.nn.Module) -> int:
        return sum(parameter.numel() for parameter in module.parameters())

    assert count(model.model.backbone) == 196_230_336
    assert count(model.visual_projection) == 3_540_480
    assert count(model.text_model) + 1 == 152_001_793
    assert count(model.model.pixel_decoder) == 5_790_144
    assert count(model.model.mask_decoder) == 16_188_421
    assert count(model.adapter) == 5_654_624
    assert count(model.model) + count(model.visual_projection) == 221_749_381


# Adapters.


def open_vocabulary(**fields: Any) -> UnpairSegForOpenVocabularySegmentation:
    torch.manual_seed(0)
    config = tiny_config(score_threshold=0.0, iou_threshold=1.1, cover_threshold=1.1, **fields)
    return peaked(UnpairSegForOpenVocabularySegmentation(config)).eval()


def test_low_rank_adapter_is_equation_3_7():
    model = open_vocabulary()
    maps = model.model.extract_features(example())
    adapter = model.adapter
    parts = []
    for features, down, up in zip(maps, adapter.down, adapter.up):
        tokens = features.permute(0, 2, 3, 1)
        tokens = tokens + up(F.gelu(down(tokens)))
        parts.append(F.interpolate(tokens.permute(0, 3, 1, 2), size=(8, 12), mode="bilinear", align_corners=False))
    together = torch.cat(parts, dim=1).permute(0, 2, 3, 1)
    expected = adapter.projection(F.gelu(adapter.fuse(together))).permute(0, 3, 1, 2)
    close(adapter(maps), expected, 1e-4, 1e-4 * expected.abs().max().item())


@pytest.mark.parametrize(
    "fields",
    [
        {"adapter": "cross_attention"},
        {"adapter_residual": False, "adapter_dim": 8},
        {"clip_residual": True},
        {"region_source": "ensemble"},
        {"region_source": "clip"},
        {"matching": "greedy", "matching_num_sigmas": 2.0},
        {"matching_cost": "eq36", "normalize_scales": True},
        {"matching_cost": "cosine", "min_similarity": -1.0},
        {"matching_cost": "legacy", "matching_topk": 0.5},
        {"self_ensemble_steps": 10},
    ],
    ids=str,
)
def test_adapter_options_learn(fields):
    model = open_vocabulary(**fields).train()
    contract = TestUnpairSegForOpenVocabularySegmentation()
    outputs = model(example(), **contract.labels(2, 64, 96))
    outputs.loss.backward()
    assert torch.isfinite(outputs.loss) and 0 < outputs.loss < 2
    assert all(torch.isfinite(p.grad).all() for p in model.adapter.parameters())
    assert any(p.grad.any() for p in model.adapter.parameters())
    assert all(p.grad is None for name, p in model.named_parameters() if not name.startswith("adapter."))
    assert model.matching_state[1] == 1


def test_clip_residual_starts_as_the_baseline():
    torch.manual_seed(0)
    model = UnpairSegForOpenVocabularySegmentation(tiny_config(clip_residual=True)).eval()
    maps = model.model.extract_features(example())
    everything = torch.ones(2, 1, 16, 24)
    pixels = model.project_regions(maps[-1].permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    pixels = F.interpolate(pixels, size=(8, 12), mode="bilinear", align_corners=False)
    close(model.adapter_regions(maps, everything)[:, 0], pixels.mean((2, 3)), 1e-5, 1e-5)


def test_multi_scale_regions_mean_nothing_for_lost_masks():
    model = open_vocabulary()
    logits = [torch.full((2, 16, 24), -5.0), torch.full((1, 16, 24), 5.0)]
    logits[0][1] = 5.0
    regions = model.multi_scale_regions(example(), logits)
    assert [tuple(r.shape) for r in regions] == [(2, 2, 20), (2, 1, 20)]
    assert not regions[0][:, 0].any() and regions[0][:, 1].any()
    # The second size is the input's own: no resize.
    own = model.clip_regions(model.model.extract_features(example())[-1], torch.stack([logits[0][1:], logits[1]]))
    close(regions[1][1], own[1], 1e-5, 1e-5)


# Bad input.


def test_prompts_and_labels_that_do_not_fit():
    model = UnpairSegForMaskGeneration(tiny_config()).train()
    pixels, points = example(), torch.ones(2, 1, 1, 2)
    with pytest.raises(ValueError, match="not both"):
        model(pixels, input_points=points, input_boxes=torch.ones(2, 1, 4))
    with pytest.raises(ValueError, match="Give pixel_values, or image_embeddings"):
        model(input_points=points)
    with pytest.raises(ValueError, match="mask_labels for 1 of 2 images"):
        model(pixels, input_points=points, mask_labels=[torch.zeros(64, 96, dtype=torch.int64)])
    with pytest.raises(ValueError, match=r"mask_labels\[0\] is 128 x 96, larger than the padded input of 64 x 96"):
        model(pixels, input_points=points, mask_labels=[torch.zeros(128, 96, dtype=torch.int64)] * 2)
    with pytest.raises(ValueError, match="mask ids must be integers"):
        model(pixels, input_points=points, mask_labels=[torch.zeros(64, 96)] * 2)
    with pytest.raises(ValueError, match="needs box_labels"):
        model(pixels, input_boxes=torch.ones(2, 1, 4), mask_labels=[torch.ones(1, 64, 96)] * 2)
    with pytest.raises(ValueError, match="names mask 3, but the image has 1"):
        model(
            pixels,
            input_boxes=torch.ones(2, 1, 4),
            box_labels=torch.tensor([[3], [0]]),
            mask_labels=[torch.ones(1, 64, 96)] * 2,
        )
    with pytest.raises(ValueError, match="this model has none"):
        UnpairSegForOpenVocabularySegmentation(tiny_config(adapter="none"))(
            pixels, entity_labels=[torch.ones(1, 20)] * 2
        )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"adapter": "lora"}, "choose one of low_rank, cross_attention, none"),
        ({"adapter": "none", "region_source": "adapter"}, "needs an adapter"),
        ({"hidden_size": 64}, "must agree"),
        ({"feature_size": 48}, "multiple of 32"),
        ({"num_masks": 0}, "must be at least 1"),
        ({"region_sizes": ()}, "at least one positive"),
        ({"backbone_config": {"model_type": "swin"}}, "must be a ConvNeXt"),
    ],
)
def test_illegal_configurations(fields, message):
    with pytest.raises(Exception, match=message):
        tiny_config(**fields)


def test_blockwise_suppression_is_the_sequential_rule():
    """200 masks in several blocks, with equal scores; thresholds that no ratio of small areas meets exactly."""
    generator = np.random.default_rng(0)
    masks = np.zeros((200, 24, 24), dtype=bool)
    for mask in masks:
        y, x, h, w = generator.integers(0, 18, 2).tolist() + generator.integers(0, 10, 2).tolist()
        mask[y : y + h, x : x + w] = True
    scores = generator.integers(0, 40, 200) / 40
    for rule in ("or", "and", "iou"):
        order = np.argsort(-scores, kind="stable").tolist()
        kept = []
        while order:
            best = order.pop(0)
            kept.append(best)

            def removed(other, best=best, rule=rule):
                common = (masks[best] & masks[other]).sum() + np.float32(1e-6)
                iou = np.float32(common / ((masks[best] | masks[other]).sum() + np.float32(1e-6)))
                cover = np.float32(common / (masks[other].sum() + np.float32(1e-6)))
                tests = {
                    "or": iou >= 0.503 or cover >= 0.703,
                    "and": iou > 0.503 and cover > 0.703,
                    "iou": iou >= 0.503,
                }
                return tests[rule]

            order = [other for other in order if not removed(other)]
        assert mask_nms(torch.from_numpy(masks), torch.from_numpy(scores), 0.503, 0.703, rule).tolist() == kept
