"""From what a picture shows to what it should show: target captions, from whole texts or from changes."""

from collections.abc import Sequence

from latentedit.core.errors import ConfigError
from latentedit.latents.captions.base import captioner_for
from latentedit.latents.captions.change import Change
from latentedit.latents.captions.phrases import check_length
from latentedit.latents.encode import one_each
from latentedit.latents.joint import JointLatent
from latentedit.models.base import Backbone

ChangeLike = str | Change
"""``"OLD => NEW"``, or a change that is read already."""


def target_captions(
    model: Backbone,
    captions: Sequence[str],
    *,
    to: str | Sequence[str] | None,
    change: ChangeLike | Sequence[ChangeLike] | None,
) -> tuple[str, ...]:
    """What each picture should show.

    Args:
        model: whose captioner makes changes in its own grammar; without one they are made as in any text.
        captions: what the pictures show.
        to: full captions of what is wanted, one or one a picture.
        change: instead of ``to``: one change or several, made one after the other in every caption.

    Raises:
        ConfigError: both or neither of ``to`` and ``change``, an empty caption, or a change that cannot be made.
    """
    if (to is None) == (change is None):
        count = "neither is" if to is None else "both are"
        raise ConfigError(f"either a target caption or a change is needed; {count} given")
    check_length(*captions, *([to] if isinstance(to, str) else to or ()))
    if change is None:
        assert to is not None
        return one_each(to, len(captions), "target caption")
    found: list[str] = []
    for caption in captions:
        target = caption
        for item in read_changes(change):
            target = changed_caption(model, target, item)
        found.append(target)
    return tuple(found)


def wanted_texts(
    latent: JointLatent,
    *,
    to: str | Sequence[str] | None = None,
    change: ChangeLike | Sequence[ChangeLike] | None = None,
    instruction: str | Sequence[str] | None = None,
) -> tuple[str, ...]:
    """What each picture should show, or, of a model that sees the pictures, what it is told to do with each.

    Args:
        latent: the pictures, encoded for the one or the other.
        to: full captions, as for `target_captions`.
        change: instead of ``to``.
        instruction: instead of both, one or several, given together to every picture.

    Raises:
        ConfigError: not just one of them, captions or changes for pictures that were encoded for instructions, or the
            other way round, an empty text, or a change that cannot be made.
    """
    if instruction is None and not latent.instructed:
        return target_captions(latent.backbone, latent.captions, to=to, change=change)
    if instruction is None or to is not None or change is not None:
        raise ConfigError(
            f"{latent.backbone.name} sees the picture, and is told what to do with it: an instruction is needed, and "
            "no caption or change. Give an `instruction`, or say what the picture shows with `caption`"
        )
    if not latent.instructed:
        raise ConfigError(
            "the picture was encoded with a caption, and an instruction needs a model that sees the picture. Encode it "
            "with instructed=True"
        )
    said = instruction if isinstance(instruction, str) else ", ".join(instruction)
    check_length(said)
    return one_each(said, len(latent), "instruction")


def read_changes(change: ChangeLike | Sequence[ChangeLike]) -> list[Change]:
    """One change or several, as a list.

    Raises:
        ConfigError: none at all, or a text that is no change.
    """
    several = [change] if isinstance(change, ChangeLike) else list(change)
    if not several:
        raise ConfigError("no change is given. Give at least one")
    return [item if isinstance(item, Change) else Change.parse(item) for item in several]


def changed_caption(model: Backbone, caption: str, change: Change) -> str:
    """The caption with a change made, in the grammar of the model's captioner where it has one.

    Raises:
        ConfigError: a change that cannot be made.
    """
    captioner = captioner_for(model)
    return change.apply(caption) if captioner is None else captioner.change(caption, change)
