"""Lists of edits: a CSV file whose first line names the columns, or a JSON or YAML file with a list of objects."""

import csv
import functools
import io
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, TypeVar

import pydantic
import yaml

from latentedit.batch.folder import faults_of
from latentedit.core import files as reading
from latentedit.core.errors import ConfigError, FileFormatError
from latentedit.photo.images import read_image

MAX_BYTES = 64_000_000  # a list of 100,000 images has about 20 MB


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("the text is empty")
    return text


def _image_file(name: object, info: pydantic.ValidationInfo) -> Path:
    """A readable image, relative to the list; each file is decoded once."""
    if not isinstance(name, str) or info.context is None:
        raise ValueError("the file name is not text")
    path: Path = info.context["folder"] / _not_blank(name)
    info.context["size"](path)
    return path


Text = Annotated[str, pydantic.AfterValidator(_not_blank)]
ImageFile = Annotated[Path, pydantic.BeforeValidator(_image_file)]


class EditRow(pydantic.BaseModel):
    """One edit of a list; unknown columns are ignored."""

    model_config = pydantic.ConfigDict(frozen=True, strict=True)

    id: Annotated[Text, pydantic.BeforeValidator(lambda value: str(value) if type(value) is int else value)]
    image: ImageFile
    source_caption: Text
    target_caption: Text
    mask: ImageFile | None = None


RowType = TypeVar("RowType", bound=EditRow)


def load_manifest(path: Path, kind: type[RowType]) -> list[RowType]:
    """The rows of a list; a `ConfigError` names everything that is wrong with it."""
    content = _read_csv(path) if path.suffix.lower() == ".csv" else read_document(path)
    content = content.get("items") if isinstance(content, dict) else content
    rows: list[Any] = content if isinstance(content, list) else []
    if not rows:
        raise ConfigError(f"{path} contains no rows. Add a row for each image")
    for number, row in enumerate(rows):
        if isinstance(row, dict):  # an empty cell counts as missing; the default id is the number of the row
            present = {key: value for key, value in row.items() if value not in (None, "")}
            rows[number] = {"id": str(number + 1)} | present
    parsed = validated(rows, list[kind], path, folder=path.parent)
    name, count = Counter(row.id for row in parsed).most_common(1)[0]
    if count > 1:
        raise ConfigError(f"{path}: {count} rows have the id {name!r}. Make the ids unique")
    return parsed


def validated(content: object, kind: Any, path: Path, *, folder: Path) -> Any:
    """The content of a file as a type, with image paths relative to a folder; each image is decoded once."""
    context = {"folder": folder, "size": functools.cache(lambda file: read_image(file).size)}
    try:
        return pydantic.TypeAdapter(kind).validate_python(content, context=context)
    except pydantic.ValidationError as error:
        raise ConfigError(f"{path}: {faults_of(error)}. Correct the file") from error


def read_document(path: Path) -> Any:
    """The content of a JSON or YAML file."""
    if path.suffix.lower() == ".json":
        return reading.read_json(path, limit=MAX_BYTES)
    text = reading.read_text(path, limit=MAX_BYTES)
    try:
        return yaml.safe_load(text)
    except Exception as error:  # PyYAML's constructors raise errors of any type
        raise FileFormatError(f"{path} is not valid YAML: {error}. Correct the file") from error


def _read_csv(path: Path) -> list[dict[str, str]]:
    text = io.StringIO(reading.read_text(path, limit=MAX_BYTES), newline="")
    rows = csv.DictReader(text, restkey="cells without a column", strict=True)
    try:
        return list(rows)
    except csv.Error as error:
        line = rows.reader.line_num
        raise FileFormatError(f"{path} is not valid CSV: {error} in line {line}. Correct the file") from error
