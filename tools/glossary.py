"""Finds words that the glossary of CONTRIBUTING.md replaces: ``python -m tools.glossary``.

Names and keys must not contain them: identifiers, text that has the form of one, and names of files. In prose
(comments, docstrings, messages, pages, YAML) they may be at most `MOST` in 1,000 lines of a package.
"""

import collections
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MOST = 2.0  # replaced words in 1,000 lines of prose
WHOLE = frozenset(("bar", "over", "say", "tell"))  # replaced only where they are a whole name
PLAIN = WHOLE | frozenset(("ask", "asked", "asks", "decides", "says", "tells", "world"))  # ordinary English in prose
EXTERNAL = frozenset(("open_world_hint", "tell", "to_world"))  # names that other libraries define
# In files of earlier versions.
EARLIER = frozenset(("asks", "beside", "grey", "licence", "picture", "pictures"))  # codespell:ignore grey,licence
_ROW = re.compile(r"^\| [^|]+ \| [^|]* \| ([^|]+) \|$", re.MULTILINE)
_PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_KEY = re.compile(r"[rbf]*([\"'])([A-Za-z_]+)\1\Z")


def replaced() -> frozenset[str]:
    """The words of the glossary's last column."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Words")[2].partition("\n## ")[0]
    cells = [cell for cell in _ROW.findall(text) if cell.strip() not in ("replaces", "---", "")]
    return frozenset(word.strip() for cell in cells for word in cell.split(","))


def in_name(name: str, words: frozenset[str]) -> set[str]:
    """The replaced words that an identifier contains."""
    parts = {part.lower() for part in _PART.findall(name)} if name not in EXTERNAL | EARLIER else set[str]()
    return (parts & words - WHOLE) | ({name} & words & WHOLE - EXTERNAL)


def names(path: Path) -> Iterator[tuple[int, str]]:
    """Lines and identifiers, and text that has the form of one, of a Python file."""
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.NAME:
                yield token.start[0], token.string
            elif token.type == tokenize.STRING and (key := _KEY.match(token.string)):
                yield token.start[0], key[2]


def package(path: Path) -> str:
    """The package, or the folder of tests, of a file."""
    return "/".join(path.parts[: 2 if path.parts[0] in ("models", "tests") and len(path.parts) > 2 else 1])


def main() -> int:
    """1 if a name contains a replaced word, or a package's prose too many."""
    words = replaced()
    pattern = re.compile(rf"\b({'|'.join(sorted(words - PLAIN))})\b", re.IGNORECASE)
    listed = subprocess.check_output(
        ["git", "ls-files", "*.py", "*.md", "*.yaml", ":!results"], cwd=ROOT, text=True
    ).split()
    paths = [Path(name) for name in listed if Path(name).name not in ("CODE_OF_CONDUCT.md", "glossary.py")]
    lines, prose, found = collections.Counter[str](), collections.Counter[str](), list[str]()
    for path in paths:
        text = (ROOT / path).read_text(encoding="utf-8")
        lines[package(path)] += text.count("\n")
        prose[package(path)] += len(pattern.findall(text)) - (path.name == "CONTRIBUTING.md") * len(words)
        found += [f"{path}: {word} in its name" for word in in_name(path.stem, words)]
        if path.suffix == ".py":
            named = names(ROOT / path)
            found += [f"{path}:{line}: {word} in {name}" for line, name in named for word in in_name(name, words)]
    much = {name: 1000 * prose[name] / lines[name] for name in lines if prose[name] > MOST * lines[name] / 1000}
    for line in [*found, *(f"{name}: {share:.1f} replaced words in 1,000 lines" for name, share in much.items())]:
        print(line)
    return 1 if found or much else 0


if __name__ == "__main__":
    sys.exit(main())
