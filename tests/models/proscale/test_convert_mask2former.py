# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""A Mask2Former folder becomes ours whole: logits, image processor in every published form, classes, card, command."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from PIL import Image
from transformers import (
    AutoImageProcessor,
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    MaskFormerConfig,
    pipeline,
)

from hfseg import ProScaleForUniversalSegmentation, from_mask2former
from hfseg.commands.main import main
from hfseg.files.label_names import COCO_PANOPTIC
from hfseg.models.proscale.convert_mask2former import processor_settings

SWIN = {
    "model_type": "swin",
    "embed_dim": 16,
    "depths": [1, 1, 2, 1],
    "num_heads": [1, 2, 2, 4],
    "window_size": 7,
    "drop_path_rate": 0.0,
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
}
RESNET = {
    "model_type": "resnet",
    "embedding_size": 16,
    "hidden_sizes": [16, 24, 32, 48],
    "depths": [1, 1, 1, 1],
    "layer_type": "bottleneck",
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
}
BACKBONES = {"swin, window 7": SWIN, "swin, window 12": {**SWIN, "window_size": 12}, "resnet": RESNET}
PREPROCESSOR = {"image_processor_type": "Mask2FormerImageProcessor", "size": {"shortest_edge": 64, "longest_edge": 128}}


def save_mask2former(folder: Path, backbone: dict = SWIN, preprocessor: dict | None = PREPROCESSOR, **fields) -> Path:
    """Saves a random Mask2Former whose masks are not flat, with a preprocessor's configuration."""
    sizes = {"feature_size": 32, "mask_feature_size": 32, "hidden_dim": 32, "encoder_feedforward_dim": 48}
    sizes |= {"dim_feedforward": 48, "num_attention_heads": 4, "num_queries": 20, "encoder_layers": 2}
    config = Mask2FormerConfig(backbone_config=dict(backbone), decoder_layers=4, **{**sizes, **fields})
    torch.manual_seed(0)
    model = Mask2FormerForUniversalSegmentation(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "mask_embedder" in name or "class_predictor" in name or "queries" in name:
                parameter.mul_(6.0)
    model.save_pretrained(folder)
    if preprocessor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return folder


@pytest.fixture(scope="module")
def coco(tmp_path_factory) -> Path:
    """A Mask2Former with the classes of COCO panoptic."""
    names = dict(enumerate(COCO_PANOPTIC))
    return save_mask2former(tmp_path_factory.mktemp("coco"), id2label=names, label2id={v: k for k, v in names.items()})


@pytest.fixture
def photo() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 80, 3), dtype=np.uint8))


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("queries", [20, 200])
def test_logits_are_those_of_transformers(backbone, queries, tmp_path):
    folder = save_mask2former(tmp_path / "theirs", BACKBONES[backbone], num_labels=5, num_queries=queries)
    theirs = Mask2FormerForUniversalSegmentation.from_pretrained(folder).eval()
    from_mask2former(folder, tmp_path / "ours")
    ours = ProScaleForUniversalSegmentation.from_pretrained(tmp_path / "ours").eval()
    pixels = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, actual = theirs(pixels), ours(pixels)
    scale = expected.masks_queries_logits.abs().max()
    assert scale > 1  # else close would mean nothing
    assert (actual.masks_queries_logits - expected.masks_queries_logits).abs().max() <= 1e-5 * scale
    assert (actual.class_queries_logits - expected.class_queries_logits).abs().max() <= 1e-5 * scale
    assert not ours.training


@pytest.mark.parametrize("backend", ["torchvision", "pil"])
def test_one_folder_serves_pipeline_and_both_backends(coco, photo, backend, tmp_path):
    conversion = from_mask2former(coco, tmp_path, backend=backend)
    assert conversion.image_processor(photo, return_tensors="pt")["pixel_values"].shape == (1, 3, 64, 128)
    processor = AutoImageProcessor.from_pretrained(tmp_path, backend=backend)
    assert type(processor) is type(conversion.image_processor)
    segmenter = pipeline("image-segmentation", model=str(tmp_path), image_processor=processor)
    for subtask in ("panoptic", "instance", "semantic"):
        for entry in segmenter(photo, subtask=subtask, threshold=0.0):
            assert entry["label"] in COCO_PANOPTIC and entry["mask"].size == photo.size


FORMS = [
    ({"size": {"shortest_edge": 800, "longest_edge": 1333}}, {"size": {"shortest_edge": 800, "longest_edge": 1333}}),
    ({"size": 640, "max_size": 2560}, {"size": {"shortest_edge": 640, "longest_edge": 2560}}),
    ({"size": {"shortest_edge": 640}, "max_size": 2560}, {"size": {"shortest_edge": 640, "longest_edge": 2560}}),
    ({"size": 512}, {"size": {"shortest_edge": 512}}),
    ({"size": [384, 512]}, {"size": {"height": 384, "width": 512}}),
    ({"size": {"height": 384, "width": 384}}, {"size": {"height": 384, "width": 384}}),
    ({"size": {"shortest_edge": 800, "longest_edge": None}}, {"size": {"shortest_edge": 800}}),
    ({"max_size": 1000}, {"size": {"shortest_edge": 800, "longest_edge": 1000}}),
    ({"size_divisor": 32}, {"size_divisor": 32}),
    ({"size_divisibility": 64}, {"size_divisor": 64}),
    ({"size_divisor": 0}, {"size_divisor": 32}),
    ({}, {"size_divisor": 32}),
    ({"reduce_labels": True}, {"do_reduce_labels": True}),
    ({"do_reduce_labels": False}, {"do_reduce_labels": False}),
    ({"ignore_index": 255}, {"ignore_index": 255}),
    ({"ignore_index": None}, {"ignore_index": None}),
    ({"num_labels": 133, "resample": 3}, {"num_labels": 133, "resample": 3}),
    ({"image_mean": [0.5] * 3, "image_std": [0.5] * 3}, {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}),
    ({"feature_extractor_type": "MaskFormerFeatureExtractor", "size": 800}, {"size": {"shortest_edge": 800}}),
]


@pytest.mark.parametrize(("published", "expected"), FORMS)
def test_every_published_form_of_the_preprocessor(published, expected):
    settings = processor_settings(published)
    assert {name: settings[name] for name in expected} == expected
    assert "feature_extractor_type" not in settings


@pytest.mark.parametrize("size", [True, "800", [1, 2, 3]])
def test_a_size_of_no_known_form_is_refused(size):
    with pytest.raises(ValueError, match="size is"):
        processor_settings({"size": size})


def test_settings_end_in_the_folder(tmp_path):
    form = {"feature_extractor_type": "Mask2FormerFeatureExtractor", "size": 64, "max_size": 100, "reduce_labels": True}
    save_mask2former(tmp_path / "theirs", preprocessor=form, num_labels=3)
    from_mask2former(tmp_path / "theirs", tmp_path / "ours")
    processor = AutoImageProcessor.from_pretrained(tmp_path / "ours")
    assert dict(processor.size) == {"shortest_edge": 64, "longest_edge": 100} and processor.do_reduce_labels


def test_without_a_preprocessor_the_published_settings_and_a_warning(tmp_path, caplog):
    save_mask2former(tmp_path, preprocessor=None, num_labels=3)
    with caplog.at_level(logging.WARNING):
        processor = from_mask2former(tmp_path).image_processor
    assert dict(processor.size) == {"shortest_edge": 800, "longest_edge": 1333}
    assert "no preprocessor_config.json" in caplog.text


def test_classes_reach_model_and_processor(coco, tmp_path, caplog):
    model, processor = from_mask2former(coco)
    assert model.config.stuff_class_ids == list(range(80, 133)) == processor.label_ids_to_fuse
    save_mask2former(tmp_path, num_labels=4)
    with caplog.at_level(logging.WARNING):
        model, processor = from_mask2former(tmp_path)
    assert model.config.stuff_class_ids is None and processor.label_ids_to_fuse is None
    assert "stuff_class_ids" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        model, processor = from_mask2former(tmp_path, stuff_class_ids=[1, 3])
    assert model.config.stuff_class_ids == [1, 3] == processor.label_ids_to_fuse and not caplog.text


def test_overrides_give_a_warm_start_for_other_classes(coco):
    model, processor = from_mask2former(coco, encoder_stage_layers=(1, 1, 1), num_labels=3)
    assert model.config.encoder == "progressive" and model.config.num_labels == 3
    assert model.config.stuff_class_ids is None and processor.label_ids_to_fuse is None


def test_card_names_the_source(coco, tmp_path):
    from_mask2former(coco, tmp_path)
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.pipeline_tag == "image-segmentation" and "mask2former" in card.data.tags
    assert getattr(card.data, "base_model", None) is None  # a local path would be a dead link
    assert str(coco) not in card.content


def test_other_models_are_named(tmp_path):
    MaskFormerConfig().save_pretrained(tmp_path / "maskformer")
    with pytest.raises(ValueError, match=r"'maskformer', not 'mask2former'"):
        from_mask2former(tmp_path / "maskformer")
    (tmp_path / "oneformer").mkdir()
    (tmp_path / "oneformer" / "config.json").write_text('{"model_type": "oneformer"}')
    with pytest.raises(ValueError, match="OneFormer is conditioned"):
        from_mask2former(tmp_path / "oneformer")
    with pytest.raises(FileNotFoundError, match=r"has no config\.json"):
        from_mask2former(tmp_path)
    with pytest.raises(ValueError, match="backend must be one of torchvision, pil; got 'cv2'"):
        from_mask2former(tmp_path, backend="cv2")


def test_damaged_and_missing_parts_are_named(coco, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = save_mask2former(tmp_path, num_labels=3)
    (folder / "preprocessor_config.json").write_text("{")
    with pytest.raises(ValueError, match=r"preprocessor_config\.json is not valid JSON"):
        from_mask2former(folder)
    (folder / "preprocessor_config.json").unlink()
    weights = load_file(folder / "model.safetensors")
    weights.pop("class_predictor.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks 1 weights .* class_predictor\.weight"):
        from_mask2former(folder)


def test_one_command(coco, tmp_path, capsys):
    arguments = ["convert", "--architecture", "mask2former", "--checkpoint", str(coco), "--output_dir", str(tmp_path)]
    assert main(arguments) == 0
    assert str(tmp_path) in capsys.readouterr().out
    assert ProScaleForUniversalSegmentation.from_pretrained(tmp_path).config.encoder == "full"
    arguments[4] = str(tmp_path / "nothing")
    assert main(arguments) != 0
    assert "gives no config.json" in capsys.readouterr().err
