"""Distances between the tangent spaces of one picture under different texts, over levels."""

import dataclasses
import random
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import rankdata

from latentedit.core.errors import ConfigError
from latentedit.models.base import Backbone
from latentedit_bench.analysis.base import Analysis, Claim, Conclusion, Item, Row
from latentedit_bench.analysis.plotting import COLOURS, GREY, draw_levels, draw_null, panels
from latentedit_bench.analysis.samples import SPACES, compared
from latentedit_bench.analysis.study import Study
from latentedit_bench.domains.base import Domain, Scene, differences, domain, full_caption
from latentedit_bench.metrics.statistics import Table, by_level, estimate, rise

DOMAIN = "portraits"
"""Whose captions the prompts are."""

_REPLACED = (0, 1, 3, 6, 12)
"""Attributes of the picture that each of its prompts says wrongly."""

_SHUFFLES = 1000


@dataclasses.dataclass(frozen=True, slots=True)
class Prompts(Analysis):
    """Rows of a pair of prompts at one picture and level, in feature space and in latent space.

    A picture has five prompts: its own full caption, and captions in which 1, 3, 6 and all 12 attributes are replaced.
    All bases are taken at the same latent, inverted under no text, so nothing but the prompt tells them apart.
    "similarity" is the cosine of the model's own text embeddings, pooled where it has them and averaged over the tokens
    where it has not; "common" is the number of attributes in which the prompts agree. The controls are random
    subspaces, for the distance, and similarities shuffled within each picture, for the correlation.

    Cost: five bases an item, some 370 evaluations each at rank 10; none for those that are kept.

    Args:
        levels: at which to look, in (0, 1]; empty for every second level of the study, and its last.
    """

    name: ClassVar[str] = "prompts"
    title: ClassVar[str] = "Distance between the tangent spaces of one picture under different prompts"
    models: ClassVar[tuple[str, ...]] = ("portraits", "portraits-unet")

    levels: tuple[float, ...] = ()

    def items(self, study: Study) -> Sequence[Item]:
        """A picture at a level.

        Raises:
            ConfigError: a model that reads no text, or one of another domain; levels outside (0, 1].
        """
        _check(study.backbone)
        if not all(0 < level <= 1 for level in self.levels):
            raise ConfigError(f"expected levels in (0, 1]; got {', '.join(f'{level:g}' for level in self.levels)}")
        top = study.backbone.grid(study.steps).levels[0]
        levels = {min(level, top) for level in self.levels} or {*study.levels[::2], study.levels[-1]}
        return [(picture, level) for level in sorted(levels, reverse=True) for picture in range(len(study))]

    def measure(self, study: Study, item: Item) -> list[Row]:
        """All pairs of the picture's prompts there."""
        picture, level = int(item[0]), float(item[1])
        pixels = study.latents[picture].frames[0].pixels[None]
        world = domain(DOMAIN)
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

    def conclude(self, table: Table) -> Conclusion:
        """How distances follow the similarity of texts, and what becomes of that as the level falls."""
        claims, parts, words = list[Claim](), list[Table](), list[str]()
        for (model, space), part in table.groupby(["model", "space"], sort=False):
            strengths = _strengths(part)
            shuffled = {level: shuffled_level(rows) for level, rows in part.groupby("level")}
            for measure, rows, column in (("distance", part, "distance"), ("strength", strengths, "strength")):
                levels = by_level(rows, column, members=["picture"])
                ends = {"null": part["null"].mean()} if measure == "distance" else _ends(levels, shuffled)
                parts.append(levels.assign(model=model, space=space, measure=measure, **ends))
            if space != "h":
                continue
            distances, found = parts[-2], parts[-1]
            top, low = distances["level"].max(), distances["level"].min()
            claims += _claims(str(model), part, strengths, top, low)
            first, last = (shuffled[level] for level in (top, low))
            words.append(
                f"{model}: distance between prompts {distances['mean'].iloc[0]:.2f} at {top:.2f}, "
                f"{distances['mean'].iloc[-1]:.2f} at {low:.2f} (random: {part['null'].mean():.2f}); correlation with "
                f"similarity {-found['mean'].iloc[0]:.2f} (shuffled: {-first[1]:.2f} to {-first[0]:.2f}) and "
                f"{-found['mean'].iloc[-1]:.2f} ({-last[1]:.2f} to {-last[0]:.2f})"
            )
        line = f"in h-space, distance as a share of the largest: {'; '.join(words)}"
        return Conclusion(line=line, claims=tuple(claims), summary=pd.concat(parts, ignore_index=True))

    def draw(self, table: Table, figure: Figure) -> None:
        """Distance over similarity in h-space; below, both distance and its correlation over levels."""
        models = list(dict.fromkeys(table["model"]))
        axes = panels(figure, models, rows=3)
        for column, model in enumerate(models):
            part = table[table["model"] == model]
            _draw_pairs(axes[0][column], part[part["space"] == "h"])
            _draw_distances(axes[1][column], part)
            _draw_strengths(axes[2][column], part)


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
    """Refuse models that read no text, and those whose pictures another domain captions."""
    texts = backbone.embed(["", "a person with glasses"])
    if torch.equal(texts.tokens[0], texts.tokens[1]) and torch.equal(texts.pooled[0], texts.pooled[1]):
        raise ConfigError(f"all texts are the same to {backbone.name}. Name a model that reads text")
    if backbone.defaults.get("captioner") != DOMAIN:
        raise ConfigError(
            f"the prompts are captions of {DOMAIN}, which {backbone.name} does not draw. Name one that does"
        )


def _similarity(backbone: Backbone, texts: Sequence[str]) -> torch.Tensor:
    """Cosines of all pairs of texts, ``[n, n]``."""
    condition = backbone.embed(texts)
    vectors = condition.pooled if condition.pooled.shape[1] else condition.tokens.double().mean(1)
    unit = torch.nn.functional.normalize(vectors.to("cpu", torch.float64))
    return unit @ unit.T


def _strengths(part: Table) -> Table:
    """Of each picture at each level: minus the rank correlation of similarity and distance."""
    rows: list[dict[str, float | int]] = []
    for (level, picture), same in part.groupby(["level", "picture"]):
        told = same["similarity"].nunique() > 1 and same["distance"].nunique() > 1
        strength = -same["similarity"].corr(same["distance"], method="spearman") if told else float("nan")
        rows.append({"level": float(str(level)), "picture": int(str(picture)), "strength": strength})
    return pd.DataFrame(rows)


def _claims(model: str, part: Table, strengths: Table, top: float, low: float) -> list[Claim]:
    highest = strengths[strengths["level"] == top]
    related = estimate(highest["strength"].tolist(), highest[["picture"]].to_numpy().tolist())
    wide = strengths.pivot(index="picture", columns="level", values="strength")
    weaker = estimate((wide[top] - wide[low]).tolist(), [(int(picture),) for picture in wide.index])
    fades = "the prompt's influence fades at late levels"
    return [
        Claim.of(
            "similar prompts give similar tangent spaces",
            model,
            f"minus the rank correlation of similarity and distance in h-space at level {top:.2f}, mean over pictures",
            related,
        ),
        Claim.of(
            fades,
            model,
            f"distance between prompts in h-space at level {top:.2f} less that at {low:.2f}, share of the largest",
            rise(part, "distance", members=["picture"], start=low, end=top),
        ),
        Claim.of(
            fades,
            model,
            f"minus the rank correlation at level {top:.2f} less that at {low:.2f}, mean over pictures",
            weaker,
        ),
    ]


def _ends(levels: Table, shuffled: dict[float, tuple[float, float]]) -> dict[str, list[float]]:
    """Ends of the shuffled level as columns beside each level."""
    found = [shuffled[level] for level in levels["level"]]
    return {"null_low": [low for low, _ in found], "null_high": [high for _, high in found]}


def _draw_pairs(axis: Axes, part: Table) -> None:
    for colour, (level, rows) in zip(COLOURS * 9, reversed(list(part.groupby("level"))), strict=False):
        label = f"level {float(str(level)):.2f}"
        axis.scatter(rows["similarity"], rows["distance"], s=9, color=colour, alpha=0.6, linewidths=0, label=label)
    draw_null(axis, *part[["null", "null_low", "null_high"]].mean().tolist(), label="random subspaces")
    axis.set_ylim(0, 1.02)
    axis.set_xlabel("similarity of two prompts  (cosine of text embeddings)")
    axis.set_ylabel("distance in h-space / largest possible")
    axis.legend(fontsize=7)


def _draw_distances(axis: Axes, part: Table) -> None:
    for colour, space in zip(COLOURS, SPACES, strict=False):
        rows = part[part["space"] == space]
        means = by_level(rows, "distance", members=["picture"])
        draw_levels(axis, means, label=f"{SPACES[space]}: mean, 95 %", colour=colour)
    draw_null(axis, *part[["null", "null_low", "null_high"]].mean().tolist(), label="random subspaces")
    axis.set_ylim(0, 1.02)
    axis.set_title("distance between prompts over levels", fontsize=9)
    axis.set_ylabel("distance / largest possible")
    axis.legend(fontsize=7)


def _draw_strengths(axis: Axes, part: Table) -> None:
    for colour, space in zip(COLOURS, SPACES, strict=False):
        rows = part[part["space"] == space]
        found = by_level(_strengths(rows), "strength", members=["picture"])
        draw_levels(axis, found, label=f"{SPACES[space]}: mean, 95 %", colour=colour)
    levels = [(level, *shuffled_level(rows)) for level, rows in part[part["space"] == "h"].groupby("level")]
    places, low, high = zip(*levels, strict=True)
    axis.fill_between(places, low, high, color=GREY, alpha=0.25, linewidth=0, label="similarities shuffled (h), 95 %")
    axis.set_title("how closely distance follows similarity, over levels", fontsize=9)
    axis.set_ylabel("- rank correlation with similarity")
    axis.legend(fontsize=7)
