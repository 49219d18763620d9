"""What an edit gives back: the picture, what changed and what did not, what it cost, how to make it again."""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from latentedit.core.cost import Cost
from latentedit.core.errors import ShapeError
from latentedit.editors.judge import Verdict
from latentedit.latents.joint import JointLatent
from latentedit.latents.record import RunRecord

CHANGED_LEVELS = 8
"""A pixel counts as changed when a channel moves by more than this many of 255 levels."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What an edit did to a picture, measured on the 8-bit pictures at their own size.

    Args:
        changed_share: share of pixels of which a colour channel moved by more than 8/255, in [0, 1].
        change_rms: root mean square of the change of those pixels, on a scale where white is 1; 0 where there are none.
        rest_psnr_db: agreement of the other pixels in dB; infinite where they are identical, or where none is left.
        read_before: attribute to value as the model's reader sees the source; None where there is no reader.
        read_after: the same for the edited picture.
    """

    changed_share: float
    change_rms: float
    rest_psnr_db: float
    read_before: Mapping[str, str] | None = None
    read_after: Mapping[str, str] | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EditResult:
    """One edited picture.

    Args:
        image: the edited picture, at the source's own size and mode.
        source: the picture as it came.
        strength: of the edit.
        method: the editor's name.
        caption: what the source shows.
        target_caption: what was asked for; empty for a direction without words.
        measured_strength: share of the whole change that was made; None for editors that do not measure it.
        verdict: did it work.
        effect: what changed.
        cross_talk: between the directions that were applied together, ``[k, k]``; None for a single one.
        latent: the edited picture, to go on from, or back.
        cost: what it took.
        notes: what the user should know about the captions.
        record: enough to make it again.
    """

    image: Image.Image
    source: Image.Image
    strength: float
    method: str
    caption: str
    target_caption: str
    measured_strength: float | None
    verdict: Verdict
    effect: Effect
    cross_talk: Float[Tensor, "k k"] | None
    latent: JointLatent
    cost: Cost
    notes: tuple[str, ...]
    record: RunRecord


def measure_effect(
    source: Image.Image,
    edited: Image.Image,
    *,
    read_before: Mapping[str, str] | None = None,
    read_after: Mapping[str, str] | None = None,
) -> Effect:
    """Compare two pictures of one size, colour channels only.

    Raises:
        ShapeError: pictures of different sizes.
    """
    if source.size != edited.size:
        raise ShapeError(f"expected two pictures of one size; got {source.size} and {edited.size}")
    before, after = (np.asarray(image.convert("RGB"), dtype=np.int16) for image in (source, edited))
    difference = after - before
    changed = np.abs(difference).max(axis=2) > CHANGED_LEVELS
    moved = difference[changed].astype(np.float64) / 255
    rest = difference[~changed].astype(np.float64) / 255
    error = float(np.mean(rest**2)) if rest.size else 0.0
    return Effect(
        changed_share=float(changed.mean()),
        change_rms=float(np.sqrt(np.mean(moved**2))) if moved.size else 0.0,
        rest_psnr_db=-10 * math.log10(error) if error > 0 else math.inf,
        read_before=read_before,
        read_after=read_after,
    )
