"""Is the latent of a diffusion transformer more disentangled than that of a U-Net?"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from latentedit.editors import EIM
from latentedit_bench.experiments.declare import EIM_PAPER, Difference, Dots, Edits, Lab, Measure, experiment
from latentedit_bench.experiments.experiment import MODELS
from latentedit_bench.experiments.items import PARTIAL, Tables, select_items
from latentedit_bench.ranking.evaluate import Method

Floats = tuple[float, ...]
_SEARCH: Mapping[str, Any] = {"levels": (0.99, 0.0), "step_size": None, "noises": 2, "antithetic": True}
"""The flow's own steps, without the locality whose thresholds were tuned on one of the models."""

_SDE = Measure(
    name="SDE (text arm, partial captions)",
    column="disentanglement",
    where={"captions": PARTIAL, "method": "text"},
    differences=(Difference("model", *MODELS),),
    per="",
)


@experiment(
    "network-kinds",
    paper=EIM_PAPER,
    claim="the latent of a diffusion transformer is more disentangled than that of a U-Net",
    source=Edits(items=144, others=144),
    primary=dataclasses.replace(_SDE, undecided="one training of a kind"),
    secondary=(
        _SDE.variant("SDE (image arm, partial captions)", method="image"),
        _SDE.variant("SDE (text arm, full captions)", captions="full"),
        _SDE.variant("decomposability (text arm, partial captions)", column="decomposability"),
        _SDE.variant(
            "other attributes that change (text arm)",
            column="others_changed",
            differences=(Difference("model", *MODELS[::-1]),),
        ),
    ),
    plots=(Dots(x="disentanglement", y="requested", by="method", label="SDE", where={"captions": PARTIAL}),),
    quick={"calibration": 4, "levels": (0.85, 0.97), "shifts": (1.7, 2.5)},
    minutes=45,
)
def network_kinds(
    lab: Lab,
    *,
    calibration: int = 24,
    levels: Floats = (0.75, 0.85, 0.92, 0.97),
    shifts: Floats = (1.0, 1.7, 2.5, 3.5),
) -> Tables:
    """The interval covers images of these two networks; another training of the same network may differ as much.

    So nothing is decided. Training data, VAE, vocabulary, reader, resolution, items, evaluations and the grid of
    settings are matched; the prediction target (velocity or noise), the schedule, the text encoders and prompt
    adherence are not. Each model uses, for each arm, the setting that was best for it on the calibration split.
    """
    text = {f"text at {level:g}": {"arm": "text", "level": level} for level in levels}
    image = {f"image, shift {one:g}": {"arm": "image", "search": {**_SEARCH, "shift": one}} for one in shifts}
    grid = {name: lab.paid(EIM.name, settings) for name, settings in {**text, **image}.items()}
    data = select_items(lab.source, PARTIAL, first=calibration, split="calibration")
    tried = dataclasses.replace(lab, captions=PARTIAL)
    rows = tried.edit([Method(name=name, editor=one) for name, one in grid.items()], data=data, folder="calibration")
    scores = rows.assign(score=rows["disentanglement"].astype(float).fillna(0)).groupby("method", sort=False)["score"]
    order = scores.mean().sort_values(ascending=False, kind="stable").index
    best = {arm: next(str(name) for name in order if str(name).startswith(arm)) for arm in ("text", "image")}
    yield lab.edit([Method(name=arm, editor=grid[name]) for arm, name in best.items()])
