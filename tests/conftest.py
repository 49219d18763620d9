"""What several tests need."""

import contextlib
import functools
import gc
import importlib.metadata
import io
import multiprocessing
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, BinaryIO

import pytest
from hypothesis import settings
from PIL import Image

from latentedit.core.process import collect_garbage_less_often
from latentedit_keep.base import images

if TYPE_CHECKING:
    from tests.browser import Browser
    from tests.editors.colors import ColorBackbone

settings.register_profile("default", max_examples=25, deadline=None, derandomize=True)
settings.register_profile("nightly", max_examples=200, deadline=None, derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Millions of objects of libraries and tests are made while tests are collected, and all of them stay.

    Looking for garbage among them, then and at every test, would be a fifth of the time of all tests.
    """
    gc.disable()
    result = yield
    gc.freeze()
    gc.enable()
    collect_garbage_less_often()
    return result


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """One tab for all tests of a module."""
    from tests.browser import NONE_WANTED, open_browser

    if os.environ.get(NONE_WANTED):
        pytest.skip(f"{NONE_WANTED} is set")
    with open_browser() as started:
        yield started


@pytest.fixture(scope="session")
def random_state() -> Any:
    """PyTorch's global random state before the first test."""
    import torch

    return torch.random.get_rng_state()


@pytest.fixture(autouse=True)
def no_global_random_numbers(random_state: Any) -> Iterator[None]:
    """A test that draws from the global random state depends on the tests before it."""
    import torch

    yield
    if not torch.equal(torch.random.get_rng_state(), random_state):
        torch.random.set_rng_state(random_state)
        pytest.fail("drew from PyTorch's global random state. Use latentedit.core.rng: seeded, draw or stream")


@pytest.fixture(autouse=True)
def no_data_of_a_user(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the person who runs the tests has calibrated is not looked at, and nothing is kept there."""
    monkeypatch.setenv("LATENTEDIT_DATA", str(tmp_path_factory.getbasetemp() / "data"))


@pytest.fixture
def read_only_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that the system refuses to write to; for the superuser, whom no mode stops, one of the kernel's."""
    if os.geteuid() == 0:
        yield Path("/proc/self")
        return
    folder = tmp_path / "read-only"
    folder.mkdir()
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some bytes of an image are written to a file, and then the disk is full."""
    save, temporary = Image.Image.save, images.atomic_file

    class Full:
        def __init__(self, file: BinaryIO) -> None:
            self.file = file

        def write(self, content: bytes) -> int:
            self.file.write(content[:4])
            raise OSError(28, "No space left on device")

    def write(image: Image.Image, file: BinaryIO, **options: Any) -> None:
        save(image, file if isinstance(file, io.BytesIO | Full) else Full(file), **options)

    @contextlib.contextmanager
    def written(path: Path) -> Iterator[Full]:
        with temporary(path) as file:
            yield Full(file)

    monkeypatch.setattr(Image.Image, "save", write)
    monkeypatch.setattr(images, "atomic_file", written)


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers of a run begin as copies of this process, which have everything imported."""
    forking = SimpleNamespace(get_context=lambda _: multiprocessing.get_context("fork"))
    monkeypatch.setattr("latentedit.batch.executors.multiprocessing", forking)
    monkeypatch.setattr("latentedit.batch.executors.PAUSE_S", 0.02)


@pytest.fixture
def requested_rows(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], list[int]]:
    """Given a model, a list that grows by the number of rows of each call of its network from then on."""

    def watch(backbone: Any) -> list[int]:
        rows: list[int] = []
        network = backbone._velocity

        def watched(z: Any, s: Any, condition: Any) -> Any:
            rows.append(len(z))
            return network(z, s, condition)

        monkeypatch.setattr(backbone, "_velocity", watched)
        return rows

    return watch


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Adds entry points, as an installed package would: ``register("captioners", mine="package.module:Mine")``."""
    added, real = list[importlib.metadata.EntryPoint](), importlib.metadata.entry_points

    def entry_points(**wanted: str) -> importlib.metadata.EntryPoints:
        return importlib.metadata.EntryPoints([*real(**wanted), *(one for one in added if one.matches(**wanted))])

    def add(kind: str, **values: str) -> None:
        added.extend(importlib.metadata.EntryPoint(name, values[name], f"latentedit.{kind}") for name in values)
        # Another function each time, since what was found before is cached by it.
        monkeypatch.setattr(importlib.metadata, "entry_points", functools.partial(entry_points))

    return add


@pytest.fixture
def colors(register: Callable[..., None]) -> "ColorBackbone":
    """The color model, whose reader is found through an entry point as an installed one would be.

    Imported here: the process that hands out the tests reads this file too, and needs no torch.
    """
    from tests.editors.colors import ColorBackbone

    register("captioners", colors="tests.editors.colors:ColorReader")
    model = ColorBackbone()
    model.defaults = {"captioner": "colors", "editors": {"eim": {"search": {"steps": 24}}, "sdedit": {"level": 0.5}}}
    return model
