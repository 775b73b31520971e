"""A real browser without a window, told what to do over a pipe (the DevTools protocol)."""

from __future__ import annotations

import base64
import json
import os
import select
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.peers.paths import program
from tests.peers.process import PeerError

CALL_SECONDS = 60.0
LOAD_SECONDS = 60.0


class Chromium:
    """One browser with one page. Scripts of pages do not run, unless asked for."""

    def __init__(self, home: Path) -> None:
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        command = [
            program("chromium"),
            "--headless",
            "--no-sandbox",  # the tests run as root in CI
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--hide-scrollbars",
            "--remote-debugging-pipe",
            f"--user-data-dir={home / 'profile'}",
            "about:blank",
        ]

        def place() -> None:
            os.dup2(to_browser, 13)
            os.dup2(from_browser, 14)
            os.dup2(13, 3)
            os.dup2(14, 4)

        self._log = (home / "chromium.log").open("wb")
        self._process = subprocess.Popen(
            command, preexec_fn=place, pass_fds=(3, 4, 13, 14), stdout=self._log, stderr=self._log
        )
        os.close(to_browser)
        os.close(from_browser)
        self._buffer, self._number, self._events = b"", 0, []  # type: tuple[bytes, int, list[dict[str, Any]]]
        self._session = ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setScriptExecutionDisabled", value=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        os.close(self._read)
        os.close(self._write)
        self._log.close()

    def call(self, method: str, **params: Any) -> Any:
        """The result of a DevTools method."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        ends = time.monotonic() + CALL_SECONDS
        while True:
            found = self._next(ends, method)
            if found.get("id") == self._number:
                if "error" in found:
                    raise PeerError(f"{method}: {found['error']}")
                return found["result"]
            self._events.append(found)

    def _next(self, ends: float, what: str) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, ends - time.monotonic()))
            chunk = os.read(self._read, 1 << 20) if ready else b""
            if not chunk:
                raise PeerError(f"chromium did not answer {what}")
            self._buffer += chunk
        message, _, self._buffer = self._buffer.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def open(self, url: str, width: int, *, zoom: float = 1.0, dark: bool = False) -> None:
        """Load a page in a window of this width; zoom: as Ctrl and + do it."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=int(width / zoom),
            height=900,
            deviceScaleFactor=zoom,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self._events.clear()
        self.call("Page.navigate", url=url)
        ends = time.monotonic() + LOAD_SECONDS
        while not any(event.get("method") == "Page.loadEventFired" for event in self._events):
            self._events.append(self._next(ends, url))

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, of the inspector and not of the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise PeerError(f"{expression[:80]}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def press(self, key: str, code: int, modifiers: int = 0) -> None:
        """Press a key and release it."""
        for kind in ("rawKeyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=code,
                modifiers=modifiers,
            )

    def complaints(self) -> list[str]:
        """What the browser wrote into its console on the page: refused styles, missing files, errors."""
        return [
            str(event["params"]["entry"]["text"])
            for event in self._events
            if event.get("method") == "Log.entryAdded"
        ]

    def addresses(self) -> list[str]:
        """Every address that the page made the browser ask for."""
        return [
            str(event["params"]["request"]["url"])
            for event in self._events
            if event.get("method") == "Network.requestWillBeSent"
        ]

    def screenshot(self, path: Path) -> None:
        """Write the whole page as a picture."""
        data = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))
