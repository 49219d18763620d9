"""The contract catches captioners that break its laws."""

import pytest
import torch
from torch import Tensor

from latentedit.latents.captions.base import Captioner
from latentedit.testing.contracts.captioner import CaptionerContract


class Brightness(Captioner):
    """Says how bright a picture is, with a fault if asked."""

    def __init__(self, fault: str = "") -> None:
        self.fault = fault
        self.calls = 0

    def caption(self, pixels: Tensor) -> list[str]:
        self.calls += 1
        means = pixels.mean(dim=(1, 2, 3))
        if self.fault == "neighbours":
            means = means - means.mean()
        if self.fault == "draws":
            means = means + 1e-2 * torch.rand(())
        if self.fault == "remembers":
            means = means + self.calls
        if self.fault == "in place":
            pixels.neg_()
        if self.fault == "deaf":
            means = torch.zeros_like(means)
        captions = [f"a picture of brightness {float(mean):.4f}" for mean in means]
        if self.fault == "loses one":
            return captions[1:]
        if self.fault == "silent":
            return ["", *captions[1:]]
        return [f"{caption}." for caption in captions] if self.fault == "full stop" else captions


CHECKS = {
    "loses one": "test_one_line_of_text_each",
    "silent": "test_one_line_of_text_each",
    "full stop": "test_one_line_of_text_each",
    "in place": "test_one_line_of_text_each",
    "neighbours": "test_law_1_neighbours_do_not_matter",
    "deaf": "test_law_1_neighbours_do_not_matter",
    "draws": "test_law_2_deterministic",
    "remembers": "test_law_2_deterministic",
}


@pytest.mark.parametrize("fault", CHECKS)
def test_a_broken_law_fails_its_test(fault: str) -> None:
    check = getattr(CaptionerContract(), CHECKS[fault])
    pixels = torch.linspace(-1, 1, 3)[:, None, None, None] * torch.ones(3, 3, 4, 4)
    check(Brightness(), pixels.clone())
    with pytest.raises(AssertionError):
        check(Brightness(fault), pixels.clone())
