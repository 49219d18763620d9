"""Every option of a command reaches the function that does its work, which is not run here."""

import dataclasses
import importlib
import inspect
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from latentedit.core.errors import ConfigError
from latentedit.editing.request import EditRequest
from latentedit.latents.joint import JointLatent
from tests.commands import Command

WORDS = "--source-prompt hat --change 'hat => cap' --change '=> glasses'"
HOW = "--method sdedit --seed 3 --mask 'a mask.png' --force --refine --no-complete --no-auto-mask"
ASKED = {
    "source_prompt": "hat",
    "prompt": None,
    "change": ("hat => cap", "=> glasses"),
    "method": "sdedit",
    "seed": 3,
    "mask": Path("a mask.png"),
    "force": True,
    "refine": True,
    "complete": False,
    "auto_mask": False,
}
USUAL = {"seed": 0, "mask": None, "force": False, "refine": False, "complete": True, "auto_mask": None, "method": None}
DISCOVERED = {"site": None, "rank": 10, "level": 0.85, "prompt": None, "seed": 0}

PASSED = [
    (f"edit me.png {WORDS} {HOW}", "editing.verbs:edit_pictures", ASKED | {"strength": (1.0,)}),
    ("edit me.png --prompt cap --source-prompt hat --strength 0.5", "editing.verbs:edit_pictures", USUAL),
    (
        "edit me.png --remove a --add b --change 'c => d' --strength 1 --strength 0.5 --strength 0 --source-prompt a,c",
        "editing.verbs:edit_pictures",
        {"strength": (1, 0.5, 0), "change": ("c => d", "=> b", "a =>")},
    ),
    (f"sweep me.png {WORDS} {HOW}", "editing.verbs:run", ASKED | {"strengths": (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)}),
    (f"sweep me.png {WORDS} --arm text --strengths 0,1", "editing.verbs:run", {"settings": {"arm": "text"}}),
    (
        "direction preview a.safetensors --on other.png --source-prompt hat --captioner c --strengths 0,1",
        "editing.verbs:run",
        {"source_prompt": "hat", "captioner": "c", "strengths": (0.0, 1.0)},
    ),
    (
        f"direction make me.png {WORDS} --seed 3 -o b.safetensors",
        "editing.session:Session.identify",
        {"prompt": None, "instruction": None, "change": ("hat => cap", "=> glasses"), "seed": 3, "captions": ("hat",)},
    ),
    ("direction make me.png --prompt cap -o b.safetensors", "latents.encode:encode", {"source_prompt": None}),
    (
        "discover me.png -o o --source-prompt hat --prompt cap --level 0.5 --rank 3 --site clean --seed 3",
        "geometry.local_basis:local_basis",
        {"site": "clean", "rank": 3, "level": 0.5, "prompt": "cap", "seed": 3, "captions": ("hat",)},
    ),
    ("discover me.png -o out", "geometry.local_basis:local_basis", DISCOVERED | {"captions": ("",)}),
    (
        "path me.png other.png -o s.png --source-prompt a --prompt b --method lerp --frames 5 --level 0.5 --site clean",
        "geometry.paths:paths_between",
        {"methods": ("lerp",), "frames": 5, "level": 0.5, "site": "clean", "rank": 10, "captions": ("a", "b")},
    ),
    (
        "path me.png other.png -o strip.png --rank 3 --seed 3",
        "geometry.paths:paths_between",
        {"methods": ("lerp", "slerp", "geodesic"), "frames": 7, "level": 0.85, "site": None, "rank": 3, "seed": 3},
    ),
    (
        "transport found.safetensors --target other.png -o n.safetensors --source-prompt hat --rank 3 --plain --seed 3",
        "editing.discovery:transport",
        {"rank": 3, "inverse": False, "damping": 0.1, "seed": 3, "captions": ("hat",)},
    ),
    (
        "transport found.safetensors --target other.png -o n.safetensors --damping 0.5",
        "editing.discovery:transport",
        {"rank": 20, "inverse": True, "damping": 0.5, "seed": 0, "captions": ("",)},
    ),
    (
        "undo me.edited.png --direction a.safetensors --strength 0.5 --no-auto-mask",
        "editing.undo:undo_direction",
        {"strength": 0.5, "auto_mask": False},
    ),
    (
        "undo me.edited.png --direction a.safetensors",
        "editing.undo:undo_direction",
        {"strength": 1.0, "auto_mask": None},
    ),
    (
        "replay me.edited.png --mask 'a mask.png'",
        "editing.replay:replay",
        {"mask": Path("a mask.png"), "directions": [], "references": []},
    ),
    (
        "edit . --prompt cap --source-prompt hat -o run --batch 2 --workers 3",
        "batch.executors:run_work",
        {"workers": 3, "most": 2},
    ),
    ("edit . --prompt cap --source-prompt hat -o run", "batch.executors:run_work", {"workers": 4, "ray": None}),
    (
        "edit . --prompt cap --source-prompt hat -o run --ray auto",
        "batch.executors:run_work",
        {"ray": "auto", "workers": None, "most": 7},
    ),
    (
        "edit . --prompt cap --source-prompt hat -o run --workers 1 --seed 3",
        "batch.executors:run_work",
        {"seed": 3, "workers": 1},
    ),
    (
        "models calibrate MODEL --captions words.txt --device cpu",
        "guard.calibration:calibrate_guard",
        {"captions": ["a hat", "a cap"]},
    ),
    ("models calibrate MODEL", "guard.calibration:calibrate_guard", {"captions": []}),
]


def parts(given: dict[str, Any]) -> dict[str, Any]:
    """What a function was given, with the fields of a request, a latent, an executor and a run's work."""
    found = given | given.pop("options", {})
    if "work" in given:
        found |= {name: getattr(given["executor"], name) for name in ("workers", "ray")}
        found |= {"most": max(map(len, given["work"].batches.values())), "seed": given["work"].request.seed}
    for request in (value for value in given.values() if isinstance(value, EditRequest)):
        found |= {field.name: getattr(request, field.name) for field in dataclasses.fields(request)} | found
    for latent in (getattr(value, "latent", value) for value in given.values()):
        found |= {"captions": latent.captions} if isinstance(latent, JointLatent) else {}
    return found


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, Any]]:
    """Put a refusal in the place of a function; what it was given."""

    def watch(target: str) -> dict[str, Any]:
        module, _, name = target.partition(":")
        place = importlib.import_module(f"latentedit.{module}")
        *owner, name = name.split(".")
        place = getattr(place, owner[0]) if owner else place
        signature, told = inspect.signature(getattr(place, name)), dict[str, Any]()

        def stopped(*values: Any, **named: Any) -> None:
            told.update(signature.bind(*values, **named).arguments)
            raise ConfigError("this is as far as it goes")

        monkeypatch.setattr(place, name, stopped)
        return told

    return watch


@pytest.mark.slow
@pytest.mark.parametrize("quiet", [False, True])
@pytest.mark.parametrize(("line", "target", "expected"), PASSED)
def test_options_are_passed_on(
    command: Command,
    watched: Callable[[str], dict[str, Any]],
    folder: Path,
    miniature: Path,
    line: str,
    target: str,
    expected: dict[str, Any],
    quiet: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a terminal, progress is shown unless quiet is asked for."""
    Path("words.txt").write_text("a hat\n\n a cap \n")
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda _: True, raising=False)
    words = [str(miniature) if word == "MODEL" else word for word in shlex.split(line)]
    words += [] if "calibrate" in line else ["--model", str(miniature)]
    monkeypatch.setattr("latentedit.batch.executors.suitable_workers", lambda device, units: 4)
    told = watched(target)
    outcome = command(*words, *(["--quiet"] if quiet else []))
    assert "as far as it goes" in outcome.err, outcome.err
    found = parts(told)
    assert {name: found[name] for name in expected} == expected
    if target not in ("editing.undo:undo_direction", "latents.encode:encode"):
        assert (found["progress"] is None) is quiet
