# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The order of the house: who may import whom, what an import costs, and that public names and their examples work."""

import ast
import doctest
import importlib
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import hfseg

SOURCE = Path(hfseg.__file__).parent
FIRST_LINE = "# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0."

# Room -> rooms it may import besides itself. A room is a folder or file directly in the package.
ROOMS = {
    "layers": set(),
    "losses": {"layers"},
    "files": set(),
    "volumes": {"files"},
    "postprocess": set(),
    "results": {"files"},
    "processing": {"files", "postprocess", "results"},
    "models": {"layers", "losses", "files", "postprocess", "processing", "results", "volumes"},
    "data": {"files", "results", "volumes"},
    "metrics": {"files", "results", "data"},
    # Models only through the Auto classes.
    "pipelines": {"files", "postprocess", "results"},
    "inference": {"auto", "files", "postprocess", "results", "volumes"},
    "evaluation": {"data", "files", "inference", "metrics", "processing", "results"},
    # Losses: for pre-training whose model has none of its own.
    "training": {"auto", "backbone_weights", "data", "evaluation", "files", "hub", "losses", "metrics"},
    "backbone_weights": {"models"},
    "hub": {"auto", "files", "models"},
    "recipes": set(),
    "demo": {"files", "inference", "results", "volumes"},
    "auto": {"pipelines", "models"},
}
FORBIDDEN_EVERYWHERE = "commands"
# Shared by all models: on saving it asks the table which Auto classes to name; when used, not when imported.
EXCEPTIONS = {
    # What an architecture trains on its own: tasks of the one loop.
    "models/unisegformer/training_unisegformer.py": {"training", "data", "metrics"},
    "models/unpairseg/training_unpairseg.py": {"auto", "training", "data", "metrics", "evaluation"},
    "files/remote_code.py": {"auto"},
    # `predict_volume` hands itself to the function of that name, when called.
    "models/meddensevit/modeling_meddensevit.py": {"inference"},
}
# Loaded when used, never by `import hfseg`.
HEAVY = [
    "diffusers",
    "timm",
    "monai",
    "nibabel",
    "pydicom",
    "gradio",
    "av",
    "onnx",
    "onnxruntime",
    "pycocotools",
    "matplotlib",
    "datasets",
    "evaluate",
]


def imported_rooms(file: Path) -> set[str]:
    """Lists the rooms that a source file imports from, wherever in the file it does."""
    package = ["hfseg", *file.relative_to(SOURCE).parts[:-1]]
    rooms = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = [*base, *(node.module or "").split(".")] if node.module else base
            names = [".".join([*module, alias.name]) for alias in node.names]
        else:
            continue
        rooms |= {name.split(".")[1] for name in names if name.startswith("hfseg.")}
    return rooms


def room_of(file: Path) -> str:
    """Names the room of a source file."""
    return file.relative_to(SOURCE).parts[0].removesuffix(".py")


SOURCE_FILES = sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("file", SOURCE_FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_rooms_import_only_what_they_may(file):
    room, imported = room_of(file), imported_rooms(file)
    if room != FORBIDDEN_EVERYWHERE and file.relative_to(SOURCE).parts not in (("__init__.py",), ("__main__.py",)):
        assert FORBIDDEN_EVERYWHERE not in imported
    if room in ROOMS:
        allowed = {room} | ROOMS[room] | EXCEPTIONS.get(file.relative_to(SOURCE).as_posix(), set())
        assert not imported - allowed, f"{room} imports {sorted(imported - allowed)}"


def test_the_import_rules_see_imports(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "SOURCE", tmp_path)
    (tmp_path / "layers").mkdir()
    file = tmp_path / "layers" / "x.py"
    file.write_text(
        "from ..models.proscale import y\nfrom . import z\nfrom .. import auto\n\ndef f():\n    import hfseg.data"
    )
    assert imported_rooms(file) == {"models", "layers", "auto", "data"}


def test_models_do_not_import_each_other():
    for file in SOURCE_FILES:
        parts = file.relative_to(SOURCE).parts
        if parts[0] != "models" or len(parts) < 3:
            continue
        others = {path.name for path in (SOURCE / "models").iterdir() if path.is_dir()} - {parts[1]}
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                assert not (node.level == 2 and node.module.split(".")[0] in others), (file, node.module)


@pytest.mark.parametrize("file", SOURCE_FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_files_name_their_licence(file):
    text = file.read_text(encoding="utf-8")
    assert not text.strip() or text.startswith(FIRST_LINE)


def test_import_is_light():
    code = f"import hfseg, json, sys; print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    before = "import transformers, json, sys; from transformers import AutoModel, pipeline; "
    before += f"print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    loaded = [
        json.loads(subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout)
        for text in (code, before)
    ]
    assert not set(loaded[0]) - set(loaded[1]), "import hfseg loads what should load when used"


def test_public_names_resolve():
    assert "ProScaleForUniversalSegmentation" in hfseg.__all__
    for name in hfseg.__all__:
        assert getattr(hfseg, name) is not None
        assert name in dir(hfseg)
    with pytest.raises(AttributeError, match="NoSuchModel"):
        hfseg.NoSuchModel  # noqa: B018


def modules() -> list[str]:
    """Lists the modules of the package."""
    return sorted(info.name for info in pkgutil.walk_packages(hfseg.__path__, "hfseg."))


@pytest.mark.parametrize("name", modules())
def test_examples_run(name):
    """Doctests; a module that needs an optional package is not imported without it."""
    source = importlib.util.find_spec(name).origin
    if ">>>" not in Path(source).read_text(encoding="utf-8"):
        importlib.util.find_spec(name)
        return
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("hfseg"):
            raise
        pytest.skip(f"{name} needs {error.name}")
    result = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0
