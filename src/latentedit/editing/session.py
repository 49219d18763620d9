"""Encoded images and everything that is done with them; every edit goes through `Session.run`."""

import dataclasses
import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Unpack, cast

import torch

from latentedit.core.cost import metered
from latentedit.core.errors import ConfigError, warn
from latentedit.core.progress import Progress
from latentedit.core.settings import Combine, from_plain
from latentedit.directions.composition import changed_by, changed_captions, compose, cross_talk, transferred
from latentedit.directions.direction import Direction, is_unconditional
from latentedit.directions.hsds import HSDS
from latentedit.directions.identification import find_direction
from latentedit.editing.request import EditRequest, MoveOptions, list_strengths
from latentedit.editing.result import EditResult, Moved, SweepResult, measured
from latentedit.editors.base import Editor, StrengthResult, default_note, localizes, make_editor, own_names
from latentedit.editors.eim import EIM, Arm, Slider, default_manipulation, stored_eim
from latentedit.editors.latent_edit import refines, steps_towards
from latentedit.editors.refinement import Refinement
from latentedit.editors.strength import along_path
from latentedit.latents.encode import ChangeLike, embed_targets, fitted, target_texts, text_notes
from latentedit.latents.joint import JointLatent
from latentedit.latents.record import DirectionRecord, ImageRecord, ModelRecord, RunRecord, versions
from latentedit.models.model_settings import ModelSettings

SEARCHED, TEXT_ALONE = "hsds", "text difference"  # methods whose directions can be identified again from two captions
_ARM_SETTINGS = ("arm", "level", "steps")  # settings of `EIM` for how a direction moves an image
_ROUNDING = 1e-9  # strengths that add up to one may fall short of it by less than this

_ENCODING = ("source_prompt", "captioner", "complete", "references", "mask", "force")  # options that encoding takes

_Strengths = Sequence[float] | None  # of the whole edit; None for those of the request


class Session:
    """Encoded images with everything computed for them so far.

    Moving the same images along the same directions again costs only what is new: the inversion, the measured effects,
    the undamaged range and the directions identified on these images are cached.

    Args:
        latent: from `encode`, or of an earlier result (`EditResult.latent`) to continue from there or go back.

    Example:
        session = le.Session(le.encode(model, ["a.png", "b.png"]))
        glasses = session.identify(change="=> glasses")
        for result in session.manipulate(glasses, strength=0.7):
            result.save(...)
    """

    def __init__(self, latent: JointLatent) -> None:
        self.latent = latent
        # The latest slider for each arm, level and steps, with what identifies it and the directions as applied here.
        self._sliders: dict[tuple[Arm, float, int], tuple[object, list[Direction], Slider]] = {}

    @torch.no_grad()
    def identify(
        self,
        *,
        prompt: str | Sequence[str] | None = None,
        change: ChangeLike | Sequence[ChangeLike] | None = None,
        instruction: str | Sequence[str] | None = None,
        method: HSDS | None = None,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Direction:
        """Find the direction from the images' captions to a target text, or from a no-op instruction to another one.

        ``prompt``, ``change``, ``instruction`` and ``seed`` are those of `EditRequest`; several changes or instructions
        give one direction. ``method`` has settings of the search, by default those stored for the model. An empty
        caption, a change that does not apply and a target that means the same are a `ConfigError`.
        """
        self.latent.check_encoders()
        self.request(prompt=prompt, change=change, instruction=instruction).check_target(self.latent.backbone)
        targets = target_texts(self.latent, to=prompt, change=change, instruction=instruction)
        search = method if method is not None else stored_eim(self.latent.backbone).search
        latent = fitted(self.latent, [targets])
        warn(text_notes(latent.backbone, latent.left_out, [*latent.captions, *targets]))
        target = embed_targets(latent, targets)
        direction = find_direction(latent, target, search, seed=seed, progress=progress)
        if not bool(direction.length.any()):
            raise self._no_change(targets)
        return dataclasses.replace(direction, target_captions=targets)

    @torch.no_grad()
    def manipulate(
        self,
        direction: Direction | Sequence[Direction],
        *,
        progress: Progress | None = None,
        **options: Unpack[MoveOptions],
    ) -> list[EditResult]:
        """Move the images along a direction, or along several at once.

        Args:
            direction: from `identify` or a file; several are combined.
            progress: called with what is done, the steps done and their number.
            options: ``strength``, ``combine`` and ``auto_mask`` of `EditRequest`; and settings of `EIM`: ``arm``,
                ``level`` and ``steps``, by default as stored for the model and for transferred directions. Strength -1
                is the opposite, if there is one; it undoes a change that was made before. Strengths are clamped to the
                undamaged range.

        Returns:
            One result per image.

        Raises:
            ConfigError: a direction of another model, directions that contradict each other, or an unknown option.
        """
        return [row[0] for row in self.run(self.request(direction=direction, **options), progress=progress)]

    @torch.no_grad()
    def sweep(
        self,
        direction: Direction | Sequence[Direction] | None = None,
        *,
        strengths: Sequence[float],
        progress: Progress | None = None,
        **options: Unpack[MoveOptions],
    ) -> list[SweepResult]:
        """Move the images to several strengths: along directions, or towards a text by any editor.

        Several directions are combined in equal shares, and `eim` alone moves along directions. Instead of one, there
        are ``prompt``, ``change`` or ``instruction`` with ``seed`` and ``method``, as in `edit`. Errors are those of
        `manipulate` and `edit`.

        Returns:
            For each image one result per strength.
        """
        strengths = list_strengths(strengths)
        results = self.run(self.request(direction=direction, **options), strengths, progress=progress)
        return list(map(SweepResult, results))

    @torch.no_grad()
    def run(
        self, request: EditRequest, strengths: Sequence[float] | None = None, *, progress: Progress | None = None
    ) -> list[list[EditResult]]:
        """Perform a request on these images; every edit goes through here.

        An editor moves the images towards a text. `EIM` moves them along directions: those of the request, or one that
        it identifies for the text, or one for each of several changes when each has its own strength.

        Args:
            request: the edit; its source prompt, captioner, mask and references belong to encoding, and are not used.
            strengths: of the whole edit, 0 is the image itself. By default those of the request: the strength of one
                direction, or the share of each of several.

        Returns:
            For each image one result per strength.

        Raises:
            ConfigError: no target, a strength that the editor refuses, directions of another model, that contradict
                each other or that have length zero, or latents without images.
            RegistryError: an unknown editor.
            ShapeError: directions that do not fit together, or do not fit the images.
        """
        latent = self.latent
        request.check_target(latent.backbone)
        latent.check_encoders()
        if not latent.frames:
            raise ConfigError("these latents have no images to change. Use the `edit` of an editor instead")
        editor = make_editor(request.method, latent.backbone, instructed=latent.instructed, settings=request.settings)
        moves = any(request.strength if strengths is None else strengths)
        along = type(editor) is EIM and not request.via and bool(request.direction or moves)
        texts = self._texts(request, singly=along and strengths is None)
        latent = fitted(latent, texts)
        if latent is not self.latent:
            return Session(latent).run(request, strengths, progress=progress)
        warned = text_notes(latent.backbone, latent.left_out, [*latent.captions, *itertools.chain(*texts)])
        warn(warned)
        with latent.backbone.unchanged(), metered(latent.backbone) as spent:
            if request.via and moves:
                moved = self._through(request, editor, strengths, progress)
            elif along:
                moved = self._along(request, cast("EIM", editor), strengths, progress)
            else:
                moved = self._towards(request, editor, strengths, progress)
            results = measured(latent, moved, spent)
        warn(note for row in results for result in row for note in result.notes if note not in warned)
        return results

    def slider(self, direction: Direction, *, arm: Arm | None = None) -> Slider:
        """The slider of one direction, with its measurements so far."""
        self.latent.check_encoders()
        editor = default_manipulation(self.latent, [direction], {} if arm is None else {"arm": arm})
        return self._slider(editor, [direction], [1.0], "sum")[1]

    def request(self, **options: Any) -> EditRequest:
        """The request with these options; those that belong to encoding are refused."""
        if late := [f"`{name}`" for name in _ENCODING if options.get(name) is not None]:
            raise ConfigError(f"the images are encoded already. Give {' and '.join(late)} to `encode`, or use `edit`")
        return EditRequest.of(**options)

    def _texts(self, request: EditRequest, *, singly: bool) -> list[Sequence[str]]:
        """The target texts of a request, one an image each: of each change if directions are combined ``singly``."""
        latent = self.latent
        if request.direction:
            made = [changed_captions(direction, latent) for direction in request.loaded]
            return [[new or old for new, old in zip(row, latent.captions, strict=True)] for row in made if row]
        between = request.between if request.via else []
        texts = each_change(request) if singly else [*between, request.target]
        return [target_texts(latent, **one) for one in texts]

    def _towards(
        self,
        request: EditRequest,
        editor: Editor,
        strengths: _Strengths,
        progress: Progress | None,
        *,
        text: dict[str, Any] | None = None,
    ) -> Moved:
        """Move the images towards a text, by default that of the request, by any editor."""
        latent = self.latent
        targets = target_texts(latent, **(text or request.target))
        target = embed_targets(latent, targets)
        records = self._records(request, editor, targets)
        strengths = request.strength[:1] if strengths is None else strengths
        editor = editor.for_captions(latent.captions, targets)
        refine = refines(editor, request.refine) and any(strength > 0 for strength in strengths)
        steps = steps_towards(latent, target, strengths, editor, seed=request.seed, refine=refine, progress=progress)
        extra = Refinement().evaluations if refine else 0
        if refine and 1 not in strengths:  # the strength that is refined
            extra += editor.evaluations(latent)
        notes = default_note(request.method, latent.backbone, instructed=latent.instructed)
        return Moved(
            steps=[dataclasses.replace(step, notes=(*notes, *step.notes)) for step in steps],
            records=records,
            target=target,
            evaluations=[
                editor.evaluations(latent, strength=strength) + (extra if strength > 0 else 0) for strength in strengths
            ],
        )

    def _through(self, request: EditRequest, editor: Editor, strengths: _Strengths, progress: Progress | None) -> Moved:
        """Move the images through named values: a search for each, cross-fades between neighbors alone."""
        latent = self.latent
        strengths = request.strength if strengths is None else strengths
        if not all(0 <= strength <= 1 for strength in strengths):
            raise ConfigError(f"with `via`, strengths are from 0 to 1; got {', '.join(f'{s:g}' for s in strengths)}")
        legs = [
            self._towards(request, editor, [1.0], progress, text=text) for text in (*request.between, request.target)
        ]
        stops = torch.stack([leg.steps[0].z - latent.z for leg in legs])
        way = [along_path(stops, strength) for strength in strengths]
        records = [
            record.model_copy(update={"via": tuple(one.target_caption for one in between)})
            for *between, record in zip(*(leg.records for leg in legs), strict=True)
        ]
        return Moved(
            steps=[
                StrengthResult(z=latent.z + moved if strength else latent.z, strength=strength)
                for strength, (moved, _) in zip(strengths, way, strict=True)
            ],
            records=records,
            target=legs[-1].target,
            evaluations=[sum(leg.evaluations[0] for leg in legs)] * len(strengths),
            dropped=[min(1.0, float(passed.min())) for _, passed in way],  # a value on the way is drawn, not faded in
        )

    def _along(self, request: EditRequest, editor: EIM, strengths: _Strengths, progress: Progress | None) -> Moved:
        """Move the images along directions, by `EIM`."""
        latent = self.latent
        swept = strengths is not None
        directions = request.loaded or self._identify_each(request, editor, progress, swept=swept)
        if strengths is None:
            shares, strengths = self._shares(directions, request.strength)
        else:
            shares = _broadcast(request.strength, len(directions))
        names = own_names(request.settings, EIM, HSDS)
        given = [name for name in _ARM_SETTINGS if name in names or isinstance(request.method, EIM)]
        editor = default_manipulation(latent, directions, {name: getattr(editor, name) for name in given})
        parts, slider = self._slider(editor, directions, shares, request.combine)
        slider.progress = progress
        steps = slider.edit(strengths)
        images = range(len(latent))
        targets = [self._target_caption(parts, shares, index) for index in images]
        each = list(zip(directions, parts, shares, strict=True))
        rows = [[self._direction_record(*direction, index) for direction in each] for index in images]
        calibrated = ModelSettings.of(latent.backbone).calibrated
        searches = [search_of(direction.settings) for direction in directions if direction.method == SEARCHED]
        tuned = calibrated is not None and EIM.from_dict(calibrated).search in searches
        records = self._records(request, editor, targets, rows, calibrated=tuned)
        searches = [search_of(row.settings) for row in rows[0] if row.method == SEARCHED and not row.given]
        branches = latent.backbone.capabilities.branches
        searching = sum(search.evaluations(guided=branches(search.guidance)) for search in searches)
        if records[0].refine:
            searching += Refinement().evaluations * len(searches)
        return Moved(
            steps=steps,
            records=records,
            target=latent.condition + slider.direction.condition.expand(len(latent)),
            evaluations=[searching + slider.evaluations(strength) for strength in strengths],
            cross_talk=cross_talk(parts) if len(parts) > 1 else None,
            parts=[abs(share) * part.z.expand_as(latent.z) for part, share in zip(parts, shares, strict=True) if share]
            if len(parts) > 1 and editor.arm == "image"
            else (),
        )

    def _no_change(self, targets: Sequence[str]) -> ConfigError:
        texts = f"{self.latent.captions[0]!r} and {targets[0]!r}"
        return ConfigError(f"source and target captions mean the same to this model: {texts}. Name what should change")

    def _identify_each(
        self, request: EditRequest, editor: EIM, progress: Progress | None, *, swept: bool
    ) -> list[Direction]:
        """The direction to the target text; one for each of several changes or instructions, unless swept."""
        if request.several and not swept:
            target_texts(self.latent, **request.target)  # refuses changes that contradict each other
            editor = dataclasses.replace(editor, arm="image")  # combining directions needs their image parts
        directions: list[Direction] = []
        how: dict[str, Any] = {"seed": request.seed, "refine": refines(editor, request.refine), "progress": progress}
        for text in [request.target] if swept else each_change(request):
            targets = target_texts(self.latent, **text)
            direction = editor.direction(self.latent, embed_targets(self.latent, targets), **how)
            if swept and direction.moves_nothing:
                raise self._no_change(targets)
            directions.append(dataclasses.replace(direction, target_captions=targets))
        return directions

    def _slider(
        self, editor: EIM, directions: Sequence[Direction], shares: Sequence[float], combine: Combine
    ) -> tuple[list[Direction], Slider]:
        """The directions as they apply to these images, and the slider along them; an earlier one if it is the same."""
        settings: tuple[Arm, float, int] = (editor.arm, editor.level, editor.steps)
        key = (tuple(directions), tuple(shares), combine, self.latent.backbone.fingerprint)
        earlier, parts, slider = self._sliders.get(settings, (None, [], None))
        if slider is not None and earlier == key:
            return parts, slider
        signed = [d if share >= 0 else -d for d, share in zip(directions, shares, strict=True)]
        parts = [transferred(direction, self.latent) for direction in signed]
        single = len(parts) == 1 and abs(shares[0]) == 1
        total = parts[0] if single else compose(parts, [abs(share) for share in shares], combine)
        # The way back restores what a caption says, so an unconditional direction is applied without a caption too.
        latent = self.latent.with_prompt("") if is_unconditional(directions) else self.latent
        slider = editor.slider(latent, total, seed=seed_of(directions[0].settings))
        self._sliders[settings] = key, parts, slider
        return parts, slider

    def _shares(self, directions: Sequence[Direction], strength: Sequence[float]) -> tuple[list[float], list[float]]:
        """The share of each direction, and the strength of the whole edit."""
        if len(directions) > 1:
            return _broadcast(strength, len(directions)), [1.0]
        captioned = directions[0].target_captions == self.latent.captions
        if strength[0] < 0 and (captioned or self._strength_before(directions[0]) >= -strength[0] - _ROUNDING):
            return [-1.0], [-float(strength[0])]  # undoes an earlier change: the reverse direction, forwards
        return [1.0], [float(strength[0])]

    def _strength_before(self, direction: Direction) -> float:
        """The total strength at which a direction was applied in the edits that led to this latent."""
        total, record = 0.0, self.latent.provenance
        while record is not None:
            strengths = (row.strength for row in record.directions if row.fingerprint == direction.fingerprint)
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
        auto_mask = localizes(editor, latent.backbone) if request.auto_mask is None else request.auto_mask
        refined = refines(editor, request.refine, given=bool(request.loaded))
        by_image = isinstance(editor, EIM) and editor.arm == "image"  # its search takes clean estimates, no steps
        mapped = latent.backbone.capabilities.flow_map and (refined or (editor.steps_by_map and not by_image))
        return [
            RunRecord(
                method=editor.name,
                settings=editor.settings_along() if directions else editor.to_dict(),
                seed=seed_of(directions[0][0].settings) if directions else request.seed,
                model=ModelRecord.of(latent.backbone),
                versions=versions(),
                image=ImageRecord.of(frame.image, frame.allowed),
                instructed=latent.instructed,
                references=tuple(map(ImageRecord.of, latent.references)),
                caption=caption,
                target_caption=target,
                strengths=(1.0,),
                directions=tuple(directions[index]) if directions else (),
                combine=request.combine,
                auto_mask=auto_mask,
                refine=refined,
                subtract_residual=request.subtract_residual,
                stepped="flow map" if mapped else "velocity",
                calibrated=calibrated,
                evaluations=0,
                before=latent.provenance,
            )
            for index, (frame, caption, target) in enumerate(zip(latent.frames, latent.captions, targets, strict=True))
        ]

    def _direction_record(self, direction: Direction, part: Direction, share: float, index: int) -> DirectionRecord:
        row = direction.row(index)
        own = (  # it was identified on this very image, as encoded here, from its caption to another one
            row.method in (SEARCHED, TEXT_ALONE)
            and row.images == (self._images[index],)
            and row.source_captions == (self.latent.captions[index],)
            and any(row.target_captions)
        )
        return DirectionRecord(
            fingerprint=row.fingerprint,
            method=direction.method,
            settings=dict(direction.settings),
            strength=share,
            target_caption=row.target_captions[0] if own else _target_of(part, index),
            given=not own,
        )

    @functools.cached_property
    def _images(self) -> tuple[str, ...]:
        return self.latent.images  # digests of all pixels

    def _target_caption(self, parts: Sequence[Direction], shares: Sequence[float], index: int) -> str:
        """All changes in one caption, or all instructions, as far as they have words; empty if none has."""
        source = caption = self.latent.captions[index]
        texts = [_target_of(part, index) for part, share in zip(parts, shares, strict=True) if share]
        targets = [text for text in texts if text]
        if self.latent.instructed and len(targets) > 1:
            return ", ".join(dict.fromkeys(text for text in targets if text != source)) or source
        for target in targets:
            caption = changed_by(self.latent.backbone, caption, source, target) or caption
        return caption if targets else ""


def each_change(request: EditRequest) -> list[dict[str, Any]]:
    """The target of each of several changes or instructions, or the only one, as arguments of `target_texts`."""
    if not request.several:
        return [request.target]
    name, changes = ("change", request.change) if request.change else ("instruction", request.instruction)
    return [{name: change} for change in changes]


def search_of(settings: Mapping[str, Any]) -> HSDS:
    """The search in a direction's settings, which may come from a file."""
    try:
        return from_plain(HSDS, {name: value for name, value in settings.items() if name != "seed"})
    except (ConfigError, TypeError, KeyError, IndexError) as error:
        raise ConfigError(f"the search of the direction has unknown settings: {error}. Identify it again") from error


def seed_of(settings: Mapping[str, Any]) -> int:
    """The seed in a direction's settings; 0 if there is none."""
    seed = settings.get("seed", 0)
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise ConfigError(f"the seed of the direction must be an integer; got {seed!r}. Identify it again")
    return seed


def _broadcast(strength: Sequence[float], count: int) -> list[float]:
    """One strength for each of several directions, from one for all or one each."""
    return [float(value) for value in strength] if len(strength) > 1 else [float(strength[0])] * count


def _target_of(direction: Direction, index: int) -> str:
    """The target caption of a direction for an image; empty if it has none."""
    captions = direction.target_captions
    row = index if len(captions) > 1 else 0
    return captions[row] if row < len(captions) else ""
