"""Miniature models that the tests of this folder share; built once, never written to."""

from pathlib import Path
from typing import Any

import pytest

from latentedit.models.model_settings import write_settings
from latentedit.models.registry import load
from latentedit.testing.miniature import miniature_sd3
from tests.miniatures.noise import miniature_ddpm, miniature_sd


@pytest.fixture(scope="session")
def folder_with_t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return miniature_sd3(tmp_path_factory.mktemp("sd3") / "three-encoders", t5=True)


@pytest.fixture(scope="session")
def folder_without_t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = miniature_sd3(tmp_path_factory.mktemp("sd3") / "two-encoders", t5=False, channels=8, seed=1)
    write_settings(folder, {"zero_tokens": 1})
    return folder


@pytest.fixture(scope="session")
def with_t5(folder_with_t5: Path) -> Any:
    return load(folder_with_t5, device="cpu")


@pytest.fixture(scope="session")
def without_t5(folder_without_t5: Path) -> Any:
    return load(folder_without_t5, device="cpu")


@pytest.fixture(scope="session")
def folder_sd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return miniature_sd(tmp_path_factory.mktemp("sd") / "noise")


@pytest.fixture(scope="session")
def folder_ddpm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return miniature_ddpm(tmp_path_factory.mktemp("ddpm") / "pixels")


@pytest.fixture(scope="session")
def sd(folder_sd: Path) -> Any:
    return load(folder_sd, device="cpu")


@pytest.fixture(scope="session")
def ddpm(folder_ddpm: Path) -> Any:
    return load(folder_ddpm, device="cpu")
