from latentedit.models.base import Backbone
from latentedit.models.registry import bundled_folder
from latentedit_portraits.attributes import draw_split
from latentedit_portraits.captions import full_caption
from latentedit_portraits.quality import adherence, sample_pictures
from latentedit_portraits.reader import PortraitReader, accuracy


def test_a_picture_has_its_own_noise_whatever_the_batch(portraits: Backbone) -> None:
    captions = [full_caption(item) for item in draw_split("test", 2, 8)]
    both = sample_pictures(portraits, captions, steps=4)
    # batched kernels round differently: 1e-3 of a range of 2, far below one of 255 levels
    assert (both[:1] - sample_pictures(portraits, captions[:1], steps=4)).abs().max() < 1e-3
    assert (both[0] - both[1]).abs().max() > 0.1


def test_the_bundled_model_listens(portraits: Backbone) -> None:
    reader = PortraitReader.from_folder(bundled_folder("portraits"))
    wanted = draw_split("test", 10, 9)
    shares = adherence(portraits, reader, wanted)
    # 120 readings; the stored figure on 300 captions is the measurement, this is the alarm
    assert sum(shares.values()) / len(shares) > 0.85
    other = accuracy(draw_split("test", 10, 10), wanted)  # the control: other portraits
    assert sum(other.values()) / len(other) < 0.5
