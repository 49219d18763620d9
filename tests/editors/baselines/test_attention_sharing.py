"""Editors that share attention, against the published loops with independent hooks."""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

import latentedit as le
from latentedit.core.errors import ConfigError
from latentedit.editors import FireFlow, MasaCtrl, RFSolver, StableFlow
from latentedit.editors.base import Editor
from latentedit.encoding.inversion import invert
from latentedit.encoding.joint import JointLatent
from latentedit.models.base import Backbone
from latentedit.models.guidance import GuidedField
from latentedit.numerics.condition import Condition
from latentedit.numerics.rng import draw
from latentedit.testing.miniature import sd3_pipeline
from tests.identification.mixtures import mixture_latent
from tests.miniatures.flow import flux
from tests.miniatures.noise import sd_pipeline
from tests.testing.gaussian_mixture import example_mixture
from tests.testing.tolerances import relative_error

SOURCE_TEXT, TARGET_TEXT = "a person with black hair", "a person with glasses"


def latent_of(backbone: Backbone, count: int = 1) -> JointLatent:
    z = draw((count, *backbone.latent_shape(64, 64)), seed=0, purpose="latent").to(backbone.dtype)
    return JointLatent(
        backbone=backbone, z=z, condition=backbone.embed([SOURCE_TEXT] * count), captions=(SOURCE_TEXT,) * count
    )


@pytest.fixture(scope="module")
def sd3() -> Backbone:
    return le.from_pipeline(sd3_pipeline(t5=False), settings={"sizes": [64, 64, 96]})


class Memory:
    """The ``info`` of the published code: layer outputs by key, stored in the inversion, read on the return."""

    def __init__(self, modules: list[nn.Module]) -> None:
        self.modules = modules
        self.found: dict[Any, Tensor] = {}

    @contextmanager
    def hooked(self, key: Any, *, store: bool) -> Iterator[None]:
        def hook(index: int) -> Any:
            def replace(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor | None:
                if store:
                    self.found[(key, index)] = output
                    return None
                return self.found.get((key, index))

            return replace

        handles = [module.register_forward_hook(hook(index)) for index, module in enumerate(self.modules)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


@pytest.mark.slow_except("FireFlow-3")
@pytest.mark.parametrize("share", [1, 3])
@pytest.mark.parametrize("kind", [RFSolver, FireFlow])
def test_values_are_shared_as_in_the_published_code(
    sd3: Backbone, kind: type[Editor], share: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys of the memory: the noisier level of the step, and whether it is the second evaluation."""
    monkeypatch.setattr(type(sd3), "check_velocity", lambda _: None)  # the memory is what it refuses
    latent, target = latent_of(sd3), sd3.embed([TARGET_TEXT])
    editor: Any = kind.from_dict({"steps": 3, "share": share, "first_layer": 0.3})
    rising = latent.path(3).levels[::-1]
    blocks = [module for module in sd3._network.modules() if isinstance(module, Attention)]  # type: ignore[attr-defined]
    memory = Memory([block.to_v for block in blocks[1:]])
    shared = set(sorted(rising)[-share:])

    def velocity(z: Tensor, level: float, text: Condition, key: Any, *, store: bool) -> Tensor:
        with memory.hooked(key if key[0] in shared else None, store=store and key[0] in shared):
            return sd3.velocity(z, torch.full((1,), level), text)

    def walk(z: Tensor, text: Condition, levels: tuple[float, ...], *, store: bool) -> Tensor:
        last: Tensor | None = None
        for s, s_next in itertools.pairwise(levels):
            h, top = s_next - s, max(s, s_next)
            first = velocity(z, s, text, (top, False), store=store) if last is None else last
            middle = velocity(z + h / 2 * first, s + h / 2, text, (top, True), store=store)
            z = z + h * middle
            last = middle if kind is FireFlow else None
        return z

    top = walk(latent.z, latent.condition, rising, store=True)
    expected = walk(top, target, rising[::-1], store=False)
    assert memory.found
    found = editor.edit(latent, target, [1.0])[0].z
    assert relative_error(found, expected) < 1e-5
    plain = kind.from_dict({"steps": 3}).edit(latent, target, [1.0])[0].z
    assert relative_error(found, plain) > 1e-4


def test_both_guidance_branches_use_the_values_of_the_inversion(sd3: Backbone) -> None:
    """The inversion has only a conditional branch."""
    latent, target = latent_of(sd3, 2), sd3.embed([TARGET_TEXT])
    names = [f"{layer}.value" for layer in sd3.attention_layers]
    levels = torch.full((2,), 0.5)
    _, kept = sd3.velocity_keeping(latent.z, levels, latent.condition, names)
    given, null = (sd3.velocity_given(latent.z, levels, text.expand(2), kept) for text in (target, sd3.null(target)))
    field = GuidedField(backbone=sd3, condition=target, guidance=3.0)
    assert relative_error(field(latent.z, levels, given=kept), null + 3 * (given - null)) < 1e-5
    assert relative_error(field(latent.z, levels), null + 3 * (given - null)) > 1e-4


@contextmanager
def rows_share_the_first(modules: list[nn.Module], before: int) -> Iterator[None]:
    """Gives all rows of a batch the outputs of its first row, except for the first ``before`` tokens, of text."""

    def copied(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        return torch.cat([output[:, :before], output[:1, before:].expand_as(output[:, before:])], 1)

    handles = [module.register_forward_hook(copied) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def batched_loop(
    latent: JointLatent,
    text: Condition,
    modules: list[nn.Module],
    *,
    nudge: float = 1.0,
    first: int = 0,
    before: int = 0,
    weight: float = 1.0,
    trace: Sequence[Tensor] = (),
) -> Tensor:
    """The published loops of MasaCtrl and Stable Flow, three steps: image, null branch and edit are rows of a batch.

    Args:
        latent: one image.
        text: the target.
        modules: the rows share their outputs.
        nudge: factor of the image before its inversion.
        first: step of the return from which they share.
        before: number of text tokens before those of the image.
        weight: guidance weight.
        trace: states of the inversion, clean first; by default those of Stable Flow, with times of a step's end.
    """
    backbone, levels = latent.backbone, latent.path(3).levels[::-1]
    trace = list(trace) or [nudge * latent.z]
    for s, s_next in itertools.pairwise(levels if len(trace) == 1 else ()):
        trace.append(
            trace[-1] + (s_next - s) * backbone.velocity(trace[-1], torch.full((1,), s_next), latent.condition)
        )
    z, batch = trace[-1], Condition.cat([latent.condition, backbone.null(text), text])
    for index, (s, s_next) in enumerate(itertools.pairwise(levels[::-1])):
        rows = torch.cat([trace[-1 - index], z, z])
        with rows_share_the_first(modules if index >= first else [], before):
            _, unconditional, conditional = backbone.velocity(rows, torch.full((3,), s), batch).split(1)
        z = z + (s_next - s) * (unconditional + weight * (conditional - unconditional))
    return z


@pytest.mark.nightly
@pytest.mark.parametrize("start", [0.0, 0.4])
def test_masactrl_is_mutual_self_attention_in_a_unet(start: float) -> None:
    backbone: Any = le.from_pipeline(sd_pipeline(), settings={"sizes": [64, 64, 96]})
    latent, target, ups = latent_of(backbone), backbone.embed([TARGET_TEXT]), backbone._network.up_blocks
    last = [module for name, module in ups.named_modules() if name.endswith("attn1")][-2:]
    share = 1 - 2 / len(backbone.attention_layers)
    modules = [linear for layer in last for linear in (layer.to_k, layer.to_v)]
    empty = latent.with_prompt("")
    trace = invert(empty, latent.path(3), time="end").states
    expected = batched_loop(empty, target, modules, first=round(3 * start), weight=3.0, trace=trace)
    editor = MasaCtrl(steps=3, start=start, first_layer=share, guidance=3.0, under="empty")
    found = editor.edit(latent, target, [1.0])[0].z
    assert relative_error(found, expected) < 1e-4
    other = MasaCtrl(steps=3, start=1.0, guidance=3.0).edit(latent, target, [1.0])[0].z
    assert relative_error(found, other) > 1e-3


def test_stable_flow_shares_the_vital_layers_of_the_nudged_image(sd3: Any) -> None:
    latent, target, vital = latent_of(sd3), sd3.embed([TARGET_TEXT]), sd3._network.transformer_blocks[0].attn
    expected = batched_loop(latent, target, [vital.to_k, vital.to_v], nudge=1.15, weight=2.0)
    found, other = (
        StableFlow(steps=3, layers=layers, guidance=2.0, time="end").edit(latent, target, [1.0])[0].z
        for layers in ((0, 77), (1,))
    )
    assert relative_error(found, expected) < 1e-5
    assert relative_error(other, expected) > 1e-4
    with pytest.raises(ConfigError):
        StableFlow(steps=3, layers=(77,)).edit(latent, target, [1.0])


@pytest.mark.slow
def test_stable_flow_in_a_single_block_of_flux_keeps_the_text() -> None:
    backbone: Any = le.from_pipeline(flux(guidance_embeds=False), settings={"sizes": [64, 64, 96]})
    latent, target = latent_of(backbone), backbone.embed([TARGET_TEXT])
    block = backbone._network.single_transformer_blocks[0].attn
    expected = batched_loop(latent, target, [block.to_k, block.to_v], before=target.tokens.shape[1])
    found = StableFlow(steps=3, layers=(-1,), nudge=1.0, time="end").edit(latent, target, [1.0])[0].z
    assert relative_error(found, expected) < 1e-5


@pytest.mark.parametrize(
    "editor",
    [RFSolver(steps=3, share=1), FireFlow(steps=3, share=1), MasaCtrl(steps=3), StableFlow(steps=3)],
    ids=lambda it: it.name,
)
def test_models_without_attention_are_rejected(editor: Editor) -> None:
    latent = mixture_latent(example_mixture(dimension=6))
    with pytest.raises(ConfigError):
        editor.edit(latent, latent.backbone.embed(["c"]), [1.0])
