"""What does the Hessian do to a direction? The claims of the derivation, measured on rendered portraits.

    python benchmarks/hsds_calibration.py    -> results/hsds-calibration.json and .md

1. One look at each of several levels, under full and partial captions: the gamma family, Newton,
   Levenberg-Marquardt and Neumann against the truth, at matched effect.
2. A verdict on each claim, by one rule: a number that is positive where the claim is true, "holds" where its 95 %
   bootstrap interval over pairs lies above 0, "fails" where it lies below, "undecided" otherwise. "sin^2" is that of
   the angle between direction and truth, error / (1 + error) of the error at matched effect: it needs no cap.
3. Are text differences unit vectors, and orthogonal? And are the image directions?

Calibration split only. Pairs of one portrait are not independent, so intervals are somewhat too narrow.
"""

import argparse
import dataclasses
import random
import sys
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
import torch
from edit_errors import (
    CAP,
    Array,
    Watch,
    cell,
    claim,
    cosines,
    described,
    interval,
    latent_errors,
    matched,
    norms,
    rank_correlation,
    readings,
    save,
    table,
)
from edit_pairs import CHANGES, Batch, draw_pairs, encode_all, partial_captions
from jaxtyping import Float
from torch import Tensor

from latentedit.core.linalg.algebra import Mean
from latentedit.core.linalg.operator import LinearOperator
from latentedit.core.rng import stream
from latentedit.core.types import Condition
from latentedit.directions.distillation import Distillation, Residual
from latentedit.directions.filters import (
    Filtered,
    gamma_family,
    levenberg_marquardt,
    neumann,
    newton,
    summarise,
)
from latentedit.directions.hsds import HSDS
from latentedit.directions.identification import identify
from latentedit.directions.preserve import project
from latentedit.directions.text import align_captions
from latentedit.directions.text_geometry import orthogonality_test, unit_vector_test
from latentedit.latents.joint import JointLatent
from latentedit.models.base import Backbone
from latentedit.models.derivatives import curvature
from latentedit.models.registry import bundled_folder, load
from latentedit_portraits.attributes import NONE, Attributes, draw_split
from latentedit_portraits.captions import full_caption, words_of
from latentedit_portraits.reader import PortraitReader

LEVELS = (0.2, 0.35, 0.5, 0.7, 0.85, 0.95)
LOW = (0.2, 0.35, 0.5)
HIGH = (0.7, 0.85, 0.95)
SECOND_ORDER = (0.2, 0.35, 0.5, 0.7)
TEXT_LEVELS = (0.35, 0.5, 0.7, 0.95)
GAMMAS = (-1.0, -0.5, 0.0, 0.5, 1.0)
DAMPINGS = (0.02, 0.1, 0.3, 1.0)
ALPHAS = (0.25, 0.5, 0.75, 1.0)
NOISES = 4
CAPTIONS = ("full", "partial")
CONTROLS = ("another's Hessian", "another's residual")
CONTROLLED = (-0.5, 1.0)
FLOW = HSDS(levels=(0.99, 0.0), shift=2.5, steps=7, step_size=None, noises=2, antithetic=True)
CONTEXTS = 24
FROM_TO = {
    "glasses": ("accessory", NONE, "glasses"),
    "beard": ("facial_hair", NONE, "beard"),
    "mouth": ("mouth", "smile", "sad"),
    "hair color": ("hair_color", "brown", "pink"),
    "clothes color": ("clothes_color", "red", "blue"),
    "background": ("background", "blue", "pink"),
}
"""One change of each kind with fixed values: attribute, from, to."""

Key = tuple[float, str, str]
"""Level, captions, method."""

_NEW = 1e-4


class Remembered(LinearOperator):
    """An operator that is applied only to what is new in a vector; the rest follows from earlier products, by law 1.

    All filters look into one Krylov space, so most of their products are known after the first filter.

    Args:
        operator: A. Parts of a vector below 1e-4 of its norm do not count as new.
    """

    def __init__(self, operator: LinearOperator) -> None:
        super().__init__(shape=operator.shape, dtype=operator.dtype, device=operator.device)
        self._operator = operator
        self._known: list[tuple[Tensor, Tensor]] = []

    def _matvec(self, u: Tensor) -> Tensor:
        rest = u.flatten(1).to(torch.float64)
        least, image = _NEW * torch.linalg.vector_norm(rest, dim=1, keepdim=True), torch.zeros_like(rest)
        for basis, product in self._known:
            along = (rest * basis).sum(1, keepdim=True)
            rest, image = rest - along * basis, image + along * product
        length = torch.linalg.vector_norm(rest, dim=1, keepdim=True)
        if bool((length > least).any()):
            basis = torch.where(length > least, rest / length.clamp_min(1e-300), 0.0)
            product = self._operator.matvec(basis.to(u.dtype).reshape(u.shape)).flatten(1).to(torch.float64)
            self._known.append((basis, product))
            image = image + torch.where(length > least, length * product, 0.0)
        return image.to(u.dtype).reshape(u.shape)

    def _rmatvec(self, u: Tensor) -> Tensor:
        return self._operator.rmatvec(u)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """What one look at every level found.

    Args:
        batch: the pairs, with full captions.
        directions: averaged over noises, one a pair.
        curved: what each method saw of A.
    """

    batch: Batch
    directions: dict[Key, Float[Tensor, "b *latent"]]
    curved: dict[Key, Filtered]

    @property
    def truth(self) -> Float[Tensor, "b *latent"]:
        """The displacement to the truth."""
        return self.batch.truth_z - self.batch.latent.z

    def error(self, level: float, captions: str, method: str) -> Array:
        """sin^2 of the angle to the truth."""
        return matched(self.directions[level, captions, method], self.truth).sine_squared

    def outside(self, level: float, captions: str, method: str) -> Array:
        """Their part outside the truth's region."""
        return matched(self.directions[level, captions, method], self.truth).outside

    def mean_error(self, levels: Sequence[float], captions: str, method: str) -> Array:
        """The same, averaged over levels."""
        return np.mean([self.error(level, captions, method) for level in levels], axis=0)

    def best_level(self) -> float:
        """Where plain delta denoising under full captions errs least."""
        return min(LEVELS, key=lambda level: float(self.error(level, "full", gamma_name(0.0)).mean()))


def gamma_name(gamma: float) -> str:
    """What the tables call a member of the family."""
    return f"gamma {gamma:g}"


def noise_of(level: float, latent: JointLatent, seed: int) -> Float[Tensor, "m *latent"]:
    """The noises that all methods, captions and levels share."""
    config = HSDS(levels=(level, level), steps=1, noises=NOISES, antithetic=True)
    return config.draw(latent.z.shape[1:], seed=seed, index=0).to(latent.z.device, latent.z.dtype)


def look(seen: Seen, latent: JointLatent, target: Condition, level: float, captions: str, seed: int) -> None:
    """Residual and one product with A; under full captions the second-order filters and the text's curve as well."""
    noise = noise_of(level, latent, seed)
    pull = Distillation(latent=latent, target=target).at(None, level, noise)
    hessian = curvature(pull.jacobian, level)
    kept = gamma_family(pull.wanted, hessian, -1.0)
    residual = pull.wanted.mean(0)
    for gamma in GAMMAS:
        seen.directions[level, captions, gamma_name(gamma)] = residual + gamma * (residual - kept.value)
    # At y = x, where everything starts, the two residuals differ by what the source estimate leaves of the picture.
    seen.directions[level, captions, "sds"] = (pull.wanted - pull.unexplained).mean(0)
    seen.curved[level, captions, "gamma"] = kept
    if captions == "partial":
        return
    mean = Remembered(Mean(hessian, NOISES))
    found = {"newton 0.3": newton(residual, mean, damping=0.3, iterations=3)}
    if level in SECOND_ORDER:
        found |= {f"newton {mu:g}": newton(residual, mean, damping=mu, iterations=3) for mu in DAMPINGS}
        found |= {f"lm {mu:g}": levenberg_marquardt(residual, mean, damping=mu, iterations=3) for mu in (0.3, 1.0)}
        found["neumann 2"] = neumann(residual, mean, terms=2)
    for name, filtered in found.items():
        seen.directions[level, captions, name] = filtered.value
        seen.curved[level, captions, name] = filtered
    if level in TEXT_LEVELS:
        part: tuple[tuple[str, float, Residual], ...] = tuple((f"alpha {a:g}", a, "dds") for a in ALPHAS[:-1])
        for name, alpha, kind in (*part, ("mixed", 1.0, "mixed")):
            wanted = Distillation(latent=latent, target=latent.condition.lerp(target, alpha), residual=kind)
            seen.directions[level, captions, name] = wanted.at(None, level, noise).wanted.mean(0)


def collect(model: Backbone, batch: Batch, seed: int, watch: Watch) -> Seen:
    """All one-look directions."""
    seen = Seen(batch=batch, directions={}, curved={})
    texts = [partial_captions(pair, f"{seed}/{number}") for number, pair in enumerate(batch.pairs)]
    sources = tuple(source for source, _ in texts)
    partial = dataclasses.replace(batch.latent, condition=model.embed(sources), captions=sources, known={})
    wanted = {"full": batch.target, "partial": model.embed([target for _, target in texts])}
    for level in LEVELS:
        for captions, latent in (("full", batch.latent), ("partial", partial)):
            look(seen, latent, wanted[captions], level, captions, seed)
            watch(f"level {level:g}, {captions} captions")
    return seen


def project_out(seen: Seen, level: float) -> None:
    """Both directions of a level without what the five other changes of the same portrait ask for, full captions."""
    changes, count = len(CHANGES), len(seen.batch.pairs)
    asked = seen.directions[level, "full", gamma_name(0.0)].unflatten(0, (-1, changes))
    others = [[other for other in range(changes) if other != change] for change in range(changes)]
    columns = torch.stack([asked[i // changes, others[i % changes]] for i in range(count)], dim=1)
    for captions in CAPTIONS:
        direction = seen.directions[level, captions, gamma_name(0.0)]
        seen.directions[level, captions, "projected"] = project(direction, columns, columns)


def overlaps(seen: Seen, level: float) -> Array:
    """The largest |cosine| of each pair's residual with those of the portrait's other changes, full captions."""
    return np.array([np.abs(np.delete(row, i % len(CHANGES))).max() for i, row in enumerate(_grams(seen, level))])


def _grams(seen: Seen, level: float) -> Array:
    """Row i: cosines of pair i's residual with those of all changes of its portrait."""
    asked = seen.directions[level, "full", gamma_name(0.0)].double().flatten(1)
    unit = torch.nn.functional.normalize(asked, dim=1).unflatten(0, (-1, len(CHANGES)))
    return (unit @ unit.mT).flatten(0, 1).cpu().numpy()


def controlled(batch: Batch, config: HSDS, seed: int, control: str) -> Float[Tensor, "b *latent"]:
    """`identify` with a Hessian term that knows nothing of the picture's own edit, at the same cost.

    - another's Hessian: A of the same change in the next portrait, applied to the own residual; a symmetric filter of
      the same kind of spectrum in other directions.
    - another's residual: the own A, applied to that portrait's residual, scaled to the own residual's norm.
    """
    count = len(batch.pairs)
    step_on = len(CHANGES) if count > len(CHANGES) else 1
    distillation = Distillation(latent=batch.latent, target=batch.target)
    moved = torch.zeros_like(batch.latent.z)
    for index, (level, step) in enumerate(config.path()):
        noise = config.draw(moved.shape[1:], seed=seed, index=index).to(moved)
        pull = distillation.at(moved if index else None, level, noise)
        hessian, r = curvature(pull.jacobian, level), pull.wanted
        if control == "another's Hessian":
            lent = r.roll(step_on, dims=1)
            image = hessian.matvec(lent.flatten(0, 1)).unflatten(0, r.shape[:2])
            term = (lent - image).roll(-step_on, dims=1)
        else:
            other = r.roll(-step_on, dims=1)
            size, own = (torch.linalg.vector_norm(x.flatten(2), dim=2)[..., None, None, None] for x in (other, r))
            other = other * own / size.clamp_min(1e-12)
            term = other - hessian.matvec(other.flatten(0, 1)).unflatten(0, r.shape[:2])
        moved = moved + step * (r + config.gamma * term).mean(0)
    return moved


def equal_cost(batch: Batch, seed: int, watch: Watch) -> dict[str, Tensor]:
    """Annealed searches of 56 evaluations a picture, and the plain one of 28."""
    settings = {
        "gamma 0, 28 evaluations": FLOW,
        "gamma 0, twice the steps": dataclasses.replace(FLOW, steps=2 * FLOW.steps),
        "gamma 0, twice the noises": dataclasses.replace(FLOW, noises=2 * FLOW.noises),
    }
    settings |= {gamma_name(gamma): dataclasses.replace(FLOW, gamma=gamma) for gamma in (-1.0, -0.5, 1.0)}
    found: dict[str, Tensor] = {}
    for name, config in settings.items():
        found[name] = identify(batch.latent, batch.target, config, seed=seed).z
        watch(f"annealed, {name}: {config.evaluations()} a picture")
    for control in CONTROLS:
        for gamma in CONTROLLED:
            found[f"{gamma_name(gamma)}, {control}"] = controlled(
                batch, dataclasses.replace(FLOW, gamma=gamma), seed, control
            )
            watch(f"annealed, gamma {gamma:g}, {control}")
    return found


def best_gammas(seen: Seen, level: float, captions: str) -> Array:
    """The gamma of largest cosine with the truth, pair by pair."""
    found = np.stack([cosines(seen.directions[level, captions, gamma_name(gamma)], seen.truth) for gamma in GAMMAS])
    return np.array(GAMMAS)[found.argmax(0)]


def rayleighs(seen: Seen, level: float, captions: str) -> Array:
    """``r^T A r / r^T r`` of each pair."""
    return seen.curved[level, captions, "gamma"].rayleigh.double().cpu().numpy()


def family_claims(seen: Seen) -> list[dict[str, Any]]:
    """C1 to C4: what is distilled, and which gamma."""
    plain_name, minus, plus = gamma_name(0.0), gamma_name(-1.0), gamma_name(1.0)

    def gain(levels: Sequence[float], captions: str, method: str) -> Array:
        return seen.mean_error(levels, captions, plain_name) - seen.mean_error(levels, captions, method)

    sds = {
        captions: seen.mean_error(LEVELS, captions, "sds") - seen.mean_error(LEVELS, captions, plain_name)
        for captions in CAPTIONS
    }
    rho = np.mean([rayleighs(seen, level, "full") for level in LOW], axis=0)
    return [
        claim(
            "C1",
            "SDS moves what the caption leaves open; DDS does not",
            "sin^2 of SDS minus that of DDS, mean over levels, partial captions",
            described(sds["partial"]),
            full_captions=described(sds["full"]),
        ),
        claim(
            "C2",
            "Newton's side helps under full captions at low levels",
            f"sin^2 of gamma 0 minus that of gamma 1, full captions, levels {LOW}",
            described(gain(LOW, "full", plus)),
            partial_captions=described(gain(LOW, "partial", plus)),
            high_levels=described(gain(HIGH, "full", plus)),
            rank_correlation_with_rayleigh=interval(rank_correlation, np.stack([gain(LOW, "full", plus), rho], axis=1)),
        ),
        claim(
            "C3",
            "keeping the Hessian helps under partial captions at high levels",
            f"sin^2 of gamma 0 minus that of gamma -1, partial captions, levels {HIGH}",
            described(gain(HIGH, "partial", minus)),
            gamma_half=described(gain(HIGH, "partial", gamma_name(-0.5))),
            full_captions=described(gain(HIGH, "full", minus)),
            low_levels=described(gain(LOW, "partial", minus)),
        ),
        gamma_claim(seen),
        merging_claim(seen),
    ]


def gamma_claim(seen: Seen) -> dict[str, Any]:
    """What C2 and C3 say together: which gamma is best depends on how far the source text pins the edit."""
    both = [(level, captions) for level in LEVELS for captions in CAPTIONS]
    change = np.arange(len(seen.batch.pairs)) % len(CHANGES)
    points = np.array(
        [
            (
                best_gammas(seen, level, captions)[change == c].mean(),
                rayleighs(seen, level, captions)[change == c].mean(),
            )
            for level, captions in both
            for c in range(len(CHANGES))
        ]
    )
    pairwise = np.stack(
        [np.mean([f(seen, *at) for at in both], axis=0) for f in (best_gammas, rayleighs)],
        axis=1,
    )
    return claim(
        "C2, C3",
        "the less the source text pins an edit (low Rayleigh quotient), the larger its best gamma",
        "minus the rank correlation of best gamma and Rayleigh quotient over pairs (means over levels, captions)",
        interval(lambda rows: -rank_correlation(rows), pairwise),
        over_changes_levels_captions=-rank_correlation(points),
    )


def merging_claim(seen: Seen) -> dict[str, Any]:
    """C4: what is left of the filters towards pure noise."""
    plain_name = gamma_name(0.0)
    turned = {
        level: 1 - cosines(seen.directions[level, "full", "newton 0.3"], seen.directions[level, "full", plain_name])
        for level in LEVELS
    }
    ratio = {
        level: norms(seen.directions[level, "full", gamma_name(1.0)])
        / norms(seen.directions[level, "full", plain_name])
        for level in LEVELS
    }
    return claim(
        "C4",
        "no filter matters towards pure noise",
        f"1 - cosine(Newton .3, DDS) at level {LEVELS[0]} minus twice that at {LEVELS[-1]}: it at least halves",
        described(turned[LEVELS[0]] - 2 * turned[LEVELS[-1]]),
        one_minus_cosine={level: described(values) for level, values in turned.items()},
        norm_of_gamma_1_to_DDS={level: described(values) for level, values in ratio.items()},
    )


def damping_claim(seen: Seen) -> dict[str, Any]:
    """C5: Newton without damping where A is indefinite."""
    by_name = {
        name: described(seen.mean_error(SECOND_ORDER, "full", name))
        for name in (gamma_name(0.0), *(f"newton {mu:g}" for mu in DAMPINGS), "lm 0.3", "lm 1", "neumann 2")
    }
    small, large = (seen.mean_error(SECOND_ORDER, "full", f"newton {mu:g}") for mu in (DAMPINGS[0], DAMPINGS[-1]))
    negative = {level: negative_share(seen, level, f"newton {DAMPINGS[0]:g}") for level in SECOND_ORDER}
    indefinite = np.mean(list(negative.values()), axis=0) > 0
    harm = small - large
    return claim(
        "C5",
        "little damping harms",
        f"sin^2 of Newton {DAMPINGS[0]:g} minus that of Newton {DAMPINGS[-1]:g}, full captions, levels {SECOND_ORDER}",
        described(harm),
        errors=by_name,
        against_lm=described(small - seen.mean_error(SECOND_ORDER, "full", "lm 0.3")),
        pairs_with_negative_curvature=int(indefinite.sum()),
        harm_with=described(harm[indefinite]),
        harm_without=described(harm[~indefinite]),
        negative_share={level: described(share) for level, share in negative.items()},
    )


def negative_share(seen: Seen, level: float, method: str) -> Array:
    """Share of each pair's products that met negative curvature."""
    curved = summarise([seen.curved[level, "full", method]])
    assert curved is not None
    return curved.negative_share.double().cpu().numpy()


def projection_claims(model: Backbone, reader: PortraitReader, seen: Seen) -> list[dict[str, Any]]:
    """C6 and C7, at the level where DDS errs least."""
    level = seen.best_level()
    grid = [(captions, method) for captions in CAPTIONS for method in (gamma_name(0.0), "projected")]
    read: dict[tuple[str, str], dict[str, Any]] = {}
    others: dict[tuple[str, str], Array] = {}
    for captions, method in grid:
        direction = seen.directions[level, captions, method]
        found = matched(direction, seen.truth)
        scale = torch.from_numpy(np.nan_to_num(found.scale, nan=1.0)).to(direction)[:, None, None, None]
        done, others[captions, method] = readings(model, reader, seen.batch, seen.batch.latent.z + scale * direction)
        read[captions, method] = {
            "error": described(found.error),
            "outside": described(found.outside),
            "failed": found.failed,
            "done": described(done),
            "others_changed": described(others[captions, method]),
        }
    leak = seen.outside(level, "partial", "projected") - seen.outside(level, "full", gamma_name(0.0))
    rise = seen.outside(level, "full", "projected") - seen.outside(level, "full", gamma_name(0.0))
    worse = seen.error(level, "full", "projected") - seen.error(level, "full", gamma_name(0.0))
    overlap = overlaps(seen, level)
    return [
        claim(
            "C6",
            "full captions leak less than partial ones with projection",
            f"error outside the truth, projected partial minus full DDS, level {level:g}",
            described(leak),
            others_changed=described(others["partial", "projected"] - others["full", gamma_name(0.0)]),
            two_by_two=read,
        ),
        claim(
            "C7",
            "projection leaks more the more attributes overlap",
            f"rank correlation of the rise of error outside and the largest |cosine|, full captions, level {level:g}",
            interval(rank_correlation, np.stack([rise, overlap], axis=1)),
            rise_outside=described(rise),
            rise_of_error=described(worse),
            correlation_with_rise_of_error=interval(rank_correlation, np.stack([worse, overlap], axis=1)),
            largest_cosine=described(overlap),
        ),
    ]


def text_claims(seen: Seen) -> list[dict[str, Any]]:
    """C8: the derivative along the text, and the curve of differences."""
    near, whole = {}, {}
    for level in TEXT_LEVELS:
        mixed = seen.directions[level, "full", "mixed"]
        near[level] = cosines(mixed, seen.directions[level, "full", f"alpha {ALPHAS[0]:g}"])
        whole[level] = cosines(mixed, seen.directions[level, "full", gamma_name(0.0)])
    curve = {
        level: {
            alpha: described(
                norms(seen.directions[level, "full", f"alpha {alpha:g}"])
                / norms(seen.directions[level, "full", gamma_name(0.0)])
            )
            for alpha in ALPHAS[:-1]
        }
        for level in TEXT_LEVELS
    }
    errors = {level: described(seen.error(level, "full", "mixed")) for level in TEXT_LEVELS}
    return [
        claim(
            "C8",
            "the mixed Hessian gives the direction of DDS for small changes of text",
            f"cosine(mixed, dS({ALPHAS[0]:g})) minus .95, mean over levels {TEXT_LEVELS}",
            described(np.mean(list(near.values()), axis=0) - 0.95),
            cosine_near={level: described(values) for level, values in near.items()},
            cosine_with_DDS={level: described(values) for level, values in whole.items()},
            norm_curve=curve,
            error_of_mixed=errors,
        ),
        claim(
            "C8, whole",
            "the mixed Hessian gives the direction of DDS for the whole change of text",
            f"cosine(mixed, DDS) minus .95, mean over levels {TEXT_LEVELS}",
            described(np.mean(list(whole.values()), axis=0) - 0.95),
        ),
    ]


def cost_claim(
    model: Backbone, reader: PortraitReader, seen: Seen, found: dict[str, Tensor]
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """C10, and the table of the annealed searches."""
    read: dict[str, dict[str, Any]] = {}
    errors: dict[str, Array] = {}
    for name, moved in found.items():
        z = seen.batch.latent.z + moved
        done, others = readings(model, reader, seen.batch, z)
        at_effect = matched(moved, seen.truth)
        errors[name] = at_effect.sine_squared
        read[name] = {
            "error": described(at_effect.error),
            "outside": described(at_effect.outside),
            "cosine": described(at_effect.cosine),
            "R": described(latent_errors(z, seen.batch)),
            "done": described(done),
            "others_changed": described(others),
        }

    def best(names: Sequence[str]) -> str:
        return min(names, key=lambda name: float(errors[name].mean()))

    ours = best([gamma_name(gamma) for gamma in (-1.0, -0.5, 1.0)])
    plainly = best(["gamma 0, twice the steps", "gamma 0, twice the noises"])
    row = claim(
        "C10",
        "the gain is the Hessian's and not the evaluations'",
        f"sin^2, {plainly} minus {ours}: the better of two and the best of three, on these pairs",
        described(errors[plainly] - errors[ours]),
        against_half_the_cost=described(errors["gamma 0, 28 evaluations"] - errors[ours]),
        controls_minus_own={
            f"{gamma_name(gamma)}, {control}": described(
                errors[f"{gamma_name(gamma)}, {control}"] - errors[gamma_name(gamma)]
            )
            for gamma in CONTROLLED
            for control in CONTROLS
        },
    )
    return row, read


def changed_tokens(source: str, target: str) -> int:
    """Places at which the words of two captions differ."""
    return sum(old != new for old, new in zip_longest(words_of(source), words_of(target)))


def caption_pairs(pool: Sequence[Attributes], generator: random.Random) -> dict[str, list[tuple[str, str]]]:
    """Aligned captions of each change over contexts, and "random" ones that change as many tokens, place by place."""

    def aligned(source: Attributes, target: Attributes) -> tuple[str, str]:
        return align_captions(full_caption(source), full_caption(target))

    found: dict[str, list[tuple[str, str]]] = {}
    for name, (field, old, new) in FROM_TO.items():
        fit = [item for item in pool if getattr(item, field) == old and item.hair != "bald"][:CONTEXTS]
        found[name] = [aligned(item, item.replace(**{field: new})) for item in fit]
    candidates: list[tuple[str, str]] = []
    fields = ("skin", "hair", "eyes", "eyebrows", "mouth", "accessory", "facial_hair", "clothes", "clothes_color")
    for source in pool:
        other = generator.choice(pool)
        wanted = {field: getattr(other, field) for field in generator.sample(fields, generator.randint(1, 3))}
        pair = aligned(source, source.replace(**wanted))
        candidates += [pair] * (pair[0] != pair[1])
    found["random"] = []
    for pair in [pair for some in list(found.values()) for pair in some]:
        nearest = min(candidates, key=lambda other: abs(changed_tokens(*other) - changed_tokens(*pair)))
        candidates.remove(nearest)
        found["random"].append(nearest)
    return found


def text_differences(model: Backbone, pairs: Sequence[tuple[str, str]]) -> dict[str, Tensor]:
    """Token part without padding, and pooled part, of target minus source."""
    difference = model.embed([target for _, target in pairs]) - model.embed([source for source, _ in pairs])
    place = torch.arange(difference.tokens.shape[1], device=difference.tokens.device)
    longest = [2 + max(len(words_of(caption)) for caption in pair) for pair in pairs]
    read = place < torch.tensor(longest, device=place.device)[:, None]
    return {"tokens": difference.tokens * read[..., None], "pooled": difference.pooled}


def text_geometry(model: Backbone, seed: int) -> dict[str, Any]:
    """P1 and P2 on the captions, token part and pooled part apart."""
    pool = draw_split("calibration", 900, seed)
    captions = caption_pairs(pool, random.Random(f"text geometry/{seed}"))
    differences = {name: text_differences(model, pairs) for name, pairs in captions.items()}
    tokens = {name: float(np.mean([changed_tokens(*pair) for pair in pairs])) for name, pairs in captions.items()}
    found: dict[str, Any] = {"changed_tokens": tokens, "contexts": {n: len(pairs) for n, pairs in captions.items()}}
    for part in ("tokens", "pooled"):
        rows = {name: values[part] for name, values in differences.items() if name != "random"}
        null, start = differences["random"][part], 0
        units: dict[str, Any] = {}
        for index, (name, values) in enumerate(rows.items()):
            own = null[start : start + len(values)]
            start += len(values)
            result = unit_vector_test(values, own, generator=stream(seed, "geometry", index))
            units[name] = dataclasses.asdict(result) | {"passed": result.passed}
        result = orthogonality_test(rows, null, generator=stream(seed, "geometry", 99))
        listed = {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
        found[part] = {"P1": units, "P2": listed | {"passed": result.passed}}
    return found


def image_geometry(seen: Seen) -> dict[str, Any]:
    """Mean |cosine| between the residuals of different changes of one portrait; consistency over portraits."""
    found: dict[str, Any] = {}
    changes = len(CHANGES)
    for level in LEVELS:
        between = np.abs(_grams(seen, level)).reshape(-1, changes, changes).mean(0)
        asked = seen.directions[level, "full", gamma_name(0.0)].double().flatten(1).unflatten(0, (-1, changes))
        unit = torch.nn.functional.normalize(asked, dim=2).transpose(0, 1)
        count = unit.shape[1]
        within = ((unit @ unit.mT).sum((1, 2)) - count) / max(count * (count - 1), 1)
        off = between[~np.eye(changes, dtype=bool)]
        found[str(level)] = {
            "names": list(CHANGES),
            "mean_absolute_cosine": between,
            "largest": float(off.max()),
            "mean": float(off.mean()),
            "consistency_over_portraits": within,
        }
    return found


def sweep(seen: Seen) -> dict[str, dict[str, Any]]:
    """One entry a level, captions and method."""
    found: dict[str, dict[str, Any]] = {}
    for (level, captions, method), direction in seen.directions.items():
        result = matched(direction, seen.truth)
        entry: dict[str, Any] = {
            "cosine": described(result.cosine),
            "error": described(result.error),
            "outside": described(result.outside),
            "failed": result.failed,
        }
        filtered = seen.curved.get((level, captions, method if method != gamma_name(-1.0) else "gamma"))
        curved = None if filtered is None else summarise([filtered])
        if curved is not None:
            entry["rayleigh"] = described(curved.rayleigh.double().cpu().numpy())
            entry["negative_share"] = float(curved.negative_share.mean())
            entry["fallback_share"] = float(curved.fallback_share.mean())
        found[f"{level:g} {captions} {method}"] = entry
    return found


def sweep_table(found: dict[str, dict[str, Any]], captions: str, methods: Sequence[str], value: str) -> list[str]:
    """Methods by levels: median error and capped mean, or the cosine."""

    def show(level: float, method: str) -> str:
        entry = found.get(f"{level:g} {captions} {method}")
        if entry is None:
            return ""
        if value == "cosine":
            return f"{entry['cosine']['mean']:.3f}"
        failed = f", {entry['failed']} failed" if entry["failed"] else ""
        return f"{entry['error']['median']:.2f} ({cell(entry['error'])}{failed})"

    rows = [[method, *(show(level, method) for level in LEVELS)] for method in methods]
    return table([f"{captions} captions", *(f"s = {level:g}" for level in LEVELS)], rows)


def curvature_table(found: dict[str, dict[str, Any]]) -> list[str]:
    """Rayleigh quotients of the residual, and how often curvature was negative."""

    def show(level: float, captions: str) -> str:
        entry = found[f"{level:g} {captions} {gamma_name(-1.0)}"]
        return f"{entry['rayleigh']['mean']:.2f} ({entry['negative_share']:.0%})"

    rows = [[captions, *(show(level, captions) for level in LEVELS)] for captions in CAPTIONS]
    return table(["Rayleigh quotient (negative)", *(f"s = {level:g}" for level in LEVELS)], rows)


def gamma_table(seen: Seen) -> list[str]:
    """The gamma with the least mean sin^2, by change, captions and level."""
    rows: list[list[str]] = []
    change = np.arange(len(seen.batch.pairs)) % len(CHANGES)
    for captions in CAPTIONS:
        for c, name in enumerate(("all", *CHANGES)):
            chosen = np.ones_like(change, dtype=bool) if c == 0 else change == c - 1
            cells = []
            for level in LEVELS:
                errors = [seen.error(level, captions, gamma_name(gamma))[chosen].mean() for gamma in GAMMAS]
                rho = rayleighs(seen, level, captions)[chosen].mean()
                cells.append(f"{GAMMAS[int(np.argmin(errors))]:g} (rho {rho:.2f})")
            rows.append([captions, name, *cells])
    return table(["captions", "change", *(f"s = {level:g}" for level in LEVELS)], rows)


def annealed_table(found: dict[str, dict[str, Any]]) -> list[str]:
    """The searches of C10."""
    names = ("error", "outside", "R", "cosine", "done", "others_changed")
    rows = [
        [name, *(cell(entry[n]) for n in names), f"{entry['error']['median']:.3f}"] for name, entry in found.items()
    ]
    return table(["search", "error", "outside", "R", "cosine", "done", "others changed", "median error"], rows)


def geometry_table(text: dict[str, Any], image: dict[str, Any]) -> list[str]:
    """P1 an attribute, P2 a part, and the image's side."""
    lines: list[str] = []
    for part in ("tokens", "pooled"):
        rows = [
            [
                name,
                f"{text['changed_tokens'][name]:.1f}",
                f"{r['variation']:.3f} ({r['null_variation']:.3f}, {r['random_variation']:.3f})",
                f"{r['consistency']:.3f} ({r['random_consistency']:.3f})",
                f"{r['effective_dimension']:.0f}",
                "yes" if r["passed"] else "no",
            ]
            for name, r in text[part]["P1"].items()
        ]
        head = [
            "P1, " + part,
            "changed tokens",
            "variation (theory, random)",
            "consistency (random)",
            "dimension",
            "passed",
        ]
        lines += table(head, rows)
        p2 = text[part]["P2"]
        null = f"(null {p2['null_largest']:.3f}), spread {p2['spread']:.3f} (null {p2['null_spread']:.3f})"
        least = f"least consistency {float(p2['consistency'].min()):.3f}, grouping share {p2['grouping_share']:.3f}"
        passed = "passed" if p2["passed"] else "not passed"
        lines += [f"P2, {part}: largest cosine {p2['largest']:.3f} {null}, {least}: {passed}.", ""]
    rows = [
        [level, f"{r['mean']:.3f}", f"{r['largest']:.3f}", *(f"{c:.2f}" for c in r["consistency_over_portraits"])]
        for level, r in image.items()
    ]
    head = ["image side, level", "mean |cosine| between changes", "largest", *(f"consistency, {c}" for c in CHANGES)]
    return lines + table(head, rows)


def told(name: str, numbers: dict[str, Any]) -> list[str]:
    """The further numbers of a verdict, one a line."""
    lines: list[str] = []
    for key, value in numbers.items():
        label = f"{name}, {str(key).replace('_', ' ')}"
        if not isinstance(value, dict):
            lines.append(f"- {label}: {value:.3g}")
        elif "low" in value:
            lines.append(f"- {label}: {cell(value)}")
        else:
            lines += told(label, {" ".join(k) if isinstance(k, tuple) else k: v for k, v in value.items()})
    return lines


def report(content: dict[str, Any], seen: Seen) -> list[str]:
    """The Markdown of everything."""
    second = [f"newton {mu:g}" for mu in DAMPINGS] + ["lm 0.3", "lm 1", "neumann 2", "mixed"]
    family = ["sds", *(gamma_name(gamma) for gamma in GAMMAS)]
    rows = [[row["claim"], row["says"], row["test"], cell(row), f"**{row['verdict']}**"] for row in content["verdicts"]]
    lines = ["## Verdicts", "", "Positive numbers support the claim; 95 % bootstrap interval over pairs.", ""]
    lines += table(["claim", "what it says", "number", "mean [95 %]", "verdict"], rows)
    lines += [
        "With them:",
        "",
        *(line for row in content["verdicts"] for line in told(row["claim"], row["others"])),
        "",
    ]
    lines += ["## One look", "", f"Error at matched effect: median (mean, each capped at {CAP:g} [95 %])."]
    lines += [""]
    lines += sweep_table(content["sweep"], "full", family + second, "error")
    lines += sweep_table(content["sweep"], "partial", family, "error")
    lines += ["Mean cosine with the truth.", ""]
    lines += sweep_table(content["sweep"], "full", family + second, "cosine")
    lines += sweep_table(content["sweep"], "partial", family, "cosine")
    lines += curvature_table(content["sweep"])
    lines += ["Gamma of least mean sin^2.", "", *gamma_table(seen)]
    lines += ["## Annealed, at equal cost", "", *annealed_table(content["annealed"])]
    lines += ["## Geometry", "", *geometry_table(content["text_geometry"], content["image_geometry"])]
    return lines


def experiment(model: Backbone, reader: PortraitReader, portraits: int, seed: int) -> tuple[dict[str, Any], Seen]:
    """Everything, measured."""
    watch = Watch(model)
    batch = encode_all(model, draw_pairs("calibration", portraits, seed=seed))
    start = model.evaluations
    watch(f"encoded {len(batch.pairs)} pairs")
    seen = collect(model, batch, seed, watch)
    project_out(seen, seen.best_level())
    annealed = equal_cost(batch, seed, watch)
    cost, read = cost_claim(model, reader, seen, annealed)
    verdicts = family_claims(seen)
    verdicts += [damping_claim(seen), *projection_claims(model, reader, seen), *text_claims(seen), cost]
    watch("read the pictures")
    content = {
        "verdicts": verdicts,
        "sweep": sweep(seen),
        "annealed": read,
        "text_geometry": text_geometry(model, seed),
        "image_geometry": image_geometry(seen),
    }
    watch("done")
    made = {"pairs": len(batch.pairs), "evaluations": model.evaluations - start, "seconds": watch.seconds}
    return made | content, seen


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--portraits", type=int, default=10, help="portraits of the calibration split, six pairs each")
    parser.add_argument("--seed", type=int, default=23, help="of portraits, partial captions and noises")
    parser.add_argument("--model", default="portraits", help="a bundled name")
    parser.add_argument(
        "--dtype", default="float32", choices=("float32", "bfloat16"), help="of the network; C8 needs float32"
    )
    parser.add_argument("--name", default="hsds-calibration", help="of the files in results/")
    arguments = parser.parse_args()
    model = load(arguments.model, dtype=getattr(torch, arguments.dtype))
    reader = PortraitReader.from_folder(bundled_folder(arguments.model))
    with torch.no_grad():
        found, seen = experiment(model, reader, arguments.portraits, arguments.seed)
    command = " ".join(["python", "benchmarks/hsds_calibration.py", *sys.argv[1:]])
    content = {"command": command, "model": model.fingerprint, "dtype": arguments.dtype, **found}
    save(arguments.name, content, report(content, seen))
    for row in content["verdicts"]:
        print(f"{row['claim']:<10}{row['verdict']:<11}{cell(row):<26}{row['says']}")
    print(f"{content['evaluations']} evaluations, {content['seconds']:.0f} s")


if __name__ == "__main__":
    main()
