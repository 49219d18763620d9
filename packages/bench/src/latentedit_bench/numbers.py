"""The numbers of README.md, read from `results/`, so that none is typed: ``python -m latentedit_bench.numbers``.

The page marks its numbers by comments, which no reader of the rendered page sees, and this module fills in what stands
between them: ``<!--NAME-->text<!--/-->`` is one of `NUMBERS`, ``<!--table NAME-->...<!--/table-->`` one of `TABLES`.
"""

import csv
import functools
import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from latentedit.core.errors import ConfigError
from latentedit.core.files.writing import write_text

_PORTRAITS = "../packages/portraits/src/latentedit_portraits/weights/portraits/latentedit.json"
_UNET = "../packages/models/src/latentedit_models/portraits-unet/latentedit.json"
_ADHERENCE = "quality/text adherence, 300 test captions, guidance 2"

_RANGE = "{mean:.3f} [{low:.3f}, {high:.3f}]"
_CLAIM = "{estimate:.3f} [{low:.3f}, {high:.3f}]"
_DECIBELS = "{mean:.1f} dB [{low:.1f}, {high:.1f}]"

NUMBERS: dict[str, tuple[str, str, str]] = {
    "locality": ("locality.json", "median_psnr_db", _DECIBELS),
    "no locality": ("locality.json", "psnr_db/no locality", "{median:.1f} dB"),
    "locality gap": ("locality.json", "share_of_gap/error", "{mean:.2f}"),
    "talk sum": ("composition.json", "measures/sum/cross-talk", _RANGE),
    "talk inverse": ("composition.json", "measures/inverse/cross-talk", "{mean:.3f}"),
    "talk projection": ("composition.json", "measures/projection/cross-talk", "{mean:.3f}"),
    "overlap sum": ("composition.json", "measures/sum/projection", "{mean:.3f}"),
    "overlap inverse": ("composition.json", "measures/inverse/projection", "{mean:.3f}"),
    "overlap truth": ("composition.json", "measures/truth, summed/projection", "{mean:.3f}"),
    "error together": ("composition.json", "measures/together/error", "{mean:.3f}"),
    "error sum": ("composition.json", "measures/sum/error", "{mean:.3f}"),
    "undo latent": ("undo.json", "median_psnr_db/latent alone", "{mean:.1f} dB"),
    "undo pixels": ("undo.json", "median_psnr_db/pixels", _DECIBELS),
    "undo worst": ("undo.json", "lowest_psnr_db/pixels", "{:.1f} dB"),
    "undo text": ("undo.json", "median_psnr_db/pixels, by text", "{mean:.1f} dB"),
    "transfer done": ("transfer.json", "measures/average, joint/success", _RANGE),
    "transfer others": ("transfer.json", "measures/average, joint/cross-talk", _RANGE),
    "transfer error": ("transfer.json", "measures/average, joint/error", "{median:.3f}"),
    "transfer one": ("transfer.json", "measures/one, joint arm/success", "{mean:.3f}"),
    "transfer one others": ("transfer.json", "measures/one, joint arm/cross-talk", "{mean:.3f}"),
    "transfer own": ("transfer.json", "measures/local/success", "{mean:.3f}"),
    "transfer own others": ("transfer.json", "measures/local/cross-talk", "{mean:.3f}"),
    "transfer words": ("transfer.json", "measures/text alone/success", "{mean:.3f}"),
    "transfer words error": ("transfer.json", "measures/text alone/error", "{median:.3f}"),
    "transfer image": ("transfer.json", "measures/average/success", "{mean:.3f}"),
    "guidance others": (
        "geometry/directions.json",
        "models/portraits/summary/0.7/claims/guidance, others",
        _RANGE,
    ),
    "ratio flowalign": ("benchmark/summary.csv", "eim/matched over flowalign/matched", "{:.2f}"),
    "ratio scaled": ("benchmark/summary.csv", "eim/scaled over flowalign/scaled", "{:.2f}"),
    "ratio one": ("benchmark/summary.csv", "eim/error over flowedit/error", "{:.2f}"),
    "flowedit local": ("benchmark/summary.csv", "flowedit, local/error", "{mean:.3f}"),
    "flowedit": ("benchmark/summary.csv", "flowedit/error", "{mean:.3f}"),
    "eim not local": ("benchmark/summary.csv", "eim, not local/error", "{mean:.3f}"),
    "eim": ("benchmark/summary.csv", "eim/error", "{mean:.3f}"),
    "verdicts": ("verdicts.json", "", "{right:.3f} [{low:.3f}, {high:.3f}]"),
    "memory 100": ("throughput-memory.json", "peak_mib/100", "{:.0f}"),
    "memory 1000": ("throughput-memory.json", "peak_mib/1000", "{:.0f}"),
    "speed": ("throughput.json", "runs/0/evaluations over runs/0/run_seconds", "{:.0f}"),
    "speed whole": ("throughput.json", "runs/0/whole", "{:.2f}"),
    "speed units": ("throughput.json", "runs/0/units", "{:.2f}"),
    "joint text": ("claims/joint-latent.json", "claims/joint less text, each at its best", _CLAIM),
    "joint one look": ("claims/joint-latent.json", "claims/joint gain, one look, at level 0.5", _CLAIM),
    "hessian cost": (
        "claims/hessian-preservation.json",
        "claims/leakage at 0.75: eim gamma, without Hessian less eim gamma",
        _CLAIM,
    ),
    "hessian steps": (
        "claims/hessian-preservation.json",
        "claims/leakage at 0.75: eim gamma, without Hessian, as many steps less eim gamma",
        _CLAIM,
    ),
    "adherence": (_PORTRAITS, f"{_ADHERENCE}/mean", "{:.3f}"),
    "unet adherence": (_UNET, f"{_ADHERENCE}/mean", "{:.3f}"),
    "unet eyebrows": (_UNET, f"{_ADHERENCE}/eyebrows", "{:.2f}"),
}
"""Name of a number to its file below `results/`, its place there (see `_at`), and how it is written."""

_RANKED = {
    "method": "",
    "matched error": "matched",
    "scaled error": "scaled",
    "error at strength 1": "error",
    "SDE": "disentanglement",
}
"""Columns of the ranking, and their measures in ``summary.csv``."""

_SHOWN = (
    "codec alone",
    "eim",
    "eim, not local",
    "eim joint",
    "flowalign",
    "turboedit",
    "steering-fields",
    "ledits",
    "diffedit",
    "flowslider",
    "dds",
    "eim text",
    "flowedit, local",
    "flowedit",
    "inversion",
    "sdedit",
)
"""Methods that the page shows; the others stand in ``results/benchmark/ranking.md``."""

_WALKED = {
    "purer, equal effect": (
        "the first directions are purer (share of the change in one attribute) than random ones of equal effect"
    ),
    "strong": "they change more than random ones of equal length",
    "guidance, residual": "x-space guidance stays nearer to the manifold than direct addition, at equal effect",
    "prompt, loss": "a basis under a prompt moves towards it more than one under no text: loss under the prompt",
    "prompt, value": "likewise: probability of the prompted value",
}
"""Claims about discovered directions in ``geometry/directions.json``, and what they say."""


def main() -> None:
    """Fill in the page of the repository that this module lies in."""
    root = Path(__file__).resolve().parents[4]
    page = root / "README.md"
    write_text(page, filled(page.read_text(encoding="utf-8"), root / "results"))


def filled(page: str, results: Path) -> str:
    """The page with every marked number and table as the results have it.

    Args:
        page: Markdown.
        results: the folder of the results.

    Raises:
        ConfigError: a mark with a name that is not known.
    """
    page = re.sub(
        r"<!--table (.+?)-->.*?<!--/table-->",
        lambda mark: f"<!--table {mark[1]}-->\n{_known(TABLES, mark[1])(results)}\n<!--/table-->",
        page,
        flags=re.DOTALL,
    )
    return re.sub(
        r"<!--((?!table |/)[^>]+?)-->[^<]*<!--/-->",
        lambda mark: f"<!--{mark[1]}-->{_number(results, *_known(NUMBERS, mark[1]))}<!--/-->",
        page,
    )


def _known(things: dict[str, Any], name: str) -> Any:
    if name not in things:
        raise ConfigError(f"The page marks the number {name!r}, which latentedit_bench.numbers does not know.")
    return things[name]


def _number(results: Path, file: str, place: str, style: str) -> str:
    top, _, bottom = place.partition(" over ")
    value = _at(_content(results / file), top)
    if bottom:
        value = _mean(value) / _mean(_at(_content(results / file), bottom))
    return style.format(**value) if isinstance(value, dict) else style.format(value)


def _mean(value: Any) -> float:
    return value["mean"] if isinstance(value, dict) else value


@functools.cache
def _content(file: Path) -> Any:
    """A JSON file, or a summary of a benchmark: method to measure to its numbers."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".json":
        return json.loads(text)
    summary: dict[str, dict[str, dict[str, float]]] = {}
    for row in csv.DictReader(text.splitlines()):
        numbers = {name: float(row[name] or "nan") for name in ("mean", "low", "high")}
        summary.setdefault(row["method"], {})[row["measure"]] = numbers
    return summary


def _at(value: Any, place: str) -> Any:
    """The value at a place: keys between slashes; of a list a number, or what a claim of the list measures."""
    for key in place.split("/") if place else ():
        if not isinstance(value, list):
            value = value[key]
        elif key.isdigit():
            value = value[int(key)]
        else:
            value = next(claim for claim in value if claim["measure"] == key)
    return value


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def _ranking(results: Path) -> str:
    summary = _content(results / "benchmark/summary.csv")
    measures = [measure for measure in _RANKED.values() if measure]
    return _table(
        list(_RANKED),
        [[name, *(_RANGE.format(**summary[name][measure]) for measure in measures)] for name in _SHOWN],
    )


def _claims(results: Path) -> str:
    """The deciding number of each claim, in the order of the plans."""
    rows: list[list[str]] = []
    for name in _content(results / "claims/plans.json"):
        record = _content(results / f"claims/{name}.json")
        first = record["claims"][0]
        number = "{estimate:.3g} [{low:.3g}, {high:.3g}]".format(**first)
        rows.append([f"{name}: {record['about']['statement']}", first["verdict"], number, str(first["samples"])])
    return _table(["claim", "verdict", "number", "pictures"], rows)


def _linear_strength(results: Path) -> str:
    claims = _content(results / "claims/linear-strength.json")["claims"]
    rows = [claim for claim in claims if claim["measure"].startswith("effect, ")]
    return _table(
        ["method", "straightness less .9", "straight by .9"],
        [
            [
                claim["measure"].removeprefix("effect, ").removesuffix(", less 0.9"),
                _CLAIM.format(**claim),
                claim["verdict"],
            ]
            for claim in rows
        ],
    )


def _directions(results: Path) -> str:
    models = _content(results / "geometry/directions.json")["models"]
    columns = [(model, level) for model in models for level in ("0.7", "0.9")]
    head = ["claim", *(f"{model}, level {level}" for model, level in columns)]
    rows: list[list[str]] = []
    for key, says in _WALKED.items():
        claims = [models[model]["summary"][level]["claims"][key] for model, level in columns]
        rows.append(
            [
                says,
                *(f"{claim['verdict']}: " + "{mean:.2f} [{low:.2f}, {high:.2f}]".format(**claim) for claim in claims),
            ]
        )
    return _table(head, rows)


def _basis(results: Path) -> str:
    return _table(
        ["model and site", "rank", "products, ours / theirs", "degrees to the converged space, ours / theirs"],
        [
            [
                f"{run['model']} {run['site']}",
                str(run["rank"]),
                f"{run['products']} / {run['their products']}",
                f"{run['angle']:.3f} / {run['their angle']:.3f}",
            ]
            for run in _content(results / "geometry/basis.json")["runs"]
        ],
    )


TABLES: dict[str, Callable[[Path], str]] = {
    "basis": _basis,
    "claims": _claims,
    "directions": _directions,
    "linear-strength": _linear_strength,
    "ranking": _ranking,
}


if __name__ == "__main__":
    main()
