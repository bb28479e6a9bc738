# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The app of the demo: what a tab answers."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hfseg.inference.predictor import Prompts
from tiny_zoo import image, model_folder

gradio = pytest.importorskip("gradio", reason="extra `demo`")


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    return tmp_path_factory.mktemp("zoo")


def test_answer_of_a_tab(zoo, tmp_path):
    from hfseg.demo.answers import draw
    from hfseg.demo.app import build_app, load
    from hfseg.demo.tabs import _Segments
    from hfseg.demo.visits import Limits

    predictors = load([str(model_folder(name, zoo)) for name in ("proscale", "vpnext", "unpairseg")])
    assert [p.task for p in predictors] == ["universal", "semantic", "open-vocabulary", "mask-generation"]
    app = build_app(predictors, folder=tmp_path)
    names = {block.label for block in app.blocks.values() if type(block).__name__ == "Tab"}
    assert names == {"Segments", "Names of classes", "Points and boxes", "Videos"}
    menus = [block for block in app.blocks.values() if type(block).__name__ == "Dropdown"]
    assert [choice[1] for choice in menus[0].choices] == ["proscale", "vpnext"]

    from hfseg.demo.tabs import Loaded

    tab = _Segments([Loaded("proscale", predictors[0], _Lock())], Limits(pixels=10_000), tmp_path)
    image().save(tmp_path / "a.png")
    shown, status, files, kept = tab.answer("proscale", str(tmp_path / "a.png"), 0.25, Prompts())
    count = len(kept[0].result.segments_info)
    assert f"{count} segments" in status and " s**" in status and "90 x 60" in status
    assert {Path(file).name for file in files} == {"a_overlay.png", "a_ids.png", "a.json"}
    base, masks = shown.value["image"], shown.value["annotations"]
    assert base and 0 < len(masks) <= count and len({mask["label"] for mask in masks}) == len(masks)
    with Image.open(masks[0]["image"]["path"]) as mask:  # the opacity is in the masks
        assert set(np.unique(np.array(mask)[..., 3])) <= {0, 63}
    assert draw(None, 0.5) is None

    for file, name, words in (
        (None, "proscale", "Upload an image"),
        (str(tmp_path / "a.png"), "other", "no model 'other'"),
        (str(tmp_path / "no.png"), "proscale", "no.png"),
    ):
        with pytest.raises(gradio.Error, match=words):
            tab.answer(name, file, 0.5, Prompts())
    image(200, 300).save(tmp_path / "large.png")
    with pytest.raises(gradio.Error, match="larger than the limit of 10000") as error:
        tab.answer("proscale", str(tmp_path / "large.png"), 0.5, Prompts())
    assert str(tmp_path) not in str(error.value)  # no paths of the server
    (tmp_path / "bad.png").write_text("no image")
    with pytest.raises(gradio.Error, match="not an image"):
        tab.answer("proscale", str(tmp_path / "bad.png"), 0.5, Prompts())


class _Lock:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass
