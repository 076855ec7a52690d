"""Look at the Prefect UI as a person does: headless Chromium, driven over its DevTools protocol.

    with browser() as chromium:
        page = chromium.open(flow_run_page(server.ui_url, run_id), ["Completed", "Artifacts"])
        assert not page.is_blank
        page.save(Path("run.png"))

`browser()` skips the test where no Chromium is installed.
"""

import base64
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from websockets.sync.client import ClientConnection, connect

START_LIMIT_S = 60.0
PAGE_LIMIT_S = 90.0
CALL_LIMIT_S = 30.0

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--window-size=1400,1600",
    "--remote-debugging-port=0",
)


@dataclass(frozen=True)
class Page:
    """What is seen: the visible text, and a picture of the window."""

    url: str
    text: str
    png: bytes

    def save(self, path: Path) -> None:
        path.write_bytes(self.png)

    @property
    def is_blank(self) -> bool:
        """Next to nothing is drawn: hardly any pixel differs from the most frequent one."""
        pixels = cv2.imdecode(np.frombuffer(self.png, np.uint8), cv2.IMREAD_GRAYSCALE)
        assert pixels is not None
        return bool(np.bincount(pixels.ravel()).max() > 0.995 * pixels.size)


class Chromium:
    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)

    def open(self, url: str, texts: Sequence[str], *, limit_s: float = PAGE_LIMIT_S) -> Page:
        """Open a page, wait until every text is visible, and look.

        Fails with the texts that did not come, and with what the page shows instead.
        """
        self._call("Page.navigate", url=url)
        deadline = time.monotonic() + limit_s
        while missing := [text for text in texts if text not in self._text()]:
            if time.monotonic() > deadline:
                pytest.fail(f"{url} does not show {missing}; it shows:\n{self._text()[:3000]}")
            time.sleep(0.2)
        time.sleep(0.5)  # fonts and pictures are drawn a little after the text is there
        shot = self._call("Page.captureScreenshot", format="png")
        return Page(url, self._text(), base64.b64decode(shot["data"]))

    def widths_of_pictures(self) -> list[int]:
        """Widths in px of the pictures of the open page; 0 for one that could not be shown."""
        script = "[...document.images].map(image => image.complete ? image.naturalWidth : 0)"
        return list(self._evaluate(script))

    def _text(self) -> str:
        return str(self._evaluate("document.body ? document.body.innerText : ''"))

    def _evaluate(self, script: str) -> Any:
        answer = self._call("Runtime.evaluate", expression=script, returnByValue=True)
        return answer["result"].get("value")

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        deadline = time.monotonic() + CALL_LIMIT_S
        while True:
            message = json.loads(self._socket.recv(timeout=max(0.0, deadline - time.monotonic())))
            if message.get("id") == number:
                assert "error" not in message, f"{method}: {message['error']}"
                return message["result"]


@contextmanager
def browser() -> Iterator[Chromium]:
    """A fresh headless Chromium; skips the test where none is installed."""
    program = os.environ.get("E3D_CHROMIUM") or shutil.which("chromium") or shutil.which("chrome")
    if program is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    with tempfile.TemporaryDirectory(prefix="e3d-chromium-", ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=os.environ | {"HOME": profile},
        )
        try:
            with connect(_page_socket(process, Path(profile)), max_size=None, proxy=None) as socket:
                yield Chromium(socket)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=30)


def flow_run_page(ui_url: str, flow_run_id: object, tab: str = "Logs") -> str:
    """Address of a tab (Logs, TaskRuns, SubflowRuns, Artifacts, Parameters) of a run's page."""
    return f"{ui_url}/runs/flow-run/{flow_run_id}?tab={tab}"


def artifact_page(ui_url: str, artifact_id: object) -> str:
    """Address of the page of one artifact; its id: see `artifact_ids`."""
    return f"{ui_url}/artifacts/artifact/{artifact_id}"


def artifact_ids(api_url: str, flow_run_id: object) -> dict[str, str]:
    """Key -> id of the artifacts of a flow run, task runs included."""
    body = {"artifacts": {"flow_run_id": {"any_": [str(flow_run_id)]}}}
    request = urllib.request.Request(
        f"{api_url}/artifacts/filter",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=CALL_LIMIT_S) as answer:
        return {row["key"]: row["id"] for row in json.load(answer)}


def _page_socket(process: subprocess.Popen[bytes], profile: Path) -> str:
    """The DevTools address of the first tab, once Chromium has written its port."""
    deadline = time.monotonic() + START_LIMIT_S
    port_file = profile / "DevToolsActivePort"
    while time.monotonic() < deadline:
        assert process.poll() is None, f"Chromium ended with status {process.returncode}"
        if port_file.is_file() and (lines := port_file.read_text().split()):
            url = f"http://127.0.0.1:{lines[0]}/json/list"
            with urllib.request.urlopen(url, timeout=CALL_LIMIT_S) as answer:
                pages = [row for row in json.load(answer) if row["type"] == "page"]
            if pages:
                return str(pages[0]["webSocketDebuggerUrl"])
        time.sleep(0.1)
    pytest.fail(f"Chromium did not start within {START_LIMIT_S:.0f} s")
