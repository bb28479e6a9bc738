# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg benchmark`: parameters, multiply-adds, speed and memory of a model, on request compared with others.

hfseg benchmark proscale-tiny-nuclei                                     one model, one and four images at a time
hfseg benchmark MODEL --against OTHER --size 512 512 --batch 1           both interleaved in this process, with ratios

The papers' tables and the comparisons with official code and with transformers' own models are made in a checkout, by
`python scripts/benchmark.py`.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import tasks
from .running import describe, run_command

# Earlier first words, which `scripts/benchmark.py` serves.
MOVED = ("params", "flops", "speed", "masks", "oracle", "open-vocabulary", "in-context", "data", "referring", "learn")
MOVED += ("pretraining", "medical", "volume")


def build_parser() -> argparse.ArgumentParser:
    """Builds the parser of `hfseg benchmark`."""
    parser = argparse.ArgumentParser(prog="hfseg benchmark", **describe(__doc__))  # type: ignore[arg-type]
    parser.add_argument("model", metavar="MODEL", help="folder, Hub id or name of a shipped model")
    parser.add_argument("--against", nargs="+", default=[], metavar="MODEL", help="further models to compare with")
    parser.add_argument(
        "--size", nargs=2, type=int, default=[512, 512], metavar=("HEIGHT", "WIDTH"), help="of the input"
    )
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 4], metavar="N", help="images per forward pass")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds; every round times every model once")
    parser.add_argument("--warmup", type=int, default=1, help="rounds that are not counted")
    parser.add_argument("--threads", type=int, help="CPU threads of torch")
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32", help="by autocast")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--compile", action="store_true", help="torch.compile all models")
    parser.add_argument("--output", metavar="FILE.json", help="also write the result here, with its origin")
    return parser


def load(model: str) -> Any:
    """Loads a model: a shipped name, a folder or a Hub id."""
    from ..inference.loading import load as load_folder

    loaded = load_folder(model, with_processor=False)
    if not tasks.find(loaded.task).export:
        raise ValueError(f"{loaded.folder} holds {loaded.class_name}, which has no single forward pass to measure.")
    return loaded.model


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs `hfseg benchmark`."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments and arguments[0] in MOVED and not Path(arguments[0]).exists():
        print(
            f"error: {arguments[0]!r} is no model. The papers' tables and comparisons with other code are made in a "
            f"checkout: python scripts/benchmark.py {arguments[0]} ...",
            file=sys.stderr,
        )
        return 2
    options = build_parser().parse_args(arguments)
    os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # its profiler, which measures memory, is chatty
    return run_command(lambda: run(options, arguments))


def run(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Measures and prints the tables."""
    from ..inference.benchmark import BenchmarkOptions, benchmark_models
    from ..inference.result_tables import provenance, report

    settings = BenchmarkOptions(
        size=tuple(options.size),
        batch=options.batch,
        rounds=options.rounds,
        warmup=options.warmup,
        threads=options.threads,
        dtype=options.dtype,
        device=options.device,
        compile=options.compile,
    )
    settings.check()
    models = {name: load(name) for name in dict.fromkeys([options.model, *options.against])}
    tables, notes = benchmark_models(models, settings)
    report(tables, notes, provenance(["hfseg", "benchmark", *arguments], options.device), options.output)
    return 0
