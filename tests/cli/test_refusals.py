"""Wrong input of every command: exit code 2, no traceback, no file written, and an error that names the value."""

import shlex
from pathlib import Path

import pytest

from tests.commands import Refused

EDIT, SWEEP = (f"{name} me.png --source-prompt 'no glasses' --prompt glasses" for name in ("edit", "sweep"))
PHOTOS = "edit photos --source-prompt hat --prompt cap"
MAKE, PREVIEW = "direction make me.png --prompt glasses", "direction preview a.safetensors"
TRANSPORT = "transport found.safetensors --target other.png -o new.safetensors"
DISCOVER, PATH = "discover me.png -o out", "path me.png other.png -o strip.png"

BEFORE_LOADING = [
    (f"{EDIT} --dtype float61", "'float16'"),
    (f"{EDIT} --mask no.png", "no.png"),
    ("edit me.png --instruction 'add a hat' --reference text.safetensors", "text.safetensors"),
    (f"{EDIT} -o nowhere/out.png", "nowhere"),
    (f"{EDIT} -o me.png", "me.png"),
    (f"{EDIT} -o other.png", "other.json"),
    (f"{EDIT} -o 'a mask.png' --mask 'a mask.png'", "a mask.png"),
    ("edit clear.png --prompt glasses -o o.jpg", "transparency"),
    (f"{EDIT} --sheet me.png", "me.png"),
    (f"{EDIT} -o x.png --sheet link/x.png", "link/x.png"),
    (f"{EDIT} --view me.png", ".html"),
    *((f"{EDIT} {option} 1", option) for option in ("--batch", "--workers", "--ray")),
    *(
        (f"edit list.csv {option} '=> x'", option)
        for option in ("--prompt", "--change", "--source-prompt", "--direction", "--captioner", "--instruction")
    ),
    ("edit list.csv --mask x.png", "--mask cannot be used here"),
    ("edit masked.csv", "has masks"),
    ("edit no.csv", "no such file"),
    *((f"{PHOTOS} {option} x.png", f"{option} cannot be used here") for option in ("--sheet", "--view", "--mask")),
    ("edit photos --source-prompt hat", "no edit requested"),
    (f"{PHOTOS} --batch 0", "--batch"),
    (f"{PHOTOS} --workers 0", "--workers must be at least 1; got 0"),
    (f"{PHOTOS} -o photos", "would be one folder"),
    (f"{PHOTOS} -o photos/a.png", "is a file, and a folder is written"),
    ("edit empty --source-prompt hat --prompt cap", "contains no images"),
    (f"{SWEEP} --set arm=left", "'left'"),
    (f"{EDIT} --set strength=0.5", "--strength"),
    (f"{EDIT} --set complete=maybe", "'maybe'"),
    (f"{SWEEP} -o out.gif", "out.gif"),
    (f"{MAKE} -o no/a.safetensors", "does not exist"),
    ("direction make me.png -o b.safetensors", "--change"),
    (f"{PREVIEW} -o p.jpg", "p.jpg"),
    (f"{PREVIEW} --strengths 0,1 --source-prompt hat", "--strengths and --source-prompt"),
    (f"{PREVIEW} --on me.png -o me.png", "me.png"),
    ("direction show no.safetensors", "no.safetensors"),
    ("direction compare a.safetensors", "got 1"),
    ("direction compare a.safetensors foreign.safetensors", "foreign"),
    (f"{DISCOVER} --rank 0", "--rank"),
    (f"{DISCOVER} --method svd", "--method"),
    (f"{DISCOVER} --level 1.5", "--level"),
    (f"{DISCOVER} --source-prompt ' '", "--source-prompt"),
    (f"{DISCOVER} --prompt ''", "--prompt"),
    ("discover me.png -o missing/out", "missing"),
    ("discover me.png -o .", "it contains"),
    (f"{PATH} --method slrep", "'slerp'"),
    (f"{PATH} --frames 2", "got 2"),
    (f"{PATH} --rank 0", "--rank"),
    (f"{PATH} --level 0", "--level"),
    (f"{PATH} --source-prompt ' '", "--source-prompt"),
    (f"{PATH} --prompt ''", "--prompt"),
    ("path me.png other.png -o missing/strip.png", "missing"),
    ("path me.png other.png -o strip.txt", "strip.txt"),
    ("path me.png other.png -o other.png", "other.png"),
    ("path me.png copy.png -o strip.png", "same"),
    (f"{TRANSPORT} --rank 0", "--rank"),
    ("discover me.png -o found --settings-of 2302.12470", "Did you mean '2302.12469'"),
    (f"{TRANSPORT} --source-prompt ' '", "--source-prompt"),
    (f"{TRANSPORT} -o no/new.safetensors", "does not exist"),
    (f"{TRANSPORT} -o found.safetensors", "found.safetensors"),
    ("transport a.safetensors --target other.png -o new.safetensors", "'hsds'"),
    ("replay me.png", "latentedit wrote"),
    ("replay me.edited.png", "'miniature'"),
    ("replay me.edited.png --image clear.png -o o.jpg", "transparency"),
    ("replay me.edited.png -o me.edited.png", "me.edited.png"),
    ("replay me.edited.png --image no.png", "no.png"),
    ("replay me.edited.png --edited me.png", "--edited"),
    ("undo me.png", "does not contain the original"),
    ("undo me.edited.png -o me.edited.png", "me.edited.png"),
    ("models show portrait", "'portraits'"),
    ("models calibrate portraits --captions empty.txt", "empty.txt"),
    ("app --host 0.0.0.0", "ssh -L"),
]

BY_THE_MODEL = [
    (f"{EDIT} --device gpu7", "gpu7"),
    ("edit me.png --prompt glasses", "--source-prompt"),  # the model has no captioner
    ("edit me.png --prompt glasses --captioner openai:", "openai:MODEL"),
    (f"{SWEEP} --source-prompt Glasses", "what should change"),
    ("caption me.png", "--captioner"),
    ("caption me.png --captioner unknown", "openai:MODEL"),
    *(
        (f"{line} foreign.safetensors", "foreign")
        for line in (
            "edit me.png --source-prompt hat --direction",
            "replay me.edited.png --direction",
            "direction preview --on me.png -o p.png --source-prompt hat",
            "transport --target other.png -o new.safetensors",
        )
    ),
    ("replay me.edited.png --direction no.safetensors", "no.safetensors"),
]


def check(refused: Refused, folder: Path, words: list[str], fragment: str) -> None:
    before = {path: path.read_bytes() for path in folder.glob("*.*")}
    assert fragment in refused(*words)
    assert {path: path.read_bytes() for path in folder.glob("*.*")} == before


@pytest.mark.parametrize(("line", "fragment"), BEFORE_LOADING)
def test_wrong_input_is_rejected_before_the_model_is_loaded(
    refused: Refused, folder: Path, unloaded: None, line: str, fragment: str
) -> None:
    check(refused, folder, shlex.split(line), fragment)


@pytest.mark.parametrize(("line", "fragment"), BY_THE_MODEL)
def test_input_that_does_not_fit_the_model_is_rejected(
    refused: Refused, folder: Path, miniature: Path, line: str, fragment: str
) -> None:
    model = [] if "--model" in line else ["--model", str(miniature)]
    check(refused, folder, [*shlex.split(line), *model], fragment)
