"""What this project stands on: licences, known vulnerabilities, and a bill of materials. Run by ``make audit``.

Licences are those that the installed packages state of themselves. A package of which the database of vulnerabilities
said nothing counts as not audited, and is told: silence is no all-clear.
"""

import importlib.metadata
import json
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

CONSTRAINTS = Path("constraints.txt")
BILL = Path("dist/sbom.json")
OURS = ("latentedit", *(f"latentedit-{name}" for name in ("keep", "portraits", "scenes", "models", "bench")))

_FREE = re.compile(
    r"\b(MIT|BSD|Apache|ISC|PSF|PSFL|Python Software Foundation|MPL|Mozilla|HPND|Unlicense|Zlib|0BSD|CC0|BSL|Boost|"
    r"Public Domain|CNRI)\b|MIT-CMU|Historical Permission",
    re.IGNORECASE,
)
"""Licences under which what we give away may stand on a package."""

_STRICT = re.compile(r"\bA?GPL|GNU (Affero )?General", re.IGNORECASE)
"""Licences under which it may not."""

_LOOKED_AT = {
    "resvg-py": "MIT, in its LICENSE file",
}
"""Packages that say it in another way, and what they have."""


def main() -> int:
    """Look at all three.

    Returns:
        1 where a licence or a vulnerability was found that must not be, else 0.
    """
    bad = licences()
    bad += vulnerabilities(Path(sys.argv[1]))
    BILL.parent.mkdir(exist_ok=True)
    _run(Path(sys.argv[1]) / "cyclonedx-py", "requirements", CONSTRAINTS, "--output-reproducible", "-o", BILL)
    print(f"bill of materials: {BILL}, {len(json.loads(BILL.read_text())['components'])} components")
    return int(bool(bad))


def licences() -> list[str]:
    """Packages that come with ours, and whose licence is not one of the free ones."""
    found = {name: licence_of(name) for name in sorted(needed(OURS)) if name not in OURS}
    other = [f"{name}: {said}" for name, said in found.items() if not (name in _LOOKED_AT or is_free(said))]
    print(f"licences: {len(found)} packages come with ours, {len(found) - len(other)} of them under free licences")
    for line in other:
        print(f"  {line}")
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
    found: set[str] = set()
    left = [_key(name) for name in names]
    while left:
        name = left.pop()
        if name in found:
            continue
        try:
            wanted = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        found.add(name)
        for line in wanted:
            one = Requirement(line)
            if one.marker is None or one.marker.evaluate({"extra": ""}):
                left.append(_key(one.name))
    return found


def vulnerabilities(tools: Path) -> list[str]:
    """Known ones of all pinned packages."""
    options = ["--no-deps", "--disable-pip", "--format=json", "--progress-spinner=off"]
    ended = _run(tools / "pip-audit", "-r", CONSTRAINTS, *options)
    try:
        told = json.loads(ended.stdout)["dependencies"]
    except (ValueError, KeyError):
        told = []
    asked = [one for one in told if "vulns" in one]
    known = [f"{one['name']} {one['version']}: {bug['id']}" for one in asked for bug in one["vulns"]]
    if not asked:
        print("vulnerabilities: NOT RUN: the database cannot be reached from here, or knows none of the packages")
    else:
        print(
            f"vulnerabilities: {len(known)} in {len(asked)} packages; {len(told) - len(asked)} are not in the database"
        )
    for line in known:
        print(f"  {line}")
    return known


def _key(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _run(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)


if __name__ == "__main__":
    sys.exit(main())
