"""Runs the blocks of one page in a scratch folder: commands by bash, Python in one process a page."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from tools.blocks import Block

ROOT = Path(__file__).resolve().parents[1]
GIVEN = ("me.png", "you.png", "portraits")
"""What every scratch folder has, out of ``docs/pictures``."""

_PIP = {
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_BUILD_ISOLATION": "0",  # pip's way of saying yes
    "PIP_NO_DEPS": "1",
    "PIP_QUIET": "1",
    "PIP_ROOT_USER_ACTION": "ignore",
}
"""What a page installs goes into its scratch folder, by what is installed already, and asks no index."""

COLUMNS = 110


class BlockError(Exception):
    """A block did not do what it should: the page, the line, and what came."""


class Scratch:
    """A page's own folder, and the process that runs its Python; a context manager.

    Args:
        page: below the repository's root, for messages.
        folder: is made anew.
        miniatures: whether models of the hub are replaced by random ones; see `tools.miniatures`.
    """

    def __init__(self, page: Path, folder: Path, *, miniatures: bool) -> None:
        self._page = page
        self.folder = folder
        self._miniatures = miniatures
        self._python: subprocess.Popen[str] | None = None
        self._environment = {
            **os.environ,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
            "COLUMNS": str(COLUMNS),
            "NO_COLOR": "1",
            "TQDM_DISABLE": "1",
            "TERM": "dumb",
            **_PIP,
            "PIP_TARGET": str(folder / ".installed"),
            "PYTHONPATH": str(folder / ".installed"),
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_VERBOSITY": "error",
            "DIFFUSERS_VERBOSITY": "error",
        }

    def __enter__(self) -> Self:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        for name in GIVEN:
            source = ROOT / "docs" / "pictures" / name
            if source.is_dir():
                shutil.copytree(source, self.folder / name)
            else:
                shutil.copy(source, self.folder / name)
        (self.folder / "examples").symlink_to(ROOT / "examples")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._python is not None:
            self._python.kill()
            self._python.communicate()

    def console(self, block: Block) -> list[str]:
        """The block's lines with what its commands print now.

        Raises:
            BlockError: a command that does not end with 0, or with N where its line ends with ``# exit N``.
        """
        lines: list[str] = []
        for number, command in commands(block):
            wanted = re.search(r"# exit (\d+)$", command)
            done = subprocess.run(
                ["bash", "-c", command],
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            if done.returncode != (int(wanted[1]) if wanted else 0):
                raise BlockError(f"{self._page}:{number}: exit {done.returncode} of: {command}\n{done.stdout}")
            if lines:
                lines.append("")
            lines += [*f"$ {command}".splitlines(), *_lines(done.stdout)]
        return lines

    def python(self, block: Block) -> list[str]:
        """What a block prints.

        Raises:
            BlockError: what it raises.
        """
        if self._python is None:
            self._python = subprocess.Popen(
                [sys.executable, str(ROOT / "tools" / "python_blocks.py")],
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            if self._miniatures:
                self._asked("import tools.miniatures; tools.miniatures.stand_in()", 0)
        return _lines(self._asked(block.text, block.number))

    def _asked(self, code: str, number: int) -> str:
        """What code prints in the page's process."""
        assert self._python is not None
        assert self._python.stdin is not None
        assert self._python.stdout is not None
        asked = {"code": code, "page": str(self._page), "number": number}
        print(json.dumps(asked), file=self._python.stdin, flush=True)
        answer = self._python.stdout.readline()
        if not answer:
            raise BlockError(f"{self._page}:{number}: Python ended with {self._python.wait()}")
        came = json.loads(answer)
        if came["error"] is not None:
            raise BlockError(f"{self._page}:{number}: {came['output']}{came['error']}")
        return came["output"]


def commands(block: Block) -> list[tuple[int, str]]:
    """The commands of a console block, each with its line in the page; a backslash at a line's end goes on with it."""
    found: list[tuple[int, str]] = []
    goes_on = False
    for number, line in enumerate(block.lines, start=block.number):
        if goes_on:
            place, command = found[-1]
            found[-1] = (place, f"{command}\n{line}")
        elif line.startswith("$ "):
            found.append((number, line.removeprefix("$ ")))
        else:
            continue
        goes_on = line.endswith("\\")
    return found


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip("\n").splitlines()]
