# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Medical datasets of several modalities as one: classes by name, modes by modality, what each dataset knows."""

import json

import numpy as np
import pytest
from PIL import Image

from hfseg.data.readers.medical import MedicalCollator
from hfseg.data.readers.medical_layouts import load_medical
from hfseg.data.readers.medical_mixture import load_medical_mixture
from medical_files import write


def stripes(shape, classes):
    """A mask of equal stripes along the first axis."""
    mask = np.zeros(shape, np.uint8)
    for class_id in range(classes):
        mask[class_id * shape[0] // classes : (class_id + 1) * shape[0] // classes] = class_id
    return mask


@pytest.fixture
def roots(tmp_path):
    """CT pairs with a liver and a heart, a Decathlon task in MR with a gland, and X-rays with white lungs."""
    generator = np.random.default_rng(0)
    for number in range(2):
        write(tmp_path / f"ct/images/train/{number}.nii.gz", generator.normal(-400, 300, (9, 8, 5)).astype(np.float32))
        write(tmp_path / f"ct/labels/train/{number}.nii.gz", stripes((9, 8, 5), 3))
        write(tmp_path / f"mr/imagesTr/{number}.nii.gz", generator.uniform(1, 90, (8, 6, 4)).astype(np.float32))
        write(tmp_path / f"mr/labelsTr/{number}.nii.gz", stripes((8, 6, 4), 2))
        for folder, image in (("images", generator.integers(0, 255, (10, 12))), ("masks", stripes((10, 12), 2) * 255)):
            path = tmp_path / "xray" / folder / "train" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.astype(np.uint8)).save(path)
    files = [{"image": f"imagesTr/{n}.nii.gz", "label": f"labelsTr/{n}.nii.gz"} for n in range(2)]
    labels = {"0": "background", "1": "gland"}
    (tmp_path / "mr/dataset.json").write_text(json.dumps({"labels": labels, "training": files}))
    return tmp_path


def specs(root):
    return [
        {"root": str(root / "ct"), "split": "train", "modality": "CT",
         "id2label": {0: "background", 1: "liver", 2: "Heart"}},
        {"root": str(root / "mr"), "layout": "decathlon", "modality": "MR"},
        {"root": str(root / "xray"), "layout": "xray", "split": "train", "modality": "XR", "name": "chest",
         "id2label": {0: "background", 1: "lung", 2: "heart"}, "label_map": {0: 0, 255: 1}},
    ]  # fmt: skip


@pytest.mark.parametrize("cached", [False, True])
def test_three_modalities_and_label_spaces(roots, cached):
    data = load_medical_mixture(
        specs(roots), foreground_share=0, dataset_power=1, **({"cache_dir": roots / "cache"} if cached else {})
    )
    assert data.id2label == {0: "background", 1: "liver", 2: "Heart", 3: "gland", 4: "lung"}
    assert data.label_sets == {"ct": [0, 1, 2], "mr": [0, 3], "chest": [0, 2, 4]}
    assert [case.case_id for case in data.cases] == ["ct/0", "ct/1", "mr/0", "mr/1", "chest/0", "chest/1"]
    assert len(data) == 2 * 5 + 2 * 4 + 2
    known, labels = {"CT": [0, 1, 2], "MR": [0, 3], "XR": [0, 2, 4]}, {"CT": {0, 1, 2}, "MR": {0, 3}, "XR": {0, 4}}
    for example in (data[index] for index in range(len(data))):
        modality = example["modality"]
        assert np.flatnonzero(example["annotated_classes"]).tolist() == known[modality]
        assert set(np.unique(example["segmentation_map"])) == labels[modality]
        channels = [example["image"][k] for k in range(3)]
        same = [np.array_equal(channels[0], channel) for channel in channels[1:]]
        assert same == {"CT": [False, False], "MR": [same[0], False], "XR": [True, True]}[modality]
        if modality == "CT":  # three windows in [0, 1]
            assert 0 <= example["image"].min() and example["image"].max() <= 1
    batch = MedicalCollator(16)([data[0], data[10], data[18]])
    assert batch["pixel_values"].shape == (3, 3, 16, 16) and batch["annotated_classes"].sum(1).tolist() == [3, 2, 3]


def test_the_order_of_classes_can_be_given(roots):
    names = dict(enumerate(["background", "lung", "gland", "heart", "liver", "kidney"]))
    data = load_medical_mixture(specs(roots), names)
    assert data.label_sets == {"ct": [0, 3, 4], "mr": [0, 2], "chest": [0, 1, 3]}
    with pytest.raises(ValueError, match=r"lacks the class.*gland.* of mr"):
        load_medical_mixture(specs(roots), {0: "background", 1: "liver", 2: "heart", 3: "lung"})


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda given: given.clear(), "at least one dataset"),
        (lambda given: given[0].pop("root"), r"datasets\[0\] is .*needs a root"),
        (lambda given: given[1].update(tint="red"), r"datasets\[1\] takes no tint"),
        (lambda given: given[1].update(name="ct"), "two datasets called ct"),
        (lambda given: given[2].update(label_map={0: 0, 255: 9}), r"names the class\(es\) \[9\]"),
        (lambda given: given[0].pop("id2label"), "id2label is missing"),
        (lambda given: given[0].update(id2label={0: "liver", 1: "heart", 2: "x"}), "call it 'background'"),
    ],
)
def test_what_cannot_be_united(roots, change, message):
    given = specs(roots)
    change(given)
    with pytest.raises(ValueError, match=message):
        load_medical_mixture(given)
    with pytest.raises(ValueError, match="takes no label_sets"):
        load_medical_mixture(specs(roots), label_sets={})


def test_a_task_is_read_by_the_classes_of_a_larger_model(roots):
    """Labels of a Decathlon task are brought to a model's classes by name, not by number."""
    data = load_medical(roots / "mr", "decathlon", id2label={0: "background", 1: "liver", 2: "Gland", 3: "lung"})
    assert set(np.unique(data.volumes[0]["mask"])) == {0, 2} and data.annotated_classes(0) == [0, 2]
    renamed = load_medical(roots / "mr", "decathlon", id2label={0: "background", 1: "prostate"})
    assert set(np.unique(renamed.volumes[0]["mask"])) == {0, 1} and renamed.annotated_classes(0) == [0, 1]
