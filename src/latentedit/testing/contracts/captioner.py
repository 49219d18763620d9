"""The laws of `Captioner` as a pytest class: subclass it, give it a captioner, and inherit its tests."""

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.encoding.captions.base import Captioner, clean_caption
from latentedit.numerics.rng import draw, seeded


class CaptionerContract:
    """Duties of every captioner; numbers are those of the laws in `latentedit.encoding.captions.base.Captioner`.

    A subclass named ``Test...`` gives the fixture `captioner`, and its own `pixels` where plain ones and noise do not
    bring out two different captions.

    Example:
        class TestMine(CaptionerContract):
            @pytest.fixture
            def captioner(self):
                return MyCaptioner(...)
    """

    @pytest.fixture
    def captioner(self) -> Captioner:
        """The captioner under test, given by the subclass."""
        raise NotImplementedError("a subclass of CaptionerContract gives the fixture `captioner`")

    @pytest.fixture
    def pixels(self) -> Float[Tensor, "b 3 h w"]:
        """A black image, a white one, and two of noise."""
        plain = torch.ones(2, 3, 128, 128) * torch.tensor([-1.0, 1.0])[:, None, None, None]
        noise = draw((2, 3, 128, 128), seed=0, purpose="contract").clamp(-1, 1)
        return torch.cat([plain, noise])

    def test_one_line_of_text_each(self, captioner: Captioner, pixels: Tensor) -> None:
        """Each image gets a caption that is not empty and is as `clean_caption` leaves it; no image is changed."""
        before = pixels.clone()
        captions = captioner.caption(pixels)
        assert len(captions) == len(pixels)
        assert all(captions)
        assert [clean_caption(caption) for caption in captions] == captions
        assert torch.equal(pixels, before), "the images were changed"

    def test_law_1_neighbors_do_not_matter(self, captioner: Captioner, pixels: Tensor) -> None:
        """Each image alone gives what it gives in the batch, and in another order."""
        together = captioner.caption(pixels)
        assert len(set(together)) > 1, "every image has the same caption, so nothing is tested"
        assert [captioner.caption(pixels[index : index + 1])[0] for index in range(len(pixels))] == together
        assert captioner.caption(pixels.flip(0)) == together[::-1]

    def test_law_2_deterministic(self, captioner: Captioner, pixels: Tensor) -> None:
        """The global random state neither matters nor moves."""
        first = captioner.caption(pixels)
        with seeded(1):
            state = torch.random.get_rng_state()
            again = captioner.caption(pixels)
            assert torch.equal(torch.random.get_rng_state(), state)
        assert first == again
