# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The order of the house: who may import whom, what an import costs, and that public names and their examples work."""

import ast
import doctest
import importlib
import importlib.util
import json
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import hfseg
from hfseg import auto

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
    # Without PyTorch: of the rooms that need none, and of `processing` the two modules that do not.
    "onnx": {"files", "processing", "volumes"},
    # Models only through the Auto classes.
    "tasks": {"auto", "files"},
    # Inference: the averaging of views, when `tta` asks for it.
    "pipelines": {"files", "inference", "postprocess", "results"},
    "inference": {"auto", "files", "postprocess", "results", "tasks", "volumes"},
    "evaluation": {"data", "files", "inference", "metrics", "processing", "results", "tasks", "volumes"},
    # Losses: for pre-training whose model has none of its own.
    "training": {
        "auto",
        "backbone_weights",
        "data",
        "evaluation",
        "files",
        "hub",
        "inference",
        "losses",
        "metrics",
        "results",
        "tasks",
    },
    "backbone_weights": {"models"},
    # Inference: the fixed text of the handler that is published.
    "hub": {"auto", "data", "files", "inference", "models", "results"},
    "recipes": set(),
    "demo": {"files", "inference", "results", "tasks", "volumes"},
    "auto": {"pipelines", "models"},
}
FORBIDDEN_EVERYWHERE = "commands"
# Shared by all models: on saving it asks the table which Auto classes to name; when used, not when imported.
EXCEPTIONS = {
    # What an architecture trains on its own: tasks of the one loop.
    "models/lavin_dit/training_lavin_dit.py": {"training", "data"},
    "models/proscale/training_proscale.py": {"training", "data"},
    "models/proscale/training_open_vocabulary_proscale.py": {"training", "data", "evaluation"},
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


# Where a name means the origin of data or of a formula, not a model.
NAMED_ORIGINS = {"metrics/referring_segmentation.py", "data/readers/refer.py"}


def names_of_architectures(file: Path) -> list[str]:
    """Lists identifiers and strings of a source file that name an architecture; docstrings and comments may."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    found = []
    for node in ast.walk(tree):
        text = ""
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            text = node.value
        elif isinstance(node, (ast.Name, ast.alias, ast.ImportFrom)):
            text = getattr(node, "id", None) or getattr(node, "name", None) or getattr(node, "module", None) or ""
        elif isinstance(node, ast.Attribute):
            text = node.attr
        names = [row.model_type for row in auto.ARCHITECTURES]
        plain = text.lower().replace("-", "").replace("_", "")
        found += [text for name in names if re.search(rf"(?<![a-z]){name.replace('_', '')}", plain)]
    return found


def test_no_architecture_is_named_outside_its_folder_and_row():
    """Adding a model touches its folder, one row, recipes, tests and a card: no list of names hides elsewhere."""
    for file in SOURCE_FILES:
        path = file.relative_to(SOURCE)
        # `if TYPE_CHECKING` in the package's own file tells editors the public names.
        if path.parts[0] in ("models", "auto.py", "__init__.py", "recipes", "checkpoints"):
            continue
        if path.as_posix() not in NAMED_ORIGINS:
            assert not names_of_architectures(file), path


def test_names_of_architectures_are_seen(tmp_path):
    file = tmp_path / "x.py"
    text = '"""proscale."""\nfrom ..models.cris import y\n\n\ndef f():\n    """vpnext"""\n    return "lavin-dit"\n'
    file.write_text(text)
    assert len(names_of_architectures(file)) == 2
    file.write_text("x = hfseg.UnpairSegModel\ndescribed = scripts  # cris\n")
    assert names_of_architectures(file) == ["UnpairSegModel"]


def test_commands_are_parsers():
    for file in (SOURCE / "commands").glob("*.py"):
        assert len(file.read_text(encoding="utf-8").splitlines()) <= 150, file.name


@pytest.mark.parametrize("file", SOURCE_FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_files_name_their_license(file):
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


# ------------------------------------------------------------------------------------------------------ sizes and tests
MODULE_LINES, FUNCTION_LINES = 700, 80


@pytest.mark.parametrize("file", SOURCE_FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_modules_and_functions_are_short(file):
    """A module fits a sitting, a function two screens; signature and docstring count."""
    text, name = file.read_text(encoding="utf-8"), file.relative_to(SOURCE).as_posix()
    assert text.count("\n") <= MODULE_LINES, f"{name} has more than {MODULE_LINES} lines: split it"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = node.end_lineno - node.lineno + 1
            assert lines <= FUNCTION_LINES, (
                f"{name}: {node.name} has {lines} lines, more than {FUNCTION_LINES}: split it"
            )


def test_functions_do_not_branch_too_often():
    """McCabe's cyclomatic complexity, with functions within functions, comprehensions and every `and`."""
    spec = importlib.util.spec_from_file_location("house", TESTS.parent / "scripts" / "house.py")
    house = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(house)
    example = "def f(x):\n    for y in x:\n        if y and x:\n            return [z for z in y if z]\n"
    example += "    return 0 if x else 1"
    assert house.complexities(ast.parse(example)) == [(7, "f")]
    for file in SOURCE_FILES:
        for count, name in house.complexities(ast.parse(file.read_text(encoding="utf-8"))):
            assert count <= house.COMPLEXITY, (
                f"{file.relative_to(SOURCE)}: {name} has complexity {count}, more than {house.COMPLEXITY}: split it"
            )


TESTS = Path(__file__).parent
# Tests that belong to no single module, with what they are of.
TESTS_OF_MORE = {
    "demo/test_demo_browser.py": "the demo as a browser shows it",
    "hub/test_push.py": "`commands.push` with `hub.checks` and `hub.publishing`",
    "hub/test_push_other_kinds.py": "likewise, of the other kinds of folders",
}
# Rooms of files that are no modules.
ROOMS_OF_DATA = ("recipes",)


def test_tests_mirror_the_source():
    """`tests/ROOM/test_MODULE.py` or `test_MODULE_WHAT.py`; for a folder `test_FOLDER.py` or `test_FOLDER_WHAT.py`.

    Names of test files are unique, as pytest wants them.
    """
    rooms = {path.name for path in SOURCE.iterdir() if path.is_dir()}
    for file in sorted(TESTS.rglob("test_*.py")):
        place = file.relative_to(TESTS)
        if place.parts[0] not in rooms - set(ROOMS_OF_DATA) or place.as_posix() in TESTS_OF_MORE:
            continue
        folder = SOURCE / place.parent
        assert folder.is_dir(), f"{place}: there is no {folder.relative_to(SOURCE.parent)}"
        names = [folder.name, *(path.stem for path in folder.iterdir() if path.suffix == ".py" or path.is_dir())]
        what = place.stem.removeprefix("test_")
        assert any(what == name or what.startswith(f"{name}_") for name in names), (
            f"{place} is named after no module of {folder.relative_to(SOURCE.parent)}"
        )
    names = [file.name for file in TESTS.rglob("test_*.py") if not (file.parent / "__init__.py").exists()]
    assert len(names) == len(set(names)), sorted({name for name in names if names.count(name) > 1})


# Modules whose tests have another name, and where they are; and those without tests of their own, with the reason.
TESTED_ELSEWHERE = {
    "commands/push.py": "hub/test_push.py",
    "commands/push_dataset.py": "hub/test_dataset_publishing.py",
    "evaluation/closed_vocabulary.py": "commands/test_evaluate.py",
    "files/images.py": "hostile/test_images.py",
    "files/model_folders.py": "hostile/test_model_folders.py",
    "hub/loading.py": "hub/test_checks.py",
    "results/incomplete.py": "processing/test_limits.py",
    "training/quickstart.py": "commands/test_quickstart.py",
    "training/runner.py": "training/test_loop_by_command.py",
    "training/tasks/medical.py": "recipes/test_medical_recipes.py",
    "training/tasks/referring.py": "recipes/test_cris_recipes.py",
}
WITHOUT_TESTS = {
    "models/outputs.py": "a function, whose example is run, and fields that the models' tests read",
    "models/sub_configs.py": "one function, whose example is run",
    "pipelines/auto_models.py": "declares two Auto classes, which every test of their models loads with",
    "training/protocols.py": "declares methods and has none",
    "volumes/packages.py": "imports a package or says how to install it",
}


def test_modules_have_tests_of_their_name():
    """`ROOM/MODULE.py` has `tests/ROOM/test_MODULE.py` or `test_MODULE_WHAT.py`, or stands in one of the two lists.

    Image processors on Pillow are tested with their twins, which share all but the hooks of `processing.pil_backend`.
    """
    without = set()
    for file in SOURCE_FILES:
        module = file.relative_to(SOURCE)
        stem = module.stem.replace("image_processing_pil_", "image_processing_")
        names = {path.stem for path in (TESTS / module.parent).glob("test_*.py")}
        if not stem.startswith("__") and not any(n == f"test_{stem}" or n.startswith(f"test_{stem}_") for n in names):
            without.add(module.as_posix())
    assert without == {*TESTED_ELSEWHERE, *WITHOUT_TESTS}
    for module, tests in TESTED_ELSEWHERE.items():
        assert (TESTS / tests).is_file(), f"{module}: there is no {tests}"


def module_imports() -> dict[str, set[str]]:
    """Lists, per module of `data`, the modules of `data` that it imports, at any place; types alone do not count."""
    files = {
        ".".join(["hfseg", *file.relative_to(SOURCE).with_suffix("").parts]).removesuffix(".__init__"): file
        for file in SOURCE_FILES
        if room_of(file) == "data"
    }
    imports: dict[str, set[str]] = {}
    for name, file in files.items():
        tree, package = ast.parse(file.read_text(encoding="utf-8")), ["hfseg", *file.relative_to(SOURCE).parts[:-1]]
        for_types = {
            id(node)
            for block in ast.walk(tree)
            if isinstance(block, ast.If) and getattr(block.test, "id", "") == "TYPE_CHECKING"
            for node in ast.walk(block)
        }
        imports[name] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and id(node) not in for_types:
                base = package[: len(package) - node.level + 1] if node.level else []
                module = ".".join([*base, *([node.module] if node.module else [])])
                for alias in node.names:
                    imports[name] |= {full for full in (f"{module}.{alias.name}", module) if full in files} - {name}
    return imports


def test_modules_of_data_import_each_other_in_one_direction():
    imports = module_imports()
    while leaves := {name for name, needed in imports.items() if not needed & set(imports)}:
        imports = {name: needed for name, needed in imports.items() if name not in leaves}
    assert not imports, f"these modules, or what they import, import each other in a circle: {sorted(imports)}"


def test_silenced_types_name_their_error():
    for file in SOURCE_FILES:
        for line in file.read_text(encoding="utf-8").splitlines():
            assert "type: ignore" not in line or "type: ignore[" in line, f"{file}: name the error code: {line.strip()}"
