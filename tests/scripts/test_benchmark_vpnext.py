# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""VPNeXt's benchmarks: counts against figures worked out by hand, fast paths broken on purpose, tables that report."""

import json

import pytest
import torch

import benchmarks
from benchmarks import semantic_learning, semantic_speed, vpnext_cost


@pytest.fixture(scope="module")
def costs():
    return vpnext_cost.vpnext_cost_tables()


def test_multiply_adds(costs):
    """GMAC at 512 x 512 of ViT-L/16 with 59 classes; the fine run of the patch embedding makes the tokens again."""
    rows = {row["model"]: row for row in costs["512 x 512"]}
    expected = {"vpnext-vcr (as deep supervision)": 362.05, "vpnext": 975.2 + 0.805, "vpnext-lite": 497.9 + 0.805}
    for name, value in expected.items():
        assert rows[name]["architecture GMAC"] == pytest.approx(value, rel=1e-3), name
    assert rows["VCR, in training"]["architecture GMAC"] == pytest.approx(24.8, rel=2e-3)
    # Three deformable convolutions of 512 x 512 x 9 at 128 x 128.
    assert rows["vpnext"]["deformable GMAC"] == pytest.approx(3 * 512 * 512 * 9 * 128**2 / 1e9)
    # 15 / 16 of the products of the context: 512 + 27 channels from 1024 channels, three times.
    saved = 15 / 16 * 3 * 539 * 1024 * 9 * 128**2 / 1e9
    assert rows["vpnext"]["architecture GMAC"] - rows["vpnext"]["executed GMAC"] == pytest.approx(saved)


def test_table_of_the_paper(costs):
    table = {row["model"]: row for row in costs["Table III"]}
    assert table["vpnext-vcr (as deep supervision)"]["GFlops"] == pytest.approx(355.95, rel=1e-3)
    assert table["vpnext"]["GFlops"] == pytest.approx(999.2, rel=1e-3)
    assert all(abs(row["deviation %"] or 0) < 1 for row in table.values())
    decoder = table["mask decoder (Segmenter)"]
    assert abs(decoder["deviation %"]) < 0.5
    assert table[vpnext_cost.PYRAMID]["GFlops"] > 1.2 * decoder["GFlops"]


def test_the_baseline_with_a_pyramid(costs):
    """Its row is counted from the recipe's model; the pyramid's own share is a closed form."""
    pytest.importorskip("timm")
    model = vpnext_cost.build_mask2former()
    table = {row["model"]: row for row in costs["Table III"]}
    total = vpnext_cost.mask2former_macs(model, 384)
    assert table[vpnext_cost.PYRAMID]["GFlops"] == pytest.approx(2 * total / 2**30, rel=1e-3)
    with torch.no_grad(), vpnext_cost.FlopCounterMode(display=False) as counter:
        model.model.pyramid(torch.empty(1, 1024, 24, 24, device="meta"), (384, 384))
    c, tokens = 1024, 24 * 24
    doubling = 4 * tokens * (c * c // 2) * 2 + 16 * tokens * (c // 2) * (c // 4)  # products of the transposed ones
    projections = tokens * c * (16 * c // 4 + 4 * c // 2 + c + c // 4)  # 1x1
    mixing = 9 * c * c * tokens * (16 + 4 + 1 + 0.25)  # 3x3
    assert counter.get_total_flops() // 2 == doubling + projections + mixing


def test_parameters():
    rows = {row["model"]: row for row in vpnext_cost.vpnext_parameter_table()}
    assert rows["vpnext"]["head (M)"] == pytest.approx(36.7, abs=0.05)
    assert rows["vpnext-lite"]["head (M)"] == pytest.approx(7.8, abs=0.05)
    assert rows["vpnext"]["VCR, in training (M)"] == pytest.approx(21.9, abs=0.05)


def test_agreement_column_sees_a_broken_path(monkeypatch):
    model = semantic_speed.build_ours("vpnext-lite", "ViT-T")
    row = semantic_speed.agreement_row("lite", model)
    assert max(value for key, value in row.items() if key != "model") < 1e-4
    fast = semantic_speed.convolve_upsampled
    monkeypatch.setattr(semantic_speed, "convolve_upsampled", lambda x, w, r: fast(x, w.transpose(2, 3), r))
    gather = semantic_speed.FORMS["gather"]
    monkeypatch.setitem(semantic_speed.FORMS, "gather", lambda x, o, m, w: gather(x, o.flip(1), m, w))
    broken = semantic_speed.agreement_row("lite", model)
    assert broken["upsampled convolution"] > 0.1 and broken["deformable: gather"] > 0.1


def test_speed_writes_its_table(tmp_path):
    file = tmp_path / "speed.json"
    command = ["speed", "--model", "vpnext", "--backbone", "ViT-T", "--size", "32", "32", "--batch", "1"]
    command += ["--rounds", "1", "--warmup", "0", "--rows", "vpnext-vcr", "--against", "transformers:eomt"]
    assert benchmarks.main([*command, "--output", str(file)]) == 0
    tables = json.loads(file.read_text())["tables"]
    assert all(tables.values()) and "Deformable convolution" not in tables  # none of these has one
    rows = {row["model"]: row for row in tables["Speed of the forward pass"]}
    assert list(rows) == ["bare", "vpnext-vcr", "eomt"] and rows["bare"]["ratio to bare"] == 1
    # One LayerNorm more than the ViT and its classifier.
    assert rows["vpnext-vcr"]["parameters (M)"] - rows["bare"]["parameters (M)"] == pytest.approx(2 * 192 / 1e6)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["speed", "--model", "vpnext", "--backbone", "Swin-T"], "ViT-T, ViT-S, ViT-B, ViT-L"),
        (["speed", "--model", "vpnext", "--rows", "3,3,3"], "vpnext-vcr, vpnext-lite, vpnext"),
        (["speed", "--against", "transformers:eomt"], "mask2former only"),
        (["learn", "--architecture", "vpnext", "--modes", "magic"], "ds, align, vcr"),
    ],
)
def test_options_that_do_not_fit(command, message, capsys):
    assert benchmarks.main(command) == 1
    assert message in capsys.readouterr().err


def test_learning_summary():
    runs = [
        {"mode": mode, "mean_iou": value, "parameters at inference (M)": 1.0, "CPU minutes": 2.0}
        for mode, value in (("ds", 10.0), ("ds", 14.0), ("vcr", 13.0))
    ]
    rows = semantic_learning.summary(runs, ["ds", "vcr", "hiclr3"])
    assert [row["mode"] for row in rows] == ["ds", "vcr"]
    assert (rows[0]["mean_iou"], rows[0]["spread"], rows[0]["paper"]) == (12.0, 4.0, 66.5)
    assert rows[1]["deviation"] is None


@pytest.mark.parametrize("mode", ["vcr", "transformers:segformer", "transformers:eomt"])
def test_one_run(mode):
    changes = ["run.max_steps=1", "schedule.warmup_steps=0", "data.num_workers=0", "data.batch_size=2"]
    changes += ["data.validation.num_scenes=1", "data.train.num_scenes=4"]
    row = semantic_learning.one_run(None, changes, mode, seed=0)
    assert row["updates"] == 1 and 0 <= row["mean_iou"] <= 100
    assert torch.isfinite(torch.tensor(row["CPU minutes"]))
