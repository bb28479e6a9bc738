# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg train`: builds model and data from a recipe and runs the one training loop.

accelerate launch scripts/train.py --recipe NAME_OR_FILE [section.key=value ...] --output_dir DIR
    [--resume_from_checkpoint latest] [--dry_run]
"""

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from accelerate.utils import set_seed

import hfseg  # noqa: F401  registers the zoo with the Auto classes
from hfseg.training import TrainingArguments, load_recipe, train
from hfseg.training.arguments import DataArguments, recipe_names
from hfseg.training.checkpointing import CheckpointError
from hfseg.training.dry_run import dry_run
from hfseg.training.loop import NonFiniteLossError, create_accelerator
from hfseg.training.sampler import SampleError
from hfseg.training.tasks import Task, build_task
from hfseg.training.tasks.base import build_image_processor, build_model, build_transforms

# The pieces of a recipe, for other commands.
__all__ = ["build_dataset", "build_image_processor", "build_model", "build_transforms", "main", "run"]


def build_dataset(arguments: DataArguments, spec: Mapping[str, Any]) -> Any:
    """Builds a data set by its reader's arguments, as `Task.build_dataset` of the general tasks."""
    return Task(TrainingArguments(data=arguments)).build_dataset(spec)


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
    task = build_task(arguments)
    train_dataset = task.build_dataset(arguments.data.train)
    model = task.build_model(train_dataset, load_backbone=not options.dry_run)
    processor = task.build_processor(model)
    collate = task.build_collator(train_dataset, model, processor)
    if options.dry_run:
        if accelerator.is_main_process:
            print(dry_run(model, train_dataset, collate, arguments, ranks=accelerator.num_processes))
        return
    validation = task.build_validation_dataset()
    evaluate = None
    if validation is not None:
        validation_collate = task.build_collator(validation, model, processor, training=False)

        def evaluate(model: torch.nn.Module) -> dict[str, float]:
            return task.evaluate(model, processor, validation, validation_collate, accelerator)

    train(
        model,
        train_dataset,
        collate,
        arguments,
        output_dir=options.output_dir,
        evaluate_fn=evaluate,
        image_processor=processor,
        loss_normalizer=None if hasattr(model, "loss_normalizer") else task.loss_normalizer(model),
        save_fn=task.save,
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
