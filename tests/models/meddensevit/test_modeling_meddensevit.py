# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""MedDenseViT: the common contract, published sizes, the loss in a model, necks and backbones, overfitting."""

import pytest
import torch
import torch.nn.functional as F

from contract import ModelContract, assert_finite, assert_same, kaiming, peaked
from hfseg import MedDenseViTConfig, MedDenseViTForSemanticSegmentation, MedDenseViTModel
from hfseg.losses.dice_cross_entropy import dice_loss
from meddensevit_models import BACKBONE, TINY, tiny_config, tiny_model


class TestMedDenseViTModel(ModelContract):
    model_class = MedDenseViTModel
    auto_classes = ("AutoModel",)
    recorded = {"hidden_states": 5, "attentions": 4}
    not_applicable = dict.fromkeys(
        ("test_compiles_to_one_graph", "test_exports_with_dynamic_shapes"),
        "the test of the head runs the whole of this model; twice would only cost time",
    )

    def config(self):
        return tiny_config()

    def labels(self, batch_size, height, width, empty=False):
        return {}

    def shapes(self, batch_size, height, width):
        padded = (-(-height // 16) * 8, -(-width // 16) * 8)
        return {"last_hidden_state": (batch_size, 8, *padded)}

    def fresh(self):
        # Deviation (inputs per output)^-0.5; a place of a transposed convolution's output sees one place of the kernel.
        return {
            "*gates.*.2.weight": 0.0,
            "*resamples.[01].weight": lambda weight: weight.shape[0] ** -0.5,
            "*.values.*.weight": kaiming,
            "*.1.weight": 1.0,  # norms
            "*.weight": kaiming,
            "*.bias": 0.0,
        }


class TestMedDenseViTForSemanticSegmentation(TestMedDenseViTModel):
    model_class = MedDenseViTForSemanticSegmentation
    auto_classes = ("AutoModelForSemanticSegmentation", "AutoModelForImageSegmentation")
    not_applicable = {}

    def labels(self, batch_size, height, width, empty=False):
        labels = torch.full((batch_size, height, width), 255 if empty else 0)
        if not empty:
            labels[:, : height // 2, : width // 2] = 1
            labels[:, height // 2 :, width // 3 :] = 2
            labels[:, -height // 4 :, : width // 4] = 3
        return {"labels": labels}

    def shapes(self, batch_size, height, width):
        return {"logits": (batch_size, 4, height, width)}

    def fresh(self):
        return {"classifier.weight": 0.01, "aux.*.weight": 0.01, **super().fresh()}


# Sizes.


# The decoder.


def test_gates_choose_between_taps_per_pixel():
    """The aggregate of a scale is the gate-weighted sum of one projection per tap, computed here the long way."""
    model = peaked(MedDenseViTModel(tiny_config())).eval()
    aggregation = model.decoder.aggregation
    taps = tuple(torch.randn(2, 32, 3, 5) for _ in range(4))
    with torch.no_grad():
        outputs = aggregation(taps)
        z = [project(tap) for project, tap in zip(aggregation.projections, taps)]
        gate = aggregation.gates[2](torch.cat(z, 1)).softmax(1)
        mixed = torch.zeros(2, 16, 3, 5)
        for y in range(3):
            for x in range(5):
                for tap in range(4):
                    weight = aggregation.values[2][tap].weight[:, :, 0, 0]
                    value = z[tap][:, :, y, x] @ weight.T + aggregation.values[2][tap].bias
                    mixed[:, :, y, x] += gate[:, tap, y, x, None] * value
        torch.testing.assert_close(outputs[2], aggregation.outputs[2](mixed), rtol=1e-5, atol=1e-5)
    assert [tuple(output.shape[-2:]) for output in outputs] == [(12, 20), (6, 10), (3, 5), (2, 3)]
    assert gate.std() > 0.05  # not all the same, else the test would prove nothing


def test_fresh_gates_begin_with_equal_shares():
    gate = tiny_model().model.decoder.aggregation.gates[0]
    torch.testing.assert_close(gate(torch.randn(1, 64, 3, 3)).softmax(1), torch.full((1, 4, 3, 3), 0.25))


def test_norms_are_over_channels():
    project = tiny_model().model.decoder.aggregation.projections[1]
    features = project(torch.randn(2, 32, 4, 6) * 3 + 1)
    torch.testing.assert_close(features.mean(1), torch.zeros(2, 4, 6), rtol=0, atol=1e-5)
    torch.testing.assert_close(features.var(1, unbiased=False), torch.ones(2, 4, 6), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("neck", ["last", "dpt"])
def test_ablation_necks(neck):
    model = peaked(tiny_model(neck=neck)).train()
    pixels, labels = torch.randn(2, 3, 48, 80), torch.randint(0, 4, (2, 48, 80))
    outputs = model(pixels, labels=labels)
    outputs.loss.backward()
    assert outputs.logits.shape == (2, 4, 48, 80)
    without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not without
    assert_finite(outputs.loss)


def test_last_neck_sees_the_last_tap_alone():
    for neck, expected in (("last", [False, False, False, True]), ("msfa", [True] * 4)):
        aggregation = peaked(MedDenseViTModel(tiny_config(neck=neck))).decoder.aggregation
        taps = [torch.randn(1, 32, 3, 3, requires_grad=True) for _ in range(4)]
        sum(output.square().sum() for output in aggregation(tuple(taps))).backward()
        assert [tap.grad is not None and bool(tap.grad.any()) for tap in taps] == expected


BACKBONES = {
    "patch 8": {**BACKBONE, "patch_size": 8},
    "dinov2, patch 14": {
        "model_type": "dinov2",
        "hidden_size": 32,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "mlp_ratio": 2,
        "image_size": 56,
        "patch_size": 14,
        "out_indices": [1, 2, 3, 4],
    },
    "beit": {
        "model_type": "beit",
        "hidden_size": 32,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "intermediate_size": 48,
        "image_size": 64,
        "patch_size": 16,
        "out_indices": [1, 2, 3, 4],
    },
}


@pytest.mark.parametrize("name", BACKBONES)
def test_plain_transformers_fit(name, tmp_path):
    backbone = BACKBONES[name]
    torch.manual_seed(0)
    model = MedDenseViTForSemanticSegmentation(MedDenseViTConfig(**{**TINY, "backbone_config": backbone})).train()
    size = (64, 64) if name == "beit" else (61, 75)
    outputs = model(torch.randn(1, 3, *size), labels=torch.randint(0, 4, (1, *size)))
    outputs.loss.backward()
    assert outputs.logits.shape == (1, 4, *size)
    model.save_pretrained(tmp_path)
    again = MedDenseViTForSemanticSegmentation.from_pretrained(tmp_path).eval()
    pixels = torch.randn(1, 3, *size)
    assert_same(again(pixels).logits, model.eval()(pixels).logits)


def test_mask_token_is_frozen_also_after_loading(tmp_path):
    model = tiny_model()
    model.save_pretrained(tmp_path)
    for candidate in (model, MedDenseViTForSemanticSegmentation.from_pretrained(tmp_path)):
        frozen = [name for name, parameter in candidate.named_parameters() if not parameter.requires_grad]
        assert frozen == ["model.backbone.embeddings.mask_token"]


def test_auxiliary_heads_serve_training_alone(tmp_path):
    model = tiny_model()
    inputs = {"pixel_values": torch.randn(1, 3, 32, 32), "labels": torch.randint(0, 4, (1, 32, 32))}
    assert set(model.train()(**inputs).loss_dict) == {"loss_dice", "loss_ce", "loss_aux_0", "loss_aux_1", "loss_aux_2"}
    assert set(model.eval()(**inputs).loss_dict) == {"loss_dice", "loss_ce"}
    # A checkpoint without them loads in silence.
    state = {name: value for name, value in model.state_dict().items() if not name.startswith("aux.")}
    _, info = MedDenseViTForSemanticSegmentation.from_pretrained(
        None, config=model.config, state_dict=state, output_loading_info=True
    )
    assert not info["missing_keys"] and not info["unexpected_keys"]


def test_classifier_of_another_size(tmp_path):
    tiny_model().save_pretrained(tmp_path)
    model = MedDenseViTForSemanticSegmentation.from_pretrained(tmp_path, num_labels=7, ignore_mismatched_sizes=True)
    assert model(torch.randn(1, 3, 32, 32)).logits.shape == (1, 7, 32, 32)
    assert model.class_balance.average.shape == (7,)


def test_labels_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"\(1, 16, 16\).*\(1, 3, 32, 32\)"):
        tiny_model()(torch.randn(1, 3, 32, 32), labels=torch.zeros(1, 16, 16, dtype=torch.long))


# The loss in the model.


def test_training_moves_the_average_and_evaluation_does_not(tmp_path):
    model = tiny_model().train()
    labels = torch.zeros(1, 32, 32, dtype=torch.long)
    labels[:, :8] = 1
    inputs = {"pixel_values": torch.randn(1, 3, 32, 32), "labels": labels}
    model(**inputs)
    first = model.class_balance.average.clone()
    torch.testing.assert_close(model.class_balance.frequencies(), torch.tensor([0.75, 0.25, 0.0, 0.0]))
    model.eval()(**inputs)
    assert torch.equal(model.class_balance.average, first)
    model.train()(**{**inputs, "labels": torch.full_like(labels, 2)})
    # 1 of 2 updates, weighted 0.99 and 1.
    torch.testing.assert_close(
        model.class_balance.frequencies(), torch.tensor([0.75 * 0.99, 0.25 * 0.99, 1.0, 0.0]) / 1.99
    )
    model.save_pretrained(tmp_path)
    again = MedDenseViTForSemanticSegmentation.from_pretrained(tmp_path)
    assert torch.equal(again.class_balance.average, model.class_balance.average)
    half = MedDenseViTForSemanticSegmentation.from_pretrained(tmp_path, dtype=torch.float16)
    assert half.class_balance.average.dtype == torch.float32  # in half precision it would stand still


def test_parts_of_an_update_add_up_to_the_whole():
    """With the counts of the whole, cross-entropies of its parts add up and the average moves once."""
    torch.manual_seed(1)
    pixels, labels = torch.randn(4, 3, 32, 32), torch.randint(0, 3, (4, 32, 32))
    labels[2:, :20] = 255
    whole = tiny_model().train()
    expected = whole(pixels, labels=labels)
    parts = tiny_model().train()
    batches = [{"pixel_values": pixels[part], "labels": labels[part]} for part in (slice(0, 1), slice(1, 4))]
    total = sum(parts.loss_normalizer(batch) for batch in batches)
    outputs = [parts(**batch, loss_normalizer=total) for batch in batches]
    assert torch.equal(parts.class_balance.average, whole.class_balance.average)
    assert parts.class_balance.updates.tolist() == [1, 1, 1, 1]
    torch.testing.assert_close(sum(o.loss_dict["loss_ce"] for o in outputs), expected.loss_dict["loss_ce"])
    # Dice is the mean of the parts' Dice, each over its own sums.
    weights = parts.class_balance.weights()
    each = [dice_loss(outputs[i].logits.softmax(1), batches[i]["labels"], weights, 255) for i in range(2)]
    torch.testing.assert_close(
        sum(o.loss_dict["loss_dice"] for o in outputs), 2 * parts.class_balance.balance() * (each[0] + each[1]) / 2
    )
    # The next update counts again and moves the average again.
    total = sum(parts.loss_normalizer(batch) for batch in batches)
    for batch in batches:
        parts(**batch, loss_normalizer=total)
    assert parts.class_balance.updates.tolist() == [2, 2, 2, 2]


def test_half_precision_loss_is_finite_at_full_size():
    """Sums over 512 x 512 pixels exceed float16; logits in half must be lifted first."""
    model = tiny_model(use_auxiliary_heads=False).train()
    logits = (torch.randn(1, 4, 512, 512) * 3).half().requires_grad_()
    labels = torch.randint(0, 4, (1, 512, 512))
    with torch.autocast("cpu", torch.bfloat16):
        loss = sum(model.compute_loss(logits, [], labels).values())
    loss.backward()
    assert loss.dtype == torch.float32
    assert_finite([loss, logits.grad])
    reference = sum(tiny_model(use_auxiliary_heads=False).train().compute_loss(logits.float(), [], labels).values())
    torch.testing.assert_close(loss, reference)


def test_unknown_classes_hide_in_background():
    """Pixels of a dataset that does not know class 3 may hold it: calling them 3 costs nothing."""
    model = tiny_model(label_sets={"all": [0, 1, 2, 3], "few": [0, 1]}).train()
    labels = torch.zeros(1, 8, 8, dtype=torch.long)
    labels[:, :2] = 1
    sure = F.one_hot(labels, 4).permute(0, 3, 1, 2) * 20.0
    calls_three = sure.clone()
    calls_three[:, 0, 4:], calls_three[:, 3, 4:] = 0.0, 20.0  # half of the background is called class 3
    known = torch.tensor([[True, True, False, False]])

    def loss(logits, annotated):
        fresh = tiny_model().train()
        return sum(fresh.compute_loss(logits, [], labels, annotated).values()).item()

    assert loss(calls_three, known) == pytest.approx(loss(sure, known), abs=1e-5)
    assert loss(calls_three, None) > 1
    model.compute_loss(sure, [], labels, known)
    assert model.class_balance.updates.tolist() == [1, 1, 0, 0]  # classes nobody looked for keep their average


@pytest.mark.parametrize("loss", ["dice_focal", "gdl_focal", "monai_dice_ce"])
def test_other_losses_train(loss):
    model = tiny_model(loss=loss).train()
    outputs = model(torch.randn(2, 3, 32, 32), labels=torch.randint(0, 4, (2, 32, 32)))
    outputs.loss.backward()
    assert_finite([outputs.loss, *(p.grad for p in model.parameters() if p.grad is not None)])


def test_one_image_is_learnt():
    """Overfits one slice with a small and a ring-shaped structure to a Dice above 0.98."""
    torch.manual_seed(0)
    model = tiny_model(backbone={"patch_size": 8}, feature_size=32, num_labels=3).train()
    rows, columns = torch.meshgrid(torch.arange(48.0), torch.arange(48.0), indexing="ij")
    radius = ((rows - 24) ** 2 + (columns - 20) ** 2).sqrt()
    labels = ((radius > 8) & (radius < 14)).long()
    labels[36:41, 36:43] = 2
    pixels = F.one_hot(labels, 3)[None].permute(0, 3, 1, 2).float() + 0.3 * torch.randn(1, 3, 48, 48)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(60):
        model(pixels, labels=labels[None]).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        predicted = model.eval()(pixels).logits.argmax(1)[0]
    for class_id in (1, 2):
        both = ((predicted == class_id) & (labels == class_id)).sum()
        assert 2 * both / ((predicted == class_id).sum() + (labels == class_id).sum()) > 0.98
