"""Writes docs/pipelines.md: which pipeline classes of the installed diffusers can be edited with, and why not others.

Every class is built around a miniature of its network, given to `from_pipeline`, and asked for a velocity. The table of
schedulers is by `tools.schedulers`.

python -m tools.pipelines
"""

import functools
import inspect
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch

import latentedit as le
from latentedit.core.errors import LatentEditError
from latentedit.numerics.rng import seeded
from tests.miniatures import MINIATURES, flow, noise
from tools.schedulers import section

PAGE = Path(__file__).parents[1] / "docs" / "pipelines.md"
SETTINGS = {"sizes": [64, 64, 96]}


@functools.cache
def miniatures() -> dict[str, Callable[[], Any]]:
    """The first miniature with each network, by the class of the network."""
    found: dict[str, Callable[[], Any]] = {"UNet2DModel": lambda: None}
    for make in MINIATURES.values():
        parts = make().components
        found.setdefault(type(parts.get("transformer") or parts["unet"]).__name__, make)
    return dict(sorted(found.items()))


NO_IMAGE = re.compile(
    r"Video|Animate|Audio|Music|I2V|T2V|TI2V|ToWorld|AceStep|Allegro|AnyFlow|CogVideo|ConsisID|Cosmos(?!2TextToImage)"
    r"|Dance|DiffusionGemma|Helios|I2VGen|LLaDA|LTX|Latte|Lucy|Mochi|RFD|SanaWM|ShapE|SkyReels|Wan|PIA|Prior|Marigold"
    r"|Upsample|Kandinsky6|ChronoEdit|^DiffusionPipeline$|^ModularPipeline$"
)
"""Video, sound, text, proteins, depth, shapes, embeddings of images; and the base class."""

OTHER: dict[str, str] = {
    r"FluxControl(?!Net)|FluxFill|VisualCloze|CogView4Control|InstructPix2Pix|Depth2Img|PaintByExample|Upscal|SuperRes":
        "its published network is shown more than latents; refused by the width of its channels",
    r"^Kandinsky(V22)?(?!3|5|Prior)": "its published network reads embeddings of images; refused by its configuration",
    r"^IF": "a network on pixels that reads text, without an autoencoder",
    r"ControlNetXS": "its constructor makes another network, UNetControlNetXSModel",
    r"^LatentConsistency": "a distilled flow map, whose network takes the guidance weight (time_cond_proj_dim)",
    r"StableUnCLIP|BlipDiffusion|ImageVariation|GLIGENTextImage": "reads images too; its configuration or parts differ",
    r"LDM3D": "its autoencoder has depth as a further channel",
    r"^LDM": "its text encoder or its autoencoder (vqvae) is of another kind",
    r"KarrasVe|ScoreSdeVe|^ConsistencyModel": "variance-exploding or a consistency model: its scheduler has no betas",
    r"^Cosmos": "its text is T5's alone, and Anima's, of the same network, Qwen3's with a conditioner",
    r"QwenImageLayered": "made for images in layers (use_additional_t_cond)",
}  # fmt: skip
"""Classes whose published networks have the class of a supported one, and another configuration."""


WORKS = "works"

LAYERS = ("text_encoder_select_layers",)
"""Settings by which miniatures have fewer layers than the published models."""


def network_of(kind: Any) -> str | None:
    """The supported network that the constructor of a pipeline names, or the blocks of a modular one."""
    if issubclass(kind, diffusers.ModularPipeline):
        blocks: Any = getattr(diffusers, str(kind.default_blocks_name), None)
        parts = blocks().expected_components if blocks is not None else []
        networks = {getattr(part.type_hint, "__name__", "") for part in parts if part.name in ("transformer", "unet")}
        return next((known for known in miniatures() if known in networks), None)
    taken = inspect.signature(kind.__init__).parameters
    named = " ".join(str(taken[name].annotation) for name in ("transformer", "unet") if name in taken)
    return next((known for known in miniatures() if re.search(rf"\b{known}\b", named)), None)


def built(kind: Any, network: str) -> Any:
    """A pipeline of a class around a miniature; what the miniature has not is a small network without a meaning."""
    if issubclass(kind, diffusers.ModularPipeline):
        special = {"Flux3Dist": lambda: flow.flux3(distilled=True), "ImageEdit": lambda: flow.qwen_image("plus")}
        made = next((make for name, make in special.items() if name in kind.__name__), miniatures()[network])()
        modular: Any = kind()
        modular.update_components(**{name: part for name, part in made.components.items() if part is not None})
        modular.register_to_config(**{name: made.config[name] for name in LAYERS if name in made.config})
        return modular
    taken = inspect.signature(kind.__init__).parameters
    if network == "UNet2DModel":
        blocks: Any = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
        with seeded(0):
            unet = diffusers.UNet2DModel(sample_size=16, block_out_channels=(32, 32), **blocks)
        made = diffusers.DDPMPipeline(unet=unet, scheduler=diffusers.DDPMScheduler())
    elif "Sprint" in kind.__name__:
        made = flow.sana(sprint=True)
    elif network == "UNet2DConditionModel" and "text_encoder_2" in taken:
        made = noise.sdxl()
    elif kind.__name__ == "Flux2Pipeline":
        made = flow.flux2_dev()
    elif "processor" in taken and network.startswith("Qwen"):
        made = flow.qwen_image("plus" if "Plus" in kind.__name__ else "edit")
    else:
        made = miniatures()[network]()
    known = {**made.config, **made.components}
    absent = {"controlnet": torch.nn.Identity(), "adapter": torch.nn.Identity(), "requires_safety_checker": False}
    given = {name: known.get(name, absent.get(name)) for name in taken if name not in ("self", "args", "kwargs")}
    given = {
        name: value for name, value in given.items() if value is not None or taken[name].default is taken[name].empty
    }
    try:
        return kind(**given)
    except Exception:  # noqa: BLE001 - constructors that check what is not edited with, such as a ControlNet
        pipeline = object.__new__(kind)
        pipeline.register_modules(**{name: part for name, part in given.items() if name != "requires_safety_checker"})
        return pipeline


def result(kind: Any, network: str) -> tuple[bool, str]:
    """Whether a velocity can be computed, and what is not used, or the reason why not."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = le.from_pipeline(built(kind, network), settings=None if network == "UNet2DModel" else SETTINGS)
        side = model.capabilities.sizes[0]
        z, s = torch.zeros(1, *model.latent_shape(side, side)), torch.tensor([0.5], dtype=model.dtype)
        assert bool(model.velocity(z, s, model.embed(["a face"])).isfinite().all())
    except LatentEditError as error:
        return False, str(error)
    unused = [str(one.message) for one in caught if "edits do not use" in str(one.message)]
    return True, re.sub(r"edits do not use the (.*) of this .*", r"without its \1", "".join(unused))


def found() -> list[tuple[str, str, str]]:
    """Each pipeline of images: its name, its supported network or nothing, and the result."""
    rows: list[tuple[str, str, str]] = []
    for name in sorted(dir(diffusers)):
        kind: Any = getattr(diffusers, name)
        pipelines = (diffusers.DiffusionPipeline, diffusers.ModularPipeline)
        if not (isinstance(kind, type) and issubclass(kind, pipelines)) or NO_IMAGE.search(name):
            continue
        network = network_of(kind)
        other = next((reason for pattern, reason in OTHER.items() if re.search(pattern, name)), None)
        if network is None:
            text = "its network is of no supported family"
        elif other is not None:
            text = other
        else:
            works, detail = result(kind, network)
            text = (WORKS + (f", {detail}" if detail else "")) if works else f"refused: {detail}"
        rows.append((name, network or "", text))
        print(*rows[-1], sep=": ", flush=True)
    return rows


def page(rows: list[tuple[str, str, str]]) -> str:
    """The page: what works by network, then what does not by reason."""
    works, others = dict[str, list[str]](), dict[str, list[str]]()
    for name, network, text in rows:
        if text.startswith(WORKS):
            less = text.removeprefix(WORKS).removeprefix(", ")
            works.setdefault(network + (f", {less}" if less else ""), []).append(name)
        else:
            others.setdefault(text, []).append(name)
    about = (
        f"{sum(map(len, works.values()))} of the {len(rows)} classes of diffusers {diffusers.__version__} that make "
        "images work: each was built around a miniature with random weights, and `from_pipeline` gave a velocity. "
        "Reasons of the others were read from their sources. Subclasses, community pipelines and mappings of parts "
        "work like these: the network decides. Written by `python -m tools.pipelines`."
    )
    lines = ["# Pipelines of diffusers", "", about]
    for title, column, groups in (("Work", "network", works), ("Do not work", "reason", others)):
        lines += ["", f"## {title}", "", f"| {column} | pipelines |", "| --- | --- |"]
        lines += [f"| {key} | {', '.join(names)} |" for key, names in sorted(groups.items())]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(found()) + section(), encoding="utf-8")
