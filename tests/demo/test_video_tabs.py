# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Tab of videos by example: a pair of clips is shown, a video is answered clip by clip, limits hold."""

import threading
from fractions import Fraction

import pytest
import torch
from PIL import Image

pytest.importorskip("gradio", reason="extra `demo`")
pytest.importorskip("av", reason="extra `video`")


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    from hfseg import LavinDiTPipeline, LavinDiTScheduler, LavinDiTTransformer3DModel, PixelAutoencoder
    from hfseg.demo.tabs import Loaded
    from hfseg.demo.video_tabs import TABS, _ClipsByExample
    from hfseg.demo.visits import Limits
    from hfseg.inference.predictor import Predictor
    from hfseg.inference.video import VideoWriter
    from lavin_dit_models import TINY, drawn

    folder = tmp_path_factory.mktemp("clips")
    torch.manual_seed(0)
    vae = PixelAutoencoder(2, sample_height=32, sample_width=32)
    pipe = LavinDiTPipeline(drawn(LavinDiTTransformer3DModel(**TINY)), vae, LavinDiTScheduler())
    pipe.save_pretrained(folder / "model")
    for name, frames in (("input", 2), ("target", 2), ("long", 9), ("video", 5), ("short", 1)):
        with VideoWriter(folder / f"{name}.mp4", Fraction(5)) as writer:
            for index in range(frames):
                writer.write(Image.new("RGB", (48, 32), (20 * index, 0, 200)))
    predictor = Predictor(folder / "model", progress=False)
    assert [build for build, serves in TABS if serves(predictor)][-1] is _ClipsByExample
    models = {"lavin": Loaded("lavin", predictor, threading.Lock())}
    made = _ClipsByExample.__new__(_ClipsByExample)
    made.models, made.folder, made.limits = models, folder, Limits(frames=8)
    made.room = lambda: (folder / "room").mkdir(exist_ok=True) or folder / "room"
    made.given = folder
    return made


def test_a_video_is_answered_clip_by_clip(tab):
    from hfseg.inference.video import VideoReader

    pair = tuple(str(tab.given / f"{part}.mp4") for part in ("input", "target"))
    video, status, files = tab.answered("lavin", pair, str(tab.given / "video.mp4"), "mask", 2, 5, 0.5)
    assert "5 frames" in status and [file.rsplit("_", 1)[-1] for file in files[:2]] == ["overlay.mp4", "answer.mp4"]
    assert len(list(VideoReader(files[1]))) == 5 and video == files[0]


@pytest.mark.parametrize(
    "example, path, message",
    [
        (("input.mp4", None), "video.mp4", "Give an example"),
        (("long.mp4", "target.mp4"), "video.mp4", r"long\.mp4 has more than 8 frames"),
        (("input.mp4", "target.mp4"), "short.mp4", r"has 1 frame\(s\); the clips of the examples have 2"),
        (("input.mp4", "target.mp4"), None, "Upload a video"),
    ],
)
def test_what_is_missing_or_too_long_is_said(tab, example, path, message):
    files = tuple(name and str(tab.given / name) for name in example)
    with pytest.raises(ValueError, match=message) as caught:
        tab.answered("lavin", files, path and str(tab.given / path), "images", 2, 5, 0.5)
    assert str(tab.given) not in str(caught.value)
