"""Dependencies have free licenses, and tools/constraints.txt pins each of them to the installed version."""

import importlib.metadata
import os
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PINS = [
    Requirement(line) for line in (ROOT / "tools/constraints.txt").read_text().splitlines() if not line.startswith("#")
]
OURS = ("latentedit", *(f"latentedit-{name}" for name in ("portraits", "scenes", "models", "bench")))

_FREE = re.compile(  # licenses that a dependency may have
    r"\b(MIT|BSD|Apache|ISC|PSF|PSFL|Python Software Foundation|MPL|Mozilla|HPND|Unlicense|Zlib|0BSD|CC0|BSL|Boost|"
    r"Public Domain|CNRI)\b|MIT-CMU|Historical Permission",
    re.IGNORECASE,
)

_STRICT = re.compile(r"\bA?GPL|GNU (Affero )?General", re.IGNORECASE)  # licenses that it may not have

_CHECKED = {
    "pi-heif": "BSD-3-Clause; its wheels contain libheif and libde265, shared libraries under the LGPL",
    "resvg-py": "MIT, in its LICENSE file",
}  # packages with other license metadata, and their licenses


def is_free(license: str) -> bool:
    """Whether a dependency may have this license."""
    return bool(_FREE.search(license)) and not _STRICT.search(license)


def license_of(name: str) -> str:
    """The license in the metadata of an installed package."""
    about: Any = importlib.metadata.metadata(name)
    trove = [line.removeprefix("License :: ") for line in about.get_all("Classifier", []) if line.startswith("License")]
    first = (about.get("License") or "").strip().partition("\n")[0]
    return about.get("License-Expression") or "; ".join(trove) or first[:200] or "unknown"


def needed(names: Iterable[str]) -> set[str]:
    """Installed packages that these packages require, directly or indirectly, with the extras that they ask for."""
    found = set[tuple[str, str]]()
    waiting = [(name, "") for name in names]
    while waiting:
        name, extra = waiting.pop()
        name = re.sub(r"[-_.]+", "-", name).lower()
        if (name, extra) in found:
            continue
        try:
            lines = importlib.metadata.requires(name) or ()
        except importlib.metadata.PackageNotFoundError:
            continue
        found.add((name, extra))
        for requirement in map(Requirement, lines):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                waiting += [(requirement.name, extra_of) for extra_of in ("", *requirement.extras)]
    return {name for name, _ in found}


@pytest.mark.nightly
def test_dependencies_have_free_licenses() -> None:
    names = needed(OURS)
    assert {"torch", "numpy", "pydantic-core"} <= names
    assert "pytest" not in names
    found = {name: license_of(name) for name in sorted(names - {*OURS, *_CHECKED})}
    assert {name: license for name, license in found.items() if not is_free(license)} == {}


def test_free_licenses_are_recognized() -> None:
    assert all(map(is_free, ["MIT", "BSD-3-Clause AND 0BSD", "OSI Approved :: Apache Software License"]))
    assert not any(map(is_free, ["GPL-3.0-only", "MIT AND AGPL-3.0", "OSI Approved :: GNU General Public License v3"]))
    assert not any(map(is_free, ["unknown", "Proprietary"]))


@pytest.mark.skipif("LATENTEDIT_NEWEST" in os.environ, reason="make newest installs the newest versions")
def test_installed_packages_have_the_pinned_versions() -> None:
    installed: dict[str, str] = {canonicalize_name(one.name): one.version for one in importlib.metadata.distributions()}
    here = [pin for pin in PINS if pin.name in installed and (pin.marker is None or pin.marker.evaluate())]
    assert {"torch", "numpy", "pytest"} <= {pin.name for pin in here}
    other = [f"{pin}; here {installed[pin.name]}" for pin in here if installed[pin.name] not in pin.specifier]
    assert other == [], "run make setup"


def test_every_dependency_is_pinned_to_one_version_without_url() -> None:
    assert [str(pin) for pin in PINS if not re.fullmatch(r"==[\w.]+", str(pin.specifier)) or pin.url] == []
    projects = [ROOT / "pyproject.toml", *ROOT.glob("[mr]*/*/pyproject.toml")]
    facts = [tomllib.loads(place.read_text(encoding="utf-8"))["project"] for place in projects]
    wanted = [line for one in facts for line in one.get("dependencies", [])]
    wanted += facts[0]["optional-dependencies"]["dev"]
    assert {Requirement(line).name for line in wanted} - set(OURS) <= {pin.name for pin in PINS}


def test_the_audit_is_strict() -> None:
    """Without --strict, pip-audit exits with 0 even if it could look up no package."""
    recipe = (ROOT / "tools/nightly.mk").read_text(encoding="utf-8").replace("\\\n", " ")
    (line,) = re.findall(r"^\t.*/pip-audit .*$", recipe, re.MULTILINE)
    assert {"--strict", "tools/constraints.txt"} <= set(line.split())
