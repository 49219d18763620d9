"""A Markdown page as the text between its blocks, and its blocks of code."""

import dataclasses
import re
from collections.abc import Iterator

_OPENING = re.compile(r"```(\w+)(?: (.*))?")
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
    """Lines of text and blocks, in order.

    Blocks with a longer fence, with no language, or not at the beginning of a line, are text.
    """
    return list(_parts(page))


def written(parts: list[str | Block]) -> str:
    """The page that `parsed` takes apart."""
    return "\n".join(map(str, parts)) + "\n"


def _parts(page: str) -> Iterator[str | Block]:
    block: Block | None = None
    fence = ""
    for number, line in enumerate(page.splitlines(), start=1):
        if block is not None:
            if line == "```":
                yield block
                block = None
            else:
                block.lines.append(line)
        elif fence:
            fence = "" if line == fence else fence
            yield line
        elif opening := _OPENING.fullmatch(line):
            block = Block(opening[1], opening[2] or "", [], number + 1)
        else:
            fence = (re.match(r"`{3,}", line) or [""])[0]
            yield line
    if block is not None:
        raise ValueError(f"the block above line {block.number} is not closed")
