# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg list`: what the zoo has: architectures with their tasks and classes, shipped models, and recipes.

hfseg list                      everything
hfseg list recipes proscale     names that contain a word
hfseg list --json               for programs
"""

import argparse
import json
import textwrap
from collections.abc import Sequence
from typing import Any

import hfseg

from .. import auto, tasks
from ..training.arguments import load_recipe, recipe_names
from .running import describe

KINDS = ("architectures", "recipes")
WIDTH = 118


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="hfseg list", **describe(__doc__))
    parser.add_argument("kind", nargs="?", metavar="KIND", help="architectures or recipes; default: both")
    parser.add_argument("word", nargs="?", default="", help="only names with this in them")
    parser.add_argument("--json", action="store_true", help="print json")
    options = parser.parse_args(argv)
    if options.kind is not None and options.kind not in KINDS:
        if options.word:
            parser.error(f"KIND is {options.kind!r}; give {' or '.join(KINDS)}")
        options.kind, options.word = None, options.kind
    return options


def architectures() -> list[dict[str, Any]]:
    """Every architecture with what its models are for."""
    rows = []
    # The models of a recipe with stages are those of its last.
    recipes = {name: load_recipe(name).stage_arguments()[-1][1].model.model_type for name in recipe_names()}
    for row in auto.ARCHITECTURES:
        by_auto_class = {
            auto_class: [name.partition(":")[2] for name in ((value,) if isinstance(value, str) else value)]
            for auto_class, value in row.models.items()
        }
        done: dict[str, list[str]] = {}
        for name in row.tasks:
            auto_class = tasks.find(name).auto_class
            classes = [name.partition(":")[2] for name in row.components[:1]]
            done[name] = classes if auto_class is None else by_auto_class[auto_class]
        named = {name for classes in done.values() for name in classes}
        others = [name for classes in by_auto_class.values() for name in classes if name not in named]
        others += [name.partition(":")[2] for name in row.components[1:]]
        processors = [name.partition(":")[2] for name in (*row.image_processors.values(), row.processor) if name]
        rows.append(
            {
                "architecture": row.model_type,
                "tasks": done,
                "other_classes": others,
                "processors": processors,
                "converter": bool(row.converter or row.folder_converter),
                "recipes": [name for name, model_type in recipes.items() if model_type == row.model_type],
            }
        )
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Entry of `hfseg list`; the exit code is 1 if nothing has the word in its name."""
    options = parse(argv)
    rows = [row for row in architectures() if options.word in row["architecture"]]
    recipes = [name for name in recipe_names() if options.word in name]
    shipped = [name for name in tasks.shipped_checkpoints() if options.word in name]
    if options.kind == "recipes":
        rows, shipped = [], []
    elif options.kind == "architectures":
        recipes, shipped = [], []
    if options.json:
        content = {"hfseg": hfseg.__version__, "tasks": tasks.segmentation_tasks(), "architectures": rows}
        print(json.dumps({**content, "checkpoints": shipped, "recipes": recipes}, indent=1))
        return 0 if rows or recipes or shipped else 1
    for row in rows:
        converts = "; reads official checkpoints" if row["converter"] else ""
        print(f"{row['architecture']}  ({len(row['recipes'])} recipes{converts})")
        for task, classes in row["tasks"].items():
            print(f"    {task:<16} {', '.join(classes)}")
        if row["other_classes"]:
            text = textwrap.wrap(", ".join(row["other_classes"]), WIDTH - 21, break_on_hyphens=False)
            print(f"    {'also':<16} " + f"\n{' ' * 21}".join(text))
    listings = (("shipped models", shipped, "predict --model NAME"), ("recipes", recipes, "train --recipe NAME"))
    for what, names, command in listings:
        if names:
            print(("\n" if rows else "") + f"{what} ({len(names)}), for `hfseg {command} --output_dir DIR`:")
            wrapper = textwrap.TextWrapper(WIDTH, "  ", "  ", break_on_hyphens=False)
            print(wrapper.fill(", ".join(names)))
    if not rows and not recipes and not shipped:
        print(f"Nothing has {options.word!r} in its name.")
        return 1
    return 0
