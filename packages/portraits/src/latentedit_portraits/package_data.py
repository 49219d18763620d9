"""The tables of this package: the grammar of captions, what is drawn, recipes of training, texts of model cards."""

import tomllib
from importlib import resources
from typing import Any


def read_table(name: str) -> dict[str, Any]:
    """The content of ``NAME.toml`` beside this file."""
    return tomllib.loads(resources.files("latentedit_portraits").joinpath(f"{name}.toml").read_text("utf-8"))
