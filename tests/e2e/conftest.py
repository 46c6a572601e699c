"""`bench` as a user calls it, in another process; and a page as a person opens it, in Chromium."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from selenium import webdriver

PATIENCE_S = 120.0
DRAWN_WITHIN_S = 60.0
PHONE_WIDTH = 560
CHROMIUM_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
INK = "[...document.querySelectorAll('.xtick text')].at(-1).style.fill"
WANTED_INK = """(() => { const probe = document.createElement("i");
  probe.style.fill = getComputedStyle(document.documentElement).getPropertyValue("--ink-soft");
  return probe.style.fill; })()"""
"""The colour of the last figure's ticks, and the one that the style sheet asks for."""


@dataclass(frozen=True)
class Ended:
    """A command that ended: its exit code and what it said."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """stdout, which has to be one JSON object."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Bench:
    """A `bench` executable, called in a folder of its own, with a key in its environment."""

    executable: Path
    folder: Path
    key: str = "sk-e2e-0123456789abcdef"

    def __call__(self, *arguments: str | Path, env: Mapping[str, str] | None = None) -> Ended:
        kept = {name: os.environ[name] for name in ("HOME", "PATH", "TMPDIR") if name in os.environ}
        done = subprocess.run(
            [self.executable, *map(str, arguments)],
            cwd=self.folder,
            env={**kept, "LANG": "C.UTF-8", "OPENAI_API_KEY": self.key, **(env or {})},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def bench_of() -> type[Bench]:
    """`bench_of(executable, folder)`: any other `bench`."""
    return Bench


@pytest.fixture(scope="session")
def checkout_bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """The `bench` of the environment that runs the tests."""
    executable = Path(sys.executable).with_name("bench")
    if not executable.exists():
        pytest.skip("bench is not installed beside this Python; run the tests by `make test`")
    return Bench(executable, tmp_path_factory.mktemp("empty"))


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """A fresh Chromium that logs its console and its requests."""
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and chromedriver):
        pytest.skip("chromium and chromedriver are not installed (Debian: chromium-driver)")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*CHROMIUM_FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(chromedriver))
    yield driver
    driver.quit()


class Opened:
    """A page as it stands at one size and in one colour scheme, its figures drawn.

    It is loaded once: a change of size or scheme reaches the page that is open.
    """

    def __init__(
        self, browser: webdriver.Chrome, path: Path, size: tuple[int, int], scheme: str
    ) -> None:
        self.browser = browser
        width, height = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1}
        metrics["mobile"] = width < PHONE_WIDTH
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        colour = {"name": "prefers-color-scheme", "value": scheme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [colour]})
        if browser.current_url != path.as_uri():
            browser.get(path.as_uri())
        if self("return document.getElementById('figures') !== null"):
            self.until("document.documentElement.dataset.figures === 'drawn'")
            self.until(f"{INK} === {WANTED_INK}")

    def until(self, condition: str) -> None:
        """Wait for something to become true on the page."""
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.browser, DRAWN_WITHIN_S).until(lambda _: self(f"return {condition}"))

    def __call__(self, script: str) -> Any:
        return self.browser.execute_script(script)

    def errors(self) -> list[str]:
        """What the console complained of."""
        return [entry["message"] for entry in self.browser.get_log("browser")]

    def requested(self) -> list[str]:
        """Addresses that the page asked for."""
        entries = [json.loads(e["message"])["message"] for e in self.browser.get_log("performance")]
        return [
            entry["params"]["request"]["url"]
            for entry in entries
            if entry["method"] == "Network.requestWillBeSent"
        ]


@pytest.fixture
def opened(browser: webdriver.Chrome) -> Callable[..., Opened]:
    """`opened(path, (width, height), "light" or "dark")`: a page in the browser."""

    def open_page(path: Path, size: tuple[int, int] = (1280, 800), scheme: str = "light") -> Opened:
        return Opened(browser, path, size, scheme)

    return open_page
