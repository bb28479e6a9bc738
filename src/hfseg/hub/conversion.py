# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Conversion of official checkpoints to folders that `from_pretrained` and `pipeline()` load."""

import json
from pathlib import Path

from .. import auto
from ..models.checkpoints import read_state_dict

__all__ = ["convert_checkpoint", "read_original_config"]


def read_original_config(path: str | None) -> dict | None:
    """Reads hyperparameters under the authors' names.

    Raises:
        ValueError: If the file is not a JSON object.
    """
    if path is None:
        return None
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not valid JSON ({error}).") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}: expected a JSON object of hyperparameters.")
    return content


def convert_checkpoint(architecture: str, checkpoint: str, output_dir: str, config: str | None = None) -> Path:
    """Converts a checkpoint and saves model and processor.

    Args:
        architecture: Model type, for example `"proscale"`.
        checkpoint: `.pth`, `.pkl`, `.pt` or `.safetensors` file of the authors, or their folder of several.
        output_dir: Folder to write.
        config: JSON file with hyperparameters under the authors' names; what it leaves out is read off the tensors or
            taken from the published configuration.

    Returns:
        The folder.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is damaged or unsafe, or its keys or shapes do not fit; keys are listed.
    """
    for source in auto.ARCHITECTURES:
        if architecture in source.sources:
            return auto.load(source.sources[architecture])(checkpoint, output_dir, read_original_config(config))
    row = auto.find(architecture)
    if row.folder_converter is not None:
        return auto.load(row.folder_converter)(checkpoint, output_dir, read_original_config(config))
    if row.converter is None:
        raise ValueError(f"There is no public checkpoint of {architecture!r} to convert.")
    original = read_original_config(config)
    model = auto.load(row.converter)(read_state_dict(checkpoint), original)
    folder = Path(output_dir)
    model.save_pretrained(folder)
    stuff = getattr(model.config, "stuff_class_ids", None)
    processor_class = auto.load(row.image_processors["torchvision"])
    image_processor = processor_class(**({} if stuff is None else {"label_ids_to_fuse": list(stuff)}))
    tokenizer = None
    if row.tokenizer_builder is not None:
        tokenizer = auto.load(row.tokenizer_builder)(model, image_processor, original or {}, Path(checkpoint), config)
    if tokenizer is not None and row.processor is not None:
        auto.load(row.processor)(image_processor=image_processor, tokenizer=tokenizer).save_pretrained(folder)
    else:
        image_processor.save_pretrained(folder)
    return folder
