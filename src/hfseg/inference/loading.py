# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The one loader of models: a shipped name, a folder or a Hub id in, model and processor of the right classes out.

`from_pretrained` only warns of weights that are missing or left over. Here they are errors, as are weights that are not
finite: whoever predicts or evaluates wants the trained model, not a partly random one.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .. import auto, tasks
from ..files.model_folders import ModelFolderError, check_pipeline_weights, check_sizes, check_weights, loading
from .precision import usable_dtype

__all__ = ["LoadedModel", "load", "one_line"]


@dataclass
class LoadedModel:
    """A model with what prepares its inputs and reads its outputs.

    Attributes:
        folder: Where it was loaded from.
        task: Of `hfseg.tasks`.
        model_type: Architecture.
        class_name: Class that the folder names.
        model: In evaluation mode; of an in-context model the diffusers pipeline.
        processor: Image processor, or processor of images and text; None for diffusers pipelines.
    """

    folder: Path
    task: str
    model_type: str
    class_name: str
    model: Any
    processor: Any = None

    @property
    def image_processor(self) -> Any:
        """The image processor, of itself or inside the processor."""
        return getattr(self.processor, "image_processor", self.processor)

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The networks, by name."""
        if isinstance(self.model, nn.Module):
            return {"model": self.model}
        return {name: part for name, part in self.model.components.items() if isinstance(part, nn.Module)}

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return next(parameter.dtype for module in self.modules.values() for parameter in module.parameters())

    @property
    def num_parameters(self) -> int:
        """Number of parameters of all networks."""
        return sum(parameter.numel() for module in self.modules.values() for parameter in module.parameters())

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.resolve().name

    def to(self, device: Any) -> "LoadedModel":
        """Moves the model."""
        self.model.to(device)
        return self


def one_line(error: BaseException) -> str:
    """The first line of an error's message that says something."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def load(
    name_or_path: str | os.PathLike[str],
    *,
    task: str | None = None,
    device: Any = "cpu",
    dtype: torch.dtype | str = torch.float32,
    with_processor: bool = True,
) -> LoadedModel:
    """Loads a model with its processor.

    Args:
        name_or_path: Name of a shipped model (`hfseg.checkpoint`), a model folder, or a Hub id.
        task: Of the architecture, where the folder's own is not meant: an open-vocabulary folder can be loaded for
            "mask-generation".
        device: Where it runs.
        dtype: Of its weights, as `torch.dtype` or its name; float32, with a warning, where `device` is a CPU without
            instructions for it.
        with_processor: False loads the model alone, of a folder that may hold no processor.

    Raises:
        FileNotFoundError: There is no such model.
        ValueError: The folder is damaged or holds no model that segments; weights are missing, left over or not finite.

    Example:
        >>> import hfseg
        >>> loaded = hfseg.load("path/to/model")  # doctest: +SKIP
        >>> loaded.task  # doctest: +SKIP
        'universal'
    """
    auto.register()
    folder = tasks.model_folder(name_or_path)
    dtype = usable_dtype(dtype, device)
    own_task, model_type, class_name, row = _describe(folder)
    chosen = own_task if task is None else task
    if row is not None and chosen not in row.tasks:
        legal = ", ".join(row.tasks)
        raise ValueError(f"{folder} holds {class_name}, whose task must be one of {legal}; got {task!r}.")
    auto_class_name = tasks.find(chosen).auto_class
    if auto_class_name is None:
        assert row is not None
        pipe = _load_pipeline(folder, auto.load(row.components[0]), dtype, device)
        return LoadedModel(folder, chosen, model_type, class_name, pipe)
    auto_class = auto.find_auto_class(auto_class_name)
    with loading(folder):
        if row is not None:
            check_sizes(folder, _own_class(row, class_name))
        model, report = auto_class.from_pretrained(
            folder, dtype=dtype, output_loading_info=True, trust_remote_code=False
        )
        model.loading_report = report
        processor = _load_processor(folder, chosen) if with_processor else None
        check_weights(model, folder)
    return LoadedModel(folder, chosen, model_type, class_name, model.eval(), processor).to(device)


def _own_class(row: auto.Architecture, class_name: str) -> Any:
    """The class that a folder names."""
    values = [(value,) if isinstance(value, str) else value for value in row.models.values()]
    return auto.load(next(model for value in values for model in value if model.endswith(f":{class_name}")))


def _describe(folder: Path) -> tuple[str, str, str, auto.Architecture | None]:
    """Task, architecture and class of a folder; a model of transformers' own is told by its Auto classes."""
    try:
        task, model_type, class_name = tasks.find_task(folder)
        return task, model_type, class_name, auto.find(model_type)
    except ModelFolderError:  # damaged, whatever it is
        raise
    except ValueError as error:
        file = folder / "config.json"
        if not file.is_file():
            raise
        from transformers import AutoConfig

        try:
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        except (OSError, ValueError, KeyError):
            raise error from None
        for name in ("universal", "semantic"):
            auto_class = auto.find_auto_class(str(tasks.find(name).auto_class))
            if type(config) in auto_class._model_mapping and not any(
                row.model_type == config.model_type for row in auto.ARCHITECTURES
            ):
                names = json.loads(file.read_text(encoding="utf-8")).get("architectures") or [config.model_type]
                return name, config.model_type, str(names[0]), None
        raise


def _load_processor(folder: Path, task: str) -> Any:
    from transformers import AutoImageProcessor, AutoProcessor

    # A mask generator's folder may hold an image processor alone.
    text = tasks.find(task).needs in ("text", "labels")
    return (AutoProcessor if text else AutoImageProcessor).from_pretrained(folder, trust_remote_code=False)


def _load_pipeline(folder: Path, pipeline_class: Any, dtype: torch.dtype, device: Any) -> Any:
    """Loads a diffusers pipeline."""
    import diffusers

    # Releases before 0.40 know the old name only, later ones warn of it.
    release = tuple(int(number) for number in diffusers.__version__.split(".")[:2])
    name = "dtype" if release >= (0, 40) else "torch_dtype"
    with loading(folder):
        pipe = pipeline_class.from_pretrained(folder, **{name: dtype})
        check_pipeline_weights(pipe, folder)
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(device)
