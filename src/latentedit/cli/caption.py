"""``latentedit caption``: describe an image. Heavy imports are inside the command."""

from pathlib import Path
from typing import Annotated

from latentedit.cli import options
from latentedit.cli.options import ModelChoice, Report, chooses_model
from latentedit.core.console import echo, print_json, print_rows
from latentedit.core.errors import ConfigError


@chooses_model
def caption(
    image: Annotated[Path, options.argument("The image to describe.", "IMAGE")],
    *,
    request: options.Captioner,
    choice: ModelChoice,
    report: Report,
) -> None:
    """Print the source caption of an image, as an edit would use it.

    Examples:
        latentedit caption me.png
        latentedit caption me.png --json
        latentedit caption me.jpg --captioner Salesforce/blip-image-captioning-base
    """
    from latentedit.encoding.captions.base import AttributeReader, make_captioner
    from latentedit.encoding.encode import captioner_for, encode
    from latentedit.encoding.familiarity import check_familiarity
    from latentedit.encoding.images import SourceImage

    opened, captioner = SourceImage.open(image), request.captioner
    backbone = choice.load()
    reader = make_captioner(captioner, backbone) if isinstance(captioner, str) else captioner_for(backbone)
    if reader is None:
        raise ConfigError(
            f"the model {choice.name} has no captioner. Choose one with --captioner, or write the caption yourself"
        )
    latent = encode(backbone, opened, captioner=None if captioner is None else reader)
    text, pixels = latent.captions[0], latent.frames[0].pixels[None].to(backbone.device)
    attributes = reader.read(pixels)[0] if isinstance(reader, AttributeReader) else None
    knowledge = next(iter(check_familiarity(latent).knowledge), None)
    facts = {"image": image, "caption": text, "attributes": attributes, "knowledge": knowledge}
    if report.as_json:
        print_json({**facts, "notes": opened.notes})
        return
    report.warn((*opened.notes, *(() if knowledge is None else knowledge.doubts)))
    echo(text)
    if attributes is not None and not report.quiet:
        print_rows([(name.replace("_", " "), value) for name, value in attributes.items()])
