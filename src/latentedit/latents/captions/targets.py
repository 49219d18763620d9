"""Target captions: what a picture should show, from a full caption or from changes of its own."""

from collections.abc import Sequence

from latentedit.core.errors import ConfigError
from latentedit.latents.captions.base import captioner_for
from latentedit.latents.captions.change import Change, check_length, phrase_key, read_phrases
from latentedit.latents.encode import broadcast_texts
from latentedit.latents.joint import JointLatent
from latentedit.models.base import Backbone

ChangeLike = str | Change  # "OLD => NEW", or a parsed change


def target_captions(
    model: Backbone,
    captions: Sequence[str],
    *,
    to: str | Sequence[str] | None,
    change: ChangeLike | Sequence[ChangeLike] | None,
) -> tuple[str, ...]:
    """The target caption of each picture: ``to``, one or one per picture, or its caption with changes made in order."""
    check_length(*captions, *([to] if isinstance(to, str) else to or ()))
    if to is not None and change is None:
        return broadcast_texts(to, len(captions), "target caption")
    if to is not None or change is None:
        count = "neither is" if to is None else "both are"
        raise ConfigError(f"either a target caption or a change is needed; {count} given")
    several = [change] if isinstance(change, ChangeLike) else list(change)
    if not several:
        raise ConfigError("no change is given")
    targets = tuple(captions)
    for item in several:
        made = item if isinstance(item, Change) else Change.parse(item)
        targets = tuple(changed_caption(model, target, made) for target in targets)
    return targets


def target_texts(
    latent: JointLatent,
    *,
    to: str | Sequence[str] | None = None,
    change: ChangeLike | Sequence[ChangeLike] | None = None,
    instruction: str | Sequence[str] | None = None,
) -> tuple[str, ...]:
    """The target text of each picture: a caption (see `target_captions`), or the instructions of instructed latents."""
    if instruction is None and not latent.instructed:
        return target_captions(latent.backbone, latent.captions, to=to, change=change)
    if instruction is None or to is not None or change is not None:
        raise ConfigError(
            f"the picture was encoded for instructions to {latent.backbone.name}, which need an `instruction` and no "
            "caption or change. Pass an `instruction`, or encode the picture with its `source_prompt`"
        )
    if not latent.instructed:
        raise ConfigError(
            "the picture was encoded with a caption, and an instruction needs a model that sees the picture. Encode it "
            "with instructed=True"
        )
    text = instruction if isinstance(instruction, str) else ", ".join(instruction)
    check_length(text)
    return broadcast_texts(text, len(latent), "instruction")


def changed_caption(model: Backbone, caption: str, change: Change) -> str:
    """The caption with a change made, in the grammar of the model's captioner if it has one."""
    captioner = captioner_for(model)
    return change.apply(caption) if captioner is None else captioner.change(caption, change)


def partial_targets(source: str, target: str, parts: int) -> tuple[str, ...]:
    """Captions part of the way from source to target, which together make every change of phrases at least once.

    The k-th phrase that the target lacks is exchanged for the k-th that it adds. If the two differ in more than their
    phrases, or not at all, every part is the target.

    Example:
        >>> partial_targets("a man with red hair, a hat", "a man with gray hair, glasses, a hat", 2)
        ('a man with gray hair, a hat', 'a man with red hair, a hat, glasses')
    """
    before, after = read_phrases(source, lead=True), read_phrases(target, lead=True)
    old, new = ([phrase.text for phrase in read.phrases] for read in (before, after))
    kept = {phrase_key(text) for text in old} & {phrase_key(text) for text in new}
    lost, added = ([text for text in texts if phrase_key(text) not in kept] for texts in (old, new))
    count = max(len(lost), len(added))
    if not count or (before.lead, before.ending) != (after.lead, after.ending):
        return (target,) * parts
    targets: list[str] = []
    for part in range(parts):
        chosen = range(part, count, parts) if count > parts else [part % count]
        exchanged = {lost[index]: added[index] if index < len(added) else "" for index in chosen if index < len(lost)}
        more = [added[index] for index in chosen if index >= len(lost)]
        texts = [text for text in (*(exchanged.get(text, text) for text in old), *more) if text]
        targets.append(f"{before.lead} {', '.join(texts)}".strip() + before.ending)
    return tuple(targets)
