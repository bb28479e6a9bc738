# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Fine-tuning with `transformers.Trainer` and `compute_metrics`, as the Hugging Face guides for segmentation do it."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset
from transformers import (
    AutoImageProcessor,
    AutoModelForSemanticSegmentation,
    AutoModelForUniversalSegmentation,
    Trainer,
    TrainingArguments,
)
from transformers.image_processing_utils import BatchFeature
from transformers.trainer_utils import EvalPrediction
from transformers.utils import ModelOutput

from hfseg import auto
from tiny_zoo import model_folder

LABELS = {0: "background", 1: "square", 2: "disc"}


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    return tmp_path_factory.mktemp("zoo")


def scenes(count):
    """Images with a square and a disc, class maps and instance maps."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64]
    for _ in range(count):
        image = rng.integers(0, 60, (64, 64, 3), dtype=np.uint8)
        top, left, row, column = rng.integers(4, 30, 4)
        square = (y >= top) & (y < top + 20) & (x >= left) & (x < left + 20)
        disc = ((y - row - 25) ** 2 + (x - column - 25) ** 2 < 90) & ~square
        image[square, 0], image[disc, 1] = 255, 255
        yield image, (square * 1 + disc * 2).astype(np.uint8)


class Scenes(Dataset):
    """Prepared examples, as `dataset.set_transform` gives them."""

    def __init__(self, prepare, count=4):
        self.examples = [prepare(*scene) for scene in scenes(count)]

    def __len__(self):
        return len(self.examples)

    def __getitem__(self, index):
        return self.examples[index]


def arguments(folder, **changes):
    return TrainingArguments(
        output_dir=str(folder),
        learning_rate=6e-5,
        max_steps=2,
        per_device_train_batch_size=2,
        per_device_eval_batch_size=2,
        eval_strategy="steps",
        eval_steps=2,
        save_strategy="no",
        logging_steps=1,
        remove_unused_columns=False,
        report_to="none",
        use_cpu=True,
        **changes,
    )


@pytest.mark.parametrize("name", ["vpnext", "unisegformer_semantic", "meddensevit"])
def test_the_guide_for_semantic_segmentation(name, zoo, tmp_path):
    folder = model_folder(name, zoo)
    image_processor = AutoImageProcessor.from_pretrained(folder, size={"height": 64, "width": 64})
    model = AutoModelForSemanticSegmentation.from_pretrained(
        folder,
        id2label=LABELS,
        label2id={label: index for index, label in LABELS.items()},
        ignore_mismatched_sizes=True,
    )

    def prepare(image, class_map):
        batch = image_processor(image, class_map, return_tensors="pt")
        return {"pixel_values": batch["pixel_values"][0], "labels": batch["labels"][0]}

    shapes = []

    def compute_metrics(eval_pred):
        logits, labels = eval_pred
        shapes.append((logits.shape, labels.shape))
        scaled = nn.functional.interpolate(
            torch.from_numpy(logits), size=labels.shape[-2:], mode="bilinear", align_corners=False
        )
        return {"pixel_accuracy": float((scaled.argmax(dim=1).numpy() == labels).mean())}

    data = Scenes(prepare)
    trainer = Trainer(
        model=model,
        args=arguments(tmp_path),
        train_dataset=data,
        eval_dataset=data,
        compute_metrics=compute_metrics,
    )
    trainer.train()
    ((logits, labels),) = shapes
    assert logits[:2] == (4, 3) and labels == (4, 64, 64)
    assert 0 <= trainer.evaluate()["eval_pixel_accuracy"] <= 1


class InstanceEvaluator:
    """Mean average precision over batches, of predictions in transformers' form."""

    def __init__(self, image_processor, id2label, threshold=0.0):
        from torchmetrics.detection.mean_ap import MeanAveragePrecision

        self.image_processor, self.id2label, self.threshold = image_processor, id2label, threshold
        self.metric = MeanAveragePrecision(iou_type="segm", class_metrics=True)
        self.seen = 0

    @torch.no_grad()
    def __call__(self, evaluation_results: EvalPrediction, compute_result: bool = False):
        predictions, (batch_masks, batch_labels) = evaluation_results.predictions, evaluation_results.label_ids
        targets = [
            {"masks": masks.to(torch.bool), "labels": labels} for masks, labels in zip(batch_masks, batch_labels)
        ]
        sizes = [target["masks"].shape[-2:] for target in targets]
        outputs = ModelOutput(class_queries_logits=predictions[0], masks_queries_logits=predictions[1])
        found = []
        for result, size in zip(
            self.image_processor.post_process_instance_segmentation(
                outputs, threshold=self.threshold, target_sizes=sizes, return_binary_maps=True
            ),
            sizes,
        ):
            segments = result["segments_info"]
            masks = result["segmentation"].to(torch.bool) if segments else torch.zeros((0, *size), dtype=torch.bool)
            found.append(
                {
                    "masks": masks,
                    "labels": torch.tensor([segment["label_id"] for segment in segments], dtype=torch.long),
                    "scores": torch.tensor([segment["score"] for segment in segments]),
                }
            )
        self.seen += len(found)
        self.metric.update(found, targets)
        return {"map": self.metric.compute()["map"].item()} if compute_result else {}


@pytest.mark.parametrize("name", ["proscale", "unisegformer"])
def test_the_guide_for_instance_segmentation(name, zoo, tmp_path):
    pytest.importorskip("torchmetrics")
    folder = model_folder(name, zoo)
    image_processor = AutoImageProcessor.from_pretrained(folder, do_resize=True, size={"height": 64, "width": 64})
    model = AutoModelForUniversalSegmentation.from_pretrained(
        folder,
        id2label={0: "square", 1: "disc"},
        label2id={"square": 0, "disc": 1},
        ignore_mismatched_sizes=True,
    )

    def prepare(image, class_map):
        # Instance ids that no table names (here 0) are void.
        inputs = image_processor(
            images=[image],
            segmentation_maps=[class_map],
            instance_id_to_semantic_id={1: 0, 2: 1},
            return_tensors="pt",
        )
        assert isinstance(inputs, BatchFeature)
        return {
            "pixel_values": inputs.pixel_values[0],
            "mask_labels": inputs.mask_labels[0],
            "class_labels": inputs.class_labels[0],
        }

    def collate(examples):
        return {
            "pixel_values": torch.stack([example["pixel_values"] for example in examples]),
            "class_labels": [example["class_labels"] for example in examples],
            "mask_labels": [example["mask_labels"] for example in examples],
        }

    data = Scenes(prepare)
    assert data[0]["mask_labels"].shape == (2, 64, 64) and data[0]["mask_labels"].dtype == torch.bool
    evaluator = InstanceEvaluator(image_processor, model.config.id2label)
    trainer = Trainer(
        model=model,
        args=arguments(tmp_path, eval_do_concat_batches=False, batch_eval_metrics=True),
        train_dataset=data,
        eval_dataset=data,
        data_collator=collate,
        compute_metrics=evaluator,
    )
    trainer.train()
    assert evaluator.seen == 4
    assert -1 <= trainer.evaluate()["eval_map"] <= 1


def tables(kind):
    """Tables of `datasets` with the columns of the guides; sizes differ from image to image."""
    datasets = pytest.importorskip("datasets")
    from PIL import Image

    rows = {"image": [], "annotation": [], "scene_category": []}
    for number, (image, class_map) in enumerate(scenes(6)):
        height, width = 64 - 4 * (number % 2), 60 + 2 * number
        image, class_map = image[:height, :width], class_map[:height, :width]
        # Instance 0 lies where no object is; red is the class, counted from 1, green the instance.
        pair = np.stack([class_map + 1, class_map, np.zeros_like(class_map)], axis=-1)
        rows["image"].append(Image.fromarray(image))
        rows["annotation"].append(Image.fromarray(class_map + 1 if kind == "semantic" else pair))
        rows["scene_category"].append(number)
    features = {"image": datasets.Image(), "annotation": datasets.Image(), "scene_category": datasets.Value("int64")}
    table = datasets.Dataset.from_dict(rows, features=datasets.Features(features))
    return table.train_test_split(test_size=0.34, seed=0)


@pytest.mark.parametrize("backend", ["torchvision", "pil"])
@pytest.mark.parametrize("argument", ["do_reduce_labels", "reduce_labels"])
@pytest.mark.parametrize("name", ["vpnext", "unisegformer_semantic"])
def test_the_semantic_guide_on_a_table(name, argument, backend, zoo, tmp_path):
    """The page of transformers' documentation: `set_transform`, no `return_tensors`, the default collator."""
    checkpoint = model_folder(name, zoo)
    ds = tables("semantic")
    train_ds, test_ds = ds["train"], ds["test"]
    size = {"height": 64, "width": 64}
    image_processor = AutoImageProcessor.from_pretrained(checkpoint, size=size, backend=backend, **{argument: True})
    assert image_processor.do_reduce_labels

    def transforms(example_batch):
        return image_processor(list(example_batch["image"]), list(example_batch["annotation"]))

    train_ds.set_transform(transforms)
    test_ds.set_transform(transforms)
    seen = []

    def compute_metrics(eval_pred):
        with torch.no_grad():
            logits, labels = eval_pred
            logits_tensor = torch.from_numpy(logits)
            logits_tensor = nn.functional.interpolate(
                logits_tensor, size=labels.shape[-2:], mode="bilinear", align_corners=False
            ).argmax(dim=1)
            seen.append(labels)
            return {"mean_accuracy": float((logits_tensor.numpy() == labels).mean())}

    model = AutoModelForSemanticSegmentation.from_pretrained(
        checkpoint,
        id2label=LABELS,
        label2id={label: index for index, label in LABELS.items()},
        ignore_mismatched_sizes=True,
    )
    trainer = Trainer(
        model=model,
        args=arguments(tmp_path, eval_accumulation_steps=1),
        train_dataset=train_ds,
        eval_dataset=test_ds,
        compute_metrics=compute_metrics,
    )
    trainer.train()
    assert "eval_mean_accuracy" in trainer.evaluate()
    assert set(np.unique(seen[0])) <= {0, 1, 2, 255} and {0, 1, 2} <= set(np.unique(seen[0]))
    # The guide's last lines: results at the size of a photo.
    photo = tables("semantic")["test"][0]["image"]
    encoding = image_processor(photo, return_tensors="pt")
    with torch.no_grad():
        outputs = model(pixel_values=encoding.pixel_values)
    assert outputs.logits.shape[:2] == (1, 3)
    (result,) = image_processor.post_process_semantic_segmentation(outputs, target_sizes=[photo.size[::-1]])
    assert result.shape == photo.size[::-1]


@pytest.mark.parametrize("backend", ["torchvision", "pil"])
@pytest.mark.parametrize("reduce", [False, True])
@pytest.mark.parametrize("name", ["proscale", "unisegformer"])
def test_the_instance_script_on_a_table(name, reduce, backend, zoo, tmp_path):
    """`run_instance_segmentation.py`, with a flip in the place of its augmentations."""
    pytest.importorskip("torchmetrics")
    folder = model_folder(name, zoo)
    ds = tables("instance")
    label2id = {"nothing": 0, "background": 1, "square": 2, "disc": 3}
    if reduce:
        label2id = {label: index - 1 for label, index in label2id.items() if index != 0}
    id2label = {index: label for label, index in label2id.items()}
    model = AutoModelForUniversalSegmentation.from_pretrained(
        folder, label2id=label2id, id2label=id2label, ignore_mismatched_sizes=True, token=None
    )
    image_processor = AutoImageProcessor.from_pretrained(
        folder,
        do_resize=True,
        size={"height": 64, "width": 64},
        do_reduce_labels=reduce,
        reduce_labels=reduce,
        token=None,
        backend=backend,
    )

    def transform(image, mask):
        return {"image": image[:, ::-1], "mask": mask[:, ::-1]}  # negative strides, as of flips

    def augment_and_transform_batch(examples):
        batch = {"pixel_values": [], "mask_labels": [], "class_labels": []}
        for pil_image, pil_annotation in zip(examples["image"], examples["annotation"]):
            image = np.array(pil_image)
            semantic_and_instance_masks = np.array(pil_annotation)[..., :2]
            output = transform(image=image, mask=semantic_and_instance_masks)
            aug_image = output["image"]
            aug_semantic_and_instance_masks = output["mask"]
            aug_instance_mask = aug_semantic_and_instance_masks[..., 1]
            pairs = np.unique(aug_semantic_and_instance_masks.reshape(-1, 2), axis=0)
            instance_id_to_semantic_id = {instance_id: semantic_id for semantic_id, instance_id in pairs}
            model_inputs = image_processor(
                images=[aug_image],
                segmentation_maps=[aug_instance_mask],
                instance_id_to_semantic_id=instance_id_to_semantic_id,
                return_tensors="pt",
            )
            batch["pixel_values"].append(model_inputs.pixel_values[0])
            batch["mask_labels"].append(model_inputs.mask_labels[0])
            batch["class_labels"].append(model_inputs.class_labels[0])
        return batch

    def collate_fn(examples):
        batch = {"pixel_values": torch.stack([example["pixel_values"] for example in examples])}
        batch["class_labels"] = [example["class_labels"] for example in examples]
        batch["mask_labels"] = [example["mask_labels"] for example in examples]
        return batch

    # As transformers' own processors have it: instance 0 is void where labels are reduced, else a segment.
    example = augment_and_transform_batch(ds["train"][:1])
    expected = [1, 2] if reduce else [1, 2, 3]
    assert example["class_labels"][0].tolist() == expected
    assert example["mask_labels"][0].shape == (len(expected), 64, 64)
    evaluator = InstanceEvaluator(image_processor, id2label)
    trainer = Trainer(
        model=model,
        args=arguments(tmp_path, eval_do_concat_batches=False, batch_eval_metrics=True),
        train_dataset=ds["train"].with_transform(augment_and_transform_batch),
        eval_dataset=ds["test"].with_transform(augment_and_transform_batch),
        processing_class=image_processor,
        data_collator=collate_fn,
        compute_metrics=evaluator,
    )
    trainer.train()
    trainer.save_model()
    metrics = trainer.evaluate(metric_key_prefix="test")
    assert -1 <= metrics["test_map"] <= 1 and evaluator.seen > 0
    assert AutoModelForUniversalSegmentation.from_pretrained(tmp_path).config.id2label == id2label
    assert AutoImageProcessor.from_pretrained(tmp_path).size == {"height": 64, "width": 64}


def test_targets_go_by_the_head_in_the_folder(zoo):
    image, class_map = next(scenes(1))
    for name, keys in (
        ("unisegformer", {"mask_labels", "class_labels"}),
        ("unisegformer_semantic", {"labels"}),
    ):
        for backend in ("torchvision", "pil"):
            processor = AutoImageProcessor.from_pretrained(model_folder(name, zoo), backend=backend)
            assert processor(image, class_map, return_tensors="pt").keys() == {"pixel_values", *keys}
        given = AutoImageProcessor.from_pretrained(model_folder(name, zoo), class_map_labels=True)
        assert "labels" in given(image, class_map)


def test_binary_targets_are_the_id_map_apart(zoo):
    folder = model_folder("proscale", zoo)
    image, class_map = next(scenes(1))
    processor = AutoImageProcessor.from_pretrained(folder)
    table = {1: 0, 2: 1}
    maps = processor(image, class_map, table, binary_mask_labels=False, return_tensors="pt")["mask_labels"][0]
    masks = processor(image, class_map, table, return_tensors="pt")["mask_labels"][0]
    assert torch.equal(masks, torch.stack([maps == 1, maps == 2]))


@pytest.mark.parametrize("row", auto.ARCHITECTURES, ids=lambda row: row.model_type)
def test_predictions_hold_no_dictionary(row):
    if row.config is not None:
        keys = auto.load(row.config).keys_to_ignore_at_inference
        assert {"loss_dict", "hidden_states", "attentions"} <= set(keys)
