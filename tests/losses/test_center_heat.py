# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Heat maps of centers and their loss against loops over cells, as the CenterNet paper writes them."""

import math

import pytest
import torch

from hfseg.losses.center_heat import center_heat_loss, heat_targets, segment_centers


def scene() -> tuple[torch.Tensor, torch.Tensor]:
    """Draws an id map (40, 56) of a rectangle, a single pixel, an absent segment and a large square of stuff."""
    ids = torch.zeros(40, 56, dtype=torch.int32)
    ids[20:40, 30:56] = 4
    ids[3:9, 4:20] = 1
    ids[30, 17] = 2
    return ids, torch.tensor([0, 1, 0, 2])


def heat_by_loops(ids: torch.Tensor, things: list[int], size: tuple[int, int]) -> tuple[torch.Tensor, set]:
    heat, centers = torch.zeros(size, dtype=torch.float64), set()
    for thing in things:
        rows, columns = (ids == thing).nonzero(as_tuple=True)
        if not len(rows):
            continue
        middle = (int((rows.double().mean() + 0.5) // 8), int((columns.double().mean() + 0.5) // 8))
        centers.add(middle)
        deviation = max(0.4 * math.sqrt(len(rows) / math.pi) / 8, 0.6)
        for row in range(size[0]):
            for column in range(size[1]):
                squared = (row - middle[0]) ** 2 + (column - middle[1]) ** 2
                heat[row, column] = max(heat[row, column], math.exp(-squared / (2 * deviation**2)))
    return heat, centers


def test_centers_and_areas():
    ids, _ = scene()
    centers, areas = segment_centers(ids, 4)
    assert areas.tolist() == [96, 1, 0, 520]
    assert centers[0].tolist() == [12, 6] and centers[1].tolist() == [17.5, 30.5]
    masks = torch.stack([ids == number for number in range(1, 5)])
    again = segment_centers(masks, 4)
    assert torch.equal(again[0], centers) and torch.equal(again[1], areas)


@pytest.mark.parametrize("as_masks", [False, True])
def test_targets(as_masks):
    ids, classes = scene()
    masks = torch.stack([ids == number for number in range(1, 5)]) if as_masks else ids
    heat, is_center = heat_targets(masks, classes != 2, (5, 7))
    expected, centers = heat_by_loops(ids, [1, 2, 3], (5, 7))
    torch.testing.assert_close(heat.double(), expected, rtol=1e-5, atol=1e-7)
    assert {tuple(cell) for cell in is_center.nonzero().tolist()} == centers == {(0, 1), (3, 2)}


def test_loss_is_centernets():
    ids, classes = scene()
    torch.manual_seed(0)
    logits = torch.randn(2, 5, 7, requires_grad=True)
    empty = torch.zeros(40, 56, dtype=torch.int32)
    labels = ([ids, empty], [classes, classes[:0]])
    loss = center_heat_loss(logits, *labels, stuff_class_ids=(2,))
    expected = 0.0
    for image, (target, things) in enumerate(((ids, [1, 2, 3]), (empty, []))):
        heat, centers = heat_by_loops(target, things, (5, 7))
        for row in range(5):
            for column in range(7):
                p = 1 / (1 + math.exp(-float(logits[image, row, column])))
                if (row, column) in centers:
                    expected -= (1 - p) ** 2 * math.log(p)
                else:
                    expected -= (1 - float(heat[row, column])) ** 4 * p**2 * math.log(1 - p)
    assert loss.item() == pytest.approx(expected / 4, rel=1e-5)  # four targets, stuff and the absent one included
    normalized = center_heat_loss(logits, *labels, stuff_class_ids=(2,), normalizer=torch.tensor(8.0))
    assert normalized.item() == pytest.approx(expected / 8, rel=1e-5)


def test_finite_without_objects_and_when_certain():
    logits = torch.tensor([[[90.0, -90.0, 0.0]]], requires_grad=True)
    loss = center_heat_loss(logits, [torch.zeros(8, 24, dtype=torch.int32)], [torch.zeros(0, dtype=torch.int64)])
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(logits.grad).all() and logits.grad[0, 0, 0] > 0


def test_unknown_cells_do_not_count():
    void = torch.zeros(16, 24, dtype=torch.bool)
    void[:, 8:16] = True
    logits = torch.zeros(1, 2, 3, requires_grad=True)
    empty = [torch.zeros(16, 24, dtype=torch.int32)], [torch.zeros(0, dtype=torch.int64)]
    center_heat_loss(logits, *empty, void_masks=[void]).backward()
    assert (logits.grad[0, :, 1] == 0).all() and (logits.grad[0][:, [0, 2]] > 0).all()
