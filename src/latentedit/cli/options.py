"""Options of models and edits that several commands share, and the groups that commands take as one value."""

import contextlib
import dataclasses
import functools
import inspect
import json
import re
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

import typer

from latentedit.core.console import Progress, echo, print_json, print_rows, progress_bar, warn, were_replaced
from latentedit.core.errors import ConfigError, FileFormatError, LatentEditWarning, nearest
from latentedit.core.files import check_exists
from latentedit.core.options import MANY, METHOD, MODEL, OUTPUT, Json, Output, Quiet, argument, mask, option, output
from latentedit.core.plugins import HUB_ID, MODELS, unknown_model
from latentedit.core.process import spare_what_is_loaded
from latentedit.core.recipe import Option, descriptions
from latentedit.core.setting import MAX_STRENGTHS
from latentedit.core.strengths import read_strength
from latentedit.editing.request import EditRequest, setting_names

__all__ = ["Json", "Output", "Quiet", "argument", "mask", "option", "output"]  # commands name them as options.Json

if TYPE_CHECKING:
    from latentedit.models.base import Backbone


def _option(field: str) -> str:
    return f"--{field.replace('_', '-')}"


_DEVICES = ("cpu", "cuda", "mps")
DTYPES = ("auto", "float32", "bfloat16", "float16", "float64")
_FIELD = re.compile("`([a-z_]+)`")  # another option, in a description


Seed = Annotated[int, option(None, "--seed", help="Random seed; runs with the same seed are reproducible.")]
Workers = Annotated[
    int | None, option(MANY, "--workers", help="Processes, each with a model. Default: one per core or GPU.")
]
Verbose = Annotated[bool, option(OUTPUT, "--verbose", help="Also print the captions, the method and the cost.")]
Ray = Annotated[str | None, option(MANY, "--ray", help="Address of a Ray cluster: HOST:PORT, or auto for a local one.")]
Settings = Annotated[
    list[str] | None,
    option(METHOD, "--set", help="Another setting, such as steps=20; see `latentedit methods NAME`. Repeatable."),
]


_FORM = "--strengths=LOW:HIGH:COUNT"
_EXAMPLES = "Try --strengths=-1:1:9, or --strengths=0,0.5,1"
_SWEPT = ("--strengths", _EXAMPLES)


def parse_strength(texts: Sequence[str] | None) -> tuple[float, ...]:
    """Read every ``--strength``; the default is 1."""
    return tuple(read_strength(text, "--strength", "Try --strength 0.7") for text in texts or ("1",))


def parse_strengths(text: str, *, least: int = 2) -> tuple[float, ...]:
    """Read ``LOW:HIGH:COUNT`` (evenly spaced, both ends included; LOW may exceed HIGH) or a list such as ``0,0.5,1``.

    Spacing is computed in exact fractions of the decimals, so that 0, 1 and 0.1 come out as typed.
    """
    if ":" not in text:
        strengths = tuple(read_strength(item, *_SWEPT) for item in text.split(","))
        _check_count(len(strengths), least)
        return strengths
    parts = text.split(":")
    if len(parts) != 3:
        raise ConfigError(f"{_FORM} has three parts; got {text!r}. {_EXAMPLES}")
    low, high = (Fraction(repr(read_strength(part, *_SWEPT))) for part in parts[:2])
    if low == high:
        raise ConfigError(f"LOW and HIGH of --strengths are the same in {text!r}. {_EXAMPLES}")
    try:
        count = int(parts[2])
    except ValueError:
        raise ConfigError(f"COUNT in {_FORM} must be a whole number; got {parts[2]!r}. {_EXAMPLES}") from None
    _check_count(count)
    return tuple(float(low + (high - low) * Fraction(index, count - 1)) for index in range(count))


def _check_count(count: int, least: int = 2) -> None:
    if not least <= count <= MAX_STRENGTHS:
        raise ConfigError(f"--strengths takes {least} to {MAX_STRENGTHS} strengths; got {count}. {_EXAMPLES}")


def _choice(words: Sequence[str] | Callable[[str], Any], *, only: bool = False) -> Any:
    """A field that is also an option, with words for completion; with ``only``, it takes no others."""
    return dataclasses.field(default=None, metadata={"words": words, "only": only})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """The model of a command; picklable. None is the default of `latentedit.load`.

    Args:
        model: A bundled model (INSTALLED), a diffusers folder or a hub id, also org/name@revision. Default: the model
            recorded in the file, otherwise portraits.
        device: cpu, cuda or mps. Default: cuda if available.
        dtype: Compute dtype: auto (chosen for the device), float32, bfloat16 or float16. Default: auto.

    Raises:
        ConfigError: an unknown value of an option, with a similar one.
    """

    model: str | None = _choice(MODELS.complete)
    device: str | None = _choice(_DEVICES)
    dtype: str | None = _choice(DTYPES, only=True)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, allowed = getattr(self, field.name), field.metadata.get("words", ())
            if field.metadata.get("only") and value is not None and value not in allowed:
                raise ConfigError(f"{_option(field.name)} has no value {value!r}: {nearest(value, allowed)}")

    @property
    def name(self) -> str:
        """The model's name, folder or hub id."""
        return "portraits" if self.model is None else self.model

    def or_else(self, other: "ModelChoice") -> "ModelChoice":
        """This choice, with defaults from another one."""
        return dataclasses.replace(self, **{**other.given(), **self.given()})

    def given(self) -> dict[str, Any]:
        """The fields that were given."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def arguments(self) -> list[str]:
        """The choice as command-line options."""
        words: list[str] = []
        for name, value in self.given().items():
            words += [_option(name), value]
        return words

    def check_name(self) -> None:
        """Raise a `LatentEditError` for what is no bundled model, nor a folder here, nor a hub id."""
        if self.model and self.model not in MODELS.points() and not HUB_ID.fullmatch(self.model):
            try:
                check_exists(Path(self.model))
            except FileFormatError:
                raise unknown_model(self.model) from None

    def load(self) -> "Backbone":
        """The model.

        Raises:
            LatentEditError: see `latentedit.load`.
        """
        from latentedit.models.registry import load

        given = {name: value for name, value in self.given().items() if name != "model"}
        model = load(self.name, **given)
        spare_what_is_loaded()
        return model


def _model_options() -> dict[str, inspect.Parameter]:
    """The option of each field of `ModelChoice`, with its description."""
    texts, found = descriptions(ModelChoice), dict[str, inspect.Parameter]()
    words = {field.name: field.metadata.get("words", ()) for field in dataclasses.fields(ModelChoice)}
    texts["model"] = texts["model"].replace("INSTALLED", ", ".join(MODELS.names()) or "none installed")
    for name, one in inspect.signature(ModelChoice).parameters.items():
        declared = option(MODEL, _option(name), words=words[name], help=texts[name])
        found[name] = one.replace(annotation=Annotated[one.annotation, declared])
    return found


_MODEL = _model_options()
Device = Annotated[str | None, option(MODEL, "--device", words=_DEVICES, help=descriptions(ModelChoice)["device"])]


def _edit_options() -> dict[str, inspect.Parameter]:
    """The option of each field of `EditRequest` that has one, with its description, and ``--set`` for all others."""
    fields = {field.name: field for field in dataclasses.fields(EditRequest) if field.metadata}
    texts = descriptions(EditRequest)
    images_first = sorted(fields, key=lambda name: fields[name].metadata["option"].method)
    names = dict.fromkeys(["change", "add", "remove", *images_first])
    found = {name: _edit_option(fields[name], texts.get(name, "")) for name in names}
    settings = inspect.Parameter("settings", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Settings)
    return {**found, "settings": settings}


def _edit_option(field: dataclasses.Field[Any], text: str) -> inspect.Parameter:
    about: Option = field.metadata["option"]
    several, flag = isinstance(field.default, tuple), about.flag or _option(field.name)
    one: Any = about.kind or next(iter(get_args(field.type)), field.type)  # bool for `bool | None`
    text = _FIELD.sub(lambda match: _option(match[1]), text)
    if field.default == ():
        text += " Repeatable."
    if one is bool and about.default is not False:
        flag += flag.replace("--", "/--no-")
    # Strengths are read by `parse_strength`, which explains what is none; every other number, by Typer.
    metavar, one = ("FLOAT", str) if several and one is float else (None, one)
    kind: Any = list[one] if several else one
    declared = option(METHOD if about.method else None, flag, words=about.words, help=text, metavar=metavar)
    kind = Annotated[kind | None if about.default is None else kind, declared]
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=about.default, annotation=kind)


def _edit_request(**given: Any) -> EditRequest:
    """The request with these options."""
    if "strength" in given:
        given["strength"] = parse_strength(given["strength"])
    settings = parse_settings(given.pop("settings", None))
    request = EditRequest.of(**given, **settings)
    names = setting_names(request.method) if request.settings else set[str]()
    for name in request.settings.keys() - names:  # before a model is loaded
        raise ConfigError(f"there is no setting {name!r}: {nearest(name, names)}")
    if request.settings and isinstance(request.method, str):
        from latentedit.editors.base import editor_class

        kind = editor_class(request.method)
        kind.from_dict(kind.renamed(request.settings, {}))
    return request


def parse_settings(texts: Sequence[str] | None) -> dict[str, Any]:
    """Read every ``--set``: values are JSON, or text."""
    found: dict[str, Any] = {}
    for text in texts or ():
        name, _, value = text.partition("=")
        if not (name := name.strip().replace("-", "_")).isidentifier() or not value:
            raise ConfigError(f"--set takes NAME=VALUE; got {text!r}. Try --set steps=20")
        if name in _EDIT:
            raise ConfigError(f"`{name}` is an option of its own. Leave out --set")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    if not isinstance(whole := found.get("complete", True), bool):
        raise ConfigError(f"--set complete is true or false; got {whole!r}. Leave it out for true")
    return found


_EDIT = _edit_options()
_WORDS = ("prompt", "change", "add", "remove", "instruction", "references", "source_prompt", "captioner")
Edit = Annotated[EditRequest, tuple(_EDIT)]
Sweep = Annotated[EditRequest, tuple(name for name in _EDIT if name != "strength")]
ChangeInWords = Annotated[EditRequest, _WORDS]
Captions = Annotated[EditRequest, ("source_prompt", "captioner")]
Captioner = Annotated[EditRequest, ("captioner",)]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How a command prints progress, warnings and its result."""

    as_json: Json = False
    quiet: Quiet = False
    warned: set[str] = dataclasses.field(default_factory=set[str], init=False)

    @contextlib.contextmanager
    def progress(self) -> Generator[Progress | None]:
        """A progress bar, unless the output is for a program; warnings are printed as they arise."""
        with warnings.catch_warnings(), progress_bar(quiet=self.quiet or self.as_json) as report:
            warnings.simplefilter("always", LatentEditWarning)
            shown = warnings.showwarning

            def show(message: Any, category: type[Warning], *place: Any) -> None:
                self.warn([str(message)]) if category is LatentEditWarning else shown(message, category, *place)

            # The module warnings passes every argument by position.
            warnings.showwarning = show  # pyrefly: ignore[bad-assignment]
            yield report

    def warn(self, notes: Sequence[str], replaced: Sequence[Path] = ()) -> None:
        """Warnings on stderr, each once, also of files that were replaced."""
        new = [note for note in dict.fromkeys([*notes, *were_replaced(replaced)]) if note not in self.warned]
        self.warned.update(new)
        warn(() if self.quiet else new)

    def result(self, facts: Mapping[str, Any], title: object, rows: Sequence[tuple[str, str]] = ()) -> None:
        """The facts as JSON, or else a title with rows."""
        if self.as_json:
            print_json(facts)
        elif not self.quiet:
            echo(title)
            print_rows(rows)


def chooses_model(command: Callable[..., Any]) -> Callable[..., Any]:
    """Replace the parameters of a command that are groups of options by these options, and build them from those."""
    signature = inspect.signature(command)
    groups: dict[str, tuple[Callable[..., Any], list[str]]] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        kind = parameter.annotation
        if kind in (ModelChoice, Report):
            build, fields = kind, _MODEL if kind is ModelChoice else dict(inspect.signature(kind).parameters)
        elif get_origin(kind) is Annotated and kind.__origin__ is EditRequest:
            build, fields = _edit_request, {name: _EDIT[name] for name in kind.__metadata__[0]}
        else:
            parameters.append(parameter.replace(kind=parameter.KEYWORD_ONLY))
            continue
        groups[parameter.name] = build, list(fields)
        parameters += fields.values()

    inputs = [
        name
        for name, one in signature.parameters.items()
        if any(isinstance(part, typer.models.ArgumentInfo) for part in getattr(one.annotation, "__metadata__", ()))
    ]

    @functools.wraps(command)
    def with_options(**given: Any) -> Any:
        for name in inputs:  # before anything heavy is imported
            if isinstance(given[name], Path):
                check_exists(given[name])
        built = {
            name: build(**{field: given.pop(field) for field in fields}) for name, (build, fields) in groups.items()
        }
        for one in built.values():
            if isinstance(one, ModelChoice):
                one.check_name()
        return command(**built, **given)

    described: Any = with_options
    described.__signature__ = signature.replace(parameters=parameters)
    return described


def refuse(why: str, given: Mapping[str, object]) -> None:
    """Raise a `ConfigError` that names the options that were given but cannot be used here."""
    named = [option for option, value in given.items() if value not in (None, (), [])]
    if named:
        raise ConfigError(f"{' and '.join(named)} cannot be used here: {why}. Leave out what does not apply")
