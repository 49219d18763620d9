"""The guider and the sampler of the pack: ComfyUI's networks edited as the library edits the same networks."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from latentedit.editors.base import editor_class
from latentedit.editors.moving import edit_latent
from tests.comfyui import PACK, pack
from tests.comfyui.networks import Twin, flux_twin, load_comfy, portraits_twin, sd_twin

load_comfy()

CLOSE = 1e-4  # largest difference of latents that change by 1 or less; a share of the change where that is larger
ROUNDED = 0.02  # the same for EIM on models with trained times, whose nearest ComfyUI takes
GUIDED, FREE = (1.5, 5.5), (1.0, 1.0)  # weights of source and target


def by_comfy(
    twin: Twin,
    method: str = "flowedit",
    strengths: Sequence[float] = (1.0,),
    weights: tuple[float, float] = FREE,
    source: Any = None,
    negative: bool = True,
    callback: Any = None,
    latents: Tensor | None = None,
    sigmas: Tensor | None = None,
    **given: Any,
) -> Tensor:
    """The latents that SamplerCustomAdvanced returns, in ComfyUI's own scale."""
    guider = pack("guider")
    conds = (twin.cond(twin.source) if source is None else source), twin.cond(twin.target)
    made = guider.EditGuider(twin.model, *conds, twin.cond(twin.empty) if negative else None, weights)
    sampler = guider.EditSampler(method, strengths, given.pop("auto_mask", False), given.pop("refine", False))
    raw = twin.inner.process_latent_out(twin.latents()) if latents is None else latents
    sigmas = twin.sigmas() if sigmas is None else sigmas
    seed = given.pop("seed", 3)
    return made.sample(torch.zeros_like(raw), raw, sampler, sigmas, seed=seed, callback=callback, **given)


def by_library(
    twin: Twin, method: str, strengths: Sequence[float], weights: tuple[float, float] = FREE, **given: Any
) -> Tensor:
    settings = {"search": {"steps": 8}} if method == "eim" else {}
    if method in ("flowedit", "dvrf", "flowslider"):
        settings = dict(zip(("source_guidance", "target_guidance"), weights, strict=True))
    options = {"auto_mask": False, "refine": False, "seed": 3} | given
    editor, levels = editor_class(method).from_dict(settings), twin.backbone.grid(8)
    z, texts = twin.latents(), (twin.source, twin.target)
    steps = edit_latent(twin.backbone, z, *texts, strengths, editor, levels=levels, **options)
    return torch.cat([step.z for step in steps])


def difference(twin: Twin, method: str, strengths: Sequence[float], *weights: Any, **given: Any) -> float:
    theirs = by_library(twin, method, strengths, *weights, **given)
    ours = twin.inner.process_latent_in(by_comfy(twin, method, strengths, *weights, **given))
    change = float((theirs - twin.latents().repeat(len(strengths), 1, 1, 1)).abs().max())
    assert change > 0.05, "nothing moved"
    found = float((ours - theirs).abs().max())
    return found / max(1.0, change)


@pytest.mark.parametrize("method", ["flowedit", "eim", "dvrf", "flowslider", "flowalign"])
@pytest.mark.parametrize("twin", [flux_twin, portraits_twin])
def test_flows_are_edited_as_by_the_library(twin: Any, method: str) -> None:
    """FLUX with random weights, and SD3 with the trained weights of the bundled portraits."""
    assert difference(twin(), method, [-1.0, 0.5, 1.0, 1.5], GUIDED) < CLOSE


@pytest.mark.parametrize("weights", [FREE, GUIDED])
@pytest.mark.parametrize("method", ["flowedit", "dvrf", "flowslider"])
def test_stable_diffusion_is_edited_as_by_the_library(method: str, weights: tuple[float, float]) -> None:
    assert difference(sd_twin(), method, [0.5, 1.0, -1.0], weights) < CLOSE


def test_eim_differs_by_the_rounding_of_times_where_a_model_has_a_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    """ComfyUI rounds the time of a level to the nearest trained one; the library interpolates."""
    twin = sd_twin()
    assert CLOSE < difference(twin, "eim", [1.0, 0.5, -1.0]) < ROUNDED

    def timestep(self: Any, sigma: Tensor) -> Tensor:
        sigma = sigma.double()
        return twin.backbone.schedule.time(sigma / (1 + sigma)).float()

    monkeypatch.setattr(type(twin.inner.model_sampling), "timestep", timestep)
    assert difference(twin, "eim", [1.0, 0.5, -1.0]) < CLOSE


@pytest.mark.parametrize("method", ["eim", "flowedit"])
@pytest.mark.parametrize("twin", [flux_twin, sd_twin])
def test_locality_and_refinement_are_the_librarys(twin: Any, method: str) -> None:
    close = ROUNDED if twin is sd_twin and method == "eim" else CLOSE
    assert difference(twin(), method, [0.7, 1.0], GUIDED, auto_mask=True, refine=True) < close


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("twin", [flux_twin, sd_twin])
def test_strength_0_is_the_input_bit_for_bit(twin: Any, dtype: torch.dtype) -> None:
    raw = torch.randn(2, *twin().backbone.latent_shape(64, 64), generator=torch.Generator().manual_seed(1)).to(dtype)
    assert torch.equal(by_comfy(twin(), "eim", [0.0], latents=raw), raw.float())
    assert torch.equal(by_comfy(twin(), "flowedit", [0.0, 1.0], latents=raw)[:2], raw.float())


def test_a_sweep_is_a_batch_of_the_same_edits() -> None:
    twin, strengths = flux_twin(), [0.0, 0.5, 1.0]
    together = by_comfy(twin, "eim", strengths)
    alone = torch.cat([by_comfy(twin, "eim", [strength]) for strength in strengths])
    assert together.shape == (6, *twin.latents().shape[1:])
    assert torch.allclose(together, alone, atol=1e-5)
    assert pack("sweeps").strengths(0, 1, 3) == tuple(strengths)


def test_a_noise_mask_keeps_the_rest_bit_for_bit() -> None:
    twin = flux_twin()
    raw = twin.inner.process_latent_out(twin.latents())
    mask = torch.zeros(1, 1, *raw.shape[2:])
    mask[..., :4] = 1
    edited = by_comfy(twin, "flowedit", [1.0], GUIDED, denoise_mask=mask)
    assert torch.equal(edited[..., 4:], raw[..., 4:])
    assert float((edited - raw)[..., :4].abs().max()) > 0.1


def test_texts_of_other_lengths_and_any_levels() -> None:
    twin = sd_twin()
    short = [[torch.randn(1, 5, 16, generator=torch.Generator().manual_seed(0)), {}]]
    for method in pack("guider").METHODS:
        sigmas = torch.tensor([30.0, 2.0, 0.5, 0.01, 0.0])  # beyond the trained ones, both ways
        edited = by_comfy(twin, method, [1.0], source=short, sigmas=sigmas)
        assert bool(edited.isfinite().all())
        assert not torch.equal(edited, twin.inner.process_latent_out(twin.latents()))


@pytest.mark.parametrize("method", ["flowedit", "eim"])
def test_a_model_gets_noise_of_its_own_scale(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """HiDream O1 learned from ``(1 - sigma) x + 8 sigma e``: with a constant answer, what else it is given is 8 e."""
    twin, given = flux_twin(), list[tuple[float, Tensor]]()

    def apply_model(x: Tensor, sigma: Tensor, **_: Any) -> Tensor:
        given.extend((float(level), row) for row, level in zip(x, sigma, strict=True))
        return torch.zeros_like(x)

    monkeypatch.setattr(twin.inner, "apply_model", apply_model)
    monkeypatch.setattr(twin.inner.model_sampling, "noise_scale", 8.0, raising=False)
    shape = twin.latents().shape
    by_comfy(twin, method, latents=twin.inner.process_latent_out(torch.zeros(shape)) + 1e-6)
    for sigma, x in given[: 2 * len(shape)]:
        assert float(x.std()) == pytest.approx(8 * sigma, rel=0.1)
    if method == "flowedit":
        assert {round(sigma, 5) for sigma, _ in given} == {round(float(sigma), 5) for sigma in twin.sigmas()[:-1]}


def test_levels_without_an_active_conditioning_are_refused() -> None:
    twin = flux_twin()
    late = [[tokens, {**facts, "start_percent": 0.5, "end_percent": 1.0}] for tokens, facts in twin.cond(twin.source)]
    with pytest.raises(ValueError, match="no source conditioning is active at sigma 1"):
        by_comfy(twin, source=late)
    sigmas = twin.sigmas()[twin.sigmas() < 0.5]
    assert torch.equal(by_comfy(twin, source=late, sigmas=sigmas), by_comfy(twin, sigmas=sigmas))


def test_previews_show_the_edit_and_end_at_the_result() -> None:
    twin, seen = flux_twin(), list[tuple[int, Tensor, int]]()
    edited = by_comfy(twin, "flowedit", callback=lambda step, x0, x, total: seen.append((step, x0, total)))
    assert [(step, total) for step, _, total in seen] == [*((step, 8) for step in range(8)), (7, 8)]
    away = [float((x0 - twin.latents()).norm()) for _, x0, _ in seen]
    assert 0 < away[0] < away[-1]
    assert torch.allclose(twin.inner.process_latent_out(seen[-1][1]), edited, atol=1e-5)


def test_a_cancel_ends_it_at_the_next_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    import comfy.model_management

    twin, evaluated = flux_twin(), list[int]()
    forward = twin.inner.apply_model

    def apply_model(*args: Any, **kwargs: Any) -> Tensor:
        evaluated.append(1)
        if len(evaluated) == 3:
            comfy.model_management.interrupt_current_processing(True)
        return forward(*args, **kwargs)

    monkeypatch.setattr(twin.inner, "apply_model", apply_model)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        by_comfy(twin)
    assert len(evaluated) == 3


def test_both_guidance_branches_are_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    twin, rows = sd_twin(), list[int]()
    forward = twin.inner.diffusion_model.forward

    def counted(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        rows.append(len(x))
        return forward(x, *args, **kwargs)

    monkeypatch.setattr(twin.inner.diffusion_model, "forward", counted)
    by_comfy(twin, "flowedit", [1.0], GUIDED)
    assert rows == [4] * 16  # two latents under two texts, for source and target of eight steps


def test_what_cannot_be_edited_is_refused_by_name() -> None:
    import comfy.model_sampling
    import comfy.samplers

    twin = sd_twin()
    model = twin.model.clone()

    class Upscaler(comfy.model_sampling.ModelSamplingDiscrete, comfy.model_sampling.IMG_TO_IMG):
        pass

    model.add_object_patch("model_sampling", Upscaler())
    with pytest.raises(ValueError, match="IMG_TO_IMG"):
        by_comfy(dataclasses.replace(twin, model=model))
    with pytest.raises(ValueError, match="negative"):
        by_comfy(twin, "flowedit", [1.0], GUIDED, negative=False)
    by_comfy(twin, "flowedit", [1.0], FREE, negative=False)
    for sigmas in ([1.0], [1.0, 0.9, 1.0]):
        with pytest.raises(ValueError, match="falling sigmas"):
            by_comfy(twin, sigmas=torch.tensor(sigmas))
    by_comfy(flux_twin(), "flowedit", [1.0], GUIDED, negative=False)  # its weight is an input
    plain = comfy.samplers.CFGGuider(twin.model)
    plain.set_conds(twin.cond(twin.target), twin.cond(twin.empty))
    z = twin.latents()
    with pytest.raises(ValueError, match="Edit guider"):
        plain.sample(torch.zeros_like(z), z, pack("guider").EditSampler("eim", [1.0], None, None), twin.sigmas())


def test_nodes_load_and_make_the_same_edit() -> None:
    twin = flux_twin()
    text, sweep = pack("nodes_text"), pack("nodes_sweep")
    for node in (*text.NODES, *sweep.NODES):
        info = node.GET_SCHEMA()
        assert info.node_id.startswith("LatentEdit_")
        assert info.description
        assert (PACK / f"web/docs/{info.node_id}.md").is_file()
    (guider,) = text.Guider.execute(twin.model, twin.cond(twin.source), twin.cond(twin.target), *GUIDED).result
    amounts, strengths = sweep.Sweep.execute(0.0, 1.0, 2).result
    (sampler,) = text.Sampler.execute("flowedit", 0.3, "off", "default", strengths).result
    raw = twin.inner.process_latent_out(twin.latents())
    edited = guider.sample(torch.zeros_like(raw), raw, sampler, twin.sigmas(), seed=3)
    assert torch.equal(edited, by_comfy(twin, "flowedit", amounts, GUIDED))
