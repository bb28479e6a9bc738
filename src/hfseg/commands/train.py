# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg train`: builds model and data from a recipe and runs the one training loop.

accelerate launch scripts/train.py --recipe NAME_OR_FILE [section.key=value ...] --output_dir DIR
    [--resume_from_checkpoint latest] [--dry_run]
"""

import argparse
import copy
import dataclasses
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from accelerate.utils import set_seed
from transformers import (
    CONFIG_MAPPING,
    AutoBackbone,
    AutoConfig,
    AutoImageProcessor,
    AutoModelForMaskGeneration,
    AutoModelForPreTraining,
    AutoModelForSemanticSegmentation,
    AutoModelForUniversalSegmentation,
    PreTrainedModel,
)

import hfseg  # noqa: F401  registers the zoo with the Auto classes
from hfseg.data.reading import TolerantDataset
from hfseg.training import TrainingArguments, count_labelled_pixels, load_recipe, train
from hfseg.training.arguments import DataArguments, ModelArguments, recipe_names
from hfseg.training.checkpointing import CheckpointError
from hfseg.training.dry_run import dry_run
from hfseg.training.evaluation import evaluate_loss
from hfseg.training.loop import NonFiniteLossError, create_accelerator
from hfseg.training.sampler import SampleError

AUTO_CLASSES = {
    "universal": AutoModelForUniversalSegmentation,
    "semantic": AutoModelForSemanticSegmentation,
    "mask-generation": AutoModelForMaskGeneration,
    "pretraining": AutoModelForPreTraining,
}
DATASETS = {
    "shapes": "hfseg.data.shapes:ShapesDataset",
    "folder": "hfseg.data.folders:load_folder",
    "official": "hfseg.data.official:load_official",
    "table": "hfseg.data.tables:load_table",
}
TRANSFORMS = {
    "instance": "hfseg.data.transforms:instance_training_transforms",
    "semantic": "hfseg.data.transforms:semantic_training_transforms",
}
COLLATORS = {"universal": "hfseg.data.collation:UniversalCollator"}


def find(name: str, table: Mapping[str, str], what: str) -> Any:
    """Finds a data set or collator by its name in the table, or by `package.module:attribute`.

    Raises:
        ValueError: Neither a known name nor importable.
    """
    module, separator, attribute = table.get(name, name).partition(":")
    if not separator:
        raise ValueError(f"{what} is {name!r}; legal are {', '.join(table)} or `package.module:attribute`.")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{what} is {name!r}, which cannot be imported: {error}") from error


def build_model(
    arguments: ModelArguments,
    id2label: Mapping[int, str] | None = None,
    stuff_class_ids: Sequence[int] | None = None,
    load_backbone: bool = True,
) -> PreTrainedModel:
    """Builds the model of a recipe through the Auto classes, new or from a folder.

    Class names, and which classes are stuff, come from the data unless `arguments.config` has them. Without
    `load_backbone` the weights named by `arguments.backbone` are not read (a dry run needs none).

    Raises:
        ValueError: The architecture is unknown, is another than the folder's, or has no class for the task; the
            backbone's weights cannot be found or belong to another network.
    """
    fields = dict(arguments.config)
    if id2label is not None and "id2label" not in fields:
        fields["id2label"] = {int(key): value for key, value in id2label.items()}
        fields["label2id"] = {value: int(key) for key, value in id2label.items()}
    auto_class = AUTO_CLASSES[arguments.task]
    if arguments.pretrained is not None:
        config_class = type(AutoConfig.from_pretrained(arguments.pretrained))
    elif arguments.model_type is not None and arguments.model_type in CONFIG_MAPPING:
        config_class = CONFIG_MAPPING[arguments.model_type]
    else:
        raise ValueError(
            f"model.model_type is {arguments.model_type!r}; it must be registered with AutoConfig, e.g. proscale or "
            "mask2former. Or set model.pretrained to a folder."
        )
    if stuff_class_ids is not None and hasattr(config_class, "stuff_class_ids"):
        fields.setdefault("stuff_class_ids", list(stuff_class_ids))
    if arguments.pretrained is not None:
        config = AutoConfig.from_pretrained(arguments.pretrained, **fields)
        if arguments.model_type not in (None, config.model_type):
            raise ValueError(
                f"The recipe is for model_type {arguments.model_type!r}, but {arguments.pretrained} holds a "
                f"{config.model_type!r}. Use a recipe of that architecture."
            )
        return auto_class.from_pretrained(arguments.pretrained, config=config, ignore_mismatched_sizes=True)
    model = auto_class.from_config(config_class(**fields))
    if arguments.backbone is not None and load_backbone:
        load_backbone_weights(model, arguments.backbone)
    return model


def load_backbone_weights(model: PreTrainedModel, source: str) -> None:
    """Puts pretrained weights into a model's backbone.

    Norms of the output maps, which a classifier does not have, stay as they are.

    Args:
        model: Model with a `backbone_config` and a module called `backbone`.
        source: Folder or Hub id of a model of that architecture, or `timm` for a timm backbone.

    Raises:
        ValueError: There is no backbone, the weights cannot be found, or they have other names or shapes.
    """
    backbone = getattr(model.base_model, "backbone", None)
    config = copy.deepcopy(getattr(model.config, "backbone_config", None))
    if backbone is None or config is None:
        raise ValueError(f"model.backbone is {source!r}, but {type(model).__name__} has no backbone of its own.")
    missing: Sequence[str] = ()
    try:
        if config.model_type == "timm_backbone":
            config.use_pretrained_backbone = True
            loaded = AutoBackbone.from_config(config)
        else:
            loaded, report = type(backbone).from_pretrained(source, config=config, output_loading_info=True)
            missing = [name for name in report["missing_keys"] if "hidden_states_norms" not in name]
    except (OSError, RuntimeError) as error:
        raise ValueError(
            f"model.backbone is {source!r}, whose weights cannot be read: {error} Give the folder of a "
            f"{config.model_type!r} of the same sizes, or null to start from scratch."
        ) from error
    if missing:
        raise ValueError(
            f"model.backbone is {source!r}, which lacks {len(missing)} tensors of a {config.model_type!r}, e.g. "
            f"{', '.join(sorted(missing)[:3])}. Give a folder of that architecture."
        )
    state = loaded.state_dict()
    backbone.load_state_dict({name: state[name] for name in backbone.state_dict()})


def build_image_processor(arguments: ModelArguments, model: PreTrainedModel) -> Any:
    """Builds the image processor that belongs to the model's architecture, or None if it has none."""
    if arguments.pretrained is not None:
        return AutoImageProcessor.from_pretrained(arguments.pretrained, **arguments.processor)
    try:
        classes = importlib.import_module("transformers.models.auto.image_processing_auto").IMAGE_PROCESSOR_MAPPING
        entry = classes[type(model.config)]
    except KeyError:
        return None
    candidates = entry.values() if isinstance(entry, Mapping) else entry if isinstance(entry, tuple) else (entry,)
    image_processor = next(candidate for candidate in candidates if candidate is not None)
    return image_processor(**arguments.processor)


def build_dataset(arguments: DataArguments, spec: Mapping[str, Any]) -> Any:
    """Builds a data set by its reader's arguments.

    Raises:
        ValueError: Unknown reader or argument.
    """
    return _call(find(arguments.name, DATASETS, "data.name"), spec, {}, f"data.name={arguments.name}")


def build_collator(arguments: DataArguments, offered: Mapping[str, Any]) -> Callable[[list], Mapping[str, Any]]:
    """Builds the collator; what it names among `offered` (transforms, class names, mean, ...) is filled in."""
    made = find(arguments.collate, COLLATORS, "data.collate")
    if not inspect.isclass(made):
        return made
    return _call(made, arguments.collator, offered, f"data.collate={arguments.collate}")


def build_transforms(spec: Mapping[str, Any] | None) -> Any:
    """Builds the augmentation named by `name` with the rest of the mapping as arguments, or None.

    Raises:
        ValueError: `name` is missing or unknown, or an argument is.
    """
    if not spec:
        return None
    if "name" not in spec:
        raise ValueError(f"data.transforms is {dict(spec)}; it needs a `name`, one of {', '.join(TRANSFORMS)}.")
    made = find(spec["name"], TRANSFORMS, "data.transforms.name")
    return _call(
        made, {key: value for key, value in spec.items() if key != "name"}, {}, f"data.transforms {spec['name']}"
    )


def _call(made: Callable, given: Mapping[str, Any], offered: Mapping[str, Any], what: str) -> Any:
    names = inspect.signature(made).parameters
    unknown = sorted(set(given) - set(names))
    if unknown and not any(parameter.kind is parameter.VAR_KEYWORD for parameter in names.values()):
        raise ValueError(f"{what} takes no {', '.join(unknown)}; legal are {', '.join(names)}.")
    return made(**{**{name: value for name, value in offered.items() if name in names}, **given})


def loss_normalizer_of(arguments: TrainingArguments, model: PreTrainedModel) -> Callable | None:
    """Chooses the normaliser for models that define none: labelled pixels for semantic models, else None."""
    if hasattr(model, "loss_normalizer") or arguments.model.task != "semantic":
        return None
    ignore_index = getattr(model.config, "semantic_loss_ignore_index", 255)
    return lambda batch: count_labelled_pixels(batch, ignore_index)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="train", description="Train a segmentation model from a recipe.")
    parser.add_argument("--recipe", required=True, help=f"YAML file or one of: {', '.join(recipe_names()) or '-'}")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="changes of the recipe, as YAML")
    parser.add_argument("--output_dir", help="folder of checkpoints and of the trained model")
    parser.add_argument("--resume_from_checkpoint", metavar="latest|FOLDER", help="go on from a checkpoint")
    parser.add_argument("--dry_run", action="store_true", help="show what would be done: groups, shapes, memory")
    options = parser.parse_intermixed_args(argv)
    if options.output_dir is None and not options.dry_run:
        parser.error("--output_dir is required (or --dry_run)")
    return options


def run(options: argparse.Namespace) -> None:
    """Carries out one parsed command line."""
    arguments = load_recipe(options.recipe, options.overrides)
    precision = arguments.run.mixed_precision
    if options.dry_run and precision == "fp16" and not torch.cuda.is_available():
        precision = None  # a recipe for a GPU can be looked at without one
    accelerator = create_accelerator(dataclasses.replace(arguments.run, mixed_precision=precision), options.output_dir)
    set_seed(arguments.run.seed)  # the same initial weights on every rank
    train_dataset = build_dataset(arguments.data, arguments.data.train)
    id2label = getattr(train_dataset, "id2label", None)
    stuff_class_ids = getattr(train_dataset, "stuff_class_ids", None)
    model = build_model(arguments.model, id2label, stuff_class_ids, load_backbone=not options.dry_run)
    image_processor = build_image_processor(arguments.model, model)
    offered = {
        "num_labels": model.config.num_labels,
        "ignore_index": getattr(train_dataset, "ignore_index", 255),
        "image_processor": image_processor,
        "transforms": build_transforms(arguments.data.transforms),
    }
    for name in ("image_mean", "image_std"):
        if getattr(image_processor, name, None) is not None:
            offered[name] = getattr(image_processor, name)
    collate = build_collator(arguments.data, offered)
    if options.dry_run:
        if accelerator.is_main_process:
            print(dry_run(model, train_dataset, collate, arguments, ranks=accelerator.num_processes))
        return
    count = loss_normalizer_of(arguments, model)
    evaluate = None
    if arguments.data.validation is not None:
        validation = build_dataset(arguments.data, arguments.data.validation)
        if arguments.data.on_error == "skip":
            validation = TolerantDataset(validation, on_error="skip")
        transforms = build_transforms(arguments.data.validation_transforms)
        validation_collate = build_collator(arguments.data, {**offered, "transforms": transforms})

        def evaluate(model: torch.nn.Module) -> dict[str, float]:
            return evaluate_loss(
                model,
                validation,
                validation_collate,
                accelerator=accelerator,
                batch_size=arguments.data.batch_size,
                num_workers=arguments.data.num_workers,
                loss_normalizer=count,
            )

    train(
        model,
        train_dataset,
        collate,
        arguments,
        output_dir=options.output_dir,
        evaluate_fn=evaluate,
        image_processor=image_processor,
        loss_normalizer=count,
        resume_from_checkpoint=options.resume_from_checkpoint,
        accelerator=accelerator,
    )
    accelerator.print(f"The trained model is in {options.output_dir}.")


def main(argv: Sequence[str] | None = None) -> None:
    """Entry of `hfseg train` and `scripts/train.py`; user errors end with one line and exit code 1."""
    try:
        run(parse(argv))
    except (ValueError, FileNotFoundError, CheckpointError, NonFiniteLossError, SampleError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
