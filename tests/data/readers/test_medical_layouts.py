# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Layouts of medical datasets: slices, splits and folds by patient, and what is refused."""

import json

import numpy as np
import pytest

from hfseg.data.readers.medical import check_disjoint
from hfseg.data.readers.medical_layouts import load_medical, medical_cases
from medical_files import NAMES, write, write_pair


def test_slices_carry_what_is_needed(tmp_path):
    write_pair(tmp_path, "p1")
    slices = load_medical(tmp_path, "pairs", "train", "MR", NAMES, input_mode="2.5d")
    assert len(slices) == 6
    example = slices[0]
    assert example["image"].shape == (3, 10, 8) and example["image"].dtype == np.float32
    assert example["segmentation_map"].shape == (10, 8)
    assert example["spacing"] == [1.0, 1.0] and example["modality"] == "MR" and example["orientation"] == "RAS"
    assert {example["case_id"], example["patient_id"]} == {"p1"}
    has = [bool(slices[index]["segmentation_map"].any()) for index in range(6)]
    assert sum(has) == 2  # a third already
    assert slices.sample_id(0) == f"p1 slice {example['slice_index']}"


def test_a_third_of_the_slices_holds_foreground(tmp_path):
    write_pair(tmp_path, "p1", slices=21, full=(4,))
    slices = load_medical(tmp_path, "pairs", "train", "MR", NAMES)
    has = [bool(slices[index]["segmentation_map"].any()) for index in range(len(slices))]
    assert np.mean(has) == pytest.approx(1 / 3, abs=0.02)
    assert {slices[index]["slice_index"] for index in range(len(slices))} == set(range(21))


def test_patients_in_two_splits_are_refused(tmp_path):
    write_pair(tmp_path, "person7_visit1", "train")
    write_pair(tmp_path, "person8_visit1", "train")
    write_pair(tmp_path, "person7_visit2", "val")
    options = {"layout": "pairs", "modality": "MR", "id2label": NAMES, "patient_pattern": r"(person\d+)_"}
    with pytest.raises(ValueError, match=r"1 patient\(s\).*person7 in train and val"):
        load_medical(tmp_path, split="train", **options)
    with pytest.raises(ValueError, match="person7"):
        load_medical(tmp_path, split="val", **options)
    cases = {split: medical_cases(tmp_path, "pairs", split, "MR") for split in ("train", "val")}
    check_disjoint(cases)  # by file names alone these are different people
    with pytest.raises(ValueError, match="finds no group"):
        load_medical(tmp_path, split="train", **{**options, "patient_pattern": r"(patient\d+)"})


def test_folds_are_by_patient(tmp_path):
    for person in range(7):
        for visit in range(2):
            write_pair(tmp_path, f"person{person}_visit{visit}", "", slices=2, full=(0,))
    folds = [
        medical_cases(tmp_path, "pairs", f"val:{fold}/5", "MR", patient_pattern=r"(person\d+)_") for fold in range(5)
    ]
    people = [{case.patient_id for case in fold} for fold in folds]
    assert sum(map(len, folds)) == 14 and len(set().union(*people)) == sum(map(len, people)) == 7
    rest = medical_cases(tmp_path, "pairs", "train:0/5", "MR", patient_pattern=r"(person\d+)_")
    assert not people[0] & {case.patient_id for case in rest} and len(rest) + len(folds[0]) == 14
    with pytest.raises(ValueError, match="fold"):
        medical_cases(tmp_path, "pairs", "val:5/5", "MR")


def test_decathlon_layout(tmp_path):
    root = tmp_path / "Task05_Prostate"
    for name in ("prostate_00", "prostate_01"):
        two = np.random.default_rng(0).integers(1, 900, (10, 8, 4, 2)).astype(np.int16)
        write(root / "imagesTr" / f"{name}.nii.gz", two)
        write(root / "labelsTr" / f"{name}.nii.gz", np.ones((10, 8, 4), dtype=np.uint8))
    (root / "imagesTr" / "._prostate_00.nii.gz").write_bytes(b"macOS")
    description = {
        "modality": {"0": "T2", "1": "ADC"},
        "labels": {"0": "background", "1": "PZ", "2": "TZ"},
        "training": [
            {"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"}
            for name in ("prostate_00", "prostate_01")
        ],
    }
    (root / "dataset.json").write_text(json.dumps(description))
    slices = load_medical(root, "decathlon", "train:0/2", "MR", channels=[0, 1], input_mode="sequences")
    assert slices.id2label == {0: "background", 1: "PZ", 2: "TZ"}
    assert len(slices) == 4 and slices[0]["image"].shape == (3, 10, 8)
    with pytest.raises(ValueError, match="channels="):
        load_medical(root, "decathlon", "train:0/2", "MR")
    (root / "labelsTr" / "prostate_01.nii.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"prostate_01"):
        medical_cases(root, "decathlon", "train:0/2", "MR")


def test_promise12_and_luna_layouts_say_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="promise12"):
        medical_cases(tmp_path, "promise12", None, "MR")
    with pytest.raises(ValueError, match="decathlon"):
        medical_cases(tmp_path, "nnunet9", None, "MR")


def test_btcv_layout(tmp_path):
    for number in ("0001", "0002"):
        write(tmp_path / "img" / f"img{number}.nii.gz", np.full((6, 6, 3), -900, dtype=np.int16))
        write(tmp_path / "label" / f"label{number}.nii.gz", np.zeros((6, 6, 3), dtype=np.uint8))
    cases = medical_cases(tmp_path, "btcv", None, "CT")
    assert [case.case_id for case in cases] == ["0001", "0002"]


def test_amos_layout(tmp_path):
    write(tmp_path / "imagesTr" / "amos_0001.nii.gz", np.full((6, 6, 3), -900, dtype=np.int16))
    write(tmp_path / "labelsTr" / "amos_0001.nii.gz", np.zeros((6, 6, 3), dtype=np.uint8))
    assert [case.case_id for case in medical_cases(tmp_path, "amos", "train:0/1", "CT")] == ["amos_0001"]


def test_xray_folder(tmp_path):
    from PIL import Image

    for folder, array in (
        ("images", np.arange(80 * 60, dtype=np.uint16).reshape(80, 60)),
        ("masks", np.eye(80, 60) > 0),
    ):
        (tmp_path / folder).mkdir()
        Image.fromarray(array.astype(np.uint16 if folder == "images" else np.uint8)).save(tmp_path / folder / "a.png")
    slices = load_medical(tmp_path, "xray", None, "XR", {0: "background", 1: "lung"})
    example = slices[0]
    assert len(slices) == 1 and example["image"].shape == (3, 80, 60) and example["segmentation_map"].max() == 1
    assert abs(example["image"].mean()) < 1e-3  # z-score of all 16 bits


def test_labels_are_checked(tmp_path):
    write_pair(tmp_path, "p1", value=9)
    with pytest.raises(ValueError, match=r"unknown label\(s\) \[9\]"):
        load_medical(tmp_path, "pairs", "train", "MR", NAMES)
    slices = load_medical(tmp_path, "pairs", "train", "MR", NAMES, label_map={0: 0, 9: 2})
    assert {int(slices[i]["segmentation_map"].max()) for i in range(6)} == {0, 2}
    with pytest.raises(ValueError, match="label_map"):
        load_medical(tmp_path, "pairs", "train", "MR", NAMES, label_map={0: 0})


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda root: (root / "labels/train/p1.nii.gz").unlink(), "without partner, e.g. p1"),
        (lambda root: write(root / "labels/train/p1.nii.gz", np.zeros((10, 8, 5), dtype=np.uint8)), "one grid"),
        (
            lambda root: write_pair(root, "p1", image=np.full((10, 8, 6), -900, dtype=np.int16)),
            "p1 is given as MR.*Hounsfield",
        ),
    ],
    ids=["no mask", "geometry", "modality"],
)
def test_cases_that_are_refused(tmp_path, spoil, message):
    write_pair(tmp_path, "p1")
    spoil(tmp_path)
    with pytest.raises(ValueError, match=f"(?s){message}"):
        load_medical(tmp_path, "pairs", "train", "MR", NAMES)


def test_empty_masks_and_single_slices(tmp_path):
    write_pair(tmp_path, "p1", slices=1, full=())
    slices = load_medical(tmp_path, "pairs", "train", "MR", NAMES)
    assert len(slices) == 1 and not slices[0]["segmentation_map"].any()
    np.testing.assert_array_equal(slices[0]["image"][0], slices[0]["image"][2])


def example(height=20, width=30):
    image = np.random.default_rng(0).normal(size=(3, height, width)).astype(np.float32)
    return {"image": image, "segmentation_map": (image[0] > 0.5).astype(np.uint8), "case_id": "x"}


def test_schema(tmp_path):
    from hfseg.data.readers.schema import medical_features

    write_pair(tmp_path, "p1")
    slices = load_medical(tmp_path, "pairs", "train", "MR", NAMES)
    rows = slices.to_datasets()
    assert rows.features == medical_features(list(NAMES.values()))
    assert rows[2]["classes"] == np.unique(slices[2]["segmentation_map"]).tolist()
    assert rows[0]["modality"] == "MR" and rows[0]["spacing"] == [1.0, 1.0] and rows[0]["orientation"] == "RAS"
    np.testing.assert_array_equal(np.array(rows[2]["mask"]), slices[2]["segmentation_map"])
