"""Values outside [0, 1], of EXR files for example: what the comparison of 8 and 16-bit pixels does not see.

The edited values are brought into the original's frame, and divided by the one gain that the editor gave to what it
left. The color correction itself is measured within [0, 1] only, and means nothing beyond.
"""

import cv2
import numpy as np
import torch
from torch import Tensor

from latentedit_keep import KeepResult
from latentedit_keep.base.warp import Array, depth_inside

_MOST = 65504.0  # stands for infinity
_EXACT, _RESAMPLED = 1 / 255, 0.1  # relative differences that count as a change


def kept(
    image: Tensor, weight: Array, own: Tensor, edited: Tensor, result: KeepResult, inside: Array, amount: float
) -> tuple[Tensor, Array, str]:
    """The kept image and the opacity, with changes beyond [0, 1], and a line that says so."""
    mine, theirs, changed, said = _compared(own, edited, result)
    if not said:
        return image, weight, ""
    before = image[..., :3].float().cpu().numpy()
    seen = (image != _like(own, image)).any(dim=-1).cpu().numpy()
    weight = np.where(seen, weight, np.maximum(weight, np.where(changed, inside, 0)))
    part = amount * np.where(seen | changed, weight, 0)[..., None]
    values = before + part * (theirs - mine) + np.where(seen[..., None], mine, 0)
    moved = torch.from_numpy(values != before).to(image.device)
    mixed = torch.where(moved, torch.from_numpy(values).to(image), image[..., :3])
    return torch.cat([mixed, image[..., 3:]], dim=-1), weight.astype(np.float32), said


def changed(own: Tensor, edited: Tensor, result: KeepResult) -> tuple[Array, str]:
    """Where values beyond [0, 1] changed that are equal within, and a line on them."""
    return _compared(own, edited, result)[2:]


def _compared(own: Tensor, edited: Tensor, result: KeepResult) -> tuple[Array, Array, Array, str]:
    """What exceeds [0, 1] in the original and in the edited image, where that alone differs, and a line on it."""
    first, second = _values(own), _values(edited)
    mine, nothing = _excess(first), np.zeros(first.shape[:2], bool)
    if not mine.any() and not _excess(second).any():
        return mine, mine, nothing, ""
    if not _excess(second).any():
        return (
            mine,
            np.zeros_like(mine),
            nothing,
            "the edited image has no values above 1 or below 0; the original's stay",
        )
    if result.found == "different images" or result.turned:
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
    differs = np.abs(theirs - mine) > (_EXACT if exact and abs(gain - 1) <= 1 / 255 else _RESAMPLED) * (
        1 + np.abs(mine)
    )
    differs = differs.any(axis=-1)
    if not exact:
        differs = cv2.morphologyEx(differs.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
    differs &= np.asarray(result.mask) == 0
    share = f"changed in {100 * differs.mean():.2g} % of the image" if differs.any() else "were compared, too"
    return mine, theirs, differs, f"values above 1 or below 0 {share}"


def _values(image: Tensor) -> Array:
    values = torch.nan_to_num(image.detach().to("cpu", torch.float32), posinf=_MOST, neginf=-_MOST)[..., :3].numpy()
    return np.ascontiguousarray(np.repeat(values, 3, axis=-1) if values.shape[-1] == 1 else values)


def _excess(values: Array) -> Array:
    return values - values.clip(0, 1)


def _like(own: Tensor, image: Tensor) -> Tensor:
    more = image.shape[-1] - own.shape[-1]
    return own[..., : image.shape[-1]] if more <= 0 else torch.cat([own, torch.ones_like(own[..., :1])], dim=-1)
