"""Importing the package is light, and its public names are where they are said to be."""

import importlib.metadata
import re
import subprocess
import sys

import pytest

import latentedit


def test_import_loads_nothing_heavy() -> None:
    code = (
        "import sys, latentedit\n"
        "latentedit.__version__, dir(latentedit)\n"
        "print(sorted({'torch', 'diffusers', 'transformers', 'numpy', 'pytest', 'typer'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_version_is_the_installed_one() -> None:
    assert latentedit.__version__ == importlib.metadata.version("latentedit")
    assert re.fullmatch(r"\d+\.\d+\.\d+", latentedit.__version__)


@pytest.mark.parametrize("name", latentedit.__all__)
def test_public_names_exist(name: str) -> None:
    assert getattr(latentedit, name) is not None
    assert name in dir(latentedit)


def test_every_public_name_has_a_home() -> None:
    assert {*latentedit._HOME, "__version__"} == set(latentedit.__all__)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="edit"):
        latentedit.edti  # noqa: B018
