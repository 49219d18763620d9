"""Runs what the pages show, and writes into them what came out: ``python -m tools.pages [PAGE ...]``.

A page takes part by the mark ``<!-- ran: ... -->``, in which the digest of its blocks stands. In it

* a ``console`` block has lines ``$ command``; below each stands what it printed. Commands run in ``out/docs/PAGE``,
  which has the portraits of ``docs/images``. A line that ends with ``# exit 2`` is to end so.
* ``python`` blocks run in one namespace; what one prints stands in the block ``text title="output"`` after it.
* a block whose title is a file of the repository shows that file; another file's is written into the scratch folder.
* there is ``examples``, and what a command installs by pip is there for those after it.
* an image below ``images/PAGE/`` is what a command wrote under that name (a WebP may be made of a PNG), and one
  below ``images/results/`` that of ``results/``. HTML files there are not in the repository.

Figures that depend on the machine (seconds, bytes, rates) stay if nothing else changed.
"""

import argparse
import concurrent.futures
import functools
import hashlib
import io
import multiprocessing
import os
import re
import shutil
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from PIL import Image

from tools import running
from tools.running import ROOT, Block, BlockError, parsed

MARK = re.compile(r"<!-- ran:(?: ([0-9a-f]+))? -->")
MINIATURES = "<!-- with miniatures -->"
IMAGES = ROOT / "docs" / "images"
MOST_BYTES = 400_000
_SHOWN = re.compile(r"(?:\(|src=\")(?:\.\./)*images/([\w./-]+)[)\"]")

_MACHINE = re.compile(
    r"\b[\d.,]+ ?(?:h|min|ms|s|kB|MB|GB|KiB|MiB|GiB)\b"  # times and sizes
    r"|\b[\d.,]+ evaluations a second"
    r"|/tmp/\S+"
    r"|\b20\d\d-\d\d-\d\d\b"
)


def main() -> int:
    """0 where the blocks of all pages do what they should, else 1."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("page", nargs="*", help="such as start or tutorials/edit; all of them where none is given")
    options.add_argument("--missing", action="store_true", help="only pages that show an HTML file that is not there")
    options.add_argument("--figures", action="store_true", help="write seconds and bytes of this machine too")
    chosen = options.parse_args()
    os.environ.update(running.ENVIRONMENT)
    good = True
    for path in pages(chosen.page):
        name, started = path.relative_to(ROOT), time.monotonic()
        print(f"{name} ...", end=" ", flush=True)
        text = path.read_text(encoding="utf-8")
        if chosen.missing and not absent(text):
            print("has its files")
            continue
        try:
            with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as alone:
                new = alone.submit(run, path, text, figures=chosen.figures).result()
        except (BlockError, FileNotFoundError, ValueError) as error:
            print(f"failed\n{error}")
            good = False
            continue
        path.write_text(new, encoding="utf-8")
        print(f"{'as it was' if new == text else 'changed'}, {time.monotonic() - started:.0f} s")
    return 0 if good else 1


def pages(names: list[str]) -> list[Path]:
    """The pages with the mark, all or those of these names."""
    marked = [path for path in sorted(ROOT.glob("docs/**/*.md")) if MARK.search(path.read_text(encoding="utf-8"))]
    known = {path.relative_to(ROOT / "docs").with_suffix("").as_posix(): path for path in marked}
    if not set(names) <= known.keys():
        sys.exit(f"pages with blocks to run are: {', '.join(known)}")
    return [known[name] for name in names or known]


def run(path: Path, page: str, *, figures: bool = False) -> str:
    """The page with what its blocks give now; its images are written. Raises `BlockError` and `FileNotFoundError`."""
    parts, name, scope = parsed(page), path.relative_to(ROOT), {"__name__": "__main__"}
    with running.scratch(path) as folder:
        if MINIATURES in page:
            _stand_in()
        for place, part in enumerate(parts):
            if isinstance(part, Block):
                _run_block(parts, place, name, scope, figures=figures)
        collect(page, path.stem, folder)
    return MARK.sub(f"<!-- ran: {digest(parts)} -->", "".join(map(str, parts)))


def _stand_in() -> None:
    """Make pipelines of this process miniatures that stay where they are, and edits two silent steps, from now on."""
    import diffusers  # noqa: PLC0415 (slow, and needed by few pages)

    import latentedit as le  # noqa: PLC0415
    from tests.miniatures import flow, noise  # noqa: PLC0415

    warnings.simplefilter("ignore", le.core.LatentEditWarning)
    library: Any = diffusers
    for name in ("photo.jpg", "other.jpg"):
        Image.new("RGB", (64, 64), (90, 120, 90)).save(name)
    for pipeline, build in {
        library.FluxPipeline: flow.flux,
        library.Flux2KleinPipeline: flow.flux2_klein,
        library.QwenImagePipeline: flow.qwen_image,
        library.StableDiffusionXLPipeline: noise.sdxl,
    }.items():
        pipeline.from_pretrained = lambda *_, build=build, **__: build()
        pipeline.to = lambda self, *_, **__: self
    editors = {"eim": {"steps": 2, "search": {"steps": 2}}, "flowedit": {"steps": 2}}
    settings: Any = {"sizes": [64, 64, 96], "editors": editors}
    module: Any = le
    module.from_pipeline = functools.partial(le.from_pipeline, settings=settings)


def digest(parts: list[str | Block]) -> str:
    """Digest of the blocks that are run and of their stored outputs: twelve hexadecimal digits."""
    blocks = [part for part in parts if isinstance(part, Block)]
    run = [part for part in blocks if part.is_file or part.title == "output" or part.language in ("console", "python")]
    return hashlib.sha256("\n".join(map(str, run)).encode()).hexdigest()[:12]


def _run_block(parts: list[str | Block], place: int, page: Path, scope: dict[str, Any], *, figures: bool) -> None:
    """Put into a page what a block gives; the output of a Python block follows it."""
    block = parts[place]
    assert isinstance(block, Block)
    if block.is_file and (ROOT / block.title).is_file():
        block.lines = (ROOT / block.title).read_text(encoding="utf-8").splitlines()
    elif block.is_file:
        Path(block.title).write_text(f"{block.text}\n", encoding="utf-8")
    elif block.language == "console":
        block.lines = _kept(block.lines, running.console(block, page), figures=figures)
    elif block.language == "python":
        printed = running.python(block, page, scope)
        match parts[place + 1 : place + 3]:
            case [str(between), Block(title="output") as output] if not between.strip():
                output.lines = _kept(output.lines, printed, figures=figures)
                if not printed:
                    del parts[place + 1 : place + 3]
            case _:
                output = Block("text", 'title="output"', printed)
                parts[place + 1 : place + 1] = ["\n\n", output] if printed else []


def _kept(old: list[str], new: list[str], *, figures: bool) -> list[str]:
    """The old lines where the new ones differ by the machine's figures only."""
    masked, before = ([_MACHINE.sub("#", line) for line in lines] for lines in (new, old))
    return old if not figures and masked == before else new


def shown(page: str) -> list[Path]:
    """Files that a page refers to below ``docs/images``."""
    return [Path(place) for place in dict.fromkeys(_SHOWN.findall(page))]


def absent(page: str) -> list[Path]:
    """The HTML files that a page shows and that are not there: git keeps none, and `make docs-site` makes them."""
    return [place for place in shown(page) if place.suffix == ".html" and not (IMAGES / place).is_file()]


def collect(page: str, name: str, scratch: Path) -> None:
    """Copy what a page shows from ``images/NAME/``, and of ``research/results/`` what was drawn again."""
    for place in shown(page):
        wanted = {name: scratch / Path(*place.parts[1:]), "results": ROOT / "research" / place}.get(place.parts[0])
        if wanted is not None:
            made = next((one for one in (wanted, wanted.with_suffix(".png")) if one.exists()), None)
            if made is not None:
                _copy(made, IMAGES / place)
            elif place.parts[0] == name:
                raise FileNotFoundError(f"no command made {wanted}")


def _copy(source: Path, target: Path) -> None:
    """Convert a PNG to the format of the target; a target with the same pixels stays."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix != ".png":
        shutil.copy(source, target)
    elif not target.exists() or _pixels(target.read_bytes()) != _pixels(_encoded(source, target.suffix)):
        target.write_bytes(_encoded(source, target.suffix))
    if target.stat().st_size > MOST_BYTES:
        raise ValueError(f"{target} takes {target.stat().st_size} bytes; {MOST_BYTES} are allowed")


def _encoded(source: Path, suffix: str) -> bytes:
    """The smallest of the ways to write it: plots are smaller, and sharper, without loss."""
    found: list[bytes] = []
    for way in ({"quality": 88}, {"lossless": True}) if suffix == ".webp" else ({"optimize": True},):
        stream = io.BytesIO()
        Image.open(source).convert("RGB").save(stream, suffix.removeprefix("."), **way)
        found.append(stream.getvalue())
    return min(found, key=len)


def _pixels(encoded: bytes) -> tuple[tuple[int, int], bytes]:
    image = Image.open(io.BytesIO(encoded)).convert("RGB")
    return image.size, image.tobytes()


if __name__ == "__main__":
    sys.exit(main())
