# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""PRO-SCALE's detector: the common contract, DINO's decoder against transformers, noised queries, the pipeline."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import pipeline

from contract import ModelContract, OneCompiledProgram, kaiming, peaked, xavier
from hfseg import ProScaleConfig, ProScaleDetectionModel, ProScaleForObjectDetection, ProScaleImageProcessor
from proscale_models import STAGES, tiny_config
from slow_tests import slow

RESNET = {
    "model_type": "resnet",
    "embedding_size": 8,
    "hidden_sizes": [8, 16, 32, 64],
    "depths": [1, 1, 1, 1],
    "layer_type": "basic",
    "out_features": STAGES,
}
# Two channels per normalization group: torch refuses to normalize the single value that a map of one pixel has.
FIELDS = {"feature_size": 64, "encoder_stage_layers": (1, 1, 1, 1), "decoder_layers": 2, "num_denoising_queries": 4}


def detector_config(**fields) -> ProScaleConfig:
    """Builds the configuration of a tiny detector with four scales."""
    return tiny_config(**{**FIELDS, **fields})


class TestProScaleDetectionModel(ModelContract):
    model_class = ProScaleDetectionModel
    recorded = {
        "hidden_states": 3,
        "attentions": 2,
        "cross_attentions": 2,
        "encoder_hidden_states": 5,
        "encoder_attentions": 4,
    }
    zero_gradients = (".k_proj.bias", ".key.bias")
    not_applicable = dict.fromkeys(
        ("test_compiles_to_one_graph", "test_exports_with_dynamic_shapes"),
        "the test of the head runs the whole of this model; twice would only cost time",
    ) | {"test_auto_classes_load_the_folder": "AutoModel is the model of masks: one class per configuration"}

    def config(self):
        return detector_config()

    def dynamic_size_config(self):
        return detector_config(backbone_config=RESNET, decoder_layers=1, encoder_stage_layers=(1, 0, 0, 1))

    def labels(self, batch_size, height, width, empty=False):
        return {}

    def shapes(self, batch_size, height, width):
        return {
            "last_hidden_state": (batch_size, 10, 64),
            "pred_boxes": (batch_size, 10, 4),
            "encoder_logits": (batch_size, 10, 5),
        }

    def fresh(self):
        # PyTorch's own default is Kaiming uniform with slope sqrt(5); a prior of 1 % is Focal Loss, section 4.1.
        torch_default = partial(kaiming, gain=3**-0.5)
        bias = 3**-0.5 * 64**-0.5
        return {
            "*sampling_offsets.bias": (sum(i * i for i in (1, 2, 3, 4)) / 8) ** 0.5,
            "*sampling_offsets.weight": 0.0,
            "*attention_weights.*": 0.0,
            "*level_embed*": 1.0,
            "*query_features.weight": 1.0,
            "*norm*.weight": 1.0,
            "*norm*.bias": 0.0,
            "*input_projections.*.1.weight": 1.0,
            "*input_projections.*.weight": xavier,
            "*input_projections.*.bias": 0.0,
            "*token_recalibration*.weight": xavier,
            "*token_recalibration*.bias": None,  # a single draw
            "*class_predictor.weight": torch_default,
            "*class_predictor.bias": 4.59512,
            "*box_predictor.layers.2.*": 0.0,
            "*box_predictor.*.weight": torch_default,
            "*box_predictor.*.bias": bias,
            "*position_encoder.*.weight": xavier,
            "*position_encoder.layers.0.bias": 3**-0.5 * 128**-0.5,
            "*position_encoder.layers.1.bias": bias,
            "*anchor_selection.projection.weight": xavier,
            "*anchor_selection.projection.bias": 0.0,
            "*.[qkv]_proj.weight": partial(xavier, gain=0.5**0.5),  # rows of one (3C, C) matrix
            "*_proj.weight": xavier,
            "*_proj.bias": 0.0,
            "*.fc?.weight": xavier,
            "*.fc1.bias": bias,
            "*.fc2.bias": 3**-0.5 * 48**-0.5,
        }


class TestProScaleForObjectDetection(OneCompiledProgram, TestProScaleDetectionModel):
    model_class = ProScaleForObjectDetection
    auto_classes = ("AutoModelForObjectDetection",)
    not_applicable = {}
    # One program serves all sizes whose coarsest map, at stride 64, has more than one row and column.
    size, odd_size, other_size = (128, 192), (129, 175), (192, 256)

    @slow  # exported always
    def test_compiles_once_for_all_sizes(self):
        super().test_compiles_once_for_all_sizes()

    def fresh(self):
        return {**super().fresh(), "*label_embedding.weight": 1.0}

    def labels(self, batch_size, height, width, empty=False):
        if empty:
            entry = {"class_labels": torch.zeros(0, dtype=torch.int64), "boxes": torch.zeros(0, 4)}
        else:
            boxes = torch.tensor([[0.25, 0.25, 0.5, 0.5], [0.6, 0.7, 0.6, 0.5]])
            entry = {"class_labels": torch.tensor([1, 4]), "boxes": boxes}
        return {"labels": [dict(entry) for _ in range(batch_size)]}

    def shapes(self, batch_size, height, width):
        return {"logits": (batch_size, 10, 5), "pred_boxes": (batch_size, 10, 4), "input_sizes": (batch_size, 2)}


def grounding_decoder(queries: int):
    """transformers' decoder of Grounding DINO: DINO's with attention to a text, which here adds nothing."""
    from transformers import GroundingDinoConfig
    from transformers.models.grounding_dino.modeling_grounding_dino import GroundingDinoDecoder

    config = GroundingDinoConfig(
        d_model=64,
        decoder_layers=3,
        decoder_attention_heads=4,
        decoder_ffn_dim=48,
        decoder_n_points=4,
        num_feature_levels=4,
        dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        num_queries=queries,
        text_config={"model_type": "bert"},
        backbone_config={"model_type": "resnet", "out_features": STAGES[1:]},
    )
    torch.manual_seed(0)
    decoder = peaked(GroundingDinoDecoder(config)).eval()
    for layer in decoder.layers:
        layer.encoder_attn_text.out_proj.weight.data.zero_()
        layer.encoder_attn_text.out_proj.bias.data.zero_()
        for norm in (layer.self_attn_layer_norm, layer.encoder_attn_text_layer_norm):  # the second then is the identity
            norm.weight.data.fill_(1.0)
            norm.bias.data.zero_()
    return decoder


# Parts of our decoder under the names that transformers gives them.
THEIR_NAMES = (
    ("self_attn.q_proj", "self_attn.query"),
    ("self_attn.k_proj", "self_attn.key"),
    ("self_attn.v_proj", "self_attn.value"),
    ("cross_attn.", "encoder_attn."),
    ("cross_attn_layer_norm", "encoder_attn_layer_norm"),
    ("position_encoder.", "reference_points_head."),
)


def test_decoder_is_grounding_dinos_without_text():
    theirs = grounding_decoder(7)
    ours = ProScaleForObjectDetection(detector_config(decoder_layers=3)).model.decoder.decoder.eval()
    peaked(ours)
    theirs.bbox_embed = torch.nn.ModuleList([ours.box_predictor] * 3)
    source = theirs.state_dict()
    with torch.no_grad():
        for name, parameter in ours.named_parameters():
            if name.startswith("box_predictor"):
                continue
            for mine, other in THEIR_NAMES:
                name = name.replace(mine, other)
            name = "layer_" + name if name.startswith("norm.") else name
            parameter.copy_(source[name])
    shapes = ((2, 3), (4, 6), (8, 12), (16, 24))
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randn(2, sum(h * w for h, w in shapes), 64, generator=generator)
    queries = torch.randn(2, 7, 64, generator=generator)
    anchors = torch.rand(2, 7, 4, generator=generator) * 0.6 + 0.2
    with torch.no_grad():
        actual = ours(queries, anchors, tokens, shapes)
        sizes = torch.tensor(shapes)
        areas = sizes.prod(1)
        expected = theirs(
            inputs_embeds=queries,
            vision_encoder_hidden_states=tokens,
            vision_encoder_attention_mask=torch.ones(tokens.shape[:2], dtype=torch.bool),
            text_encoder_hidden_states=torch.randn(2, 5, 64, generator=generator),
            reference_points=anchors,
            spatial_shapes=sizes,
            spatial_shapes_list=list(shapes),
            level_start_index=areas.cumsum(0) - areas,
            valid_ratios=torch.ones(2, 4, 2),
            return_dict=True,
        )
        # The idle norm divides by the root of 1 + 1e-5, which peaked attention makes more of.
        for layer in range(3):
            torch.testing.assert_close(
                actual.queries[layer], expected.intermediate_hidden_states[:, layer], rtol=0, atol=3e-3
            )
        # Grounding DINO's head does the same: the box of a layer starts from the anchor of the layer before.
        start = expected.intermediate_reference_points[:, 1]
        delta = ours.box_predictor(expected.intermediate_hidden_states[:, 2])
        torch.testing.assert_close(actual.boxes[2], (delta + start.logit(eps=1e-5)).sigmoid(), rtol=0, atol=3e-3)


def test_boxes_look_forward_twice_and_no_further():
    """The loss of layer i reaches the box predictor's work at layer i - 1, not the queries through the anchors."""
    torch.manual_seed(0)
    decoder = peaked(ProScaleForObjectDetection(detector_config(decoder_layers=3)).model.decoder.decoder)
    shapes, tokens = ((4, 6), (4, 6), (4, 6), (4, 6)), torch.randn(1, 96, 64)
    anchors = torch.full((1, 3, 4), 0.4, requires_grad=True)
    seen = []
    for layer in decoder.layers:
        layer.register_forward_pre_hook(lambda module, given: seen.append(given[3]))
    outputs = decoder(torch.randn(1, 3, 64), anchors, tokens, shapes)
    assert seen[0].requires_grad and not seen[1].requires_grad and not seen[2].requires_grad
    outputs.boxes[2].sum().backward()
    assert decoder.box_predictor.layers[2].bias.grad is not None
    # Twice: from the layer's own step and from the one before, which is not detached.
    with torch.no_grad():
        last = outputs.boxes[2] * (1 - outputs.boxes[2])
    assert not torch.allclose(decoder.box_predictor.layers[2].bias.grad, last.sum((0, 1)), rtol=1e-2)


def test_anchors_are_the_tokens_that_the_class_predictor_trusts_most():
    torch.manual_seed(0)
    model = peaked(ProScaleDetectionModel(detector_config(backbone_config=RESNET))).eval()
    selection, shapes = model.anchor_selection, ((1, 2), (2, 3), (4, 6), (8, 12))
    tokens = torch.randn(2, 2 + 6 + 24 + 96, 64)
    with torch.no_grad():
        logits, boxes = selection(tokens, shapes)
        all_logits = selection.class_predictor(selection.norm(selection.projection(tokens)))
        steps = selection.box_predictor(selection.norm(selection.projection(tokens)))
    best = all_logits.amax(-1).topk(10, dim=1).indices
    torch.testing.assert_close(logits, all_logits[torch.arange(2)[:, None], best])
    # By hand, for the best token of the first image: its center, 5 % of the input, doubled per scale.
    index = int(best[0, 0])
    for level, (height, width) in enumerate(shapes):
        if index < height * width:
            side = 0.05 * 2 ** (3 - level)
            center = [(index % width + 0.5) / width, (index // width + 0.5) / height]
            anchor = torch.tensor([*center, side, side])
            break
        index -= height * width
    expected = (steps[0, best[0, 0]] + anchor.logit()).sigmoid()
    torch.testing.assert_close(boxes[0, 0], expected)


def test_tokens_at_the_border_are_all_alike():
    """Their anchors stand for nothing; what is in them must not be chosen (centers nearer than 1 % to the border)."""
    torch.manual_seed(0)
    model = peaked(ProScaleDetectionModel(detector_config(backbone_config=RESNET, num_queries=63))).eval()
    shapes = ((1, 1), (1, 1), (1, 1), (1, 60))  # the last row's first and last tokens lie at 1 / 120
    tokens = torch.randn(1, 63, 64)
    changed = tokens.clone()
    changed[:, [3, 62]] += torch.randn(1, 2, 64)
    with torch.no_grad():
        for one, other in zip(model.anchor_selection(tokens, shapes), model.anchor_selection(changed, shapes)):
            assert torch.equal(one, other)
        changed[:, 30] += torch.randn(64)
        assert not torch.equal(model.anchor_selection(changed, shapes)[0], model.anchor_selection(tokens, shapes)[0])


def test_more_groups_of_noised_queries_weigh_no_more():
    """Each group is divided by its boxes: twice the same group has the losses of one (DINO, section 3.3)."""
    torch.manual_seed(0)
    model = ProScaleForObjectDetection(detector_config(backbone_config=RESNET)).train()
    labels = [{"class_labels": torch.tensor([1, 3]), "boxes": torch.rand(2, 4) * 0.5 + 0.2}]
    logits, boxes = torch.randn(2, 1, 4 + 10, 5), torch.rand(2, 1, 4 + 10, 4) * 0.5 + 0.2
    outputs = SimpleNamespace(encoder_logits=logits[0, :, 4:], encoder_boxes=boxes[0, :, 4:])
    terms = []
    for groups in (1, 2):
        repeated = [torch.cat((part[:, :, :4].repeat(1, 1, groups, 1), part[:, :, 4:]), 2) for part in (logits, boxes)]
        positives = (torch.cat([torch.tensor([0, 1]) + 4 * group for group in range(groups)]),)
        noised = SimpleNamespace(positives=positives, groups=groups)
        terms.append(model.losses(*repeated, outputs, labels, noised, None))
    assert terms[0].keys() == terms[1].keys() and any(name.startswith("denoising_") for name in terms[0])
    for name, value in terms[0].items():
        torch.testing.assert_close(terms[1][name], value)


def test_fewer_tokens_than_queries():
    model = ProScaleForObjectDetection(detector_config(backbone_config=RESNET, num_queries=50)).eval()
    with torch.no_grad():
        outputs = model(torch.randn(1, 3, 32, 32))
    assert outputs.pred_boxes.shape == (1, 50, 4) and torch.isfinite(outputs.pred_boxes).all()


def test_noised_queries_are_contrastive():
    torch.manual_seed(0)
    model = ProScaleForObjectDetection(detector_config(backbone_config=RESNET, num_denoising_queries=6))
    boxes = torch.tensor([[0.5, 0.5, 0.2, 0.2], [0.4, 0.6, 0.3, 0.1]])
    labels = [
        {"class_labels": torch.tensor([1, 4]), "boxes": boxes},
        {"class_labels": torch.tensor([2]), "boxes": boxes[:1]},
    ]
    noised = model.noised_queries(labels)
    assert noised.groups == 3 and noised.content.shape == (2, 12, 64)
    # Groups hold the boxes to be restored first, then those to be rejected; the shift is below or above half a side.
    corners = noised.boxes.view(2, 3, 2, 2, 4)
    low, high = corners[..., :2] - corners[..., 2:] / 2, corners[..., :2] + corners[..., 2:] / 2
    true_low, true_high = boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2
    half = boxes[:, 2:] / 2
    for group in range(3):
        for moved, true in ((low, true_low), (high, true_high)):
            restored, rejected = moved[0, group, 0] - true, moved[0, group, 1] - true
            whole = high[0, group, 1] - low[0, group, 1] > 1e-3  # else corners have passed each other
            assert (restored.abs() <= half + 1e-4).all() and (rejected.abs() >= half - 1e-4)[whole].all()
            assert whole.any()
    mask = noised.attention_mask[0, 0]
    assert not mask[12:, :12].any() and mask[12:, 12:].all()  # queries do not see the ground truth
    assert mask[:4, :4].all() and not mask[:4, 4:12].any() and mask[:12, 12:].all()
    assert [len(rows) for rows in noised.positives] == [6, 3]
    assert ProScaleForObjectDetection(detector_config(num_denoising_queries=0)).noised_queries(labels) is None


def test_queries_do_not_see_noised_ones():
    """With the noised queries in front, the predictions of the others are what they are without them."""
    torch.manual_seed(0)
    model = peaked(ProScaleForObjectDetection(detector_config(backbone_config=RESNET))).eval()
    pixels, labels = torch.randn(2, 3, 64, 96), TestProScaleForObjectDetection().labels(2, 64, 96)["labels"]
    with torch.no_grad():
        plain = model.model(pixels)
        noised = model.model(pixels, noised_queries=model.noised_queries(labels))
    assert noised.queries[0].shape[1] > 10
    torch.testing.assert_close(noised.last_hidden_state, plain.last_hidden_state, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(noised.pred_boxes, plain.pred_boxes, rtol=1e-4, atol=1e-5)


def test_accumulated_batches_equal_the_big_one():
    torch.manual_seed(0)
    fields = {"backbone_config": RESNET, "num_denoising_queries": 0, "freeze_batch_norm": True}
    model = peaked(ProScaleForObjectDetection(detector_config(**fields))).train()
    pixels, labels = torch.randn(2, 3, 64, 96), TestProScaleForObjectDetection().labels(2, 64, 96)["labels"]
    labels[1] = {name: value[:1] for name, value in labels[1].items()}
    count = model.loss_normalizer({"labels": labels})
    assert count.item() == 3
    parts = [model(pixels[i : i + 1], labels=labels[i : i + 1], loss_normalizer=count).loss for i in range(2)]
    torch.testing.assert_close(sum(parts), model(pixels, labels=labels).loss, rtol=1e-4, atol=1e-4)


def test_targets_that_do_not_fit():
    model = ProScaleForObjectDetection(detector_config(backbone_config=RESNET))
    pixels, labels = torch.randn(1, 3, 64, 96), TestProScaleForObjectDetection().labels(1, 64, 96)["labels"]
    with pytest.raises(ValueError, match="labels of 2 images for a batch of 1"):
        model(pixels, labels=labels * 2)
    with pytest.raises(ValueError, match=r"labels\[0\] has no boxes"):
        model(pixels, labels=[{"class_labels": torch.tensor([1])}])
    with pytest.raises(ValueError, match=r"boxes of shape \(2, 4\) and 1 class_labels"):
        model(pixels, labels=[{"class_labels": torch.tensor([1]), "boxes": labels[0]["boxes"]}])
    with pytest.raises(ValueError, match=r"class_labels from 1 to 5; must be one of 0\.\.4"):
        model(pixels, labels=[{"class_labels": torch.tensor([1, 5]), "boxes": labels[0]["boxes"]}])
    with pytest.raises(ValueError, match=r"boxes beyond 0\.\.1"):
        model(pixels, labels=[{"class_labels": torch.tensor([1, 4]), "boxes": labels[0]["boxes"] * 100}])


@pytest.mark.parametrize(
    "fields",
    [{"encoder": "full", "encoder_layers": 1}, {"encoder": "lite", "encoder_layers": 2}, {"trc_layout": "spatial"},
     {"encoder_stage_layers": (1, 0, 1)}, {"position_code": "pixels"}],
    ids=["full", "lite", "spatial", "three-scales", "pixels"],
)  # fmt: skip
def test_encoders(fields):
    torch.manual_seed(0)
    model = ProScaleForObjectDetection(detector_config(backbone_config=RESNET, **fields)).eval()
    with torch.no_grad():
        outputs = model(torch.randn(1, 3, 64, 96), output_auxiliary_logits=True)
    assert torch.isfinite(outputs.pred_boxes).all() and len(outputs.auxiliary_outputs) == 1
    assert outputs.encoder_last_hidden_state.shape[1] == 96 + 24 + 6 + (
        2 if model.config.num_feature_levels == 4 else 0
    )


def test_masks_have_three_scales():
    from hfseg import ProScaleModel

    with pytest.raises(ValueError, match=r"\(1, 1, 1, 1\) has 4 scales.*masks need three"):
        ProScaleModel(tiny_config(encoder_stage_layers=(1, 1, 1, 1)))


def test_parameters_of_dino():
    """DINO with ResNet-50, four scales and 91 classes has 47 M parameters (its Table 1)."""
    config = ProScaleConfig(
        backbone_config={"model_type": "resnet", "out_features": STAGES},
        encoder="full",
        encoder_stage_layers=(3, 3, 3, 3),
        encoder_feedforward_dim=2048,
        num_queries=900,
        decoder_layers=6,
        freeze_batch_norm=True,
        num_labels=91,
    )
    with torch.device("meta"):
        model = ProScaleForObjectDetection(config)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) / 1e6 == pytest.approx(47, abs=1)


def test_pipeline_gives_boxes_of_the_image_as_it_was_given(tmp_path):
    torch.manual_seed(0)
    model = peaked(ProScaleForObjectDetection(detector_config(backbone_config=RESNET))).eval()
    model.save_pretrained(tmp_path)
    processor = ProScaleImageProcessor(size={"shortest_edge": 40, "longest_edge": 80})
    processor.save_pretrained(tmp_path)
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 255, (50, 70, 3), dtype=np.uint8))
    pipe = pipeline("object-detection", model=str(tmp_path))
    assert type(pipe.model) is ProScaleForObjectDetection
    found = pipe(image, threshold=0.0)
    assert len(found) == 50 and set(found[0]) == {"score", "label", "box"}
    inputs = processor(images=[image], return_tensors="pt")
    assert inputs["pixel_values"].shape == (1, 3, 64, 64)  # 40 x 56, padded
    with torch.no_grad():
        outputs = model(**inputs)
    pair = outputs.logits[0].flatten().argmax()
    x, y, width, height = (outputs.pred_boxes[0, pair // 5] * 64 * 50 / 40).tolist()
    box = found[0]["box"]
    expected = [max(x - width / 2, 0), max(y - height / 2, 0), min(x + width / 2, 70), min(y + height / 2, 50)]
    np.testing.assert_allclose([box["xmin"], box["ymin"], box["xmax"], box["ymax"]], expected, atol=1.0)
    assert found[0]["label"] == model.config.id2label[int(pair % 5)]


def test_the_map_that_boxes_do_not_need_has_no_norm():
    config = detector_config()
    model = ProScaleDetectionModel(config)
    names = [name for name, _ in model.backbone.named_parameters() if "hidden_states_norms" in name]
    assert {name.split(".")[-2] for name in names} == {"stage2", "stage3", "stage4"}
    assert model.backbone.config is config.backbone_config and list(config.backbone_config.out_features) == STAGES
