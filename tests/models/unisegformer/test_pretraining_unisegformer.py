# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Pre-training of UniSegFormer: hidden units, contrast, accumulation, and weights handed on."""

import math

import pytest
import torch

from contract import assert_same, peaked
from hfseg import (
    UniSegFormerConfig,
    UniSegFormerForPreTraining,
    UniSegFormerForSemanticSegmentation,
    UniSegFormerForUniversalSegmentation,
    UniSegFormerModel,
)
from hfseg.models.unisegformer.configuration_unisegformer import SIZES
from unisegformer_models import ENCODER, tiny_config


def test_pretraining_hands_its_weights_on(tmp_path):
    pretrained = peaked(UniSegFormerForPreTraining(tiny_config()))
    pretrained.save_pretrained(tmp_path)
    for cls in (UniSegFormerForUniversalSegmentation, UniSegFormerForSemanticSegmentation, UniSegFormerModel):
        model, report = cls.from_pretrained(tmp_path, output_loading_info=True)
        assert not report["missing_keys"] and not report["mismatched_keys"], cls
        ours, theirs = dict(model.named_parameters()), dict(pretrained.named_parameters())
        prefix = "model." if cls is UniSegFormerModel else ""
        assert all(torch.equal(value, theirs[prefix + name]) for name, value in ours.items())


def pairs(batch_size: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """Draws images, texts and hidden units."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.zeros(batch_size, 6, dtype=torch.bool)
    hidden[:, :4] = True
    return {
        "pixel_values": torch.randn(batch_size, 3, 64, 96, generator=generator),
        "input_ids": torch.randint(0, 64, (batch_size, 8), generator=generator),
        "masked_units": hidden,
    }


def test_hidden_units_are_not_seen():
    model = peaked(UniSegFormerForPreTraining(tiny_config())).eval()
    batch = pairs(2)
    changed = batch["pixel_values"].clone()
    changed[:, :, :32] += 1  # units 0..2, all hidden
    with torch.no_grad():
        first = model.image_features(batch["pixel_values"], batch["masked_units"])
        second = model.image_features(changed, batch["masked_units"])
        third = model.image_features(changed)
    assert_same(first[:2], second[:2], atol=1e-5)
    assert (third[0] - first[0]).abs().max() > 1e-2


def test_other_processes_are_asked_in_training_only(monkeypatch):
    """In evaluation they may have another number of batches, and would wait forever."""
    asked = []
    monkeypatch.setattr("hfseg.losses.contrastive.gather_with_gradient", lambda part: asked.append(part) or part)
    model = peaked(UniSegFormerForPreTraining(tiny_config()))
    model.eval()(**pairs(2))
    assert not asked
    model.train()(**pairs(2))
    assert len(asked) == 1


def test_fresh_networks_have_moderate_gradients():
    """Hidden units and patches of constant color must not ask cosine attention for the direction of nothing."""
    torch.manual_seed(0)
    model = UniSegFormerForPreTraining(tiny_config()).train()
    batch = pairs(2)
    batch["pixel_values"][1, :, :, 40:] = 0
    model(**batch).loss.backward()
    norms = {name: p.grad.norm().item() for name, p in model.named_parameters()}
    assert max(norms.values()) < 1e6, max(norms, key=norms.get)


def test_hidden_area_is_the_ratio():
    model = UniSegFormerForPreTraining(tiny_config())
    hidden = model.draw_mask(torch.zeros(3, 3, 320, 320))
    assert hidden.shape == (3, 100) and hidden.sum(1).tolist() == [60] * 3
    assert not torch.equal(hidden[0], hidden[1])


def test_a_share_of_a_training_batch_is_masked():
    """The others are seen whole: their embeddings are those of whole images, and nothing of them is reconstructed."""
    model = peaked(UniSegFormerForPreTraining(tiny_config(mim_image_share=0.5))).train()
    hidden = model.draw_batch_mask(torch.zeros(5, 3, 320, 320))
    assert hidden.sum(1).tolist() == [60, 60, 0, 0, 0]
    assert model.draw_batch_mask(torch.zeros(1, 3, 320, 320)).sum() == 60, "at least one"
    batch = pairs(4)
    outputs = model(batch["pixel_values"], batch["input_ids"])
    assert outputs.masked_units.any(1).tolist() == [True, True, False, False]
    whole = model.image_features(batch["pixel_values"])[1]
    assert_same(outputs.image_embeds[2:], whole[2:], atol=1e-5)
    assert (outputs.image_embeds[:2] - whole[:2]).abs().max() > 1e-3
    masked = model(batch["pixel_values"][:2], masked_units=outputs.masked_units[:2].bool())
    assert outputs.loss_dict["loss_mim"].item() == pytest.approx(masked.loss_dict["loss_mim"].item(), rel=1e-5)
    assert model.eval()(batch["pixel_values"]).masked_units.any(1).all(), "measured on every image"


def test_offset_of_the_contrast_fits_the_batch():
    """Where embeddings know nothing, b = -log(B - 1) makes pairs and others pull equally."""
    pull = {}
    for bias in (-10.0, -math.log(7)):
        model = UniSegFormerForPreTraining(tiny_config(contrastive_bias_init=bias, contrastive_scale_init=5))
        assert model.contrastive_bias.item() == pytest.approx(bias)
        assert model.contrastive_scale.exp().item() == pytest.approx(5)
        logits = torch.full((8, 8), bias, requires_grad=True)
        signs = 2 * torch.eye(8) - 1
        torch.nn.functional.logsigmoid(signs * logits).sum().neg().backward()
        pull[bias] = (logits.grad.sum() / logits.grad.abs().sum()).item()
    assert pull[-10.0] < -0.99, "everything is drawn together"
    assert abs(pull[-math.log(7)]) < 1e-5


def test_hidden_states_of_chosen_levels():
    model = UniSegFormerForPreTraining(tiny_config()).eval()
    inputs = {"pixel_values": torch.randn(1, 3, 64, 64), "masked_units": torch.tensor([[True, False, False, True]])}
    with torch.no_grad():
        every = model(**inputs, output_hidden_states=True).hidden_states
        chosen = model(**inputs, output_hidden_states=[0, -2, 9]).hidden_states
        assert model(**inputs).hidden_states is None
    assert [state is not None for state in chosen] == [True, False, False, True, False]
    assert_same(chosen[0], every[0]), assert_same(chosen[3], every[3])


def gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("across", [False, True])
def test_accumulation_and_the_contrast(across):
    """Four micro-batches equal one batch for reconstruction; for contrast only if they know each other."""
    torch.manual_seed(0)
    config = tiny_config(contrast_accumulated=across)
    model = peaked(UniSegFormerForPreTraining(config)).train()
    with torch.no_grad():
        model.contrastive_scale.fill_(math.log(10)), model.contrastive_bias.fill_(-3.0)
    batch = pairs(8)
    whole = model(**batch)
    whole.loss.backward()
    expected = gradients(model)
    model.zero_grad()
    parts = [{name: value[i : i + 2] for name, value in batch.items()} for i in range(0, 8, 2)]
    extras = model.accumulation_inputs(parts, model, torch.device("cpu"))
    summed = {"loss_mim": 0.0, "loss_contrastive": 0.0}
    for part, extra in zip(parts, extras):
        outputs = model(**{**part, **extra})
        (outputs.loss / 4).backward()
        for name in summed:
            summed[name] += outputs.loss_dict[name].item() / 4
    assert summed["loss_mim"] == pytest.approx(whole.loss_dict["loss_mim"].item(), rel=1e-5)
    contrast = whole.loss_dict["loss_contrastive"].item()
    if not across:
        assert abs(summed["loss_contrastive"] - contrast) > 0.05 * contrast
        return
    assert summed["loss_contrastive"] == pytest.approx(contrast, rel=1e-5)
    actual = gradients(model)
    assert actual.keys() == expected.keys()
    for name in expected:
        assert_same(actual[name], expected[name], atol=1e-4)


def test_batches_of_any_composition_have_all_gradients():
    model = UniSegFormerForPreTraining(tiny_config()).train()
    batch = pairs(2)
    del batch["input_ids"]
    model(**batch).loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert torch.isfinite(torch.stack([p.grad.abs().sum() for p in model.parameters()])).all()


def test_pretraining_bad_input():
    model = UniSegFormerForPreTraining(tiny_config())
    batch = pairs(2)
    with pytest.raises(ValueError, match="1 texts for 2 images"):
        model(batch["pixel_values"], input_ids=batch["input_ids"][:1])
    with pytest.raises(ValueError, match="belong together"):
        model(batch["pixel_values"], segmentation_pixel_values=batch["pixel_values"])
    with pytest.raises(Exception, match="drop_path_rate"):
        tiny_config(contrast_accumulated=True, encoder_config={**ENCODER, "drop_path_rate": 0.1})
    with pytest.raises(ValueError, match="tiny, base, large, xlarge"):
        UniSegFormerConfig.of_size("huge")
    assert list(SIZES) == ["tiny", "base", "large", "xlarge"]
