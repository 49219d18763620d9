"""``latentedit cite``: BibTeX of what was used. What is heavy is imported when the command runs."""

from pathlib import Path
from typing import Annotated

import typer

from latentedit.cli import options
from latentedit.core.plugins import EDITORS
from latentedit_keep.console import print_json, say


def cite(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="WHAT",
            help="Names of editors, directions and model families; or pictures that latentedit edited.",
            show_default=False,
            autocompletion=EDITORS.complete,
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Print BibTeX of latentedit and of what was used: by name, or as the record of a picture says.

    Examples:
        latentedit cite flowedit
        latentedit cite me.edited.png > used.bib
        latentedit cite eim hsds --json
    """
    from latentedit.api.citations import citable
    from latentedit.api.citations import cite as cite_names
    from latentedit.api.outputs import read_record

    known = set(citable())
    pictures = [name for name in what or () if name not in known and Path(name).is_file()]
    names = [name for name in what or () if name not in pictures]
    found = cite_names(names, [read_record(picture) for picture in pictures])
    if as_json:
        entries = [{"key": one.key, "for": one.names, "bibtex": one.bibtex} for one in found.entries]
        print_json({"entries": entries, "notes": found.notes})
        return
    notes = "\n".join(f"% {note}" for note in found.notes)
    for line in "\n\n".join(filter(None, (notes, *(one.bibtex for one in found.entries)))).splitlines():
        say(line)
