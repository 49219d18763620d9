"""The request for an edit: the one list of options of the command line, Python, folder runs and the page."""

import contextlib
import dataclasses
import functools
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast, get_args

from typing_extensions import TypedDict

from latentedit.core.errors import ConfigError, LatentEditError, explaining, listed, suggestion_for
from latentedit.core.files import Encoded
from latentedit.core.other_words import advice_on
from latentedit.core.plugins import CAPTIONERS, EDITORS
from latentedit.core.recipe import Recipe, descriptions, option
from latentedit.core.setting import Combine, check_value
from latentedit.core.strengths import read_strength
from latentedit.encoding.captions.change import Change, quoted

# Nothing heavy is imported here, so that an invalid request is refused at once.
if TYPE_CHECKING:
    from latentedit.editors.base import Editor
    from latentedit.encoding.captions.base import Captioner
    from latentedit.encoding.encode import ChangeLike, ImageLike
    from latentedit.encoding.images import MaskLike
    from latentedit.identification.direction import Direction
    from latentedit.models.base import Backbone

F = TypeVar("F", bound=Callable[..., Any])
# Arguments of diffusers' pipelines by their names here, and what to do instead of those that have none.
_RENAMED = {
    "mask_image": "mask",
    "generator": "seed",
    "target_prompt": "prompt",
    "image_guidance_scale": "image_guidance",
}


class IdentifyOptions(TypedDict, total=False, extra_items=Any):
    """What to change: fields of `EditRequest`, tuples as one value or any sequence.

    `prompt` is positional.
    """

    change: "ChangeLike | Sequence[ChangeLike] | None"
    add: "str | Sequence[str] | None"
    remove: "str | Sequence[str] | None"
    instruction: "str | Sequence[str] | None"
    seed: int


class MoveOptions(TypedDict, total=False, extra_items=Any):
    """How a latent is moved.

    A field of `Recipe` that is missing here is accepted, and has no type for type checkers.
    """

    strength: "float | Sequence[float]"
    method: "str | Editor | None"
    combine: Combine
    auto_mask: bool | None
    refine: bool | None
    verdict: bool
    subtract_residual: float
    image_guidance: float


class SessionOptions(IdentifyOptions, MoveOptions, total=False, extra_items=Any):
    """Options of an edit of latents."""


class EditOptions(SessionOptions, total=False, extra_items=Any):
    """Options of an edit of images: the same, a direction to follow, and those of encoding."""

    direction: "Direction | str | Path | Sequence[Direction | str | Path] | None"
    source_prompt: "str | Sequence[str] | None"
    captioner: "str | Captioner | None"
    references: "ImageLike | Sequence[ImageLike]"
    mask: "MaskLike | None"
    force: bool
    complete: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EditRequest(Recipe):
    """An edit of any number of images: how, and what for; checked when it is created.

    Texts are one for all images, or one per image. A new field becomes an option of the commands that edit, an argument
    of `edit`, and a part of the plan of folder runs; `editing.verbs.edit_images` performs the edit.

    Args:
        prompt: Target caption: a complete description of the edited image.
        change: Replace words of the caption: "OLD => NEW".
        add: Add something: "glasses" is "=> glasses".
        remove: Remove something: "glasses" is "glasses =>".
        instruction: What to do, for instruction-tuned models; with `captioner`, a chat model writes both captions.
        references: With `instruction`: an additional reference image.
        direction: Instead of `prompt` and `change`: a direction file.
        strength: 0 is the original image, 1 the full change. One for all, or one for each `change`, `add`, `remove` or
            `instruction`. Default: 1.
        mask: Mask image of the same size: white where the image may change.
        seed: Random seed, for reproducible runs.
        force: Edit out-of-distribution images, with a warning.
        source_prompt: Source caption. Default: written by the model's captioner.
        captioner: A name, openai:MODEL, a folder or a hub id. Default: the model's own.
        complete: Complete partial captions from the image. Default: yes.
        verdict: Judge how much of the change was made, with 6 to 16 evaluations. Default: yes.

    Raises:
        ConfigError: two of ``prompt``, ``change``, ``instruction`` and ``direction``, a source prompt with an
            instruction, an empty text, a strength that is not a finite number, a wrong number of strengths, or
            something that the editor cannot do: only `eim` takes directions, ``combine`` and several strengths, and it
            is then the default.
        RegistryError: an unknown editor.
    """

    prompt: str | tuple[str, ...] | None = option(None, method=False)
    change: tuple[str | Change, ...] = option((), str, method=False)
    add: tuple[str, ...] = option((), method=False)
    remove: tuple[str, ...] = option((), method=False)
    instruction: tuple[str, ...] = option((), method=False)
    references: "tuple[ImageLike, ...]" = option((), Path, "--reference", method=False)
    direction: "tuple[Direction | Path, ...]" = option((), Path, method=False)
    strength: tuple[float, ...] = option((1.0,), method=False, unless=())
    mask: "MaskLike | None" = option(None, Path, method=False)
    seed: int = option(0)
    force: bool = option(True, flag="--force", unless=False)
    source_prompt: str | tuple[str, ...] | None = option(None, method=False)
    captioner: "str | Captioner | None" = option(None, str, words=CAPTIONERS.complete)
    complete: bool = True
    verdict: bool = option(True)

    def __post_init__(self) -> None:
        Recipe.__post_init__(self)  # `super()` knows no class with slots
        for one in cast("tuple[Any, ...]", (*self.change, *self.add, *self.remove)):
            if not isinstance(one, str | Change):
                raise ConfigError(
                    f"a change is a text; got {one!r:.80}. Give 'no glasses => glasses', or add='glasses'"
                )
        given = [*self.change, *(f"=> {words}" for words in self.add), *(f"{words} =>" for words in self.remove)]
        set_field = functools.partial(object.__setattr__, self)
        set_field(
            "change", tuple(one if isinstance(one, Change) else Change.parse(_utf8("`change`", one)) for one in given)
        )
        set_field("add", ())
        set_field("remove", ())
        set_field("direction", tuple(Path(one) if isinstance(one, str) else one for one in self.direction))
        if others := [one for one in self.direction if not isinstance(one, Path) and not hasattr(one, "check_model")]:
            got = type(others[0]).__name__
            raise ConfigError(
                f"`direction` is a direction or its file; got {got}. Give one of latentedit.identify, or "
                "`.carried.direction` of a transport"
            )
        targets = [f"`{name}`" for name in ("prompt", "change", "instruction", "direction") if getattr(self, name)]
        if len(targets) > 1:
            raise ConfigError(f"{' and '.join(targets)} exclude each other. Give one of them")
        if self.instruction and self.source_prompt is not None:
            raise ConfigError(
                "`instruction` cannot be combined with `source_prompt`: an instruction-tuned model needs no caption, "
                "and a `captioner` writes it. Leave it out"
            )
        if self.image_guidance != 1 and (self.change or self.prompt is not None):
            raise ConfigError(
                f"`image_guidance` is for an `instruction`, with which the model sees the image; got "
                f"{self.image_guidance:g} with a caption. Leave it out"
            )
        texts = {"`prompt`": self.prompt, "`source_prompt`": self.source_prompt, "`instruction`": self.instruction}
        check_texts(texts)
        if changes := [text for text in _as_tuple(self.prompt) if "=>" in text]:
            raise ConfigError(f"`prompt` is a whole caption; got the change {changes[0]!r}. Give it as `change`")
        if self.prompt is not None and self.prompt == self.source_prompt:
            raise ConfigError("`prompt` and `source_prompt` are the same, so nothing would change. Change the `prompt`")
        count = max(1, len(self.change), len(self.instruction), len(self.direction))
        set_field("strength", tuple(map(read_strength, self.strength)))
        if len(self.strength) not in (1, count):
            each = "one number" if count == 1 else f"one number, or one for each of {count} changes"
            raise ConfigError(
                f"`strength` must be {each}; got {len(self.strength)}. For one result per strength, call `sweep` with "
                "`strengths`"
            )
        check_value(int, seed=self.seed)
        if isinstance(self.method, str) and self.method not in EDITORS.points():
            raise EDITORS.unknown(self.method)
        self._use_eim_where_needed()

    def _use_eim_where_needed(self) -> None:
        """Choose `eim` for what only it can do; raise a ConfigError where another editor was chosen."""
        for_eim = {
            "move along a `direction`": bool(self.direction),
            "combine directions (`combine`)": self.combine != "sum",
            "give each change a `strength` of its own": len(set(self.strength)) > 1,
            "set `arm`": "arm" in self.settings,
        }
        needs = [need for need, given in for_eim.items() if given]
        if needs and self.method is None:
            object.__setattr__(self, "method", "eim")
        elif needs and self.method is not None:
            from latentedit.editors.base import check_moves_along, kind_of  # noqa: PLC0415  # heavy

            check_moves_along(kind_of(self.method), " or ".join(needs))

    @classmethod
    def of(cls, *, settings: Mapping[str, Any] | None = None, **fields: Any) -> Self:
        """A request whose tuples may be given as one value or any sequence; other names are settings of the editor."""
        known = {field.name: field for field in dataclasses.fields(cls)}
        others = {name: value for name, value in fields.items() if name not in known and value is not None}
        fields = {name: value for name, value in fields.items() if name in known and (name, value) != ("seed", None)}
        for name, value in fields.items():
            several = name in ("prompt", "source_prompt") and not isinstance(value, str | None)
            if several or isinstance(known[name].default, tuple):
                fields[name] = _as_tuple(value)
        return cls(settings={**(settings or {}), **others}, **fields)

    def targets(self, *, each: bool) -> list[dict[str, Any]]:
        """Arguments of `target_texts`: of ``each`` change or instruction, or of the whole."""
        if each and self.several:
            name, changes = ("change", self.change) if self.change else ("instruction", self.instruction)
            return [{name: change} for change in changes]
        return [{"to": self.prompt, "change": self.change or None, "instruction": self.instruction or None}]

    @property
    def several(self) -> bool:
        """More than one change or instruction; `eim` finds one direction for each."""
        return len(self.change) > 1 or len(self.instruction) > 1

    @property
    def instructed(self) -> bool:
        """Whether the model gets the images as references: for instructions, or for directions found with those."""
        described = self.source_prompt is not None or self.captioner is not None
        return bool(self.instruction and self.captioner is None) or (
            not described and any(direction.instructed for direction in self.loaded)
        )

    @property
    def loaded(self) -> "list[Direction]":
        """The directions that are not files; see `verbs.read_directions`."""
        return [direction for direction in self.direction if not isinstance(direction, Path)]

    def check_target(self, model: "Backbone | None" = None) -> None:
        """Raise a ConfigError without a prompt, change, instruction or direction; and for texts that a model lacks."""
        if self.prompt is None and not self.change and not self.instruction and not self.direction:
            raise ConfigError(
                "no edit requested. Give a `prompt`, `change`, `instruction` or `direction`, "
                'such as `change="=> glasses"`'
            )
        if model is not None and not model.reads_text and not self.direction:
            raise ConfigError(f"{model.name} takes no text. Give a `direction`, such as one of latentedit.discover")

    def check_described(self, model: "Backbone") -> None:
        """Raise a ConfigError for a caption or a change to a model of instructions that has no caption of the image."""
        from latentedit.encoding.encode import captioner_for  # noqa: PLC0415  # heavy

        words = [*_as_tuple(self.prompt), *(cast("Change", change).words for change in self.change)]
        undescribed = self.source_prompt is None and self.captioner is None and captioner_for(model) is None
        if words and model.capabilities.references and undescribed:
            raise ConfigError(
                f"{model.name} takes instructions, and there is no caption of the image. "
                f"Give `instruction={quoted(words[0])}`, or the caption of the image as `source_prompt`"
            )


def takes_options(function: F) -> F:
    """Show the options that a function takes as ``**options`` in its signature and docstring; check names at once."""
    signature = inspect.signature(function)
    named = {name: one for name, one in signature.parameters.items() if one.kind is not one.VAR_KEYWORD}
    options = get_args(list(signature.parameters.values())[-1].annotation)[0].__annotations__
    types = {name: getattr(one, "__forward_arg__", one) for name, one in options.items()}
    if "strength" in types:  # an edit: also what type checkers are not told about
        types = {field.name: field.type for field in dataclasses.fields(Recipe) if field.name != "settings"} | types
    fields = [field for field in dataclasses.fields(EditRequest) if field.name in types]
    more = [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=types[field.name]
        )
        for field in fields
        if field.name not in named
    ]
    settings = inspect.Parameter("settings", inspect.Parameter.VAR_KEYWORD, annotation=Any)

    accepted = [*named, *types]
    described: Any = explaining(function, lambda given: check_names(function.__name__, given, accepted))
    described.__signature__ = signature.replace(parameters=[*named.values(), *more, settings])
    texts = [f"    {name}: {text}" for name, text in descriptions(EditRequest).items() if name in types]
    described.__doc__ = "\n".join([inspect.cleandoc(function.__doc__ or ""), "", "Options:", *texts])
    return described


def check_names(
    function: str, given: Mapping[str, Any], accepted: Collection[str], *, with_settings: bool = True
) -> dict[str, Any]:
    """Translate argument names of diffusers to ours; raise a `ConfigError` for unknown or repeated arguments.

    Args:
        function: the verb that was called, for messages.
        given: its keyword arguments.
        accepted: the names that it takes, besides the settings of its method.
        with_settings: whether it takes settings at all.
    """
    arguments = _rename_arguments(function, given)
    setting = setting_names(arguments.get("method")) if with_settings and arguments.keys() - accepted else set[str]()
    known = [*accepted, *setting]
    for name in sorted(arguments.keys() - set(known)):
        if arguments[name] is None and advice_on(name):
            # Code for a pipeline of diffusers passes None for the arguments that it does not use.
            del arguments[name]
        else:
            raise _unknown_argument_error(function, name, known, accepted, with_settings=with_settings)
    return arguments


def _rename_arguments(function: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments by our names; a `ConfigError` if two of them are one argument."""
    arguments = dict[str, Any]()
    original_names = dict[str, str]()
    for name, value in given.items():
        if name == "generator" and value is None:
            continue
        new_name = _RENAMED.get(name, name)
        if new_name in arguments:
            names = f"{original_names[new_name]}, {name}"
            raise ConfigError(f"`{function}` got the same argument twice: {names}. Leave one out")
        arguments[new_name] = _seed(value) if name == "generator" else value
        original_names[new_name] = name
    return arguments


def _unknown_argument_error(
    function: str, name: str, known: Collection[str], accepted: Collection[str], *, with_settings: bool
) -> ConfigError:
    """Return the error for an argument that a verb does not take, with what to type instead."""
    methods = _methods_with(name) if with_settings and not advice_on(name) else ""
    if methods:
        hint = f". {methods}."
    else:
        hint = suggestion_for(name, dict.fromkeys([*known, *_RENAMED]), shown=accepted)
        if not hint.endswith("?"):
            hint += "."
    return ConfigError(f"`{function}` has no argument {name!r}{hint} See help(latentedit.{function})")


def _methods_with(name: str) -> str:
    """The methods that have a setting of this name, as a remedy; empty if none has."""
    having = list[str]()
    for method in EDITORS.points():
        with contextlib.suppress(LatentEditError):  # an editor of another package that does not load
            having += [method] if name in setting_names(method) else []
    return f"It is a setting of {listed(having)}. Give one of them as `method`, or leave it out" if having else ""


def _seed(generator: Any) -> Any:
    """The seed of a generator, or of a list with one of them; a number stays as it is."""
    if isinstance(generator, list) and len(cast("list[Any]", generator)) == 1:
        (generator,) = cast("list[Any]", generator)
    return getattr(generator, "initial_seed", lambda: generator)()


def setting_names(method: object) -> set[str]:
    """The settings of a method, by its names and those of diffusers; by default, of the two that it may be."""
    from latentedit.editors.base import FIELD_NAMES, TUNED, UNTUNED, kind_of  # noqa: PLC0415  # heavy

    methods = (TUNED, UNTUNED) if method is None else (method,)
    names = {
        field.name
        for kind in map(kind_of, methods)
        for part in kind.setting_classes()
        for field in dataclasses.fields(part)
    }
    names.add("arm")  # refused by the request, with the reason
    return names | {theirs for theirs, ours in FIELD_NAMES.items() if names & set(ours)}


def list_strengths(strengths: Any) -> list[Any]:
    """The strengths of a sweep: any sequence or array; a `ConfigError` for what is none."""
    try:
        found = [] if isinstance(strengths, str) else list(strengths)
    except TypeError:  # also of an array without dimensions
        found = []
    if not found:
        raise ConfigError(f"`strengths` is a list of numbers; got {strengths!r}. Give strengths=[0, 0.5, 1]")
    return found


def check_texts(texts: Mapping[str, str | tuple[str, ...] | None]) -> None:
    """Raise a ConfigError for an empty caption or invalid text, by the name of the parameter that gave it."""
    for name, given in texts.items():
        for text in _as_tuple(given):
            if not isinstance(text, str):
                remedy = "a direction as `direction`" if hasattr(text, "check_model") else "it after model and image"
                raise ConfigError(f"{name} is text; got {type(text).__name__}. Give {remedy}")
            if not text.strip():
                raise ConfigError(f"{name} is an empty caption. Describe the whole image")
            _utf8(name, text)


def _as_tuple(value: Any) -> tuple[Any, ...]:
    """None, a single value or a sequence as a tuple; a string or a file's content is a single value."""
    if value is None:
        return ()
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str | Encoded) else (value,)


def _utf8(name: str, text: str) -> str:
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ConfigError(f"{name} is not valid UTF-8. Check the encoding of the terminal")
    return text
