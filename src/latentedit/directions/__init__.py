"""What to move along: found by text or by geometry, put together, carried over, and kept in files."""

from typing import TYPE_CHECKING

from latentedit.core.lazy import exports

if TYPE_CHECKING:
    from latentedit.directions.base import Calibration, Direction
    from latentedit.directions.composition import compose, cross_talk
    from latentedit.directions.description import describe
    from latentedit.directions.hsds import HSDS
    from latentedit.directions.identification import identify
    from latentedit.directions.local_basis import LocalBasis
    from latentedit.directions.text import text_direction
    from latentedit.directions.transfer import transferred

__all__ = [
    "HSDS",
    "Calibration",
    "Direction",
    "LocalBasis",
    "compose",
    "cross_talk",
    "describe",
    "identify",
    "text_direction",
    "transferred",
]

__getattr__, __dir__ = exports(
    __name__,
    {
        "Calibration": "latentedit.directions.base",
        "Direction": "latentedit.directions.base",
        "HSDS": "latentedit.directions.hsds",
        "LocalBasis": "latentedit.directions.local_basis",
        "compose": "latentedit.directions.composition",
        "cross_talk": "latentedit.directions.composition",
        "describe": "latentedit.directions.description",
        "identify": "latentedit.directions.identification",
        "text_direction": "latentedit.directions.text",
        "transferred": "latentedit.directions.transfer",
    },
)
