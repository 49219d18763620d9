"""Encoded images and everything that is done with them; every edit goes through `Session.run`."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack, cast

import torch

from latentedit.core.console import Progress, check_progress
from latentedit.core.errors import ConfigError, Hinted, warn
from latentedit.editing.measuring import measured
from latentedit.editing.request import EditRequest, MoveOptions, SessionOptions, list_strengths
from latentedit.editing.result import EditResult, SweepResult
from latentedit.editors.base import default_note, editor_of, resolve
from latentedit.editors.eim import Arm, Slider, default_manipulation, stored_eim
from latentedit.editors.moving import Aim, Applied, Move, Moved, Sliders, seed_of
from latentedit.encoding.encode import ChangeLike, embed_targets, fitted, partial_notes, target_texts, text_notes
from latentedit.encoding.familiarity import guarded
from latentedit.encoding.joint import JointLatent
from latentedit.encoding.record import DirectionRecord, ImageRecord, ModelRecord, RunRecord, versions
from latentedit.identification.composition import changed_captions, merged
from latentedit.identification.direction import Direction
from latentedit.identification.hsds import HSDS, check_search, find_direction
from latentedit.models.base import Backbone
from latentedit.numerics.cost import metered

_ENCODING = ("source_prompt", "captioner", "complete", "references", "mask", "force")  # options that encoding takes


class Session(Hinted):
    """Encoded images with everything computed for them so far.

    Moving the same images along the same directions again costs only what is new: the inversion, the measured effects
    and the undamaged range are cached in the latent.

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
        self._sliders = Sliders(latent.sliders)
        self._guard = 0  # evaluations by which these images were checked under their whole captions

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
        check_progress(progress)
        check_search(method)
        self.latent.check_encoders()
        self.request(prompt=prompt, change=change, instruction=instruction).check_target(self.latent.backbone)
        targets = target_texts(self.latent, to=prompt, change=change, instruction=instruction)
        search = method if method is not None else stored_eim(self.latent.backbone).search
        latent = fitted(self.latent, [targets])
        warn(text_notes(latent.backbone, latent.left_out, [*latent.captions, *targets]))
        if prompt is not None:
            warn(partial_notes(latent.captions, targets))
        target = embed_targets(latent, targets)
        with latent.backbone.unchanged():
            direction = find_direction(latent, target, search, seed=seed, progress=progress)
        if not bool(direction.length.any()):
            raise self._no_change(targets)
        return dataclasses.replace(direction, target_captions=targets)

    @torch.no_grad()
    def edit(
        self,
        prompt: str | Sequence[str] | None = None,
        *,
        direction: Direction | str | Path | Sequence[Direction | str | Path] | None = None,
        progress: Progress | None = None,
        **options: Unpack[SessionOptions],
    ) -> list[EditResult]:
        """Edit the images as `latentedit.edit` does, without encoding them again.

        Args:
            prompt: the target caption, or give one of ``change``, ``add`` and ``remove``,
                ``instruction``, ``direction``.
            direction: from `identify` or a file; several are combined.
            progress: called with what is done, the steps done and their number.
            options: as in `latentedit.edit`, without those of encoding.

        Returns:
            One result per image.

        Raises:
            ConfigError: an option of encoding, or invalid input.
        """
        request = self.request(prompt=prompt, direction=direction, **options)
        return [row[0] for row in self.run(request, progress=progress)]

    @torch.no_grad()
    def manipulate(
        self,
        direction: Direction | str | Path | Sequence[Direction | str | Path],
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
        direction: Direction | str | Path | Sequence[Direction | str | Path] | None = None,
        *,
        strengths: Sequence[float],
        progress: Progress | None = None,
        **options: Unpack[SessionOptions],
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

        The images are checked (`encoding.familiarity`) once, unless they are edited by ``force`` and without a verdict.
        An editor moves the images towards a text. `EIM` moves them along directions: those of the request, or one that
        it identifies for the text, or one for each of several changes when each has its own strength.

        Args:
            request: the edit; its source prompt, captioner, mask and references belong to encoding, and are not used.
            strengths: of the whole edit, 0 is the image itself. By default those of the request: the strength of one
                direction, or the share of each of several.

        Returns:
            For each image one result per strength.

        Raises:
            UnknownImageError: images that the model does not know, without ``force``.
            ConfigError: no target, a strength that the editor refuses, directions of another model, that contradict
                each other or that have length zero, or latents without images.
            RegistryError: an unknown editor.
            ShapeError: directions that do not fit together, or do not fit the images.
        """
        check_progress(progress)
        latent = self.latent
        request.check_target(latent.backbone)
        latent.check_encoders()
        if not latent.frames:
            raise ConfigError(
                "these latents have no images to change. Use `edit_latent`, which takes a condition or a direction, "
                "and several strengths for a sweep"
            )
        move = Move(
            recipe=resolve(request, latent.backbone, instructed=latent.instructed),
            latent=latent,
            strengths=request.strength if strengths is None else strengths,
            shares=None if strengths is None else request.strength,
            seed=request.seed,
            sliders=self._sliders,
            progress=progress,
        )
        directions, targets = request.loaded, request.targets(each=move.along and strengths is None)
        if len(targets) > 1:
            target_texts(latent, **request.targets(each=False)[0])  # refuses changes that contradict each other
        texts = self._texts(directions, targets)
        with latent.backbone.unchanged():
            with latent.backbone.count() as checking:
                if request.verdict or not request.force:
                    guarded(latent, force=request.force)
            guard = self._guard + checking.evaluations
            latent = fitted(latent, texts)
            if latent is not self.latent:
                session = Session(latent)
                session._guard = guard
                return session.run(request, strengths, progress=progress)
            warned = text_notes(latent.backbone, latent.left_out, [*latent.captions, *itertools.chain(*texts)])
            warn(warned)
            notes = default_note(request.method, latent.backbone, instructed=latent.instructed)
            with metered(latent.backbone) as spent:
                worded = [] if directions else texts
                aims = [Aim(captions=text, condition=embed_targets(latent, text)) for text in worded]
                moved = move.run(aims, directions)
                if strengths is not None and worded and any(one.direction.moves_nothing for one in moved.applied):
                    raise self._no_change(texts[-1])
                records = self._records(moved, texts)
                results = measured(latent, moved, records, spent, notes, guard=guard, judges=request.verdict)
        warn(note for row in results for result in row for note in result.notes if note not in warned)
        return results

    def slider(self, direction: Direction, *, arm: Arm | None = None) -> Slider:
        """The slider of one direction, with its measurements so far."""
        self.latent.check_encoders()
        editor = default_manipulation(self.latent, [direction], {} if arm is None else {"arm": arm})
        return self._sliders.of(editor, self.latent, [direction], [1.0], "sum", seed_of(direction.settings))[1]

    def request(self, **options: Any) -> EditRequest:
        """The request with these options, its direction files loaded; options of encoding are refused."""
        if late := [f"`{name}`" for name in _ENCODING if options.get(name) is not None]:
            raise ConfigError(f"the images are encoded already. Give {' and '.join(late)} to `encode`, or use `edit`")
        return read_directions(EditRequest.of(**options), self.latent.backbone)

    def _texts(self, directions: Sequence[Direction], targets: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
        """The texts to aim at, of each image one: those that directions have words for, or those of a request."""
        latent = self.latent
        if directions:
            made = [changed_captions(direction, latent) for direction in directions]
            return [tuple(new or old for new, old in zip(row, latent.captions, strict=True)) for row in made if row]
        return [target_texts(latent, **target) for target in targets]

    def _no_change(self, targets: Sequence[str]) -> ConfigError:
        texts = f"{self.latent.captions[0]!r} and {targets[0]!r}"
        return ConfigError(f"source and target captions mean the same to this model: {texts}. Name what should change")

    def _records(self, moved: Moved, texts: Sequence[Sequence[str]]) -> list[RunRecord]:
        """One record per image; `measured` adds strength and evaluations."""
        latent, editor, applied = self.latent, editor_of(moved.recipe), moved.applied
        mapped = latent.backbone.capabilities.flow_map and (moved.recipe.refine or editor.follows_map())
        settings = editor.settings_along() if applied else editor.to_dict()
        return [
            RunRecord(
                recipe=moved.recipe.plain(method=editor.name, settings=settings),
                seed=cast(int, moved.seed),
                model=ModelRecord.of(latent.backbone),
                versions=versions(),
                image=ImageRecord.of(frame.image, frame.allowed),
                instructed=latent.instructed,
                references=tuple(map(ImageRecord.of, latent.references)),
                caption=caption,
                target_caption=self._target_caption(applied, index) if applied else texts[-1][index],
                strengths=(1.0,),
                directions=tuple(self._direction_record(one, index) for one in applied),
                stepped="flow map" if mapped else "velocity",
                calibrated=moved.calibrated,
                evaluations=0,
                before=latent.provenance,
            )
            for index, (frame, caption) in enumerate(zip(latent.frames, latent.captions, strict=True))
        ]

    def _direction_record(self, applied: Applied, index: int) -> DirectionRecord:
        row, own = applied.direction.row(index), applied.found_on(self.latent, index)
        return DirectionRecord(
            fingerprint=row.fingerprint,
            method=row.method,
            settings=dict(row.settings),
            strength=applied.share,
            target_caption=row.target_captions[0] if own else _target_of(applied.part, index),
            given=not own,
        )

    def _target_caption(self, applied: Sequence[Applied], index: int) -> str:
        """All changes in one caption, or all instructions, as far as they have words; empty if none has."""
        source = self.latent.captions[index]
        targets = [text for one in applied if one.share and (text := _target_of(one.part, index))]
        if self.latent.instructed and len(targets) > 1:
            return ", ".join(dict.fromkeys(text for text in targets if text != source)) or source
        return merged(source, targets)[0] if targets else ""


def read_directions(request: EditRequest, model: Backbone | None = None) -> EditRequest:
    """The request with its direction files loaded; with a model, on its device."""
    if not request.direction:
        return request
    directions = [Direction.load(item) if isinstance(item, Path) else item for item in request.direction]
    if model is not None:
        for direction in directions:
            direction.check_model(model.name, model.fingerprint)
        directions = [direction.to(model.device) for direction in directions]
    return dataclasses.replace(request, direction=tuple(directions))


def _target_of(direction: Direction, index: int) -> str:
    """The target caption of a direction for an image; empty if it has none."""
    captions = direction.target_captions
    row = index if len(captions) > 1 else 0
    return captions[row] if row < len(captions) else ""
