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
    # The processor of a model with two heads is saved for one of them.
    form = {"class_map_labels": True} if name == "unisegformer_semantic" else {}
    image_processor = AutoImageProcessor.from_pretrained(folder, size={"height": 64, "width": 64}, **form)
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
    image_processor = AutoImageProcessor.from_pretrained(
        folder, do_resize=True, size={"height": 64, "width": 64}, binary_mask_labels=True
    )
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


def test_binary_targets_are_the_id_map_apart(zoo):
    folder = model_folder("proscale", zoo)
    image, class_map = next(scenes(1))
    processor = AutoImageProcessor.from_pretrained(folder)
    table = {1: 0, 2: 1}
    maps = processor(image, class_map, table, return_tensors="pt")["mask_labels"][0]
    masks = processor(image, class_map, table, binary_mask_labels=True, return_tensors="pt")["mask_labels"][0]
    assert torch.equal(masks, torch.stack([maps == 1, maps == 2]))


@pytest.mark.parametrize("row", auto.ARCHITECTURES, ids=lambda row: row.model_type)
def test_predictions_hold_no_dictionary(row):
    if row.config is not None:
        keys = auto.load(row.config).keys_to_ignore_at_inference
        assert {"loss_dict", "hidden_states", "attentions"} <= set(keys)
