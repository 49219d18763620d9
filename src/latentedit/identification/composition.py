"""Directions on given images: transferred to them, composed, and their cross-talk.

The cross-talk of directions d_1 ... d_k is the matrix

    C_ij = <d_i, d_j> / <d_j, d_j>        1 on the diagonal

"moving by d_i also makes the share C_ij of what d_j makes", measured in the clean latent. Directions that touch
different things have C near the identity. Three ways to combine them, all linear, and equal where C is the identity:

- *sum*: ``sum_i s_i d_i``.
- *inverse*: each direction is replaced by its dual, ``sum_k (C^-1)_ik d_k``, of which every other direction has no part
  and which has as much of its own as before.
- *projection*: each direction loses what lies along those before it (Gram and Schmidt); the first stays whole.

Text displacements are mixed by the same numbers. Transfer takes the displacement of the clean latent as it is; that of
the text cannot be, for tokens have other positions in another caption, so the direction's change of words is made in
the caption of the new image, and embedded there. Derived here.
"""

import dataclasses
import difflib
import itertools
import math
import re
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import ConfigError, ShapeError
from latentedit.core.setting import Combine, check_value
from latentedit.encoding.captions.change import Caption, Change, changed_phrases
from latentedit.encoding.captions.fitting import UNBLANKED
from latentedit.encoding.encode import changed_caption, text_direction
from latentedit.encoding.joint import JointLatent
from latentedit.identification.direction import Direction, lives_at_level
from latentedit.models.base import Backbone
from latentedit.numerics.condition import Condition
from latentedit.numerics.flow import per_element

_TOKENS = re.compile(r",?[^,]+|,"), re.compile(rf"[{UNBLANKED}]|[^\W{UNBLANKED}]+|\W")
_Replacement = tuple[int, int, str]  # start and end of the replaced letters, and the text

# Cosines beyond which two directions contradict each other, or are the same. Several directions are dependent if their
# cosines have an eigenvalue below ``1 - _EQUAL``, which is that of two at the bound.
_OPPOSITE, _EQUAL = -0.9, 0.98


def cross_talk(directions: Sequence[Direction]) -> Float[Tensor, "b k k"]:
    """How much of direction j an image moves by when it moves by direction i; see the module.

    In float64, row i, column j; one matrix an image, or a single one if every direction is for all. Errors: `compose`.
    """
    gram = _gram(directions)
    return gram / gram.diagonal(dim1=1, dim2=2)[:, None, :]


def compose(directions: Sequence[Direction], strengths: Sequence[float], combine: Combine = "sum") -> Direction:
    """One direction that makes several changes, each at its strength.

    Args:
        directions: of one model, each for one image or for all of the same images.
        strengths: one a direction; negative ones reverse it.
        combine: how cross-talk is handled; see the module.

    Returns:
        The composed direction, to be applied at strength 1. Its level is the highest of theirs.

    Raises:
        ShapeError: directions that do not fit together, or another number of strengths.
        ConfigError: no direction, directions of different models, one of zero length, directions that contradict each
            other at these strengths, or, unless they are summed, directions that mean the same.
    """
    check_value(Combine, combine=combine)
    if len(strengths) != len(directions) or not directions:
        raise ShapeError(f"each direction needs one strength; got {len(directions)} and {len(strengths)}")
    gram = _gram(directions)
    _check_sense(directions, strengths, gram, combine)
    weights = _weights(gram, torch.tensor(strengths, dtype=torch.float64), combine)
    first = directions[0]
    batch = len(weights)
    parts = [(d, weights[:, index].to(d.z.device, d.z.dtype)) for index, d in enumerate(directions)]
    z = sum((d.z * per_element(w, d.z) for d, w in parts), torch.zeros_like(first.z))
    condition = first.condition.expand(batch) * parts[0][1]
    for d, w in parts[1:]:
        condition = condition + d.condition.expand(batch) * w
    return Direction(
        z=z,
        condition=condition,
        level=max(d.level for d in directions),
        method="composition",
        settings={
            "combine": combine,
            "parts": [d.fingerprint for d in directions],
            "strengths": list(strengths),
            **({"steps": max(d.settings["steps"] for d in directions)} if all(map(lives_at_level, directions)) else {}),
        },
        model_name=first.model_name,
        model_fingerprint=first.model_fingerprint,
        instructed=first.instructed,
        images=tuple(dict.fromkeys(itertools.chain(*(d.images for d in directions)))),
        notes=tuple(dict.fromkeys(itertools.chain(*(d.notes for d in directions)))),
    )


def _gram(directions: Sequence[Direction]) -> Float[Tensor, "b k k"]:
    shapes = {tuple(d.z.shape[1:]) for d in directions}
    batch = max(len(d) for d in directions)
    if len(shapes) > 1 or any(len(d) not in (1, batch) for d in directions):
        raise ShapeError(
            f"directions to be composed must have one shape; got {', '.join(str(list(d.z.shape)) for d in directions)}"
        )
    for index, d in enumerate(directions):
        if not bool(d.length.all()):
            raise ConfigError(f"direction {index + 1} has length zero, so it moves nothing. Leave it out")
    # In float64: the weights come from systems of this matrix, with directions of cosines up to 0.98.
    rows = torch.stack([d.z.flatten(1).cpu().double().expand(batch, -1) for d in directions], 1)
    return rows @ rows.mT


def _check_sense(
    directions: Sequence[Direction], strengths: Sequence[float], gram: Float[Tensor, "b k k"], combine: Combine
) -> None:
    norms = gram.diagonal(dim1=1, dim2=2).sqrt()
    cosines = gram / (norms[:, :, None] * norms[:, None, :])
    for i, j in itertools.combinations(range(len(directions)), 2):
        directions[j].check_model(directions[i].model_name, directions[i].model_fingerprint)
        product = strengths[i] * strengths[j]
        # A negative strength turns its direction around, and with it the sign of the cosine.
        together = float((math.copysign(1, product) * cosines[:, i, j]).min())
        if product != 0 and together < _OPPOSITE:
            raise ConfigError(
                f"directions {i + 1} and {j + 1} contradict each other (cosine {together:.2f}). Leave one out"
            )
    # The smallest eigenvalue of the cosines of two directions is 1 - |cosine|, so the loop begins with two that are the
    # same; a sum separates nothing, and may have them.
    for count in range(2, len(directions) + 1) if combine != "sum" else ():
        if bool((torch.linalg.eigvalsh(cosines[:, :count, :count]) < 1 - _EQUAL).any()):
            raise ConfigError(
                f"direction {count} is a combination of those before it, which {combine!r} cannot separate. "
                'Leave one out, or use `combine="sum"`'
            )


def _weights(gram: Float[Tensor, "b k k"], strengths: Float[Tensor, " k"], combine: Combine) -> Float[Tensor, "b k"]:
    """The weight of each direction: ``s^T M``, M the identity, C^-1, or the Gram-Schmidt steps."""
    if combine == "sum":
        return strengths.expand(len(gram), -1)
    if combine == "inverse":
        talk = gram / gram.diagonal(dim1=1, dim2=2)[:, None, :]
        return torch.linalg.solve(talk.mT, strengths.expand(len(gram), -1)[..., None])[..., 0]
    # gram = L L^T with L = (unit lower triangle) diag: the inverse of that triangle orthogonalizes in order
    lower = torch.linalg.cholesky(gram)
    unit = lower / lower.diagonal(dim1=1, dim2=2)[:, None, :]
    return torch.linalg.solve_triangular(unit.mT, strengths.expand(len(gram), -1)[..., None], upper=True)[..., 0]


def named(directions: Sequence[Direction]) -> list[str]:
    """A short name for each direction: the phrases that its target adds or its source loses, else its number."""
    return [_words(direction) or f"direction {index + 1}" for index, direction in enumerate(directions)]


def _words(direction: Direction) -> str:
    if not direction.source_captions or not direction.target_captions:
        return ""
    removed, added = changed_phrases(direction.source_captions[0], direction.target_captions[0])
    return ", ".join(added) or ", ".join(f"no {phrase}" for phrase in removed)


def transferred(direction: Direction, latent: JointLatent) -> Direction:
    """The direction, one for all images or one per image, as it applies to these, on the model's device.

    That is the direction itself if it was found under these captions; otherwise one with the same displacement of the
    clean latent, and the text of these images. If the change does not apply to a caption, the text displacement is
    kept as it is, and the target caption is empty. A direction of another model, or one between captions for images
    that were encoded for instructions, or the reverse, is a `ConfigError`.
    """
    backbone, count = latent.backbone, len(latent)
    direction.check_model(backbone.name, backbone.fingerprint)
    direction = direction.to(backbone.device)  # files are read on the CPU
    if direction.instructed != latent.instructed:
        kinds = ("captions", "instructions") if latent.instructed else ("instructions", "captions")
        raise ConfigError(
            f"the direction was found between {kinds[0]}, and the image was encoded for {kinds[1]}. Encode it "
            f"likewise (instructed={direction.instructed})"
        )
    made = changed_captions(direction, latent)
    own = len(direction.target_captions) == len(direction) == count and direction.source_captions == latent.captions
    if direction.instructed or not made or own:  # an instruction is the same for every image
        return direction
    stored = direction.condition.expand(count)
    targets = [new or old for new, old in zip(made, latent.captions, strict=True)]
    texts = text_direction(backbone, latent.captions, targets, latent.left_out)
    rows = Condition.cat([(texts if new else stored)[index : index + 1] for index, new in enumerate(made)])
    new = tuple(text or "" for text in made)
    return dataclasses.replace(direction, condition=rows, source_captions=latent.captions, target_captions=new)


def changed_captions(direction: Direction, latent: JointLatent) -> list[str | None]:
    """The change of a direction made in the captions of images; None where it does not apply, no list without words."""
    pairs, count = min(len(direction.source_captions), len(direction.target_captions)), len(latent)
    order = range(count) if pairs == len(direction) == count else [0] * min(pairs, 1) * count
    before = zip(latent.captions, order, strict=False)
    return [
        changed_by(latent.backbone, caption, direction.source_captions[index], direction.target_captions[index])
        for caption, index in before
    ]


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
    read = Caption.of(source)
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


def merged(source: str, targets: Sequence[str]) -> tuple[str, list[int]]:
    """All changes from a caption to target captions in one caption, one after the other.

    Returns:
        The caption, and the indices of targets that are not in it: without words, or with other words in the place of
        the same ones.

    Example:
        >>> merged("a man on a horse", ["a man on a cow", "an old man on a horse", "a man on a dog"])
        ('an old man on a cow', [2])
    """
    made, unfit = list[_Replacement](), list[int]()
    for index, target in enumerate(targets):
        together = sorted(dict.fromkeys([*made, *_replacements(source, target, _TOKENS)]), key=lambda one: one[:2])
        if not target or any(one[1] > following[0] for one, following in itertools.pairwise(together)):
            unfit.append(index)
        else:
            made = together
    caption = source
    for start, end, text in reversed(made):
        caption = caption[:start] + text + caption[end:]
    return caption, unfit


def _replacements(old: str, new: str, tokens: Sequence[re.Pattern[str]], at: int = 0) -> Iterator[_Replacement]:
    """Which stretches of a text that begins ``at`` a position become which texts: phrases, else words of them."""
    before, after = (tokens[0].findall(text) for text in (old, new))
    for tag, first, last, start, end in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        stretch, text = "".join(before[first:last]), "".join(after[start:end])
        place = at + len("".join(before[:first]))
        if tag == "replace" and tokens[1:]:
            yield from _replacements(stretch, text, tokens[1:], place)
        elif tag != "equal":
            yield place, place + len(stretch), text
