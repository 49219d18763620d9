"""A Markdown page as text and blocks, which run in a scratch folder: commands by bash, Python in this process."""

import contextlib
import dataclasses
import importlib
import io
import os
import re
import shutil
import subprocess
import sys
import traceback
from collections.abc import Generator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "research" / "results"
GIVEN = ("me.png", "you.png", "photo.jpg", "edited.jpg", "mask.png", "portraits")
"""What every scratch folder has, out of ``docs/images``."""

INSTALLED = ".installed"
ENVIRONMENT = {
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
    "COLUMNS": "110",
    "NO_COLOR": "1",
    "TQDM_DISABLE": "1",
    "TERM": "dumb",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "DIFFUSERS_VERBOSITY": "error",
    # A page installs into its scratch folder, from installed packages, without asking an index.
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_BUILD_ISOLATION": "0",  # pip's way of saying yes
    "PIP_NO_DEPS": "1",
    "PIP_QUIET": "1",
    "PIP_ROOT_USER_ACTION": "ignore",
    "PIP_TARGET": INSTALLED,
    "PYTHONPATH": os.pathsep.join(filter(None, [INSTALLED, os.environ.get("PYTHONPATH")])),
}

_FENCED = re.compile(r"^(`{3,})(\w*)(?: ([^\n]*))?\n(.*?)^\1$", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r'title="([^"]*)"')


@dataclasses.dataclass(slots=True)
class Block:
    """A fenced block."""

    language: str
    attributes: str  # the words after the language, such as ``title="output"``
    lines: list[str]
    number: int = 0  # number of its first line within the page, from 1

    @property
    def title(self) -> str:
        """The line that is written over the block, or nothing."""
        found = _TITLE.search(self.attributes)
        return found[1] if found else ""

    @property
    def is_file(self) -> bool:
        """Whether the title is a file's name."""
        return bool(re.fullmatch(r"[\w./-]+\.\w+", self.title))

    @property
    def text(self) -> str:
        """The text between the fences."""
        return "\n".join(self.lines)

    def __str__(self) -> str:
        opening = " ".join(filter(None, (f"```{self.language}", self.attributes)))
        return "\n".join([opening, *self.lines, "```"])


def parsed(page: str) -> list[str | Block]:
    """Text and blocks in order, which joined give the page.

    Blocks with a longer fence, with no language, or not at the beginning of a line, are text.
    """
    parts, done = list[str | Block](), 0
    for found in _FENCED.finditer(page):
        if found[1] == "```" and found[2]:
            number = page.count("\n", 0, found.start()) + 2
            parts += [page[done : found.start()], Block(found[2], found[3] or "", found[4].splitlines(), number)]
            done = found.end()
    return [*parts, page[done:]]


class BlockError(Exception):
    """A block did not do what it should: the page, the line, and what came."""


@contextlib.contextmanager
def scratch(page: Path) -> Generator[Path]:
    """The new folder of a page, which is the working folder meanwhile."""
    folder = ROOT / "out" / "docs" / page.stem
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in GIVEN:
        source = ROOT / "docs" / "images" / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    (folder / "examples").symlink_to(ROOT / "examples")
    (folder / "pytest.ini").touch()  # a reader's folder has not the settings of this repository's tests
    path = sys.path[:]
    sys.path[:0] = [str(folder), str(folder / INSTALLED)]
    try:
        with contextlib.chdir(folder):
            yield folder
    finally:
        sys.path[:] = path


def console(block: Block, page: Path) -> list[str]:
    """The lines of a block with what its commands print now; they end with 0, or as ``# exit N`` says."""
    lines: list[str] = []
    for number, command in commands(block):
        wanted = re.search(r"# exit (\d+)$", command)
        streams: Any = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        done = subprocess.run(["bash", "-c", command], **streams, text=True, check=False)
        if done.returncode != (int(wanted[1]) if wanted else 0):
            raise BlockError(f"{page}:{number}: exit {done.returncode} of: {command}\n{done.stdout}")
        if lines:
            lines.append("")
        lines += [*f"$ {command}".splitlines(), *_lines(done.stdout)]
    return lines


def python(block: Block, page: Path, scope: dict[str, Any]) -> list[str]:
    """The output of a block, or a `BlockError` for its exception."""
    printed = io.StringIO()
    importlib.invalidate_caches()  # a command may have installed a package
    try:
        code = compile("\n" * (block.number - 1) + block.text, str(page), "exec")
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            exec(code, scope)
    except (Exception, SystemExit) as error:
        report = printed.getvalue() + traceback.format_exc(limit=-3)
        raise BlockError(f"{page}:{block.number}: {report}") from error
    return _lines(printed.getvalue())


def commands(block: Block) -> list[tuple[int, str]]:
    """The commands of a console block with their lines in the page; a backslash at the end of a line continues it."""
    found = re.finditer(r"^\$ ((?:.*\\\n)*.*)$", block.text, re.MULTILINE)
    return [(block.number + block.text.count("\n", 0, one.start()), one[1]) for one in found]


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip("\n").splitlines()]
