"""Nodes that edit latents by text, with any model that ComfyUI runs; they need the package latentedit."""

from typing import Any

from comfy_api.latest import io

from .guider import METHODS, EditGuider, EditSampler
from .nodes_sweep import STRENGTHS
from .schemas import CATEGORY, schema

_CHOICE = {"default": None, "on": True, "off": False}


class Guider(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> Any:
        return schema(
            node_id="LatentEdit_Guider",
            display_name="Edit guider",
            category=f"{CATEGORY}/text",
            description="Source and target of an edit by text. Connect it to SamplerCustomAdvanced, with Edit sampler.",
            search_aliases=["edit by text", "prompt to prompt", "flowedit", "inversion-free edit", "concept slider"],
            inputs=[
                io.Model.Input("model", tooltip="Any model with a velocity: flow, epsilon or v prediction; with LoRA."),
                io.Conditioning.Input("source", tooltip="What the image shows."),
                io.Conditioning.Input("target", tooltip="What the edited image should show."),
                io.Conditioning.Input(
                    "negative", optional=True, tooltip="For weights other than 1; FLUX takes its weight as an input."
                ),
                io.Float.Input(
                    "source_guidance",
                    default=1.5,
                    min=0.0,
                    max=30.0,
                    step=0.1,
                    tooltip="Guidance of the source: 1.5 for FLUX, 3.5 for SD3, 1 for models without guidance.",
                ),
                io.Float.Input(
                    "target_guidance",
                    default=5.5,
                    min=0.0,
                    max=30.0,
                    step=0.1,
                    tooltip="Guidance of the target: 5.5 for FLUX, 13.5 for SD3, 1 for models without guidance.",
                ),
            ],
            outputs=[io.Guider.Output()],
        )

    @classmethod
    def execute(
        cls, model: Any, source: Any, target: Any, source_guidance: float, target_guidance: float, negative: Any = None
    ) -> Any:
        return io.NodeOutput(EditGuider(model, source, target, negative, (source_guidance, target_guidance)))


class Sampler(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> Any:
        return schema(
            node_id="LatentEdit_Sampler",
            display_name="Edit sampler",
            category=f"{CATEGORY}/text",
            description="Edits the latent from Edit guider's source to its target. The sigmas are the path of the "
            "edit: the higher they start, the more may change.",
            search_aliases=["edit by text", "flowedit", "EIM", "DVRF", "edit strength", "slider"],
            inputs=[
                io.Combo.Input("method", options=list(METHODS), tooltip="eim searches at levels of its own."),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=-3.0,
                    max=3.0,
                    step=0.05,
                    tooltip="0 is the image itself, bit for bit; 1 the full change; below 0 the opposite.",
                ),
                io.Combo.Input(
                    "auto_mask",
                    options=list(_CHOICE),
                    tooltip="Keeps the change to where it is strong. Default: eim only.",
                ),
                io.Combo.Input(
                    "refine",
                    options=list(_CHOICE),
                    tooltip="Redraws the core of the change in three steps. Default: eim only.",
                ),
                STRENGTHS.Input("strengths", optional=True, tooltip="From Strength sweep; in place of strength."),
            ],
            outputs=[io.Sampler.Output()],
        )

    @classmethod
    def execute(
        cls, method: str, strength: float, auto_mask: str, refine: str, strengths: tuple[float, ...] | None = None
    ) -> Any:
        several = (strength,) if strengths is None else strengths
        return io.NodeOutput(EditSampler(method, several, _CHOICE[auto_mask], _CHOICE[refine]))


NODES: list[Any] = [Guider, Sampler]
