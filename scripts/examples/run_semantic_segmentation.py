# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Fine-tunes a semantic segmentation model with transformers' Trainer, in one file to copy and change.

    python scripts/examples/run_semantic_segmentation.py --model_name_or_path vpnext-tiny-shapes --dataset photos \
        --crop_size 96 128 --output_dir model --max_steps 500 --learning_rate 1e-3 --eval_strategy steps

`--dataset` takes a folder of images and label maps, a dataset on the Hub, an official layout or `shapes`; all options
of `TrainingArguments` hold. `hfseg train` does the same by a recipe, with exact resume and several optimizers.
"""

import logging
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import (
    AutoImageProcessor,
    AutoModelForSemanticSegmentation,
    EvalPrediction,
    HfArgumentParser,
    Trainer,
    TrainingArguments,
)

import hfseg
from hfseg.data import RandomShortSide, SemanticCollator, TableDataset, semantic_training_transforms
from hfseg.metrics import MeanIoU
from hfseg.tasks import pretrained_source

VOID = 255  # of labels, in batches
GATHERED = -100  # what Trainer pads with


@dataclass
class ModelArguments:
    """Which model to start from."""

    model_name_or_path: str = field(
        default="vpnext-tiny-shapes", metadata={"help": "shipped model (`hfseg list`), folder, or id on the Hub"}
    )


@dataclass
class DataArguments:
    """What to learn from."""

    dataset: str = field(default="shapes:num_scenes=64", metadata={"help": "specification, see `hfseg.data.specs`"})
    train_split: str = field(default="train", metadata={"help": "split to learn from"})
    validation_split: str = field(default="validation", metadata={"help": "split to evaluate on"})
    crop_size: list[int] = field(default_factory=lambda: [96, 96], metadata={"help": "height and width of the crops"})
    scales: list[float] = field(
        default_factory=lambda: [0.75, 1.0, 1.25, 1.5],
        metadata={"help": "shorter sides of training images, in heights of the crop"},
    )


class Evaluator:
    """Mean IoU over batches: one confusion matrix of all labeled pixels.

    Args:
        id2label: Name of every class.
    """

    def __init__(self, id2label: dict[int, str]) -> None:
        self.metric = MeanIoU(id2label, ignore_index=VOID)

    def __call__(self, batch: EvalPrediction, compute_result: bool = False) -> dict[str, float]:
        """Adds a batch; returns the numbers, in percent, with the last one."""
        for predicted, labels in zip(batch.predictions, batch.label_ids):
            labels = np.where(np.asarray(labels) == GATHERED, VOID, np.asarray(labels))
            self.metric.add(prediction=np.asarray(predicted), reference=labels)
        if not compute_result:
            return {}
        result = self.metric.compute()
        return {name: result[name] for name in ("mean_iou", "mean_accuracy", "pixel_accuracy")}


def class_maps(outputs: tuple | torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Classes at the size of the labels, which need less memory than logits.

    Shape:
        outputs: logits (B, C, h, w), alone or first; labels: (B, H, W); output: (B, H, W).
    """
    logits = outputs[0] if isinstance(outputs, tuple) else outputs
    return nn.functional.interpolate(logits, labels.shape[-2:], mode="bilinear", align_corners=False).argmax(1)


class SemanticTrainer(Trainer):
    """A Trainer that leaves out the augmentation when it evaluates.

    Args:
        evaluation_collator: Of validation samples.
        **arguments: Of `Trainer`.
    """

    def __init__(self, evaluation_collator: SemanticCollator, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.evaluation_collator = evaluation_collator

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        """Batches of the validation split, without augmentation."""
        training_collator, self.data_collator = self.data_collator, self.evaluation_collator
        try:
            return super().get_eval_dataloader(eval_dataset)
        finally:
            self.data_collator = training_collator


def main(words: list[str] | None = None) -> dict[str, float]:
    """Trains, evaluates, saves; returns the numbers of the validation split."""
    parser = HfArgumentParser((ModelArguments, DataArguments, TrainingArguments))
    model_arguments, data_arguments, training_arguments = parser.parse_args_into_dataclasses(words)
    logging.basicConfig(level=logging.INFO)
    # The collator reads the columns, and the evaluator batch after batch, whose sizes differ.
    training_arguments.remove_unused_columns = False
    training_arguments.batch_eval_metrics = True
    training_arguments.eval_do_concat_batches = False

    splits = (data_arguments.train_split, data_arguments.validation_split)
    train, validation = (TableDataset(hfseg.load_dataset(data_arguments.dataset, split)) for split in splits)
    checkpoint = pretrained_source(model_arguments.model_name_or_path)
    image_processor = AutoImageProcessor.from_pretrained(checkpoint)
    model = AutoModelForSemanticSegmentation.from_pretrained(
        checkpoint, id2label=train.id2label, label2id=train.label2id, ignore_mismatched_sizes=True
    )

    height, width = data_arguments.crop_size
    short_sides = [round(scale * height) for scale in data_arguments.scales]
    settings = {
        "num_labels": len(train.id2label),
        "image_mean": image_processor.image_mean,
        "image_std": image_processor.image_std,
        "label_ignore_index": VOID,
    }
    augmentation = semantic_training_transforms((height, width), short_sides)
    trainer = SemanticTrainer(
        SemanticCollator(validation.ignore_index, RandomShortSide([height]), **settings),
        model=model,
        args=training_arguments,
        train_dataset=train,
        eval_dataset=validation,
        data_collator=SemanticCollator(train.ignore_index, augmentation, **settings),
        processing_class=image_processor,
        compute_metrics=Evaluator(train.id2label),
        preprocess_logits_for_metrics=class_maps,
    )
    result = trainer.train(resume_from_checkpoint=training_arguments.resume_from_checkpoint)
    trainer.save_model()
    trainer.save_metrics("train", result.metrics)
    metrics = trainer.evaluate()
    trainer.log_metrics("eval", metrics)
    trainer.save_metrics("eval", metrics)
    return metrics


if __name__ == "__main__":
    main()
