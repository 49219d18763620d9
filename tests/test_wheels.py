"""The wheels of ``make wheels``: small enough for the index, and installed without our other packages."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from latentedit_portraits.attributes import draw_split
from latentedit_portraits.render import render

DIST = Path(__file__).parent.parent / "dist"
LARGEST_BYTES = 90_000_000
NAMES = ["latentedit", *(f"latentedit_{name}" for name in ("keep", "portraits", "scenes", "models", "bench"))]

pytestmark = [pytest.mark.nightly, pytest.mark.skipif(not DIST.is_dir(), reason="no wheels; make wheels builds them")]

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with links to all installed packages except ours."""
    folder = tmp_path_factory.mktemp("others")
    for place in map(Path, sys.path):
        if place.name in ("site-packages", "dist-packages") and place.is_dir():
            for entry in place.iterdir():
                link = folder / entry.name
                if "latentedit" not in entry.name and entry.suffix != ".pth" and not link.exists():
                    link.symlink_to(entry)
    return folder


@pytest.fixture
def installed(others: Path, tmp_path: Path) -> Callable[..., Run]:
    """Install some of the wheels in a temporary folder, and return the command line of that folder."""

    def install(*names: str) -> Run:
        target = tmp_path / "target"
        wheels = [str(next(DIST.glob(f"{name}-[0-9]*.whl"))) for name in names]
        options = ["--quiet", "--no-deps", "--no-index", "--disable-pip-version-check", "--target", str(target)]
        subprocess.run([sys.executable, "-m", "pip", "install", *options, *wheels], check=True)
        where = os.environ | {"PYTHONPATH": os.pathsep.join((str(target), str(others)))}

        def run(*arguments: object) -> subprocess.CompletedProcess[str]:
            # -S: without the site-packages of the environment and its editable installations
            program = [sys.executable, "-S", "-m", "latentedit_keep.main", *map(str, arguments)]
            return subprocess.run(program, capture_output=True, text=True, env=where, check=False, cwd=tmp_path)

        return run

    return install


@pytest.fixture
def image(tmp_path: Path) -> Path:
    render(next(one for one in draw_split("test", 50, 3) if one.accessory == "none")).save(tmp_path / "me.png")
    return tmp_path / "me.png"


def test_the_six_wheels_are_small_enough_for_the_index() -> None:
    sizes = {path.name.split("-")[0]: path.stat().st_size for path in DIST.glob("*.whl")}
    assert set(sizes) == set(NAMES)
    assert max(sizes.values()) < LARGEST_BYTES


def test_keep_alone_works_and_names_the_package_that_edits(installed: Callable[..., Run], image: Path) -> None:
    run = installed("latentedit_keep")
    kept = run("keep", image, image, "-o", "kept.png")
    assert kept.returncode == 0, kept.stderr
    assert "identical" in kept.stdout
    refused = run("edit", image)
    assert refused.returncode == 2
    assert "latentedit --help" in refused.stderr


def test_the_library_alone_names_missing_packages(installed: Callable[..., Run], image: Path) -> None:
    run = installed("latentedit_keep", "latentedit")
    assert run("--version").returncode == 0
    assert "pip install ./packages/portraits" in run("models", "list").stdout
    for arguments, text in (
        (("bench", "run"), "pip install ./packages/bench"),
        (("edit", image, "--change", "=> glasses"), "pip install ./packages/portraits"),
        (("edit", image, "--prompt", "a hat", "--model", "portraits-unet"), "pip install ./packages/models"),
    ):
        refused = run(*arguments)
        assert refused.returncode == 2
        assert text in refused.stderr
        assert refused.stderr.count("\n") == 2


def test_the_library_and_the_portraits_edit_an_image(installed: Callable[..., Run], image: Path) -> None:
    run = installed("latentedit_keep", "latentedit", "latentedit_portraits")
    edited = run("edit", image, "--change", "=> glasses", "-o", "edited.png")
    assert edited.returncode == 0, edited.stderr
    assert "accessory none -> glasses" in edited.stdout
    assert (image.parent / "edited.png").is_file()
    assert "./packages/bench" in run("reproduce").stderr


def test_all_six_wheels_together(installed: Callable[..., Run]) -> None:
    run = installed(*NAMES)
    assert "portraits-unet" in run("models", "list").stdout
    assert run("bench", "methods").returncode == 0
