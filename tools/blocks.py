"""A Markdown page as the text between its blocks, and its blocks of code."""

import dataclasses
import re

_FENCED = re.compile(r"^(`{3,})(\w*)(?: ([^\n]*))?\n(.*?)^\1$", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r'title="([^"]*)"')


@dataclasses.dataclass(slots=True)
class Block:
    """A fenced block.

    Args:
        language: after the fence.
        attributes: what else stands there, such as ``title="output"``.
        lines: between the fences.
        number: of its first line within the page, from 1.
    """

    language: str
    attributes: str
    lines: list[str]
    number: int = 0

    @property
    def title(self) -> str:
        """What is written over the block, or nothing."""
        found = _TITLE.search(self.attributes)
        return found[1] if found else ""

    @property
    def is_file(self) -> bool:
        """Whether the title is a file's name."""
        return bool(re.fullmatch(r"[\w./-]+\.\w+", self.title))

    @property
    def text(self) -> str:
        """What stands between the fences."""
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
