"""Makes notebooks of the examples, which are scripts with cells (``# %%``): ``python -m tools.notebooks``."""

from pathlib import Path
from typing import Any

import jupytext
import nbformat

from latentedit_keep.files import write_text
from tools.running import ROOT

EXAMPLES = ROOT / "examples"

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def main() -> None:
    """Write every notebook that has changed."""
    for place, text in notebooks().items():
        if not place.exists() or place.read_text(encoding="utf-8") != text:
            place.parent.mkdir(exist_ok=True)
            write_text(place, text)
            print(f"{place.relative_to(ROOT)}: written")


def notebooks() -> dict[Path, str]:
    """Every notebook by its place, without outputs; scripts without cells have none."""
    scripts = {path: path.read_text(encoding="utf-8") for path in sorted(EXAMPLES.glob("*.py"))}
    return {
        EXAMPLES / "notebooks" / f"{path.stem}.ipynb": notebook(text)
        for path, text in scripts.items()
        if text.startswith("# %%")
    }


def notebook(script: str) -> str:
    """The notebook of a script; the same for the same."""
    made: Any = jupytext.reads(script, fmt="py:percent")
    made.metadata = nbformat.from_dict(METADATA)
    for number, cell in enumerate(made.cells):
        cell.id, cell.metadata = f"cell-{number}", {}
    nbformat.validate(made)
    return nbformat.writes(made) + "\n"


if __name__ == "__main__":
    main()
