# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""VPNeXt's image processing: sizes, padding, class maps, logits back to images, the pipeline, hostile input."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from transformers import AutoImageProcessor, pipeline

from hfseg import VPNeXtConfig, VPNeXtForSemanticSegmentation, VPNeXtImageProcessor, VPNeXtImageProcessorPil
from hfseg.inference import augmented_scores, sliding_window_scores

BACKENDS = [VPNeXtImageProcessor, VPNeXtImageProcessorPil]


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Draws a smooth image."""
    small = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("processor_class", BACKENDS)
def test_sizes_padding_and_labels(processor_class):
    """Against the steps written out with Pillow and NumPy."""
    image, labels = photo(50, 75), np.random.default_rng(1).integers(0, 5, (50, 75)).astype(np.uint8)
    labels[:3] = 255
    processor = processor_class(size={"shortest_edge": 40}, num_labels=5)
    batch = processor([image, image[:, :60]], [labels, labels[:, :60]], return_tensors="pt")
    assert batch["pixel_values"].shape == (2, 3, 48, 64)  # 40 x 60 and 40 x 48, to whole patches
    assert batch["labels"].shape == (2, 48, 64) and batch["labels"].dtype == torch.int64
    resized = np.asarray(Image.fromarray(image).resize((60, 40), Image.Resampling.BILINEAR)).astype(np.float32) / 255
    expected = (resized - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    actual = batch["pixel_values"][0].permute(1, 2, 0).numpy()
    tolerance = 1e-5 if processor_class is VPNeXtImageProcessorPil else 0.03  # one gray level
    np.testing.assert_allclose(actual[:40, :60], expected, atol=tolerance)
    assert not actual[40:].any() and not actual[:, 60:].any()
    nearest = np.asarray(Image.fromarray(labels).resize((60, 40), Image.Resampling.NEAREST))
    np.testing.assert_array_equal(batch["labels"][0, :40, :60], nearest)
    assert (batch["labels"][0, 40:] == 255).all() and (batch["labels"][1, :, 48:] == 255).all()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Saves a tiny model with its image processor."""
    path = tmp_path_factory.mktemp("vpnext")
    vit = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 2}
    backbone = {"model_type": "dinov3_vit", "pos_embed_rescale": None, **vit}
    names = dict(enumerate(("sky", "road", "tree")))
    torch.manual_seed(0)
    config = VPNeXtConfig(
        backbone_config=backbone,
        hiclr_iterations=1,
        hiclr_channels=16,
        vcr_affinity_dim=16,
        id2label=names,
        label2id={name: key for key, name in names.items()},
    )
    model = VPNeXtForSemanticSegmentation(config)
    torch.nn.init.normal_(model.classifier.weight)  # every class somewhere
    model.save_pretrained(path)
    VPNeXtImageProcessor(size={"shortest_edge": 40}).save_pretrained(path)
    return path


def test_pipeline(folder):
    """Masks are those of the model and processor by hand, alone and in batches of several sizes."""
    pipe = pipeline("image-segmentation", model=str(folder), device="cpu")
    assert type(pipe.model) is VPNeXtForSemanticSegmentation and type(pipe.image_processor) is VPNeXtImageProcessor
    images = [
        Image.fromarray(photo(50, 75)),
        Image.fromarray(photo(64, 48, 1)),
        Image.fromarray(photo(50, 70, 2)),
    ]
    together = pipe(images, batch_size=3)
    for image, results in zip(images, together):
        batch = pipe.image_processor(image, return_tensors="pt")
        with torch.no_grad():
            outputs = pipe.model(**batch)
        labels = pipe.image_processor.post_process_semantic_segmentation(outputs, [image.size[::-1]])[0]
        assert {result["label"] for result in results} == {
            pipe.model.config.id2label[i] for i in labels.unique().tolist()
        }
        for result in [*results, *pipe(image)]:
            class_id = pipe.model.config.label2id[result["label"]]
            np.testing.assert_array_equal(np.asarray(result["mask"]) == 255, labels.numpy() == class_id)


def test_multi_scale_and_flip_average_logits(folder):
    """The paper's test: raw logits of all scales and mirror images, resized and averaged; by hand."""
    model = VPNeXtForSemanticSegmentation.from_pretrained(folder).eval()
    processor = AutoImageProcessor.from_pretrained(folder)
    image, scales = photo(50, 75), (0.5, 1.0, 1.75)

    def predict(pixel_values):
        with torch.no_grad():
            return model(pixel_values)

    def read(logits, padded, inner, output):
        """Each pixel of the output reads the logits at its place in the input, the image's last pixel at most."""
        values = logits.numpy()
        for axis, (size, whole, part, out) in enumerate(zip(values.shape[1:], padded, inner, output), start=1):
            centers = (np.arange(size) + 0.5) * whole / size
            places = np.clip((np.arange(out) + 0.5) * part / out, 0.5, part - 0.5)
            values = np.apply_along_axis(lambda line, p=places, c=centers: np.interp(p, c, line), axis, values)
        return torch.from_numpy(values).float()

    actual = augmented_scores(image, predict, processor, scales=scales, flip=True, kind="logits")
    total = torch.zeros(3, 50, 75)
    for scale in scales:
        height, width = int(scale * 40 + 0.5), int(scale * 60 + 0.5)
        view = processor(image, size={"height": height, "width": width}, do_pad=False, return_tensors="pt")
        for mirrored in (False, True):
            pixel_values = view["pixel_values"].flip(-1) if mirrored else view["pixel_values"]
            padded = F.pad(pixel_values, (0, -width % 16, 0, -height % 16))
            logits = read(predict(padded).logits[0], padded.shape[-2:], (height, width), (50, 75))
            total += logits.flip(-1) if mirrored else logits
    torch.testing.assert_close(actual, total / 6, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(actual.sum(0), torch.ones(50, 75))  # no probabilities

    # Windows of the crop, two thirds apart, the last flush with the border.
    window = sliding_window_scores(image, predict, processor, window=48, stride=32, kind="logits", target_size=(40, 60))
    view = processor(image, do_pad=False, return_tensors="pt")["pixel_values"]
    total, visits = torch.zeros(3, 40, 60), torch.zeros(40, 60)
    for left in (0, 12):
        part = F.pad(view[..., left : left + 48], (0, 0, 0, 8))
        logits = F.interpolate(predict(part).logits, (48, 48), mode="bilinear")[0, :, :40]
        total[:, :, left : left + 48] += logits
        visits[:, left : left + 48] += 1
    torch.testing.assert_close(window, total / visits, rtol=1e-4, atol=1e-4)
