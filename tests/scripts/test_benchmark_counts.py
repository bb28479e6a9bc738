# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The benchmark's counts against published figures, its agreement columns against deliberately broken paths."""

import json

import pytest
import torch
from torch import nn

import benchmarks
from benchmarks import agreement, flops, published, speed
from benchmarks.detection_cost import detection_rows
from benchmarks.open_vocabulary_cost import open_vocabulary_rows
from benchmarks.parameters import build_on_meta, count_parameters, parameter_table
from benchmarks.published import CITYSCAPES, COCO, Variant
from hfseg import ProScaleConfig, ProScaleForUniversalSegmentation
from hfseg.inference.result_tables import format_table


def tiny_model() -> ProScaleForUniversalSegmentation:
    torch.manual_seed(0)
    backbone = published.swin(16, [1, 1, 1, 1], [1, 2, 4, 8], 4)
    config = ProScaleConfig(
        backbone_config=backbone,
        encoder_stage_layers=(1, 1, 1),
        feature_size=32,
        mask_feature_size=32,
        hidden_size=32,
        num_attention_heads=4,
        decoder_layers=3,
        dim_feedforward=64,
        encoder_feedforward_dim=64,
        num_queries=10,
        num_labels=5,
    )
    model = ProScaleForUniversalSegmentation(config).eval()
    for name, parameter in model.named_parameters():  # initialized to zero, which would hide most errors
        if name.endswith("sampling_offsets.weight"):
            nn.init.normal_(parameter, std=0.2)
    return model


@pytest.mark.parametrize(
    ("backbone", "encoder", "total"), [("Swin-T", "(3,3,3)", 48_820_225), ("R50", "(3,3,3)", 45_368_839)]
)
def test_exact_parameter_totals(backbone, encoder, total):
    assert count_parameters(build_on_meta(Variant(backbone, encoder, "coco"))) == total


def test_parameters_of_every_published_row():
    rows = parameter_table()
    compared = [row for row in rows if row["published (M)"] is not None]
    assert len(compared) == 8 + 19
    for row in compared:
        # COCO's figures have three decimals, those of Cityscapes two.
        tolerance = 0.0006 if row["data"] == "coco" else 0.0055
        assert row["total (M)"] == pytest.approx(row["published (M)"], abs=tolerance), row["model"]
        for part in ("backbone", "pixel decoder", "mask decoder"):
            if row[f"{part} published"] is not None:
                assert row[f"{part} (M)"] == pytest.approx(row[f"{part} published"], abs=0.0006), (row["model"], part)


def find(table, backbone, encoder):
    return next(row for row in table if (row.variant.backbone, row.variant.encoder) == (backbone, encoder))


@pytest.mark.parametrize(
    ("table", "backbone", "encoder", "width"),
    [
        (COCO, "Swin-T", "(3,3,3)", 1088),
        (CITYSCAPES, "Swin-T", "lite", 2048),
        (CITYSCAPES, "Swin-T", "lite-lpe", 2048),
        (COCO, "R50", "(1,1,3)", 1216),
        (CITYSCAPES, "Swin-T", "full", 2048),
    ],
)
def test_flops_of_published_rows(table, backbone, encoder, width):
    row = find(table, backbone, encoder)
    cost = flops.cost(row.variant, width)
    assert cost.total == pytest.approx(row.counted[width], rel=5e-4)
    if width == row.encoder_width:
        assert cost.encoder == pytest.approx(row.encoder_counted, rel=5e-4)
    # One full-size mask instead of ten, and no post-processing.
    assert cost.executed < cost.total
    assert sum(cost.parts.values()) == pytest.approx(cost.total)


def test_hybrid_encoder_counts_what_the_paper_prints_on_cityscapes():
    cost = flops.cost(Variant("Swin-T", "hybrid", "cityscapes"), 2048)
    assert cost.total == pytest.approx(361.1, rel=5e-4) and cost.encoder == pytest.approx(130.0, rel=5e-3)
    assert sum(cost.parts.values()) == pytest.approx(cost.total)


def test_detectors_count_what_the_paper_prints():
    """Table T1, within 1 %; the encoder's layers by the closed form of a deformable layer."""
    rows = {row["model"]: row for row in detection_rows()}
    assert [row["paper"] for row in rows.values()] == [179.0, 126.0]
    assert all(abs(row["deviation %"]) < 1 for row in rows.values())
    tokens = [13 * 19, 25 * 38, 50 * 75, 100 * 150]

    def layers(length, levels):  # four projections, offsets and weights of 8 heads x 4 points, FFN of 2048, two norms
        per_token = 2 * 256 * 256 + 256 * 8 * levels * 4 * 3 + 2 * 256 * 2048 + 2560
        return length * per_token / 1e9

    full = 6 * layers(sum(tokens), 4)
    growing = 3 * sum(layers(sum(tokens[: level + 1]), level + 1) for level in range(4))
    assert rows["R50 full"]["layers"] == pytest.approx(full, rel=1e-6)
    # Token re-calibration adds little: three resized gates.
    assert rows["R50 (3,3,3,3)"]["layers"] == pytest.approx(growing, rel=1e-3)
    assert rows["R50 full"]["parameters"] == pytest.approx(47, abs=1)


def test_open_vocabulary_counts_what_the_paper_prints():
    """Table T2, within 0.2 %; CLIP's tower of 677 tokens and four relative layers by a closed form."""
    rows = {row["model"]: row for row in open_vocabulary_rows()}
    assert [row["paper"] for row in rows.values()] == [552.8, 489.8]
    assert all(abs(row["deviation %"]) < 0.2 for row in rows.values())
    tokens, patches, width = 677, 576, 1024
    layer = 12 * tokens * width**2 + 2 * tokens**2 * width + 2 * 5 * tokens * width
    relative = 2 * 100 * patches * 196 * width + patches * width**2 + 5 * 100 * patches * width
    stem = patches * 588 * width + 5 * 577 * width + 5 * 100 * width + 100 * width * 768
    closed = (24 * layer + 4 * relative + stem) / 1e9
    for row in rows.values():
        assert row["tower"] == pytest.approx(closed, rel=1e-3) and row["tower executed"] < row["tower"]
        assert row["added (M)"] == pytest.approx(5.817, abs=1e-3)


def test_flops_part_by_part():
    parts = flops.cost(Variant("Swin-T", "(3,3,3)", "coco"), 1088).parts
    for part, counted in published.BREAK_DOWN.items():
        assert parts[part] == pytest.approx(counted, abs=0.0075), part


def test_count_attributes_operations_to_their_module():
    class Root(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(3, 5), nn.Linear(5, 7)])

        def forward(self, pixel_values):
            x = pixel_values.mean((2, 3))  # (B, 3)
            return torch.mm(self.layers[1](self.layers[0](x)), torch.ones(7, 11, device=x.device))

    counts = flops.count(Root().to("meta"), 4, 4, batch_size=2)
    assert counts.inside("layers.0") == 2 * 3 * 5
    assert counts.inside("layers.1") == 2 * 5 * 7
    assert counts.own("") == 2 * 7 * 11
    assert counts.inside("") == 2 * (15 + 35 + 77)


def test_conventions_by_hand():
    x = torch.empty(2, 32, 6, 8, device="meta")

    class Root(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution = nn.Conv2d(3, 32, 3, stride=2, padding=1, groups=1)
            self.depthwise = nn.Conv2d(32, 32, 3, padding=1, groups=32)
            self.group_norm, self.batch_norm = nn.GroupNorm(4, 32), nn.BatchNorm2d(32)
            self.layer_norm = nn.LayerNorm(8)

        def forward(self, pixel_values):
            y = self.layer_norm(self.batch_norm(self.group_norm(self.depthwise(self.convolution(pixel_values)))))
            return nn.functional.interpolate(y, scale_factor=2, mode="bilinear")

    counts = flops.count(Root().to("meta"), 12, 16, batch_size=2)
    elements = x.numel()
    assert counts.inside("convolution") == elements * 3 * 9
    assert counts.inside("depthwise") == elements * 9
    assert counts.inside("group_norm") == counts.inside("layer_norm") == 5 * elements
    assert counts.inside("batch_norm") == 2 * elements
    assert counts.own("") == 4 * 4 * elements


def test_agreement_sees_a_broken_fast_path(monkeypatch):
    model, sample = tiny_model(), torch.randn(1, 3, 64, 96)
    assert agreement.attention_difference(model, sample) < 1e-5
    exact = agreement.steering_difference(model, sample)
    assert exact["logits"] < 1e-5 and exact["flipped"] <= 1e-4 * exact["bits"]
    assert exact["bits"] == 10 * (2 * 3 + 4 * 6 + 8 * 12)

    steering_masks = agreement.steering_masks
    monkeypatch.setattr(agreement, "steering_masks", lambda *arguments: ~steering_masks(*arguments))
    assert agreement.steering_difference(model, sample)["flipped"] > 0.2 * exact["bits"]

    from hfseg.layers import deformable_attention

    gather = deformable_attention.deformable_attention_gather
    monkeypatch.setattr(deformable_attention, "deformable_attention_gather", lambda *a: gather(*a) + 0.01)
    assert agreement.attention_difference(model, sample) == pytest.approx(0.01, rel=0.01)


def test_memory_counts_what_lives_at_once():
    settings = speed.SpeedOptions()

    def allocate():
        first = torch.empty(2**20)  # 4 MiB
        second = torch.empty(2**20)
        del first
        third = torch.empty(2**18)  # 1 MiB, after the first was freed
        return second.shape, third.shape

    assert speed.measure_memory(allocate, settings) == pytest.approx(8, abs=0.05)


def test_ratios_are_paired_by_round():
    row = speed.compare("row", ours=[1.0, 4.0, 3.0], theirs=[2.0, 40.0, 4.0])
    assert row["ratio"] == 0.5 and row["ratio of minima"] == 0.5
    assert row["ours ms"] == 3.0 and row["theirs ms"] == 4.0 and row["ratios"] == "0.100-0.750"


def test_every_side_runs_in_every_round_in_turns():
    order = []
    sides = {name: lambda name=name: order.append(name) for name in "ab"}
    times = speed.interleave(sides, speed.SpeedOptions(rounds=3, warmup=1))
    assert "".join(order) == "abbaabba"
    assert [len(values) for values in times.values()] == [3, 3]


def test_postprocess_agrees_with_the_plain_rule():
    tables, _ = speed.postprocess_table(
        speed.SpeedOptions(size=(64, 96), output_size=(48, 80), rounds=1, warmup=0, threads=None)
    )
    (rows,) = tables.values()
    assert [row["pixels off plain form"] for row in rows] == [0, 0, 0]
    assert all(row["segments"] == row["plain segments"] for row in rows)
    assert rows[0]["segments"] > 40 and rows[2]["segments"] == 0


def test_training_step_of_both_sides(monkeypatch):
    from benchmarks import training_step

    monkeypatch.setattr(training_step.Variant, "config", lambda self: tiny_model().config)
    settings = speed.SpeedOptions(size=(64, 96), batch=[2], rows=["1,1,1"], rounds=2, warmup=0, segments=3)
    tables, notes = training_step.training_table(settings)
    ((row,),) = tables.values()
    assert row["batch"] == 2 and row["encoder layers, ours"] == row["encoder layers, peer"] == 3
    assert row["ours MiB"] > 1 and row["theirs MiB"] > 1 and row["ratio"] > 0
    assert "3 segments" in notes[0]
    settings.rounds, settings.peer_layers = 1, 2
    (((other,),), _) = training_step.training_table(settings)[0].values(), notes
    assert (other["encoder layers, ours"], other["encoder layers, peer"]) == (3, 2)


def test_training_step_moves_every_weight():
    from benchmarks import training_step

    model, settings = tiny_model().train(), speed.SpeedOptions(size=(64, 96))
    labels = training_step.segment_maps(3, 2, (64, 96), 5)
    assert [sorted(ids.unique().tolist()) for ids in labels["mask_labels"]] == [[1, 2, 3]] * 2
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    batch = {**labels, "pixel_values": speed.pixel_values(settings, 2)}
    assert torch.isfinite(training_step.training_step(model, batch, settings)())
    moved = [name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])]
    assert len(moved) == len(before)


def test_rows_of_timm_backbones_need_timm(monkeypatch):
    everything = published.buildable([*COCO, *CITYSCAPES])
    monkeypatch.setattr(published.importlib.util, "find_spec", lambda name: None)
    without = published.buildable([*COCO, *CITYSCAPES])
    assert {row.variant.backbone for row in everything if row not in without} <= {"MViTv2-T"}
    assert len(without) == len(COCO) + len(CITYSCAPES) - 3


def test_result_file_tells_its_origin(tmp_path, capsys, monkeypatch):
    from benchmarks import parameters

    monkeypatch.setattr(
        parameters, "parameter_table", lambda: [{"model": "x", "total (M)": 1.5, "published (M)": None}]
    )
    path = tmp_path / "results" / "params.json"
    assert benchmarks.main(["params", "--table", "proscale", "--output", str(path)]) == 0
    result = json.loads(path.read_text())
    assert result["command"] == f"python scripts/benchmark.py params --table proscale --output {path}"
    assert result["tables"]["Parameters"] == [{"model": "x", "total (M)": 1.5, "published (M)": None}]
    assert {"commit", "device", "versions", "date", "threads", "platform", "notes"} <= set(result)
    assert {"torch", "transformers", "hfseg", "python"} <= set(result["versions"])
    assert "|     x |     1.500 |             - |" in capsys.readouterr().out


def test_table_joins_columns_of_all_rows():
    assert format_table([{"a": 1}, {"a": 2.0, "b": 1e-5}]).splitlines() == [
        "|     a |       b |",
        "|------:|--------:|",
        "|     1 |       - |",
        "| 2.000 | 1.0e-05 |",
    ]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--rows", "3,3"], "three layer counts"),
        (["--backbone", "VGG"], "Swin-T"),
        (["--rounds", "0"], "positive"),
        (["--batch", "1", "0"], "positive"),
        (["--training", "--compile"], "matching runs on the host"),
    ],
)
def test_bad_options_name_what_is_legal(arguments, part, capsys):
    assert benchmarks.main(["speed", *arguments]) == 1
    assert part in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a device")
def test_missing_device_is_an_error(capsys):
    assert benchmarks.main(["speed", "--device", "cuda"]) == 1
    assert "--device cpu" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("encoder", "pixel_decoder", "total"),
    [("lite", 79.78, 188.0), ("lite-lpe", 43.92, 154.6), ("hybrid", 59.66, 158.3)],
)
def test_baselines_count_what_the_paper_prints_on_coco(encoder, pixel_decoder, total):
    variant = Variant("Swin-T", encoder, "coco")
    narrow, wide = (flops.cost(variant, width) for width in (1088, 1216))
    assert wide.encoder == pytest.approx(pixel_decoder, abs=0.02 if encoder == "hybrid" else 0.005)
    share = (published.MEAN_WIDTH - 1088) / (1216 - 1088)
    assert narrow.total + share * (wide.total - narrow.total) == pytest.approx(total, rel=2e-3)
