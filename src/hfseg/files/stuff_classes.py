# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Stuff classes stay true to the classes: when those change without new stuff ids, the old ids would fuse objects.

An image processor may be older than the classes of the model whose outputs it reads. So these outputs name the stuff
classes of their model (`models.mask_decoding.StuffClassesModel`), saved processors follow the configuration beside
them, and a loaded one knows how many classes its set was made for (`classes_beside`).
"""

import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .writing import write_text

__all__ = ["StuffClassesMixin", "configuration_beside", "follow_configuration"]

if TYPE_CHECKING:
    from transformers import PreTrainedConfig as _Config
else:
    _Config = object

logger = logging.getLogger(__name__)


class StuffClassesMixin(_Config):
    """Mixin of configurations with `stuff_class_ids`, before `PreTrainedConfig`."""

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Builds from a saved dictionary; stuff ids of other classes are dropped with a warning.

        An empty list then says that no class is stuff, where None leaves it to the image processor.
        """
        stuff = config_dict.get("stuff_class_ids")
        if "stuff_class_ids" not in kwargs and _other_classes(config_dict, kwargs):
            if stuff:
                logger.warning(
                    "The classes changed, so the stuff_class_ids %s of the old ones are dropped: all classes count as "
                    "things. Give stuff_class_ids=[...] if some are stuff.",
                    list(stuff) if len(stuff) <= 8 else f"{list(stuff[:8])[:-1]}, ...",
                )
            config_dict = {**config_dict, "stuff_class_ids": []}
        return super().from_dict(config_dict, **kwargs)

    def save_pretrained(self, save_directory: str | os.PathLike, *args: Any, **kwargs: Any) -> Any:
        """Saves the configuration, if it could be loaded again.

        Raises:
            ValueError: Its entries contradict each other, e.g. stuff ids that are no classes.
        """
        self.validate_architecture()
        return super().save_pretrained(save_directory, *args, **kwargs)


def _other_classes(old: dict[str, Any], changes: dict[str, Any]) -> bool:
    """Says whether changes of a configuration give it other classes."""
    before = {int(key): str(name) for key, name in (old.get("id2label") or {}).items()}
    if not before:
        return False
    if changes.get("id2label") is not None:
        return before != {int(key): str(name) for key, name in changes["id2label"].items()}
    return changes.get("num_labels") is not None and changes["num_labels"] != len(before)


def configuration_beside(name_or_path: str | os.PathLike, subfolder: str = "", **options: Any) -> dict[str, Any]:
    """Reads the configuration of the model that an image processor was saved with; empty if there is none.

    Args:
        name_or_path: Folder, one of its files, or a Hub id, whose configuration is looked up in the local cache only.
        subfolder: Within it.
        **options: `cache_dir` and `revision`, as of `from_pretrained`.
    """
    path = Path(name_or_path)
    folder = path.parent if path.is_file() else path
    found: Any = folder / subfolder / "config.json"
    if not folder.is_dir():
        from huggingface_hub import try_to_load_from_cache

        given = {key: options[key] for key in ("cache_dir", "revision") if options.get(key) is not None}
        try:
            found = try_to_load_from_cache(str(name_or_path), str(Path(subfolder) / "config.json"), **given)
        except ValueError:  # no name of a repository
            return {}
    if not isinstance(found, (str, Path)):
        return {}
    try:
        content = json.loads(Path(found).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def follow_configuration(folder: Path) -> None:
    """Makes a saved image processor fuse the stuff classes of the model saved beside it; says so if that changes it."""
    try:
        stuff = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("stuff_class_ids")
        settings = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, AttributeError):
        return
    fused = settings.get("label_ids_to_fuse")
    if stuff is None or not fused or sorted(fused) == sorted(stuff):
        return
    logger.warning(
        "The image processor fused the classes %s; now those of the model beside it, %s.", fused[:8], list(stuff)[:8]
    )
    settings["label_ids_to_fuse"] = list(stuff)
    write_text(folder / "preprocessor_config.json", json.dumps(settings, indent=2, sort_keys=True) + "\n")
