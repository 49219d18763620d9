"""Did the edit do what was asked, and only that? Measured in pixels, against the rendered answer.

With the change that was wanted, ``u = truth - source``, and the one that was made, ``d = edited - source``,

    effect          <d, u> / <u, u>                            how far along the truth
    leakage         |d - effect u| / |u|                       how far beside it, in units of the wanted change
    decomposability |cos(d, u)| = 1 / sqrt(1 + (leakage / effect)^2)
    effectiveness   1 - D(edited, truth) / D(source, truth), clipped to [0, 1]
    disentanglement 2 Eff Dec / (Eff + Dec)

With ``D`` the mean squared difference, effectiveness before clipping is ``effect (2 - effect) - leakage^2``, that is
``1 - (1 - effect)^2 - leakage^2``. Derived here (the paper that names a semantic disentanglement metric, arXiv
2411.08196, does not give its formula); do not cite it as that paper's.

``floor`` is the source as the editor's codec gives it back without an edit. Where it is given, ``d = edited - floor``:
what the codec does to every picture is no edit. For ``D`` this means the edited picture less (floor - source).

Where truth and source are the same picture, all of these are nan: nothing was asked for. Traps that all share: pixels
weigh an attribute by its area; brightness and position of what is the same to an eye are a difference; a single number
hides the strength, so compare editors at equal effect (`matched`) or report the pair of effectiveness and
decomposability.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from latentedit_bench.metrics.base import PerPicture
from latentedit_bench.metrics.pictures import SAME, in_double, mean_square

Pictures = Float[Tensor, "b 3 h w"]
Distance = Callable[[Tensor, Tensor], Tensor]
"""Two batches of pictures to one number a picture: 0 for equal pictures, larger for more different ones."""


def effect(
    edited: Pictures, source: Pictures, truth: Pictures, *, floor: Pictures | None = None
) -> Float64[Tensor, " b"]:
    """``<d, u> / <u, u>``: the share of the wanted change that was made.

    Any real number: 0 nothing, 1 the whole change, above 1 too much, below 0 the other way; 1 is best. Says nothing of
    what else changed. nan where nothing was asked for.

    Raises:
        ShapeError, ImageError, DeviceError: see `in_double`.
    """
    return _effect(_changes(edited, source, truth, floor))


def leakage(
    edited: Pictures, source: Pictures, truth: Pictures, *, floor: Pictures | None = None
) -> Float64[Tensor, " b"]:
    """``|d - effect u| / |u|``: what changed beside the wanted change, in its units.

    From 0 up; lower is better. 0 for no edit at all, so it is no measure without the effect. nan where nothing was
    asked for.

    Raises:
        ShapeError, ImageError, DeviceError: see `in_double`.
    """
    return _leakage(_changes(edited, source, truth, floor))


def decomposability(
    edited: Pictures, source: Pictures, truth: Pictures, *, floor: Pictures | None = None
) -> Float64[Tensor, " b"]:
    """``|cos(d, u)| = 1 / sqrt(1 + (leakage / effect)^2)``: how much of the change is the wanted one.

    In [0, 1]; higher is better. A change q times the wanted one, orthogonal to it, on top of the whole wanted change
    gives ``1 / sqrt(1 + q^2)``. Blind to strength and to sign: the opposite edit scores 1, and so does a trace of the
    right one. nan where nothing changed (0/0; look at the effectiveness first) or nothing was asked for.

    Raises:
        ShapeError, ImageError, DeviceError: see `in_double`.
    """
    return _decomposability(_changes(edited, source, truth, floor))


def effectiveness(
    edited: Pictures,
    source: Pictures,
    truth: Pictures,
    *,
    floor: Pictures | None = None,
    distance: Distance = mean_square,
) -> Float64[Tensor, " b"]:
    """``1 - D(edited, truth) / D(source, truth)``, clipped to [0, 1]: the share of the way to the answer.

    1 is the answer, 0 no edit and anything worse; higher is better. Leakage lowers it too. Distances that saturate
    (LPIPS) or that are not squared put other numbers between the ends: compare within one distance. nan where nothing
    was asked for, or the distance of source and truth is 0.

    Args:
        edited: pictures in [-1, 1].
        source: before the edit.
        truth: the answer.
        floor: the source as the codec gives it back; see the module.
        distance: of two batches; the mean squared difference where none is given. It gets the pictures in their dtype;
            with a floor, the edited one may leave [-1, 1] by the error of the codec.

    Raises:
        ShapeError, ImageError, DeviceError: see `in_double`.
    """
    asked = _changes(edited, source, truth, floor).asked
    if floor is not None:
        edited = (edited.double() - floor.double() + source.double()).to(edited.dtype)
    return _effectiveness(edited, source, truth, distance, asked)


def disentanglement(
    edited: Pictures,
    source: Pictures,
    truth: Pictures,
    *,
    floor: Pictures | None = None,
    distance: Distance = mean_square,
) -> Float64[Tensor, " b"]:
    """``2 Eff Dec / (Eff + Dec)``, the harmonic mean of `effectiveness` and `decomposability`.

    In [0, 1]; higher is better. 1 for the answer itself, 0 where the effectiveness is 0: no edit, the opposite edit,
    more damage than gain. Always report the pair with it: .8 of both is not 1 and .67. nan where nothing was asked for.

    Args:
        edited: pictures in [-1, 1].
        source: before the edit.
        truth: the answer.
        floor: the source as the codec gives it back; see the module.
        distance: of `effectiveness`.

    Raises:
        ShapeError, ImageError, DeviceError: see `in_double`.
    """
    eff = effectiveness(edited, source, truth, floor=floor, distance=distance)
    return _disentanglement(eff, decomposability(edited, source, truth, floor=floor))


def all_scores(edited: Pictures, source: Pictures, truth: Pictures) -> dict[str, Float64[Tensor, " b"]]:
    """The five scores of the module by their names, from one look at the pictures.

    Raises:
        ShapeError, ImageError, DeviceError: see `in_double`.
    """
    change = _changes(edited, source, truth, None)
    eff, dec = _effectiveness(edited, source, truth, mean_square, change.asked), _decomposability(change)
    return {
        "effect": _effect(change),
        "leakage": _leakage(change),
        "effectiveness": eff,
        "decomposability": dec,
        "disentanglement": _disentanglement(eff, dec),
    }


def joint_gain(
    joint: Float[Tensor, " b"], text: Float[Tensor, " b"], image: Float[Tensor, " b"]
) -> Float64[Tensor, " b"]:
    """``SDE_joint - max(SDE_text, SDE_image)``: what moving both parts of the latent gives over the better one alone.

    In [-1, 1]; above 0 the joint edit is better. The maximum is taken a picture at a time, which is harder to beat than
    the better arm on average. The three must be at one strength and one level. nan where one of them is.

    Args:
        joint: `disentanglement` of the joint edit.
        text: that of the edit of the text alone.
        image: that of the edit of the image latent alone.
    """
    return joint.double() - torch.maximum(text.double(), image.double())


class Effect(PerPicture):
    """Mean of `effect` over pictures; 1 is best, so neither higher nor lower."""

    def update(self, edited: Pictures, source: Pictures, truth: Pictures, floor: Pictures | None = None) -> None:
        """Add pictures."""
        self._add(effect(edited, source, truth, floor=floor))


class Leakage(PerPicture):
    """Mean of `leakage` over pictures."""

    higher_is_better = False

    def update(self, edited: Pictures, source: Pictures, truth: Pictures, floor: Pictures | None = None) -> None:
        """Add pictures."""
        self._add(leakage(edited, source, truth, floor=floor))


class Decomposability(PerPicture):
    """Mean of `decomposability` over the pictures that changed; look at ``undefined`` for how many did not."""

    higher_is_better = True

    def update(self, edited: Pictures, source: Pictures, truth: Pictures, floor: Pictures | None = None) -> None:
        """Add pictures."""
        self._add(decomposability(edited, source, truth, floor=floor))


class Effectiveness(PerPicture):
    """Mean of `effectiveness` over pictures.

    Args:
        distance: of two batches of pictures.
        settings: those of ``torchmetrics.Metric``.
    """

    higher_is_better = True

    def __init__(self, *, distance: Distance = mean_square, **settings: Any) -> None:
        super().__init__(**settings)
        self.distance = distance

    def update(self, edited: Pictures, source: Pictures, truth: Pictures, floor: Pictures | None = None) -> None:
        """Add pictures."""
        self._add(effectiveness(edited, source, truth, floor=floor, distance=self.distance))


class Disentanglement(PerPicture):
    """Mean of `disentanglement` over pictures: of the harmonic means, not the harmonic mean of the means.

    Args:
        distance: of two batches of pictures.
        settings: those of ``torchmetrics.Metric``.
    """

    higher_is_better = True

    def __init__(self, *, distance: Distance = mean_square, **settings: Any) -> None:
        super().__init__(**settings)
        self.distance = distance

    def update(self, edited: Pictures, source: Pictures, truth: Pictures, floor: Pictures | None = None) -> None:
        """Add pictures."""
        self._add(disentanglement(edited, source, truth, floor=floor, distance=self.distance))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Changes:
    """The change made and the one wanted, their inner products, and whether there is either."""

    made: Float64[Tensor, "b n"]
    wanted: Float64[Tensor, "b n"]
    made_square: Float64[Tensor, " b"]
    wanted_square: Float64[Tensor, " b"]
    product: Float64[Tensor, " b"]
    asked: Bool[Tensor, " b"]
    changed: Bool[Tensor, " b"]


def _changes(edited: Pictures, source: Pictures, truth: Pictures, floor: Pictures | None) -> _Changes:
    edited, source, truth, start = in_double(edited, source, truth, source if floor is None else floor)
    made, wanted = (edited - start).flatten(1), (truth - source).flatten(1)
    made_square, wanted_square = made.square().sum(1), wanted.square().sum(1)
    least = SAME**2 * made.shape[1]
    return _Changes(
        made=made,
        wanted=wanted,
        made_square=made_square,
        wanted_square=wanted_square,
        product=(made * wanted).sum(1),
        asked=wanted_square > least,
        changed=made_square > least,
    )


def _effect(change: _Changes) -> Float64[Tensor, " b"]:
    return _known(change.product / change.wanted_square, change.asked)


def _leakage(change: _Changes) -> Float64[Tensor, " b"]:
    share = change.product / change.wanted_square
    beside = torch.linalg.vector_norm(change.made - share[:, None] * change.wanted, dim=1)
    return _known(beside / change.wanted_square.sqrt(), change.asked)


def _decomposability(change: _Changes) -> Float64[Tensor, " b"]:
    lengths = (change.made_square * change.wanted_square).sqrt()
    return _known((change.product.abs() / lengths).clamp(max=1), change.asked & change.changed)


def _effectiveness(
    edited: Pictures, source: Pictures, truth: Pictures, distance: Distance, asked: Bool[Tensor, " b"]
) -> Float64[Tensor, " b"]:
    whole = distance(source, truth).double()
    gained = 1 - distance(edited, truth).double() / whole
    return _known(gained.clamp(0, 1), asked & (whole > 0))


def _disentanglement(eff: Float64[Tensor, " b"], dec: Float64[Tensor, " b"]) -> Float64[Tensor, " b"]:
    nothing = (eff == 0) | (dec.isnan() & ~eff.isnan())
    return torch.where(nothing, torch.zeros_like(eff), 2 * eff * dec / (eff + dec))


def _known(values: Float64[Tensor, " b"], known: Bool[Tensor, " b"]) -> Float64[Tensor, " b"]:
    return values.masked_fill(~known, torch.nan)
