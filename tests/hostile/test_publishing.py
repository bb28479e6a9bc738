# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Folders that bring code, secrets or links along: nothing of it is run, staged or copied."""

import json
import os
import shutil
from pathlib import Path

import pytest

from hfseg.commands import push as command
from hfseg.hub.publishing import PublishingError, stage
from hub_stand_in import CARD
from tiny_zoo import model_folder


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """A sound folder with tokenizer and card."""
    folder = model_folder("cris", tmp_path_factory.mktemp("publishing"))
    (folder / "README.md").write_text(CARD)
    return folder


@pytest.fixture
def folder(clean, tmp_path):
    return Path(shutil.copytree(clean, tmp_path / "model"))


def evil(trace: Path) -> str:
    """Code that leaves a trace when it is imported."""
    return f"open({str(trace)!r}, 'w').close()\n\n\nclass Evil:\n    pass\n"


def change(path: Path, **values) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize("file", ["tokenizer_config.json", "processor_config.json", "config.json"])
@pytest.mark.parametrize("reference", ["tokenizer_evil.Evil", "someone/else--modeling_hfseg.CrisModel", ["a.B", None]])
def test_foreign_auto_map_is_refused(folder, tmp_path, capsys, file, reference):
    trace = tmp_path / "executed"
    (folder / "tokenizer_evil.py").write_text(evil(trace))
    change(folder / file, auto_map={"AutoTokenizer": reference})
    assert command.main([str(folder), "me/x", "--dry_run", str(tmp_path / "dry")]) == 2
    assert "auto_map" in capsys.readouterr().err
    assert not trace.exists() and not list(tmp_path.glob("dry/**/*.py"))


def test_code_by_a_name_of_the_tokenizer_is_not_staged(folder, tmp_path):
    trace = tmp_path / "executed"
    for name in ("tokenizer_evil.py", "tokenizer.py", "model.py", "LICENSE.py", "model_evil.safetensors.py"):
        (folder / name).write_text(evil(trace))
    assert command.main([str(folder), "me/x", "--dry_run", str(tmp_path / "dry")]) == 0
    assert [path.name for path in (tmp_path / "dry").rglob("*.py")] == ["modeling_hfseg.py"]
    assert not trace.exists()


@pytest.mark.parametrize("where", ["modeling_hfseg.py", "sub/helper.py"])
def test_code_is_not_included(folder, tmp_path, where):
    (folder / where).parent.mkdir(exist_ok=True)
    (folder / where).write_text(evil(tmp_path / "executed"))
    with pytest.raises(PublishingError, match="is code"):
        stage(folder, tmp_path / "dry", include=[where])
    assert not (tmp_path / "executed").exists()


def test_shim_is_written_anew_and_never_merged(folder, tmp_path):
    import hfseg

    trace = tmp_path / "executed"
    shim = folder / "modeling_hfseg.py"
    shim.write_text(f"from hfseg import CrisModel, system; import os; {evil(trace)}")
    stage(folder, tmp_path / "dry")
    lines = (tmp_path / "dry" / "modeling_hfseg.py").read_text().splitlines()
    assert len(lines) == 3 and "system" not in lines[2] and "CrisProcessor" in lines[2]
    hfseg.CrisForReferringImageSegmentation.from_pretrained(folder).save_pretrained(folder)
    assert "system" not in shim.read_text() and "os" not in shim.read_text().split()
    assert "CrisProcessor" in shim.read_text()  # of processor_config.json beside it
    assert not trace.exists()


@pytest.mark.parametrize("name", ["tokenizer.json", "README.md", "metrics.json", "model.safetensors"])
def test_links_out_of_the_folder_are_not_followed(folder, tmp_path, name):
    outside = tmp_path / "outside"
    outside.write_bytes((folder / name).read_bytes() if (folder / name).exists() else b"{}")
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(outside)
    with pytest.raises(PublishingError, match="link out of"):
        stage(folder, tmp_path / "dry")


def test_folder_behind_a_link_is_not_followed(folder, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "notes.txt").write_text("mine")
    (folder / "docs").symlink_to(tmp_path / "home")
    with pytest.raises(PublishingError, match="link out of"):
        stage(folder, tmp_path / "dry", include=["docs/*.txt"])


@pytest.mark.parametrize(
    "name",
    [".env", ".env.local", ".git/config", "server.key", "id_rsa", "hf_token", "wandb/run.json", "optimizer.safetensors",
     "checkpoint-5/model.safetensors", "trainer_state.json", "random_state_0.safetensors"],
)  # fmt: skip
def test_private_files_are_not_published(folder, tmp_path, name):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("secret")
    stage(folder, tmp_path / "dry")
    assert not (tmp_path / "dry" / name).exists()
    with pytest.raises(PublishingError, match="not published"):
        stage(folder, tmp_path / "other", include=[name])


def test_patterns_stay_in_the_folder(folder, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for pattern in ("../notes.txt", str(tmp_path / "*.txt")):
        with pytest.raises(PublishingError, match="below"):
            stage(folder, tmp_path / "dry", include=[pattern])


def test_paths_of_this_machine_are_not_published(folder, tmp_path):
    home = "/home/somebody/projects"
    record = {"data": {"train": {"path": f"{home}/coco"}}, "model": {"pretrained": r"C:\Users\somebody\base"}}
    (folder / "training_args.json").write_text(json.dumps(record))
    card = folder / "README.md"
    card.write_text(card.read_text() + f"\nTrained with `hfseg train --data {home}/coco --output_dir ~/runs/1`.\n")
    change(folder / "config.json", _name_or_path=f"{home}/base")
    stage(folder, tmp_path / "dry")
    for path in (tmp_path / "dry").rglob("*"):
        if path.suffix in (".json", ".md"):
            assert "somebody" not in path.read_text() and "~/runs" not in path.read_text(), path
    written = json.loads((tmp_path / "dry" / "training_args.json").read_text())
    assert written == {"data": {"train": {"path": "coco"}}, "model": {"pretrained": "base"}}
    assert "--data coco --output_dir 1`" in (tmp_path / "dry" / "README.md").read_text()


def test_space_takes_the_same_files_only(folder, tmp_path):
    pytest.importorskip("gradio")
    from hfseg.demo.space import write_space

    for name in (".env", "tokenizer_evil.py", "optimizer.safetensors", ".git/config", "wandb/run.json", "notes.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("secret")
    (tmp_path / "outside.txt").write_text("mine")
    os.symlink(tmp_path / "outside.txt", folder / "LICENSE")
    with pytest.raises(ValueError, match="link out of"):
        write_space(tmp_path / "space", [str(folder)])
    (folder / "LICENSE").unlink()
    (folder / "training_args.json").write_text(json.dumps({"path": "/home/somebody/coco"}))
    space = write_space(tmp_path / "space", [str(folder)])
    place = space / "models" / "model"
    copied = {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= copied
    assert not {
        name for name in copied if "evil" in name or "secret" in (space / "models/model" / name).read_text("latin-1")
    }
    assert "somebody" not in (space / "models/model/training_args.json").read_text()
