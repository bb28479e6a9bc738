# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Unpair-Seg: the common contract, the authors' numbers, prompts, adapters and variants."""

from functools import partial

import pytest
import torch
from safetensors.torch import load_file

from contract import ModelContract, assert_same, kaiming, peaked, xavier
from golden import FIXTURES, read_case, read_tensors
from hfseg import (
    UnpairSegConfig,
    UnpairSegForMaskGeneration,
    UnpairSegForOpenVocabularySegmentation,
    UnpairSegModel,
)
from hfseg.losses.mask_classification import Points
from hfseg.losses.promptable import PromptableLossWeights, binary_targets, match_points, promptable_loss
from hfseg.models.unpairseg.convert_unpairseg import convert_state_dict
from hfseg.postprocess import mask_nms, unpack_masks
from unpairseg_models import CONVNEXT, close, converted, entity_labels, example, normalized, tiny_config


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


# The authors' numbers, through the public route: convert command, folder, Auto class.


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


# Prompts.


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


# Adapters.


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


class TestUnpairSegForOpenVocabularySegmentation(TestUnpairSegModel):
    model_class = UnpairSegForOpenVocabularySegmentation
    auto_classes = ("AutoModelForOpenVocabularySegmentation",)
    shared_inputs = ("input_ids",)
    zero_gradients = ()
    not_applicable = {
        "test_gradient_checkpointing_changes_nothing": (
            "everything but the adapter is frozen: there is nothing to recompute; the head of stage 1 is tested"
        )
    }

    def config(self):
        # Any mask counts, so that a fresh model has some to match.
        return tiny_config(score_threshold=0.0, iou_threshold=1.1, cover_threshold=1.1)

    def inputs(self, batch_size, height, width):
        ids = torch.tensor([[62, 5, 63, 63], [62, 7, 9, 63], [62, 1, 63, 63]])
        return {**super().inputs(batch_size, height, width), "input_ids": ids}

    def labels(self, batch_size, height, width, empty=False):
        return {"entity_labels": entity_labels(batch_size, 0 if empty else 3)}

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
