# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg convert`: official checkpoints become folders that `from_pretrained` and `pipeline()` load.

hfseg convert --architecture NAME --checkpoint FILE.{pth,pkl,pt,safetensors} [--config FILE.json] --output_dir DIR
"""

import argparse
from collections.abc import Sequence

from .. import auto
from .running import describe, run_command


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="hfseg convert", **describe(__doc__))  # type: ignore[arg-type]
    parser.add_argument("--architecture", required=True, choices=auto.convertible())
    parser.add_argument(
        "--checkpoint", required=True, metavar="FILE", help=".pth, .pkl, .pt or .safetensors, or a folder"
    )
    parser.add_argument("--config", metavar="FILE.json", help="hyperparameters under the authors' names")
    parser.add_argument("--output_dir", required=True, metavar="DIR")
    return parser.parse_args(argv)


def run(options: argparse.Namespace) -> int:
    """Converts, and says how to load the folder."""
    from ..hub.conversion import convert_checkpoint

    folder = convert_checkpoint(options.architecture, options.checkpoint, options.output_dir, options.config)
    loader, trust = "DiffusionPipeline", ", trust_remote_code=True"
    if not (folder / "model_index.json").is_file():
        rows = (row for row in auto.ARCHITECTURES if options.architecture in (row.model_type, *row.sources))
        loader, trust = next((name for name in next(rows).models if name != "AutoModel"), "AutoModel"), ""
    print(f"Wrote {folder}. Load it with {loader}.from_pretrained({str(folder)!r}{trust}).")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry of `hfseg convert` and `scripts/convert_original_checkpoint.py`."""
    options = parse(argv)
    return run_command(lambda: run(options))
