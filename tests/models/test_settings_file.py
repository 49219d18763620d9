from pathlib import Path

import pytest

from latentedit.core.errors import ModelError, OutputError
from latentedit.models.settings_file import change_json, read_settings, write_settings


def test_settings_are_changed_key_by_key(tmp_path: Path) -> None:
    write_settings(tmp_path, {"a": 1, "b": 2})
    write_settings(tmp_path, {"b": 3})
    assert (tmp_path / "latentedit.json").read_text() == '{\n "a": 1,\n "b": 3\n}\n'
    assert read_settings(tmp_path) == {"a": 1, "b": 3}
    (tmp_path / "config.json").write_text('{"dtype": "float16", "layers": 2}')
    change_json(tmp_path / "config.json", {"dtype": "float32"})
    assert (tmp_path / "config.json").read_text() == '{\n "dtype": "float32",\n "layers": 2\n}\n'


def test_an_interrupted_write_leaves_the_file_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_settings(tmp_path, {"a": 1})

    def full(place: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OutputError, match="No space left"):
        write_settings(tmp_path, {"b": 2})
    monkeypatch.undo()
    with pytest.raises(TypeError):
        write_settings(tmp_path, {"b": object()})
    assert read_settings(tmp_path) == {"a": 1}


def test_files_that_are_missing_or_damaged_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no such file: .*latentedit\.json"):
        read_settings(tmp_path)
    (tmp_path / "latentedit.json").write_text("{'a': 1}")
    with pytest.raises(ModelError, match=r"latentedit\.json is not sound JSON"):
        read_settings(tmp_path)
    with pytest.raises(ModelError, match=r"latentedit\.json is not sound JSON"):
        write_settings(tmp_path, {"a": 1})
    assert (tmp_path / "latentedit.json").read_text() == "{'a': 1}"
