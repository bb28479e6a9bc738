# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg.train`: builds model and data from a recipe and runs the one training loop.

What a recipe can say: `hfseg.training.arguments`; data, evaluation and saving by task: `hfseg.training.tasks`; several
optimizers: `hfseg.training.phases`; adapters: `hfseg.training.adapters`; streams: `hfseg.training.stream`.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import set_seed

from accelerate import Accelerator

from .adapters import adapted_modules, add_adapters, merge_adapters, save_adapter, save_pipeline_adapter
from .arguments import TrainingArguments, load_recipe
from .checkpointing import refuse_other_run
from .choices import choose
from .dry_run import dry_run as describe_run
from .loop import create_accelerator
from .loop import train as run_loop
from .model_card import model_card
from .own_data import fit_warm_up, with_folder
from .stream import is_stream
from .tasks import build_task

__all__ = ["train"]

OWN_RECIPE = "recipe.yaml"


def train(
    recipe: str | os.PathLike[str] | TrainingArguments | None = None,
    *overrides: str,
    output_dir: str | os.PathLike[str] | None = None,
    data: str | os.PathLike[str] | None = None,
    resume_from_checkpoint: str | None = None,
    dry_run: bool = False,
    command: str | None = None,
    allow_changed_data: bool = False,
) -> Path | None:
    """Trains a model from a recipe: its stages one after the other, or the recipe itself.

    The output folder is a `from_pretrained` folder with processor, `metrics.json`, `training_args.json` and a filled
    model card. In `torchrun` or `accelerate launch`, all processes call this.

    Args:
        recipe: Name of a packaged recipe, path of a YAML file, or the arguments themselves. None chooses one for
            `data`, with sizes, batch, learning rate and length from the data and the machine (`training.choices`);
            says what was chosen and why; and leaves it as `recipe.yaml` in the output folder.
        *overrides: Changes of the recipe, `section.key=value`, values as YAML.
        output_dir: Folder of checkpoints and of the trained model.
        data: Folder of your images and labels, or id of a dataset on the Hub, in place of the recipe's data.
        resume_from_checkpoint: "latest", or the folder of a checkpoint.
        dry_run: Prints what would be done (groups, shapes, memory) and trains nothing.
        command: Recorded in the model card; default: this call.
        allow_changed_data: Resume although the training data are not those the run began with.

    Returns:
        The output folder; None of a dry run.

    Raises:
        FileNotFoundError, ValueError: The recipe, an override or the data are not right.

    Example:
        >>> import hfseg
        >>> hfseg.train("proscale-tiny-shapes", "run.max_steps=500", output_dir="model")  # doctest: +SKIP
    """
    if output_dir is None and not dry_run:
        raise ValueError("output_dir is missing: name the folder of the trained model (or dry_run).")
    folder, said = None if output_dir is None else Path(output_dir), list[str]()
    if recipe is None:
        arguments, said = _chosen(data, overrides, folder, resume_from_checkpoint)
    elif isinstance(recipe, TrainingArguments):
        if overrides or data is not None:
            raise ValueError("overrides change a recipe by its name or file; change the arguments themselves.")
        arguments = recipe
    else:
        changes = list(overrides)
        if data is not None:
            changes = [*with_folder(load_recipe(os.fspath(recipe)), os.fspath(data)), *changes]
        arguments = load_recipe(os.fspath(recipe), changes)
        fit_warm_up(arguments, overrides)
    if command is None:
        called = os.fspath(recipe) if isinstance(recipe, (str, os.PathLike)) else repr(recipe)
        command = f"hfseg.train({called if recipe is not None or data is None else f'data={os.fspath(data)!r}'})"
    stages = arguments.stage_arguments()
    precision = arguments.run.mixed_precision
    if dry_run and precision == "fp16" and not torch.cuda.is_available():
        precision = None  # a recipe for a GPU can be looked at without one
    accelerator = create_accelerator(
        dataclasses.replace(arguments.run, mixed_precision=precision),
        folder,
        several_phases=any(len(stage.phases) > 1 for _, stage in stages),
    )
    for line in said:
        accelerator.print(line)
    if dry_run or folder is None:
        show(stages, accelerator)
        return None
    if recipe is None and resume_from_checkpoint is None:
        refuse_other_run(folder)
        if accelerator.is_main_process:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / OWN_RECIPE).write_text(arguments.to_yaml(), encoding="utf-8")
    run_stages(stages, folder, accelerator, resume_from_checkpoint, command, allow_changed_data)
    accelerator.print(f"The trained model is in {folder}.")
    return folder


def _chosen(
    data: str | os.PathLike[str] | None, overrides: Sequence[str], folder: Path | None, resume: str | None
) -> tuple[TrainingArguments, list[str]]:
    """The arguments of a run without a recipe, and what is said about them; a resumed run keeps those that it has.

    Raises:
        ValueError: There are no data to choose for, or they are not those of the run to go on with.
    """
    if resume is not None and folder is not None and (folder / OWN_RECIPE).is_file():
        arguments = load_recipe(folder / OWN_RECIPE, overrides)
        before = str(arguments.data.train.get("path", arguments.data.train.get("root")))
        if data is not None and os.path.abspath(before) != os.path.abspath(data):
            raise ValueError(
                f"{folder} was begun with the data {before}, but --data is {os.fspath(data)}: leave --data out to "
                "go on, or give another --output_dir."
            )
        return arguments, [f"Goes on with {folder / OWN_RECIPE}."]
    if data is None:
        raise ValueError(
            "Name a recipe (hfseg list recipes), or give a folder of your images and labels (--data FOLDER): one is "
            "chosen for it."
        )
    choice = choose(os.fspath(data), overrides)
    return load_recipe(choice.recipe, [*choice.changes, *overrides]), choice.lines


def run_stages(
    stages: Sequence[tuple[str, TrainingArguments]],
    output_dir: Path,
    accelerator: Accelerator,
    resume: str | None,
    command: str,
    allow_changed_data: bool = False,
) -> None:
    """Runs stages, each from the output of the one before.

    Raises:
        ValueError: A single stage's checkpoint is to be resumed.
    """
    if len(stages) > 1 and resume not in (None, "latest"):
        raise ValueError(f"resume_from_checkpoint is {resume!r}; a recipe with stages resumes by `latest` only.")
    previous: Path | None = None
    for number, (name, stage) in enumerate(stages, start=1):
        last = number == len(stages)
        folder = output_dir if last else output_dir / f"stage-{number}-{name}"
        if previous is not None and stage.model.pretrained is None:
            stage.model.pretrained, stage.model.backbone = str(previous), None  # whose weights the first stage took
        previous = folder
        if len(stages) > 1:
            stage.run.project = f"{stage.run.project}-{name}"
            accelerator.print(f"Stage {number} of {len(stages)}: {name}")
        if not last and resume is not None and (folder / "metrics.json").is_file():
            accelerator.print(f"{folder} is complete.")
            continue
        run_stage(stage, folder, accelerator, resume, command, allow_changed_data)
        accelerator.free_memory()


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
        accelerator.print(describe_run(model, dataset, collate, stage, ranks=accelerator.num_processes))


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
    adapted = adapted_modules(model, lora, backbone_names) if lora is not None else []
    adapters = add_adapters(model, lora, backbone_names) if lora is not None else None
    processor = task.build_processor(model)
    collate = task.build_collator(dataset, model, processor)
    validation = task.build_validation_dataset()
    evaluate = overlays = None
    if validation is not None:
        task.check_validation(validation, processor)
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

    result = run_loop(
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
            image="examples.png" if (folder / "examples.png").is_file() else None,
            adapter=None if lora is None else f"LoRA of rank {lora.r} in {', '.join(adapted)}",
        )
        card.save(folder / "README.md")
    accelerator.wait_for_everyone()
