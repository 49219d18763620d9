"""constraints.txt names everything that is installed, and the versions that are tested are those that are installed."""

import importlib.metadata
import os
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.test_supply import OURS

ROOT = Path(__file__).parent.parent
PINS = [Requirement(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]


@pytest.mark.slow
@pytest.mark.skipif("LATENTEDIT_NEWEST" in os.environ, reason="make newest installs the newest versions")
def test_what_is_installed_has_the_tested_version() -> None:
    installed = {canonicalize_name(one.name): one.version for one in importlib.metadata.distributions()}
    here = [pin for pin in PINS if pin.name in installed and (pin.marker is None or pin.marker.evaluate())]
    assert {"torch", "numpy", "pytest"} <= {pin.name for pin in here}
    other = [f"{pin}; here {installed[pin.name]}" for pin in here if installed[pin.name] not in pin.specifier]
    assert other == [], "run make setup"


def test_every_pin_is_one_version_of_no_build_and_no_registry() -> None:
    assert [str(pin) for pin in PINS if not re.fullmatch(r"==[\w.]+", str(pin.specifier)) or pin.url] == []


def test_everything_that_development_wants_is_there() -> None:
    projects = [ROOT / "pyproject.toml", *(ROOT / "packages").glob("*/pyproject.toml")]
    told = [tomllib.loads(place.read_text(encoding="utf-8"))["project"] for place in projects]
    wanted = [line for one in told for line in one.get("dependencies", [])]
    wanted += told[0]["optional-dependencies"]["dev"]
    assert {Requirement(line).name for line in wanted} - set(OURS) <= {pin.name for pin in PINS}
