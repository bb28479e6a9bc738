# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg.from_recipe`: the model of a recipe in one line, without its data."""

import dataclasses
from typing import Any

from transformers import CONFIG_MAPPING, PreTrainedModel

from ..files.label_names import known_labels
from .arguments import TrainingArguments, load_recipe
from .tasks import build_task

__all__ = ["from_recipe"]

# Number of classes of the official datasets, which are not here when a model is built.
NUM_LABELS = {
    "coco_panoptic": 133,
    "coco_instance": 80,
    "coco_stuff": 171,
    "cityscapes_semantic": 19,
    "cityscapes_panoptic": 19,
    "cityscapes_instance": 8,
    "ade20k_semantic": 150,
    "ade20k_panoptic": 150,
    "ade20k_instance": 100,
    "ade20k_full": 847,
    "pascal_voc": 21,
    "pascal_voc_instance": 20,
    "pascal_context_59": 59,
    "pascal_context_459": 459,
    "camvid": 11,
}


@dataclasses.dataclass
class _Classes:
    """What a model learns of a dataset when it is built."""

    id2label: dict[int, str] | None = None
    stuff_class_ids: list[int] | None = None


def from_recipe(name: str, *, load_backbone: bool = False, **config: Any) -> PreTrainedModel:
    """Builds the model of a published variant, or of any recipe, randomly initialized.

    Args:
        name: Packaged recipe (`hfseg list recipes`) or YAML file. Of several stages the last one's model is built.
        load_backbone: Whether the pretrained weights of the backbone that the recipe names are loaded.
        **config: Fields of the model's configuration that differ.

    Returns:
        The model, with the number of classes of the recipe's dataset, as far as it is known without the data.

    Raises:
        FileNotFoundError, ValueError: There is no such recipe, or a field does not fit.

    Example:
        >>> import hfseg
        >>> model = hfseg.from_recipe("proscale-tiny-shapes", decoder_layers=1)
        >>> type(model).__name__
        'ProScaleForUniversalSegmentation'
    """
    _, arguments = load_recipe(name).stage_arguments()[-1]
    arguments.model.config = {**arguments.model.config, **config}
    arguments.model.config.pop("fit_images", None)  # of an autoencoder that is fitted to the data
    arguments.model.pretrained = None
    if not load_backbone:
        arguments.model.backbone = None
    model_type = arguments.model.model_type
    if model_type is not None and model_type in CONFIG_MAPPING:
        legal = getattr(CONFIG_MAPPING[model_type], "__dataclass_fields__", None)
        foreign = [key for key in config if legal is not None and key not in legal]
        if foreign:
            raise ValueError(f"The configuration of {arguments.model.model_type} has no {', '.join(foreign)}.")
    task = build_task(arguments)
    model: Any = task.inner(task.build_model(_classes(arguments, task), load_backbone))
    return model.pipeline() if hasattr(model, "pipeline") and not isinstance(model, PreTrainedModel) else model


def _classes(arguments: TrainingArguments, task: Any) -> Any:
    """Classes of the recipe's data: of embedded scenes themselves, of official data by their number."""
    data = arguments.data
    if data.name in ("shapes", "referring_shapes"):
        return task.build_dataset({**data.train, "num_scenes": 1})
    if data.name in ("medical", "medical_mixture") and "id2label" in data.train:
        return _Classes({int(key): str(label) for key, label in data.train["id2label"].items()})
    number = NUM_LABELS.get(str(data.train.get("name")))
    return _Classes() if number is None else _Classes(*known_labels(number))
