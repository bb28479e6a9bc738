# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Fine-tunes an instance segmentation model with transformers' Trainer, in one file to copy and change.

    python scripts/examples/run_instance_segmentation.py --model_name_or_path proscale-tiny-nuclei --dataset cells \
        --crop_size 192 192 --output_dir model --max_steps 500 --learning_rate 1e-3 --eval_strategy steps

`--dataset` takes a folder of images and object maps or a COCO json, a dataset on the Hub, an official layout or
`shapes`; all options of `TrainingArguments` hold. AP needs the extra `coco`. `hfseg train` does the same by a recipe.
"""

import logging
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    AutoImageProcessor,
    AutoModelForUniversalSegmentation,
    EvalPrediction,
    HfArgumentParser,
    Trainer,
    TrainingArguments,
)
from transformers.utils import ModelOutput

import hfseg
from hfseg.data import RandomShortSide, TableDataset, UniversalCollator, instance_training_transforms
from hfseg.metrics import MaskAP
from hfseg.tasks import pretrained_source


@dataclass
class ModelArguments:
    """Which model to start from."""

    model_name_or_path: str = field(
        default="proscale-tiny-shapes", metadata={"help": "shipped model (`hfseg list`), folder, or id on the Hub"}
    )


@dataclass
class DataArguments:
    """What to learn from."""

    dataset: str = field(default="shapes:num_scenes=64", metadata={"help": "specification, see `hfseg.data.specs`"})
    train_split: str = field(default="train", metadata={"help": "split to learn from"})
    validation_split: str = field(default="validation", metadata={"help": "split to evaluate on"})
    crop_size: list[int] = field(default_factory=lambda: [96, 96], metadata={"help": "height and width of the crops"})
    scale_range: list[float] = field(
        default_factory=lambda: [0.75, 1.5], metadata={"help": "smallest and largest scale of images to the crop"}
    )


class Evaluator:
    """COCO's average precision of masks, over batches.

    Args:
        image_processor: Of the model, for its post-processing.
        id2label: Name of every class.
        stuff_class_ids: Classes that have no instances.
    """

    def __init__(self, image_processor: Any, id2label: dict[int, str], stuff_class_ids: tuple[int, ...]) -> None:
        self.image_processor = image_processor
        self.metric = MaskAP(id2label, stuff_class_ids=stuff_class_ids)

    def __call__(self, batch: EvalPrediction, compute_result: bool = False) -> dict[str, float]:
        """Adds a batch; returns the numbers, in percent, with the last one."""
        class_logits, mask_logits = (torch.as_tensor(values) for values in batch.predictions[:2])
        outputs = ModelOutput(class_queries_logits=class_logits, masks_queries_logits=mask_logits)
        maps, classes = batch.label_ids
        sizes = [tuple(id_map.shape[-2:]) for id_map in maps]
        results = self.image_processor.post_process_instance_segmentation(outputs, target_sizes=sizes)
        for result, id_map, class_of in zip(results, maps, classes):
            found = [
                {"segmentation": mask, "category_id": segment["label_id"], "score": segment["score"]}
                for mask, segment in zip(result.run_length_masks(compressed=True), result["segments_info"])
            ]
            true = [
                {"id": number, "category_id": int(label)}
                for number, label in enumerate(class_of, start=1)
                if label >= 0
            ]
            self.metric.add(prediction=found, reference={"segmentation": np.asarray(id_map), "segments_info": true})
        if not compute_result:
            return {}
        result = self.metric.compute()
        return {name: result[name] for name in ("ap", "ap50", "ap75")}


class InstanceTrainer(Trainer):
    """A Trainer that leaves out the augmentation when it evaluates, and gathers labels as tensors.

    A list of tensors would be cut one by one in a last batch that is not full.

    Args:
        evaluation_collator: Of validation samples.
        **arguments: Of `Trainer`.
    """

    def __init__(self, evaluation_collator: UniversalCollator, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.evaluation_collator = evaluation_collator

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        """Batches of the validation split, without augmentation."""
        training_collator, self.data_collator = self.data_collator, self.evaluation_collator
        try:
            return super().get_eval_dataloader(eval_dataset)
        finally:
            self.data_collator = training_collator

    def prediction_step(self, *arguments: Any, **options: Any) -> tuple[Any, Any, Any]:
        """Loss, outputs, and maps (B, H, W) with classes (B, N), which are -100 behind the last object."""
        loss, outputs, labels = super().prediction_step(*arguments, **options)
        maps, classes = labels
        return loss, outputs, (torch.stack(tuple(maps)), pad_sequence(tuple(classes), True, -100))


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
    model = AutoModelForUniversalSegmentation.from_pretrained(
        checkpoint, id2label=train.id2label, label2id=train.label2id, ignore_mismatched_sizes=True
    )
    stuff = train.stuff_class_ids
    image_processor = AutoImageProcessor.from_pretrained(checkpoint, label_ids_to_fuse=list(stuff))

    height, width = data_arguments.crop_size
    settings = {
        "num_labels": len(train.id2label),
        "image_mean": image_processor.image_mean,
        "image_std": image_processor.image_std,
        "task_mixture": {"instance": 1.0},  # stuff is background
        "stuff_class_ids": stuff,
    }
    smallest, largest = data_arguments.scale_range
    augmentation = instance_training_transforms((height, width), (smallest, largest))
    trainer = InstanceTrainer(
        UniversalCollator(validation.ignore_index, RandomShortSide([height]), **settings),
        model=model,
        args=training_arguments,
        train_dataset=train,
        eval_dataset=validation,
        data_collator=UniversalCollator(train.ignore_index, augmentation, **settings),
        processing_class=image_processor,
        compute_metrics=Evaluator(image_processor, train.id2label, stuff),
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
