"""``latentedit.json``: the settings that a model folder recommends, checked by type and range."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import pydantic
from pydantic import Field

from latentedit.core.errors import ModelError
from latentedit.models.weights import read_json
from latentedit_keep.files import write_text

SETTINGS_FILE = "latentedit.json"

Table = Mapping[str, Any]


class _Settings(pydantic.BaseModel):
    """The keys that the library reads; other keys are allowed."""

    model_config = pydantic.ConfigDict(strict=True, extra="allow", allow_inf_nan=False)

    description: str = ""
    knows: str = ""
    captioner: str | None = None
    framer: str | None = None
    sizes: Annotated[Sequence[Annotated[int, Field(ge=1, le=16_384)]], Field(min_length=3, max_length=3)] = (1, 1, 1)
    guidance: Annotated[float, Field(ge=-100, le=100)] = 1.0
    zero_tokens: Annotated[int, Field(ge=0, le=4096)] = 0
    window: Annotated[int, Field(ge=1, le=4096)] = 512
    vocabulary: Sequence[str] | None = None
    editors: Mapping[str, Table] = {}
    judge: Table = {}
    transfer: Table = {}
    benchmark: Table = {}
    quality: Table = {}
    training_seconds: Table = {}
    fingerprint: str | None = None


def check_settings(settings: Mapping[str, Any], source: object) -> dict[str, Any]:
    """A copy of the settings of a source (a file or a model), after each known one was checked."""
    try:
        _Settings.model_validate(dict(settings))
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        name, why = ".".join(map(str, first["loc"])), first["msg"]
        raise ModelError(
            f"the settings of {source} are invalid, {name!r}: {why[:1].lower()}{why[1:]}. Correct or remove it"
        ) from error
    return dict(settings)


def read_settings(folder: Path) -> dict[str, Any]:
    """The settings of a model folder; empty without a ``latentedit.json``."""
    file = folder / SETTINGS_FILE
    return check_settings(read_json(file), file) if file.is_file() else {}


def write_settings(folder: Path, change: Mapping[str, object]) -> None:
    """Change some keys of the folder's ``latentedit.json`` and keep the others; see `change_json`."""
    change_json(folder / SETTINGS_FILE, change)


def change_json(path: Path, change: Mapping[str, object]) -> None:
    """Change some keys of a JSON file, or create it; atomic."""
    stored = read_json(path) if path.exists() else {}
    write_text(path, json.dumps(stored | dict(change), indent=1) + "\n")
