"""Chromium without a screen, driven over its own protocol: what a page asks for, says and takes up."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from websockets.sync.client import ClientConnection, connect

_PATIENCE_SECONDS = 60.0
_LISTENING = "DevToolsActivePort"  # where the browser writes its port
# What stands out of the window to the right, but for what scrolls within a box of its own.
_OVERFLOWING = """
(() => {
  const limit = document.documentElement.clientWidth + 1;
  const standsOut = e => !e.closest(".wide") && e.getBoundingClientRect().right > limit;
  const isCut = t => {
    const box = t.getBoundingClientRect(), own = t.ownerSVGElement.getBoundingClientRect();
    return box.left < own.left - 1 || box.right > own.right + 1 || box.top < own.top - 1 || box.bottom > own.bottom + 1;
  };
  const found = [...document.querySelectorAll("body *")].filter(standsOut);
  const words = [...document.querySelectorAll("svg text")].filter(isCut);
  return [...found, ...words].map(e => `${e.tagName}: ${e.textContent.trim().slice(0, 60)}`);
})()
"""


@dataclass
class Page:
    """A loaded page, and what was heard of it while it loaded."""

    browser: Browser
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression within the page."""
        answer = self.browser.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def overflowing(self) -> list[str]:
        """Elements that stand out of the window, and words that stand out of their drawing."""
        return self.evaluate(_OVERFLOWING) + (
            ["the page scrolls sideways"]
            if self.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
            else []
        )

    def screenshot(self, path: Path) -> None:
        """The whole page, as long as it is."""
        size = self.browser.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self.browser.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(shot["data"]))

    def pdf(self) -> bytes:
        """As it would be printed on A4."""
        printed = self.browser.call("Page.printToPDF", paperWidth=8.27, paperHeight=11.69, printBackground=True)
        return base64.b64decode(printed["data"])


class Browser:
    """One tab."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._number = 0
        self._events: list[dict[str, Any]] = []
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Ask for something; what happens meanwhile is kept."""
        self._number += 1
        self._connection.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._connection.recv(timeout=_PATIENCE_SECONDS))
            if message.get("id") == self._number:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result
            self._events.append(message)

    def open(self, file: Path, width: int, *, is_dark: bool = False) -> Page:
        """Load a file in a window of that width."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
        self._events.clear()
        self.call("Page.navigate", url=file.resolve().as_uri())
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not any(event["method"] == "Page.loadEventFired" for event in self._events):
            assert time.monotonic() < deadline, "the page does not load"
            self.call("Runtime.evaluate", expression="0")
        page = Page(self)
        for event in self._events:
            match event["method"]:
                case "Network.requestWillBeSent":
                    page.requests.append(event["params"]["request"]["url"])
                case "Log.entryAdded":
                    page.complaints.append(event["params"]["entry"]["text"])
                case "Runtime.consoleAPICalled" | "Runtime.exceptionThrown":
                    page.complaints.append(json.dumps(event["params"]))
        return page


@contextmanager
def chromium(program: str, folder: Path) -> Iterator[Browser]:
    """A browser with a profile of its own below ``folder``."""
    options = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--remote-debugging-port=0",
    ]
    command = [program, *options, "--no-first-run", f"--user-data-dir={folder}", "about:blank"]
    (folder / _LISTENING).unlink(missing_ok=True)  # an earlier browser's
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with connect(_tab(folder, process), max_size=None, proxy=None) as connection:
            yield Browser(connection)
    finally:
        process.terminate()
        process.wait(timeout=_PATIENCE_SECONDS)


def _tab(folder: Path, process: subprocess.Popen[bytes]) -> str:
    """The address of the one tab, once the browser listens."""
    told, deadline = folder / _LISTENING, time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, "the browser has ended"
        if told.exists() and (lines := told.read_text().splitlines()):
            with urlopen(f"http://127.0.0.1:{lines[0]}/json/list") as answer:
                tabs = [each for each in json.load(answer) if each["type"] == "page"]
            if tabs:
                return str(tabs[0]["webSocketDebuggerUrl"])
        time.sleep(0.05)
    raise AssertionError("the browser does not listen")
