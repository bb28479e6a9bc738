# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Pre-training as a task: what is measured on held-out pairs, by hand, and the way from recipe to folder and back."""

import json

import pytest
import torch
import torch.nn.functional as F
from transformers import AutoImageProcessor, AutoTokenizer

from benchmarks.pretraining import pretraining_tables
from hfseg.commands.train import main
from hfseg.models.unisegformer.pretraining_unisegformer import UniSegFormerForPreTraining
from hfseg.models.unisegformer.training_unisegformer import retrieval


def test_retrieval_by_hand():
    images = torch.eye(4)
    # Image 0 finds its text first, 1 second, 2 third; image 3 shares its text with 0 and is not blamed for it.
    texts = F.normalize(torch.tensor([[9.0, 0, 0, 9], [3, 1, 0, 0], [2, 3, 1, 0], [9, 0, 0, 9]]), dim=1)
    found = retrieval(images, texts, depths=(1, 2, 3))
    own_rank = [sum(float(images[i] @ t) > float(images[i] @ texts[i]) + 1e-6 for t in texts) for i in range(4)]
    for depth in (1, 2, 3):
        assert found[f"text_retrieval_{depth}"] == 100 * sum(rank < depth for rank in own_rank) / 4
    assert own_rank == [1, 1, 0, 0] and found["text_retrieval_1"] == 50
    assert found["image_retrieval_1"] == 50  # texts 0 and 3 point at images 0 and 3 alike, text 1 at 0, text 2 at 1
    assert found["retrieval_chance"] == 25
    perfect = retrieval(images, images)
    assert perfect["text_retrieval_1"] == perfect["image_retrieval_1"] == 100


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of two updates with all three terms."""
    folder = tmp_path_factory.mktemp("pretraining")
    scenes = "image_size: [64, 64]"
    overrides = [
        "data.train.pairs={reader: captioned_shapes, split: train, num_scenes: 8, " + scenes + "}",
        "data.validation.pairs={reader: captioned_shapes, split: validation, num_scenes: 6, " + scenes + "}",
        "data.batch_size=4",
        "run.max_steps=2",
        "run.log_every=1",
        "schedule.warmup_steps=1",
        "run.evaluation={probe_images: 4}",
    ]
    recipe = ["--recipe", "unisegformer-tiny-shapes-pretraining"]
    main([*recipe, *overrides, "--output_dir", str(folder)])
    return folder, overrides


def test_from_recipe_to_folder_and_back(folder):
    folder, _ = folder
    numbers = json.loads((folder / "metrics.json").read_text())
    numbers = numbers.get("metrics", numbers)
    assert {"reconstruction", "text_retrieval_1", "image_retrieval_5", "probe_mean_iou"} <= set(numbers)
    assert numbers["retrieval_chance"] == pytest.approx(100 / 6)
    model = UniSegFormerForPreTraining.from_pretrained(folder).eval()
    tokens = AutoTokenizer.from_pretrained(folder)(["a large red dots circle"], padding="max_length", max_length=40)
    processor = AutoImageProcessor.from_pretrained(folder)
    pixels = torch.randint(256, (3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        outputs = model(**processor(pixels, return_tensors="pt"), input_ids=torch.tensor(tokens["input_ids"]))
    assert outputs.image_embeds.norm() == pytest.approx(1, abs=1e-5)
    assert torch.isfinite(outputs.loss)


def test_what_a_folder_knows(folder, tmp_path):
    folder, overrides = folder
    tables, _ = pretraining_tables(str(folder), overrides, str(tmp_path / "seen.png"), shown=2)
    trained, fresh, guess = tables["Pre-training on held-out pairs"]
    assert trained["reconstruction"] != fresh["reconstruction"] and 0.1 < guess["reconstruction"] < 2
    assert (tmp_path / "seen.png").stat().st_size > 1000
