# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Shipping in half precision: variances that float16 cannot hold are moved into the convolution before them."""

import pytest
import torch
from torch import nn

from ship_checkpoint import fit_statistics, half


def test_large_variances_fit_and_outputs_stay():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU()).eval()
    network[1].running_var.copy_(torch.tensor([1e6, 0.5, 7e4, 3.0]))
    network[1].running_mean.copy_(torch.tensor([100.0, 0.1, -50.0, 0.0]))
    network[0].weight.data[0] *= 1000
    images = 100 * torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        before = network(images)
        weights = {name: value.clone() for name, value in network.state_dict().items()}
        with pytest.raises(ValueError, match="float16"):
            half(weights["1.running_var"], "1.running_var")
        fit_statistics(weights)
        half(weights["1.running_var"], "1.running_var")
        network.load_state_dict(weights)
        torch.testing.assert_close(network(images), before, rtol=1e-5, atol=1e-5)
    assert weights["1.running_var"][1] == 0.5 and weights["1.running_var"].max() <= 2**14


def test_what_has_no_convolution_before_it_is_refused():
    weights = {"norm.running_var": torch.tensor([1e6]), "norm.running_mean": torch.zeros(1)}
    fit_statistics(weights)
    with pytest.raises(ValueError, match="running_var has values"):
        half(weights["norm.running_var"], "norm.running_var")
