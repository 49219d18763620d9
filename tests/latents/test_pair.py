"""Two pictures in one batch, each under its own caption or one that is read; what is no pair is refused."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from latentedit.core.errors import ConfigError
from latentedit.latents.encode import encode
from latentedit.latents.pair import encode_pair
from tests.editors.colours import ColourBackbone
from tests.editors.edits import grey, noisy


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> ColourBackbone:
    """A model whose captioner names the colour."""
    from tests.editors.colours import ColourReader

    model = ColourBackbone(sizes=(4, 8, 12))
    reader = ColourReader(model)
    monkeypatch.setattr("latentedit.latents.pair.captioner_for", lambda backbone: reader)
    return model


def test_captions_are_given_or_read(reading: ColourBackbone) -> None:
    pair = encode_pair(reading, [noisy(), grey()], ["green", None])
    assert pair.captions == ("green", "grey")
    assert torch.equal(pair.condition.tokens, reading.embed(["green", "grey"]).tokens)
    alone = encode(reading, grey(), caption="grey")
    assert torch.equal(pair.z[1], alone.z[0])
    assert torch.equal(pair.frames[1].pixels, alone.frames[0].pixels)


def test_without_a_captioner_there_is_no_text() -> None:
    model = ColourBackbone()
    pair = encode_pair(model, [noisy(), grey()], [None, "red"])
    assert pair.captions == ("", "red")
    assert torch.equal(pair.condition.tokens, model.embed(["", "red"]).tokens)


def test_what_is_no_pair_is_refused(reading: ColourBackbone) -> None:
    wide: Any = Image.fromarray(np.asarray(grey(size=(48, 16))))
    with pytest.raises(ConfigError, match=r"at one size; got 8 x 8 and 12 x 4\. Crop one"):
        encode_pair(reading, [grey(size=(16, 16)), wide], [None, None])
    with pytest.raises(ConfigError, match="the same one twice"):
        encode_pair(reading, [grey(), grey()], [None, None])
    for count in (1, 3):
        with pytest.raises(ConfigError, match=f"two pictures and two captions; got {count}"):
            encode_pair(reading, [grey(seed) for seed in range(count)], [None, None])
