"""The direction of a change of text, between captions whose unchanged phrases keep their positions.

A network sees each token at its position. A target caption that has the same phrases in another order, or a new one
first, differs from the source at every later position, and so would the direction. Moving tokens of the embedded text
would not help: at strength 1 the network has to get a real text. So captions are aligned before they are embedded.
"""

from collections import Counter
from collections.abc import Sequence

from latentedit.core.condition import Condition
from latentedit.core.errors import ShapeError
from latentedit.latents.captions.change import Phrases, phrase_key, read_phrases
from latentedit.latents.joint import JointLatent
from latentedit.models.base import Backbone


def text_direction(backbone: Backbone, source_captions: Sequence[str], target_captions: Sequence[str]) -> Condition:
    """The displacement of the embedded text, ``n = embed(aligned target) - embed(source)``.

    So ``embed(source) + 1.0 * n`` is the embedding of the target caption as `align_captions` orders it, up to rounding,
    and n is exactly zero where the two captions are equal.

    Args:
        backbone: whose text encoders are used.
        source_captions: what the pictures show, one per picture.
        target_captions: what they should show, one per picture.

    Returns:
        The differences, one per pair.

    Raises:
        ShapeError: not as many targets as sources.

    Cost:
        No evaluation of the network; the text encoders run twice.
    """
    return embed_aligned(backbone, source_captions, target_captions) - backbone.embed(source_captions)


def embed_aligned(backbone: Backbone, source_captions: Sequence[str], target_captions: Sequence[str]) -> Condition:
    """The targets embedded, their phrases in the order of the source captions."""
    if len(source_captions) != len(target_captions):
        raise ShapeError(
            f"every source caption needs one target caption; got {len(target_captions)} for {len(source_captions)}"
        )
    pairs = zip(source_captions, target_captions, strict=True)
    return backbone.embed([align_captions(source, target)[1] for source, target in pairs])


def embed_targets(latent: JointLatent, targets: Sequence[str]) -> Condition:
    """Target captions, aligned and embedded; of instructed latents, instructions embedded with their references."""
    return (
        latent.embed_with_references(targets)
        if latent.instructed
        else embed_aligned(latent.backbone, latent.captions, targets)
    )


def align_captions(source: str, target: str) -> tuple[str, str]:
    """Source and target, the target's phrases (the parts between its commas) in the order of the source's.

    Shared phrases keep their positions; a changed phrase takes the position of the one that it has most in common with,
    by shared words and their lengths, or else of the first one left over; added phrases come last. Case and spaces do
    not matter. A lead such as "a person with", the words up to the first "with", stays in front if more phrases are
    shared without it. A target that has this order already is returned as it is.

    Example:
        >>> align_captions("a man with pale skin, short hair, a smile", "a man with glasses, a sad look, short hair")[1]
        'a man with glasses, short hair, a sad look'
        >>> align_captions("a cat, on a sofa", "a hat, a cat, on a sofa")[1]
        'a cat, on a sofa, a hat'
    """
    plain = read_phrases(source, lead=False), read_phrases(target, lead=False)
    led = read_phrases(source, lead=True), read_phrases(target, lead=True)
    old, new = led if _shared(*led) > _shared(*plain) else plain
    order = _order(_keys(old), _keys(new))
    if order == sorted(order):
        return source, target
    phrases = ", ".join(new.phrases[index].text for index in order)
    return source, f"{new.lead} {phrases}".lstrip() + new.ending


def changed_phrases(source: str, target: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The phrases that only the source has, and those that only the target has; a lead counts as a phrase.

    Example:
        >>> changed_phrases("a man with pale skin, short hair", "a man with short hair, dark skin")
        (('pale skin',), ('dark skin',))
    """
    reads = (read_phrases(caption, lead=True) for caption in (source, target))
    old, new = ([*filter(None, [read.lead]), *(phrase.text for phrase in read.phrases)] for read in reads)
    return _without(old, new), _without(new, old)


def change_words(source: str, target: str) -> str:
    """The change from source to target as "OLD => NEW"."""
    old, new = changed_phrases(source, target)
    return f"{', '.join(old)} => {', '.join(new)}".strip()


def _keys(read: Phrases) -> list[str]:
    return [phrase_key(phrase.text) for phrase in read.phrases]


def _shared(source: Phrases, target: Phrases) -> int:
    return (Counter(_keys(source)) & Counter(_keys(target))).total()


def _without(phrases: list[str], others: list[str]) -> tuple[str, ...]:
    left, unmatched = Counter(map(phrase_key, others)), list[str]()
    for phrase in phrases:
        if left[phrase_key(phrase)] > 0:
            left[phrase_key(phrase)] -= 1
        else:
            unmatched.append(phrase)
    return tuple(unmatched)


def _order(source: list[str], target: list[str]) -> list[int]:
    """Indices of the target's phrases in their new order."""
    pairs = [(_likeness(old, new), i, j) for i, old in enumerate(source) for j, new in enumerate(target)]
    position_of: dict[int, int] = {}
    taken: set[int] = set()
    for _, i, j in sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2])):
        if i not in taken and j not in position_of:
            taken.add(i)
            position_of[j] = i
    return sorted(range(len(target)), key=lambda j: (position_of.get(j, len(source)), j))


def _likeness(phrase: str, other: str) -> float:
    """Share of letters in common words: long words tell more than "a" and "no"."""
    if phrase == other:
        return 2.0
    words, others = Counter(phrase.split()), Counter(other.split())
    return 2 * _letters(words & others) / (_letters(words) + _letters(others))


def _letters(words: Counter[str]) -> int:
    return sum(len(word) * count for word, count in words.items())
