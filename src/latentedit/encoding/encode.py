"""*Encode*: images and their captions to a joint latent; target texts and their directions."""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from latentedit.core.errors import ConfigError, ShapeError, did_you_mean, explaining
from latentedit.core.files import Encoded
from latentedit.core.plugins import CAPTIONERS
from latentedit.encoding.captions.base import Captioner, make_captioner
from latentedit.encoding.captions.change import (
    Caption,
    Change,
    align_captions,
    check_length,
    quoted,
)
from latentedit.encoding.captions.completion import Completion
from latentedit.encoding.captions.fitting import LeftOut, cut, fit, left_out_note
from latentedit.encoding.images import Frame, MaskLike, SourceImage, framer_for
from latentedit.encoding.joint import JointLatent
from latentedit.encoding.no_change import check_instructs, no_change
from latentedit.models.base import Backbone, check_model
from latentedit.models.prompts import listed
from latentedit.models.registry import ModelLike, as_backbone
from latentedit.numerics.condition import Condition
from latentedit.photo.images import ImageInput

ChangeLike = str | Change  # "OLD => NEW", or a parsed change
ImageLike = ImageInput | SourceImage

_MISSPELT = 0.8  # likeness of a word to the one that was meant
_EXAMPLES = 64  # captions whose phrases are proposed for unknown ones: nearly all phrases of the bundled domains


@explaining
@torch.no_grad()
def encode(
    model: ModelLike,
    image: ImageLike | Sequence[ImageLike],
    *,
    source_prompt: str | Sequence[str] | None = None,
    captioner: str | Captioner | None = None,
    mask: MaskLike | None = None,
    instructed: bool | None = None,
    references: Sequence[ImageLike] = (),
) -> JointLatent:
    """Encode images with the captions that describe them, or for an instruction-tuned model.

    Args:
        model: the model, or a live pipeline of diffusers.
        image: one, or a list that the model takes at one size. For a model of latents alone, these: a tensor
            ``[b, *latent]``, as it is.
        source_prompt: caption of the image, one for all or one per image; "" for no text. By default a captioner writes
            it.
        captioner: a captioner or its name (see `captions.base.make_captioner`); the model's own by default.
        mask: where the images may change, white for yes; an image of their size. Everywhere by default.
        instructed: encode for instructions: each image is a reference for the model, texts are instructions, and
            ``source_prompt`` is the no-op one (`no_change` by default). None is true if the model takes
            references and there is neither a source prompt nor a captioner.
        references: additional reference images, of any size.

    Raises:
        ImageError: a file that is not an image fit for editing, or a mask that does not fit it.
        ConfigError: no caption where one is needed, one of spaces or too long, images that cannot share a batch, or
            instructions or references for a model that does not take them, or not as many.
        RegistryError, ModelError, MissingDependencyError, CaptionError: a captioner that cannot be found, loaded or
            reached.
    """
    model = as_backbone(model)
    if not model.capabilities.pixels:
        return _of_tensors(model, image, source_prompt)
    images = as_list(image)
    if not images:
        raise ConfigError("there is no image to encode")
    how: Any = {"captioner": captioner, "instructed": instructed, "references": references}
    return encode_frames(model, fit_all(model, images, mask=mask), source_prompt=source_prompt, **how)


def _of_tensors(model: Backbone, given: Any, texts: str | Sequence[str] | None) -> JointLatent:
    """Clean latents of a model without images, a batch or several, with the texts that describe them."""
    several = given if isinstance(given, (list, tuple)) else [given]
    if not several or not all(isinstance(one, torch.Tensor) for one in several):
        raise ConfigError(f"{model.name} knows latents only: give floats [b, ...] as a tensor; got {given!r:.60}")
    for one in several:
        model.check_shape(one)
        if not one.is_floating_point():
            raise ShapeError(
                f"latents of {model.name} are floats [b, ...]; got {one.dtype}. Convert them with .float()"
            )
    z = torch.cat(several)
    if not bool(z.isfinite().all()):
        raise ShapeError("the latents have values that are not finite")
    if texts is None and model.reads_text:
        raise ConfigError(f"there is no text for these latents. Give {model.name} the `source_prompt` that they show")
    captions = broadcast_texts(texts or "", len(z), "caption", or_none=True)
    z = z.to(model.device, model.dtype)
    return JointLatent(backbone=model, z=z, condition=model.embed(captions), captions=captions)


@torch.no_grad()
def encode_frames(
    model: Backbone,
    frames: Sequence[Frame],
    *,
    source_prompt: str | Sequence[str] | None = None,
    captioner: str | Captioner | None = None,
    instructed: bool | None = None,
    references: Sequence[ImageLike] = (),
) -> JointLatent:
    """Encode frames of one shape from `fit_all`; see `encode`."""
    if references and instructed is False:
        raise ConfigError("reference images need an instruction. Pass an instruction, or leave them out")
    if len({frame.pixels.shape for frame in frames}) > 1:
        raise ConfigError("images of different shapes cannot share a batch. Encode them one by one, or use edit")
    pixels = torch.stack([frame.pixels for frame in frames]).to(model.device, model.dtype)
    if instructed is None:
        undescribed = source_prompt is None and captioner is None and captioner_for(model) is None
        instructed = bool(references) or (undescribed and model.capabilities.references > 0)
    if instructed:
        check_instructs(model)
        if 1 + len(references) > (most := model.capabilities.references):
            raise ConfigError(
                f"the model {model.name!r} takes at most {most} reference images; got {1 + len(references)}. "
                "Leave some out"
            )
        source_prompt = no_change(model) if source_prompt is None else source_prompt
    if source_prompt is None and captioner is None and not model.reads_text:
        source_prompt = ""
    if source_prompt is not None:
        captions = broadcast_texts(source_prompt, len(pixels), "caption", or_none=True)
    else:
        reader = captioner_of(model, captioner)
        if reader is None:
            raise ConfigError(
                f"there is no caption, and the model {model.name!r} has no captioner. Describe the image with "
                "`source_prompt`"
            )
        captions = broadcast_texts(reader.caption(pixels), len(pixels), "caption from the captioner")
    check_length(*captions)
    left_out = left_out_of(model, captions)
    z, condition = model.encode(pixels), model.embed(cut_captions(captions, left_out))
    others = tuple(map(open_image, as_list(references)))
    if instructed:
        shown = [model.encode(frame.pixels[None].to(pixels)) for frame in fit_all(model, others)]
        # The image is the first reference, so that the model edits it; the others are shown with every image of the
        # batch.
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
        encoders=model.encoders,
        left_out=left_out,
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
    broadcast_texts([completion.source for completion in completions], len(frames), "caption from the captioner")
    return tuple(completions)


def describe_both(
    model: Backbone, frames: Sequence[Frame], request: str, captioner: str | Captioner
) -> tuple[Completion, ...]:
    """Source and target captions of images of one shape, which the captioner writes for an edit requested in words."""
    reader = make_captioner(captioner, model) if isinstance(captioner, str) else captioner
    return tuple(reader.describe_both(torch.stack([frame.pixels for frame in frames]), request))


def captioner_for(backbone: Backbone) -> Captioner | None:
    """The captioner named in the model's folder (``"captioner": NAME`` in ``latentedit.json``), or None."""
    name: str | None = backbone.defaults.get("captioner")
    return None if name is None else CAPTIONERS.make(name, Captioner, backbone)


def captioner_of(model: Backbone, captioner: str | Captioner | None) -> Captioner | None:
    """A captioner, by name or as it is; by default the model's own, None if it has none."""
    return make_captioner(captioner, model) if isinstance(captioner, str) else captioner or captioner_for(model)


def fit_all(model: Backbone, images: Sequence[ImageLike], *, mask: MaskLike | None = None) -> tuple[Frame, ...]:
    """Images at the model's size: the region that its framer chooses of each, or all of it without a framer."""
    check_pixels(model)
    opened = [open_image(item) for item in images]
    framer = framer_for(model)
    regions = [None] * len(opened) if framer is None else framer.boxes([item.on_white() for item in opened])
    pairs = zip(opened, regions, strict=True)
    return tuple(item.fit(model.capabilities, region=region, mask=mask) for item, region in pairs)


def check_pixels(model: Backbone) -> None:
    """Raise a ConfigError for a model that encodes no images."""
    check_model(model)
    if not model.capabilities.pixels:
        raise ConfigError(
            f"the model {model.name!r} knows latents only, and encodes no images. Give a tensor to `encode`, "
            "and edit it with `edit_latent`"
        )


def open_image(image: ImageLike) -> SourceImage:
    """An image, opened if necessary."""
    if isinstance(image, SourceImage):
        return image
    return SourceImage.open(image) if isinstance(image, str | Path) else SourceImage.from_image(image)


def is_single(image: Any) -> bool:
    """Whether this is one image, and neither a sequence nor a batch of several; what is neither is refused later."""
    if hasattr(image, "ndim"):
        return image.ndim < 4 or len(image) == 1
    return isinstance(image, str | Encoded) or hasattr(image, "read") or not isinstance(image, Iterable)


def as_list(images: Any) -> list[ImageLike]:
    """One image or several as a list."""
    return [images] if is_single(images) else list(images)


def broadcast_texts(texts: str | Sequence[str], count: int, what: str, *, or_none: bool = False) -> tuple[str, ...]:
    """One text an image, from one for all or one each; empty texts only with ``or_none``."""
    whole: Any = texts  # a caller without types may pass anything
    given = (whole,) * count if isinstance(whole, str) or not isinstance(whole, Iterable) else tuple[Any, ...](whole)
    if others := [text for text in given if not isinstance(text, str)]:
        raise ConfigError(f"the {what} is text; got {others[0]!r}. Describe the whole image in words")
    if count == 1 and len(given) > 1:
        raise ConfigError(
            f"one image takes one {what}; got {len(given)}. Call it once for each, or `sweep` with `strengths` for "
            "several strengths of one"
        )
    if len(given) != count:
        raise ConfigError(f"{count} images take one {what}, or one each; got {len(given)}")
    if any(not text.strip() for text in given if text or not or_none):
        raise ConfigError(f"the {what} is empty. Describe the whole image")
    return given


def target_captions(
    model: Backbone,
    captions: Sequence[str],
    *,
    to: str | Sequence[str] | None,
    change: ChangeLike | Sequence[ChangeLike] | None,
) -> tuple[str, ...]:
    """The target caption of each image: ``to``, one or one per image, or its caption with changes made in order."""
    check_length(*captions, *([to] if isinstance(to, str) else to or ()))
    several = [change] if isinstance(change, ChangeLike) else list(change or ())
    if (to is None) == (not several):
        raise ConfigError(f"give either a target caption or a change; got {'neither' if to is None else 'both'}")
    if to is not None:
        return broadcast_texts(to, len(captions), "target caption")
    targets = tuple(captions)
    for item in several:
        made = item if isinstance(item, Change) else Change.parse(item)
        targets = tuple(changed_caption(model, target, made) for target in targets)
    return targets


def target_texts(
    latent: JointLatent,
    *,
    to: str | Sequence[str] | None = None,
    change: ChangeLike | Sequence[ChangeLike] | None = None,
    instruction: str | Sequence[str] | None = None,
) -> tuple[str, ...]:
    """The target text of each image: a caption (see `target_captions`), or the instructions of instructed latents."""
    if instruction is None and not latent.instructed:
        return target_captions(latent.backbone, latent.captions, to=to, change=change)
    if instruction is None or to is not None or change is not None:
        given = f"`instruction={quoted(to)}`" if isinstance(to, str) else "an `instruction`"
        raise ConfigError(
            f"the image was encoded for instructions to {latent.backbone.name}, which need an `instruction` and no "
            f"caption or change. Pass {given}, or encode the image with its `source_prompt`"
        )
    if not latent.instructed:
        raise ConfigError(
            "the image was encoded with a caption, and an instruction needs a model that sees the image. Encode it "
            "with instructed=True, or give a `change`"
        )
    text = instruction if isinstance(instruction, str) else ", ".join(instruction)
    check_length(text)
    return broadcast_texts(text, len(latent), "instruction")


def changed_caption(model: Backbone, caption: str, change: Change) -> str:
    """The caption with a change made, in the grammar of the model's captioner if it has one."""
    captioner = captioner_for(model)
    return change.apply(caption) if captioner is None else captioner.change(caption, change)


def text_direction(
    backbone: Backbone, source_captions: Sequence[str], target_captions: Sequence[str], left_out: Sequence[LeftOut] = ()
) -> Condition:
    """The displacement of the embedded text, ``n = embed(aligned target) - embed(source)``.

    So ``embed(source) + n`` is the embedding of the target caption as `align_captions` orders it, up to rounding, and n
    is exactly zero where the two captions are equal. There is one of each per image. What text encoders have no room
    for is ``left_out`` of both, by default as little as possible.
    """
    targets = _aligned(source_captions, target_captions)
    left_out = left_out or left_out_of(backbone, source_captions, [targets])
    sources = backbone.embed(cut_captions(source_captions, left_out))
    return backbone.embed(cut_captions(targets, left_out)) - sources


def embed_targets(latent: JointLatent, targets: Sequence[str]) -> Condition:
    """Target captions, aligned and embedded, without what is left out of the source captions (see `fitted`).

    Of instructed latents, instructions embedded with their references.
    """
    texts = targets if latent.instructed else _aligned(latent.captions, targets)
    return latent.embed_with_references(cut_captions(texts, latent.left_out))


def fitted(latent: JointLatent, targets: Sequence[Sequence[str]]) -> JointLatent:
    """The latent without what its text encoders have no room for in captions or targets, see `captions.fitting`.

    ``targets`` are those of one or several changes, each one text an image. A `ConfigError` if a change has no room.
    """
    backbone, captions, before = latent.backbone, latent.captions, latent.left_out
    aligned = targets if latent.instructed else [_aligned(captions, texts) for texts in targets]
    left_out = left_out_of(backbone, captions, aligned)
    if left_out == before:
        return latent
    condition = latent.embed_with_references(cut_captions(captions, left_out))
    if latent.provenance is not None:  # an edit at another strength than 1 is somewhere between two captions
        condition = latent.condition + (condition - latent.embed_with_references(cut_captions(captions, before)))
    return dataclasses.replace(latent, condition=condition, left_out=left_out)


def left_out_of(model: Backbone, captions: Sequence[str], targets: Sequence[Sequence[str]] = ()) -> tuple[LeftOut, ...]:
    """Phrases left out of each caption, and of its targets, for the text encoders of a model; see `fit`."""
    readers = model.text_readers
    return tuple(fit(readers, row) for row in zip(captions, *targets, strict=True)) if readers else ()


def cut_captions(captions: Sequence[str], left_out: Sequence[LeftOut]) -> list[Any]:
    """Captions as the text encoders are given them, see `Text`."""
    return [cut(*pair) for pair in zip(captions, left_out, strict=True)] if left_out else list(captions)


def _aligned(captions: Sequence[str], targets: Sequence[str]) -> list[str]:
    """The targets with their phrases in the order of the captions'."""
    return [align_captions(*pair)[1] for pair in zip(captions, targets, strict=True)]


_PARTIAL = 1 / 3  # share of a caption's words below which a target caption is likely to be a change


def partial_notes(captions: Sequence[str], targets: Sequence[str]) -> list[str]:
    """A note on a target caption that says so little that it was likely meant as a change."""
    pairs = zip(captions, targets, strict=True)
    short = [target for caption, target in pairs if len(target.split()) < _PARTIAL * len(caption.split())]
    return [
        f"{quoted(target)} is taken as all that the image should show. For one change of it, give change="
        f"{quoted(f'=> {target}')}"
        for target in dict.fromkeys(short)
    ]


def text_notes(model: Backbone, left_out: Sequence[LeftOut], texts: Sequence[str]) -> list[str]:
    """Notes on captions for the user: phrases left out of them, and words that never occurred in training.

    With those are named the phrases that the model knows instead.
    """
    notes = [note for one in left_out for note in left_out_note(model.text_readers, one)]
    notes += model.caption_notes(texts)
    phrases = dict.fromkeys(phrase for text in texts for phrase in Caption.of(text).texts)
    if unseen := {phrase: words for phrase in phrases if (words := model.unseen_words(phrase))}:
        reader = captioner_for(model)
        examples = () if reader is None else reader.examples(_EXAMPLES)
        known = {one.text for text in examples for one in Caption.of(text).phrases}
        for phrase, words in unseen.items():
            likely = did_you_mean(words[0], " ".join(known).split(), likeness=_MISSPELT)
            meant = did_you_mean(phrase, known, likeness=1) or likely
            notes.append(f"{listed(words)} never seen by the model in training{f': {meant}' if meant else ''}")
    return list(dict.fromkeys(notes))
