# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Fine-tuning on other classes, as the guides of transformers do: stuff ids of the old classes go."""

import json

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoImageProcessor, AutoModelForUniversalSegmentation, pipeline
from transformers.utils import ModelOutput

import hfseg
from hfseg.inference.tiled_panoptic import tiled_panoptic_segmentation
from hfseg.training.arguments import ModelArguments
from hfseg.training.tasks.base import build_model
from proscale_models import tiny_config as proscale_config
from tiny_zoo import EDGE, image
from unisegformer_models import tiny_config as unisegformer_config

OLD = {index: f"old {index}" for index in range(8)}
MODELS = {
    "proscale": (hfseg.ProScaleForUniversalSegmentation, proscale_config, hfseg.ProScaleImageProcessor),
    "unisegformer": (hfseg.UniSegFormerForUniversalSegmentation, unisegformer_config, hfseg.UniSegFormerImageProcessor),
}


@pytest.fixture(params=MODELS)
def folder(request, tmp_path):
    """A model of eight classes, three of which are stuff."""
    model_class, config, processor = MODELS[request.param]
    model_class(config(num_labels=8, id2label=OLD, stuff_class_ids=[5, 6, 7])).save_pretrained(tmp_path / "old")
    processor(size=EDGE, label_ids_to_fuse=[5, 6, 7]).save_pretrained(tmp_path / "old")
    return tmp_path / "old"


CHANGES = {
    "fewer": {"id2label": {0: "a", 1: "b", 2: "c"}},
    "fewer by number": {"num_labels": 3},
    "more": {"id2label": {index: f"new {index}" for index in range(11)}},
    "as many": {"id2label": {index: f"new {index}" for index in range(8)}},
}


@pytest.mark.parametrize("change", CHANGES)
def test_other_classes_drop_the_old_stuff(folder, tmp_path, caplog, change):
    model = AutoModelForUniversalSegmentation.from_pretrained(folder, ignore_mismatched_sizes=True, **CHANGES[change])
    assert model.config.stuff_class_ids == []
    assert sum("stuff_class_ids" in record.getMessage() for record in caplog.records) == 1
    processor = AutoImageProcessor.from_pretrained(folder)
    pipe = pipeline("image-segmentation", model=model, image_processor=processor)
    given = {}
    original = processor.post_process_panoptic_segmentation
    processor.post_process_panoptic_segmentation = lambda *a, **k: given.update(k) or original(*a, **k)
    pipe(image(), subtask="panoptic")
    assert given["label_ids_to_fuse"] == []
    del processor.post_process_panoptic_segmentation
    for order in ((model, processor), (processor, model)):
        target = tmp_path / f"new {order[0] is model}"
        for part in order:
            part.save_pretrained(target)
        again = AutoModelForUniversalSegmentation.from_pretrained(target)
        assert again.config.stuff_class_ids == [] and again.config.num_labels == model.config.num_labels
        assert json.loads((target / "preprocessor_config.json").read_text())["label_ids_to_fuse"] == []


def two_cars(number):
    """Outputs of a model of `number` classes: two objects of class 6, which lies apart, and "no object"."""
    classes = torch.full((1, 3, number + 1), -20.0)
    classes[0, :2, min(6, number - 1)], classes[0, 2, -1] = 20.0, 20.0
    masks = torch.full((1, 3, 16, 16), -20.0)
    masks[0, 0, :, :6], masks[0, 1, :, 10:] = 20.0, 20.0
    return ModelOutput(class_queries_logits=classes, masks_queries_logits=masks)


def number_of_segments(processor, outputs):
    sizes = {"target_sizes": [(64, 64)]}
    panoptic = processor.post_process_panoptic_segmentation(outputs, **sizes)[0]["segments_info"]
    instances = processor.post_process_instance_segmentation(outputs, threshold=0.5, **sizes)[0]["segments_info"]
    return len(panoptic), len(instances)


@pytest.mark.parametrize("backend", ["torchvision", "pil"])
@pytest.mark.parametrize("change", CHANGES)
def test_the_old_processor_in_memory(folder, caplog, change, backend):
    """A processor that still has the old stuff classes, called on outputs of the model with new ones."""
    processor = AutoImageProcessor.from_pretrained(folder, backend=backend)
    assert processor.label_ids_to_fuse == [5, 6, 7]
    old = AutoModelForUniversalSegmentation.from_pretrained(folder)
    assert number_of_segments(processor, two_cars(8)) == (1, 0)  # class 6 is stuff
    model = AutoModelForUniversalSegmentation.from_pretrained(folder, ignore_mismatched_sizes=True, **CHANGES[change])
    number = model.config.num_labels
    for given, stuff in ((model, ()), (old, (5, 6, 7))):
        outputs = given(torch.randn(1, 3, 64, 64))
        assert outputs.stuff_class_ids == stuff and "stuff_class_ids" not in outputs
        made = two_cars(given.config.num_labels)
        outputs.class_queries_logits, outputs.masks_queries_logits = made.values()
        assert number_of_segments(processor, outputs) == ((1, 0) if stuff else (2, 2))
        image, answer = np.zeros((64, 64, 3), dtype=np.uint8), lambda _, outputs=outputs: outputs
        tiled = tiled_panoptic_segmentation(image, answer, processor, tile=64, overlap_mask_area_threshold=0.0)
        assert len(tiled.segments_info) == (1 if stuff else 2)
    if number != 8:  # rebuilt outputs, as of Trainer's evaluation, still have another number of classes
        assert number_of_segments(processor, two_cars(number)) == (2, 2)
    given = processor.post_process_panoptic_segmentation(two_cars(number), label_ids_to_fuse=[min(6, number - 1)])
    assert len(given[0]["segments_info"]) == 1
    assert "classes_beside" not in processor.to_dict()


def test_stuff_of_the_processor_counts_where_the_model_has_none(folder, tmp_path):
    """Built by hand, without a configuration to follow; but not for other classes."""
    processor = hfseg.ProScaleImageProcessor(label_ids_to_fuse=[5, 6, 7])
    assert number_of_segments(processor, two_cars(8)) == (1, 0)
    assert number_of_segments(processor, two_cars(3)) == (2, 2)
    config = json.loads((folder / "config.json").read_text())
    config["stuff_class_ids"] = None
    (folder / "config.json").write_text(json.dumps(config))
    new = AutoConfig.from_pretrained(folder, id2label={index: f"new {index}" for index in range(8)})
    assert new.stuff_class_ids == []
    assert AutoConfig.from_pretrained(folder).stuff_class_ids is None


def test_new_stuff_is_kept(folder, caplog):
    config = AutoConfig.from_pretrained(folder, id2label={0: "a", 1: "b"}, stuff_class_ids=[1])
    assert list(config.stuff_class_ids) == [1] and not caplog.records
    assert list(AutoConfig.from_pretrained(folder).stuff_class_ids) == [5, 6, 7]
    same = AutoConfig.from_pretrained(folder, id2label=OLD)
    assert list(same.stuff_class_ids) == [5, 6, 7]


def test_recipes_drop_it_too(folder):
    model = build_model(ModelArguments(pretrained=str(folder)), {0: "a", 1: "b"})
    assert model.config.stuff_class_ids == []
    model = build_model(ModelArguments(pretrained=str(folder)), {0: "a", 1: "b"}, [0])
    assert list(model.config.stuff_class_ids) == [0]


def test_what_cannot_be_loaded_cannot_be_saved(folder, tmp_path):
    model = AutoModelForUniversalSegmentation.from_pretrained(folder)
    model.config.id2label = {0: "a", 1: "b"}
    with pytest.raises(ValueError, match="stuff_class_ids"):
        model.save_pretrained(tmp_path / "new")
    with pytest.raises(ValueError, match="stuff_class_ids"):
        model.config.save_pretrained(tmp_path / "new")
    assert not (tmp_path / "new" / "config.json").exists() and not (tmp_path / "new" / "model.safetensors").exists()


def test_the_guides_model_learns(folder):
    """One step of fine-tuning on three classes."""
    model = AutoModelForUniversalSegmentation.from_pretrained(
        folder, id2label={0: "a", 1: "b", 2: "c"}, ignore_mismatched_sizes=True
    )
    masks = [torch.zeros(1, 64, 64)]
    masks[0][:, :32] = 1
    loss = model(torch.randn(1, 3, 64, 64), mask_labels=masks, class_labels=[torch.tensor([2])]).loss
    loss.backward()
    assert torch.isfinite(loss)
