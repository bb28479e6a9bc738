# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Dice and cross-entropy with dynamic weights: worked vectors, MONAI's terms where they mean the same, processes."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import distributed

from forked_launch import forked_launch
from hfseg import MedDenseViTConfig, MedDenseViTForSemanticSegmentation
from hfseg.losses.dice_cross_entropy import (
    ClassBalance,
    class_weights,
    count_classes,
    cross_entropy_sum,
    dice_loss,
    generalized_dice_loss,
    imbalance,
    marginal_logits,
)

LOGITS = torch.tensor(
    [
        [[[2, -1, 0.5], [0, 1, -2]], [[-1.5, 0.25, 3], [1, 1, 1]]],
        [[[0.1, 0.2, 0.3], [-3, 2, 0]], [[4, -4, 0], [0.5, -0.5, 1.5]]],
    ]
).permute(0, 3, 1, 2)
LABELS = torch.tensor([[[0, 1], [0, 255]], [[0, 1], [0, 0]]])


def close(actual, expected, tolerance=1e-6):
    torch.testing.assert_close(
        torch.as_tensor(actual, dtype=torch.float64),
        torch.as_tensor(expected, dtype=torch.float64),
        rtol=0,
        atol=tolerance,
    )


def model(**fields):
    backbone = {"model_type": "dinov3_vit", "hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2}
    backbone |= {"intermediate_size": 16, "out_indices": [1, 2, 3, 4]}
    config = MedDenseViTConfig(backbone_config=backbone, feature_size=8, stem_sizes=(4, 4), num_labels=3, **fields)
    return MedDenseViTForSemanticSegmentation(config).train()


def test_worked_weights():
    frequencies = torch.tensor([0.95, 0.045, 0.005])
    close(class_weights(frequencies), [0.815873, 3.748678, 11.246033])
    close(imbalance(frequencies), 0.804508)
    close(0.5 + 0.4 * imbalance(frequencies), 0.821803)


def test_worked_loss():
    ours = model()
    terms = ours.compute_loss(LOGITS, [], LABELS)
    balance = ours.class_balance
    close(balance.frequencies(), [5 / 7, 2 / 7, 0])
    close(balance.weights(), [0.857604, 1.355991, 0])
    alpha = balance.balance()
    close(alpha, 0.682173)
    close(terms["loss_dice"] / (2 * alpha), 0.2291911)
    close(terms["loss_ce"] / (2 * (1 - alpha)), 1.0050599)
    close(sum(terms.values()), 0.9515669)


def test_numpy_says_the_same():
    """The whole loss once more, in float64 loops."""
    generator = np.random.default_rng(0)
    logits, labels = generator.normal(size=(2, 4, 5, 6)), generator.integers(0, 4, (2, 5, 6))
    labels[0, :2] = 255
    counts = np.array([(labels == c).sum() for c in range(4)], dtype=float)
    f = counts / counts.sum()
    w = np.clip((sorted(f)[1] / f) ** 0.5, 0.1, 10)  # lower median of four
    w /= (f * w).sum()
    alpha = 0.5 + 0.4 * (1 + (f * np.log(f)).sum() / math.log(4))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    top = bottom = 0.0
    pg, ps, gs = np.zeros(4), np.zeros(4), np.zeros(4)
    for b, y, x in np.ndindex(2, 5, 6):
        if labels[b, y, x] != 255:
            c = labels[b, y, x]
            top, bottom = top - w[c] * math.log(p[b, c, y, x]), bottom + w[c]
            pg[c], gs[c], ps = pg[c] + p[b, c, y, x], gs[c] + 1, ps + p[b, :, y, x]
    dice = sum(w[c] * (1 - (2 * pg[c] + 1e-5) / (ps[c] + gs[c] + 1e-5)) for c in (1, 2, 3)) / w[1:].sum()
    backbone = model().config.backbone_config
    config = MedDenseViTConfig(backbone_config=backbone, feature_size=8, stem_sizes=(4, 4), num_labels=4)
    terms = (
        MedDenseViTForSemanticSegmentation(config)
        .train()
        .compute_loss(torch.from_numpy(logits).float(), [], torch.from_numpy(labels))
    )
    close(terms["loss_dice"], 2 * alpha * dice, 1e-5)
    close(terms["loss_ce"], 2 * (1 - alpha) * top / bottom, 1e-5)


def test_static_weights_are_the_plain_sum():
    ours = model(dynamic_class_weights=False, dynamic_term_balance=False, ce_weight=0.5)
    terms = ours.compute_loss(LOGITS, [], LABELS)
    close(terms["loss_ce"], 0.5 * F.cross_entropy(LOGITS, LABELS, ignore_index=255))


def test_equal_shares_and_one_class():
    close(class_weights(torch.full((4,), 0.25)), torch.ones(4))
    close(imbalance(torch.full((4,), 0.25)), 0)
    close(imbalance(torch.tensor([1.0, 0.0, 0.0])), 1)
    assert not class_weights(torch.zeros(3)).any()


def test_no_foreground_and_no_pixels():
    ours = model()
    terms = ours.compute_loss(LOGITS.clone().requires_grad_(), [], torch.zeros_like(LABELS))
    close(terms["loss_dice"], 0)
    nothing = model().compute_loss(LOGITS.clone().requires_grad_(), [], torch.full_like(LABELS, 255))
    close(sum(nothing.values()).detach(), 0)


def test_ignored_pixels_do_not_matter():
    changed = LOGITS.clone()
    changed[0, :, 1, 1] = torch.tensor([50.0, -50.0, 50.0])
    close(sum(model().compute_loss(changed, [], LABELS).values()), 0.9515669)


def test_dice_equals_monai_where_both_mean_the_same():
    monai = pytest.importorskip("monai.losses")
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 4, 8, 8), torch.randint(0, 4, (2, 8, 8))
    theirs = monai.DiceLoss(
        include_background=False, to_onehot_y=True, softmax=True, batch=True, smooth_nr=1e-5, smooth_dr=1e-5
    )
    close(dice_loss(logits.softmax(1), labels, torch.ones(4), 255), theirs(logits, labels[:, None]), 1e-6)
    generalized = monai.GeneralizedDiceLoss(
        include_background=False, to_onehot_y=True, softmax=True, batch=True, smooth_nr=1e-5, smooth_dr=1e-5
    )
    close(generalized_dice_loss(logits.softmax(1), labels, 255), generalized(logits, labels[:, None]), 1e-5)


def test_monai_loss_is_theirs_unchanged():
    monai = pytest.importorskip("monai.losses")
    labels = LABELS.clamp(max=2)
    terms = model(loss="monai_dice_ce").compute_loss(LOGITS, [], labels)
    close(terms["loss_dice_ce"], monai.DiceCELoss(to_onehot_y=True, softmax=True)(LOGITS, labels[:, None]))


def test_focal_cross_entropy():
    logs, weights = LOGITS.log_softmax(1), torch.tensor([1.0, 2.0, 3.0])
    plain = cross_entropy_sum(logs, LABELS, weights, 255)
    close(plain, F.cross_entropy(LOGITS, LABELS, weights, ignore_index=255, reduction="sum"))
    close(cross_entropy_sum(logs, LABELS, weights, 255, gamma=1e-9), plain, 1e-5)
    expected = 0.0
    for b, y, x in np.ndindex(2, 2, 2):
        c = int(LABELS[b, y, x])
        if c != 255:
            log = logs[b, c, y, x].item()
            expected -= weights[c].item() * (1 - math.exp(log)) ** 2 * log
    close(cross_entropy_sum(logs, LABELS, weights, 255, gamma=2.0), expected, 1e-5)


def test_marginal_probabilities():
    annotated = torch.tensor([[True, True, False], [True, False, False]])
    p, merged = LOGITS.softmax(1), marginal_logits(LOGITS, annotated).softmax(1)
    close(merged[0, 0], p[0, 0] + p[0, 2])
    close(merged[0, 1], p[0, 1])
    close(merged[1, 0], torch.ones(2, 2))
    assert not merged[0, 2].any() and not merged[1, 1:].any()
    leaf = LOGITS.clone().requires_grad_()
    marginal_logits(leaf, annotated).log_softmax(1)[:, 0].sum().backward()
    assert torch.isfinite(leaf.grad).all()


def test_counts_leave_the_ignore_label_out():
    close(count_classes(LABELS, 3, 255), [5, 2, 0])


def test_moving_average_is_corrected_for_its_start():
    balance = ClassBalance(2, 0.99, 0.5, (0.1, 10.0))
    close(balance.frequencies(), [0.5, 0.5])  # before any update
    everything = torch.tensor([True, True])
    first, second = torch.tensor([3.0, 1.0]), torch.tensor([1.0, 1.0])
    balance.update(first, everything)
    close(balance.frequencies(), [0.75, 0.25])
    balance.update(second, everything)
    e = 0.99 * 0.01 * 0.75 + 0.01 * 0.5
    close(balance.average[0], e)
    close(balance.frequencies()[0], e / (1 - 0.99**2))
    before = balance.state_dict()
    balance.update(torch.zeros(2), everything)  # an update without pixels
    assert all(torch.equal(before[name], value) for name, value in balance.state_dict().items())


def test_two_processes_count_together(tmp_path):
    """Both ranks keep one average, and their mean cross-entropy is that of the joint batch."""

    def work(rank):
        distributed.init_process_group("gloo")
        ours = model()
        total = ours.compute_loss(LOGITS[rank : rank + 1], [], LABELS[rank : rank + 1])["loss_ce"].clone()
        distributed.all_reduce(total)
        averages = [torch.zeros(3) for _ in range(2)]
        distributed.all_gather(averages, ours.class_balance.average)
        assert torch.equal(*averages)
        if rank == 0:
            print("mean", (total / 2).item(), ours.class_balance.frequencies().tolist(), flush=True)
        distributed.destroy_process_group()

    ranks = forked_launch(work, tmp_path)
    assert [rank.code for rank in ranks] == [0, 0], [rank.err[-2000:] for rank in ranks]
    line = next(line for line in ranks[0].out.splitlines() if line.startswith("mean"))
    value, shares = line.removeprefix("mean ").split(" ", 1)
    expected = model().compute_loss(LOGITS, [], LABELS)["loss_ce"].item()
    assert float(value) == pytest.approx(expected, abs=1e-6)
    assert [round(float(share), 5) for share in shares.strip("[]").split(",")] == [0.71429, 0.28571, 0.0]
