"""Random numbers from named streams: hashed from (seed, purpose, index), so nothing depends on order or batch size."""

import contextlib
import hashlib
from collections.abc import Generator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def stream(seed: int, purpose: str, index: int = 0) -> torch.Generator:
    """A CPU generator of its own for one purpose and one index.

    ``seed of the generator = blake2b(seed, purpose, index)``

    PyTorch's CPU generator keeps 32 bits of its seed: two different streams are equal with probability 2^-32.

    Args:
        seed: the user's seed, any whole number.
        purpose: what the numbers are for, such as ``"hsds"``; different purposes are independent.
        index: which of several draws of one purpose.
    """
    digest = hashlib.blake2b(repr((int(seed), str(purpose), int(index))).encode(), digest_size=4).digest()
    generator = torch.Generator(device="cpu")
    generator.manual_seed(int.from_bytes(digest, "big"))
    return generator


def draw(shape: Sequence[int], *, seed: int, purpose: str, index: int = 0) -> Float[Tensor, "*shape"]:
    """Standard normal noise of a shape, float32 on the CPU.

    Draw for one latent and expand over the batch (``draw(z.shape[1:], ...).expand_as(z)``): then all pictures share
    their noise and the batch size changes no result.

    Args:
        shape: of the result.
        seed: the user's seed, any whole number.
        purpose: what the noise is for.
        index: which of several draws of one purpose.

    Example:
        >>> bool((draw((2, 3), seed=0, purpose="doc") == draw((2, 3), seed=0, purpose="doc")).all())
        True
    """
    return torch.randn(tuple(shape), generator=stream(seed, purpose, index), dtype=torch.float32)


@contextlib.contextmanager
def seeded(seed: int) -> Generator[None]:
    """Networks that are built inside get the same weights for the same seed; the global random state is left alone."""
    with torch.random.fork_rng(devices=[]):  # noqa: TID251
        torch.default_generator.manual_seed(seed)
        yield
