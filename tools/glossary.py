"""The glossary, and a search for the words that it replaces: ``python -m tools.glossary``.

One word stands for each thing, in names, messages, stored files, tests and pages; spelling is American.
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

GLOSSARY = """\
| word | meaning | replaces |
| --- | --- | --- |
| image | pixels, or a file of them | picture |
| color, gray, center, license | American spelling | colour, grey, centre, licence, behaviour, neighbour |
| mask | an image that is white where a change is allowed | |
| caption | text that describes an image | |
| prompt | the caption of the result that is wanted | |
| instruction | text that says what to change, for models trained on such text | |
| reference | a further image that the model sees | beside |
| strength | how far an edit goes: 0 is the original, 1 the full change | |
| level | noise level s, from 0 (data) to 1 (noise) | |
| step | one move along a path of levels | |
| latent | an encoded image and its embedded caption | |
| direction | a displacement of a latent that changes one attribute | |
| editor, method | an algorithm; an editor with its settings | |
| request | what the user wants from an edit or a run | asked, ask, asks, asking |
| model, backbone | weights with a name; the interface to them | |
| domain | images whose attributes are known: renderer, captions, reader | world, worlds |
| attribute, value | what can change in an image, and to what | |
| scene | one assignment of values to all attributes of a domain | |
| counterfactual, truth | the image rendered with the change, the correct result | |
| item | one edit of a data set: image, captions, truth | |
| seed | the number behind all random numbers of a run | |
| claim | a statement of a paper, which an experiment decides | says, say |
| measure | a number computed from rows | |
| primary, secondary | the measure that decides a claim; the others | decides, tells, tell |
| threshold | what a measure must exceed | bar |
| variant | the same measure or experiment with other settings | |
| trend | a measure's change over levels | over |
| plan, run | settings that are fixed in advance; the folder of their results | |
| record | what reproduces a file | |
| report | what a command or a check prints | told |
| stated | expressed by a caption | said |
| reject | to raise an error for input | |
| redraw, again | | anew |
"""

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
    cells = [cell for cell in _ROW.findall(GLOSSARY) if cell.strip() not in ("replaces", "---", "")]
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
        prose[package(path)] += len(pattern.findall(text))
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
