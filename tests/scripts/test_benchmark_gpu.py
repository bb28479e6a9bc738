# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The tables of a GPU, on a CPU: every part parses, parts run and report, and what is left out says why."""

import json
from types import SimpleNamespace

import pytest
import torch

import benchmarks
from benchmarks import gpu_tables
from benchmarks.arguments import build_parser


@pytest.mark.parametrize("tiny", [False, True])
@pytest.mark.parametrize("part", gpu_tables.PARTS, ids=lambda part: part.title)
def test_every_part_is_a_command(part, tiny):
    options = SimpleNamespace(device="cuda", dtype="bfloat16", tiny=tiny)
    parsed = build_parser().parse_args(gpu_tables.command_of(part, options))
    assert parsed.device == "cuda" and parsed.dtype == ("float32" if tiny else "bfloat16")
    if part.batched:
        assert parsed.batch == ([1] if tiny else [1, 8])
    if part.title.startswith("LaVin"):
        assert parsed.lavin_size == ("tiny" if tiny else "3.4B")


def test_parts_run_and_report(tmp_path):
    file = tmp_path / "gpu.json"
    command = ["gpu", "--device", "cpu", "--tiny", "--only", "PRO-SCALE, panoptic"]
    assert benchmarks.main([*command, "--output", str(file)]) == 0
    tables = json.loads(file.read_text())["tables"]
    parts = tables.pop("Parts")
    assert [row["part"] for row in parts] == ["PRO-SCALE, panoptic"]
    assert all(row["left out"] is None and row["seconds"] > 0 for row in parts)
    assert {title.partition(":")[0] for title in tables} == {"PRO-SCALE, panoptic"}


def fake_options(**fields):
    said = []
    options = {"device": "cpu", "dtype": "float32", "minutes": 8.0, "tiny": True, "only": None}
    return said, SimpleNamespace(**{**options, "finished": lambda tables, notes: said.append(dict(tables)), **fields})


def test_a_part_that_fails_does_not_lose_the_others():
    def find(parsed):
        def measure(parsed):
            if parsed.what == "masks":
                raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate")
            return {"table": [{"ms": 1.0}]}, []

        return measure

    said, options = fake_options()
    tables, _ = gpu_tables.gpu_tables(options, build_parser().parse_args, find)
    wrong = {row["part"]: row["left out"] for row in tables["Parts"] if row["left out"]}
    assert wrong == {"Unpair-Seg": "OutOfMemoryError: CUDA out of memory."}
    assert len(said) == len(gpu_tables.PARTS)  # written after every part
    assert "VPNeXt: table" in tables


def test_no_part_begins_when_the_time_is_over():
    _, options = fake_options(minutes=-1.0)
    tables, _ = gpu_tables.gpu_tables(options, build_parser().parse_args, None)
    assert list(tables) == ["Parts"] and all("were over" in row["left out"] for row in tables["Parts"])


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"device": "cuda"}, "--device cpu --tiny"), ({"only": ["Mask R-CNN"]}, "PRO-SCALE")],
)
def test_what_cannot_be_measured_is_refused(fields, words):
    if fields.get("device") == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(ValueError, match=words):
        gpu_tables.gpu_tables(fake_options(**fields)[1], None, None)
