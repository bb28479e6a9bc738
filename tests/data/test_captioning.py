# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Captioning of a folder: shared by processes, resumed after a break, joined in order."""

import json

import numpy as np
import pytest
from PIL import Image

from hfseg.data.captioning import caption_images, join_parts, part_file
from hfseg.data.readers.entities import EntityDataset


class Answers:
    """A captioner that counts and, once, fails like a broken run."""

    def __init__(self, fail_at=None):
        self.calls, self.fail_at = 0, fail_at

    def __call__(self, image, instruction):
        self.calls += 1
        if self.calls == self.fail_at:
            raise KeyboardInterrupt
        return "a red ball, the sky" if "commas" in instruction else "A red ball under the sky."


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(5):
        Image.fromarray(np.full((8, 8, 3), index * 40, dtype=np.uint8)).save(folder / f"{index}.png")
    (folder / "5.png").write_bytes(b"no image")
    return folder


def test_captioning_is_shared_and_goes_on_after_a_break(photos, tmp_path):
    output = tmp_path / "entities.jsonl"
    images = [(path.name, path) for path in sorted(photos.iterdir())]
    with pytest.raises(KeyboardInterrupt):
        caption_images(images, output, Answers(fail_at=5), rank=0, ranks=2)
    with part_file(output, 0).open("a") as file:
        file.write('{"image": "4.p')  # the line that was being written
    again = Answers()
    counts = caption_images(images, output, again, rank=0, ranks=2)
    assert counts == {"done": 1, "known": 2, "unreadable": 0, "empty": 0} and again.calls == 2
    counts = caption_images(images, output, Answers(), rank=1, ranks=2)
    assert counts == {"done": 2, "known": 0, "unreadable": 1, "empty": 0}
    assert join_parts(output) == 5 and not list(tmp_path.glob(".entities*"))
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [row["image"] for row in rows] == [f"{index}.png" for index in range(5)]
    assert rows[0] == {"image": "0.png", "caption": "A red ball under the sky.", "entities": ["red ball", "sky"]}
    assert caption_images(images[:5], output, None)["known"] == 5
    dataset = EntityDataset(output, root=photos)
    assert len(dataset) == 5 and dataset[1]["entities"] == ["red ball", "sky"] and dataset[1]["image"].size == (8, 8)
