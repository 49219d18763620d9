"""``latentedit caption``: what a picture shows, in the model's words. The heavy imports wait for the command."""

from pathlib import Path
from typing import Annotated

import typer

from latentedit.cli.console import Debug, Device, Json, Model, Quiet, print_json, print_rows
from latentedit.errors import ConfigError


def caption(
    picture: Annotated[Path, typer.Argument(help="The picture to read.", show_default=False)],
    model: Model = "portraits",
    device: Device = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Say what a picture shows: the caption that an edit starts from, to be copied and changed."""
    del debug
    from latentedit.editing.verbs import load
    from latentedit.encoding.captioning import AttributeReader, captioner_for
    from latentedit.encoding.images import Picture

    opened = Picture.open(picture)
    backbone = load(model, device=device)
    captioner = captioner_for(backbone)
    if captioner is None:
        raise ConfigError(
            f"expected a model with a captioner; {model} has none. Write the caption yourself, with --from"
        )
    pixels = opened.fit(backbone.capabilities).pixels[None].to(backbone.device)
    text = captioner.caption(pixels)[0]
    attributes = captioner.read(pixels)[0] if isinstance(captioner, AttributeReader) else None
    if as_json:
        print_json({"picture": picture, "caption": text, "attributes": attributes})
        return
    print(text)
    if attributes is not None and not quiet:
        print_rows([(name.replace("_", " "), value) for name, value in attributes.items()])
