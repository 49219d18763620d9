"""What is given away stands on free licences, as the installed packages state them."""

import importlib.metadata
import re
from collections.abc import Iterable
from typing import Any

import pytest
from packaging.requirements import Requirement

OURS = ("latentedit", *(f"latentedit-{name}" for name in ("keep", "portraits", "scenes", "models", "bench")))

_FREE = re.compile(
    r"\b(MIT|BSD|Apache|ISC|PSF|PSFL|Python Software Foundation|MPL|Mozilla|HPND|Unlicense|Zlib|0BSD|CC0|BSL|Boost|"
    r"Public Domain|CNRI)\b|MIT-CMU|Historical Permission",
    re.IGNORECASE,
)
"""Licences under which what we give away may stand on a package."""

_STRICT = re.compile(r"\bA?GPL|GNU (Affero )?General", re.IGNORECASE)
"""Licences under which it may not."""

_LOOKED_AT = {"resvg-py": "MIT, in its LICENSE file"}
"""Packages that say it in another way, and what they have."""


def licences() -> list[str]:
    """Packages that come with ours, and whose licence is not one of the free ones."""
    found = {name: licence_of(name) for name in sorted(needed(OURS)) if name not in OURS}
    return [f"{name}: {said}" for name, said in found.items() if not (name in _LOOKED_AT or is_free(said))]


def is_free(licence: str) -> bool:
    """Whether what we give away may stand on a package of this licence."""
    return bool(_FREE.search(licence)) and not _STRICT.search(licence)


def licence_of(name: str) -> str:
    """What an installed package says of its licence."""
    about: Any = importlib.metadata.metadata(name)
    trove = [line.removeprefix("License :: ") for line in about.get_all("Classifier", []) if line.startswith("License")]
    first = (about.get("License") or "").strip().partition("\n")[0]
    return about.get("License-Expression") or "; ".join(trove) or first[:200] or "says nothing"


def needed(names: Iterable[str]) -> set[str]:
    """Installed packages that some packages need, without their extras, and theirs in turn."""
    found, left = set[str](), list(names)
    while left:
        name = re.sub(r"[-_.]+", "-", left.pop()).lower()
        try:
            wanted = [Requirement(line) for line in importlib.metadata.requires(name) or () if name not in found]
        except importlib.metadata.PackageNotFoundError:
            continue
        found.add(name)
        left += [one.name for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    return found


@pytest.mark.nightly
def test_the_packages_that_come_with_ours_are_free() -> None:
    assert licences() == []
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
