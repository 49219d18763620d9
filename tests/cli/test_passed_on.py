"""Every option of a command reaches the function that does its work, which is stopped here."""

import dataclasses
import importlib
import inspect
import operator
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from latentedit.batch import executors
from latentedit.core.errors import ConfigError
from latentedit.editing.request import EditRequest
from latentedit.encoding.joint import JointLatent
from tests.commands import Command

WORDS = "--source-prompt hat --change 'hat => cap' --change '=> glasses'"
HOW = "--method sdedit --seed 3 --mask 'a mask.png' --force --refine --set complete=false --no-auto-mask"
Scripted = dict[str, Any]

REQUESTED: Scripted = {"source_prompt": "hat", "prompt": None, "change": ("hat => cap", "=> glasses"), "seed": 3}
REQUESTED |= {"mask": Path("a mask.png"), "force": True, "refine": True, "complete": False, "auto_mask": False}
USUAL = {"seed": 0, "mask": None, "force": False, "refine": None, "complete": True, "auto_mask": None, "method": None}
THREE = "--remove a --add b --change 'c => d'"
PREVIEW = "direction preview a.safetensors --on other.png"
ALL = ("lerp", "slerp", "geodesic")
TRANSPORT = "transport found.safetensors --target other.png -o new.safetensors"
FOLDER = "edit . --prompt cap --source-prompt hat -o run"

PASSED: dict[str, dict[str, Scripted]] = {
    "editing.verbs:edit_images": {
        f"edit me.png {WORDS} {HOW}": REQUESTED | {"method": "sdedit", "strength": (1.0,)},
        "edit me.png --prompt cap --source-prompt hat": USUAL,
        "edit me.png --instruction 'add a hat' --reference other.png": {"instruction": ("add a hat",)},
        f"edit me.png {THREE} --strength 1 --strength 0 --strength 2 --set combine=inverse": Scripted(
            strength=(1, 0, 2), change=("c => d", "=> b", "a =>"), combine="inverse"
        ),
    },
    "editing.verbs:run": {
        f"sweep me.png {WORDS} {HOW}": REQUESTED | {"strengths": (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)},
        f"sweep me.png {WORDS} --set arm=text --strengths 0,1": {"settings": {"arm": "text"}, "strengths": (0, 1)},
        f"{PREVIEW} -o p.html --source-prompt hat --captioner c --strengths 0,1": Scripted(
            source_prompt="hat", captioner="c", strengths=(0, 1)
        ),
    },
    "editing.session:Session.identify": {
        f"direction make me.png {WORDS} --seed 3 -o b.safetensors": {"instruction": None, "captions": ("hat",)}
        | {name: REQUESTED[name] for name in ("prompt", "change", "seed")}
    },
    "encoding.encode:encode": {"direction make me.png --prompt cap -o b.safetensors": {"source_prompt": None}},
    "geometry.pullback:local_basis": {
        "discover me.png -o o --source-prompt hat --prompt cap --level 0.5 --rank 3 --site clean --seed 3": Scripted(
            site="clean", rank=3, level=0.5, prompt="cap", seed=3, captions=("hat",)
        ),
        "discover me.png -o out": Scripted(site=None, seed=0, captions=("",)),
    },
    "geometry.paths:paths_between": {
        "path me.png other.png -o s.png --source-prompt a --prompt b --method lerp --frames 5 --level 0.5": Scripted(
            methods=("lerp",), frames=5, level=0.5, rank=10, captions=("a", "b"), seed=0
        ),
        "path me.png other.png -o strip.png --site clean --rank 3 --seed 3": Scripted(
            methods=ALL, frames=7, level=0.85, rank=3, site="clean", seed=3
        ),
    },
    "editing.discovery:transport": {
        f"{TRANSPORT} --source-prompt hat --rank 3 --seed 3": Scripted(rank=3, seed=3, captions=("hat",)),
        TRANSPORT: {"rank": None, "seed": 0, "captions": ("",)},
    },
    "editing.replay:replay": {
        "replay me.edited.png --mask 'a mask.png'": {"mask": REQUESTED["mask"], "directions": [], "references": []}
    },
    "batch.executors:run_work": {
        FOLDER: {"workers": 4, "ray": None, "most": 6},
        f"{FOLDER} --batch 2 --workers 3": {"workers": 3, "most": 2},
        f"{FOLDER} --ray auto": {"ray": "auto", "workers": None},
        f"{FOLDER} --workers 1 --seed 3": {"workers": 1, "seed": 3},
    },
    "calibration.verdict:calibrate_verdict": {
        "models calibrate MODEL --captions words.txt --device cpu": {"captions": ["a hat", "a cap"]},
        "models calibrate MODEL": {"captions": []},
    },
}


CASES = [(target, line, index % 2 == 1) for target, lines in PASSED.items() for index, line in enumerate(lines)]
CASES += [(target, line, True) for target, lines in PASSED.items() if len(lines) == 1 for line in lines]
"""Each function is called with and without --quiet."""


def parts(given: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a function, with the fields of a request, a latent, an executor and a run's work."""
    found = given | given.pop("options", {})
    if "work" in given:
        found |= {name: getattr(given["executor"], name) for name in ("workers", "ray")}
        found |= {"most": max(map(len, given["work"].batches.values())), "seed": given["work"].request.seed}
    for request in (value for value in given.values() if isinstance(value, EditRequest)):
        found |= {field.name: getattr(request, field.name) for field in dataclasses.fields(request)} | found
    if "change" in found:
        found["change"] = tuple(map(str, found["change"]))
    for latent in (getattr(value, "latent", value) for value in given.values()):
        found |= {"captions": latent.captions} if isinstance(latent, JointLatent) else {}
    return found


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], dict[str, Any]]]:
    """Stop at the call of a function by an error, and return its arguments.

    The function is not replaced: modules that the command imports first would keep the double after the test.
    """

    def watch(target: str) -> dict[str, Any]:
        module, _, name = target.partition(":")
        function = operator.attrgetter(name)(importlib.import_module(f"latentedit.{module}"))
        code, report = inspect.unwrap(function).__code__, dict[str, Any]()

        def stop(frame: FrameType, event: str, _: object) -> None:
            if event == "call" and frame.f_code is code:
                report.update(frame.f_locals)
                raise ConfigError("stopped")

        sys.setprofile(stop)
        return report

    terminal = (type(sys.stderr), "isatty", lambda _: True)
    for owner, name, function in (terminal, (executors, "suitable_workers", lambda device, units: 4)):
        monkeypatch.setattr(owner, name, function, raising=False)
    yield watch
    sys.setprofile(None)


@pytest.mark.parametrize(("target", "line", "quiet"), CASES)
def test_options_reach_the_function(
    command: Command,
    watched: Callable[[str], dict[str, Any]],
    folder: Path,
    miniature: Path,
    line: str,
    target: str,
    quiet: bool,
) -> None:
    """On a terminal, progress is shown unless --quiet is given."""
    Path("words.txt").write_text("a hat\n\n a cap \n")
    words = [str(miniature) if word == "MODEL" else word for word in shlex.split(line)]
    words += [] if "calibrate" in line else ["--model", str(miniature)]
    report = watched(target)
    outcome = command(*words, *(["--quiet"] if quiet else []))
    assert "stopped" in outcome.err, outcome.err
    found, expected = parts(report), PASSED[target][line]
    assert {name: found[name] for name in expected} == expected
    if target != "encoding.encode:encode":
        assert (found["progress"] is None) is quiet
