# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Seeded damage of model folders and checkpoints: every case is refused in one line, or changes nothing.

`HFSEG_FUZZ=N` does N cases instead of the suite's few, `HFSEG_FUZZ_SEED=S` others. `pytest -s` shows the counts.

What may be accepted: settings that still say something legal, which is another model and no damage; and bytes of
weights that are still finite numbers, for which the format has no checksum. They count as `legal`, `undetectable`.
"""

import collections
import json
import os
import random
import resource
import shutil
import signal
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from hfseg.files.model_folders import read_settings
from hfseg.inference.predict import INPUT_ERRORS
from hfseg.inference.predictor import Options, Predictor, Prompts
from hfseg.training import train
from hfseg.training.checkpointing import CheckpointError, checkpoint_problem, newest_sound_checkpoint
from tiny_zoo import image, model_folder
from training.toy import ToyDataset, ToyModel, collate, toy_arguments

CASES = int(os.environ.get("HFSEG_FUZZ", "100"))
SEED = int(os.environ.get("HFSEG_FUZZ_SEED", "0"))
SECONDS = 20
MEGABYTES = 1024
REFUSALS = (ValueError, FileNotFoundError, ImportError, PermissionError)
VALUES = [
    None, True, False, 0, 1, -1, 2, 7, 10**3, 10**6, 10**9, 10**18, 10**40, -(10**9), 0.5, -0.5, 1e-300, 1e300,
    float("nan"), float("inf"), "", "a", "true", "0", "../..", "\u0000", "x" * 5000, [], [1], [1, 2, 3], [[1]], [None],
    ["a"], {}, {"a": 1}, {"height": 10**5, "width": 10**5}, {"model_type": "swin"}, {"model_type": "none"}, [10**6] * 9,
]  # fmt: skip


class Hang(BaseException):
    """A case took too long."""


def on_alarm(number, frame):
    raise Hang


def mutate_bytes(content: bytes, draw: random.Random, within: int | None = None) -> bytes:
    """Damages bytes: flips, cuts, repeats, removes or inserts."""
    data, end = bytearray(content), within or len(content)
    kind = draw.randrange(6)
    place = draw.randrange(max(end, 1))
    if kind == 0:
        data[place] ^= 1 << draw.randrange(8)
    elif kind == 1:
        for _ in range(draw.randrange(2, 40)):
            data[draw.randrange(end)] = draw.randrange(256)
    elif kind == 2:
        del data[place:]
    elif kind == 3:
        del data[place : place + draw.randrange(1, 64)]
    elif kind == 4:
        data[place:place] = bytes(draw.randrange(256) for _ in range(draw.randrange(1, 64)))
    else:
        data[place:place] = data[max(0, place - draw.randrange(1, 200)) : place]
    return bytes(data)


def mutate_json(content: dict, draw: random.Random) -> str:
    """Changes, removes, moves or nests entries of a JSON object."""
    content = json.loads(json.dumps(content))
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        place, depth = content, 0
        while isinstance(place, dict) and place and depth < 4:
            key = draw.choice(sorted(place))
            if not isinstance(place[key], dict) or not place[key] or draw.random() < 0.3:
                break
            place, depth = place[key], depth + 1
        if not isinstance(place, dict) or not place:
            continue
        kind = draw.randrange(8)
        if kind == 0:
            del place[key]
        elif kind == 1:
            place[draw.choice(("auto_map", "dtype", "quantization_config", "attn_implementation", "size", "z"))] = (
                draw.choice(VALUES)
            )
        elif kind == 2:
            place[key] = place[draw.choice(sorted(place))]
        elif kind == 3 and isinstance(place[key], (int, float)) and not isinstance(place[key], bool):
            place[key] = place[key] * draw.choice((-1, 0, 2, 3, 1000, 0.3))
        elif kind == 4 and isinstance(place[key], list) and place[key]:
            place[key] = draw.choice((place[key][1:], place[key] * 2, place[key] + [draw.choice(VALUES)]))
        else:
            place[key] = draw.choice(VALUES)
    return json.dumps(content)


def damage(folder: Path, kind: str, draw: random.Random) -> None:
    """Damages one file of a model folder."""
    path = folder / ("model.safetensors" if "safetensors" in kind else kind.partition(" ")[0])
    content = path.read_bytes()
    path.unlink()  # it may be a link to the sound one
    if kind == "safetensors header":
        path.write_bytes(mutate_bytes(content, draw, 8 + int.from_bytes(content[:8], "little")))
    elif kind.endswith("bytes") or kind == "safetensors":
        path.write_bytes(mutate_bytes(content, draw))
    else:
        path.write_text(mutate_json(json.loads(content), draw))


KINDS = ["config.json", "config.json", "config.json bytes", "preprocessor_config.json"]
KINDS += ["preprocessor_config.json bytes", "safetensors", "safetensors header", "checkpoint"]


def same_settings(first: Path, second: Path, name: str) -> bool:
    """Says whether two folders' settings mean the same."""
    try:
        return read_settings(first / name) == read_settings(second / name)
    except ValueError:
        return False


class Lane:
    """One run of the fuzzer over copies of sound folders."""

    def __init__(self, root: Path) -> None:
        self.root, self.counts, self.bad = root, collections.Counter(), []
        self.names = ("vpnext", "proscale", "meddensevit")
        self.image = image()
        self.sound = {name: self.answer(Predictor(model_folder(name, root), progress=False)) for name in self.names}

    def answer(self, predictor: Predictor) -> np.ndarray:
        image = self.image.convert("L").convert("RGB") if predictor.reads_volumes else self.image
        return np.asarray(predictor(image, Prompts(), Options()).result.segmentation)

    def folder_case(self, number: int, kind: str, draw: random.Random) -> str:
        name = draw.choice(self.names)
        original, folder = model_folder(name, self.root), self.root / "case"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(original, folder, copy_function=os.link)
        damage(folder, kind, draw)
        try:
            predictor = Predictor(folder, progress=False)
        except REFUSALS as error:
            lines = str(error).splitlines()
            return "refused" if len(lines) == 1 and len(lines[0]) < 3000 and str(folder) in lines[0] else "bad message"
        try:
            answer = self.answer(predictor)
        except INPUT_ERRORS:
            return "refused with the image"
        if kind.startswith("safetensors"):
            try:
                first, second = load_file(original / "model.safetensors"), load_file(folder / "model.safetensors")
            except Exception:
                return "silent"
            # transformers renames by patterns in which a dot is any letter; every tensor must be in its place then too.
            if first.keys() != second.keys():
                found = {t.numpy().tobytes() for t in predictor.loaded.model.state_dict().values()}
                return "silent" if any(t.numpy().tobytes() not in found for t in second.values()) else "undetectable"
            if any(first[k].shape != second[k].shape for k in first):
                return "silent"
            if any(not np.array_equal(first[k].numpy(), second[k].numpy()) for k in first):
                return "undetectable"
        elif not same_settings(original, folder, kind.partition(" ")[0]):
            return "legal"
        return "nothing changed" if np.array_equal(answer, self.sound[name]) else "silent"

    def checkpoint_case(self, number: int, kind: str, draw: random.Random) -> str:
        original, folder = self.root / "run", self.root / "resumed"
        if not original.exists():
            arguments = toy_arguments(run={"ema_decay": 0.9, "max_steps": 8})
            train(ToyModel(0.2), ToyDataset(), collate, arguments, output_dir=original)
        shutil.rmtree(folder, ignore_errors=True)
        for step in (4, 8):
            shutil.copytree(original / f"checkpoint-{step}", folder / f"checkpoint-{step}")
        path = draw.choice(sorted((folder / "checkpoint-8").iterdir()))
        content = path.read_bytes()
        if draw.random() < 0.1:
            path.unlink()
        elif path.suffix == ".json" and draw.random() < 0.5:
            path.write_text(mutate_json(json.loads(content), draw))
        else:
            path.write_bytes(mutate_bytes(content, draw))
        changed = not path.exists() or path.read_bytes() != content
        try:
            chosen = newest_sound_checkpoint(folder)
        except CheckpointError as error:
            return "refused" if len(str(error).splitlines()) == 1 else "bad message"
        if chosen == folder / "checkpoint-4":
            return "refused" if (folder / "checkpoint-8.damaged").is_dir() else "silent"
        if not changed:
            return "nothing changed"
        # Only in the list of checksums itself may something differ that means the same.
        same = path.name.startswith("checksums") and checkpoint_problem(chosen) is None
        return "nothing changed" if same else "silent"

    def case(self, number: int) -> None:
        draw = random.Random(f"{SEED} {number}")
        kind = KINDS[number % len(KINDS)]
        work = self.checkpoint_case if kind == "checkpoint" else self.folder_case
        start = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        try:
            outcome = work(number, kind, draw)
        except Hang:
            outcome = "hang"
        except Exception as error:
            outcome = "uncaught"
            self.bad.append((number, kind, outcome, f"{type(error).__name__}: {str(error)[:200]}"))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        if outcome in ("silent", "hang", "bad message"):
            self.bad.append((number, kind, outcome, f"{time.monotonic() - start:.1f} s"))
        self.counts[kind.partition(" ")[0], outcome] += 1


@pytest.mark.filterwarnings("ignore")
def test_fuzz(tmp_path):
    import logging

    logging.disable(logging.WARNING)
    former = signal.signal(signal.SIGALRM, on_alarm)
    try:
        lane = Lane(tmp_path)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for number in range(CASES):
                lane.case(number)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    finally:
        signal.signal(signal.SIGALRM, former)
        logging.disable(logging.NOTSET)
    for (kind, outcome), count in sorted(lane.counts.items()):
        print(f"{kind:28} {outcome:24} {count}")
    print(f"{CASES} cases of seed {SEED}; peak memory grew by {grown:.0f} MB")
    for entry in lane.bad:
        print(*entry)
    assert not lane.bad
    assert grown < MEGABYTES
