# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The demo as it is served: its endpoints from Python, and every tab in headless Chromium, on a desk and on a phone.

One server with the shipped models serves all tests. With HFSEG_SCREENSHOTS=FOLDER every view is kept there.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from fractions import Fraction
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image

from hfseg.demo.examples import FOLDER
from hfseg.inference.video import VideoWriter
from tiny_zoo import volume_file

pytest.importorskip("gradio", reason="extra `demo`")
pytest.importorskip("nibabel", reason="extra `medical`: a shipped model reads volumes")
pytest.importorskip("timm", reason="extra `timm`: a shipped model has a backbone of it")
CHROMIUM = next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)
WAIT = 60_000  # ms; machines of continuous integration are slow
STATUS = ".prose.hfseg-status:visible"
TOAST = "[data-testid=toast-body]"
EXAMPLES = ".hfseg-examples button.gallery-item:visible, .hfseg-examples tr.tr-body:visible"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    root = tmp_path_factory.mktemp("served")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = Path(__file__).with_name("run_demo.py")
    log = open(root / "log.txt", "w+")
    process = subprocess.Popen([sys.executable, str(script), str(port)], stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    for _ in range(600):
        try:
            urllib.request.urlopen(address, timeout=5).read()
            break
        except (urllib.error.URLError, OSError):
            log.seek(0)
            assert process.poll() is None, log.read()[-3000:]
            time.sleep(0.5)
    yield address
    assert process.poll() is None, "the server has died"
    process.terminate()
    process.wait(30)
    log.close()


@pytest.fixture(scope="module")
def browser(server):
    playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
    if CHROMIUM is None:
        pytest.skip("the browser tests need Chromium on the path")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


def opened(browser, server, **settings):
    page = browser.new_context(**settings).new_page()
    page.set_default_timeout(WAIT)
    page.hosts = set()
    page.on("request", lambda request: page.hosts.add(urlsplit(request.url).netloc))
    page.goto(server)
    page.get_by_role("tab", name="Segments").wait_for()
    return page


@pytest.fixture(scope="module")
def page(browser, server):
    page = opened(browser, server, viewport={"width": 1300, "height": 1000})
    yield page
    shoot(page, "last")


@pytest.fixture(scope="module")
def phone(browser, server):
    size = {"width": 390, "height": 844}
    return opened(browser, server, viewport=size, device_scale_factor=2, is_mobile=True, has_touch=True)


def shoot(page, name):
    """Keeps an image of the page, where HFSEG_SCREENSHOTS names a folder."""
    if os.environ.get("HFSEG_SCREENSHOTS"):
        page.screenshot(path=str(Path(os.environ["HFSEG_SCREENSHOTS"]) / f"{name}.png"), full_page=True)


# What is shown of an answer; two answers may take the same time, so that the line alone does not tell them apart.
ANSWER = """() => {
  const shown = (selector) => [...document.querySelectorAll(selector)].filter((part) => part.offsetParent);
  const line = shown('.prose.hfseg-status').map((part) => part.innerText).join();
  return line.includes(' s') ? [line, ...shown('.hfseg-result img').map((part) => part.src)].join(' ') : '';
}"""


def changed(page, before=""):
    """Waits for another answer than the one before, and returns its line."""
    page.wait_for_function(f"before => {{ const now = ({ANSWER})(); return now && now !== before; }}", arg=before)
    return page.locator(STATUS).inner_text()


def emptied(page):
    page.wait_for_function(
        "() => [...document.querySelectorAll('.prose.hfseg-status')].every(e => !e.offsetParent || !e.innerText.trim())"
    )


def crop(path, name="nuclei.png", size=(180, 120)):
    """A part of an example: an upload of the visitor's own."""
    with Image.open(FOLDER / name) as image:
        image.convert("RGB").crop((0, 0, *size)).save(path)
    return path


# ------------------------------------------------------------------------------------------------------------ endpoints


def test_the_documented_calls_work(server, tmp_path, monkeypatch, capsys):
    """The example of docs/demo.md, run as it stands but for the address."""
    client = pytest.importorskip("gradio_client")
    text = (Path(__file__).parents[2] / "docs/demo.md").read_text(encoding="utf-8")
    code = re.search(r"```py\n(.*?)```", text, re.DOTALL)[1].replace("http://127.0.0.1:7860", server)
    shutil.copy(FOLDER / "places.png", tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(code, "demo.md", "exec"), names)
    assert re.search(r"\*\*\d segments, [\d.]+ s\*\* for 192 x 192 pixels", capsys.readouterr().out)
    assert names["line"].startswith("**1 segment, ")
    assert [Path(file).name for file in names["files"]] == ["photo_overlay.png", "photo_ids.png", "photo.json"]
    with Image.open(names["files"][1]) as ids:
        assert ids.getpixel((59, 29)) and not ids.getpixel((124, 160))
    endpoints = names["client"].view_api(return_format="dict")["named_endpoints"]
    listed = re.search(r"has an endpoint: (.*?)\.\n", text, re.DOTALL)[1]
    assert set(endpoints) == set(re.findall(r"`(/\w+)`", listed))
    with pytest.raises(client.exceptions.AppError, match="Click on an object first"):
        names["client"].predict(image=client.handle_file("photo.png"), places="-1,1", api_name="/places")
    # An address in the place of a file is refused, also from here.
    with pytest.raises(Exception, match=r"400|not the address"):
        names["client"].predict(image={"path": "http://example.org/a.png"}, api_name="/segments")


# ---------------------------------------------------------------------------------------------------------- on a desk


def test_every_example_is_answered_when_it_is_chosen(page, server):
    tabs = page.get_by_role("tab").all_inner_texts()
    assert {"Segments", "Expressions", "Points and boxes", "Volumes"} <= set(tabs)
    asked = 0
    for tab in tabs:
        page.get_by_role("tab", name=tab, exact=True).click()
        page.wait_for_timeout(500)
        rows = page.locator(EXAMPLES)
        for number in range(rows.count()):
            if asked:  # a new page: what an earlier example left must not count
                page.goto(server)
                page.get_by_role("tab", name=tab, exact=True).click()
            rows.nth(number).click()
            page.wait_for_function(
                "selector => document.querySelector(selector) || [...document.querySelectorAll('.prose.hfseg-status')]"
                ".some(e => e.offsetParent && e.innerText.trim())",
                arg=TOAST,
            )
            toast = page.locator(TOAST)
            assert not toast.count(), (tab, number, toast.first.inner_text())
            assert not page.locator(STATUS).inner_text().startswith("Nothing found")
            shoot(page, f"example_{tab.replace(' ', '_')}_{number}")
            asked += 1
    assert asked >= 6


def test_upload_gives_a_result_with_labels(page, server, tmp_path):
    page.goto(server)
    page.set_input_files("#hfseg-segments input[type=file]", crop(tmp_path / "photo.png"))
    status = changed(page)
    assert "180 x 120 pixels" in status and "segment" in status
    assert page.locator(".hfseg-result img:visible").count() >= 2  # the image, and at least one mask
    page.get_by_text("photo_ids").first.wait_for()
    shoot(page, "upload")


def marks(page):
    """Number of points, negative points and boxes that are drawn on the image."""
    count = "name => document.querySelectorAll('.hfseg-marks ' + name).length"
    black = page.evaluate(count, "circle[fill='#000']")
    return page.evaluate(count, "circle") - black, black, page.evaluate(count, "rect") // 2


def places(page):
    return page.get_by_label("Points x,y").input_value()


def geometry(page):
    """Left, top and scale of the image that is clicked on."""
    image = page.locator("#hfseg-places img")
    image.wait_for()
    image.scroll_into_view_if_needed()
    box = image.bounding_box()
    scale = min(box["width"] / 192, box["height"] / 192)
    if image.evaluate("e => getComputedStyle(e).objectFit") == "scale-down":
        scale = min(scale, 1)
    return box["x"] + (box["width"] - 192 * scale) / 2, box["y"] + (box["height"] - 192 * scale) / 2, scale


def near(text, expected):
    text = text.strip()
    sign = text.startswith("-")
    values = [int(value) for value in text.removeprefix("-").split(",")]
    return sign == expected.startswith("-") and all(
        abs(a - int(b)) <= 1 for a, b in zip(values, expected.removeprefix("-").split(","), strict=True)
    )


def test_clicks_and_boxes_are_drawn_and_taken_back(page, tmp_path):
    page.get_by_role("tab", name="Points and boxes").click()
    page.set_input_files("#hfseg-places input[type=file]", crop(tmp_path / "photo.png", "places.png", (192, 192)))
    left, top, scale = geometry(page)
    page.mouse.click(left + 59 * scale, top + 29 * scale)
    assert "1 segment," in changed(page) and near(places(page), "59,29") and marks(page) == (1, 0, 0)
    # The mark is where the click was.
    drawn = page.locator(".hfseg-marks circle").bounding_box()
    assert abs(drawn["x"] + drawn["width"] / 2 - left - 59 * scale) < 2 * max(scale, 1)
    assert abs(drawn["y"] + drawn["height"] / 2 - top - 29 * scale) < 2 * max(scale, 1)
    before = page.evaluate(ANSWER)
    page.mouse.click(left + 124 * scale, top + 160 * scale)
    assert "2 segments," in changed(page, before) and marks(page) == (2, 0, 0)
    page.get_by_role("radio", name="Not this").click()
    before = page.evaluate(ANSWER)
    page.mouse.click(left + 127 * scale, top + 33 * scale)
    changed(page, before)
    assert near(places(page).split(";")[2], "-127,33") and marks(page) == (2, 1, 0)
    shoot(page, "negative_point")
    for count in (2, 1):
        before = page.evaluate(ANSWER)
        page.locator("#hfseg-places-undo").click()
        assert f"{count} segment" in changed(page, before) and marks(page) == (count, 0, 0)
    # The same place again, after it was taken back.
    page.locator("#hfseg-places-undo").click()
    emptied(page)
    assert places(page) == "" and marks(page) == (0, 0, 0)
    page.get_by_role("radio", name="Object").click()
    page.mouse.click(left + 59 * scale, top + 29 * scale)
    changed(page)
    before = page.evaluate(ANSWER)
    page.mouse.move(left + 83 * scale, top + 120 * scale)
    page.mouse.down()
    page.mouse.move(left + 100 * scale, top + 150 * scale, steps=4)
    page.mouse.move(left + 165 * scale, top + 191 * scale, steps=4)
    page.mouse.up()
    page.get_by_text("box 1").first.wait_for()
    changed(page, before)
    assert near(places(page), "83,120,165,191") and marks(page) == (0, 0, 1)
    shoot(page, "box")
    page.get_by_role("radio", name="Box").click()
    page.mouse.click(left + 90 * scale, top + 60 * scale)
    assert marks(page) == (0, 0, 1) and near(places(page), "83,120,165,191")  # half a box asks nothing
    before = page.evaluate(ANSWER)
    page.mouse.click(left + 20 * scale, top + 10 * scale)
    changed(page, before)
    assert near(places(page).split(";")[1], "20,10,90,60") and marks(page) == (0, 0, 2)
    page.locator("#hfseg-places-clear").click()
    emptied(page)
    assert marks(page) == (0, 0, 0) and places(page) == ""


def test_volume_with_slices(page, tmp_path):
    page.get_by_role("tab", name="Volumes").click()
    page.set_input_files("#hfseg-volume input[type=file]", volume_file(tmp_path / "scan.nii.gz"))
    page.get_by_text("scan.nii").first.wait_for()
    page.get_by_role("button", name="Segment", exact=True).locator("visible=true").click()
    assert "12 x 14 x 6 voxels" in changed(page)
    shoot(page, "volume")


def test_a_video_plays_with_its_segments(page, tmp_path):
    pytest.importorskip("av", reason="extra `video`")
    with Image.open(crop(tmp_path / "photo.png")) as frame, VideoWriter(tmp_path / "clip.mp4", Fraction(10)) as writer:
        for index in range(6):
            writer.write(Image.eval(frame, lambda value, index=index: min(value + 2 * index, 255)))
    page.get_by_role("tab", name="Videos", exact=True).click()
    page.set_input_files("#hfseg-video input[type=file]", tmp_path / "clip.mp4")
    page.get_by_text("clip").first.wait_for()
    page.locator("#hfseg-video-run").click()
    status = changed(page)
    assert status.startswith("6 frames, ") and "objects" in status
    page.get_by_text("clip_ids").first.wait_for()
    player = page.locator(".hfseg-video-result video")
    player.wait_for()
    page.wait_for_function(  # the browser decodes it
        "() => [...document.querySelectorAll('.hfseg-video-result video')].some(v => v.readyState > 1 && v.videoWidth)"
    )
    assert player.evaluate("v => Math.round(v.duration * 10)") == 6
    shoot(page, "video")
    (tmp_path / "bad.mp4").write_text("this is no video")
    page.locator("#hfseg-video").get_by_label("Clear").first.click()
    page.set_input_files("#hfseg-video input[type=file]", tmp_path / "bad.mp4")
    page.get_by_text("bad").first.wait_for()
    page.locator("#hfseg-video-run").click()
    toast = page.locator(TOAST).filter(has_text="is no video that can be read").first
    toast.wait_for()
    shoot(page, "bad_video")
    page.locator("[data-testid=toast-close]").first.click()


def test_bad_input_is_explained_and_the_server_goes_on(page, server, tmp_path):
    page.get_by_role("tab", name="Segments").click()
    (tmp_path / "bad.png").write_text("this is no image")
    Image.new("RGB", (600, 500)).save(tmp_path / "large.png")
    (tmp_path / "heavy.png").write_bytes(os.urandom(3_000_000))
    for name, words in (("bad.png", "not an image"), ("large.png", "larger than the limit"), ("heavy.png", "size")):
        clear = page.locator("#hfseg-segments").get_by_label("Remove Image")
        if clear.count():
            clear.first.click()
        page.set_input_files("#hfseg-segments input[type=file]", tmp_path / name)
        page.locator(TOAST).filter(has_text=words).first.wait_for()
        shoot(page, name.partition(".")[0])
    emptied(page)  # no answer about another image stands beside the error
    for words in ("not an image", "larger than the limit"):  # they go away by themselves
        page.locator(TOAST).filter(has_text=words).wait_for(state="detached", timeout=15_000)
    # An address in the place of a file, past the page.
    for body, status in (({"data": [{"path": "http://example.org/a.png"}]}, 400), ({"data": [1]}, None)):
        call = urllib.request.Request(
            f"{server}/gradio_api/call/segments", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        try:
            assert urllib.request.urlopen(call).status and status is None
        except urllib.error.HTTPError as error:
            answer = error.read().decode()
            assert status is None or (error.code == status and "not the address" in answer)
    clear = page.locator("#hfseg-segments").get_by_label("Remove Image")
    if clear.count():
        clear.first.click()
    page.set_input_files("#hfseg-segments input[type=file]", crop(tmp_path / "fine.png", size=(90, 60)))
    assert "90 x 60" in changed(page)


def test_nothing_found_is_said(page, server, tmp_path):
    page.goto(server)
    Image.new("RGB", (90, 60)).save(tmp_path / "black.png")
    page.set_input_files("#hfseg-segments input[type=file]", tmp_path / "black.png")
    assert changed(page).startswith("Nothing found, ")
    shoot(page, "nothing")


# --------------------------------------------------------------------------------------------------------- on a phone


def test_a_phone_shows_every_tab_within_its_width(page, phone):
    assert phone.locator(".hfseg-head:visible").first.bounding_box()["height"] < 80
    for name in page.get_by_role("tab").all_inner_texts():
        tab = phone.get_by_role("tab", name=name, exact=True).locator("visible=true")
        if not tab.count():  # in the menu of those without room
            phone.locator(".overflow-menu > button").first.click()
            tab = phone.locator(".overflow-dropdown button", has_text=re.compile(f"^{name}$"))
        tab.first.click()
        phone.wait_for_timeout(400)
        assert phone.evaluate("() => document.documentElement.scrollWidth") <= 390, name
        shoot(phone, f"phone_{name.replace(' ', '_')}")


def test_a_finger_marks_points_and_boxes(phone, server, tmp_path):
    phone.goto(server)
    phone.locator(EXAMPLES).first.click()
    changed(phone)
    phone.wait_for_function(  # the phone has scrolled to the answer
        "() => document.querySelector('.hfseg-result').getBoundingClientRect().top < window.innerHeight / 3"
    )
    shoot(phone, "phone_answer")
    tab = phone.get_by_role("tab", name="Points and boxes").locator("visible=true")
    if not tab.count():
        phone.locator(".overflow-menu > button").first.click()
        tab = phone.locator(".overflow-dropdown button", has_text="Points and boxes")
    tab.first.click()
    phone.set_input_files("#hfseg-places input[type=file]", crop(tmp_path / "photo.png", "places.png", (192, 192)))
    left, top, scale = geometry(phone)
    phone.touchscreen.tap(left + 59 * scale, top + 29 * scale)
    changed(phone)
    assert near(places(phone), "59,29") and marks(phone) == (1, 0, 0)
    before = phone.evaluate(ANSWER)
    phone.get_by_role("radio", name="Box").tap()
    left, top, scale = geometry(phone)
    phone.touchscreen.tap(left + 83 * scale, top + 120 * scale)
    phone.touchscreen.tap(left + 165 * scale, top + 190 * scale)
    assert "1 segment," in changed(phone, before)
    assert near(places(phone), "83,120,165,190") and marks(phone) == (0, 0, 1)
    shoot(phone, "phone_box")


def test_nothing_was_asked_elsewhere(page, phone, server):
    assert page.hosts | phone.hosts <= {urlsplit(server).netloc, ""}
