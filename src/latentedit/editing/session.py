"""Encoded images, and everything that is done with them: `Session.run` is the one way of every edit."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, Unpack

import torch

from latentedit.core.cost import Meter, metered
from latentedit.core.errors import ConfigError
from latentedit.core.progress import Progress
from latentedit.directions.composition import check_mixing, compose, cross_talk
from latentedit.directions.direction import Direction, found_under_no_text
from latentedit.directions.hsds import HSDS
from latentedit.directions.identification import identify
from latentedit.directions.text import embed_targets
from latentedit.directions.transfer import changed_by, transferred
from latentedit.editing.manipulation import (
    ARM_SETTINGS,
    SEARCHED,
    TEXT_ALONE,
    broadcast,
    default_manipulation,
    search_of,
    seed_of,
    stored_eim,
    words_of,
)
from latentedit.editing.request import EditRequest
from latentedit.editing.result import EditResult, measured
from latentedit.editors.base import Editor
from latentedit.editors.eim import EIM
from latentedit.editors.registry import default_note, localizes, make_editor
from latentedit.editors.slider import Arm, Slider
from latentedit.latents.captions.targets import ChangeLike, wanted_texts
from latentedit.latents.joint import JointLatent
from latentedit.latents.record import DirectionRecord, Mixing, ModelRecord, PictureRecord, RunRecord, versions
from latentedit.models.model_settings import ModelSettings

_Strengths = Sequence[float] | None  # of the whole edit; None: the request's own
_ROUNDING = 1e-9  # strengths that add up to one fall short of it by less than this


class _WantedOptions(TypedDict, total=False):
    """What images should show; see `Session.identify`."""

    to: str | Sequence[str] | None
    change: ChangeLike | Sequence[ChangeLike] | None
    instruction: str | Sequence[str] | None
    seed: int
    progress: Progress | None


class IdentifyOptions(_WantedOptions, total=False):
    """How directions are found; see `Session.identify`."""

    method: HSDS | None


class MoveOptions(TypedDict, total=False):
    """How images move along directions; see `Session.manipulate`."""

    mixing: Mixing
    local: bool | None
    arm: Arm | None
    level: float | None
    steps: int | None
    progress: Progress | None


class SweepOptions(MoveOptions, _WantedOptions, total=False):
    """How images are swept; see `Session.sweep`."""

    method: str | Editor | None


class Session:
    """Encoded images, and what was found out about them so far.

    Moving the same images by the same directions again costs only what is new: the inversion, the measured effects and
    the undamaged range are kept, and so are the directions that were found on these images.

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
        self._ways: dict[tuple[Arm, float, int], _Way] = {}  # the last one for each way of moving

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
        """Find the direction from the images' captions to another text, or from no change to an instruction.

        Args:
            to: target captions, one for all or one an image.
            change: instead of ``to``, "OLD => NEW" in the captions; either side may be empty. Several are one
                direction.
            instruction: for images that were encoded for instructions; several are one direction.
            method: settings of the search; by default those that suit the model.
            seed: random seed.
            progress: called after each step.

        Raises:
            ConfigError: an empty caption, a change that the captions do not allow, or a target that means the same.
        """
        targets = wanted_texts(self.latent, to=to, change=change, instruction=instruction)
        search = method if method is not None else stored_eim(self.latent.backbone).search
        direction = identify(self.latent, embed_targets(self.latent, targets), search, seed=seed, progress=progress)
        if not bool(direction.length.any()):
            raise self._no_change(targets)
        return dataclasses.replace(direction, target_captions=targets)

    @torch.no_grad()
    def manipulate(
        self,
        direction: Direction | Sequence[Direction],
        *,
        strength: float | Sequence[float] = 1.0,
        **options: Unpack[MoveOptions],
    ) -> list[EditResult]:
        """Move the images along a direction, or along several at once.

        Args:
            direction: from `identify` or a file; several are combined.
            strength: 0 is the image itself, 1 the whole change, and -1 the opposite, where there is one; it undoes a
                change that was made before. Clamped to where the image is not damaged. One for all directions, or one
                each.
            options: ``mixing`` handles the cross-talk of several directions: "sum", "inverse" or "projection" (see
                `directions.composition`). ``local`` keeps the change to where it is strong, so that the rest of the
                image stays as it is in the file; by default what suits the model. ``arm`` is "image", "text" or
                "joint", ``level`` how far up the text and joint arms go, and ``steps`` those of the model's whole grid
                there; by default what suits the model, and directions found on other images. ``progress`` is called
                after each step.

        Returns:
            One result an image.

        Raises:
            ConfigError: a direction of another model, directions that contradict each other, a strength that is no
                finite number, an unknown arm or mixing.
        """
        request = _request(options, direction=direction, strength=strength)
        return self.run(request, progress=options.get("progress"))[0]

    @torch.no_grad()
    def sweep(
        self,
        direction: Direction | Sequence[Direction] | None = None,
        *,
        strengths: Sequence[float],
        **options: Unpack[SweepOptions],
    ) -> list[list[EditResult]]:
        """Move the images to several strengths: along directions, or towards a text by any editor.

        Args:
            direction: from `identify` or a file; several are combined in equal shares.
            strengths: in any order.
            options: those of `manipulate`, of which editors other than `eim` take ``local`` and ``progress``; and
                instead of a direction ``to``, ``change`` or ``instruction`` with ``seed``, as in `identify`, and
                ``method``, the editor, as in `edit`. Only `eim` moves along directions.

        Returns:
            For each image one result a strength.

        Raises:
            ConfigError: as `manipulate` or `edit`; no strength at all, both a direction and a text, or what the editor
                does not do.
        """
        if len(strengths) == 0:  # a tensor has no truth value
            raise ConfigError("a sweep needs at least one strength; got none")
        rows = self.run(_request(options, direction=direction), strengths, progress=options.get("progress"))
        return [list(column) for column in zip(*rows, strict=True)]

    @torch.no_grad()
    def run(
        self, request: EditRequest, strengths: Sequence[float] | None = None, *, progress: Progress | None = None
    ) -> list[list[EditResult]]:
        """Perform a request on these images; every edit comes through here.

        An editor moves the images towards a text. `EIM` moves them along directions: those of the request, or one that
        it finds for the text, or one for each of several changes when each has a strength of its own.

        Args:
            request: what is wanted; its caption, captioner, mask and references belong to encoding, and are not used.
            strengths: of the whole edit, 0 is the image itself. By default the request's own: the strength of one
                direction, or the share of each of several.
            progress: called after each step.

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
                return self._along(request, editor, strengths, meter, progress)
            return self._towards(request, editor, strengths, meter, progress)

    def slider(self, direction: Direction, *, arm: Arm | None = None) -> Slider:
        """The way along one direction, with what was measured of it already."""
        editor = default_manipulation(self.latent, [direction], {} if arm is None else {"arm": arm})
        return self._way(editor, [direction], [1.0], "sum").slider

    def _towards(
        self, request: EditRequest, editor: Editor, strengths: _Strengths, meter: Meter, progress: Progress | None
    ) -> list[list[EditResult]]:
        """Move the images towards a text, by any editor."""
        latent = self.latent
        targets = wanted_texts(latent, **request.wanted)
        target = embed_targets(latent, targets)
        records = self._records(request, editor, targets)
        strengths = request.strength[:1] if strengths is None else strengths
        editor = editor.for_captions(latent.captions, targets)
        moved = editor.edit(latent, target, strengths, seed=request.seed, progress=progress)
        notes = default_note(request.method, latent.backbone, instructed=latent.instructed)
        return measured(
            latent,
            meter,
            steps=[dataclasses.replace(one, notes=(*notes, *one.notes)) for one in moved],
            records=records,
            target=target,
            evaluations=[editor.evaluations(latent, strength=strength) for strength in strengths],
        )

    def _along(
        self, request: EditRequest, editor: EIM, strengths: _Strengths, meter: Meter, progress: Progress | None
    ) -> list[list[EditResult]]:
        """Move the images along directions, by `EIM`."""
        latent = self.latent
        swept = strengths is not None
        directions = request.loaded or self._identified(request, editor, progress, swept=swept)
        if strengths is None:
            shares, strengths = self._shares(directions, request.strength)
        else:
            shares = broadcast(request.strength, len(directions))
        own = {name: getattr(editor, name) for name in ARM_SETTINGS} if isinstance(request.method, EIM) else {}
        given = {name: value for name, value in request.settings.items() if name in ARM_SETTINGS}
        editor = default_manipulation(latent, directions, own | given)
        way = self._way(editor, directions, shares, check_mixing(request.mixing))
        way.slider.progress = progress
        moved = way.slider.edit(strengths)
        calibrated = ModelSettings.of(latent.backbone).calibrated
        searches = [search_of(one.settings) for one in directions if one.method == SEARCHED]
        images = range(len(latent))
        targets = [self._target_caption(way.parts, shares, index) for index in images]
        applied = list(zip(directions, way.parts, shares, strict=True))
        rows = [[self._direction_record(*one, index) for one in applied] for index in images]
        tuned = calibrated is not None and EIM.from_dict(calibrated).search in searches
        records = self._records(request, editor, targets, rows, calibrated=tuned)
        searches = [search_of(one.settings) for one in rows[0] if one.method == SEARCHED and not one.given]
        branches = latent.backbone.capabilities.branches
        searching = sum(search.evaluations(guided=branches(search.guidance)) for search in searches)
        return measured(
            latent,
            meter,
            steps=moved,
            records=records,
            target=latent.condition + way.slider.direction.condition.expand(len(latent)),
            evaluations=[searching + way.slider.evaluations(strength) for strength in strengths],
            cross_talk=cross_talk(way.parts) if len(way.parts) > 1 else None,
        )

    def _no_change(self, targets: Sequence[str]) -> ConfigError:
        return ConfigError(
            f"the target text says the same as the source text to this model: {targets[0]!r} after "
            f"{self.latent.captions[0]!r} gives a direction of zero length. Name what should change"
        )

    def _identified(
        self, request: EditRequest, editor: EIM, progress: Progress | None, *, swept: bool
    ) -> list[Direction]:
        """The direction to the text of a request; one for each of several changes or instructions, unless swept."""
        wanted: list[dict[str, Any]] = [request.wanted]
        apart = request.several and not swept
        if apart:
            wanted_texts(self.latent, **request.wanted)  # refuses changes that contradict each other
            name, texts = ("change", request.change) if request.change else ("instruction", request.instruction)
            wanted = [{name: text} for text in texts]
            editor = dataclasses.replace(editor, arm="image")  # combining directions needs their image parts
        found: list[Direction] = []
        for one in wanted:
            targets = wanted_texts(self.latent, **one)
            target = embed_targets(self.latent, targets)
            direction = editor.direction(self.latent, target, seed=request.seed, progress=progress)
            if swept and direction.moves_nothing:
                raise self._no_change(targets)
            found.append(dataclasses.replace(direction, target_captions=targets))
        return found

    def _way(self, editor: EIM, directions: Sequence[Direction], shares: Sequence[float], mixing: Mixing) -> "_Way":
        """The way along these directions, an earlier one where it is the same."""
        settings: tuple[Arm, float, int] = (editor.arm, editor.level, editor.steps)
        key = (tuple(directions), tuple(shares), mixing)
        earlier = self._ways.get(settings)
        if earlier is not None and earlier.key == key:
            return earlier
        turned = [d if share >= 0 else -d for d, share in zip(directions, shares, strict=True)]
        parts = [transferred(direction, self.latent) for direction in turned]
        single = len(parts) == 1 and abs(shares[0]) == 1
        whole = parts[0] if single else compose(parts, [abs(share) for share in shares], mixing)
        # The way back restores what a caption says, so a direction that was found under no text goes under none too.
        latent = self.latent.under("") if found_under_no_text(directions) else self.latent
        slider = editor.slider(latent, whole, seed=seed_of(directions[0].settings))
        way = self._ways[settings] = _Way(key=key, parts=parts, slider=slider)
        return way

    def _shares(self, directions: Sequence[Direction], strength: Sequence[float]) -> tuple[list[float], list[float]]:
        """The share of each direction, and the strength of the whole."""
        if len(directions) > 1:
            return broadcast(strength, len(directions)), [1.0]
        said = directions[0].target_captions == self.latent.captions
        if strength[0] < 0 and (said or self._applied_before(directions[0]) >= -strength[0] - _ROUNDING):
            return [-1.0], [-float(strength[0])]  # the way back from a change that was made: the reverse, forwards
        return [1.0], [float(strength[0])]

    def _applied_before(self, direction: Direction) -> float:
        """The total strength at which a direction was applied on the way to this latent."""
        total, record = 0.0, self.latent.provenance
        while record is not None:
            strengths = (one.strength for one in record.directions if one.fingerprint == direction.fingerprint)
            total, record = total + record.strengths[0] * sum(strengths), record.before
        return total

    def _records(
        self,
        request: EditRequest,
        editor: Editor,
        targets: Sequence[str],
        directions: Sequence[Sequence[DirectionRecord]] = (),
        *,
        calibrated: bool = False,
    ) -> list[RunRecord]:
        """One record per image; `measured` adds strength and evaluations."""
        latent = self.latent
        local = localizes(editor, latent.backbone) if request.local is None else request.local
        return [
            RunRecord(
                method=editor.name,
                settings=editor.settings_along() if directions else editor.to_dict(),
                seed=seed_of(directions[0][0].settings) if directions else request.seed,
                model=ModelRecord.of(latent.backbone),
                versions=versions(),
                picture=PictureRecord.of(frame.picture, frame.allowed),
                instructed=latent.instructed,
                beside=tuple(map(PictureRecord.of, latent.beside)),
                caption=caption,
                target_caption=target,
                strengths=(1.0,),
                directions=tuple(directions[index]) if directions else (),
                mixing=check_mixing(request.mixing),
                local=local,
                calibrated=calibrated,
                evaluations=0,
                before=latent.provenance,
            )
            for index, (frame, caption, target) in enumerate(zip(latent.frames, latent.captions, targets, strict=True))
        ]

    def _direction_record(self, direction: Direction, part: Direction, share: float, index: int) -> DirectionRecord:
        row = direction.row(index)
        own = self._found_here(row, index)
        return DirectionRecord(
            fingerprint=row.fingerprint,
            method=direction.method,
            settings=dict(direction.settings),
            strength=share,
            target_caption=row.target_captions[0] if own else words_of(part, index),
            given=not own,
        )

    def _found_here(self, direction: Direction, index: int) -> bool:
        """Found on this very image, moved as it is here, from its caption to another: it can be identified again."""
        return (
            direction.method in (SEARCHED, TEXT_ALONE)
            and direction.settings.get("projection", "none") == "none"
            and direction.pictures == (self._pictures[index],)
            and direction.source_captions == (self.latent.captions[index],)
            and any(direction.target_captions)
        )

    @functools.cached_property
    def _pictures(self) -> tuple[str, ...]:
        return self.latent.pictures  # a digest of every pixel

    def _target_caption(self, parts: Sequence[Direction], shares: Sequence[float], index: int) -> str:
        """All changes in one caption, as far as they have words, or all instructions; empty where none has words."""
        source = caption = self.latent.captions[index]
        said = [words_of(part, index) for part, share in zip(parts, shares, strict=True) if share]
        wanted = [words for words in said if words]
        if self.latent.instructed and len(wanted) > 1:
            return ", ".join(dict.fromkeys(words for words in wanted if words != source)) or source
        for target in wanted:
            caption = changed_by(self.latent.backbone, caption, source, target) or caption
        return caption if wanted else ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Way:
    """A slider along directions, each as it applies to these images; the key says for which it was made."""

    key: tuple[tuple[Direction, ...], tuple[float, ...], Mixing]
    parts: list[Direction]
    slider: Slider


def _request(options: Mapping[str, Any], **fields: Any) -> EditRequest:
    """A request with these options, of which those in `ARM_SETTINGS` are settings of the editor."""
    settings = {name: options[name] for name in ARM_SETTINGS if options.get(name) is not None}
    others = {name: value for name, value in options.items() if name not in (*ARM_SETTINGS, "progress")}
    return EditRequest.of(settings=settings, **others, **fields)
