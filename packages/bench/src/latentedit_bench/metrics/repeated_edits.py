"""What is left of a picture after several instructions in a row, each on what the one before left."""

import dataclasses
from collections.abc import Sequence

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from latentedit.core.errors import ShapeError
from latentedit.core.progress import Progress
from latentedit.editors.base import Editor
from latentedit.latents.joint import JointLatent


@torch.no_grad()
def repeated_errors(
    editor: Editor,
    latent: JointLatent,
    instructions: Sequence[Sequence[str]],
    answers: Float[Tensor, "rounds b *latent"],
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> Float64[Tensor, "rounds b"]:
    """Root mean square distance of the latents from the right answers after each instruction, at strength 1.

    Each round the model sees what the round before left, as a reference, and has noise of its own.
    `EIM` and `VelocitySteering` add only the change; `SDEdit` from level 1 at the model's guidance is the stock
    pipeline.

    Traps: it is measured in latents, where the codec has no part. A round may mend what another spoilt.

    Args:
        editor: of every round.
        latent: pictures that were encoded for instructions.
        instructions: of each round, one for all pictures or one a picture.
        answers: clean latents of the right pictures after each round.
        seed: of the first round; the others have the next ones.
        progress: told after each round.

    Raises:
        ShapeError: not as many answers as rounds of instructions, or of another shape than the pictures.

    Cost:
        ``editor.evaluations(latent)`` a picture and round.
    """
    if answers.shape != (len(instructions), *latent.z.shape):
        raise ShapeError(f"answers must be {[len(instructions), *latent.z.shape]}; got {list(answers.shape)}")
    errors: list[Tensor] = []
    for index, (told, answer) in enumerate(zip(instructions, answers, strict=True)):
        (edited,) = editor.edit(latent, latent.told(told), [1.0], seed=seed + index)
        others = (latent.condition.reference or ())[1:]
        seen = dataclasses.replace(latent.condition, reference=(edited.z, *others))
        latent = dataclasses.replace(latent, z=edited.z, condition=seen)
        errors.append((latent.z - answer).double().flatten(1).square().mean(1).sqrt())
        if progress is not None:
            progress("rounds", index + 1, len(instructions))
    return torch.stack(errors)
