# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Loads folders with the installed package alone; run as a script in a new process, so that a crash ends there.

No code that comes with a folder runs: `trust_remote_code` is never set. Prints one line of JSON with `problems` per
folder. `hub.checks.loading_problems` hands this file to an interpreter.
"""

import importlib
import json
import sys
from pathlib import Path

LIBRARIES = ("diffusers", "transformers")


def load_pipeline(folder: Path) -> list[str]:
    """Loads the parts of a diffusers pipeline and looks at their weights."""
    import torch

    import hfseg

    problems = []
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    for name, value in index.items():
        if name.startswith("_") or not isinstance(value, list) or value[0] is None:
            continue
        library, class_name = value
        if library not in LIBRARIES and class_name not in hfseg.__all__:
            problems.append(f"model_index.json: {name} is a {class_name} of {library}, which is not loaded here.")
            continue
        part_class = getattr(importlib.import_module(library) if library in LIBRARIES else hfseg, class_name)
        part = part_class.from_pretrained(str(folder / name))
        if isinstance(part, torch.nn.Module):
            problems += unsound(part, f"{name}: ")
    return problems


def load_model(folder: Path) -> list[str]:
    """Loads model and processor through Auto classes and looks at the loading report."""
    import transformers

    import hfseg

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    architecture = config["architectures"][0]
    # The folder's own list says which Auto class finds the model, and whether transformers has that one; the classes of
    # several heads share one entry, where `architectures` decides.
    named = [
        key
        for key, value in config["auto_map"].items()
        if key not in ("AutoConfig", "AutoModel") and value.endswith("." + architecture) and hasattr(transformers, key)
    ]
    problems = []
    model_class = getattr(transformers, named[0]) if named else getattr(hfseg, architecture)
    model, report = model_class.from_pretrained(folder, output_loading_info=True)
    if type(model).__name__ != architecture:
        problems.append(f"config.json says {architecture}, but {named[0]} loads {type(model).__name__}.")
    for kind, text in (("missing_keys", "lacks"), ("unexpected_keys", "has the unknown"), ("mismatched_keys", "has")):
        keys = sorted(str(key) for key in report.get(kind, ()))
        if keys:
            shape = " of another shape" if kind == "mismatched_keys" else ""
            problems.append(f"The checkpoint {text} {len(keys)} tensor(s){shape}, e.g. {', '.join(keys[:3])}.")
    auto = "AutoProcessor" if (folder / "processor_config.json").is_file() else "AutoImageProcessor"
    getattr(transformers, auto).from_pretrained(folder, trust_remote_code=False)
    return [*problems, *unsound(model)]


def unsound(model, prefix: str = "") -> list[str]:
    """Lists parameters that are not finite."""
    names = [name for name, value in model.named_parameters() if not bool(value.isfinite().all())]
    return [f"{prefix}{len(names)} tensor(s) are not finite, e.g. {names[0]}."] if names else []


def main(folders: list[Path]) -> None:
    """Loads and reports."""
    for folder in folders:
        found = load_pipeline(folder) if (folder / "model_index.json").is_file() else load_model(folder)
        print(json.dumps({"problems": found}))


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
