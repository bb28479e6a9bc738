# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Model cards and README: every Python block runs as printed on a tiny model in the place of the published one.

Every command line is one that its command takes, every measured number is in a result file, the Hub takes the metadata.
"""

import argparse
import ast
import fnmatch
import importlib
import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import ModelCard, ModelCardData, metadata_eval_result
from PIL import Image

import hfseg
from contract import peaked
from hfseg import auto
from hfseg.commands.main import COMMANDS
from hfseg.data.specs import dataset_names, parse_spec
from hfseg.hub.cards import card_problems, code_blocks, split_card
from hfseg.training import load_recipe
from hfseg.training.quickstart import set_up
from hfseg.training.tasks import build_task
from lavin_dit_models import TINY as TINY_LAVIN_DIT
from write_cards import measured_results, render_cards

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "model_cards"
CARDS = sorted(FOLDER.glob("*.md"))
PAGES = [ROOT / "README.md", *sorted((FOLDER / "tasks").glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
RESULTS = sorted((FOLDER / "results").glob("*.json"))
SIZE_ROW = re.compile(r"^\| `([\w.-]+)` \| (\d+) \| (\d+) \|$", re.MULTILINE)
IMAGE = re.compile(r"\.(jpe?g|png|webp)$")
VOLUME = re.compile(r"\.nii(\.gz)?$")


def tiny_recipe(model_type: str, folder: Path) -> None:
    """Saves the model and image processor of `<model_type>-tiny-shapes`, weights drawn so that it is sure of itself."""
    job = set_up(model_type, None, ["data.train.num_scenes=2", "data.validation.num_scenes=2"])
    model = peaked(job.model)
    predictor = next((part for name, part in model.named_modules() if name.endswith("class_predictor")), None)
    if predictor is not None:
        with torch.no_grad():
            predictor.weight.mul_(20)
    model.save_pretrained(folder)
    job.image_processor.save_pretrained(folder)


def tiny_task_recipe(model_type: str, folder: Path, kind: str = "") -> None:
    """Saves the same of a recipe with another task, such as semantic or referring segmentation."""
    arguments = load_recipe(f"{model_type}-tiny-shapes{kind}", ["data.train.num_scenes=2"])
    task = build_task(arguments)
    model = task.build_model(task.build_dataset(arguments.data.train))
    model.save_pretrained(folder)
    task.build_processor(model).save_pretrained(folder)


def tiny_detector(_: str, folder: Path) -> None:
    """Saves the detector of the recipe for it; its folder is known by its name."""
    tiny_task_recipe("proscale", folder, "-detection")


def tiny_medical_recipe(model_type: str, folder: Path) -> None:
    """Saves model and image processor of `meddensevit-tiny-hippocampus`, which needs no data for that."""
    arguments = load_recipe("meddensevit-tiny-hippocampus")
    names = arguments.data.train["id2label"]
    arguments.model.config |= {"id2label": names, "label2id": {name: index for index, name in names.items()}}
    task = build_task(arguments)
    model = task.build_model(None)
    model.save_pretrained(folder)
    task.build_processor(model).save_pretrained(folder)


def tiny_pipeline(model_type: str, folder: Path) -> None:
    """Saves a pipeline with drawn weights, and a folder of examples beside it."""
    from hfseg import LavinDiTPipeline, LavinDiTScheduler, LavinDiTTransformer3DModel, PixelAutoencoder

    vae = PixelAutoencoder(2, sample_height=32, sample_width=32)
    LavinDiTPipeline(LavinDiTTransformer3DModel(**TINY_LAVIN_DIT), vae, LavinDiTScheduler()).save_pretrained(folder)
    examples = folder.parent / "template" / "depth_estimation"
    examples.mkdir(parents=True, exist_ok=True)
    for number in range(8):
        for kind in ("input", "target"):
            Image.new("RGB", (40, 30), (30 * number, 0, 0)).save(examples / f"{number}_{kind}.png")


def tiny_open_vocabulary(model_type: str, folder: Path) -> None:
    """Saves an open-vocabulary model with its processor, which keeps every mask; it serves mask generation too."""
    arguments = load_recipe(f"{model_type}-tiny-clip", ["data.train.num_scenes=2", "model.config.points_per_side=4"])
    task = build_task(arguments)
    towers = task.build_model(task.build_dataset(arguments.data.train))
    task.save(towers, folder, towers.state_dict())
    processor = task.build_processor(towers)
    processor.image_processor.score_threshold = processor.image_processor.threshold = 0.0
    processor.save_pretrained(folder)


def tiny_clip(model_type: str, folder: Path) -> None:
    """Saves what the recipe of a CLIP for `shapes` starts from, with a processor that keeps every mask."""
    arguments = load_recipe("proscale-tiny-clip", ["data.train.num_scenes=2"])
    task = build_task(arguments)
    towers = task.build_model(task.build_dataset(arguments.data.train))
    task.save(towers, folder, towers.state_dict())
    processor = task.build_processor(towers)
    processor.image_processor.threshold = 0.0
    processor.save_pretrained(folder)


# How to make the stand-in of an architecture, a function `(model_type, folder)`, where its recipe of `shapes` does not
# do alone.
STAND_INS: dict[str, Callable[[str, Path], None]] = {
    "lavin_dit": tiny_pipeline,
    "detector": tiny_detector,
    "proscale": tiny_recipe,
    "proscale_open_vocabulary": tiny_clip,
    "unpairseg": tiny_open_vocabulary,
    "unisegformer": tiny_recipe,
    "meddensevit": tiny_medical_recipe,
}


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory):
    """Puts the stand-in of an architecture into a folder; each is made once."""
    made = {}

    def place(model_type, folder):
        model_type = "detector" if "detect" in folder.name.lower() else model_type
        if model_type not in made:
            made[model_type] = tmp_path_factory.mktemp(model_type) / "model"
            STAND_INS.get(model_type, tiny_task_recipe)(model_type, made[model_type])
        shutil.copytree(made[model_type], folder, dirs_exist_ok=True)
        for beside in made[model_type].parent.iterdir():  # what an example reads besides the model
            if beside != made[model_type]:
                shutil.copytree(beside, folder.parent / beside.name, dirs_exist_ok=True)

    return place


def models_in(code: str) -> set[str]:
    """Collects the names that an example loads: `model=` of any call, or what `from_pretrained` is given."""
    names = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call):
            given = [keyword.value for keyword in node.keywords if keyword.arg == "model"]
            if isinstance(node.func, ast.Attribute) and node.func.attr == "from_pretrained":
                given += node.args[:1]
            names |= {
                value.value for value in given if isinstance(value, ast.Constant) and isinstance(value.value, str)
            }
    return names


def model_type_of(card: Path) -> str:
    """Finds the architecture among the card's tags."""
    known = {row.model_type for row in auto.ARCHITECTURES}
    found = known & set(ModelCard.load(card).data.tags or ())
    assert len(found) == 1, f"{card.name}: exactly one tag must be one of {sorted(known)}"
    return found.pop()


def write_inputs(code: str) -> None:
    """Writes, into the working folder, the images and volumes that an example reads."""
    strings = [node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Constant)]
    for name in (value for value in strings if isinstance(value, str)):
        if IMAGE.search(name):
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            noise = torch.randint(256, (96, 128, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
            Image.fromarray(noise.numpy()).resize((160, 120)).save(name)
        if VOLUME.search(name):
            nibabel = pytest.importorskip("nibabel")
            noise = 100 * torch.rand(20, 24, 6, generator=torch.Generator().manual_seed(0))
            nibabel.save(
                nibabel.Nifti1Image(noise.numpy(), [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1]]), name
            )


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.stem)
def test_examples_run(card, tmp_path, monkeypatch, capsys, stand_in):
    """All Python blocks of a card, in one go; the first loads a model and shows a result."""
    model_type = model_type_of(card)
    blocks = code_blocks(card.read_text(encoding="utf-8"), "python")
    if model_type == "lavin_dit" and not blocks:
        pytest.skip("a report of a run, without a published model")
    assert blocks, f"{card.name} shows no Python"
    assert models_in(blocks[0]), "the example loads no model: pipeline(..., model=NAME) or X.from_pretrained(NAME)"
    monkeypatch.chdir(tmp_path)  # a folder of that name beside the script is what from_pretrained takes first
    namespace = {"__name__": "__main__"}
    for number, code in enumerate(blocks):
        for name in models_in(code):
            stand_in(model_type, tmp_path / name)
        write_inputs(code)
        capsys.readouterr()
        exec(compile(code, str(card), "exec"), namespace)
        assert number or capsys.readouterr().out.strip(), "the example shows no result"


def page_model_type(name: str) -> str:
    """Says which architecture a folder of README's and the task pages' examples stands for, by its name."""
    known = [row.model_type for row in auto.ARCHITECTURES]
    return next((model_type for model_type in known if model_type in name.replace("-", "_")), "proscale")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_examples_of_pages_run(page, tmp_path, monkeypatch, stand_in):
    """Python of README and task pages, from top to bottom: what is imported once stays."""
    blocks = code_blocks(page.read_text(encoding="utf-8"), "python")
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "__main__"}
    for code in blocks:
        for name in models_in(code):
            stand_in(page_model_type(name), tmp_path / name)
        write_inputs(code)
        exec(compile(code, str(page), "exec"), namespace)


# ------------------------------------------------------------------------------------------------------- command lines


class ParsedError(Exception):
    """The command line was understood; nothing is to run."""


def command_lines(text: str) -> list[str]:
    """Lists the command lines of the shell blocks of a page."""
    lines = []
    for block in [*code_blocks(text, "bash"), *code_blocks(text, "sh"), *code_blocks(text, "shell")]:
        joined = re.sub(r"\\\n\s*", " ", block)
        for line in joined.splitlines():
            lines += [part.strip() for part in re.split(r"&&|;", line.partition("  # ")[0]) if part.strip()]
    return [line for line in lines if not line.startswith("#")]


def module_of(script: Path) -> str:
    """Names the module whose `main` a script calls; its own if it has one."""
    found = re.search(r"from ([\w.]+) import main", script.read_text(encoding="utf-8"))
    return script.stem if found is None else found[1]


# Script -> module whose `main` parses its arguments.
SCRIPTS = {path.stem: module_of(path) for path in (ROOT / "scripts").glob("*.py")}


def command_of(line: str) -> tuple[str, list[str]] | None:
    """Finds command and arguments of a line that runs this package; None for others.

    Raises:
        AssertionError: The script or command does not exist.
    """
    words = shlex.split(line)
    while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        words = words[1:]
    if words[:2] == ["accelerate", "launch"] and "-m" in words and words[words.index("-m") + 1] == "hfseg":
        words = words[words.index("-m") + 1 :]
    script = next((index for index, word in enumerate(words[:6]) if re.fullmatch(r"scripts/\w+\.py", word)), None)
    if script is not None:
        assert Path(words[script]).stem in SCRIPTS, f"there is no {words[script]}"
        return SCRIPTS[Path(words[script]).stem], words[script + 1 :]
    if words[0] == "hfseg":
        assert words[1] in COMMANDS, f"there is no command hfseg {words[1]}"
        return f"hfseg.commands.{words[1].replace('-', '_')}", words[2:]
    return None


def check_line(line: str, monkeypatch) -> None:
    """Lets the command itself parse the line; recipes are loaded, datasets looked up, extras compared."""
    if "pip install" in line:
        offered = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        for extra in re.findall(r"\[([\w,-]+)\]", line):
            assert all(re.search(rf"^{name} = \[", offered, re.MULTILINE) for name in extra.split(",")), line
    found = command_of(line)
    if found is None:
        known = ("pip ", "python -m ", "HF_HUB_OFFLINE=1 ", "hf ", "cd ", "git ", "source ", "torchrun ")
        assert line.startswith(known) or "pip install" in line, f"what is {line!r}?"
        return
    name, arguments = found

    def stopping(original):
        def parse(parser, *given, **more):
            raise ParsedError(original(parser, *given, **more))

        return parse

    with monkeypatch.context() as patch:
        for method in ("parse_args", "parse_intermixed_args"):
            patch.setattr(argparse.ArgumentParser, method, stopping(getattr(argparse.ArgumentParser, method)))
        try:
            importlib.import_module(name).main(arguments)
            raise AssertionError(f"{line!r} was not parsed by argparse")
        except ParsedError as parsed:
            options = parsed.args[0]
        except SystemExit as error:
            raise AssertionError(f"the command refuses {line!r}") from error
    if getattr(options, "recipe", None) is not None and not str(options.recipe).isupper():
        load_recipe(str(options.recipe), list(getattr(options, "overrides", ()) or ()))
    dataset = getattr(options, "dataset", None)
    if name == "hfseg.commands.evaluate" and isinstance(dataset, str) and not dataset.split(":")[0].isupper():
        name = parse_spec(dataset).name or dataset
        known = {*dataset_names(), "shapes"}
        # Beginning like this, it is the reader's own.
        assert name.partition("/")[0] in known or name.startswith(("my_", "photos")), f"{line!r}: no {dataset!r}"


COUNTED = [card for card in CARDS if re.match(r"proscale-.*-panoptic", card.name)]


@pytest.mark.parametrize("card", COUNTED, ids=lambda path: path.stem)
def test_the_recipe_line_builds_the_model_of_the_card(card):
    """By its number of trained parameters, which the cards have from another count."""
    if "mvit" in card.name:
        pytest.importorskip("timm")
    text = card.read_text(encoding="utf-8")
    (stated,) = re.findall(r"\| parameters \| ([\d,]+) \|", text)
    line = next(line for line in command_lines(text) if "train.py" in line)
    (recipe,) = re.findall(r"--recipe (\S+)", line)
    changes = {key: yaml.safe_load(value) for key, value in re.findall(r" model\.config\.(\w+)=(\S+)", line)}
    with torch.device("meta"):
        model = hfseg.from_recipe(recipe, **changes)
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert trained == int(stated.replace(",", ""))


SIZED = [card for card in CARDS if re.match(r"proscale-.*-panoptic|unisegformer-|vpnext-eva", card.name)]


@pytest.mark.parametrize("card", SIZED, ids=lambda path: path.stem)
def test_preprocessing_is_that_of_the_recipe(card):
    """Sides that a card states, in a table by recipe or in words for the recipe that it prints."""
    text = card.read_text(encoding="utf-8")
    stated = {name: (int(short), int(long)) for name, short, long in re.findall(SIZE_ROW, text)}
    paragraph = r"\*\*Preprocessing\.\*\* Short side (?:to )?(\d+)(?:, long side at most (\d+))?"
    for short, long in re.findall(paragraph, text):
        stated |= dict.fromkeys(re.findall(r"--recipe ([\w.-]+)", text), (int(short), int(long) if long else None))
    if "vpnext-eva02-large-cityscapes" not in card.name and card.stem != "unisegformer-tiny-shapes":
        assert stated
    for name, sides in stated.items():
        size = load_recipe(name).model.processor["size"]
        assert (size["shortest_edge"], size.get("longest_edge")) == sides, name


@pytest.mark.parametrize("page", [*CARDS, *PAGES], ids=lambda page: page.stem)
def test_command_lines_are_legal(page, monkeypatch):
    for line in command_lines(page.read_text(encoding="utf-8")):
        check_line(line, monkeypatch)


def test_wrong_command_lines_are_found(monkeypatch):
    good = "accelerate launch scripts/train.py --recipe proscale-tiny-shapes --output_dir x run.max_steps=2"
    check_line(good, monkeypatch)
    for wrong in (
        good.replace("proscale-tiny-shapes", "no-such-recipe"),
        good.replace("--output_dir", "--outputs"),
        good.replace("run.max_steps", "run.no_such_field"),
        "python scripts/no_such.py",
        "hfseg nothing",
        "python scripts/evaluate.py --model x --dataset no_such_set --output_dir y",
        'pip install "hfseg[none]"',
        "rm -rf /",
    ):
        try:
            check_line(wrong, monkeypatch)
        except (AssertionError, ValueError, FileNotFoundError):
            continue
        pytest.fail(f"{wrong!r} passed")


@pytest.mark.parametrize("file", RESULTS, ids=lambda file: file.stem)
def test_results_say_how_they_came_about(file, monkeypatch):
    """Command, commit, device, date; and the command is one that there is."""
    result = json.loads(file.read_text(encoding="utf-8"))
    assert result["commit"] and result["device"] and result["date"] and result["versions"]["torch"]
    assert all(rows and all(isinstance(row, dict) for row in rows) for rows in result["tables"].values())
    check_line(result["command"], monkeypatch)


# ------------------------------------------------------------------------------------------------------------- numbers

# Not (3,3,3), which is a name.
NUMBER = re.compile(r"(?<![\w.,(])-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?![\w]*\.(?:json|md|py|png)|,\d)")


def leaves(content):
    """Lists the numbers of a JSON value."""
    if isinstance(content, dict):
        return [number for value in content.values() for number in leaves(value)]
    if isinstance(content, list):
        return [number for value in content for number in leaves(value)]
    return [float(content)] if isinstance(content, (int, float)) and not isinstance(content, bool) else []


def is_backed(text: str, numbers: list[float], source: str) -> bool:
    """Says whether a printed number is one of the file's, rounded as printed, or stands in its text.

    Units: as it is, in thousands, millions or billions, in percent.
    """
    plain = text.replace(",", "")
    if re.search(rf"(?<![\d.]){re.escape(plain)}(?![\d]|\.\d)", source):
        return True
    half = 0.5001 * 10.0 ** -len(plain.partition(".")[2])  # exact halves round either way
    factors = (1, 1e-3, 1e-6, 1e-9, 1e-12, 100, 1e3)
    candidates = [number * factor for number in numbers for factor in factors]
    candidates += [1 / number for number in numbers if number]
    return any(abs(candidate - float(plain)) <= half for candidate in candidates)


def cited_numbers(text: str):
    """Yields (file pattern, number, where) of what a card says to be in a result file.

    A row of a table is answered for by the file that it names; where a paragraph names one, the numbers with a point or
    a thousands' comma in it and in the table below it. Rows that say `published` or `paper` are others' figures.
    """
    _, body = split_card(text)
    inherited: list[str] = []
    for block in re.split(r"\n\s*\n", body):
        is_table = block.lstrip().startswith("|")
        for line in block.splitlines() if is_table else [block]:
            own = re.findall(r"`(?:model_cards/)?results/([\w.*-]+\.json)`", line)
            files = own or (inherited if is_table else [])
            if not files or re.search(r"\b(published|paper|specification)\b", line):
                continue
            clean = re.sub(r"`[^`]*`|\]\([^)]*\)", " ", line)
            for number in NUMBER.findall(clean):
                if (is_table and own) or re.search(r"[.,]\d", number):
                    yield files, number.rstrip(","), line.strip()[:100]
        if not is_table:
            inherited = re.findall(r"`(?:model_cards/)?results/([\w.*-]+\.json)`", block)


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.stem)
def test_measured_numbers_are_in_the_result_files(card):
    for patterns, number, where in cited_numbers(card.read_text(encoding="utf-8")):
        files = [file for file in RESULTS if any(fnmatch.fnmatch(file.name, pattern) for pattern in patterns)]
        assert files, f"{card.name} names {patterns}, which does not exist"
        texts = [file.read_text(encoding="utf-8") for file in files]
        found = any(is_backed(number, leaves(json.loads(text)), text) for text in texts)
        assert found, f"{card.name}: {number} is not in {patterns}: {where}"


def test_invented_numbers_are_found():
    card = (FOLDER / "meddensevit-base.md").read_text(encoding="utf-8")
    (numbers,) = [number for _, number, _ in cited_numbers(card) if number == "92,167,710"]
    file = FOLDER / "results" / "meddensevit_params.json"
    text = file.read_text(encoding="utf-8")
    assert is_backed(numbers, leaves(json.loads(text)), text)
    assert not is_backed("92,167,711", leaves(json.loads(text)), text)
    assert not is_backed("12.34", leaves(json.loads(text)), text)


def test_cards_are_those_of_their_sources():
    """`scripts/write_cards.py` writes them, and the results of others; nobody edits them by hand."""
    for name, text in {**render_cards(FOLDER), **measured_results(FOLDER)}.items():
        assert (FOLDER / name).is_file(), f"{name} is not written: run scripts/write_cards.py"
        assert (FOLDER / name).read_text(encoding="utf-8") == text, (
            f"{name} differs from its source: run scripts/write_cards.py"
        )


def test_every_published_model_has_a_card():
    """PRO-SCALE: every model of the paper's tables of accuracy; MedDenseViT: every size; VPNeXt: every dataset."""
    names = {card.stem for card in CARDS}
    assert sum(name.startswith("proscale-") for name in names) >= 21
    assert {f"meddensevit-{size}" for size in ("small", "base", "large", "huge", "giant")} <= names
    assert sum(name.startswith("vpnext-") for name in names) == 4


# ------------------------------------------------------------------------------------------------------------ metadata


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.stem)
def test_card_is_complete(card):
    assert card_problems(card.read_text(encoding="utf-8")) == []
    for line in card.read_text(encoding="utf-8").splitlines():
        for target in re.findall(r"\]\(([^)#\s]+)\)", line):
            assert re.match(r"[a-z]+:", target) or (FOLDER / target).is_file(), f"{card.name}: dead link {target}"


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.stem)
def test_metadata_is_what_the_hub_reads(card):
    data = ModelCard.load(card).data.to_dict()
    assert data["license"] and data["pipeline_tag"]
    assert data["library_name"] in ("transformers", "diffusers")  # others `pipeline(model=...)` refuses
    assert isinstance(data["tags"], list) and len(set(data["tags"])) == len(data["tags"])
    results = ModelCardData(**data).eval_results or []
    for result in results:  # written and read again by the Hub's own functions
        again = metadata_eval_result(
            model_pretty_name="model",
            task_pretty_name=result.task_name or "task",
            task_id=result.task_type,
            metrics_pretty_name=result.metric_name,
            metrics_id=result.metric_type,
            metrics_value=result.metric_value,
            dataset_pretty_name=result.dataset_name,
            dataset_id=result.dataset_type,
        )
        (kept,) = ModelCardData(**again).eval_results
        assert kept.is_equal_except_value(kept) and kept.metric_value == result.metric_value
        assert result.metric_args["command"]


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.stem)
def test_results_of_the_metadata_are_measured(card):
    """`model-index` holds this project's own numbers only, each from the file that its command made."""
    for result in ModelCard.load(card).data.eval_results or []:
        command = result.metric_args["command"]
        made = [json.loads(file.read_text(encoding="utf-8")) for file in RESULTS]
        numbers = [number for content in made if content["command"] == command for number in leaves(content["tables"])]
        # As it is, or in percent, rounded to two decimals.
        found = any(abs(number * factor - result.metric_value) <= 0.00501 for number in numbers for factor in (1, 100))
        assert found, (card.name, result.metric_name)
