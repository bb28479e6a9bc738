# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The tabs of the demo: what an upload comes to, and what is said of one that is wrong."""

import json
import zipfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hfseg.inference.predictor import Prediction, Predictor
from hfseg.inference.video import VideoReader, VideoWriter
from hfseg.results.segmentation_result import SegmentationResult
from tiny_zoo import model_folder, volume_file

gradio = pytest.importorskip("gradio", reason="extra `demo`")


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    return tmp_path_factory.mktemp("zoo")


class _Lock:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def test_volume_tab(zoo, tmp_path):
    pytest.importorskip("nibabel")
    from hfseg.demo.answers import draw
    from hfseg.demo.tabs import Loaded, _Volumes
    from hfseg.demo.visits import Limits
    from hfseg.inference.volume_images import slice_prediction

    predictor = Predictor(model_folder("meddensevit", zoo))
    tab = _Volumes([Loaded("med", predictor, _Lock())], Limits(), tmp_path)
    kept, files, _, found = tab.segment("med", str(volume_file(tmp_path / "scan.nii.gz")), "MR")
    volume, labels, axis, names = kept
    assert labels.shape == volume.shape and found.notice and Path(files[0]).name == "segmentation.nii.gz"
    prediction = slice_prediction(volume, labels, axis, 2, names)
    assert draw(prediction, 0.5).value["image"]
    # The patient's right (low x) is at the left, and the front (high y) up.
    plane = np.take(labels, 2, axis)
    found_ids = prediction.result.segmentation.numpy()
    if axis == 2:
        corner = int(plane[-1, -1])
        assert found_ids[0, 0] == (corner + 1 if corner else 0)
    with pytest.raises(ValueError, match="no slice 99"):
        slice_prediction(volume, labels, axis, 99, names)
    tab.limits = Limits(voxels=10)
    with pytest.raises(ValueError, match="the limit is 10"):
        tab.segment("med", str(tmp_path / "scan.nii.gz"), "MR")


def moving_square(path, count=6, size=(64, 48)):
    """Writes a video of a square that moves to the right."""
    with VideoWriter(path, Fraction(10)) as writer:
        for index in range(count):
            frame = np.full((size[1], size[0], 3), 60, dtype=np.uint8)
            frame[12:36, 4 + 3 * index : 28 + 3 * index] = (220, 40, 40)
            writer.write(Image.fromarray(frame))
    return path


def test_video_tab(zoo, tmp_path):
    pytest.importorskip("av", reason="extra `video`")
    from hfseg.demo.app import build_app
    from hfseg.demo.tabs import Loaded
    from hfseg.demo.video_tabs import _Videos
    from hfseg.demo.visits import Limits

    (tmp_path / "app").mkdir()

    predictor = Predictor(model_folder("proscale", zoo))
    app = build_app([predictor, Predictor(model_folder("meddensevit", zoo))], folder=tmp_path / "app")
    assert [block.label for block in app.blocks.values() if type(block).__name__ == "Tab"][-1] == "Videos"
    menus = [block for block in app.blocks.values() if type(block).__name__ == "Dropdown"]
    assert [choice[1] for choice in menus[-1].choices] == ["proscale"]  # volumes are no videos

    class Square:
        """Finds the square, and numbers it differently in every frame."""

        task, class_name, calls = "universal", "Square", 0

        def check(self, prompts, options):
            predictor.check(prompts, options)

        def clip_frames(self, prompts, options):
            return None  # image by image

        def __call__(self, frame, prompts, options):
            self.calls += 1
            ids = torch.from_numpy((np.asarray(frame)[..., 0] > 140).astype(np.int32) * self.calls)
            segments = [{"id": self.calls, "label_id": 1, "score": 0.9}]
            return Prediction(frame, SegmentationResult(ids, segments), {1: "square"})

    clip = moving_square(tmp_path / "my clip.mp4")
    tab = _Videos([Loaded("square", Square(), _Lock())], Limits(frames=20), tmp_path / "app")
    seen = []
    video, status, files = tab.segment(
        "square", str(clip), "", "panoptic", 4, 0.5, lambda *given, **_: seen.append(given)
    )
    assert status.startswith("**4 frames, the first 4 of 6, 1 objects, ") and seen == [((n, 4),) for n in (1, 2, 3, 4)]
    assert len(list(VideoReader(video))) == 4
    assert [Path(file).name for file in files] == ["my_clip_overlay.mp4", "my_clip_ids.zip", "my_clip.json"]
    record = json.loads(Path(files[2]).read_text())
    assert [[s["id"] for s in frame["segments"]] for frame in record["frames"]] == [[1]] * 4  # one object, one id
    with zipfile.ZipFile(files[1]) as archive:
        assert sorted(archive.namelist())[-1] == "000003.png"
    # Without ids that stay: of classes.
    assert ", 4 classes, " in tab.segment("square", str(clip), "", "semantic", 4, 0.5)[1]
    # A file that ends early gives what is there, and says so; so does one that is none.
    (tmp_path / "cut.mp4").write_bytes(clip.read_bytes()[:600])
    (tmp_path / "text.mp4").write_text("this is no video")
    for file, most, words in (
        (None, 4, "Upload a video"),
        (tmp_path / "none.mp4", 4, "no video file"),
        (tmp_path / "text.mp4", 4, "text.mp4' is no video"),
        (tmp_path / "cut.mp4", 4, "cut.mp4' is no video"),
        (clip, 21, "21 frames; the limit is 20"),
        (clip, 0, "0 frames"),
    ):
        with pytest.raises(ValueError, match=words) as error:
            tab.segment("square", file and str(file), "", "model's own", most, 0.5)
        assert str(tmp_path) not in str(error.value)
    tab.limits = Limits(frame_pixels=1000)
    with pytest.raises(ValueError, match=r"have \d+ x \d+ pixels; the limit is 1000"):
        tab.segment("square", str(clip), "", "model's own", 4, 0.5)
    with pytest.raises(ValueError, match="no model 'other'"):
        tab.segment("other", str(clip), "", "model's own", 4, 0.5)
    assert len([path for path in (tmp_path / "app").glob("*/*") if path.is_dir()]) == 2  # failed ones leave nothing


def test_videos_of_words(zoo, tmp_path):
    pytest.importorskip("av", reason="extra `video`")
    from hfseg.demo.tabs import Loaded
    from hfseg.demo.video_tabs import _Videos
    from hfseg.demo.visits import Limits

    tab = _Videos([Loaded("cris", Predictor(model_folder("cris", zoo)), _Lock())], Limits(prompts=2), tmp_path)
    clip = moving_square(tmp_path / "clip.mp4", 2)
    _, status, files = tab.segment("cris", str(clip), "red circle\n\n", "model's own", 9, 0.5)
    assert status.startswith("**2 frames, ")
    assert json.loads(Path(files[2]).read_text())["categories"] == [{"id": 0, "name": "red circle"}]
    with pytest.raises(ValueError, match="needs text"):
        tab.segment("cris", str(clip), " ", "model's own", 9, 0.5)
    with pytest.raises(ValueError, match="3 lines at once"):
        tab.segment("cris", str(clip), "a\nb\nc", "model's own", 9, 0.5)
