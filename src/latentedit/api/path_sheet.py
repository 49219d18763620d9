"""Paths between two pictures as one sheet, a row a method with its lengths, and as numbers."""

from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from latentedit.api.sheets import GAP_PX, ROW_PX, draw_grid
from latentedit.geometry.paths import LatentPath, PathsBetween
from latentedit.latents.captions.base import to_images

_PANEL_PX = (64, 160)  # smallest and largest width of a picture
_DECODED_ROWS = 16  # latents decoded at once


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
        title: one line.

    Returns:
        See `draw_grid`.
    """
    images = [image for path in between.paths for image in to_images(path_pictures(between, path))]
    turns = [turn for path in between.paths for turn in ("", *(f"{turn:.2f}" for turn in path.turns.tolist()))]
    columns = len(images) // len(between.paths)
    least, largest = _PANEL_PX
    turned = f"by how many radians the tangent space of rank {between.rank} turned since the one before"
    return draw_grid(
        images,
        turns,
        columns=columns,
        title=title,
        lines=(
            f"drawn at level {between.level:.2f}; lengths at {between.site}, under no text",
            f"under each picture: {turned} (random spaces: {between.random.mean:.2f})",
        ),
        beside=[
            f"{path.method}\nfeature length {path.length:.4g}\nsemantic length {path.semantic_length:.2f} rad\n"
            f"(random: {len(path.turns) * between.random.mean:.1f})"
            for path in between.paths
        ],
        panel_px=min(largest, max(least, (ROW_PX + GAP_PX) // columns - GAP_PX)),
    )


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
