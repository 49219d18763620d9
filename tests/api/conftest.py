"""A discovery on the colour model."""

import pytest

from latentedit.api.discovery import Discovery, discover
from latentedit.geometry.local_basis import LocalBasis
from tests.api.discoveries import known_basis, read_surely
from tests.editors.colours import ColourBackbone


@pytest.fixture
def basis(monkeypatch: pytest.MonkeyPatch) -> LocalBasis:
    model = ColourBackbone()
    read_surely(monkeypatch, model)
    return known_basis(model)


@pytest.fixture
def discovery(basis: LocalBasis) -> Discovery:
    return discover(basis)
