# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Readers of local datasets: every layout comes back as written, and every fault is named with its file and fix."""

import json
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from hfseg.data.collators.collation import UniversalCollator
from hfseg.data.readers.folders import list_splits, load_folder
from hfseg.data.readers.images import stretch_contrast
from hfseg.data.readers.schema import semantic_map
from hfseg.data.synthetic.shapes import CATEGORIES, render_scene
from hfseg.training.quickstart import tiny_recipe

SIZE = (32, 40)


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)


def scene(index):
    return render_scene(index, image_size=SIZE)


@pytest.fixture
def semantic(tmp_path):
    """Ten classes of shapes, with class 10 as void in a corner."""
    for split, indices in (("train", range(4)), ("val", range(4, 6))):
        for index in indices:
            label = scene(index).semantic_map().astype(np.uint8)
            label[:2, :2] = 10
            suffix = ("png", "webp", "jpg")[index % 3]
            options = {"lossless": True} if suffix == "webp" else {}
            save(tmp_path / "images" / split / f"s{index}.{suffix}", scene(index).image, **options)
            save(tmp_path / "labels" / split / f"s{index}.png", label)
    names = [category["name"] for category in CATEGORIES] + ["unlabeled"]
    (tmp_path / "classes.json").write_text(json.dumps({"names": names, "ignore_index": 10}))
    return tmp_path


def expected_map(index, void=10):
    label = scene(index).semantic_map()
    label[:2, :2] = void
    return label


def test_semantic_folder(semantic):
    train, validation = load_folder(semantic, "train"), load_folder(semantic, "validation")
    assert (len(train), len(validation), len(load_folder(semantic))) == (4, 2, 6)
    assert list_splits(semantic) == ["train", "val"] and train.kind == "semantic"
    assert train.id2label == {k: c["name"] for k, c in enumerate(CATEGORIES)} and train.ignore_index == 10
    assert train.stuff_class_ids == tuple(range(10)) and validation.names == ["s4", "s5"]
    for position, index in enumerate(range(4)):
        np.testing.assert_array_equal(train[position]["segmentation_map"], expected_map(index))
        if index % 3 != 2:
            np.testing.assert_array_equal(train[position]["image"], scene(index).image)
    assert "folder train" in repr(train) and pickle.loads(pickle.dumps(train))[0]["image_id"] == "s0"
    loader = torch.utils.data.DataLoader(train, 2, collate_fn=UniversalCollator(10, num_labels=10), num_workers=1)
    batches = list(loader)
    assert len(batches) == 2 and batches[0]["pixel_values"].shape == (2, 3, 32, 64)


def test_void_class_in_the_middle_moves_the_classes_after_it(semantic):
    names = ["circle", "void", *(f"c{k}" for k in range(2, 11))]
    (semantic / "classes.json").write_text(json.dumps({"names": names, "ignore_index": 1}))
    dataset = load_folder(semantic, "train")
    assert dataset.ignore_index == 255 and dataset.id2label[1] == "c2" and len(dataset.id2label) == 10
    original = expected_map(1)
    moved = np.where(original == 1, 255, np.where(original > 1, original - 1, original))
    assert (original == 1).any()
    np.testing.assert_array_equal(dataset[1]["segmentation_map"], moved)


@pytest.mark.parametrize("content", [["a"] * 11, {str(k): "a" for k in range(11)}, {"names": ["a"] * 11}])
def test_forms_of_the_class_file(semantic, content):
    (semantic / "classes.json").write_text(json.dumps(content))
    dataset = load_folder(semantic)
    assert len(dataset.id2label) == 11 and dataset.ignore_index == 255
    np.testing.assert_array_equal(dataset[0]["segmentation_map"], expected_map(0))


def test_no_class_file(semantic):
    (semantic / "classes.json").unlink()
    dataset = load_folder(semantic, "val")
    assert dataset.id2label == {k: f"class_{k}" for k in range(11)}


def test_color_labels_are_read_through_the_palette(semantic):
    palette = [[k * 20, 255 - k, k] for k in range(11)]
    content = json.loads((semantic / "classes.json").read_text()) | {"palette_rgb": palette}
    (semantic / "classes.json").write_text(json.dumps(content))
    save(semantic / "labels/train/s0.png", np.array(palette, np.uint8)[expected_map(0)])
    np.testing.assert_array_equal(load_folder(semantic, "train")[0]["segmentation_map"], expected_map(0))
    save(semantic / "labels/train/s0.png", np.full((*SIZE, 3), 7, np.uint8))
    with pytest.raises(ValueError, match=r"s0.png.*\(7, 7, 7\).*palette_rgb"):
        load_folder(semantic, "train")[0]


@pytest.fixture
def flat(tmp_path):
    for index in range(10):
        save(tmp_path / "images" / f"s{index}.png", scene(index).image)
        save(tmp_path / "masks" / f"s{index}.png", scene(index).semantic_map().astype(np.uint8))
    return tmp_path


def test_flat_folder_is_divided_by_name_and_seed(flat):
    train, validation = load_folder(flat, "train"), load_folder(flat, "val")
    assert len(train) == 8 and len(validation) == 2 and not set(train.names) & set(validation.names)
    assert "20%" in train.split_note and "seed 0" in train.split_note
    assert load_folder(flat, "validation").names == validation.names
    others = {tuple(load_folder(flat, "val", seed=seed).names) for seed in range(8)}
    assert len(others) > 4
    assert len(load_folder(flat, "val", validation_fraction=0.5)) == 5 and len(load_folder(flat)) == 10
    with pytest.raises(ValueError, match=r"'test'.*only train and validation"):
        load_folder(flat, "test")


def test_split_lists(flat):
    (flat / "train.txt").write_text("s3\ns1.png\n\n")
    (flat / "val.txt").write_text("s9\n")
    assert load_folder(flat, "train").names == ["s3", "s1"] and load_folder(flat, "validation").names == ["s9"]
    (flat / "val.txt").write_text("s9\nmissing\n")
    with pytest.raises(ValueError, match=r"val.txt.*missing"):
        load_folder(flat, "val")


def test_instance_folder(tmp_path):
    ids = np.zeros(SIZE, np.uint16)
    ids[2:6, 3:9], ids[10:20, 10:12] = 7, 40000
    rgba = np.dstack([scene(0).image, np.full(SIZE, 255, np.uint8)])
    save(tmp_path / "images/train/a.png", rgba)
    save(tmp_path / "instances/train/a.png", ids)
    dataset = load_folder(tmp_path, "train")
    assert (dataset.kind, dataset.id2label, dataset.stuff_class_ids) == ("instance", {0: "object"}, ())
    example = dataset[0]
    np.testing.assert_array_equal(example["segmentation"], ids)
    np.testing.assert_array_equal(example["image"], scene(0).image)
    assert example["segments_info"] == [
        {"id": 7, "category_id": 0, "iscrowd": 0, "area": 24, "bbox": [3, 2, 6, 4]},
        {"id": 40000, "category_id": 0, "iscrowd": 0, "area": 20, "bbox": [10, 10, 2, 10]},
    ]
    (tmp_path / "classes.json").write_text('["nucleus"]')
    assert load_folder(tmp_path).id2label == {0: "nucleus"}
    (tmp_path / "classes.json").write_text('["a", "b"]')
    with pytest.raises(ValueError, match=r"classes.json names 2 classes"):
        load_folder(tmp_path)


def coco_instances(folder, annotations, split="train2017"):
    save(folder / "images" / split / "a.png", scene(0).image)
    save(folder / "images" / split / "b.png", scene(1).image)
    images = [{"id": k, "file_name": f"{n}.png", "height": SIZE[0], "width": SIZE[1]} for k, n in ((5, "a"), (9, "b"))]
    content = {
        "images": images,
        "annotations": [{"id": k, "image_id": 5, "iscrowd": 0, **a} for k, a in enumerate(annotations)],
        "categories": [{"id": 18, "name": "dog"}, {"id": 3, "name": "car"}],
    }
    file = folder / "annotations" / f"instances_{split}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(content))
    return file


def run_length(mask):
    """COCO's uncompressed code: run lengths column by column, beginning with zeros."""
    flat = mask.T.ravel().astype(int)
    changes = np.flatnonzero(np.diff(np.concatenate([[0], flat]))).tolist()
    edges = [0, *changes, flat.size]
    return {"size": list(mask.shape), "counts": np.diff(edges).tolist()}


def test_coco_instances(tmp_path):
    blob = np.zeros(SIZE, bool)
    blob[0:3, 0:2], blob[20:22, 30:40] = True, True
    file = coco_instances(
        tmp_path,
        [
            {"category_id": 18, "segmentation": [[12, 12, 16, 12, 16, 15, 12, 15]]},  # small, in front of the next
            {"category_id": 3, "segmentation": [[10, 10, 30, 10, 30, 20, 10, 20]]},
            {"category_id": 3, "segmentation": run_length(blob)},
            {"category_id": 18, "segmentation": run_length(~blob), "iscrowd": 1},
        ],
    )
    dataset = load_folder(tmp_path, "train")
    assert dataset.kind == "instance" and dataset.id2label == {0: "car", 1: "dog"} and dataset.names == ["a", "b"]
    assert dataset.original_category_ids == {0: 3, 1: 18} and dataset.stuff_class_ids == ()
    example = dataset[0]
    expected = np.full(SIZE, 255)
    expected[10:20, 10:30], expected[12:15, 12:16], expected[blob] = 0, 1, 0
    np.testing.assert_array_equal(semantic_map(example["segmentation"], example["segments_info"]), expected)
    assert sorted(s["area"] for s in example["segments_info"] if not s["iscrowd"]) == [12, 26, 188]
    assert [s["iscrowd"] for s in example["segments_info"]] == [0, 0, 0, 1]  # void, not background
    assert dataset[1]["segments_info"] == []
    assert load_folder(file).names == ["a", "b"] and list_splits(tmp_path) == ["train2017"]


def test_coco_compressed_run_lengths(tmp_path):
    mask_tools = pytest.importorskip("pycocotools.mask")
    blob = np.zeros(SIZE, bool)
    blob[5:9, 2:20] = True
    code = mask_tools.encode(np.asfortranarray(blob.astype(np.uint8)))
    code["counts"] = code["counts"].decode()
    coco_instances(tmp_path, [{"category_id": 18, "segmentation": code}])
    np.testing.assert_array_equal(load_folder(tmp_path, "train")[0]["segmentation"], blob)


def test_polygons_without_pycocotools_agree_with_it(tmp_path, monkeypatch):
    pytest.importorskip("pycocotools")
    triangle = [[3.5, 2.5, 33.5, 8.5, 12.5, 28.5]]
    coco_instances(tmp_path, [{"category_id": 18, "segmentation": triangle}])
    exact = load_folder(tmp_path, "train")[0]["segmentation"] > 0
    monkeypatch.setitem(__import__("sys").modules, "pycocotools", None)
    plain = load_folder(tmp_path, "train")[0]["segmentation"] > 0
    assert (exact & plain).sum() / (exact | plain).sum() > 0.9


@pytest.fixture
def panoptic(tmp_path):
    item = scene(2)
    ids = item.segmentation * 70001 % 16777216
    save(tmp_path / "images/val2017/p.jpg", item.image)
    rgb = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)
    save(tmp_path / "annotations/panoptic_val2017/p.png", rgb)
    content = {
        "images": [{"id": 1, "file_name": "p.jpg", "height": SIZE[0], "width": SIZE[1]}],
        "annotations": [
            {
                "image_id": 1,
                "file_name": "p.png",
                "segments_info": [
                    {
                        **s,
                        "id": s["id"] * 70001 % 16777216,
                        "category_id": s["category_id"] + 100,
                        "iscrowd": int(k == 0),
                    }
                    for k, s in enumerate(item.segments_info)
                ],
            }
        ],
        "categories": [{**c, "id": c["id"] + 100} for c in CATEGORIES],
    }
    file = tmp_path / "annotations/panoptic_val2017.json"
    file.write_text(json.dumps(content))
    return tmp_path, file, content


def test_coco_panoptic(panoptic):
    folder, file, _ = panoptic
    dataset = load_folder(folder, "validation")
    assert dataset.kind == "panoptic" and dataset.stuff_class_ids == (6, 7, 8, 9)
    assert dataset.id2label == {c["id"]: c["name"] for c in CATEGORIES}
    example, item = dataset[0], scene(2)
    np.testing.assert_array_equal(example["segmentation"], item.segmentation * 70001 % 16777216)
    assert [s["area"] for s in example["segments_info"]] == [s["area"] for s in item.segments_info]
    assert [s["category_id"] for s in example["segments_info"]] == [s["category_id"] for s in item.segments_info]
    assert [s["iscrowd"] for s in example["segments_info"]] == [1] + [0] * (len(item.segments_info) - 1)
    assert len(load_folder(file)) == 1


def test_exif_rotated_images_are_upright_unless_the_label_says_otherwise(tmp_path):
    upright = scene(0).image
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned by 90 degrees
    stored = np.ascontiguousarray(np.rot90(upright))
    label = scene(0).semantic_map().astype(np.uint8)
    save(tmp_path / "images/turned.png", stored, exif=exif)
    save(tmp_path / "labels/turned.png", label)
    np.testing.assert_array_equal(load_folder(tmp_path)[0]["image"], upright)
    save(tmp_path / "labels/turned.png", np.ascontiguousarray(np.rot90(label)))
    np.testing.assert_array_equal(load_folder(tmp_path)[0]["image"], stored)


# ---------------------------------------------------------------------------------------------------------------------
# Faults
# ---------------------------------------------------------------------------------------------------------------------


def fails(error, words, *arguments, **options):
    with pytest.raises(error) as caught:
        load_folder(*arguments, **options)
    message = str(caught.value)
    assert all(word in message for word in words), message


def test_nothing_there(tmp_path):
    fails(FileNotFoundError, ["nowhere", "does not exist", "images/<split>/"], tmp_path / "nowhere")
    fails(ValueError, ["nothing", "labels/", "annotations/*.json"], tmp_path)
    (tmp_path / "readme.md").write_text("x")
    fails(ValueError, ["readme.md", "images/<split>/"], tmp_path)
    fails(ValueError, ["readme.md", "not a COCO json"], tmp_path / "readme.md")


def test_labels_without_images_and_images_without_labels(semantic, tmp_path):
    (semantic / "labels/train/s1.png").unlink()
    fails(ValueError, ["1 of 4", "s1", "labels/train"], semantic, "train")
    assert len(load_folder(semantic, "val")) == 2
    for file in (semantic / "images/val").iterdir():
        file.unlink()
    fails(ValueError, ["images/val", "no image", ".jpg"], semantic, "val")
    fails(ValueError, ["'test'", "train, val"], semantic, "test")


def test_missing_image_or_label_folder(tmp_path):
    (tmp_path / "labels").mkdir()
    fails(FileNotFoundError, ["images", "does not exist"], tmp_path)
    save(tmp_path / "images/train/a.png", scene(0).image)
    fails(FileNotFoundError, ["labels/train", "1 images"], tmp_path, "train")


def test_label_of_another_size(semantic):
    save(semantic / "labels/train/s2.png", np.zeros((5, 6), np.uint8))
    fails(ValueError, ["s2.png", "(5, 6)", "(32, 40)", "nearest"], semantic, "train")


def test_label_value_outside_the_classes(semantic):
    save(semantic / "labels/train/s2.png", np.full(SIZE, 77, np.uint8))
    with pytest.raises(ValueError, match=r"s2.png holds the label value\(s\) \[77\]; must be one of the 10 classes"):
        load_folder(semantic, "train")[2]


def test_two_images_of_one_name(semantic):
    save(semantic / "images/train/s2.png", scene(2).image)
    fails(ValueError, ["s2.jpg", "s2.png", "same name"], semantic, "train")


def test_color_label_without_palette(semantic):
    save(semantic / "labels/train/s0.png", np.zeros((*SIZE, 3), np.uint8))
    with pytest.raises(ValueError, match=r"s0.png is a color image"):
        load_folder(semantic, "train")[0]


def test_truncated_and_false_images(semantic):
    file = semantic / "images/train/s0.png"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"s0.png. is truncated or damaged"):
        load_folder(semantic, "train")[0]
    file.write_bytes(b"not an image")
    fails(ValueError, ["s0.png", "not an image"], semantic, "train")


def test_decompression_bomb(semantic, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match=r"s0.png. is larger than the limit"):
        load_folder(semantic, "train")[0]


@pytest.mark.parametrize(
    "text, words",
    [
        ('["a", ', ["classes.json", "line 1", "copy it again"]),
        ('{"name": "a"}', ["classes.json", "list of names"]),
        ('{"names": ["a"], "ignore_index": 0}', ["classes.json", "no class"]),
        ('{"names": [1, 2]}', ["classes.json", "text"]),
    ],
)
def test_damaged_class_file(semantic, text, words):
    (semantic / "classes.json").write_text(text)
    fails(ValueError, words, semantic)


def test_damaged_coco_files(tmp_path):
    polygon = [[1, 1, 9, 1, 9, 9]]
    file = coco_instances(tmp_path, [{"category_id": 18, "segmentation": polygon}])
    whole = file.read_text()
    file.write_text(whole[: len(whole) // 2])
    fails(ValueError, [file.name, "not complete JSON", "cut"], tmp_path, "train")
    content = json.loads(whole)
    file.write_text(json.dumps({k: v for k, v in content.items() if k != "categories"}))
    fails(ValueError, [file.name, "categories"], file)
    file.write_text(json.dumps({**content, "annotations": []}))
    fails(ValueError, [file.name, "0 annotations"], file)
    file.write_text("[]")
    fails(ValueError, [file.name, "images, annotations, categories"], file)
    for change, words in (
        ({"image_id": 6}, ["image 6"]),
        ({"category_id": 4}, ["category id(s) 4"]),
    ):
        file.write_text(json.dumps({**content, "annotations": [{**content["annotations"][0], **change}]}))
        fails(ValueError, words, file)
    for shape, words in (
        ([[1, 1, 2, 2]], "polygon of 4"),
        ({"size": [2, 2], "counts": [4]}, "2 x 2 pixels, but the image has 32 x 40"),
        ({"size": [32, 40], "counts": [3]}, "add up to 3"),
        ([], "box"),
    ):
        file.write_text(json.dumps({**content, "annotations": [{**content["annotations"][0], "segmentation": shape}]}))
        with pytest.raises(ValueError, match=words):
            load_folder(file)[0]
    file.write_text(whole)
    (tmp_path / "images/train2017/b.png").unlink()
    fails(FileNotFoundError, ["1 of 2", "b.png"], file)
    (tmp_path / "images/train2017/a.png").unlink()
    fails(FileNotFoundError, ["a.png", "image_folder="], file)
    fails(ValueError, ["'test'", "train2017"], tmp_path, "test")
    coco_instances(tmp_path, [{"category_id": 18, "segmentation": polygon}], split="val2017")
    fails(ValueError, ["split=", "train2017, val2017"], tmp_path)


def test_panoptic_files_that_do_not_agree(panoptic):
    folder, file, content = panoptic
    entry = content["annotations"][0]
    file.write_text(json.dumps({**content, "annotations": [{**entry, "segments_info": entry["segments_info"][1:]}]}))
    with pytest.raises(ValueError, match=r"p.png and .*panoptic_val2017.json do not agree"):
        load_folder(folder, "val")[0]
    (folder / "annotations/panoptic_val2017/p.png").unlink()
    fails(FileNotFoundError, ["p.png", "id maps"], folder, "val")


def test_negative_ignore_index(tmp_path):
    """-1 as the void class, which no file can hold, takes no class away."""
    save(tmp_path / "images" / "a.png", np.zeros((2, 3, 3), np.uint8))
    save(tmp_path / "labels" / "a.png", np.array([[0, 1, 2], [2, 1, 0]], np.uint8))
    (tmp_path / "classes.json").write_text(json.dumps({"names": ["x", "y", "z"], "ignore_index": -1}))
    dataset = load_folder(tmp_path)
    assert dataset[0]["segmentation_map"].tolist() == [[0, 1, 2], [2, 1, 0]] and len(dataset.id2label) == 3


def test_contrast_is_stretched_linearly_and_flat_images_stay():
    image = np.zeros((10, 10, 3), dtype=np.uint8)
    image[..., 0], image[:5, :, 1] = 40, 20
    stretched = stretch_contrast(image, 0, 100)
    assert stretched[0, 0].tolist() == [255, 128, 0] and stretched[9, 9].tolist() == [255, 0, 0]
    assert np.array_equal(stretch_contrast(image[..., :1].repeat(3, 2)), image[..., :1].repeat(3, 2))


def test_a_folder_can_stretch_the_contrast(tmp_path):
    write_image = Image.fromarray(np.full((8, 8, 3), 3, dtype=np.uint8))
    write_image.putpixel((0, 0), (9, 9, 9))
    for kind in ("images", "instances"):
        (tmp_path / kind / "train").mkdir(parents=True)
    write_image.save(tmp_path / "images/train/a.png")
    Image.fromarray(np.eye(8, dtype=np.uint16)).save(tmp_path / "instances/train/a.png")
    assert load_folder(tmp_path, "train")[0]["image"].max() == 9
    image = load_folder(tmp_path, "train", stretch_contrast=True)[0]["image"]
    assert image.max() == 255 and image.min() == 0
    assert tiny_recipe("proscale", str(tmp_path)) == "proscale-tiny-instances"
    assert tiny_recipe("proscale", None) == "proscale-tiny-shapes"
