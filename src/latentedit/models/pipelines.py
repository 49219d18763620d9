"""Pipelines in memory: their parts, the family of their denoiser, and the stock pipeline of the family around them."""

import contextlib
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from latentedit.core.errors import ModelError
from latentedit.core.plugins import BACKBONES
from latentedit.models.libraries import pipeline_of
from latentedit.models.probe import check_methods, check_network, packages_of
from latentedit.numerics.device import plain_default

# How the names of networks begin that make images, or sound, of latents.
_DECODERS = ("vae", "vq", "movq", "vocoder", "decoder")


def components_of(pipeline: Any) -> dict[str, Any]:
    """The parts of a pipeline by name: those of its ``components``, or of a mapping; some may be None."""
    kind = type(pipeline).__name__
    if isinstance(pipeline, Mapping):
        return dict(pipeline)
    if isinstance(pipeline, (str, Path)):
        name = str(pipeline)
        raise ModelError(
            f"from_pipeline takes a pipeline in memory, and {name!r} is a name. Call latentedit.load({name!r})"
        )
    if not hasattr(pipeline, "components"):
        raise ModelError(
            f"a {kind} is not a pipeline: it has no components. Give a diffusers pipeline or a mapping of its parts; "
            "wrap any other model with latentedit.CallableBackbone"
        )
    return dict(pipeline.components)


def config_of(pipeline: Any) -> Mapping[str, Any]:
    """Settings of a pipeline, such as ``is_distilled``; a mapping has them next to its parts."""
    return pipeline if isinstance(pipeline, Mapping) else getattr(pipeline, "config", {})


def part_of(pipeline: Any, name: str) -> Any:
    """A part of a pipeline as it is now; None if it has none of that name."""
    return pipeline.get(name) if isinstance(pipeline, Mapping) else getattr(pipeline, name, None)


def innermost(part: Any) -> Any:
    """A part without the wrappers of `torch.compile` and training."""
    inside = getattr(part, "_modules", {})
    inner = next((inside[name] for name in ("_orig_mod", "module") if name in inside), None)
    return part if inner is None else innermost(inner)


def class_names(part: Any) -> list[str]:
    """Names of the class of a part and its bases, without the wrappers of `torch.compile`, peft and training."""
    part = innermost(part)
    return [kind.__name__ for kind in type(part.get_base_model() if hasattr(part, "get_base_model") else part).__mro__]


def networks_of(components: Mapping[str, Any]) -> dict[str, list[str]]:
    """Class names of the parts that are networks."""
    return {name: class_names(part) for name, part in components.items() if isinstance(part, nn.Module)}


def backbone_class(
    kinds: Sequence[str],
    networks: Mapping[str, Sequence[str]],
    configuration: Callable[[str], Mapping[str, Any]],
    *,
    subject: str,
) -> Any:
    """The class of the family whose denoiser is among some networks, or the one registered for the pipeline itself.

    ``kinds`` are the names of the pipeline's class and its bases, the most special first, and ``networks`` has the same
    of each network. The subject begins the message of an error, "this is a KIND" or "PATH contains a KIND".
    """
    if own := [kind for kind in kinds if kind in BACKBONES.points()]:
        return BACKBONES.load(own[0])
    for part, names in networks.items():
        known = next((name for name in names if name in BACKBONES.points()), None)
        if known is not None:
            adapter = BACKBONES.load(known).of(configuration(part))
            if adapter.denoiser == part:
                return adapter
    if not networks:
        raise ModelError(f"{subject} without any network. Load its parts; a modular pipeline's load_components does")
    listed = ", ".join(f"{part} {names[0]}" for part, names in networks.items())
    raise ModelError(
        f"{subject}, which is not supported: none of its networks is the denoiser of a known family ({listed}). "
        "See: latentedit models families; wrap any other model with latentedit.CallableBackbone"
    )


def adapted(pipeline: Any, stored_as: str = "") -> tuple[Any, Any]:
    """The adapter of the family of a pipeline's denoiser, and the stock pipeline of the family, which it takes.

    ``stored_as`` is the class that the folder of a pipeline names, which its adapter may load as another.
    """
    components, kind = components_of(pipeline), pipeline_kind(pipeline)
    adapter = backbone_class(
        [stored_as, *class_names(pipeline)],
        networks_of(components),
        lambda part: config_of(components[part]),
        subject=f"this is a {kind}",
    )
    stock = stock_of(adapter, pipeline, components)
    check_parts(adapter, stock, kind)
    return adapter, stock


def pipeline_kind(pipeline: Any) -> str:
    """The name of a pipeline's class, for messages."""
    return "mapping" if isinstance(pipeline, Mapping) else type(pipeline).__name__


@contextlib.contextmanager
def fitting(pipeline: Any) -> Generator[None]:
    """Re-raise the errors of an adapter that meets configurations of other classes than its family's."""
    try:
        with plain_default():
            yield
    except (AttributeError, KeyError, TypeError) as error:
        kind = type(pipeline).__name__
        raise ModelError(f"the parts of this {kind} do not fit: {error}. Use the parts of one model") from error


def stock_of(adapter: Any, pipeline: Any, components: Mapping[str, Any]) -> Any:
    """The pipeline if it is a stock one of the family, or one around its parts; nothing is copied.

    Warns of networks of a variant that are not used.
    """
    kind, names = type(pipeline).__name__, class_names(pipeline)
    extra = [name for name in networks_of(components) if name not in {*adapter.parts, "safety_checker"}]
    if others := [name for name in extra if name.startswith(_DECODERS)]:
        raise ModelError(
            f"this {kind} decodes by its {others[0]}, which the family of its denoiser has not. Use another"
        )
    guider = components.get("guider")
    extra += [] if guider is None or class_names(guider)[0] == "ClassifierFreeGuidance" else ["guider"]
    extra += ["perturbed attention"] if hasattr(pipeline, "set_pag_applied_layers") else []
    if extra:
        warnings.warn(f"edits do not use the {', '.join(extra)} of this {kind}", stacklevel=3)
    stock = adapter.stock_class(names, components) if adapter.pipelines else names[0]
    if stock in names:
        return pipeline
    given, config = dict(components), config_of(pipeline)
    if "tokenizer" in adapter.parts and (processor := given.get("processor")) is not None:
        given.setdefault("tokenizer", getattr(processor, "tokenizer", processor))
    if any("Turbo" in name for name in names):  # which the configuration of a modular one does not say
        config = {**config, "is_distilled": True}
    return pipeline_of(stock, given, config)


def check_parts(adapter: Any, pipeline: Any, kind: str) -> None:
    """Check that a pipeline computes a velocity: every part present, on one device or moved by hooks, and stateless."""
    for part in (*adapter.parts, *(["scheduler"] if adapter.pipelines else [])):
        if getattr(pipeline, part, None) is None and part not in adapter.optional_parts:
            what = "Texts are embedded here, with the encoders of the pipeline: give" if "text" in part else "Give"
            raise ModelError(f"the {kind} has no {part}. {what} a pipeline with all of its parts")
    denoiser = getattr(pipeline, adapter.denoiser)
    check_methods(pipeline, kind)
    for part in {adapter.denoiser: None, **dict.fromkeys(adapter.parts)}:
        if isinstance(network := getattr(pipeline, part, None), nn.Module):
            is_probed = part == adapter.denoiser
            check_network(innermost(network), part, kind, packages_of(adapter), is_probed=is_probed)
    if getattr(denoiser, "encoder_hid_proj", None) is not None:
        raise ModelError(
            f"the {adapter.denoiser} of this {kind} has an IP-Adapter, and no image is given to it here. "
            "Call pipeline.unload_ip_adapter()"
        )
    networks = {part: getattr(pipeline, part, None) for part in (adapter.denoiser, "vae", *adapter.parts)}
    devices: dict[object, str] = {}
    for part, network in networks.items():
        if isinstance(network, nn.Module) and not offloaded(network):
            devices.setdefault(network.device, part)
    if len(devices) > 1:
        where = ", ".join(f"{part} on {device}" for device, part in devices.items())
        raise ModelError(f"the networks of this {kind} are on two devices: {where}. Move them with pipeline.to(device)")


def offloaded(network: nn.Module) -> bool:
    """Whether hooks move a network between its calls."""
    return any(hasattr(module, "_hf_hook") or hasattr(module, "_diffusers_hook") for module in network.modules())
