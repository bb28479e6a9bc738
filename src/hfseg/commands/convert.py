# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Conversion of authors' checkpoints to folders that `from_pretrained` and `pipeline()` load."""

import argparse
import json
import sys
from pathlib import Path

from .. import auto
from ..models.checkpoints import read_state_dict


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


def main(arguments: list[str] | None = None) -> int:
    """Runs `hfseg convert`."""
    parser = argparse.ArgumentParser(prog="hfseg convert", description=__doc__)
    parser.add_argument("--architecture", required=True, choices=auto.convertible())
    parser.add_argument(
        "--checkpoint", required=True, metavar="FILE", help=".pth, .pkl, .pt or .safetensors, or a folder"
    )
    parser.add_argument("--config", metavar="FILE.json", help="hyperparameters under the authors' names")
    parser.add_argument("--output_dir", required=True, metavar="DIR")
    options = parser.parse_args(arguments)
    try:
        folder = convert_checkpoint(options.architecture, options.checkpoint, options.output_dir, options.config)
    except (FileNotFoundError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    loader, trust = "DiffusionPipeline", ", trust_remote_code=True"
    if not (folder / "model_index.json").is_file():
        models = next(
            row for row in auto.ARCHITECTURES if options.architecture in (row.model_type, *row.sources)
        ).models
        loader, trust = next((name for name in models if name != "AutoModel"), "AutoModel"), ""
    print(f"Wrote {folder}. Load it with {loader}.from_pretrained({str(folder)!r}{trust}).")
    return 0
