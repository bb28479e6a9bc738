# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg export --format web`: one HTML file that segments an image in the browser, with the model inside.

The page loads ONNX Runtime Web from the address that it names (or from a copy beside it); everything else is in the
file. It shows classes per pixel, in the rules of the image processor: sizes, resizing, normalization, padding.
"""

import base64
import html
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import tasks
from ..files.writing import write_json, write_text
from ..results.colors import class_color
from .export import export_folder

__all__ = ["RUNTIME", "WEB_TASKS", "export_web", "web_page", "write_web_page"]

RUNTIME = "https://cdn.jsdelivr.net/npm/onnxruntime-web@1.22.0/dist/ort.min.js"
WEB_TASKS = ("universal", "semantic")
LARGEST_MODEL = 200_000_000  # bytes; a browser holds it twice, as text and as bytes
TEMPLATE = Path(__file__).with_name("web_page.html")


def web_page(model: bytes, about: Mapping[str, str], title: str, runtime: str = RUNTIME) -> str:
    """The page.

    Args:
        model: Content of an ONNX file.
        about: Its metadata, of `hfseg.inference.export.describe_model`.
        title: Heading.
        runtime: Address of ONNX Runtime Web, or a path beside the page.

    Raises:
        ValueError: The model is of another task than classes per pixel or masks with classes, of scans, or too large.
    """
    processor = json.loads(about["image_processor"])
    if about["task"] not in WEB_TASKS or "modality" in processor or processor.get("stretch_contrast"):
        raise ValueError(
            f"--format web serves models of images of the tasks {', '.join(WEB_TASKS)} without stretch_contrast; this "
            f"one is {about['task']}. hfseg.onnx serves it in Python."
        )
    if len(model) > LARGEST_MODEL:
        raise ValueError(f"the model has {len(model):,} bytes; --format web takes {LARGEST_MODEL:,} at most")
    labels = json.loads(about["id2label"])
    content = {
        "task": about["task"],
        "id2label": labels,
        "image_processor": processor,
        "colors": {key: list(class_color(int(key))) for key in labels},
        "runtime": runtime,
    }
    text = TEMPLATE.read_text(encoding="utf-8")
    # No tag can begin in a string of the page's script.
    inside = json.dumps(content).replace("<", "\\u003c")
    for name, value in (
        ("__TITLE__", html.escape(title)),
        ("__RUNTIME__", html.escape(runtime, quote=True)),
        ("__ABOUT__", inside),
        ("__MODEL__", base64.b64encode(model).decode("ascii")),
    ):
        text = text.replace(name, value)
    return text


def write_web_page(
    file: str | os.PathLike[str], model: Path, about: Mapping[str, str], title: str, runtime: str = RUNTIME
) -> Path:
    """Writes the page of an ONNX file.

    Raises:
        ValueError: As `web_page`.
    """
    return write_text(Path(file), web_page(model.read_bytes(), about, title, runtime))


def export_web(
    folder: str | os.PathLike[str], output: str | os.PathLike[str], *, runtime: str = RUNTIME, command: str = ""
) -> dict[str, Any]:
    """Exports a model for all image sizes and writes its page; the report lies beside the page.

    Args:
        folder: Shipped name, model folder or Hub id.
        output: The page, FILE.html.
        runtime: Address of ONNX Runtime Web, or a path beside the page.
        command: Recorded in the report.

    Returns:
        The report of `hfseg.inference.export.export_folder`, its `file` the page.

    Raises:
        FileNotFoundError, ValueError: As `export_folder` and `web_page`.
    """
    import onnxruntime

    task, _, _ = tasks.find_task(tasks.model_folder(folder))
    if task not in WEB_TASKS:  # before minutes of tracing
        raise ValueError(f"--format web serves the tasks {', '.join(WEB_TASKS)}; {folder} is {task}")
    page = Path(output)
    page.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=page.parent, prefix=".export-") as place:
        file = Path(place) / "model.onnx"
        report = export_folder(folder, file, "onnx", dynamic=True, command=command)
        about = onnxruntime.InferenceSession(os.fspath(file)).get_modelmeta().custom_metadata_map
        write_web_page(page, file, about, Path(os.fspath(folder)).name, runtime)
    report |= {"file": str(page), "format": "web"}
    write_json(Path(f"{page}.json"), report)
    return report
