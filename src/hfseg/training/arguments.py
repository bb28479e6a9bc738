# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Recipes: a run described as data, read from YAML, checked strictly, changed by `section.key=value`.

A recipe has the sections of `TrainingArguments`. `base: OTHER` (a recipe's name or a path beside the file) starts from
another recipe; what the file itself says wins. Unknown keys are errors that name the nearest legal spelling.
"""

import dataclasses
import difflib
import math
import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml

from ..metrics.renamed import RENAMED_METRICS


def _check_numbers(section: str, arguments: Any, **rules: str) -> None:
    """Checks the numbers of a section before anything is loaded.

    Args:
        section: Its name in the recipe.
        arguments: The section.
        **rules: Per field `positive`, `not negative`, `share` (0 to 1) or `below one` (0 inclusive to 1 exclusive);
            None passes.

    Raises:
        ValueError: A number is not finite, or outside of its rule.
    """
    for name, rule in rules.items():
        given = getattr(arguments, name)
        for value in given if isinstance(given, (tuple, list)) else (given,):
            if value is None or not isinstance(value, (int, float)):
                continue
            fits = {
                "positive": value > 0,
                "not negative": value >= 0,
                "share": 0 <= value <= 1,
                "below one": 0 <= value < 1,
            }[rule]
            if not fits or not math.isfinite(value):
                wanted = {"share": "between 0 and 1", "below one": "at least 0 and below 1"}.get(rule, rule)
                raise ValueError(f"{section}.{name} is {value}; it must be {wanted}.")


@dataclass
class ModelArguments:
    """What is trained.

    Attributes:
        model_type: Architecture registered with transformers' Auto classes, e.g. `proscale`; built from `config`.
        config: Fields of that architecture's configuration; `id2label` comes from the data unless given here.
            `backbone_config: folder` (or `encoder_config: folder`) is the network whose weights
            `backbone` names.
        pretrained: Folder, shipped model or Hub id to start from instead; `config` then overrides its fields. Given for
            a recipe that does not name it, if only as null, it replaces the recipe's model: the folder brings
            configuration and image processor, of which `model.config.KEY=...` and `model.processor.KEY=...` change
            fields.
        backbone: Weights for the backbone of a model built from `config`: a file, a folder, a Hub id, `timm` for timm's
            own of a timm backbone, or `efficientnet-lite0`, `-lite1`, `-lite2` of the extra `imagenet`. `auto` takes
            `efficientnet-lite0`, network and weights, if it is installed. None starts from scratch. The image
            processor's mean and deviation become those of the weights, unless `processor` gives them.
        task: What is learned: `universal`, `semantic`, `referring`, `image-text`, `mask-generation`, `medical`,
            `in-context`, `pretraining`, another of the architecture's own, or `package.module:Class`; see
            `hfseg.training.tasks`.
        tokenizer: Folder or Hub id of image processor and tokenizer, for tasks with text.
        processor: Arguments of the image processor that is saved with the model.
    """

    model_type: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    pretrained: str | None = None
    backbone: str | None = None
    task: str = "universal"
    tokenizer: str | None = None
    processor: dict[str, Any] = field(default_factory=dict)


@dataclass
class DataArguments:
    """What it is trained on.

    Attributes:
        name: Dataset reader: `shapes` (embedded, procedural), `folder` (images and label PNGs), `official` (public
            datasets as their authors publish them), `table` (parquet files or the Hub), another of the task's, or
            `package.module:attribute` of a reader of your own.
        train: Arguments of the reader for training samples.
        validation: Arguments of the reader for evaluation; None evaluates nothing.
        transforms: Training augmentation: `name` (`instance`, `semantic` or `package.module:attribute`), arguments.
        validation_transforms: Likewise for validation; None leaves images as they are.
        collate: Collator: `auto` (the task's), `universal`, `semantic`, another of the task's, or
            `package.module:attribute`.
        collator: Arguments of the collator.
        batch_size: Samples per process and micro-batch.
        num_workers: Loading processes per training process; any number gives the same samples.
        shuffle: False keeps the dataset's order.
        shuffle_buffer: Samples of a stream that are shuffled among one another (whole datasets are shuffled whole).
        on_error: At an unreadable sample: `stop`, or `skip` it and count it (the next one is read in its place).
    """

    name: str = "shapes"
    train: dict[str, Any] = field(default_factory=dict)
    validation: dict[str, Any] | None = None
    transforms: dict[str, Any] | None = None
    validation_transforms: dict[str, Any] | None = None
    collate: str = "auto"
    collator: dict[str, Any] = field(default_factory=dict)
    batch_size: int = 2
    num_workers: int = 0
    shuffle: bool = True
    shuffle_buffer: int = 256
    on_error: Literal["stop", "skip"] = "stop"

    def __post_init__(self) -> None:
        _check_numbers("data", self, batch_size="positive", num_workers="not negative", shuffle_buffer="positive")


@dataclass
class OptimizerArguments:
    """How weights move.

    Attributes:
        name: `adamw` or `sgd`.
        learning_rate: Peak rate of groups without a multiplier.
        weight_decay: Decoupled for AdamW, L2 for SGD; norms, embeddings and position tables are exempt.
        decay_biases: Whether biases are decayed too.
        betas: AdamW's.
        epsilon: AdamW's.
        momentum: SGD's.
        nesterov: SGD's.
        backbone_multiplier: Factor of the rate for parameters below a module listed in `backbone_names`.
        backbone_names: Names of modules that count as backbone.
        head_names: Parts of names of parameters that move at the full rate though they are below a backbone.
        layer_decay: Factor of the rate per block away from the head; needs a model that defines `layer_depth`.
        clip_norm: Largest global L2 norm of the gradient; None does not clip.
    """

    name: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = 1e-4
    weight_decay: float = 0.05
    decay_biases: bool = True
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    momentum: float = 0.9
    nesterov: bool = False
    backbone_multiplier: float = 1.0
    backbone_names: list[str] = field(default_factory=lambda: ["backbone"])
    head_names: list[str] = field(default_factory=list)
    layer_decay: float | None = None
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        _check_numbers(
            "optimizer",
            self,
            learning_rate="positive",
            weight_decay="not negative",
            betas="below one",
            epsilon="positive",
            momentum="below one",
            backbone_multiplier="not negative",
            layer_decay="positive",
            clip_norm="positive",
        )


@dataclass
class ScheduleArguments:
    """How the learning rate moves; formulas in `optimization.schedule_multiplier`.

    Attributes:
        name: `constant`, `step`, `poly` or `cosine`.
        warmup_steps: Updates of linear warm-up.
        warmup_factor: Factor of the rate at the first update of the warm-up.
        milestones: For `step`: updates (or fractions of the run, below 1) at which the rate falls.
        gamma: For `step`: factor per milestone.
        power: For `poly`.
        floor: For `poly` and `cosine`: the last factor.
        backbone_full_rate_until: Updates (or a fraction of the run, below 1) at whose end `backbone_multiplier` takes
            effect; before, the backbone moves at the full rate.
        decay_from_start: For `poly` and `cosine`: progress counts from update 0, not from the end of the warm-up.
    """

    name: Literal["constant", "step", "poly", "cosine"] = "poly"
    warmup_steps: int = 0
    warmup_factor: float = 0.0
    milestones: list[float] = field(default_factory=list)
    gamma: float = 0.1
    power: float = 0.9
    floor: float = 0.0
    decay_from_start: bool = False
    backbone_full_rate_until: float = 0.0

    def __post_init__(self) -> None:
        _check_numbers(
            "schedule",
            self,
            warmup_steps="not negative",
            warmup_factor="share",
            milestones="positive",
            gamma="positive",
            power="positive",
            floor="share",
            backbone_full_rate_until="not negative",
        )


@dataclass
class PhaseArguments:
    """One of several optimizers of a run, each with weights and a loss of its own; see `hfseg.training.phases`.

    Attributes:
        name: What `forward` gets as `phase=`, e.g. `generator`.
        modules: Names of the modules (or parameters) whose weights it moves.
        optimizer: Changes of the recipe's `optimizer` section for it.
        schedule: Changes of the recipe's `schedule` section; steps are counted in updates of this phase.
        first_step: The first update of the run in which it takes part.
        every: It takes part in every n-th update from there on.
    """

    name: str
    modules: list[str]
    optimizer: dict[str, Any] = field(default_factory=dict)
    schedule: dict[str, Any] = field(default_factory=dict)
    first_step: int = 0
    every: int = 1

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(f"phases: the name {self.name!r} must be a plain word, e.g. discriminator.")
        if not self.modules:
            raise ValueError(f"phases: {self.name} has no modules; list those whose weights it moves.")
        if self.first_step < 0 or self.every < 1:
            raise ValueError(
                f"phases: {self.name} has first_step {self.first_step} and every {self.every}; they must be at least "
                "0 and 1."
            )


@dataclass
class LoraArguments:
    """Low-rank adapters (peft) in the backbone, whose own weights are frozen; see `hfseg.training.adapters`.

    Attributes:
        r: Rank.
        alpha: The adapters' output is scaled by alpha / r.
        dropout: Before the adapters.
        targets: Last parts of the names of the linear layers that get one; None: the projections of attention.
        modules: Modules in which they are looked for; None: `optimizer.backbone_names`, else `adapters.TOWERS`.
        train_rest: Whether what lies outside these modules is trained as usual (a new head must be).
        save: `merged`: a plain model folder, the adapters added to the weights; `adapter`: in the output's `adapter/`,
            in peft's form; or `both`.
    """

    r: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    targets: list[str] | None = None
    modules: list[str] | None = None
    train_rest: bool = True
    save: Literal["merged", "adapter", "both"] = "merged"

    def __post_init__(self) -> None:
        if self.r < 1 or self.alpha <= 0 or not 0 <= self.dropout < 1:
            raise ValueError(
                f"lora: r is {self.r}, alpha {self.alpha}, dropout {self.dropout}; r must be at least 1, alpha "
                "positive, dropout in [0, 1)."
            )


@dataclass
class RunArguments:
    """How the run is carried out.

    Attributes:
        max_steps: Updates of the optimizer. Exactly one of `max_steps` and `epochs` is given.
        epochs: Passes over the data.
        max_seconds: Wall-clock budget of the run (all resumed parts together); the update in progress is finished.
        seed: Seed of weights, order, augmentation and dropout.
        mixed_precision: `no`, `bf16` or `fp16` (with loss scaling); None leaves it to `accelerate launch`.
        gradient_accumulation_steps: Micro-batches per update; exactly equal to the big batch (see `normalization`).
        global_batch_size: Samples of an update that the recipe is made for: processes x `data.batch_size` x
            `gradient_accumulation_steps` must be equal to it. None takes what comes out.
        gradient_checkpointing: Recompute activations in backward.
        compile: `torch.compile` the model.
        channels_last: Keep convolutions' weights and maps with channels last in memory; often faster for convolutional
            models. Sums are added in another order.
        sync_batch_norm: Batch normalization sees the batches of all processes in training, as one big batch.
        find_unused_parameters: DDP's flag, for models of which some weights get no gradient in a step.
        ema_decay: Decay of the weights' moving average, which is then evaluated and saved; None keeps none.
        log_every: Updates between log lines.
        evaluate_every: Updates between evaluations; None evaluates at the end only.
        save_every: Updates between checkpoints; None saves at the end only.
        keep_last: Newest checkpoints that are kept, beside the best.
        evaluation: Arguments of the task's evaluation, e.g. `{tasks: [panoptic], batch_size: 4}`.
        metric: Name of the evaluation's number that says what is best; None keeps no best.
        greater_is_better: Direction of `metric`.
        patience: Evaluations with no better `metric`, but above 0, before the run stops early; None never stops.
        final_weights: Which weights the output folder gets: the `last`, or the `best` by `metric`.
        trackers: Names of accelerate's trackers, e.g. tensorboard, trackio, wandb.
        log_images: Held-out samples that are drawn for the trackers at every evaluation; 0 draws none.
        card_images: Held-out samples that the model card shows, of tasks that draw any; 0 shows none.
        project: The trackers' project name.
    """

    max_steps: int | None = None
    epochs: float | None = None
    max_seconds: float | None = None
    seed: int = 0
    mixed_precision: Literal["no", "bf16", "fp16"] | None = None
    gradient_accumulation_steps: int = 1
    global_batch_size: int | None = None
    gradient_checkpointing: bool = False
    compile: bool = False
    channels_last: bool = False
    sync_batch_norm: bool = False
    find_unused_parameters: bool = False
    ema_decay: float | None = None
    log_every: int = 10
    evaluate_every: int | None = None
    save_every: int | None = None
    keep_last: int = 2
    evaluation: dict[str, Any] = field(default_factory=dict)
    metric: str | None = None
    greater_is_better: bool = True
    patience: int | None = None
    final_weights: Literal["last", "best"] = "last"
    trackers: list[str] = field(default_factory=list)
    log_images: int = 4
    card_images: int = 2
    project: str = "hfseg"

    def __post_init__(self) -> None:
        for name in (
            "max_steps",
            "gradient_accumulation_steps",
            "global_batch_size",
            "log_every",
            "evaluate_every",
            "save_every",
            "keep_last",
        ):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"run.{name} is {value}; it must be at least 1.")
        _check_numbers(
            "run", self, epochs="positive", max_seconds="positive", ema_decay="below one", patience="positive"
        )
        if self.metric in RENAMED_METRICS:
            raise ValueError(f"run.metric {self.metric!r} is called {RENAMED_METRICS[self.metric]!r} now.")
        if (self.patience is not None or self.final_weights == "best") and self.metric is None:
            raise ValueError(
                "run.patience and run.final_weights=best need run.metric, the number that says what is best."
            )

    def check_global_batch(self, batch_size: int, processes: int) -> None:
        """Compares the samples of an update with `global_batch_size`.

        Args:
            batch_size: Samples per process and micro-batch (`data.batch_size`).
            processes: Processes of the run.

        Raises:
            ValueError: They differ; says what to set.
        """
        wanted, given = self.global_batch_size, batch_size * processes * self.gradient_accumulation_steps
        if wanted is None or wanted == given:
            return
        fits = wanted % (batch_size * processes) == 0
        steps = wanted // (batch_size * processes)
        remedy = f"set run.gradient_accumulation_steps={steps}" if fits else "choose sizes whose product it is"
        raise ValueError(
            f"An update would see {given} samples ({processes} process(es) x data.batch_size={batch_size} x "
            f"run.gradient_accumulation_steps={self.gradient_accumulation_steps}), the recipe is made for "
            f"run.global_batch_size={wanted}: {remedy}, or set run.global_batch_size=null to train with another batch."
        )


@dataclass
class TrainingArguments:
    """One run: the sections of a recipe.

    Attributes:
        model, data, optimizer, schedule, run: See there.
        lora: Trains adapters in the backbone; None trains all weights.
        phases: Several optimizers, each with its own weights and loss, in one loop; none: one optimizer for everything.
        stages: Runs one after the other, each from the weights of the one before. An entry has a `name` and changes of
            this recipe (or a `base`, a recipe of its own, with changes); see `stage_arguments`.
    """

    model: ModelArguments = field(default_factory=ModelArguments)
    data: DataArguments = field(default_factory=DataArguments)
    optimizer: OptimizerArguments = field(default_factory=OptimizerArguments)
    schedule: ScheduleArguments = field(default_factory=ScheduleArguments)
    run: RunArguments = field(default_factory=RunArguments)
    lora: LoraArguments | None = None
    phases: list[PhaseArguments] = field(default_factory=list)
    stages: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        names = [phase.name for phase in self.phases]
        if len(set(names)) != len(names):
            raise ValueError(f"phases: the names {', '.join(names)} are not all different.")
        for number in range(len(self.phases)):
            self.phase_sections(number)
        if self.stages:
            self.stage_arguments()

    def phase_sections(self, number: int) -> tuple[OptimizerArguments, ScheduleArguments]:
        """Resolves the optimizer and schedule of one phase: the recipe's, with the phase's changes.

        Raises:
            ValueError: A change has an unknown key or a value of another type.
        """
        phase = self.phases[number]
        optimizer = {**dataclasses.asdict(self.optimizer), **phase.optimizer}
        schedule = {**dataclasses.asdict(self.schedule), **phase.schedule}
        return (
            _build(OptimizerArguments, optimizer, f"phases[{number}].optimizer."),
            _build(ScheduleArguments, schedule, f"phases[{number}].schedule."),
        )

    def stage_arguments(self) -> list[tuple[str, "TrainingArguments"]]:
        """Resolves the stages: their names and recipes; without stages, the recipe itself.

        From the second on, `model.pretrained` is the output of the stage before (filled in when it runs), and of this
        recipe's model section only `task`, `model_type`, `tokenizer` and `processor` carry over.

        Raises:
            ValueError: A stage has no name, or one twice; its recipe is wrong, or needs what stages share changed.
        """
        if not self.stages:
            return [("", self)]
        common = {name: value for name, value in self.to_dict().items() if name != "stages"}
        resolved: list[tuple[str, TrainingArguments]] = []
        for number, stage in enumerate(self.stages):
            name = stage.get("name")
            if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_-]+", name):
                raise ValueError(f"stages[{number}] has the name {name!r}; give one of letters and digits.")
            if name in [earlier for earlier, _ in resolved]:
                raise ValueError(f"stages: the name {name} appears twice.")
            recipe = dict(common)
            if number:
                kept = ("task", "model_type", "tokenizer", "processor")
                recipe["model"] = {key: common["model"][key] for key in kept}
            try:
                if "base" in stage:
                    recipe = _read(stage["base"], Path.cwd(), ())
                changes = {key: value for key, value in stage.items() if key not in ("name", "base")}
                if (changes.get("model") or {}).get("pretrained") is not None:
                    recipe = _without_own_network(recipe)
                arguments = TrainingArguments.from_dict(_merge(recipe, changes))
            except (ValueError, FileNotFoundError) as error:
                raise ValueError(f"stages: {name}: {error}") from error
            if arguments.stages:
                raise ValueError(f"stages: {name} has stages itself; list them all in one recipe.")
            shared = ("mixed_precision", "compile", "find_unused_parameters", "trackers")
            changed = [key for key in shared if getattr(arguments.run, key) != getattr(self.run, key)]
            if changed:
                raise ValueError(
                    f"stages: {name} changes run.{changed[0]}, which all stages of a run share; set it in the recipe's "
                    "own run section, or run the stages one by one."
                )
            resolved.append((name, arguments))
        return resolved

    @classmethod
    def from_dict(cls, recipe: Mapping[str, Any]) -> "TrainingArguments":
        """Builds arguments from nested mappings.

        Raises:
            ValueError: An unknown section or key (with the nearest legal one), or a value of another type.
        """
        return _build(cls, recipe, "")

    def to_dict(self) -> dict[str, Any]:
        """Returns nested plain dictionaries, ready for YAML and JSON."""
        return _plain(dataclasses.asdict(self))

    def to_yaml(self) -> str:
        """Returns the resolved recipe as YAML, which `load_recipe` reads back to equal arguments."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False)


class RecipeLoader(yaml.SafeLoader):
    """A safe YAML loader that reads `1e-4` as a number (YAML 1.1 would need `1.0e-4`) and refuses duplicate keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise ValueError(f"The key {key!r} appears twice{key_node.start_mark}; keep one.")
            seen.add(key)
        return super().construct_mapping(node, deep)


RecipeLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def recipe_names() -> list[str]:
    """Lists the names of the recipes that come with the package."""
    return sorted(item.name[:-5] for item in resources.files("hfseg.recipes").iterdir() if item.name.endswith(".yaml"))


def load_recipe(name_or_file: str | Path, overrides: Sequence[str] = ()) -> TrainingArguments:
    """Reads a recipe and applies overrides.

    Args:
        name_or_file: Name of a packaged recipe, or path of a YAML file.
        overrides: `section.key=value` (or deeper, `model.config.num_queries=50`, or a whole section, `lora={r: 8}`);
            values are YAML.

    Raises:
        FileNotFoundError: No such recipe; the nearest names are listed.
        ValueError: The YAML is broken, a key is unknown, a value has another type, or an override has no `=`.
    """
    recipe = _read(name_or_file, Path.cwd(), ())
    changes = [_override(text) for text in overrides]
    if dict(changes).get("model.pretrained") is not None:
        recipe = _without_own_network(recipe)
    for path, value in changes:
        _set(recipe, path, value)
    stages = recipe.get("stages")
    for number, stage in enumerate(stages if isinstance(stages, list) else ()):
        # A stage with a recipe of its own is changed too, but for where the first one starts.
        for path, value in changes if isinstance(stage, dict) and "base" in stage else ():
            if path.partition(".")[0] != "stages" and (path != "model.pretrained" or number == 0):
                _set(stage, path, value)
    return TrainingArguments.from_dict(recipe)


def _set(recipe: dict[str, Any], path: str, value: Any) -> None:
    """Sets an entry of nested mappings; in a list a number is the place."""
    *parents, last = path.split(".")
    at: Any = recipe
    for parent in parents:
        if isinstance(at, dict) and not isinstance(at.get(parent), dict | list):
            at[parent] = {}
        at = at[_place(at, parent, path) if isinstance(at, list) else parent]
    at[_place(at, last, path) if isinstance(at, list) else last] = value


def _place(entries: list, key: str, path: str) -> int:
    if not key.isdecimal() or int(key) >= len(entries):
        raise ValueError(f"{path}: {key!r} is no place in a list of {len(entries)}; must be 0 to {len(entries) - 1}.")
    return int(key)


def _without_own_network(recipe: dict[str, Any]) -> dict[str, Any]:
    """Leaves out a recipe's network and image processor, for a start from a folder, which brings its own.

    Recipes that name `model.pretrained`, if only as null, are written for such a start, and stay.
    """
    model = recipe.get("model")
    if not isinstance(model, dict) or "pretrained" in model:
        return recipe
    return {**recipe, "model": {key: model[key] for key in model if key not in ("config", "processor", "backbone")}}


def _override(override: str) -> tuple[str, Any]:
    """Splits `section.key=value` into the path and the value, which is YAML."""
    path, separator, text = override.partition("=")
    sections = {section.name for section in dataclasses.fields(TrainingArguments)}
    if not separator or ("." not in path and path.strip() not in sections):
        raise ValueError(f"The override {override!r} is not `section.key=value`, e.g. run.max_steps=100.")
    try:
        return path.strip(), yaml.load(text, Loader=RecipeLoader)
    except yaml.YAMLError as error:
        raise ValueError(f"The value of the override {override!r} is not YAML: {error}") from error


def _read(name_or_file: str | Path, folder: Path, chain: tuple[str, ...]) -> dict[str, Any]:
    """Reads one YAML file and, below it, the one it names as `base`."""
    path = folder / name_or_file
    if path.is_file():
        text, source, parent = path.read_text(encoding="utf-8"), str(path), path.parent
    else:
        packaged = resources.files("hfseg.recipes") / f"{name_or_file}.yaml"
        if not packaged.is_file():
            near = difflib.get_close_matches(str(name_or_file), recipe_names(), n=3) or recipe_names()
            raise FileNotFoundError(f"No recipe or file {str(name_or_file)!r}. Recipes: {', '.join(near) or 'none'}.")
        text, source, parent = packaged.read_text(encoding="utf-8"), str(name_or_file), folder
    if source in chain:
        raise ValueError(f"Recipes form a circle through `base`: {' -> '.join((*chain, source))}.")
    try:
        recipe = yaml.load(text, Loader=RecipeLoader) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"{source} is not YAML: {error}") from error
    if not isinstance(recipe, dict):
        raise ValueError(f"{source} holds a {type(recipe).__name__}; a recipe is a mapping of sections.")
    base = recipe.pop("base", None)
    return recipe if base is None else _merge(_read(base, parent, (*chain, source)), recipe)


def _merge(base: dict[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """Merges mappings recursively; `top` wins."""
    merged = dict(base)
    for key, value in top.items():
        below = merged.get(key)
        # Fields of one architecture mean nothing to another: a section of another model_type is replaced.
        if isinstance(value, Mapping) and isinstance(below, dict):
            kind = value.get("model_type", below.get("model_type"))
            if kind == below.get("model_type", kind):
                value = _merge(below, value)
        merged[key] = value
    return merged


def _build(cls: type, values: Mapping[str, Any], prefix: str) -> Any:
    """Builds a dataclass from a mapping, strictly."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{prefix.rstrip('.') or 'The recipe'} must be a mapping, not {values!r}.")
    hints = typing.get_type_hints(cls)
    for key in values:
        if key not in hints:
            raise ValueError(f"Unknown key {prefix}{key!s} in the recipe.{_suggestion(str(key), prefix, hints)}")
    return cls(**{key: _coerce(value, hints[key], f"{prefix}{key}") for key, value in values.items()})


def _suggestion(key: str, prefix: str, hints: Mapping[str, Any]) -> str:
    """Says which legal key is nearest: in this section first, then in any other."""
    near = difflib.get_close_matches(key, hints, n=1)
    if near:
        return f" Did you mean {prefix}{near[0]}?"
    everywhere = {
        name: f"{section}.{name}"
        for section, kind in typing.get_type_hints(TrainingArguments).items()
        for part in (kind, *typing.get_args(kind))
        if dataclasses.is_dataclass(part)
        for name in typing.get_type_hints(part)
    }
    near = difflib.get_close_matches(key, everywhere, n=1, cutoff=0.8)
    if near:
        return f" Did you mean {everywhere[near[0]]}?"
    return f" Legal here: {', '.join(prefix + name for name in hints)}."


def _coerce(value: Any, kind: Any, name: str) -> Any:
    """Returns the value as its declared type or raises ValueError; only int -> float and list -> tuple convert."""
    origin, options = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        return _build(typing.cast(type, kind), value if value is not None else {}, f"{name}.")
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in options:
            return None
        return _coerce(value, next(option for option in options if option is not type(None)), name)
    if origin is Literal:
        return _coerce_choice(value, options, name)
    if origin in (list, tuple) and isinstance(value, (list, tuple)):
        return _coerce_items(value, origin, options, name)
    if origin is dict and isinstance(value, Mapping):
        return dict(value)
    return _coerce_plain(value, origin or kind, name)


def _coerce_choice(value: Any, options: Sequence[Any], name: str) -> Any:
    """Returns one of the options."""
    if value is False and "no" in options:  # YAML reads a bare `no` as false
        return "no"
    if value not in options:
        raise ValueError(f"{name} is {value!r}; must be one of {', '.join(map(str, options))}.")
    return value


def _coerce_items(value: Sequence[Any], origin: Any, options: tuple[Any, ...], name: str) -> Any:
    """Returns a list whose items have one type, or a tuple with a type for each."""
    if origin is tuple and len(value) != len(options):
        raise ValueError(f"{name} is {value!r}; it needs {len(options)} values.")
    kinds = options if origin is tuple else options * len(value)
    return origin(_coerce(item, item_kind, f"{name}[{i}]") for i, (item, item_kind) in enumerate(zip(value, kinds)))


def _coerce_plain(value: Any, kind: Any, name: str) -> Any:
    """Returns a value of a class; a bool is no number."""
    is_bool = isinstance(value, bool)
    if kind is float and isinstance(value, int) and not is_bool:
        return float(value)
    if isinstance(kind, type) and isinstance(value, kind) and not (kind is int and is_bool):
        return value
    expected = getattr(kind, "__name__", str(kind))
    raise ValueError(f"{name} is {value!r} ({type(value).__name__}); it must be a {expected}.")


def _plain(value: Any) -> Any:
    """Turns tuples into lists, recursively."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
