# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Videos and boxes for in-context tasks, on small folders in the layouts of UCF101, Kinetics and Objects365."""

import json
import logging
import shutil

import numpy as np
import pytest
from PIL import Image

from hfseg.data.readers.in_context import InContextDataset, find_task, make_pair
from hfseg.data.readers.in_context_sets import KineticsSource, Objects365Source, Ucf101Source, VideoFolderSource
from hfseg.data.readers.in_context_sources import NotInSampleError, open_source
from hfseg.results.visual_formats import FORMATS


def frames_of(count, first=0):
    """Frames whose gray level says their number: 4 levels apart."""
    return [np.full((32, 48, 3), 4 * (first + number), dtype=np.uint8) for number in range(count)]


def write_frames(folder, count):
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames_of(count)):
        Image.fromarray(frame).save(folder / f"{number:04d}.png")


def write_video(file, count):
    av = pytest.importorskip("av", reason="video files are read with PyAV, an extra")
    file.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(file), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 48, 32, "yuv420p", 4_000_000
        for frame in frames_of(count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


def numbers(clip):
    """Numbers of the frames of a clip, by their gray level."""
    return np.rint(clip.reshape(len(clip), -1).mean(1) / 4).astype(int).tolist()


def test_clips_are_the_middle_of_their_videos(tmp_path):
    write_frames(tmp_path / "walk" / "a", 21)
    write_video(tmp_path / "run" / "b.mp4", 23)
    source = VideoFolderSource(tmp_path, num_frames=5, stride=2)
    assert [source.sample_id(index) for index in range(2)] == ["run/b", "walk/a"]
    assert numbers(source[1]["frames"]) == [6, 8, 10, 12, 14] and source[1]["frames"].shape == (5, 32, 48, 3)
    assert numbers(source[0]["frames"]) == [7, 9, 11, 13, 15]
    for index in (0, 1):  # a file, and a folder of frames
        with pytest.raises(NotInSampleError, match="fewer than 24"):
            VideoFolderSource(tmp_path, num_frames=24)[index]
    (tmp_path / "run/c.avi").write_bytes(b"no video at all" * 50)
    with pytest.raises(ValueError, match=r"c\.avi is no video"):
        VideoFolderSource(tmp_path)[1]
    with pytest.raises(ValueError, match="stride 0"):
        VideoFolderSource(tmp_path, stride=0)
    with pytest.raises(FileNotFoundError, match="holds no videos"):
        VideoFolderSource(tmp_path / "walk" / "a")


def test_ucf101_by_its_lists(tmp_path, caplog):
    for name in ("v_A_g01_c01", "v_A_g02_c01"):
        write_frames(tmp_path / "UCF-101" / "A" / name, 17)
    write_video(tmp_path / "UCF-101" / "A" / "v_A_g03_c01.avi", 17)
    lists = tmp_path / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "trainlist01.txt").write_text("A/v_A_g02_c01.avi 1\nA/v_A_g03_c01.avi 1\nA/v_A_g09_c01.avi 1\n")
    (lists / "testlist02.txt").write_text("A/v_A_g01_c01.avi\n")
    with caplog.at_level(logging.WARNING):
        source = open_source({"reader": "ucf101", "root": str(tmp_path)})
    assert [source.sample_id(index) for index in range(len(source))] == ["A/v_A_g02_c01", "A/v_A_g03_c01"]
    assert "1 videos" in caplog.text and numbers(source[1]["frames"]) == list(range(17))
    assert Ucf101Source(tmp_path, "test", fold=2).sample_id(0) == "A/v_A_g01_c01"
    with pytest.raises(FileNotFoundError, match=r"testlist01\.txt"):
        Ucf101Source(tmp_path, "test")
    with pytest.raises(ValueError, match="folds 1 to 3"):
        Ucf101Source(tmp_path, fold=4)
    (lists / "testlist03.txt").write_text("../../elsewhere.avi\n")
    with pytest.raises(ValueError, match=r"is outside of the dataset.s folder.*correct the name"):
        Ucf101Source(tmp_path, "test", fold=3)


def test_kinetics_and_frame_prediction(tmp_path):
    write_frames(tmp_path / "val" / "juggling" / "abc_000001_000011", 18)
    write_frames(tmp_path / "val" / "juggling" / "short", 4)
    write_frames(tmp_path / "val" / "running" / "abd_000001_000011", 17)
    source = KineticsSource(tmp_path, "validation")
    data = InContextDataset(
        ["frame_prediction"], sources={"kinetics": {"reader": "kinetics", "root": str(tmp_path), "split": "val"}},
        num_examples=1, length=3,
    )  # fmt: skip
    item = data[0]
    assert len(source) == 3
    assert numbers(item["query"]) == [0, 1, 2, 3, 4] and numbers(item["target"]) == list(range(4, 17))
    with pytest.raises(FileNotFoundError):
        KineticsSource(tmp_path, "train")


@pytest.fixture
def objects(tmp_path):
    images = [{"id": n, "file_name": f"images/v1/patch{n % 2}/objects365_v1_{n}.jpg"} for n in (5, 6, 7)]
    boxes = [(6, [10.0, 4.0, 20.0, 12.0], 0), (5, [1.0, 2.0, 8.0, 9.0], 0), (6, [0.0, 0.0, 47.0, 31.0], 1)]
    annotations = [
        {"image_id": i, "bbox": b, "iscrowd": c, "category_id": 3, "id": n} for n, (i, b, c) in enumerate(boxes)
    ]
    (tmp_path / "annotations").mkdir()
    content = {"images": images, "annotations": annotations, "categories": [{"id": 3, "name": "x"}]}
    (tmp_path / "annotations/zhiyuan_objv2_val.json").write_text(json.dumps(content))
    for number in (5, 6):
        file = tmp_path / f"val/patch{number % 2}/objects365_v1_{number}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((32, 48, 3), number, dtype=np.uint8)).save(file)
    return tmp_path


def test_boxes_of_objects365_make_detection(objects):
    source = Objects365Source(objects, "validation")
    assert [source.sample_id(n) for n in range(len(source))] == ["objects365_v1_5", "objects365_v1_6"]
    assert [segment["bbox"] for segment in source[0]["segments_info"]] == [(1.0, 2.0, 8.0, 9.0)]
    record = source[1]
    assert [(s["bbox"], s["iscrowd"]) for s in record["segments_info"]] == [
        ((10.0, 4.0, 20.0, 12.0), 0),
        ((0.0, 0.0, 47.0, 31.0), 1),
    ]
    given, target = make_pair(find_task("single_object_detection"), record, np.random.default_rng(0))
    assert given.shape == (32, 48, 3) and FORMATS["detection"].decode(target) == (10, 4, 20, 12)  # no crowd
    sources = {"objects365": {"reader": "objects365", "root": str(objects), "split": "val"}}
    with pytest.raises(ValueError, match="instance_segmentation needs segmentation, which the source objects365"):
        InContextDataset({"instance_segmentation": ["objects365"]}, sources=sources)


def test_damage_of_objects365(objects):
    with pytest.raises(FileNotFoundError, match="zhiyuan_objv2_train"):
        Objects365Source(objects)
    file = objects / "annotations/zhiyuan_objv2_val.json"
    plain = file.read_text()
    content = json.loads(plain)
    content["images"][0]["file_name"] = "../../elsewhere.jpg"
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"elsewhere.jpg., which is outside"):
        Objects365Source(objects, "val")[0]
    file.write_text(plain)
    shutil.rmtree(objects / "val")
    with pytest.raises(FileNotFoundError, match="objects365_v1_5"):
        Objects365Source(objects, "val")[0]
    file = objects / "annotations/zhiyuan_objv2_val.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["bbox"] = [1, 2]
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="damaged"):
        Objects365Source(objects, "val")
    file.write_text("[]")
    with pytest.raises(ValueError, match="0 usable samples"):
        Objects365Source(objects, "val")
