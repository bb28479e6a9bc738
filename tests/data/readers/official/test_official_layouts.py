# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Official layouts: tiny trees come back with the exact ids and classes that the datasets' papers and tools define."""

import csv
import json
import pickle

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from hfseg.data import load_official, official_names
from hfseg.data.collators.collation import UniversalCollator
from hfseg.data.readers.official import OFFICIAL, default_root
from hfseg.files.label_names import ADE20K_THINGS, COCO_PANOPTIC, PASCAL_CONTEXT_59, PASCAL_CONTEXT_59_IDS, PASCAL_VOC

SIZE = (4, 6)


def photo(path, size=SIZE, value=90):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), value, dtype=np.uint8)).save(path)


def label(path, values, dtype=np.uint8):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values, dtype=dtype)).save(path)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def rows_of(*values):
    """A map of SIZE whose rows hold these values."""
    return np.repeat(np.array(values)[:, None], SIZE[1], axis=1)


def by_class(item):
    return {segment["id"]: segment["category_id"] for segment in item["segments_info"]}


# -- COCO --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def coco(tmp_path):
    """Two training images; categories with the real ids of person (1), toothbrush (90), banner (92), rug-merged."""
    for name in ("000000000009", "000000000025"):
        photo(tmp_path / "train2017" / f"{name}.jpg")
    ids = rows_of(0, 1, 70000, 70001)
    rgb = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1)
    label(tmp_path / "annotations/panoptic_train2017/000000000009.png", rgb)
    label(tmp_path / "annotations/panoptic_train2017/000000000025.png", rgb)
    images = [
        {"id": int(n), "file_name": f"{n}.jpg", "height": 4, "width": 6} for n in ("000000000009", "000000000025")
    ]
    categories = [
        {"id": 92, "name": "banner", "isthing": 0},
        {"id": 1, "name": "person", "isthing": 1},
        {"id": 90, "name": "toothbrush", "isthing": 1},
    ]
    segments = [
        {"id": 1, "category_id": 90, "iscrowd": 0},
        {"id": 70000, "category_id": 92, "iscrowd": 0},
        {"id": 70001, "category_id": 1, "iscrowd": 1},
    ]
    annotations = [
        {"image_id": image["id"], "file_name": image["file_name"].replace("jpg", "png"), "segments_info": segments}
        for image in images
    ]
    content = {"images": images, "annotations": annotations, "categories": categories}
    write(tmp_path / "annotations/panoptic_train2017.json", json.dumps(content))
    square = [0.0, 0.0, 3.0, 0.0, 3.0, 2.0, 0.0, 2.0]
    objects = [
        {"id": 1, "image_id": 9, "category_id": 90, "iscrowd": 0, "segmentation": [square]},
        {"id": 2, "image_id": 9, "category_id": 1, "iscrowd": 1, "segmentation": {"size": [4, 6], "counts": [0, 24]}},
    ]
    things = [category for category in categories if category["isthing"]]
    content = {"images": images, "annotations": objects, "categories": things}
    write(tmp_path / "annotations/instances_train2017.json", json.dumps(content))
    captions = [{"id": k, "image_id": i, "caption": f"text {k}"} for k, i in enumerate((25, 9, 25))]
    write(tmp_path / "annotations/captions_train2017.json", json.dumps({"images": images, "annotations": captions}))
    return tmp_path


def test_coco_panoptic(coco):
    dataset = load_official("coco_panoptic", coco)
    assert dataset.id2label == {0: "person", 1: "toothbrush", 2: "banner"} and dataset.stuff_class_ids == (2,)
    item = dataset[0]
    np.testing.assert_array_equal(item["segmentation"], rows_of(0, 1, 70000, 70001))
    assert by_class(item) == {1: 1, 70000: 2, 70001: 0}
    assert [segment["iscrowd"] for segment in item["segments_info"]] == [0, 0, 1]
    assert item["image_id"] == dataset.sample_id(0) == "000000000009" and item["image"].shape == (4, 6, 3)
    assert item["segments_info"][0]["area"] == 6 and item["segments_info"][0]["bbox"] == [0, 1, 6, 1]
    (coco / "annotations/panoptic_train2017").rename(coco / "panoptic_train2017")  # the other usual place
    assert by_class(load_official("coco_panoptic", coco)[1]) == by_class(item)
    assert len(pickle.loads(pickle.dumps(dataset))) == 2


def test_coco_instance_and_captions(coco):
    dataset = load_official("coco_instance", coco)
    assert dataset.kind == "instance" and dataset.id2label == {0: "person", 1: "toothbrush"}
    item = dataset[0]
    expected = np.full(SIZE, 2)  # the crowd, below everything
    expected[:2, :3] = 1
    np.testing.assert_array_equal(item["segmentation"], expected)
    assert [segment["iscrowd"] for segment in item["segments_info"]] == [0, 1] and dataset[1]["segments_info"] == []
    captions = load_official("coco_captions", coco)
    assert [(item["image_id"][-2:], item["text"]) for item in (captions[k] for k in range(3))] == [
        ("09", "text 1"),
        ("25", "text 0"),
        ("25", "text 2"),
    ]


def test_coco_stuff(tmp_path):
    photo(tmp_path / "images/val2017/a.jpg")
    # original ids - 1: person, stop sign (13, after the unused 12), wood (182), unlabeled
    label(tmp_path / "stuffthingmaps/val2017/a.png", rows_of(0, 12, 181, 255))
    dataset = load_official("coco_stuff", tmp_path, "val")
    np.testing.assert_array_equal(dataset[0]["segmentation_map"], rows_of(0, 11, 170, 255))
    assert len(dataset.id2label) == 171 and dataset.stuff_class_ids == tuple(range(80, 171))
    assert [dataset.id2label[k] for k in (0, 11, 79, 80, 170)] == [
        "person",
        "stop sign",
        "toothbrush",
        "banner",
        "wood",
    ]
    assert [dataset.id2label[k] for k in range(80)] == COCO_PANOPTIC[:80]
    label(tmp_path / "stuffthingmaps/val2017/a.png", rows_of(0, 11, 0, 0))  # street sign: never labeled
    with pytest.raises(ValueError, match=r"a\.png holds the label value\(s\) \[11\]; must be one of the 171 classes"):
        dataset[0]


# -- Cityscapes --------------------------------------------------------------------------------------------------------

# The evaluated label ids by cityscapesscripts' table, and train ids 0 to 18.
LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)


@pytest.fixture
def cityscapes(tmp_path):
    name = "ulm_000000_000019"
    photo(tmp_path / f"leftImg8bit/val/ulm/{name}_leftImg8bit.png", (34, 6))
    every = np.repeat(np.arange(34)[:, None], 6, axis=1)
    label(tmp_path / f"gtFine/val/ulm/{name}_gtFine_labelIds.png", every)
    ids = np.zeros((34, 6), dtype=np.uint16)
    for row, value in enumerate((7, 4, 24, 24000, 24001, 26003, 29000, 33012, 26, 10)):
        ids[row] = value
    label(tmp_path / f"gtFine/val/ulm/{name}_gtFine_instanceIds.png", ids, np.uint16)
    return tmp_path


def test_cityscapes_semantic(cityscapes):
    dataset = load_official("cityscapes_semantic", cityscapes, "validation")
    expected = [LABEL_IDS.index(value) if value in LABEL_IDS else 255 for value in range(34)]
    assert dataset[0]["segmentation_map"][:, 0].tolist() == expected
    assert dataset.names == ["ulm_000000_000019"] and dataset.id2label[18] == "bicycle"
    assert dataset.stuff_class_ids == tuple(range(11))


def test_cityscapes_panoptic_and_instance(cityscapes):
    dataset = load_official("cityscapes_panoptic", cityscapes, "val")
    item = dataset[0]
    # not evaluated (static, caravan, rail track) -> void; things without a number are crowds
    assert item["segmentation"][:10, 0].tolist() == [7, 0, 24, 24000, 24001, 26003, 0, 33012, 26, 0]
    assert by_class(item) == {7: 0, 24: 11, 26: 13, 24000: 11, 24001: 11, 26003: 13, 33012: 18}
    assert {s["id"] for s in item["segments_info"] if s["iscrowd"]} == {24, 26}
    assert dataset.stuff_class_ids == tuple(range(11))
    dataset = load_official("cityscapes_instance", cityscapes, "val")
    assert by_class(dataset[0]) == {24000: 0, 24001: 0, 26003: 2, 33012: 7}
    assert list(dataset.id2label.values()) == "person rider car truck bus train motorcycle bicycle".split()


# -- ADE20K ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def ade20k(tmp_path):
    photo(tmp_path / "images/training/ADE_train_00000001.jpg")
    label(tmp_path / "annotations/training/ADE_train_00000001.png", rows_of(0, 1, 8, 150))
    objects = np.zeros((*SIZE, 3))
    objects[2, :3] = (1, 4, 0)  # class 1 of 100 = bed, which is 8 of 150
    objects[3] = (100, 5, 0)  # class 100 of 100 = 150 of 150
    label(tmp_path / "annotations_instance/training/ADE_train_00000001.png", objects)
    return tmp_path


def test_ade20k_semantic(ade20k):
    dataset = load_official("ade20k_semantic", ade20k)
    np.testing.assert_array_equal(dataset[0]["segmentation_map"], rows_of(255, 0, 7, 149))
    assert (dataset.id2label[0], dataset.id2label[7], dataset.id2label[149]) == ("wall", "bed", "flag")
    assert len(dataset.id2label) == 150 and dataset.ignore_index == 255


def test_ade20k_panoptic_and_instance_of_the_original_maps(ade20k):
    dataset = load_official("ade20k_panoptic", ade20k)
    item = dataset[0]
    assert len(dataset.stuff_class_ids) == 50 and 0 in dataset.stuff_class_ids and 7 not in dataset.stuff_class_ids
    expected = rows_of(0, 1, 0, 1005)
    expected[2, :3] = 1004
    np.testing.assert_array_equal(item["segmentation"], expected)
    assert by_class(item) == {1: 0, 1004: 7, 1005: 149}
    instance = load_official("ade20k_instance", ade20k)
    assert by_class(instance[0]) == {1004: 0, 1005: 99} and instance.id2label[0] == "bed"
    assert len(instance.id2label) == len(ADE20K_THINGS) == 100


def test_ade20k_prepared_files_come_first(ade20k):
    ids = rows_of(0, 3, 3, 9)
    label(ade20k / "ade20k_panoptic_train/ADE_train_00000001.png", np.stack([ids, ids * 0, ids * 0], axis=-1))
    segments = [{"id": 3, "category_id": 0, "iscrowd": 0}, {"id": 9, "category_id": 7, "iscrowd": 0}]
    name = "ADE_train_00000001"
    content = {
        "images": [{"id": name, "file_name": f"{name}.jpg", "height": 4, "width": 6}],
        "annotations": [{"image_id": name, "file_name": f"{name}.png", "segments_info": segments}],
        "categories": [{"id": k, "name": f"c{k}", "isthing": int(k in ADE20K_THINGS)} for k in range(150)],
    }
    write(ade20k / "ade20k_panoptic_train.json", json.dumps(content))
    dataset = load_official("ade20k_panoptic", ade20k)
    assert by_class(dataset[0]) == {3: 0, 9: 7} and len(dataset.stuff_class_ids) == 50


def test_ade20k_full(tmp_path):
    photo(tmp_path / "images_detectron2/validation/v.jpg")
    label(tmp_path / "annotations_detectron2/validation/v.tif", rows_of(0, 7, 846, 65535), np.uint16)
    dataset = load_official("ade20k_full", tmp_path, "val")
    np.testing.assert_array_equal(dataset[0]["segmentation_map"], rows_of(0, 7, 846, 65535))
    assert len(set(dataset.id2label.values())) == 847 and dataset.ignore_index == 65535
    assert (dataset.id2label[0], dataset.id2label[7]) == ("wall", "bed")


# -- Pascal ------------------------------------------------------------------------------------------------------------


def palette_label(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(values, dtype=np.uint8), mode="P")
    image.putpalette(list(range(256)) * 3)
    image.save(path)


@pytest.fixture
def voc(tmp_path):
    base = tmp_path / "VOCdevkit/VOC2012"
    for name in ("2007_000032", "2007_000033", "2008_000008"):
        photo(base / "JPEGImages" / f"{name}.jpg")
    palette_label(base / "SegmentationClass/2007_000032.png", rows_of(0, 15, 20, 255))
    palette_label(base / "SegmentationClass/2007_000033.png", rows_of(1, 1, 255, 0))
    write(base / "ImageSets/Segmentation/train.txt", "2007_000032\n")
    write(base / "ImageSets/Segmentation/val.txt", "2007_000033\n")
    return tmp_path


def test_voc(voc):
    dataset = load_official("pascal_voc", voc / "VOCdevkit")
    np.testing.assert_array_equal(dataset[0]["segmentation_map"], rows_of(0, 15, 20, 255))
    assert (dataset.id2label[0], dataset.id2label[15], dataset.id2label[20]) == ("background", "person", "tvmonitor")
    assert list(dataset.id2label.values()) == PASCAL_VOC
    assert load_official("pascal_voc", voc / "VOCdevkit/VOC2012", "val").names == ["2007_000033"]


def test_voc_with_sbd(voc):
    """SBD's own folders: VOC's label of an image wins, and VOC's validation images stay out."""
    sbd = voc / "VOCdevkit/VOCaug/dataset"
    for name, value in (("2007_000032", 3), ("2007_000033", 4), ("2008_000008", 5)):
        (sbd / "cls").mkdir(parents=True, exist_ok=True)
        savemat(sbd / f"cls/{name}.mat", {"GTcls": {"Segmentation": np.full(SIZE, value, np.uint8)}})
    write(sbd / "train.txt", "2007_000032\n2007_000033\n")
    write(sbd / "val.txt", "2008_000008\n")
    dataset = load_official("pascal_voc", voc / "VOCdevkit", "trainaug")
    assert dataset.names == ["2007_000032", "2008_000008"]
    np.testing.assert_array_equal(dataset[0]["segmentation_map"], rows_of(0, 15, 20, 255))
    np.testing.assert_array_equal(dataset[1]["segmentation_map"], np.full(SIZE, 5))
    (sbd / "cls/2008_000008.mat").write_bytes(b"MATLAB 5.0 but not quite")
    with pytest.raises(ValueError, match=r"2008_000008\.mat is truncated or damaged"):
        dataset[1]


def test_voc_with_prepared_sbd(voc):
    base = voc / "VOCdevkit/VOC2012"
    label(base / "SegmentationClassAug/2008_000008.png", rows_of(5, 5, 5, 255))
    write(base / "ImageSets/Segmentation/aug.txt", "2008_000008\n")
    dataset = load_official("pascal_voc", base, "trainaug")
    assert dataset.names == ["2007_000032", "2008_000008"]
    assert dataset[1]["segmentation_map"][0, 0] == 5


def test_pascal_context(tmp_path):
    base = tmp_path / "VOC2010"
    photo(base / "JPEGImages/2008_000002.jpg")
    (base / "trainval").mkdir()
    # aeroplane, tvmonitor, an infrequent class, unlabeled
    savemat(base / "trainval/2008_000002.mat", {"LabelMap": rows_of(2, 427, 1, 0).astype(np.uint16)})
    write(base / "pascalcontext_val.txt", "2008_000002\n")
    write(base / "labels.txt", "".join(f"{k}: name {k}\n" for k in range(1, 460)))
    dataset = load_official("pascal_context_59", tmp_path, "val")
    tv = PASCAL_CONTEXT_59.index("tvmonitor")
    np.testing.assert_array_equal(dataset[0]["segmentation_map"], rows_of(0, tv, 255, 255))
    # the converted maps number the frequent ids from 1 in ascending order
    converted = 1 + sorted(PASCAL_CONTEXT_59_IDS).index(427)
    label(base / "SegmentationClassContext/2008_000002.png", rows_of(1, converted, 0, 0))
    again = load_official("pascal_context_59", tmp_path, "val")
    np.testing.assert_array_equal(again[0]["segmentation_map"], rows_of(0, tv, 255, 255))
    assert sorted(PASCAL_CONTEXT_59) == PASCAL_CONTEXT_59 and len(again.id2label) == 59
    full = load_official("pascal_context_459", tmp_path, "val")
    np.testing.assert_array_equal(full[0]["segmentation_map"], rows_of(1, 426, 0, 65535))
    assert full.id2label[426] == "name 427" and full.ignore_index == 65535


# -- Open Images and CamVid --------------------------------------------------------------------------------------------


@pytest.fixture
def open_images(tmp_path):
    photo(tmp_path / "validation/abc.jpg", (8, 12))
    first, second = np.zeros((4, 6)), np.zeros((4, 6))
    first[:, :4], second[1, 1] = 255, 255
    label(tmp_path / "validation-masks/a/abc_m01_1.png", first)
    label(tmp_path / "validation-masks/a/abc_m02_2.png", second)
    columns = ["MaskPath", "ImageID", "LabelName", "BoxID"]
    table = [columns, ["abc_m02_2.png", "abc", "/m/02", "2"], ["abc_m01_1.png", "abc", "/m/01", "1"]]
    table.append(["gone_m01_1.png", "gone", "/m/01", "1"])
    with (tmp_path / "validation-annotations-object-segmentation.csv").open("w", newline="") as file:
        csv.writer(file).writerows(table)
    write(tmp_path / "class-descriptions-boxable.csv", "/m/01,Cat\n/m/02,Dog\n/m/03,Box\n")
    write(tmp_path / "classes-segmentation.txt", "/m/02\n/m/01\n")
    return tmp_path


def test_open_images(open_images, caplog):
    dataset = load_official("open_images", open_images, "validation")
    assert dataset.names == ["abc"] and dataset.id2label == {0: "Dog", 1: "Cat"}
    assert "1 images" in caplog.text
    expected = np.zeros((8, 12), dtype=int)  # masks have half the image's size
    expected[:, :8], expected[2:4, 2:4] = 1, 2
    item = dataset[0]
    np.testing.assert_array_equal(item["segmentation"], expected)
    assert by_class(item) == {1: 1, 2: 0}


def test_open_images_knows_which_classes_were_looked_for(open_images):
    assert "verified_classes" not in load_official("open_images", open_images, "validation")[0]
    write(open_images / "classes-segmentation.txt", "/m/02\n/m/01\n/m/03\n/m/04\n")
    write(open_images / "class-descriptions-boxable.csv", "/m/01,Cat\n/m/02,Dog\n/m/03,Box\n/m/04,Hat\n")
    # A class that was looked for and is not there counts like one that is there; labels of boxes alone do not matter.
    rows = "ImageID,Source,LabelName,Confidence\nabc,verification,/m/03,0\nabc,verification,/m/99,1\n"
    write(open_images / "validation-annotations-human-imagelabels-boxable.csv", rows)
    dataset = load_official("open_images", open_images, "validation")
    assert dataset[0]["verified_classes"] == [0, 1, 2]
    batch = UniversalCollator(num_labels=4)([dataset[0]])
    assert batch["known_classes"].tolist() == [[True, True, True, False]]


def test_open_images_mask_of_another_image(open_images):
    label(open_images / "validation-masks/a/abc_m01_1.png", np.zeros((6, 4)))
    with pytest.raises(ValueError, match=r"abc_m01_1\.png has size \(6, 4\).* does not fit its image .*abc\.jpg"):
        load_official("open_images", open_images, "validation")[0]
    (open_images / "validation-masks/a/abc_m01_1.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 masks of images .*: abc_m01_1\.png; unpack all"):
        load_official("open_images", open_images, "validation")
    (open_images / "validation/abc.jpg").unlink()
    with pytest.raises(ValueError, match="0 usable samples"):
        load_official("open_images", open_images, "validation")


def test_camvid(tmp_path):
    photo(tmp_path / "test/Seq05VD_f00000.png")
    label(tmp_path / "testannot/Seq05VD_f00000.png", rows_of(0, 8, 10, 11))
    dataset = load_official("camvid", tmp_path, "test")
    np.testing.assert_array_equal(dataset[0]["segmentation_map"], rows_of(0, 8, 10, 255))
    assert (dataset.id2label[0], dataset.id2label[8], len(dataset.id2label)) == ("Sky", "Car", 11)
    folder = tmp_path / "folder"
    photo(folder / "images/train/a.jpg")
    label(folder / "labels/train/a.png", rows_of(0, 1, 1, 2))
    write(folder / "classes.json", json.dumps({"names": ["Sky", "Car", "Void"], "ignore_index": 2}))
    assert load_official("camvid", folder).id2label == {0: "Sky", 1: "Car"}


# -- names and places --------------------------------------------------------------------------------------------------


def test_names_and_default_places(tmp_path, monkeypatch, voc):
    assert set(official_names()) == set(OFFICIAL)
    with pytest.raises(ValueError, match=r"'coco_panoptik' is not known; did you mean 'coco_panoptic'\?"):
        load_official("coco_panoptik", tmp_path)
    with pytest.raises(ValueError, match="no labeled split 'test'; must be one of train, validation"):
        load_official("cityscapes_panoptic", tmp_path, "test")
    monkeypatch.setenv("HFSEG_DATASETS", str(voc))
    assert default_root("pascal_voc") == voc / "VOCdevkit/VOC2012" and len(load_official("pascal_voc")) == 1
    with pytest.raises(FileNotFoundError, match=r"folder of camvid does not exist: .*camvid \(from \$HFSEG_DATASETS"):
        load_official("camvid")
    assert all(spec.folder and spec.about and spec.splits for spec in OFFICIAL.values())
