import numpy as np
import pytest
import torch

from latentedit.geometry.naming import ProbabilityReader
from latentedit.testing.contracts.captioner import CaptionerContract
from latentedit_drawn.render import render_array
from latentedit_portraits.attributes import draw_split
from latentedit_portraits.captions import full_caption
from latentedit_portraits.classifiers import to_pixels
from latentedit_portraits.reader import PortraitReader

BUNDLED = PortraitReader.bundled()


@pytest.mark.nightly
def test_the_bundled_classifier_reads_test_portraits() -> None:
    truth = draw_split("test", 60, 5)
    pixels = to_pixels(np.stack([render_array(item) for item in truth]))
    wrong = sum(len(one.differences(other)) for one, other in zip(BUNDLED.attributes(pixels), truth, strict=True))
    assert wrong <= 0.02 * 60 * len(BUNDLED.values)
    assert BUNDLED.caption(pixels[:1]) == [full_caption(truth[0])]
    assert BUNDLED.read(pixels[:1])[0]["hair"] == truth[0].hair


def test_the_value_read_has_the_highest_probability() -> None:
    assert isinstance(BUNDLED, ProbabilityReader)
    pixels = to_pixels(np.stack([render_array(item) for item in draw_split("test", 5, 6)]))
    read, found = BUNDLED.read(pixels), BUNDLED.probabilities(pixels)
    assert list(found) == list(BUNDLED.values)
    for name, rows in found.items():
        assert rows.shape == (5, len(BUNDLED.values[name]))
        assert torch.allclose(rows.sum(1), torch.ones(5))
        assert [BUNDLED.values[name][int(index)] for index in rows.argmax(1)] == [row[name] for row in read]


class TestPortraitReader(CaptionerContract):
    @pytest.fixture
    def captioner(self) -> PortraitReader:
        return BUNDLED


def test_partial_captions_are_completed_from_the_image() -> None:
    """The completed captions are those of the rendered scene with the stated attribute."""
    scenes = draw_split("calibration", 16, 5)
    pixels = to_pixels(np.stack([render_array(scene, 128) for scene in scenes]))
    pairs = [("a person with a sad mouth", "a person with a smile") for _ in scenes]
    for scene, read, done in zip(scenes, BUNDLED.attributes(pixels), BUNDLED.complete(pixels, pairs), strict=True):
        assert read == scene  # the classifier is right on these; otherwise choose others
        assert done.source == full_caption(scene.replace(mouth="sad"))
        assert done.target == full_caption(scene.replace(mouth="smile"))
        assert bool(done.notes) == (scene.mouth != "sad")
