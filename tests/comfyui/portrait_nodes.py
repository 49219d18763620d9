"""A node for servers of tests: the bundled model of portraits as ComfyUI's model, text encoder and image codec."""

import contextlib
import sys
from collections.abc import Generator
from pathlib import Path

import torch
import transformers
from comfy_api.latest import ComfyExtension, io

ROOT = Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def _without_stand_ins() -> Generator[None]:
    """Hide the stand-ins for torchvision and torchaudio: they are too small for diffusers, which works without them."""
    own = [name for name in sys.modules if name.partition(".")[0] in ("torchvision", "torchaudio")]
    hidden, places = {name: sys.modules.pop(name) for name in own}, sys.path[:]
    sys.path[:] = [str(ROOT), *(place for place in places if Path(place).name != "stand-ins")]
    for name in ("is_torchvision_available", "is_torchvision_v2_available", "is_torchaudio_available"):
        getattr(transformers.utils.import_utils, name).cache_clear()
    yield
    sys.path[:] = places
    sys.modules.update(hidden)


class Codec:
    def __init__(self, twin):
        self.twin = twin

    def encode(self, pixels):
        return self.twin.inner.process_latent_out(self.twin.backbone.encode(2 * pixels.movedim(-1, 1) - 1))

    def decode(self, latents):
        images = self.twin.backbone.decode(self.twin.inner.process_latent_in(latents))
        return ((images + 1) / 2).clamp(0, 1).movedim(1, -1)


class Texts:
    def __init__(self, twin):
        self.twin = twin

    def tokenize(self, text):
        return text

    def encode_from_tokens_scheduled(self, tokens):
        return self.twin.cond(self.twin.backbone.embed([tokens]))


class Portraits(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        outputs = [io.Model.Output(), io.Clip.Output(), io.Vae.Output()]
        return io.Schema(node_id="Test_Portraits", category="test", inputs=[], outputs=outputs)

    @classmethod
    @torch.no_grad()
    def execute(cls):
        with _without_stand_ins():
            from tests.comfyui.networks import portraits_twin

            twin = portraits_twin()
        return io.NodeOutput(twin.model, Texts(twin), Codec(twin))


class Extension(ComfyExtension):
    async def get_node_list(self):
        return [Portraits]


async def comfy_entrypoint():
    return Extension()
