"""Did the edit make the requested change, and only that? Measured in pixels, against the rendered answer.

With the change that was wanted, ``u = truth - source``, and the one that was made, ``d = edited - source``,

    effect          <d, u> / <u, u>                            how far along the truth
    leakage         |d - effect u| / |u|                       how far off it, in units of the wanted change
    decomposability |cos(d, u)| = 1 / sqrt(1 + (leakage / effect)^2)
    effectiveness   1 - D(edited, truth) / D(source, truth), clipped to [0, 1]
    disentanglement 2 Eff Dec / (Eff + Dec)
    error           D(edited, truth) / D(source, truth)        how far from the answer, in units of the wanted change

With ``D`` the mean squared difference, the error is ``(1 - effect)^2 + leakage^2``, and effectiveness before clipping
``effect (2 - effect) - leakage^2``. Derived here (the paper that names a semantic disentanglement metric, arXiv
2411.08196, does not give its formula); do not cite it as that paper's.

Where truth and source are the same image, all of these are nan: no change was requested. Traps that all share: pixels
weigh an attribute by its area; brightness and position of what is the same to an eye are a difference; a single number
hides the strength, so compare editors at equal effect (`matched`) or report the pair of effectiveness and
decomposability: .8 of both is not 1 and .67.
"""

import torch
from jaxtyping import Float64
from torch import Tensor

from latentedit_bench.metrics.images import SAME, Images, in_double, mean_square


def all_scores(edited: Images, source: Images, truth: Images) -> dict[str, Float64[Tensor, " b"]]:
    """The six scores of the module by their names.

    "effect" is any real number: 0 nothing, 1 the whole change and best, above 1 too much, below 0 the other way. It
    says nothing of what else changed: that is "leakage", from 0 up, lower is better; 0 for no edit at all.
    "decomposability" is in [0, 1], higher is better. A change q times the wanted one, orthogonal to it, on top of the
    whole wanted change gives ``1 / sqrt(1 + q^2)``. It is blind to strength and to sign: the opposite edit scores 1,
    and so does a trace of the right one. nan where nothing changed. "effectiveness" is in [0, 1], 1 is the answer, 0 no
    edit and anything worse; leakage lowers it too. "disentanglement" is in [0, 1]: 1 for the answer itself, 0 for no
    edit, the opposite edit, and more damage than gain. "error" is from 0 up, lower is better: 0 is the answer, 1 what
    no edit scores, above 1 the edit did more harm than good. What the codec loses counts as an error, and where the
    wanted change is small that alone can pass 1.
    """
    edited, source, truth = in_double(edited, source, truth)
    made, wanted = (edited - source).flatten(1), (truth - source).flatten(1)
    product, made_square, wanted_square = ((a * b).sum(1) for a, b in ((made, wanted), (made, made), (wanted, wanted)))
    least = SAME**2 * made.shape[1]
    effect = product / wanted_square
    off = torch.linalg.vector_norm(made - effect[:, None] * wanted, dim=1)
    error = mean_square(edited, truth) / mean_square(source, truth)
    effectiveness = (1 - error).clamp(0, 1)
    cosine = (product.abs() / (made_square * wanted_square).sqrt()).clamp(max=1)
    decomposability = cosine.masked_fill(made_square <= least, torch.nan)
    scores = {
        "effect": effect,
        "leakage": off / wanted_square.sqrt(),
        "effectiveness": effectiveness,
        "decomposability": decomposability,
        "disentanglement": harmonic_mean(effectiveness, decomposability),
        "error": error,
    }
    return {name: values.masked_fill(wanted_square <= least, torch.nan) for name, values in scores.items()}


def harmonic_mean(
    effectiveness: Float64[Tensor, " b"], decomposability: Float64[Tensor, " b"]
) -> Float64[Tensor, " b"]:
    """``2 Eff Dec / (Eff + Dec)``; 0 without effectiveness, and where nothing changed."""
    mean = 2 * effectiveness * decomposability / (effectiveness + decomposability)
    return mean.masked_fill((effectiveness == 0) | decomposability.isnan(), 0)
