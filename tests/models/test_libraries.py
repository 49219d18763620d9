"""The libraries' classes come alone, quietly, and nobody else notices."""

import logging

import pytest
import torch

from latentedit.core.errors import ModelError
from latentedit.models.libraries import library_class, quiet_libraries


def test_a_class_that_is_not_there_is_named() -> None:
    with pytest.raises(ModelError, match="no class Nothing"):
        library_class("diffusers", "Nothing")
    with pytest.raises(ModelError, match="'os'"):
        library_class("os", "system")


def test_libraries_are_quiet_until_the_last_thread_leaves() -> None:
    """Whoever came first may leave first; the random state is as it was."""
    logger, state = logging.getLogger("diffusers"), torch.random.get_rng_state()
    before, first, second = logger.level, quiet_libraries(), quiet_libraries()
    first.__enter__()
    second.__enter__()
    torch.randn(3)
    first.__exit__(None, None, None)
    assert logger.level == logging.ERROR
    second.__exit__(None, None, None)
    assert logger.level == before
    assert torch.equal(torch.random.get_rng_state(), state)
