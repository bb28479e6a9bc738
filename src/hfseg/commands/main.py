# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The `hfseg` command: one word per thing to do. Nothing heavy is imported before a command line is complete."""

import importlib
import sys

from .running import EXIT_CODES

COMMANDS = {
    "quickstart": "run every shipped model on an example, or train a tiny one, offline",
    "train": "train a model from a recipe",
    "evaluate": "evaluate a model on a labeled dataset",
    "predict": "segment images, videos and volumes",
    "demo": "try models in the browser",
    "export": "write a model as ONNX or torch.export program, and compare",
    "convert": "convert an official checkpoint",
    "push": "check a model folder and publish it on the Hub",
    "push-dataset": "publish a dataset on the Hub as parquet files with a card",
    "caption": "describe images and list the entities in them",
    "benchmark": "parameters, multiply-adds, speed and memory of a model",
    "list": "architectures, tasks, classes and recipes",
}


def usage() -> str:
    """Lists the commands."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {what}" for name, what in COMMANDS.items()]
    codes = [f"  {code:<{width}}  {what}" for code, what in EXIT_CODES.items()]
    head = "usage: hfseg COMMAND [options]; each has --help; hfseg --version"
    return "\n".join([head, "", *lines, "", "exit codes:", *codes])


def main(arguments: list[str] | None = None) -> int:
    """Runs the command named first; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0 if arguments else 2
    if arguments[0] in ("--version", "-V"):
        from .. import __version__

        print(f"hfseg {__version__}")
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        print(f"error: there is no command {name!r}.\n\n{usage()}", file=sys.stderr)
        return 2
    if not name.startswith("push"):  # which are told to go online
        from ..files.hub_access import bound_hub_look_ups

        bound_hub_look_ups()
    return importlib.import_module(f"{__package__}.{name.replace('-', '_')}").main(rest) or 0
