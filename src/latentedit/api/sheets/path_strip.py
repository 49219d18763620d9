"""Paths between two pictures as one sheet: a row a method, with its lengths, and in numbers."""

from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from latentedit.api.sheets.drawing import (
    GREY,
    LABEL_PX,
    PAPER,
    Line,
    draw_head,
    draw_rows,
    fitted,
    label_height,
    put_panel,
)
from latentedit.directions.latent_path import LatentPath, PathsBetween
from latentedit.latents.captions.base import to_images

_PANEL_PX = 160
_LEAST_PANEL_PX = 64
_ROW_PX = 1192
_GAP_PX = 12
_TEXT_PX = 250
"""Of a row: the longest side of its pictures, never below the second; the width that they share if that leaves it; the
space between them; and the width of the text to their left."""

_LEAST_TURN_PX = 80
"""Width of a picture below which no turn is written under it."""

_DECODED_ROWS = 16
"""Latents decoded at once."""


def path_pictures(between: PathsBetween, path: LatentPath) -> Float[Tensor, "l 3 h w"]:
    """The pictures along a path at the model's size, in [-1, 1]: the first and the last are those that were given.

    Those between are decoded latents, without what the codec loses of the given ones.
    """
    backbone, frames = between.latent.backbone, between.latent.frames
    decoded = torch.cat([backbone.decode(rows) for rows in path.z[1:-1].split(_DECODED_ROWS)])
    first, last = (frame.pixels[None].to(decoded) for frame in frames)
    return torch.cat([first, decoded.clamp(-1, 1), last])


@torch.no_grad()
def draw_paths(between: PathsBetween, *, title: str) -> Image.Image:
    """The paths, one a row: the method and its lengths, then its pictures, each with the turn of the tangent space.

    Args:
        between: of two pictures.
        title: one line; cut with an ellipsis where it is too long.

    Returns:
        An RGB picture, the same for the same arguments on every machine that has the same Pillow.
    """
    rows = [_row(between, path) for path in between.paths]
    turned = f"by how many radians the tangent space of rank {between.rank} turned since the one before"
    lines = (
        f"drawn at level {between.level:.2f}; lengths at {between.site}, under no text",
        f"under each picture: {turned} (random spaces: {between.random.mean:.2f})",
    )
    return draw_rows(draw_head(title, lines, rows[0].width), rows, gap_px=_GAP_PX)


def paths_json(between: PathsBetween) -> dict[str, Any]:
    """What was measured, for machines."""
    segments = len(between.paths[0].turns)
    return {
        "captions": between.latent.captions,
        "level": between.level,
        "site": between.site,
        "rank": between.rank,
        "steps": between.steps,
        "seed": between.seed,
        "frames": segments + 1,
        "random": {
            "a_segment": {"mean": between.random.mean, "low": between.random.low, "high": between.random.high},
            "semantic_length": segments * between.random.mean,
        },
        "paths": [_path_json(path) for path in between.paths],
        "evaluations": between.evaluations,
    }


def _path_json(path: LatentPath) -> dict[str, Any]:
    return {
        "method": path.method,
        "feature_length": path.length,
        "feature_lengths": path.speeds.tolist(),
        "feature_energy": float(path.speeds.square().sum()),
        "semantic_length": path.semantic_length,
        "curvedness": path.turns.tolist(),
        "norms": torch.linalg.vector_norm(path.points.flatten(1).double(), dim=1).tolist(),
        "notes": path.notes,
    }


def _row(between: PathsBetween, path: LatentPath) -> Image.Image:
    count = len(path.points)
    side = min(_PANEL_PX, max(_LEAST_PANEL_PX, (_ROW_PX + _GAP_PX) // count - _GAP_PX))
    panels = [fitted(image, (side, side)) for image in to_images(path_pictures(between, path))]
    width, height = panels[0].size
    turns = ["", *(f"{turn:.2f}" for turn in path.turns.tolist())]
    labels = [[Line(text=turn if width >= _LEAST_TURN_PX else "", size_px=LABEL_PX, color=GREY)] for turn in turns]
    text = _text(between, path)
    size = (
        _TEXT_PX + count * (width + _GAP_PX) - _GAP_PX + 1,  # with the hairline of the last
        max(text.height, height + 2 + label_height(labels[0])),
    )
    row = Image.new("RGB", size, PAPER)
    row.paste(text, (0, 0))
    for column, (panel, label) in enumerate(zip(panels, labels, strict=True)):
        put_panel(row, panel, (_TEXT_PX + column * (width + _GAP_PX), 1), label)
    return row


def _text(between: PathsBetween, path: LatentPath) -> Image.Image:
    """The method and the lengths."""
    lines = (
        f"feature length {path.length:.4g}",
        f"semantic length {path.semantic_length:.2f} rad",
        f"(random: {len(path.turns) * between.random.mean:.1f})",
    )
    return draw_head(path.method, lines, _TEXT_PX - _GAP_PX)
