# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Writes a Space: a folder that the Hub runs as it is, with app, package, models and the list of what to install."""

import json
import shutil
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import hfseg

from .. import tasks
from ..files.writing import write_text
from ..tasks import find_task

__all__ = ["write_space"]

EXTRAS = ("medical", "video")  # of the package, for the tabs of volumes and videos

APP = '''"""Serves the models of this Space."""

import os

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

import torch

from hfseg.demo.app import launch

MODELS = {models}

if __name__ == "__main__":
    launch(MODELS, device="cuda" if torch.cuda.is_available() else "cpu")
'''
README = """---
title: {title}
emoji: 🧩
colorFrom: blue
colorTo: yellow
sdk: gradio
sdk_version: {gradio}
python_version: "3.11"
app_file: app.py
pinned: false
license: apache-2.0
short_description: Segmentation models in the browser
tags:
- image-segmentation
- hfseg
---

# {title}

{lines}

Runs with the package `hfseg` in this folder: `pip install -r requirements.txt && python app.py`.
Nothing that is uploaded leaves the server.
"""


def requirements() -> list[str]:
    """What the package and its demo need; Gradio itself comes with the Space."""
    wanted = []
    for requirement in metadata.requires("hfseg") or ():
        name, _, condition = requirement.partition(";")
        if not condition or any(f'extra == "{extra}"' in condition.replace("'", '"') for extra in EXTRAS):
            wanted.append(name.strip())
    return wanted


def write_space(folder: str | Path, models: Sequence[str], title: str = "hfseg") -> Path:
    """Writes a Space.

    Args:
        folder: New or empty folder, or an older Space of ours, whose files are replaced.
        models: Model folders, which are copied; or names on the Hub, which the Space downloads when it starts.
        title: Of the page.

    Raises:
        ValueError: The folder holds something else, or a model cannot be served.
    """
    folder = Path(folder)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "app.py").is_file():
        raise ValueError(f"{folder} is not empty and holds no Space; name a new folder.")
    named = []
    lines = []
    for model in models:
        path = tasks.checkpoint(model) if model in tasks.shipped_checkpoints() else Path(model)
        if not path.is_dir():
            if path.exists() or "/" not in model or model.startswith((".", "/")):
                raise FileNotFoundError(f"There is no model folder {model!r}.")
            named.append(model)
            lines.append(f"- [{model}](https://huggingface.co/{model})")
            continue
        task, _, name = find_task(path)
        target = folder / "models" / path.resolve().name
        if str(target.relative_to(folder)) in named:
            raise ValueError(f"Two models are called {target.name}; rename a folder.")
        shutil.copytree(path, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("checkpoint*", "*.pt", "*.bin"))
        named.append(str(target.relative_to(folder)))
        lines.append(f"- `{target.name}`: `{name}` ({task})")
    folder.mkdir(parents=True, exist_ok=True)
    source = Path(hfseg.__file__).parent
    shutil.copytree(source, folder / "hfseg", dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    files = {
        "app.py": APP.format(models=json.dumps(named)),
        "README.md": README.format(title=title, gradio=metadata.version("gradio"), lines="\n".join(lines)),
        "requirements.txt": "\n".join(requirements()) + "\n",
        ".gitattributes": "*.safetensors filter=lfs diff=lfs merge=lfs -text\n",
    }
    for name, content in files.items():
        write_text(folder / name, content)
    return folder
