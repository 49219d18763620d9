"""A guard that reports every image as unknown."""

import dataclasses
from typing import Any

import pytest

from latentedit.latents.joint import Familiarity, JointLatent

UNKNOWN = Familiarity(
    state="unknown", number=21.5, reason="subject", caption_fits=False, caption_read=True, evaluations=6
)


def report_unknown(monkeypatch: pytest.MonkeyPatch, **other: Any) -> Familiarity:
    """Lets every model report every image as unknown, or as the given fields of `Familiarity`."""
    familiarity = dataclasses.replace(UNKNOWN, **other)

    def check_familiarity(latent: JointLatent) -> JointLatent:
        return dataclasses.replace(latent, knowledge=(familiarity,) * len(latent))

    monkeypatch.setattr("latentedit.guard.guard.check_familiarity", check_familiarity)
    return familiarity
