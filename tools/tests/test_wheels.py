"""The wheels of ``make wheels``: small enough for the index, each installed with what it requires, and run."""

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

DIST = Path(__file__).parents[2] / "dist"
LARGEST_BYTES = 90_000_000
FIRST = {  # a first command of each, and a part of what it prints
    "latentedit": (("keep", "me.png", "me.png", "-o", "kept.png"), "identical"),
    "latentedit_portraits": (("edit", "me.png", "--change", "=> glasses"), "accessory none -> glasses"),
    "latentedit_scenes": (("caption", "me.png", "--model", "scenes"), "lamp"),
    "latentedit_drawn": (("models", "list"), "portraits"),
    "latentedit_models": (("models", "list"), "portraits-unet"),
    "latentedit_bench": (("bench", "methods"), "eim"),
}

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
    """Install wheels with what they require of ours in an empty environment, and return its command ``latentedit``.

    Other packages but those in ``without`` are linked, not downloaded; pip checks that their versions suffice.
    """

    def install(*names: str, without: tuple[str, ...] = ()) -> Run:
        visible = tmp_path / "visible"
        visible.mkdir()
        for link in others.iterdir():
            if link.name not in without:
                (visible / link.name).symlink_to(link)
        home = tmp_path / "environment"
        venv.create(home, symlinks=True)
        (packages,) = home.glob("lib/python*/site-packages")
        (packages / "others.pth").write_text(f"{visible}\n")
        options = ["--quiet", "--no-index", "--disable-pip-version-check", "--find-links", str(DIST)]
        pip = [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python"), "install"]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        subprocess.run([*pip, *options, *names], check=True, env=environment)

        def run(*arguments: object) -> subprocess.CompletedProcess[str]:
            program = [str(home / "bin" / "latentedit"), *map(str, arguments)]
            return subprocess.run(program, capture_output=True, text=True, env=environment, check=False, cwd=tmp_path)

        return run

    return install


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return Path(shutil.copy(Path(__file__).parents[2] / "docs/images/me.png", tmp_path))


def test_the_six_wheels_are_small_enough_for_the_index() -> None:
    sizes = {path.name.split("-")[0]: path.stat().st_size for path in DIST.glob("*.whl")}
    assert FIRST.keys() <= sizes.keys()
    assert max(sizes.values()) < LARGEST_BYTES


@pytest.mark.parametrize("name", FIRST)
def test_each_wheel_runs_its_first_command(name: str, installed: Callable[..., Run], image: Path) -> None:
    assert image.is_file()
    arguments, text = FIRST[name]
    # This wheel is data only, and requires nothing.
    needs = ["latentedit[models]"] if name == "latentedit_models" else []
    ran = installed(name, *needs)(*arguments)
    assert ran.returncode == 0, ran.stderr
    assert text in ran.stdout


MODELS = ("torch", "diffusers", "transformers", "scipy", "jaxtyping", "safetensors")


def test_without_models_the_program_runs_and_an_edit_names_the_extra(
    installed: Callable[..., Run], image: Path
) -> None:
    run = installed("latentedit", without=MODELS)
    for arguments in (
        ("keep", image, image, "-o", "kept.png"),
        ("check", image, image),
        ("--help",),
        ("mcp", "--help"),
        ("app", "--help"),
    ):
        ran = run(*arguments)
        assert ran.returncode == 0, ran.stderr
    refused = run("edit", image, "--add", "glasses")
    assert refused.returncode == 2
    assert ".[models]" in refused.stderr


def test_the_library_without_the_portraits_names_them(installed: Callable[..., Run], image: Path) -> None:
    run = installed("latentedit[models]")
    assert run("--version").returncode == 0
    for arguments, text in (
        (("bench", "run"), "pip install ./research/bench"),
        (("edit", image, "--change", "=> glasses"), "pip install ./models/portraits"),
        (("edit", image, "--prompt", "a hat", "--model", "portraits-unet"), "pip install ./research/models"),
    ):
        refused = run(*arguments)
        assert refused.returncode == 2
        assert text in refused.stderr
        assert refused.stderr.count("\n") == 2


def test_the_page_has_its_example() -> None:
    with zipfile.ZipFile(next(DIST.glob("latentedit-*.whl"))) as wheel:
        assert {f"latentedit/page/{file}" for file in ("page.css", "example/edited.jpg")} <= set(wheel.namelist())


def test_all_six_wheels_together(installed: Callable[..., Run]) -> None:
    run = installed(*FIRST)
    assert "portraits-unet" in run("models", "list").stdout
    assert run("bench", "methods").returncode == 0
