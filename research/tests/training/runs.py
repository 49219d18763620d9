"""A trainer in a temporary folder, on the CPU, without output."""

from pathlib import Path
from typing import Any

import torch

from research.training.loop import Trainer


def trainer_in(folder: Path, **others: Any) -> Trainer:
    return Trainer(folder=folder, device=torch.device("cpu"), **{"log": lambda _: None, **others})
