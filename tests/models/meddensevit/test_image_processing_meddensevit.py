# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Image processors of MedDenseViT: images with all their bits, both backends, volumes, `pipeline()`."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, pipeline

from hfseg import (
    MedDenseViTConfig,
    MedDenseViTForSemanticSegmentation,
    MedDenseViTImageProcessor,
    MedDenseViTImageProcessorPil,
)
from meddensevit_inputs import BOTH, SIZE, deep


def test_backends_agree():
    for image in (deep(), Image.fromarray((deep() // 16).astype(np.uint8)), Image.new("RGB", (30, 20), (9, 90, 200))):
        first, second = (cls(size=SIZE)(image, return_tensors="pt")["pixel_values"] for cls in BOTH)
        torch.testing.assert_close(first, second, rtol=0, atol=5e-3)


def test_maps_follow_by_nearest_neighbor():
    mask = (np.random.default_rng(0).random((40, 50)) > 0.5).astype(np.uint8)
    batch = MedDenseViTImageProcessor(size={"height": 80, "width": 100})(deep(), mask, return_tensors="pt")
    np.testing.assert_array_equal(batch["labels"][0], np.kron(mask, np.ones((2, 2))))


@pytest.mark.parametrize(
    "image, options, message",
    [
        (np.full((8, 8), np.nan), {}, "NaN"),
        (np.zeros((8, 8)), {"modality": "PET"}, "CT, MR, XR"),
        (np.zeros((8, 0)), {}, "no pixels"),
    ],
)
def test_images_that_are_refused(image, options, message):
    with pytest.raises(ValueError, match=message):
        MedDenseViTImageProcessor(size=SIZE)(image, **options)


# Volumes.


# Results.


def test_pipeline_segments_a_deep_radiograph(tmp_path):
    backbone = {"model_type": "dinov3_vit", "hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2}
    backbone |= {"intermediate_size": 16, "patch_size": 8, "out_indices": [1, 2, 3, 4]}
    names = {0: "background", 1: "lung", 2: "heart"}
    config = MedDenseViTConfig(
        backbone_config=backbone,
        feature_size=8,
        stem_sizes=(4, 4),
        id2label=names,
        label2id={name: index for index, name in names.items()},
    )
    torch.manual_seed(0)
    model = MedDenseViTForSemanticSegmentation(config)
    with torch.no_grad():
        model.classifier.weight.normal_(std=5.0)
    model.save_pretrained(tmp_path)
    MedDenseViTImageProcessor(size=SIZE).save_pretrained(tmp_path)
    assert AutoImageProcessor.from_pretrained(tmp_path).modality == "XR"
    assert type(AutoImageProcessor.from_pretrained(tmp_path, backend="pil")) is MedDenseViTImageProcessorPil
    Image.fromarray(deep()).save(tmp_path / "x.png")
    segments = pipeline("image-segmentation", model=str(tmp_path), device="cpu")(str(tmp_path / "x.png"))
    assert segments and {segment["label"] for segment in segments} <= set(names.values())
    masks = np.stack([np.array(segment["mask"]) > 0 for segment in segments])
    assert masks.shape[1:] == (40, 50) and (masks.sum(0) == 1).all()
    # The same by hand: 16 bits must have reached the network.
    processor = MedDenseViTImageProcessor(size=SIZE)
    with torch.no_grad():
        outputs = model.eval()(**processor(deep(), return_tensors="pt"))
    (expected,) = processor.post_process_semantic_segmentation(outputs, target_sizes=[(40, 50)])
    for segment in segments:
        index = config.label2id[segment["label"]]
        np.testing.assert_array_equal(np.array(segment["mask"]) > 0, expected.numpy() == index)
