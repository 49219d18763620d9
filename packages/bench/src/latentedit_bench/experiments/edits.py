"""What edits change at which level: coarse attributes or fine ones, low frequencies or high ones."""

import math
from collections.abc import Iterator

import torch

from latentedit_bench.domains.base import attribute_areas
from latentedit_bench.experiments.decisions import Less, Number
from latentedit_bench.experiments.experiment import RIEMANNIAN, Row, experiment
from latentedit_bench.experiments.frequency import centroid
from latentedit_bench.experiments.pictures import QUICK, Pictures, captioned
from latentedit_bench.experiments.plots import Lines
from latentedit_bench.experiments.signed_edits import coarseness, random_units, signed_edits
from latentedit_bench.experiments.study import Study
from latentedit_bench.metrics.statistics import FEWEST, Table

_COARSE = Number(
    says="area of the attributes that change, at the highest level less at the lowest one at which changes are read, "
    "share of the image; first direction of the basis less a random one of equal effect",
    of="coarseness",
    over="fall",
    less=(Less("kind", "basis", "random"),),
)


def _where_read(rows: Table) -> Table:
    """Without the coarseness of levels below the lowest at which changes are read in `FEWEST` images."""
    rows = rows.assign(coarseness=rows["coarseness"].astype(float))
    for _, part in rows.groupby("model"):
        read = part[(part["kind"] == "basis") & part["coarseness"].notna()]
        counts = read.groupby("level")["picture"].nunique()
        enough = counts[counts >= FEWEST]
        lowest = enough.index.min() if len(enough) else part["level"].min()
        rows.loc[part.index[part["level"] < lowest], "coarseness"] = math.nan
    return rows


@experiment(
    "geometry-edits",
    paper=RIEMANNIAN,
    says="edits at early levels change coarse attributes, at late levels fine ones",
    on=Pictures(pictures=16, twins=False),
    decides=_COARSE,
    tells=(
        _COARSE.at(
            "mean frequency of the change of pixels at the lowest level less at the highest, share of Nyquist; first "
            "direction less a random one",
            of="centroid",
            over="rise",
        ),
    ),
    plots=(
        Lines(y="coarseness", by="kind", label="area of what is changed / image"),
        Lines(y="centroid", by="kind", label="mean frequency of the change / Nyquist"),
    ),
    prepare=_where_read,
    quick={**QUICK, "pictures": 3, "levels": (0.6, 0.3)},
    minutes=11,
)
def edits(study: Study, level: float, picture: int) -> Iterator[Row]:
    """Each direction goes as far to both sides as it takes for one change of the clean latent, so that levels compare.

    Coarseness is ``sum_a change_a area_a / sum_a change_a``: total variations of what is read, weighted by the share of
    an image that an attribute covers. What the levels do to any direction is no finding about the basis, so random
    directions of equal effect are the control. Near the image no length that is tried has the whole effect that is
    asked for; at the lowest levels edits do not compare.
    """
    basis = study.walkable(study.basis(picture, level))
    control = random_units(basis, 1, seed=study.seed, first=picture)
    found = signed_edits(basis, torch.cat([basis.v[:1], control.to(basis.v)]))
    areas = attribute_areas(captioned(study))
    for kind, edit in zip(("basis", "random"), found, strict=True):
        change = edit.change.flatten(0, 1)[None]
        middle = float(centroid(change)) if bool(change.any()) else None
        yield {"kind": kind, "coarseness": coarseness(edit.changes, areas), "centroid": middle}
