# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The linear probe: it reads what is linear and nothing else, and its fit is the optimum."""

import torch
import torch.nn.functional as F

from hfseg.training.linear_probe import fit_linear_probe, linear_probe


def test_probe_reads_what_is_linear_and_nothing_else():
    torch.manual_seed(0)
    direction = torch.randn(3, 5)

    def batches(count):
        for _ in range(count):
            images = torch.randn(2, 5, 8, 8)
            labels = torch.einsum("kc,bchw->bkhw", direction, images).argmax(1)
            labels[:, 0] = 255
            yield images, labels.repeat_interleave(4, 1).repeat_interleave(4, 2)

    assert linear_probe(lambda images: images, batches(8), batches(3), 3) > 93
    noise = linear_probe(lambda images: torch.randn_like(images), batches(8), batches(3), 3)
    assert noise < 35


def test_fit_is_the_optimum():
    torch.manual_seed(0)
    table, classes = torch.randn(200, 4), torch.randint(3, (200,))
    weight, bias = (tensor.requires_grad_() for tensor in fit_linear_probe(table, classes, 3, max_iterations=200))
    loss = F.cross_entropy(table @ weight.t() + bias, classes) + 1e-3 * weight.square().sum()
    gradients = torch.autograd.grad(loss, (weight, bias))
    assert max(gradient.abs().max() for gradient in gradients) < 1e-4
