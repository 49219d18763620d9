"""Distances between the tangent spaces of one picture under different texts, over levels."""

import torch

from latentedit_bench.domains.base import domain, full_caption
from latentedit_bench.experiments.decisions import rank_correlation
from latentedit_bench.experiments.declare import RIEMANNIAN, Pictures, Rows, Study, experiment
from latentedit_bench.experiments.pictures import at_fitted_rank, captioned
from latentedit_bench.experiments.subspaces import DISTANCE, DISTANCES, compared
from latentedit_bench.experiments.texts import graded


@experiment(
    "geometry-prompts",
    paper=RIEMANNIAN,
    says="similar prompts give similar tangent spaces, and the prompt's influence fades as the noise level falls",
    on=Pictures(pictures=12, levels=(0.95, 0.3), rank=4),
    prepare=at_fitted_rank,
    decides=DISTANCE.at(
        "negative rank correlation of text similarity and distance at the highest level",
        of=rank_correlation("distance", "similarity", sign=-1),
        unit="",
        level="highest",
    ),
    tells=(DISTANCE.at("distance between prompts at the highest level minus at the lowest", over="fall"),),
    plots=(DISTANCES,),
    quick={"pictures": 2},
    minutes=16,
)
def prompts(study: Study, level: float, picture: int, *, replaced: tuple[int, ...] = (0, 1, 4, 12)) -> Rows:
    """Each image has four prompts: its own full caption, and captions with 1, 4 and all 12 attributes replaced.

    All bases are computed at the same latent, inverted with an empty prompt, so only the prompt differs. The similarity
    is the cosine of the model's own text embeddings, pooled if it has them, otherwise averaged over tokens.
    """
    world = domain(captioned(study))
    own = world.read(study.latents[picture].frames[0].pixels[None])[0]
    texts = [full_caption(world, scene) for scene in graded(world, own, replaced, seed=study.seed)]
    condition = study.backbone.embed(texts)
    vectors = condition.pooled if condition.pooled.shape[1] else condition.tokens.double().mean(1)
    unit = torch.nn.functional.normalize(vectors.cpu().double())
    similarity = (unit @ unit.T).tolist()
    bases = [study.basis(picture, level, prompt=text) for text in texts]
    for first, second, found in compared(study, bases):
        yield {"similarity": similarity[first][second], **found}
