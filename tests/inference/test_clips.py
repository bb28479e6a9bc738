# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What a segmented video leaves behind: ids that stay, or stay as they are; frames before a damage; what was cut."""

import json
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

from hfseg.inference.clips import segment_video
from hfseg.inference.predictor import Options, Prediction, Predictor, Prompts
from hfseg.inference.video import VideoReader
from hfseg.results.segmentation_result import SegmentationResult

pytest.importorskip("av", reason="extra `video`")

SIZE = (32, 16)  # width, height


class Clip:
    """Three frames; after `whole` of them the file is damaged."""

    rate = Fraction(5)

    def __init__(self, whole: int = 3) -> None:
        self.whole = whole

    def __iter__(self):
        for index in range(3):
            if index == self.whole:
                raise ValueError("clip.mp4 is damaged after frame 2")
            yield Image.new("RGB", SIZE, (index, 0, 0))


def ask(image: Image.Image) -> Prediction:
    """Finds a cat on the left and a dog on the right, and numbers them the other way round in every second frame."""
    swapped = image.getpixel((0, 0))[0] % 2 == 1
    ids = torch.ones(SIZE[1], SIZE[0], dtype=torch.int64)
    ids[:, : SIZE[0] // 2] = 2
    if swapped:
        ids = 3 - ids
    cat, dog = (1, 2) if swapped else (2, 1)
    segments = [{"id": cat, "label_id": 0, "score": 0.9}, {"id": dog, "label_id": 1, "score": 0.8}]
    return Prediction(image, SegmentationResult(ids, segments), {0: "cat", 1: "dog"})


def ids_of_cats(folder, frames):
    return [{s["label"]: s["id"] for s in frame["segments"]}["cat"] for frame in frames]


@pytest.mark.parametrize("track, stable", [(True, True), (False, False)])
def test_ids_are_followed_only_if_asked(tmp_path, track, stable):
    done = segment_video(Clip(), ask, tmp_path, "clip", {}, track=track)
    cats = ids_of_cats(tmp_path, done.frames)
    assert (len(set(cats)) == 1) is stable
    for index, cat in enumerate(cats):  # the image of ids says what the record says
        with Image.open(tmp_path / f"clip_ids/{index:06d}.png") as image:
            assert (np.asarray(image)[:, : SIZE[0] // 2] == cat).all()
    assert len(done.objects) == (2 if stable else 4)
    assert json.loads((tmp_path / "clip.json").read_text())["frames"] == done.frames


def test_a_damaged_file_keeps_what_came_before(tmp_path):
    done = segment_video(Clip(whole=2), ask, tmp_path, "clip", {})
    assert done.broken == "clip.mp4 is damaged after frame 2" and not done.cut and len(done.frames) == 2
    assert len(list((tmp_path / "clip_ids").iterdir())) == 2
    with pytest.raises(ValueError, match="damaged"):
        segment_video(Clip(whole=0), ask, tmp_path, "nothing", {})


@pytest.mark.parametrize("track", [True, False])
def test_frames_that_a_limit_has_cut_are_counted(tmp_path, track):
    asked: list[Prediction] = []

    def crowded(image):
        asked.append(ask(image))
        asked[-1].result.incomplete = "all queries are taken" if len(asked) != 2 else ""
        return asked[-1]

    done = segment_video(Clip(), crowded, tmp_path, "clip", {}, track=track)
    assert ["incomplete" in frame for frame in done.frames] == [True, False, True]
    assert done.incomplete == "Results of 2 frames are cut by a limit. The first: all queries are taken"
    assert json.loads((tmp_path / "clip.json").read_text())["frames"] == done.frames
    assert not segment_video(Clip(), ask, tmp_path, "whole", {}).incomplete


@pytest.mark.parametrize("limit, cut", [(2, True), (3, False), (9, False)])
def test_limit_of_frames(tmp_path, limit, cut):
    done = segment_video(Clip(), ask, tmp_path, "clip", {}, max_frames=limit)
    assert (len(done.frames), done.cut, done.broken) == (min(limit, 3), cut, None)
    # What lies behind the limit may be damaged without harm.
    assert segment_video(Clip(whole=2), ask, tmp_path, "clip", {}, max_frames=2).broken is None


def test_clips_reach_to_the_last_frame(tmp_path):
    """Seven frames in clips of three: the last clip reaches back, and every frame is answered once, in order."""
    asked = []

    class Seven(Clip):
        path = tmp_path / "seven.mp4"

        def __iter__(self):
            return iter([Image.new("RGB", SIZE, (30 * index,) * 3) for index in range(7)])

    def answer(frames):
        asked.append([frame.getpixel((0, 0))[0] // 30 for frame in frames])
        return [Prediction(frame, None, answer=frame) for frame in frames]

    done = segment_video(Seven(), answer, tmp_path, "seven", {}, clip_frames=3)
    assert asked == [[0, 1, 2], [3, 4, 5], [4, 5, 6]]
    assert len(done.frames) == 7 and done.answer == tmp_path / "seven_answer.mp4" and done.answer.stat().st_size
    assert not done.cut
    written = [np.asarray(frame).mean() / 30 for frame in VideoReader(done.answer)]
    np.testing.assert_allclose(written, range(7), atol=0.2)
    done = segment_video(Seven(), answer, tmp_path, "cut", {}, clip_frames=3, max_frames=6)
    assert len(done.frames) == 6 and done.cut


def test_frames_are_predicted_from_the_last_clip_alone(tmp_path):
    asked = []

    def predicted(frames):
        asked.append([frame.getpixel((0, 0))[0] for frame in frames])
        return [Prediction(frames[-1], None, answer=frames[-1]) for _ in range(5)]

    Clip.path = tmp_path / "three.mp4"
    done = segment_video(Clip(), predicted, tmp_path, "three", {}, clip_frames=2)
    assert asked[-1] == [1, 2] and len(done.frames) == 5


def test_a_video_shorter_than_a_clip_is_refused(tmp_path):
    Clip.path = tmp_path / "three.mp4"
    with pytest.raises(ValueError, match=r"three\.mp4 has 3 frame\(s\); the clips of the examples have 5"):
        segment_video(Clip(), lambda frames: [], tmp_path, "three", {}, clip_frames=5)


@pytest.fixture(scope="module")
def in_context(tmp_path_factory):
    """Folder of a tiny pipeline, and a folder of two examples of clips: frames, and videos."""
    from hfseg import LavinDiTPipeline, LavinDiTScheduler, LavinDiTTransformer3DModel, PixelAutoencoder
    from hfseg.inference.video import VideoWriter
    from lavin_dit_models import TINY, drawn

    folder = tmp_path_factory.mktemp("in_context")
    torch.manual_seed(0)
    vae = PixelAutoencoder(2, sample_height=32, sample_width=32)
    pipe = LavinDiTPipeline(drawn(LavinDiTTransformer3DModel(**TINY)), vae, LavinDiTScheduler())
    pipe.save_pretrained(folder / "model")
    for part, shade in (("input", 0), ("target", 200)):
        (folder / f"examples/one_{part}").mkdir(parents=True)
        for index in range(3):
            Image.new("RGB", (32, 32), (shade, 20 * index, 0)).save(folder / f"examples/one_{part}/{8 + index}.png")
        with VideoWriter(folder / f"examples/two_{part}.mp4", Fraction(5)) as writer:
            for index in range(3):
                writer.write(Image.new("RGB", (32, 32), (0, 20 * index, shade)))
    (folder / "video").mkdir()
    for index in range(4):
        Image.new("RGB", (48, 32), (60 * index, 0, 90)).save(folder / f"video/{index}.png")
    return folder


def test_predict_answers_a_video_as_clips(in_context, tmp_path):
    """From the command to files: all frames of a clip are seen together, and settings reach the pipeline."""
    from hfseg import LavinDiTPipeline
    from hfseg.commands.predict import main

    video, examples = str(in_context / "video"), str(in_context / "examples")
    ask = [video, "--frames", "--model", str(in_context / "model"), "--examples", examples, "--quiet"]
    how = ["--num_inference_steps", "2", "--guidance_scale", "2.0", "--num_examples", "1", "--seed", "3"]
    assert main([*ask, *how, "--task", "mask", "-o", str(tmp_path)]) == 0
    record = json.loads((tmp_path / "video.json").read_text())
    assert len(record["frames"]) == 4 and record["info"]["guidance_scale"] == 2.0
    answers = list(VideoReader(tmp_path / "video_answer.mp4"))
    assert len(answers) == 4 and answers[0].size == (48, 32)
    assert len(list((tmp_path / "video_ids").glob("*.png"))) == 4
    # What the pipeline says to the first clip by itself; the video's compression is left out.
    pipe = LavinDiTPipeline.from_pretrained(in_context / "model")
    pairs, usual = pipe.read_examples(in_context / "examples", lambda path: list(VideoReader(path)))
    assert len(pairs) == 2 and usual is None
    encoded = pipe.prepare_examples(pairs, num_examples=1, generator=torch.Generator().manual_seed(3))
    clip = [Image.open(in_context / f"video/{index}.png") for index in range(3)]
    settings = {"num_inference_steps": 2, "guidance_scale": 2.0, "generator": torch.Generator().manual_seed(3)}
    images = pipe([clip], encoded, **settings).images[0]
    predictor = Predictor(in_context / "model", progress=False)
    given = Prompts(examples=examples, task="mask"), Options(None, None, None, 2, 3, 2.0, 1)
    assert predictor.clip_frames(*given) == 3
    all_of_them = Options(None, None, None, 2, 3, 2.0, 2)
    both = predictor.answer_clip(clip, given[0], all_of_them)  # encoded apart, though the seed is the same
    found = predictor.answer_clip(clip, *given)
    assert not np.array_equal(both[0].answer, found[0].answer)
    assert (
        all(np.array_equal(one.answer, other) for one, other in zip(found, images)) and len(found) == len(images) == 3
    )
    assert np.array_equal(np.asarray(found[1].decoded), np.asarray(pipe([clip], encoded, task="mask", **{
        **settings, "generator": torch.Generator().manual_seed(3)}).decoded[0][1]))  # fmt: skip


def test_examples_that_are_clips_want_clips(in_context, tmp_path, capsys):
    from hfseg.commands.predict import main

    photo = str(in_context / "video/0.png")
    ask = ["--model", str(in_context / "model"), "--examples", str(in_context / "examples"), "-o", str(tmp_path)]
    assert main([photo, *ask]) == 1
    assert "[1] frames" in capsys.readouterr().err
    (in_context / "examples/one_input.png").write_bytes(b"")
    try:
        assert main([photo, *ask]) == 1
        assert "keep one of them" in capsys.readouterr().err
    finally:
        (in_context / "examples/one_input.png").unlink()
