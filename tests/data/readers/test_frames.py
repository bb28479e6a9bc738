# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What an autoencoder learns from: images, clips, or both in buckets of one shape, from folders of real files too."""

import numpy as np
import pytest
from PIL import Image

from hfseg.data.readers.frames import FramesCollator, FramesDataset


def write(path, level):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((20, 30, 3), level, dtype=np.uint8)).save(path)


@pytest.fixture
def folders(tmp_path):
    """Two folders of images, gray 10 to 12 and 50, and a folder of clips of five frames, gray 200."""
    for number in range(3):
        write(tmp_path / "photos" / f"{number}.jpg", 10 + number)
    write(tmp_path / "more" / "a.png", 50)
    for number in range(5):
        write(tmp_path / "clips" / "one" / f"{number}.png", 200)
    return tmp_path


def test_a_folder_of_images_that_a_recipe_describes(folders):
    data = FramesDataset(source={"reader": "images", "root": str(folders / "photos")}, num_scenes=9)
    assert len(data) == 3 and [int(np.rint(data[index].mean())) for index in range(3)] == [10, 11, 12]
    with pytest.raises(IndexError):
        data[3]


def test_images_and_clips_jointly(folders):
    """Buckets of one kind, by share; every image and every clip is among the items."""
    images = [{"reader": "images", "root": str(folders / name)} for name in ("photos", "more")]
    clips = {"root": str(folders / "clips"), "num_frames": 5}
    data = FramesDataset(source=images, video_source=clips, video_share=0.25, bucket=2)
    assert len(data) == 6  # 4 images / 0.75
    levels = [int(np.rint(data[index].mean())) for index in range(len(data))]
    assert levels[6:] == [] and set(levels) == {10, 11, 12, 50}  # the fourth bucket would be of clips
    long = FramesDataset(source={"reader": "images", "root": str(folders / "more")}, video_source=clips, bucket=3)
    assert long.video_share == 0.5 and len(long) == 2
    scenes = FramesDataset(num_scenes=8, image_size=(32, 32), num_frames=5, video_share=0.25, bucket=4)
    kinds = [scenes[index].ndim for index in range(len(scenes))]
    buckets = [set(kinds[start : start + 4]) for start in range(0, len(kinds), 4)]
    assert len(scenes) == 32 and all(len(bucket) == 1 for bucket in buckets)  # 8 clips / 0.25
    assert kinds.count(4) / len(kinds) == pytest.approx(0.25, abs=0.02)
    assert {scenes._place(index)[1] for index in range(32) if kinds[index] == 4} == set(range(8))
    assert {scenes._place(index)[1] for index in range(32) if kinds[index] == 3} == set(range(8))


def test_scenes_jointly_alone_and_their_targets():
    shapes = {"num_scenes": 8, "image_size": (32, 32)}
    assert {FramesDataset(**shapes)[index].ndim for index in range(8)} == {3}
    assert {FramesDataset(num_frames=5, **shapes)[index].shape for index in range(4)} == {(5, 32, 32, 3)}
    joint = FramesDataset(num_frames=5, video_share=0.5, **shapes)
    kinds = [joint[index].ndim for index in range(len(joint))]
    assert len(joint) == 16 and kinds.count(4) == kinds.count(3) == 8
    plain = FramesDataset(with_targets=False, **shapes)
    assert not np.array_equal(plain[1], FramesDataset(**shapes)[1]) and np.array_equal(
        plain[0], FramesDataset(**shapes)[0]
    )
    with pytest.raises(ValueError, match="video_share is 2"):
        FramesDataset(video_share=2)


def test_batches_of_one_shape():
    collate = FramesCollator(8, 12)
    image, clip = np.zeros((20, 30, 3), dtype=np.uint8), np.full((5, 20, 30, 3), 255, dtype=np.uint8)
    assert collate([image, image])["pixel_values"].shape == (2, 3, 1, 8, 12)
    batch = collate([clip])["pixel_values"]
    assert batch.shape == (1, 3, 5, 8, 12) and batch.min() == 1
    with pytest.raises(ValueError, match="mixes shapes"):
        collate([image, clip])
