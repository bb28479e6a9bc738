# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg benchmark` of Unpair-Seg: the paper's 221M, baselines by hand, and the rows of the open-vocabulary table."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks import main, open_vocabulary, unpairseg_authors
from benchmarks.unpairseg import baseline, parameter_table, squares
from benchmarks.unpairseg_authors import authors_model, center_scores
from hfseg import UnpairSegForMaskGeneration
from hfseg.training import load_recipe
from unpairseg_models import tiny_config


def test_the_papers_221_million():
    rows = {row["part"]: row for row in parameter_table()}
    assert rows["sum: the paper's 221M"]["parameters"] == 221_749_381
    assert rows["trained in stage 1"]["parameters"] == 21_978_565
    assert rows["semantic adapter, trained in stage 2"]["parameters"] == 5_654_624
    assert all(row["deviation %"] in (0, None) for row in rows.values())


def test_baselines_by_hand():
    assert squares(40, 40, 2).shape == (16, 40, 40)
    truth = np.zeros((1, 40, 40), dtype=bool)
    truth[0, :20, :20] = True
    truth[0, :10, :10] = False  # an L: three quarters of its box
    numbers = baseline([{"masks": list(truth)}], 2)
    assert numbers["1-box IoU"] == pytest.approx(75)
    # The best square is that of 17 x 17 pixels around the center of the box, (10, 10): 2..18.
    best = np.zeros((40, 40), dtype=bool)
    best[2:19, 2:19] = True
    expected = (best & truth[0]).sum() / (best | truth[0]).sum()
    assert numbers["1-pt IoU"] == pytest.approx(100 * expected)


def test_half_of_the_masks_pass_their_fixed_threshold(monkeypatch):
    """In place of the authors' model: one whose score heads are ours, by their names."""
    torch.manual_seed(0)
    ours = UnpairSegForMaskGeneration(tiny_config()).eval()
    heads = [SimpleNamespace(layers=head.layers) for head in ours.model.mask_decoder.iou_predictors]
    theirs = SimpleNamespace(sem_seg_head={"predictor": SimpleNamespace(iou_embed=heads)}, state_dict=ours.state_dict)
    monkeypatch.setattr(unpairseg_authors, "convert_state_dict", lambda state: state)
    values = torch.randn(1, 3, 64, 64)
    center_scores(theirs, ours, values, 5)
    with torch.no_grad():
        scores = ours(pixel_values=values, points_per_side=5).iou_scores[0]  # (25, M)
    passed = (scores.sigmoid() >= 0.65).float().mean(0)
    assert ((passed >= 0.4) & (passed <= 0.6)).all() and math.isclose(scores.median(), 0.619, abs_tol=0.01)


def test_rows_of_the_open_vocabulary_table(tmp_path, monkeypatch):
    commands, measured = [], []

    def train(words):
        commands.append(words)
        folder = tmp_path / words[words.index("--output_dir") + 1]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "metrics.json").write_text("{}")

    class Processor:
        class image_processor:
            size = {"longest_edge": 96}

        @classmethod
        def from_pretrained(cls, folder):
            return cls

    def measure(folder, scenes):
        measured.append(folder.name)
        return {"mIoU": float(len(measured))}

    monkeypatch.setattr(open_vocabulary, "train", train)
    monkeypatch.setattr(open_vocabulary, "AutoProcessor", Processor)
    monkeypatch.setattr(open_vocabulary, "measure", measure)
    words = ["open-vocabulary", "--folder", str(tmp_path / "up"), "--scenes", "5", "--output", str(tmp_path / "a.json")]
    assert main(words) == 0
    assert measured == ["stage-2-masks", "up", "words-1", "words-2"]
    assert len(commands) == 3 and "model.config.matching=greedy" in commands[1]
    assert "model.config.region_sizes=[96]" in commands[2]
    for command in commands:
        load_recipe(command[1], [word for word in command[2:] if "=" in word])  # every change is legal
    (table,) = json.loads((tmp_path / "a.json").read_text())["tables"].values()
    assert [row["mIoU"] for row in table] == [1, 2, 3, 4]
    assert main(words) == 0 and len(commands) == 3  # nothing is trained twice


def test_folders_that_are_no_checkout(tmp_path, capsys):
    with pytest.raises(ValueError, match="give a checkout of"):
        authors_model(str(tmp_path), None, 64, 2)
