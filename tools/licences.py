"""The licences of what this project stands on, as the installed packages state them: run by ``make audit``."""

import importlib.metadata
import re
import sys
from collections.abc import Iterable
from typing import Any

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


def main() -> None:
    """Fail with the packages under other licences, where there are any."""
    sys.exit("\n".join(licences()) or 0)


def licences() -> list[str]:
    """Packages that come with ours, and whose licence is not one of the free ones."""
    found = {name: licence_of(name) for name in sorted(needed(OURS)) if name not in OURS}
    other = [f"{name}: {said}" for name, said in found.items() if not (name in _LOOKED_AT or is_free(said))]
    print(f"licences: {len(found)} packages come with ours, {len(found) - len(other)} of them under free licences")
    return other


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


if __name__ == "__main__":
    main()
