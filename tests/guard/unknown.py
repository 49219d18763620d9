"""A guard that knows no image."""

import dataclasses
from typing import Any

import pytest

from latentedit.latents.joint import Familiarity, JointLatent

UNKNOWN = Familiarity(
    state="unknown", number=21.5, reason="subject", caption_fits=False, caption_read=True, evaluations=6
)


def not_known(monkeypatch: pytest.MonkeyPatch, **other: Any) -> Familiarity:
    """From now on every model says of every image that it does not know it, or something else."""
    found = dataclasses.replace(UNKNOWN, **other)

    def check_familiarity(latent: JointLatent) -> JointLatent:
        return dataclasses.replace(latent, knowledge=(found,) * len(latent))

    monkeypatch.setattr("latentedit.guard.guard.check_familiarity", check_familiarity)
    return found
