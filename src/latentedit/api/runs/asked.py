"""What is asked of pictures, one or many, from the command line: any editor towards words, or directions together."""

import dataclasses
from collections.abc import Sequence

from latentedit.api import verbs
from latentedit.api.measure import metered
from latentedit.api.result import EditResult
from latentedit.core.condition import Condition
from latentedit.core.errors import ConfigError
from latentedit.core.progress import Progress
from latentedit.directions.base import Direction
from latentedit.directions.composition import Mixing
from latentedit.editors.eim import EIM
from latentedit.latents.captions.base import Captioner
from latentedit.latents.captions.targets import target_captions
from latentedit.latents.encode import encode
from latentedit.latents.masks import MaskLike
from latentedit.latents.pictures import Picture
from latentedit.models.base import Backbone


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asked:
    """What is asked of every picture.

    Args:
        changes: "OLD => NEW" in the caption; none where each picture has a target caption, or there are directions.
        directions: from files; for any device.
        strengths: one for all, or one for each change or direction.
        method: the editor's name.
        mixing: how several changes or directions are put together.
        local: keep the change to where it is strong; None for what suits the method.
        seed: of every random number.

    Raises:
        ConfigError: an editor that knows texts only, and directions or several strengths for it.
    """

    changes: tuple[str, ...] = ()
    directions: tuple[Direction, ...] = ()
    strengths: tuple[float, ...] = (1.0,)
    method: str = EIM.name
    mixing: Mixing = "sum"
    local: bool | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method == EIM.name:
            return
        if self.directions:
            raise ConfigError(f"expected --method eim with --direction; got {self.method!r}, which knows texts only")
        if len(set(self.strengths)) > 1:
            raise ConfigError(f"expected one --strength for method {self.method!r}; got several. Several need eim")

    @property
    def composed(self) -> bool:
        """Several directions are put together, each with a strength of its own: from files, or of several changes."""
        return bool(self.directions) or (len(self.changes) > 1 and self.method == EIM.name)

    def edit(
        self,
        model: Backbone,
        pictures: Sequence[Picture],
        *,
        captions: Sequence[str] | None,
        targets: Sequence[str] | None,
        captioner: str | Captioner | None = None,
        mask: MaskLike | None = None,
        progress: Progress | None = None,
    ) -> list[EditResult]:
        """One result a picture.

        Directions that are put together are found and applied picture by picture: what suits them depends on the
        pictures that they meet.

        Args:
            model: from `verbs.load`.
            pictures: of any sizes.
            captions: what they show; None to have them read.
            targets: what they should show; None where there are changes or directions.
            captioner: who reads.
            mask: where the pictures may change.
            progress: told about each step.

        Raises:
            LatentEditError: any input that makes no sense, in words for the user.
        """
        if self.composed:
            each = captions if captions is not None else [None] * len(pictures)
            return [
                self._compose(model, picture, caption, captioner, mask, progress)
                for picture, caption in zip(pictures, each, strict=True)
            ]
        results = verbs.edit(
            model,
            pictures,
            to=targets,
            change=self.changes or None,
            caption=captions,
            captioner=captioner,
            mask=mask,
            strength=self.strengths[0],
            method=self.method,
            local=self.local,
            seed=self.seed,
            progress=progress,
        )
        assert isinstance(results, list), "a list of pictures gives a list of results"
        return results

    def _compose(
        self,
        model: Backbone,
        picture: Picture,
        caption: str | None,
        captioner: str | Captioner | None,
        mask: MaskLike | None,
        progress: Progress | None,
    ) -> EditResult:
        given = [_on(direction, model) for direction in self.directions]
        latent = encode(model, picture, caption=caption, captioner=captioner, mask=mask)
        if not given:
            target_captions(model, latent.captions, to=None, change=self.changes)  # refuses what contradicts itself
        with metered(model) as meter:
            directions = given or [
                verbs.identify(latent, change=change, seed=self.seed, progress=progress) for change in self.changes
            ]
            local = self.local is not False
            strength = self.strengths[0] if len(self.strengths) == 1 else self.strengths
            result = verbs.manipulate(
                latent, directions, strength=strength, mixing=self.mixing, local=local, progress=progress
            )
            evaluations, seconds = meter.read()
        assert not isinstance(result, list), "one picture gives one result"
        spent = evaluations - result.cost.verdict_evaluations
        return dataclasses.replace(result, cost=dataclasses.replace(result.cost, evaluations=spent, seconds=seconds))


def _on(direction: Direction, model: Backbone) -> Direction:
    """The direction on the device of the model."""
    direction.check_model(model.name, model.fingerprint)
    text = direction.condition
    return dataclasses.replace(
        direction,
        z=direction.z.to(model.device),
        condition=Condition(tokens=text.tokens.to(model.device), pooled=text.pooled.to(model.device)),
        feature=None if direction.feature is None else direction.feature.to(model.device),
    )
