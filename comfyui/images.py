"""The work of the image nodes, on tensors; nothing here imports ComfyUI.

Images are ``[batch, height, width, channels]``, of any float type; masks are ``[batch, height, width]``, 1 where the
image may change; other shapes are read if they can only mean these. One original may come with many edited images, or
one with each. Unchanged pixels are the input's own values, bit for bit. Images are compared within [0, 1], then in what
exceeds it.
"""

import collections
import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from latentedit import KeepResult, check, keep
from latentedit.core import ImageError, Progress
from latentedit.keeping import Step, outcome
from latentedit.photo import Array, PixelImage, Pixels, depth_inside, resized
from latentedit.pixels import around, faded_at_cuts, mask_of, opaque_bounds, read_boxes

_EIGHT_BITS = 0.001  # an image whose values are all this near to multiples of 1/255 has 8 bits
_INFINITE = 65504.0  # stands for infinity
_EXACT, _RESAMPLED = 1 / 255, 0.1  # relative differences beyond [0, 1] that count as changes
_NO_MASK = (64, 64)  # size of the zeros that LoadImage gives for an image without alpha
_ALMOST = 16 / 255  # mask values this near to 0 or 1 are taken for it: masks are often 98 % white
_CACHED_PIXELS = 16_000_000  # most pixels of originals whose analyses are remembered; each takes about 15 bytes
_NEXT: dict[Step, str] = {
    "use edited": "Use the edited image.",
    "keep": "Connect both images to Keep only the change: it puts the change alone on the original's pixels.",
    "keep within mask": "Connect images and mask to Keep only the change: it keeps the original outside the mask.",
    "use edited or keep": "If more was to be shown, use the edited image; otherwise Keep only the change.",
    "use edited or keep changes": "If the colors were requested, use the edited image; otherwise edit once more.",
    "look": "Look at the panel: is the edit in it?",
    "edit again": "Edit once more with another instruction; if nothing changes again, use another editor.",
    "check files": "Check that the two images belong together; if they do, edit again.",
    "allow whole image": "If that was the request, use the edited image, and set max_changed to 1.",
    "invert mask": "The mask seems to be inverted: connect Invert Mask before it.",
}
_analyzed = collections.OrderedDict[tuple[str, str], KeepResult]()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kept:
    """Images of the originals' size, opacity of the edited image in each, and a report in words."""

    image: Tensor
    change: Tensor
    report: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checked:
    """Whether all passed, the reports as JSON, one panel for each, and the verdicts in words."""

    passed: bool
    report: str
    panel: Tensor
    verdict: str


def keep_change(
    edited: Tensor,
    original: Tensor,
    mask: Tensor | None = None,
    amount: float = 1.0,
    feather: int = 0,
    progress: Progress | None = None,
    box: str = "",
) -> Kept:
    """The original with nothing but the change.

    Args:
        edited: the editor's images, of any size.
        original: the originals.
        mask: where all that is seen is kept, and nothing elsewhere; of any size.
        amount: 0 is the original, 1 the full change.
        feather: width in pixels of a soft edge that is added around a local change.
        progress: called with a task, the steps done and their number.
        box: x, y, width and height in the original's pixels, instead of a mask; empty for none.

    Raises:
        ValueError: the numbers of images do not fit, or the shape of one can mean anything.
        ConfigError: the box is none, or outside the image.
        ImageError: the mask is empty or no mask; or an edited image cannot be aligned with its original.
    """
    images, opacities, reports = list[Tensor](), list[Array](), list[str]()
    for own, other, first, second, limit in _sets(edited, original, mask, box):
        kept = _aligned(_keep(first, second, limit, amount, progress), f"edited image {len(images) + 1}")
        if feather and kept.analysis.is_local:
            kept = _feathered(kept, limit, feather, amount)
        image, weight = _on_input(kept.kept.pixels, first.pixels, own), np.asarray(kept.mask, dtype=np.float32) / 255
        image, weight, stated = _with_excess(image, weight, own, other, kept, _inside(limit, own), amount)
        images.append(image)
        opacities.append(amount * weight)
        reports.append("\n".join(filter(None, (_report(kept, kept.lines), stated))))
    return Kept(image=_batch(images), change=torch.from_numpy(np.stack(opacities)).float(), report="\n\n".join(reports))


def check_edit(
    edited: Tensor,
    original: Tensor,
    mask: Tensor | None = None,
    max_outside: float = 0.001,
    max_changed: float = 1.0,
    expect_size: bool = False,
    progress: Progress | None = None,
) -> Checked:
    """Whether the edit happened, and what else changed.

    Args:
        edited: the editor's images, of any size.
        original: the originals.
        mask: where the image may change; of any size.
        max_outside: with a mask, the share of the image that may change outside of it.
        max_changed: without a mask, the share that may change; 1 also allows a change of the whole image.
        expect_size: fail if the edited image has another size.
        progress: called with a task, the steps done and their number.

    Raises:
        ValueError: as `keep_change`.
    """
    reports, panels, verdicts = list[dict[str, Any]](), list[Tensor](), list[str]()
    for own, other, first, second, limit in _sets(edited, original, mask):
        kept, most = _keep(first, second, None, 1.0, progress), max_changed if limit is None else max_outside
        found = check(kept=kept, mask=limit, max_outside=most, expect_size=expect_size)
        values = found.report.values | {"next_step": _NEXT[found.report.next_step_code]}
        changed, stated = _excess_changed(own, other, kept)
        if stated:
            values |= {"doubts": [*values["doubts"], stated], "verdict": f"{values['verdict']}; {stated}"}
        if changed.any():
            outside = float((changed * (1 - (0 if limit is None else _inside(limit, own)))).mean())
            happened = values["passed"] or kept.found == "identical"
            values |= {"passed": happened and (most >= 1 or outside <= most)}
            values |= {"next_step_code": "look", "next_step": _NEXT["look"]}
        reports.append(values)
        panels.append(_tensor(np.asarray(found.panel), own.float()))
        verdicts.append(f"{outcome(values)}: {values['verdict']}\n{values['next_step']}")
    return Checked(
        passed=all(report["passed"] for report in reports),
        report=json.dumps(reports[0] if len(reports) == 1 else reports, ensure_ascii=False, indent=1),
        panel=_batch(panels),
        verdict="\n\n".join(verdicts),
    )


def match_frame_and_color(
    edited: Tensor, original: Tensor, color: bool = True, progress: Progress | None = None
) -> Kept:
    """The whole edited image in the original's frame: shift, zoom, rotation and size undone, and the color cast.

    ``change`` is 0 where the edited image shows nothing; the original is left there. It raises what `keep_change` does.
    """
    images, opacities, reports = list[Tensor](), list[Array](), list[str]()
    for own, _, first, second, _ in _sets(edited, original):
        kept = _aligned(_keep(first, second, None, 1.0, progress), f"edited image {len(images) + 1}")
        found = kept.analysis
        shown = (depth_inside(found.matrix, first.size, found.edited.size) > -0.5).astype(np.float32)
        pixels = found.blended(shown, kept.detected if color else None, matrix=found.matrix, sharpen=False)
        images.append(_on_input(pixels, first.pixels, own))
        opacities.append(shown)
        reports.append(_report(kept, kept.undone))
    return Kept(image=_batch(images), change=torch.from_numpy(np.stack(opacities)), report="\n\n".join(reports))


def layers(original: Tensor, kept: Tensor) -> dict[str, Any]:
    """ComfyUI's LAYERS document: the originals below, and above each what changed, opaque.

    A layer with soft edges would not compose to the kept image: ComfyUI blends in linear light.
    """
    stack = list[dict[str, Any]]()
    for index in range(len(kept)):
        below = original[index % len(original), None]
        below = below.expand(*below.shape[:3], 3) if below.shape[-1] == 1 else below
        above = kept[index, None]
        same = (above == _channels(below, above.shape[-1])).all(dim=-1).float()
        if index < len(original):
            stack.append({"type": "raster", "image": below, "name": "original", "x": 0, "y": 0, "z_index": 0})
        stack.append(
            {"type": "raster", "image": above, "mask": same, "name": "change", "x": 0, "y": 0, "z_index": 0}
        )  # a mask of layers is 1 where they are transparent
    return {"version": 1, "canvas": (kept.shape[2], kept.shape[1]), "layers": stack}


def enforce_mask(edited: Tensor, original: Tensor, mask: Tensor, feather: int = 0) -> Tensor:
    """The edited image inside the mask, the original outside; no comparison, no alignment.

    ``feather`` is the width in pixels of a soft edge inside the mask. An edited image of another size is resized.
    """
    images = list[Tensor]()
    for own, other, first, _, limit in _sets(edited, original, mask):
        if limit is None:
            raise ValueError("the mask is empty. Paint where the image may change, or connect another mask")
        weight = (limit.pixels[..., :1] / np.float32(255)).astype(np.float32)
        if feather:
            inside = cv2.distanceTransform((weight[..., 0] > 0).astype(np.uint8), cv2.DIST_L2, 5)
            weight = np.minimum(weight, (inside / (feather + 1))[..., None])
        new = _channels(other.float(), own.shape[-1]).cpu().numpy()
        new = torch.from_numpy(resized(new, first.size).reshape(own.shape)).to(own)
        opacity = torch.from_numpy(weight).to(own.device)
        mixed = (own + opacity * (new.float() - own)).to(own)
        images.append(torch.where(opacity == 0, own, torch.where(opacity == 1, new, mixed)))
    return _batch(images)


def keep_files(
    edited: Path,
    original: Path,
    output: Path,
    mask: Path | None = None,
    amount: float = 1.0,
    progress: Progress | None = None,
) -> Kept:
    """`keep_change` from file to file, with EXIF, color profile and 16 bits; the image is in the original's colors."""
    kept = _aligned(keep(original, edited, mask=mask, strength=amount, progress=progress), edited.name)
    kept.save(output)
    written = kept.as_written(output)
    image = torch.from_numpy(np.rint(kept.kept.levels).clip(0, 255).astype(np.float32) / 255)
    opacity = torch.from_numpy(amount * np.asarray(kept.mask, dtype=np.float32) / 255)
    return Kept(image=image[None], change=opacity[None], report=_report(written, written.lines))


def _keep(
    first: PixelImage, second: PixelImage, limit: PixelImage | None, amount: float, progress: Progress | None
) -> KeepResult:
    """`keep`, which analyzes a pair once for all nodes and settings."""
    pair = first.fingerprint, second.fingerprint
    if pair in _analyzed:
        _analyzed.move_to_end(pair)
        found = _analyzed[pair]
        kept = found.whole if limit is None and amount == 1 else found.composed(mask=limit, strength=amount)
        if progress is not None:
            progress("compared", 1, 1)
    else:
        kept = keep(first, second, mask=limit, strength=amount, progress=progress)
    _analyzed[pair] = kept
    while len(_analyzed) > 1 and sum(one.original.pixels[..., 0].size for one in _analyzed.values()) > _CACHED_PIXELS:
        _analyzed.popitem(last=False)
    return kept


def _aligned(kept: KeepResult, name: str) -> KeepResult:
    """The result; an `ImageError` if it is the original, because the two are different images."""
    if kept.found == "different images":
        remedy = "Connect the image before the edit to `original`, or ask Check an edit first and branch on `passed`"
        raise ImageError(f"{name} cannot be aligned with its original: they seem to be different images. {remedy}")
    return kept


def _report(kept: KeepResult, lines: Sequence[str]) -> str:
    return "\n".join((kept.verdict, *lines, *kept.doubts))


def _feathered(kept: KeepResult, limit: PixelImage | None, feather: int, amount: float) -> KeepResult:
    """The result with a linear ramp around the change, which ends at the mask."""
    found, change = kept.analysis, kept.analysis.change
    if change is None:
        return kept
    weight = found.full(change.opacity)
    away = cv2.distanceTransform((weight <= 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    weight = np.maximum(weight, 1 - away / (feather + 1)).clip(0, 1)
    if limit is not None:
        weight *= found.faded(opaque_bounds(limit, kept.original.size)[0], weight, change, strength=amount)
    pixels = found.composed(weight, change, strength=amount)
    image, mask = dataclasses.replace(kept.kept, pixels=pixels), np.rint(255 * weight.clip(0, 1)).astype(np.uint8)
    return dataclasses.replace(kept, kept=image, mask=Image.fromarray(mask))


def _with_excess(
    image: Tensor, weight: Array, own: Tensor, edited: Tensor, result: KeepResult, inside: Array, amount: float
) -> tuple[Tensor, Array, str]:
    """The kept image and the opacity, with changes beyond [0, 1], and a line that says so."""
    mine, theirs, changed, stated = _compared(own, edited, result)
    if not stated:
        return image, weight, ""
    before = image[..., :3].float().cpu().numpy()
    seen = (image != _channels(own, image.shape[-1])).any(dim=-1).cpu().numpy()
    if inside.min() < 1:
        inside = faded_at_cuts(inside, 255 * np.abs(theirs - mine).max(axis=-1) * changed, around(inside))
    weight = np.where(seen, weight, np.maximum(weight, np.where(changed, inside, 0)))
    part = amount * np.where(seen | changed, weight, 0)[..., None]
    values = before + part * (theirs - mine) + np.where(seen[..., None], mine, 0)
    moved = torch.from_numpy(values != before).to(image.device)
    mixed = torch.where(moved, torch.from_numpy(values).to(image), image[..., :3])
    return torch.cat([mixed, image[..., 3:]], dim=-1), weight.astype(np.float32), stated


def _excess_changed(own: Tensor, edited: Tensor, result: KeepResult) -> tuple[Array, str]:
    """Where values beyond [0, 1] changed that are equal within, and a line on them."""
    return _compared(own, edited, result)[2:]


def _compared(own: Tensor, edited: Tensor, result: KeepResult) -> tuple[Array, Array, Array, str]:
    """The excess beyond [0, 1] in the original and in the edited image, where that alone differs, and a line on it.

    The edited values are brought into the original's frame, and divided by the one gain that the editor gave to what it
    left: the color correction is measured within [0, 1] only, and means nothing beyond.
    """
    first, second = _finite(own), _finite(edited)
    mine, nothing = _excess(first), np.zeros(first.shape[:2], bool)
    if not mine.any() and not _excess(second).any():
        return mine, mine, nothing, ""
    if not _excess(second).any():
        stated = "the edited image has no values above 1 or below 0; the original's stay"
        return mine, np.zeros_like(mine), nothing, stated
    if result.found == "different images" or result.analysis.turned:
        return mine, np.zeros_like(mine), nothing, "values above 1 or below 0 were not compared"
    height, width = first.shape[:2]
    exact = first.shape == second.shape and np.allclose(result.matrix, np.eye(3), atol=1e-6)
    if not exact:
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        shown = depth_inside(result.matrix, (width, height), (second.shape[1], second.shape[0])) > 0
        second = cv2.warpPerspective(
            second, result.matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE
        )
        second = np.where(shown[..., None], second, first)
    still = (np.asarray(result.mask) == 0)[..., None] & (first > 0.25) & (first < 0.9) & (second > 0) & (second < 1)
    gain = float(np.median(second[still] / first[still])) if still.any() else 1.0
    theirs = _excess(second / gain if abs(gain - 1) > 1 / 255 else second)
    least = _EXACT if exact and abs(gain - 1) <= 1 / 255 else _RESAMPLED
    differs = (np.abs(theirs - mine) > least * (1 + np.abs(mine))).any(axis=-1)
    if not exact:
        differs = cv2.morphologyEx(np.asarray(differs, dtype=np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
    differs &= (result.kept.pixels[..., :3] == result.original.pixels[..., :3]).all(axis=-1)
    share = f"changed in {100 * differs.mean():.2g} % of the image" if differs.any() else "were compared, too"
    return mine, theirs, differs, f"values above 1 or below 0 {share}"


def _finite(image: Tensor) -> Array:
    values = torch.nan_to_num(image.detach().to("cpu", torch.float32), posinf=_INFINITE, neginf=-_INFINITE)[
        ..., :3
    ].numpy()
    return np.ascontiguousarray(np.repeat(values, 3, axis=-1) if values.shape[-1] == 1 else values)


def _excess(values: Array) -> Array:
    return values - values.clip(0, 1)


def _sets(
    edited: Any, original: Any, mask: Any = None, box: str = ""
) -> Iterator[tuple[Tensor, Tensor, PixelImage, PixelImage, PixelImage | None]]:
    """For each image: the original and the edited image as they came, their pixels, and those of the mask."""
    edited, original = pair(edited, original)
    count = max(len(edited), len(original))
    masks = None if mask is None else _masks(mask, count)
    numbers = [len(edited), len(original), 1 if masks is None else len(masks)]
    if {*numbers} - {1, count}:
        counts = "{} edited images, {} originals and {} masks".format(*numbers)
        raise ValueError(f"{counts} do not fit together. Give one of each, or one original and one mask for all edits")
    for index in range(count):
        first, second = original[index % len(original)], edited[index % len(edited)]
        first = first.expand(*first.shape[:2], 3) if first.shape[-1] == 1 else first
        pixels = _pixels(first)
        limit = None if masks is None else _limit(masks[index % len(masks)], pixels.size)
        if limit is None and box.strip():
            limit = mask_of(read_boxes(box), pixels.size)
        yield first, second, pixels, _pixels(second), limit


def pair(edited: Any, original: Any) -> tuple[Tensor, Tensor]:
    """Edited images and originals as batches ``[batch, height, width, channels]`` of 1, 3 or 4 channels."""
    return _images(edited, "edited"), _images(original, "original")


def _images(given: Any, name: str) -> Tensor:
    shape = list(given.shape) if isinstance(given, Tensor) else []
    if not (len(shape) in (3, 4) and 1 <= shape[-1] <= 4 and 0 not in shape and given.is_floating_point()):
        raise _formless(given, name, "images [batch, height, width, channels], with 1 to 4 channels of floats")
    images = given[None] if len(shape) == 3 else given
    if images.shape[-1] == 2:  # gray with alpha
        images = torch.cat([images[..., :1].expand(*images.shape[:3], 3), images[..., 1:]], dim=-1)
    return images


def _masks(given: Any, count: int) -> Tensor:
    """Masks ``[batch, height, width]`` for this number of images."""
    masks, shape = given, list(given.shape) if isinstance(given, Tensor) else []
    if len(shape) == 2:
        masks = given[None]
    elif len(shape) == 4 and 1 in (shape[1], shape[3]):
        masks = given[:, 0] if shape[1] == 1 else given[..., 0]
    elif len(shape) == 3 and shape[2] == 1 and shape[0] not in (1, count):  # one mask with a channel
        masks = given[None, ..., 0]
    if not shape or masks.ndim != 3 or 0 in shape:
        raise _formless(given, "mask", "masks [batch, height, width]; Convert Image to Mask makes one of an image")
    return masks


def _formless(given: Any, name: str, form: str) -> ValueError:
    if given is None:
        return ValueError(f"`{name}` is missing: the node that is connected to it gave nothing. Connect another")
    got = f"{list(given.shape)} of {given.dtype}" if isinstance(given, Tensor) else f"a {type(given).__name__}"
    return ValueError(f"`{name}` takes {form}; got {got}. Connect one of these")


def _inside(limit: PixelImage | None, own: Tensor) -> Array:
    """Where a change may be kept, from 0 to 1; edges of the mask do not fade."""
    if limit is None:
        return np.ones(own.shape[:2], np.float32)
    return opaque_bounds(limit, (own.shape[1], own.shape[0]))[0]


def _pixels(image: Tensor) -> PixelImage:
    """An image ``[height, width, channels]`` in 8 bits if its values are such, otherwise in 16."""
    values = _numbers(image, "an image").clip(0, 1)
    values = np.repeat(values, 3, axis=-1) if values.shape[-1] == 1 else values
    levels = np.rint(255 * values)
    if np.abs(values - levels / 255).max() <= _EIGHT_BITS:
        return PixelImage(pixels=levels.astype(np.uint8))
    return PixelImage(pixels=np.rint(65535 * values).astype(np.uint16))


def _limit(mask: Tensor, size: tuple[int, int]) -> PixelImage | None:
    """A mask ``[height, width]`` at the image's size; None for what LoadImage gives where there is none."""
    if tuple(mask.shape) == _NO_MASK and not bool(mask.any()):
        return None
    plane = resized(_numbers(mask, "the mask"), size)
    plane = ((plane - _ALMOST) / (1 - 2 * _ALMOST)).clip(0, 1)
    return PixelImage(pixels=np.repeat(np.rint(255 * plane).astype(np.uint8)[..., None], 3, axis=-1))


def _numbers(values: Tensor, name: str) -> Array:
    if bool(values.isnan().any()):
        raise ValueError(f"{name} has values that are no numbers (NaN). Replace them first")
    return values.detach().to("cpu", torch.float32).numpy()


def _tensor(pixels: Pixels, like: Tensor) -> Tensor:
    """Pixels of 8 or 16 bits as floats."""
    return torch.from_numpy(pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)).to(like)


def _on_input(pixels: Pixels, before: Pixels, own: Tensor) -> Tensor:
    """Pixels where they differ from those before, otherwise the input's own values."""
    channels = pixels.shape[-1]
    if before.shape[-1] < channels:
        before = np.dstack([before, np.full_like(before[..., 0], np.iinfo(before.dtype).max)])
    changed = torch.from_numpy((pixels != before[..., :channels]).any(axis=-1, keepdims=True)).to(own.device)
    return torch.where(changed, _tensor(pixels, own), _channels(own, channels))


def _channels(image: Tensor, count: int) -> Tensor:
    """An image with 3 or 4 channels, opaque if alpha is added."""
    if image.shape[-1] == 1:
        image = image.expand(*image.shape[:-1], 3)
    if image.shape[-1] < count:
        image = torch.cat([image, torch.ones_like(image[..., :1])], dim=-1)
    return image[..., :count]


def _batch(images: list[Tensor]) -> Tensor:
    most = max(image.shape[-1] for image in images)
    return torch.stack([_channels(image, most) for image in images])
