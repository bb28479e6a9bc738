# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Codes and anchors of boxes against closed forms; the whole decoder is compared with a library beside the detector."""

import math

import torch

from hfseg.layers.box_decoder import Perceptron, box_sine_code, inverse_sigmoid, token_anchors


def test_anchors_of_tokens():
    logits, valid = token_anchors(((1, 1), (2, 4)), torch.device("cpu"))
    boxes = logits.sigmoid()[0]
    assert valid.all()
    torch.testing.assert_close(boxes[0], torch.tensor([0.5, 0.5, 0.1, 0.1]))
    torch.testing.assert_close(boxes[1], torch.tensor([0.125, 0.25, 0.05, 0.05]))
    torch.testing.assert_close(boxes[-1], torch.tensor([0.875, 0.75, 0.05, 0.05]))


def test_anchors_at_the_border_stand_for_nothing():
    logits, valid = token_anchors(((1, 100),), torch.device("cpu"))
    assert valid[0, :, 0].tolist() == [False] + [True] * 98 + [False]  # centers at 0.005 and 0.995
    assert torch.isinf(logits[0, 0]).all() and torch.isfinite(logits[0, 1]).all()


def test_sine_code_of_a_box():
    code = box_sine_code(torch.tensor([[[0.1, 0.2, 0.3, 0.4]]]), 8)[0, 0]
    assert code.shape == (16,)
    # y, x, width, height; four features each, of two wavelengths: sine and cosine in turns.
    for row, coordinate in zip(code.view(4, 4).tolist(), (0.2, 0.1, 0.3, 0.4)):
        angle = 2 * math.pi * coordinate
        expected = [math.sin(angle), math.cos(angle), math.sin(angle / 100), math.cos(angle / 100)]
        torch.testing.assert_close(torch.tensor(row), torch.tensor(expected))


def test_inverse_sigmoid_is_finite():
    values = torch.tensor([0.0, 0.25, 1.0])
    assert torch.isfinite(inverse_sigmoid(values)).all()
    torch.testing.assert_close(inverse_sigmoid(values)[1].sigmoid(), values[1])


def test_perceptron_is_linear_relu_linear():
    torch.manual_seed(0)
    perceptron, x = Perceptron(3, 5, 2), torch.randn(4, 3)
    first, second = perceptron.layers
    torch.testing.assert_close(perceptron(x), second(first(x).relu()))
