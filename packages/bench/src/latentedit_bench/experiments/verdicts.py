"""Is the model's own verdict right? Against what the renderer knows, for good edits and deliberate failures."""

import numpy as np
import torch
from torch import Tensor

from latentedit.editors import AlignedInversion, FlowEdit
from latentedit.editors.base import make_editor
from latentedit.editors.judge import Judge, Verdict
from latentedit.editors.strength import effect_along
from latentedit.latents.encode import captioner_for
from latentedit.testing.classifiers import AttributeClassifier, to_pixels
from latentedit_bench.data.prepared import Prepared
from latentedit_bench.domains.base import load_domain
from latentedit_bench.experiments.declare import COMPLETED, Batches, Dots, Measure, Placed, experiment
from latentedit_bench.experiments.items import recommended

_DAMAGED = 0.3  # root mean square of a number of the clean latent
_SCALES = (-2.0, 0.1, 1.0, 2.0, 3.0)  # of the change that `eim` finds


@experiment(
    "verdicts",
    paper="latentedit: the verdict on an edit",
    claim="the model's own verdict agrees with the truth on more than four in five edits",
    source=Batches(models=("portraits",), items=36, captions=(COMPLETED,)),
    primary=Measure(name="verdicts that agree with the truth", column="right", unit="% of edits", threshold=0.8),
    plots=(Dots(x="right", y="edit", by="truth", label="share of right verdicts"),),
)
def verdicts(batch: Prepared, *, seed: int) -> Placed:
    """An edit is damaged if its clean latent is far from each of three rendered images.

    These are the source, the right answer, and the image with the attributes that are read in the result. Otherwise it
    changed if it went at least half of the way to the right answer, and else nothing changed. A verdict states a change
    from half of the requested share on. Ten kinds of edits, some of them deliberate failures.
    """
    judge = Judge.of(batch.latent.backbone)
    for name, (z, strength) in _edits(batch, seed).items():
        found = judge.judge(batch.latent, batch.target, z, strength=strength, seed=seed)
        for index, (truth, verdict) in enumerate(zip(_truths(batch, z), found, strict=True)):
            word = _word(verdict, strength, judge)
            yield index, {"edit": name, "truth": truth, "verdict": word, "right": float(truth == word)}


def _edits(batch: Prepared, seed: int) -> dict[str, tuple[Tensor, float]]:
    """Name to edited latents and the requested strength."""
    latent, target, model = batch.latent, batch.target, batch.latent.backbone
    stored = recommended(model)
    slider = stored.slider(latent, stored.direction(latent, target, seed=seed), seed=seed)
    scales = torch.tensor(_SCALES, dtype=torch.float64)[:, None].expand(-1, len(latent))
    found = {f"eim x {s:g}": (z, 1.0 if abs(s) < 1 else s) for s, z in zip(_SCALES, slider.move(scales), strict=True)}
    editors = {
        "flowedit": make_editor("flowedit", model),
        "flowedit from .5": FlowEdit(level=0.5, steps=14, target_guidance=1.0),
        "aligned inversion": make_editor("aligned-inversion", model),
        "aligned inversion from .4": AlignedInversion(level=0.4, steps=20),
        "sdedit": make_editor("sdedit", model),
    }
    return found | {name: (one.edit(latent, target, [1.0], seed=seed)[0].z, 1.0) for name, one in editors.items()}


def _word(verdict: Verdict, strength: float, judge: Judge) -> str:
    """The verdict in the words of the truth."""
    if verdict.word == "damaged":
        return "damaged"
    enough = (verdict.share or 0.0) * strength >= judge.least_share * strength**2
    return "changed" if verdict.word == "done" or enough else "nothing changed"


def _truths(batch: Prepared, z: Tensor) -> list[str]:
    """What the renderer knows of each edit."""
    model, source = batch.latent.backbone, batch.latent.z
    domain, reader = load_domain(str(model.defaults["captioner"])), captioner_for(model)
    assert batch.answer_pixels is not None
    assert isinstance(reader, AttributeClassifier)
    seen = [domain.render(scene) for scene in reader.attributes(batch.changed(z))]
    answer = model.encode(batch.answer_pixels)
    near = (source, answer, model.encode(to_pixels(np.stack(seen))))
    distance = torch.stack([(z - other).flatten(1).square().mean(1) for other in near]).amin(0).sqrt()
    share = effect_along((z - source)[None], answer - source)[0]
    return [
        "damaged" if far > _DAMAGED else "changed" if moved >= 0.5 else "nothing changed"
        for far, moved in zip(distance.tolist(), share.tolist(), strict=True)
    ]
