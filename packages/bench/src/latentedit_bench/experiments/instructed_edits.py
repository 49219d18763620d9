"""Is a model that is told what to do an editor like the others: its answers, its strength, ten edits in a row.

Such a model is shown a picture and given an instruction. All that it is asked here can be rendered, so every edit has a
right answer, and so has every degree of it, and the last of ten:

- answers: the benchmark's test items as instructions, beside the same items as captions on a model of captions.
- nothing to do: instructions that ask for what is there, or about a part that is not.
- strength: changes along an attribute whose values have an order, with an answer for every step.
- in a row: ten edits, each of what the one before left.
"""

import dataclasses
import functools
import itertools
import random
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pandas as pd
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from latentedit.api.manifests.items import Item
from latentedit.core.settings import to_plain
from latentedit.editors.baselines.flowslider import FlowSlider
from latentedit.editors.baselines.sdedit import SDEdit
from latentedit.editors.baselines.velocity_steering import VelocitySteering
from latentedit.editors.baselines.veloedit import VeloEdit
from latentedit.editors.eim import EIM
from latentedit.editors.local_change import local_change
from latentedit.editors.registry import localizes, make_editor
from latentedit.latents.encode import encode, encode_frames
from latentedit.models.base import Backbone
from latentedit_bench.data.counterfactual import Rendered, edits_in_a_row
from latentedit_bench.data.prepared import Prepared, prepare, to_tensor
from latentedit_bench.domains.base import Instructed, Scene, instructed
from latentedit_bench.experiments.base import Context, Experiment, Outcome, Row, Unit
from latentedit_bench.experiments.claim import Claim
from latentedit_bench.experiments.known_items import DOMAIN, asking, loaded
from latentedit_bench.experiments.plotting import draw_numbers, panels
from latentedit_bench.experiments.strength_proxies import ERROR, STRENGTHS, ladders, true_error
from latentedit_bench.metrics.counterfactual import counterfactual_error
from latentedit_bench.metrics.disentanglement import all_scores
from latentedit_bench.metrics.repeated_edits import repeated_errors
from latentedit_bench.metrics.statistics import Estimate, Table, by_item, means, over_groups, ratio_over_groups
from latentedit_bench.ranking.evaluate import codec_rows, evaluate
from latentedit_bench.ranking.methods import Method
from latentedit_bench.ranking.ranking import PRIMARY, per_item
from latentedit_bench.tuning.tuning import stored_methods

ANSWERS, IDLE, STRENGTH, ROW = "answers", "nothing to do", "strength", "in a row"

OURS, STOCK, WEIGHT = EIM.name, "stock pipeline", "guidance weight"

CAPTIONED = f"{EIM.name} by captions"

RIVALS = (WEIGHT, VeloEdit.name, FlowSlider.name, VelocitySteering.name)
"""Whose strength is compared with ours."""

BACK = "error of a step back"

EVEN = "straight, of even effects"

ROUNDS = 10

OVER_EIM, UNCHANGED, STRAIGHT, RISING, HALF = 1.10, 0.95, 0.975, 0.95, 0.5
"""What is asked for: error over that of EIM, share of idle instructions that change no attribute, correlation of the
effects with the true ways, share of walks that rise at every step, error after ten edits over the stock pipeline's."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class InstructedEdits(Experiment):
    """Answers, idle instructions, strength and ten edits in a row of one model.

    Args:
        model: bundled, or a folder; of a domain that gives instructions, and taking references.
        captioned: the model of captions on which EIM edits the same items.
        items: of the test split.
        idle: pictures that are asked for what is there already.
        walks: graded changes.
        chains: pictures that are edited ten times.
        seed: of every random number.
    """

    name: ClassVar[str] = "instructed-edits"
    minutes: ClassVar[int] = 10
    title: ClassVar[str] = "a model that is told what to do"
    paper: ClassVar[str] = "derived here"
    statement: ClassVar[str] = "a model that is told what to do gives the right answer, at every strength"
    statistic: ClassVar[str] = f"{OVER_EIM:g} less the error above the codec's at strength 1 over that of {CAPTIONED}"
    batch: ClassVar[int] = 8

    model: str = "portraits-kontext"
    captioned: str = "portraits"
    items: int = 96
    idle: int = 64
    walks: int = 32
    chains: int = 24
    seed: int = 26

    @property
    def plan(self) -> Mapping[str, Any]:
        """Methods, strengths, controls and bars."""
        return {
            **to_plain(self),
            "methods": [OURS, STOCK, CAPTIONED, *RIVALS],
            "locality": "of answers, as latentedit edit has it, and of every method's walk; none ten times in a row",
            "strengths": list(STRENGTHS),
            "rounds": ROUNDS,
            "bars": {
                f"error over that of {CAPTIONED}, at most": OVER_EIM,
                "idle instructions that change no attribute, at least": UNCHANGED,
                "correlation of effects with the true ways, at least": STRAIGHT,
                "walks that rise at every step, at least": RISING,
                "error after ten edits over the stock pipeline's, at most": HALF,
            },
        }

    def quick(self) -> "InstructedEdits":
        """A few pictures."""
        return dataclasses.replace(self, items=8, idle=8, walks=4, chains=4)

    @property
    def model_names(self) -> Sequence[str]:
        """Both models."""
        return (self.model, self.captioned)

    def units(self, at: Context) -> Sequence[Unit]:
        """What is asked, and first and number of each batch."""
        del at
        sizes = {ANSWERS: self.items, IDLE: self.idle, STRENGTH: self.walks, ROW: self.chains}
        return [
            (task, first, min(self.batch, count - first))
            for task, count in sizes.items()
            for first in range(0, count, self.batch)
        ]

    @torch.no_grad()
    def measure(self, unit: Unit, at: Context) -> Sequence[Row]:
        """Rows of a batch, each with its task."""
        task, first, count = str(unit[0]), int(unit[1]), int(unit[2])
        some = slice(first, first + count)
        model, world = loaded(self.model, at), instructed(DOMAIN)
        if task == ANSWERS:
            rows = answer_rows(model, loaded(self.captioned, at), asking("test", self.items).items[some], self.seed)
        elif task == IDLE:
            scenes = world.draw("test", self.idle, self.seed)[some]
            items = [idle_item(world, scene, f"idle-{first + i}") for i, scene in enumerate(scenes)]
            rows = idle_rows(model, items, self.seed)
        elif task == STRENGTH:
            steps = at.once("ladders", functools.partial(ladders, self.seed, self.walks))[some]
            rows = walk_rows(model, steps, seed=self.seed)
        else:
            scenes = world.draw("test", self.chains, self.seed + 1)[some]
            named = {f"chain-{first + i}": scene for i, scene in enumerate(scenes)}
            rows = chain_rows(model, named, seed=self.seed)
        return [{"task": task, "model": model.name, **row} for row in rows]

    def conclude(self, rows: Table) -> Outcome:
        """The bars, in their order, then what each method gives."""
        model = str(rows["model"].iloc[0])
        tasks = {str(name): part.dropna(axis=1, how="all") for name, part in rows.groupby("task", sort=False)}
        answers, idle, walks, ten = (tasks[name] for name in (ANSWERS, IDLE, STRENGTH, ROW))
        ranked = per_item(answers)
        above, errors, last = (
            by_item(ranked, PRIMARY),
            by_item(walks, ERROR),
            by_item(ten[ten["round"] == ROUNDS], ERROR),
        )
        own = walks[walks["method"] == OURS].set_index(["group", "item"])
        left = idle.set_index(["group", "item"])
        kept = ((left["others_changed"] == 0) & (left["failed"] == 0)).astype(float)
        numbers = {
            f"{OVER_EIM:g} less error over that of {CAPTIONED}": _below(
                OVER_EIM, ratio_over_groups(above[OURS], above[CAPTIONED])
            ),
            f"share of idle instructions that change no attribute, less {UNCHANGED:g}": over_groups(kept - UNCHANGED),
            f"correlation of effects with the true ways, less {STRAIGHT:g}": over_groups(own["straight"] - STRAIGHT),
            f"share of walks that rise at every step, less {RISING:g}": over_groups(own["rises"] - RISING),
            **{f"error along the way: {name} less {OURS}": over_groups(errors[name] - errors[OURS]) for name in RIVALS},
            f"{HALF:g} less error after {ROUNDS} edits over that of the {STOCK}": _below(
                HALF, ratio_over_groups(last[OURS], last[STOCK])
            ),
        }
        summary = means(ranked, ["method"], PRIMARY) + means(ten, ["method", "round"], ERROR)
        for measure in ("straight", "rises", ERROR, BACK):
            if measure in walks:  # a few walks may all begin at the end of their order
                summary += means(walks.dropna(subset=[measure]), ["method"], measure)
        even = f"Effects equal to the strengths have a correlation of {own[EVEN].mean():.3f} with the true ways."
        return Outcome(
            claims=tuple(Claim.of(self.statement, model, measure, found) for measure, found in numbers.items()),
            summary=pd.DataFrame(summary),
            notes=(even,),
        )

    def draw(self, outcome: Outcome, figure: Figure) -> None:
        """The bars."""
        axis = panels(figure, [self.title], size=(11, 6))[0][0]
        draw_numbers(axis, outcome.claims, unit="above 0 where the bar is met")


def _below(bar: float, found: Estimate) -> Estimate:
    return dataclasses.replace(found, mean=bar - found.mean, low=bar - found.high, high=bar - found.low)


def told(model: Backbone, items: Sequence[Item], texts: Sequence[str]) -> Prepared:
    """A batch whose pictures the model sees, with instructions in the place of target captions."""
    batch = prepare(model, items)
    latent = encode_frames(model, batch.latent.frames, instructed=True)
    return dataclasses.replace(batch, latent=latent, target=latent.told(texts))


def asked(item: Item) -> str:
    """An item of the domain as an instruction, worded by its id."""
    before, after = item.picture, item.truth
    assert isinstance(before, Rendered)
    assert isinstance(after, Rendered)
    return instructed(before.world).instruction(before.scene, after.scene, random.Random(item.id))


def ours(model: Backbone) -> Method:
    """What ``latentedit edit`` does with an instruction: a direction from the two texts, and only that is added."""
    editor = make_editor(OURS, model)
    return Method(name=OURS, editor=editor, local=localizes(editor, model))


def stock(guidance: float = 1.0) -> SDEdit:
    """What the stock pipeline does: a sample beside the picture, by default without classifier-free guidance."""
    return SDEdit(level=1.0, guidance=guidance)


def answer_rows(model: Backbone, captioned: Backbone, items: Sequence[Item], seed: int) -> list[dict[str, Any]]:
    """Rows of `evaluate` at strength 1: of the codec alone, our way, the stock pipeline, and our way by captions."""
    if not items:
        return []
    batch = told(model, items, [asked(item) for item in items])
    (eim,) = stored_methods(captioned, [EIM.name])
    methods = (
        (ours(model), batch),
        (Method(name=STOCK, editor=stock()), batch),
        (dataclasses.replace(eim, name=CAPTIONED), prepare(captioned, items)),
    )
    rows = codec_rows(batch)
    for method, own in methods:
        rows += evaluate(method, own, [1.0], seed=seed, beside=False)[0]
    return rows


def idle_item(world: Instructed, scene: Scene, name: str) -> Item:
    """A picture that is asked for what it shows; the right answer is the picture."""
    shown = Rendered(scene, world.name)
    text = world.idle_instruction(scene, random.Random(name))
    return Item(id=name, picture=shown, truth=shown, source_caption=text, target_caption=text)


def idle_rows(model: Backbone, items: Sequence[Item], seed: int) -> list[dict[str, Any]]:
    """Rows of `evaluate` of our way."""
    batch = told(model, items, [item.target_caption for item in items])
    return evaluate(ours(model), batch, [1.0], seed=seed, beside=False)[0]


def walk_rows(model: Backbone, steps: Sequence[tuple[Item, ...]], *, seed: int) -> list[dict[str, Any]]:
    """How each method's walk over `STRENGTHS` follows the right answers of the steps.

    "straight" is Pearson's correlation of the effects at 0 and at the strengths of the steps with those of the right
    answers, `EVEN` that of effects equal to the strengths; "rises" whether the effect rises from each strength to the
    next; `ERROR` as in `strength_proxies`; and of our way `BACK`, the error of a step in the other direction, where
    that has an answer.

    Args:
        model: that takes instructions.
        steps: of graded changes, from `ladders`.
        seed: of the editors.
    """
    wholes = [ladder[-1] for ladder in steps]
    batch, found = told(model, wholes, [asked(item) for item in wholes]), list[dict[str, Any]]()
    backwards = {len(ladder): -1 / len(ladder) for ladder in steps}
    for name in (OURS, *RIVALS):
        more = backwards.values() if name == OURS else ()
        walk = dict(zip((*STRENGTHS, *more), _walked(batch, name, (*STRENGTHS, *more), seed), strict=True))
        for index, ladder in enumerate(steps):
            source, count = batch.source[index : index + 1], len(ladder)
            own = {strength: picture[index : index + 1] for strength, picture in walk.items()}
            answers = to_tensor([item.truth() for item in ladder if item.truth is not None])
            effects = [0.0, *(_effect(own[strength], source, answers[-1:]) for strength in STRENGTHS)]
            ways = [0.0, *(_effect(answer[None], source, answers[-1:]) for answer in answers)]
            row: dict[str, Any] = {"method": name, "item": ladder[-1].id, "group": ladder[-1].group}
            row["straight"] = pearson([effects[len(STRENGTHS) * step // count] for step in range(count + 1)], ways)
            row[EVEN] = pearson([step / count for step in range(count + 1)], ways)
            row["rises"] = float(all(after > before for before, after in itertools.pairwise(effects)))
            row[ERROR] = true_error([own[strength] for strength in STRENGTHS], source, answers)
            if name == OURS and (other := step_back(ladder[-1])) is not None:
                row[BACK] = float(counterfactual_error(own[backwards[count]], source, to_tensor([other()])))
            found.append(row)
    return found


def _walked(batch: Prepared, name: str, strengths: Sequence[float], seed: int) -> list[Float[Tensor, "b 3 h w"]]:
    """The edited pictures of a method at each strength."""
    latent = batch.latent
    if name == WEIGHT:
        moved = [stock(weight).edit(latent, batch.target, [1.0], seed=seed)[0] for weight in strengths]
    else:
        moved = make_editor(name, latent.backbone).edit(latent, batch.target, strengths, seed=seed)
    return [to_tensor(batch.restored(local_change(batch.changed(one.z)))) for one in moved]


def _effect(
    edited: Float[Tensor, "1 3 h w"], source: Float[Tensor, "1 3 h w"], truth: Float[Tensor, "1 3 h w"]
) -> float:
    return float(all_scores(edited, source, truth)["effect"])


def pearson(first: Sequence[float], second: Sequence[float]) -> float:
    """Pearson's correlation; 0 where one of them is all one number, and so follows nothing."""
    return float(torch.corrcoef(torch.tensor([first, second], dtype=torch.float64))[0, 1].nan_to_num(0))


def step_back(item: Item) -> Rendered | None:
    """Of a graded change the right answer to one step along its order in the other direction, where there is one."""
    before = item.picture
    assert isinstance(before, Rendered)
    world, name = instructed(before.world), item.about["change"]
    order = world.ordered[name]
    place = order.index(world.attributes(before.scene)[name])
    if place == 0:
        return None
    return dataclasses.replace(before, scene=world.change(before.scene, {name: order[place - 1]}))


def chain_rows(model: Backbone, scenes: Mapping[str, Scene], *, seed: int) -> list[dict[str, Any]]:
    """Errors of latents after each of `ROUNDS` edits of what the one before left, our way and the stock pipeline's.

    Args:
        model: that takes instructions.
        scenes: by names, from which the edits are drawn.
        seed: of the editors.
    """
    world = instructed(DOMAIN)
    chains = {
        name: [scene, *edits_in_a_row(DOMAIN, scene, ROUNDS, seed=f"{name}/{seed}")] for name, scene in scenes.items()
    }
    texts = [
        [
            world.instruction(chain[done], chain[done + 1], random.Random(f"{name}/{done}"))
            for name, chain in chains.items()
        ]
        for done in range(ROUNDS)
    ]
    before, *after = (
        encode(model, [Rendered(chain[done], DOMAIN)() for chain in chains.values()], instructed=True)
        for done in range(ROUNDS + 1)
    )
    answers = torch.stack([one.z for one in after])
    return [
        {"method": name, "item": chain, "group": chain, "round": done, ERROR: float(errors[index])}
        for name, editor in ((OURS, ours(model).editor), (STOCK, stock()))
        for done, errors in enumerate(repeated_errors(editor, before, texts, answers, seed=seed), 1)
        for index, chain in enumerate(chains)
    ]
