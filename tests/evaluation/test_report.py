# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The page of an evaluation: every number and image is on it, text stays text, and nothing is asked elsewhere."""

import base64
import io
import os
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import oracle
from hfseg.commands.evaluate import main
from hfseg.evaluation.report import WIDEST, EvaluationPage, Shown, render, write_report
from hfseg.results.drawing import class_color

CHROMIUM = next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Reads a page: tables as rows of texts, images as sizes, all text, and that every tag is closed in order."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.images, self.texts, self.open, self.addresses = [], [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.addresses += [values[name] for name in ("src", "href", "action") if name in values]
        if tag == "img":
            kind, _, content = values["src"].partition(",")
            with Image.open(io.BytesIO(base64.b64decode(content))) as image:
                assert kind == f"data:image/{image.format.lower()};base64" and values["alt"]
                assert (values["width"], values["height"]) == tuple(map(str, image.size))
                self.images.append((values["alt"], image.convert("RGB")))
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)
        if self.open and self.open[-1] in ("td", "th"):
            self.tables[-1][-1][-1] += data


def read(file):
    return Page(Path(file).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Of a model without faults on labels with some."""
    oracle.register()
    root = tmp_path_factory.mktemp("report")
    model, data = oracle.save_model(root / "model"), root / "blocks"
    oracle.write_panoptic(data, [(64, 96), (96, 64), (64, 96), (80, 124)], mistakes=True)
    words = ["--model", str(model), "--dataset", str(data), "--output_dir", str(root / "out"), "--overlays", "1"]
    assert main(words) == 0
    return root / "out"


def test_every_number_is_on_the_page(report):
    import csv
    import json

    page, content = read(report / "report.html"), json.loads((report / "metrics.json").read_text())
    numbers, classes = page.tables[:2]
    told = {row[0]: row[1] for row in numbers[1:]}
    assert told == {name: f"{value:.2f} %" for name, value in content["metrics"].items() if value is not None}
    assert {row[0]: row[2] for row in numbers[1:]} == {name: content["averages"][name] for name in told}
    with (report / "per_class.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert [row[0] for row in classes[1:]] == [row["name"] for row in rows] == oracle.NAMES
    for name in ("pq", "iou"):
        column = classes[0].index(name)
        assert [float(row[column]) for row in classes[1:]] == pytest.approx([float(r[name]) for r in rows], abs=0.006)
    assert content["command"] in page.texts and any(f"{content['metrics']['pq']:.2f} %" == t for t in page.texts)
    facts = {row[0]: row[1] for row in page.tables[-1]}
    assert "threshold 0.8" in facts["thresholds"] and "torch" in facts["versions"]


def test_images_are_in_the_page_with_their_scores_and_legend(report):
    page = read(report / "report.html")
    assert len(page.images) == 3 and "Worst images" in page.texts and "Best images" in page.texts
    worst, best, confusion = page.images
    for (caption, image), pattern in ((worst, "worst_01_*"), (best, "best_01_*")):
        (file,) = (report / "overlays").glob(pattern)
        assert caption.startswith(file.stem.split("_")[3] + ": PQ ") and file.stem.split("_")[2] in caption
        with Image.open(file) as drawn:
            difference = np.asarray(drawn.convert("RGB"), int) - np.asarray(image, int)
        assert np.abs(difference).mean() < 3
    assert "predicted class" in confusion[0]
    text = (report / "report.html").read_text()
    for number in range(4):
        assert "background:rgb({},{},{})".format(*class_color(number)) in text
    assert text.count('class="legend"') == 1


def test_nothing_is_loaded_from_elsewhere(report):
    page = read(report / "report.html")
    assert page.addresses and all(address.startswith("data:image/") for address in page.addresses)
    text = (report / "report.html").read_text()
    for word in ("<script", "<link", "@import", "url(", "http:", "https:"):
        assert word not in text


def test_text_stays_text_and_large_images_shrink(tmp_path):
    name = '<script>alert("x")</script>'
    page = EvaluationPage(
        title=name, about=name, command=name, headline={name: name}, numbers=[(name, name, name)],
        tables={name: [{"class": name, "iou": 150.0, "tp": 3, name: None}, {"class": "b", "iou": -1.0}]},
        images={name: [Shown(name, Image.new("RGB", (WIDEST * 2, 10), (9, 9, 9)))]}, legend={0: name},
        facts={name: name},
    )  # fmt: skip
    text = render(page)
    assert "<script" not in text and "--part:100.0%" in text and "--part:0.0%" in text
    found = read(write_report(tmp_path / "a.html", page))
    assert found.texts.count(name) >= 9 and found.images[0][1].size == (WIDEST, 5)
    assert found.tables[1][1:] == [[name, "150.00", "3", "-"], ["b", "-1.00", "-", "-"]]
    plain = Page(render(EvaluationPage("title", "about", "command")))  # a page with nothing on it is one, too
    assert plain.images == [] and "command" in plain.texts


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium on the path")
def test_a_browser_shows_it(report):
    playwright = pytest.importorskip("playwright.sync_api", reason="the browser test needs playwright")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        asked, errors = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: errors.append(message.text))
        page.goto((report / "report.html").as_uri())
        assert [url for url in asked if not url.startswith("data:")] == [
            (report / "report.html").as_uri()
        ] and not errors
        assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 100)")
        # Nothing is wider than the window, there and on a telephone.
        for width in (1200, 400):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            if os.environ.get("HFSEG_SCREENSHOTS"):
                place = Path(os.environ["HFSEG_SCREENSHOTS"]) / f"report_{width}.png"
                page.screenshot(path=str(place), full_page=True)
        browser.close()
