"""What ``latentedit.json`` may say: the recommendations of a model's maker, who may be anyone, checked by type."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import pydantic
from pydantic import Field

from latentedit.core.errors import ModelError

Table = Mapping[str, Any]


class _Settings(pydantic.BaseModel):
    """The keys that are read; a model's own checks and history may stand beside them."""

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


def check_settings(settings: Mapping[str, Any], where: object) -> dict[str, Any]:
    """The same settings, when each that is read is of its type and in its range.

    Args:
        settings: by name.
        where: they come from: a file, or a model's name.

    Raises:
        ModelError: the first that is not, and why.
    """
    try:
        _Settings.model_validate(dict(settings))
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        name, why = ".".join(map(str, first["loc"])), first["msg"]
        raise ModelError(
            f"the settings of {where} are unsound, {name!r}: {why[:1].lower()}{why[1:]}. Correct that one, or "
            "leave it out"
        ) from error
    return dict(settings)
