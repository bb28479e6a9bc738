# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Loads folders as a user of the Hub does; run as a script in a new process, which must not have imported hfseg.

Prints one line of JSON with `problems` per folder. `hub.checks.loading_problems` hands this file to an interpreter.
"""

import json
import sys
from pathlib import Path


def load_pipeline(folder: Path) -> list[str]:
    """Loads a diffusers pipeline and looks at its weights."""
    import torch
    from diffusers import DiffusionPipeline

    pipe = DiffusionPipeline.from_pretrained(str(folder), trust_remote_code=True)
    models = {name: part for name, part in pipe.components.items() if isinstance(part, torch.nn.Module)}
    return [problem for name, part in models.items() for problem in unsound(part, f"{name}: ")]


def load_model(folder: Path) -> list[str]:
    """Loads model and processor through Auto classes and looks at the loading report."""
    import transformers

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
    if named:
        model, report = getattr(transformers, named[0]).from_pretrained(
            folder, trust_remote_code=True, output_loading_info=True
        )
    else:  # the package's own Auto class, which the trusted configuration brings along
        transformers.AutoConfig.from_pretrained(folder, trust_remote_code=True)
        model_class = getattr(sys.modules["hfseg"], architecture)
        model, report = model_class.from_pretrained(folder, output_loading_info=True)
    if type(model).__name__ != architecture:
        problems.append(f"config.json says {architecture}, but {named[0]} loads {type(model).__name__}.")
    for kind, text in (("missing_keys", "lacks"), ("unexpected_keys", "has the unknown"), ("mismatched_keys", "has")):
        keys = sorted(str(key) for key in report.get(kind, ()))
        if keys:
            shape = " of another shape" if kind == "mismatched_keys" else ""
            problems.append(f"The checkpoint {text} {len(keys)} tensor(s){shape}, e.g. {', '.join(keys[:3])}.")
    auto = "AutoProcessor" if (folder / "processor_config.json").is_file() else "AutoImageProcessor"
    getattr(transformers, auto).from_pretrained(folder, trust_remote_code=True)
    return [*problems, *unsound(model)]


def unsound(model, prefix: str = "") -> list[str]:
    """Lists parameters that are not finite."""
    names = [name for name, value in model.named_parameters() if not bool(value.isfinite().all())]
    return [f"{prefix}{len(names)} tensor(s) are not finite, e.g. {names[0]}."] if names else []


def main(folders: list[Path]) -> None:
    """Loads and reports."""
    assert "hfseg" not in sys.modules, "hfseg was imported before"
    for folder in folders:
        found = load_pipeline(folder) if (folder / "model_index.json").is_file() else load_model(folder)
        print(json.dumps({"problems": found}))


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
