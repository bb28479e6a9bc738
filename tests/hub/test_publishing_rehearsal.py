# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""A rehearsal of the Hub, through the real client: push, load by name, without `import hfseg`, pinned, updated, gated.

Every step is a new process with a cache of its own, as of a user who has the package and the name of the repository.
"""

import json
import shutil
from pathlib import Path

import hfseg
from hfseg.tasks import model_folder
from hub_stand_in import in_new_process

SCENE = str(Path(hfseg.__file__).parent / "examples" / "scene.png")
BY_NAME = f"""
import hfseg, json
from transformers import AutoImageProcessor, AutoModelForUniversalSegmentation, pipeline
for revision in REVISIONS:
    model = AutoModelForUniversalSegmentation.from_pretrained("me/shapes", revision=revision)
    assert type(model) is hfseg.ProScaleForUniversalSegmentation
    processor = AutoImageProcessor.from_pretrained("me/shapes", revision=revision)
    assert type(processor).__name__ == "ProScaleImageProcessor"
    found = pipeline("image-segmentation", model="me/shapes", revision=revision)({SCENE!r})
    print("LABELS", json.dumps([entry["label"] for entry in found]))
"""
TRUSTED = f"""
import json, sys
from transformers import pipeline
try:
    pipeline("image-segmentation", model="me/shapes", trust_remote_code=False)
except ValueError as error:
    assert "trust_remote_code" in str(error), error
else:
    raise SystemExit("code of the repository ran without trust")
assert "hfseg" not in sys.modules
for revision in REVISIONS:
    found = pipeline("image-segmentation", model="me/shapes", revision=revision, trust_remote_code=True)({SCENE!r})
    print("LABELS", json.dumps([entry["label"] for entry in found]))
"""


def push(hub, home, folder, tag):
    arguments = ["-m", "hfseg", "push", str(folder), "me/shapes", "--tag", tag]
    done = in_new_process(arguments, hub, home / f"push-{tag}")
    assert done.returncode == 0, done.stderr[-2000:]


def labels(hub, home, code, *revisions):
    done = in_new_process(["-c", code.replace("REVISIONS", repr(revisions))], hub, home)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line[7:]) for line in done.stdout.splitlines() if line.startswith("LABELS")]


def renamed(target):
    """The same model with another name for one of its classes: the update."""
    folder = Path(shutil.copytree(model_folder("proscale-tiny-shapes"), target))
    config = json.loads((folder / "config.json").read_text())
    key = next(key for key, name in config["id2label"].items() if name == "sky")
    config["id2label"][key] = "heaven"
    config["label2id"] = {name: int(key) for key, name in config["id2label"].items()}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_a_model_from_push_to_gate(hub, tmp_path):
    push(hub, tmp_path, model_folder("proscale-tiny-shapes"), "v1.0")
    (first,) = labels(hub, tmp_path / "a", BY_NAME, "main")
    assert len(first) > 2 and "heaven" not in first

    push(hub, tmp_path, renamed(tmp_path / "renamed"), "v2.0")
    second = ["heaven" if name == "sky" else name for name in first]
    assert second != first
    assert set(hub.received.values()) == {1}  # the weights, which did not change, were not sent again
    commit = hub.repositories["me/shapes"].tags["v1.0"]
    # The same cache sees the update, and what is pinned stays.
    assert labels(hub, tmp_path / "a", BY_NAME, "main", "v1.0", commit) == [second, first, first]
    assert labels(hub, tmp_path / "b", TRUSTED, "v1.0", "main") == [first, second]

    hub.gated.add("me/shapes")
    command = ["-m", "hfseg", "predict", SCENE, "--model", "me/shapes", "-o", str(tmp_path / "out")]
    refused = in_new_process(command, hub, tmp_path / "e")
    assert refused.returncode == 2 and "Traceback" not in refused.stderr
    (line,) = [line for line in refused.stderr.splitlines() if line.startswith("error:")]
    assert "'me/shapes' is gated on the Hub" in line and "hf auth login" in line


def test_a_dataset_from_push_to_training(hub, tmp_path):
    arguments = ["-m", "hfseg", "push-dataset", "shapes:num_scenes=6,image_size=48", "me/scenes", "--tag", "v1"]
    done = in_new_process(arguments, hub, tmp_path / "push")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "data/train-00000-of-00001.parquet" in hub.repositories["datasets/me/scenes"].tree("v1")[1]
    code = (
        "import datasets, sys\n"
        "table = datasets.load_dataset('me/scenes', split='validation')\n"
        "assert not any(name.startswith('hfseg') for name in sys.modules)\n"
        "stream = datasets.load_dataset('me/scenes', split='train', streaming=True)\n"
        "print('ROWS', len(table), table[0]['image'].size, len(list(stream)))"
    )
    done = in_new_process(["-c", code], hub, tmp_path / "read")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "ROWS 6 (48, 48) 6" in done.stdout
    small = ["run.max_steps=1", "data.batch_size=2", "data.num_workers=0"]
    command = ["-m", "hfseg", "train", "--recipe", "vpnext-tiny-shapes", "--data", "me/scenes"]
    done = in_new_process([*command, "--output_dir", str(tmp_path / "model"), *small], hub, tmp_path / "train")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "mean_iou" in json.loads((tmp_path / "model/metrics.json").read_text())["metrics"]
