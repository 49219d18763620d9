"""Whether colours and readings are counted as right, by what was painted."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from latentedit_portraits import other_programs
from latentedit_portraits.attributes import VALUES, draw_split
from latentedit_portraits.dataset import to_pixels
from latentedit_portraits.other_programs import nearest_color, reading_accuracy
from latentedit_portraits.reader import PortraitReader
from latentedit_portraits.recolored import NAMED, OTHERS, recolored
from latentedit_portraits.render import Framing, render_array, render_colors


@pytest.mark.parametrize("word", NAMED)
def test_a_painted_background_has_the_colour_of_its_name(word: str) -> None:
    one = recolored(draw_split("test", 1, 5)[0], background=word)
    picture = render_colors(one, one.paints, 128, Framing())
    corner = torch.from_numpy(picture[:8, :8].reshape(-1, 3).T.astype(np.float32)) / 127.5 - 1
    assert nearest_color(corner) == word


def test_a_colour_is_looked_at_where_the_right_answer_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    """An editor that knows the answer is right, and one that does nothing is not."""
    one, word = draw_split("test", 1, 5)[0], OTHERS["clothes_color"][0]
    answer = recolored(one, clothes_color=word)
    source, truth = (
        to_pixels(picture[None], torch.device("cpu"))
        for picture in (render_array(one), render_colors(answer, answer.paints, 128, Framing()))
    )
    model: Any = SimpleNamespace(decode=lambda z: z, embed=lambda _: None)
    monkeypatch.setattr(other_programs, "encode", lambda *_, **__: SimpleNamespace(decoded=source))
    for moved, right in ((truth, True), (source, False)):
        editor = SimpleNamespace(edit=lambda *_, moved=moved, **__: [SimpleNamespace(z=moved)])
        monkeypatch.setattr(other_programs, "make_editor", lambda *_, editor=editor: editor)
        assert other_programs._recolored_right(model, [one], "clothes_color", word) == [right]


@pytest.mark.slow
def test_a_reader_is_counted_on_what_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    draw = other_programs.draw_picture

    def kept(generator):
        item, picture = draw(generator)
        drawn.append(item)
        return item, picture

    class Knows(PortraitReader):
        def __init__(self) -> None:
            """Nothing is loaded."""

        def attributes(self, pixels):
            del pixels
            return [dataclasses.replace(one, eyes=VALUES["eyes"][0]) for one in drawn]

    monkeypatch.setattr(other_programs, "draw_picture", kept)
    shares = reading_accuracy(Knows(), 12)
    assert shares["mouth"] == 1
    assert shares["eyes"] == pytest.approx(np.mean([one.eyes == VALUES["eyes"][0] for one in drawn]))
    assert 0 < shares["eyes"] < 1
