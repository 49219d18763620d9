"""Does editing take both parts of the joint latent? The text's part, the image's and both, with one direction."""

import math

from latentedit import HSDS
from latentedit.editors import Refinement
from latentedit.encoding import invert, retrace
from latentedit.identification import clean_share, find_direction
from latentedit.numerics import uniform_grid
from latentedit_bench.data.prepared import Prepared
from latentedit_bench.experiments.declare import EIM_PAPER, Difference, Dots, Items, Latents, Lines, Measure, experiment
from latentedit_bench.experiments.items import COMPLETED, FULL, PARTIAL, recommended

SEARCH = HSDS(levels=(0.95, 0.95), steps=1, noises=4, antithetic=True)  # a coarse direction: one level, four noises

_SHOWN = {"captions": FULL, "search": ("annealed", "")}
_GAIN = Measure(
    name="SDE (annealed direction, level 0.5, full captions)",
    column="disentanglement",
    where={**_SHOWN, "level": 0.5},
    differences=(Difference("arm", "joint", ("text", "image")),),
)


@experiment(
    "joint-latent",
    paper=EIM_PAPER,
    claim="editing needs the joint latent: neither the image part nor the text part is enough alone",
    source=Items(),
    primary=_GAIN,
    secondary=(
        _GAIN.variant("SDE (annealed direction, level 0.5, partial captions)", captions=PARTIAL),
        _GAIN.variant("SDE (direction from one level, level 0.5, full captions)", search=("one look", "")),
        _GAIN.variant(level=(0.5, 0.0), differences=(Difference("arm", "direct", "joint"),)),
    ),
    plots=(Lines(y="disentanglement", by="arm", label="SDE", where=_SHOWN),),
    quick={"levels": (0.5, 0.8), "steps": 8},
    minutes=112,
)
def joint_latent(
    batch: Prepared, *, seed: int, levels: tuple[float, ...] = (0.3, 0.5, 0.65, 0.8, 0.95), steps: int = 12
) -> Latents:
    """The paper's arms are not public; these are derived from its text.

    With ``Z_s`` the inversion at level s, d a displacement of the clean latent and R the way back under a text, the
    text arm is ``R(Z_s, c1)``, the image arm ``R(Z_s + (1-s) d, c0)`` and the joint arm ``R(Z_s + (1-s) d, c1)``. The
    better single arm is chosen for each image, which favors it. The direct arm, ``x + d``, does without the way back.
    """
    latent = batch.latent
    searches = {"annealed": recommended(latent.backbone).search, "one look": SEARCH}
    directions = {k: find_direction(latent, batch.target, one, seed=batch.seeds(seed)).z for k, one in searches.items()}
    for search, d in directions.items():
        yield {"arm": "direct", "search": search, "level": 0.0}, latent.z + d
    for level in levels:
        top = min(level, latent.backbone.capabilities.s_max)
        trace = invert(latent, uniform_grid(math.ceil(steps * level), start=top))
        yield {"arm": "text", "search": "", "level": level}, retrace(latent, trace, batch.target)
        for search, d in directions.items():
            moved = clean_share(trace.levels[-1]) * d
            for arm, text in (("image", latent.condition), ("joint", batch.target)):
                yield {"arm": arm, "search": search, "level": level}, retrace(latent, trace, text, offset=moved)


_REFINED = _GAIN.variant(
    "SDE (annealed direction, level 0.5, completed captions, refined)", captions=COMPLETED, refined="yes"
)


@experiment(
    "joint-latent-completed",
    paper=EIM_PAPER,
    claim="with completed captions and refinement, editing needs the joint latent",
    source=Items(models=("portraits", "scenes"), seed=22, items=48, others=48, captions=(COMPLETED,)),
    primary=_REFINED,
    secondary=(
        _REFINED.variant("SDE (annealed direction, level 0.5, completed captions)", refined="no"),
        _REFINED.variant(level=(0.5, 0.0), differences=(Difference("arm", "direct", "joint"),)),
    ),
    plots=(Dots(x="disentanglement", y="arm", by="refined", label="SDE"),),
    minutes=5,
)
def joint_latent_completed(batch: Prepared, *, seed: int, levels: tuple[float, ...] = (0.5,)) -> Latents:
    """The arms of joint-latent on a new draw of items, each without refinement and with it."""
    for about, z in joint_latent.function(batch, seed=seed, levels=levels):
        if about["search"] != "one look":
            yield {**about, "refined": "no"}, z
            change = Refinement()(batch.latent, batch.target, z - batch.latent.z, seed=batch.seeds(seed))
            yield {**about, "refined": "yes"}, batch.latent.z + change
