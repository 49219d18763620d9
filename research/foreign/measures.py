"""Measurements behind `research.foreign.claims`: one function for each part, which yields rows."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor

from latentedit import Backbone, JointLatent, edit_latent
from latentedit.editors import EIM, FlowEdit
from latentedit.encoding import InversionTrace, invert
from latentedit.geometry import (
    TangentSpaces,
    Walk,
    curve_energy,
    curve_length,
    effect_of,
    geodesic_distance,
    lerp,
    pulled_back,
    random_units,
    semantic_lengths,
    shortest_curve,
    slerp,
    step_lengths,
)
from latentedit.models import FeatureJacobian, FeatureMap, GuidedField
from latentedit.numerics import EulerSolver, draw, integrate, noise_like, stream, truncated_svd
from latentedit_bench.disentanglement.responses import attribute_responses
from latentedit_bench.metrics.responses import response_scores
from latentedit_bench.metrics.vectors import centroid, cosine
from research.foreign.galaxies import galaxy_backbone, permuted_twin, telescopes_backbone, trained

Kind = Literal["trained", "twin"]
Row = dict[str, Any]

KINDS: tuple[Kind, ...] = ("trained", "twin")
SITES = ("mid", "clean")
LEVELS = (0.95, 0.7, 0.3)
RANK, PRODUCTS, DEGREES = 4, 80, 1.0  # vectors of a basis; most products, and largest angle, of its search
DRAWING_STEPS, STEPS = 100, 20  # on the whole grid, where images are drawn and where they are inverted
PROBES = 8  # random directions for the Frobenius norm
SEGMENTS, TANGENTS, DESCENTS = 5, 2, 20  # curves: segments, dimensions of tangent spaces, steps of the search
EFFECT = 0.4  # size of an edit, in units of the deviation of the images from their mean
TRANSPORT_LEVEL = 0.7
CONDITIONS = ("hsc-32", "ztf-32", "hsc-64", "ztf-64")  # networks that have a partner of the same scale and size

_OF_TANGENTS = 60  # most products of a search that starts from a neighboring tangent space


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Galaxies:
    """A network, its twin, and images that the network drew."""

    name: str
    seed: int
    models: dict[Kind, Backbone]
    x: Float[Tensor, "n 1 side side"]

    @property
    def deviation(self) -> float:
        """The root mean square deviation of the images from their mean image."""
        return float((self.x - self.x.mean(0)).square().mean().sqrt())

    def latent(self, image: int | None = None) -> JointLatent:
        """One image or all, as latents of the trained network."""
        model, x = self.models["trained"], self.x if image is None else self.x[image : image + 1]
        return JointLatent(backbone=model, z=x, condition=model.embed([""]).expand(len(x)), captions=("",) * len(x))

    def feature(self, kind: Kind, site: str, level: float) -> FeatureMap:
        """The feature of a network at a level."""
        model = self.models[kind]
        return FeatureMap(backbone=model, site=site, level=level, condition=model.embed([""]))


@functools.cache
def galaxies(name: str, images: int, seed: int) -> Galaxies:
    """The images are samples of the trained network; the twin has its seed from the plan, too."""
    network = trained(name)
    models: dict[Kind, Backbone] = {
        "trained": galaxy_backbone(network, name=name),
        "twin": galaxy_backbone(permuted_twin(network, seed), name=f"{name}, permuted"),
    }
    model, side = models["trained"], network.side
    noise = [draw((1, side, side), seed=seed, purpose=f"foreign images, {name}", index=one) for one in range(images)]
    field = GuidedField(backbone=model, condition=model.embed([""]))
    start = model.capabilities.start_std * torch.stack(noise)
    x = integrate(field, start, model.grid(DRAWING_STEPS).levels, EulerSolver())
    return Galaxies(name=name, seed=seed, models=models, x=x)


@functools.lru_cache(maxsize=3)
def inverted(found: Galaxies, level: float) -> InversionTrace:
    """All images at a level, to which the trained network carries them."""
    latent = found.latent()
    return invert(latent, latent.path(STEPS, level))


def one_of(trace: InversionTrace, image: int) -> InversionTrace:
    """The trace of one image."""
    row = slice(image, image + 1)
    states, velocities = (tuple(one[row] for one in part) for part in (trace.states, trace.velocities))
    return InversionTrace(levels=trace.levels, states=states, velocities=velocities)


def bases_file(folder: Path, name: str, seed: int, images: int, kind: Kind, site: str, level: float) -> Path:
    """The file of `bases`."""
    return folder / "bases" / f"{name}-{seed}-{images}-{kind}-{site}-{level}.safetensors"


def bases(found: Galaxies, kind: Kind, site: str, level: float, folder: Path) -> dict[str, Tensor]:
    """The local bases of all images, "u", "v" and "values", with "norm" (of the Jacobian) and "settled".

    They are read from the folder if they were computed before.
    """
    place = bases_file(folder, found.name, found.seed, len(found.x), kind, site, level)
    if place.is_file():
        return load_file(place)
    parts: list[dict[str, Tensor]] = []
    for image, z in enumerate(inverted(found, level).top.split(1)):
        jacobian = FeatureJacobian(found.feature(kind, site, level), z)
        search = stream(found.seed, "local basis", image)
        svd = truncated_svd(jacobian, RANK, generator=search, tolerance_degrees=DEGREES, most_products=PRODUCTS)
        probes = torch.randn(PROBES, *jacobian.in_shape, generator=stream(found.seed, "spectrum probes", image))
        norm = jacobian.matmat(probes).double().square().flatten(1).sum(1).mean().sqrt()
        about = {"norm": norm, "settled": torch.tensor(svd.converged)}
        parts.append({"u": svd.u, "v": svd.v, "values": svd.singular_values, **about})
    stacked = {name: torch.stack([part[name] for part in parts]).contiguous() for name in parts[0]}
    place.parent.mkdir(parents=True, exist_ok=True)
    save_file(stacked, place)
    return stacked


def levels_at(site: str) -> tuple[float, ...]:
    """All levels at "mid", where edits are transported at the middle one, and the outer ones elsewhere."""
    return LEVELS if site == "mid" else (LEVELS[0], LEVELS[-1])


def spectra(found: Galaxies, kind: Kind, site: str, folder: Path) -> Iterator[Row]:
    """Frequencies and stable ranks of each image's basis, and distances of the tangent spaces of two images."""
    for level in levels_at(site):
        some = bases(found, kind, site, level, folder)
        for image in range(len(found.x)):
            values = some["values"][image].double()
            yield {
                "level": level,
                "image": image,
                "frequency": float(centroid(some["v"][image]).mean()),
                "log_stable_rank": 2 * math.log10(float(some["norm"][image] / values[0])),
                "fourth": float(values[-1] / values[0]),
                "settled": bool(some["settled"][image]),
            }
        for first, second in itertools.combinations(range(len(found.x)), 2):
            distance = geodesic_distance(some["u"][first], some["u"][second]) / (math.pi / 2 * math.sqrt(RANK))
            yield {"level": level, "first": first, "second": second, "distance": distance}


def curves(found: Galaxies, kind: Kind) -> Iterator[Row]:
    """Lengths of lerp, slerp and the shortest curve found, between images 2 k and 2 k + 1 under noises of their own."""
    level, feature = LEVELS[0], found.feature(kind, "mid", LEVELS[0])
    noise = torch.stack([draw(x.shape, seed=found.seed, purpose="ends", index=k) for k, x in enumerate(found.x)])
    ends = (1 - level) * found.x + level * noise
    weights = torch.linspace(0, 1, SEGMENTS + 1, dtype=torch.float64)
    for image in range(0, len(found.x) - 1, 2):
        ways = {name: way(ends[image], ends[image + 1], weights) for name, way in (("lerp", lerp), ("slerp", slerp))}
        least = min(ways.values(), key=lambda points: curve_energy(feature(points)))
        ways["shortest"] = shortest_curve(feature, least, steps=DESCENTS).points
        spaces = TangentSpaces(
            feature=feature,
            rank=TANGENTS,
            draws=(found.seed, "curve", image),
            tolerance_degrees=DEGREES,
            most_products=_OF_TANGENTS,
        )
        for way, points in ways.items():
            turns = semantic_lengths([basis.u for basis in spaces.along(points)])
            length = curve_length(feature(points))
            yield {"image": image, "way": way, "semantic": float(turns.sum()), "length": length}


def edits(found: Galaxies, folder: Path) -> Iterator[Row]:
    """Frequencies of what directions change in the image, at equal effect; the trained network moves all of them."""
    for level in (LEVELS[0], LEVELS[-1]):
        firsts = {kind: bases(found, kind, "mid", level, folder)["v"][:, 0] for kind in KINDS}
        for image in range(len(found.x)):
            walk = Walk(latent=found.latent(image), trace=one_of(inverted(found, level), image))
            control = random_units(walk.latent, 1, seed=found.seed, first=image)
            units = torch.cat([*(firsts[kind][image, None] for kind in KINDS), control])
            changes, effects = moved(walk, units, EFFECT * found.deviation)
            for name, change, effect in zip((*KINDS, "random"), changes, effects, strict=True):
                middle = float(centroid(change.transpose(0, 1)))
                reached = effect / found.deviation
                yield {"level": level, "image": image, "direction": name, "frequency": middle, "effect": reached}


def moved(walk: Walk, units: Float[Tensor, "k *latent"], effect: float) -> tuple[list[Tensor], list[float]]:
    """Changes by each direction, ``[2, *latent]`` for both signs, at the effect; and the effects reached."""
    lengths = step_lengths(walk, units, effect=effect)
    z = walk.to(units, torch.stack([lengths, -lengths]), what="edits")
    return list((z - walk.latent.z).unbind(1)), effect_of(z, walk.latent.z).tolist()


def transports(found: Galaxies, folder: Path) -> Iterator[Row]:
    """Likeness of an edit at one image with the same one at the next, to which its direction was carried."""
    level, count = TRANSPORT_LEVEL, len(found.x)
    firsts = {kind: bases(found, kind, "mid", level, folder) for kind in KINDS}
    trace = inverted(found, level)
    for image in range(count):
        target = (image + 1) % count
        here, there = (Walk(latent=found.latent(k), trace=one_of(trace, k)) for k in (image, target))
        own = firsts["trained"]["v"][image, :1]
        units = {"own": own, "random": random_units(there.latent, 1, seed=found.seed, first=image)}
        for kind in KINDS:
            # The twin's features are changed by the same direction, and carried back by its own Jacobian.
            source = FeatureJacobian(found.feature(kind, "mid", level), here.trace.top)
            jacobian = FeatureJacobian(found.feature(kind, "mid", level), there.trace.top)
            units[kind] = pulled_back(source.matmat(own), jacobian).v.to(own)
        ((wanted,), _), (changes, effects) = (
            moved(walk, some, EFFECT * found.deviation)
            for walk, some in ((here, own), (there, torch.cat(list(units.values()))))
        )
        for name, change, effect in zip(units, changes, effects, strict=True):
            reached = effect / found.deviation
            alike = cosine(wanted, change)
            yield {"image": image, "target": target, "direction": name, "cosine": alike, "effect": reached}


def conditions(found: Galaxies, kind: Kind) -> Iterator[Row]:
    """Disentanglement of edits from one telescope to the other, by the model's own response; see `response_scores`."""
    partner = next(one for one in CONDITIONS if one != found.name and one[-2:] == found.name[-2:])
    networks = {one: trained(one) for one in (found.name, partner)}
    if kind == "twin":
        networks = {one: permuted_twin(network, found.seed) for one, network in networks.items()}
    model = telescopes_backbone(networks, name=f"{found.name} and {partner}, {kind}")
    source, target = (model.embed([one]) for one in (found.name, partner))
    seeds = [found.seed + image for image in range(len(found.x))]
    latent = JointLatent(
        backbone=model, z=found.x, condition=source.expand(len(seeds)), captions=(found.name,) * len(seeds)
    )
    responses = attribute_responses(latent, [target], seed=seeds)
    changes = {"another image": found.x.roll(-1, 0) - found.x}
    for name, editor in (("eim", EIM()), ("flowedit", FlowEdit(target_guidance=1.0))):
        (step,) = edit_latent(model, found.x, source, target, editor=editor, seed=seeds, auto_mask=False, refine=False)
        changes[name] = step.z - found.x
    for name, change in changes.items():
        scores = response_scores(change, responses, 0)
        for image in range(len(seeds)):
            yield {
                "image": image,
                "edit": name,
                **{
                    column: float(getattr(scores, column)[image])
                    for column in ("disentanglement", "effectiveness", "decomposability")
                },
                "size": float(change[image].square().mean().sqrt()) / found.deviation,
            }


def slopes(found: Galaxies, kind: Kind) -> Iterator[Row]:
    """The slope of the image on its estimate, at each level; 1 for a posterior mean of images that are its own."""
    model, seeds = found.models[kind], [found.seed + image for image in range(len(found.x))]
    noise = noise_like(found.x, seed=seeds, purpose="slopes")
    for level in LEVELS:
        z = (1 - level) * found.x + level * noise
        estimate = z - level * model.velocity(z, torch.full((len(z),), level), model.embed([""]))
        offset, centered = found.x - found.x.mean(), estimate - estimate.mean()
        products, squares = ((centered * other).flatten(1).sum(1).tolist() for other in (offset, centered))
        for image, (product, square) in enumerate(zip(products, squares, strict=True)):
            yield {"level": level, "image": image, "product": product, "square": square}
