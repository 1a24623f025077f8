"""A real headless Chromium, driven over WebDriver; nothing but Debian's packages is needed."""

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --hide-scrollbars "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--disable-dev-shm-usage"
)


class Browser:
    """One window. Its log has what a console shows; its traffic every request that was made."""

    def __init__(self, driver: str, profile: Path) -> None:
        self._driver = driver
        options = {
            "binary": shutil.which("chromium"),
            "args": [*FLAGS.split(), f"--user-data-dir={profile}"],
        }
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        made = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"/session/{made['sessionId']}"

    def open(self, page: Path, *, width: int = 1200, height: int = 900, dark: bool = False) -> None:
        """Show a file in a window of this size, light or dark."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.devtools("Emulation.setEmulatedMedia", features=[scheme])
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=height,
                      deviceScaleFactor=1, mobile=width < 600)  # fmt: skip
        self._call("POST", f"{self._session}/url", {"url": page.absolute().as_uri()})

    def run(self, script: str) -> Any:
        """Return what a script in the page returns."""
        return self._call("POST", f"{self._session}/execute/sync", {"script": script, "args": []})

    def devtools(self, command: str, **params: Any) -> Any:
        """Send a command of Chromium's own protocol."""
        return self._call(
            "POST", f"{self._session}/goog/cdp/execute", {"cmd": command, "params": params}
        )

    def screenshot(self, file: Path) -> None:
        """Write the whole page as PNG."""
        shot = self.devtools("Page.captureScreenshot", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(shot["data"]))

    def console(self) -> list[str]:
        """Return what the console says since the last call."""
        return [entry["message"] for entry in self._log("browser")]

    def requests(self) -> list[str]:
        """Return the addresses that were asked for since the last call, but for the page's own."""
        events = [json.loads(entry["message"])["message"] for entry in self._log("performance")]
        sent = [
            e["params"]["request"]["url"]
            for e in events
            if e["method"] == "Network.requestWillBeSent"
        ]
        return [url for url in sent if not url.startswith(("file:", "data:", "chrome:"))]

    def close(self) -> None:
        """End the window."""
        self._call("DELETE", self._session)

    def _log(self, kind: str) -> list[dict[str, Any]]:
        return list(self._call("POST", f"{self._session}/se/log", {"type": kind}))

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if method == "DELETE" else json.dumps(body or {}).encode()
        request = Request(
            f"{self._driver}{path}", data, {"Content-Type": "application/json"}, method=method
        )
        with urlopen(request, timeout=120) as answer:
            return json.load(answer)["value"]


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """Yield a browser with a profile of its own; it ends with its driver."""
    log = (folder / "driver.log").open("w+")
    driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=log, stderr=subprocess.STDOUT)
    try:
        one = Browser(f"http://127.0.0.1:{_port(folder / 'driver.log')}", folder / "profile")
        try:
            yield one
        finally:
            one.close()
    finally:
        driver.terminate()
        driver.wait(30)
        log.close()


def _port(log: Path) -> int:
    """Return the port that the driver chose, once it says so."""
    for _ in range(600):
        said = log.read_text()
        if "on port " in said.partition("started")[2]:
            return int(said.rpartition("on port ")[2].strip(" .\n"))
        time.sleep(0.1)
    raise URLError(f"chromedriver did not start: {log.read_text()}")
