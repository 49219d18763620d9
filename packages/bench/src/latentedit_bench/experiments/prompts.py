"""Distances between the tangent spaces of one picture under different texts, over levels."""

import dataclasses
import random
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from scipy.stats import rankdata

from latentedit.core.errors import ConfigError
from latentedit.core.plugins import DOMAINS
from latentedit.models.base import Backbone
from latentedit_bench.domains.base import Domain, Scene, differences, domain, full_caption
from latentedit_bench.experiments.base import Row, Unit
from latentedit_bench.experiments.controls import NETWORKS, against_control, of_network
from latentedit_bench.experiments.geometry import QUICK, RIEMANNIAN, Found, Geometry
from latentedit_bench.experiments.plotting import GREY, draw_networks, draw_points, draw_subspace_null, finish
from latentedit_bench.experiments.study import Study
from latentedit_bench.experiments.subspaces import SPACES, at_each_rank, at_fitted_rank, compared
from latentedit_bench.metrics.statistics import Table, by_level, estimate, rise

_REPLACED = (0, 1, 4, 12)
"""Attributes of the picture that each of its prompts says wrongly."""

_SHUFFLES = 1000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Prompts(Geometry):
    """Rows of a pair of prompts at one picture and level, in feature space and in latent space.

    A picture has four prompts: its own full caption, and captions in which 1, 4 and all 12 attributes are replaced.
    All bases are taken at the same latent, inverted under no text, so nothing but the prompt tells them apart.
    "similarity" is the cosine of the model's own text embeddings, pooled where it has them and averaged over the tokens
    where it has not; "common" is the number of attributes in which the prompts agree. The control is the untrained twin
    of the network, which reads the same embeddings by weights that know no words; beside it are random subspaces, for
    the distance, and similarities shuffled within each picture, for the correlation.
    """

    name: ClassVar[str] = "geometry-prompts"
    minutes: ClassVar[int] = 16
    title: ClassVar[str] = "Distance between the tangent spaces of one picture under different prompts"
    paper: ClassVar[str] = RIEMANNIAN
    statement: ClassVar[str] = "similar prompts give similar tangent spaces, and the prompt's influence fades later"
    statistic: ClassVar[str] = (
        "minus the rank correlation of the similarity of two texts with the distance of their tangent spaces, in "
        "features, at the highest level, mean over pictures, of the trained network less that of its untrained twin; at"
        " the rank that the spectrum supports"
    )
    smaller: ClassVar[Mapping[str, Any]] = {**QUICK, "pictures": 2}
    panel_rows: ClassVar[int] = 3

    pictures: int = 12
    levels: tuple[float, ...] = (0.95, 0.3)
    rank: int = 4

    @property
    def bases(self) -> int:
        """One a prompt."""
        return len(_REPLACED) * Geometry.bases.__get__(self)

    @property
    def settings(self) -> Mapping[str, Any]:
        """None; "levels" is what stored plans say where those of the plan are looked at."""
        return {"levels": []}

    def items(self, study: Study) -> Sequence[Unit]:
        """A picture at a level.

        Raises:
            ConfigError: a model that reads no text, or one of another domain.
        """
        _check(study.backbone)
        return Geometry.items(self, study)

    def look_at(self, study: Study, item: Unit) -> list[Row]:
        """All pairs of the picture's prompts there."""
        picture, level = int(item[0]), float(item[1])
        pixels = study.latents[picture].frames[0].pixels[None]
        world = domain(study.backbone.defaults["captioner"])  # both have one name
        said = graded(world, world.read(pixels)[0], seed=study.seed)
        texts = [full_caption(world, scene) for scene in said]
        similarity = _similarity(study.backbone, texts)
        bases = [study.basis(picture, level, prompt=text) for text in texts]
        rows: list[Row] = []
        for space in SPACES:
            for first, second, found in compared(bases, space, seed=study.seed):
                common = len(world.values) - len(differences(world, said[first], said[second]))
                about = {"picture": picture, "level": level, "space": space}
                which = {"replaced": _REPLACED[first], "other_replaced": _REPLACED[second]}
                related = {"similarity": float(similarity[first, second]), "common": common}
                rows.append({**about, **which, **related, **found})
        return rows

    def of_model(self, part: Table) -> Found:
        """How distances follow the similarity of texts, and what becomes of that as the level falls."""
        features, parts = part[part["space"] == "h"], list[Table]()
        for space, rows in part.groupby("space", sort=False):
            own = at_fitted_rank(rows)
            for network in NETWORKS:
                distances = by_level(of_network(own, network), "distance").assign(null=own["null"].mean())
                followed = by_level(_strengths(of_network(own, network)), "strength")
                parts += [
                    levels.assign(space=space, network=network, measure=measure)
                    for measure, levels in (("distance", distances), ("strength", followed))
                ]
        top, low = part["level"].max(), part["level"].min()
        strengths, fades = _strengths(features), "the prompt's influence fades at late levels"
        correlation = "minus the rank correlation of similarity and distance in h-space"
        found = at_each_rank(
            strengths[strengths["level"] == top],
            "strength",
            ("picture",),
            lambda rows: estimate(rows["strength"].tolist(), rows[["picture"]].to_numpy().tolist()),
            "similar prompts give similar tangent spaces",
            f"{correlation} at level {top:.2f}, mean over pictures",
        )
        for rows, column, measure in (
            (features, "distance", "distance between prompts in h-space, share of the largest,"),
            (strengths, "strength", f"{correlation},"),
        ):
            found += against_control(
                at_fitted_rank(rows),
                column,
                ("picture", "level"),
                lambda some, column=column: rise(some, column, start=low, end=top),
                fades,
                f"{measure} at level {top:.2f} less that at {low:.2f}",
            )
        return found, parts

    def draw_model(self, axes: Sequence[Axes], part: Table) -> None:
        """Distance over similarity in features; below, both distance and its correlation over levels."""
        pairs, distances, strengths = axes
        features = at_fitted_rank(part[part["space"] == "h"])
        own = of_network(features, "trained")
        draw_points(pairs, own, "similarity", "distance")
        draw_subspace_null(pairs, own)
        pairs.set_xlabel("similarity of two prompts  (cosine of text embeddings)")
        finish(pairs, f"distance in features / largest\nrank {own['rank'].iloc[0]:.0f}, trained", unit_range=True)
        draw_networks(distances, features, "distance")
        draw_networks(strengths, _strengths(features), "strength")
        draw_subspace_null(distances, features)
        distances.set_title("distance between prompts over levels", fontsize=9)
        finish(distances, "distance / largest possible", unit_range=True)
        ends = [(level, *shuffled_level(rows)) for level, rows in own.groupby("level")]
        places, low, high = zip(*ends, strict=True)
        chance = "similarities shuffled, 95 %"
        strengths.fill_between(places, low, high, color=GREY, alpha=0.25, linewidth=0, label=chance)
        strengths.set_title("how closely distance follows similarity, over levels", fontsize=9)
        finish(strengths, "- rank correlation with similarity")


def graded(world: Domain, own: Scene, *, seed: int) -> list[Scene]:
    """A scene, and others that differ from it in exactly 1, 3, 6 and 12 attributes.

    Some attributes follow others, as colours their parts, so draws that change more or less than asked are not taken.

    Args:
        world: of the scene.
        own: the scene.
        seed: of the draws, which depend on nothing else but the scene.
    """
    generator = random.Random(f"prompts/{seed}/{full_caption(world, own)}")
    values, shown = world.values, world.attributes(own)
    found = [own]
    for count in _REPLACED[1:]:
        while len(differences(world, found[-1], own)) != count:
            chosen = generator.sample(list(values), count)
            others = {name: [value for value in values[name] if value != shown[name]] for name in chosen}
            drawn = world.change(own, {name: generator.choice(some) for name, some in others.items()})
            if len(differences(world, drawn, own)) == count:
                found.append(drawn)
    return found


def shuffled_level(part: Table, *, seed: int = 0) -> tuple[float, float]:
    """Ends of the central 95 % of the strength where similarities are shuffled within each picture.

    Args:
        part: rows of one level, with "picture", "similarity" and "distance"; the strength is minus the rank correlation
            of the last two, averaged over pictures.
        seed: of the shuffling.

    Returns:
        nan and nan where no picture has a correlation.
    """
    generator, found = np.random.default_rng(seed), list[np.ndarray]()
    for _, rows in part.groupby("picture"):
        ranks = [rankdata(rows[column]) for column in ("similarity", "distance")]
        if min(np.ptp(rank) for rank in ranks) > 0:
            a, b = ((rank - rank.mean()) / rank.std() for rank in ranks)
            found.append(-generator.permuted(np.tile(a, (_SHUFFLES, 1)), axis=1) @ b / len(b))
    if not found:
        return float("nan"), float("nan")
    low, high = np.percentile(np.mean(found, axis=0), (2.5, 97.5))
    return float(low), float(high)


def _check(backbone: Backbone) -> None:
    """Refuse models that read no text, and those whose pictures no domain captions."""
    texts = backbone.embed(["", "a person with glasses"])
    if torch.equal(texts.tokens[0], texts.tokens[1]) and torch.equal(texts.pooled[0], texts.pooled[1]):
        raise ConfigError(f"all texts are the same to {backbone.name}. Name a model that reads text")
    if backbone.defaults.get("captioner") not in DOMAINS.points():
        raise ConfigError(f"the prompts are captions of a domain, and {backbone.name} draws none. Name one that does")


def _similarity(backbone: Backbone, texts: Sequence[str]) -> torch.Tensor:
    """Cosines of all pairs of texts, ``[n, n]``."""
    condition = backbone.embed(texts)
    vectors = condition.pooled if condition.pooled.shape[1] else condition.tokens.double().mean(1)
    unit = torch.nn.functional.normalize(vectors.cpu().double())
    return unit @ unit.T


def _strengths(part: Table) -> Table:
    """Of each picture at each level, by network and rank: minus the rank correlation of similarity and distance."""
    rows: list[Row] = []
    for (network, rank, level, picture), same in part.groupby(["network", "rank", "level", "picture"]):
        varies = same["similarity"].nunique() > 1 and same["distance"].nunique() > 1
        strength = -same["similarity"].corr(same["distance"], method="spearman") if varies else float("nan")
        about: Row = {"network": str(network), "rank": int(str(rank)), "gap": float(same["gap"].mean())}
        rows.append({**about, "level": float(str(level)), "picture": int(str(picture)), "strength": strength})
    return pd.DataFrame(rows)
