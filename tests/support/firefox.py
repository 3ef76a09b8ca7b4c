"""Firefox, driven by WebDriver BiDi (https://w3c.github.io/webdriver-bidi/), which it speaks without a driver."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.support import in_page

PREFERENCES = {
    "media.autoplay.default": 0,
    "media.volume_scale": "0.0",
    "media.cubeb.force_mock_context": True,  # Web Audio does not run without a sound card
    "datareporting.policy.dataSubmissionEnabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "app.update.disabledForTesting": True,
    "network.proxy.type": 1,  # a proxy that is not there: nothing leaves this machine
    "network.proxy.http": "127.0.0.1",
    "network.proxy.http_port": 9,
    "network.proxy.ssl": "127.0.0.1",
    "network.proxy.ssl_port": 9,
}


class Firefox:
    """A window of Firefox.

    Attributes:
        troubles: errors that pages reported.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._count = 0
        self.troubles: list[str] = []
        self.call("session.new", capabilities={})
        self.call("session.subscribe", events=["log.entryAdded"])
        self._tab = self.call("browsingContext.getTree")["contexts"][0]["context"]
        for script in (in_page.WATCH, in_page.WATCH_SAMPLES):
            self.call("script.addPreloadScript", functionDeclaration=f"() => {{ {script} }}")

    def call(self, method: str, **params: Any) -> Any:
        """Sends a command and returns its result; keeps errors that were reported meanwhile."""
        self._count += 1
        self._socket.send(json.dumps({"id": self._count, "method": method, "params": params}))
        while True:
            answer = json.loads(self._socket.recv(timeout=60))
            if answer.get("method") == "log.entryAdded" and answer["params"]["level"] == "error":
                self.troubles.append(str(answer["params"]["text"]))
            if answer.get("id") == self._count:
                if answer["type"] == "error":
                    raise RuntimeError(f"{method}: {answer['error']}: {answer['message']}")
                return answer["result"]

    def goto(self, url: str) -> None:
        self.call("browsingContext.navigate", context=self._tab, url=url, wait="complete")

    def evaluate(self, expression: str) -> Any:
        """Evaluates an expression whose value can be JSON."""
        result = self.call(
            "script.evaluate",
            expression=f"(async () => JSON.stringify(await ({expression})))()",
            target={"context": self._tab},
            awaitPromise=True,
        )
        assert result["type"] == "success", result
        return json.loads(result["result"].get("value", "null"))

    def violations(self) -> Any:
        """Returns what axe-core finds wrong with the page as it stands."""
        self.drawn()
        self.wait_until(in_page.STILL)
        script = f"{in_page.axe_core()}; 0"
        self.call("script.evaluate", expression=script, target={"context": self._tab}, awaitPromise=False)
        return self.evaluate(in_page.VIOLATIONS)

    def wait_until(self, condition: str) -> None:
        end = time.monotonic() + 30
        while not self.evaluate(condition):
            assert time.monotonic() < end, (condition, self.troubles)
            time.sleep(0.05)

    def drawn(self) -> None:
        """Waits until the page has been laid out and drawn after what has happened so far."""
        self.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def scroll_to(self, selector: str) -> None:
        """Scrolls to an element, and waits until it is in the window and moves no more."""
        box = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()"
        before = None
        end = time.monotonic() + 30
        while True:
            self.evaluate(f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block: 'center'}})")
            self.drawn()
            after = self.evaluate(f"(({{top, bottom}}) => [top, bottom, innerHeight])({box})")
            if after == before and after[0] < after[2] and after[1] > 0:
                return
            before = after
            assert time.monotonic() < end, selector

    def resize(self, width: int, height: int) -> None:
        self.call("browsingContext.setViewport", context=self._tab, viewport={"width": width, "height": height})

    def click(self, selector: str, x: float = 0.5, y: float = 0.5) -> None:
        """Clicks in an element, at parts of its width and height."""
        self.drag(selector, [(x, y)])

    def drag(self, selector: str, places: list[tuple[float, float]]) -> None:
        """Presses the mouse in an element at the first place, drags it to the others, and lets go."""
        box = self.evaluate(
            f"(box => [box.left, box.top, box.width, box.height])(document.querySelector({json.dumps(selector)})"
            ".getBoundingClientRect())"
        )
        points = [(round(box[0] + box[2] * x), round(box[1] + box[3] * y)) for x, y in places]
        moves = [{"type": "pointerMove", "x": x, "y": y} for x, y in points]
        actions = [moves[0], {"type": "pointerDown", "button": 0}, *moves[1:], {"type": "pointerUp", "button": 0}]
        self._perform({"type": "pointer", "id": "mouse", "actions": actions})

    def hold(self, key: str) -> None:
        """Presses a key and keeps it down."""
        self._perform({"type": "key", "id": "keys", "actions": [{"type": "keyDown", "value": key}]})

    def let_go(self, key: str) -> None:
        """Lets go a key that is held."""
        self._perform({"type": "key", "id": "keys", "actions": [{"type": "keyUp", "value": key}]})

    def press(self, *keys: str) -> None:
        """Presses keys one after the other."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._perform({"type": "key", "id": "keys", "actions": actions})

    def _perform(self, source: dict[str, Any]) -> None:
        self.call("input.performActions", context=self._tab, actions=[source])


@contextlib.contextmanager
def firefox(program: str, *, dark: bool = False) -> Iterator[Firefox]:
    """Starts Firefox with a profile of its own, without a window on the screen, and ends it."""
    profile = Path(tempfile.mkdtemp(prefix="gansynth-firefox-"))
    preferences = {**PREFERENCES, "ui.systemUsesDarkTheme": int(dark)}
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in preferences.items()]
    (profile / "user.js").write_text("\n".join(lines))
    command = [program, "--headless", "--no-remote", "--profile", str(profile), "--remote-debugging-port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        assert process.stderr
        address = ""
        for line in process.stderr:
            if found := re.search(r"WebDriver BiDi listening on (ws://\S+)", line):
                address = found[1]
                break
        assert address, "Firefox has ended"
        threading.Thread(target=process.stderr.read, daemon=True).start()  # or it would wait for a reader
        with connect(f"{address}/session", max_size=None) as socket:
            yield Firefox(socket)
    finally:
        process.terminate()
        process.wait(30)
        if process.stderr:
            process.stderr.close()
        shutil.rmtree(profile, ignore_errors=True)
