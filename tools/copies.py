"""Writes the pages that are files of the root, with their links as the site has them: ``python -m tools.copies``."""

import os
import re
from pathlib import Path

from latentedit_keep.files import write_text
from tools.running import ROOT

DOCS = ROOT / "docs"
COPIES = {"CHANGELOG.md": DOCS / "changelog.md", "CONTRIBUTING.md": DOCS / "development" / "contributing.md"}

_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#\s]+)(#[^)]*)?\)")


def main() -> None:
    """Write all of them."""
    for path, text in copies().items():
        write_text(path, text)


def copies() -> dict[Path, str]:
    """Every copied page, by its place."""
    return {target: copied((ROOT / name).read_text(encoding="utf-8"), target) for name, target in COPIES.items()}


def copied(text: str, target: Path) -> str:
    """A file of the root as a page: links to pages start there, and those to other files are only their words."""

    def link(found: re.Match[str]) -> str:
        words, place, anchor = found[1], found[2], found[3] or ""
        if "://" in place:
            return found[0]
        if (there := ROOT / place).is_relative_to(DOCS):
            return f"[{words}]({Path(os.path.relpath(there, target.parent)).as_posix()}{anchor})"
        return words

    return _LINK.sub(link, text)


if __name__ == "__main__":
    main()
