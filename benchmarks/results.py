"""Where the benchmarks leave their numbers: a JSON file, and a Markdown table beside it, both with the command."""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent.parent / "results"


def command() -> str:
    """That of this process, as records tell it."""
    return " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])


def save(place: Path, content: Mapping[str, Any], lines: Sequence[str]) -> None:
    """Write ``place.json`` and ``place.md``; both begin with the command of this process.

    Args:
        place: without an ending.
        content: plain values.
        lines: of Markdown.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(rounded({"command": command(), **content}), indent=1)
    place.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
    place.with_suffix(".md").write_text("\n".join([f"`{command()}`", "", *lines]) + "\n", encoding="utf-8")


def rounded(value: Any) -> Any:
    """The value for JSON: floats with five digits, nan and infinity as null, keys as text."""
    if isinstance(value, Mapping):
        return {str(key): rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    return value


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table, and an empty one."""
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)] + [""]
