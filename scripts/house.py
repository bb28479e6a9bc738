# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Numbers of the house: modules and lines per room, imports between rooms, longest modules and functions, typing.

`python scripts/house.py [--source src/hfseg]` prints Markdown tables; it reads the source and imports nothing of it.
Of an earlier state: `git worktree add ../before COMMIT && python scripts/house.py --source ../before/src/hfseg`.
"""

import argparse
import ast
import re
import sys
from collections import Counter
from pathlib import Path

MODULE_LINES, FUNCTION_LINES = 700, 80


def room_of(file: Path, source: Path) -> str:
    """Names the room of a file: the folder or module directly in the package."""
    return file.relative_to(source).parts[0].removesuffix(".py")


def imported_rooms(tree: ast.AST, file: Path, source: Path) -> set[str]:
    """Lists the rooms that a file imports from."""
    package = [source.name, *file.relative_to(source).parts[:-1]]
    rooms = set()
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = [*base, *(node.module.split(".") if node.module else [])]
            names = [".".join([*module, alias.name]) for alias in node.names]
        rooms |= {name.split(".")[1] for name in names if name.startswith(f"{source.name}.")}
    return rooms


def functions(tree: ast.AST) -> list[tuple[int, str]]:
    """Lists the functions with their lines, signature and docstring included."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [((node.end_lineno or 0) - node.lineno + 1, node.name) for node in ast.walk(tree) if isinstance(node, kinds)]


def table(title: str, head: list[str], rows: list[tuple]) -> str:
    """Formats a Markdown table."""
    lines = [f"### {title}", "", f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows), ""])


def numbers(source: Path, longest: int) -> str:
    """Computes all tables of a source tree."""
    modules: Counter[str] = Counter()
    lines: Counter[str] = Counter()
    imports: dict[str, set[str]] = {}
    of_modules, of_functions, ignores, disabled = [], [], 0, 0
    for file in sorted(source.rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        tree, room, name = ast.parse(text), room_of(file, source), file.relative_to(source).as_posix()
        modules[room] += 1
        lines[room] += text.count("\n")
        imports.setdefault(room, set()).update(imported_rooms(tree, file, source) - {room})
        of_modules.append((text.count("\n"), name))
        of_functions += [(length, f"{name}: {function}") for length, function in functions(tree)]
        ignores += len(re.findall(r"# type: ignore", text))
        disabled += len(re.findall(r"^# mypy: ", text, re.MULTILINE))
    totals = [
        ("modules", sum(modules.values())),
        ("lines", sum(lines.values())),
        (f"modules over {MODULE_LINES} lines", sum(count > MODULE_LINES for count, _ in of_modules)),
        (f"functions over {FUNCTION_LINES} lines", sum(count > FUNCTION_LINES for count, _ in of_functions)),
        ("`type: ignore`", ignores),
        ("files that disable errors of mypy", disabled),
        ("imports between rooms", sum(map(len, imports.values()))),
    ]
    rooms = [(room, modules[room], lines[room], ", ".join(sorted(imports[room])) or "-") for room in sorted(modules)]
    return "\n".join(
        [
            table("Totals", ["what", "number"], totals),
            table("Rooms", ["room", "modules", "lines", "imports"], rooms),
            table("Longest modules", ["lines", "module"], sorted(of_modules, reverse=True)[:longest]),
            table("Longest functions", ["lines", "function"], sorted(of_functions, reverse=True)[:longest]),
        ]
    )


def main(arguments: list[str] | None = None) -> int:
    """Prints the numbers."""
    parser = argparse.ArgumentParser(prog="house.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--source", default="src/hfseg", metavar="DIR", help="folder of the package")
    parser.add_argument("--longest", type=int, default=10, metavar="N", help="rows of the tables of longest things")
    options = parser.parse_args(arguments)
    if not Path(options.source).is_dir():
        print(f"error: {options.source} is no folder; give --source.", file=sys.stderr)
        return 2
    print(numbers(Path(options.source).resolve(), options.longest))
    return 0


if __name__ == "__main__":
    sys.exit(main())
