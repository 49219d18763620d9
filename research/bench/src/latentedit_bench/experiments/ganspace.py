"""GANSpace's directions against those of the Jacobian: principal components of the feature, pulled back to an image."""

import functools

import torch
from torch import Tensor

from latentedit.geometry import LEAST_CHANGE, feature_pca, global_directions, pulled_back
from latentedit.numerics import draw, stream
from latentedit_bench.experiments.declare import (
    UNSUPERVISED,
    Difference,
    Dots,
    Images,
    Measure,
    Rows,
    Study,
    experiment,
)
from latentedit_bench.experiments.disentangled import effective_number
from latentedit_bench.experiments.signed_edits import signed_edits

LOCAL, GLOBAL, PCA, RANDOM = "local basis", "global direction", "principal component", "random change of the feature"

_EFFECTIVE = Measure(
    name="effective number of attributes changed",
    column="effective",
    differences=(Difference("kind", PCA, LOCAL),),
)
_OTHERS = tuple(Difference("kind", *pair) for pair in ((PCA, GLOBAL), (RANDOM, PCA), (RANDOM, LOCAL), (RANDOM, GLOBAL)))
_ALL = (LOCAL, GLOBAL, PCA, RANDOM)


@experiment(
    "geometry-ganspace",
    paper=UNSUPERVISED,
    claim="directions of the local basis change fewer attributes at once than GANSpace's principal components do",
    source=Images(seed=832, images=24, levels=(0.7,), rank=4, steps=14, twins=False, feature="pooled"),
    primary=_EFFECTIVE,
    secondary=(
        *(_EFFECTIVE.variant(differences=(one,)) for one in _OTHERS),
        _EFFECTIVE.variant("attributes changed by an edit that changes any", column="changed"),
        *_EFFECTIVE.variant("edits that change any attribute", column="seen", unit="%").each("kind", *_ALL),
        *_EFFECTIVE.variant("effect on the clean latent", column="effect").each("kind", *_ALL),
    ),
    plots=(Dots(x="effective", y="kind", by="level", label="effective number of attributes changed"),),
    quick={"images": 6, "levels": (0.7,), "samples": 4, "noises": 4},
    minutes=5,
)
def ganspace(
    study: Study, level: float, image: int, *, samples: int = 12, noises: int = 24, effect: float = 0.4
) -> Rows:
    """The first direction of each kind, walked in both signs to one effect on the clean latent, and read.

    The feature is the paper's, summed over space. The first images are the sample, the others are edited: the principal
    component is that of the sample's features, each image under several noises, ``(1 - s) x + s e``; the global
    direction is the mean of the matched vectors of the sample's local bases; the local basis is the edited image's own.
    A random normal change of the feature, another one for each image, is the control. A change u of the feature is
    taken to a latent by the full Jacobian there, ``J^T u / |J^T u|``, the same for all kinds; GANSpace itself fits one
    displacement for all images by least squares instead. The control walks first, to the effect that is sought or as
    near as it gets, and the others walk to the effect that it reached. Edits that change no attribute by 0.1 of total
    variation are left out of the effective number, as in `geometry-disentangled`. Before, two images a model of seed
    830 were looked at.
    """
    if image < samples:
        return
    basis = study.walkable(study.basis(image, level))
    shared, component = of_sample(study, level, samples, noises)
    random = torch.randn(basis.u[:1].shape, generator=stream(study.seed, "ganspace control", image))
    pulled = pulled_back(torch.cat([one.double().cpu() for one in (random, shared, component)]), basis.jacobian).v
    (control,) = signed_edits(basis, pulled[:1].to(basis.v), effect=effect)
    others = torch.cat([basis.v[:1], pulled[1:].to(basis.v)])
    edits = [*signed_edits(basis, others, effect=control.effect), control]
    for kind, edit in zip(_ALL, edits, strict=True):
        changed = sum(change >= LEAST_CHANGE for change in edit.changes.values())
        yield {
            "kind": kind,
            "effect": edit.effect,
            "seen": float(edit.seen),
            "changed": changed if edit.seen else None,
            "effective": effective_number(edit.changes) if edit.seen else None,
        }


@functools.cache
def of_sample(study: Study, level: float, samples: int, noises: int) -> tuple[Tensor, Tensor]:
    """The first global direction and the first principal component of the sample's features."""
    shared = global_directions([study.basis(image, level) for image in range(samples)], mean="hungarian")
    feature, rows = study.feature(level), list[Tensor]()
    with torch.no_grad():
        for image in range(samples):
            x = study.latents[image].z
            drawn = [draw(x.shape[1:], seed=study.seed, purpose=f"ganspace {image}", index=k) for k in range(noises)]
            rows.append(feature((1 - level) * x + level * torch.stack(drawn).to(x)))
    return shared.u[:1], feature_pca(torch.cat(rows), 1)[0]
