# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Checkpoints that come with the package: size, card, and that they do what their name says on a drawn image."""

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from PIL import Image, ImageDraw
from safetensors.torch import load_file

import hfseg
from hfseg.tasks import shipped_checkpoints

NAMES = shipped_checkpoints()
# Networks that are larger than 4 MiB in half precision, with what they take.
LARGER = {"cris-tiny-shapes": 4.6}


def test_there_are_checkpoints_and_all_of_them_are_small():
    sizes = {name: sum(f.stat().st_size for f in hfseg.checkpoint(name).rglob("*")) for name in NAMES}
    assert "proscale-tiny-nuclei" in sizes
    assert all(size <= LARGER.get(name, 4) * 2**20 for name, size in sizes.items())
    assert sum(sizes.values()) <= 25.3 * 2**20  # 24 MB in the wheel, which is compressed


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_on_disk_single_in_memory_and_a_card(name):
    folder = hfseg.checkpoint(name)
    for file in folder.rglob("*.safetensors"):
        stored = load_file(file)
        assert all(t.dtype == torch.float16 and t.isfinite().all() for t in stored.values() if t.is_floating_point())
    model = hfseg.load(name).model
    for part in (model.transformer, model.vae) if hasattr(model, "transformer") else (model,):
        assert {t.dtype for t in part.state_dict().values() if t.is_floating_point()} == {torch.float32}
        assert not part.training
    card = ModelCard.load(folder / "README.md")
    assert card.data.license and card.data.pipeline_tag and "## Limits" in card.text
    assert f"\n# {name}\n" in f"\n{card.text}" and f'hfseg.checkpoint("{name}")' in card.text
    assert not list(folder.rglob("*.py"))


def test_nuclei_are_found_one_by_one():
    image = Image.new("RGB", (256, 256), (8, 8, 8))
    draw = ImageDraw.Draw(image)
    centers = [(60, 60), (180, 70), (70, 190), (190, 190)]
    for x, y in centers:
        draw.ellipse((x - 14, y - 11, x + 14, y + 11), fill=(120, 120, 120))
    result = hfseg.predict("proscale-tiny-nuclei", image)
    prediction = result[0] if isinstance(result, list) else result
    boxes = np.array([segment.box for segment in prediction.result.segments])
    assert 3 <= len(boxes) <= len(centers)  # drawn ones are not what it was trained on
    middles = np.stack([(boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2], 1)
    for middle in middles:
        assert np.abs(np.array(centers) - middle).max(1).min() < 4


def test_shapes_are_found_as_on_the_card():
    """Twelve scenes of the test split: far from the card's 89 only if something broke."""
    result = hfseg.evaluate("proscale-tiny-shapes", "shapes:num_scenes=12,image_size=96", split="test")
    assert result.metrics["pq"] > 80
