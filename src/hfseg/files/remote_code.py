# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Lets a saved folder load with `trust_remote_code=True` where `hfseg` has not been imported.

Auto classes then follow `auto_map` in the folder's JSON files to a Python file beside them. That file imports the
installed package and does nothing else: copies of the modeling code would need all the modules they import, and grow
stale.
"""

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .stuff_classes import configuration_beside, follow_configuration
from .writing import write_text

if TYPE_CHECKING:
    from transformers import PreTrainedModel as _Model
else:
    _Model = object

SHIM = "modeling_hfseg"
MAPPED = {"config.json", "preprocessor_config.json", "processor_config.json"}


def auto_classes(model_type: str, class_name: str) -> dict[str, str]:
    """Lists which class each Auto class finds in a folder, as `auto_map` wants it.

    Args:
        model_type: Architecture.
        class_name: Class that the folder was saved of. Where an Auto class has several, it is this one; else the first.
    """
    from ..auto import find

    row = find(model_type)
    found: dict[str, str] = {"AutoConfig": str(row.config)}
    for auto_class, models in row.models.items():
        several = (models,) if isinstance(models, str) else models
        own = [name for name in several if name.partition(":")[2] == class_name]
        found[auto_class] = (*own, several[0])[0]
    return {auto_class: f"{SHIM}.{name.partition(':')[2]}" for auto_class, name in found.items()}


def write_shim(folder: Path, file: str, auto_map: dict[str, str]) -> None:
    """Adds `auto_map` to a JSON file of the folder and the Python file that it names.

    The JSON file is replaced in one step, so that an interrupted write leaves the old one.
    """
    path = folder / file
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    content["auto_map"] = auto_map
    shim = folder / f"{SHIM}.py"
    # Written anew: what a file of that name held before may be anything. The other settings say what else it needs.
    names = sorted(shim_names(auto_map).union(*(shim_names(_auto_map(folder / name)) for name in MAPPED - {file})))
    for target, text in (
        (shim, f'"""Finds the classes of this folder in the package `hfseg` (pip install hfseg)."""\n\n'
               f"from hfseg import {', '.join(names)}\n"),
        (path, json.dumps(content, indent=2, sort_keys=True) + "\n"),
    ):  # fmt: skip
        write_text(target, text)


def shim_names(auto_map: dict[str, Any]) -> set[str]:
    """Lists the public classes of this package that an `auto_map` names."""
    import hfseg

    found = (re.fullmatch(rf"{SHIM}\.(\w+)", str(name)) for name in auto_map.values())
    return {match[1] for match in found if match is not None and match[1] in hfseg.__all__}


def _auto_map(path: Path) -> dict[str, Any]:
    """Reads the `auto_map` of a settings file; empty if there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    found = content.get("auto_map") if isinstance(content, dict) else None
    return found if isinstance(found, dict) else {}


class RemoteCodeModel(_Model):
    """Mixin of models outside transformers' own tree, before `PreTrainedModel`.

    `save_pretrained` leaves a folder that `trust_remote_code=True` can load, and `_init_weights` is called for every
    module. For code outside its tree transformers skips modules without parameters of their own, and with them every
    rule that a block has for its parts. `transformers.initialization` respects loaded weights, so nothing needs
    to be skipped, provided that `_init_weights` draws with its functions.

    What a constructor freezes stays frozen in a loaded model: transformers makes every weight that it loads trainable.
    """

    def post_init(self) -> None:
        """Initializes weights, and notes which of them the constructor froze."""
        super().post_init()
        frozen = (name for name, weight in self.named_parameters() if not weight.requires_grad)
        self._frozen_by_constructor = frozenset(frozen)

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """Loads the model; see `PreTrainedModel.from_pretrained`.

        What was missing, left over or of another shape stays on the model as `loading_report`.
        """
        wanted = bool(kwargs.pop("output_loading_info", False))
        loaded: Any = super().from_pretrained(*args, **kwargs, output_loading_info=True)
        model, report = loaded
        model.loading_report = report
        frozen: frozenset[str] = getattr(model, "_frozen_by_constructor", frozenset())
        for name, weight in model.named_parameters() if frozen else ():
            if name in frozen:
                weight.requires_grad_(False)
        return (model, report) if wanted else model

    @classmethod
    def is_custom_code(cls) -> bool:
        """Says no: parts from transformers' own tree (a CLIP, for example) keep the rules of their blocks too."""
        return False

    def _initialize_weights(self, module: Any, is_custom_code: bool = False) -> None:
        super()._initialize_weights(module, is_custom_code=False)

    def save_pretrained(self, save_directory: str | os.PathLike, is_main_process: bool = True, **kwargs) -> None:
        """Saves the model; see `PreTrainedModel.save_pretrained`."""
        super().save_pretrained(save_directory, is_main_process=is_main_process, **kwargs)
        if is_main_process:
            write_shim(Path(save_directory), "config.json", auto_classes(self.config.model_type, type(self).__name__))
            follow_configuration(Path(save_directory))


class RemoteCodeImageProcessor:
    """Mixin of image processors: likewise.

    Attributes:
        classes_beside: Number of classes of the model that it was loaded with; None if it is not known. Not saved.
    """

    classes_beside: int | None = None

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """Loads the image processor; see `ImageProcessingMixin.from_pretrained`.

        Where a processor serves two heads of a model, its targets are those of the head that lies in the folder.
        """
        options = {key: kwargs[key] for key in ("subfolder", "cache_dir", "revision") if kwargs.get(key) is not None}
        config = configuration_beside(pretrained_model_name_or_path, **options)
        heads = config.get("architectures")
        if hasattr(cls, "class_map_labels") and isinstance(heads, list) and heads:
            kwargs.setdefault("class_map_labels", str(heads[0]).endswith("ForSemanticSegmentation"))
        loaded = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        processor = loaded[0] if isinstance(loaded, tuple) else loaded
        names = config.get("id2label")
        processor.classes_beside = len(names) if isinstance(names, dict) else None
        return loaded

    @classmethod
    def from_dict(cls, image_processor_dict: dict[str, Any], **kwargs) -> Any:
        """Builds from a saved dictionary. Its `auto_map` describes the folder, it is no setting of the processor.

        `reduce_labels`, as older guides of transformers say, is `do_reduce_labels`.
        """
        settings = {key: value for key, value in image_processor_dict.items() if key != "auto_map"}
        for given in (settings, kwargs):
            if given.get("reduce_labels") is not None and hasattr(cls, "do_reduce_labels"):
                given.setdefault("do_reduce_labels", given.pop("reduce_labels"))
        return super().from_dict(settings, **kwargs)

    def to_dict(self) -> dict[str, Any]:
        """Settings as they are saved."""
        return {key: value for key, value in super().to_dict().items() if key != "classes_beside"}

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs) -> list[str]:
        """Saves the image processor; see `ImageProcessingMixin.save_pretrained`."""
        files = super().save_pretrained(save_directory, **kwargs)
        name = type(self).__name__.removesuffix("Pil")
        write_shim(Path(save_directory), "preprocessor_config.json", {"AutoImageProcessor": f"{SHIM}.{name}"})
        follow_configuration(Path(save_directory))
        return files
