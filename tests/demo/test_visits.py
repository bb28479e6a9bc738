# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Files of a visit: noted, and gone when it ends, without those of another."""

import shutil
from pathlib import Path

import pytest

from hfseg.demo.examples import examples
from tiny_zoo import image, model_folder

pytest.importorskip("gradio", reason="extra `demo`")


def test_files_of_a_visit_go_with_it(tmp_path, monkeypatch):
    from types import SimpleNamespace

    from gradio.context import LocalContext
    from gradio.processing_utils import hash_file, save_file_to_cache

    from hfseg.demo.tabs import Loaded, _Segments
    from hfseg.demo.visits import Limits, forget_visit
    from hfseg.inference.predictor import Predictor, Prompts

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))
    predictor = Predictor(model_folder("vpnext", tmp_path), progress=False)

    class Lock:
        __enter__ = __exit__ = lambda self, *_: None

    tab = _Segments([Loaded("vpnext", predictor, Lock())], Limits(), tmp_path / "results")
    written = {}
    for visit in ("one", "two"):
        token = LocalContext.request.set(SimpleNamespace(session_hash=visit))
        upload = tmp_path / "cache" / visit / "a.png"
        upload.parent.mkdir(parents=True)
        image().save(upload)
        files = tab.answer("vpnext", str(upload), 0.5, Prompts())[2]
        written[visit] = [upload, *map(Path, files), Path(save_file_to_cache(files[0], tmp_path / "cache"))]
        written[visit][1].write_bytes(written[visit][1].read_bytes() + visit.encode())  # contents of its own
        written[visit][-1].unlink()
        written[visit][-1] = Path(save_file_to_cache(files[0], tmp_path / "cache"))
        assert hash_file(files[0]) == written[visit][-1].parent.name
        LocalContext.request.reset(token)
    forget_visit(tmp_path / "results", SimpleNamespace(session_hash="one"))
    assert not any(path.exists() for path in written["one"]) and all(path.exists() for path in written["two"])


def test_examples_are_no_uploads(tmp_path):
    from hfseg.demo.visits import note_upload

    image().save(tmp_path / "own.png")
    copied = shutil.copy(examples()[0].path, tmp_path / "renamed.png")
    note_upload(tmp_path / "visits", str(copied))
    assert not (tmp_path / "visits").exists()
    note_upload(tmp_path / "visits", str(tmp_path / "own.png"))
    (noted,) = (tmp_path / "visits").rglob("uploads.txt")
    assert noted.read_text().strip() == str(tmp_path / "own.png")
