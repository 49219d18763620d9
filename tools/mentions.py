"""Finds scripts and commands that pages and records name and that do not exist: ``python -m tools.mentions``.

Looked at: files, commands and options in Markdown, but for the changelog, and the `command` of every record in
``results``. What is gone is named with a commit that has it: ``git show COMMIT:PATH`` on a page, ``PATH at commit
COMMIT`` as `made by` in a record.
"""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CHANGES = ("CHANGELOG.md",)  # it names what is gone
EVERYWHERE = frozenset(("--json", "--quiet", "--help", "--version", "--install-completion"))
_FILE = re.compile(
    r"(?<![\w/.:-])(?:(?P<before>[0-9a-f]{7,40}):)?"
    r"(?P<path>(?:benchmarks|examples|findings|research|results|tests|tools|training)/[\w./-]*\w\.(?:py|sh|ipynb|json|csv|yaml))"
    r"(?: at commit (?P<after>[0-9a-f]{7,40}))?"
)
_AT_COMMIT = re.compile(r" at commit ([0-9a-f]{7,40})\b|removed after commit ([0-9a-f]{7,40})\b")
_MODULE = re.compile(r"python -m ((?:research|tests|tools)(?:\.\w+)*)")
_FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")
_MAKE = re.compile(r"^make ([a-z][a-z-]*)")
_PROGRAM = re.compile(r"^latentedit (.+)$")
_HEADING = re.compile(r"^#{3,4} ([a-z][a-z ]*)$", re.MULTILINE)
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


def commands() -> dict[str, set[str]]:
    """Every command and its options, from the page that is written from their declarations."""
    page = (ROOT / "docs/reference/commands.md").read_text(encoding="utf-8")
    body, _, shared = page.partition("\n## Options of the model")
    parts = _HEADING.split(body)[1:]
    own = dict(zip(parts[::2], parts[1::2], strict=True))
    return {name: {*_OPTION.findall(text + shared), *EVERYWHERE} for name, text in own.items()}


class Known:
    """Existing names: commands with options, experiments, targets of make, files, and files of commits."""

    def __init__(self) -> None:
        self.commands = commands()
        self.experiments = set[str]()
        for folder in ("research/bench", "examples/plugin"):
            project = tomllib.loads((ROOT / folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
            self.experiments |= project["entry-points"]["latentedit.experiments"].keys()
        rules = "\n".join((ROOT / name).read_text(encoding="utf-8") for name in ("Makefile", "tools/nightly.mk"))
        self.targets = set(re.findall(r"^([a-z][a-z-]*):", rules, re.MULTILINE))
        shallow = subprocess.check_output(["git", "rev-parse", "--is-shallow-repository"], cwd=ROOT, text=True)
        self.has_history = shallow.strip() == "false"

    def in_commit(self, commit: str, path: str = "") -> bool:
        """Whether a commit exists and has a file; true where the history is not here."""
        named = f"{commit}:{path}" if path else f"{commit}^{{commit}}"
        found = subprocess.run(["git", "cat-file", "-e", named], cwd=ROOT, capture_output=True, check=False)
        return not self.has_history or found.returncode == 0

    def missing(self, text: str) -> Iterator[str]:
        """The files, modules, targets and commands of a text that do not exist."""
        for found in _FILE.finditer(text):
            path, commit = found["path"], found["before"] or found["after"]
            if commit and not self.in_commit(commit, path):
                yield f"{commit} has no {path}"
            elif not commit and not (ROOT / path).exists() and "..." not in path and "NAME" not in path:
                yield path
        for name in _MODULE.findall(text):
            place = ROOT / name.replace(".", "/")
            if not (place.with_suffix(".py").exists() or (place / "__main__.py").exists()):
                yield f"python -m {name}"
        blocks = [line.strip().removeprefix("$ ") for block in _FENCE.findall(text) for line in block.splitlines()]
        for code in [*blocks, *_SPAN.findall(_FENCE.sub("", text))]:
            if (target := _MAKE.match(code)) and target[1] not in self.targets:
                yield f"make {target[1]}"
            if program := _PROGRAM.match(code):
                yield from self._wrong_command(program[1])

    def _wrong_command(self, line: str) -> Iterator[str]:
        """Commands, options and experiments in a command line, given without the program's name, that do not exist."""
        words = re.split(r"\s", line.partition("#")[0])
        name = next((name for name in (" ".join(words[:2]), words[0]) if name in self.commands), None)
        if name is None:
            if re.fullmatch(r"[a-z]+", words[0]):
                yield f"latentedit {words[0]}"
            return
        if name in ("bench", "models", "direction") and len(words) > 1 and re.fullmatch(r"[a-z]+", words[1]):
            yield f"latentedit {name} {words[1]}"
            return
        for option in _OPTION.findall(line.partition(";")[0].partition("|")[0]):
            if option not in self.commands[name]:
                yield f"latentedit {name} {option}"
        if name == "reproduce":
            given = [word for word in words[1:] if re.fullmatch(r"[a-z]+(-[a-z]+)+", word)]
            yield from (f"latentedit reproduce {word}" for word in given if word not in self.experiments)


def records(value: Any) -> Iterator[tuple[str, str]]:
    """The commands of a record, and by which code each was made, if that is stated."""
    if isinstance(value, dict):
        found: dict[str, Any] = value
        if isinstance(found.get("command"), str):
            yield found["command"], str(found.get("made by", ""))
        value = list(found.values())
    if isinstance(value, list):
        for one in value:
            yield from records(one)


def wrong_record(known: Known, command: str, made_by: str) -> list[str]:
    """Names in a record that do not exist."""
    if not (at := _AT_COMMIT.search(made_by)):
        return list(known.missing(f"`{command}`"))
    commit = at[1] or at[2]
    files = [found["path"] for found in _FILE.finditer(made_by if _FILE.search(made_by) else command)]
    return [f"{commit} has no {path}" for path in files or [""] if not known.in_commit(commit, path)]


def main() -> int:
    """1 if a page or a record names what does not exist."""
    known, lines = Known(), list[str]()
    listed = subprocess.check_output(
        ["git", "ls-files", "*.md", "research/results/*.json"], cwd=ROOT, text=True
    ).split()
    for name in listed:
        text = (ROOT / name).read_text(encoding="utf-8")
        if name.endswith(".json"):
            stated = records(json.loads(text))
            found = [one for command, made_by in stated for one in wrong_record(known, command, made_by)]
        else:
            found = [] if name in CHANGES else list(known.missing(text))
        lines += [f"{name}: {one} does not exist" for one in dict.fromkeys(found)]
    print(*lines, sep="\n", end="\n" if lines else "")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
