# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Parameters, FLOPs, speed and learning of the models, beside published figures and beside other code.

`python scripts/benchmark.py KIND ...` prints tables and writes them as JSON. `arguments` reads the command line,
`registry` says which function serves it. What a user measures of a model of his own is `hfseg benchmark`.
"""

import sys

from hfseg.inference.result_tables import provenance, report
from hfseg.tasks import pretrained_source, shipped_checkpoints

from .arguments import build_parser
from .registry import find


def main(arguments: list[str] | None = None) -> int:
    """Runs `scripts/benchmark.py`."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = build_parser().parse_args(arguments)
    if getattr(options, "model", None) in shipped_checkpoints():
        options.model = pretrained_source(options.model)
    command = ["python", "scripts/benchmark.py", *arguments]
    # Long measurements report after every part, so that none is lost.
    options.finished = lambda tables, notes: report(tables, notes, provenance(command), options.output)
    try:
        tables, notes = find(options)(options)
    except (ValueError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    report(tables, notes, provenance(command, getattr(options, "device", "cpu")), options.output)
    return 0
