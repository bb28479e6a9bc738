# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg caption`: entities from given captions, and what it refuses."""

import json

import numpy as np
import pytest
from PIL import Image

from hfseg.commands.caption import main


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(5):
        Image.fromarray(np.full((8, 8, 3), index * 40, dtype=np.uint8)).save(folder / f"{index}.png")
    (folder / "5.png").write_bytes(b"no image")
    return folder


def test_command_with_given_captions(photos, tmp_path, capsys):
    captions = tmp_path / "captions.jsonl"
    lines = [json.dumps({"image": f"{index}.png", "caption": "two cats on a sofa"}) for index in range(6)]
    captions.write_text("\n".join(lines))
    output = tmp_path / "out" / "entities.jsonl"
    arguments = ["--images", str(photos), "--output", str(output)]
    assert main([*arguments, "--captions", str(captions)]) == 0
    assert "Wrote" in capsys.readouterr().out
    assert json.loads(output.read_text().splitlines()[0])["entities"] == ["cats", "sofa"]
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2 and "one of them" in capsys.readouterr().err
    assert main(["--images", str(tmp_path / "no"), "--output", str(output), "--captions", str(captions)]) == 2
