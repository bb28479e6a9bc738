# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Numbers of the house: rooms, imports between them, longest and most branched functions, repeated lines, typing.

`python scripts/house.py [--source src/hfseg]` prints Markdown tables; it reads the source and imports nothing of it.
Of an earlier state: `git worktree add ../before COMMIT && python scripts/house.py --source ../before/src/hfseg`.
"""

import argparse
import ast
import io
import keyword
import re
import sys
import tokenize
from collections import Counter, defaultdict
from pathlib import Path

MODULE_LINES, FUNCTION_LINES, COMPLEXITY = 700, 80, 25
# Lines that two places must share to count as one idea written twice.
REPEATED_LINES = 6


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


def branches(node: ast.AST) -> int:
    """Counts the decisions that a node adds: branches, loops, handlers, parts of `and` and `or`, comprehensions."""
    if isinstance(node, (ast.If, ast.IfExp, ast.Assert)):
        return 1
    if isinstance(node, (ast.For, ast.AsyncFor, ast.While)):
        return 1 + bool(node.orelse)
    if isinstance(node, ast.Try):
        return len(node.handlers) + bool(node.orelse)
    if isinstance(node, ast.BoolOp):
        return len(node.values) - 1
    if isinstance(node, ast.comprehension):
        return 1 + len(node.ifs)
    return len(node.cases) if isinstance(node, ast.Match) else 0


def complexities(tree: ast.AST) -> list[tuple[int, str]]:
    """Lists the functions with McCabe's cyclomatic complexity, functions within them included."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = [node for node in ast.walk(tree) if isinstance(node, kinds)]
    return [(1 + sum(branches(part) for body in node.body for part in ast.walk(body)), node.name) for node in found]


def shapes(text: str) -> list[tuple[int, str, str]]:
    """Lists the lines of code with number, text and shape: names, strings and numbers do not count in the shape.

    Imports, comments, docstrings' blank lines and lines of punctuation alone are left out.
    """
    words: dict[int, list[str]] = defaultdict(list)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME:
            words[token.start[0]].append(token.string if keyword.iskeyword(token.string) else "n")
        elif token.type in (tokenize.NUMBER, tokenize.OP):
            words[token.start[0]].append("0" if token.type == tokenize.NUMBER else token.string)
        elif token.type == tokenize.STRING:
            for line in range(token.start[0], token.end[0] + 1):
                words[line].append("s")
    lines = text.splitlines()
    kept = []
    for number in sorted(words):
        plain = " ".join(lines[number - 1].split())
        if re.search(r"\w", plain) and not plain.startswith(("import ", "from ")):
            kept.append((number, plain, " ".join(words[number]) if words[number] != ["s"] else plain))
    return kept


def repeats(files: dict[str, str], by_shape: bool) -> list[tuple[int, str]]:
    """Lists the pairs of places that share six lines or more, longest first; runs in over eight places are common.

    Args:
        files: Name to text.
        by_shape: Compare the lines' shapes instead of the lines.
    """
    lines = {name: shapes(text) for name, text in files.items()}
    keys = {name: [entry[2 if by_shape else 1] for entry in entries] for name, entries in lines.items()}
    places = defaultdict(list)
    for name, key in keys.items():
        for start in range(len(key) - REPEATED_LINES + 1):
            places[tuple(key[start : start + REPEATED_LINES])].append((name, start))
    pairs: dict[tuple[str, str], int] = {}
    for found in places.values():
        if not 2 <= len(found) <= 8:
            continue
        for index, (name, start) in enumerate(found):
            for other, begin in found[index + 1 :]:
                if name == other and begin - start < REPEATED_LINES:
                    continue
                length = 0
                for one, two in zip(keys[name][start:], keys[other][begin:]):
                    if one != two:
                        break
                    length += 1
                pairs[name, other] = max(pairs.get((name, other), 0), length)
    return sorted(((length, " ~ ".join(pair)) for pair, length in pairs.items()), reverse=True)


def table(title: str, head: list[str], rows: list[tuple]) -> str:
    """Formats a Markdown table."""
    lines = [f"### {title}", "", f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows), ""])


def numbers(source: Path, longest: int) -> str:
    """Computes all tables of a source tree."""
    modules: Counter[str] = Counter()
    lines: Counter[str] = Counter()
    imports: dict[str, set[str]] = {}
    of_modules, of_functions, branched, ignores, disabled = [], [], [], 0, 0
    texts: dict[str, str] = {}
    for file in sorted(source.rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        tree, room, name = ast.parse(text), room_of(file, source), file.relative_to(source).as_posix()
        modules[room] += 1
        lines[room] += text.count("\n")
        imports.setdefault(room, set()).update(imported_rooms(tree, file, source) - {room})
        of_modules.append((text.count("\n"), name))
        of_functions += [(length, f"{name}: {function}") for length, function in functions(tree)]
        branched += [(count, f"{name}: {function}") for count, function in complexities(tree)]
        texts[name] = text
        ignores += len(re.findall(r"# type: ignore", text))
        disabled += len(re.findall(r"^# mypy: ", text, re.MULTILINE))
    totals = [
        ("modules", sum(modules.values())),
        ("lines", sum(lines.values())),
        (f"modules over {MODULE_LINES} lines", sum(count > MODULE_LINES for count, _ in of_modules)),
        (f"functions over {FUNCTION_LINES} lines", sum(count > FUNCTION_LINES for count, _ in of_functions)),
        (f"functions above cyclomatic complexity {COMPLEXITY}", sum(count > COMPLEXITY for count, _ in branched)),
        (f"pairs of modules that share {REPEATED_LINES} or more equal lines", len(repeats(texts, by_shape=False))),
        (
            f"pairs of modules that share {REPEATED_LINES} or more lines of one shape",
            len(repeats(texts, by_shape=True)),
        ),
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
            table("Most branched functions", ["complexity", "function"], sorted(branched, reverse=True)[:longest]),
            table("Most equal lines", ["lines", "modules"], repeats(texts, by_shape=False)[:longest]),
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
