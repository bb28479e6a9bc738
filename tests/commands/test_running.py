# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What all commands share: exit codes, one line for the user's errors, quick help."""

import argparse
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hfseg.commands.main import COMMANDS, main
from hfseg.commands.running import refuse_old, run_command

SOURCE = Path(__file__).parents[2] / "src"
HEAVY = ("torch", "transformers", "torchvision", "diffusers", "datasets", "scipy")


def fails(error):
    def work():
        raise error

    return work


@pytest.mark.parametrize("error", [ValueError("a\nb"), FileNotFoundError("no file x"), ImportError("pip install y")])
def test_what_a_user_causes_is_one_line_and_code_2(error, capsys):
    assert run_command(fails(error)) == 2
    assert capsys.readouterr().err == f"error: {' '.join(str(error).split())}\n"


def test_a_defect_shows_its_trace_and_the_machine_does_not(capsys):
    with pytest.raises(ZeroDivisionError):
        run_command(fails(ZeroDivisionError("x")))
    with pytest.raises(RuntimeError):
        run_command(fails(RuntimeError("shapes differ")))
    assert run_command(fails(RuntimeError("CUDA out of memory"))) == 2
    assert run_command(fails(KeyboardInterrupt())) == 130
    assert run_command(lambda: None) == 0 and run_command(lambda: 1) == 1
    assert "out of memory" in capsys.readouterr().err


def test_old_options_name_the_new_one(capsys):
    parser = argparse.ArgumentParser()
    refuse_old(parser, {"--steps": "--num_inference_steps"})
    with pytest.raises(SystemExit) as stopped:
        parser.parse_args(["--steps", "3"])
    assert stopped.value.code == 2 and "--steps is called --num_inference_steps now" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "new"),
    [
        (["predict", "a.png", "--model", "m", "-o", "o", "--steps", "3"], "--num_inference_steps"),
        (["evaluate", "--model", "m", "--dataset", "d", "--output_dir", "o", "--points", "3"], "--num_inference_steps"),
        (["evaluate", "--model", "m", "--dataset", "d", "--output_dir", "o", "--images", "3"], "--overlays"),
        (["caption", "--images", "i", "--output", "o", "--max-new-tokens", "3"], "--max_new_tokens"),
    ],
)
def test_commands_refuse_their_old_options(words, new, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2 and f"is called {new} now" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_needs_no_heavy_library(name):
    """As `python -m hfseg COMMAND --help`, which is measured at well below half a second of processor time."""
    words = ["-m", "hfseg", *([name] if name else []), "--help"]
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *words],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0 and "usage" in done.stdout
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not loaded & set(HEAVY), loaded & set(HEAVY)


def test_list_needs_no_heavy_library():
    words = [sys.executable, "-X", "importtime", "-m", "hfseg", "list", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and '"open-vocabulary"' in done.stdout
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not loaded & set(HEAVY), loaded & set(HEAVY)


def test_an_import_still_registers_the_models():
    code = "import hfseg; from transformers import AutoConfig; print(AutoConfig.for_model('vpnext').model_type)"
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "vpnext", done.stderr[-1000:]


def test_every_command_has_a_parser_and_an_entry():
    for name in COMMANDS:
        assert callable(importlib.import_module(f"hfseg.commands.{name}").main), name
