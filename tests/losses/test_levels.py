# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Terms of a loss that exists at every level of a decoder."""

import torch

from hfseg.losses.levels import weighted_terms


def test_the_last_level_has_the_plain_name_and_comes_first():
    losses = {"mask": torch.tensor([1.0, 2.0, 3.0]), "dice": torch.tensor([10.0, 20.0, 30.0])}
    terms = weighted_terms(losses, {"mask": 5.0, "dice": 0.5})
    assert {name: value.item() for name, value in terms.items()} == {
        "loss_mask": 15.0,
        "loss_dice": 15.0,
        "loss_mask_0": 5.0,
        "loss_dice_0": 5.0,
        "loss_mask_1": 10.0,
        "loss_dice_1": 10.0,
    }
    assert list(terms)[:2] == ["loss_mask", "loss_dice"]
    assert list(weighted_terms({"mask": torch.tensor([2.0])}, {"mask": 3.0})) == ["loss_mask"]
