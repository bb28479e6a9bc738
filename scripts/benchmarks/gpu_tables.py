# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""All tables of a machine with one GPU in one command of a few minutes.

    python scripts/benchmark.py gpu --output gpu.json
    python scripts/benchmark.py gpu --device cpu --tiny     # shows that it runs, without a GPU

Every part is a command of `scripts/benchmark.py` of its own, run in this process in the order of `PARTS`: bfloat16 by
autocast, batches of 1 and 8, eager and compiled, each beside its peers, and one sample of the 3.4B LaVin-DiT at 512
with 8 examples, whose weights are random. Tables are written after each part, so that a run that is cut off keeps what
it has. A part that would begin after the time is over, or that fails (out of memory, a kernel that is missing), is a
row of the last table which says so.
"""

import argparse
import gc
import time
from collections.abc import Callable
from typing import NamedTuple

import torch

__all__ = ["PARTS", "Part", "gpu_tables"]

TABLE_OF_PARTS = "Parts"


class Part(NamedTuple):
    """A command of the tables.

    Attributes:
        title: Begins the titles of its tables.
        arguments: Of `scripts/benchmark.py`, without device, type and batches.
        tiny: Further ones, for a run that only shows that it works; they win.
        batched: Whether it takes `--batch`.
    """

    title: str
    arguments: tuple[str, ...]
    tiny: tuple[str, ...]
    batched: bool = True


SMALL = ("--size", "64", "64", "--rounds", "1", "--warmup", "0")
PRO_SCALE, VPNEXT = ("speed", "--model", "proscale"), ("speed", "--model", "vpnext", "--size", "512", "512")
LAVIN_DIT = ("speed", "--model", "lavin_dit", "--lavin-size", "3.4B", "--size", "512", "512", "--pairs", "8")
ONE_EXAMPLE = ("--lavin-size", "tiny", "--size", "32", "32", "--pairs", "1", "--points", "3", "--rounds", "1")
R50, VIT_T = ("--rows", "1,1,1", "--backbone", "R50"), ("--backbone", "ViT-T")
COMPILED_VPNEXT = ("--compile", "--rows", "vpnext", "--against", "transformers:eomt")
FOUR_POINTS = ("--size", "64", "--points", "2", "--rounds", "1", "--warmup", "0")
# Most telling first: what the time does not reach is left out.
PARTS = (
    Part("PRO-SCALE", PRO_SCALE, (*SMALL, *R50)),
    Part("PRO-SCALE, compiled", (*PRO_SCALE, "--compile", "--rows", "3,3,3"), (*SMALL, *R50)),
    Part("PRO-SCALE, training", (*PRO_SCALE, "--training", "--rows", "3,3,3"), SMALL),
    Part("PRO-SCALE, panoptic", (*PRO_SCALE, "--postprocess"), (*SMALL, "--output-size", "60", "64")),
    Part("VPNeXt", VPNEXT, (*SMALL, *VIT_T)),
    Part("VPNeXt, compiled", (*VPNEXT, *COMPILED_VPNEXT), (*SMALL, *VIT_T)),
    Part("LaVin-DiT 3.4B", (*LAVIN_DIT, "--rounds", "2"), ONE_EXAMPLE, batched=False),
    Part("UniSegFormer", ("speed", "--model", "unisegformer"), SMALL),
    Part("Unpair-Seg", ("masks",), FOUR_POINTS, batched=False),
)


def command_of(part: Part, options: argparse.Namespace) -> list[str]:
    """Writes a part as the arguments of `scripts/benchmark.py`."""
    command = [*part.arguments, "--device", options.device]
    command += ["--dtype", "float32" if options.tiny else options.dtype]
    if part.batched:
        command += ["--batch", "1"] if options.tiny else ["--batch", "1", "8"]
    if options.tiny:  # compiling for a CPU takes minutes, however small the network
        return [*(word for word in command if word != "--compile"), *part.tiny]
    return command


def gpu_tables(options: argparse.Namespace, parse: Callable, find: Callable) -> tuple[dict[str, list[dict]], list[str]]:
    """Runs the parts one after the other until the time is over.

    Args:
        options: `device`, `dtype`, `minutes`, `tiny`, `only` (titles; default: all) and `finished`, which is called
            with the tables so far after each part.
        parse: Parses arguments of `scripts/benchmark.py`.
        find: Finds what serves parsed arguments.

    Returns:
        All tables, last the one of parts: seconds of each and what went wrong.

    Raises:
        ValueError: There is no such device, or no part of a title in `only`.
    """
    if torch.device(options.device).type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"--device {options.device}: this torch sees no CUDA device; try --device cpu --tiny.")
    known = [part.title for part in PARTS]
    unknown = [title for title in options.only or () if title not in known]
    if unknown:
        raise ValueError(f"--only {', '.join(unknown)}: must be of {', '.join(known)}.")
    tables: dict[str, list[dict]] = {}
    notes: list[str] = []
    record: list[dict] = []
    begin = time.monotonic()
    for part in PARTS:
        if options.only and part.title not in options.only:
            continue
        command, start = command_of(part, options), time.monotonic()
        row = {"part": part.title, "seconds": None, "command": " ".join(command), "left out": None}
        if start - begin > 60 * options.minutes:
            row["left out"] = f"the {options.minutes:g} minutes were over"
        else:
            try:
                parsed = parse(command)
                found, said = find(parsed)(parsed)
                tables |= {f"{part.title}: {title}": rows for title, rows in found.items()}
                notes += [f"{part.title}: {note}" for note in said]
            except (RuntimeError, ValueError) as error:  # the others' numbers stay
                row["left out"] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
            row["seconds"] = time.monotonic() - start
        record.append(row)
        if "--compile" in command:
            torch.compiler.reset()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        options.finished({**tables, TABLE_OF_PARTS: record}, notes)
    return {**tables, TABLE_OF_PARTS: record}, notes
