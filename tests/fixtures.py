"""Fixtures of all tests and settings of pytest; loaded as a plugin, since tests lie in several folders."""

import contextlib
import gc
import io
import itertools
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, BinaryIO

import pytest
from hypothesis import settings
from PIL import Image

from tests.installed import installed

if TYPE_CHECKING:
    from latentedit.encoding.joint import Familiarity
    from tests.browser import Browser
    from tests.editors.colors import ColorBackbone

TESTS = itertools.count()
NIGHT = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
PROBING = ("test_changes", "test_from_pipeline", "test_live_changes", "test_probe")

settings.register_profile("default", max_examples=25, deadline=None, derandomize=True)
settings.register_profile("nightly", max_examples=200, deadline=None, derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_configure(config: pytest.Config) -> None:
    """Ignore our warnings; pytest would import their module, named in pyproject.toml, before jaxtyping can check it."""
    config.addinivalue_line("filterwarnings", "ignore::latentedit.core.errors.LatentEditWarning")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Exclude the millions of objects created during collection, which stay, from garbage collection.

    Otherwise, it takes a fifth of the time of all tests.
    """
    from latentedit.core.process import collect_garbage_less_often

    gc.disable()
    result = yield
    gc.freeze()
    gc.enable()
    collect_garbage_less_often()
    return result


@pytest.fixture(scope="session", autouse=True)
def no_double_stays() -> Iterator[None]:
    """Refuse doubles that outlive their test: a module that is imported while a function is replaced keeps the double.

    So later tests fail, in this order only. Replace a method, or what the module itself looks up at the call.
    """
    yield
    ours = [(name, vars(module)) for name, module in sys.modules.items() if name.startswith("latentedit")]
    stay = [
        f"{name}.{key}"
        for name, names in ours
        for key, value in names.items()
        if str(getattr(value, "__module__", "")).startswith("tests.")
    ]
    assert not stay, stay


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """One browser tab for all tests of a module."""
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
    """Fail tests that draw from the global random state, which depends on the tests before."""
    import torch

    yield
    if not torch.equal(torch.random.get_rng_state(), random_state):
        torch.random.set_rng_state(random_state)
        pytest.fail("drew from PyTorch's global random state. Use latentedit.numerics.rng: seeded, draw or stream")


@pytest.fixture(autouse=True)
def environment(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[os._Environ[str]]":
    """The environment variables, restored after each test; the user's calibrations are in a folder of the test."""
    before = dict(os.environ)
    os.environ["LATENTEDIT_DATA"] = str(tmp_path_factory.getbasetemp() / "data" / str(next(TESTS)))
    yield os.environ
    if os.environ != before:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(autouse=True)
def no_probe(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Probe networks in nightly tests and in those of the probe: it takes a quarter of the time."""
    network = sys.modules.get("latentedit.models.network")
    if network is not None and not NIGHT and request.path.stem not in PROBING:
        monkeypatch.setattr(network, "probe_velocity", lambda *_, **__: "")


@pytest.fixture
def read_only_folder(tmp_path: Path) -> Iterator[Path]:
    """A read-only folder; for the superuser, whom no mode stops, one of the kernel."""
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
    """Writing an image fails after its first bytes because the disk is full."""
    from latentedit.photo import saving

    save, temporary = Image.Image.save, saving.atomic_file

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

    for owner, name, replacement in ((Image.Image, "save", write), (saving, "atomic_file", written)):
        monkeypatch.setattr(owner, name, replacement)


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers of a run are forked, so that they need no imports."""
    fork, parent = multiprocessing.get_context("fork"), multiprocessing.parent_process
    forking = SimpleNamespace(get_context=lambda _: fork, parent_process=parent)
    for name, value in {"multiprocessing": forking, "PAUSE_S": 0.02}.items():
        monkeypatch.setattr(f"latentedit.core.workers.{name}", value)


@pytest.fixture
def unknown_images(monkeypatch: pytest.MonkeyPatch) -> "Callable[..., Familiarity]":
    """Let every model report every image as unknown, or as the given fields of `Familiarity`, from the call on."""
    from latentedit.encoding.joint import Familiarity

    def report(**fields: Any) -> Familiarity:
        unknown = {"state": "unknown", "number": 21.5, "reason": "subject", "evaluations": 6}
        found = Familiarity(**{**unknown, "caption_fits": False, "caption_read": True, **fields})

        def check(latent: Any) -> Any:
            object.__setattr__(latent, "knowledge", latent.knowledge or (found,) * len(latent))
            return latent

        monkeypatch.setattr("latentedit.encoding.familiarity.check_familiarity", check)
        return found

    return report


@pytest.fixture
def requested_rows() -> "Iterator[Callable[[Any], list[int]]]":
    """Given a model, a list to which each call of its network adds its number of rows."""
    models: list[Any] = []

    def watch(backbone: Any) -> list[int]:
        rows: list[int] = []
        network = backbone._velocity

        def watched(z: Any, s: Any, condition: Any) -> Any:
            rows.append(len(z))
            return network(z, s, condition)

        backbone._velocity = watched
        models.append(backbone)
        return rows

    yield watch
    for backbone in models:
        vars(backbone).pop("_velocity", None)


@pytest.fixture
def register(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Path]]:
    """Installs a package with entry points: ``register("captioners", mine="package.module:Mine")``; its folder."""
    with contextlib.ExitStack() as stack:

        def add(kind: str, **values: str) -> Path:
            folder = tmp_path_factory.mktemp("installed")
            stack.enter_context(installed(folder, {f"latentedit.{kind}": values}))
            return folder

        yield add


@pytest.fixture
def colors(register: Callable[..., Path]) -> "ColorBackbone":
    """The color model, whose captioner is found through an entry point.

    It is imported here because the process that distributes the tests also reads this file, and needs no torch.
    """
    from tests.editors.colors import ColorBackbone

    model = ColorBackbone()
    model.defaults = {"captioner": "colors", "editors": {"eim": {"search": {"steps": 24}}, "sdedit": {"level": 0.5}}}
    register("captioners", colors="tests.editors.colors:ColorReader")
    return model
