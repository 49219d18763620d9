"""Runs what the pages show, and writes into them what came out: ``python -m tools.pages [PAGE ...] [--check]``.

A page takes part by the mark ``<!-- ran: ... -->``, in which the digest of its blocks stands. In it

* a ``console`` block has lines ``$ command``; below each stands what it printed. Commands run in ``out/docs/PAGE``,
  which has the portraits of ``docs/pictures``. A line that ends with ``# exit 2`` is to end so.
* ``python`` blocks run in one namespace; what one prints stands in the block ``text title="output"`` after it.
* a block whose title is a file of the repository shows that file; another file's is written into the scratch folder.
* there is ``examples``, and what a command installs by pip is there for those after it.
* a picture below ``pictures/PAGE/`` is what a command wrote under that name (a WebP may be made of a PNG), and one
  below ``pictures/results/`` that of ``results/``.

Figures that another machine prints otherwise (seconds, bytes, rates) are left as they are where nothing else changed.
"""

import argparse
import hashlib
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tools.blocks import Block, parsed, written
from tools.pictures import collect
from tools.running import ROOT, BlockError, Scratch

MARK = re.compile(r"<!-- ran:(?: ([0-9a-f]+))? -->")
MINIATURES = "<!-- with miniatures -->"

_MACHINE = re.compile(
    r"\b[\d.,]+ ?(?:h|min|ms|s|kB|MB|GB|KiB|MiB|GiB)\b"  # times and sizes
    r"|\b[\d.,]+ evaluations a second"
    r"|/tmp/\S+"
    r"|\b20\d\d-\d\d-\d\d\b"
)


def main() -> int:
    """0 where all pages are as they should be, 1 where one is not."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("page", nargs="*", help="such as start or tutorials/edit; all of them where none is given")
    options.add_argument("--figures", action="store_true", help="write seconds and bytes of this machine too")
    options.add_argument("--check", action="store_true", help="write nothing; fail where a page would change")
    chosen = options.parse_args()
    good = True
    for path in pages(chosen.page):
        name, started = path.relative_to(ROOT), time.monotonic()
        print(f"{name} ...", end=" ", flush=True)
        text = path.read_text(encoding="utf-8")
        try:
            new = run(path, text, write=not chosen.check, figures=chosen.figures)
        except (BlockError, FileNotFoundError, ValueError) as error:
            print(f"failed\n{error}")
            good = False
            continue
        if new != text and not chosen.check:
            path.write_text(new, encoding="utf-8")
        good = good and (new == text or not chosen.check)
        print(f"{'as it was' if new == text else 'changed'}, {time.monotonic() - started:.0f} s")
    return 0 if good else 1


def pages(names: list[str]) -> list[Path]:
    """The pages with the mark, all or those of these names (with or without folder and suffix).

    Raises:
        SystemExit: a name that no page has.
    """
    marked = [path for path in sorted(ROOT.glob("docs/**/*.md")) if MARK.search(path.read_text(encoding="utf-8"))]
    known = {path.relative_to(ROOT / "docs").with_suffix("").as_posix(): path for path in marked}
    wanted = [name.removeprefix("docs/").removesuffix(".md") for name in names]
    found = [path for name, path in known.items() if not wanted or {name, path.stem} & set(wanted)]
    if len(found) < len(wanted):
        sys.exit(f"pages with blocks to run are: {', '.join(known)}")
    return found


def run(path: Path, page: str, *, write: bool, figures: bool = False) -> str:
    """The page with what its blocks give now.

    Args:
        path: of the page.
        page: what stands in it.
        write: the pictures too.
        figures: write those of this machine even where nothing else has changed.

    Raises:
        BlockError: a block that does not do what it should.
        FileNotFoundError: a picture that no command made.
    """
    folder = ROOT / "out" / "docs" / path.stem
    with Scratch(path.relative_to(ROOT), folder, miniatures=MINIATURES in page) as scratch:
        new = list(_run_all(parsed(page), scratch, figures=figures))
        if write:
            collect(page, path.stem, folder)
    return MARK.sub(f"<!-- ran: {digest(new)} -->", written(new))


def digest(parts: list[str | Block]) -> str:
    """Of the blocks that are run, and of what stands for what they gave: twelve hexadecimal digits."""
    blocks = [part for part in parts if isinstance(part, Block)]
    run = [part for part in blocks if part.is_file or part.title == "output" or part.language in ("console", "python")]
    return hashlib.sha256("\n".join(map(str, run)).encode()).hexdigest()[:12]


def _run_all(parts: list[str | Block], scratch: Scratch, *, figures: bool) -> Iterator[str | Block]:
    """The page's parts with what the blocks give; the output of a Python block follows it."""
    old: Block | None = None
    for place, part in enumerate(parts):
        if not isinstance(part, Block):
            yield part
        elif part.is_file:
            if (ROOT / part.title).is_file():
                part.lines = (ROOT / part.title).read_text(encoding="utf-8").splitlines()
            else:
                (scratch.folder / part.title).write_text(f"{part.text}\n", encoding="utf-8")
            yield part
        elif part.language == "console":
            new = scratch.console(part)
            part.lines = new if figures else _kept(part.lines, new)
            yield part
        elif part.language == "python":
            yield part
            old = _output_after(parts, place)
            printed = scratch.python(part)
            if printed:
                if old is None:
                    yield ""
                    old = Block("text", 'title="output"', [])
                old.lines = printed if figures else _kept(old.lines, printed)
                if old not in parts:
                    yield old
            elif old is not None:
                old.lines = []
        elif part.title == "output" and not part.lines:
            continue
        else:
            yield part


def _output_after(parts: list[str | Block], place: int) -> Block | None:
    """The block of the output of the Python block at a place."""
    for part in parts[place + 1 :]:
        if isinstance(part, Block):
            return part if part.title == "output" else None
        if part.strip():
            return None
    return None


def _kept(old: list[str], new: list[str]) -> list[str]:
    """The old lines where the new ones differ by the machine's figures only."""
    return old if _masked(old) == _masked(new) else new


def _masked(lines: list[str]) -> list[str]:
    return [_MACHINE.sub("#", line) for line in lines]


if __name__ == "__main__":
    sys.exit(main())
