# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Image-text shards: tars and parquet read alike, by number, in workers; what is damaged is named."""

import io
import json
import pickle
import tarfile

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from PIL import Image

from hfseg.data.readers.image_text import ImageTextShards, stream


def png(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (5, 4), (value, 0, 0)).save(buffer, format="PNG")
    return buffer.getvalue()


def write_tar(path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


@pytest.fixture
def shards(tmp_path):
    pairs = {f"{i:06d}.png": png(i) for i in range(3)} | {f"{i:06d}.txt": f"text {i}".encode() for i in range(3)}
    write_tar(tmp_path / "a.tar", dict(sorted(pairs.items())))
    write_tar(tmp_path / "b.tar", {"x.png": png(3), "x.json": json.dumps({"caption": "text 3"}).encode()})
    table = {"image": [{"bytes": png(i), "path": None} for i in (4, 5)], "text": ["text 4", "text 5"]}
    parquet.write_table(pa.table(table), tmp_path / "c.parquet", row_group_size=1)
    return tmp_path


def test_pairs_by_number(shards):
    pairs = pickle.loads(pickle.dumps(ImageTextShards(shards, open_shards=1)))  # as a worker gets it
    assert len(pairs) == 6
    for index in (5, 0, 3, 2, 4, 1):
        pair = pairs[index]
        assert pair["text"] == f"text {index}" and pair["image"].shape == (4, 5, 3) and pair["image"][0, 0, 0] == index
    assert pairs.sample_id(4) == "c.parquet#0"
    with pytest.raises(IndexError):
        pairs[6]


def test_known_counts_spare_the_look_through(shards):
    (shards / "counts.json").write_text(json.dumps({"a.tar": 3, "b.tar": 1, "c.parquet": 2}))
    pairs = ImageTextShards(shards)
    assert len(pairs) == 6 and not pairs._opened
    (shards / "counts.json").write_text(json.dumps({"a.tar": 4, "b.tar": 1, "c.parquet": 2}))
    with pytest.raises(ValueError, match=r"a\.tar holds 3 pairs"):
        ImageTextShards(shards)[3]


@pytest.mark.parametrize(("kind", "expected"), [("a.tar", range(3)), ("c.parquet", range(4, 6))])
def test_stream(shards, kind, expected):
    found = list(stream([shards / kind]))
    assert [pair["text"] for pair in found] == [f"text {i}" for i in expected]
    assert [int(pair["image"][0, 0, 0]) for pair in found] == list(expected)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"k.png": png(0)}, "no text"),
        ({"k.png": png(0), "k.txt": b"  "}, "no text, or an empty one"),
        ({"k.txt": b"hello"}, "no image"),
        ({"k.png": b"not an image", "k.txt": b"hello"}, "cannot be decoded"),
    ],
)
def test_half_pairs_are_named(tmp_path, members, message):
    write_tar(tmp_path / "d.tar", members)
    with pytest.raises(ValueError, match=rf"d\.tar#0.*{message}"):
        ImageTextShards(tmp_path)[0]


def test_what_is_no_shard(tmp_path):
    with pytest.raises(FileNotFoundError, match="No image-text shards"):
        ImageTextShards(tmp_path)
    (tmp_path / "e.tar").write_bytes(b"not a tar at all" * 100)
    with pytest.raises(ValueError, match=r"e\.tar is not a plain tar"):
        ImageTextShards(tmp_path)
    parquet.write_table(pa.table({"a": [1]}), tmp_path / "f.parquet")
    with pytest.raises(ValueError, match="it needs an image"):
        ImageTextShards(tmp_path / "f.parquet")
