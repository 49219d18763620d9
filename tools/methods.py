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
    write_text(PAGE, filled(PAGE.read_text(encoding="utf-8")))


def filled(page: str) -> str:
    """The page with the table between its marks: costs are those of the settings stored for the bundled model."""
    latent = latentedit.encode(latentedit.load("portraits"), ROOT / "docs" / "pictures" / "me.png")
    head = "| method | what it does | papers | evaluations | same text, same picture |"
    rows = [head, f"|{' --- |' * 5}", *(_row(name, latent) for name in EDITORS.names())]
    return _MARKED.sub(lambda _: "".join(f"{row}\n" for row in rows), page)


def _row(name: str, latent: JointLatent) -> str:
    editor = make_editor(name, latent.backbone)
    module = importlib.import_module(type(editor).__module__)
    about = " ".join((module.__doc__ or "").split("\n\n")[0].split()).rstrip(".")
    papers = [_ARXIV.search(entry.bibtex) for entry in cite([name]).entries[1:]]
    links = ", ".join(f"[{found[1]}](https://arxiv.org/abs/{found[1]})" for found in papers if found)
    same = "yes" if editor.keeps_equal_texts else "no"
    return f"| `{name}` | {about} | {links} | {editor.evaluations(latent)} | {same} |"


if __name__ == "__main__":
    main()
