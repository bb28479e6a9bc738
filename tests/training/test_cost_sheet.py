# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Costs on paper: every number by hand."""

from hfseg.training.cost_sheet import Machines, cost_sheet


def sheet(**options):
    machines = Machines(
        processes=8, peak_tflops=100.0, utilization=0.5, memory_gib=40.0, hidden_share=0.25, image_kib=64.0
    )
    return cost_sheet(
        {"encoder": 2**29, "head": 2**29}, {"encoder": 3e12, "head": 1e12}, 2**31, 4, 2, 1000, machines, **options
    )


def test_numbers_are_those_by_hand():
    """2^30 weights: 16 GiB of weights, gradients and two moments over 8; 4 samples of 2 GiB, a quarter kept."""
    text = sheet()
    assert "moments 2.00 GiB + activations of 4 samples 2.0 GiB = 4.0 GiB of 40" in text
    # 4 passes (forward, backward twice, recomputation) x 2 x 4e12 x 4 samples x 2 micro-batches, at 5e13 a second.
    assert "update of 64 samples: 256 TFLOP per accelerator, 5.12 s" in text
    assert "run of 1,000 updates: 0.1 days, 0.00 G samples, 11 accelerator hours" in text
    assert "checkpoint with optimizer: 12.00 GiB; weights, bf16: 2.00 GiB" in text
    assert "data rate: 12 images/s, 0.00 GiB/s" in text
    assert "encoder 536.9 M, head 536.9 M" in text and "encoder 3000.0, head 1000.0" in text


def test_without_checkpointing_all_is_kept_and_nothing_computed_again():
    text = sheet(checkpointing=False)
    assert "activations of 4 samples 8.0 GiB = 10.0 GiB" in text and "192 TFLOP per accelerator, 3.84 s" in text
