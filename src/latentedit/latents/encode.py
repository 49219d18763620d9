"""*Encode*: images and their captions to a joint latent."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

from latentedit.core.errors import ConfigError
from latentedit.core.renaming import accepts_old_names
from latentedit.latents.captions.base import Captioner, captioner_for, make_captioner
from latentedit.latents.captions.change import check_length
from latentedit.latents.captions.completion import Completion
from latentedit.latents.crop import framer_for
from latentedit.latents.instructions import check_instructs, no_change
from latentedit.latents.joint import JointLatent
from latentedit.latents.pictures import Frame, MaskLike, Picture
from latentedit.models.base import Backbone, check_model

PictureLike = str | Path | Image.Image | Picture  # a file, a Pillow image, or a picture that is already open


@accepts_old_names
@torch.no_grad()
def encode(
    model: Backbone,
    image: PictureLike | Sequence[PictureLike],
    *,
    source_prompt: str | Sequence[str] | None = None,
    captioner: str | Captioner | None = None,
    mask: MaskLike | None = None,
    instructed: bool | None = None,
    references: Sequence[PictureLike] = (),
) -> JointLatent:
    """Encode images with the captions that describe them, or for an instruction-tuned model.

    Args:
        model: the backbone.
        image: one, or a list that the model takes at one size.
        source_prompt: caption of the image, one for all or one per image; "" for no text. By default a captioner writes
            it.
        captioner: a captioner or its name (see `captions.base.make_captioner`); the model's own by default.
        mask: where the images may change, white for yes; an image of their size. Everywhere by default.
        instructed: encode for instructions: each image is a reference for the model, texts are instructions, and
            ``source_prompt`` is the no-op one (`instructions.no_change` by default). None is true if the model takes
            references and there is neither a source prompt nor a captioner.
        references: additional reference images, of any size.

    Raises:
        ImageError: a file that is not an image fit for editing, or a mask that does not fit it.
        ConfigError: no caption where one is needed, one of spaces or too long, images that cannot share a batch, or
            instructions or references for a model that does not take them, or not as many.
        RegistryError, ModelError, MissingDependencyError, CaptionError: a captioner that cannot be found, loaded or
            reached.
    """
    images = [image] if isinstance(image, PictureLike) else list(image)
    if not images:
        raise ConfigError("there is no picture to encode")
    return encode_frames(
        model,
        fit_all(model, images, mask=mask),
        source_prompt=source_prompt,
        captioner=captioner,
        instructed=instructed,
        references=references,
    )


@torch.no_grad()
def encode_frames(
    model: Backbone,
    frames: Sequence[Frame],
    *,
    source_prompt: str | Sequence[str] | None = None,
    captioner: str | Captioner | None = None,
    instructed: bool | None = None,
    references: Sequence[PictureLike] = (),
) -> JointLatent:
    """Encode frames of one shape from `fit_all`; see `encode`."""
    if references and instructed is False:
        raise ConfigError("reference pictures need an instruction. Pass an instruction, or leave them out")
    if len({frame.pixels.shape for frame in frames}) > 1:
        raise ConfigError("pictures of different shapes cannot share a batch. Encode them one by one, or use edit")
    pixels = torch.stack([frame.pixels for frame in frames]).to(model.device, model.dtype)
    if instructed is None:
        undescribed = source_prompt is None and captioner is None and captioner_for(model) is None
        instructed = bool(references) or (undescribed and model.capabilities.references > 0)
    if instructed:
        check_instructs(model)
        if 1 + len(references) > (most := model.capabilities.references):
            raise ConfigError(
                f"the model {model.name!r} takes at most {most} reference pictures; got {1 + len(references)}. "
                "Leave some out"
            )
        source_prompt = no_change(model) if source_prompt is None else source_prompt
    if source_prompt is not None:
        captions = one_each(source_prompt, len(pixels), "caption", or_none=True)
    else:
        reader = captioner_of(model, captioner)
        if reader is None:
            raise ConfigError(
                f"there is no caption, and the model {model.name!r} has no captioner. Describe the picture with "
                "`source_prompt`"
            )
        captions = one_each(reader.caption(pixels), len(pixels), "caption from the captioner")
    check_length(*captions)
    z, condition = model.encode(pixels), model.embed(captions)
    others = tuple(open_picture(item) for item in references)
    if instructed:
        shown = [model.encode(frame.pixels[None].to(pixels)) for frame in fit_all(model, others)]
        reference = (z, *(latent.expand(len(z), *latent.shape[1:]) for latent in shown))
        condition = dataclasses.replace(condition, reference=reference)
    return JointLatent(
        backbone=model,
        z=z,
        condition=condition,
        captions=captions,
        frames=tuple(frames),
        read=captions if source_prompt is None and captioner is None else (),
        references=others,
        decoded=model.decode(z),
    )


def complete_captions(
    model: Backbone,
    frames: Sequence[Frame],
    sources: Sequence[str] | None,
    targets: Sequence[str] | None,
    captioner: str | Captioner | None,
) -> tuple[Completion, ...]:
    """Captions of images of one shape, completed from them (see `captions.completion`); none if there is nothing to do.

    Source captions are None if the captioner writes them; target captions are None for changes of the source captions.
    """
    texts = [*(sources or ()), *(targets or ())]
    if not texts or not all(text.strip() for text in texts):
        return ()
    reader = captioner_of(model, captioner)
    before = sources or [""] * len(frames)
    pairs = list(zip(before, targets or before, strict=True))
    if reader is None:
        note = f"{model.name} has no captioner to complete the captions; partial captions reduce quality"
        return tuple(Completion(source=old, target=new, notes=(note,)) for old, new in pairs) if sources else ()
    completions = reader.complete(torch.stack([frame.pixels for frame in frames]), pairs)
    one_each([completion.source for completion in completions], len(frames), "caption from the captioner")
    return tuple(completions)


def captioner_of(model: Backbone, captioner: str | Captioner | None) -> Captioner | None:
    """A captioner, by name or as it is; by default the model's own, None if it has none."""
    return make_captioner(captioner, model) if isinstance(captioner, str) else captioner or captioner_for(model)


def fit_all(model: Backbone, pictures: Sequence[PictureLike], *, mask: MaskLike | None = None) -> tuple[Frame, ...]:
    """Pictures at the model's size: the region that its framer chooses of each, or all of it without a framer."""
    check_model(model)
    if not model.capabilities.pixels:
        raise ConfigError(f"the model {model.name!r} knows latents only, and encodes no pictures")
    opened = [open_picture(item) for item in pictures]
    framer = framer_for(model)
    regions = [None] * len(opened) if framer is None else framer.boxes([item.on_white() for item in opened])
    pairs = zip(opened, regions, strict=True)
    return tuple(item.fit(model.capabilities, region=region, mask=mask) for item, region in pairs)


def open_picture(picture: PictureLike) -> Picture:
    """A picture, opened if necessary."""
    if isinstance(picture, Picture):
        return picture
    return Picture.from_image(picture) if isinstance(picture, Image.Image) else Picture.open(picture)


def one_each(texts: str | Sequence[str], count: int, what: str, *, or_none: bool = False) -> tuple[str, ...]:
    """One text a picture, from one for all or one each; empty texts only with ``or_none``."""
    given = (texts,) * count if isinstance(texts, str) else tuple(texts)
    if len(given) != count:
        raise ConfigError(f"{count} pictures take one {what}, or one each; got {len(given)}")
    if any(not text.strip() for text in given if text or not or_none):
        raise ConfigError(f"the {what} is empty. Describe the whole picture")
    return given
