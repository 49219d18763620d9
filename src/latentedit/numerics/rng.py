"""Random numbers from named streams: hashed from (seed, purpose, index), so nothing depends on order or batch size."""

import contextlib
import hashlib
from collections.abc import Generator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import ShapeError

Seed = int | Sequence[int]
"""One seed for a batch, whose images then share their noise, or one seed an image."""


def item_seed(seed: int, item: str) -> int:
    """The 32-bit seed of one item of a measurement, the same in any batch; an edit of the item alone reproduces it."""
    digest = hashlib.blake2b(repr((int(seed), "item", str(item))).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big")


def stream(seed: int, purpose: str, index: int = 0) -> torch.Generator:
    """A CPU generator of its own for one purpose and one index: its seed is ``blake2b(seed, purpose, index)``.

    PyTorch's CPU generator keeps 32 bits of its seed: two different streams are equal with probability 2^-32.
    """
    digest = hashlib.blake2b(repr((int(seed), str(purpose), int(index))).encode(), digest_size=4).digest()
    return torch.Generator(device="cpu").manual_seed(int.from_bytes(digest, "big"))


def draw(shape: Sequence[int], *, seed: int, purpose: str, index: int = 0) -> Float[Tensor, "*shape"]:
    """Standard normal noise of a shape from a `stream`, float32 on the CPU.

    Example:
        >>> bool((draw((2, 3), seed=0, purpose="doc") == draw((2, 3), seed=0, purpose="doc")).all())
        True
    """
    return torch.randn(tuple(shape), generator=stream(seed, purpose, index), dtype=torch.float32)


def noise_like(
    z: Float[Tensor, "b *latent"],
    *,
    seed: Seed,
    purpose: str,
    index: int = 0,
    count: int | None = None,
    antithetic: bool = False,
) -> Float[Tensor, "..."]:
    """Standard normal noise for each latent of a batch, in its dtype and on its device.

    An image's noise depends on its seed alone, not on the batch size or the other images. ``count`` noises a latent
    are a leading axis; None is one noise without that axis. With ``antithetic``, the second half of an even count are
    the negatives of the first.
    """
    if antithetic and count is not None:
        half = noise_like(z, seed=seed, purpose=purpose, index=index, count=count // 2)
        return torch.cat([half, -half])
    shape = z.shape[1:] if count is None else (count, *z.shape[1:])
    seeds = [seed] if isinstance(seed, int) else list(seed)
    if len(seeds) not in (1, len(z)):
        raise ShapeError(f"{len(z)} latents take one seed, or one each; got {len(seeds)} seeds")
    drawn = [draw(shape, seed=own, purpose=purpose, index=index).to(z.device, z.dtype) for own in seeds]
    axis = 0 if count is None else 1
    return torch.stack(drawn, axis).expand(*shape[:axis], *z.shape)


@contextlib.contextmanager
def seeded(seed: int) -> Generator[None]:
    """Networks built inside get the same weights for the same seed; the global random state stays as it is."""
    with torch.random.fork_rng(devices=[]):  # noqa: TID251
        torch.default_generator.manual_seed(seed)
        yield
