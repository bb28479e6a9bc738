# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Masks without names: SA-1B's layout (loose, tar, damaged), COCO-style files, collation."""

import io
import json
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import v2

from hfseg.data.readers.promptable import (
    CocoMasks,
    PromptableCollator,
    SegmentAnythingData,
    boxes_of_masks,
    draw_mask,
    stream_shards,
)
from hfseg.results.segmentation_result import encode_run_lengths


def pair(seed: int) -> dict[str, bytes]:
    """An image of 20 x 30 and two overlapping masks in SA-1B's form."""
    masks = np.zeros((2, 20, 30), dtype=bool)
    masks[0, 2:12, 3:20], masks[1, 5:, 10:] = True, True
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (20, 30, 3), dtype=np.uint8)).save(buffer, "JPEG")
    annotations = [{"segmentation": encode_run_lengths(mask, compressed=True), "area": 1} for mask in masks]
    content = {"image": {"image_id": seed}, "annotations": annotations}
    return {".jpg": buffer.getvalue(), ".json": json.dumps(content).encode()}


def write_tar(path, seeds, damaged=()):
    with tarfile.open(path, "w") as archive:
        for seed in seeds:
            for suffix, content in pair(seed).items():
                content = b"{" if seed in damaged and suffix == ".json" else content
                info = tarfile.TarInfo(f"./sa_{seed}{suffix}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))


@pytest.fixture
def collection(tmp_path):
    for seed in (1, 2):
        for suffix, content in pair(seed).items():
            (tmp_path / f"sa_{seed}{suffix}").write_bytes(content)
    write_tar(tmp_path / "sa_000001.tar", (3, 4, 5), damaged=(4,))
    write_tar(tmp_path / "sa_000002.tar", (6, 7))
    whole = (tmp_path / "sa_000002.tar").read_bytes()
    second = whole.index(b"./sa_7.jpg")
    (tmp_path / "sa_000002.tar").write_bytes(whole[: second + 700])  # breaks off within the second pair
    (tmp_path / "sa_000003.tar").write_bytes(b"no archive" * 100)
    return tmp_path


def test_streaming_passes_over_damage_and_reports_it(collection):
    reports = []
    examples = list(stream_shards(collection, report=reports.append))
    assert [example["image_id"] for example in examples] == ["sa_1", "sa_2", "sa_3", "sa_5", "sa_6"]
    assert all(len(example["masks"]) == 2 and example["image"].size == (30, 20) for example in examples)
    assert len(reports) == 1 and reports[0].startswith("3 shard(s) or sample(s)")
    assert "sa_000001.tar:sa_4" in reports[0] and "sa_000003.tar" in reports[0]
    with pytest.raises(ValueError, match=r"sa_4 cannot be read"):
        list(stream_shards(collection, on_error="stop"))
    with pytest.raises(FileNotFoundError, match="neither tar files nor pairs"):
        next(stream_shards(collection / "nothing"))


def test_access_by_index_reads_the_same(collection):
    dataset = SegmentAnythingData(collection)
    names = [dataset.sample_id(index) for index in range(len(dataset))]
    assert names == ["sa_1", "sa_2", *(f"sa_000001.tar:sa_{i}" for i in (3, 4, 5)), "sa_000002.tar:sa_6"]
    assert dataset.num_bad_shards >= 1 and any("sa_000003" in shard for shard in dataset.bad_shards)
    streamed = {example["image_id"]: example for example in stream_shards(collection, report=lambda _: None)}
    assert np.array_equal(dataset[2]["image"], streamed["sa_3"]["image"])
    with pytest.raises(ValueError):
        dataset[3]
    assert len(SegmentAnythingData(collection, max_masks=1)[0]["masks"]) == 1
    with pytest.raises(FileNotFoundError, match="no readable pair"):
        SegmentAnythingData(collection / "sa_000003.tar")


def test_coco_files_keep_overlaps_and_leave_crowds_out(tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    polygon = [[2, 3, 12, 3, 12, 10, 2, 10]]
    runs = encode_run_lengths(np.ones((20, 30), dtype=bool))
    annotations = [
        {"image_id": 7, "segmentation": polygon, "category_id": 5},
        {"image_id": 7, "segmentation": runs, "category_id": 1},
        {"image_id": 7, "segmentation": runs, "category_id": 1, "iscrowd": 1},
    ]
    images = [{"id": 7, "file_name": "a.png"}, {"id": 8, "file_name": "b.png"}]
    (tmp_path / "instances.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    dataset = CocoMasks(tmp_path / "instances.json", tmp_path)
    assert len(dataset) == 1
    masks = [draw_mask(mask) for mask in dataset[0]["masks"]]
    assert [mask.shape for mask in masks] == [(20, 30)] * 2 and masks[1].all()
    assert masks[0][3:10, 2:12].all() and masks[0].sum() == 7 * 10
    (tmp_path / "broken.json").write_text('{"images": []}')
    with pytest.raises(ValueError, match="no COCO instance file"):
        CocoMasks(tmp_path / "broken.json", tmp_path)
    with pytest.raises(FileNotFoundError):
        CocoMasks(tmp_path / "absent.json", tmp_path)


def example():
    masks = np.zeros((3, 20, 40), dtype=bool)
    masks[0, :10], masks[1, 10:, 20:], masks[2, 0, 0] = True, True, True
    return {"image": np.full((20, 40, 3), 200, dtype=np.uint8), "masks": list(masks)}


def test_collation_of_points_and_boxes():
    collate = PromptableCollator(size=64, box_step_ratio=1.0, max_boxes=5, min_area=0.01, training=False)
    batch = collate([example(), {**example(), "masks": []}])
    assert batch["pixel_values"].shape == (2, 3, 64, 64) and batch["original_sizes"].tolist() == [[32, 64]] * 2
    # 200 in the image, 128 beyond it, normalized.
    gray = batch["pixel_values"][0, 0] * 0.26862954 + 0.48145466
    assert torch.allclose(gray[:32] * 255, torch.tensor(200.0)) and torch.allclose(gray[32:] * 255, torch.tensor(128.0))
    masks = batch["mask_labels"][0]
    assert masks.dtype == torch.bool and masks.shape == (2, 64, 64)  # the third is too small
    assert masks[0, :16].all() and not masks[0, 16:].any()
    assert batch["box_labels"].tolist() == [[0, 1, 0, 1, 0], [-1] * 5]
    assert batch["input_boxes"][0, :2].tolist() == [[0, 0, 64, 16], [32, 16, 64, 32]]
    assert torch.equal(boxes_of_masks(masks), batch["input_boxes"][0, :2])
    points = PromptableCollator(size=64, box_step_ratio=0.0)([example()])
    assert set(points) == {"pixel_values", "mask_labels", "original_sizes"}


def test_augmentation_moves_masks_with_their_image():
    image = np.zeros((40, 40, 3), dtype=np.uint8)
    image[5:20, 3:15] = 255
    sample = {"image": image, "masks": [image[..., 0] > 0]}
    torch.manual_seed(0)
    for _ in range(6):
        batch = PromptableCollator(size=64, scale_range=(0.5, 2.0), max_area=1.0)([sample])
        bright = batch["pixel_values"][0, 0] > 1.2
        assert (bright != batch["mask_labels"][0].any(0)).float().mean() < 0.05
    assert PromptableCollator(size=64, max_masks=1)([example()])["mask_labels"][0].shape[0] <= 1


@pytest.mark.parametrize("zoom", [1.5, 4.0])
def test_images_are_cut_around_one_of_their_masks(zoom):
    """The box of that mask takes its share of the square, in the middle, and image and masks show the same part."""
    image = np.zeros((200, 300, 3), dtype=np.uint8)
    masks = np.zeros((2, 200, 300), dtype=bool)
    masks[0, 90:110, 140:160], masks[1, 60:72, 200:230] = True, True  # longer sides 20 and 30
    image[masks[0]], image[masks[1]] = 200, 100
    collate = PromptableCollator(128, 1.0, max_boxes=2, zoom_range=(zoom, zoom), zoom_share=1.0,
                                 image_mean=[0.0] * 3, image_std=[1.0] * 3)  # fmt: skip
    seen = set()
    for seed in range(8):
        torch.manual_seed(seed)
        batch = collate([{"image": image, "masks": list(masks)}])
        assert batch["original_sizes"].tolist() == [[128, 128]]
        boxes = boxes_of_masks(batch["mask_labels"][0])
        middle = ((boxes[:, :2] + boxes[:, 2:]) / 2 - 64).abs().amax(1)
        sides = (boxes[:, 2:] - boxes[:, :2]).amax(1)
        chosen = int(middle.argmin())
        assert middle[chosen] <= 3 and abs(float(sides[chosen]) - 128 / zoom) <= 4
        level = batch["pixel_values"][0, 0][batch["mask_labels"][0][chosen]].median()
        seen.add(round(float(level) * 255))
    assert seen == {200, 100}


def test_zooms_that_are_none():
    for wrong, message in (({"zoom_range": (0.5, 2)}, "at least 1"), ({"zoom_range": (3, 2)}, "the smaller first"),
                           ({"zoom_share": 1.5}, "zoom_share is 1.5")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            PromptableCollator(64, **wrong)
    torch.manual_seed(0)
    plain = PromptableCollator(size=64)([example()])
    torch.manual_seed(0)
    empty = {**example(), "masks": []}
    assert PromptableCollator(64, zoom_range=(2, 3), zoom_share=1.0)([empty])["pixel_values"].shape == (1, 3, 64, 64)
    torch.manual_seed(0)
    still = PromptableCollator(64, zoom_range=(2, 3), zoom_share=1.0, training=False)([example()])
    assert set(still) >= {"pixel_values", "mask_labels"} and plain["pixel_values"].shape == still["pixel_values"].shape
    assert len(still["mask_labels"][0]) == 3  # the whole image


def test_other_schemas_serve_too():
    from hfseg.data import ShapesDataset

    item = ShapesDataset(num_scenes=2, image_size=(32, 32))[0]
    batch = PromptableCollator(size=32, training=False, max_area=1.0)([item])
    ids = [segment["id"] for segment in item["segments_info"]]
    truth = torch.from_numpy(item["segmentation"][None] == np.array(ids)[:, None, None])
    assert sorted(batch["mask_labels"][0].sum((1, 2)).tolist()) == sorted(truth.sum((1, 2)).tolist())


def test_masks_that_do_not_fit():
    collate = PromptableCollator(size=64)
    with pytest.raises(ValueError, match=r"size \(20, 40\) and a mask \(3, 3\)"):
        collate([{**example(), "masks": [np.ones((3, 3))]}])
    with pytest.raises(ValueError, match="give run lengths"):
        collate([{**example(), "masks": [{"rle": 1}]}])
    with pytest.raises(ValueError, match="multiple of 32"):
        PromptableCollator(size=100)
    with pytest.raises(ValueError, match="batch is empty"):
        collate([])


def test_transforms_reach_examples_with_masks_of_their_own():
    """A crop that is always the same corner: image and both masks, which overlap, are cut alike."""
    image = np.arange(40 * 60 * 3, dtype=np.uint32).reshape(40, 60, 3).astype(np.uint8)
    masks = np.zeros((2, 40, 60), dtype=np.uint8)
    masks[0, 5:30, 5:40], masks[1, 10:20, 10:50] = 1, 1  # the second lies on the first
    sample = {"image": image, "masks": [mask > 0 for mask in masks]}
    corner = v2.Lambda(
        lambda part: tv_tensors.wrap(part[..., 4:36, 8:40], like=part), tv_tensors.Image, tv_tensors.Mask
    )
    collate = PromptableCollator(size=32, training=False, max_area=1.0, min_area=0, transforms=corner)
    batch = collate([sample])
    assert torch.equal(batch["mask_labels"][0], torch.from_numpy(masks[:, 4:36, 8:40]) > 0)
    plain = PromptableCollator(size=32, training=False)([{"image": image[4:36, 8:40], "masks": []}])
    torch.testing.assert_close(batch["pixel_values"], plain["pixel_values"])


def test_other_sizes_show_the_same_part_of_the_image():
    """Flipped, scaled and cut alike, and from the image itself: fine stripes survive in the large square."""
    stripes = np.zeros((120, 200, 3), dtype=np.uint8)
    stripes[..., 0], stripes[..., 2] = np.linspace(0, 255, 200), np.linspace(0, 255, 120)[:, None]
    stripes[:, ::2, 1] = 255
    mask = np.zeros((120, 200), dtype=np.uint8)
    mask[:40] = 1
    collate = PromptableCollator(
        64, 0.0, min_area=0.0, scale_range=(0.8, 1.6), region_sizes=(64, 256), image_mean=[0.0] * 3, image_std=[1.0] * 3
    )
    for seed in range(6):
        torch.manual_seed(seed)
        batch = collate([{"image": stripes, "masks": [mask]}] * 2)
        small, large = batch["region_pixel_values"]
        assert small.shape == (2, 3, 64, 64) and large.shape == (2, 3, 256, 256)
        assert torch.equal(small, batch["pixel_values"])
        height, width = batch["original_sizes"][0].tolist()
        shrunk = torch.nn.functional.avg_pool2d(large[:1], 4)[0, ::2, : height - 1, : width - 1]
        assert (shrunk - small[0, ::2, : height - 1, : width - 1]).abs().max() < 0.02  # ramps: a pixel is 0.016
        # Twice or more as large as the image: the stripes are there; in the small square they are gray.
        gray = large[0, 1, 4 * height - 20 : 4 * height - 4, : 4 * width - 8]
        assert gray.std() > 0.2 > small[0, 1, height - 5 : height - 1, : width - 2].std()
    assert "region_pixel_values" not in PromptableCollator(64)([{"image": stripes, "masks": [mask]}])


def test_half_of_a_collection_is_the_same_half_everywhere(tmp_path):
    for index in range(40):
        Image.new("RGB", (4, 4)).save(tmp_path / f"sa_{index}.png")
        (tmp_path / f"sa_{index}.json").write_text('{"annotations": []}')
    every = SegmentAnythingData(tmp_path)
    half = SegmentAnythingData(tmp_path, share=0.5)
    other = SegmentAnythingData(tmp_path, share=0.5, seed=1)
    names = [{data.sample_id(index) for index in range(len(data))} for data in (every, half, other)]
    assert names[1] < names[0] and 10 < len(names[1]) < 30 and names[1] != names[2]
    # Images that come or go elsewhere do not change it.
    for index in range(0, 40, 3):
        (tmp_path / f"sa_{index}.json").unlink()
    fewer = SegmentAnythingData(tmp_path, share=0.5)
    assert {fewer.sample_id(index) for index in range(len(fewer))} == {name for name in names[1] if int(name[3:]) % 3}
    with pytest.raises(ValueError, match="share is 0"):
        SegmentAnythingData(tmp_path, share=0)
    with pytest.raises(FileNotFoundError, match="leaves none"):
        SegmentAnythingData(tmp_path, share=1e-9)
