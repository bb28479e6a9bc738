# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Modes of networks: what a block changes is put back."""

import pytest
from torch import nn

from hfseg.layers.modes import evaluation_mode


def test_every_part_comes_back_into_its_own_mode():
    first = nn.Sequential(nn.Linear(2, 2), nn.Dropout()).train()
    first[0].eval()  # a frozen part of a model in training
    second = nn.Linear(2, 2).eval()
    with pytest.raises(KeyError), evaluation_mode(first, second):
        assert not any(part.training for part in [*first.modules(), second])
        raise KeyError
    assert [part.training for part in first.modules()] == [True, False, True] and not second.training
