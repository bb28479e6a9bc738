# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What of a model folder may leave this machine: files by exact names, no secrets, no links and no paths out of it."""

import re
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

__all__ = ["is_component_file", "is_model_file", "leaves_folder", "private_reason", "without_paths"]

ABOUT = {"README.md", "LICENSE", "LICENSE.md", "LICENSE.txt", "NOTICE", "NOTICE.md", "NOTICE.txt"}
RECORDS = {"training_args.json", "metrics.json"}
MODEL = {
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
}
WEIGHTS = re.compile(r"(model|diffusion_pytorch_model)(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?")
SECRET_NAMES = re.compile(
    r"(\.env.*|\.netrc|.*\.(pem|key|p12|pfx|ppk)|id_(rsa|dsa|ecdsa|ed25519).*|.*(token|secret|credential)s?(\.txt)?)"
)
RUN_FOLDERS = ("wandb", "mlruns", "runs", "__pycache__")
RUN_FILES = re.compile(r"(optimizer|random_state|trainer_state|ema|scheduler)[\w-]*\.(safetensors|json|pt|bin)")

_PART = r"[^\s\"'`<>|:*?\\/()\[\]{},;=]+"
LOCAL_PATH = re.compile(rf"(?<![\w:/.~<\\-])(?:file://)?(?:(?:~|/{_PART})(?:/{_PART})+|[A-Za-z]:(?:[\\/]+{_PART})+)/?")


def is_model_file(name: str, pipeline: bool = False) -> bool:
    """Says whether a file at the top of a model folder belongs in its repository."""
    if name in ABOUT or name in RECORDS:
        return True
    return name == "model_index.json" if pipeline else name in MODEL or WEIGHTS.fullmatch(name) is not None


def is_component_file(name: str) -> bool:
    """Says whether a file in the folder of a pipeline's part belongs in its repository."""
    return name in MODEL or name == "scheduler_config.json" or WEIGHTS.fullmatch(name) is not None


def leaves_folder(path: Path, folder: Path) -> bool:
    """Says whether a path leads out of a folder, by a link of its own or of a folder above it."""
    return not path.resolve().is_relative_to(folder.resolve())


def private_reason(name: Path) -> str | None:
    """Says why a file must not be published, by its path in the folder; None if it may."""
    if name.suffix in (".py", ".pyc", ".so", ".sh"):
        return "code"
    if any(part.startswith(".") for part in name.parts):
        return "hidden"
    if SECRET_NAMES.fullmatch(name.name.lower()):
        return "a secret by its name"
    if any(part in RUN_FOLDERS or part.startswith("checkpoint-") for part in name.parts[:-1]):
        return "a record of the training run"
    if RUN_FILES.fullmatch(name.name) and name.name != "scheduler_config.json":
        return "the state of a training run"
    return None


def without_paths(content: Any) -> Any:
    """Replaces absolute paths by their last parts, in a text or in all texts of plain data.

    >>> without_paths({"data": {"path": "/home/me/my data/coco"}, "command": "train --data=/data/x/coco a/b 1/2"})
    {'data': {'path': 'coco'}, 'command': 'train --data=coco a/b 1/2'}
    >>> without_paths("see https://huggingface.co/me/model and file:///home/me/notes.md")
    'see https://huggingface.co/me/model and notes.md'
    """
    if isinstance(content, dict):
        return {key: without_paths(value) for key, value in content.items()}
    if isinstance(content, list):
        return [without_paths(value) for value in content]
    if not isinstance(content, str):
        return content
    if "\n" not in content and "--" not in content and len(content) < 4096:  # one path, perhaps with blanks
        for kind in (PurePosixPath, PureWindowsPath):
            path = kind(content)
            if path.is_absolute() and len(path.parts) > 2 and "://" not in content:
                return path.name
    return LOCAL_PATH.sub(lambda match: re.split(r"[\\/]+", match[0].rstrip("\\/"))[-1], content)
