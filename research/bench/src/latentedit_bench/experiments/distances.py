"""Distances between tangent spaces: of different images, levels, data and texts."""

import dataclasses

import torch

from latentedit_bench.domains.base import full_caption, load_domain
from latentedit_bench.experiments.declare import RIEMANNIAN, Images, ModelDifference, Rows, Study, experiment
from latentedit_bench.experiments.images import at_fitted_rank, captioned
from latentedit_bench.experiments.subspaces import DISTANCE, DISTANCES, compared
from latentedit_bench.experiments.texts import graded
from latentedit_bench.metrics.decisions import rank_correlation, slope


@experiment(
    "geometry-samples",
    paper=RIEMANNIAN,
    claim="tangent spaces of different samples are similar near pure noise and diverge as the noise level falls",
    source=Images(),
    keys=("first", "second", "level"),
    image_columns=("first", "second"),
    prepare=at_fitted_rank,
    primary=DISTANCE.variant(
        "growth of the distance between feature tangent spaces from the highest to the lowest level", trend="rise"
    ),
    plots=(DISTANCES,),
    minutes=13,
)
def samples(study: Study, level: float) -> Rows:
    """The distance is the geodesic distance on the Grassmannian, as a share of the largest, ``pi / 2 sqrt(r)``.

    The rank r is the one after which the trained network's singular values drop most. Random subspaces of the same
    dimensions are the random level.
    """
    bases = [study.basis(image, level) for image in range(len(study))]
    for first, second, found in compared(study, bases):
        yield {"first": first, "second": second, **found}


@experiment(
    "geometry-trajectory",
    paper=RIEMANNIAN,
    claim="the further apart two noise levels of a trajectory are, the further apart are their tangent spaces",
    source=Images(),
    keys=("image",),
    prepare=at_fitted_rank,
    primary=DISTANCE.variant(
        "slope of the distance between feature tangent spaces over |s - s'|",
        column=slope("distance", "level difference"),
    ),
    plots=(dataclasses.replace(DISTANCES, x="level difference"),),
    quick={"images": 4, "levels": (0.95, 0.7, 0.5)},
    minutes=13,
)
def trajectory(study: Study, image: int) -> Rows:
    """A mere difference between two levels is nearly certain; growth of the distance with that of levels is not.

    The slope is the least-squares slope within an image. The rank is the one after which the trained network's singular
    values drop most.
    """
    levels = study.levels
    bases = [study.basis(image, level) for level in levels]
    for first, second, found in compared(study, bases):
        yield {"level difference": levels[first] - levels[second], **found}


@experiment(
    "geometry-datasets",
    paper=RIEMANNIAN,
    claim="simpler data gives more similar tangent spaces",
    source=Images(models=("pixels-discs", "pixels-portraits"), levels=(0.7, 0.3)),
    keys=("first", "second"),
    image_columns=("first", "second"),
    primary=ModelDifference(measure=DISTANCE.variant(rank=4), model="pixels-portraits", baseline="pixels-discs"),
    plots=(DISTANCES,),
    quick={"models": ("pixels-discs", "pixels-portraits"), "images": 4},
    minutes=10,
)
def datasets(study: Study, level: float) -> Rows:
    """Networks for different data differ even before training, so each is compared with its untrained twin.

    The rank is that of the simple data, whose images are determined by 4 numbers. One network was trained on each data
    set, so the interval does not cover variation between trainings. Discs lie anywhere in the image and portraits in
    the middle, so position varies along with complexity.
    """
    yield from samples.function(study, level)


@experiment(
    "geometry-prompts",
    paper=RIEMANNIAN,
    claim="similar prompts give similar tangent spaces, and the prompt's influence fades as the noise level falls",
    source=Images(images=12, levels=(0.95, 0.3), rank=4),
    prepare=at_fitted_rank,
    primary=DISTANCE.variant(
        "negative rank correlation of text similarity and distance at the highest level",
        column=rank_correlation("distance", "similarity", sign=-1),
        unit="",
        level="highest",
    ),
    secondary=(DISTANCE.variant("distance between prompts at the highest level minus at the lowest", trend="fall"),),
    plots=(DISTANCES,),
    quick={"images": 2},
    minutes=16,
)
def prompts(study: Study, level: float, image: int, *, replaced: tuple[int, ...] = (0, 1, 4, 12)) -> Rows:
    """Each image has four prompts: its own full caption, and captions with 1, 4 and all 12 attributes replaced.

    All bases are computed at the same latent, inverted with an empty prompt, so only the prompt differs. The similarity
    is the cosine of the model's own text embeddings, pooled if it has them, otherwise averaged over tokens.
    """
    domain = load_domain(captioned(study))
    own = domain.read(study.latents[image].frames[0].pixels[None])[0]
    texts = [full_caption(domain, scene) for scene in graded(domain, own, replaced, seed=study.seed)]
    condition = study.backbone.embed(texts)
    vectors = condition.pooled if condition.pooled.shape[1] else condition.tokens.double().mean(1)
    unit = torch.nn.functional.normalize(vectors.cpu().double())
    similarity = (unit @ unit.T).tolist()
    bases = [study.basis(image, level, prompt=text) for text in texts]
    for first, second, found in compared(study, bases):
        yield {"similarity": similarity[first][second], **found}
