"""An edit of latents from one condition to another, with refinement and locality; `Session` moves images so, too."""

import dataclasses
from collections.abc import Sequence

import torch

from latentedit.core.condition import Condition
from latentedit.core.flow import LevelGrid
from latentedit.core.progress import Estimating, LatentProgress, Progress
from latentedit.core.rng import Seed
from latentedit.directions.identification import local_change
from latentedit.editors.base import Editor, StrengthResult, localizes, make_editor
from latentedit.editors.edit import Latents
from latentedit.editors.eim import EIM
from latentedit.editors.refinement import refined_steps
from latentedit.latents.joint import JointLatent
from latentedit.models.base import Backbone


@torch.no_grad()
def edit_latent(
    backbone: Backbone,
    z: Latents,
    source: Condition,
    target: Condition,
    strength: float | Sequence[float] = 1.0,
    editor: str | Editor | None = None,
    *,
    levels: LevelGrid | None = None,
    seed: Seed = 0,
    auto_mask: bool | None = None,
    refine: bool | None = None,
    progress: LatentProgress | None = None,
) -> list[StrengthResult]:
    """Edit clean latents from one condition to another: for hosts with images, texts and networks of their own.

    An edit of images does two things more, with decoded pixels: it makes the automatic mask from these, not from
    latents, and drops what the codec lost (`composed_change`).

    Args:
        backbone: the model, such as a `CallableBackbone`.
        z: clean latents, ``[b, *latent]``.
        source: what they show, one condition or one per latent.
        target: what the result should show, likewise.
        strength: 0 is ``z`` itself, 1 the full change; several share what they have in common.
        editor: an editor or its name; by default that of the model.
        levels: used as they are, in place of the model's grid and the editor's ``level`` and ``steps``; the search of
            `EIM` has its own.
        seed: random seed: one, whose noise all latents share, or one per latent.
        auto_mask: keep the change to where it is strong; by default as the editor does for images.
        refine: redraw the core of the change (`Refinement`); by default as the editor does for images.
        progress: called with a name, the steps done, their number, and an estimate of the edited latents, by editors
            along FlowEdit's path and searches; else ``z``.

    Returns:
        One result per strength, in their order.

    Raises:
        ConfigError: a strength that is not a finite number, or that the editor refuses.
        RegistryError: an unknown editor.
        ShapeError: neither one condition nor one per latent.
    """
    chosen = make_editor(editor, backbone)
    latent = JointLatent(
        backbone=backbone, z=z, condition=source.expand(len(z)), captions=("",) * len(z), levels=levels
    )
    strengths = [strength] if isinstance(strength, (int, float)) else strength
    refined = refines(chosen, refine)
    report = None if progress is None else Estimating(progress, z)
    with backbone.unchanged():
        if type(chosen) is EIM and any(strengths):
            direction = chosen.direction(latent, target, seed=seed, refine=refined, progress=report)
            steps = chosen.slider(latent, direction, seed=seed, progress=report).edit(strengths)
        else:
            steps = steps_towards(latent, target, strengths, chosen, seed=seed, refine=refined, progress=report)
    if not (localizes(chosen, backbone) if auto_mask is None else auto_mask):
        return steps
    return [step if step.z is z else dataclasses.replace(step, z=z + local_change(step.z - z)) for step in steps]


def refines(editor: Editor, refine: bool | None, *, given: bool = False) -> bool:
    """Whether a change is refined: by default only what was measured to gain, searches in the image part.

    ``given`` directions are refined on request.
    """
    if isinstance(editor, EIM):
        return editor.arm == "image" and (not given if refine is None else refine)
    return bool(refine)


def steps_towards(
    latent: JointLatent,
    target: Condition,
    strengths: Sequence[float],
    editor: Editor,
    *,
    seed: Seed,
    refine: bool,
    progress: Progress | None,
) -> list[StrengthResult]:
    """The results of an editor at several strengths, refined where one is positive."""
    refine = refine and any(strength > 0 for strength in strengths)
    more = [1.0] if refine and 1 not in strengths else []  # the strength that is refined
    steps = editor.edit(latent, target, [*strengths, *more], seed=seed, progress=progress)
    if refine:
        steps = refined_steps(latent, target, steps, seed=seed, progress=progress)[: len(strengths)]
    return steps
