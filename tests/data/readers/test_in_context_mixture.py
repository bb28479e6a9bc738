# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Several sources, task by task: Table 4.2's mixture as the recipe has it, shares, and faults found at the start."""

import json
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from test_in_context_sources import kubric, persons, photo, save  # noqa: F401

from hfseg.data.readers.in_context import (
    PAPER_TASKS,
    InContextCollator,
    InContextDataset,
    PhotoSource,
    check_source,
    find_task,
    scattered,
)
from hfseg.data.readers.in_context_sources import NotInSampleError, SplitsTogether, _load_splits
from hfseg.training import load_recipe

SHAPES = {"reader": "shapes", "num_scenes": 6, "image_size": [32, 32]}


def coco_panoptic(root, split, count, first=1):
    """Images of 20 x 30 with a thing (id 1, 200 pixels) on a stuff background (id 2)."""
    ids = np.full((20, 30), 2, dtype=np.uint8)
    ids[5:15, 5:25] = 1
    images, annotations = [], []
    for number in range(first, first + count):
        name = f"{number:012d}"
        save(root / f"{split}2017" / f"{name}.jpg", photo())
        save(root / "annotations" / f"panoptic_{split}2017" / f"{name}.png", np.stack([ids, 0 * ids, 0 * ids], -1))
        images.append({"id": number, "file_name": f"{name}.jpg", "height": 20, "width": 30})
        segments = [
            {"id": i, "category_id": c, "iscrowd": 0, "area": a, "bbox": b}
            for i, c, a, b in ((1, 1, 200, [5, 5, 20, 10]), (2, 92, 400, [0, 0, 30, 20]))
        ]
        annotations.append({"image_id": number, "file_name": f"{name}.png", "segments_info": segments})
    categories = [{"id": 1, "name": "person", "isthing": 1}, {"id": 92, "name": "banner", "isthing": 0}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations" / f"panoptic_{split}2017.json").write_text(json.dumps(content))


def videos(root, kind):
    """One class with two videos of 17 frames, as folders of frames."""
    for name in ("v_one", "v_two"):
        for number in range(17):
            save(root / kind / name / f"{number:03d}.png", np.full((32, 32, 3), 9 * number, dtype=np.uint8))


@pytest.fixture
def mixture(tmp_path, persons, kubric):  # noqa: F811
    """Sources of the recipe on generated folders, by name."""
    coco = tmp_path / "coco"
    for split, count, first in (("train", 3, 1), ("val", 2, 11)):
        coco_panoptic(coco, split, count, first)
    for name in [path.stem for path in coco.glob("*2017/*.jpg")]:
        (tmp_path / "normals").mkdir(exist_ok=True)
        normals = np.zeros((20, 30, 3), dtype=np.float32)
        normals[..., 2] = 1
        np.save(tmp_path / "normals" / f"{name}.npy", normals)
        (tmp_path / "depth").mkdir(exist_ok=True)
        np.save(tmp_path / "depth" / f"{name}.npy", np.linspace(1, 2, 600, dtype=np.float32).reshape(20, 30))
    boxes = [{"image_id": 1, "category_id": 1, "bbox": [2, 2, 20, 15], "iscrowd": 0, "id": 1}]
    listed = {"images": [{"id": 1, "file_name": "a/o.jpg"}], "annotations": boxes, "categories": []}
    save(tmp_path / "objects365/train/patch0/o.jpg", photo())
    listed["images"][0]["file_name"] = "images/v1/patch0/o.jpg"
    (tmp_path / "objects365/annotations").mkdir()
    (tmp_path / "objects365/annotations/zhiyuan_objv2_train.json").write_text(json.dumps(listed))
    videos(tmp_path / "kinetics700/train", "juggling")
    videos(tmp_path / "ucf101/UCF-101", "A")
    (tmp_path / "ucf101/ucfTrainTestlist").mkdir()
    (tmp_path / "ucf101/ucfTrainTestlist/trainlist01.txt").write_text("A/v_one.avi 1\nA/v_two.avi 1\n")
    sources = load_recipe("lavin-dit-3.4b-stage1").data.train["sources"]
    both = {"name": "coco_panoptic", "root": str(coco), "split": "train+validation"}
    for name in ("coco", "ade20k", "cityscapes"):
        sources[name]["dataset"] = sources[f"{name}-normals"]["dataset"] = both
        sources[f"{name}-normals"]["normal_folder"] = str(tmp_path / "normals")
    sources["persons"] |= {"root": str(persons[0]), "split": "val"}
    sources["objects365"]["root"] = str(tmp_path / "objects365")
    for name in ("coco-images", "imagenet"):
        sources[name]["root"] = str(coco / "train2017")
    sources["imagenet-depth"] |= {"dataset": {"reader": "images", "root": str(coco / "train2017")}}
    sources["imagenet-depth"]["depth_folder"] = str(tmp_path / "depth")
    sources["ucf101"]["root"], sources["kinetics"]["root"] = str(tmp_path / "ucf101"), str(tmp_path / "kinetics700")
    sources["kubric"] |= {"root": str(kubric[0]), "num_frames": 5}
    return sources


def test_the_recipe_draws_all_22_tasks_from_their_sources(mixture):
    train = load_recipe("lavin-dit-3.4b-stage1").data.train
    assert set(train["tasks"]) == set(PAPER_TASKS) and train["length"] >= 100_000 * 640
    tasks = {**train["tasks"], "frame_prediction": ["ucf101", "kinetics"]}  # clips of 5 frames are too short to predict
    data = InContextDataset(tasks, sources=mixture, num_examples=1, bucket=2, length=400)
    collate = InContextCollator(32, 32)
    for task in data.tasks:
        batch = collate([data.draw(task, 0)])
        frames = (17, 5) if task.name == "frame_prediction" else (5,) if task.is_video else (1,)
        assert batch["input_pixels"].shape[3] in frames and batch["input_pixels"].shape[4:] == (32, 32)
        assert torch.isfinite(batch["target_pixels"]).all()
    assert {data.task_of(index).name for index in range(400)} == set(PAPER_TASKS)
    assert len({data.task_of(index).name for index in (0, 1)}) == 1  # a bucket


class Plain:
    """Images of one gray, and nothing else."""

    keys = ("image",)

    def __init__(self, level, count):
        self.level, self.count = level, count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return {"image": np.full((16, 16, 3), self.level, dtype=np.uint8)}


@pytest.mark.parametrize(
    ("chosen", "share"),
    [
        (["dark", "light"], 0.25),
        ({"sources": {"dark": 3, "light": 1}}, 0.75),
        (None, 0.25),
        ({"sources": {"dark": 0, "light": 1}}, 0.0),
    ],
)
def test_sources_are_drawn_by_size_or_weight(chosen, share):
    sources = {"dark": Plain(10, 5), "light": Plain(200, 15), "scenes": {**SHAPES, "num_frames": 17}}
    tasks = ["inpainting"] if chosen is None else {"inpainting": chosen}
    data = InContextDataset(tasks, sources=sources, num_examples=2, length=600)
    levels = Counter()
    for index in range(600):
        item = data[index]
        own = {int(target[0, 0, 0]) for target in (item["target"], *(target for _, target in item["examples"]))}
        assert len(own) == 1  # query and examples are of one source
        levels[own.pop()] += 1
    assert levels[10] / 600 == pytest.approx(share, abs=0.06) and set(levels) <= {10, 200}


def test_neighbors_of_a_bucket_are_scattered():
    for count in (1, 2, 7, 60, 1000):
        assert sorted(scattered(index, count) for index in range(count)) == list(range(count))
    apart = [abs(scattered(index, 1000) - scattered(index + 1, 1000)) for index in range(999)]
    assert min(apart) > 300


def test_weights_and_sources_together():
    sources = {"dark": Plain(10, 5), "light": Plain(200, 15)}
    tasks = {"inpainting": {"weight": 3, "sources": ["dark"]}, "colorization": {"sources": {"light": 1}}}
    data = InContextDataset(tasks, sources=sources, num_examples=1, length=50)
    assert data.weights.tolist() == [0.75, 0.25]
    levels = {task.name: int(data.draw(task, 0)["target"][0, 0, 0]) for task in data.tasks}
    assert levels == {"inpainting": 10, "colorization": 200}


class Broken(Plain):
    keys = ("image", "depth")

    def __getitem__(self, index):
        raise KeyError(1)


class Nothing(Plain):
    def __getitem__(self, index):
        raise NotInSampleError("empty")


@pytest.mark.parametrize(
    ("tasks", "sources", "message"),
    [
        ({"depth_estimation": ["a"]}, {"a": Plain(0, 3)}, "depth_estimation needs depth, which the source a does not"),
        (["depth_estimation"], {"a": Plain(0, 3)}, "No source has what the task depth_estimation needs: image, depth"),
        ({"inpainting": ["b"]}, {"a": Plain(0, 3)}, "inpainting names b; sources are a"),
        ({"depth_estimation": ["a"]}, {"a": Broken(0, 3)}, "cannot be made of the source a, sample 0: 1"),
        ({"inpainting": ["a"]}, {"a": Nothing(0, 3)}, "source a: none of 3 samples shows anything"),
        ({"inpainting": ["a"]}, {"a": Plain(0, 0)}, "source a is empty"),
        ({"inpainting": {"a": -1}}, {"a": Plain(0, 3)}, "inpainting has a; it takes weight and sources"),
        ({"inpainting": {"sources": {"a": -1}}}, {"a": Plain(0, 3)}, "give positive ones"),
        (["inpainting"], {"a": {"reader": "images", "root": "/nowhere"}, "b": {"reader": "kubric", "root": "/no"}},
         r"2 of 2 data\.train\.sources cannot be opened\. a: .*; b: "),
    ],
)  # fmt: skip
def test_faults_are_found_when_a_run_starts(tasks, sources, message):
    with pytest.raises(ValueError, match=message):
        InContextDataset(tasks, sources=sources)


def test_sources_that_no_task_draws_from_are_not_opened():
    sources = {"a": Plain(0, 3), "b": {"reader": "images", "root": "/nowhere"}}
    assert len(InContextDataset({"inpainting": ["a"]}, sources=sources)) == 3
    with pytest.raises(ValueError, match=r"names a, and there are no data\.train\.sources"):
        InContextDataset({"inpainting": ["a"]}, num_scenes=2)
    with pytest.raises(ValueError, match="give sources alone"):
        InContextDataset(["inpainting"], sources={"a": Plain(0, 3)}, num_scenes=2)


def test_splits_together_and_what_photos_hold(tmp_path):
    coco_panoptic(tmp_path, "train", 2)
    coco_panoptic(tmp_path, "val", 1, first=9)
    both = _load_splits("coco_panoptic", str(tmp_path), "train+validation")
    assert isinstance(both, SplitsTogether) and len(both) == 3
    assert [both.sample_id(index)[-3:] for index in range(3)] == ["001", "002", "009"]
    source = PhotoSource({"name": "coco_panoptic", "root": str(tmp_path), "split": "train+validation"})
    assert set(source.keys) == {"image", "segmentation", "segments_info"} and source[2]["thing_class_ids"] == {0}
    check_source(find_task("instance_segmentation"), "x", source)
    assert set(PhotoSource([{"image": Image.new("RGB", (4, 4))}]).keys) == {"image"}
    with pytest.raises(IndexError):
        both[3]
    other = type("Other", (), {"id2label": {0: "z"}})()
    with pytest.raises(ValueError, match="different classes"):
        SplitsTogether([both.parts[0], other])
