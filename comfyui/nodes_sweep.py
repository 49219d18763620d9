"""The node that makes several strengths of one edit."""

from typing import Any

from comfy_api.latest import io

from .schemas import CATEGORY, schema
from .sweeps import strengths

STRENGTHS: Any = io.Custom("LATENTEDIT_STRENGTHS")


class Sweep(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> Any:
        return schema(
            node_id="LatentEdit_Sweep",
            display_name="Strength sweep",
            category=CATEGORY,
            description="Evenly spaced strengths: a list of amounts for Keep only the change, or all for Edit sampler, "
            "which shares its work between them and returns a batch.",
            search_aliases=["strength slider", "grid", "xy plot", "several strengths"],
            inputs=[
                io.Float.Input("first", default=0.0, min=-3.0, max=3.0, step=0.05),
                io.Float.Input("last", default=1.0, min=-3.0, max=3.0, step=0.05),
                io.Int.Input("count", default=5, min=1, max=32),
            ],
            outputs=[
                io.Float.Output("amount", is_output_list=True, tooltip="One run of the next node for each."),
                STRENGTHS.Output("strengths", tooltip="For Edit sampler."),
            ],
        )

    @classmethod
    def execute(cls, first: float, last: float, count: int) -> Any:
        values = strengths(first, last, count)
        return io.NodeOutput(list(values), values)


NODES: list[Any] = [Sweep]
