"""Commands of the first hour: each works, or fails at once in two lines that say what to type.

Each guess is a command line without the program's name, in a folder with the images of `folder`.
"""

import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.commands import *  # noqa: F403
from tests.commands import Ran, Refused

# Guesses that work, and a file that they write.
WORK = {
    "keep photo.png edited.png": "photo.kept.png",
    "keep photo.jpg edited.png": "photo.kept.png",
    "keep photo.png edited.png -o out.webp": "out.webp",
    "keep photo.png edited.png -o out.jpg --strength .5": "out.jpg",
    "keep deep.png edited.png -o out.png": "out.png",
    "keep clear.png edited.png -o out.png": "out.png",
    "keep photo.png edited.png --view out.html": "out.html",
    "check photo.png edited.png --panel out.png": "out.png",
    "check photo.png edited.png --max-outside 50%": None,
    "--version": None,
    "help keep": None,
    "-h": None,
    "models -h": None,
    "bench run -h": None,
}

# Guesses that fail, and words of the two lines.
FAIL = {
    "kep photo.png edited.png": ["'keep'"],
    "keep photo.png": ["edited", "keep --help"],
    "keep photo.png edited.png out.png": ["'out.png'", "-o"],
    "keep photo.png none.png": ["none.png", "path"],
    "keep https://example.org/a.png edited.png": ["URL", "Save"],
    "keep photo.png edited.png --strength 50%": ["--strength", "0.5"],
    "keep photo.png edited.png --strength 50": ["--strength", "0.5"],
    "keep photo.png edited.png --strength 0,5": ["--strength", "0.5"],
    "keep photo.png edited.png --strenght 1": ["--strength"],
    "keep photo.png edited.png --only 1-2": ["--only", "1,3"],
    "keep photo.png edited.png --only 3": ["only one"],
    "keep photo.png edited.png --mask photo.jpg": ["mask", "white"],
    "keep photo.png edited.png -o photo.png": ["another name"],
    "keep photo.png edited.png -o .": ["folder", "result.png"],
    "keep photo.png edited.png -o none/out.png": ["none", "Create"],
    "keep photo.png edited.png -o out": [".png"],
    "keep photo.png edited.png -o out.heic": [".png"],
    "keep photo.png edited.png --view out.png": [".html"],
    "keep deep.png edited.png -o out.jpg": ["16 bits", ".png"],
    "keep clear.png edited.png -o out.jpg": ["transparency", ".png"],
    "check photo.png": ["edited"],
    "check photo.png edited.png --max-outside 5": ["5%"],
    "check photo.png edited.png --max-outside 0,1%": ["0.1%"],
    "check . photo.png": ["two folders"],
    "edit photo.png": ["--prompt", "--change"],
    "edit photo.png 'a person'": ["--prompt", "-o"],
    "edit photo.png 'add round glasses'": ["--add 'round glasses'"],
    "edit 'remove glasses' photo.png": ["--remove glasses"],
    "discover photo.png edited.png -o out": ["one file", "once for each"],
    "edit none.png --add glasses": ["none.png", "path"],
    "edit photo.png --add glasses --strength 70": ["0.7"],
    "edit photo.png --add glasses --method flowedt": ["'flowedit'"],
    "edit photo.png --add glasses --model portrats": ["'portraits'"],
    "edit photo.png --add glasses --model ./portraits/": ["folder", "path"],
    "edit photo.png --instruction 'add glasses' --model portrait": ["'portraits'"],
    "edit photo.png --add glasses --seed one": ["--seed"],
    "edit photo.png --add glasses --guidance-scale 3": ["--set guidance_scale="],
    "edit photo.png --add glasses --intensity .5": ["Use --strength"],
    "edit photo.png --text glasses": ["--prompt"],
    "edit photo.png --add glasses --no-such 3": ["--strength", "--mask"],
    "sweep photo.png --add glasses --steps 5": ["--set steps="],
    "keep photo.png edited.png --diff out.png": ["latentedit.check"],
    "bench run --seeds 5": ["1,2,3,4,5"],
    "bench run --method my_editor.py": ["entry point"],
    "web": ["latentedit app"],
    "models downlaod portraits": ["calibrate", "verify"],
    "direction lst": ["make"],
    "info": ["`latentedit --help`"],
    "edit photo.png --add glasses --dtype half": ["float16"],
    "edit photo.png --add glasses --steps 20": ["--set steps="],
    "edit photo.png --add glasses --set steps": ["steps=20"],
    "edit photo.png --change glasses": ['"OLD => NEW"'],
    "sweep photo.png --add glasses --strengths 0:100%:3": ["--strengths", "1?"],
    "sweep photo.png --add glasses --strengths 0.5": ["--strengths=0,0.5,1"],
    "bench run --method three-looks": ["bench methods"],
    "cite flowedit": ["cite"],
    "bench tune --method 'flowedit, locl'": ["'flowedit, local'"],
    "help nonsense": ["nonsense"],
    "apply glasses.safetensors photo.png": ["latentedit.manipulate"],
    "history photo.png": ["`latentedit --help`"],
    "basis photo.png": ["latentedit.local_basis"],
    "inpaint photo.png": ["latentedit.edit"],
    "keep photo.png edited.png --threshold 3": ["--only"],
    "check photo.png edited.png --threshold 3": ["--max-outside"],
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    values = np.random.default_rng(0).integers(60, 200, (96, 128, 3), dtype=np.uint8)
    photo = Image.fromarray(values)
    edited = photo.copy()
    ImageDraw.Draw(edited).ellipse((40, 30, 80, 70), fill=(250, 30, 30))
    clear = photo.convert("RGBA")
    clear.paste((0, 0, 0, 0), (0, 0, 20, 20))
    for name, image in {"photo.png": photo, "photo.jpg": photo, "edited.png": edited, "clear.png": clear}.items():
        image.save(tmp_path / name)
    cv2 = pytest.importorskip("cv2")
    cv2.imwrite(str(tmp_path / "deep.png"), values[..., ::-1].astype(np.uint16) * 257)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("guess", WORK)
def test_works(guess: str, folder: Path, ran: Ran) -> None:
    ran(*shlex.split(guess))
    assert WORK[guess] is None or (folder / str(WORK[guess])).stat().st_size > 0


@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize("guess", FAIL)
def test_a_wrong_guess_fails_at_once_and_names_what_to_type(guess: str, folder: Path, refused: Refused) -> None:
    """Before a model is loaded."""
    text = refused(*shlex.split(guess))
    assert [word for word in FAIL[guess] if word not in text] == [], text
