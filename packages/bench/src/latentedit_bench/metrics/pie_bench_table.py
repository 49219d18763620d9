"""PIE-Bench's numbers of a batch, and its table over a run: means with intervals, by category and over all."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from latentedit.core.errors import ConfigError, ModelError, RegistryError, nearest
from latentedit.core.settings import check
from latentedit_bench.metrics import pie_bench
from latentedit_bench.metrics.pie_bench import Mode, Perceptual, TextSimilarity
from latentedit_bench.metrics.pie_bench_weights import NEEDED
from latentedit_bench.metrics.statistics import Table, estimate
from latentedit_bench.metrics.structure import Keys, picture_structure_distance

SCALE: Mapping[str, float] = {
    "structure_distance": 1e3,
    "background_psnr_db": 1,
    "background_lpips": 1e3,
    "background_mse": 1e4,
    "background_ssim": 1e2,
    "clip_whole": 1,
    "clip_edited": 1,
    "background_lpips_alexnet": 1e3,
}
"""What PIE-Bench's tables multiply each number by."""

OVERALL = "all"
"""The category of a row over all categories."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Networks:
    """Those that are at hand; a number whose network is None is skipped.

    Args:
        lpips: over SqueezeNet.
        lpips_alexnet: over AlexNet, for the corrected mode.
        clip: of ViT-L/14.
        keys: of DINO's ViT-B/8.
    """

    lpips: Perceptual | None = None
    lpips_alexnet: Perceptual | None = None
    clip: TextSimilarity | None = None
    keys: Keys | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Edits to measure.

    Args:
        edited: pictures in [-1, 1].
        source: before the edit.
        mask: true where the picture may change.
        captions: what the edited pictures should show.
    """

    edited: Float[Tensor, "b 3 h w"]
    source: Float[Tensor, "b 3 hs ws"]
    mask: Bool[Tensor, "b 1 hs ws"]
    captions: Sequence[str]


def names(mode: Mode) -> tuple[str, ...]:
    """PIE-Bench's seven numbers; in corrected mode LPIPS over AlexNet beside them."""
    check(Mode, mode=mode)
    return tuple(NEEDED)[: 7 if mode == "legacy" else 8]


def skipped(mode: Mode, networks: Networks) -> dict[str, str]:
    """The numbers that a run with these networks leaves out, and how each could be had."""
    known = _networks(networks)
    return {name: _how(name) for name in names(mode) if NEEDED[name] is not None and known[name] is None}


def scores(
    batch: Batch, *, mode: Mode, networks: Networks | None = None, wanted: Sequence[str] | None = None
) -> dict[str, Float64[Tensor, " b"]]:
    """PIE-Bench's numbers of each picture, in the units of its tables (`SCALE`); nan where a mask leaves no area.

    In legacy mode an edited picture that is not square is cut by `pie_bench.last_square` first.

    Args:
        batch: the edits.
        mode: see `latentedit_bench.metrics.pie_bench`.
        networks: those at hand; none by default.
        wanted: names; by default all whose network is at hand, see `skipped`.

    Raises:
        RegistryError: a name that is none of the mode's.
        ModelError: a number is wanted whose network is not given; with how to get it.
        ShapeError, ImageError, DeviceError: pictures and masks that do not fit.
    """
    networks = networks or Networks()
    left_out = skipped(mode, networks)
    for name in wanted or ():
        if name not in names(mode):
            raise RegistryError(f"expected a number of PIE-Bench ({mode}); got {name!r}: {nearest(name, names(mode))}")
        if name in left_out:
            raise ModelError(f"expected the network of {name}; none was given. {left_out[name]}")
    chosen = [name for name in names(mode) if (name in wanted if wanted is not None else name not in left_out)]
    if mode == "legacy":
        batch = dataclasses.replace(batch, edited=pie_bench.last_square(batch.edited))
    return {name: SCALE[name] * _score(name, batch, mode, networks) for name in chosen}


def summary(rows: Table, *, metrics: Sequence[str], seed: int = 0) -> Table:
    """A table of a run: "category", "metric", "mean", "low", "high", "pictures", "rows" and "nan".

    Args:
        rows: one of each edited picture, with "category", "group" (rows of one source picture share it; the bootstrap
            draws groups) and the metrics' columns.
        metrics: names of columns.
        seed: of the bootstrap.

    Returns:
        For each category in order, then for `OVERALL`: the mean of the rows that have a number with its 95 % interval,
        the pictures behind it, all rows, and those without a number, which PIE-Bench drops.

    Raises:
        ConfigError: a column that is not there, or a category called "all".
    """
    for column in ("category", "group", *metrics):
        if column not in rows.columns:
            raise ConfigError(f"expected the column {column!r}; got {', '.join(map(str, rows.columns))}")
    if (rows["category"] == OVERALL).any():
        raise ConfigError(f"expected categories other than {OVERALL!r}, which stands for all of them. Rename it")
    groups = pd.Series(pd.factorize(rows["group"])[0], index=rows.index)
    found: list[dict[str, object]] = []
    parts = [(str(category), part) for category, part in rows.groupby("category", sort=True)]
    for category, part in [*parts, (OVERALL, rows)]:
        pictures = [(int(group),) for group in groups.loc[part.index]]
        for metric in metrics:
            values = part[metric].astype(float)
            told = dataclasses.asdict(estimate(values.tolist(), pictures, seed=seed))
            nan = int((~np.isfinite(values.to_numpy())).sum())
            found.append({"category": category, "metric": metric, **told, "rows": len(part), "nan": nan})
    return pd.DataFrame(found)


def _score(name: str, batch: Batch, mode: Mode, networks: Networks) -> Tensor:
    edited, source, mask = batch.edited, batch.source, batch.mask
    plain: Mapping[str, Callable[..., Tensor]] = {
        "background_psnr_db": pie_bench.background_psnr_db,
        "background_mse": pie_bench.background_mse,
        "background_ssim": pie_bench.background_ssim,
    }
    if name in plain:
        return plain[name](edited, source, mask, mode=mode)
    network: Any = _networks(networks)[name]
    if name == "structure_distance":
        return picture_structure_distance(edited, source, network, mode=mode)
    if name == "clip_whole":
        return pie_bench.clip_whole(edited, batch.captions, network)
    if name == "clip_edited":
        return pie_bench.clip_edited(edited, mask, batch.captions, network, mode=mode)
    return pie_bench.background_lpips(edited, source, mask, network, mode=mode)


def _networks(networks: Networks) -> dict[str, Callable[..., Tensor] | None]:
    return {
        "structure_distance": networks.keys,
        "background_lpips": networks.lpips,
        "clip_whole": networks.clip,
        "clip_edited": networks.clip,
        "background_lpips_alexnet": networks.lpips_alexnet,
    }


def _how(name: str) -> str:
    """What stands between this machine and a number whose network was not given."""
    needed = NEEDED[name]
    if needed is None:
        return ""
    why = needed.missing()
    return f"{why}. Run: {needed.get}" if why else f"{needed.what} is on this machine: load it and give it in Networks"
