"""The contract of an editor, which moves encoded images towards a target text; and editors by name, for a model."""

import abc
import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.console import Progress
from latentedit.core.errors import ConfigError, LatentEditError, ModelError, RegistryError
from latentedit.core.plugins import EDITORS
from latentedit.core.recipe import EditorLike, Recipe
from latentedit.core.setting import from_plain, to_plain
from latentedit.editors.edit import Edit, Latents
from latentedit.encoding.joint import JointLatent
from latentedit.identification.direction import Direction
from latentedit.models.base import Backbone
from latentedit.models.model_settings import ModelSettings
from latentedit.numerics.condition import Condition
from latentedit.numerics.rng import Seed

Kind = TypeVar("Kind")

_GUIDANCE = ("guidance", "target_guidance")
_WEIGHTS = (*_GUIDANCE, "source_guidance")  # all of classifier-free guidance
# Settings by their names in diffusers' pipelines or in FlowEdit's code, and what an editor may call them.
_ONE_NAME = {"num_inference_steps": ("steps",), "src_guidance_scale": ("source_guidance",), "n_avg": ("noises",)}
FIELD_NAMES = _ONE_NAME | dict.fromkeys(("guidance_scale", "true_cfg_scale", "tar_guidance_scale"), _GUIDANCE)
TUNED = "eim"  # the method of this library, `editors.eim`, the default of models with tuned settings
UNTUNED = "flowedit"  # the editor that `docs/methods.md` recommends for models without tuned settings


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StrengthResult:
    """A batch of images at one strength.

    Args:
        z: clean latents.
        strength: the requested one.
        limit: the strength beyond which each image is damaged; nan, or None for all, where it was not measured.
        direction: along which the images were moved; None for editors without one.
        notes: what the user should know about the direction.
    """

    z: Float[Tensor, "b *latent"]
    strength: float
    limit: Float[Tensor, " b"] | None = None
    direction: Direction | None = None
    notes: tuple[str, ...] = ()


class Editor(abc.ABC):
    """A method that moves clean latents towards a text: a frozen dataclass of its settings.

    A subclass writes `move`, the method; `edit` checks the arguments, calls `move` for each strength but 0, and
    collects the results. Settings are checked when an editor is made: one outside its range is a `ConfigError`.
    `latentedit.testing.contracts.editor.EditorContract` tests the laws.

    Laws:
        1. At strength 0 ``edit`` gives ``latent.z``, bit for bit.
        2. The same arguments and seed give the same result, whatever the global random state.
        3. An image's result depends on its own seed and not on the other images of its batch (up to the rounding of
           batched kernels).
        4. ``edit(latent, target, [strength])`` costs ``evaluations(latent, strength=strength)`` network evaluations an
           image; several strengths cost at most the sum of theirs.
        5. Where ``keeps_equal_texts``: a target equal to the source text changes nothing.
        6. ``from_dict(to_dict(editor)) == editor``.

    Example:
        One step along the difference of two velocities, at one noise level:

        >>> from typing import ClassVar
        >>> from latentedit.numerics.flow import level_batch
        >>> from latentedit.core.setting import Level, settings
        >>> @settings
        ... class OneStep(Editor):
        ...     name: ClassVar[str] = "one-step"
        ...     level: Level = 0.7
        ...
        ...     def move(self, edit):
        ...         z, s = edit.noised(self.level), level_batch(self.level, edit.x)
        ...         source, target = (edit.backbone.velocity(z, s, text) for text in edit.texts)
        ...         return edit.x - edit.strength * self.level * (target - source)
        >>> OneStep(level=0.5)
        OneStep(level=0.5)
    """

    __slots__ = ()

    name: ClassVar[str]
    """Its name in the registry, on the command line and in records."""

    localizes: ClassVar[bool] = False
    """Its change gets an automatic soft mask (`identification.locality`) unless the user says otherwise."""

    moves_along: ClassVar[bool] = False
    """It moves images along directions, as `EIM` does (`editors.moving`); a subclass says so again."""

    loses_equal_texts: ClassVar[bool] = False
    """Equal source and target texts change the image, whatever the settings."""

    steps_by_map: ClassVar[bool] = False
    """Its steps are those of the flow map, where the model is one (`Capabilities.flow_map`); else by the velocity."""

    def __init_subclass__(cls, **given: Any) -> None:
        super().__init_subclass__(**given)
        cls.moves_along = vars(cls).get("moves_along", False)

    @abc.abstractmethod
    def move(self, edit: Edit) -> Latents | StrengthResult:
        """The edited clean latents ``[b, *latent]``, or a result with notes; arguments are checked, strength is not 0.

        Raises:
            ConfigError: a strength that this editor refuses.
        """

    def cost(self, edit: Edit) -> int:
        """Network evaluations per image that `move` takes at ``edit.strength``; they do not depend on the target.

        They are counted in a rehearsal. An editor that reads the network's layers overrides this with a formula.
        """
        return rehearsed(self, edit)

    @property
    def keeps_equal_texts(self) -> bool:
        """Whether equal source and target texts change nothing, with these settings."""
        return not self.loses_equal_texts

    def localizes_on(self, backbone: Backbone) -> bool:
        """Whether its change gets an automatic mask on a model, by default."""
        return self.localizes

    def refines(self, refine: bool | None) -> bool:
        """Whether its change is refined (`editors.refinement`), as requested or by default."""
        return bool(refine)

    def follows_map(self) -> bool:
        """Whether its steps are those of the flow map, with these settings; see `steps_by_map`."""
        return self.steps_by_map

    def for_captions(self, sources: Sequence[str], targets: Sequence[str]) -> "Editor":
        """The editor for images with these captions and targets; itself, unless it reads more than conditions."""
        return self

    def evaluations(self, latent: JointLatent, *, strength: float = 1.0) -> int:
        """Network evaluations per image of an edit at one strength; 0 at strength 0, which does nothing."""
        if strength == 0:
            return 0
        return self.cost(Edit(name=self.name, latent=latent, target=latent.condition, strength=strength))

    def edit(
        self,
        latent: JointLatent,
        target: Condition,
        strengths: Sequence[float],
        *,
        seed: Seed = 0,
        progress: Progress | None = None,
    ) -> list[StrengthResult]:
        """The clean latents, edited to each strength.

        Args:
            latent: encoded images with their captions.
            target: target text, one or one per image.
            strengths: 0 is the image itself, 1 the full change; negative and larger values where the editor allows.
            seed: random seed: one, whose noise all images share, or one per image.

        Returns:
            One result per strength, in their order.

        Raises:
            ConfigError: a strength that is not a finite number, or that this editor refuses.
            ShapeError: neither one target nor one per image.

        Cost:
            ``evaluations(latent, strength=strength)`` an image and strength, less what the strengths share.
        """
        for strength in strengths:
            check_strength(strength)
        moving = tuple(float(strength) for strength in strengths if strength != 0)
        first = Edit(
            name=self.name,
            latent=latent,
            target=target.expand(len(latent)),
            strength=1.0,
            strengths=moving,
            seed=seed,
            progress=progress,
        )
        results: list[StrengthResult] = []
        for strength in map(float, strengths):
            moved = self.move(dataclasses.replace(first, strength=strength)) if strength != 0 else latent.z
            result = moved if isinstance(moved, StrengthResult) else StrengthResult(z=moved, strength=strength)
            results.append(result)
        return results

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values."""
        return to_plain(self)

    def settings_along(self) -> dict[str, Any]:
        """The settings that apply along a given direction, which has a record of its own."""
        return self.to_dict()

    @classmethod
    def setting_classes(cls) -> tuple[Any, ...]:
        """The classes whose fields are its settings."""
        return (cls,)

    @classmethod
    def renamed(cls, settings: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
        """Settings as a user names them, by the names of the fields; ``stored`` are the others."""
        return own_names(settings, cls)

    @classmethod
    def from_dict(cls: type[Kind], settings: Mapping[str, Any]) -> Kind:
        """The editor with these settings, the rest at their defaults.

        Raises:
            ConfigError: a setting that this editor does not have, with the nearest names.
        """
        return from_plain(cls, settings)


def rehearsed(editor: Editor, edit: Edit) -> int:
    """Evaluations per image of an editor's `move`, counted with one number in the place of each image.

    What an editor evaluates follows from its settings and from the levels and kind of guidance of the model, which are
    the real ones; so a text in another place and a velocity that is easy to compute spend the same.
    """
    from latentedit.models.callable import CallableBackbone  # noqa: PLC0415  # few edits rehearse

    latent, model = edit.latent, edit.backbone
    point, text = torch.ones(1, 1, 1, 1), Condition(tokens=torch.ones(1, 1, 1), pooled=torch.zeros(1, 0))
    if latent.instructed:
        weight = latent.condition.image_guidance
        text = dataclasses.replace(text, reference=(point,), image_guidance=weight)
    stand_in = CallableBackbone(
        lambda z, _, condition: 0.1 * (z + condition.tokens[..., None]),
        embed=lambda texts: text.repeat(len(texts)),
        latent_shape=lambda *_: (1, 1, 1),
        name=model.name,
        capabilities=dataclasses.replace(model.capabilities, pixels=False),
        grid=latent.path,
    )
    stand_in.defaults = model.defaults
    images = JointLatent(
        backbone=stand_in,
        z=point.repeat(len(latent), 1, 1, 1),
        condition=text.repeat(len(latent)),
        captions=latent.captions,
        levels=latent.levels,
    )
    trial = Edit(name=edit.name, latent=images, target=2 * images.condition, strength=edit.strength)
    try:
        with torch.no_grad(), stand_in.count() as spent:
            editor.move(dataclasses.replace(trial, strengths=(edit.strength,)))
    except LatentEditError:
        raise
    except Exception as error:  # editors of other packages fail in as many ways as there are networks
        raise RegistryError(
            f"the evaluations of {editor.name!r} cannot be counted on latents of one number: {error}. Write its `cost`"
        ) from error
    return spent.evaluations // len(latent)


def check_steps(steps: Sequence[StrengthResult], model: str) -> None:
    """Refuse results of the model of this name that are not finite."""
    if not all(bool(torch.isfinite(step.z).all()) for step in steps):
        raise ModelError(f"{model} gave latents that are not finite. Check its weights, or its dtype")


def clamped_notes(step: StrengthResult, index: int) -> list[str]:
    """A warning where the strength went beyond the limit of an image; nan is none."""
    limit = math.nan if step.limit is None else float(step.limit[index])
    if math.isnan(limit) or abs(step.strength) <= abs(limit):
        return []
    return [f"strength {step.strength:g} was clamped to {limit:.2f}, the largest that is predicted to do no damage"]


def check_strength(strength: float) -> None:
    """Refuse a strength that is not a finite number."""
    if isinstance(strength, bool) or not math.isfinite(strength):
        raise ConfigError(f"the strength must be a finite number, such as 1.0; got {strength}")


_SEARCH_OF_EIM = "hsds"  # the papers' name


def editor_class(name: str) -> type[Editor]:
    """The class that is registered under a name; an unknown name or another object raises a RegistryError."""
    if name.lower() == _SEARCH_OF_EIM:
        raise RegistryError(f"{name} is the search of the editor 'eim', whose settings are `HSDS`. Use eim")
    loaded = EDITORS.load(name)
    if not (isinstance(loaded, type) and issubclass(loaded, Editor)):
        raise RegistryError(f"the entry point {name!r} is not a subclass of Editor; it is {loaded!r}")
    return loaded


def kind_of(method: object) -> type[Editor]:
    """The class of an editor, or of its name; a ConfigError for anything else."""
    if isinstance(method, str):
        return editor_class(method)
    if not isinstance(method, Editor):
        raise ConfigError(f"`method` is the name of an editor, or an editor; got {method!r:.60}. Give 'eim'")
    return type(method)


def own_names(settings: Mapping[str, Any], *kinds: Any) -> dict[str, Any]:
    """Settings by the names of the fields of classes, where they have those of diffusers; a ConfigError for both."""
    fields = {field.name for kind in kinds for field in dataclasses.fields(kind)}
    ours = {name: next((own for own in FIELD_NAMES.get(name, ()) if own in fields), name) for name in settings}
    if len(set(ours.values())) < len(ours):
        both = [repr(name) for name, own in ours.items() if list(ours.values()).count(own) > 1]
        raise ConfigError(f"{' and '.join(both)} are the same setting. Leave one out")
    return {ours[name]: value for name, value in settings.items()}


def make_editor(
    method: str | EditorLike | None,
    backbone: Backbone,
    *,
    instructed: bool = False,
    settings: Mapping[str, Any] | None = None,
) -> Editor:
    """An editor with the settings that suit the model; one that is given stays as it is.

    Args:
        method: name of an editor, an editor, or None for the `default_method`.
        instructed: the images were encoded for instructions.
        settings: other values, by the editor's names or those of `FIELD_NAMES`.

    Raises:
        RegistryError: an unknown name.
        ConfigError: a setting that the editor does not have.
    """
    name = default_method(backbone, instructed=instructed) if method is None else method
    kind, made = kind_of(name), name if isinstance(name, Editor) else None
    # An editor that was made by the user is complete: the model's settings are not mixed into it.
    stored = stored_settings(str(name), backbone) if made is None else made.to_dict()
    changes = kind.renamed(settings or {}, stored)
    return kind.from_dict({**stored, **changes}) if changes or made is None else made


def stored_settings(name: str, backbone: Backbone) -> Mapping[str, Any]:
    """The settings of an editor that suit a model (`models.model_settings.ModelSettings`).

    A model that was distilled to need no guidance has weights of 1.
    """
    stored = ModelSettings.of(backbone).editor(name)
    if backbone.capabilities.guidance_kind == "none":
        fields = getattr(editor_class(name), "__dataclass_fields__", ())
        return {**stored, **{weight: 1.0 for weight in _WEIGHTS if weight in fields}}
    return stored


def default_method(backbone: Backbone, *, instructed: bool = False) -> str:
    """The default editor of a model: `eim` with tuned or calibrated settings and for instructions, else `UNTUNED`."""
    return TUNED if instructed or ModelSettings.of(backbone).tuned else UNTUNED


def default_note(method: str | EditorLike | None, backbone: Backbone, *, instructed: bool = False) -> tuple[str, ...]:
    """A note where the default is not `eim`; none where a method was named."""
    if method is not None or default_method(backbone, instructed=instructed) != UNTUNED:
        return ()
    return (f"method {UNTUNED} ({backbone.name} has no stored settings; choose with `method`)",)


def resolve(recipe: Recipe, backbone: Backbone, *, instructed: bool = False) -> Recipe:
    """The recipe alone, of a request too, with the editor for a model, and the mask that it has by default.

    Of ``settings``, those that were given for the editor stay; of an editor that the user made, all.

    Raises:
        LatentEditError: as `make_editor`.
    """
    editor = make_editor(recipe.method, backbone, instructed=instructed, settings=recipe.settings)
    named = own_names(recipe.settings, *editor.setting_classes())
    given = editor.to_dict() if isinstance(recipe.method, Editor) else named
    mask = editor.localizes_on(backbone) if recipe.auto_mask is None else recipe.auto_mask
    return recipe.plain(method=editor, settings=given, auto_mask=mask)


def editor_of(recipe: Recipe) -> Editor:
    """The editor of a recipe that `resolve` returned."""
    if not isinstance(recipe.method, Editor):
        raise ConfigError(f"the editor {recipe.method!r} is not made yet. Call `resolve`")
    return recipe.method


def check_moves_along(kind: type[Editor], action: str = "move along directions") -> None:
    """Raise a ConfigError for an editor that does not move images along directions."""
    if not kind.moves_along:
        raise ConfigError(f'the method {kind.name!r} cannot {action}. Use `method="{TUNED}"`')
