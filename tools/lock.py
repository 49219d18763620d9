"""The tested versions: what ``make setup`` installs, resolved into constraints.txt. Run by ``make lock``.

Each package has one version for Linux, macOS and Windows and for Python 3.11 to 3.13, as far as releases allow. The
file names no registry, and it has no hashes: pip does not install folders where hashes are required.
"""

import re
import subprocess
import sys

from tools.audit import CONSTRAINTS, OURS

HEADER = "# Written by make lock. CUDA libraries are left out: each build of torch requires its own.\n"

_CUDA = re.compile(r"^(nvidia|cuda|triton)\b.*\n", re.MULTILINE)


def main() -> None:
    """Write the newest versions into the file, and print what changed in it."""
    uv, *wanted = sys.argv[1:]
    before = CONSTRAINTS.read_text()
    CONSTRAINTS.write_text(HEADER + _CUDA.sub("", resolved(uv, wanted)))
    print(*changes(before, CONSTRAINTS.read_text()) or [f"{CONSTRAINTS} has the newest versions already"], sep="\n")


def resolved(uv: str, wanted: list[str]) -> str:
    """The newest versions of everything that folders of packages need, one requirement a line."""
    options = ["--universal", "--fork-strategy=fewest", "--python-version=3.11", "--upgrade", "--quiet", "--no-header"]
    options += ["--no-annotate", "--no-emit-index-url", "--no-emit-find-links"]
    options += [f"--no-emit-package={name}" for name in OURS]
    folders = "\n".join(f"--editable {one}" for one in wanted)
    return subprocess.run(
        [uv, "pip", "compile", *options, "-"], input=folders, stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def changes(before: str, after: str) -> list[str]:
    """What changed from one file to another: a line for each package, its old version and its new one."""
    old, new = pins(before), pins(after)
    return [
        f"{name}: {old.get(name, 'not there')} -> {new.get(name, 'not there')}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]


def pins(text: str) -> dict[str, str]:
    """The versions in a file, by name; two where they depend on the system or on Python."""
    found: dict[str, str] = {}
    for name, version in re.findall(r"^([\w.-]+)==(.*)$", text, re.MULTILINE):
        found[name] = f"{found[name]}, {version}" if name in found else version
    return found


if __name__ == "__main__":
    main()
