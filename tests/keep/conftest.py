"""The command line in this process, and one analysis for equal pairs of images."""

import pickle
from collections.abc import Iterator
from typing import Any

import pytest

from latentedit.keeping import api
from latentedit.pixels.analysis import Analysis, analyze
from tests.commands import *  # noqa: F403


@pytest.fixture(scope="module")
def analyzed_once() -> Iterator[None]:
    """In a module, pairs that are equal in every field are analyzed once: most of the work of `keep`."""
    known = dict[bytes, Analysis]()

    def analyzed(*images: Any) -> Analysis:
        pair = pickle.dumps(images[:2])
        if pair not in known:
            known[pair] = analyze(*images)
        return known[pair]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api, "analyze", analyzed)
        yield


@pytest.fixture
def analyzed_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pair is analyzed, also an equal one."""
    monkeypatch.setattr(api, "analyze", analyze)
