"""Transfer of a direction to other pictures: its change of words is made in their captions.

The displacement of the clean latent is taken as it is. That of the text cannot be, for tokens have other positions in
another caption. So the change from the direction's source caption to its target caption is made in the caption of the
new picture, and embedded there. Derived here.
"""

import dataclasses
import itertools

from latentedit.core.condition import Condition
from latentedit.core.errors import ConfigError
from latentedit.directions.direction import Direction
from latentedit.directions.text import changed_phrases, text_direction
from latentedit.latents.captions.change import Change, read_phrases
from latentedit.latents.captions.targets import changed_caption
from latentedit.latents.joint import JointLatent
from latentedit.models.base import Backbone


def transferred(direction: Direction, latent: JointLatent) -> Direction:
    """The direction as it applies to these pictures.

    Args:
        direction: one for all pictures, or one per picture.

    Returns:
        On the model's device, the direction itself if it was found under these captions; otherwise one with the same
        displacement of the clean latent, and the text of these pictures. If the change does not apply to a caption, the
        text displacement is kept as it is, and the target caption is empty.

    Raises:
        ConfigError: a direction of another model, or one between captions for pictures that were encoded for
            instructions, or the reverse.
        ShapeError: a direction for another number of pictures.
    """
    backbone, count = latent.backbone, len(latent)
    direction.check_model(backbone.name, backbone.fingerprint)
    direction = direction.to(backbone.device)  # files are read on the CPU
    if direction.instructed != latent.instructed:
        kinds = ("captions", "instructions") if latent.instructed else ("instructions", "captions")
        raise ConfigError(
            f"the direction was found between {kinds[0]}, and the picture was encoded for {kinds[1]}. Encode it "
            f"likewise (instructed={direction.instructed})"
        )
    if direction.instructed:
        return direction  # an instruction is the same for every picture
    pairs = min(len(direction.source_captions), len(direction.target_captions))
    if not pairs:
        return direction
    each = pairs == len(direction) == count
    order = range(count) if each else [0] * count
    sources, targets = (
        tuple(captions[index] for index in order) for captions in (direction.source_captions, direction.target_captions)
    )
    if each and sources == latent.captions:
        return direction
    made = [
        changed_by(backbone, caption, source, target)
        for caption, source, target in zip(latent.captions, sources, targets, strict=True)
    ]
    stored = direction.condition.expand(count)
    texts = text_direction(
        backbone, latent.captions, [new or old for new, old in zip(made, latent.captions, strict=True)]
    )
    rows = [texts[index : index + 1] if new else stored[index : index + 1] for index, new in enumerate(made)]
    return dataclasses.replace(
        direction,
        condition=Condition.cat(rows),
        source_captions=latent.captions,
        target_captions=tuple(new or "" for new in made),
    )


def changed_by(model: Backbone, caption: str, source: str, target: str) -> str | None:
    """The change from source to target, made in another caption; None if it does not apply there.

    A new phrase replaces the old one, or is added if the caption lacks the old one, unless that is the subject (the
    words before "with", or else the first phrase). It does not apply if old words are not in the caption, the new ones
    are already, or source or target is empty.
    """
    if caption == source:
        return target
    if not (source and target):
        return None
    removed, added = changed_phrases(source, target)
    read = read_phrases(source, lead=True)
    subject = read.lead or "".join(phrase.text for phrase in read.phrases[:1])
    changed = caption
    for old, new in itertools.zip_longest(removed, added, fillvalue=""):
        for start in dict.fromkeys((old, "")) if new and old != subject else (old,):
            try:
                changed = changed_caption(model, changed, Change(old=start, new=new))
                break
            except ConfigError:
                continue
        else:
            return None
    return changed if changed != caption else None
