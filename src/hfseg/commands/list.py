# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg list`: what the zoo has: architectures with their tasks and classes, and recipes.

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

from .. import auto
from ..inference.predictor import NEEDS, TASK_OF_AUTO_CLASS
from ..training.arguments import recipe_names

KINDS = ("architectures", "recipes")
WIDTH = 118


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    about, _, examples = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="hfseg list",
        description=about.partition(": ")[2],
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
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
    for row in auto.ARCHITECTURES:
        tasks: dict[str, list[str]] = {}
        others = []
        for auto_class, value in row.models.items():
            names = [name.partition(":")[2] for name in ((value,) if isinstance(value, str) else value)]
            if auto_class in TASK_OF_AUTO_CLASS:
                tasks[TASK_OF_AUTO_CLASS[auto_class]] = names
            elif auto_class != "AutoModelForImageSegmentation":  # the same classes again
                others += names
        if row.components:
            tasks["in-context"] = [row.components[0].partition(":")[2]]
            others += [name.partition(":")[2] for name in row.components[1:]]
        if row.model_type == "meddensevit":
            tasks["volumes"] = tasks["semantic"]
        rows.append(
            {
                "architecture": row.model_type,
                "tasks": tasks,
                "other_classes": others,
                "processors": [
                    name.partition(":")[2] for name in (*row.image_processors.values(), row.processor) if name
                ],
                "converter": bool(row.converter or row.folder_converter),
                "recipes": [name for name in recipe_names() if name.startswith(row.model_type.replace("_", "-") + "-")],
            }
        )
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Entry of `hfseg list`; the exit status is 1 if nothing has the word in its name."""
    options = parse(argv)
    rows = [row for row in architectures() if options.word in row["architecture"]]
    recipes = [name for name in recipe_names() if options.word in name]
    if options.kind == "recipes":
        rows = []
    elif options.kind == "architectures":
        recipes = []
    if options.json:
        content = {"hfseg": hfseg.__version__, "tasks": list(NEEDS), "architectures": rows, "recipes": recipes}
        print(json.dumps(content, indent=1))
        return 0 if rows or recipes else 1
    for row in rows:
        converts = "; reads the authors' checkpoints" if row["converter"] else ""
        print(f"{row['architecture']}  ({len(row['recipes'])} recipes{converts})")
        for task, classes in row["tasks"].items():
            print(f"    {task:<16} {', '.join(classes)}")
        if row["other_classes"]:
            text = textwrap.wrap(", ".join(row["other_classes"]), WIDTH - 21, break_on_hyphens=False)
            print(f"    {'also':<16} " + f"\n{' ' * 21}".join(text))
    if recipes:
        print(("\n" if rows else "") + f"recipes ({len(recipes)}), for `hfseg train --recipe NAME --output_dir DIR`:")
        print(
            textwrap.fill(
                ", ".join(recipes), WIDTH, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False
            )
        )
    if not rows and not recipes:
        print(f"Nothing has {options.word!r} in its name.")
        return 1
    return 0
