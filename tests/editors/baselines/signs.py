"""How far an editor is from odd in its strength, for T10 of the conformance list."""

import torch
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.editors.base import Editor
from latentedit.latents.joint import JointLatent


def even_share(
    editor: Editor, latent: JointLatent, target: Condition, strength: float, *, origin: Tensor | None = None
) -> float:
    """``|f(t) + f(-t)| / |f(t) - f(-t)|`` of the change f against ``origin``, which is the picture by default."""
    start = latent.z if origin is None else origin
    forth = editor.edit(latent, target, [strength])[0].z - start
    back = editor.edit(latent, target, [-strength])[0].z - start
    return float(torch.linalg.vector_norm(forth + back) / torch.linalg.vector_norm(forth - back))


def limit_of_strength_zero(editor: Editor, latent: JointLatent, target: Condition) -> Tensor:
    """Where the hook itself, which `edit` does not call at strength 0, leads from there."""
    return editor._edit(latent, target, strength=0.0, seed=0, progress=None)
