"""Local bases: products, angle to the converged space and seconds, against power iteration on a block.

The loop to compare with is that of Park et al. 2023 as its authors published it, written anew from a description:
random orthonormal rows V; fifty times ``W = V J^T J``, V = the right singular vectors of W. It has no more rows than
are asked for, and its own test of convergence, which compares entries whose signs are arbitrary, is left out.

The converged space is that of a search to 0.01 degrees from another seed; its own bound is reported, and the gap
between the last singular value and the next. Products with J and with its transpose count alike.

    python benchmarks/basis.py          writes results/geometry/basis.{json,md}
"""

import argparse
import math
import time
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from results import RESULTS, save, table
from torch import Tensor

from latentedit.core.geometry.angles import principal_angles
from latentedit.core.linalg.block_lanczos import TruncatedSVD, truncated_svd
from latentedit.core.rng import stream
from latentedit.latents.encode import encode
from latentedit.latents.inversion import invert
from latentedit.models.base import Backbone
from latentedit.models.feature_jacobian import FeatureJacobian, FeatureMap
from latentedit.models.registry import bundled_names, load
from latentedit_portraits.attributes import draw_split
from latentedit_portraits.captions import full_caption
from latentedit_portraits.render import render

SITES = {"portraits": "block.3.image", "portraits-unet": "mid"}
ITERATIONS = 50
TRUTH_DEGREES = 0.01
Result = TypeVar("Result")


def power_iteration(jacobian: FeatureJacobian, rank: int, *, seed: int) -> Tensor:
    """The loop of the module's text; right vectors as rows."""
    size = math.prod(jacobian.in_shape)
    start = torch.randn(size, rank, generator=stream(seed, "power iteration"))
    v = torch.linalg.qr(start)[0].T
    for _ in range(ITERATIONS):
        image = jacobian.matmat(v.reshape(rank, *jacobian.in_shape))
        v = torch.linalg.svd(jacobian.rmatmat(image).flatten(1), full_matrices=False)[2]
    return v


def degrees(a: Tensor, b: Tensor) -> float:
    """Largest principal angle of two spaces."""
    return math.degrees(float(principal_angles(a.flatten(1), b.flatten(1)).max()))


def timed(work: Callable[[], Result]) -> tuple[Result, float]:
    """What some work gives, and its seconds."""
    started = time.perf_counter()
    return work(), time.perf_counter() - started


def point(model: Backbone, picture: int, level: float) -> tuple[Tensor, float, Any]:
    """A test portrait's latent at a level, and its caption."""
    portrait = draw_split("test", 20, seed=3)[picture]
    latent = encode(model, render(portrait), caption=full_caption(portrait))
    trace = invert(latent, latent.path(28, level))
    return trace.top, trace.levels[-1], latent.condition


@torch.no_grad()
def compare(name: str, rank: int, *, picture: int, level: float) -> dict[str, Any]:
    """One model and rank."""
    model = load(name, device="cpu")
    z, s, condition = point(model, picture, level)
    feature = FeatureMap(backbone=model, site=SITES[name], level=s, condition=condition)

    def jacobian() -> FeatureJacobian:
        return FeatureJacobian(feature, z)

    def search(seed: int, **settings: Any) -> TruncatedSVD:
        return truncated_svd(jacobian(), rank, generator=stream(seed, "benchmark"), **settings)

    jacobian().matmat(z)  # what PyTorch prepares at its first products is nobody's cost
    ours, seconds = timed(lambda: search(0))
    loop = jacobian()
    theirs, their_seconds = timed(lambda: power_iteration(loop, rank, seed=0))
    truth = search(1, tolerance_degrees=TRUTH_DEGREES, most_products=200 * rank + 400)
    wider = truncated_svd(jacobian(), rank + 1, generator=stream(2, "benchmark"), start=truth.v)
    last, following = wider.singular_values[-2:].tolist()
    return {
        "model": name,
        "site": SITES[name],
        "level": s,
        "picture": picture,
        "rank": rank,
        "products": ours.products,
        "angle": degrees(ours.v, truth.v),
        "converged": ours.converged,
        "largest residual": float(ours.residuals.max()),
        "seconds": seconds,
        "their products": loop.products,
        "their angle": degrees(theirs, truth.v),
        "their seconds": their_seconds,
        "truth products": truth.products,
        "truth within 0.01 degrees": truth.converged,
        "relative gap": (last - following) / last,
        "singular values": truth.singular_values.tolist(),
    }


def row(found: dict[str, Any]) -> list[str]:
    """Of the table."""
    return [
        f"{found['model']} {found['site']}",
        str(found["picture"]),
        str(found["rank"]),
        f"{found['products']} / {found['their products']}",
        f"{found['their products'] / found['products']:.1f}",
        f"{found['angle']:.3f} / {found['their angle']:.3f}",
        f"{100 * found['relative gap']:.2f} %",
        f"{found['seconds']:.1f} s, {found['their seconds'] / found['seconds']:.1f} x",
    ]


HEAD = [
    "model and site",
    "picture",
    "rank",
    "products, ours / theirs",
    "ratio",
    "degrees to the converged space, ours / theirs",
    "gap to the next value",
    "seconds, theirs in ours",
]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 10, 50])
    parser.add_argument("--pictures", type=int, default=1, help="test portraits")
    parser.add_argument("--level", type=float, default=0.7)
    parser.add_argument("--models", nargs="+", default=[name for name in SITES if name in bundled_names()])
    arguments = parser.parse_args()
    found: list[dict[str, Any]] = []
    for name in arguments.models:
        for rank in arguments.ranks:
            for picture in range(arguments.pictures):
                found.append(compare(name, rank, picture=picture, level=arguments.level))
                print(" | ".join(row(found[-1])), flush=True)
                content = {"threads": torch.get_num_threads(), "runs": found}
                save(RESULTS / "geometry" / "basis", content, table(HEAD, [row(one) for one in found]))


if __name__ == "__main__":
    main()
