"""Does a model know which pictures it knows? Its guard, calibrated on its own pictures, on pictures of all kinds.

These are portraits of the test split, other programs' portraits, pictures that are none, and captions right and wrong.
"""

import dataclasses
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

import pandas as pd
import torch
from matplotlib.figure import Figure
from PIL import Image
from scipy import stats

from latentedit.core.errors import ConfigError
from latentedit.core.settings import to_plain
from latentedit.latents.captions.base import captioner_for
from latentedit.latents.encode import fit_all
from latentedit.latents.guard import Guard
from latentedit.latents.joint import JointLatent
from latentedit.models.base import Backbone
from latentedit_bench.data.strange_pictures import STRANGE, scrambled
from latentedit_bench.domains.base import Domain, Scene, domain, full_caption
from latentedit_bench.experiments.base import Context, Experiment, Outcome, Row, Unit
from latentedit_bench.experiments.claim import Claim
from latentedit_bench.experiments.known_items import DOMAIN, MODELS, OTHER_PROGRAMS, loaded
from latentedit_bench.experiments.plotting import COLOURS, panels
from latentedit_bench.metrics.statistics import Estimate, Table

RENDERS, OTHER, ODD = "test renders", "other programs' portraits", "portraits of any parts"
WRONG, NEARLY, PARAPHRASED = "another portrait's caption", "one attribute wrong", "paraphrased caption"
UPSIDE_DOWN, SCRAMBLED = "portraits upside down", "portraits scrambled"

SHARES = {"photographs": 0.36, "textures": 0.12, "text pages": 0.12, "noise": 0.12, "plain, gradients, discs": 0.08}
"""Of the pictures that are no portraits, by kind; the rest are portraits upside down and scrambled, half each."""

STATES = ("known", "doubtful", "unknown")

KNOWN, UNKNOWN, OTHERS_UNKNOWN, TOLD, RIGHT = 0.98, 0.95, 0.10, 0.95, 0.98
"""What is asked for: share of test renders known, of what is no portrait unknown, at most of other programs' portraits
unknown, of captions that do not fit told, of captions that fit not told."""


class Odd(Protocol):
    """A domain that also draws what its captions do not say."""

    def oddities(self, count: int, seed: int) -> list[Image.Image]:
        """So many such pictures."""
        ...


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UnknownPictures(Experiment):
    """The states of the guard on pictures of all kinds, and whether it tells captions that do not fit.

    Args:
        models: bundled names, or folders, with a calibrated guard.
        renders: portraits of the test split.
        strangers: pictures that are no portraits.
        others: other programs' portraits, of each of the two kinds.
        captions: portraits under captions of each kind.
        seed: of everything drawn.
    """

    name: ClassVar[str] = "unknown-pictures"
    minutes: ClassVar[int] = 33
    title: ClassVar[str] = "which pictures the model knows, by its own loss"
    paper: ClassVar[str] = "derived here"
    statement: ClassVar[str] = "a model that has seen only its own pictures can say which pictures it knows"
    statistic: ClassVar[str] = f"share of test renders that are called known, less {KNOWN:g}"
    rule: ClassVar[str] = (
        "the share itself decides, as a bar of so many pictures in a hundred does: holds where the number is 0 or "
        "more. The interval (Clopper and Pearson, 95 %) is of the share among all pictures of the kind; crops of one "
        "photograph are not independent"
    )
    notes: ClassVar[tuple[str, ...]] = (
        (
            "The thresholds are those that each model was shipped with, from pictures that it drew itself. They were "
            "designed on a trial with older weights, and their form (which quantile, which harms) was settled on the "
            "calibration split and on the other half of the photographs."
        ),
        (
            "Other programs' portraits are those that the package draws in free colours and wider framings, on which "
            "the bundled models are trained too; portraits of any parts have hats, prints and features that no caption "
            "names, and only the framer was trained on them."
        ),
    )

    models: tuple[str, ...] = MODELS
    renders: int = 1000
    strangers: int = 500
    others: int = 60
    captions: int = 100
    seed: int = 22
    batch: ClassVar[int] = 10

    @property
    def sizes(self) -> dict[str, int]:
        """Pictures of each kind that every model looks at, in their order."""
        strange = {kind: round(share * self.strangers) for kind, share in SHARES.items()}
        rest = self.strangers - sum(strange.values())
        return {
            **strange,
            UPSIDE_DOWN: rest // 2,
            SCRAMBLED: rest - rest // 2,
            OTHER: self.others,
            ODD: self.others,
            WRONG: self.captions,
            NEARLY: self.captions // 2,
            PARAPHRASED: self.captions // 2,
            RENDERS: self.renders,
        }

    @property
    def plan(self) -> Mapping[str, Any]:
        """Pictures of each kind, and the bars."""
        bars = {
            "test renders known, at least": KNOWN,
            "no portraits known": 0,
            "no portraits unknown, at least": UNKNOWN,
            "other programs' portraits unknown, at most": OTHERS_UNKNOWN,
            "captions that do not fit told, at least": TOLD,
            "evaluations a picture, at most": 8,
        }
        return {**to_plain(self), "pictures": self.sizes, "bars": bars}

    def quick(self) -> "UnknownPictures":
        """A tenth of the pictures."""
        return dataclasses.replace(self, renders=100, strangers=50, others=10, captions=10)

    @property
    def model_names(self) -> Sequence[str]:
        """Every model."""
        return self.models

    def units(self, at: Context) -> Sequence[Unit]:
        """Model, kind and batch of pictures."""
        del at
        return [
            (model, kind, first, min(self.batch, count - first))
            for model in self.models
            for kind, count in self.sizes.items()
            for first in range(0, count, self.batch)
        ]

    @torch.no_grad()
    def measure(self, unit: Unit, at: Context) -> Sequence[Row]:
        """What the guard says of each picture of a batch."""
        name, kind, first, count = str(unit[0]), str(unit[1]), int(unit[2]), int(unit[3])
        model = loaded(name, at, torch.float32)
        pictures, captions = at.once(("pictures", kind), lambda: self._pictures(kind))
        chosen = slice(first, first + count)
        latent = _encoded(model, pictures[chosen], None if captions is None else captions[chosen])
        about = {"model": name, "kind": kind}
        return [
            {**about, "picture": first + index, **dataclasses.asdict(one)}
            for index, one in enumerate(_guard(model).look(latent))
        ]

    def _pictures(self, kind: str) -> tuple[list[Image.Image], list[str] | None]:
        """All pictures of a kind, and what is said of them; None where they are to be read."""
        count, world = self.sizes[kind], domain(DOMAIN)
        if kind in STRANGE:
            return STRANGE[kind](count, self.seed), None
        if kind == ODD:
            odd: Any = domain(OTHER_PROGRAMS)
            return _odd(odd).oddities(count, self.seed), None
        if kind == OTHER:
            other = domain(OTHER_PROGRAMS)
            return [Image.fromarray(other.render(one)) for one in other.draw("test", count, self.seed)], None
        scenes = world.draw("test", count, self.seed)
        pictures = [Image.fromarray(world.render(one)) for one in scenes]
        if kind == UPSIDE_DOWN:
            return [one.transpose(Image.Transpose.FLIP_TOP_BOTTOM) for one in pictures], None
        if kind == SCRAMBLED:
            return [scrambled(one, random.Random(f"{self.seed}/{index}")) for index, one in enumerate(pictures)], None
        said: Mapping[str, Callable[[], list[str]]] = {
            WRONG: lambda: [full_caption(world, one) for one in (*scenes[1:], scenes[0])],
            NEARLY: lambda: [_nearly(world, one, random.Random(f"{self.seed}/{i}")) for i, one in enumerate(scenes)],
            PARAPHRASED: lambda: [
                world.paraphrase(one, random.Random(f"{self.seed}/{i}")) for i, one in enumerate(scenes)
            ],
        }
        return pictures, said[kind]() if kind in said else None

    def conclude(self, rows: Table) -> Outcome:
        """Of each model every bar with its number, and the shares of the states of each kind."""
        claims, summary = list[Claim](), list[dict[str, Any]]()
        for model, own in rows.groupby("model", sort=False):
            claims += self._claims(str(model), own)
            for kind, part in own.groupby("kind", sort=False):
                shares = {state: float((part["state"] == state).mean()) for state in STATES}
                numbers = {f"number, {name}": float(part["number"].quantile(at)) for name, at in _QUANTILES.items()}
                fits = float(part["caption_fits"].mean())
                nearest = part["reason"].value_counts(normalize=True).to_dict()
                reasons = {f"reason, {reason or 'none'}": float(share) for reason, share in nearest.items()}
                about = {"model": model, "kind": kind, "pictures": len(part), "caption fits": fits}
                summary.append({**about, **shares, **numbers, **reasons})
        told = tuple(
            f"{one['model']}, {one['kind']} ({one['pictures']}): "
            + ", ".join(f"{state} {one[state]:.3f}" for state in STATES)
            + f"; number {one['number, 2 %']:.2f}, {one['number, median']:.2f}, {one['number, 98 %']:.2f} (2, 50, 98 % "
            f"of pictures); caption fits {one['caption fits']:.2f}"
            for one in summary
        )
        return Outcome(claims=tuple(claims), summary=pd.DataFrame(summary), notes=told)

    def _claims(self, model: str, rows: Table) -> list[Claim]:
        kinds = rows["kind"]
        strange = kinds.isin([*SHARES, UPSIDE_DOWN, SCRAMBLED])
        state, fits = rows["state"], rows["caption_fits"].astype(bool)
        bars = [
            (f"{RENDERS} known, less {KNOWN:g}", state[kinds == RENDERS] == "known", KNOWN),
            ("no portraits not known, less 1", state[strange] != "known", 1.0),
            (f"no portraits unknown, less {UNKNOWN:g}", state[strange] == "unknown", UNKNOWN),
            (
                f"{OTHER} not unknown, less {1 - OTHERS_UNKNOWN:g}",
                state[kinds == OTHER] != "unknown",
                1 - OTHERS_UNKNOWN,
            ),
            (f"{OTHER} doubtful, less {1 - OTHERS_UNKNOWN:g}", state[kinds == OTHER] == "doubtful", 1 - OTHERS_UNKNOWN),
            (f"{ODD} not unknown, less {1 - OTHERS_UNKNOWN:g}", state[kinds == ODD] != "unknown", 1 - OTHERS_UNKNOWN),
            (f"{WRONG} told, less {TOLD:g}", ~fits[kinds == WRONG], TOLD),
            (f"{NEARLY}, told, less {TOLD:g}", ~fits[kinds == NEARLY], TOLD),
            (f"{PARAPHRASED} not told, less {RIGHT:g}", fits[kinds == PARAPHRASED], RIGHT),
            ("evaluations a picture, 8 less the most", rows["evaluations"] <= 8, 1.0),
        ]
        return [_claim(self.statement, model, measure, held, bar) for measure, held, bar in bars if len(held)]

    def draw(self, outcome: Outcome, figure: Figure) -> None:
        """States of every kind, and the number's range, a row of panels a model."""
        models = list(dict.fromkeys(outcome.summary["model"]))
        heads = ["states", "loss at level 0.5 in the median of what the model draws: 2, 50 and 98 % of pictures"]
        grid = panels(figure, heads, rows=len(models), size=(15, 5 * len(models)))
        for (states, numbers), model in zip(grid, models, strict=True):
            rows = outcome.summary[outcome.summary["model"] == model].iloc[::-1]
            kinds, start = list(rows["kind"]), pd.Series(0.0, index=rows.index)
            for state, colour in zip(STATES, COLOURS, strict=False):
                states.barh(kinds, rows[state], left=start, color=colour, label=state)
                start = start + rows[state]
            states.set_xlabel(f"{model}: share of pictures")
            states.legend(fontsize=8)
            low, middle, high = (rows[f"number, {name}"] for name in _QUANTILES)
            numbers.hlines(kinds, low, high, color=COLOURS[0])
            numbers.plot(middle, kinds, "o", color=COLOURS[0])
            numbers.set_xscale("log")
            numbers.set_xlabel(f"{model}: loss, in own pictures' median")


_QUANTILES = {"2 %": 0.02, "median": 0.5, "98 %": 0.98}


def _claim(statement: str, model: str, measure: str, held: Table, bar: float) -> Claim:
    """A share against a bar."""
    hits, count = int(held.sum()), len(held)
    interval = stats.binomtest(hits, count).proportion_ci(0.95, method="exact")
    share = hits / count
    found = Estimate(mean=share - bar, low=interval.low - bar, high=interval.high - bar, pictures=count)
    verdict = "holds" if share >= bar else "does not hold"
    return dataclasses.replace(Claim.of(statement, model, measure, found), verdict=verdict)


def _encoded(model: Backbone, pictures: Sequence[Image.Image], captions: Sequence[str] | None) -> JointLatent:
    """As `encode` does it, without decoding again, which the guard does not need."""
    frames, reader = fit_all(model, pictures), captioner_for(model)
    pixels = torch.stack([frame.pixels for frame in frames]).to(model.device, model.dtype)
    if captions is None and reader is None:
        raise ConfigError(f"nobody reads what pictures show to {model.name}. Name a model with a captioner")
    said = tuple(captions or reader.caption(pixels))  # pyright: ignore[reportOptionalMemberAccess]
    return JointLatent(
        backbone=model,
        z=model.encode(pixels),
        condition=model.embed(said),
        captions=said,
        frames=frames,
        read=said if captions is None else (),
    )


def _guard(model: Backbone) -> Guard:
    guard = Guard.of(model)
    if guard is None:
        raise ConfigError(f"{model.name} has no guard. Run: latentedit models calibrate {model.name}")
    return guard


def _nearly(world: Domain, scene: Scene, generator: random.Random) -> str:
    """The caption of the scene with one attribute at another value."""
    able = world.alternatives(scene)
    name = generator.choice([one for one, values in able.items() if values])
    return full_caption(world, world.change(scene, {name: generator.choice(list(able[name]))}))


def _odd(world: Any) -> Odd:
    if not hasattr(world, "oddities"):
        raise ConfigError("no portraits of any parts are drawn here. Install the newest latentedit-portraits")
    return world
