"""Files of results: images that contain record and original, and JSON files next to them with the measurements."""

import contextlib
import json
import secrets
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from latentedit.core.errors import FileFormatError, OutputError
from latentedit.core.files import check_no_input, check_place, plain, read_json, user_path, write_text
from latentedit.encoding.images import SourceImage
from latentedit.encoding.record import RunRecord
from latentedit.photo.provenance import marked
from latentedit.photo.saving import MAX_RECORD_BYTES, read_chunks
from latentedit.viewer.page import is_page

_MAX_JSON_BYTES = 4 * MAX_RECORD_BYTES
"""Largest JSON file that is read: a record, and what was measured at each strength."""

OutputFile = tuple[Path, Callable[[Path], object]]  # a file, and what writes it


def json_path(path: str | Path) -> Path:
    """The JSON file of an image: ``NAME.json``, or ``NAME.ENDING.json`` where that belongs to another image."""
    path = user_path(path, error=OutputError)
    usual, own = (path.parent / f"{name}.json" for name in (path.stem, path.name))
    if _owner(own) == path.name:
        return own
    owner = _owner(usual)
    taken = owner not in (None, path.name) and owner in {file.name for file in path.parent.iterdir()}
    return own if taken else usual


def check_json_path(path: str | Path) -> None:
    """Raise an OutputError where the JSON file of an image cannot be written, or belongs to another program."""
    file = json_path(path)
    check_place(file)
    if file.exists() and _read_own_json(file) is None:
        raise OutputError(
            f"the record would replace {file}, which latentedit did not write. Choose another name with -o"
        )


def read_record(path: str | Path) -> RunRecord:
    """The record in an image, or in the JSON file next to it.

    Raises:
        ImageError: not an image.
        FileFormatError: no record, a damaged one, or one of another format.
    """
    text = None if is_page(path) else read_chunks(path)[0]
    if text is not None:
        return RunRecord.from_json(text, str(path))
    file = json_path(path)
    if not file.is_file():
        raise FileFormatError(
            f"{path} contains no record, and there is no {file.name} next to it. Give an image that latentedit wrote"
        )
    content = _read_own_json(file)
    if content is None:
        raise FileFormatError(f"there is no record in {file}. Edit the image again")
    return RunRecord.from_json(json.dumps(content["record"]), str(file))


def declaring(image: Image.Image, source: Image.Image | None = None) -> Image.Image:
    """The image with XMP that declares a part made by AI; itself if it equals the source."""
    if source is not None and same_image(image, source):
        return image
    made = image.copy()
    made.info["xmp"] = marked(image.info.get("xmp"))
    return made


def same_image(first: Image.Image, second: Image.Image) -> bool:
    """Equal pixels, size and mode."""
    return first.mode == second.mode and first.size == second.size and first.tobytes() == second.tobytes()


def json_file(path: str | Path, record: RunRecord, results: Sequence[Mapping[str, Any]]) -> OutputFile:
    """The JSON file of an image: its record, and what was measured at each strength."""
    check_json_path(path)
    content = plain({"file": Path(path).name, "record": record, "results": results})
    text = json.dumps(content, ensure_ascii=False, indent=1)
    return json_path(path), lambda file: write_text(file, text)


def write_together(files: Sequence[OutputFile], *, inputs: Sequence[SourceImage] = ()) -> None:
    """Write every file under a hidden name, then rename all: earlier files stay until all new ones are complete.

    A file of one of the ``inputs`` is not replaced; that is an `OutputError`.
    """
    paths = [user_path(path, error=OutputError) for path, _ in files]
    if len({path.resolve() for path in paths}) < len(paths):
        raise OutputError(f"several files of a result have the same name; got {', '.join(map(str, paths))}. Rename one")
    for path in paths:
        check_place(path)
        check_no_input(path, (one.path for one in inputs))
    hidden = [path.with_name(f".{secrets.token_hex(8)}{path.suffix}") for path in paths]
    try:
        for (_, write), path, temporary in zip(files, paths, hidden, strict=True):
            try:
                with warnings.catch_warnings(record=True, action="always") as reported:
                    write(temporary)
            except OutputError as error:  # it names the hidden file
                text = str(error).replace(str(temporary), str(path)).replace(temporary.name, path.name)
                raise OutputError(text) from error
            for one in reported:  # and so do these
                warnings.warn(str(one.message).replace(temporary.name, path.name), one.category, stacklevel=2)
        for path, temporary in zip(paths, hidden, strict=True):
            temporary.replace(path)
    finally:
        for temporary in hidden:
            with contextlib.suppress(OSError):  # it was renamed, or never written
                temporary.unlink()


def _owner(path: Path) -> str | None:
    """The image that a JSON file of ours belongs to, also after both were renamed; None for other files."""
    content = _read_own_json(path) if path.is_file() else None
    if content is None or not isinstance(name := content.get("file"), str):
        return None
    ending = Path(name).suffix
    return path.stem if path.stem.endswith(ending) else f"{path.stem}{ending}"


def _read_own_json(path: Path) -> dict[str, Any] | None:
    """The content of a JSON file of ours; None for other and for damaged files."""
    try:
        content = read_json(path, limit=_MAX_JSON_BYTES)
    except FileFormatError:
        return None
    match content:
        case {"record": {"versions": {"latentedit": str()}}}:
            return content
        case _:
            return None
