"""Encoded images, and everything that is done with them: `Session.run` is the one way of every edit."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, Unpack

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.api.measure import measured, metered
from latentedit.api.request import EditRequest, one_or_more
from latentedit.api.result import EditResult
from latentedit.core.condition import Condition
from latentedit.core.errors import ConfigError
from latentedit.core.progress import Progress
from latentedit.core.settings import Count, check, from_plain
from latentedit.directions.composition import check_mixing, compose, cross_talk
from latentedit.directions.direction import Direction, found_under_no_text, lives_at_level
from latentedit.directions.hsds import HSDS
from latentedit.directions.identification import identify
from latentedit.directions.text import embed_targets
from latentedit.directions.transfer import changed_by, transferred
from latentedit.editors.base import Editor, StrengthResult
from latentedit.editors.calibrated import calibrated_search
from latentedit.editors.eim import EIM
from latentedit.editors.registry import default_note, localizes, make_editor, stored_settings
from latentedit.editors.slider import Arm, Slider
from latentedit.latents.captions.targets import ChangeLike, wanted_texts
from latentedit.latents.joint import JointLatent
from latentedit.latents.record import DirectionRecord, Mixing, ModelRecord, PictureRecord, RunRecord, versions
from latentedit.models.base import Backbone

SEARCHED, TEXT_ALONE = "hsds", "text difference"
"""Methods whose directions can be found again from two captions."""

_SAME_LEVEL = 1e-6
"""Noise levels that differ by less are one; files keep them in decimals."""

_ROUNDING = 1e-9
"""Strengths that were added up fall short of their sum by less than this."""

_WAY = ("arm", "level", "steps")
"""Settings of `EIM` that count once a direction is known."""


class MoveOptions(TypedDict, total=False):
    """How images move along directions; see `Session.manipulate`."""

    mixing: Mixing
    local: bool | None
    arm: Arm | None
    level: float | None
    steps: int | None
    progress: Progress | None


class SweepOptions(MoveOptions, total=False):
    """How images are swept; see `Session.sweep`."""

    to: str | Sequence[str] | None
    change: ChangeLike | Sequence[ChangeLike] | None
    instruction: str | Sequence[str] | None
    method: str | Editor | None
    seed: int


class Session:
    """Encoded pictures, and what has been found out about them so far: it serves the next request.

    Moving the same pictures by the same directions again costs what is not known yet: the inversion, the measured
    effects and the undamaged range are kept, and so is which directions were found on these pictures.

    Args:
        latent: from `encode`, or of an earlier result (`EditResult.latent`), to go on from there or back.

    Example:
        session = le.Session(le.encode(model, ["a.png", "b.png"]))
        glasses = session.identify(change="=> glasses")
        for result in session.manipulate(glasses, strength=0.7):
            result.save(...)
    """

    def __init__(self, latent: JointLatent) -> None:
        self.latent = latent
        self._sliders: dict[tuple[Arm, float, int], _Slid] = {}  # the last one for each way of moving

    @torch.no_grad()
    def identify(
        self,
        *,
        to: str | Sequence[str] | None = None,
        change: ChangeLike | Sequence[ChangeLike] | None = None,
        instruction: str | Sequence[str] | None = None,
        method: HSDS | None = None,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Direction:
        """Find the direction from the pictures' captions to another text, or from no change to an instruction.

        Args:
            to: full captions of what is wanted, one or one a picture.
            change: instead of ``to``, "OLD => NEW" in the captions; either side may be empty. Several are one
                direction.
            instruction: of pictures that were encoded for instructions: what is to be done, one or several together.
            method: settings of the search; those that suit the model by default.

        Raises:
            ConfigError: an empty caption, a change that the captions do not allow, or a target that means the same.
        """
        latent = self.latent
        targets = wanted_texts(latent, to=to, change=change, instruction=instruction)
        search = method if method is not None else stored_eim(latent.backbone).search
        target = embed_targets(latent, targets)
        direction = identify(latent, target, search, seed=seed, progress=progress)
        if not bool(direction.length.any()):
            raise self._no_change(targets)
        return dataclasses.replace(direction, target_captions=targets)

    @torch.no_grad()
    def manipulate(
        self,
        direction: Direction | Sequence[Direction],
        *,
        strength: float | Sequence[float] = 1.0,
        mixing: Mixing = "sum",
        local: bool | None = None,
        arm: Arm | None = None,
        level: float | None = None,
        steps: int | None = None,
        progress: Progress | None = None,
    ) -> list[EditResult]:
        """Move the pictures by a direction, or by several at once.

        Args:
            direction: from `identify` or a file; several are put together.
            strength: 0 is the picture itself, 1 the whole change, what lies between is measured; -1 is the opposite,
                where there is one, and takes back a change that was made. Clamped to where the picture is not damaged.
                Of several directions, one for all or one each.
            mixing: what is done about the cross-talk of several: "sum", "inverse" or "projection"; see
                `directions.composition`.
            local: keep the change to where it is strong, so that the rest of the picture stays as it is in the file;
                by default what suits the model, as in `edit`.
            arm: "image", "text" or "joint"; by default what suits the model, and directions found on other pictures.
            level: how far up the text and joint arms go; likewise.
            steps: of the model's whole grid for those arms; likewise.

        Returns:
            One result a picture.

        Raises:
            ConfigError: a direction of another model, directions that contradict each other, a strength that is no
                finite number, an unknown arm or mixing.
        """
        request = EditRequest(
            direction=one_or_more(direction, Direction),
            strength=tuple(strength) if isinstance(strength, Sequence) else (strength,),
            mixing=mixing,
            local=local,
            settings=_given(arm=arm, level=level, steps=steps),
        )
        return self.run(request, progress=progress)[0]

    @torch.no_grad()
    def sweep(
        self,
        direction: Direction | Sequence[Direction] | None = None,
        *,
        strengths: Sequence[float],
        to: str | Sequence[str] | None = None,
        change: ChangeLike | Sequence[ChangeLike] | None = None,
        instruction: str | Sequence[str] | None = None,
        method: str | Editor | None = None,
        seed: int = 0,
        **options: Unpack[MoveOptions],
    ) -> list[list[EditResult]]:
        """Move the pictures to several strengths: along directions, or towards a text by any editor.

        Args:
            direction: from `identify` or a file; several are put together in equal shares.
            strengths: in any order.
            to: instead of a direction, as in `identify`, as are ``change`` and ``instruction``.
            method: the editor, as in `edit`. Only `eim` moves along directions.
            seed: of every random number, where a text is given.
            options: as of `manipulate`; of those, editors other than `eim` take ``local`` and ``progress``.

        Returns:
            For each picture one result a strength.

        Raises:
            ConfigError: as `manipulate` or `edit`; no strength at all, both a direction and a text, or what the editor
                does not do.
        """
        if len(strengths) == 0:  # of a tensor, which has no truth value
            raise ConfigError("a sweep needs at least one strength; got none")
        request = EditRequest(
            direction=one_or_more(direction, Direction),
            to=to if to is None or isinstance(to, str) else tuple(to),
            change=one_or_more(change, ChangeLike),
            instruction=one_or_more(instruction, str),
            method=method,
            mixing=options.get("mixing", "sum"),
            local=options.get("local"),
            seed=seed,
            settings=_given(**{name: options.get(name) for name in _WAY}),
        )
        rows = self.run(request, strengths, progress=options.get("progress"))
        return [list(column) for column in zip(*rows, strict=True)]

    @torch.no_grad()
    def run(
        self, request: EditRequest, strengths: Sequence[float] | None = None, *, progress: Progress | None = None
    ) -> list[list[EditResult]]:
        """Do what a request asks of these images; every edit comes through here.

        An editor moves the images towards a text. `EIM` moves them along directions: those of the request, or one that
        it finds for the text, or one for each of several changes when each has a strength of its own.

        Args:
            request: what is wanted; its caption, captioner, mask and references belong to encoding, and are not used.
            strengths: of the whole edit, 0 is the image itself. Without them the request's own: of one direction its
                strength, of several the share of each.

        Returns:
            For each strength one result per image.

        Raises:
            ConfigError: no target, a strength that the editor refuses, directions of another model, that contradict
                each other or that move nothing, or latents without images.
            RegistryError: an unknown editor.
            ShapeError: directions that fit neither each other nor the images.
        """
        request.check_wanted()
        latent = self.latent
        if not latent.frames:
            raise ConfigError("these latents have no pictures to put a change into. Use an Editor's edit instead")
        editor = make_editor(request.method, latent.backbone, instructed=latent.instructed, settings=request.settings)
        with metered(latent.backbone) as meter:
            moves = any(request.strength if strengths is None else strengths)
            if type(editor) is EIM and (request.direction or moves):
                made = self._along(request, editor, strengths, progress)
            else:
                made = self._towards(request, editor, strengths, progress)
            return measured(
                latent,
                made.moved,
                made.records,
                made.target,
                evaluations=made.evaluations,
                meter=meter,
                cross_talk=made.cross_talk,
            )

    def _towards(
        self, request: EditRequest, editor: Editor, strengths: Sequence[float] | None, progress: Progress | None
    ) -> "_Made":
        """Towards a text, by any editor."""
        latent = self.latent
        notes = default_note(request.method, latent.backbone, instructed=latent.instructed)
        targets = wanted_texts(latent, **_wanted(request))
        target, strengths = embed_targets(latent, targets), request.strength[:1] if strengths is None else strengths
        record = self._record(editor, request, seed=request.seed)
        editor = editor.for_captions(latent.captions, targets)
        moved = editor.edit(latent, target, strengths, seed=request.seed, progress=progress)
        return _Made(
            moved=[dataclasses.replace(one, notes=(*notes, *one.notes)) for one in moved],
            records=self._finished([record | {"target_caption": text} for text in targets]),
            target=target,
            evaluations=[editor.evaluations(latent, strength=strength) for strength in strengths],
        )

    def _along(
        self, request: EditRequest, editor: EIM, strengths: Sequence[float] | None, progress: Progress | None
    ) -> "_Made":
        """Along directions, by `EIM`."""
        latent = self.latent
        swept = strengths is not None
        directions = request.loaded or self._identified(request, editor, progress, swept=swept)
        if strengths is None:
            shares, strengths = self._shares(directions, request.strength)
        else:
            shares = broadcast(request.strength, len(directions))
        own = {name: getattr(editor, name) for name in _WAY} if isinstance(request.method, EIM) else {}
        way = suited(latent, directions, **own | {n: v for n, v in request.settings.items() if n in _WAY})
        moving = dataclasses.replace(editor, **{name: getattr(way, name) for name in _WAY})
        slid = self._slid(moving, directions, shares, check_mixing(request.mixing))
        slid.slider.progress = progress
        moved = slid.slider.edit(strengths)
        records = self._finished(self._applied_records(request, moving, directions, slid.parts, shares))
        branches = latent.backbone.capabilities.branches
        searches = sum(
            (search := search_of(one.settings)).evaluations(guided=branches(search.guidance))
            for one in records[0].directions
            if one.method == SEARCHED and not one.given
        )
        return _Made(
            moved=moved,
            records=records,
            target=latent.condition + slid.slider.direction.condition.expand(len(latent)),
            evaluations=[searches + slid.slider.evaluations(strength) for strength in strengths],
            cross_talk=cross_talk(slid.parts) if len(slid.parts) > 1 else None,
        )

    def _no_change(self, targets: Sequence[str]) -> ConfigError:
        return ConfigError(
            f"the target text says the same as the source text to this model: {targets[0]!r} after "
            f"{self.latent.captions[0]!r} gives a direction of zero length. Name what should change"
        )

    def _identified(
        self, request: EditRequest, editor: EIM, progress: Progress | None, *, swept: bool
    ) -> list[Direction]:
        """The direction to the text of a request; of several changes or instructions one each, unless swept as one."""
        wanted: list[dict[str, Any]] = [_wanted(request)]
        apart = request.several and not swept
        if apart:
            wanted_texts(self.latent, **wanted[0])  # refuses changes that contradict each other
            changes: list[dict[str, Any]] = [{"change": one} for one in request.change]
            wanted = changes or [{"instruction": one} for one in request.instruction]
        found: list[Direction] = []
        for one in wanted:
            targets = wanted_texts(self.latent, **one)
            target = embed_targets(self.latent, targets)
            how: dict[str, Any] = {"seed": request.seed, "progress": progress}
            if apart:  # what is put together needs an image part, whatever the arm
                direction = identify(self.latent, target, editor.search, **how)
            else:
                direction = editor.direction(self.latent, target, **how)
            if swept and direction.moves_nothing:
                raise self._no_change(targets)
            found.append(dataclasses.replace(direction, target_captions=targets))
        return found

    def slider(self, direction: Direction, *, arm: Arm | None = None) -> Slider:
        """The way along one direction, with what is known of it already."""
        return self._slid(suited(self.latent, [direction], arm=arm), [direction], [1.0], "sum").slider

    def _slid(self, editor: EIM, directions: Sequence[Direction], shares: Sequence[float], mixing: Mixing) -> "_Slid":
        """The slider that is known for these directions, or a new one."""
        way: tuple[Arm, float, int] = (editor.arm, editor.level, editor.steps)
        known = self._sliders.get(way)
        if known is not None and known.serves(directions, shares, mixing):
            return known
        turned = [d if share >= 0 else -d for d, share in zip(directions, shares, strict=True)]
        parts = [transferred(direction, self.latent) for direction in turned]
        single = len(parts) == 1 and abs(shares[0]) == 1
        whole = parts[0] if single else compose(parts, [abs(share) for share in shares], mixing)
        slider = editor.slider(self._as_found(directions), whole, seed=seed_of(directions[0].settings))
        made = self._sliders[way] = _Slid(tuple(directions), tuple(shares), mixing, parts, slider)
        return made

    def _as_found(self, directions: Sequence[Direction]) -> JointLatent:
        """The pictures under no text where all directions were found under none, at a level; else as they are.

        What a caption says a picture shows, the way back under it restores: under a full caption, a direction that was
        found without one does little.
        """
        return self.latent.under("") if found_under_no_text(directions) else self.latent

    def _shares(self, directions: Sequence[Direction], strength: Sequence[float]) -> tuple[list[float], list[float]]:
        """The share of each direction, and the strength of the whole."""
        if len(directions) > 1:
            return broadcast(strength, len(directions)), [1.0]
        said = directions[0].target_captions == self.latent.captions
        if strength[0] < 0 and (said or self._applied_before(directions[0]) >= -strength[0] - _ROUNDING):
            return [-1.0], [-float(strength[0])]  # the way back from a change that was made: the reverse, forwards
        return [1.0], [float(strength[0])]

    def _applied_before(self, direction: Direction) -> float:
        """How much of a direction was applied on the way to this latent."""
        total, record = 0.0, self.latent.provenance
        while record is not None:
            strengths = (one.strength for one in record.directions if one.fingerprint == direction.fingerprint)
            total, record = total + record.strengths[0] * sum(strengths), record.before
        return total

    def _record(self, editor: Editor, request: EditRequest, *, seed: int) -> dict[str, Any]:
        """What the records of all images and strengths have in common."""
        return {
            "method": editor.name,
            "settings": editor.to_dict(),
            "seed": seed,
            "model": ModelRecord.of(self.latent.backbone),
            "versions": versions(),
            "mixing": request.mixing,
            "local": localizes(editor, self.latent.backbone) if request.local is None else request.local,
            "before": self.latent.provenance,
            "instructed": self.latent.instructed,
            "beside": tuple(map(PictureRecord.of, self.latent.beside)),
        }

    def _applied_records(
        self,
        request: EditRequest,
        editor: EIM,
        directions: Sequence[Direction],
        parts: Sequence[Direction],
        shares: Sequence[float],
    ) -> list[dict[str, Any]]:
        """The records of images that move along directions; these say how they were found, not the settings."""
        record = self._record(editor, request, seed=seed_of(directions[0].settings))
        found = calibrated_search(self.latent.backbone)
        searches = [search_of(one.settings) for one in directions if one.method == SEARCHED]
        return [
            {
                **record,
                "settings": editor.settings_along(),
                "calibrated": found is not None and found in searches,
                "target_caption": self._target_caption(parts, shares, index),
                "directions": tuple(
                    self._applied(direction, part, share, index)
                    for direction, part, share in zip(directions, parts, shares, strict=True)
                ),
            }
            for index in range(len(self.latent))
        ]

    def _finished(self, records: Sequence[Mapping[str, Any]]) -> list[RunRecord]:
        """Records of the pictures, but for strength and cost."""
        latent = self.latent
        return [
            RunRecord(
                **record,
                picture=PictureRecord.of(latent.frames[index].picture, latent.frames[index].allowed),
                caption=latent.captions[index],
                strengths=(1.0,),
                evaluations=0,
            )
            for index, record in enumerate(records)
        ]

    def _applied(self, direction: Direction, part: Direction, share: float, index: int) -> DirectionRecord:
        row = direction.row(index)
        own = self._found_here(row, index)
        return DirectionRecord(
            fingerprint=row.fingerprint,
            method=direction.method,
            settings=dict(direction.settings),
            strength=share,
            target_caption=row.target_captions[0] if own else _said(part, index),
            given=not own,
        )

    def _found_here(self, direction: Direction, index: int) -> bool:
        """Found on this very picture, moved as it is here, from its caption to another: it can be found again."""
        latent = self.latent
        return (
            direction.method in (SEARCHED, TEXT_ALONE)
            and direction.settings.get("projection", "none") == "none"
            and bool(latent.frames)
            and direction.pictures == (self._pictures[index],)
            and direction.source_captions == (latent.captions[index],)
            and any(direction.target_captions)
        )

    @functools.cached_property
    def _pictures(self) -> tuple[str, ...]:
        """Looked at once: every pixel counts."""
        return self.latent.pictures

    def _target_caption(self, parts: Sequence[Direction], shares: Sequence[float], index: int) -> str:
        """All changes that are made in one caption, as far as they have words, or all instructions; empty without."""
        source = caption = self.latent.captions[index]
        wanted = [said for part, share in zip(parts, shares, strict=True) if share and (said := _said(part, index))]
        if self.latent.instructed and len(wanted) > 1:
            return ", ".join(dict.fromkeys(said for said in wanted if said != source)) or source
        for target in wanted:
            caption = changed_by(self.latent.backbone, caption, source, target) or caption
        return caption if wanted else ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Made:
    """What a run made of all images.

    Args:
        moved: the edited latents, a batch for each strength.
        records: one per image, but for strength and cost.
        target: the text wanted, one per image.
        evaluations: what each strength costs an image of which nothing is known yet.
        cross_talk: between directions, one matrix per image or one for all.
    """

    moved: Sequence[StrengthResult]
    records: Sequence[RunRecord]
    target: Condition
    evaluations: Sequence[int]
    cross_talk: Float[Tensor, "b k k"] | None = None


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Slid:
    """A slider, and the request that it was made for: these directions in these shares, put together so."""

    directions: tuple[Direction, ...]
    shares: tuple[float, ...]
    mixing: Mixing
    parts: list[Direction]
    slider: Slider

    def serves(self, directions: Sequence[Direction], shares: Sequence[float], mixing: Mixing) -> bool:
        """These very directions, in the same shares, put together in the same way."""
        same = list(map(id, directions)) == list(map(id, self.directions))
        return same and (tuple(shares), mixing) == (self.shares, self.mixing)


def stored_eim(model: Backbone) -> EIM:
    """Encode, identify, manipulate with the settings that suit a model."""
    return EIM.from_dict(stored_settings(EIM.name, model))


def suited(
    latent: JointLatent,
    directions: Sequence[Direction],
    *,
    arm: Arm | None = None,
    level: float | None = None,
    steps: int | None = None,
) -> EIM:
    """How directions move pictures: what suits the model and the directions, where nothing else is said.

    Directions that live at the level at which they were found (`directions.at_level`) move pictures there, by the joint
    arm; others that are moved with them join them. Directions that were found on other pictures, and have words, move
    as ``latentedit.json`` says under "transfer".

    Raises:
        ConfigError: directions that live at different levels.
    """
    stored = stored_eim(latent.backbone)
    if living := [direction for direction in directions if lives_at_level(direction)]:
        stored = _at_their_level(living)
    elif _found_elsewhere(latent, directions):
        stored = EIM.from_dict(stored.settings_along() | latent.backbone.defaults.get("transfer", {}))
    return EIM(
        arm=stored.arm if arm is None else arm,
        level=stored.level if level is None else level,
        steps=stored.steps if steps is None else steps,
    )


def search_of(settings: Mapping[str, Any]) -> HSDS:
    """The search by which a direction says that it was found; what it says may come from a file.

    Raises:
        ConfigError: settings that the search does not have.
    """
    try:
        return from_plain(HSDS, {name: value for name, value in settings.items() if name != "seed"})
    except (ConfigError, TypeError, KeyError, IndexError) as error:
        raise ConfigError(
            f"the direction names settings that its search does not take: {error}. Make it again"
        ) from error


def seed_of(settings: Mapping[str, Any]) -> int:
    """The seed with which a direction says that it was found; 0 where it says nothing.

    Raises:
        ConfigError: no whole number.
    """
    seed = settings.get("seed", 0)
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise ConfigError(f"the seed of the direction is no whole number; got {seed!r}. Make it again")
    return seed


def _at_their_level(directions: Sequence[Direction]) -> EIM:
    """The joint arm at the one level of directions that live at one; what they say may come from a file."""
    levels = [direction.level for direction in directions]
    if max(levels) - min(levels) > _SAME_LEVEL:
        listed = ", ".join(f"{level:g}" for level in sorted(set(levels)))
        raise ConfigError(
            f"directions of different noise levels cannot move a picture together; got levels {listed}. "
            "Move by one after the other, each on the result of the one before"
        )
    steps = [direction.settings["steps"] for direction in directions]
    for count in steps:
        check(Count, steps=count)
    return EIM(arm="joint", level=levels[0], steps=max(steps))


def _found_elsewhere(latent: JointLatent, directions: Sequence[Direction]) -> bool:
    """None of these directions was found on these pictures, or made them, and all can be said in other captions."""
    here = {frame.picture.fingerprint for frame in latent.frames}
    return all(
        d.pictures
        and d.target_captions
        and here.isdisjoint(name.partition("-")[0] for name in d.pictures)
        and d.target_captions != latent.captions
        for d in directions
    )


def _said(part: Direction, index: int) -> str:
    """What a direction says that a picture should show; empty where it has no words for it."""
    place = index if len(part.target_captions) > 1 else 0
    return part.target_captions[place] if place < len(part.target_captions) else ""


def _wanted(request: EditRequest) -> dict[str, Any]:
    """The target of a request, as `wanted_texts` takes it."""
    return {"to": request.to, "change": request.change or None, "instruction": request.instruction or None}


def broadcast(strength: Sequence[float], count: int) -> list[float]:
    """One strength for each of several directions, from one for all or one each."""
    return [float(one) for one in strength] if len(strength) > 1 else [float(strength[0])] * count


def _given(**settings: Any) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value is not None}
