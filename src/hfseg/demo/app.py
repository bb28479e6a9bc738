# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The Gradio app: a tab per task that the given models have between them, and the server that shows it."""

import atexit
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import torch

from .. import tasks
from ..inference.predictor import Predictor
from .examples import FOLDER as EXAMPLES
from .guard import RequestGuard
from .place_tab import CSS, SCRIPT
from .tabs import Loaded, _Tab
from .video_tabs import TABS
from .visits import KEPT_SECONDS, Limits, forget_visit

__all__ = ["Limits", "build_app", "launch"]

# Fonts of the reader's own machine: nothing is loaded from elsewhere.
FONT = ["system-ui", "sans-serif"]
MONO = ["ui-monospace", "monospace"]
STYLE = """
.hfseg-head h1 { margin: 0; display: inline; font-size: 1.6rem; }
.hfseg-head p { display: inline; margin-left: 0.6rem; }
.hfseg-input img { width: 100%; height: 100%; object-fit: contain !important; }  /* small images are enlarged */
.hfseg-status { min-height: 1.5rem; }
/* Gradio's legend blends its colors with the page; a square in front of each name shows them nearly pure. */
.hfseg-result .legend-item { position: relative; padding-left: 1.7em; line-height: 1.3; }
.hfseg-result .legend-item::before, .hfseg-result .legend-item::after {
  content: ""; position: absolute; left: 0.45em; top: calc(50% - 0.45em); width: 0.9em; height: 0.9em;
  background: inherit;
}
.hfseg-result .legend-item::after { outline: 1px solid rgba(0, 0, 0, 0.6); }
/* Errors fit in one line. */
.toast-wrap { width: min(48rem, calc(100vw - 1.5rem)) !important; left: auto !important; }
.hfseg-examples thead { display: none; }
.hfseg-examples .label { white-space: normal; }
@media (max-width: 640px) {
  .hfseg-head h1 { font-size: 1.25rem; }
  .hfseg-head p { font-size: 0.8rem; }
  .hfseg-limits { display: none; }
  .hfseg-result { height: auto !important; min-height: 240px; }
}
"""


MOST_NAMED = 3  # models in the header


def _models_in_words(models: Sequence[Loaded]) -> str:
    """Names and classes of a few models, the number of many: each tab has a menu of its own."""
    named = list(dict.fromkeys(f"{model.name} (`{model.predictor.class_name}`)" for model in models))
    return ", ".join(named) if len(named) <= MOST_NAMED else f"{len(named)} models"


def build_app(
    predictors: Sequence[Predictor], limits: Limits | None = None, folder: Path | None = None, shipped: bool = False
) -> gr.Blocks:
    """Builds the app of some models: one tab per task that they have between them.

    Args:
        predictors: Loaded models.
        limits: Of uploads.
        folder: For downloads; a temporary one by default.
        shipped: Whether these are models of the package, for which there are example inputs.

    Raises:
        ValueError: No model.
    """
    if not predictors:
        raise ValueError("There is no model to show; give one or more.")
    limits = limits or Limits()
    folder = folder or Path(tempfile.mkdtemp(prefix="hfseg-demo-"))
    folder.mkdir(parents=True, exist_ok=True)
    models: list[Loaded] = []
    for predictor in predictors:
        # One folder may serve two tabs; within a tab names differ.
        name, number = predictor.folder.resolve().name, 2
        while any(model.name == name and model.predictor.task == predictor.task for model in models):
            name, number = f"{predictor.folder.resolve().name} ({number})", number + 1
        models.append(Loaded(name, predictor, threading.Lock()))
    models.sort(key=lambda model: model.predictor.reads_volumes)  # a tab opens with a model for images
    tabs: list[_Tab] = []
    for build, serves in TABS:
        chosen = [model for model in models if serves(model.predictor)]
        if chosen:
            tabs.append(build(chosen, limits, folder))
            tabs[-1].shipped = shipped
    with gr.Blocks(title="hfseg", analytics_enabled=False, delete_cache=(KEPT_SECONDS, KEPT_SECONDS)) as app:
        gr.Markdown(
            f"# hfseg\n{_models_in_words(models)}. Uploads stay on this server"
            f"<span class='hfseg-limits'>; up to {limits.megabytes} MB and {limits.pixels / 1e6:g} megapixels</span>.",
            elem_classes="hfseg-head",
        )
        with gr.Tabs():
            for tab in tabs:
                with gr.Tab(tab.title):  # type: ignore[attr-defined]
                    tab.build()  # type: ignore[attr-defined]
        app.load(None, js=SCRIPT)

        def leave(request: gr.Request) -> None:
            """Removes the files of a visit that ends."""
            forget_visit(folder, request)

        app.unload(leave)
    return app


def load(
    folders: Sequence[str], device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
) -> list[Predictor]:
    """Loads models; an open-vocabulary folder that can also be asked by points gets both tabs."""
    predictors = []
    for folder in folders:
        predictor = Predictor(folder, device, dtype)
        predictors.append(predictor)
        if predictor.task == "open-vocabulary":
            other = Predictor(folder, device, dtype, promptable=True)
            if other.task != predictor.task:
                predictors.append(other)
    return predictors


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


def launch(
    folders: Sequence[str],
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    limits: Limits | None = None,
    host: str | None = None,
    port: int | None = None,
    wait: bool = True,
    auth: Sequence[tuple[str, str]] | None = None,
) -> gr.Blocks:
    """Loads models and serves the app.

    Args:
        folders: Model folders; none: the models that come with the package, with example inputs.
        device: Where models run.
        dtype: Of their weights.
        limits: Of uploads.
        host: Address to listen at; default: GRADIO_SERVER_NAME (as on a Space) or this machine only.
        port: Default: GRADIO_SERVER_PORT, or the first that is free from 7860 on.
        wait: Serve until interrupted.
        auth: Names and passwords of those who may use it; default: everybody who reaches it.
    """
    limits = limits or Limits()
    # Uploads, results and Gradio's copies of both, in one place of this server's own, which goes when it stops.
    place = Path(tempfile.mkdtemp(prefix="hfseg-demo-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    os.environ["GRADIO_TEMP_DIR"] = str(place / "gradio")
    shipped = [] if folders else tasks.shipped_checkpoints()
    app = build_app(load(folders or shipped, device, dtype), limits, place / "results", bool(shipped))
    app.queue(max_size=32, default_concurrency_limit=1)
    from starlette.middleware import Middleware

    if wait and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupt)  # as Ctrl-C: the server ends in order and its files go
    app.launch(
        server_name=host,
        server_port=port,
        share=False,
        auth=[(name, password) for name, password in auth] if auth else None,
        show_error=True,
        max_file_size=f"{limits.megabytes}mb",
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        prevent_thread_lock=not wait,
        quiet=False,
        footer_links=[],
        allowed_paths=[str(EXAMPLES)] if shipped else None,
        theme=gr.themes.Default(font=FONT, font_mono=MONO, primary_hue="blue"),
        css=CSS + STYLE,
        app_kwargs={"middleware": [Middleware(RequestGuard)]},
    )
    return app
