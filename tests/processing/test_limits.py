# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""More objects than a limit allows: nobody is told a number of segments as if it were that of the objects."""

import json
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import hfseg
from hfseg import ProScaleImageProcessor, ProScaleImageProcessorPil
from hfseg.commands.main import main
from hfseg.inference.tiled_panoptic import tiled_panoptic_segmentation
from hfseg.onnx import masks as rules
from hfseg.onnx.model import OnnxModel
from hfseg.processing import limits
from hfseg.results import incomplete

SIDE = 12  # cells along an edge, each an object of 4x4 cells of the mask logits


def outputs(objects: int, queries: int, copies: int = 1, sure: float = 6.0) -> SimpleNamespace:
    """Queries of which the first ones find squares on a grid, each `copies` times, and the others nothing."""
    classes = torch.full((1, queries, 2), -sure)
    classes[..., 1] = sure
    masks = torch.full((1, queries, 4 * SIDE, 4 * SIDE), -8.0)
    for number in range(objects):
        row, column = divmod(number % SIDE**2, SIDE)
        for copy in range(copies):
            query = number * copies + copy
            classes[0, query] = torch.tensor([sure - 0.1 * copy, -sure])
            masks[0, query, 4 * row : 4 * row + 3, 4 * column : 4 * column + 3] = 8.0
    return SimpleNamespace(class_queries_logits=classes, masks_queries_logits=masks)


@pytest.fixture
def said(monkeypatch):
    found: list[str] = []
    monkeypatch.setattr(incomplete.logger, "warning", found.append)
    return found


def test_learned_queries_need_not_find_anything(said):
    processor = ProScaleImageProcessor(do_resize=False, threshold=0.5)
    given = outputs(56, 60)
    assert not processor.post_process_panoptic_segmentation(given)[0].incomplete
    given.num_learned_queries = 4  # as models with queries from pixels say
    assert processor.post_process_panoptic_segmentation(given)[0].incomplete and said


@pytest.mark.parametrize("kind", [ProScaleImageProcessor, ProScaleImageProcessorPil])
def test_hardly_a_query_left(kind, said):
    processor = kind(do_resize=False, threshold=0.5)
    for objects, full in ((60, True), (58, True), (50, False), (3, False)):
        said.clear()
        result = processor.post_process_panoptic_segmentation(outputs(objects, 60))[0]
        assert len(result) == objects and bool(result.incomplete) == bool(said) == full
    processor.post_process_instance_segmentation(outputs(60, 60))
    assert not said  # average precision wants all, whatever their score
    result = processor.post_process_instance_segmentation(outputs(60, 60), threshold=0.5)[0]
    assert len(result) == 60 and "60 of the model's 60 queries" in result.incomplete
    assert said == [result.incomplete] and "max_queries" in said[0] and "--tile" in said[0]


def test_images_are_told_apart(said):
    one, other = outputs(60, 60), outputs(2, 60)
    both = {name: torch.cat([getattr(other, name), getattr(one, name)]) for name in vars(one)}
    results = ProScaleImageProcessor(do_resize=False, threshold=0.5).post_process_panoptic_segmentation(
        SimpleNamespace(**both)
    )
    assert [bool(result.incomplete) for result in results] == [False, True]
    assert len(said) == 1 and said[0].startswith("Image 1: ")


def test_many_images_are_told_once(said):
    """An evaluation of a thousand images, or a video, gives one line with their number, also if it ends in an error."""
    processor = ProScaleImageProcessor(do_resize=False, threshold=0.5)
    with pytest.raises(KeyError), incomplete.told_once("frames"):
        for objects in (60, 3, 58):
            with incomplete.told_once("tiles"):  # an inner block leaves the warning to the outer one
                processor.post_process_panoptic_segmentation(outputs(objects, 60))
        assert not said
        raise KeyError
    assert len(said) == 1 and said[0].startswith("Results of 2 frames are cut by a limit. The first: 60 of the model's")
    with incomplete.told_once("frames"):
        processor.post_process_panoptic_segmentation(outputs(3, 60))
    assert len(said) == 1


def test_duplicates_take_no_other_objects_place(said):
    """120 objects with two queries each: the best hundred pairs would be half of the objects and more."""
    plain = ProScaleImageProcessor(do_resize=False, num_instances=100)
    distinct = ProScaleImageProcessor(do_resize=False, num_instances=100, suppress_duplicates=True)
    given = outputs(120, 260, copies=2)
    assert len(distinct.post_process_instance_segmentation(given, threshold=0.5)[0]) == 120
    assert not said
    assert len(plain.post_process_instance_segmentation(given, threshold=0.5)[0]) == 100
    assert said and "240 instances have a class probability of 0.5 or more, and the best 100" in said[0]
    assert "num_instances" in said[0]


def test_onnx_does_the_same():
    """Its rules are those of the image processor, without torch."""
    given = outputs(60, 60)
    classes, masks = given.class_queries_logits[0].numpy(), given.masks_queries_logits[0].numpy()
    with pytest.warns(UserWarning, match="60 of the model's 60 queries"):
        rules.warn_if_full(classes, 0.5, 60)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rules.warn_if_full(outputs(50, 60).class_queries_logits[0].numpy(), 0.5, 50)
        rules.warn_if_full(np.zeros((0, 2), dtype=np.float32), 0.5, 0)
    assert rules.FULL == limits.FULL and len(masks) == 60


def test_onnx_looks_at_as_many_pairs(monkeypatch):
    given, side = outputs(120, 260, copies=2), 16 * SIDE
    model = OnnxModel.__new__(OnnxModel)
    model.settings, model.more = {"num_instances": 100, "suppress_duplicates": True}, {}
    model.task, model.outputs = "universal", []
    geometry = rules.Geometry((side, side), (side, side), (side, side))
    queries = (given.class_queries_logits[0].numpy(), given.masks_queries_logits[0].numpy(), None, geometry)
    monkeypatch.setattr(OnnxModel, "_queries", lambda self, image: queries)
    assert len(model.instances("any")[1]) == 120
    full = outputs(60, 60)
    queries = (full.class_queries_logits[0].numpy(), full.masks_queries_logits[0].numpy(), None, geometry)
    with pytest.warns(UserWarning, match="60 of the model's 60 queries"):
        model.instances("any")
    with pytest.warns(UserWarning, match="60 of the model's 60 queries"):
        model.panoptic("any")


def test_boxes(said):
    processor = ProScaleImageProcessor()
    given = SimpleNamespace(
        logits=torch.full((1, 40, 1), 3.0), pred_boxes=torch.rand(1, 40, 4), input_sizes=torch.tensor([[64, 64]])
    )
    found = processor.post_process_object_detection(given, num_detections=30)[0]
    assert len(found["scores"]) == 30 and len(said) == 1 and "num_detections" in said[0]
    assert found.incomplete == said[0]
    for more in ({"num_detections": 40}, {"num_detections": 30, "threshold": 0.0}, {"threshold": 0.99}):
        processor.post_process_object_detection(given, **more)
    assert len(said) == 1


def test_tiles_hand_it_on(said):
    """An object per query in the first tile, few in the others."""
    calls: list[int] = []

    def predict(pixel_values):
        calls.append(len(pixel_values))
        return outputs(60 if len(calls) == 1 else 2, 60)

    processor = ProScaleImageProcessor(do_resize=False, threshold=0.5)
    side = 16 * SIDE
    result = tiled_panoptic_segmentation(np.zeros((side, 2 * side, 3), np.uint8), predict, processor, tile=side)
    assert len(calls) > 1 and result.incomplete.startswith("In 1 of the tiles: 60 of the model's 60 queries")
    assert "smaller tiles" in result.incomplete and len(said) == 1


def test_a_crowded_micrograph(tmp_path, capsys, said):
    """A shipped model made small: what the command writes and prints says so, and a higher limit finds them all."""
    image = Image.new("RGB", (384, 384), (8, 8, 8))
    rows, columns = np.mgrid[:384, :384]
    pixels = np.asarray(image).copy()
    for number in range(36):
        y, x = 32 + 64 * (number // 6), 32 + 64 * (number % 6)
        pixels[((rows - y) / 11) ** 2 + ((columns - x) / 13) ** 2 <= 1] = 130
    Image.fromarray(pixels).save(tmp_path / "a.png")
    folder = tmp_path / "model"
    loaded = hfseg.load("proscale-tiny-nuclei")
    loaded.model.config.max_queries = 24
    loaded.model.save_pretrained(folder)
    loaded.processor.save_pretrained(folder)
    counts = {}
    for name in (str(folder), "proscale-tiny-nuclei"):
        words = ["predict", str(tmp_path / "a.png"), "--model", name, "-o", str(tmp_path / "out")]
        assert main([*words, "--json"]) == 0
        (row,) = json.loads(capsys.readouterr().out)["results"]
        counts[name] = len(row["segments"])
        record = json.loads((tmp_path / "out/a.json").read_text())
        assert ("incomplete" in row) == ("incomplete" in record["info"]) == (name == str(folder))
    assert main(["predict", str(tmp_path / "a.png"), "--model", str(folder), "-o", str(tmp_path / "out")]) == 0
    assert "perhaps not all" in capsys.readouterr().out
    assert counts[str(folder)] <= 24 < counts["proscale-tiny-nuclei"] == 36
    assert len(said) == 2
