# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""PRO-SCALE: the common contract, the authors' numbers, equivalence with Mask2Former, variants and backbones."""

from functools import partial
from typing import Any

import pytest
import torch
import transformers
from packaging.version import Version
from transformers import AutoModelForUniversalSegmentation, Mask2FormerConfig, Mask2FormerForUniversalSegmentation

from contract import ModelContract, OneCompiledProgram, assert_same, kaiming, peaked, xavier
from hfseg import ProScaleConfig, ProScaleForUniversalSegmentation, ProScaleModel
from hfseg.models.proscale.encoder_proscale import ProScaleTokenRecalibration
from proscale_models import STAGES, SWIN, close, tap, tiny_config
from slow_tests import slow

RESNET = {
    "model_type": "resnet",
    "embedding_size": 16,
    "hidden_sizes": [16, 32, 64, 128],
    "depths": [1, 1, 2, 1],
    "layer_type": "bottleneck",
    "out_features": STAGES,
}


class TestProScaleModel(ModelContract):
    model_class = ProScaleModel
    auto_classes = ("AutoModel",)
    recorded = {
        "hidden_states": 4,
        "attentions": 3,
        "cross_attentions": 3,
        "encoder_hidden_states": 4,
        "encoder_attentions": 3,
    }
    zero_gradients = (".k_proj.bias", ".key.bias")
    not_applicable = dict.fromkeys(
        ("test_compiles_to_one_graph", "test_exports_with_dynamic_shapes"),
        "the test of the head runs the whole of this model; twice would only cost time",
    )

    def config(self):
        return tiny_config()

    def dynamic_size_config(self):
        return tiny_config(decoder_layers=1)

    def labels(self, batch_size, height, width, empty=False):
        return {}

    def shapes(self, batch_size, height, width):
        quarter = (-(-height // 4), -(-width // 4))
        return {
            "last_hidden_state": (batch_size, 10, 32),
            "masks_queries_logits": (batch_size, 10, *quarter),
            "pixel_embedding": (batch_size, 24, *quarter),
        }

    def fresh(self):
        # detectron2's c2_xavier_fill is Kaiming uniform with slope 1; PyTorch's own default has slope sqrt(5).
        torch_default = partial(kaiming, gain=3**-0.5)
        return {
            # Head k of 4 looks along an axis, so every point of index i contributes (i + 1)^2 to one of two numbers.
            "*sampling_offsets.bias": (sum(i * i for i in (1, 2, 3, 4)) / 8) ** 0.5,
            "*sampling_offsets.weight": 0.0,
            "*attention_weights.*": 0.0,
            "*level_embed*": 1.0,
            "*query_*.weight": 1.0,
            "*norm*.weight": 1.0,
            "*norm*.bias": 0.0,
            "*lateral.1.weight": 1.0,
            "*pixel_decoder.input_projections.*.1.weight": 1.0,
            "*pixel_decoder.input_projections.*.weight": xavier,
            "*input_projections.*.bias": 0.0,
            "*mask_embedder.*.weight": torch_default,
            "*mask_embedder.*.bias": 3**-0.5 * 32**-0.5,
            "*light_pixel_embedding.*.weight": kaiming,
            "*light_pixel_embedding.*.bias": 0.0,
            "*token_recalibration*.weight": xavier,
            "*token_recalibration*.bias": None,  # a single draw
            "*.[qkv]_proj.weight": partial(xavier, gain=0.5**0.5),  # rows of one (3C, C) matrix
            "*_proj.weight": xavier,
            "*_proj.bias": 0.0,
            "*.fc?.weight": xavier,
            "*.fc1.bias": 3**-0.5 * 32**-0.5,
            "*.fc2.bias": 3**-0.5 * 48**-0.5,
        }


class TestProScaleForUniversalSegmentation(OneCompiledProgram, TestProScaleModel):
    model_class = ProScaleForUniversalSegmentation
    auto_classes = ("AutoModelForUniversalSegmentation", "AutoModelForImageSegmentation")
    not_applicable = {}

    def labels(self, batch_size, height, width, empty=False):
        masks = torch.zeros(batch_size, height, width, dtype=torch.int64)
        if not empty:
            masks[:, : height // 2, : width // 2] = 1
            masks[:, height // 2 :, width // 3 :] = 2
        classes = torch.tensor([1, 4] if not empty else [], dtype=torch.int64)
        return {"mask_labels": list(masks), "class_labels": [classes] * batch_size}

    @slow  # shifted windows of free size: exported here always, and the classes below are compiled
    def test_compiles_once_for_all_sizes(self):
        super().test_compiles_once_for_all_sizes()

    def shapes(self, batch_size, height, width):
        quarter = (-(-height // 4), -(-width // 4))
        return {
            "class_queries_logits": (batch_size, 10, 6),
            "masks_queries_logits": (batch_size, 10, *quarter),
        }

    def fresh(self):
        return super().fresh() | {
            "class_predictor.weight": partial(kaiming, gain=3**-0.5),
            "class_predictor.bias": 3**-0.5 * 32**-0.5,
        }


# Options of the mask decoder that help with small objects.
PIXELS = {
    "mask_positions": True,
    "query_selection": "pixels",
    "position_code": "pixels",
    "num_queries": 10,
    "num_learned_queries": 3,
    "max_queries": 14,
    "heat_threshold": 0.0,
}


class TestProScaleWithQueriesFromPixels(TestProScaleForUniversalSegmentation):
    def config(self):
        return tiny_config(**PIXELS)

    def dynamic_size_config(self):
        return tiny_config(decoder_layers=1, backbone_config=RESNET, **PIXELS)  # shifted windows: see the class above

    test_compiles_once_for_all_sizes = OneCompiledProgram.test_compiles_once_for_all_sizes

    def shapes(self, batch_size, height, width):
        shapes = super().shapes(batch_size, height, width)
        for name in ("class_queries_logits", "masks_queries_logits"):
            shapes[name] = (batch_size, 14, *shapes[name][2:])
        return shapes | {"heat_logits": (batch_size, -(-height // 8), -(-width // 8))}

    def fresh(self):
        return {
            "*mask_positions.shape.weight": 0.02,
            "*mask_positions.shape.bias": 0.0,
            "*mask_positions.anchors.weight": 1.0,
            "*query_selection.convolution.weight": kaiming,
            "*query_selection.convolution.bias": 0.0,
            "*query_selection.heat.weight": 0.01,
            "*query_selection.heat.bias": 3.0,
            "*query_selection.content.weight": partial(kaiming, gain=3**-0.5),
            "*query_selection.content.bias": 3**-0.5 * 32**-0.5,
            **super().fresh(),
        }


@pytest.mark.parametrize("option", ["mask_positions", "position_code", "query_selection"])
def test_each_option_alone_trains(option):
    torch.manual_seed(0)
    fields = {name: value for name, value in PIXELS.items() if name == option or option == "query_selection"}
    fields = {**fields, "mask_positions": option == "mask_positions"}
    model = ProScaleForUniversalSegmentation(tiny_config(**fields)).train()
    ids = torch.zeros(1, 64, 96, dtype=torch.int32)
    ids[0, 8:24, 40:70] = 1
    outputs = model(torch.randn(1, 3, 64, 96), mask_labels=list(ids), class_labels=[torch.tensor([2])])
    outputs.loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert ("loss_heat" in outputs.loss_dict) == (option == "query_selection")
    assert outputs.pixel_embedding.shape[1] == (28 if option == "mask_positions" else 24)


def test_invalid_queries_are_no_object_and_are_not_looked_at():
    torch.manual_seed(0)
    model = peaked(ProScaleForUniversalSegmentation(tiny_config(**{**PIXELS, "heat_threshold": 0.5}))).eval()
    pixel_values = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        outputs, bare = model(pixel_values), model.model(pixel_values)
    valid = bare.valid_queries
    assert valid[:, :3].all() and not valid.all() and valid[:, 3:].any()
    probabilities = outputs.class_queries_logits.softmax(-1)
    assert (probabilities[~valid][:, :-1] == 0).all() and (probabilities[valid][:, :-1] > 0).all()
    # What an invalid query holds reaches no other query.
    selection = model.model.mask_decoder.decoder.query_selection
    forward = selection.forward

    def disturbed(*arguments):
        chosen = forward(*arguments)
        content = torch.where(chosen.valid.unsqueeze(-1), chosen.content, torch.randn_like(chosen.content))
        return chosen._replace(content=content)

    selection.forward = disturbed
    with torch.no_grad():
        again = model(pixel_values)
    close(again.masks_queries_logits[valid], outputs.masks_queries_logits[valid])
    assert not torch.allclose(again.masks_queries_logits[~valid], outputs.masks_queries_logits[~valid], atol=1e-2)


def test_objects_that_look_alike_get_masks_of_their_own():
    """Two equal squares far apart: without positions every mask holds both or none, with them it need not."""
    pixels = torch.zeros(1, 24, 16, 24)
    pixels[0, 0], pixels[0, 0, 4:8, 4:8], pixels[0, 0, 4:8, 16:20] = -1.0, 1.0, 1.0
    torch.manual_seed(0)
    for fields, apart in (({}, False), (PIXELS, True)):
        decoder = ProScaleModel(tiny_config(**fields)).eval().mask_decoder.decoder
        maps = tuple(torch.randn(1, 32, 16 // side, 24 // side) for side in (8, 4, 2))
        with torch.no_grad():
            outputs = decoder(maps, pixels)
            masks = torch.einsum("qc,chw->qhw", outputs.mask_embeddings[-1][0], outputs.pixel_embedding[0])
        left, right = masks[:, 4:8, 4:8].mean((1, 2)), masks[:, 4:8, 16:20].mean((1, 2))
        assert (float((left - right).abs().max()) > 1) == apart


# The authors' numbers, through the public route: convert command, folder, Auto class.


# Equivalence with transformers' Mask2Former.


def mask2former(**fields: Any) -> Mask2FormerForUniversalSegmentation:
    """Builds a tiny Mask2Former with peaked weights."""
    sizes = {"feature_size": 32, "mask_feature_size": 32, "hidden_dim": 32, "encoder_feedforward_dim": 48}
    sizes |= {"dim_feedforward": 48, "num_attention_heads": 4, "num_queries": 10, "train_num_points": 64}
    config = Mask2FormerConfig(
        backbone_config=SWIN, encoder_layers=2, decoder_layers=4, num_labels=5, dropout=0.0, **{**sizes, **fields}
    )
    torch.manual_seed(0)
    return peaked(Mask2FormerForUniversalSegmentation(config)).eval()


def universal_labels() -> dict[str, list[torch.Tensor]]:
    """Builds binary masks of `contract`'s usual size."""
    contract = TestProScaleForUniversalSegmentation()
    labels = contract.labels(2, *contract.size)
    labels["mask_labels"] = [torch.stack([ids == 1, ids == 2]).float() for ids in labels["mask_labels"]]
    return labels


@pytest.mark.parametrize("training", [False, True])
def test_full_encoder_is_mask2former(training):
    theirs = mask2former()
    ours = ProScaleForUniversalSegmentation.from_mask2former(theirs, encoder="full").eval()
    inputs = TestProScaleForUniversalSegmentation().inputs(2, 64, 96)
    # Their encoder clamps in training mode only; their loss needs no mode.
    theirs.train(training), ours.train(training)
    with torch.set_grad_enabled(training):
        torch.manual_seed(5)
        expected = theirs(**inputs, **universal_labels(), output_auxiliary_logits=True)
        torch.manual_seed(5)
        actual = ours(**inputs, **universal_labels(), output_auxiliary_logits=True)
    close(actual.class_queries_logits, expected.class_queries_logits, 1e-3, 1e-4)
    close(actual.masks_queries_logits, expected.masks_queries_logits, 1e-3, 5e-4)
    for mine, other in zip(actual.auxiliary_logits, expected.auxiliary_logits[: len(actual.auxiliary_logits)]):
        close(mine["masks_queries_logits"], other["masks_queries_logits"], 1e-3, 5e-4)
    if Version(transformers.__version__) < Version("5.23"):
        return  # its loss was another one then; the authors' own values are checked by the golden cases
    close(actual.loss, expected.loss.squeeze(), 1e-4, 0.0)
    if training:
        actual.loss.backward()
        expected.loss.backward()
        mine, other = ours.class_predictor.weight.grad, theirs.class_predictor.weight.grad
        close(mine, other, 1e-3, 1e-4 * other.abs().max().item())
        mine = ours.model.pixel_decoder.level_embed.grad
        other = theirs.model.pixel_level_module.decoder.level_embed.grad
        close(mine, other, 1e-3, 1e-3 * other.abs().max().item())


def test_progressive_encoder_with_all_layers_last_is_mask2former():
    theirs = mask2former()
    fields = {"encoder_stage_layers": (0, 0, 2), "trc": "none", "lpe": "conv"}
    ours = ProScaleForUniversalSegmentation.from_mask2former(theirs, **fields).eval()
    inputs = TestProScaleForUniversalSegmentation().inputs(2, 64, 96)
    with torch.no_grad():
        close(ours(**inputs).masks_queries_logits, theirs(**inputs).masks_queries_logits, 1e-3, 5e-4)


def test_warm_start_keeps_what_fits(tmp_path):
    theirs = mask2former()
    theirs.save_pretrained(tmp_path)
    ours = ProScaleForUniversalSegmentation.from_mask2former(tmp_path, encoder_stage_layers=(1, 1, 1), num_labels=3)
    assert ours.config.num_labels == 3 and ours.class_predictor.out_features == 4
    layer, source = ours.model.pixel_decoder.layers[0], theirs.model.pixel_level_module.decoder.encoder.layers[0]
    assert torch.equal(layer.fc1.weight, source.fc1.weight)
    # One attended level: of the rows (heads, levels, points) those of the first level.
    rows = source.self_attn.attention_weights.weight.view(4, 3, 4, -1)[:, 0].flatten(0, 1)
    assert torch.equal(layer.self_attn.attention_weights.weight, rows)
    rows = source.self_attn.sampling_offsets.bias.view(4, 3, 4, 2)[:, 0].flatten()
    assert torch.equal(layer.self_attn.sampling_offsets.bias, rows)
    gate = ours.model.pixel_decoder.token_recalibration.projection.weight
    assert gate.std() > 0


# Variants.


def forward(config: ProScaleConfig, height: int = 64, width: int = 96) -> torch.Tensor:
    """Computes mask logits of a seeded model."""
    torch.manual_seed(0)
    model = ProScaleForUniversalSegmentation(config).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        return model(torch.randn(1, 3, height, width, generator=generator)).masks_queries_logits


def test_spatial_recalibration_sees_its_own_place():
    """A change of s2 at one place changes the gate there only; in the raw layout it does not."""
    torch.manual_seed(0)
    tokens, source = torch.randn(1, 4 * 6, 32), torch.randn(1, 8 * 12, 32)
    changed = source.view(1, 8, 12, 32).clone()
    changed[:, 2:4, 4:6] += 5.0  # the block under token (1, 2)
    changed = changed.view(1, -1, 32)
    touched = {}
    for layout in ("spatial", "raw"):
        for variant in ("linear", "conv"):
            gate = ProScaleTokenRecalibration(tiny_config(trc=variant, trc_layout=layout, trc_temperature=1.0))
            with torch.no_grad():
                before = gate(tokens, (4, 6), source, (8, 12))
                after = gate(tokens, (4, 6), changed, (8, 12))
            touched[layout, variant] = (before != after).any(-1)[0].nonzero().flatten().tolist()
    assert touched["spatial", "linear"] == touched["spatial", "conv"] == [1 * 6 + 2]
    assert touched["raw", "linear"] != [8] and touched["raw", "conv"] != [8]


def test_spatial_linear_and_conv_recalibration_agree():
    torch.manual_seed(0)
    tokens, source = torch.randn(2, 4 * 6, 32), torch.randn(2, 8 * 12, 32)
    linear, conv = (ProScaleTokenRecalibration(tiny_config(trc=v, trc_layout="spatial")) for v in ("linear", "conv"))
    conv.load_state_dict(linear.state_dict())
    assert_same(conv(tokens, (4, 6), source, (8, 12)), linear(tokens, (4, 6), source, (8, 12)), 1e-5, 1e-5)


def test_pooling_of_the_light_pixel_embedding():
    outputs = [forward(tiny_config(lpe=lpe)) for lpe in ("max", "average", "conv")]
    assert all(torch.isfinite(output).all() for output in outputs)
    assert not torch.allclose(outputs[0], outputs[1])
    # On a constant map both poolings are the identity away from the border, where the average sees zeros.
    average = ProScaleModel(tiny_config(lpe="average")).pixel_decoder.light_pixel_embedding.mix
    torch.testing.assert_close(average(torch.ones(1, 1, 5, 5))[0, 0, 1:-1, 1:-1], torch.ones(3, 3))


def test_lite_encoder_updates_all_scales_once_per_block():
    config = tiny_config(encoder="lite", encoder_layers=4, encoder_blocks=2)
    torch.manual_seed(0)
    model = ProScaleModel(config).eval()
    found: dict[str, Any] = {}
    for index, layer in enumerate(model.pixel_decoder.layers):
        tap(layer, found, str(index))
    with torch.no_grad():
        assert torch.isfinite(model(torch.randn(1, 3, 64, 96)).masks_queries_logits).all()
    coarse, fine = 2 * 3 + 4 * 6, 8 * 12
    assert [found[str(index)][0].shape[1] for index in range(4)] == [coarse, coarse + fine, coarse, coarse + fine]


@pytest.mark.parametrize("stages", [(0, 1, 1), (1, 0, 0), (0, 0, 1), (2, 0, 1), (1, 1, 0)])
def test_empty_stages(stages):
    assert torch.isfinite(forward(tiny_config(encoder_stage_layers=stages))).all()


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (8, 300), (1, 1)])
def test_any_size(size):
    # Two channels per normalization group: torch refuses to normalize a single value.
    assert torch.isfinite(forward(tiny_config(feature_size=64), *size)).all()


TIMM_MVIT = {"model_type": "timm_backbone", "backbone": "mvitv2_tiny", "out_indices": [0, 1, 2, 3]}
TIMM_RESNET = {"model_type": "timm_backbone", "backbone": "resnet101", "out_indices": [1, 2, 3, 4]}


@pytest.mark.parametrize(
    ("backbone", "channels"),
    [
        (RESNET, [16, 32, 64, 128]),
        (TIMM_MVIT, [96, 192, 384, 768]),
        (TIMM_RESNET, [256, 512, 1024, 2048]),
    ],
    ids=["resnet", "timm-mvitv2-tiny", "timm-resnet101"],
)
def test_other_backbones(tmp_path, backbone, channels):
    if backbone["model_type"] == "timm_backbone":
        pytest.importorskip("timm")
        backbone = {**backbone, "use_pretrained_backbone": False}
    torch.manual_seed(0)
    model = ProScaleForUniversalSegmentation(tiny_config(backbone_config=backbone)).eval()
    assert list(model.model.backbone.channels) == channels
    inputs = {"pixel_values": torch.randn(1, 3, 64, 96)}
    model.save_pretrained(tmp_path)
    again = AutoModelForUniversalSegmentation.from_pretrained(tmp_path)
    with torch.no_grad():
        expected = model(**inputs)
        assert_same(again(**inputs), expected)
    assert expected.masks_queries_logits.shape == (1, 10, 16, 24)


def test_frozen_batch_normalization():
    torch.manual_seed(0)
    model = ProScaleForUniversalSegmentation(tiny_config(backbone_config=RESNET, freeze_batch_norm=True)).train()
    frozen = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert frozen and not any(m.training or m.weight.requires_grad or m.bias.requires_grad for m in frozen)
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    contract = TestProScaleForUniversalSegmentation()
    loss = model(**contract.inputs(2, 64, 96), **contract.labels(2, 64, 96)).loss
    loss.backward()
    assert all(torch.equal(before[name], buffer) for name, buffer in model.named_buffers())
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    free = ProScaleForUniversalSegmentation(tiny_config(backbone_config=RESNET)).train()
    assert all(m.training and m.weight.requires_grad for m in free.modules() if isinstance(m, torch.nn.BatchNorm2d))


@pytest.mark.parametrize(
    ("backbone", "parameters"),
    [(None, 48_820_225), ("resnet", 45_368_839)],
    ids=["swin-tiny", "resnet-50"],
)
def test_parameters_of_the_published_models(backbone, parameters):
    """Counts of the authors' models for COCO, in which frozen batch normalization owns no parameter."""
    fields: dict[str, Any] = {"num_labels": 133}
    if backbone is not None:
        fields |= {"backbone_config": {"model_type": backbone, "out_features": STAGES}, "freeze_batch_norm": True}
    with torch.device("meta"):
        model = ProScaleForUniversalSegmentation(ProScaleConfig(**fields))
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == parameters


def test_targets_that_do_not_fit():
    model, contract = ProScaleForUniversalSegmentation(tiny_config()), TestProScaleForUniversalSegmentation()
    inputs, labels = contract.inputs(2, 64, 96), contract.labels(2, 64, 96)
    with pytest.raises(ValueError, match="belong together"):
        model(**inputs, mask_labels=labels["mask_labels"])
    with pytest.raises(ValueError, match=r"1 mask_labels and 2 class_labels for a batch of 2"):
        model(**inputs, mask_labels=labels["mask_labels"][:1], class_labels=labels["class_labels"])
    with pytest.raises(ValueError, match=r"class_labels\[1\] has values from 1 to 5; must be one of 0\.\.4"):
        model(**inputs, mask_labels=labels["mask_labels"], class_labels=[torch.tensor([1, 4]), torch.tensor([1, 5])])
    with pytest.raises(ValueError, match=r"3 masks but 2 class labels"):
        model(**inputs, mask_labels=[torch.zeros(3, 64, 96)] * 2, class_labels=labels["class_labels"])
    with pytest.raises(ValueError, match="segment ids must be integers"):
        model(**inputs, mask_labels=[torch.zeros(64, 96)] * 2, class_labels=labels["class_labels"])


def test_fresh_sampling_points_look_around():
    layer = ProScaleModel(ProScaleConfig(encoder_stage_layers=(0, 0, 1))).pixel_decoder.layers[0]
    offsets = layer.self_attn.sampling_offsets
    assert not offsets.weight.any()
    points = offsets.bias.view(8, 3, 4, 2)  # head, level, point
    assert points[0, 0].tolist() == [[1, 0], [2, 0], [3, 0], [4, 0]]
    torch.testing.assert_close(points[2, 1, 1], torch.tensor([0.0, 2.0]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("variant", ["linear", "conv"])
def test_gates_are_given_back(variant):
    """Those that the tokens are multiplied with, by the paper's equation; none without re-calibration."""
    torch.manual_seed(0)
    model = peaked(ProScaleForUniversalSegmentation(tiny_config(trc=variant, trc_layout="spatial"))).eval()
    finest, pixels = [], torch.randn(2, 3, 96, 64)
    model.model.pixel_decoder.input_projections[-1].register_forward_hook(lambda *args: finest.append(args[-1]))
    with torch.no_grad():
        plain, outputs = model(pixels), model(pixels, output_gates=True)
    assert plain.gates is None and torch.equal(plain.masks_queries_logits, outputs.masks_queries_logits)
    assert [tuple(gate.shape) for gate in outputs.gates] == [(2, 3, 2), (2, 6, 4)]
    weight = model.model.pixel_decoder.token_recalibration.projection
    for gate in outputs.gates:
        resized = torch.nn.functional.interpolate(finest[-1], gate.shape[1:], mode="bilinear", align_corners=False)
        logits = torch.einsum("bchw,c->bhw", resized, weight.weight[0]) + weight.bias
        expected = (model.config.trc_temperature * logits).sigmoid()
        torch.testing.assert_close(gate, expected, rtol=1e-5, atol=1e-6)
    without = ProScaleForUniversalSegmentation(tiny_config(trc="none"))
    assert without(pixels, output_gates=True).gates == ()


def test_the_documented_drawing_of_gates_runs(tmp_path, monkeypatch):
    """Figures F1 and F2 of the paper: the page's code, on a tiny model and a drawn image."""
    from pathlib import Path

    page = Path(__file__).parents[3] / "docs/architectures/proscale.md"
    code = page.read_text(encoding="utf-8").split("## Look inside")[1].split("```python\n")[1].split("```")[0]
    assert len(code.splitlines()) <= 20
    monkeypatch.chdir(tmp_path)
    example = Path(__file__).parents[3] / "src/hfseg/examples/scene.png"
    (tmp_path / "photo.png").write_bytes(example.read_bytes())
    found: dict[str, Any] = {}
    exec(code, found)
    assert (tmp_path / "gates.png").stat().st_size > 1000
    assert len(found["likeness"]) == 3 and all(-1 <= value <= 1 for value in found["likeness"])
