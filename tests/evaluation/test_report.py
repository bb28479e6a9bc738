# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The page of an evaluation: every number and image is on it, text stays text, and nothing is asked elsewhere."""

import base64
import csv
import io
import json
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
from hfseg.results.confusion import ConfusionMatrix
from hfseg.results.drawing import class_color

CHROMIUM = next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Reads a page: tables by heading as rows of texts, images, links, all text, and that tags are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.images, self.texts, self.open, self.addresses, self.links = [], [], [], [], [], []
        self.heading, self.headings, self.by_heading, self.folded, self.curves = "", [], {}, [], {}
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.addresses += [values[name] for name in ("src", "action") if name in values]
        self.links += [values["href"]] if tag == "a" else []
        if tag == "img":
            kind, _, content = values["src"].partition(",")
            with Image.open(io.BytesIO(base64.b64decode(content))) as image:
                assert kind == f"data:image/{image.format.lower()};base64" and values["alt"]
                assert (values["width"], values["height"]) == tuple(map(str, image.size))
                self.images.append((values["alt"], image.convert("RGB")))
        if tag == "table":
            self.tables.append([])
            self.by_heading.setdefault(self.heading, []).append(self.tables[-1])
            self.folded += [self.tables[-1]] if "details" in self.open else []
        if tag == "polyline":
            points = [tuple(map(float, point.split(","))) for point in values["points"].split()]
            self.curves[values["data-curve"]] = points
        if tag == "h2":
            self.headings.append("")
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
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data
        if self.open and self.open[-1] == "h2":
            self.headings[-1] += data
            self.heading = self.headings[-1]


def read(file):
    return Page(Path(file).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("needs Chromium on the path")
    playwright = pytest.importorskip("playwright.sync_api", reason="the browser test needs playwright")
    with playwright.sync_playwright() as started:
        yield started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])


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
    page, content = read(report / "report.html"), json.loads((report / "metrics.json").read_text())
    (numbers,), (classes,) = page.by_heading["Numbers"], page.by_heading["Classes"]
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
    assert len(page.images) == 2
    worst, best = page.images
    for (caption, image), pattern in ((worst, "worst_01_*"), (best, "best_01_*")):
        (file,) = (report / "overlays").glob(pattern)
        assert caption.startswith(file.stem.split("_")[3] + ": PQ ") and file.stem.split("_")[2] in caption
        with Image.open(file) as drawn:
            difference = np.asarray(drawn.convert("RGB"), int) - np.asarray(image, int)
        assert np.abs(difference).mean() < 3
    # Things have a color each and names on them; stuff has the color of its class.
    text = (report / "report.html").read_text()
    legend = text[text.index('<ul class="legend">') : text.index("</ul>")]
    assert "background:rgb({},{},{})".format(*class_color(3)) in legend and legend.count("<li>") == 1
    assert text.count('class="legend"') == 1


def test_what_is_looked_at_comes_first(report):
    page = read(report / "report.html")
    expected = ["Worst images", "Best images", "Precision by recall", "Confusion of classes", "Numbers", "Classes"]
    assert page.headings == [*expected, "How it was measured"]
    files = ["precision_recall.csv", "confusion.png", "confusion.csv"]
    overlays = [
        f"overlays/{path.name}" for kind in ("worst", "best") for path in (report / "overlays").glob(kind + "*")
    ]
    assert page.links == [*overlays, *files] and len(overlays) == 2
    assert all((report / link).is_file() for link in page.links)


def test_curves_and_confusion_are_the_numbers_of_the_files(report):
    page, metrics = read(report / "report.html"), json.loads((report / "metrics.json").read_text())["metrics"]
    with (report / "precision_recall.csv").open() as handle:
        points = list(csv.DictReader(handle))
    assert [int(row["recall"]) for row in points] == list(range(101))
    for name, key in (("IoU 0.50", "ap50"), ("IoU 0.75", "ap75"), ("IoU 0.50:0.95", "ap")):
        values = [float(row[name]) for row in points]
        assert np.mean(values) == pytest.approx(metrics[key], abs=1e-4) and metrics[key] < 99
        heights = np.array([y for _, y in page.curves[name]])  # of the drawing: downwards
        assert len(heights) == 101 and np.corrcoef(heights, values)[0, 1] == pytest.approx(-1)
    with (report / "confusion.csv").open() as handle:
        header, *lines = list(csv.reader(handle))
    counts = {name: dict(zip(header[1:], map(int, line))) for name, *line in lines}
    assert set(counts) == set(oracle.NAMES) and sum(sum(row.values()) for row in counts.values()) > 10_000
    right = sum(row[name] for name, row in counts.items())
    total = sum(sum(row.values()) for row in counts.values())
    assert 100 * right / total == pytest.approx(metrics["pixel_accuracy"])
    pairs, matrix = page.by_heading["Confusion of classes"]
    true, predicted, pixels, share = pairs[1]
    worst = max((n for true, row in counts.items() for own, n in row.items() if own != true))
    assert counts[true][predicted] == int(pixels.replace(",", "")) == worst
    assert float(share) == pytest.approx(100 * worst / sum(counts[true].values()), abs=0.006)
    for name, *cells in matrix[1:]:
        for column, cell in zip(matrix[0][1:], cells):
            part = counts[name][column] / sum(counts[name].values())
            assert cell == (f"{100 * part:.0f}" if part >= 0.005 else ""), (name, column)


def test_classes_that_do_not_occur_are_folded():
    rows = [
        {"class": "shown", "iou": 50.0, "pixels": 1234567},
        {"class": "nowhere", "iou": None, "pixels": 0},
        {"class": "only predicted", "iou": 0.0, "pixels": 0},
    ]
    page = Page(render(EvaluationPage("title", "about", "command", tables={"Classes": rows})))
    shown, folded = page.by_heading["Classes"]
    assert page.folded == [folded] and [row[0] for row in shown[1:]] == ["shown"] and shown[1][2] == "1,234,567"
    assert [row[0] for row in folded[1:]] == ["nowhere", "only predicted"]
    assert "2 classes do not occur in the ground truth" in page.texts
    # By objects where no pixels are counted, by numbers where there are no counts.
    for row in ({"class": "a", "pq": 0.0, "tp": 0, "fp": 3, "fn": 0}, {"class": "a", "kind": "thing", "ap": None}):
        page = Page(render(EvaluationPage("title", "about", "command", tables={"Classes": [row]})))
        assert page.folded == page.by_heading["Classes"] and "1 class does not occur in the ground truth" in page.texts
    row = {"class": "a", "pq": 0.0, "tp": 0, "fp": 3, "fn": 1}
    assert not Page(render(EvaluationPage("title", "about", "command", tables={"Classes": [row]}))).folded


@pytest.mark.parametrize("count", [80, 150])
def test_names_of_many_classes_are_read_in_a_browser(count, browser, tmp_path):
    """Of the confusion every name is as large as text, and stays in sight wherever the matrix is scrolled to."""
    names = [f"class {number}" for number in range(count)]
    matrix = ConfusionMatrix(1000 * np.eye(count, count + 1, dtype=int), names, [*names, "(none)"])
    file = write_report(tmp_path / "a.html", EvaluationPage("title", "about", "command", confusion=matrix))
    page = browser.new_page(viewport={"width": 400, "height": 700})
    page.goto(file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    places = page.evaluate(
        """() => { const box = document.querySelector('.matrix'); box.scrollIntoView();
        box.scrollTo(box.scrollWidth, box.scrollHeight); const frame = box.getBoundingClientRect();
        const inside = e => { const r = e.getBoundingClientRect();
          return r.left >= frame.left - 1 && r.right <= frame.right + 1 && r.top >= frame.top - 1
            && r.bottom <= frame.bottom + 1; };
        const heads = [...box.querySelectorAll('thead th')], sides = [...box.querySelectorAll('tbody th')];
        return { last: inside(heads.at(-2)) && inside(sides.at(-1)), first: inside(heads[1]),
          sizes: [...heads.slice(1), ...sides].map(e => parseFloat(getComputedStyle(e).fontSize)) }; }"""
    )
    assert places["last"] and not places["first"] and len(places["sizes"]) == 2 * count and min(places["sizes"]) >= 13
    page.close()


def test_nothing_is_loaded_from_elsewhere(report):
    page = read(report / "report.html")
    assert page.addresses and all(address.startswith("data:image/") for address in page.addresses)
    assert all(not link.startswith(("/", ".")) and ":" not in link for link in page.links)
    text = (report / "report.html").read_text()
    for word in ("<script", "<link", "@import", "url(", "http:", "https:"):
        assert word not in text


def test_text_stays_text_and_large_images_shrink(tmp_path):
    name = '<script>alert("x")</script>'
    page = EvaluationPage(
        title=name, about=name, command=name, headline={name: name}, numbers=[(name, name, name)],
        tables={name: [{"class": name, "iou": 150.0, "tp": 3, name: None}, {"class": "b", "iou": -1.0}]},
        images={name: [Shown(name, Image.new("RGB", (WIDEST * 2, 10), (9, 9, 9)))]}, legend={0: name},
        facts={name: name}, curves={name: [1.0, 2.0]},
        confusion=ConfusionMatrix(np.array([[3, 1]]), [name], [name, name]), links=True,
    )  # fmt: skip
    text = render(page)
    assert "<script" not in text and "--part:100.0%" in text and "--part:0.0%" in text
    found = read(write_report(tmp_path / "a.html", page))
    assert found.texts.count(name) >= 13 and list(found.curves) == [name] and found.images[0][1].size == (WIDEST, 5)
    assert found.by_heading[name][0][1:] == [[name, "150.00", "3", "-"], ["b", "-1.00", "-", "-"]]
    assert "overlays" not in " ".join(found.links), "images that are not saved have no file"
    plain = Page(render(EvaluationPage("title", "about", "command")))  # a page with nothing on it is one, too
    assert plain.images == [] and "command" in plain.texts


def test_a_browser_shows_it(report, browser):
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: errors.append(message.text))
    page.goto((report / "report.html").as_uri())
    assert [url for url in asked if not url.startswith("data:")] == [(report / "report.html").as_uri()] and not errors
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 100)")
    # Nothing is wider than the window, there and on a telephone.
    for width in (1200, 400):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        if os.environ.get("HFSEG_SCREENSHOTS"):
            place = Path(os.environ["HFSEG_SCREENSHOTS"]) / f"report_{width}.png"
            page.screenshot(path=str(place), full_page=True)
    page.close()
