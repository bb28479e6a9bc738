# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Tiny folders in the layouts that people have, each filled by a function."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

H, W = 48, 64
SQUARE = np.zeros((H, W), np.uint8)
SQUARE[8:32, 10:40] = 1
POLYGON = [10, 8, 40, 8, 40, 32, 10, 32]
YOLO = "0 " + " ".join(f"{value / (H if place % 2 else W):.5f}" for place, value in enumerate(POLYGON)) + "\n"


def image(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 90, (H, W, 3), dtype=np.uint8)
    pixels[SQUARE > 0] += 120
    Image.fromarray(pixels).save(path)


def mask(path: Path, values: np.ndarray = SQUARE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def write(path: Path, content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def images(folder: Path, count: int = 3, name: str = "{}.jpg") -> None:
    for k in range(count):
        image(folder / name.format(k), k)


def masks(folder: Path, count: int = 3, name: str = "{}.png", values: np.ndarray = SQUARE) -> None:
    for k in range(count):
        mask(folder / name.format(k), values)


def coco_json(path: Path, names: list[str]) -> None:
    images = [{"id": k, "file_name": name, "height": H, "width": W} for k, name in enumerate(names, 1)]
    annotation = {"category_id": 1, "segmentation": [POLYGON], "area": 720, "bbox": [10, 8, 30, 24], "iscrowd": 0}
    annotations = [{"id": k, "image_id": k, **annotation} for k in range(1, len(names) + 1)]
    write(path, {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cell"}]})


def coco(root: Path) -> None:
    for split in ("train", "val"):
        images(root / f"images/{split}")
        coco_json(root / f"annotations/instances_{split}.json", [f"{k}.jpg" for k in range(3)])


def coco_2017(root: Path) -> None:
    for split in ("train2017", "val2017"):
        images(root / split)
        coco_json(root / f"annotations/instances_{split}.json", [f"{k}.jpg" for k in range(3)])


def cityscapes(root: Path) -> None:
    for split in ("train", "val"):
        name = "aachen_00000{}_000019"
        images(root / f"leftImg8bit/{split}/aachen", name=name + "_leftImg8bit.png")
        masks(root / f"gtFine/{split}/aachen", name=name + "_gtFine_labelIds.png", values=SQUARE * 19 + 7)


def pascal_voc(root: Path) -> None:
    images(root / "JPEGImages", 5)
    masks(root / "SegmentationClass", 5)
    write(root / "ImageSets/Segmentation/train.txt", "0\n1\n2\n")
    write(root / "ImageSets/Segmentation/val.txt", "3\n4\n")


def ade20k(root: Path) -> None:
    for split in ("training", "validation"):
        images(root / f"images/{split}", name="ADE_{}.jpg")
        masks(root / f"annotations/{split}", name="ADE_{}.png", values=SQUARE + 1)


def mmsegmentation(root: Path) -> None:
    for split in ("train", "val"):
        images(root / f"img_dir/{split}")
        masks(root / f"ann_dir/{split}")


def roboflow_coco(root: Path) -> None:
    for split in ("train", "valid", "test"):
        images(root / split)
        coco_json(root / f"{split}/_annotations.coco.json", [f"{k}.jpg" for k in range(3)])


def roboflow_coco_without_validation(root: Path) -> None:
    images(root / "train", 5)
    coco_json(root / "train/_annotations.coco.json", [f"{k}.jpg" for k in range(5)])


def roboflow_masks(root: Path) -> None:
    for split in ("train", "valid"):
        images(root / split)
        masks(root / split, name="{}_mask.png")
        write(root / f"{split}/_classes.csv", "Pixel Value, Class\n0, background\n1, cell\n")


def yolo(root: Path) -> None:
    for split in ("train", "valid"):
        images(root / f"{split}/images")
        for k in range(3):
            write(root / f"{split}/labels/{k}.txt", YOLO)
    write(root / "data.yaml", "train: ../train/images\nval: ../valid/images\nnc: 1\nnames: ['cell']\n")


def labelme(root: Path) -> None:
    images(root, 5)
    points = np.reshape(POLYGON, (-1, 2)).tolist()
    for k in range(5):
        shapes = [{"label": "cell", "points": points, "shape_type": "polygon", "group_id": None}]
        write(root / f"{k}.json", {"shapes": shapes, "imagePath": f"{k}.jpg", "imageHeight": H, "imageWidth": W})


def cvat_coco(root: Path) -> None:
    images(root / "images/default", 5)
    coco_json(root / "annotations/instances_default.json", [f"{k}.jpg" for k in range(5)])


def label_studio_coco(root: Path) -> None:
    images(root / "images", 5)
    coco_json(root / "result.json", [f"images\\{k}.jpg" for k in range(5)])


def split_first(root: Path) -> None:
    for split in ("train", "val"):
        images(root / f"{split}/images")
        masks(root / f"{split}/masks")


def split_first_without_validation(root: Path) -> None:
    for split in ("train", "test"):
        images(root / f"{split}/images", 5)
        masks(root / f"{split}/masks", 5)


def masks_beside(root: Path) -> None:
    images(root, 5)
    masks(root, 5, "{}_mask.png", SQUARE * 255)


def nnunet_images(root: Path) -> None:
    images(root / "imagesTr", 5, "c_00{}_0000.png")
    masks(root / "labelsTr", 5, "c_00{}.png")
    write(root / "dataset.json", {"channel_names": {"0": "R"}, "labels": {"background": 0, "cell": 1}})


def _table(column: str):
    import datasets

    pixels = [np.random.default_rng(k).integers(0, 255, (H, W, 3), dtype=np.uint8) for k in range(5)]
    rows = {"image": [Image.fromarray(one) for one in pixels], column: [Image.fromarray(SQUARE)] * 5}
    features = datasets.Features({"image": datasets.Image(), column: datasets.Image()})
    return datasets.Dataset.from_dict(rows, features=features)


def table_of_labels(root: Path) -> None:
    import datasets

    datasets.DatasetDict({"train": _table("label"), "validation": _table("label")}).save_to_disk(str(root))


def table_of_annotations(root: Path) -> None:
    _table("annotation").save_to_disk(str(root))


def table_of_parquet(root: Path) -> None:
    (root / "data").mkdir(parents=True)
    for split in ("train", "validation"):
        _table("label").to_parquet(str(root / f"data/{split}-00000-of-00001.parquet"))


def _volumes(root: Path, name: str, description: dict) -> None:
    import nibabel

    rng, values = np.random.default_rng(0), np.zeros((32, 32, 6), np.uint8)
    values[8:20, 8:20, 2:5] = 1
    for k in range(5):
        for folder, file, voxels in (
            ("imagesTr", name.format(k), rng.integers(0, 500, values.shape).astype(np.int16)),
            ("labelsTr", f"c_00{k}.nii.gz", values),
        ):
            (root / folder).mkdir(parents=True, exist_ok=True)
            volume = nibabel.Nifti1Image(voxels, np.diag([1.0, 1.0, 2.0, 1.0]))
            volume.header.set_xyzt_units("mm")
            nibabel.save(volume, root / folder / file)
    write(root / "dataset.json", description)


def nnunet_version_1(root: Path) -> None:
    labels = {"0": "background", "1": "organ"}
    _volumes(root, "c_00{}_0000.nii.gz", {"modality": {"0": "MRI"}, "labels": labels, "training": []})


def nnunet_version_2(root: Path) -> None:
    labels = {"background": 0, "organ": 1}
    _volumes(root, "c_00{}_0000.nii.gz", {"channel_names": {"0": "T1"}, "labels": labels, "file_ending": ".nii.gz"})


def decathlon(root: Path) -> None:
    cases = [{"image": f"./imagesTr/c_00{k}.nii.gz", "label": f"./labelsTr/c_00{k}.nii.gz"} for k in range(5)]
    labels = {"0": "background", "1": "organ"}
    _volumes(root, "c_00{}.nii.gz", {"modality": {"0": "MRI"}, "labels": labels, "training": cases})


def squares(folder, counts, side, size=(64, 80), brightness=200):
    """Images with so many squares of a side each; instances by number."""
    for kind in ("images", "instances"):
        (folder / kind).mkdir(parents=True)
    for number, count in enumerate(counts):
        ids = np.zeros(size, dtype=np.uint16)
        for index in range(count):
            top, left = 2 + (index // 6) * (side + 2), 2 + (index % 6) * (side + 2)
            ids[top : top + side, left : left + side] = index + 1
        Image.fromarray(np.where(ids[..., None] > 0, brightness, 10).astype(np.uint8).repeat(3, 2)).save(
            folder / "images" / f"{number:02d}.png"
        )
        Image.fromarray(ids).save(folder / "instances" / f"{number:02d}.png")


INSTANCES = (
    coco, coco_2017, roboflow_coco, roboflow_coco_without_validation, yolo, labelme, cvat_coco, label_studio_coco,
)  # fmt: skip
CLASS_MAPS = (
    cityscapes, pascal_voc, ade20k, mmsegmentation, roboflow_masks, split_first, split_first_without_validation,
    masks_beside, nnunet_images, table_of_labels, table_of_annotations, table_of_parquet,
)  # fmt: skip
VOLUMES = (nnunet_version_1, nnunet_version_2, decathlon)
