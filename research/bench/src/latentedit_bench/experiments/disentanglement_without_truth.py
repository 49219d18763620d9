"""Does the disentanglement that is measured without right answers rank edits as the one with right answers does?"""

import math
import random
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.editors import make_editor
from latentedit.encoding import embed_targets, invert, retrace
from latentedit.identification import clean_share, find_direction
from latentedit.numerics import uniform_grid
from latentedit_bench.data.counterfactual import Rendered
from latentedit_bench.data.items import Item
from latentedit_bench.data.prepared import Prepared, to_tensor
from latentedit_bench.disentanglement.responses import attribute_responses
from latentedit_bench.domains.base import full_caption, load_domain
from latentedit_bench.experiments.declare import (
    EIM_PAPER,
    FULL,
    Batches,
    MeansCorrelation,
    Measure,
    Placed,
    Points,
    RankCorrelation,
    experiment,
)
from latentedit_bench.experiments.items import recommended
from latentedit_bench.metrics.disentanglement import all_scores
from latentedit_bench.metrics.responses import response_scores

_STEPS = 8  # steps on the whole grid, for arms and sdedit
_GAINS = (0.5, 1.0, 1.5)  # gains of the direction, for edits without a way back

_AGREEMENT = MeansCorrelation(
    name="rank correlation with the disentanglement against right answers, across models and settings",
    x="responses",
    y="truth",
    across=("model", "edit", "at"),
    per="domain",
    threshold=0.8,
)


@experiment(
    "disentanglement-without-truth",
    paper=EIM_PAPER,
    claim="disentanglement measured without right answers ranks edits as disentanglement against right answers does",
    source=Batches(
        models=("portraits", "scenes", "portraits-unet"),
        seed=6063,
        items=24,
        others=16,
        captions=(FULL,),
        kinds=("single",),
    ),
    primary=_AGREEMENT,
    secondary=(
        _AGREEMENT.variant("the same, of the settings of one model", across=("edit", "at"), per="model"),
        RankCorrelation(
            name="rank correlation of single edits",
            x=Measure(name="without right answers", column="responses"),
            y=Measure(name="against right answers", column="truth"),
        ),
        _AGREEMENT.variant("the same, of effectiveness", x="responses effectiveness", y="truth effectiveness"),
        _AGREEMENT.variant("the same, of decomposability", x="responses decomposability", y="truth decomposability"),
        _AGREEMENT.variant("control: by the responses to another attribute", x="other attribute"),
        _AGREEMENT.variant("control: by the size of the change", x="size"),
    ),
    plots=(Points(x="responses", y="truth", by="edit", label="disentanglement against right answers"),),
    keys=("group", "item", "edit", "at"),
    quick={"models": ("portraits",), "items": 6, "levels": (0.5,)},
    minutes=10,
)
def disentanglement_without_truth(
    batch: Prepared, *, seed: int, levels: tuple[float, ...] = (0.3, 0.5, 0.65, 0.75, 0.9), attributes: int = 4
) -> Placed:
    """For each image one attribute is edited in many ways; three others are drawn that do not depend on it.

    The definition without right answers is ours, in `latentedit_bench.metrics.responses`; the paper's is not public.
    Its level, noises and effectiveness were chosen on 24 images of the calibration split. Edits are the arms of
    joint-latent, its direction at three lengths without a way back, sdedit, and flowedit with and without guidance;
    some are bad on purpose. None gets an automatic mask. The correlation is Spearman's, of means over images, across
    all models and settings of a domain; the goal of .8 was set before. Controls are the same scores by the response to
    another attribute, and the size of the change.
    """
    latent, target = batch.latent, batch.target
    assert batch.truth is not None
    texts = [other_captions(item, attributes - 1) for item in batch.items]
    others = [embed_targets(latent, column) for column in zip(*texts, strict=True)]
    seeds = batch.seeds(seed)
    found = attribute_responses(latent, [target, *others], seed=seeds)
    responses = torch.stack([batch.changed(latent.z + one) for one in found])
    for edit, at, z in _edits(batch, seeds, levels):
        change = batch.changed(z)
        truth = all_scores(to_tensor(batch.restored(change)), batch.source, batch.truth)
        own, other = (response_scores(change, responses, place) for place in (0, 1))
        columns = {
            "truth": truth["disentanglement"],
            "truth effectiveness": truth["effectiveness"],
            "truth decomposability": truth["decomposability"].nan_to_num(0),
            "responses": own.disentanglement,
            "responses effectiveness": own.effectiveness,
            "responses decomposability": own.decomposability.nan_to_num(0),
            "other attribute": other.disentanglement,
            "size": change.square().flatten(1).mean(1).sqrt(),
        }
        for index in range(len(batch.items)):
            numbers = {name: float(values[index]) for name, values in columns.items()}
            yield index, {"domain": latent.backbone.defaults["captioner"], "edit": edit, "at": at, **numbers}


def other_captions(item: Item, count: int) -> list[str]:
    """The item's captions with another value of each of some attributes that do not depend on the one that changes."""
    assert isinstance(item.image, Rendered)
    domain, scene, generator = load_domain(item.image.domain), item.image.scene, random.Random(item.id)
    own, able, part_of = item.about["change"], domain.alternatives(scene), domain.part_of
    free = [name for name in able if name != own and part_of.get(own) != name and part_of.get(name) != own]
    chosen = generator.sample(free, count)
    return [full_caption(domain, domain.change(scene, {name: generator.choice(able[name])})) for name in chosen]


def _edits(batch: Prepared, seeds: Sequence[int], levels: Sequence[float]) -> Iterator[tuple[str, float, Tensor]]:
    """The kind of edit, its level or length, and the edited latents."""
    latent, target = batch.latent, batch.target
    model = latent.backbone
    d = find_direction(latent, target, recommended(model).search, seed=seeds).z
    for gain in _GAINS:
        yield "direct", gain, latent.z + gain * d
    for level in levels:
        top = min(level, model.capabilities.s_max)
        trace = invert(latent, uniform_grid(math.ceil(_STEPS * level), start=top))
        moved = clean_share(trace.levels[-1]) * d
        yield "text", level, retrace(latent, trace, target)
        yield "image", level, retrace(latent, trace, latent.condition, offset=moved)
        yield "joint", level, retrace(latent, trace, target, offset=moved)
        yield "sdedit", level, _edited(batch, "sdedit", seeds, level=level, steps=_STEPS)
    for guidance in (1.0, 2.0):
        yield "flowedit", guidance, _edited(batch, "flowedit", seeds, target_guidance=guidance, steps=_STEPS)


def _edited(batch: Prepared, editor: str, seeds: Sequence[int], **settings: float) -> Float[Tensor, "b *latent"]:
    made = make_editor(editor, batch.latent.backbone, settings=settings)
    return made.edit(batch.latent, batch.target, [1.0], seed=seeds)[0].z
