# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Parameters, multiply-adds, speed and memory of models, several of them interleaved in one process.

Every round runs every side once, in alternating order, so that a change of the machine's load meets all of them; a
ratio is the median over rounds of one side's time over the other's of the same round.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from .export import exportable

SEED = 0


@dataclass
class BenchmarkOptions:
    """What is measured, and how.

    Attributes:
        size: Height and width of the input, pixels.
        batch: Images per forward pass, one row each.
        rounds: Timed rounds; every round times every side once.
        warmup: Rounds that are not counted.
        threads: CPU threads of torch; default: torch's.
        dtype: float32, or bfloat16 or float16 by autocast.
        device: As torch names it.
        compile: Whether the models are compiled.
    """

    size: tuple[int, int] = (512, 672)
    batch: list[int] = field(default_factory=lambda: [1, 4])
    rounds: int = 5
    warmup: int = 1
    threads: int | None = None
    dtype: str = "float32"
    device: str = "cpu"
    compile: bool = False

    def check(self, *counts: str) -> None:
        """Checks the numbers, the named further ones too, and the device.

        Raises:
            ValueError: For counts below one, or a device that is not there.
        """
        for name in ("rounds", "batch", "size", *counts):
            value = getattr(self, name)
            if min(value if isinstance(value, (list, tuple)) else [value]) < 1:
                raise ValueError(f"--{name} {value}: give positive numbers.")
        if torch.device(self.device).type == "cuda" and not torch.cuda.is_available():
            raise ValueError(f"--device {self.device}: this torch sees no CUDA device; use --device cpu.")

    @property
    def place(self) -> torch.device:
        """The device."""
        return torch.device(self.device)

    @property
    def clock(self) -> str:
        """Names what is read: device events, the process's CPU time where one thread works, else wall time."""
        if self.place.type == "cuda":
            return "CUDA events"
        return "CPU time of the process" if torch.get_num_threads() == 1 else "wall time"


def measure_time(function: Callable[[], Any], settings: BenchmarkOptions) -> float:
    """Times one call in milliseconds; see `BenchmarkOptions.clock`."""
    if settings.place.type == "cuda":
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize(settings.place)
        start.record()
        function()
        end.record()
        torch.cuda.synchronize(settings.place)
        return start.elapsed_time(end)
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    start_time = clock()
    function()
    return 1000 * (clock() - start_time)


def measure_memory(function: Callable[[], Any], settings: BenchmarkOptions) -> float:
    """Measures the peak of tensor memory during one call above what was held before, in MiB.

    On CUDA the caching allocator knows. On a CPU the profiler records every allocation of torch's allocator, so that
    the number hardly depends on the run; what libraries take beside it is not seen.
    """
    if settings.place.type == "cuda":
        torch.cuda.synchronize(settings.place)
        torch.cuda.reset_peak_memory_stats(settings.place)
        before = torch.cuda.memory_allocated(settings.place)
        function()
        torch.cuda.synchronize(settings.place)
        return (torch.cuda.max_memory_allocated(settings.place) - before) / 2**20
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        function()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profile.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    changes = [(e["ts"], e["args"]["Bytes"]) for e in events if e.get("name") == "[memory]"]
    held = peak = 0
    for _, change in sorted(changes, key=lambda item: item[0]):
        held += change
        peak = max(peak, held)
    return peak / 2**20


def interleave(sides: Mapping[str, Callable[..., Any]], settings: BenchmarkOptions) -> dict[str, list[float]]:
    """Times all sides round by round, in alternating order; warm-up rounds are dropped."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for index in range(settings.warmup + settings.rounds):
        for name in list(sides) if index % 2 == 0 else list(sides)[::-1]:
            elapsed = measure_time(sides[name], settings)
            if index >= settings.warmup:
                times[name].append(elapsed)
    return times


def precision(settings: BenchmarkOptions) -> AbstractContextManager:
    """Opens autocast for half precision."""
    if settings.dtype == "float32":
        return nullcontext()
    return torch.autocast(settings.place.type, dtype=getattr(torch, settings.dtype))


def multiply_adds(function: Callable[[], Any]) -> int:
    """Counts the multiply-adds of convolutions, products and attention during one call."""
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops() // 2


def benchmark_models(
    models: Mapping[str, Any], settings: BenchmarkOptions
) -> tuple[dict[str, list[dict[str, Any]]], list[str]]:
    """Measures forward passes of models; the first is compared with each of the others.

    Args:
        models: Name to model; each with one forward pass (`inference.export.exportable`). They are frozen.
        settings: What is measured, and how.

    Returns:
        Tables by title, one row per model and batch size, and notes on how to read them.

    Raises:
        ValueError: For a model without a single forward pass, or options that cannot be.
    """
    settings.check()
    if settings.threads:
        torch.set_num_threads(settings.threads)
    # The counter of operations follows every weight that asks for a gradient, and there are none here.
    targets = {
        name: exportable(model.eval().requires_grad_(False).to(settings.place)) for name, model in models.items()
    }
    sizes = [
        {
            "model": name,
            "class": type(model).__name__,
            "parameters (M)": sum(parameter.numel() for parameter in model.parameters()) / 1e6,
        }
        for name, model in models.items()
    ]
    parts = {name: torch.compile(one.module) if settings.compile else one.module for name, one in targets.items()}

    def call(name: str, batch_size: int, module: Callable[..., Any]) -> Callable[[], Any]:
        inputs = {
            key: value.to(settings.place) for key, value in targets[name].inputs(batch_size, *settings.size).items()
        }

        def run() -> Any:
            with torch.no_grad(), precision(settings):
                return module(**inputs)

        return run

    for row in sizes:
        row["multiply-adds (G)"] = multiply_adds(call(row["model"], 1, targets[row["model"]].module)) / 1e9
    first, *others = models
    rows = []
    for batch_size in settings.batch:
        sides = {name: call(name, batch_size, part) for name, part in parts.items()}
        times = interleave(sides, settings)
        for name, side in sides.items():
            middle = statistics.median(times[name])
            row = {"batch": batch_size, "model": name, "ms": middle, "images per second": 1000 * batch_size / middle}
            row["MiB"] = measure_memory(side, settings)
            if others and name != first:
                row[f"{first} takes"] = statistics.median(own / other for own, other in zip(times[first], times[name]))
            rows.append(row)
    return {"Size": sizes, "Speed": rows}, benchmark_notes(settings, first, others)


def benchmark_notes(settings: BenchmarkOptions, first: str, others: Sequence[str]) -> list[str]:
    """Says how to read the tables of `benchmark_models`."""
    autocast = " autocast" if settings.dtype != "float32" else ""
    notes = [
        f"Forward pass, input {settings.size[0]}x{settings.size[1]}, {settings.dtype}{autocast}, "
        f"{'compiled' if settings.compile else 'eager'}, {settings.rounds} rounds; clock: {settings.clock}.",
        "ms: median over rounds. MiB: peak of tensor memory during a forward pass, above weights and input.",
        "multiply-adds: of convolutions, matrix products and attention, one image.",
    ]
    if others:
        notes.append(f"{first} takes: median over rounds of its time / the other's; below 1 it is faster.")
    return notes
