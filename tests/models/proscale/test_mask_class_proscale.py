# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Mask class tokens: against CLIP itself, and against MaskCLIP's attention over one joint sequence, written out."""

import pytest
import torch
import torch.nn.functional as F
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from contract import peaked
from hfseg.models.proscale.clip_proscale import RENAMED
from hfseg.models.proscale.mask_class_proscale import ProScaleMaskClassEncoder
from proscale_models import VISION, close

CONFIG = CLIPVisionConfig(**VISION)


def encoder(interval: int) -> ProScaleMaskClassEncoder:
    torch.manual_seed(0)
    return peaked(ProScaleMaskClassEncoder(CLIPVisionConfig(**VISION), interval)).eval()


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def as_clip(model: ProScaleMaskClassEncoder) -> CLIPVisionModelWithProjection:
    """transformers' tower with the same weights."""
    clip = CLIPVisionModelWithProjection(CLIPVisionConfig(**VISION)).eval()
    own = {f"mask_class_encoder.{name}": value for name, value in model.state_dict().items()}
    renamed = {}
    for name in clip.state_dict():
        beginning = next(key for key in RENAMED if name.startswith(key))
        renamed[name] = own[RENAMED[beginning] + name.removeprefix(beginning)]
    clip.load_state_dict(renamed)
    return clip


@torch.no_grad()
def test_images_are_embedded_as_by_clip():
    model, images = encoder(1), drawn(2, 3, 32, 32)
    close(model.embed_images(images), as_clip(model)(images).image_embeds, 1e-5, 1e-5)


@torch.no_grad()
def test_a_mask_of_everything_is_the_image():
    """Without relative layers its token sees what CLIP's own class token sees; others do not change it."""
    model, images = encoder(3), drawn(2, 3, 32, 32)
    masks = torch.cat((torch.ones(2, 1, 32, 32), drawn(2, 3, 32, 32) - 3), dim=1)
    found = model(images, masks)
    close(found.embeddings[:, 0], as_clip(model)(images).image_embeds, 1e-5, 1e-5)
    assert len(found.masks) == 1 and torch.equal(found.masks[0], masks)
    alone = model(images, masks[:, 1:2])
    close(found.embeddings[:, 1:2], alone.embeddings, 1e-5, 1e-5)


@torch.no_grad()
def test_a_mask_of_nothing_sees_the_class_token_only():
    """Patches that a mask does not touch cannot change its description, one touched pixel lets a patch in."""
    model, masks = encoder(3), torch.full((1, 2, 32, 32), -1.0)
    masks[0, 1, 9, 17] = 0.0  # patch (1, 2)
    tokens = model.pre_layernorm(model.embeddings(drawn(1, 3, 32, 32)))
    layer = model.layers[0]
    hidden = layer.visibility(masks)
    assert hidden[0, 0, 0] == 0 and (hidden[0, 0, 1:] < -1e30).all()
    assert (hidden[0, 1] == 0).nonzero().flatten().tolist() == [0, 1 + 1 * 4 + 2]
    other = tokens.clone()
    other[:, 1:] += drawn(1, 16, 32)
    classes = tokens[:, :1].expand(-1, 2, -1)
    first, second = layer(tokens, classes, masks)[1], layer(other, classes, masks)[1]
    close(first[:, 0], second[:, 0], 1e-6, 1e-6)
    assert not torch.allclose(first[:, 1], second[:, 1])


def joint_layer(layer, tokens, classes, masks):
    """MaskCLIP's layer as its official code has it: one sequence of class tokens, CLIP's class token and patches."""
    attention, relative, count = layer.self_attn, layer.relative, classes.shape[1]
    sequence = torch.cat((classes, tokens), dim=1)[0]  # one image
    length, heads = len(sequence), attention.num_heads
    hidden = torch.zeros(length, length, dtype=torch.bool)
    hidden[:, :count] = True
    touched = F.max_pool2d((masks.sigmoid() >= 0.5).float(), 8)[0].flatten(1)
    hidden[:count, count + 1 :] = touched == 0
    normed = layer.layer_norm1(sequence)
    size = normed.shape[1] // heads
    q, k, v = (
        part(normed).view(length, heads, size) for part in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    q = q / size**0.5
    logits = torch.einsum("ihc,jhc->hij", q, k)
    codes = relative.code(masks[0].tanh().unsqueeze(1)).reshape(count, -1, touched.shape[1]).transpose(1, 2)
    codes = relative.code_norm(codes).view(count, -1, heads, size) / size**0.5
    keys = relative.key(normed[count + 1 :]).view(-1, heads, size)
    logits[:, :count, count + 1 :] = (logits[:, :count, count + 1 :] + torch.einsum("qthc,thc->hqt", codes, keys)) / 2
    weights = logits.masked_fill(hidden, -torch.inf).softmax(-1)
    seen = attention.out_proj(torch.einsum("hij,jhc->ihc", weights, v).flatten(1))
    products = q[:count].flatten(1)[:, None] * k[count + 1 :].flatten(1)[None]  # (Q, T, D)
    products = (products * torch.sigmoid(1.702 * products)).transpose(1, 2).unflatten(2, (4, 4))
    pixels = F.conv2d(products, relative.refine.weight[..., None, None], relative.refine.bias)  # (Q, p*p, 4, 4)
    change = F.pixel_shuffle(pixels, 8)[:, 0]
    sequence = sequence + seen
    sequence = sequence + layer.mlp(layer.layer_norm2(sequence))
    return sequence[count:][None], sequence[:count][None], masks + change[None]


@torch.no_grad()
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_relative_attention_is_maskclips(attention):
    model = encoder(1)
    model.set_attn_implementation(attention)
    masks, images = drawn(1, 3, 32, 32) - 1, drawn(1, 3, 32, 32)
    tokens = model.pre_layernorm(model.embeddings(images))
    state = tokens, tokens[:, :1].expand(-1, 3, -1), masks
    expected = state
    for layer in model.layers:
        state, expected = layer(*state), joint_layer(layer, *expected)
    for mine, theirs in zip(state, expected):
        close(mine, theirs, 1e-4, 1e-4 * float(theirs.abs().max()))
    found = model(images, masks)
    close(found.masks[1], state[2], 1e-5, 1e-5)
    assert len(found.masks) == 2
