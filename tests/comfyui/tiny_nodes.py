"""Nodes for tests in a server: a random FLUX with its inputs, and the difference of two latents."""

import dataclasses

import torch
from comfy_api.latest import ComfyExtension, io, ui


class TinyFlux(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="Test_TinyFlux",
            display_name="Tiny random FLUX",
            category="test",
            inputs=[io.Int.Input("batch", default=1, min=1)],
            outputs=[
                io.Model.Output(),
                io.Conditioning.Output("source"),
                io.Conditioning.Output("target"),
                io.Latent.Output("latent"),
            ],
        )

    @classmethod
    def execute(cls, batch):
        import comfy.ldm.flux.model as network
        import comfy.model_patcher
        import comfy.supported_models

        shape = {
            "image_model": "flux",
            "in_channels": 16,
            "patch_size": 2,
            "out_channels": 16,
            "vec_in_dim": 32,
            "context_in_dim": 32,
            "hidden_size": 64,
            "mlp_ratio": 2.0,
            "num_heads": 4,
            "depth": 1,
            "depth_single_blocks": 1,
            "axes_dim": [4, 6, 6],
            "theta": 10000,
            "qkv_bias": True,
            "guidance_embed": True,
            "txt_ids_dims": [],
        }
        known = {field.name for field in dataclasses.fields(network.FluxParams)} | {"image_model"}
        config = comfy.supported_models.Flux({name: value for name, value in shape.items() if name in known})
        config.set_inference_dtype(torch.float32, None)
        model, draw = config.get_model({}, "", "cpu"), torch.Generator().manual_seed(0)
        for weights in model.parameters():
            weights.data = 0.05 * torch.randn(weights.shape, generator=draw)
        cpu = torch.device("cpu")

        def text():
            pooled = torch.randn(1, 32, generator=draw)
            return [[torch.randn(1, 8, 32, generator=draw), {"pooled_output": pooled, "guidance": 3.5}]]

        patcher = comfy.model_patcher.ModelPatcher(model, load_device=cpu, offload_device=cpu)
        latent = {"samples": torch.randn(batch, 16, 16, 16, generator=draw)}
        return io.NodeOutput(patcher, text(), text(), latent)


class Difference(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="Test_Difference",
            display_name="Difference of latents",
            category="test",
            inputs=[io.Latent.Input("before"), io.Latent.Input("after")],
            outputs=[],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, before, after):
        change = (after["samples"] - before["samples"][:1]).flatten(1).abs().amax(1)
        return io.NodeOutput(ui=ui.PreviewText(" ".join(f"{value:.6g}" for value in change.tolist())))


class Extension(ComfyExtension):
    async def get_node_list(self):
        return [TinyFlux, Difference]


async def comfy_entrypoint():
    return Extension()
