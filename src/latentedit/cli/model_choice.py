"""Options that several commands take together, each group as one value: the model, the change, the report."""

import contextlib
import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from latentedit.cli import options
from latentedit.core.errors import ConfigError, nearest
from latentedit.editing.request import EditRequest
from latentedit_keep.console import Progress, print_json, print_rows, progress_bar, say, warn

if TYPE_CHECKING:
    from latentedit.models.base import Backbone

_VALUES = {"dtype": options.DTYPES, "placement": options.PLACEMENTS, "text_encoders": options.TEXT_ENCODERS}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """The model of a command; picklable. None is the default of `latentedit.load`.

    Raises:
        ConfigError: an unknown value of an option, with a similar one.
    """

    model: options.Model = None
    device: options.Device = None
    dtype: options.Dtype = None
    placement: options.PlacementPolicy = None
    text_encoders: options.TextEncoders = None
    revision: options.Revision = None
    lora: options.Lora = None

    def __post_init__(self) -> None:
        for name, allowed in _VALUES.items():
            value = getattr(self, name)
            if value is not None and value not in allowed:
                raise ConfigError(f"{_option(name)} has no value {value!r}: {nearest(value, allowed)}")

    @property
    def name(self) -> str:
        """The model's name, folder or hub id."""
        return "portraits" if self.model is None else self.model

    def or_else(self, other: "ModelChoice") -> "ModelChoice":
        """This choice, with defaults from another one."""
        return dataclasses.replace(self, **{**other.given(), **self.given()})

    def given(self) -> dict[str, Any]:
        """The fields that were given."""
        fields = (field.name for field in dataclasses.fields(self))
        return {name: value for name in fields if (value := getattr(self, name)) not in (None, [])}

    def arguments(self) -> list[str]:
        """The choice as command-line options."""
        return [
            word
            for name, value in self.given().items()
            for item in (value if isinstance(value, list) else [value])
            for word in (_option(name), str(item))
        ]

    def load(self) -> "Backbone":
        """The model.

        Raises:
            LatentEditError: see `latentedit.load`.
        """
        from latentedit.models.registry import load

        given = {name: value for name, value in self.given().items() if name != "model"}
        if self.lora:
            given["lora"] = [_scaled(lora) for lora in self.lora]
        return load(self.name, **given)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ChangeChoice:
    """What to change, in words, and the words that describe the image."""

    prompt: options.Prompt = None
    change: options.Changes = None
    add: options.Adds = None
    remove: options.Removes = None
    instruction: options.Instructions = None
    reference: options.References = None
    source_prompt: options.SourcePrompt = None
    captioner: options.Captioner = None

    def request(self, **fields: Any) -> EditRequest:
        """The request with these words and further fields. Changes are in the order --change, --add, --remove."""
        added = [f"=> {words}" for words in self.add or ()]
        removed = [f"{words} =>" for words in self.remove or ()]
        return EditRequest(
            prompt=None if self.prompt is None else self.prompt.strip(),
            change=(*(self.change or ()), *added, *removed),
            instruction=tuple(self.instruction or ()),
            references=tuple(self.reference or ()),
            source_prompt=self.source_prompt,
            captioner=self.captioner,
            **fields,
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EditChoice(ChangeChoice):
    """What to change, and how."""

    direction: options.Directions = None
    mask: options.Mask = None
    method: options.Method = None
    auto_mask: options.AutoMask = None
    refine: options.Refine = False
    complete: options.Complete = True
    seed: options.Seed = 0
    force: options.Force = False

    def request(self, **fields: Any) -> EditRequest:
        """The request with these words and settings, and further fields."""
        own = {
            name: getattr(self, name) for name in ("mask", "method", "auto_mask", "refine", "complete", "seed", "force")
        }
        return ChangeChoice.request(self, direction=tuple(self.direction or ()), **own, **fields)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How a command prints progress, warnings and its result."""

    as_json: options.Json = False
    quiet: options.Quiet = False

    def progress(self) -> contextlib.AbstractContextManager[Progress | None]:
        """A progress bar, unless the output is for a program."""
        return progress_bar(quiet=self.quiet or self.as_json)

    def warn(self, notes: Sequence[str]) -> None:
        """Warnings on stderr."""
        warn(() if self.quiet else notes)

    def result(self, facts: Mapping[str, Any], title: object, rows: Sequence[tuple[str, str]] = ()) -> None:
        """The facts as JSON, or else a title with rows."""
        if self.as_json:
            print_json(facts)
        elif not self.quiet:
            say(title)
            print_rows(rows)


def chooses_model(command: Callable[..., None]) -> Callable[..., None]:
    """Replace the parameters of a command that are groups of options by options, one for each field."""
    signature = inspect.signature(command)
    groups: dict[str, Any] = {}
    parameters: list[inspect.Parameter] = []
    for given in signature.parameters.values():
        parameter = given.replace(kind=given.KEYWORD_ONLY)
        if parameter.annotation not in (ModelChoice, ChangeChoice, EditChoice, Report):
            parameters.append(parameter)
            continue
        groups[parameter.name] = parameter.annotation
        parameters += [
            parameter.replace(name=field.name, default=field.default, annotation=field.type)
            for field in dataclasses.fields(parameter.annotation)
        ]

    @functools.wraps(command)
    def with_options(**given: Any) -> None:
        chosen = {
            name: kind(**{field.name: given.pop(field.name) for field in dataclasses.fields(kind)})
            for name, kind in groups.items()
        }
        command(**chosen, **given)

    described: Any = with_options
    described.__signature__ = signature.replace(parameters=parameters)
    return described


def _scaled(lora: str) -> tuple[str, float]:
    """File and scale of ``FILE:SCALE``; the default scale is 1."""
    file, _, scale = lora.rpartition(":")
    try:
        return (file, float(scale)) if file else (lora, 1.0)
    except ValueError:
        return lora, 1.0


def _option(field: str) -> str:
    return f"--{field.replace('_', '-')}"
