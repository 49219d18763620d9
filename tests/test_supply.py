"""What development stands on is written down with hashes, and what is given away stands on free licences."""

import re
import tomllib
from pathlib import Path

import pytest
from tools.audit import OURS, is_free, licences, needed

ROOT = Path(__file__).parent.parent
LOCK = (ROOT / "requirements-dev.txt").read_text()
PINS = dict(re.findall(r"^([a-z0-9-]+)==(\S+) \\$", LOCK, re.MULTILINE))


def test_every_pin_has_hashes_and_names_no_registry() -> None:
    assert len(PINS) > 100
    assert LOCK.count("==") == len(PINS)
    for block in re.split(r"^(?=\w)", LOCK, flags=re.MULTILINE)[1:]:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block
    assert "://" not in LOCK


def test_what_is_pinned_elsewhere_is_pinned_alike() -> None:
    for line in (ROOT / "constraints.txt").read_text().split():
        name, _, version = line.partition("==")
        assert PINS[name] == version


def test_everything_that_development_wants_is_there() -> None:
    projects = [ROOT / "pyproject.toml", *(ROOT / "packages").glob("*/pyproject.toml")]
    told = [tomllib.loads(place.read_text())["project"] for place in projects]
    wanted = [line for one in told for line in one.get("dependencies", [])]
    wanted += told[0]["optional-dependencies"]["dev"]
    names = {re.split(r"[^\w.-]", line)[0].lower() for line in wanted}
    assert names - set(OURS) <= set(PINS)


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
