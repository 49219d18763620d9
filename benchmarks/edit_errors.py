"""How far edits are from the truth, how sure that is, and the tables that say so: what several experiments share."""

import dataclasses
import json
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from edit_pairs import Batch, bootstrap
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from latentedit.models.base import Backbone
from latentedit_portraits.attributes import VALUES
from latentedit_portraits.reader import PortraitReader

RESULTS = Path(__file__).resolve().parent.parent / "results"

CAP = 30.0
"""Errors count at most this much in means; directions that point away from the truth count so much."""

OUTSIDE = 0.01
"""Places whose share of the truth's energy is below this part of the strongest place's lie outside the truth."""

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Matched:
    """A direction against the truth, scaled to the truth's effect ``<a d, t> = |t|^2``; one number a pair.

    Args:
        cosine: between d and t.
        error: ``|a d - t|^2 / |t|^2 = 1 / cosine^2 - 1``, at most `CAP`; that is also what directions with a cosine
            of 0 or less get.
        outside: the part of the error in places where the truth changes nothing, capped likewise.
        scale: a; nan where the direction failed.
    """

    cosine: Array
    error: Array
    outside: Array
    scale: Array

    @property
    def sine_squared(self) -> Array:
        """``error / (1 + error)``, the share of a direction that is off the truth; 1 where it failed, so no cap."""
        return 1 - np.maximum(self.cosine, 0) ** 2

    @property
    def failed(self) -> int:
        """Directions with a cosine of 0 or less."""
        return int((~(self.cosine > 0)).sum())


def outside_truth(truth: Float[Tensor, "b c h w"]) -> Bool[Tensor, "b 1 h w"]:
    """Where the truth changes (next to) nothing: energy over channels below `OUTSIDE` of the strongest place's."""
    energy = truth.square().sum(1, keepdim=True)
    return energy < OUTSIDE * energy.amax((2, 3), keepdim=True)


def matched(direction: Float[Tensor, "b c h w"], truth: Float[Tensor, "b c h w"]) -> Matched:
    """Errors at matched effect, in float64."""
    d, t = direction.double(), truth.double()
    along, size = (d * t).flatten(1).sum(1), t.square().flatten(1).sum(1)
    cosine = along / (d.square().flatten(1).sum(1) * size).sqrt().clamp_min(1e-30)
    scale = torch.where(along > 0, size / along, torch.nan)
    squares = (scale[:, None, None, None] * d - t).square()

    def capped(values: Tensor) -> Array:
        share = values.flatten(1).sum(1) / size
        return share.nan_to_num(nan=CAP).clamp_max(CAP).cpu().numpy()

    return Matched(
        cosine=cosine.cpu().numpy(),
        error=capped(squares),
        outside=capped(squares * outside_truth(truth)),
        scale=scale.cpu().numpy(),
    )


def cosines(a: Float[Tensor, "b *latent"], b: Float[Tensor, "b *latent"]) -> Array:
    """The cosine of each pair of rows."""
    return torch.nn.functional.cosine_similarity(a.double().flatten(1), b.double().flatten(1)).cpu().numpy()


def norms(z: Float[Tensor, "b *latent"]) -> Array:
    """The norm of each row."""
    return torch.linalg.vector_norm(z.double().flatten(1), dim=1).cpu().numpy()


def latent_errors(z: Float[Tensor, "b *latent"], batch: Batch) -> Array:
    """``R = |z - t|^2 / |x - t|^2``, t the encoded truth and x the source: 0 is the truth, 1 is nothing gained."""
    return (norms(z - batch.truth_z) / norms(batch.latent.z - batch.truth_z)) ** 2


@torch.no_grad()
def readings(model: Backbone, reader: PortraitReader, batch: Batch, z: Tensor) -> tuple[Array, Array]:
    """Whether the reader sees what was asked for (0 or 1), and how many other attributes it sees changed."""
    assert batch.latent.decoded is not None
    done, others = list[float](), list[float]()
    parts = [model.decode(rows) for rows in z.split(32)]
    pictures = (batch.source_pixels + torch.cat(parts) - batch.latent.decoded).clamp(-1, 1)
    seen, before = reader.attributes(pictures), reader.attributes(batch.source_pixels)
    for pair, after, first in zip(batch.pairs, seen, before, strict=True):
        asked = set(pair.source.differences(pair.truth))
        done.append(float(getattr(after, pair.target) == getattr(pair.truth, pair.target)))
        others.append(float(sum(getattr(after, n) != getattr(first, n) for n in VALUES if n not in asked)))
    return np.array(done), np.array(others)


def described(values: Sequence[float] | Array) -> dict[str, float]:
    """Mean with its 95 % interval over pairs, and the median; pairs without a value are left out."""
    array = np.asarray(values, dtype=np.float64)
    array = array[np.isfinite(array)]
    if not len(array):
        return {"mean": math.nan, "low": math.nan, "high": math.nan, "median": math.nan}
    mean, low, high = bootstrap(array.tolist())
    return {"mean": mean, "low": low, "high": high, "median": float(np.median(array))}


def interval(
    statistic: Callable[[Array], float], rows: Array, *, share: float = 0.95, draws: int = 2000
) -> dict[str, float]:
    """Any statistic of the pairs (rows ``[pairs, ...]``), with its percentile bootstrap interval over pairs."""
    chosen = np.random.default_rng(0).integers(0, len(rows), (draws, len(rows)))
    found = np.array([statistic(rows[index]) for index in chosen])
    found = found[np.isfinite(found)]
    low, high = (math.nan, math.nan) if not len(found) else np.percentile(found, [50 - 50 * share, 50 + 50 * share])
    return {"mean": statistic(rows), "low": float(low), "high": float(high)}


def rank_correlation(rows: Array) -> float:
    """Spearman's correlation of two columns, ties sharing the mean of their ranks; nan where one does not vary."""
    ranks = [_ranks(column) for column in rows[np.isfinite(rows).all(1)].T]
    if len(ranks[0]) < 3 or any(column.std() == 0 for column in ranks):
        return math.nan
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _ranks(values: Array) -> Array:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count + 1) / 2)[place]


def decide(number: Mapping[str, float]) -> str:
    """The rule of every verdict: a number that is positive where the claim is true, and its interval."""
    return "holds" if number["low"] > 0 else "fails" if number["high"] < 0 else "undecided"


def claim(name: str, says: str, test: str, number: Mapping[str, float], **others: Any) -> dict[str, Any]:
    """One row of the verdicts: the number decides, the others are told with it."""
    return {"claim": name, "says": says, "test": test, **number, "verdict": decide(number), "others": others}


class Watch:
    """Tells on stderr what is being done, at which evaluation and second."""

    def __init__(self, model: Backbone) -> None:
        self._model = model
        self._started = time.perf_counter()

    def __call__(self, what: str) -> None:
        print(f"{self.seconds:7.1f} s {self._model.evaluations:8d} evaluations  {what}", file=sys.stderr, flush=True)

    @property
    def seconds(self) -> float:
        """Since it was made."""
        return time.perf_counter() - self._started


def plain(value: Any) -> Any:
    """Values for JSON: numbers with five digits, no nan, keys as text."""
    if isinstance(value, Mapping):
        return {" ".join(map(str, key)) if isinstance(key, tuple) else str(key): plain(v) for key, v in value.items()}
    if isinstance(value, np.ndarray | Tensor | list | tuple):
        return [plain(item) for item in (value.tolist() if isinstance(value, np.ndarray | Tensor) else value)]
    if isinstance(value, float | np.floating):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def save(name: str, content: Mapping[str, Any], lines: Sequence[str]) -> None:
    """``results/<name>.json`` and ``results/<name>.md``; both begin with the command that made them."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(plain(content), indent=1) + "\n", encoding="utf-8")
    made = f"{content['pairs']} pairs, {content['evaluations']} evaluations, {content['seconds']:.0f} s"
    head = [f"`{content['command']}`", "", f"{made}; model {content['model']}, {content['dtype']}.", ""]
    (RESULTS / f"{name}.md").write_text("\n".join([*head, *lines]) + "\n", encoding="utf-8")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table and an empty line."""
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(text.replace('|', chr(92) + '|') for text in cells)} |" for cells in lines] + [""]


def cell(number: Mapping[str, float]) -> str:
    """``mean [low, high]``."""
    return f"{number['mean']:.3f} [{number['low']:.3f}, {number['high']:.3f}]"
