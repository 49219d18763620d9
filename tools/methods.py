"""The table of editors on ``docs/methods.md``, from the registry: ``python -m tools.methods``."""

import importlib
import re

import latentedit
from latentedit.api.citations import cite
from latentedit.core.plugins import EDITORS
from latentedit.editors.registry import make_editor
from latentedit.latents.joint import JointLatent
from latentedit_keep.files import write_text
from tools.running import ROOT

PAGE = ROOT / "docs" / "methods.md"

_MARKED = re.compile(r"(?<=<!--methods-->\n).*?(?=<!--/methods-->)", re.DOTALL)
_ARXIV = re.compile(r"eprint = \{(.*?)\}")


def main() -> None:
    """Fill in the page."""
    text = PAGE.read_text(encoding="utf-8")
    write_text(PAGE, filled(text))


def filled(page: str) -> str:
    """The page with the table between its marks."""
    return _MARKED.sub(lambda _: table(), page)


def table() -> str:
    """One row an editor, by name; costs are those of the settings that are stored for the bundled model."""
    model = latentedit.load("portraits")
    latent = latentedit.encode(model, ROOT / "docs" / "pictures" / "me.png")
    head = "| method | what it does | papers | evaluations | same text, same picture |"
    rows = [_row(name, latent) for name in EDITORS.names()]
    return "\n".join([head, f"|{' --- |' * 5}", *rows, ""])


def _row(name: str, latent: JointLatent) -> str:
    editor = make_editor(name, latent.backbone)
    module = importlib.import_module(type(editor).__module__)
    about = " ".join((module.__doc__ or "").split("\n\n")[0].split()).rstrip(".")
    papers = [_ARXIV.search(entry.bibtex) for entry in cite([name]).entries[1:]]
    links = [f"[{found[1]}](https://arxiv.org/abs/{found[1]})" for found in papers if found]
    cells = (
        f"`{name}`",
        about,
        ", ".join(links),
        str(editor.evaluations(latent)),
        _yes(editor.keeps_equal_texts),
    )
    return f"| {' | '.join(cells)} |"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


if __name__ == "__main__":
    main()
