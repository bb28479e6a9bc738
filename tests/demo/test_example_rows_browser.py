# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Every example of every tab of the shipped models, clicked and asked in headless Chromium."""

import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="extra `demo`")
pytest.importorskip("nibabel", reason="extra `medical`: a shipped model reads volumes")
pytest.importorskip("timm", reason="extra `timm`: a shipped model has a backbone of it")
playwright = pytest.importorskip("playwright.sync_api", reason="the browser test needs playwright")
CHROMIUM = next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="the browser test needs Chromium on the path")
WAIT = 120_000  # ms; machines of continuous integration are slow


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log.txt"
    script = Path(__file__).with_name("run_demo.py")
    with log.open("w") as file:
        process = subprocess.Popen([sys.executable, str(script), str(port)], stdout=file, stderr=file)
    for _ in range(600):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=5).read()
            break
        except (urllib.error.URLError, OSError):
            assert process.poll() is None, log.read_text()[-3000:]
            time.sleep(0.5)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(30)


def test_every_example_can_be_asked(address):
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1300, "height": 1200})
        page.set_default_timeout(WAIT)
        page.goto(address)
        page.get_by_role("tab", name="Segments", exact=True).wait_for()
        tabs = page.get_by_role("tab").all_inner_texts()
        assert {"Segments", "Points and boxes", "Volumes"} <= set(tabs)
        asked = 0
        for tab in tabs:
            page.get_by_role("tab", name=tab, exact=True).click()
            page.wait_for_timeout(500)
            rows = page.locator("button.gallery-item:visible, .dataset button:visible, tr.tr-body:visible")
            for number in range(rows.count()):
                if asked:  # a fresh page: what an earlier example left must not count
                    page.goto(address)
                    page.get_by_role("tab", name=tab, exact=True).click()
                rows.nth(number).click()
                page.wait_for_timeout(1500)
                page.locator("button.primary:visible").first.click()
                page.wait_for_function(
                    "() => document.querySelector('.toast-body') || [...document.querySelectorAll('.hfseg-status')]"
                    ".some(e => e.offsetParent && e.innerText.trim())"
                )
                toast = page.locator(".toast-body")
                assert not toast.count(), (tab, number, toast.first.inner_text())
                asked += 1
        assert asked >= 6
        browser.close()
