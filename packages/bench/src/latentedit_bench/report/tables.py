"""How the benchmark's tables are written: CSV for programs, Markdown for readers."""

from collections.abc import Sequence
from io import StringIO
from pathlib import Path

from latentedit.core.files.writing import write_text
from latentedit_bench.metrics.statistics import Table


def write_csv(path: Path, frame: Table) -> None:
    """Five significant digits a number; the file is whole, or as it was.

    Raises:
        OutputError: the place cannot be written to.
    """
    text = StringIO()
    frame.to_csv(text, index=False, float_format="%.5g", lineterminator="\n")
    write_text(path, text.getvalue())


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table, and an empty one."""
    lines = [list(head), ["---"] * len(head), *rows]
    return [f"| {' | '.join(text.replace('|', chr(92) + '|') for text in cells)} |" for cells in lines] + [""]
