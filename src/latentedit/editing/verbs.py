"""The main functions: encode, identify, manipulate, edit. Everything below runs without gradients."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Unpack, cast, overload

import torch
from PIL import Image

from latentedit.core.console import Progress, check_progress, progress_bar
from latentedit.core.errors import ConfigError
from latentedit.core.setting import from_plain, to_plain
from latentedit.core.strengths import read_strength
from latentedit.editing.request import (
    EditOptions,
    EditRequest,
    IdentifyOptions,
    MoveOptions,
    list_strengths,
    takes_options,
)
from latentedit.editing.result import EditResult, SweepResult
from latentedit.editing.session import Session, read_directions
from latentedit.editors.base import make_editor, own_names
from latentedit.editors.eim import Arm, stored_eim
from latentedit.encoding import encode as encoding
from latentedit.encoding.encode import ImageLike
from latentedit.encoding.images import SourceImage, preview_of
from latentedit.encoding.joint import JointLatent
from latentedit.encoding.kinds import takes_latent, takes_model_and_image
from latentedit.identification.direction import Direction, is_unconditional
from latentedit.identification.hsds import HSDS, check_search
from latentedit.models.base import Backbone, check_model
from latentedit.models.registry import ModelLike, as_backbone

PREVIEW_STRENGTHS = (0.0, 0.5, 1.0)  # strengths shown in the preview of a direction


@takes_latent
@takes_options
def identify(
    latent: JointLatent,
    prompt: str | Sequence[str] | None = None,
    *,
    method: HSDS | None = None,
    progress: "Progress | bool | None" = True,
    **options: Unpack[IdentifyOptions],
) -> Direction:
    """Find the direction from the captions of images to another text; see `Session.identify`.

    Args:
        latent: from `encode`, of one image or several.
        prompt: the target caption, or give ``change``, ``add``, ``remove`` or ``instruction``.
        method: settings of the search, by default those stored for the model.
        progress: as in `edit`.
        options: see below. Other names are settings of `HSDS`, such as ``num_inference_steps``.

    Example:
        latent = encode(model, "me.png")
        identify(latent, add="glasses").save("glasses.safetensors")
    """
    check_search(method)
    check_progress(None if isinstance(progress, bool) else progress)
    request = EditRequest.of(prompt=prompt, **cast("dict[str, Any]", options))
    search = stored_eim(latent.backbone).search if method is None else method
    search = from_plain(HSDS, {**to_plain(search), **own_names(request.settings, HSDS)})
    target = {"prompt": request.prompt, "change": request.change or None, "instruction": request.instruction or None}
    with progress_bar(progress) as report:
        return Session(latent).identify(**cast("Any", target), method=search, seed=request.seed, progress=report)


@takes_latent
@takes_options
def manipulate(
    latent: JointLatent,
    direction: "Direction | str | Path | Sequence[Direction | str | Path]",
    *,
    progress: "Progress | bool | None" = True,
    **options: Unpack[MoveOptions],
) -> EditResult:
    """Move one image along a direction, or along several at once; see `Session.manipulate`.

    A `Session` takes several images, which are a `ConfigError` here. The next strength on the same latent costs less.

    Args:
        latent: from `encode`, of one image.
        direction: from `identify`, or its file; several are combined.
        progress: as in `edit`.
        options: as in `Session.manipulate`.

    Example:
        latent = encode(model, "me.png")
        manipulate(latent, "glasses.safetensors", strength=0.7).save("glasses.png")
    """
    session = _single_session(latent)
    request = session.request(direction=direction, **options)
    with progress_bar(progress) as report:
        return session.run(request, progress=report)[0][0]


@takes_model_and_image
@takes_options
def sweep(
    model: ModelLike,
    image: ImageLike,
    prompt: str | None = None,
    *,
    strengths: Sequence[float] = (0, 0.2, 0.4, 0.6, 0.8, 1),
    progress: "Progress | bool | None" = True,
    **options: Unpack[EditOptions],
) -> SweepResult:
    """Edit one image at several strengths: along directions, or towards a text by any editor.

    `Session.sweep` does the same with a latent.

    Args:
        model: as in `edit`.
        image: as in `edit`; one.
        prompt: as in `edit`.
        strengths: 0 is the original image, 1 the full change.
        progress: as in `edit`.
        options: as in `edit`.

    Example:
        sweep(model, "me.png", add="glasses", strengths=[0, 0.5, 1]).save("slider.html")
        sweep(model, "me.png", direction="glasses.safetensors", strengths=[0, 0.5, 1])
        sweep(model, "me.png", change="=> glasses", method="flowslider", num_inference_steps=20)
    """
    strengths = [read_strength(strength, "`strengths`") for strength in list_strengths(strengths)]
    if not encoding.is_single(image):
        raise ConfigError("`sweep` takes one image; got several. Call it once for each")
    request = EditRequest.of(prompt=prompt, **options)
    with progress_bar(progress) as report:
        return SweepResult(run(as_backbone(model), [image], request, strengths, progress=report)[0])


@overload
def edit(
    model: ModelLike,
    image: ImageLike,
    prompt: str | None = None,
    *,
    progress: "Progress | bool | None" = True,
    **options: Unpack[EditOptions],
) -> EditResult: ...


@overload
def edit(
    model: ModelLike,
    image: list[ImageLike] | list[str] | list[Path] | list[Image.Image] | list[SourceImage] | tuple[ImageLike, ...],
    prompt: str | Sequence[str] | None = None,
    *,
    progress: "Progress | bool | None" = True,
    **options: Unpack[EditOptions],
) -> list[EditResult]: ...


@takes_model_and_image
@takes_options
def edit(
    model: ModelLike,
    image: "ImageLike | Sequence[ImageLike]",
    prompt: str | Sequence[str] | None = None,
    *,
    progress: "Progress | bool | None" = True,
    **options: Unpack[EditOptions],
) -> EditResult | list[EditResult]:
    """Edit images as ``latentedit edit`` does.

    Args:
        model: from `load` or `from_pipeline`, a live pipeline of diffusers, or what `load` takes, which is loaded again
            unless a result still holds it.
        image: a path, a Pillow image, an array ``[height, width, 3]`` or a tensor ``[3, height, width]`` of uint8 or of
            floats in [0, 1], the bytes of a file or an open file; or a list of them, or a batch of tensors, which runs
            as one batch for each size that the model needs.
        prompt: the target caption, or give one of ``change``, ``add`` and ``remove``, ``instruction``, ``direction``.
        progress: True draws a bar on a terminal and in a notebook, and elsewhere prints a line every 30 s; False is
            silent; or a function that is called with what is done, the steps done and their number.
        options: see below; tuples may be given as one value or as any sequence. ``generator`` and ``mask_image`` of
            diffusers are ``seed`` and ``mask``. Other names are settings of the editor, such as ``num_inference_steps``
            and ``guidance_scale``.

    Returns:
        One result, or a list in the order of the images.

    Raises:
        LatentEditError: invalid input, with the remedy.

    Example:
        edit(model, "me.png", add="glasses")
        edit(pipeline, image, "a woman with glasses", source_prompt="a woman", num_inference_steps=20, guidance_scale=3)
    """
    request = EditRequest.of(prompt=prompt, **options)
    with progress_bar(progress) as report:
        results = edit_images(as_backbone(model), encoding.as_list(image), request, progress=report)
    return results[0] if encoding.is_single(image) else results


def edit_images(
    model: Backbone, images: Sequence[ImageLike], request: EditRequest, *, progress: Progress | None = None
) -> list[EditResult]:
    """`run` at the request's own strength: one result per image."""
    return [result for (result,) in run(model, images, request, progress=progress)]


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
    request.check_target(model)
    request.check_described(model)
    results: dict[int, list[EditResult]] = {}
    with model.unchanged():
        # Settings that do not fit are refused before anything is encoded.
        make_editor(request.method, model, instructed=request.instructed, settings=request.settings)
        for group, latent, own in _encoded(model, images, read_directions(request, model)):
            results |= zip(group, Session(latent).run(own, strengths, progress=progress), strict=True)
    return [results[index] for index in range(len(images))]


def _encoded(
    model: Backbone, images: Sequence[ImageLike], request: EditRequest
) -> Iterator[tuple[list[int], JointLatent, EditRequest]]:
    """Batches of images, encoded one after the other: their indices, and the request with their own texts."""
    encoding.check_pixels(model)
    opened = [encoding.open_image(image) for image in images]
    captions, targets = (
        None if text is None else encoding.broadcast_texts(text, len(opened), what)
        for text, what in ((request.source_prompt, "`source_prompt`"), (request.prompt, "`prompt`"))
    )
    frames = encoding.fit_all(model, opened, mask=request.mask)
    unread = not request.instructed and request.captioner is None and encoding.captioner_for(model) is None
    if captions is None and unread and is_unconditional(request.loaded):
        captions = ("",) * len(opened)
    singly, groups = composes(request, model), dict[Any, list[int]]()
    for index, frame in enumerate(frames):
        groups.setdefault(index if singly else frame.pixels.shape, []).append(index)
    for group in groups.values():
        some = [frames[index] for index in group]
        sources, prompts = (None if texts is None else [texts[i] for i in group] for texts in (captions, targets))
        completions = ()
        if request.instruction and request.captioner is not None:
            completions = encoding.describe_both(model, some, ", ".join(request.instruction), request.captioner)
            prompts = [completion.target for completion in completions]
        elif request.complete and not request.instructed:
            completions = encoding.complete_captions(model, some, sources, prompts, request.captioner)
        if completions:
            sources = [completion.source for completion in completions]
            prompts = prompts and [completion.target for completion in completions]
        own = request if prompts is None else dataclasses.replace(request, prompt=tuple(prompts), instruction=())
        if sources is not None and not (request.instructed or request.direction):
            for text in own.targets(each=True):  # refuses a change without room before anything is encoded
                changed = encoding.target_captions(model, sources, to=text.get("to"), change=text.get("change"))
                encoding.left_out_of(model, sources, [changed])
        latent = encoding.encode_frames(
            model,
            some,
            source_prompt=sources,
            captioner=request.captioner,
            instructed=request.instructed,
            references=request.references,
        )
        yield group, dataclasses.replace(latent, completions=completions), own


def composes(request: EditRequest, model: Backbone) -> bool:
    """Whether the request combines directions: given ones, or, by `eim`, one for each change."""
    if request.direction or not request.several:
        return bool(request.direction)
    return make_editor(request.method, model, instructed=request.instructed).moves_along


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
