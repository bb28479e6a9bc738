# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg train`: builds model and data from a recipe and runs the one training loop.

accelerate launch scripts/train.py --recipe NAME_OR_FILE [section.key=value ...] --output_dir DIR
    [--resume_from_checkpoint latest] [--dry_run]

The output folder is a `from_pretrained` folder with processor, `metrics.json`, `training_args.json` and a filled model
card. What a recipe can say: `hfseg.training.arguments`; data, evaluation and saving by task: `hfseg.training.tasks`;
several optimisers: `hfseg.training.phases`; adapters: `hfseg.training.adapters`; streams: `hfseg.training.stream`.
"""

import argparse
import dataclasses
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import set_seed

import hfseg  # noqa: F401  registers the zoo with the Auto classes
from accelerate import Accelerator
from hfseg.training import TrainingArguments, load_recipe, train
from hfseg.training.adapters import add_adapters, merge_adapters, save_adapter, save_pipeline_adapter
from hfseg.training.arguments import DataArguments, recipe_names
from hfseg.training.dry_run import dry_run
from hfseg.training.loop import NonFiniteLossError, TrainingStopped, create_accelerator
from hfseg.training.model_card import model_card
from hfseg.training.sampler import SampleError
from hfseg.training.stream import is_stream
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
    parser.add_argument(
        "--data", metavar="FOLDER", help="your pictures and labels: data.train.path, data.validation.path"
    )
    parser.add_argument("--output_dir", help="folder of checkpoints and of the trained model")
    parser.add_argument("--resume_from_checkpoint", metavar="latest|FOLDER", help="go on from a checkpoint")
    parser.add_argument(
        "--allow_changed_data", action="store_true", help="resume although the training data are not those of before"
    )
    parser.add_argument("--dry_run", action="store_true", help="show what would be done: groups, shapes, memory")
    options = parser.parse_intermixed_args(argv)
    if options.output_dir is None and not options.dry_run:
        parser.error("--output_dir is required (or --dry_run)")
    if options.data is not None:
        folder = json.dumps(options.data)
        options.overrides = [f"data.train.path={folder}", f"data.validation.path={folder}", *options.overrides]
    options.command = shlex.join(
        ["accelerate", "launch", "scripts/train.py", *(sys.argv[1:] if argv is None else argv)]
    )
    return options


def run(options: argparse.Namespace) -> None:
    """Carries out one parsed command line: the recipe's stages, or the recipe itself."""
    arguments = load_recipe(options.recipe, options.overrides)
    stages = arguments.stage_arguments()
    precision = arguments.run.mixed_precision
    if options.dry_run and precision == "fp16" and not torch.cuda.is_available():
        precision = None  # a recipe for a GPU can be looked at without one
    accelerator = create_accelerator(
        dataclasses.replace(arguments.run, mixed_precision=precision),
        options.output_dir,
        several_phases=any(len(stage.phases) > 1 for _, stage in stages),
    )
    if options.dry_run:
        show(stages, accelerator)
        return
    resume = options.resume_from_checkpoint
    if len(stages) > 1 and resume not in (None, "latest"):
        raise ValueError(f"--resume_from_checkpoint is {resume!r}; a recipe with stages resumes by `latest` only.")
    previous: Path | None = None
    for number, (name, stage) in enumerate(stages, start=1):
        last = number == len(stages)
        folder = Path(options.output_dir) if last else Path(options.output_dir) / f"stage-{number}-{name}"
        if previous is not None and stage.model.pretrained is None:
            stage.model.pretrained = str(previous)
        previous = folder
        if len(stages) > 1:
            stage.run.project = f"{stage.run.project}-{name}"
            accelerator.print(f"Stage {number} of {len(stages)}: {name}")
        if not last and resume is not None and (folder / "metrics.json").is_file():
            accelerator.print(f"{folder} is complete.")
            continue
        run_stage(stage, folder, accelerator, resume, options.command, options.allow_changed_data)
        accelerator.free_memory()
    accelerator.print(f"The trained model is in {options.output_dir}.")


def show(stages: list[tuple[str, TrainingArguments]], accelerator: Accelerator) -> None:
    """Prints what the stages would do; of all but the first, which need its output, the recipe."""
    for number, (name, stage) in enumerate(stages):
        set_seed(stage.run.seed)
        if number:
            accelerator.print(f"\n# stage {name}, from the output of the stage before\n{stage.to_yaml()}")
            continue
        task = build_task(stage)
        if sheet := task.cost_sheet():  # for machines that are not these: nothing is computed
            accelerator.print(f"# recipe\n{stage.to_yaml()}{sheet}")
            continue
        dataset = task.build_dataset(stage.data.train)
        model = task.build_model(dataset, load_backbone=False)
        if stage.lora is not None:
            add_adapters(model, stage.lora, stage.optimizer.backbone_names)
        collate = task.build_collator(dataset, model, task.build_processor(model))
        accelerator.print(dry_run(model, dataset, collate, stage, ranks=accelerator.num_processes))


def run_stage(
    arguments: TrainingArguments,
    folder: Path,
    accelerator: Accelerator,
    resume: str | None,
    command: str,
    allow_changed_data: bool = False,
) -> None:
    """Trains one recipe and leaves a model folder with processor, metrics and card."""
    set_seed(arguments.run.seed)  # the same initial weights on every rank
    task = build_task(arguments)
    dataset = task.build_dataset(arguments.data.train)
    model = task.build_model(dataset)
    lora, backbone_names = arguments.lora, arguments.optimizer.backbone_names
    adapters = add_adapters(model, lora, backbone_names) if lora is not None else None
    processor = task.build_processor(model)
    collate = task.build_collator(dataset, model, processor)
    validation = task.build_validation_dataset()
    evaluate = overlays = None
    if validation is not None:
        validation_collate = task.build_collator(validation, model, processor, training=False)

        def evaluate(model: torch.nn.Module) -> dict[str, float]:
            return task.evaluate(model, processor, validation, validation_collate, accelerator)

        def overlays(model: torch.nn.Module, count: int) -> Sequence[Any]:
            return task.overlays(model, processor, validation, count)

    def save(model: torch.nn.Module, folder: Path, weights: Mapping[str, torch.Tensor]) -> None:
        if lora is not None:
            if lora.save != "merged":
                base = arguments.model.pretrained
                save_adapter(model, weights, adapters, lora, backbone_names, base, folder / "adapter")
                if task.library_name == "diffusers":
                    save_pipeline_adapter(folder / "adapter")
            weights = merge_adapters(model, weights)
        task.save(model, folder, weights)

    result = train(
        model,
        dataset,
        collate,
        arguments,
        output_dir=folder,
        evaluate_fn=evaluate,
        overlay_fn=overlays,
        image_processor=processor,
        loss_normalizer=None if hasattr(model, "loss_normalizer") else task.loss_normalizer(model),
        save_fn=save,
        resume_from_checkpoint=resume,
        accelerator=accelerator,
        allow_changed_data=allow_changed_data,
    )
    if accelerator.is_main_process:
        card = model_card(
            folder.resolve().name,
            task,
            model,
            result,
            samples=getattr(dataset, "num_samples", None) if is_stream(dataset) else len(dataset),
            held_out=len(validation) if validation is not None else None,
            processes=accelerator.num_processes,
            command=command,
            id2label=getattr(dataset, "id2label", None),
            adapter=None if lora is None else f"LoRA of rank {lora.r} in {', '.join(lora.modules or backbone_names)}",
        )
        card.save(folder / "README.md")
    accelerator.wait_for_everyone()


class Refused(SystemExit):
    """Ends the command with a message and an exit status."""

    def __init__(self, message: str, status: int = 2) -> None:
        super().__init__(status)
        self.message = message

    def __str__(self) -> str:
        return self.message


def main(argv: Sequence[str] | None = None) -> None:
    """Entry of `hfseg train` and `scripts/train.py`.

    User errors end with one line and exit status 2; a run that a signal stopped, with 128 and the signal's number.
    """
    try:
        run(parse(argv))
    except TrainingStopped as stopped:
        print(stopped, file=sys.stderr)
        raise Refused(str(stopped), 128 + stopped.signal_number) from None
    except (ValueError, OSError, ImportError, NonFiniteLossError, SampleError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise Refused(f"error: {error}") from None


if __name__ == "__main__":
    main()
