# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Matching and loss of mask classification against transformers' Mask2FormerLoss, and its own invariants."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from transformers import Mask2FormerConfig
from transformers.models.mask2former.modeling_mask2former import Mask2FormerLoss

from hfseg.losses import mask_classification, point_losses
from hfseg.losses.mask_classification import LossWeights, count_targets, mask_classification_loss, match, matching_costs
from hfseg.losses.point_sampling import Targets

WEIGHTS = LossWeights(2.0, 5.0, 5.0, 0.1)
LEVELS, QUERIES, CLASSES, CHANNELS = 3, 8, 5, 6
PADDED = (32, 48)


def predictions(batch_size: int = 2, requires_grad: bool = False) -> dict[str, torch.Tensor]:
    """Draws predictions of several levels."""
    generator = torch.Generator().manual_seed(0)
    shapes = {
        "class_logits": (LEVELS, batch_size, QUERIES, CLASSES + 1),
        "mask_embeddings": (LEVELS, batch_size, QUERIES, CHANNELS),
        "pixel_embedding": (batch_size, CHANNELS, PADDED[0] // 4, PADDED[1] // 4),
    }
    drawn = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return {name: tensor.requires_grad_(requires_grad) for name, tensor in drawn.items()}


def targets(size: tuple[int, int] = PADDED) -> dict[str, list[torch.Tensor]]:
    """Builds id maps of three and one segments; part of each map is nothing."""
    first = torch.zeros(size, dtype=torch.int64)
    first[: size[0] // 2, : size[1] // 3], first[size[0] // 2 :], first[:5, -9:] = 1, 2, 3
    second = torch.zeros(size, dtype=torch.int64)
    second[4:20, 7:30] = 1
    return {"mask_labels": [first, second], "class_labels": [torch.tensor([1, 4, 0]), torch.tensor([2])]}


def as_stacks(labels: dict[str, list[torch.Tensor]]) -> dict[str, list[torch.Tensor]]:
    """Turns id maps into binary masks."""
    stacks = [
        torch.stack([ids == n + 1 for n in range(len(classes))]).float()
        for ids, classes in zip(labels["mask_labels"], labels["class_labels"])
    ]
    return {**labels, "mask_labels": stacks}


def loss(outputs: dict[str, torch.Tensor], labels: dict[str, Any], seed: int = 3, **kwargs: Any):
    """Computes the losses under a seed."""
    torch.manual_seed(seed)
    return mask_classification_loss(
        **outputs, **labels, padded_size=PADDED, weights=WEIGHTS, **{"num_points": 96, **kwargs}
    )


@pytest.mark.parametrize("form", ["id maps", "stacks"])
@pytest.mark.parametrize("size", [PADDED, (27, 41)])
def test_is_transformers_loss(form, size):
    outputs, labels = predictions(requires_grad=True), targets(size)
    stacks = as_stacks(labels)
    actual = loss(outputs, labels if form == "id maps" else stacks)

    config = Mask2FormerConfig(num_labels=CLASSES, train_num_points=96, use_auxiliary_loss=True)
    theirs = Mask2FormerLoss(config, {"loss_cross_entropy": 2.0, "loss_mask": 5.0, "loss_dice": 5.0})
    masks = torch.einsum("pbqc,bchw->pbqhw", outputs["mask_embeddings"], outputs["pixel_embedding"])
    levels = [
        {"masks_queries_logits": masks[index], "class_queries_logits": outputs["class_logits"][index]}
        for index in range(LEVELS)
    ]
    padded = [F.pad(m, (0, PADDED[1] - size[1], 0, PADDED[0] - size[0])) for m in stacks["mask_labels"]]
    torch.manual_seed(3)
    expected = theirs(
        **levels[-1], mask_labels=padded, class_labels=labels["class_labels"], auxiliary_predictions=levels[:-1]
    )
    assert len(expected) == len(actual) == 3 * LEVELS
    for name, value in expected.items():
        weight = 2.0 if "cross_entropy" in name else 5.0
        mine = actual[name.replace("cross_entropy", "ce")]
        torch.testing.assert_close(mine, weight * value, rtol=1e-4, atol=1e-6, msg=name)

    total = sum(weight * value for value, weight in ((v, 2.0 if "cross" in n else 5.0) for n, v in expected.items()))
    theirs_gradients = torch.autograd.grad(total, list(outputs.values()))
    gradients = torch.autograd.grad(sum(actual.values()), list(outputs.values()))
    for mine, other in zip(gradients, theirs_gradients):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-5)


def test_overlapping_masks_are_possible_as_stacks():
    labels = as_stacks(targets())
    labels["mask_labels"][0][1] = 1.0
    assert all(torch.isfinite(value) for value in loss(predictions(), labels).values())


def test_costs_are_the_definition():
    outputs, labels = predictions(), as_stacks(targets())
    target, classes = labels["mask_labels"][0], labels["class_labels"][0]
    where = torch.rand(LEVELS, 2, 50, 2, generator=torch.Generator().manual_seed(5))
    costs = matching_costs(
        **outputs,
        targets=Targets(targets()["mask_labels"], [3, 1], PADDED),
        class_labels=labels["class_labels"],
        points=where,
        weights=WEIGHTS,
    )[0]  # of the first image
    assert costs.shape == (LEVELS, QUERIES, 3)
    for level in range(LEVELS):
        masks = torch.einsum("qc,chw->qhw", outputs["mask_embeddings"][level, 0], outputs["pixel_embedding"][0])
        grid = (2 * where[level, 0] - 1)[None, None]
        logits = F.grid_sample(masks[None], grid, align_corners=False)[0, :, 0]  # (Q, S)
        truth = F.grid_sample(target[None], grid, align_corners=False)[0, :, 0]  # (T, S)
        probabilities = outputs["class_logits"][level, 0].softmax(-1)
        for query in range(QUERIES):
            for index, class_id in enumerate(classes):
                p, t = logits[query].sigmoid(), truth[index]
                dice = 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)
                entropy = F.binary_cross_entropy_with_logits(logits[query], t)
                expected = 5 * entropy + 5 * dice - 2 * probabilities[query, class_id]
                torch.testing.assert_close(costs[level, query, index], expected, rtol=1e-4, atol=1e-4)


def test_match_is_the_best_assignment():
    costs, counts = torch.rand(3, LEVELS, QUERIES, 11, generator=torch.Generator().manual_seed(0)), [3, 0, 11]
    pairs = match(costs, counts)
    assert pairs.counts == [3, 0, QUERIES]
    assert pairs.images.tolist() == [0] * 3 + [2] * QUERIES
    for level in range(LEVELS):
        expected = [linear_sum_assignment(costs[image, level, :, : counts[image]].numpy()) for image in range(3)]
        assert pairs.queries[level].tolist() == [query for queries, _ in expected for query in queries]
        assert pairs.targets[level].tolist() == [target for _, columns in expected for target in columns]


def test_a_perfect_prediction_costs_nothing():
    labels = {"mask_labels": [torch.ones(PADDED, dtype=torch.int64)], "class_labels": [torch.tensor([2])]}
    class_logits = torch.full((1, 1, 2, CLASSES + 1), -40.0)
    class_logits[0, 0, 0, -1] = class_logits[0, 0, 1, 2] = 40.0
    embeddings = torch.tensor([-100.0, 100.0]).view(1, 1, 2, 1)
    torch.manual_seed(0)
    terms = mask_classification_loss(
        class_logits,
        embeddings,
        torch.ones(1, 1, 80, 120),
        labels["mask_labels"],
        labels["class_labels"],
        PADDED,
        WEIGHTS,
    )
    # At the border prediction and ground truth interpolate with the zeros outside, at two resolutions: not exactly
    # nothing.
    assert terms["loss_ce"] < 1e-6 and terms["loss_dice"] < 0.2


def test_empty_targets_have_no_mask_loss_but_a_gradient():
    outputs = predictions(requires_grad=True)
    labels = {
        "mask_labels": [torch.zeros(PADDED, dtype=torch.int64)] * 2,
        "class_labels": [torch.zeros(0, dtype=torch.int64)] * 2,
    }
    terms = loss(outputs, labels)
    assert all(value == 0 for name, value in terms.items() if "ce" not in name or "dice" in name)
    sum(terms.values()).backward()
    assert all(torch.isfinite(tensor.grad).all() for tensor in outputs.values())
    assert outputs["class_logits"].grad.any()
    expected = F.cross_entropy(outputs["class_logits"][-1].flatten(0, 1), torch.full((2 * QUERIES,), CLASSES))
    torch.testing.assert_close(terms["loss_ce"], 2 * expected)


def test_parts_add_up_to_the_whole():
    """With the normalizer of the whole batch, the losses of its images sum to its loss."""
    outputs, labels = predictions(), targets()
    counts = [count_targets([classes], QUERIES, WEIGHTS.no_object) for classes in labels["class_labels"]]
    whole = count_targets(labels["class_labels"], QUERIES, WEIGHTS.no_object)
    torch.testing.assert_close(sum(counts), whole)
    assert whole.tolist() == pytest.approx([4, 4 + 0.1 * 12])

    # Enough points for their place not to matter: the draws of the parts differ from those of the whole.
    dense = {"num_points": 20000}
    together = loss(outputs, labels, **dense)
    parts = [
        loss(
            {
                name: tensor[i : i + 1] if name == "pixel_embedding" else tensor[:, i : i + 1]
                for name, tensor in outputs.items()
            },
            {name: entries[i : i + 1] for name, entries in labels.items()},
            normalizer=whole,
            **dense,
        )
        for i in range(2)
    ]
    for name, value in together.items():
        torch.testing.assert_close(parts[0][name] + parts[1][name], value, rtol=2e-2, atol=1e-2)
    assert loss(outputs, labels, normalizer=whole)["loss_ce"].item() == pytest.approx(
        loss(outputs, labels)["loss_ce"].item()
    )


def test_more_targets_than_queries(monkeypatch):
    said: list[str] = []
    monkeypatch.setattr(mask_classification.logger, "warning_once", said.append)
    loss(predictions(), targets())
    assert not said
    ids = torch.arange(PADDED[0] * PADDED[1]).view(PADDED) % 12 + 1
    labels = {"mask_labels": [ids] * 2, "class_labels": [torch.arange(12) % CLASSES] * 2}
    assert all(torch.isfinite(value) for value in loss(predictions(), labels).values())
    assert count_targets(labels["class_labels"], QUERIES, 0.1).tolist() == pytest.approx([24, 16])
    assert said and f"queries in training ({QUERIES})" in said[0] and "num_queries" in said[0]


@pytest.mark.parametrize(
    ("module", "limit"), [(point_losses, "READS_AT_ONCE_CPU"), (mask_classification, "EMBEDDINGS_AT_ONCE_CPU")]
)
def test_levels_in_parts_are_the_same_sum(monkeypatch, module, limit):
    expected = loss(predictions(), targets())
    monkeypatch.setattr(module, limit, 1)
    for name, value in loss(predictions(), targets()).items():
        torch.testing.assert_close(value, expected[name])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_diverged_predictions_do_not_stop_the_run(value):
    outputs = predictions()
    outputs["mask_embeddings"][:, 0, 2] = value
    terms = loss(outputs, targets())
    assert torch.isfinite(terms["loss_ce"])
    costs = matching_costs(
        **outputs,
        targets=Targets(targets()["mask_labels"], [3, 1], PADDED),
        class_labels=targets()["class_labels"],
        points=torch.rand(LEVELS, 2, 30, 2),
        weights=WEIGHTS,
    )
    assert torch.isfinite(costs).all()
    pairs = match(costs, [3, 1])
    assert not (pairs.queries[:, pairs.images == 0] == 2).any()  # the diverged query is matched last


def test_generator_decides_the_points():
    outputs, labels = predictions(), targets()
    values = [
        loss(outputs, labels, seed=seed, generator=torch.Generator().manual_seed(9))["loss_mask"] for seed in (1, 2)
    ]
    assert values[0] == values[1] != loss(outputs, labels, seed=1)["loss_mask"]


def test_targets_larger_than_the_input():
    with pytest.raises(ValueError, match=r"mask_labels\[0\] is 64 x 96.* padded input of 32 x 48"):
        loss(predictions(), targets((64, 96)))
