# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The first Python example of every model card, run as printed on a tiny model in the place of the published one."""

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from PIL import Image

from contract import peaked
from hfseg import auto
from hfseg.commands.quickstart import set_up
from hfseg.training import load_recipe
from hfseg.training.tasks import build_task

CARDS = sorted((Path(__file__).parents[1] / "model_cards").glob("*.md"))
PICTURE = re.compile(r"\.(jpe?g|png|webp)$")


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


def tiny_semantic_recipe(model_type: str, folder: Path) -> None:
    """Saves the same of a recipe whose task is semantic segmentation."""
    arguments = load_recipe(f"{model_type}-tiny-shapes", ["data.train.num_scenes=2"])
    task = build_task(arguments)
    model = task.build_model(task.build_dataset(arguments.data.train))
    model.save_pretrained(folder)
    task.build_processor(model).save_pretrained(folder)


def tiny_open_vocabulary(model_type: str, folder: Path) -> None:
    """Saves an open-vocabulary model with its processor, which keeps every mask; it serves mask generation too."""
    arguments = load_recipe(f"{model_type}-tiny-clip", ["data.train.num_scenes=2", "model.config.points_per_side=4"])
    task = build_task(arguments)
    towers = task.build_model(task.build_dataset(arguments.data.train))
    task.save(towers, folder, towers.state_dict())
    processor = task.build_processor(towers)
    processor.image_processor.score_threshold = processor.image_processor.threshold = 0.0
    processor.save_pretrained(folder)


# How to make the stand-in of an architecture: a function `(model_type, folder)`. One that is missing here is skipped.
STAND_INS: dict[str, Callable[[str, Path], None]] = {
    "proscale": tiny_recipe,
    "unpairseg": tiny_open_vocabulary,
    "unisegformer": tiny_recipe,
    "vpnext": tiny_semantic_recipe,
}


def first_example(card: Path) -> str:
    """Returns the first Python block of a card."""
    blocks = re.findall(r"^```python\n(.*?)^```", card.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert blocks, f"{card.name} shows no Python"
    return blocks[0]


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


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.stem)
def test_first_example_runs(card, tmp_path, monkeypatch, capsys):
    model_type = model_type_of(card)
    if model_type not in STAND_INS:
        pytest.skip(f"no stand-in for {model_type} in STAND_INS: this example was never run")
    code = first_example(card)
    names = models_in(code)
    assert names, "the example loads no model: pipeline(..., model=NAME) or X.from_pretrained(NAME)"
    monkeypatch.chdir(tmp_path)  # a folder of that name beside the script is what from_pretrained takes first
    for name in names:
        STAND_INS[model_type](model_type, tmp_path / name)
    strings = [node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Constant)]
    strings = [value for value in strings if isinstance(value, str)]
    for name in strings:
        if PICTURE.search(name):
            noise = torch.randint(256, (96, 128, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
            Image.fromarray(noise.numpy()).resize((160, 120)).save(name)
    capsys.readouterr()
    exec(compile(code, str(card), "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out.strip(), "the example shows no result"


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.stem)
def test_metadata_is_what_the_hub_reads(card):
    data = ModelCard.load(card).data.to_dict()
    assert data["license"] and data["pipeline_tag"]
    assert data["library_name"] in ("transformers", "diffusers")  # others `pipeline(model=...)` refuses
    assert isinstance(data["tags"], list) and len(set(data["tags"])) == len(data["tags"])
