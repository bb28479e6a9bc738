# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The sheet of the shipped models: every task has its card, the examples are what they are said to be."""

import shutil

import numpy as np
import pytest
from PIL import Image

from hfseg import tasks
from hfseg.commands.main import main
from hfseg.demo.examples import FOLDER, examples_for
from hfseg.demo.overview import CELL, Card, brightened, draw_sheet, make_card, overview, predictors_of
from tiny_zoo import model_folder

# Name of a tiny model to the shipped name that it stands for.
NAMES = {
    "proscale": "proscale-tiny-nuclei",
    "meddensevit": "meddensevit-tiny-hippocampus",
    "unisegformer": "unisegformer-tiny-shapes",
    "vpnext": "vpnext-tiny-shapes",
    "cris": "cris-tiny-shapes",
    "unpairseg": "unpairseg-tiny-shapes",
    "lavin_dit": "lavin-dit-tiny-shapes",
}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A checkpoints folder with a random model of every architecture."""
    root = tmp_path_factory.mktemp("zoo")
    folder = tmp_path_factory.mktemp("checkpoints")
    for kind, name in NAMES.items():
        shutil.copytree(model_folder(kind, root), folder / name)
    return folder


def test_every_shipped_model_gets_a_card(shelf, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tasks, "CHECKPOINTS", shelf)
    assert main(["quickstart", "--output_dir", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["meddensevit-tiny-hippocampus", "proscale-tiny-nuclei"]
    for name in NAMES.values():
        assert sum(line.startswith(name) for line in lines) == (2 if name.startswith("unpairseg") else 1)
    assert "ml" in lines[0] and "of 3 expressions" in shown and "generated" not in shown
    with Image.open(tmp_path / "out" / "overview.png") as sheet:
        assert sheet.width > 4 * CELL and sheet.height > 6 * CELL  # three rows of two cards, three wide ones
        pixels = np.asarray(sheet.convert("RGB"))
    # The micrograph, which is dark, is on it, brightened.
    micrograph = Image.open(FOLDER / "nuclei.png").convert("RGB")
    assert np.asarray(micrograph).max() < 128
    first = np.asarray(brightened(micrograph)[0].resize((CELL, CELL), Image.Resampling.BICUBIC))
    assert first.max() > 200
    rows, columns = np.nonzero((pixels[:, : 2 * CELL] == first[0, 0]).all(-1))
    assert any(np.array_equal(pixels[y : y + CELL, x : x + CELL], first) for y, x in zip(rows, columns))


@pytest.mark.parametrize("kind", NAMES)
def test_a_card_shows_what_was_asked_and_what_came_out(kind, shelf):
    for predictor in predictors_of(shelf / NAMES[kind]):
        example = examples_for(predictor)[0]
        card = make_card(predictor, example)
        assert card.title == NAMES[kind] and example.about in card.about
        assert all(max(image.size) == CELL for _, image in card.cells)
        captions = [caption for caption, _ in card.cells]
        if kind == "cris":
            assert captions[1:] == [f"“{text}”" for text in example.text]
        elif kind == "meddensevit":
            assert [caption.split()[0].rstrip(":") for caption in captions[1:]] == ["sagittal", "coronal", "axial"]
        elif kind == "lavin_dit":
            target = Image.open(example.pair[1]).convert("RGB").resize((CELL, CELL), Image.Resampling.BICUBIC)
            assert np.array_equal(np.asarray(card.cells[1][1]), np.asarray(target)) and len(captions) == 4
        else:
            assert len(captions) == 2
        if predictor.task == "mask-generation":
            assert captions == ["3 points", "3 masks"]


def test_without_models_and_without_an_extra(shelf, tmp_path, monkeypatch):
    monkeypatch.setattr(tasks, "CHECKPOINTS", tmp_path)
    with pytest.raises(ValueError, match="no model is shipped"):
        overview(tmp_path / "out")
    shutil.copytree(shelf / NAMES["vpnext"], tmp_path / NAMES["vpnext"])
    shutil.copytree(shelf / NAMES["meddensevit"], tmp_path / NAMES["meddensevit"])

    def missing(*given, **settings):
        raise ImportError("Volumes need nibabel: pip install 'hfseg[medical]'.")

    monkeypatch.setattr("hfseg.demo.overview.read_volume", missing)
    lines = []
    assert overview(tmp_path / "out", lines.append).is_file()
    assert "left out: Volumes need nibabel" in lines[0] and lines[1].startswith("vpnext-tiny-shapes")


def test_narrow_cards_share_a_row():
    image = Image.new("RGB", (CELL, CELL), "red")
    narrow, wide = (Card("a", "b", [("c", image)] * count, "", 0.0) for count in (2, 4))
    one = draw_sheet([narrow])
    assert draw_sheet([narrow, narrow]).size == one.size
    assert draw_sheet([narrow, wide, narrow]).size == draw_sheet([wide, wide]).size
    reds = (np.asarray(draw_sheet([narrow, wide, narrow])) == (255, 0, 0)).all(-1).sum()
    assert reds == 8 * CELL * CELL  # nothing covers anything
