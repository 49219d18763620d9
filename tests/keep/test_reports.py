"""``keep`` and ``check`` print the words of ``reports.txt`` on pairs of images whose change is known."""

import contextlib
import io
import re
import shlex
import tempfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from latentedit.cli import program
from tests.keep.pairs import SIDE, WHERE, as_jpeg, cast, moved, scene, similarity, with_object
from tests.keep.test_api import edited, lit
from tests.keep.test_checking import CLOSER, INNER, LARGE, RED, unsure
from tests.keep.test_word import repainted

APPROVED = Path(__file__).with_name("reports.txt")
NUMBER = re.compile(r"\d+(?:\.\d+)?")
DISC, TWO_DISCS = with_object(scene()), with_object(with_object(scene(), (40, 40), 12), (115, 115), 20)
SEPIA = np.rint((scene() @ (0.299, 0.587, 0.114))[..., None] * (1.1, 1, 0.75)).clip(0, 255).astype(np.uint8)
GRAY = np.asarray(Image.fromarray(scene()).convert("L").convert("RGB"))
ENLARGED = np.asarray(edited().resize((200, 200)))
COARSE = np.asarray(Image.fromarray(DISC).resize((80, 80)))
MASKS = {
    "around": WHERE,
    "elsewhere": np.roll(WHERE, 60, axis=1),
    "inverted": 255 - WHERE,
    "red": np.dstack([np.full_like(WHERE, 255), 255 - WHERE, 255 - WHERE]),
}
EXTENDED = with_object(LARGE, (110, 120), 15)[:, 30:]
OPAQUE = np.dstack([scene(), np.full((SIDE, SIDE), 255, np.uint8)])
HOLE = OPAQUE.copy()
HOLE[20:60, 20:60, 3] = 0
USUAL = ["keep", "check --max-outside 50%"]
SAVED = "keep -o kept.png --view view.html --save-mask opacity.png --save-layer change.ora"

CASES: dict[str, tuple[NDArray[np.uint8], NDArray[np.uint8], list[str]]] = {
    "the same image": (scene(), scene(), ["check", *USUAL, "keep -o copy.png", "keep -o copy2.png --strength 0"]),
    "the same image, saved as JPEG": (scene(), as_jpeg(scene()), ["keep", "check --mask around.png"]),
    "moved and recast, without an edit": (scene(), cast(moved(scene(), similarity((1.4, -0.6)), (SIDE, SIDE))), USUAL),
    "another image": (scene(), scene(seed=8), ["check", *USUAL, "keep -o k.png"]),
    "a disc": (
        scene(),
        DISC,
        [*USUAL, "check --mask inverted.png", "keep --mask inverted.png", SAVED, SAVED],
    ),
    "a disc in half as many pixels": (scene(), COARSE, ["keep", "check"]),
    "two discs": (scene(), TWO_DISCS, ["keep", "keep --only 2", "check", "check --max-outside 1%"]),
    "a disc, moved and recast": (
        scene(),
        np.asarray(edited()),
        ["check --expect-size", *USUAL, "check --mask elsewhere.png", "keep --mask red.png", "check --mask red.png"],
    ),
    "a disc, moved, recast and enlarged": (
        scene(),
        ENLARGED,
        ["check --expect-size", "check --mask around.png", "check --mask around.png --expect-size"],
    ),
    "a disc among other colors": (
        scene(),
        np.rint(DISC * (1.1, 0.7, 0.5)).clip(0, 255).astype(np.uint8),
        ["keep", "keep --only 1", "check --max-outside 0.1%", "check --max-outside 100%"],
    ),
    "lighter": (scene(), np.rint(scene() * 1.15).clip(0, 255).astype(np.uint8), USUAL),
    "sepia": (scene(), SEPIA, ["keep", "check --max-outside 99%", "check --max-outside 100%"]),
    "reddened": (scene(), RED, USUAL),
    "gray, colored": (GRAY, as_jpeg(scene()), USUAL),
    "a disc no stronger than the noise": (scene(), unsure(), ["check", *USUAL]),
    "lit in another way": (scene(), lit(), [*USUAL, "check --max-outside 100%"]),
    "a negative": (scene(), 255 - scene(), ["check --max-outside 50%"]),
    "closer": (scene(), CLOSER, [*USUAL, "check --max-outside 100%"]),
    "extended": (INNER, LARGE, [*USUAL, "check --max-outside 100%"]),
    "extended to the right": (INNER, as_jpeg(LARGE[40:200, 30:]), ["check"]),
    "extended, with a disc": (INNER, EXTENDED, ["check"]),
    "extended, with a disc, saved as JPEG": (INNER, as_jpeg(EXTENDED), USUAL),
    "turned by a quarter": (scene(), np.rot90(DISC), ["keep"]),
    "a hole": (OPAQUE, HOLE, ["keep", "check"]),
    "two discs beside repainted leaves": (
        *repainted(40, 14),
        [
            "keep",
            "keep --only 2",
            "keep --box 230,195,70,70",
            "keep --box 240,125,60,60",
            "check --box 230,195,70,70",
        ],
    ),
}


def printed(name: str, folder: Path) -> str:
    """A case of the file: each command line, all that it prints, the files that it made, and its exit code."""
    original, changed, lines = CASES[name]
    images = MASKS | {"original": original, "edited": changed}
    for file, pixels in images.items():
        Image.fromarray(np.ascontiguousarray(pixels)).save(folder / f"{file}.png")
    text, stream, before = f"== {name}\n", io.StringIO(), {*folder.iterdir()}
    with contextlib.chdir(folder), contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
        for line in lines:
            command, *options = shlex.split(line)
            code = program.run([command, "original.png", "edited.png", *options])
            made = ", ".join(sorted(path.name for path in {*folder.iterdir()} - before))
            text += f"$ {line}\n{stream.getvalue()}new files: {made or 'none'}; exit code {code}\n"
            stream.truncate(stream.seek(0))
            before = {*folder.iterdir()}
    return text


def sections() -> list[str]:
    return re.split(r"\n\n(?===)", APPROVED.read_text(encoding="utf-8").rstrip("\n"))


def test_the_file_has_these_cases() -> None:
    assert [one.partition("\n")[0] for one in sections()] == [f"== {name}" for name in CASES]


@pytest.mark.slow_except("a disc", "a hole", "extended", "extended, with a disc", "gray, colored")
@pytest.mark.usefixtures("analyzed_once")
@pytest.mark.parametrize("name", CASES)
def test_reports_are_as_approved(name: str, tmp_path: Path) -> None:
    """Words are compared whole, and numbers to 2 %: processors round differently.

    ``python -m tests.keep.test_reports`` writes the file anew. Read what changed in it before it is committed.
    """
    (approved,) = (one for one in sections() if one.startswith(f"== {name}\n"))
    found = printed(name, tmp_path).rstrip("\n")
    assert NUMBER.sub("#", found) == NUMBER.sub("#", approved)
    numbers = [[float(one) for one in NUMBER.findall(text)] for text in (found, approved)]
    assert numbers[0] == pytest.approx(numbers[1], rel=0.02, abs=0.02)


def main() -> None:
    """Write the file."""
    texts = list[str]()
    for name in CASES:
        with tempfile.TemporaryDirectory() as folder:
            texts.append(printed(name, Path(folder)))
    APPROVED.write_text("\n".join(texts), encoding="utf-8")


if __name__ == "__main__":
    main()
