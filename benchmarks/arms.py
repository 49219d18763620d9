"""Text, image, or both? The arms of the joint latent at several levels, and the level at which a model decides.

    python benchmarks/arms.py    -> results/three-arms.json and .md

For each arm, level and direction, at scale 1, against the rendered truth t (a displacement of the clean latent, m the
one that was made):

    Eff = <m, t> / |t|^2, clipped to [0, 1]      Dec = |cos(m, t)|      SDE = 2 Eff Dec / (Eff + Dec)
    R = |m - t|^2 / |t|^2                        G = SDE of the joint arm - the larger of the others', over pairs

The level at which the model decides a change: the lowest from which noise, then sampling under the target text, shows
it in half of the portraits. Beside it what a model without a truth has: the size of the difference of its clean
estimates under the two texts, level by level. Calibration split only.
"""

import argparse
import json
import sys
from typing import Any

import numpy as np
import torch
from edit_errors import (
    Array,
    Watch,
    cell,
    cosines,
    decide,
    described,
    interval,
    latent_errors,
    norms,
    readings,
    save,
    table,
)
from edit_pairs import CHANGES, Batch, draw_pairs, encode_all
from jaxtyping import Float
from torch import Tensor

from latentedit.core.settings import from_plain, to_plain
from latentedit.directions.base import Direction
from latentedit.directions.distillation import Distillation
from latentedit.directions.hsds import HSDS
from latentedit.directions.identification import identify
from latentedit.editors.baselines.sdedit import SDEdit
from latentedit.editors.judge import Judge
from latentedit.editors.registry import make_editor
from latentedit.editors.slider import Arm, Slider
from latentedit.models.base import Backbone
from latentedit.models.registry import bundled_folder, load
from latentedit_portraits.reader import PortraitReader

LEVELS = (0.3, 0.5, 0.65, 0.75, 0.85, 0.95, 0.98)
DECISIONS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98)
ONE_LOOK = HSDS(levels=(0.95, 0.95), steps=1, noises=8, antithetic=True)
CURVE_NOISES = 4
MEASURES = ("sde", "effect", "decomposability", "error", "done", "others_changed")

Key = tuple[str, str, float]
"""Arm, direction, level."""


def search_of(model: Backbone, given: str | None) -> HSDS:
    """The search that is stored with the model, or the one given as JSON."""
    if given is not None:
        return from_plain(HSDS, json.loads(given))
    search = getattr(make_editor("eim", model), "search", None)
    assert isinstance(search, HSDS)
    return search


def measured(model: Backbone, reader: PortraitReader, batch: Batch, z: Float[Tensor, "b *latent"]) -> dict[str, Array]:
    """All measures of edited latents, one number a pair; SDE is 0 where nothing moved towards the truth."""
    made, truth = z - batch.latent.z, batch.truth_z - batch.latent.z
    cosine = cosines(made, truth)
    effect = np.clip(cosine * norms(made) / norms(truth), 0, 1)
    decomposability = np.abs(cosine)
    done, others = readings(model, reader, batch, z)
    return {
        "sde": 2 * effect * decomposability / np.maximum(effect + decomposability, 1e-12),
        "effect": effect,
        "decomposability": decomposability,
        "error": latent_errors(z, batch),
        "done": done,
        "others_changed": others,
    }


def slider_of(batch: Batch, direction: Direction, arm: Arm, level: float, steps: int) -> Slider:
    """The way along a direction."""
    judge = Judge.of(batch.latent.backbone)
    return Slider(latent=batch.latent, direction=direction, arm=arm, level=level, steps=steps, judge=judge)


def walk(
    model: Backbone,
    reader: PortraitReader,
    batch: Batch,
    directions: dict[str, Direction],
    steps: int,
    watch: Watch,
) -> dict[Key, dict[str, Array]]:
    """Every arm at scale 1; the image arm, which has no level, once a direction (level 0)."""
    once = torch.ones(1, len(batch.latent), dtype=torch.float64)
    found: dict[Key, dict[str, Array]] = {}
    for name, direction in directions.items():
        z = slider_of(batch, direction, "image", LEVELS[0], steps).move(once)[0]
        found["image", name, 0.0] = measured(model, reader, batch, z)
    for level in LEVELS:
        text = slider_of(batch, next(iter(directions.values())), "text", level, steps)
        found["text", "", level] = measured(model, reader, batch, text.move(once)[0])
        for name, direction in directions.items():
            joint = slider_of(batch, direction, "joint", level, steps)
            vars(joint)["trace"] = text.trace  # the way up does not depend on the arm
            found["joint", name, level] = measured(model, reader, batch, joint.move(once)[0])
        watch(f"arms at level {level:g}")
    return found


def gain(rows: Array) -> float:
    """G from the columns joint, text, image."""
    joint, text, image = rows.mean(0)
    return float(joint - max(text, image))


def gains(found: dict[Key, dict[str, Array]], name: str) -> dict[float, dict[str, float]]:
    """G of each level, with intervals that hold for all levels together (Bonferroni)."""
    return {
        level: interval(
            gain,
            np.stack(
                [
                    found["joint", name, level]["sde"],
                    found["text", "", level]["sde"],
                    found["image", name, 0.0]["sde"],
                ],
                axis=1,
            ),
            share=1 - 0.05 / len(LEVELS),
        )
        for level in LEVELS
    }


def verdict(found: dict[float, dict[str, float]]) -> dict[str, Any]:
    """C9: is there a gain at any level, and is it largest at a low one?"""
    best = max(found, key=lambda level: found[level]["mean"])
    holds = [level for level in LEVELS if decide(found[level]) == "holds"]
    fails = all(decide(found[level]) == "fails" for level in LEVELS)
    return {
        "gain": "holds" if holds else "fails" if fails else "undecided",
        "levels_with_gain": holds,
        "largest_at": best,
        "largest_at_a_low_level": best < LEVELS[len(LEVELS) // 2],
    }


def sampled(
    model: Backbone, reader: PortraitReader, batch: Batch, seed: int, watch: Watch
) -> dict[float, dict[str, Array]]:
    """Noise up to a level, then 14 steps of the grid (those below it) under the target text, without guidance."""
    found: dict[float, dict[str, Array]] = {}
    for level in DECISIONS:
        z = SDEdit(level=level, steps=14, guidance=1.0).edit(batch.latent, batch.target, [1.0], seed=seed)[0].z
        found[level] = measured(model, reader, batch, z)
        watch(f"noise and sampling from level {level:g}")
    return found


def estimate_curve(batch: Batch, seed: int) -> dict[float, Array]:
    """The norm of ``x_hat(x_s, c1) - x_hat(x_s, c0)`` by level, mean over noises, one number a pair."""
    found: dict[float, Array] = {}
    for level in DECISIONS:
        config = HSDS(levels=(level, level), steps=1, noises=CURVE_NOISES, antithetic=True)
        noise = config.draw(batch.latent.z.shape[1:], seed=seed, index=0).to(batch.latent.z)
        wanted = Distillation(latent=batch.latent, target=batch.target).at(None, level, noise).wanted
        found[level] = norms(wanted.flatten(0, 1)).reshape(CURVE_NOISES, -1).mean(0)
    return found


def decisions(
    batch: Batch,
    arms: dict[Key, dict[str, Array]],
    samples: dict[float, dict[str, Array]],
    curve: dict[float, Array],
) -> dict[str, dict[str, Any]]:
    """For each change: the level by the truth, by sampling, and by two rules that need no truth."""
    found: dict[str, dict[str, Any]] = {}
    changes = np.array([pair.change for pair in batch.pairs])
    for change in (*CHANGES, "all"):
        chosen = changes == change if change in CHANGES else np.ones(len(changes), dtype=bool)
        seen = {level: float(samples[level]["done"][chosen].mean()) for level in DECISIONS}
        sizes = {level: float(curve[level][chosen].mean()) for level in DECISIONS}
        rules = {
            "decided": next((level for level in DECISIONS if seen[level] >= 0.5), None),
            "curve_peak": max(DECISIONS, key=lambda level: sizes[level]),
            "curve_half": next(level for level in DECISIONS if sizes[level] >= max(sizes.values()) / 2),
        }
        best: dict[str, Any] = {}
        for arm, name in sorted({key[:2] for key in arms if key[0] != "image"}):
            errors = {level: float(np.median(arms[arm, name, level]["error"][chosen])) for level in LEVELS}
            least = min(LEVELS, key=lambda level: errors[level])
            regret = {rule: errors[_nearest(at)] - errors[least] for rule, at in rules.items() if at is not None}
            best[f"{arm} {name}".strip()] = {"best_level": least, "median_error": errors, "regret": regret}
        found[change] = {**rules, "done_by_level": seen, "curve": sizes, "arms": best}
    return found


def _nearest(level: float) -> float:
    """The level of the arms that is closest."""
    return min(LEVELS, key=lambda other: abs(other - level))


def agreement(found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """How often each truth-free rule names the level that sampling decides, to within one place of the list."""
    place = {level: index for index, level in enumerate(DECISIONS)}
    known = [change for change in CHANGES if found[change]["decided"] is not None]
    table_: dict[str, dict[str, Any]] = {}
    for rule in ("curve_peak", "curve_half"):
        apart = {change: place[found[change][rule]] - place[found[change]["decided"]] for change in known}
        table_[rule] = {
            "places_apart": apart,
            "equal": sum(a == 0 for a in apart.values()),
            "within_one": sum(abs(a) <= 1 for a in apart.values()),
            "of": len(known),
        }
    return table_


def arms_table(found: dict[str, dict[str, Any]]) -> list[str]:
    """One line an arm, direction and level."""
    rows = [
        [name, *(cell(entry[measure]) for measure in MEASURES), f"{entry['error']['median']:.3f}"]
        for name, entry in found.items()
    ]
    head = ["arm, direction, level", "SDE", "Eff", "Dec", "R", "done", "others changed", "median R"]
    return table(head, rows)


def gain_table(found: dict[str, dict[float, dict[str, float]]]) -> list[str]:
    """G by level and direction."""
    return table(
        ["G, direction", *(f"s = {level:g}" for level in LEVELS)],
        [[name, *(cell(by_level[level]) for level in LEVELS)] for name, by_level in found.items()],
    )


def decision_tables(found: dict[str, dict[str, Any]], samples: dict[str, dict[str, Any]]) -> list[str]:
    """Levels by change, the shares and sizes behind them, and the same for all changes."""
    arms = list(found["all"]["arms"])
    rows: list[list[str]] = []
    for change, entry in found.items():
        cells = ["none" if entry[r] is None else f"{entry[r]:g}" for r in ("decided", "curve_peak", "curve_half")]
        for arm in arms:
            regret = entry["arms"][arm]["regret"]
            cost = ", ".join(f"+{regret[r]:.2f}" if r in regret else "none" for r in ("curve_peak", "curve_half"))
            cells.append(f"{entry['arms'][arm]['best_level']:g} ({cost})")
        rows.append([change, *cells])
    head = ["change", "decided", "curve peaks", "curve at half", *(f"best R, {arm} (peak, half)" for arm in arms)]
    lines = table(head, rows)
    levels = [f"s = {level:g}" for level in DECISIONS]
    shares = [[c, *(f"{e['done_by_level'][level]:.2f}" for level in DECISIONS)] for c, e in found.items()]
    sizes = [[c, *(f"{e['curve'][level]:.2f}" for level in DECISIONS)] for c, e in found.items()]
    lines += table(["sampled, target seen", *levels], shares)
    lines += table(["size of the estimates' difference", *levels], sizes)
    others = [cell(samples[f"{level:g}"]["others_changed"]) for level in DECISIONS]
    return lines + table(["sampled", *levels], [["others changed", *others]])


def report(content: dict[str, Any]) -> list[str]:
    """The Markdown of everything."""
    lines = ["## Joint gain", "", "G = SDE joint - max(SDE text, SDE image); intervals hold for all levels.", ""]
    lines += gain_table(content["gains"])
    for name, found in content["verdicts"].items():
        at = ", ".join(f"{level:g}" for level in found["levels_with_gain"]) or "none"
        low = "a low level" if found["largest_at_a_low_level"] else "no low level"
        told = f"gain **{found['gain']}** (levels: {at}); largest at {found['largest_at']:g}, {low}."
        lines += [f"C9, {name}: {told}", ""]
    lines += ["## Arms at scale 1", "", *arms_table(content["arms"])]
    lines += ["## Where the model decides", ""]
    lines += ["Numbers in brackets: what the truth-free levels cost in median R.", ""]
    lines += decision_tables(content["decisions"], content["sampled"])
    for rule, found in content["agreement"].items():
        told = f"equal {found['equal']}, within one place {found['within_one']}, of {found['of']} changes"
        lines += [f"{rule} against the level decided by sampling: {told}.", ""]
    return lines


def experiment(
    model: Backbone, reader: PortraitReader, search: HSDS, *, portraits: int, steps: int, seed: int
) -> dict[str, Any]:
    """Everything, measured."""
    watch = Watch(model)
    batch = encode_all(model, draw_pairs("calibration", portraits, seed=seed))
    start = model.evaluations
    watch(f"encoded {len(batch.pairs)} pairs")
    searches = {"stored": search, "one look": ONE_LOOK}
    directions = {name: identify(batch.latent, batch.target, config, seed=seed) for name, config in searches.items()}
    watch("identified")
    arms = walk(model, reader, batch, directions, steps, watch)
    samples = sampled(model, reader, batch, seed, watch)
    curve = estimate_curve(batch, seed)
    watch("done")
    levels = decisions(batch, arms, samples, curve)
    joint = {name: gains(arms, name) for name in searches}

    def described_all(measures: dict[str, Array]) -> dict[str, Any]:
        return {name: described(values) for name, values in measures.items()}

    return {
        "pairs": len(batch.pairs),
        "evaluations": model.evaluations - start,
        "seconds": watch.seconds,
        "searches": {name: to_plain(config) for name, config in searches.items()},
        "gains": joint,
        "verdicts": {name: verdict(by_level) for name, by_level in joint.items()},
        "arms": {
            ", ".join(part for part in (arm, name, f"{level:g}" if level else "") if part): described_all(measures)
            for (arm, name, level), measures in arms.items()
        },
        "sampled": {f"{level:g}": described_all(measures) for level, measures in samples.items()},
        "decisions": levels,
        "agreement": agreement(levels),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--portraits", type=int, default=12, help="portraits of the calibration split, six pairs each")
    parser.add_argument("--steps", type=int, default=28, help="of the model's whole grid, for the text and joint arms")
    parser.add_argument("--search", help="settings of the first direction as JSON; default: those of the model's eim")
    parser.add_argument("--seed", type=int, default=23, help="of portraits and noises")
    parser.add_argument("--model", default="portraits", help="a bundled name")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"), help="of the network")
    parser.add_argument("--name", default="three-arms", help="of the files in results/")
    arguments = parser.parse_args()
    model = load(arguments.model, dtype=getattr(torch, arguments.dtype))
    reader = PortraitReader.from_folder(bundled_folder(arguments.model))
    search = search_of(model, arguments.search)
    with torch.no_grad():
        found = experiment(
            model, reader, search, portraits=arguments.portraits, steps=arguments.steps, seed=arguments.seed
        )
    command = " ".join(["python", "benchmarks/arms.py", *sys.argv[1:]])
    content = {"command": command, "model": model.fingerprint, "dtype": arguments.dtype, **found}
    lines = report(content)
    save(arguments.name, content, lines)
    print("\n".join(lines))
    print(f"{content['evaluations']} evaluations, {content['seconds']:.0f} s")


if __name__ == "__main__":
    main()
