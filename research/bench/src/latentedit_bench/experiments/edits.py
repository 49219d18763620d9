"""Changes by edits at each level: coarse attributes or fine ones, low frequencies or high ones."""

import math

import torch

from latentedit.geometry import random_units
from latentedit_bench.domains.base import attribute_areas, coarseness
from latentedit_bench.experiments.declare import RIEMANNIAN, Difference, Images, Lines, Measure, Rows, Study, experiment
from latentedit_bench.experiments.images import captioned
from latentedit_bench.experiments.signed_edits import signed_edits
from latentedit_bench.metrics.statistics import FEWEST, Table
from latentedit_bench.metrics.vectors import centroid

_COARSE = Measure(
    name="area of the attributes that change, at the highest noise level minus at the lowest one at which changes are "
    "read",
    unit="% of the image",
    column="coarseness",
    trend="fall",
    differences=(Difference("kind", "basis", "random"),),
)


def _where_read(rows: Table) -> Table:
    """Without the coarseness of levels below the lowest at which changes are read in `FEWEST` images."""
    rows = rows.assign(coarseness=rows["coarseness"].astype(float))
    for _, part in rows.groupby("model"):
        read = part[(part["kind"] == "basis") & part["coarseness"].notna()]
        counts = read.groupby("level")["image"].nunique()
        enough = counts[counts >= FEWEST]
        lowest = enough.index.min() if len(enough) else part["level"].min()
        rows.loc[part.index[part["level"] < lowest], "coarseness"] = math.nan
    return rows


@experiment(
    "geometry-edits",
    paper=RIEMANNIAN,
    claim="edits at high noise levels change coarse attributes, edits at low noise levels fine ones",
    source=Images(images=16, twins=False),
    primary=_COARSE,
    secondary=(
        _COARSE.variant(
            "mean frequency of the change at the lowest level minus at the highest",
            column="centroid",
            trend="rise",
            unit="of Nyquist",
        ),
    ),
    plots=(
        Lines(y="coarseness", by="kind", label="area of what is changed / image"),
        Lines(y="centroid", by="kind", label="mean frequency of the change / Nyquist"),
    ),
    prepare=_where_read,
    quick={"levels": (0.95, 0.7)},
    minutes=11,
)
def edits(study: Study, level: float, image: int) -> Rows:
    """Each direction is followed both ways until the clean latent has changed by a fixed amount, so levels compare.

    Coarseness is ``sum_a change_a area_a / sum_a change_a``: the total variations of the attributes read, weighted by
    the share of the image that each attribute covers. A trend that any direction shows says nothing about the basis, so
    random directions of equal effect are the control. Near the image no length tried reaches the full effect, so edits
    at the lowest levels are not comparable.
    """
    basis = study.walkable(study.basis(image, level))
    control = random_units(basis.latent, 1, seed=study.seed, first=image)
    found = signed_edits(basis, torch.cat([basis.v[:1], control]))
    areas = attribute_areas(captioned(study))
    for kind, edit in zip(("basis", "random"), found, strict=True):
        change = edit.change.flatten(0, 1)[None]
        middle = float(centroid(change)) if bool(change.any()) else None
        yield {"kind": kind, "coarseness": coarseness(edit.changes, areas), "centroid": middle}
