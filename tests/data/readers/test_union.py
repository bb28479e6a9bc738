# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Several segmentation datasets as one: classes by name, ids, what each example is judged by, reading on request."""

import numpy as np
import pytest

from hfseg.data import SegmentationUnion, UniversalCollator
from hfseg.data.readers.union import LARGE_IGNORE_INDEX


class Part:
    """Images whose first column is void and whose other columns are the dataset's classes in turn."""

    def __init__(self, names, count, kind="panoptic", stuff=(), ignore_index=255, semantic=False, verified=None):
        self.id2label = dict(enumerate(names))
        self.kind, self.stuff_class_ids, self.ignore_index = kind, stuff, ignore_index
        self.count, self.semantic, self.verified, self.read = count, semantic, verified, []

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        self.read.append(index)
        width = len(self.id2label) + 1
        image = np.full((4, width, 3), index, np.uint8)
        columns = np.broadcast_to(np.arange(width, dtype=np.int32), (4, width))
        if self.semantic:
            return {"image": image, "segmentation_map": np.where(columns == 0, self.ignore_index, columns - 1)}
        segments = [{"id": 1 + number, "category_id": number, "iscrowd": 0} for number in self.id2label]
        example = {"image": image, "segmentation": columns, "segments_info": segments}
        return example if self.verified is None else {**example, "verified_classes": list(self.verified)}


@pytest.fixture
def union():
    return SegmentationUnion(
        {
            "one": Part(["sky", "Dog", "car"], 3, stuff=(0,)),
            "two": Part(["dog ", "tree", "SKY"], 2, stuff=(1, 2), semantic=True, ignore_index=77),
            "three": Part(["auto", "cup"], 4, kind="instance", verified=(1,)),
        },
        repeat={"two": 2},
        aliases={"Auto": "car"},
    )


def test_classes_are_united_by_name(union):
    assert union.id2label == {0: "sky", 1: "Dog", 2: "car", 3: "tree", 4: "cup"}
    assert union.class_ids == {"one": (0, 1, 2), "two": (1, 3, 0), "three": (2, 4)}
    assert union.stuff_class_ids == (0, 3)  # in every dataset that has them
    assert union.label2id["tree"] == 3 and union.ignore_index == 255


def test_every_sample_is_met_and_read_only_when_asked_for(union):
    assert len(union) == 3 + 2 * 2 + 4
    assert all(part.read == [] for part in union.parts.values())
    assert [union.locate(index) for index in (0, 2, 3, 4, 5, 6, 7, 10)] == [
        *[("one", 0), ("one", 2), ("two", 0), ("two", 1), ("two", 0), ("two", 1), ("three", 0), ("three", 3)]
    ]
    union[4]
    assert [part.read for part in union.parts.values()] == [[], [1], []]
    assert union.sample_id(4) == "two/1"
    with pytest.raises(IndexError):
        union.locate(11)


def test_ids_of_an_example(union):
    assert [segment["category_id"] for segment in union[7]["segments_info"]] == [2, 4]
    assert union[3]["segmentation_map"].tolist() == [[255, 1, 3, 0]] * 4


def test_an_example_is_judged_by_its_own_classes_only(union):
    batch = UniversalCollator(num_labels=5, mark_void=True)([union[0], union[3], union[7]])
    assert batch["known_classes"].int().tolist() == [[1, 1, 1, 0, 0], [1, 1, 0, 1, 0], [0, 0, 1, 0, 1]]
    # "three" verified class 1 alone, "cup"; the car is known since it is there.
    assert [classes.tolist() for classes in batch["class_labels"]] == [[0, 1, 2], [0, 1, 3], [2, 4]]
    # Outside the objects of "three" there is something else, elsewhere it is not known.
    assert [int(void.sum()) for void in batch["void_masks"]] == [4, 4, 0]


def test_more_classes_than_255():
    many = SegmentationUnion(
        {"a": Part([f"a{n}" for n in range(200)], 1), "b": Part([f"b{n}" for n in range(100)], 1, semantic=True)}
    )
    assert len(many.id2label) == 300 and many.ignore_index == LARGE_IGNORE_INDEX
    collate = UniversalCollator(many.ignore_index, num_labels=300)
    assert collate([many[1]])["class_labels"][0].tolist() == list(range(200, 300))  # 255 is a class


@pytest.mark.parametrize(
    "arguments, message",
    [
        (lambda one: ({},), "at least one"),
        (lambda one: ({"one": Part([], 1)},), "one have no class names"),
        (lambda one: ({"one": one}, {"two": 2}), "repeat is"),
        (lambda one: ({"one": one}, {"one": 0}), "from 1"),
        (lambda one: ({"one": one}, None, {"cow": "dog"}), "cow"),
    ],
)
def test_what_cannot_be_united(arguments, message):
    with pytest.raises(ValueError, match=message):
        SegmentationUnion(*arguments(Part(["dog"], 1)))


def test_damaged_ids_are_named():
    damaged = Part(["dog"], 1, semantic=True)
    damaged.id2label = {0: "dog"}
    damaged.__class__ = type("Damaged", (Part,), {"__getitem__": lambda self, index: {
        "image": np.zeros((1, 2, 3), np.uint8), "segmentation_map": np.array([[0, 3]])}})  # fmt: skip
    with pytest.raises(ValueError, match="from 0 to 3; must be 0 to 0"):
        SegmentationUnion({"one": damaged})[0]


def test_what_ap_reads_is_renumbered_too():
    """Objects with own masks, and those of Cityscapes with its crowds, have the union's classes."""

    class Whole(Part):
        def __getitem__(self, index):
            segments = [{"id": 1, "category_id": 1, "iscrowd": 0}]
            example = {"segmentation": np.ones((4, 4), np.int32), "segments_info": segments}
            own = {"height": 4, "width": 4, "annotations": [{"segmentation": None, "category_id": 1}]}
            known = {**example, "segments_info": [*segments, {"id": 2, "category_id": 0, "iscrowd": 1}], "void": None}
            return {"image": np.zeros((4, 4, 3), np.uint8), **example, "instances": own, "ap_segments": known}

    parts = {"one": Part(["sky", "car"], 1), "two": Whole(["cup", "car"], 1, kind="instance")}
    example = SegmentationUnion(parts)[1]
    assert [segment["category_id"] for segment in example["segments_info"]] == [1]
    assert [entry["category_id"] for entry in example["instances"]["annotations"]] == [1]
    assert [segment["category_id"] for segment in example["ap_segments"]["segments_info"]] == [1, 2]
    assert example["instances"]["height"] == 4 and "void" in example["ap_segments"]
    assert parts["two"][0]["instances"]["annotations"][0]["category_id"] == 1  # nothing is changed in place
