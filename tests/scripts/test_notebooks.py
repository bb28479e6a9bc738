# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The notebooks run as they are, without a network; the texts in them are what they give; the site shows them."""

import base64
import importlib.util
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "notebooks.py"
FILES = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("notebooks", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def notebook(*sources, outputs=()):
    """A notebook of code cells, the first ones with outputs."""
    kept = [*outputs, *([[]] * (len(sources) - len(outputs)))]
    cells = [
        {"cell_type": "code", "metadata": {}, "source": source.splitlines(keepends=True), "outputs": own}
        for source, own in zip(sources, kept)
    ]
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def test_notebooks_run_offline_and_give_what_they_say(tmp_path):
    """In empty folders, without Jupyter, with nothing in the caches; about 30 seconds of one core."""
    assert len(FILES) == 4
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home"), "TQDM_DISABLE": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, str(SCRIPT), "--check"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=560)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == [file.name for file in FILES]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_notebooks_are_small_and_have_their_outputs(file):
    assert file.stat().st_size < 300_000
    content = json.loads(file.read_text(encoding="utf-8"))
    assert content["nbformat"] == 4 and len({cell["id"] for cell in content["cells"]}) == len(content["cells"])
    title, about, *rest = "".join(content["cells"][0]["source"]).split("\n\n")
    assert title.startswith("# ") and about.startswith("This notebook ") and about.rstrip(".").count(". ") == 0
    assert rest[0].startswith('```bash\npip install "hfseg') or rest[0].startswith("```bash\npip install hfseg")
    code = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    images = [data for cell in code for output in cell["outputs"] for data in output.get("data", {}).items()]
    images = [(kind, text) for kind, text in images if kind.startswith("image/")]
    assert len(images) >= 2
    for kind, text in images:
        with Image.open(io.BytesIO(base64.b64decode(text))) as image:
            assert f"image/{image.format.lower()}" == kind and min(image.size) > 50
    assert not any(output["output_type"] == "error" for cell in code for output in cell["outputs"])


def test_outputs_are_those_of_jupyter(script):
    cells = ("import sys\nx = 3\nprint('a'); print('b')\nx", "display(x)\nprint('later')", "x += 1", "None")
    first, second, third, fourth = script.run(notebook(*cells))
    assert first == [
        {"output_type": "stream", "name": "stdout", "text": ["a\n", "b\n"]},
        {"output_type": "execute_result", "data": {"text/plain": ["3"]}, "metadata": {}, "execution_count": 1},
    ]
    assert [output["output_type"] for output in second] == ["display_data", "stream"] and third == fourth == []
    drawn = "from PIL import Image\nImage.new('L', (60, 50), 7)"
    ((output,),) = script.run(notebook(drawn))
    with Image.open(io.BytesIO(base64.b64decode(output["data"]["image/png"]))) as image:
        assert image.size == (60, 50) and image.getpixel((0, 0)) == (7, 7, 7)


def test_failures_and_other_outputs_are_named(script, tmp_path, capsys):
    before = Path.cwd()
    with pytest.raises(RuntimeError, match="cell 2 failed: ZeroDivisionError"):
        script.run(notebook("a = 0", "1 / a"))
    assert Path.cwd() == before
    kept = [[{"output_type": "stream", "name": "stdout", "text": ["loss 0.500 of 12\n"]}]]
    file = tmp_path / "a.ipynb"
    # Number by number: a machine may round, words are words, and a cell that varies is not compared.
    for source, code in (
        ("print('loss 0.501 of 12')", 0),
        ("print('loss 0.70 of 12')", 1),
        ("print('gain 0.500 of 12')", 1),
        ("print('loss 0.500 of 12')\nprint(1)", 1),
        ("pass", 1),
    ):
        file.write_text(json.dumps(notebook(source, outputs=kept)))
        assert script.main(["--check", "--folder", str(tmp_path)]) == code, source
    assert "a.ipynb: cell 1 gives []" in capsys.readouterr().out
    varied = notebook("print('else')", outputs=kept)
    varied["cells"][0]["metadata"] = {"tags": ["varies"]}
    file.write_text(json.dumps(varied))
    assert script.main(["--check", "--folder", str(tmp_path)]) == 0
    # Without --check the outputs are written.
    assert script.main(["--folder", str(tmp_path)]) == 0
    assert json.loads(file.read_text())["cells"][0]["outputs"][0]["text"] == ["else\n"]


def test_a_page_shows_code_texts_and_images(script):
    title = {"cell_type": "markdown", "metadata": {}, "source": ["# Title\n\n", "See [b](b.ipynb), [c](../c.md).\n"]}
    content = notebook("print(1)", "from PIL import Image\nImage.new('RGB', (60, 50))")
    content["cells"].insert(0, title)
    for cell, outputs in zip(script.code_cells(content), script.run(content)):
        cell["outputs"] = outputs
    page, images = script.as_page(content, "a")
    assert page.startswith("# Title\n\nSee [b](b.md), [c](../c.md).") and "](a.ipynb)" in page
    assert "```python\nprint(1)\n```\n\n```text\n1\n```" in page and "](a_1.png)" in page
    with Image.open(io.BytesIO(images["a_1.png"])) as image:
        assert image.size == (60, 50)
