# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The radial term of masks against its closed form."""

import torch
import torch.nn.functional as F

from hfseg.layers.mask_decoder import mask_logits, steering_masks
from hfseg.layers.mask_positions import MaskPositions, position_channels, radial_term, widen


def distances(center: tuple[float, float], size: tuple[int, int], stride: int) -> torch.Tensor:
    """Squared distance of every cell's middle from a point in input pixels, by a loop over cells."""
    result = torch.empty(size, dtype=torch.float64)
    for row in range(size[0]):
        for column in range(size[1]):
            x, y = (column + 0.5) * stride, (row + 0.5) * stride
            result[row, column] = (x - center[0]) ** 2 + (y - center[1]) ** 2
    return result


def test_the_product_is_the_radial_term():
    predicted = torch.tensor([[[0.3, -0.2], [-1.0, 2.0]]])
    centers = torch.tensor([[[40.0, 20.0], [7.0, 61.0]]])  # pixels
    term = radial_term(predicted, centers / 16, (2.0, 0.5))
    for stride, size in ((4, (20, 24)), (8, (10, 12)), (32, (3, 3))):
        actual = mask_logits(term, position_channels(size, stride, torch.device("cpu"))[None])
        for query in range(2):
            sharpness = F.softplus(predicted[0, query, 0].double() + 2.0)
            radius = 16 * F.softplus(predicted[0, query, 1].double() + 0.5)
            expected = sharpness * (radius**2 - distances(tuple(centers[0, query].tolist()), size, stride)) / 256
            torch.testing.assert_close(actual[0, query].double(), expected, rtol=1e-4, atol=1e-4)


def test_a_mask_without_content_is_a_disc_around_its_anchor():
    module = MaskPositions(8, 1)
    torch.nn.init.zeros_(module.shape.weight)
    torch.nn.init.zeros_(module.shape.bias)
    torch.nn.init.zeros_(module.anchors.weight)  # the middle of the image
    anchors = torch.tensor([[[20.0, 36.0], [60.0, 12.0]]]) / 16
    term = module(torch.randn(1, 3, 8), (16, 20), anchors)
    masks = mask_logits(term, position_channels((16, 20), 4, torch.device("cpu"))[None])[0] >= 0
    radii = (16 * F.softplus(torch.tensor(1.0)), 16 * F.softplus(torch.tensor(0.0)))
    for mask, center, radius in zip(masks, ((40, 32), (20, 36), (60, 12)), (radii[0], radii[1], radii[1])):
        assert torch.equal(mask, distances(center, (16, 20), 4) <= radius**2)


def test_centers_move_with_the_prediction_and_the_image():
    module = MaskPositions(4, 1)
    torch.nn.init.zeros_(module.shape.weight)
    with torch.no_grad():
        module.shape.bias.copy_(torch.tensor([0.0, 0.0, 0.7, -0.4]))
        module.anchors.weight.copy_(torch.tensor([[0.2, 0.9]]))
    anchor = torch.tensor([[[2.0, 3.0]]])
    for size in ((16, 20), (8, 40)):
        term = module(torch.zeros(1, 2, 4), size, anchor)[0]
        centers = term[:, 1:3] / (-2 * term[:, 3:])  # from 2 a c and -a
        fractions = torch.tensor([0.2 + 0.7, 0.9 - 0.4]).sigmoid()
        torch.testing.assert_close(centers[0], fractions * torch.tensor([size[1], size[0]]) / 4)
        torch.testing.assert_close(centers[1], anchor[0, 0] + 0.5 * torch.tensor([0.7, -0.4]).tanh())


def test_widening_appends_four_channels_in_float32():
    embedding = torch.randn(2, 5, 6, 7, dtype=torch.bfloat16)
    wide = widen(embedding, 4)
    assert wide.dtype == torch.float32 and wide.shape == (2, 9, 6, 7)
    assert torch.equal(wide[:, :5], embedding.float())
    assert torch.equal(wide[1, 5:], position_channels((6, 7), 4, torch.device("cpu")))


def test_large_images_survive_autocast():
    """Far from the origin the four products are thousands and their sum is a few: bfloat16 would lose it."""
    center = torch.tensor([[[1500.0, 900.0]]]) / 16
    term = radial_term(torch.zeros(1, 1, 2), center, (2.0, 1.0))
    channels = position_channels((300, 400), 4, torch.device("cpu"))[None]
    with torch.autocast("cpu", torch.bfloat16):
        masks = mask_logits(term, channels, precise=True)
        visible = steering_masks(term, channels.flatten(2), precise=True)
    assert masks.dtype == torch.float32
    expected = distances((1500, 900), (300, 400), 4) <= (16 * F.softplus(torch.tensor(1.0))) ** 2
    assert torch.equal(masks[0, 0] >= 0, expected)
    assert torch.equal(visible.view(300, 400), expected)
