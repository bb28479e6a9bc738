# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Sets of masks without names: a generated folder of every layout gives back exactly the masks that were written."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from hfseg.data.readers.promptable import masks_of
from hfseg.data.readers.promptable_sets import ISHAPE_SETS, PROMPTABLE_SETS, JoinedMasks, open_promptable_set
from hfseg.data.specs import open_dataset
from hfseg.results.run_lengths import encode_run_lengths

H, W = 24, 32
# Two boxes that overlap, (x0, y0, x1, y1), and their outlines.
BOXES = ((2, 3, 12, 15), (8, 6, 30, 20))
OUTLINES = [[x0, y0, x1, y0, x1, y1, x0, y1] for x0, y0, x1, y1 in BOXES]


def boxes() -> np.ndarray:
    masks = np.zeros((2, H, W), dtype=bool)
    for mask, (x0, y0, x1, y1) in zip(masks, BOXES):
        mask[y0:y1, x0:x1] = True
    return masks


TRUTH = boxes()


def photo(path, level=100):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((H, W, 3), level, dtype=np.uint8)).save(path)


def ids_png(path, bits=8):
    path.parent.mkdir(parents=True, exist_ok=True)
    ids = np.zeros((H, W), dtype=np.uint16)
    ids[TRUTH[0]], ids[TRUTH[1]] = 1, 300 if bits == 16 else 7
    Image.fromarray(ids if bits == 16 else ids.astype(np.uint8)).save(path)


def coco(path, name, runs=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    masks = [encode_run_lengths(mask) for mask in TRUTH] if runs else [[outline] for outline in OUTLINES]
    annotations = [
        {"id": n, "image_id": 1, "category_id": 1, "segmentation": m, "iscrowd": 0} for n, m in enumerate(masks)
    ]
    images = [{"id": 1, "file_name": name, "height": H, "width": W}]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "x"}]}))


def egohos(root):
    photo(root / "val/image/a.jpg")
    ids_png(root / "val/label/a.png")


def ishape(root):
    for name in ISHAPE_SETS:
        photo(root / name / "val/image/0.jpg")
        ids_png(root / name / "val/instance_map/0.png", bits=16)


def streets(root):
    base = root / "vehicleannotations"
    photo(base / "images/view-1.jpg")
    photo(base / "images/view-2.jpg")
    (base / "annotations").mkdir()
    polygons = [{"name": "polygon", "all_points_x": o[::2], "all_points_y": o[1::2]} for o in OUTLINES]
    line = {"name": "polygon", "all_points_x": [1, 2], "all_points_y": [1, 2]}
    others = [{"name": "rect", "x": 1, "y": 1, "width": 2, "height": 2}, line]
    regions = {
        str(n): {"shape_attributes": shape, "region_attributes": {}} for n, shape in enumerate(polygons + others)
    }
    content = {f"view-{n}.jpg123": {"filename": f"view-{n}.jpg", "regions": regions if n == 1 else {}} for n in (1, 2)}
    (base / "annotations/vehicle-annotations.json").write_text(json.dumps(content))
    (root / "train-val-split.json").write_text(json.dumps({"train": [], "val": ["view-1.jpg", "view-2.jpg"]}))


def woodscape(root):
    photo(root / "rgb_images/00000_FV.png")
    (root / "instance_annotations").mkdir()
    points = [[[x, y] for x, y in zip(o[::2], o[1::2])] for o in OUTLINES]
    content = {
        "annotation": [{"segmentation": p, "tags": ["car"]} for p in points],
        "image_width": W,
        "image_height": H,
    }
    (root / "instance_annotations/00000_FV.json").write_text(json.dumps({"00000_FV.json": content}))


def timberseg(root):
    photo(root / "prescaled/1.png")
    coco(root / "prescaled/coco_annotation_rotated.json", "1.png")


def ndispark(root):
    photo(root / "validation/imgs/60_1.jpg")
    coco(root / "validation/val_coco_annotations.json", "60_1.jpg")


def pidray(root):
    for name in ("easy", "hard", "hidden"):
        photo(root / name / f"xray_{name}1.png")
        coco(root / f"annotations/xray_test_{name}.json", f"xray_{name}1.png", runs=True)


def trashcan(root):
    photo(root / "instance_version/val/vid_1.jpg")
    coco(root / "instance_version/instances_val_trashcan.json", "vid_1.jpg")


def seginw(root):
    for name, file in (("Airplane-Parts", "_annotations_min1cat.coco.json"), ("Bottles", "_annotations.coco.json")):
        photo(root / name / "valid/a.jpg")
        coco(root / name / "valid" / file, "a.jpg")
        (root / name / "train").mkdir()


WRITERS = {
    function.__name__: function
    for function in (egohos, ishape, streets, woodscape, timberseg, ndispark, pidray, trashcan, seginw)
}
PARTS = {
    "ishape": list(ISHAPE_SETS),
    "pidray": ["easy", "hard", "hidden"],
    "seginw": ["Airplane-Parts", "Bottles"],
}
FLAT = ("egohos", "ishape")  # a pixel has one id: of two that overlap the second is whole


def expected(name) -> np.ndarray:
    return np.stack([TRUTH[0] & ~TRUTH[1], TRUTH[1]]) if name in FLAT else TRUTH


@pytest.mark.parametrize("name", WRITERS)
def test_every_layout_gives_the_masks_that_were_written(name, tmp_path):
    WRITERS[name](tmp_path)
    dataset = open_dataset(f"{name}:{tmp_path}")
    assert len(dataset) == len(PARTS.get(name, [""]))
    for index in range(len(dataset)):
        example = dataset[index]
        assert np.asarray(example["image"]).shape == (H, W, 3) and dataset.sample_id(index)
        assert np.array_equal(masks_of(example), expected(name))
    if name in PARTS:
        assert [dataset.set_of(index) for index in range(len(dataset))] == PARTS[name]


def test_a_triangle_is_a_mask(tmp_path):
    streets(tmp_path)
    file = tmp_path / "vehicleannotations/annotations/vehicle-annotations.json"
    content = json.loads(file.read_text())
    triangle = {"name": "polygon", "all_points_x": [4, 20, 4], "all_points_y": [2, 2, 18]}
    content["view-2.jpg123"]["regions"] = [{"shape_attributes": triangle}]
    file.write_text(json.dumps(content))
    (mask,) = masks_of(open_dataset(f"streets:{tmp_path}")[1])
    y, x = np.mgrid[:H, :W] + 0.5
    distance = (x - 4) + (y - 2) - 16  # to the long side; on it a pixel may fall to either side
    inside = (x > 4) & (y > 2)
    assert mask[inside & (distance < -1)].all() and not mask[~inside | (distance > 1)].any()


def test_all_sets_of_a_folder_at_once(tmp_path):
    for name, write in WRITERS.items():
        write(tmp_path / name)
    dataset = open_promptable_set("promptable-sets", tmp_path)
    sets = [dataset.set_of(index) for index in range(len(dataset))]
    wanted = [f"{name}/{part}" if part else name for name in WRITERS for part in PARTS.get(name, [""])]
    assert sorted(sets) == sorted(wanted) and set(WRITERS) == set(PROMPTABLE_SETS) - {"promptable-sets"}
    for index, name in enumerate(sets):
        assert np.array_equal(masks_of(dataset[index]), expected(name.partition("/")[0]))
        assert dataset.sample_id(index).startswith(name)
    some = open_dataset(f"promptable-sets:{tmp_path},only=trashcan+ishape/log")
    assert [some.set_of(index) for index in range(len(some))] == ["trashcan", "ishape/log"]


@pytest.mark.parametrize("name", [*WRITERS, "promptable-sets"])
def test_what_is_missing_is_said(name, tmp_path):
    with pytest.raises(FileNotFoundError, match=name):
        open_promptable_set(name, tmp_path / "absent")
    with pytest.raises(FileNotFoundError):
        open_promptable_set(name, tmp_path)


def test_damage_and_unknown_parts(tmp_path):
    for name in ("egohos", "streets", "woodscape", "seginw", "pidray"):
        WRITERS[name](tmp_path / name)
    (tmp_path / "egohos/val/label/a.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 1 maps .*a\.png"):
        open_promptable_set("egohos", tmp_path / "egohos")
    with pytest.raises(FileNotFoundError, match="split 'test'"):
        open_promptable_set("egohos", tmp_path / "egohos", "test")
    file = tmp_path / "woodscape/instance_annotations/00000_FV.json"
    file.write_text('{"00000_FV.json": {"annotation": [{"tags": []}]}}')
    with pytest.raises(ValueError, match="00000_FV"):
        open_promptable_set("woodscape", tmp_path / "woodscape")[0]
    file = tmp_path / "streets/vehicleannotations/annotations/vehicle-annotations.json"
    file.write_text('{"a": {"filename": "view-1.jpg", "regions": [{"nothing": 1}]}}')
    with pytest.raises(ValueError, match="regions of a are damaged"):
        open_promptable_set("streets", tmp_path / "streets")
    with pytest.raises(ValueError, match=r"parts Airplane-Parts, Bottles; got only=Cows"):
        open_promptable_set("seginw", tmp_path / "seginw", only="Cows")
    with pytest.raises(ValueError, match="PIDray has no split 'other'"):
        open_promptable_set("pidray", tmp_path / "pidray", "other")
    WRITERS["timberseg"](tmp_path / "timberseg")
    shutil.copy(*(tmp_path / "timberseg/prescaled" / f"coco_annotation{name}.json" for name in ("_rotated", "")))
    with pytest.raises(ValueError, match=r"2 files .*coco_annotation\.json, coco_annotation_rotated\.json"):
        open_promptable_set("timberseg", tmp_path / "timberseg")
    with pytest.raises(ValueError, match="no set"):
        JoinedMasks({})
    joined = open_promptable_set("seginw", tmp_path / "seginw")
    with pytest.raises(IndexError):
        joined[2]
