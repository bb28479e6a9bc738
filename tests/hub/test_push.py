# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Publishing: what is uploaded, what is refused, and that a published model loads from the Hub without `import hfseg`.

The Hub is a stand-in on this machine (`hub_stand_in`); a new process loads from it, as a user does.
"""

import hashlib
import json
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import parse_eval_result_entries
from safetensors.torch import load_file

from hfseg.commands import push as command
from hfseg.hub import pushing
from hfseg.hub.publishing import PublishingError, make_plan, stage, upload
from hub_stand_in import CARD, HubStandIn, in_new_process

SCRIPT = Path(__file__).parents[2] / "scripts" / "push_to_hub.py"


@pytest.fixture
def folder(trained, tmp_path):
    """A copy to spoil."""
    return Path(shutil.copytree(trained, tmp_path / "tiny"))


def staged(folder, target, **options):
    left_out = stage(folder, target, **options)
    return make_plan(target, "me/tiny", "Upload", "v1", False, left_out)


# ---------------------------------------------------------------------------------------------------------- whole route


def test_published_model_loads_from_the_hub(folder, hub, tmp_path):
    """`scripts/push_to_hub.py`, then pipeline() by repository name and tag in a process that never imports hfseg."""
    done = in_new_process([str(SCRIPT), str(folder), "me/tiny", "--tag", "v1.0", "--private", "--json"], hub, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(done.stdout)
    repository = hub.repositories["me/tiny"]
    assert report["url"].startswith(hub.url) and report["problems"] == []
    assert repository.private and set(repository.tags) == {"v1.0"}
    tree = repository.tree("v1.0")[1]
    assert set(tree) == {file["path"] for file in report["files"]}
    for file in report["files"]:
        assert hashlib.sha256(tree[file["path"]]).hexdigest() == file["sha256"]
    assert "checkpoints/step_1/optimizer.bin" in report["left_out"] and "notes.txt" in report["left_out"]
    code = (
        "import sys, transformers, torch\n"
        "pipe = transformers.pipeline('image-segmentation', model='me/tiny', revision='v1.0', trust_remote_code=True)\n"
        "print(type(pipe.model).__name__, type(pipe.image_processor).__name__)\n"
        "print(float(sum(value.double().sum() for value in pipe.model.state_dict().values())))"
    )
    loaded = in_new_process(["-c", code], hub, tmp_path / "other")
    assert loaded.returncode == 0, loaded.stderr[-2000:]
    names, total = loaded.stdout.splitlines()[-2:]
    assert names == "ProScaleForUniversalSegmentation ProScaleImageProcessor"
    expected = sum(value.double().sum() for value in load_file(folder / "model.safetensors").values())
    assert float(total) == pytest.approx(float(expected), rel=1e-6)


def test_dry_run_is_what_is_uploaded(folder, hub, online, tmp_path):
    plan = staged(folder, tmp_path / "dry")
    written = {
        str(path.relative_to(tmp_path / "dry")): path.read_bytes()
        for path in (tmp_path / "dry").rglob("*")
        if path.is_file()
    }
    assert {file.path: (file.size, file.sha256) for file in plan.files} == {
        name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in written.items()
    }
    upload(tmp_path / "dry", plan, hub.token, hub.url)
    assert hub.repositories["me/tiny"].tree("main")[1] == written
    assert hub.repositories["me/tiny"].messages == ["Upload"]


def test_an_interrupted_upload_goes_on(folder, hub, online, tmp_path):
    plan = staged(folder, tmp_path / "dry")
    hub.fail = {"/commit/": 1}
    with pytest.raises(PublishingError, match="again: what was uploaded is not sent twice"):
        upload(tmp_path / "dry", plan, hub.token, hub.url)
    assert hub.repositories["me/tiny"].tree("main")[1] == {} and hub.received
    upload(tmp_path / "dry", plan, hub.token, hub.url)
    assert set(hub.received.values()) == {1}  # no weights were sent twice
    assert set(hub.repositories["me/tiny"].tree("v1")[1]) == {file.path for file in plan.files}


def test_the_hub_refuses(folder, hub, online, tmp_path):
    plan = staged(folder, tmp_path / "dry")
    with pytest.raises(PublishingError, match="hf auth login"):
        upload(tmp_path / "dry", plan, "hf_wrong", hub.url)
    upload(tmp_path / "dry", plan, hub.token, hub.url)
    with pytest.raises(PublishingError, match=r"tag 'v1' exists already"):
        upload(tmp_path / "dry", plan, hub.token, hub.url)
    hub.fail, hub.status = {"preupload": 9}, 403
    with pytest.raises(PublishingError, match="may not write to me/tiny"):
        upload(tmp_path / "dry", plan, hub.token, hub.url)


def test_nobody_answers(folder, online, tmp_path):
    server = HubStandIn()
    server.close()
    plan = staged(folder, tmp_path / "dry")
    with pytest.raises(PublishingError, match="Could not create the repository"):
        upload(tmp_path / "dry", plan, "hf_test", server.url)


# ------------------------------------------------------------------------------------------------------------- command


def run(*arguments, capsys):
    status = command.main([str(argument) for argument in arguments])
    return status, capsys.readouterr()


def test_dry_run_command(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(pushing, "loading_problems", lambda target: [])
    status, said = run(folder, "me/tiny", "--dry_run", tmp_path / "dry", "--tag", "v1", capsys=capsys)
    assert status == 0 and "nothing was uploaded" in said.out
    for text in ("me/tiny", "model.safetensors", "sha256", "commit: Upload model with hfseg", "tag: v1", "left out"):
        assert text in said.out
    status, said = run(folder, "me/tiny", "--dry_run", tmp_path / "dry", capsys=capsys)
    assert status == 2 and "not empty" in said.err
    status, said = run(folder, "me/tiny", "--dry_run", tmp_path / "other", "--json", capsys=capsys)
    assert status == 0 and json.loads(said.out)["tag"] is None


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["no-owner"], "owner/name"),
        (["me/a b"], "repository id is 'me/a b'"),
        (["me/tiny", "--tag", "v 1"], "tag is 'v 1'"),
        (["me/tiny", "--tag", "v1..2"], "tag is 'v1..2'"),
        (["me/tiny", "--tag", "v1.lock"], "tag is 'v1.lock'"),
        (["me/tiny", "--include", "*.onnx"], r"no file of .* has such a name"),
    ],
)
def test_wrong_arguments(folder, tmp_path, capsys, arguments, message):
    status, said = run(folder, *arguments, "--dry_run", tmp_path / "dry", capsys=capsys)
    assert status == 2
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(said.err)


def test_wrong_folders(folder, tmp_path, capsys, monkeypatch):
    dry = tmp_path / "dry"
    assert "There is no folder" in run(tmp_path / "none", "me/tiny", "--dry_run", dry, capsys=capsys)[1].err
    (tmp_path / "empty").mkdir()
    assert "neither config.json" in run(tmp_path / "empty", "me/tiny", "--dry_run", dry, capsys=capsys)[1].err
    inside = run(folder, "me/tiny", "--dry_run", folder / "dry", capsys=capsys)[1].err
    assert "lies in the model's folder" in inside
    monkeypatch.setattr("hfseg.hub.publishing.get_token", lambda: None)
    status, said = run(folder, "me/tiny", "--json", capsys=capsys)
    assert status == 2 and "hf auth login" in said.err and "HF_TOKEN" in json.loads(said.out)["problems"][0]
    with pytest.raises(SystemExit):
        command.main([str(folder), "me/tiny", "--max_shard_size", "5"])
    with pytest.raises(SystemExit):
        command.main([str(folder), "me/tiny", "--dataset", "streets"])


def test_offline_says_so(folder, hub, tmp_path):
    plan = staged(folder, tmp_path / "dry")
    with pytest.raises(PublishingError, match="HF_HUB_OFFLINE"):
        upload(tmp_path / "dry", plan, hub.token, hub.url)


# -------------------------------------------------------------------------------------------------------------- checks


def write_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"")


@pytest.mark.parametrize(
    "write",
    [
        lambda folder: torch.save({}, folder / "pytorch_model.bin"),
        lambda folder: (folder / "model.safetensors").write_bytes(b"\x80\x04K\x01."),
        lambda folder: (folder / "merges.txt").write_bytes(b"\x80\x02K\x01."),
        lambda folder: (folder / "vocab.json").write_bytes(b"\x80\x05K\x01."),
        lambda folder: write_zip(folder / "tokenizer.extra"),
    ],
)
def test_pickles_are_refused(folder, tmp_path, write):
    write(folder)
    with pytest.raises(PublishingError, match="pickles"):
        stage(folder, tmp_path / "dry")


def test_an_unlisted_pickle_by_pattern(folder, tmp_path):
    with pytest.raises(PublishingError, match=r"optimizer\.bin"):
        stage(folder, tmp_path / "dry", include=["checkpoints/*/*"])


def edit_json(path, **fields):
    content = json.loads(path.read_text())
    content.update(fields)
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def test_unknown_architecture(folder, tmp_path):
    edit_json(folder / "config.json", model_type="bert")
    with pytest.raises(PublishingError, match="Unknown architecture 'bert'"):
        stage(folder, tmp_path / "dry")


def test_result_files_carry_the_command(folder, tmp_path):
    stage(folder, tmp_path / "plain")
    assert not (tmp_path / "plain" / ".eval_results").exists()  # the dataset is not on the Hub
    stage(folder, tmp_path / "dry", dataset_ids={"streets": "someone/streets#semantic"})
    (file,) = (tmp_path / "dry" / ".eval_results").iterdir()
    (entry,) = parse_eval_result_entries(yaml.safe_load(file.read_text()))
    assert (entry.dataset_id, entry.task_id, entry.value) == ("someone/streets", "semantic", 49.25)
    assert "scripts/evaluate.py --model tiny" in entry.notes and "split val" in entry.notes
    with pytest.raises(PublishingError, match="--dataset: The card has no result of roads; it has streets:mean_iou"):
        stage(folder, tmp_path / "other", dataset_ids={"roads": "someone/streets"})


def test_images_of_the_card_travel(folder, tmp_path):
    card = folder / "README.md"
    card.write_text(CARD + "\n![scene](images/scene.png) ![logo](https://example.org/logo.png)\n")
    with pytest.raises(PublishingError, match=r"images/scene\.png"):
        stage(folder, tmp_path / "dry")
    (folder / "images").mkdir()
    (folder / "images" / "scene.png").write_bytes(b"png")
    stage(folder, tmp_path / "other")
    assert (tmp_path / "other" / "images" / "scene.png").read_bytes() == b"png"
    card.write_text(CARD + "\n![secret](../secret.png)\n")
    (folder.parent / "secret.png").write_bytes(b"png")
    with pytest.raises(PublishingError, match="secret"):
        stage(folder, tmp_path / "third")
