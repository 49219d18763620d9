"""Moving encoded pictures, by directions or by any editor, and what was asked for in words and records."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from latentedit.api.manner import Manner
from latentedit.api.measure import Meter, Request, measured
from latentedit.api.record import DirectionRecord
from latentedit.api.result import EditResult
from latentedit.core.errors import ConfigError
from latentedit.core.progress import Progress
from latentedit.core.settings import from_plain, to_plain
from latentedit.directions.at_level import lives_at_level
from latentedit.directions.base import Direction
from latentedit.directions.composition import compose, cross_talk
from latentedit.directions.hsds import HSDS
from latentedit.directions.text import embed_aligned
from latentedit.directions.transfer import changed_by, transferred
from latentedit.editors.base import Editor, StrengthResult
from latentedit.editors.eim import EIM
from latentedit.editors.slider import Slider
from latentedit.latents.joint import JointLatent

_SEARCHED, _TEXT_ALONE = "hsds", "text difference"
"""Methods whose directions can be found again from two captions."""

_WORDLESS = "under no text"
"""Where it keeps itself without its captions."""

_FOUND = "found"
"""Where a latent keeps fingerprints of directions that were found on it."""


def slide(
    latent: JointLatent,
    directions: Sequence[Direction],
    shares: Sequence[float],
    strengths: Sequence[float],
    manner: Manner,
    *,
    progress: Progress | None = None,
    meter: Meter | None = None,
) -> list[list[EditResult]]:
    """Results by strength and picture.

    Args:
        latent: the pictures.
        directions: what to move by together.
        shares: how much of each; a negative share is that of its reverse.
        strengths: of the whole.
        manner: how.
        progress: told about each step.
        meter: that runs already, where the directions were found as a part of this edit.

    Raises:
        ConfigError: directions of another model, that contradict each other, or that move nothing together.
        ShapeError: directions that fit neither each other nor the pictures.
    """
    slider, parts = _slider(latent, directions, shares, manner, progress)
    count = len(latent)
    records = [_records(latent, directions, parts, shares, index) for index in range(count)]
    searches = sum(search_of(told.settings).evaluations() for told in records[0] if _searched(told))
    request = Request(
        method=EIM.name,
        settings=dict(zip(("arm", "level", "steps"), manner.walk, strict=True)),
        seed=slider.seed,
        target=latent.condition + slider.direction.condition.expand(count),
        target_captions=[_target_caption(latent, parts, index) for index in range(count)],
        local=manner.local,
        evaluations=lambda strength: searches + slider.evaluations(strength),
        directions=records,
        mixing=manner.mixing,
        cross_talk=cross_talk(parts) if len(parts) > 1 else None,
    )
    return measured(latent, request, lambda: slider.edit(strengths), meter=meter)


def run_editor(
    editor: Editor,
    latent: JointLatent,
    targets: tuple[str, ...],
    *,
    strength: float,
    seed: int,
    local: bool,
    progress: Progress | None,
) -> list[EditResult]:
    """One result a picture, of an editor that knows texts only."""
    target = embed_aligned(latent.backbone, latent.captions, targets)
    unknown = torch.full((len(latent),), torch.nan)

    def run() -> list[StrengthResult]:
        z = editor.edit(latent, target, [strength], seed=seed, progress=progress)[0].z
        return [StrengthResult(z=z, strength=strength, measured=unknown, limit=unknown)]

    request = Request(
        method=editor.name,
        settings=to_plain(editor),
        seed=seed,
        target=target,
        target_captions=targets,
        local=local,
        evaluations=lambda strength: editor.evaluations(latent, strength=strength),
    )
    return measured(latent, request, run)[0]


def note_found(latent: JointLatent, direction: Direction) -> None:
    """Have the latent remember that a direction was found on it, so that records say how to find it again."""
    latent.known.setdefault(_FOUND, set()).add(direction.fingerprint)


def search_of(settings: Mapping[str, Any]) -> HSDS:
    """The search by which a direction says that it was found; what it says may come from a file.

    Raises:
        ConfigError: settings that the search does not have.
    """
    try:
        return from_plain(HSDS, {name: value for name, value in settings.items() if name != "seed"})
    except (TypeError, KeyError, IndexError) as error:
        raise ConfigError("expected a direction with settings of its search; got others. Make it again") from error


def seed_of(settings: Mapping[str, Any]) -> int:
    """The seed with which a direction says that it was found; 0 where it says nothing.

    Raises:
        ConfigError: no whole number.
    """
    seed = settings.get("seed", 0)
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise ConfigError("expected a direction whose seed is a whole number; got another value. Make it again")
    return seed


def _slider(
    latent: JointLatent,
    directions: Sequence[Direction],
    shares: Sequence[float],
    manner: Manner,
    progress: Progress | None,
) -> tuple[Slider, list[Direction]]:
    """The slider that the latent keeps for these directions, or a new one; and the directions as they apply to it."""
    known: _Known | None = latent.known.get(manner.walk)
    asked, walked = (*shares, manner.mixing), _as_found(latent, directions)
    if known is None or known.asked != asked or known.slider.latent is not walked or not known.of(directions):
        turned = [d if share >= 0 else -d for d, share in zip(directions, shares, strict=True)]
        parts = [transferred(direction, latent) for direction in turned]
        single = len(parts) == 1 and abs(shares[0]) == 1
        whole = parts[0] if single else compose(parts, [abs(share) for share in shares], manner.mixing)
        seed = seed_of(directions[0].settings)
        editor = EIM(arm=manner.arm, level=manner.level, steps=manner.steps)
        slider = editor.slider(walked, whole, seed=seed)
        known = _Known(directions=tuple(directions), asked=asked, parts=parts, slider=slider)
    known = dataclasses.replace(known, slider=known.slider.told(progress))
    latent.known[manner.walk] = known
    return known.slider, known.parts


def _as_found(latent: JointLatent, directions: Sequence[Direction]) -> JointLatent:
    """The pictures under no text where all directions were found under none, at a level; else as they are.

    What a caption says a picture shows, the way back under it restores: under a full caption, a direction that was
    found without one does little.
    """
    if not all(lives_at_level(d) and d.source_captions and not any(d.source_captions) for d in directions):
        return latent
    if _WORDLESS not in latent.known:
        latent.known[_WORDLESS] = latent.under("")
    return latent.known[_WORDLESS]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Known:
    """A slider and what was asked for when it was made."""

    directions: tuple[Direction, ...]
    asked: tuple[Any, ...]
    parts: list[Direction]
    slider: Slider

    def of(self, directions: Sequence[Direction]) -> bool:
        same = zip(self.directions, directions, strict=False)
        return len(self.directions) == len(directions) and all(a is b for a, b in same)


def _target_caption(latent: JointLatent, parts: Sequence[Direction], index: int) -> str:
    """All changes in one caption, as far as they have words; empty where none has."""
    source = caption = latent.captions[index]
    wanted = [target for part in parts if (target := _wanted(part, index))]
    for target in wanted:
        caption = changed_by(latent.backbone, caption, source, target) or caption
    return caption if wanted else ""


def _wanted(part: Direction, index: int) -> str:
    """What a direction says that a picture should show; empty where it has no words for it."""
    place = index if len(part.target_captions) > 1 else 0
    return part.target_captions[place] if place < len(part.target_captions) else ""


def _searched(told: DirectionRecord) -> bool:
    return not told.given and told.method == _SEARCHED


def _found_here(direction: Direction, latent: JointLatent, index: int) -> bool:
    """Found on this very picture, from its caption to another, so that it can be found again.

    A picture and its caption make one latent, but that may have been moved; then it has to remember the direction.
    """
    return (
        direction.method in (_SEARCHED, _TEXT_ALONE)
        and direction.settings.get("projection", "none") == "none"
        and bool(latent.frames)
        and direction.pictures == (latent.frames[index].picture.fingerprint,)
        and direction.source_captions == (latent.captions[index],)
        and any(direction.target_captions)
        and (latent.made_by is None or direction.fingerprint in latent.known.get(_FOUND, ()))
    )


def _records(
    latent: JointLatent,
    directions: Sequence[Direction],
    parts: Sequence[Direction],
    shares: Sequence[float],
    index: int,
) -> list[DirectionRecord]:
    found: list[DirectionRecord] = []
    for direction, part, share in zip(directions, parts, shares, strict=True):
        row = direction.row(index)
        own = _found_here(row, latent, index)
        found.append(
            DirectionRecord(
                fingerprint=row.fingerprint,
                method=direction.method,
                settings=dict(direction.settings),
                strength=share,
                target_caption=row.target_captions[0] if own else _wanted(part, index),
                given=not own,
            )
        )
    return found
