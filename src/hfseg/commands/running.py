# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What all commands share: when they load the package, how they end, and what the user reads if they cannot.

`EXIT_CODES` is the one table of how commands end. An error that no user can cause shows its traceback.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["EXIT_CODES", "INTERRUPTED", "command_line", "describe", "read_size", "refuse_old", "run_command"]

UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9}
INTERRUPTED = 130
REFUSED = 2
EXIT_CODES = {
    0: "done",
    1: "done, but some inputs failed, which were named; or nothing was found (list)",
    REFUSED: "refused, or could not start or finish: one line with file, value and remedy",
    INTERRUPTED: "Ctrl-C",
    143: "SIGTERM while training: saved first, says how to go on",
}
# Of huggingface_hub: a field of a configuration has the wrong type, or does not fit the others; its cause says which.
CONFIG_ERROR = "StrictDataclassError"
# Errors of ours that derive from none of the built-in ones below; by name, so that nothing is imported for them.
OWN_ERRORS = ("NonFiniteLossError", "SampleError", "PublishingError", "OtherProcessError", CONFIG_ERROR)
# What torch says in a plain RuntimeError where the machine, not the program, is at fault.
MACHINE_ERRORS = ("out of memory", "No space left", "CUDA error", "can't allocate memory")


def describe(doc: str) -> dict[str, Any]:
    """Keywords for `argparse.ArgumentParser` from a command's docstring: its first paragraph, and examples below."""
    about, _, examples = doc.partition("\n\n")
    return {
        "description": about.partition(": ")[2] or about,
        "epilog": examples,
        "formatter_class": argparse.RawDescriptionHelpFormatter,
    }


def read_size(text: str) -> int:
    """Reads a size such as `500MB`.

    Raises:
        argparse.ArgumentTypeError: It is none.
    """
    number, unit = text[:-2], text[-2:].upper()
    if unit not in UNITS or not number.isdigit() or int(number) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; give for example 500MB or 5GB")
    return int(number) * UNITS[unit]


def command_line(command: str, argv: Sequence[str] | None) -> str:
    """The command as it can be typed again, for records."""
    return shlex.join(["hfseg", command, *(sys.argv[1:] if argv is None else argv)])


def is_named(error: BaseException, names: Sequence[str]) -> bool:
    """Tells whether an error's class, or one that it derives from, has one of these names."""
    return any(kind.__name__ in names for kind in type(error).__mro__)


def is_user_error(error: BaseException) -> bool:
    """Tells errors of input, files, options and machine from defects of the program."""
    if isinstance(error, (ValueError, OSError, ImportError, MemoryError)) or is_named(error, OWN_ERRORS):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in MACHINE_ERRORS)


def said_by(error: BaseException) -> str:
    """An error's words; of a configuration's errors those of the cause, which name the field and what it must be."""
    if is_named(error, (CONFIG_ERROR,)) and error.__cause__ is not None:
        return f"the configuration (model.config of a recipe, config.json of a folder) is not valid: {error.__cause__}"
    return str(error)


def run_command(work: Callable[[], int | None]) -> int:
    """Carries a parsed command out.

    Args:
        work: Does it and returns the exit code, None for 0. Called after the models are registered.

    Returns:
        The exit code: that of `work`, 2 after a user error, 130 after Ctrl-C.
    """
    try:
        from .. import auto

        auto.register()
        return work() or 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if type(error).__name__ == "TrainingStopped":  # a signal, after which everything is saved
            print(error, file=sys.stderr)
            return 128 + getattr(error, "signal_number", 15)
        if getattr(error, "is_said", False):  # by another process of this launch
            _wait_for_all()
            return REFUSED
        if not is_user_error(error):
            raise
        text = " ".join(said_by(error).split()) or type(error).__name__
        hub = sys.modules.get("hfseg.files.hub_access")
        if hub is not None and (reason := hub.what_was_not_reached()) is not None and reason not in text:
            text = f"{text.rstrip('.')}. {reason}"
        print(f"error: {text}", file=sys.stderr, flush=True)
        if getattr(error, "in_all_processes", False):
            _wait_for_all()
        return REFUSED
    finally:
        distributed = sys.modules.get("torch.distributed")
        if distributed is not None and "WORLD_SIZE" in os.environ and distributed.is_initialized():
            distributed.destroy_process_group()


def _wait_for_all() -> None:
    """Lets the process that prints do so: the launcher stops all at the first that ends."""
    from torch import distributed

    distributed.barrier()


class _Old(argparse.Action):
    """An option that has another name now."""

    def __init__(self, option_strings: Sequence[str], dest: str, new: str, **settings: object) -> None:
        super().__init__(option_strings, dest, nargs="*", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        self.new = new

    def __call__(self, parser: argparse.ArgumentParser, *given: object) -> None:
        parser.error(f"{self.option_strings[0]} is called {self.new} now")


def refuse_old(parser: argparse.ArgumentParser, renamed: dict[str, str]) -> None:
    """Refuses options by their former names, and says the new ones."""
    for old, new in renamed.items():
        parser.add_argument(old, action=_Old, dest=f"old {old}", new=new)
