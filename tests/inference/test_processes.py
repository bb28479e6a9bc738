# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Processes of one launch wait for each other, end together, and say once why."""

import json
from datetime import timedelta

import pytest

import hfseg
from forked_launch import forked_launch
from hfseg.commands import evaluate, predict
from hfseg.commands.running import run_command
from hfseg.inference import processes
from hfseg.inference.predictor import Predictor
from hfseg.inference.processes import OtherProcessError, gathered, join_processes, starting_together
from tiny_zoo import image, model_folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for name in "abcd":
        image().save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(model_folder("proscale", tmp_path_factory.mktemp("model")))


def only_line(ranks):
    """The one line that all processes printed."""
    (line,) = [line for rank in ranks for line in (rank.out + rank.err).splitlines()]
    return line


@pytest.mark.parametrize("door", ["predict", "evaluate"])
def test_what_all_refuse_is_said_once(door, photos, tmp_path):
    words = {
        "predict": [str(photos), "--model", "nowhere", "-o", str(tmp_path / "o"), "--device", "cpu"],
        "evaluate": [
            "--model",
            "nowhere",
            "--dataset",
            "shapes",
            "--output_dir",
            str(tmp_path / "o"),
            "--device",
            "cpu",
        ],
    }[door]
    command = {"predict": predict.main, "evaluate": evaluate.main}[door]
    ranks = forked_launch(lambda rank: command(words), tmp_path)
    assert [rank.code for rank in ranks] == [2, 2]
    line = only_line(ranks)
    assert line.startswith("error: ") and "nowhere" in line and ranks[0].err


def test_what_one_refuses_ends_all(photos, model, tmp_path):
    def work(rank):
        if rank == 1:
            Predictor.check = lambda *given: (_ for _ in ()).throw(ValueError("only here"))
        return predict.main([str(photos), "--model", model, "-o", str(tmp_path / "o"), "--device", "cpu"])

    ranks = forked_launch(work, tmp_path)
    assert [rank.code for rank in ranks] == [2, 2]
    assert only_line(ranks) == "error: only here" and ranks[1].err


def test_a_process_that_fails_later_leaves_nobody_waiting(tmp_path):
    def work(rank):
        def share():
            state = join_processes("cpu")
            with starting_together(state):
                pass
            if rank == 1:
                raise ValueError("damaged.png is damaged")
            gathered(rank, state.num_processes)

        return run_command(share)

    first, second = forked_launch(work, tmp_path)
    assert (first.code, second.code) == (2, 2)
    assert second.err == "error: damaged.png is damaged\n"
    assert first.err.startswith("error: Another process of this launch ended") and "Traceback" not in first.err


def test_processes_share_inputs_and_the_first_speaks(photos, model, tmp_path):
    """One damaged input: every other has its files, and the code that launchers act on comes from who prints last."""
    broken = tmp_path / "broken.png"
    broken.write_bytes((photos / "a.png").read_bytes()[:60])
    words = [str(photos), str(broken), "--model", model, "--device", "cpu", "--json", "-o"]
    ranks = forked_launch(lambda rank: predict.main([*words, str(tmp_path / "two")]), tmp_path)
    assert [rank.code for rank in ranks] == [1, 0] and not ranks[1].out
    said = json.loads(ranks[0].out)
    assert [result["input"][-5:] for result in said["results"]] == ["a.png", "b.png", "c.png", "d.png"]
    assert [error["input"] for error in said["errors"]] == [str(broken)]
    files = [file for result in said["results"] for file in result["outputs"]]
    assert len(files) == 12 and sorted(files) == sorted(str(file) for file in (tmp_path / "two").iterdir())
    alone = hfseg.predict(model, str(photos / "b.png")).entries()
    assert json.loads((tmp_path / "two/b.json").read_text())["annotations"] == alone != []


def test_the_slowest_process_is_waited_for(monkeypatch):
    """Longer than the 10 and 30 minutes of the libraries; a single process joins nothing."""
    asked = []
    monkeypatch.setattr(processes, "PartialState", lambda **settings: asked.append(settings))
    join_processes("cpu")
    monkeypatch.setenv("WORLD_SIZE", "2")
    join_processes("cpu")
    assert asked[0] == {"cpu": True} and asked[1]["timeout"] > timedelta(days=1)


def test_one_process_keeps_its_own_error():
    state = join_processes("cpu")
    with pytest.raises(FileNotFoundError, match="here"), starting_together(state):
        raise FileNotFoundError("here")
    assert gathered("own", 1) == ["own"] and issubclass(OtherProcessError, RuntimeError)
