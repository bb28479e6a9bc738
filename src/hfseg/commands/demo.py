# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg demo`: tries models in the browser, on this machine and without the network.

hfseg demo                                              the models that come with the package, with examples
hfseg demo --model DIR [DIR2 ...]                       serves http://127.0.0.1:7860
hfseg demo --model DIR --space FOLDER                   writes a Space for the Hub instead

Each task has its tab: upload an image, click points and places to leave out, drag a box, type expressions or names,
show examples, scroll through a volume. Addresses are refused, uploads have a limit, and nothing is reported to anybody.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from ..tasks import DTYPES
from .running import describe, run_command


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="hfseg demo", **describe(__doc__))
    parser.add_argument(
        "--model",
        nargs="+",
        action="extend",
        default=[],
        metavar="DIR",
        help="model folders, or names on the Hub; default: the models that come with the package",
    )
    parser.add_argument("--space", metavar="FOLDER", help="write a Space there and stop")
    parser.add_argument("--title", default="hfseg", help="of the Space")
    parser.add_argument("--host", help="address to listen at; default: this machine only")
    parser.add_argument("--port", type=int, help="default: the first that is free from 7860 on")
    parser.add_argument(
        "--auth", metavar="USER:PASSWORD|FILE", help="who may use it: one, or a file with one USER:PASSWORD per line"
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, ...; default: a GPU if there is one")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--max_megabytes", type=int, default=64, help="of an upload")
    parser.add_argument("--max_megapixels", type=float, default=24, help="of an image")
    options = parser.parse_args(argv)
    for name in ("max_megabytes", "max_megapixels"):
        if getattr(options, name) <= 0:
            parser.error(f"--{name} is {getattr(options, name)}; give more than 0")
    return options


def read_auth(text: str | None) -> list[tuple[str, str]] | None:
    """Reads names and passwords from `USER:PASSWORD`, or from a file of such lines.

    Raises:
        ValueError: There is none, or one has no name or no password.
    """
    if text is None:
        return None
    path = Path(text)
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else [text]
    pairs = [tuple(line.strip().split(":", 1)) for line in lines if line.strip() and not line.startswith("#")]
    if not pairs or any(len(pair) != 2 or not all(pair) for pair in pairs):
        raise ValueError("--auth must be USER:PASSWORD, or an existing file with one USER:PASSWORD per line.")
    return [(pair[0], pair[1]) for pair in pairs]


def run(options: argparse.Namespace) -> int:
    """Serves the demo, or writes a Space."""
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise ImportError("The demo needs Gradio: pip install 'hfseg[demo]'.") from error
    if options.space:
        from ..demo.space import write_space

        if not options.model:
            raise ValueError("--space needs --model: a Space shows models of your own.")
        folder = write_space(options.space, options.model, options.title)
        print(f"{folder} is ready: try `cd {folder} && python app.py`, then upload it as a Space.")
        return 0
    import torch

    from ..demo.app import Limits, launch
    from ..inference.predict import find_device

    limits = Limits(megabytes=options.max_megabytes, pixels=int(options.max_megapixels * 1e6))
    device, dtype = find_device(options.device), getattr(torch, options.dtype)
    launch(options.model, device, dtype, limits, options.host, options.port, auth=read_auth(options.auth))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry of `hfseg demo` and `scripts/demo.py`."""
    options = parse(argv)
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    return run_command(lambda: run(options))
