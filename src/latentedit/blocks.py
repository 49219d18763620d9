"""Blocks for modular pipelines of diffusers (0.36 and later): an edit by this library, and `keep` after any editor.

Example:
    from diffusers import Flux2KleinAutoBlocks
    from latentedit.blocks import Keep, appended

    pipeline = appended(Flux2KleinAutoBlocks, keep=Keep)().init_pipeline("black-forest-labs/FLUX.2-klein-4B")
    pipeline.load_components(dtype=torch.bfloat16)
    state = pipeline(image=photo, prompt="Add a red scarf")
    state.images[0], state.keep_masks[0], state.keep_reports[0]["found"]
"""

from pathlib import Path
from typing import Any, ClassVar

from diffusers.modular_pipelines import (
    ConfigSpec,
    InputParam,
    ModularPipelineBlocks,
    OutputParam,
    SequentialPipelineBlocks,
)
from PIL import Image

from latentedit.core.errors import ConfigError
from latentedit.core.files import make_folder, write_text
from latentedit.editing.verbs import edit
from latentedit.encoding.encode import broadcast_texts
from latentedit.keeping.api import keep
from latentedit.models.registry import from_pipeline

_INPUTS = {
    "image": "Source image or images (PIL).",
    "images": "Images of the blocks before this one (PIL).",
    "prompt": "Prompt of the blocks before this one.",
}


class _Installed(ModularPipelineBlocks):
    """Blocks whose code is this module, wherever they are saved."""

    def save_config(self, save_directory: Any, push_to_hub: bool = False, **kwargs: Any) -> None:
        """Write ``modular_config.json`` for ``save_pretrained``, and ``blocks.py``, the code that it names."""
        make_folder(Path(save_directory))
        write_text(Path(save_directory) / "blocks.py", self._code())
        super().save_config(save_directory, push_to_hub=push_to_hub, **kwargs)

    def _code(self) -> str:
        return f"from latentedit.blocks import {type(self).__name__}  # noqa: F401\n"


class SemanticEdit(_Installed):
    """Edit from a source prompt to a target prompt, by the networks of the pipeline, at a strength.

    Inputs: ``images`` of the blocks before, else ``image`` (PIL; one or a list); ``source_prompt``, by default
    ``prompt``; ``target_prompt``; ``edit_strength``; ``edit_method``, a name of ``latentedit.editors``; ``edit_seed``.

    Outputs: ``images``, and ``edit_results``, the `EditResult` of each, with its record, verdict and ``save``.

    The configuration ``edit_settings`` has what `latentedit.from_pipeline` takes as ``settings``.

    Raises:
        ConfigError: no image, no target, or images that are no PIL images.
    """

    @property
    def description(self) -> str:
        return "Edits images from a source prompt to a target prompt at a strength (latentedit)."

    @property
    def expected_configs(self) -> list[ConfigSpec]:
        """Settings of the model, such as the sizes of its images."""
        return [ConfigSpec(name="edit_settings", default=None, description="`settings` of latentedit.from_pipeline.")]

    @property
    def inputs(self) -> list[InputParam]:
        return [
            *(InputParam(name, description=text) for name, text in _INPUTS.items()),
            InputParam("source_prompt", description="What the image shows. Default: prompt."),
            InputParam("target_prompt", required=True, description="What the edited image shows."),
            InputParam("edit_strength", default=1.0, description="0 is the original image, 1 the full change."),
            InputParam("edit_method", description="Editor of latentedit. Default: the model's."),
            InputParam("edit_seed", default=0, description="Random seed of the edit."),
        ]

    @property
    def intermediate_outputs(self) -> list[OutputParam]:
        return [
            OutputParam("images", description="The edited images."),
            OutputParam("edit_results", description="The EditResult of each image."),
        ]

    def __call__(self, components: Any, state: Any) -> tuple[Any, Any]:
        given: Any = self.get_block_state(state)
        images = _images(given.images if given.images is not None else given.image, "image")
        source = given.source_prompt if given.source_prompt is not None else given.prompt
        model = from_pipeline(components, settings=components.config.get("edit_settings"))
        given.edit_results = edit(
            model,
            images,
            source_prompt=None if source is None else broadcast_texts(source, len(images), "source prompt"),
            prompt=broadcast_texts(given.target_prompt, len(images), "target prompt"),
            strength=given.edit_strength,
            method=given.edit_method,
            seed=given.edit_seed,
        )
        given.images = [result.image for result in given.edit_results]
        self.set_block_state(state, given)
        return components, state


class Keep(_Installed):
    """Keep only an editor's change: every other pixel is the source's own, bit for bit (`latentedit.keeping.keep`).

    Inputs: ``image``, the source, one for all or one per edited image; ``images``, the editor's; ``mask_image``, white
    where a change may be kept; ``keep_strength``.

    Outputs: ``images``, of the source's size; ``keep_masks``, the opacity of each change; ``keep_reports``, verdict and
    measurements as plain values.

    Raises:
        ConfigError: no images, images that are no PIL images, or numbers of images that do not fit.
    """

    @property
    def description(self) -> str:
        return "Keeps only the change of an editor, on the source's own pixels (latentedit)."

    @property
    def inputs(self) -> list[InputParam]:
        return [
            *(InputParam(name, required=name == "image", description=_INPUTS[name]) for name in ("image", "images")),
            InputParam("mask_image", description="White where a change may be kept."),
            InputParam("keep_strength", default=1.0, description="0 is the source, 1 the whole change."),
        ]

    @property
    def intermediate_outputs(self) -> list[OutputParam]:
        return [
            OutputParam("images", description="The source images with nothing but the change."),
            OutputParam("keep_masks", description="Opacity of each change, 8-bit gray."),
            OutputParam("keep_reports", description="Verdict and measurements of each change."),
        ]

    def __call__(self, components: Any, state: Any) -> tuple[Any, Any]:
        given: Any = self.get_block_state(state)
        edited, sources = _images(given.images, "images"), _images(given.image, "image")
        if len(sources) not in (1, len(edited)):
            raise ConfigError(
                f"{len(sources)} source images do not fit {len(edited)} edited ones. Give one, or one each"
            )
        sources = sources * (len(edited) // len(sources))
        kept = [
            keep(source, image, mask=given.mask_image, strength=given.keep_strength)
            for source, image in zip(sources, edited, strict=True)
        ]
        given.images, given.keep_masks = [one.image for one in kept], [one.mask for one in kept]
        given.keep_reports = [one.measures for one in kept]
        self.set_block_state(state, given)
        return components, state


class _Steps(_Installed, SequentialPipelineBlocks):
    """Steps of this module behind the blocks of a pipeline, or instead of them with their components."""

    maker: ClassVar[str]
    host: ClassVar[Any]
    steps: ClassVar[dict[str, Any]]

    def _code(self) -> str:
        steps = "".join(f", {name}={step.__name__}" for name, step in self.steps.items())
        names = ", ".join(sorted({self.maker, *(step.__name__ for step in self.steps.values())}))
        return (
            f"from {self.host.__module__} import {self.host.__name__}\n"
            f"from latentedit.blocks import {names}\n\n"
            f"{type(self).__name__} = {self.maker}({self.host.__name__}{steps})\n"
        )


class _Alone(_Steps):
    @property
    def model_name(self) -> Any:
        """Selects the class of the pipeline."""
        return self.host().model_name

    @property
    def expected_components(self) -> list[Any]:
        """Components of the blocks that are left out."""
        return self.host().expected_components

    @property
    def expected_configs(self) -> list[Any]:
        """Configurations of the blocks that are left out, such as ``is_distilled``, and of the steps."""
        return [*self.host().expected_configs, *super().expected_configs]


def appended(host: Any, /, **steps: Any) -> Any:
    """A class of blocks that runs those of a modular pipeline, then steps of this module.

    Args:
        host: a class of sequential blocks, such as ``FluxAutoBlocks``.
        steps: `SemanticEdit`, `Keep`, by the name of the step.
    """
    blocks = {"block_classes": [*host.block_classes, *steps.values()], "block_names": [*host.block_names, *steps]}
    return _made("appended", (_Steps, host), host, steps, blocks)


def instead(host: Any, /, **steps: Any) -> Any:
    """A class of blocks that runs only steps of this module, with the components of a pipeline; see `appended`."""
    blocks = {"block_classes": [*steps.values()], "block_names": [*steps]}
    return _made("instead", (_Alone,), host, steps, blocks)


def _made(maker: str, bases: tuple[Any, ...], host: Any, steps: dict[str, Any], blocks: dict[str, Any]) -> Any:
    name = f"{host.__name__}{maker.title()}"
    # pyrefly: ignore[unsupported-dynamic-base]
    return type(name, bases, {"maker": maker, "host": host, "steps": steps, "__module__": __name__, **blocks})


def _images(given: Any, name: str) -> list[Any]:
    images = list(given) if isinstance(given, (list, tuple)) else [given]
    if not images or not all(isinstance(image, Image.Image) for image in images):
        kind = type(images[0]).__name__ if images else "none"
        raise ConfigError(f"{name} is one PIL image or a list of them; got {kind}. Use output_type='pil'")
    return images
