"""Names, folders and hub ids."""

import pkgutil
import shutil
from pathlib import Path

import pytest

from latentedit.core.errors import ModelError, RegistryError
from latentedit.models import registry
from latentedit.models.base import Backbone
from latentedit.models.pipelines import SUPPORTED
from tests.carried import carry


@pytest.fixture
def bundle(folder_without_t5: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(folder_without_t5, tmp_path / "models" / "tiny")
    (tmp_path / "models" / "not-a-model").mkdir()
    carry(monkeypatch, tmp_path / "models")
    return tmp_path / "models"


def test_every_supported_pipeline_has_an_adapter() -> None:
    assert set(registry.ADAPTERS) == set(SUPPORTED)
    assert all(issubclass(pkgutil.resolve_name(place), Backbone) for place in registry.ADAPTERS.values())


def test_bundled_names_are_folders_with_an_index(bundle: Path) -> None:
    assert registry.bundled_names() == ["tiny"]
    assert registry.bundled_folder("tiny") == bundle / "tiny"
    assert registry.load("tiny", device="cpu").name == "tiny"


def test_an_unknown_name_gets_the_nearest(bundle: Path) -> None:
    for ask in (registry.bundled_folder, registry.load):
        with pytest.raises(RegistryError, match="did you mean 'tiny'"):
            ask("tini")


def test_folders_by_string_and_path_agree(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_path = registry.load(bundle / "tiny", device="cpu")
    by_text = registry.load(str(bundle / "tiny"), device="cpu")
    assert by_path.name == by_text.name == "tiny"
    assert by_path.fingerprint == by_text.fingerprint
    monkeypatch.chdir(bundle)
    assert registry.load("./tiny", device="cpu").fingerprint == by_path.fingerprint


@pytest.mark.parametrize("place", ["./nowhere", "/nowhere/at/all", Path("nowhere")])
def test_a_folder_that_is_not_there_is_named(place: str | Path) -> None:
    with pytest.raises(ModelError, match="nowhere"):
        registry.load(place)


def test_a_single_file_is_refused(bundle: Path) -> None:
    with pytest.raises(ModelError, match="is a file"):
        registry.load(bundle / "tiny" / "model_index.json")


def test_no_bundled_models_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    carry(monkeypatch, tmp_path / "none")
    assert registry.bundled_names() == []
    with pytest.raises(RegistryError):
        registry.bundled_folder("portraits")
