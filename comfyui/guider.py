"""Editors of latentedit on ComfyUI's own models: a guider with two conditionings, and a sampler that edits."""

import logging
import math
from collections.abc import Callable, Sequence
from typing import Any

import comfy.conds
import comfy.model_management
import comfy.samplers
import torch
from torch import Tensor

from latentedit import CallableBackbone, Condition, edit_latent
from latentedit.editors import StrengthResult, editor_class, make_editor
from latentedit.models import Capabilities
from latentedit.numerics import LevelGrid

METHODS = ("flowedit", "eim", "dvrf", "flowslider", "flowalign")  # they evaluate velocities, and mix no texts
NAMES = ("negative", "source", "positive")  # the conditionings of a guider; the target is what ComfyUI calls positive
NO_VELOCITY = {"IMG_TO_IMG", "IMG_TO_IMG_FLOW", "V_PREDICTION_DDPM"}


def is_flow(sampling: Any) -> bool:
    """Whether a model's latents are ``(1 - s) x + s e`` with sigma s; otherwise they are ``x + sigma e``.

    Classes are compared by name: older versions of ComfyUI do not have all of them.

    Raises:
        ValueError: a model whose estimates stand for no velocity.
    """
    kinds = {kind.__name__ for kind in type(sampling).__mro__}
    if refused := sorted(kinds & NO_VELOCITY):
        raise ValueError(
            f"models of type {refused[0]} predict no velocity, which edits by text need. Use another model"
        )
    return "CONST" in kinds


class EditGuider(comfy.samplers.CFGGuider):
    """Holds what an `EditSampler` needs: a model, conditionings, and weights of classifier-free guidance."""

    def __init__(self, model: Any, source: Any, target: Any, negative: Any, weights: tuple[float, float]) -> None:
        for name, given in {"model": model, "source": source, "target": target}.items():
            if given is None:
                raise ValueError(f"`{name}` is missing: the node that is connected to it gave nothing. Connect another")
        super().__init__(model)
        is_flow(model.get_model_object("model_sampling"))  # refuses models without a velocity
        self.weights = {"source_guidance": weights[0], "target_guidance": weights[1]}
        conds = {"source": source, "positive": target}
        self.inner_set_conds(conds if negative is None else conds | {"negative": negative})

    def inner_sample(self, noise: Tensor, latent_image: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Sample, and return bit for bit what an edit left alone: ComfyUI scales latents in and out, which rounds."""
        edited = super().inner_sample(noise, latent_image, *args, **kwargs)
        start = self.inner_model.process_latent_in(latent_image) if latent_image.any() else latent_image
        change = edited - _repeated(self.inner_model.process_latent_out(start.float()), edited)
        return _repeated(latent_image.float(), edited) + change


class EditSampler(comfy.samplers.Sampler):
    """Edits latents instead of sampling them; several strengths make a batch, one strength after the other."""

    def __init__(self, method: str, strengths: Sequence[float], auto_mask: bool | None, refine: bool | None) -> None:
        self.method, self.strengths, self.auto_mask, self.refine = method, list(strengths), auto_mask, refine

    def sample(
        self,
        model_wrap: EditGuider,
        sigmas: Tensor,
        extra_args: dict[str, Any],
        callback: Callable[[int, Tensor, Tensor, int], None] | None,
        noise: Tensor,  # noqa: ARG002 - editors draw their own from the seed
        latent_image: Tensor,
        denoise_mask: Tensor | None = None,
        disable_pbar: bool = False,  # noqa: ARG002
    ) -> Tensor:
        """The edited latents, in the model's scale, as ComfyUI asks a sampler for them."""
        if not isinstance(model_wrap, EditGuider):
            raise ValueError("Edit sampler needs the source and the target. Connect Edit guider to the guider input")
        image = latent_image.ndim == 5 and latent_image.shape[2] == 1  # one frame: editors know images as [b, c, h, w]
        z = (latent_image[:, :, 0] if image else latent_image).float()
        host = Host(model_wrap, sigmas, extra_args["model_options"], z, image=image)

        def shown(z: Tensor) -> Tensor:
            return z.unsqueeze(2) if image else z

        def progress(_: str, done: int, total: int, estimate: Tensor) -> None:
            if callback is not None:
                callback(done - 1, shown(estimate), shown(estimate), total)

        results = edit_latent(
            host.backbone,
            z,
            host.embed(["source"]),
            host.embed(["positive"]),
            self.strengths,
            make_editor(self.method, host.backbone, settings=self._settings(model_wrap, host.levels.steps)),
            levels=host.levels,
            seed=extra_args.get("seed") or 0,
            auto_mask=self.auto_mask,
            refine=self.refine,
            progress=progress,
        )
        for note in notes(results):
            logging.warning("latentedit: %s", note)
        edited = shown(torch.cat([result.z for result in results]))
        if denoise_mask is not None:
            before, mask = _repeated(latent_image, edited), _repeated(denoise_mask, edited)
            edited = torch.where(mask > 0, before + mask * (edited - before), before)
        if callback is not None:
            callback(host.levels.steps - 1, edited, edited, host.levels.steps)  # also SamplerCustom's denoised output
        return edited

    def _settings(self, guider: EditGuider, steps: int) -> dict[str, Any]:
        """Settings of the editor from those of the graph."""
        if editor_class(self.method).moves_along:
            return {"search": {"steps": steps}}  # it takes so many steps, at levels of its own
        return {} if self.method == "flowalign" else dict(guider.weights)


class Host:
    """One run of a guider as a backbone; a `Condition` has a one where it is one of `NAMES`."""

    def __init__(self, guider: EditGuider, sigmas: Tensor, options: dict[str, Any], z: Tensor, *, image: bool) -> None:
        self._guider, self._options, self._image = guider, options, image
        if len(sigmas) < 2 or bool((sigmas.diff() >= 0).any()):
            raise ValueError(
                f"an edit needs two or more falling sigmas; got {[round(sigma, 3) for sigma in sigmas.tolist()]}. "
                "Change the scheduler, or the step of SplitSigmas"
            )
        sampling = guider.inner_model.model_sampling
        self._flow = is_flow(sampling)
        self._noise = float(getattr(sampling, "noise_scale", 1.0)) if self._flow else 1.0  # its standard deviation
        ends = torch.stack([torch.as_tensor(end).double().cpu() for end in (sampling.sigma_min, sampling.sigma_max)])
        given, (low, high) = (self._level(sigma).tolist() for sigma in (sigmas.double().cpu(), ends))
        self.levels = LevelGrid(levels=tuple(given))
        # Chroma's is 0: its network takes it as a constant, and is guided by two calls.
        embedded = [entry["model_conds"].get("guidance") for entry in guider.conds["positive"]]
        self._embedded = all(weight is not None and bool(weight.cond.any()) for weight in embedded)
        self.backbone = CallableBackbone(
            self._velocity,
            embed=self.embed,
            latent_shape=lambda *_: tuple(z.shape[1:]),
            name=type(guider.inner_model).__name__,
            fingerprint=str(guider.model_patcher.patches_uuid),
            capabilities=Capabilities(
                s_min=min(low, *(level for level in given if level > 0)),
                s_max=max(high, given[0]),
                derivatives=frozenset(),
                pixels=False,
                guidance_kind="embedded" if self._embedded else "cfg",
                predicts_noise=not self._flow,
            ),
            device=z.device,
            guided=self._guided,
        )

    def embed(self, names: Sequence[str]) -> Condition:
        """One of `NAMES` each; the empty text is the negative conditioning."""
        if "" in names and "negative" not in self._guider.conds and not self._embedded:
            raise ValueError(
                "guidance needs a negative conditioning. Connect one to Edit guider, or set both weights to 1"
            )
        rows = [NAMES.index(name or "negative") for name in names]
        tokens = torch.eye(len(NAMES), device=self.backbone.device)[rows][:, None]
        return Condition(tokens=tokens, pooled=tokens.new_zeros(len(rows), 0))

    def _level(self, sigma: Tensor) -> Tensor:
        return self._noise * sigma / ((1 - sigma if self._flow else 1) + self._noise * sigma)

    def _sigma(self, level: float) -> tuple[float, float]:
        """The model's sigma of a level, and its latents divided by those of the level."""
        if not self._flow:
            return level / (1 - level), 1 / (1 - level)
        sigma = level / (level + self._noise * (1 - level))
        return sigma, 1 - sigma + self._noise * sigma

    def _velocity(self, z: Tensor, s: Tensor, condition: Condition) -> Tensor:
        def clean(x: Tensor, sigma: Tensor, name: str) -> Tensor:
            cond = self._cond(name, condition.guidance)
            return comfy.samplers.calc_cond_batch(self._guider.inner_model, [cond], x, sigma, self._options)[0]

        return self._by_call(z, s, [condition], clean)

    def _guided(self, z: Tensor, s: Tensor, condition: Condition, unconditional: Condition, weight: float) -> Tensor:
        """Both branches in one call, with the graph's patches of guidance."""

        def clean(x: Tensor, sigma: Tensor, name: str, empty: str) -> Tensor:
            conds = self._guider.conds[empty], self._guider.conds[name]
            model = self._guider.inner_model
            return comfy.samplers.sampling_function(model, x, sigma, *conds, weight, model_options=self._options)

        return self._by_call(z, s, [condition, unconditional], clean)

    def _by_call(self, z: Tensor, s: Tensor, texts: Sequence[Condition], clean: Callable[..., Tensor]) -> Tensor:
        """``v = (z - x_hat) / s``; one call for all rows of one level and one choice of conditionings."""
        comfy.model_management.throw_exception_if_processing_interrupted()
        chosen = zip(s.tolist(), *(text.tokens[:, 0].argmax(1).tolist() for text in texts), strict=True)
        calls: dict[tuple[float, ...], list[int]] = {}
        for row, key in enumerate(chosen):
            calls.setdefault(key, []).append(row)
        v = torch.empty_like(z)
        for (level, *names), rows in calls.items():
            part, (sigma, scale) = z[rows], self._sigma(level)
            x = scale * (part.unsqueeze(2) if self._image else part)
            sigmas, named = x.new_full((len(rows),), sigma), [NAMES[int(name)] for name in names]
            for name in named:
                self._refuse_inactive(name, x, sigmas)
            x_hat = clean(x, sigmas, *named)
            v[rows] = (part - (x_hat[:, :, 0] if self._image else x_hat)) / level
        return v

    def _refuse_inactive(self, name: str, x: Tensor, sigmas: Tensor) -> None:
        """ComfyUI takes a clean image of zeros where the time ranges of all conditionings exclude a noise level."""
        areas = (
            "default" in entry or comfy.samplers.get_area_and_mult(entry, x, sigmas)
            for entry in self._guider.conds[name]
        )
        if not any(areas):
            title = "target" if name == "positive" else name
            raise ValueError(
                f"no {title} conditioning is active at sigma {float(sigmas[0]):.3g}. Extend its range in "
                "ConditioningSetTimestepRange, or give only the sigmas within it"
            )

    def _cond(self, name: str, guidance: float | None) -> list[dict[str, Any]]:
        """A conditioning of the graph, with a weight that the network takes as an input."""
        entries = self._guider.conds[name]
        if guidance is None or not self._embedded:
            return entries
        weight = {"guidance": comfy.conds.CONDRegular(torch.tensor([float(guidance)]))}
        return [{**entry, "model_conds": {**entry["model_conds"], **weight}} for entry in entries]


def notes(results: Sequence[StrengthResult]) -> list[str]:
    """Notes for the user: strengths that were clamped, and notes of the editor."""
    lines = [line for result in results for line in result.notes]
    for result in results:
        limits = [] if result.limit is None else [limit for limit in result.limit.tolist() if not math.isnan(limit)]
        if limits and min(map(abs, limits)) < abs(result.strength):
            nearest = min(limits, key=abs)
            lines.append(f"strength {result.strength:g} was clamped to {nearest:.2f}, the largest without damage")
    return list(dict.fromkeys(lines))


def _repeated(part: Tensor, whole: Tensor) -> Tensor:
    """A batch as often as a larger one holds it."""
    return part.repeat(len(whole) // len(part), *[1] * (part.ndim - 1))
