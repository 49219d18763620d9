"""What is given away stands on free licences."""

import pytest
from tools.licences import OURS, is_free, licences, needed


@pytest.mark.nightly
def test_the_packages_that_come_with_ours_are_free(capsys: pytest.CaptureFixture[str]) -> None:
    assert licences() == []
    assert "under free licences" in capsys.readouterr().out
    assert {"torch", "numpy", "pydantic-core"} <= needed(OURS)
    assert "pytest" not in needed(OURS)


@pytest.mark.parametrize(
    ("licence", "free"),
    [
        ("MIT", True),
        ("BSD-3-Clause AND 0BSD", True),
        ("OSI Approved :: Apache Software License", True),
        ("GPL-3.0-only", False),
        ("MIT AND AGPL-3.0", False),
        ("OSI Approved :: GNU General Public License v3 (GPLv3)", False),
        ("says nothing", False),
        ("Proprietary", False),
    ],
)
def test_licences(licence: str, free: bool) -> None:
    assert is_free(licence) is free
