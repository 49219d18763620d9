"""Values between source and target: by their own name, and by a cross-fade to a value beyond them."""

import torch
from jaxtyping import Float64
from torch import Tensor

from latentedit.core.settings import RESIDUAL
from latentedit.directions.identification import composed_change, dropped_residual
from latentedit.editors.refinement import Refinement
from latentedit_bench.data.prepared import Prepared, to_tensor
from latentedit_bench.experiments.declare import FULL, Batches, Difference, Dots, Measure, Placed, experiment
from latentedit_bench.experiments.items import recommended
from latentedit_bench.metrics.disentanglement import all_scores

_NAMED, _FADED = "by name", "best cross-fade"
_ERROR = Measure(
    name="error of a value between two others", column="error", differences=(Difference("way", _FADED, _NAMED),)
)


@experiment(
    "graded-strengths",
    paper="latentedit: values between two others",
    claim="a value between two others is met better by its own name than by a cross-fade at the best strength",
    source=Batches(models=("portraits", "scenes"), items=128, others=128, captions=(FULL,), kinds=("graded",)),
    primary=_ERROR,
    plots=(Dots(x="error", y="attribute", by="way", label="error"),),
    quick={"fades": 5},
)
def graded_strengths(batch: Prepared, *, seed: int, fades: int = 20) -> Placed:
    """The value next to the source's is requested by its name, and the last value of its order is faded in.

    The cross-fade gets the strength that is best for the right answer. All changes are refined, and kept to where they
    are strong, as `latentedit edit` does. An error counts at most 1.
    """
    latent, seeds, truth = batch.latent, batch.seeds(seed), batch.truth
    assert truth is not None
    (edited,) = recommended(latent.backbone).edit(latent, batch.target, [1.0], seed=seeds)
    changes = Refinement()(latent, batch.target, edited.z - latent.z, seed=seeds)
    groups = [item.group for item in batch.items]
    last = [len(groups) - 1 - groups[::-1].index(group) for group in groups]  # of the items of one image, all the way

    def error(moved: Tensor, strength: float) -> Float64[Tensor, " b"]:
        dropped = dropped_residual(strength, RESIDUAL)
        change = composed_change(batch.changed(latent.z + moved), batch.pixels, batch.decoded, dropped, local=True)
        return all_scores(to_tensor(batch.restored(change)), batch.source, truth)["error"].clamp(max=1)

    strengths = [number / fades for number in range(1, fades + 1)]
    faded = torch.stack([error(strength * changes[last], strength) for strength in strengths]).amin(0)
    for way, errors in ((_NAMED, error(changes, 1.0)), (_FADED, faded)):
        for index, item in enumerate(batch.items):
            if last[index] != index:
                yield index, {"way": way, "attribute": item.about["change"], "error": float(errors[index])}
