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

Where truth and source are the same picture, all of these are nan: nothing was asked for. Traps that all share: pixels
weigh an attribute by its area; brightness and position of what is the same to an eye are a difference; a single number
hides the strength, so compare editors at equal effect (`matched`) or report the pair of effectiveness and
decomposability.
"""

import dataclasses

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from latentedit_bench.metrics.pictures import SAME, in_double, mean_square

Pictures = Float[Tensor, "b 3 h w"]


def effect(edited: Pictures, source: Pictures, truth: Pictures) -> Float64[Tensor, " b"]:
    """``<d, u> / <u, u>``: the share of the wanted change that was made.

    Any real number: 0 nothing, 1 the whole change, above 1 too much, below 0 the other way; 1 is best. Says nothing of
    what else changed. nan where nothing was asked for.

    Raises:
        ShapeError, ImageError, DeviceError: see `in_double`.
    """
    return _effect(_changes(edited, source, truth))


def leakage(edited: Pictures, source: Pictures, truth: Pictures) -> Float64[Tensor, " b"]:
    """``|d - effect u| / |u|``: what changed beside the wanted change, in its units.

    From 0 up; lower is better. 0 for no edit at all, so it is no measure without the effect. nan where nothing was
    asked for.

    Raises:
        ShapeError, ImageError, DeviceError: see `in_double`.
    """
    return _leakage(_changes(edited, source, truth))


def decomposability(edited: Pictures, source: Pictures, truth: Pictures) -> Float64[Tensor, " b"]:
    """``|cos(d, u)| = 1 / sqrt(1 + (leakage / effect)^2)``: how much of the change is the wanted one.

    In [0, 1]; higher is better. A change q times the wanted one, orthogonal to it, on top of the whole wanted change
    gives ``1 / sqrt(1 + q^2)``. Blind to strength and to sign: the opposite edit scores 1, and so does a trace of the
    right one. nan where nothing changed (0/0; look at the effectiveness first) or nothing was asked for.

    Raises:
        ShapeError, ImageError, DeviceError: see `in_double`.
    """
    return _decomposability(_changes(edited, source, truth))


def effectiveness(edited: Pictures, source: Pictures, truth: Pictures) -> Float64[Tensor, " b"]:
    """``1 - D(edited, truth) / D(source, truth)``, clipped to [0, 1]: the share of the way to the answer.

    1 is the answer, 0 no edit and anything worse; higher is better. Leakage lowers it too. nan where nothing was asked
    for.

    Raises:
        ShapeError, ImageError, DeviceError: see `in_double`.
    """
    return _effectiveness(edited, source, truth, _changes(edited, source, truth))


def disentanglement(edited: Pictures, source: Pictures, truth: Pictures) -> Float64[Tensor, " b"]:
    """``2 Eff Dec / (Eff + Dec)``, the harmonic mean of `effectiveness` and `decomposability`.

    In [0, 1]; higher is better. 1 for the answer itself, 0 where the effectiveness is 0: no edit, the opposite edit,
    more damage than gain. Always report the pair with it: .8 of both is not 1 and .67. nan where nothing was asked for.

    Raises:
        ShapeError, ImageError, DeviceError: see `in_double`.
    """
    return all_scores(edited, source, truth)["disentanglement"]


def all_scores(edited: Pictures, source: Pictures, truth: Pictures) -> dict[str, Float64[Tensor, " b"]]:
    """The five scores of the module by their names, from one look at the pictures.

    Raises:
        ShapeError, ImageError, DeviceError: see `in_double`.
    """
    change = _changes(edited, source, truth)
    eff, dec = _effectiveness(edited, source, truth, change), _decomposability(change)
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


def _changes(edited: Pictures, source: Pictures, truth: Pictures) -> _Changes:
    edited, source, truth = in_double(edited, source, truth)
    made, wanted = (edited - source).flatten(1), (truth - source).flatten(1)
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


def _effectiveness(edited: Pictures, source: Pictures, truth: Pictures, change: _Changes) -> Float64[Tensor, " b"]:
    gained = 1 - mean_square(edited, truth) / mean_square(source, truth)
    return _known(gained.clamp(0, 1), change.asked)


def _disentanglement(eff: Float64[Tensor, " b"], dec: Float64[Tensor, " b"]) -> Float64[Tensor, " b"]:
    nothing = (eff == 0) | (dec.isnan() & ~eff.isnan())
    return torch.where(nothing, torch.zeros_like(eff), 2 * eff * dec / (eff + dec))


def _known(values: Float64[Tensor, " b"], known: Bool[Tensor, " b"]) -> Float64[Tensor, " b"]:
    return values.masked_fill(~known, torch.nan)
