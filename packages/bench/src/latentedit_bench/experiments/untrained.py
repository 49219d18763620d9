"""The untrained twin of a model: what its architecture does by itself, before it has seen a picture."""

from pathlib import Path

import torch

from latentedit.core.rng import seeded
from latentedit.models.base import Backbone
from latentedit.models.libraries import quiet_libraries
from latentedit.models.loading import open_folder
from latentedit.models.placement import Placement, existing_device, place
from latentedit.models.registry import locate


def untrained_twin(model: str | Path, *, seed: int, device: str | None = None) -> Backbone:
    """A model whose denoiser is built anew from its configuration; text encoders, codec and schedule stay as they are.

    Weights are as the layers of PyTorch and diffusers begin by themselves, drawn from the seed: not with the output and
    the gates at zero, where training of a diffusion transformer often begins, for there the network does nothing.
    """
    name, path = locate(model)
    folder = open_folder(path)
    components = folder.components(torch.float32)
    part, on = folder.adapter.denoiser, existing_device(device)
    with quiet_libraries(), seeded(seed):
        components[part] = type(components[part]).from_config(components[part].config)
    place(components, Placement(device=on, dtype=torch.float32), denoiser=part)
    return folder.adapter(
        components,
        name=f"{name}, untrained",
        fingerprint=f"{folder.fingerprint}, untrained {seed}",
        settings=folder.settings,
        pipeline=folder.pipeline,
        configuration=folder.configuration,
        device=on,
    )
