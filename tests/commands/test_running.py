# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What all commands share: exit codes, one line for the user's errors, quick help."""

import argparse
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fresh_process import run_python
from hfseg import ProScaleConfig
from hfseg.commands.main import COMMANDS, main
from hfseg.commands.running import EXIT_CODES, refuse_old, run_command

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


def test_a_wrong_configuration_is_one_line_in_the_words_of_its_cause(capsys):
    """huggingface_hub's error derives from no built-in one, and its own words name a function of the class."""
    assert run_command(lambda: ProScaleConfig(query_selection="corners").num_labels) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: the configuration") and said.count("\n") == 1
    assert "query_selection='corners' is not known: it must be one of" in said and "validator" not in said


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
    done = run_python(["-c", code], env=environment, timeout=120)
    assert done.stdout.strip() == "vpnext", done.stderr[-1000:]


def test_every_command_has_a_parser_and_an_entry():
    for name in COMMANDS:
        assert callable(importlib.import_module(f"hfseg.commands.{name.replace('-', '_')}").main), name


def refused(command: str, folder: Path) -> list[str]:
    """Words with which a command cannot start."""
    nothing, model = str(folder / "nothing"), ["--model", str(folder / "nothing")]
    return {
        "quickstart": ["--architecture", "no-such", "--output_dir", str(folder / "q")],
        "train": ["--recipe", "no-such", "--output_dir", nothing],
        "evaluate": [*model, "--dataset", "shapes:num_scenes=2", "--output_dir", str(folder / "o")],
        "predict": [nothing, *model, "-o", str(folder / "o")],
        "demo": model,
        "export": [*model, "--format", "torch_export", "-o", str(folder / "o")],
        "convert": ["--architecture", "cris", "--checkpoint", nothing, "--output_dir", str(folder / "o")],
        "push": [nothing, "me/x"],
        "push-dataset": [nothing, "me/x"],
        "caption": ["--images", nothing, "--captions", nothing, "--output", str(folder / "o")],
        "benchmark": [nothing],
        "list": ["--no-such-option"],
    }[command]


@pytest.fixture(autouse=True)
def no_bounds(monkeypatch):
    """Look-ups of the Hub are bounded per process, which would stay for other tests."""
    monkeypatch.setattr("hfseg.files.hub_access.bound_hub_look_ups", lambda: None)


@pytest.mark.usefixtures("no_bounds")
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_with_2(command, tmp_path, capsys):
    try:
        code = main([command, *refused(command, tmp_path)])
    except SystemExit as stopped:
        code = stopped.code
    error = capsys.readouterr().err.strip().splitlines()
    assert code == 2 and "error: " in error[-1] and not any("Traceback" in line for line in error)
    with pytest.raises(SystemExit) as helped:
        main([command, "--help"])
    assert helped.value.code == 0


@pytest.mark.usefixtures("no_bounds")
def test_the_table_of_exit_codes_is_shown(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(str(code) in shown and words in shown for code, words in EXIT_CODES.items())
    assert main(["list", "proscale"]) == 0 and main(["list", "nothing-has-this-name"]) == 1
    assert main(["no-such-command"]) == 2 and main([]) == 2


@pytest.mark.usefixtures("no_bounds")
def test_one_damaged_input_of_a_folder_is_named_and_the_others_go_on(tmp_path, capsys):
    pytest.importorskip("nibabel")
    from tiny_zoo import image, model_folder, volume_file

    for name, kind in (("meddensevit", "volume"), ("vpnext", "image")):
        folder = tmp_path / kind
        folder.mkdir()
        files = []
        for stem in "abc":
            files.append(folder / (f"{stem}.nii.gz" if kind == "volume" else f"{stem}.png"))
            volume_file(files[-1]) if kind == "volume" else image().save(files[-1])
        content = bytearray(files[1].read_bytes())
        content[len(content) // 2] ^= 16
        files[1].write_bytes(content)
        words = [
            "predict",
            str(folder),
            "--model",
            str(model_folder(name, tmp_path)),
            "-o",
            str(tmp_path / f"out {kind}"),
        ]
        assert main([*words, "--quiet"]) == 1
        said = capsys.readouterr()
        assert str(files[1]) in said.err and "2 of 3 segmented" in said.err and "Traceback" not in said.err
        assert {path.name[0] for path in (tmp_path / f"out {kind}").iterdir() if path.name[0] in "abc"} == {"a", "c"}
