"""What a PNG carries beside its pixels: a record as text, and a payload of bytes that goes with it."""

from pathlib import Path

from PIL.PngImagePlugin import PngImageFile, PngInfo

from latentedit.core.errors import ImageError, OutputError
from latentedit.core.files.reading import opened

MAX_RECORD_BYTES = 1_000_000
"""Of a record in UTF-8. Pillow expands no compressed text beyond 1 MiB, so that a small file cannot fill the memory."""

MAX_PAYLOAD_BYTES = 64_000_000

_KEYWORD = "latentedit"
_PAYLOAD = b"leDt"
"""The case of its letters says: ancillary, private, and to be kept by programs that do not know it."""


def pack(record: str | None, payload: bytes | None) -> PngInfo:
    """The chunks for Pillow's ``pnginfo``: a compressed iTXt "latentedit" with the record, and ``leDt`` as it is.

    Args:
        record: any text, 1 MB at most; no chunk where it is None.
        payload: any bytes, 64 MB at most; no chunk where it is None.

    Raises:
        OutputError: a record or payload that is too long to be read again.
    """
    info = PngInfo()
    if record is not None:
        text = record.encode("utf-8")
        _check_length("record", len(text), MAX_RECORD_BYTES)
        info.add_itxt(_KEYWORD, text, zip=True)
    if payload is not None:
        _check_length("payload", len(payload), MAX_PAYLOAD_BYTES)
        info.add(_PAYLOAD, payload)
    return info


def read_chunks(path: str | Path) -> tuple[str | None, bytes | None]:
    """The record and the payload that `save_image` put into a PNG, each None where there is none.

    Both stand before the pixels, which are not decoded. What the file says may come from anyone.

    Args:
        path: a picture file; formats other than PNG carry neither.

    Raises:
        ImageError: no file, no picture, damaged, text that expands beyond all measure, or a payload above 64 MB.
    """
    path = Path(path)
    with opened(path) as image:
        if not isinstance(image, PngImageFile):
            return None, None
        record = image.info.get(_KEYWORD)
        payload = next((chunk[1] for chunk in image.private_chunks if chunk[0] == _PAYLOAD), None)
        if payload is not None and len(payload) > MAX_PAYLOAD_BYTES:
            raise ImageError(
                f"expected at most {MAX_PAYLOAD_BYTES} bytes in the {_PAYLOAD.decode()} chunk of {path}; "
                f"got {len(payload)}. Do not use it"
            )
        return None if record is None else str(record), payload


def _check_length(what: str, length: int, most: int) -> None:
    if length > most:
        raise OutputError(f"expected a {what} of at most {most} bytes; got {length}. Save the picture without it")
