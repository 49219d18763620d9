"""The runner of golden values notices changes, and the cases reach every command and public function."""

import inspect
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import latentedit as le
from latentedit.cli.commands import COMMANDS
from latentedit.core.plugins import EDITORS
from tools import golden

ARRAY = np.random.default_rng(0).standard_normal((3, 40))
VALUE = {
    "z": ARRAY,
    "image": Image.new("RGB", (8, 8), (9, 9, 9)),
    "share": 0.25,
    "notes": ["one"],
    "record": {"seed": 1},
}
NEITHER_WRITE_NOR_COMPUTE = {"app", "mcp", "doctor", "help"}
TOO_LONG = {"reproduce"}  # minutes; the engine of its experiments is that of bench
TYPES_AND_MODULES = {"Backbone", "CheckResult", "Condition", "EditResult", "LatentEditError", "SweepResult"}
TYPES_AND_MODULES |= {name for name in le.__all__ if inspect.ismodule(getattr(le, name))}
INSIDE_COMMANDS = {
    "agreement", "curve_energy", "effect_of", "global_directions", "meaning_of", "paper_guidance", "pulled_back",
    "random_units", "semantic_lengths", "settings_of", "speeds", "step_lengths", "transport_direction",
}  # fmt: skip


def stored(**changes: Any) -> Any:
    return golden.sections(golden.plain(VALUE | changes))


def other_pixel() -> Image.Image:
    image = Image.new("RGB", (8, 8), (9, 9, 9))
    image.putpixel((3, 3), (9, 10, 9))
    return image


def one_number_changed() -> Any:
    array = ARRAY.copy()
    array[1, 7] += 1e-3
    return array


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"z": one_number_changed()}, "/values/z: array of [3, 40]"),
        ({"z": ARRAY.T}, "/values/z: array of [3, 40] -> [40, 3]"),
        ({"image": other_pixel()}, "/values/image"),
        ({"share": 0.25001}, "/values/share: 0.25 -> 0.25001"),
        ({"notes": ["two"]}, "/values/notes/0: one -> two"),
        ({"notes": []}, "/values/notes"),
        ({"more": 1}, "/values/more: is new"),
        ({"record": {"seed": 2}}, "/records/record/seed"),
        ({"fingerprints": {"portraits": "a"}}, "/fingerprints"),
    ],
)
def test_a_change_is_noticed(change: dict[str, Any], place: str) -> None:
    lines = list(golden.differences(stored(), stored(**change)))
    assert len(lines) == 1
    assert lines[0].startswith(place)


def test_rounding_versions_and_times_are_none() -> None:
    near = stored(z=ARRAY * (1 + 1e-8), share=0.25 * (1 + 1e-8), versions={"torch": "9"}, seconds=3.0)
    assert list(golden.differences(stored(), near)) == []


def test_parts_that_are_stored_once_come_back() -> None:
    long = {"caption": "a person " * 20, "record": {"settings": list(range(60))}}
    value = {"one": long, "two": {"again": [long, long["caption"]]}}
    assert golden.unpacked(golden.packed(value)) == value
    assert len(str(golden.packed(value))) < 0.7 * len(str(value))


def test_the_command_fails_when_a_case_computes_something_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = dict(VALUE)
    monkeypatch.setattr(golden, "STORED", tmp_path / "golden.json")
    monkeypatch.setattr(golden, "CASES", {"a case": lambda: given})
    for name in ("load", "name"):
        monkeypatch.setattr(golden.ModelChoice, name, getattr(golden.ModelChoice, name))

    def main(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["golden", *words])
        return golden.main()

    assert main() == 1, "nothing is stored"
    assert main("--write") == 0
    assert main() == 0
    given["z"] = one_number_changed()
    given["record"] = {"seed": 2}
    capsys.readouterr()
    assert main() == 1
    assert re.search(r"DIFFERS values/z: array of \[3, 40\], relative difference", capsys.readouterr().out)
    assert main("--without", "values") == 1
    assert main("--without", "values", "--without", "records") == 0


def test_every_command_editor_and_public_function_has_a_case() -> None:
    words = {word for line in golden.COMMANDS.values() for one in line.split("; ") for word in one.split()[:1]}
    assert words == set(COMMANDS.names()) - NEITHER_WRITE_NOR_COMPUTE - TOO_LONG
    assert {f"editor {name}" for name in EDITORS.names()} <= golden.CASES.keys()
    text = Path(golden.__file__).read_text(encoding="utf-8")
    assert [name for name in sorted({*le.__all__} - TYPES_AND_MODULES) if f"le.{name}" not in text] == [
        "sweep"
    ]  # the command sweep calls it
    functions = {name for name in le.geometry.__all__ if inspect.isfunction(getattr(le.geometry, name))}
    geometry = {name for name in functions if getattr(le.geometry, name).__module__.startswith("latentedit.geometry")}
    assert [
        name
        for name in sorted(geometry - INSIDE_COMMANDS)
        if f"g.{name}" not in text and f"geometry.{name}" not in text
    ] == []
