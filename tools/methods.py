"""The formulas of `eim` and the table of editors on ``docs/methods.md``: ``python -m tools.methods``."""

import inspect
import re
import textwrap

import latentedit
from latentedit.core.plugins import EDITORS
from latentedit.editors.base import editor_class, make_editor
from latentedit.latents.joint import JointLatent
from latentedit_keep.files import write_text
from tools.running import ROOT

PAGE = ROOT / "docs" / "methods.md"

_MARKED = re.compile(r"(?<=<!--methods-->\n).*?(?=<!--/methods-->)", re.DOTALL)
_FORMULAS = re.compile(r"(?<=<!--formulas-->\n).*?(?=<!--/formulas-->)", re.DOTALL)
_ENTRY = re.compile(r"^@misc.*?eprint = \{(.*?)\}.*?keywords = \{(.*?)\}", re.DOTALL | re.MULTILINE)


def main() -> None:
    """Fill in the page."""
    write_text(PAGE, filled(PAGE.read_text(encoding="utf-8")))


def filled(page: str) -> str:
    """The page with the table between its marks: costs are those of the settings stored for the bundled model."""
    latent = latentedit.encode(latentedit.load("portraits"), ROOT / "docs" / "pictures" / "me.png")
    head = "| method | what it does | papers | evaluations | identity |"
    rows = [head, f"|{' --- |' * 5}", *(_row(name, latent) for name in EDITORS.names())]
    block = (inspect.getdoc(editor_class("eim")) or "").split("::\n\n")[1].split("\n\n")[0]
    page = _FORMULAS.sub(lambda _: f"```text\n{textwrap.dedent(block)}\n```\n", page)
    return _MARKED.sub(lambda _: "".join(f"{row}\n" for row in rows), page)


def _row(name: str, latent: JointLatent) -> str:
    editor = make_editor(name, latent.backbone)
    about = " ".join((inspect.getdoc(type(editor)) or "").split("\n\n")[0].split()).rstrip(".")
    entries = _ENTRY.findall((ROOT / "docs" / "citations.bib").read_text(encoding="utf-8"))
    papers = [arxiv for arxiv, names in entries if name in names.split(", ")]
    links = ", ".join(f"[{arxiv}](https://arxiv.org/abs/{arxiv})" for arxiv in papers)
    same = "yes" if editor.keeps_equal_texts else "no"
    return f"| `{name}` | {about} | {links} | {editor.evaluations(latent)} | {same} |"


if __name__ == "__main__":
    main()
