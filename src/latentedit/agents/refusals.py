"""Refusals of tools: one line each, which repeats at most 200 characters of every text that came."""

import re
from collections.abc import Iterable

from latentedit.core.errors import LatentEditError, too_little_memory

SHOWN = 200  # most characters of a text in a refusal


def cut_short(text: str) -> str:
    """The beginning and the end of a long text, in ``SHOWN`` characters."""
    half = SHOWN // 2 - 2
    return f"{text[:half]}...{text[-half:]}"


def shortened(line: str, given: Iterable[object]) -> str:
    """A refusal with at most ``SHOWN`` characters of each given text and of each word."""
    for text in map(str, given):
        for written in (text, repr(text)[1:-1], " ".join(text.split())):  # the text itself, quoted, and in one line
            line = line.replace(written, cut_short(written)) if len(written) > SHOWN else line
    return re.sub(rf"\S{{{SHOWN + 1},}}", lambda found: cut_short(found[0]), line)


def one_line(error: LatentEditError) -> str:
    """A message in one line, of which `shortened` cuts the texts that came; by itself it cuts any long one."""
    return " ".join(Exception.__str__(error).splitlines())


def internal_error(error: BaseException) -> str:
    """A line on an error that no check expected."""
    return too_little_memory(error) or f"internal error: {type(error).__name__}: {' '.join(str(error).split())}"
