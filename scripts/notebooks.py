# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Runs the notebooks of the documentation and keeps their outputs; makes pages of them for the site.

    python scripts/notebooks.py [NAME ...]            # runs, writes outputs into the files
    python scripts/notebooks.py --check [NAME ...]    # runs, compares texts with those in the files, writes nothing

Cells run one after the other in one namespace, each notebook in an empty folder: without Jupyter, the last expression
of a cell and what it prints are its outputs, and images are drawn. Numbers may differ by a little between machines;
cells with the tag `varies` are run and not compared. mkdocs calls `on_files`.
"""

import argparse
import ast
import base64
import contextlib
import io
import json
import os
import re
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "docs" / "notebooks"
NOTEBOOK_LINK = re.compile(r"(\]\([\w./-]+)\.ipynb\)")
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
RELATIVE, ABSOLUTE = 0.05, 0.06  # how much a number may differ
Cell = dict[str, Any]

# This folder is on Python's path, and its evaluate.py would hide the package `evaluate`: it comes last.
HERE = os.path.dirname(os.path.realpath(__file__))
sys.path = [*(entry for entry in sys.path if os.path.realpath(entry) != HERE), HERE]


def image_output(image: Any) -> dict[str, str]:
    """A PIL image as Jupyter keeps it: PNG, or JPEG where that is half as large."""
    encoded = {}
    for kind, settings in (("png", {"optimize": True}), ("jpeg", {"quality": 85})):
        stream = io.BytesIO()
        image.convert("RGB").save(stream, kind, **settings)
        encoded[kind] = stream.getvalue()
    kind = "jpeg" if 2 * len(encoded["jpeg"]) < len(encoded["png"]) else "png"
    return {f"image/{kind}": base64.b64encode(encoded[kind]).decode() + "\n"}


def shown(value: Any) -> dict[str, Any]:
    """What a cell shows of a value."""
    from PIL import Image

    return image_output(value) if isinstance(value, Image.Image) else {"text/plain": lines(repr(value))}


def lines(text: str) -> list[str]:
    """A text as notebooks keep it."""
    return text.splitlines(keepends=True)


def run_cell(source: str, namespace: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Runs a cell and returns its outputs in order."""
    outputs: list[dict[str, Any]] = []
    printed = io.StringIO()

    def flush() -> None:
        if printed.getvalue():
            outputs.append({"output_type": "stream", "name": "stdout", "text": lines(printed.getvalue())})
            printed.seek(0)
            printed.truncate()

    def display(*values: Any) -> None:
        flush()
        outputs.extend({"output_type": "display_data", "data": shown(value), "metadata": {}} for value in values)

    namespace["display"] = display
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "<cell>", "exec"), namespace)
        value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), namespace) if last is not None else None
    flush()
    if value is not None:
        data = {"output_type": "execute_result", "data": shown(value), "metadata": {}, "execution_count": count}
        outputs.append(data)
    return outputs


def run(notebook: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """Runs all code cells in an empty folder and returns the outputs of each.

    Raises:
        RuntimeError: A cell failed; says which, with its text.
    """
    namespace: dict[str, Any] = {"__name__": "__main__"}
    outputs = []
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            for count, cell in enumerate(code_cells(notebook), start=1):
                source = "".join(cell["source"])
                try:
                    outputs.append(run_cell(source, namespace, count))
                except Exception as error:
                    told = "".join(traceback.format_exception_only(error)).strip()
                    raise RuntimeError(f"cell {count} failed: {told}\n{source}") from error
        finally:
            os.chdir(before)
    return outputs


def code_cells(notebook: dict[str, Any]) -> list[Cell]:
    """The cells that are run."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def texts(outputs: list[dict[str, Any]]) -> list[str]:
    """What a reader sees of the outputs of a cell; of images, that there is one."""
    found = []
    for output in outputs:
        data = output.get("data", {})
        found.append("".join(output["text"] if "text" in output else data.get("text/plain", ["(image)"])))
    return found


def differ(one: str, other: str) -> bool:
    """Whether two texts say different things: other words, or numbers further apart than machines put them."""
    if NUMBER.sub("0", one).split() != NUMBER.sub("0", other).split():
        return True
    pairs = zip(*([float(number) for number in NUMBER.findall(text)] for text in (one, other)))
    return any(abs(a - b) > ABSOLUTE + RELATIVE * max(abs(a), abs(b)) for a, b in pairs)


def differences(notebook: dict[str, Any], outputs: list[list[dict[str, Any]]]) -> list[str]:
    """Sentences about cells whose outputs are not those in the file."""
    told = []
    for count, (cell, new) in enumerate(zip(code_cells(notebook), outputs), start=1):
        kept, now = texts(cell["outputs"]), texts(new)
        if "varies" in cell["metadata"].get("tags", ()):
            continue
        if len(kept) != len(now) or any(differ(*pair) for pair in zip(kept, now)):
            told.append(f"cell {count} gives {now}; the file has {kept}")
    return told


def main(words: list[str] | None = None) -> int:
    """Runs notebooks; 1 if one fails or, with `--check`, differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", help="notebooks without their ending; default: all")
    parser.add_argument("--check", action="store_true", help="compare with the outputs in the files, write nothing")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    arguments = parser.parse_args(words)
    code = 0
    for file in sorted(arguments.folder.glob("*.ipynb")):
        if arguments.names and file.stem not in arguments.names:
            continue
        started, notebook = time.perf_counter(), json.loads(file.read_text(encoding="utf-8"))
        try:
            outputs = run(notebook)
        except RuntimeError as error:
            print(f"{file.name}: {error}", file=sys.stderr)
            code = 1
            continue
        if arguments.check:
            found = differences(notebook, outputs)
            code = 1 if found else code
            print("\n".join(f"{file.name}: {sentence}" for sentence in found), end="\n" if found else "")
        else:
            for count, (cell, new) in enumerate(zip(code_cells(notebook), outputs), start=1):
                cell["execution_count"], cell["outputs"] = count, new
            file.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"{file.name}: {time.perf_counter() - started:.1f} s")
    return code


# ---------------------------------------------------------------------------------------------------------- the site


def as_page(notebook: dict[str, Any], name: str) -> tuple[str, dict[str, bytes]]:
    """A notebook as Markdown, and the images that it shows by file name.

    Args:
        notebook: With outputs.
        name: Of the file, without its ending.
    """
    parts: list[str] = []
    images: dict[str, bytes] = {}
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(NOTEBOOK_LINK.sub(r"\1.md)", source))
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            data = output.get("data", {})
            kind = next((key for key in data if key.startswith("image/")), None)
            if kind is None:
                parts.append(f"```text\n{texts([output])[0].rstrip()}\n```")
                continue
            file = f"{name}_{len(images) + 1}.{kind.partition('/')[2]}"
            images[file] = base64.b64decode("".join(data[kind]))
            parts.append(f"![Output of the cell above]({file})")
    title, *rest = parts
    link = f"[Download this notebook]({name}.ipynb){{: download }}"
    return "\n\n".join([title, link, *rest]) + "\n", images


def on_files(files: Any, config: Any) -> Any:
    """Hook of mkdocs: a page for every notebook, beside the notebook itself."""
    from mkdocs.structure.files import File

    for path in sorted((Path(config["docs_dir"]) / "notebooks").glob("*.ipynb")):
        page, images = as_page(json.loads(path.read_text(encoding="utf-8")), path.stem)
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=page))
        for name, content in images.items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    return files


if __name__ == "__main__":
    sys.exit(main())
