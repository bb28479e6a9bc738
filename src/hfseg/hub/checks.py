# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What a folder must be before it is published: safe files, complete settings, a complete card, and it must load."""

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .. import auto
from ..files.remote_code import SHIM, auto_classes
from .cards import card_problems

PICKLE_ENDINGS = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib")
LOADING_SCRIPT = Path(__file__).with_name("loading.py")


def is_pickle(path: Path) -> bool:
    """Says whether a file is, or by its name may be, a pickle: loading one can run any code."""
    if path.suffix.lower() in PICKLE_ENDINGS:
        return True
    with open(path, "rb") as file:
        head = file.read(4)
    if head[:1] == b"\x80" and len(head) > 1 and 2 <= head[1] <= 5:
        return True
    if head == b"PK\x03\x04" and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".pkl") for name in archive.namelist())
    return False


def pickle_problems(paths: Iterable[Path], root: Path) -> list[str]:
    """Lists pickles."""
    return [
        f"{path.relative_to(root)} is a pickle, which can run code when it is loaded: delete it, or save the weights "
        "as safetensors (model.save_pretrained does)."
        for path in paths
        if is_pickle(path)
    ]


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        ValueError: If it is none.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path.name} is no valid JSON ({error}); save the model again.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} holds a {type(content).__name__}, not an object; save the model again.")
    return content


def folder_problems(folder: Path, max_shard_size: int) -> list[str]:
    """Lists what is wrong with the files of a repository as it would be published; empty if nothing."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    problems = pickle_problems(files, folder)
    card = folder / "README.md"
    if card.is_file():
        problems += card_problems(card.read_text(encoding="utf-8"))
    else:
        problems.append(
            "There is no model card: write README.md (hfseg train does; model_cards/ of the project has examples)."
        )
    try:
        is_pipeline = (folder / "model_index.json").is_file()
        problems += (_pipeline_problems if is_pipeline else _model_problems)(folder)
    except ValueError as error:
        problems.append(str(error))
    for path in files:
        if path.suffix == ".safetensors" and path.stat().st_size > max_shard_size * 1.05:
            problems.append(
                f"{path.relative_to(folder)} has {path.stat().st_size:,} bytes; save it in shards of at most "
                f"{max_shard_size:,}."
            )
    return problems


def _weights_problems(folder: Path, stem: str, where: str = "") -> list[str]:
    """Lists missing weights: one file, or all shards that the index names."""
    index = folder / f"{stem}.safetensors.index.json"
    if index.is_file():
        shards = set(read_json(index).get("weight_map", {}).values())
        missing = sorted(name for name in shards if not (folder / name).is_file())
        if not shards:
            return [f"{where}{index.name} names no file; save the model again."]
        return [f"{where}{index.name} names {', '.join(missing)}, which is missing."] if missing else []
    if not (folder / f"{stem}.safetensors").is_file():
        return [f"There are no weights: {where}{stem}.safetensors is missing (model.save_pretrained writes it)."]
    return []


def _model_problems(folder: Path) -> list[str]:
    """Lists what a folder of transformers lacks."""
    if not (folder / "config.json").is_file():
        return ["There is neither a config.json nor a model_index.json: give the folder that save_pretrained wrote."]
    problems = _weights_problems(folder, "model")
    config = read_json(folder / "config.json")
    try:
        row = auto.find(str(config.get("model_type")))
    except ValueError as error:
        return [*problems, f"config.json: {error}"]
    problems += _config_problems(config, row)
    classes = {name.partition(".")[2] for name in auto_classes(row.model_type, class_of(config)).values()}
    problems += _shim_problems(folder / f"{SHIM}.py", classes)
    return problems + _processor_problems(folder, row.processor is not None)


def class_of(config: Mapping[str, Any]) -> str:
    """Class that a configuration was saved of; empty where it names none."""
    return str(next(iter(config.get("architectures") or []), ""))


def _config_problems(config: Mapping[str, Any], row: auto.Architecture) -> list[str]:
    """Lists what is wrong with the class, the code and the class names that a configuration gives."""
    problems = []
    names = {name.partition(":")[2] for value in row.models.values() for name in _several(value)}
    architectures = config.get("architectures") or []
    if len(architectures) != 1 or architectures[0] not in names:
        problems.append(
            f"config.json has architectures {architectures}; it must name one of {', '.join(sorted(names))}."
        )
    mapped = {key: str(value) for key, value in config.get("auto_map", {}).items()}
    if mapped != auto_classes(row.model_type, class_of(config)):
        problems.append("config.json: auto_map is not that of this package; save the model again.")
    labels = config.get("id2label") or {}
    if labels and all(str(name) == f"LABEL_{index}" for index, name in labels.items()):
        problems.append("config.json: id2label has no class names (LABEL_0, ...); set config.id2label and save again.")
    return problems


def _processor_problems(folder: Path, has_text: bool) -> list[str]:
    """Lists what is wrong with the settings of the image processor, or of the processor of a model that reads text."""
    problems = []
    settings = [name for name in ("preprocessor_config.json", "processor_config.json") if (folder / name).is_file()]
    if has_text and "processor_config.json" not in settings:
        problems.append("processor_config.json is missing: save the processor (image processor and tokenizer) too.")
    elif not settings:
        problems.append("preprocessor_config.json is missing: save the image processor too.")
    for name in settings:
        content = read_json(folder / name)
        if name == "preprocessor_config.json" and "image_processor_type" not in content:
            problems.append(f"{name} has no image_processor_type; save the image processor again.")
        if "auto_map" not in content:
            problems.append(f"{name} has no auto_map; save the processor again.")
    if has_text and not (folder / "tokenizer_config.json").is_file():
        problems.append("tokenizer_config.json is missing: save the processor with its tokenizer.")
    return problems


def _pipeline_problems(folder: Path) -> list[str]:
    """Lists what a folder of diffusers lacks."""
    index = read_json(folder / "model_index.json")
    problems = []
    name = index.get("_class_name")
    if not (isinstance(name, list) and len(name) == 2):
        problems.append("model_index.json: _class_name must be [file, class], as this package's pipelines write it.")
    else:
        problems += _shim_problems(folder / f"{name[0]}.py", {name[1]})
    for component, (module, cls) in components(index).items():
        place = folder / component
        if not place.is_dir():
            problems.append(f"model_index.json names the component {component}, whose folder is missing.")
            continue
        if (place / "scheduler_config.json").is_file():
            pass
        elif (place / "config.json").is_file():
            problems += _weights_problems(place, "diffusion_pytorch_model", f"{component}/")
        else:
            problems.append(f"{component}/config.json is missing: save the pipeline again.")
        if module.startswith("hfseg"):
            problems.append(f"model_index.json: {component} is in {module}, where DiffusionPipeline cannot look.")
        elif module == SHIM:
            problems += _shim_problems(place / f"{SHIM}.py", {cls})
    return problems


def components(index: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Lists the components of a `model_index.json`: name to module and class."""
    return {
        name: (value[0], value[1])
        for name, value in index.items()
        if not name.startswith("_") and isinstance(value, list) and len(value) == 2 and value[0] is not None
    }


def _several(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


def _shim_problems(path: Path, names: set[str]) -> list[str]:
    """Says whether a shim imports classes of the package and nothing else happens in it."""
    if not path.is_file():
        return [f"{path.name} is missing, without which trust_remote_code=True finds nothing; save the model again."]
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    code = [line for line in lines if not line.startswith('"""')]
    wrong = [line for line in code if not line.startswith(("from hfseg import ", "import hfseg"))]
    if wrong:
        return [f"{path.name} holds code of its own ({wrong[0][:60]!r}); it may only import from hfseg."]
    imported = {
        name.strip() for line in code for name in line.partition(" import ")[2].split(",") if line.startswith("from")
    }
    missing = sorted(names - imported)
    return [f"{path.name} does not import {', '.join(missing)}; save the model again."] if missing else []


def loading_problems(*folders: Path, timeout: float = 1800) -> list[str]:
    """Loads folders in a new process, with the installed package and without remote code; lists what failed.

    The model goes through its Auto class (a pipeline part by part), offline. Every tensor must be found, none be left
    over, and all be finite; the processor must load. The shim, through which `trust_remote_code=True` finds the
    classes, is written by `stage` and compared here word by word, so it need not run.
    """
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_MODULES_CACHE": cache, "TQDM_DISABLE": "1"}
        try:
            done = subprocess.run(
                [sys.executable, "-", *(str(folder.resolve()) for folder in folders)],
                input=LOADING_SCRIPT.read_text(encoding="utf-8"),
                capture_output=True,
                text=True,
                cwd=cache,
                env=environment,
                timeout=timeout,
            )
        except subprocess.TimeoutExpired:
            return [f"The folder did not load within {timeout:.0f} seconds in a new process."]
    reports = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"problems"')]
    if done.returncode or len(reports) != len(folders):
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return [f"{folders[len(reports) % len(folders)].name} does not load in a new process: {reason}"]
    return [str(problem) for report in reports for problem in report["problems"]]
