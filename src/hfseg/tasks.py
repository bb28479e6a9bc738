# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The table of tasks: for every task its Auto class, pipeline, inputs, data, evaluation, export and demo.

`hfseg.auto` says which architecture does which tasks; everything that depends on the task alone is said here, once.
Nothing is imported before it is used: places are named as `"module:name"`, relative to `hfseg`.
"""

import dataclasses
import importlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from . import auto

__all__ = [
    "CHECKPOINTS",
    "DTYPES",
    "FORMATS",
    "MODALITIES",
    "SUBTASKS",
    "TASKS",
    "Task",
    "checkpoint",
    "choose_task",
    "find",
    "find_task",
    "load",
    "model_folder",
    "pretrained_source",
    "segmentation_tasks",
    "shipped_checkpoints",
    "training_places",
]

SUBTASKS = ("panoptic", "instance", "semantic")
DTYPES = ("float32", "bfloat16", "float16")
# Also in `results.visual_formats` and `volumes`, which need more than a command's help can wait for; a test compares.
FORMATS = ("depth", "detection", "edge", "flow", "image", "mask", "normal", "pose", "segmentation")
MODALITIES = ("CT", "MR", "XR")
# Small trained models that come with the package, one folder each.
CHECKPOINTS = Path(__file__).parent / "checkpoints"


@dataclasses.dataclass(frozen=True)
class Task:
    """One task of the zoo.

    Attributes:
        name: As recipes, commands and `hfseg.evaluate` name it.
        about: What a model of this task does, in one line.
        auto_class: Auto class that loads its models; None for diffusers pipelines.
        pipeline: Name for `transformers.pipeline`; None if there is none.
        pipeline_tag: Name on the Hub, for model cards.
        needs: Input besides the image without which the model cannot be asked; "" if there is none.
        takes: Inputs and options that it accepts, in the words of `hfseg.predict`.
        reader: Kind of dataset that `hfseg.load_dataset` opens for it: "segmentation", "referring", "medical",
            "in-context" or "images".
        collator: What turns samples into a training batch; "" if the architecture brings its own.
        evaluator: Class that evaluates models of this task on datasets of this kind; "" if only the loss is measured.
        training: `Task` class of the training loop.
        export: Function that describes the exported forward pass; "" if there is no single one.
        demo: Tab of the demo; "" if it has none.
    """

    name: str
    about: str
    auto_class: str | None
    training: str
    pipeline: str | None = None
    pipeline_tag: str = "image-segmentation"
    needs: str = ""
    takes: frozenset[str] = frozenset()
    reader: str = "segmentation"
    collator: str = ""
    evaluator: str = ""
    export: str = ""
    demo: str = ""


_ROWS = (
    Task(
        "universal",
        "panoptic, instance and semantic segmentation with one set of masks",
        "AutoModelForUniversalSegmentation",
        training="training.tasks.closed_vocabulary:UniversalTask",
        pipeline="image-segmentation",
        takes=frozenset({"subtask", "threshold", "tile", "scales", "flip"}),
        collator="data.collators.collation:UniversalCollator",
        evaluator="evaluation.closed_vocabulary:ClosedVocabularyEvaluator",
        export="inference.export:universal",
        demo="segments",
    ),
    Task(
        "semantic",
        "a class for every pixel",
        "AutoModelForSemanticSegmentation",
        training="training.tasks.closed_vocabulary:SemanticTask",
        pipeline="image-segmentation",
        takes=frozenset({"subtask", "tile", "scales", "flip"}),
        collator="data.collators.collation:SemanticCollator",
        evaluator="evaluation.closed_vocabulary:ClosedVocabularyEvaluator",
        export="inference.export:semantic",
        demo="segments",
    ),
    Task(
        "medical",
        "a class for every voxel of a volume",
        "AutoModelForSemanticSegmentation",
        training="training.tasks.medical:MedicalVolumeTask",
        pipeline="image-segmentation",
        takes=frozenset({"modality"}),
        reader="medical",
        collator="data.readers.medical:MedicalCollator",
        evaluator="evaluation.medical:MedicalEvaluator",
        export="inference.export:semantic",
        demo="volumes",
    ),
    Task(
        "object-detection",
        "a class and a box for every thing",
        "AutoModelForObjectDetection",
        training="training.tasks.object_detection:ObjectDetectionTask",
        pipeline="object-detection",
        pipeline_tag="object-detection",
        takes=frozenset({"threshold"}),
        collator="data.collators.detection_collation:DetectionCollator",
        evaluator="evaluation.object_detection:ObjectDetectionEvaluator",
        export="inference.export:object_detection",
        demo="segments",
    ),
    Task(
        "open-vocabulary",
        "segments of classes that are named when the model is asked",
        "AutoModelForOpenVocabularySegmentation",
        training="",
        pipeline="open-vocabulary-segmentation",
        needs="labels",
        takes=frozenset({"labels", "subtask", "threshold"}),
        evaluator="evaluation.open_vocabulary:OpenVocabularyEvaluator",
        export="inference.export:open_vocabulary",
        demo="labels",
    ),
    Task(
        "referring",
        "the object that an expression means",
        "AutoModelForReferringImageSegmentation",
        training="training.tasks.referring:ReferringTask",
        pipeline="referring-image-segmentation",
        needs="text",
        takes=frozenset({"text", "threshold"}),
        reader="referring",
        collator="data.collators.referring_collation:ReferringProcessorCollator",
        evaluator="evaluation.referring:ReferringEvaluator",
        export="inference.export:referring",
        demo="text",
    ),
    Task(
        "mask-generation",
        "masks without names, of points, boxes or everything",
        "AutoModelForMaskGeneration",
        training="",
        pipeline="mask-generation",
        pipeline_tag="mask-generation",
        takes=frozenset({"points", "boxes", "negative_points", "box_zoom", "point_zoom", "threshold"}),
        evaluator="evaluation.promptable:PromptableEvaluator",
        export="inference.export:mask_generation",
        demo="prompts",
    ),
    Task(
        "in-context",
        "an image generated after the pattern of worked examples",
        None,
        training="",
        pipeline_tag="image-to-image",
        needs="examples",
        takes=frozenset({"examples", "task", "num_inference_steps", "guidance_scale", "num_examples", "seed"}),
        reader="in-context",
        evaluator="evaluation.in_context:InContextEvaluator",
        demo="examples",
    ),
    Task(
        "masked-image",
        "pre-training of a backbone: hidden patches are predicted",
        "AutoModel",
        training="training.tasks.masked_image:MaskedImageTask",
        pipeline_tag="image-feature-extraction",
        reader="images",
    ),
    Task(
        "pretraining",
        "pre-training of the architecture's own kind",
        "AutoModelForPreTraining",
        training="",
        pipeline_tag="image-feature-extraction",
        reader="images",
    ),
)
TASKS: dict[str, Task] = {row.name: row for row in _ROWS}


def find(name: str) -> Task:
    """Looks a task up.

    Raises:
        ValueError: There is none of this name; lists those there are.
    """
    if name not in TASKS:
        raise ValueError(f"The task must be one of {', '.join(TASKS)}; got {name!r}.")
    return TASKS[name]


def load(place: str) -> Any:
    """Imports `"module:name"` of this package."""
    module, _, attribute = place.partition(":")
    return getattr(importlib.import_module(f"{__package__}.{module}"), attribute)


def segmentation_tasks() -> list[str]:
    """Lists the tasks that a model can be asked for: those with a pipeline or a need, not pre-training."""
    return [row.name for row in _ROWS if row.pipeline is not None or row.needs]


def training_places(model_type: str | None) -> dict[str, str]:
    """Maps the tasks of an architecture to their training classes: its own first, then the general ones."""
    own = next((row.training for row in auto.ARCHITECTURES if row.model_type == model_type), {})
    general = {row.name: row.training for row in _ROWS if row.training}
    return {name: f"hfseg.{place}" for name, place in {**general, **own}.items()}


def choose_task(auto_classes: dict[str, Any], names: Iterable[str], class_name: str) -> str | None:
    """Chooses the first of some tasks whose Auto class has this model class."""
    for name in names:
        value = auto_classes.get(TASKS[name].auto_class or "", ())
        models = (value,) if isinstance(value, str) else value
        if TASKS[name].pipeline is not None and any(model.partition(":")[2] == class_name for model in models):
            return name
    return None


# ------------------------------------------------------------------------------------------------------ model folders


def shipped_checkpoints() -> list[str]:
    """Lists the names of the trained models that come with the package."""
    if not CHECKPOINTS.is_dir():
        return []
    named = (path for path in CHECKPOINTS.iterdir() if path.is_dir())
    return sorted(path.name for path in named if any((path / file).is_file() for file in _CONFIGS))


_CONFIGS = ("config.json", "model_index.json")


def checkpoint(name: str) -> Path:
    """Finds the folder of a trained model that comes with the package.

    Raises:
        ValueError: There is none of this name; lists those there are.
    """
    if name not in shipped_checkpoints():
        raise ValueError(
            f"The checkpoint must be one of {', '.join(shipped_checkpoints()) or '(none are shipped)'}; got {name!r}."
        )
    return CHECKPOINTS / name


def pretrained_source(name: str) -> str:
    """Turns the name of a shipped model into its folder; folders and Hub ids stay what they are.

    Raises:
        FileNotFoundError: It is a path, and there is no folder.
        ValueError: It is an address.
    """
    _refuse_address(name)
    if not os.path.exists(name) and (name.startswith(("/", ".", "~")) or name.count("/") > 1 or "\\" in name):
        raise FileNotFoundError(
            f"There is no model folder {name!r}; give a folder, a Hub id (owner/name) or a shipped model "
            f"({', '.join(shipped_checkpoints()) or 'none'})."
        )
    return name if os.path.isdir(name) or name not in shipped_checkpoints() else str(CHECKPOINTS / name)


def _refuse_address(name: str) -> None:
    """Refuses addresses as models, naming the Hub id in them where there is one."""
    if "://" not in name:
        return
    parts = [part for part in name.partition("://")[2].split("/")[1:] if part]
    advice = f"give the Hub id {'/'.join(parts[:2])!r}" if len(parts) >= 2 else "give a Hub id (owner/name)"
    raise ValueError(
        f"{name!r} is an address; models are not loaded from addresses: {advice}, or download it and give the folder."
    )


def model_folder(name_or_path: str | os.PathLike[str]) -> Path:
    """Finds a model's folder: a local one, a shipped model by its name, or a Hub id, which is downloaded.

    Raises:
        FileNotFoundError: There is no such folder or shipped model, and the Hub does not have it either.
        ValueError: It is an address.
    """
    name = os.fspath(name_or_path)
    if os.path.isdir(name):
        return Path(name)
    _refuse_address(name)
    if name in shipped_checkpoints():
        return CHECKPOINTS / name
    parts = name.split("/")
    if len(parts) != 2 or not all(part and part[0].isalnum() for part in parts):
        shipped = ", ".join(shipped_checkpoints()) or "none"
        raise FileNotFoundError(
            f"There is no model folder {name!r}, and it is no shipped model ({shipped}); "
            "give one of them, a folder, or a Hub id (owner/name)."
        )
    from huggingface_hub import snapshot_download

    try:
        patterns = ["*.json", "*.safetensors", "*.txt", "*.model", "*/*.json", "*/*.safetensors"]
        return Path(snapshot_download(name, allow_patterns=patterns))
    except Exception as error:  # the client's errors are many and change
        causes = (error, error.__cause__, error.__context__)
        if any(type(cause).__name__ == "GatedRepoError" for cause in causes):
            raise FileNotFoundError(
                f"{name!r} is gated on the Hub, and this account may not read it: ask for access on the page of the "
                "model, then log in (hf auth login) with the account that has it."
            ) from error
        reason = str(error).strip().split("\n")[0]
        raise FileNotFoundError(
            f"{name!r} is no folder, and is not available from the Hub: {reason} Download it elsewhere (hf "
            f"download {name} --local-dir DIR) and give the folder."
        ) from error


def find_task(folder: str | os.PathLike[str]) -> tuple[str, str, str]:
    """Reads what a model folder is for.

    Returns:
        Task, architecture, and class name.

    Raises:
        FileNotFoundError: There is no such folder, or it has no configuration.
        ValueError: The configuration is damaged, or its model is not one of the zoo that segments.
    """
    path = Path(folder)
    if not path.is_dir():
        raise FileNotFoundError(f"There is no model folder {str(folder)!r}: train or convert a model first.")
    file = next((path / name for name in _CONFIGS if (path / name).is_file()), None)
    if file is None:
        raise FileNotFoundError(f"{path} is no model folder: neither config.json nor model_index.json is in it.")
    from .files.model_folders import check_config, read_settings  # loads torch, which a command's help does not need

    config = read_settings(file)
    if file.name == "model_index.json":
        return _task_of_pipeline(path, config)
    check_config(config, file)
    return _task_of_config(file, config)


def _task_of_pipeline(path: Path, index: Mapping[str, Any]) -> tuple[str, str, str]:
    """Finds task, architecture and class of a diffusers folder by its `model_index.json`."""
    named = index.get("_class_name")
    name = str(named[-1] if isinstance(named, list) and named else named)
    for row in auto.ARCHITECTURES:
        if any(component.endswith(f":{name}") for component in row.components):
            return row.tasks[0], row.model_type, name
    pipelines = [component.partition(":")[2] for row in auto.ARCHITECTURES for component in row.components[:1]]
    raise ValueError(f"{path} is a diffusers folder of {name}; hfseg has {', '.join(pipelines)}.")


def _task_of_config(file: Path, config: Mapping[str, Any]) -> tuple[str, str, str]:
    """Finds task, architecture and class of a transformers folder by its `config.json`."""
    model_type, classes = config.get("model_type"), config.get("architectures") or []
    rows = {row.model_type: row for row in auto.ARCHITECTURES if row.config is not None}
    if model_type not in rows:
        raise ValueError(f"{file} has model_type {str(model_type)[:60]!r}; the zoo has {', '.join(rows)}.")
    row = rows[model_type]
    for name in classes:
        task = choose_task(row.models, row.tasks, name)
        if task is not None:
            return task, row.model_type, name
    makes = ", ".join(_classes_with_pipeline(row))
    raise ValueError(f"{file} names {', '.join(classes)[:200] or 'no class'}, which makes no masks; {makes} does.")


def _classes_with_pipeline(row: auto.Architecture) -> list[str]:
    """Lists the model classes of an architecture that a pipeline serves, sorted, each once."""
    values = [row.models.get(TASKS[name].auto_class or "", ()) for name in row.tasks if TASKS[name].pipeline]
    models = [model for value in values for model in ((value,) if isinstance(value, str) else value)]
    return sorted({model.partition(":")[2] for model in models})
