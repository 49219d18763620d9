"""The main functions: encode, identify, manipulate, edit. Everything below runs without gradients."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack, overload

import torch
from PIL import Image

from latentedit.core.errors import ConfigError
from latentedit.core.progress import Progress
from latentedit.directions.direction import Direction, is_unconditional
from latentedit.directions.hsds import HSDS
from latentedit.editing.request import EditOptions, EditRequest, MoveOptions, takes_options
from latentedit.editing.result import EditResult
from latentedit.editing.session import Session
from latentedit.editors.base import make_editor
from latentedit.editors.eim import EIM, Arm
from latentedit.guard.guard import guarded
from latentedit.latents import encode as encoding
from latentedit.latents.encode import ChangeLike, ImageLike
from latentedit.latents.images import SourceImage, preview_of
from latentedit.latents.joint import JointLatent
from latentedit.models.base import Backbone, check_model

PREVIEW_STRENGTHS = (0.0, 0.5, 1.0)  # strengths shown in the preview of a direction


def identify(
    latent: JointLatent,
    *,
    prompt: str | Sequence[str] | None = None,
    change: ChangeLike | Sequence[ChangeLike] | None = None,
    instruction: str | Sequence[str] | None = None,
    method: HSDS | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Direction:
    """Find the direction from the captions of images to another text; see `Session.identify`."""
    target: dict[str, Any] = {"prompt": prompt, "change": change, "instruction": instruction}
    return Session(latent).identify(**target, method=method, seed=seed, progress=progress)


@takes_options
def manipulate(
    latent: JointLatent,
    direction: Direction | Sequence[Direction],
    *,
    progress: Progress | None = None,
    **options: Unpack[MoveOptions],
) -> EditResult:
    """Move one image along a direction, or along several at once; see `Session.manipulate`.

    A `Session` takes several images, which are a `ConfigError` here, and caches what the next strength needs.
    """
    return _single_session(latent).manipulate(direction, progress=progress, **options)[0]


@takes_options
def sweep(
    latent: JointLatent,
    direction: Direction | Sequence[Direction] | None = None,
    *,
    strengths: Sequence[float],
    progress: Progress | None = None,
    **options: Unpack[MoveOptions],
) -> list[EditResult]:
    """Move one image to several strengths: along a direction, or towards a text by any editor.

    See `Session.sweep`, which takes several images.

    Example:
        sweep(latent, glasses, strengths=[0, 0.5, 1])
        sweep(latent, change="=> glasses", method="flowslider", strengths=[0, 0.5, 1], num_inference_steps=20)
    """
    return _single_session(latent).sweep(direction, strengths=strengths, progress=progress, **options)[0]


@overload
def edit(
    model: Backbone, image: ImageLike, *, progress: Progress | None = None, **options: Unpack[EditOptions]
) -> EditResult: ...


@overload
def edit(
    model: Backbone,
    image: list[ImageLike] | list[str] | list[Path] | list[Image.Image] | list[SourceImage] | tuple[ImageLike, ...],
    *,
    progress: Progress | None = None,
    **options: Unpack[EditOptions],
) -> list[EditResult]: ...


@takes_options
def edit(
    model: Backbone,
    image: ImageLike | Sequence[ImageLike],
    *,
    progress: Progress | None = None,
    **options: Unpack[EditOptions],
) -> EditResult | list[EditResult]:
    """Edit images as ``latentedit edit`` does.

    Args:
        image: one, or a list; a list runs as one batch for each size that the model needs.
        progress: called with what is done, the steps done and their number.
        options: the fields of `EditRequest`, whose tuples may be given as one value or as any sequence. Other names are
            settings of the editor, such as ``num_inference_steps`` and ``guidance_scale``.

    Returns:
        One result, or a list in the order of the images.

    Raises:
        LatentEditError: invalid input, with the remedy.

    Example:
        edit(model, "me.png", change="=> glasses", method="flowedit", num_inference_steps=20, guidance_scale=3)
    """
    results = edit_images(model, encoding.as_list(image), EditRequest.of(**options), progress=progress)
    return results[0] if encoding.is_single(image) else results


def edit_images(
    model: Backbone, images: Sequence[ImageLike], request: EditRequest, *, progress: Progress | None = None
) -> list[EditResult]:
    """`run` at the request's own strength: one result per image."""
    return [result for (result,) in run(model, images, request, progress=progress)]


def read_directions(request: EditRequest, model: Backbone | None = None) -> EditRequest:
    """The request with its direction files loaded; with a model, on its device."""
    if not request.direction:
        return request
    directions = [Direction.load(item) if isinstance(item, Path) else item for item in request.direction]
    if model is not None:
        for direction in directions:
            direction.check_model(model.name, model.fingerprint)
        directions = [direction.to(model.device) for direction in directions]
    return dataclasses.replace(request, direction=tuple(directions))


@torch.no_grad()
def run(
    model: Backbone,
    images: Sequence[ImageLike],
    request: EditRequest,
    strengths: Sequence[float] | None = None,
    *,
    progress: Progress | None = None,
) -> list[list[EditResult]]:
    """Encode images of any sizes and perform a request on them (see `Session.run`): per image one result per strength.

    Images that the model takes at one size share a batch. Directions that are combined are found and applied image by
    image, because they depend on the image.
    """
    check_model(model)
    request.check_target()
    with model.unchanged():
        return _run(model, images, read_directions(request, model), strengths, progress)


def _run(
    model: Backbone,
    images: Sequence[ImageLike],
    request: EditRequest,
    strengths: Sequence[float] | None,
    progress: Progress | None,
) -> list[list[EditResult]]:
    opened = [encoding.open_image(image) for image in images]
    captions, targets = (
        None if text is None else encoding.broadcast_texts(text, len(opened), what)
        for text, what in ((request.source_prompt, "caption"), (request.prompt, "target caption"))
    )
    frames = encoding.fit_all(model, opened, mask=request.mask)
    unread = not request.instructed and request.captioner is None and encoding.captioner_for(model) is None
    if captions is None and unread and is_unconditional(request.loaded):
        captions = ("",) * len(opened)
    singly, groups = composes(request, model), dict[Any, list[int]]()
    for index, frame in enumerate(frames):
        groups.setdefault(index if singly else frame.pixels.shape, []).append(index)
    results: dict[int, list[EditResult]] = {}
    for group in groups.values():
        some = [frames[index] for index in group]
        sources, prompts = (None if texts is None else [texts[i] for i in group] for texts in (captions, targets))
        completions = ()
        if request.complete and not request.instructed:
            completions = encoding.complete_captions(model, some, sources, prompts, request.captioner)
        if completions:
            sources = [completion.source for completion in completions]
            prompts = prompts and [completion.target for completion in completions]
        latent = encoding.encode_frames(
            model,
            some,
            source_prompt=sources,
            captioner=request.captioner,
            instructed=request.instructed,
            references=request.references,
        )
        latent = dataclasses.replace(guarded(latent, force=request.force), completions=completions)
        own = request if prompts is None else dataclasses.replace(request, prompt=tuple(prompts))
        results |= zip(group, Session(latent).run(own, strengths, progress=progress), strict=True)
    return [results[index] for index in range(len(opened))]


def composes(request: EditRequest, model: Backbone) -> bool:
    """Whether the request combines directions: given ones, or, by `eim`, one for each change."""
    if request.direction or not request.several:
        return bool(request.direction)
    return type(make_editor(request.method, model, instructed=request.instructed)) is EIM


@torch.no_grad()
def calibrate_direction(
    latent: JointLatent,
    direction: Direction,
    *,
    arm: Arm | None = None,
    license: str = "",
    progress: Progress | None = None,
) -> Direction:
    """The mean of directions, calibrated on the images on which they were found, with a license and a preview."""
    mean, session = direction.mean(), Session(latent)
    first = session.sweep(mean, strengths=PREVIEW_STRENGTHS, arm=arm, progress=progress)[0]
    calibration = session.slider(mean, arm=arm).calibration()
    preview = preview_of([result.image for result in first])
    return dataclasses.replace(mean, calibration=calibration, license=license, preview=preview)


def _single_session(latent: JointLatent) -> Session:
    if len(latent) != 1:
        raise ConfigError(f"this takes the latent of one image; got {len(latent)} of them. Use a Session")
    return Session(latent)
