# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The one grammar of datasets: every kind of specification opens what it says, and the rest is refused by name."""

import json

import numpy as np
import pytest
from PIL import Image

import hfseg
import oracle
from hfseg.data.specs import dataset_names, is_medical, open_dataset, parse_spec


def test_specifications_are_taken_apart(tmp_path):
    spec = parse_spec("shapes:num_scenes=3,image_size=40x56,none_share=0.5,combinations=held-out")
    assert (spec.name, spec.path) == ("shapes", None)
    assert spec.settings == {
        "num_scenes": 3,
        "image_size": (40, 56),
        "none_share": 0.5,
        "combinations": "held-out",
    }
    spec = parse_spec("nyuv2:some/where,normal_folder=other")
    assert (spec.name, spec.path, spec.settings) == ("nyuv2", "some/where", {"normal_folder": "other"})
    (tmp_path / "a:b").mkdir()
    assert parse_spec(str(tmp_path / "a:b")).path == str(tmp_path / "a:b")  # an existing path is one


def test_shapes_show_what_the_task_needs():
    assert "segments_info" in hfseg.load_dataset("shapes:num_scenes=1,image_size=32", "val")[0]
    assert "expressions" in open_dataset("shapes:num_scenes=1", kind="referring")[0]
    assert "depth" in open_dataset("shapes:num_scenes=1", kind="in-context")[0]
    assert open_dataset("shapes", "dev").split == "validation"


def test_folders_files_and_tables(tmp_path):
    folder = oracle.write_panoptic(tmp_path / "scenes", [(64, 96)])
    assert open_dataset(str(folder)).kind == "panoptic"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "a.png")
    mask = np.zeros((8, 8), np.uint8)
    mask[:4] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    entry = {"image": "a.png", "mask": "m.png", "expressions": ["top"]}
    (tmp_path / "refer.jsonl").write_text(json.dumps(entry))
    (tmp_path / "refer.json").write_text(json.dumps([entry]))
    for name, kind in (("refer.jsonl", "segmentation"), ("refer.json", "referring")):
        assert open_dataset(str(tmp_path / name), kind=kind)[0]["expressions"] == ["top"]


def test_medical_layouts_are_recognized(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    for folder in ("images/val", "labels/val"):
        (tmp_path / folder).mkdir(parents=True)
        volume = np.zeros((6, 6, 3), np.float32) if "images" in folder else np.ones((6, 6, 3), np.uint8)
        nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / folder / "a.nii.gz")
    assert is_medical(str(tmp_path)) and is_medical(f"decathlon:{tmp_path}")
    assert not is_medical("shapes") and not is_medical("coco_panoptic:x")
    data = open_dataset(str(tmp_path), kind="medical", id2label={0: "background", 1: "gland"}, modality="MR")
    assert len(data.cases) == 1
    named = open_dataset(f"pairs:{tmp_path},modality=MR,id2label=background/gland")
    assert named.id2label == {0: "background", 1: "gland"} and len(named.cases) == 1


OLD_IMAGES = "pictures:x"  # spelled as given
OLD_LABELED = "labelled:x"  # spelled as given


@pytest.mark.parametrize(
    ("specification", "kind", "message"),
    [
        ("shape", "segmentation", r"'shape' is not known.*Did you mean shapes\?"),
        ("shapes:scenes=3", "segmentation", "'scenes=3' is not a setting"),
        ("shapes:combinations=all", "segmentation", "'combinations=all' is not a setting"),
        ("refcoco", "referring", "NAME:ROOT"),
        ("nyuv2", "in-context", "has no path: give nyuv2:PATH"),
        (OLD_IMAGES, "in-context", "is called 'images' now: give 'images:x'"),
        (OLD_LABELED, "in-context", "is called 'labeled' now"),
        ("decathlon", "medical", "has no path"),
        ("shapes", "volumes", "kind must be one of segmentation"),
    ],
)
def test_what_is_not_right_is_named(specification, kind, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        open_dataset(specification, kind=kind)


def test_the_names_are_of_all_families():
    families = {"shapes", "coco_panoptic", "refcoco", "decathlon", "nyuv2", "table", "segment-anything"}
    assert families <= set(dataset_names())
