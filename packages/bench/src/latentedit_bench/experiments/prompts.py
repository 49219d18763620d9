"""Distances between the tangent spaces of one picture under different texts, over levels."""

import random
from collections.abc import Iterator

import torch

from latentedit_bench.domains.base import Domain, Scene, differences, domain, full_caption
from latentedit_bench.experiments.decisions import Number, rank_correlation
from latentedit_bench.experiments.experiment import RIEMANNIAN, Row, experiment
from latentedit_bench.experiments.pictures import QUICK, TWIN, Pictures, at_fitted_rank, captioned
from latentedit_bench.experiments.plots import Lines
from latentedit_bench.experiments.study import Study
from latentedit_bench.experiments.subspaces import DISTANCE, SPACES, compared

_FOLLOWS = rank_correlation("distance", "similarity", sign=-1)


@experiment(
    "geometry-prompts",
    paper=RIEMANNIAN,
    says="similar prompts give similar tangent spaces, and the prompt's influence fades later",
    on=Pictures(pictures=12, levels=(0.95, 0.3), rank=4),
    prepare=at_fitted_rank,
    decides=Number(
        says="minus the rank correlation of the similarity of two texts with the distance, at the highest level",
        of=_FOLLOWS,
        where={"space": "h", "level": "highest"},
        less=(TWIN,),
    ),
    tells=(
        Number(
            says="distance between prompts at the highest level less at the lowest",
            of="distance",
            where={"space": "h"},
            over="fall",
            less=(TWIN,),
        ),
    ),
    plots=(Lines(y="distance", label=DISTANCE, where={"space": "h"}, null="null"),),
    quick={**QUICK, "pictures": 2},
    minutes=16,
)
def prompts(study: Study, level: float, picture: int, *, replaced: tuple[int, ...] = (0, 1, 4, 12)) -> Iterator[Row]:
    """A picture has four prompts: its own full caption, and captions in which 1, 4 and all 12 attributes are replaced.

    All bases are taken at the same latent, inverted under no text, so nothing but the prompt tells them apart. The
    similarity is the cosine of the model's own text embeddings, pooled where it has them, else averaged over tokens.
    """
    world = domain(captioned(study))
    own = world.read(study.latents[picture].frames[0].pixels[None])[0]
    texts = [full_caption(world, scene) for scene in graded(world, own, replaced, seed=study.seed)]
    condition = study.backbone.embed(texts)
    vectors = condition.pooled if condition.pooled.shape[1] else condition.tokens.double().mean(1)
    unit = torch.nn.functional.normalize(vectors.cpu().double())
    similarity = (unit @ unit.T).tolist()
    bases = [study.basis(picture, level, prompt=text) for text in texts]
    for space in SPACES:
        for first, second, found in compared(bases, space, seed=study.seed):
            yield {"space": space, "similarity": similarity[first][second], **found}


def graded(world: Domain, own: Scene, counts: tuple[int, ...], *, seed: int) -> list[Scene]:
    """A scene, and others that differ from it in exactly so many attributes.

    Some attributes follow others, so draws that change more or less than asked are not taken. The first count is 0.
    """
    generator = random.Random(f"prompts/{seed}/{full_caption(world, own)}")
    values, shown = world.values, world.attributes(own)
    found = [own]
    for count in counts[1:]:
        while len(differences(world, found[-1], own)) != count:
            chosen = generator.sample(list(values), count)
            others = {name: [value for value in values[name] if value != shown[name]] for name in chosen}
            drawn = world.change(own, {name: generator.choice(some) for name, some in others.items()})
            if len(differences(world, drawn, own)) == count:
                found.append(drawn)
    return found
