"""Files of every earlier version are read and do today what they did then, or are named as older."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from PIL import Image
from pydantic import Field

from latentedit.batch.folder import RunFolder
from latentedit.calibration.guard import CalibratedSettings
from latentedit.core.errors import ConfigError, FileFormatError
from latentedit.editing.outputs import read_record, same_image
from latentedit.editing.replay import differences, replay
from latentedit.editors.base import editor_class
from latentedit.editors.eim import EIM
from latentedit.editors.moving import search_of
from latentedit.encoding import record as record_module
from latentedit.encoding.familiarity import CORRUPTIONS, Guard
from latentedit.encoding.record import FORMAT, RunRecord
from latentedit.identification.direction import Direction
from latentedit.identification.hsds import HSDS
from latentedit.keeping import api
from latentedit.keeping.undoing import undo
from latentedit.models.model_settings import VARIABLE
from latentedit.photo.saving import read_chunks
from tests.editors.colors import ColorBackbone

EARLIER = Path(__file__).parents[1] / "data" / "earlier"
DAYS = sorted(folder.name for folder in EARLIER.iterdir() if folder.is_dir())
CALIBRATIONS, RUNS, KEPT = (
    [day for day in DAYS if (EARLIER / day / name).exists()] for name in ("calibration.json", "run", "kept.png")
)


def model_of(record: RunRecord) -> ColorBackbone:
    model = ColorBackbone()
    model.fingerprint = record.model.fingerprint  # the model counts as the one of that day
    return model


def written(day: str, **changes: Any) -> str:
    """The record of the WebP of a day, with changes."""
    folder = EARLIER / day
    (sidecar,) = (folder / name for name in ("edit.json", "edit.webp.json") if (folder / name).exists())
    return json.dumps(json.loads(sidecar.read_text())["record"] | changes)


@pytest.mark.slow_except("2026-11-26")
@pytest.mark.parametrize("day", DAYS)
def test_an_edit_of_an_earlier_version_is_replayed(day: str) -> None:
    """Bit for bit, on this model: it is computed in a few exact operations, and its settings have not changed since."""
    for name in ("edit.png", "twice.png"):
        record = read_record(EARLIER / day / name)
        named = [one for one in record.directions if one.given]
        if named:  # a direction that the version of 21 November took for one of a file
            with pytest.raises(ConfigError, match="directions"):
                replay(record, model_of(record), EARLIER / "me.png")
            record = record.before or record
        (again,) = replay(record, model_of(record), EARLIER / "me.png")
        assert differences(record, again.record) == [], "also directions that are searched for again"
        with Image.open(EARLIER / day / name) as image:
            assert named or same_image(again.image, image.convert("RGB")), name


@pytest.mark.parametrize("day", DAYS)
def test_json_files_of_earlier_versions_are_read(day: str) -> None:
    record = read_record(EARLIER / day / "edit.webp")
    assert (record.format, record.output, record.recipe.method, record.strengths) == (FORMAT, "image", "eim", (1.0,))
    assert record.recipe.auto_mask
    assert search_of(record.directions[0].settings) == HSDS(steps=3)
    sweep = RunRecord.from_json(json.dumps(json.loads((EARLIER / day / "sweep.json").read_text())["record"]), "a file")
    assert (sweep.output, sweep.strengths) == ("sweep", (0.5, 1.0))


@pytest.mark.parametrize("day", [day for day in DAYS if day < "2026-11-28"])  # since then, all of them are stored
def test_what_an_earlier_record_leaves_out_means_what_it_meant_then(day: str) -> None:
    fields = json.loads(written(day))
    for name in ("local", "auto_mask", "refined", "refine", "subtract_residual", "mixing", "combine", "via"):
        fields.pop(name, None)
    recipe = RunRecord.from_json(json.dumps(fields), "a file").recipe
    assert (recipe.auto_mask, recipe.refine, recipe.subtract_residual) == (True, False, 0.0)
    assert (recipe.combine, recipe.via) == ("sum", ())


class _NextRecord(RunRecord):
    """The record of a next format, with one field more."""

    format: Annotated[int, Field(ge=FORMAT + 1, le=FORMAT + 1)] = FORMAT + 1
    before: "_NextRecord | None" = None
    more: str = "none"


@pytest.mark.parametrize("day", DAYS)
@pytest.mark.parametrize("name", ["edit.png", "twice.png"])
def test_records_are_read_after_the_next_format(day: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A field that they lack, their own or the recipe's, has its default; so do those of the edits before."""
    text = read_chunks(EARLIER / day / name)[0]
    assert text is not None
    today = RunRecord.from_json(text, "a file")
    fields = json.loads(text)
    fields.get("recipe", {}).pop("image_guidance", None)
    monkeypatch.setattr(record_module, "FORMAT", FORMAT + 1)
    record = _NextRecord.from_json(json.dumps(fields), "a file")
    while record is not None:
        assert (record.format, record.more, record.recipe) == (FORMAT + 1, "none", today.recipe)
        record, today = record.before, today.before
    assert today is None


@pytest.mark.parametrize("day", KEPT)
def test_records_of_keep_are_read_after_the_next_format(day: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = read_chunks(EARLIER / day / "kept.png")[0]
    assert text is not None
    read = api.KeepRecord.from_json(text, "a file")
    recolored = dataclasses.replace(read, recolored=True)
    texts = text, recolored.to_json()
    monkeypatch.setattr(api, "FORMAT", api.FORMAT + 1)
    assert [api.KeepRecord.from_json(one, "a file") for one in texts] == [read, recolored]


@pytest.mark.parametrize("day", DAYS)
@pytest.mark.parametrize(
    "changes", [{"seed": "5"}, {"before": {"format": 1}}, {"before": {"format": 1, "picture": 3}}, {"unknown": 1}]
)
def test_damaged_records_of_earlier_versions_are_rejected(day: str, changes: dict[str, Any]) -> None:
    with pytest.raises(FileFormatError, match="damaged"):
        RunRecord.from_json(written(day, **changes), "a file")


@pytest.mark.parametrize(
    ("method", "settings"),
    [("eim", {"search": {"projection": "neumann"}}), ("loco", {"iterations": 3})],
)
def test_settings_that_are_gone_are_named_with_what_still_works(method: str, settings: dict[str, Any]) -> None:
    record = RunRecord.from_json(written("2026-11-25", method=method, settings=settings, directions=[]), "a file")
    with pytest.raises(ConfigError, match=r"earlier version .* `undo`"):
        replay(record, model_of(record), EARLIER / "me.png")


@pytest.mark.parametrize(("method", "value", "now"), [("dvrf", [0.0, 0.5], (0.0, 0.5)), ("turboedit", 3, 3)])
def test_a_setting_whose_name_means_something_else_today_is_read_as_it_was_meant(
    method: str, value: Any, now: Any
) -> None:
    record = RunRecord.from_json(written("2026-11-25", method=method, settings={"shift": value}), "a file")
    editor: Any = editor_class(method).from_dict(record.recipe.settings)
    assert (editor.shift, editor.offset if method == "dvrf" else editor.noise_shift) == (None, now)


def test_a_search_that_an_editor_was_given_is_read() -> None:
    search = {"projection": "none", "keep": 0.25, "release": 0.5, "steps": 3}
    record = RunRecord.from_json(written("2026-11-25", settings={"search": search}), "a file")
    assert EIM.from_dict(record.recipe.settings).search == HSDS(keep_source=0.25, drop_residual=0.5, steps=3)


@pytest.mark.parametrize("day", DAYS)
def test_undo_of_an_earlier_version(day: str) -> None:
    """Bit for bit, or a sentence that it is older: until 23 November, latents of the model were stored."""
    for name in ("edit.png", "twice.png"):
        if day <= "2026-11-23":
            with pytest.raises(FileFormatError, match="earlier"):
                undo(EARLIER / day / name)
        else:
            with Image.open(EARLIER / "me.png") as image:
                assert same_image(undo(EARLIER / day / name), image)


@pytest.mark.parametrize("day", DAYS)
def test_directions_of_earlier_versions_are_loaded(day: str) -> None:
    direction = Direction.load(EARLIER / day / "green.safetensors")
    before = read_record(EARLIER / day / "twice.png").before
    assert before is not None
    assert direction.fingerprint == before.directions[0].fingerprint, "records name directions by it"
    assert direction.images == (before.image.fingerprint,)
    assert search_of(direction.settings) == HSDS(), "and they can be searched for again"


@pytest.mark.parametrize("day", KEPT)
def test_a_result_of_keep_of_an_earlier_version_is_repeated(day: str) -> None:
    text = read_chunks(EARLIER / day / "kept.png")[0]
    assert text is not None
    record = api.KeepRecord.from_json(text, "a file")
    again = api.keep_again(record, EARLIER / "o.png", EARLIER / "e.png")
    with Image.open(EARLIER / day / "kept.png") as image:
        off = np.abs(np.asarray(again.image, dtype=int) - np.asarray(image.convert("RGB"), dtype=int)).max(axis=2)
    # An edge of an earlier version may be softer; the ellipse has 450 pixels.
    assert (off > 12).sum() < 50, (off > 12).sum()
    with pytest.raises(FileFormatError, match="newer"):
        api.KeepRecord.from_json(json.dumps(json.loads(text) | {"format": api.FORMAT + 1}), "a file")


@pytest.mark.parametrize("day", RUNS)
def test_run_folders_of_earlier_versions_are_read(day: str, tmp_path: Path) -> None:
    assert RunFolder.read(EARLIER / day / "run").rows() == [{"id": "1", "effect": 0.5}]
    shutil.copytree(EARLIER / day / "run", tmp_path / "run")
    file = tmp_path / "run" / "run.json"
    for number in (1, 2, 4):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"format": number}))
        with pytest.raises(FileFormatError, match=f"format {number}, of another"):
            RunFolder.read(tmp_path / "run")


@pytest.mark.parametrize("day", CALIBRATIONS)
def test_calibrations_of_earlier_versions_are_read(day: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = EARLIER / day / "calibration.json"
    model = ColorBackbone()
    model.fingerprint = json.loads(file.read_text())["fingerprint"]
    (tmp_path / "calibrations").mkdir()
    shutil.copy(file, tmp_path / "calibrations" / f"{model.fingerprint}.json")
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    guard, settings = Guard.of(model), CalibratedSettings.of(model)
    assert guard is not None
    assert (guard.images, set(guard.harmed)) == (80, set(CORRUPTIONS))
    assert settings is not None
    assert (settings.images, settings.eim.search) == (24, HSDS(steps=3))
