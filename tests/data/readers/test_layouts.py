# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Layouts of other tools are read as they are; what cannot be read is called by its name."""

import json
import logging

import numpy as np
import pytest
from PIL import Image

from hfseg.data.readers.folders import list_splits, load_folder

H, W = 20, 30
SQUARE = np.zeros((H, W), dtype=np.uint8)
SQUARE[4:14, 5:15] = 1  # 10 x 10
POLYGON = [5, 4, 15, 4, 15, 14, 5, 14]


def image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (H, W, 3), dtype=np.uint8)).save(path)


def mask(path, values=SQUARE, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    photo = Image.fromarray(values)
    if "palette" in options:
        photo = photo.convert("P") if photo.mode != "P" else photo
        photo.putpalette(options["palette"])
    photo.save(path)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text if isinstance(text, str) else json.dumps(text))


def check_maps(dataset, count, names, values=SQUARE):
    assert dataset.kind == "semantic" and len(dataset) == count and list(dataset.id2label.values()) == names
    np.testing.assert_array_equal(dataset[0]["segmentation_map"], values)


def check_square(dataset, count, names):
    assert dataset.kind == "instance" and len(dataset) == count and list(dataset.id2label.values()) == names
    item = dataset[0]
    assert [segment["area"] for segment in item["segments_info"]] == [100]
    np.testing.assert_array_equal(item["segmentation"], SQUARE)


def coco(path, names, **more):
    images = [{"id": k, "file_name": name, "height": H, "width": W} for k, name in enumerate(names, start=1)]
    annotations = [
        {"id": k, "image_id": k, "category_id": 1, "segmentation": [POLYGON], "area": 100, "iscrowd": 0}
        for k in range(1, len(names) + 1)
    ]
    write(path, {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cell"}], **more})


def test_b20_coco_folders_choose_train_and_val(tmp_path):
    for split, count in (("train", 3), ("val", 2)):
        names = [f"{split}{k}.jpg" for k in range(count)]
        coco(tmp_path / f"annotations/instances_{split}.json", names)
        for name in names:
            image(tmp_path / "images" / split / name)
    check_square(load_folder(tmp_path, "train"), 3, ["cell"])
    check_square(load_folder(tmp_path, "validation"), 2, ["cell"])
    from hfseg.training.arguments import TrainingArguments
    from hfseg.training.tasks import build_task

    task = build_task(
        TrainingArguments.from_dict(
            {
                "model": {"model_type": "proscale"},
                "data": {"name": "folder", "train": {"path": str(tmp_path)}, "validation": {"path": str(tmp_path)}},
            }
        )
    )
    assert len(task.build_dataset(task.arguments.data.train)) == 3 and len(task.build_validation_dataset()) == 2


def test_b20_roboflow_coco(tmp_path):
    categories = [
        {"id": 0, "name": "cells", "supercategory": "none"},
        {"id": 1, "name": "cell", "supercategory": "cells"},
    ]
    for split, count in (("train", 2), ("valid", 1)):
        names = [f"{split}{k}_jpg.rf.0a1b.jpg" for k in range(count)]
        coco(tmp_path / split / "_annotations.coco.json", names, categories=categories)
        for name in names:
            image(tmp_path / split / name)
    check_square(load_folder(tmp_path, "train"), 2, ["cell"])
    check_square(load_folder(tmp_path, "val"), 1, ["cell"])


@pytest.mark.parametrize(
    "file, place, stated",
    [
        ("annotations/instances_default.json", "images/default", "a{}.jpg"),  # CVAT
        ("result.json", "images", "images/a{}.jpg"),  # Label Studio
        ("result.json", "images", "images\\a{}.jpg"),  # on Windows
    ],
)
def test_b20_coco_exports_without_splits(tmp_path, file, place, stated):
    coco(tmp_path / file, [stated.format(k) for k in range(5)])
    for k in range(5):
        image(tmp_path / place / f"a{k}.jpg")
    check_square(load_folder(tmp_path, "train"), 4, ["cell"])
    check_square(load_folder(tmp_path, "validation"), 1, ["cell"])
    check_square(load_folder(tmp_path), 5, ["cell"])
    assert list_splits(tmp_path) == ["train", "validation"]


def test_b20_roboflow_masks(tmp_path):
    for split, count in (("train", 2), ("valid", 1)):
        for k in range(count):
            image(tmp_path / split / f"{k}.jpg")
            mask(tmp_path / split / f"{k}_mask.png")
        write(tmp_path / split / "_classes.csv", "Pixel Value, Class\n0, background\n1, cell\n")
    check_maps(load_folder(tmp_path, "train"), 2, ["background", "cell"])
    check_maps(load_folder(tmp_path, "validation"), 1, ["background", "cell"])


@pytest.mark.parametrize("split_first", [True, False])
def test_b20_yolo_segmentation(tmp_path, split_first):
    line = "0 " + " ".join(f"{v / (W, H)[k % 2]:.6f}" for k, v in enumerate(POLYGON))
    for split, count in (("train", 2), ("val", 1)):
        parts = (f"{split}/images", f"{split}/labels") if split_first else (f"images/{split}", f"labels/{split}")
        for k in range(count):
            image(tmp_path / parts[0] / f"{k}.jpg")
            write(tmp_path / parts[1] / f"{k}.txt", line + "\n")
    given = {True: "../{}/images", False: "images/{}"}[split_first]
    train, val = given.format("train"), given.format("val")
    write(tmp_path / "data.yaml", f"path: /nowhere\ntrain: {train}\nval: {val}\nnc: 1\nnames: ['cell']\n")
    check_square(load_folder(tmp_path, "train"), 2, ["cell"])
    check_square(load_folder(tmp_path, "validation"), 1, ["cell"])
    label = tmp_path / (f"{'train/labels' if split_first else 'labels/train'}/0.txt")
    for text, words in (
        ("0 0.5 0.5 0.1 0.1", "line 1 is a box"),
        ("3" + line[1:], "the class 3"),
        ("0 a b c d e f", "numbers"),
        ("0 nan 0 1 1 0 1", "coordinate nan"),
    ):
        label.write_text(text)
        with pytest.raises(ValueError, match=words):
            load_folder(tmp_path, "train")[0]


def test_b20_labelme(tmp_path):
    for split, count in (("train", 2), ("val", 1)):
        for k in range(count):
            image(tmp_path / split / f"{k}.jpg")
            points = np.reshape(POLYGON, (4, 2)).tolist()
            shapes = [{"label": "cell", "points": points, "shape_type": "polygon", "group_id": None}]
            content = {"shapes": shapes, "imagePath": f"{k}.jpg", "imageHeight": H, "imageWidth": W}
            write(tmp_path / split / f"{k}.json", content)
    check_square(load_folder(tmp_path, "train"), 2, ["cell"])
    check_square(load_folder(tmp_path, "validation"), 1, ["cell"])
    shapes[0] |= {"shape_type": "rectangle", "points": [[15, 14], [5, 4]]}
    write(tmp_path / "val/0.json", content)
    check_square(load_folder(tmp_path, "validation"), 1, ["cell"])
    shapes[0] |= {"shape_type": "line"}
    write(tmp_path / "val/0.json", content)
    with pytest.raises(ValueError, match=r"0\.json, shape 0.*'line'"):
        load_folder(tmp_path, "validation")[0]


@pytest.mark.parametrize(
    "images, masks, name",
    [
        ("train/images/{}.jpg", "train/masks/{}.png", "{}"),
        ("train/images/{}.jpg", "train/labels/{}.png", "{}"),
        ("img_dir/train/{}.jpg", "ann_dir/train/{}.png", "{}"),
        ("train/{}.jpg", "train/{}_mask.png", "{}"),
        ("train/images/{}.jpg", "train/masks/{}_mask.png", "{}"),
        ("images/train/{}.jpg", "annotations/train/{}.png", "{}"),
    ],
)
def test_b20_trees_of_images_and_masks(tmp_path, images, masks, name):
    for k in range(3):
        image(tmp_path / images.format(k))
        mask(tmp_path / masks.format(k))
        if k < 2:
            image(tmp_path / images.format(k).replace("train", "val"))
            mask(tmp_path / masks.format(k).replace("train", "val"))
    write(tmp_path / "classes.json", ["background", "cell"])
    check_maps(load_folder(tmp_path, "train"), 3, ["background", "cell"])
    check_maps(load_folder(tmp_path, "validation"), 2, ["background", "cell"])
    assert load_folder(tmp_path, "train").names == ["0", "1", "2"]


@pytest.mark.parametrize("masks", ["{}_mask.png", "../mask/{}.png"])
def test_b20_without_splits_a_share_is_held_out(tmp_path, masks):
    for k in range(5):
        image(tmp_path / "image" / f"{k}.jpg")
        mask((tmp_path / "image" / masks.format(k)).resolve())
    check_maps(load_folder(tmp_path, "train"), 4, ["class_0", "class_1"])
    assert len(load_folder(tmp_path, "val")) == 1 and list_splits(tmp_path) == ["train", "validation"]


def test_b20_voc_trees(tmp_path):
    bordered = SQUARE.copy()
    bordered[0] = 255
    for k in range(3):
        image(tmp_path / f"VOC/JPEGImages/{k}.jpg")
        mask(tmp_path / f"VOC/SegmentationClass/{k}.png", bordered)
    write(tmp_path / "VOC/ImageSets/Segmentation/train.txt", "0\n1\n")
    write(tmp_path / "VOC/ImageSets/Segmentation/val.txt", "2\n")
    dataset = load_folder(tmp_path / "VOC", "train")
    assert len(dataset) == 2 and dataset.id2label[1] == "aeroplane" and len(load_folder(tmp_path, "val")) == 1
    np.testing.assert_array_equal(dataset[0]["segmentation_map"], bordered)
    colors = np.array([[0, 0, 0], [10, 20, 30]], dtype=np.uint8)  # CVAT: colors and a table of them
    for k in range(3):
        mask(tmp_path / f"VOC/SegmentationClass/{k}.png", colors[SQUARE])
    write(tmp_path / "VOC/labelmap.txt", "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncell:10,20,30::\n")
    check_maps(load_folder(tmp_path / "VOC", "train"), 2, ["background", "cell"])


def test_b20_cityscapes_and_ade20k_trees(tmp_path):
    for split in ("train", "val"):
        image(tmp_path / f"city/leftImg8bit/{split}/ulm/ulm_0_0_leftImg8bit.png")
        mask(tmp_path / f"city/gtFine/{split}/ulm/ulm_0_0_gtFine_labelIds.png", SQUARE + 7)
    dataset = load_folder(tmp_path / "city", "val")
    assert dataset.id2label[0] == "road" and set(np.unique(dataset[0]["segmentation_map"])) == {0, 1}
    for split in ("training", "validation"):
        image(tmp_path / f"ADE/images/{split}/a.jpg")
        mask(tmp_path / f"ADE/annotations/{split}/a.png")
    dataset = load_folder(tmp_path / "ADE", "train")
    assert len(dataset.id2label) == 150
    np.testing.assert_array_equal(dataset[0]["segmentation_map"], np.where(SQUARE == 1, 0, 255))


@pytest.mark.parametrize("version", [1, 2])
def test_b20_nnunet_raw_folders(tmp_path, version):
    labels = {"0": "background", "1": "cell"} if version == 1 else {"background": 0, "cell": 1}
    for k in range(5):
        image(tmp_path / f"imagesTr/c{k}_0000.png")
        mask(tmp_path / f"labelsTr/c{k}.png")
    write(tmp_path / "dataset.json", {"labels": labels, "file_ending": ".png"})
    check_maps(load_folder(tmp_path, "train"), 4, ["background", "cell"])


def test_b20_nnunet_volumes_are_medical_cases(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    from hfseg.data import load_medical

    for k in range(4):
        for channel in range(2):
            (tmp_path / "imagesTr").mkdir(exist_ok=True)
            voxels = np.random.default_rng(k).normal(size=(6, 5, 4)).astype(np.float32)
            nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), tmp_path / f"imagesTr/c{k}_000{channel}.nii.gz")
        (tmp_path / "labelsTr").mkdir(exist_ok=True)
        label = (voxels > 1).astype(np.uint8)
        nibabel.save(nibabel.Nifti1Image(label, np.eye(4)), tmp_path / f"labelsTr/c{k}.nii.gz")
    write(tmp_path / "dataset.json", {"labels": {"background": 0, "organ": 1}, "channel_names": {"0": "T1", "1": "T2"}})
    dataset = load_medical(tmp_path, "nnunet", "train:0/4", "MR", input_mode="sequences")
    assert dataset.id2label == {0: "background", 1: "organ"} and len(dataset.cases) == 3
    assert dataset[0]["image"].shape[0] == 3
    with pytest.raises(ValueError, match=r"nnU-Net or Decathlon folder of volumes.*a recipe of volumes"):
        load_folder(tmp_path, "train")


def test_b20_tables_with_other_columns(tmp_path):
    datasets = pytest.importorskip("datasets")
    from hfseg.data import TableDataset

    for column in ("label", "annotation", "mask"):
        features = datasets.Features(
            {
                "image": datasets.Image(),
                column: datasets.Image(),
                "classes": datasets.List(datasets.ClassLabel(names=["background", "cell"])),
            }
        )
        row = {"image": Image.new("RGB", (W, H)), column: Image.fromarray(SQUARE), "classes": [0, 1]}
        table = TableDataset(datasets.Dataset.from_list([row], features=features))
        assert table.kind == "semantic" and table.id2label == {0: "background", 1: "cell"}
        np.testing.assert_array_equal(table[0]["segmentation_map"], SQUARE)


@pytest.mark.parametrize(
    "files, words",
    [
        (["Annotations/a.xml", "JPEGImages/a.jpg"], "Pascal VOC for detection"),
        (["cats/a.jpg", "dogs/b.jpg"], "image classification"),
        (["train/a.jpg", "val/b.jpg"], "images without labels"),
        (["a.jpg"], "images without labels"),
        (["a.nii.gz"], "medical volumes"),
        (["shard-0.tar"], "tar shards"),
        (["train-0.parquet"], "table"),
        (["more/x/train/images/a.jpg", "more/x/train/masks/a.png", "else/b.txt"], "more inside can be read|it holds"),
    ],
)
def test_b20_what_is_refused_is_called_by_its_name(tmp_path, files, words):
    for name in files:
        if name.endswith((".jpg", ".png")):
            (mask if "masks" in name else image)(tmp_path / name)
        else:
            write(tmp_path / name, "x")
    with pytest.raises(ValueError, match=words):
        load_folder(tmp_path, "train")


# ------------------------------------------------------------------------------------------------ faults of section A


def pairs(root, values, count=3, classes=None):
    for k in range(count):
        image(root / f"images/train/{k}.png")
        mask(root / f"labels/train/{k}.png", values)
    if classes is not None:
        write(root / "classes.json", classes)
    return root


@pytest.mark.parametrize("classes", [["background", "cell"], None, {"names": ["background", "cell"]}])
def test_a05_masks_of_0_and_255_are_two_classes(tmp_path, caplog, classes):
    root = pairs(tmp_path, SQUARE * np.uint8(255), classes=classes)
    with caplog.at_level(logging.WARNING):
        dataset = load_folder(root, "train")
    np.testing.assert_array_equal(dataset[0]["segmentation_map"], SQUARE)
    assert len(dataset.id2label) == 2 and "0 and 255 only" in caplog.text


def test_a05_a_stated_ignore_index_stays_void_and_the_empty_class_is_said(tmp_path, caplog):
    root = pairs(tmp_path, SQUARE * np.uint8(255), classes={"names": ["background", "cell"], "ignore_index": 255})
    with caplog.at_level(logging.WARNING):
        dataset = load_folder(root, "train")
    np.testing.assert_array_equal(dataset[0]["segmentation_map"], SQUARE * np.uint8(255))
    assert "1 of 2 classes have no pixel in the 3 labels" in caplog.text and "cell" in caplog.text
    with pytest.raises(ValueError, match="nothing but void"):
        load_folder(pairs(tmp_path, np.full((H, W), 255, np.uint8)), "train")


def test_a10_palette_rgb_goes_by_color(tmp_path):
    palette = [[0, 0, 0], [200, 0, 0], [0, 200, 0]]
    root = pairs(tmp_path, SQUARE, classes={"names": ["a", "b", "c"], "palette_rgb": palette})
    swapped = [0, 200, 0, 200, 0, 0, 0, 0, 0] + [0] * 759  # the file's own palette: 0 is green, 1 is red
    for k in range(3):
        photo = Image.fromarray(SQUARE).convert("P")
        photo.putpalette(swapped)
        photo.save(root / f"labels/train/{k}.png")
        assert Image.open(root / f"labels/train/{k}.png").mode == "P"
    np.testing.assert_array_equal(load_folder(root, "train")[0]["segmentation_map"], np.where(SQUARE, 1, 2))
    photo.putpalette([9, 9, 9] * 256)
    photo.save(root / "labels/train/0.png")
    with pytest.raises(ValueError, match=r"\(9, 9, 9\), which is not in palette_rgb"):
        load_folder(root, "train")[0]


def test_a11_linked_folders_are_read(tmp_path):
    pairs(tmp_path / "elsewhere", SQUARE)
    for name in ("images", "labels"):
        (tmp_path / "data" / name / "train").mkdir(parents=True)
        (tmp_path / "data" / name / "train/more").symlink_to(tmp_path / "elsewhere" / name / "train")
    assert load_folder(tmp_path / "data", "train").names == ["more/0", "more/1", "more/2"]
    from hfseg.data.readers.in_context_sources import ImageFolderSource

    assert len(ImageFolderSource(str(tmp_path / "data/images"))) == 3


def test_a11_a_pipe_among_the_images_is_refused(tmp_path):
    import os

    root = pairs(tmp_path, SQUARE)
    os.mkfifo(root / "images/train/z.png")
    with pytest.raises(ValueError, match=r"z\.png is no regular file"):
        load_folder(root, "train")


def test_a04_files_that_share_a_stem(tmp_path):
    coco(tmp_path / "annotations/instances_train.json", ["s1/0001.png", "s2/0001.png", "s3/a.jpg", "s3/a.png"])
    for name in ("s1/0001.png", "s2/0001.png", "s3/a.jpg", "s3/a.png"):
        image(tmp_path / "images/train" / name)
    dataset = load_folder(tmp_path, "train")
    assert dataset.names == ["s1/0001", "s2/0001", "s3/a.jpg", "s3/a.png"]
    from hfseg.evaluation.segmentation import CocoInstances

    truth = CocoInstances(tmp_path / "annotations/instances_train.json", {1: 0})
    for index in range(4):
        assert truth(dataset[index])["annotations"] and truth(dataset[index])["height"] == H
    table = dataset.to_datasets()
    assert table["image_id"] == dataset.names or list(table["image_id"]) == dataset.names


# ------------------------------------------------------------------------------------------------------- C27


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda c: c["images"][0].pop("height"), "entry 0 of images.*no height"),
        (lambda c: c["images"][0].update(height=10**6, width=10**6), "states the size 1000000"),
        (lambda c: c["images"][0].update(height="tall"), "height 'tall'"),
        (lambda c: c["images"][0].pop("file_name"), "no file_name"),
        (lambda c: c["images"][0].update(file_name="../../etc/hosts"), "outside of the dataset|not found|not in"),
        (lambda c: c["annotations"][0].pop("category_id"), "annotation 1 has no category_id"),
        (lambda c: c["annotations"][0].pop("image_id"), "annotation 1 has no image_id"),
        (lambda c: c["annotations"][0].update(iscrowd="no"), "iscrowd 'no'"),
        (lambda c: c["categories"][0].pop("name"), "category 1 has no name"),
        (lambda c: c["categories"][0].pop("id"), "no id"),
        (lambda c: c.update(images={"1": c["images"][0]}), "images is a dict"),
        (lambda c: c["annotations"].append(7), "entry 2 of annotations"),
        (lambda c: c["annotations"][0].update(segmentation=POLYGON), "annotation 1: .*flat list"),
        (lambda c: c["annotations"][0].update(segmentation={"counts": [600]}), "annotation 1: .*'size'"),
        (lambda c: c["annotations"][0].update(segmentation={"size": [H, W], "counts": None}), "annotation 1: .*counts"),
        (lambda c: c["annotations"][0].pop("segmentation"), "annotation 1: .*only a box"),
        (lambda c: c["images"][0].update(height=H + 1), "states the size"),
    ],
)
def test_c27_broken_coco_entries_are_named(tmp_path, change, words):
    file = tmp_path / "annotations/instances_train.json"
    coco(file, ["a.jpg", "b.jpg"])
    image(tmp_path / "images/train/a.jpg")
    image(tmp_path / "images/train/b.jpg")
    content = json.loads(file.read_text())
    change(content)
    write(file, content)
    with pytest.raises((ValueError, FileNotFoundError), match=words) as error:
        load_folder(tmp_path, "train")[0]
    assert "instances_train.json" in str(error.value)


def test_c27_what_can_be_read_is_read(tmp_path):
    import unicodedata

    file = tmp_path / "annotations/instances_train.json"
    coco(file, ["sub\\bä.jpg"])
    content = json.loads(file.read_text())
    content["images"][0] |= {"id": "1", "height": str(H), "width": float(W)}
    content["annotations"][0] |= {"image_id": "1", "category_id": "1", "iscrowd": None}
    file.write_text("\ufeff" + json.dumps(content))
    image(tmp_path / "images/train/sub" / unicodedata.normalize("NFD", "bä.jpg"))
    dataset = load_folder(tmp_path, "train")
    check_square(dataset, 1, ["cell"])


def test_c27_files_outside_need_leave(tmp_path):
    coco(tmp_path / "set/annotations/instances_train.json", ["../../../out.jpg"])
    image(tmp_path / "out.jpg")
    (tmp_path / "set/images/train").mkdir(parents=True)
    with pytest.raises(ValueError, match="outside of the dataset's folder"):
        load_folder(tmp_path / "set", "train")
    assert len(load_folder(tmp_path / "set", "train", allow_outside=True)) == 1
