# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Pre-training as a task: what is measured on held-out pairs, by hand, and the way from recipe to folder and back."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import AutoImageProcessor, AutoTokenizer

from benchmarks.pretraining import pretraining_tables
from hfseg.commands.train import main
from hfseg.models.unisegformer.pretraining_unisegformer import UniSegFormerForPreTraining
from hfseg.models.unisegformer.training_unisegformer import held_out_mean_iou, model_classes, retrieval
from hfseg.training import load_recipe
from hfseg.training.tasks import build_task
from scene_folders import save


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


def labeled_folder(root, names, seed):
    """A folder of images in stripes, one per class; the first row is void."""
    generator = np.random.default_rng(seed)
    for split in ("train", "validation"):
        for number in range(2):
            labels = np.repeat(np.arange(len(names), dtype=np.uint8), 64 // len(names))
            labels = np.broadcast_to(np.pad(labels, (0, 64 - len(labels)), mode="edge"), (64, 64)).copy()
            labels[0] = 255
            image = generator.integers(0, 60, (64, 64, 3), dtype=np.uint8) + (labels[..., None] * 60)
            save(root / "images" / split / f"{number}.png", image.astype(np.uint8))
            save(root / "masks" / split / f"{number}.png", labels)
    (root / "classes.json").write_text(json.dumps(dict(enumerate(names))))


@pytest.fixture(scope="module")
def united(tmp_path_factory):
    """Two folders of different classes, and the changes that make a recipe train on both."""
    root = tmp_path_factory.mktemp("sets")
    labeled_folder(root / "street", ["road", "sky"], 0)
    labeled_folder(root / "garden", ["grass", "Sky", "tree"], 1)
    scenes = "num_scenes: 6, image_size: [64, 64]"
    overrides = [
        f"data.{side}={{pairs: {{reader: captioned_shapes, split: {side}, {scenes}}}, segments: ["
        f"{{reader: folder, path: {root}/street, split: {side}}}, "
        f"{{reader: folder, path: {root}/garden, split: {side}}}]}}"
        for side in ("train", "validation")
    ]
    return root, overrides


def test_pretraining_on_several_segmentation_sets(united, tmp_path):
    _, overrides = united
    steps = ["data.batch_size=4", "run.max_steps=2", "run.log_every=1", "schedule.warmup_steps=1"]
    evaluation = ["run.evaluation={probe_images: 2}", "run.metric=mean_iou_street", "run.evaluate_every=1"]
    recipe = ["--recipe", "unisegformer-tiny-shapes-pretraining", *overrides, *steps, *evaluation]
    main([*recipe, "--output_dir", str(tmp_path)])
    model = UniSegFormerForPreTraining.from_pretrained(tmp_path)
    assert model.config.id2label == {0: "road", 1: "sky", 2: "grass", 3: "tree"}
    written = json.loads((tmp_path / "metrics.json").read_text())
    for name in ("mean_iou_street", "mean_iou_garden", "probe_mean_iou_street", "probe_mean_iou_garden"):
        assert 0 <= written["metrics"][name] <= 100
        assert all(name in entry for entry in written["training"]["evaluations"])
    assert [entry["step"] for entry in written["training"]["evaluations"]] == [1, 2]


def test_classes_that_a_set_does_not_know_get_no_gradient(united):
    _, overrides = united
    arguments = load_recipe("unisegformer-tiny-shapes-pretraining", overrides)
    task = build_task(arguments)
    dataset = task.build_dataset(arguments.data.train)
    torch.manual_seed(0)
    model = task.build_model(dataset).train()
    collate = task.build_collator(dataset, model, task.build_processor(model))
    example = {"image": np.zeros((64, 64, 3), np.uint8), "text": "a"}
    for number, unknown in ((0, [2, 3]), (2, [0])):  # of the street, of the garden
        batch = collate([{**example, "segments": lambda number=number: dataset.segments[number]}])
        model.zero_grad()
        labels = {name: batch.get(name) for name in ("mask_labels", "class_labels", "void_masks", "known_classes")}
        terms = model.segmentation_losses(batch["segmentation_pixel_values"], *labels.values())
        torch.stack(list(terms.values())).sum().backward()
        for weight in (model.mask_head.class_predictor.weight, model.dense_head.classifiers[0].weight):
            moved = weight.grad.flatten(1).abs().sum(1)[:4]
            assert (moved[unknown] == 0).all() and (moved[[k for k in range(4) if k not in unknown]] > 0).all()


def test_held_out_mean_iou_by_hand(united):
    """A head that says one thing everywhere: of a set's classes the best one is right on its share of pixels."""
    _, overrides = united
    arguments = load_recipe("unisegformer-tiny-shapes-pretraining", overrides)
    task = build_task(arguments)
    dataset = task.build_dataset(arguments.data.train)
    model = task.build_model(dataset).eval()
    processor = task.build_processor(model).image_processor
    with torch.no_grad():
        model.mask_head.class_predictor.weight.zero_()
        model.mask_head.class_predictor.bias.copy_(
            torch.tensor([1.0, 2.0, 9.0, 3.0, 0.0])
        )  # grass, then tree, then sky
        for name, expected in (("street", 100 * 0.5 / 2), ("garden", 100 * (21 / 64) / 3)):
            part = dataset.segments.parts[name]
            ids = model_classes(model.config.label2id, part.id2label)
            assert held_out_mean_iou(model, processor, part, ids, 2) == pytest.approx(expected)
    with pytest.raises(ValueError, match="snow"):
        model_classes(model.config.label2id, {0: "sky", 1: "snow"})
    assert model_classes({"ground": 0}, {0: "Road"}, {"road": "ground"}) == [0]


def test_a_query_that_says_no_object_is_not_counted_among_a_sets_classes(united):
    """Two queries: road everywhere, and on the road's half one that would be sky if it were anything."""

    class Head(torch.nn.Module):
        def forward(self, maps):
            left = torch.where(torch.arange(16) < 8, 8.0, -8.0).expand(16, 16)
            return SimpleNamespace(
                mask_embeddings=[torch.eye(2)[None]],  # (B, Q, C)
                pixel_embedding=torch.stack([torch.full((16, 16), 8.0), left])[None],  # (B, C, h, w)
                # road, sky, grass, tree, no object
                class_logits=[torch.tensor([[[1.0, 0.0, -9.0, -9.0, -9.0], [-9.0, 3.0, -9.0, -9.0, 6.0]]])],
                valid_queries=None,
            )

    _, overrides = united
    arguments = load_recipe("unisegformer-tiny-shapes-pretraining", overrides)
    task = build_task(arguments)
    dataset = task.build_dataset(arguments.data.train)
    model = task.build_model(dataset).eval()
    processor = task.build_processor(model).image_processor
    model.mask_head = Head()
    with torch.no_grad():
        found = held_out_mean_iou(model, processor, dataset.segments.parts["street"], [0, 1], 2)
    assert found == pytest.approx(100 * 0.5 / 2)  # all is road; were the second query sky, nothing would be right


@pytest.mark.parametrize(
    "change, message",
    [
        ("data.train.segments=[{path: a}]", r"segments\[0\] needs a reader"),
        ("data.train.segments=[a]", r"segments\[0\] is 'a'"),
        ("data.train.pairs=[{reader: shapes}]", "Only segments may be a list"),
        ("data.train.aliases={road: sky, snow: sky}", "snow"),
    ],
)
def test_lists_that_cannot_be_read(united, change, message):
    arguments = load_recipe("unisegformer-tiny-shapes-pretraining", [*united[1], change])
    with pytest.raises(ValueError, match=message):
        build_task(arguments).build_dataset(arguments.data.train)
