# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What a run on many accelerators would cost, on paper: counted parameters and operations, and stated assumptions."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass
class Machines:
    """What the run is planned for; the defaults are a cluster of 64 H100.

    Attributes:
        processes: Accelerators.
        peak_tflops: Of one, in the precision of the run (H100 SXM, bf16, dense: 989).
        utilization: Share of the peak that is reached; 0.35 is usual for windowed attention, not measured here.
        memory_gib: Of one accelerator.
        hidden_share: Activations that are kept, of those computed, with activation checkpointing per layer.
        image_kib: Of one compressed image in the shards.
    """

    processes: int = 64
    peak_tflops: float = 989.0
    utilization: float = 0.35
    memory_gib: float = 80.0
    hidden_share: float = 0.12
    image_kib: float = 100.0


def cost_sheet(
    parameters: Mapping[str, int],
    multiplications: Mapping[str, float],
    activation_bytes: float,
    samples_per_process: int,
    accumulation: int,
    updates: int,
    machines: Machines,
    checkpointing: bool = True,
) -> str:
    """Writes the sheet.

    Assumptions, beside those of `Machines`: fully sharded AdamW (weights, gradients and two moments in float32; the
    bf16 copy of one wrapped unit at a time is neglected); backward costs twice the forward, checkpointing one more.

    Args:
        parameters: By part.
        multiplications: Multiply-accumulate operations of one sample's forward, by part.
        activation_bytes: Of one sample's forward, all kept.
        samples_per_process: Samples of a micro-batch.
        accumulation: Micro-batches of an update.
        updates: Updates of the run.
        machines: What it runs on.
        checkpointing: Whether activations are computed a second time.
    """
    weights = sum(parameters.values())
    state = weights * 4 * 4 / machines.processes  # weights, gradients, two moments
    activations = activation_bytes * samples_per_process * (machines.hidden_share if checkpointing else 1.0)
    passes = 4 if checkpointing else 3
    flops = 2 * sum(multiplications.values()) * samples_per_process * accumulation * passes
    seconds = flops / (machines.peak_tflops * 1e12 * machines.utilization)
    batch = samples_per_process * accumulation * machines.processes
    gib = 2.0**30
    lines = [
        "",
        f"# cost on paper: {machines.processes} accelerators of {machines.peak_tflops:g} TFLOP/s and "
        f"{machines.memory_gib:g} GiB, {machines.utilization:.0%} of the peak (assumed)",
        "parameters: " + ", ".join(f"{name} {count / 1e6:.1f} M" for name, count in parameters.items()),
        "forward of a sample, GMAC: "
        + ", ".join(f"{name} {count / 1e9:.1f}" for name, count in multiplications.items()),
        f"memory per accelerator: sharded weights, gradients and moments {state / gib:.2f} GiB + activations of "
        f"{samples_per_process} samples {activations / gib:.1f} GiB = {(state + activations) / gib:.1f} GiB "
        f"of {machines.memory_gib:g}",
        f"update of {batch} samples: {flops / 1e12:,.0f} TFLOP per accelerator, {seconds:.2f} s",
        f"run of {updates:,} updates: {updates * seconds / 86400:,.1f} days, {updates * batch / 1e9:.2f} G samples"
        f", {updates * seconds * machines.processes / 3600:,.0f} accelerator hours",
        f"checkpoint with optimizer: {weights * 4 * 3 / gib:.2f} GiB; weights, bf16: {weights * 2 / gib:.2f} GiB",
        f"data rate: {batch / seconds:,.0f} images/s, {batch / seconds * machines.image_kib / 2**20:.2f} GiB/s",
        "",
    ]
    return "\n".join(lines)
