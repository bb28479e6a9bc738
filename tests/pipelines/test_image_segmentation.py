# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The image-segmentation pipeline: the processor's thresholds, mixed batches, overlapping instances, other models."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from transformers import Mask2FormerImageProcessor, PreTrainedConfig, PreTrainedModel, pipeline
from transformers.pipelines import PIPELINE_REGISTRY
from transformers.pipelines.image_segmentation import ImageSegmentationPipeline
from transformers.utils import ModelOutput

from hfseg.models.proscale.image_processing_proscale import ProScaleImageProcessor
from hfseg.pipelines.image_segmentation import HfsegImageSegmentationPipeline, register

NUM_QUERIES, NUM_LABELS = 6, 4


class QueryModel(PreTrainedModel):
    """Logits that depend on every pixel, padding included, as a real model's do."""

    config_class = PreTrainedConfig
    main_input_name = "pixel_values"

    def __init__(self, config):
        super().__init__(config)
        self.mixing = nn.Parameter(torch.zeros(NUM_QUERIES, 3))
        self.classes = nn.Parameter(torch.zeros(NUM_QUERIES, NUM_LABELS + 1))
        self.seen = []
        self.post_init()

    def forward(self, pixel_values):
        self.seen.append(tuple(pixel_values.shape))
        pooled = nn.functional.avg_pool2d(pixel_values, 4)
        context = pixel_values.mean(dim=(1, 2, 3))
        masks = torch.einsum("qc,bchw->bqhw", self.mixing, pooled) + context[:, None, None, None]
        return ModelOutput(
            class_queries_logits=self.classes + context[:, None, None],
            masks_queries_logits=masks,
            hidden_states=(pooled,),
        )


@pytest.fixture(scope="module", autouse=True)
def registered():
    before = PIPELINE_REGISTRY.supported_tasks["image-segmentation"]["impl"]
    register()
    yield
    PIPELINE_REGISTRY.supported_tasks["image-segmentation"]["impl"] = before


@pytest.fixture
def model():
    model = QueryModel(PreTrainedConfig(id2label={i: f"class {i}" for i in range(NUM_LABELS)})).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        model.mixing.copy_(torch.randn(NUM_QUERIES, 3, generator=generator) * 6)
        model.classes.copy_(torch.randn(NUM_QUERIES, NUM_LABELS + 1, generator=generator) * 4)
        model.classes[:, -1] = -5
    return model


def make_pipe(model, **kwargs):
    size = {"shortest_edge": 64, "longest_edge": 128}
    settings = {"size": size, "label_ids_to_fuse": [3], **kwargs}
    return pipeline("image-segmentation", model=model, image_processor=ProScaleImageProcessor(**settings))


def photos():
    rng = np.random.default_rng(0)
    sizes = [(40, 60), (60, 40), (80, 121), (40, 60), (64, 64)]
    small = [Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)) for _ in sizes]
    return [image.resize(size[::-1], Image.Resampling.BICUBIC) for image, size in zip(small, sizes)]


def same(one, other):
    assert len(one) == len(other)
    for left, right in zip(one, other):
        assert left["label"] == right["label"]
        assert left["score"] == right["score"] or abs(left["score"] - right["score"]) < 1e-6
        assert np.array_equal(np.asarray(left["mask"]), np.asarray(right["mask"]))


@pytest.mark.parametrize("subtask", [None, "panoptic", "instance", "semantic"])
def test_mixed_batches_equal_single_images(model, subtask):
    pipe = make_pipe(model, threshold=0.3, overlap_mask_area_threshold=0.1)
    images = photos()
    single = [pipe(image, subtask=subtask) for image in images]
    model.seen.clear()
    for one, other, image in zip(single, pipe(images, subtask=subtask, batch_size=3), images):
        same(one, other)
        assert one and all(s["mask"].size == image.size and s["mask"].mode == "L" for s in one)
        assert all(set(s) == {"score", "label", "mask"} for s in one)
    # Two batches of 3 and 2; the first holds three sizes, the second two.
    assert sorted(shape[0] for shape in model.seen) == [1, 1, 1, 1, 1]
    model.seen.clear()
    list(pipe([images[0], images[3], images[1]], subtask=subtask, batch_size=3))
    assert sorted(shape[0] for shape in model.seen) == [1, 2]
    for one, other in zip(single, pipe((image for image in images), subtask=subtask, batch_size=2)):
        same(one, other)


def test_thresholds_are_the_processors_unless_given(model):
    (image,) = photos()[:1]
    for settings, call in [({}, {}), ({"threshold": 0.3}, {}), ({}, {"threshold": 0.3, "mask_threshold": 0.7})]:
        pipe = make_pipe(model, **settings)
        inputs = pipe.image_processor(image, return_tensors="pt")
        with torch.no_grad():
            outputs = model(**inputs)
        expected = pipe.image_processor.post_process_panoptic_segmentation(
            outputs,
            **{"threshold": 0.8, "mask_threshold": 0.5, "overlap_mask_area_threshold": 0.8, **settings, **call},
            target_sizes=[(40, 60)],
        )[0]
        found = pipe(image, **call)
        assert [s["score"] for s in found] == [s["score"] for s in expected["segments_info"]]
        assert [s["label"] for s in found] == [f"class {s['label_id']}" for s in expected["segments_info"]]
        for segment, info in zip(found, expected["segments_info"]):
            assert np.array_equal(np.asarray(segment["mask"]) == 255, expected["segmentation"].numpy() == info["id"])


def test_instances_of_low_scores_are_left_out(model):
    """From 0.5 up, or from what the processor says; the method of the processor itself keeps all."""
    (image,) = photos()[:1]
    every = [s["score"] for s in make_pipe(model)(image, subtask="instance", threshold=0)]
    low = sorted(every)[len(every) // 2]
    for settings, limit in [
        ({}, 0.5),
        ({"threshold": 0.8}, 0.5),
        ({"threshold": low}, low),
        ({"threshold": 0.9}, 0.9),
        ({"instance_threshold": low}, low),
        ({"instance_threshold": 0.8}, 0.8),
    ]:
        pipe = make_pipe(model, **settings)
        assert [s["score"] for s in pipe(image, subtask="instance")] == [score for score in every if score >= limit]
        outputs = model(**pipe.image_processor(image, return_tensors="pt"))
        instances = pipe.image_processor.post_process_instance_segmentation(outputs, target_sizes=[(40, 60)])[0]
        assert len(instances["segments_info"]) == len(every)
    assert 0 < sum(score >= low for score in every) < len(every)


def test_a_query_between_the_two_thresholds_is_found(model):
    """Probability 0.85: the authors keep it, transformers' default of 0.9 does not."""
    with torch.no_grad():
        model.classes.fill_(-20)
        model.classes[:, -1] = 20
        model.classes[0] = torch.tensor([0.85, 0.05, 0.05, 0.025, 0.025]).log()
        model.mixing.zero_()
    bright = Image.new("RGB", (60, 40), (255, 255, 255))
    assert [round(s["score"], 4) for s in make_pipe(model)(bright)] == [0.85]
    assert make_pipe(model)(bright, threshold=0.9) == []


def test_instance_masks_may_overlap(model):
    result = make_pipe(model)(photos()[0], subtask="instance")
    total = sum(int((np.asarray(s["mask"]) > 0).sum()) for s in result)
    covered = np.any([np.asarray(s["mask"]) > 0 for s in result], axis=0).sum()
    assert total > covered
    scores = [s["score"] for s in result]
    assert scores == sorted(scores, reverse=True)
    assert "class 3" not in {s["label"] for s in result}  # stuff


def test_other_models_get_transformers_pipeline_unchanged(model):
    processor = Mask2FormerImageProcessor(size={"shortest_edge": 64, "longest_edge": 128}, size_divisor=32)
    model.forward_original = model.forward
    ours = pipeline("image-segmentation", model=model, image_processor=processor)
    assert isinstance(ours, HfsegImageSegmentationPipeline)
    stock = ImageSegmentationPipeline(model=model, image_processor=processor)
    # Its processor also gives a pixel mask, which this model does not know.
    model.forward = lambda pixel_values, pixel_mask=None: model.forward_original(pixel_values)
    for image in photos():
        for call in ({}, {"threshold": 0.3}, {"subtask": "semantic"}, {"subtask": "instance", "threshold": 0.1}):
            same(ours(image, **call), stock(image, **call))


def test_files_are_read_safely(model, tmp_path):
    pipe = make_pipe(model, threshold=0.3)
    image = photos()[0]
    image.save(tmp_path / "a.png")
    same(pipe(str(tmp_path / "a.png")), pipe(image))
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:800])
    with pytest.raises(ValueError, match="truncated or damaged"):
        pipe(str(tmp_path / "b.png"))


def test_unknown_subtask_is_named(model):
    with pytest.raises(ValueError, match="Subtask 'depth' is not supported by QueryModel"):
        make_pipe(model)(photos()[0], subtask="depth")


def test_registering_changes_the_class_only(caplog):
    entry = dict(PIPELINE_REGISTRY.supported_tasks["image-segmentation"])
    register()
    assert entry == PIPELINE_REGISTRY.supported_tasks["image-segmentation"]
    assert entry["impl"] is HfsegImageSegmentationPipeline and entry["pt"] and entry["default"]
    assert "already registered" not in caplog.text
