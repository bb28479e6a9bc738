# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The demo in headless Chromium: an upload, a click, a dragged box, a volume, bad input, and no request elsewhere."""

import json
import os
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

from hfseg.inference.video import VideoWriter
from tiny_zoo import image as photo
from tiny_zoo import model_folder, volume_file

pytest.importorskip("gradio", reason="extra `demo`")
playwright = pytest.importorskip("playwright.sync_api", reason="the browser test needs playwright")
CHROMIUM = next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="the browser test needs Chromium on the path")
WAIT = 120_000  # ms; machines of continuous integration are slow
STATUS = ".prose.hfseg-status:visible"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    root = tmp_path_factory.mktemp("zoo")
    folders = [str(model_folder(name, root)) for name in ("proscale", "unpairseg_masks", "meddensevit")]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = Path(__file__).with_name("run_demo.py")
    log = open(root / "log.txt", "w+")
    process = subprocess.Popen([sys.executable, str(script), str(port), *folders], stdout=log, stderr=log)
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
def page(server):
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1300, "height": 1000})
        page.set_default_timeout(WAIT)
        page.hosts = set()
        page.on("request", lambda request: page.hosts.add(urlsplit(request.url).netloc))
        page.goto(server)
        page.get_by_role("tab", name="Segments").wait_for()
        yield page
        shots = os.environ.get("HFSEG_SCREENSHOTS")
        if shots:
            page.screenshot(path=str(Path(shots) / "last.png"))
        browser.close()


def shoot(page, name):
    """Keeps an image of the page, where HFSEG_SCREENSHOTS names a folder."""
    if os.environ.get("HFSEG_SCREENSHOTS"):
        page.screenshot(path=str(Path(os.environ["HFSEG_SCREENSHOTS"]) / f"{name}.png"))


def changed(page, before):
    """Waits for another status than the one before, and returns it."""
    page.wait_for_function(
        "([selector, old]) => [...document.querySelectorAll('.prose.hfseg-status')].some("
        "e => e.offsetParent && e.innerText.includes(' s') && e.innerText !== old)",
        arg=[STATUS, before],
    )
    return page.locator(STATUS).inner_text()


def test_upload_gives_a_result_with_labels(page, tmp_path):
    photo(120, 180).save(tmp_path / "photo.png")
    page.set_input_files("#hfseg-segments input[type=file]", tmp_path / "photo.png")
    status = changed(page, "")
    assert "180 x 120 pixels" in status and "segment" in status
    assert page.locator(".hfseg-result img:visible").count() >= 2  # the image, and at least one mask
    page.get_by_text("photo_ids").first.wait_for()
    shoot(page, "upload")


def test_a_click_and_a_dragged_box(page, tmp_path):
    page.get_by_role("tab", name="Points and boxes").click()
    photo(120, 180).save(tmp_path / "photo.png")
    page.set_input_files("#hfseg-places input[type=file]", tmp_path / "photo.png")
    image = page.locator("#hfseg-places img")
    image.wait_for()
    box = image.bounding_box()
    scale = min(box["width"] / 180, box["height"] / 120, 1)  # small images are not enlarged
    left = box["x"] + (box["width"] - 180 * scale) / 2
    top = box["y"] + (box["height"] - 120 * scale) / 2
    page.mouse.click(left + 60 * scale, top + 40 * scale)
    assert "1 segment," in changed(page, "")
    field = page.get_by_label("Points x,y")
    assert [abs(int(a) - b) <= 1 for a, b in zip(field.input_value().split(","), (60, 40))] == [True, True]
    shoot(page, "click")
    page.mouse.move(left + 20 * scale, top + 10 * scale)
    page.mouse.down()
    page.mouse.move(left + 60 * scale, top + 50 * scale, steps=4)
    page.mouse.move(left + 120 * scale, top + 90 * scale, steps=4)
    page.mouse.up()
    page.get_by_text("box 1").first.wait_for()
    values = [int(value) for value in field.input_value().split(",")]
    assert all(abs(a - b) <= 1 for a, b in zip(values, (20, 10, 120, 90))) and len(values) == 4
    shoot(page, "box")


def test_volume_with_slices(page, tmp_path):
    page.get_by_role("tab", name="Volumes").click()
    page.set_input_files("#hfseg-volume input[type=file]", volume_file(tmp_path / "scan.nii.gz"))
    page.get_by_text("scan.nii").first.wait_for()
    page.get_by_role("button", name="Segment").locator("visible=true").click()
    assert "12 x 14 x 6 voxels" in changed(page, "")
    shoot(page, "volume")


def test_a_video_plays_with_its_segments(page, tmp_path):
    pytest.importorskip("av", reason="extra `video`")
    with VideoWriter(tmp_path / "clip.mp4", Fraction(10)) as writer:
        for seed in range(6):
            writer.write(Image.blend(photo(120, 180), photo(120, 180, 1), seed / 10))
    page.get_by_role("tab", name="Videos").click()
    page.set_input_files("#hfseg-video input[type=file]", tmp_path / "clip.mp4")
    page.get_by_text("clip").first.wait_for()
    page.locator("#hfseg-video-run").click()
    status = changed(page, "")
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
    toast = page.locator("[data-testid=toast-body]").filter(has_text="is no video that can be read").first
    toast.wait_for()
    shoot(page, "bad_video")
    page.locator("[data-testid=toast-close]").first.click()


def test_bad_input_is_explained_and_the_server_goes_on(page, server, tmp_path):
    page.get_by_role("tab", name="Segments").click()
    before = page.locator(STATUS).inner_text()
    (tmp_path / "bad.png").write_text("this is no image")
    Image.new("RGB", (600, 500)).save(tmp_path / "large.png")
    noise = os.urandom(3_000_000)
    (tmp_path / "heavy.png").write_bytes(noise)
    for name, words in (("bad.png", "not an image"), ("large.png", "larger than the limit"), ("heavy.png", "size")):
        clear = page.locator("#hfseg-segments").get_by_label("Remove Image")
        if clear.count():
            clear.first.click()
        page.set_input_files("#hfseg-segments input[type=file]", tmp_path / name)
        toast = page.locator("[data-testid=toast-body]").filter(has_text=words).first
        toast.wait_for()
        shoot(page, name.partition(".")[0])
        page.locator("[data-testid=toast-close]").first.click()
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
    photo(60, 90).save(tmp_path / "fine.png")
    page.set_input_files("#hfseg-segments input[type=file]", tmp_path / "fine.png")
    assert "90 x 60" in changed(page, before)


def test_nothing_was_asked_elsewhere(page, server):
    assert page.hosts <= {urlsplit(server).netloc, ""}
