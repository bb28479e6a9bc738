# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Reading maps at points: closed forms and `grid_sample`."""

import pytest
import torch
import torch.nn.functional as F

from hfseg.losses.point_sampling import bilinear_corners, sample_embedding, sample_masks, sample_targets


def points(*shape: int) -> torch.Tensor:
    """Draws points, some of them on and beyond the border."""
    drawn = torch.rand(*shape, 2, generator=torch.Generator().manual_seed(0))
    drawn[..., 0, :] = torch.tensor([0.0, 1.0])
    drawn[..., 1, :] = torch.tensor([1.0, 0.0])
    return drawn


def test_a_plane_is_read_exactly():
    """Bilinear interpolation of a + b x + c y is the plane itself, between pixel centres."""
    rows, columns = torch.meshgrid(torch.arange(6.0), torch.arange(9.0), indexing="ij")
    plane = 0.5 + 2 * (columns + 0.5) - 3 * (rows + 0.5)
    inner = torch.rand(1, 50, 2) * 0.8 + 0.1
    expected = 0.5 + 2 * inner[..., 0] * 9 - 3 * inner[..., 1] * 6
    torch.testing.assert_close(sample_masks(plane[None], inner), expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(sample_embedding(plane[None], inner)[..., 0], expected, rtol=0, atol=1e-4)


def test_pixel_centres_read_pixels():
    mask = torch.arange(6.0).view(2, 3)
    centres = torch.tensor([[(x + 0.5) / 3, (y + 0.5) / 2] for y in range(2) for x in range(3)])
    assert torch.allclose(sample_masks(mask[None], centres[None])[0], torch.arange(6.0), atol=1e-6)
    corner = sample_masks(torch.ones(1, 2, 3), torch.zeros(1, 1, 2))
    assert corner.item() == pytest.approx(0.25)  # three of the four neighbours of the corner lie outside


def test_corners_are_legal_and_weights_sum_to_one_inside():
    indices, weights = bilinear_corners(points(40), (5, 7))
    assert indices.min() >= 0 and indices.max() < 35
    assert (weights >= 0).all() and (weights.sum(-1) <= 1 + 1e-6).all()
    _, weights = bilinear_corners(torch.full((1, 2), 0.5), (5, 7))
    assert weights.sum().item() == pytest.approx(1.0)


def test_embedding_is_grid_sample():
    embedding, where = torch.randn(4, 5, 7), points(3, 20)
    expected = F.grid_sample(embedding[None], (2 * where - 1)[None], padding_mode="zeros", align_corners=False)
    torch.testing.assert_close(sample_embedding(embedding, where), expected[0].permute(1, 2, 0), rtol=0, atol=1e-5)


@pytest.mark.parametrize("shared_points", [False, True])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8])
def test_targets_are_grid_sample_of_padded_masks(shared_points, dtype):
    """Id map and mask stack give the value of the zero-padded binary mask, for a target smaller than the padding."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(0, 4, (10, 13), generator=generator).to(dtype)  # 0 is nothing
    masks = torch.stack([ids == n + 1 for n in range(3)])
    segments = torch.tensor([2, 0, 0, 1])
    where = points(30) if shared_points else points(4, 30)
    padded = F.pad(masks.float(), (0, 19 - 13, 0, 12 - 10))[segments]
    expected = sample_masks(padded, where.expand(4, 30, 2))
    for target in (ids, masks, masks.to(torch.uint8), masks.float()):
        actual = sample_targets(target, segments, where, (12, 19))
        assert actual.dtype == torch.float32
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)
