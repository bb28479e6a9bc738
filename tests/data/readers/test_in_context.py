# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""In-context tasks: their number, what they make of shapes, and the dataset that mixes them."""

import numpy as np
import pytest

from hfseg.data.readers.in_context import (
    PAPER_TASKS,
    TASKS,
    InContextCollator,
    InContextDataset,
    ShapesSource,
    find_task,
    make_pair,
)
from hfseg.data.synthetic.shapes import label2id
from hfseg.results.visual_formats import FORMATS

OFFLINE = [name for name in TASKS if "pose" not in name]


@pytest.fixture(scope="module")
def images():
    return ShapesSource(num_scenes=8, in_memory=True)


@pytest.fixture(scope="module")
def clips():
    return ShapesSource(num_scenes=4, num_frames=17, in_memory=True)


def test_paper_has_twenty_two():
    assert len(PAPER_TASKS) == 22
    assert {task.target_format for task in TASKS.values()} <= set(FORMATS)


@pytest.mark.parametrize("name", OFFLINE)
def test_shapes_supply_every_task_but_poses(name, images, clips):
    task = find_task(name)
    if task.name in ("motion_deblurring", "deraining"):
        pytest.importorskip("kornia")
    data = InContextDataset([name], source=images, video_source=clips, num_examples=1)
    item, again = data[1], data[1]
    given, target = item["query"], item["target"]
    assert given.dtype == target.dtype == np.uint8 and given.shape[-3:] == target.shape[-3:] == (64, 64, 3)
    assert (given.ndim, target.ndim) == ((4, 4) if task.is_video else (3, 3))
    assert np.array_equal(given, again["query"]) and np.array_equal(item["examples"][0][1], again["examples"][0][1])
    assert (given.shape != target.shape) or (given != target).any()
    FORMATS[task.target_format].decode(target)


def test_targets_say_the_truth(images, clips):
    draw = np.random.default_rng(0)
    record = images[2]

    def decoded(name, record=record):
        given, target = make_pair(find_task(name), record, draw)
        return given, FORMATS[TASKS[name].target_format].decode(target)

    assert np.array_equal(decoded("foreground_segmentation")[1], np.isin(
        record["segmentation"], [s["id"] for s in record["segments_info"] if s["category_id"] < 6]
    ))  # fmt: skip
    assert np.array_equal(decoded("edge_detection")[1], record["edges"])
    largest = max(
        (s for s in record["segments_info"] if s["category_id"] < label2id["sky"]),
        key=lambda s: s["bbox"][2] * s["bbox"][3],
    )
    assert list(decoded("single_object_detection")[1]) == largest["bbox"]
    assert len(np.unique(decoded("panoptic_segmentation")[1])) == len(record["segments_info"])
    depth = record["depth"]
    np.testing.assert_allclose(decoded("depth_estimation")[1], (depth - depth.min()) / np.ptp(depth), atol=0.003)
    clip = clips[1]
    given, flow = decoded("optical_flow", clip)
    assert np.array_equal(given, clip["frames"]) and np.abs(flow - clip["flow"]).max() < 0.2


def ranked(segmentation):
    """What is left of ids in an image: ranks by falling area, 0 stays."""
    ids, areas = np.unique(segmentation[segmentation != 0], return_counts=True)
    ranks = {int(i): rank for rank, (_, i) in enumerate(sorted(zip(-areas, ids.tolist())), start=1)}
    return np.vectorize(lambda i: ranks.get(int(i), 0))(segmentation)


def relative(depth):
    return (depth - depth.min()) / np.ptp(depth)


# Of every task: what its target says, from the item, and how far what is read from the image may be off.
TRUTHS = {
    "instance_segmentation": (lambda r: ranked(np.where(things_of(r), r["segmentation"], 0)), 0),
    "panoptic_segmentation": (lambda r: ranked(r["segmentation"]), 0),
    "depth_estimation": (lambda r: relative(r["depth"]), 0.003),
    "normal_estimation": (lambda r: r["normals"], 0.012),
    "edge_detection": (lambda r: r["edges"], 0),
    "video_depth_estimation": (lambda r: relative(r["video_depth"]), 0.003),
    "video_normal_estimation": (lambda r: r["video_normals"], 0.012),
    "optical_flow": (lambda r: r["flow"], 0.2),
    "video_instance_segmentation": (lambda r: ranked(r["video_segmentation"]), 0),
    "foreground_segmentation": (lambda r: things_of(r), 0),
    "frame_prediction": (lambda r: r["frames"][4:], 0),
    "single_object_detection": (
        lambda r: max((s["bbox"] for s in r["segments_info"] if s["category_id"] < 6), key=lambda b: b[2] * b[3]), 0
    ),
    "pose_estimation": (lambda r: r["keypoints"][0], 1.5),
}  # fmt: skip
SWAPPED = {
    "pose_to_image": "pose_estimation",
    "depth_to_image": "depth_estimation",
    "normal_to_image": "normal_estimation",
    "depth_to_video": "video_depth_estimation",
    "normal_to_video": "video_normal_estimation",
}
RESTORED = ("inpainting", "colorization", "glass_deblurring", "motion_deblurring", "deraining")


def things_of(record):
    return np.isin(record["segmentation"], [s["id"] for s in record["segments_info"] if s["category_id"] < 6])


@pytest.fixture(scope="module")
def person():
    places = np.random.default_rng(1).permutation(25)[:17]
    points = np.stack([24 + 48 * (places % 5), 24 + 48 * (places // 5), np.ones(17)], axis=-1)
    return {"image": np.full((256, 256, 3), 90, np.uint8), "keypoints": points[None].astype(np.float32)}


@pytest.mark.parametrize("name", PAPER_TASKS)
def test_every_target_is_read_back(name, images, clips, person):
    """All 22 tasks: encoder, then decoder, gives what the item says; swapped and restored ones give the image."""
    task, draw = find_task(name), np.random.default_rng(3)
    if name in ("motion_deblurring", "deraining"):
        pytest.importorskip("kornia")
    record = person if "pose" in name else clips[2] if task.is_video else images[2]
    given, target = make_pair(task, record, draw)
    decoded = FORMATS[task.target_format].decode(target)
    if name in SWAPPED:
        assert np.array_equal(decoded, record["frames" if task.is_video else "image"])
        back = find_task(SWAPPED[name])
        truth, tolerance = TRUTHS[back.name]
        read = FORMATS[back.target_format].decode(given)
        np.testing.assert_allclose(
            np.asarray(read, float)[..., :2], np.asarray(truth(record), float)[..., :2], atol=tolerance
        )
    elif name in RESTORED:
        assert np.array_equal(decoded, record["image"]) and not np.array_equal(given, record["image"])
    else:
        truth, tolerance = TRUTHS[name]
        np.testing.assert_allclose(np.asarray(decoded, float), np.asarray(truth(record), float), atol=tolerance)


def test_swapped_tasks_are_swapped(images):
    draw = np.random.default_rng(0)
    for there, back in (("depth_estimation", "depth_to_image"), ("normal_estimation", "normal_to_image")):
        a, b = (make_pair(find_task(name), images[0], draw) for name in (there, back))
        assert np.array_equal(a[0], b[1]) and np.array_equal(a[1], b[0])


def test_frame_prediction_goes_on_from_the_last_known_frame(clips):
    given, target = make_pair(find_task("frame_prediction"), clips[0], np.random.default_rng(0))
    frames = clips[0]["frames"]
    assert len(given) == 5 and len(target) == 13 and np.array_equal(target[0], given[-1])
    assert np.array_equal(np.concatenate([given, target[1:]]), frames)


def test_weights_and_buckets(images):
    data = InContextDataset(
        {"colorization": 3, "inpainting": 1, "depth_estimation": 0}, source=images, length=4000, bucket=4
    )
    names = [data.task_of(index).name for index in range(4000)]
    assert 0.7 < names.count("colorization") / 4000 < 0.8 and "depth_estimation" not in names
    assert all(len(set(names[start : start + 4])) == 1 for start in range(0, 4000, 4))


def test_query_is_not_among_its_examples(images):
    data = InContextDataset(["depth_estimation"], source=images, num_examples=3, length=40)
    for index in range(40):
        item = data[index]
        assert not any(np.array_equal(item["query"], given) for given, _ in item["examples"])


def test_samples_without_the_object_are_replaced(images):
    class Sparse:
        def __len__(self):
            return 6

        def __getitem__(self, index):
            record = dict(images[index])
            if index % 2:
                record["segments_info"] = [s for s in record["segments_info"] if s["category_id"] >= label2id["sky"]]
            return record

    data = InContextDataset(["single_object_detection"], source=Sparse(), num_examples=1)
    assert all(FORMATS["detection"].decode(data[index]["target"]) for index in range(6))


def test_pose():
    keypoints = np.zeros((1, 17, 3))
    keypoints[0, :5] = [[10, 10, 2], [20, 10, 2], [30, 10, 1], [40, 40, 2], [50, 50, 0]]
    record = {"image": np.zeros((64, 64, 3), np.uint8), "keypoints": keypoints}
    draw = np.random.default_rng(0)
    _, target = make_pair(find_task("pose_estimation"), record, draw)
    assert FORMATS["pose"].decode(target)[:, 2].sum() == 4
    assert np.array_equal(make_pair(find_task("pose_to_image"), record, draw)[0], target)


def test_collator(images, clips):
    data = InContextDataset(["depth_estimation"], source=images, num_examples=2)
    batch = InContextCollator(32, 48)([data[0], data[1]])
    assert batch["input_pixels"].shape == batch["target_pixels"].shape == (2, 3, 3, 1, 32, 48)
    assert batch["input_pixels"].min() >= -1 and batch["input_pixels"].max() <= 1
    whole = InContextCollator()([data[0]])["target_pixels"][0, -1, :, 0]
    assert np.array_equal(((whole / 2 + 0.5) * 255).round().permute(1, 2, 0).byte().numpy(), data[0]["target"])
    video = InContextDataset(["frame_prediction"], video_source=clips, num_examples=2)
    batch = InContextCollator()([video[0]])
    assert batch["input_pixels"].shape[3] == 5 and batch["target_pixels"].shape[3] == 13
    with pytest.raises(ValueError, match="bucket"):
        InContextCollator()([data[0], video[0]])


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"tasks": ["sharpening"]}, "There is no task 'sharpening'"),
        ({"tasks": []}, "give names"),
        ({"tasks": {"colorization": -1}}, "not all zero"),
        ({"tasks": ["colorization"], "num_examples": 0}, "at least one pair"),
        ({"tasks": ["pose_estimation"]}, "needs keypoints"),
    ],
)
def test_bad_settings(arguments, message, images):
    with pytest.raises(ValueError, match=message):
        InContextDataset(source=images, **arguments)


def test_items_that_lack_the_truth():
    with pytest.raises(ValueError, match="needs depth"):
        make_pair(find_task("depth_estimation"), {"image": np.zeros((4, 4, 3), np.uint8)}, np.random.default_rng(0))
