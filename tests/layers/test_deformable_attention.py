# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Deformable attention: its two forms are one sum, which is the one of transformers and of the definition."""

import inspect
import math

import pytest
import torch
from transformers.models.deformable_detr.modeling_deformable_detr import (
    MultiScaleDeformableAttention as TheirSampling,
)
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention,
)

from hfseg.layers.deformable_attention import (
    MultiScaleDeformableAttention,
    MultiScaleDeformableSampling,
    deformable_attention_gather,
    deformable_attention_grid_sample,
)
from hfseg.layers.positions import pixel_centers

SHAPES = [
    ((3, 4), (6, 8), (11, 15)),
    ((1, 1),),
    ((1, 1), (1, 7), (5, 1)),
    ((2, 9), (1, 1)),
]


def draw(shapes, spread: float, dtype: torch.dtype = torch.float64):
    """Draws values, locations around the map (far outside for a large spread) and weights."""
    generator = torch.Generator().manual_seed(0)
    length = sum(height * width for height, width in shapes)
    value = torch.randn(2, length, 3, 5, generator=generator, dtype=dtype)
    locations = 0.5 + spread * torch.randn(2, 7, 3, len(shapes), 4, 2, generator=generator, dtype=dtype)
    weights = torch.rand(2, 7, 3, len(shapes), 4, generator=generator, dtype=dtype)
    return value, shapes, locations, weights / weights.sum((-2, -1), keepdim=True)


def by_definition(value, shapes, locations, weights):
    """Sums bilinear samples one by one, with plain numbers."""
    batch_size, num_queries, num_heads, _, num_points, _ = locations.shape
    output = torch.zeros(batch_size, num_queries, num_heads, value.shape[-1], dtype=value.dtype)
    for b in range(batch_size):
        for q in range(num_queries):
            for head in range(num_heads):
                first = 0
                for level, (height, width) in enumerate(shapes):
                    for point in range(num_points):
                        x = locations[b, q, head, level, point, 0].item() * width - 0.5
                        y = locations[b, q, head, level, point, 1].item() * height - 0.5
                        for row in (math.floor(y), math.floor(y) + 1):
                            for column in (math.floor(x), math.floor(x) + 1):
                                if 0 <= row < height and 0 <= column < width:
                                    share = (1 - abs(y - row)) * (1 - abs(x - column))
                                    share *= weights[b, q, head, level, point].item()
                                    output[b, q, head] += share * value[b, first + row * width + column, head]
                    first += height * width
    return output.flatten(2)


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("spread", [0.2, 1.0, 100.0])
@pytest.mark.parametrize("form", [deformable_attention_gather, deformable_attention_grid_sample])
def test_is_the_defined_sum(form, shapes, spread):
    arguments = draw(shapes, spread)
    torch.testing.assert_close(form(*arguments), by_definition(*arguments), rtol=0, atol=1e-9)


@pytest.mark.parametrize("shapes", SHAPES)
def test_forms_agree_on_pixel_centers_and_borders(shapes):
    value, _, locations, weights = draw(shapes, 0.3, torch.float32)
    for exact in (0.0, 1.0, 0.5, 0.5 / shapes[0][1], -0.5 / shapes[0][1], 1 + 0.5 / shapes[0][1]):
        locations[:, :, :, :, 0] = exact
        gathered = deformable_attention_gather(value, shapes, locations.clone(), weights)
        sampled = deformable_attention_grid_sample(value, shapes, locations, weights)
        torch.testing.assert_close(gathered, sampled, rtol=0, atol=1e-5)


def test_gather_leaves_its_inputs_alone():
    arguments = draw(SHAPES[0], 1.0)
    before = [tensor.clone() for tensor in (arguments[0], *arguments[2:])]
    deformable_attention_gather(*arguments)
    assert all(torch.equal(a, b) for a, b in zip(before, (arguments[0], *arguments[2:])))


def test_gradients_are_those_of_finite_differences():
    value, shapes, locations, weights = draw(((2, 3), (1, 1)), 0.3)
    value, locations, weights = value[:1, :, :1, :2], locations[:1, :3, :1, :, :2], weights[:1, :3, :1, :, :2]
    inputs = [tensor.clone().requires_grad_() for tensor in (value, locations, weights)]
    assert torch.autograd.gradcheck(lambda v, x, w: deformable_attention_grid_sample(v, shapes, x, w), inputs)


@pytest.mark.parametrize("grad", [False, True])
def test_module_is_transformers(grad):
    shapes = SHAPES[0]
    torch.manual_seed(0)
    theirs = Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention(32, 4, 3, 4).eval()
    ours = MultiScaleDeformableAttention(32, 4, 3, 4).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(std=0.5)
    ours.load_state_dict(theirs.state_dict())
    length = sum(height * width for height, width in shapes)
    tokens, positions = torch.randn(2, length, 32), torch.randn(1, length, 32)
    centers = pixel_centers(shapes, torch.device("cpu"))
    with torch.set_grad_enabled(grad):
        actual, weights = ours(tokens, positions, tokens, centers, shapes)
        expected, their_weights = theirs(
            hidden_states=tokens,
            encoder_hidden_states=tokens,
            position_embeddings=positions.expand(2, -1, -1),
            reference_points=centers[None, :, None, :].expand(2, -1, 3, -1),
            spatial_shapes_list=shapes,
        )
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(weights.flatten(-2), their_weights.flatten(-2), rtol=1e-4, atol=1e-6)
    if grad:
        (actual.square().mean() + expected.square().mean()).backward()
        for (name, mine), (_, other) in zip(
            sorted(ours.named_parameters(), key=lambda p: p[0]), sorted(theirs.named_parameters(), key=lambda p: p[0])
        ):
            torch.testing.assert_close(mine.grad, other.grad, rtol=1e-3, atol=1e-4, msg=name)


def test_bfloat16_coordinates_stay_exact():
    """In half precision 0.5 / 200 and its neighbors are one number: coordinates must not be."""
    module = MultiScaleDeformableAttention(16, 2, 1, 1).to(torch.bfloat16)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        module.value_proj.weight.copy_(torch.eye(16))
        module.output_proj.weight.copy_(torch.eye(16))
    tokens = torch.randn(1, 200, 16, dtype=torch.bfloat16)
    centers = pixel_centers(((1, 200),), torch.device("cpu"))
    with torch.no_grad():
        output, _ = module(tokens, torch.zeros_like(tokens), tokens, centers, ((1, 200),))
    torch.testing.assert_close(output, tokens, rtol=2e-2, atol=2e-2)


def test_heads_that_do_not_divide():
    with pytest.raises(ValueError, match=r"hidden_size=10 is not a multiple of num_heads=4"):
        MultiScaleDeformableAttention(10, 4, 1, 1)


def test_arguments_are_those_of_the_kernel():
    """What `use_kernels=True` puts in the place of our forward is called as transformers calls it."""
    theirs = TheirSampling()
    parameters = [
        list(inspect.signature(kind.forward).parameters) for kind in (MultiScaleDeformableSampling, TheirSampling)
    ]
    assert parameters[0] == parameters[1]

    torch.manual_seed(0)
    layer = MultiScaleDeformableAttention(32, num_heads=4, num_levels=2, num_points=3).eval()
    shapes, seen = ((3, 5), (6, 10)), []
    hidden, centers = torch.randn(2, 75, 32), pixel_centers(shapes, torch.device("cpu"))
    arguments = (hidden, torch.randn(1, 75, 32), hidden, centers, shapes)
    with torch.no_grad():
        expected, _ = layer(*arguments)
        layer.sampling.forward = lambda *given: seen.append(given) or theirs(*given)
        actual, _ = layer(*arguments)
    torch.testing.assert_close(actual, expected)
    # The tensors that only a kernel reads.
    _, sizes, _, starts, *_ = seen[0]
    assert sizes.dtype == starts.dtype == torch.int64
    assert sizes.tolist() == [[3, 5], [6, 10]] and starts.tolist() == [0, 15]
