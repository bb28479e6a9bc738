# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Entities of captions: extractors, the command that writes them, and the data of stage 2."""

import numpy as np
import pytest
import torch

from hfseg.data.readers.entities import EntityCollator, EntityDataset, ShapesCaptions, extract_entities, singular


def test_lists():
    answer = "1. The red car\n2. two dogs, a dog; background\n- my grandmother's old oak tree\n"
    answer += "\u2022 very long thing of five words here"
    assert extract_entities(answer, "list") == ["red car", "dogs", "old oak tree"]
    assert extract_entities("", "list") == []
    assert len(extract_entities(",".join(f"thing{chr(97 + i)}" for i in range(26)), "list", most=5)) == 5


def test_rules():
    caption = "The image shows a man riding a brown horse near some trees, with snowy mountains in the background."
    assert extract_entities(caption) == ["man", "brown horse", "trees", "snowy mountains"]
    assert extract_entities("A group of people and a person.") == ["people"]


def test_singulars():
    words = {"dogs": "dog", "glasses": "glass", "cities": "city", "bus": "bus", "people": "person", "boxes": "box"}
    assert {word: singular(word) for word in words} == words


def test_missing_packages_and_unknown_extractors():
    with pytest.raises(ValueError, match="choose one of list, rules, spacy, nltk"):
        extract_entities("a", "llm")
    for extractor in ("spacy", "nltk"):
        try:
            found = extract_entities("A brown dog sits on the wooden bench.", extractor)
        except ImportError:
            continue
        assert found == ["brown dog", "wooden bench"]


def test_data_of_stage_two(tmp_path):
    captions = ShapesCaptions(num_scenes=4, image_size=(32, 32))
    item = captions[0]
    assert set(item) == {"image", "text", "entities"} and set(item["entities"]) <= set(captions.id2label.values())
    assert captions[0]["entities"] == item["entities"]
    colored = ShapesCaptions(num_scenes=4, image_size=(32, 32), colors=True)
    known = {name for names in colored.all_entities() for name in names}
    assert set(colored[0]["entities"]) <= known and any(" " in name for name in colored[0]["entities"])
    table = {name: torch.full((4,), float(index)) for index, name in enumerate(captions.id2label.values())}
    batch = EntityCollator(table, size=32, training=False)([item, {**item, "entities": ["unheard of"]}])
    assert batch["pixel_values"].shape == (2, 3, 32, 32) and "mask_labels" not in batch
    assert [tuple(e.shape) for e in batch["entity_labels"]] == [(len(item["entities"]), 4), (0, 4)]
    with pytest.raises(ValueError, match="has no 'entities'"):
        EntityCollator(table, size=32)([{"image": item["image"]}])
    with pytest.raises(FileNotFoundError):
        EntityDataset(tmp_path / "none.jsonl")
    (tmp_path / "bad.jsonl").write_text("{")
    with pytest.raises(ValueError, match="line 1"):
        EntityDataset(tmp_path / "bad.jsonl")
    (tmp_path / "bad.jsonl").write_text('{"image": "a.png", "entities": []}')
    with pytest.raises(ValueError, match="none with an entity"):
        EntityDataset(tmp_path / "bad.jsonl")


def test_captions_of_shapes_name_some_or_all():
    few, every = (ShapesCaptions(num_scenes=40, mention=mention) for mention in ("some", "all"))
    shares = []
    for index in range(40):
        first, second = few[index], every[index]
        assert first["entities"] == second["entities"] and "segmentation" not in first
        named = first["text"].removeprefix("An image of ").removesuffix(".").split(", ")
        assert named == first["entities"][: len(named)] and second["text"].count(",") == len(second["entities"]) - 1
        shares.append(len(named) / len(first["entities"]))
    assert min(shares) < 0.4 and max(shares) == 1
    labeled = ShapesCaptions(num_scenes=1, labeled=True)[0]
    names = {ShapesCaptions.id2label[segment["category_id"]] for segment in labeled["segments_info"]}
    assert names == set(labeled["entities"]) and labeled["segmentation"].shape == labeled["image"].shape[:2]
    with pytest.raises(ValueError, match="must be 'all' or 'some'"):
        ShapesCaptions(mention="none")


def test_closeups_frame_one_thing_and_name_what_is_in_sight():
    whole, near = (ShapesCaptions(num_scenes=60, labeled=True, closeups=share) for share in (0.0, 1.0))
    larger, differences, framed = [], [], 0
    for index in range(60):
        scene, item = whole[index], near[index]
        assert item["image"].shape == scene["image"].shape and item["segmentation"].shape == scene["segmentation"].shape
        present = {info["id"]: info for info in item["segments_info"]}
        assert set(np.unique(item["segmentation"])) - {0} == set(present)
        for number, info in present.items():
            mask = item["segmentation"] == number
            assert info["area"] == mask.sum() >= 0.02 * mask.size
        assert {ShapesCaptions.id2label[info["category_id"]] for info in present.values()} == set(item["entities"])
        things = [number for number, info in present.items() if info["category_id"] < 6]
        # Enlarged where the frame is smaller than the scene; a thing's colors are those it had.
        before = {info["id"]: info["area"] for info in scene["segments_info"]}
        growth = max(present[number]["area"] / before[number] for number in things) if things else 1.0
        larger.append(growth)
        framed += len(item["entities"]) < len(scene["entities"])
        for number in things:
            old, new = (x["image"][x["segmentation"] == number].mean(0) for x in (scene, item))
            differences.append(np.abs(old - new).max())
        # The text names one thing, in sight.
        if things:
            assert item["text"].removeprefix("An image of ").removesuffix(".") in item["entities"]
            assert "," not in item["text"]
    assert np.median(differences) < 10
    assert np.median(larger) > 2 and min(larger) >= 0.95 and framed > 20
    kept = ShapesCaptions(num_scenes=60, closeups=0.5, in_memory=True)
    assert kept[3]["image"] is kept[63]["image"] and kept[3] is not kept[3]
    some = ShapesCaptions(num_scenes=60, closeups=0.5)
    assert np.array_equal(kept[3]["image"], some[3]["image"]) and kept[3]["text"] == some[3]["text"]
    same = sum(np.array_equal(some[index]["image"], whole[index]["image"]) for index in range(60))
    assert 15 < same < 45
    with pytest.raises(ValueError, match="share between 0 and 1"):
        ShapesCaptions(closeups=2)
    with pytest.raises(ValueError, match="the smaller first"):
        ShapesCaptions(closeups=1, zoom=(2, 1))


def test_closeups_of_the_background_show_and_name_one_part_of_it():
    near = ShapesCaptions(num_scenes=60, labeled=True, stuff_closeups=1.0)
    shares, named = [], set()
    for index in range(60):
        item = near[index]
        name = item["text"].removeprefix("An image of ").removesuffix(".")
        category = {value: key for key, value in ShapesCaptions.id2label.items()}[name]
        assert category >= 6 and name in item["entities"]
        number = next(info["id"] for info in item["segments_info"] if info["category_id"] == category)
        shares.append((item["segmentation"] == number).mean())
        named.add(name)
    assert named == {"sky", "grass", "water", "sand"}
    assert np.median(shares) > 0.85 and min(shares) > 0.4
    both = ShapesCaptions(num_scenes=60, closeups=0.5, stuff_closeups=0.5)
    things = {label for number, label in ShapesCaptions.id2label.items() if number < 6}
    kinds = [both[index]["text"].removeprefix("An image of ").removesuffix(".") in things for index in range(60)]
    assert 15 < sum(kinds) < 45
    with pytest.raises(ValueError, match="at most 1 together"):
        ShapesCaptions(closeups=0.6, stuff_closeups=0.6)
