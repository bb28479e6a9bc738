# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Losses at uncertain points against the plain form in double precision with automatic gradients."""

import pytest
import torch
import torch.nn.functional as F

from hfseg.losses import point_losses as module
from hfseg.losses.mask_classification import draw_points, logits_at_points
from hfseg.losses.point_losses import PointTargets, point_losses, smallest, softplus
from hfseg.losses.point_sampling import KnownPixels, Targets

SIZE, MASKS, CANDIDATES, FRESH, UNCERTAIN = (24, 40), 5, 150, 20, 60


def read(maps: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Reads maps at points of their own. Shape: `(N, h, w)`, `(N, S, 2)` -> `(N, S)`."""
    return F.grid_sample(maps[:, None], 2 * points[:, None] - 1, align_corners=False)[:, 0, 0]


def setting() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Draws masks, an id map of five segments per image, candidates and fresh points, and void pixels."""
    generator = torch.Generator().manual_seed(4)
    masks = 4 * torch.randn(MASKS, 6, 10, generator=generator)
    ids = torch.randint(0, 6, (2, *SIZE), generator=generator)
    candidates = torch.rand(MASKS, CANDIDATES, 2, generator=generator)
    fresh = torch.rand(MASKS, FRESH, 2, generator=generator)
    return masks, ids, candidates, fresh, torch.rand(2, *SIZE, generator=generator) < 0.03


@pytest.mark.parametrize("at_once", [1, 2**18])
@pytest.mark.parametrize("with_void", [False, True])
def test_losses_and_gradients_are_those_of_the_plain_form(monkeypatch, with_void, at_once):
    monkeypatch.setattr(module, "READS_AT_ONCE_CPU", at_once)
    masks, ids, candidates, fresh, void = setting()
    images, segments = torch.tensor([0, 0, 1, 1, 1]), torch.tensor([1, 3, 0, 2, 4])
    targets = Targets(list(ids), [5, 5], SIZE)
    known = KnownPixels(list(void), list(ids), SIZE) if with_void else None
    weights = torch.linspace(0.3, 1.7, MASKS)
    leaf = masks.clone().requires_grad_()
    bce, dice = point_losses(leaf, PointTargets(targets, images, segments, known), candidates, fresh, UNCERTAIN)
    ((bce * weights).sum() + 3 * (dice * weights.flip(0)).sum()).backward()

    plain = masks.double().requires_grad_()
    uncertain = read(plain.detach().float(), candidates).abs()
    if known is not None:
        uncertain = uncertain.masked_fill(known.read(images, candidates) == 0, torch.inf)
    chosen = uncertain.topk(UNCERTAIN, largest=False).indices
    places = torch.cat((torch.stack([c[i] for c, i in zip(candidates, chosen)]), fresh), dim=1)
    truth = read((ids[images] == segments[:, None, None] + 1).double(), places.double())
    logits = read(plain, places.double())
    inside = torch.ones_like(logits) if known is None else known.read(images, places).double()
    assert with_void == bool((inside == 0).any())
    entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none") * inside
    expected_bce = entropy.sum(1) / inside.sum(1)
    p, t = logits.sigmoid() * inside, truth * inside
    expected_dice = 1 - (2 * (p * t).sum(1) + 1) / (p.sum(1) + t.sum(1) + 1)
    ((expected_bce * weights).sum() + 3 * (expected_dice * weights.flip(0)).sum()).backward()
    torch.testing.assert_close(bce.double(), expected_bce, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(dice.double(), expected_dice, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(leaf.grad.double(), plain.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("width", [500, 20_000])
def test_smallest_numbers_are_those_of_sorting(width):
    values = torch.rand(3, width, generator=torch.Generator().manual_seed(1))
    values[1] = (values[1] * 20).round()  # many are equal
    values[2, ::7] = float("nan")
    for count in (0, 1, width // 4, width - 1, width):
        found = smallest(values, count)
        assert found.shape == (3, count) and all(len(set(row)) == count for row in found.tolist())
        expected = values.sort(dim=1).values[:, :count]
        torch.testing.assert_close(values.gather(1, found).sort(dim=1).values, expected, rtol=0, atol=0, equal_nan=True)


def test_smallest_numbers_where_a_sample_misleads():
    row = torch.arange(20_000.0, 40_000.0)[None]
    row[:, ::37] -= 20_000  # the sample sees nothing else
    assert set(smallest(row, 5000)[0].tolist()) == set(row[0].argsort()[:5000].tolist())


def test_softplus_is_exact_to_the_last_bits():
    values = torch.cat((torch.linspace(-110, 110, 40_001), torch.tensor([0.0, -1e-30, 1e-30, float("inf")])))
    torch.testing.assert_close(
        softplus(values).double(), F.softplus(values.double(), threshold=500), rtol=5e-7, atol=1e-38
    )
    assert softplus(torch.tensor([-float("inf")])) == 0 and softplus(torch.tensor([float("nan")])).isnan()


@pytest.mark.parametrize("size", [(3, 4), (20, 30)])
def test_logits_of_small_and_large_maps(size):
    torch.manual_seed(0)
    embeddings, pixels = torch.randn(2, 3, 7, 5), torch.randn(3, 5, *size)
    points = torch.rand(2, 3, 50, 2)
    masks = torch.einsum("pbqm,bmhw->pbqhw", embeddings, pixels)
    expected = F.grid_sample(masks.flatten(0, 1), 2 * points.flatten(0, 1)[:, None] - 1, align_corners=False)
    expected = expected[:, :, 0].unflatten(0, (2, 3)).transpose(0, 1)
    torch.testing.assert_close(logits_at_points(embeddings, pixels, points), expected, rtol=0, atol=1e-5)


def test_points_come_in_the_order_of_the_original_code():
    generator = torch.Generator().manual_seed(8)
    points = draw_points(3, 2, 4, 8, 3.0, 0.75, torch.device("cpu"), generator)
    generator.manual_seed(8)
    for level in (2, 0, 1):
        for image in range(2):
            assert torch.equal(points.matching[level, image], torch.rand(1, 8, 2, generator=generator)[0])
        assert torch.equal(points.candidates[level], torch.rand(4, 24, 2, generator=generator))
        assert torch.equal(points.fresh[level], torch.rand(4, 2, 2, generator=generator))
