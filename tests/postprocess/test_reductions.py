# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Of equal values the first wins."""

import torch

from hfseg.postprocess.reductions import descending, first_argmax


def test_first_argmax_takes_the_first_of_equals():
    values = torch.tensor([[0.5, 0.1], [0.5, 0.3], [0.2, 0.3]]).view(3, 1, 2)
    found = first_argmax(values, descending(3, values.device), torch.empty_like(values))
    assert found.tolist() == [[0, 1]]
