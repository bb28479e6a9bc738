# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Reading maps at points: closed forms and `grid_sample`."""

import pytest
import torch
import torch.nn.functional as F

from hfseg.losses.point_sampling import Targets, bilinear_corners, sample_embedding, sample_masks


def points(*shape: int) -> torch.Tensor:
    """Draws points, some of them on and beyond the border."""
    drawn = torch.rand(*shape, 2, generator=torch.Generator().manual_seed(0))
    drawn[..., 0, :] = torch.tensor([0.0, 1.0])
    drawn[..., 1, :] = torch.tensor([1.0, 0.0])
    return drawn


def test_a_plane_is_read_exactly():
    """Bilinear interpolation of a + b x + c y is the plane itself, between pixel centers."""
    rows, columns = torch.meshgrid(torch.arange(6.0), torch.arange(9.0), indexing="ij")
    plane = 0.5 + 2 * (columns + 0.5) - 3 * (rows + 0.5)
    inner = torch.rand(1, 50, 2) * 0.8 + 0.1
    expected = 0.5 + 2 * inner[..., 0] * 9 - 3 * inner[..., 1] * 6
    torch.testing.assert_close(sample_masks(plane[None], inner), expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(sample_embedding(plane[None, None], inner)[..., 0], expected, rtol=0, atol=1e-4)


def test_pixel_centers_read_pixels():
    mask = torch.arange(6.0).view(2, 3)
    centers = torch.tensor([[(x + 0.5) / 3, (y + 0.5) / 2] for y in range(2) for x in range(3)])
    assert torch.allclose(sample_masks(mask[None], centers[None])[0], torch.arange(6.0), atol=1e-6)
    corner = sample_masks(torch.ones(1, 2, 3), torch.zeros(1, 1, 2))
    assert corner.item() == pytest.approx(0.25)  # three of the four neighbors of the corner lie outside


def test_corners_are_legal_and_weights_sum_to_one_inside():
    indices, weights = bilinear_corners(points(40), (5, 7))
    assert indices.min() >= 0 and indices.max() < 35
    assert (weights >= 0).all() and (weights.sum(0) <= 1 + 1e-6).all()
    _, weights = bilinear_corners(torch.full((1, 2), 0.5), (5, 7))
    assert weights.sum().item() == pytest.approx(1.0)


def test_embedding_is_grid_sample():
    embedding, where = torch.randn(3, 4, 5, 7), points(3, 20)
    expected = F.grid_sample(embedding, (2 * where - 1)[:, None], padding_mode="zeros", align_corners=False)[:, :, 0]
    torch.testing.assert_close(sample_embedding(embedding, where), expected.transpose(1, 2), rtol=0, atol=1e-5)


@pytest.mark.parametrize("form", ["maps", "masks", "both"])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8])
def test_targets_are_grid_sample_of_padded_masks(form, dtype):
    """Every form gives the value of the zero-padded binary mask, for targets smaller than the padding."""
    generator = torch.Generator().manual_seed(1)
    sizes, counts, size = [(10, 13), (12, 7)], [3, 2], (12, 19)
    maps = [torch.randint(0, n + 1, s, generator=generator).to(dtype) for s, n in zip(sizes, counts)]  # 0 is nothing
    masks = [torch.stack([ids == n + 1 for n in range(count)]) for ids, count in zip(maps, counts)]
    padded = [F.pad(m.float(), (0, size[1] - m.shape[2], 0, size[0] - m.shape[1])) for m in masks]
    labels = {"maps": maps, "masks": masks, "both": [maps[0], masks[1].float()]}[form]
    targets = Targets(labels, counts, size)

    images, segments = torch.tensor([1, 0, 0, 1, 0]), torch.tensor([1, 0, 0, 0, 2])
    where = points(5, 30)
    expected = sample_masks(torch.stack([padded[i][n] for i, n in zip(images, segments)]), where)
    actual = targets.read(images, segments, where)
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)

    where = points(2, 30)
    everything = targets.read_all(where)
    assert everything.shape == (2, 3, 30)
    assert not everything[1, 2].any()
    for image in range(2):
        for segment in range(counts[image]):
            expected = sample_masks(padded[image][segment][None], where[image][None])[0]
            torch.testing.assert_close(everything[image, segment], expected, rtol=0, atol=1e-5)
