"""Ten photographs that the wheel of scikit-image 0.26 carries, with captions and one edit of each.

No network and no `pooch` is needed: scikit-image reads these from its own folder. scikit-image is under BSD-3-Clause;
the rights in each photograph are those that its documentation states. Two of the ten, stars and stained tissue, are no
everyday photographs: they are there to see whether a model's guard notices.
"""

import dataclasses
import importlib

from PIL import Image

from latentedit.core import MissingDependencyError

SOURCE = "scikit-image 0.26, BSD-3-Clause; the photographs are in its wheel"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Photograph:
    """One photograph: its name in `skimage.data`, captions before and after the edit, and what is known of its rights.

    Args:
        unusual: it is no everyday photograph, and most models should know it less well.
    """

    name: str
    source_prompt: str
    prompt: str
    rights: str
    unusual: bool = False

    def image(self) -> Image.Image:
        """The photograph in RGB, 8 bits a channel, at its own size.

        Raises:
            MissingDependencyError: scikit-image is not installed.
        """
        try:
            data = importlib.import_module("skimage.data")
        except ImportError as error:
            raise MissingDependencyError("the photographs need scikit-image. pip install scikit-image") from error
        return Image.fromarray(getattr(data, self.name)()).convert("RGB")


PHOTOGRAPHS = (
    Photograph(
        name="astronaut",
        source_prompt="a photo of a smiling woman in an orange space suit, a flag behind her",
        prompt="a photo of a smiling woman with glasses in an orange space suit, a flag behind her",
        rights="public domain (NASA)",
    ),
    Photograph(
        name="camera",
        source_prompt="a black and white photo of a man in a dark coat with a camera on a tripod on a lawn",
        prompt="a black and white photo of a man in a white coat with a camera on a tripod on a lawn",
        rights="CC0 (Lav Varshney)",
    ),
    Photograph(
        name="chelsea",
        source_prompt="a close photo of the face of a ginger cat",
        prompt="a close photo of the face of a gray cat",
        rights="CC0 (Stefan van der Walt)",
    ),
    Photograph(
        name="coffee",
        source_prompt="a photo of a red cup of coffee on a red saucer with a spoon on a wooden table",
        prompt="a photo of a blue cup of coffee on a blue saucer with a spoon on a wooden table",
        rights="CC0 (Rachel Michetti)",
    ),
    Photograph(
        name="rocket",
        source_prompt="a photo of a white rocket between steel towers at dusk",
        prompt="a photo of a white rocket between steel towers in bright daylight",
        rights="public domain (SpaceX)",
    ),
    Photograph(
        name="coins",
        source_prompt="a black and white photo of old coins in four rows on a dark table",
        prompt="a color photo of old gold coins in four rows on a dark table",
        rights="no known copyright restrictions (Brooklyn Museum)",
    ),
    Photograph(
        name="brick",
        source_prompt="a black and white photo of a clean brick wall",
        prompt="a black and white photo of a brick wall with moss",
        rights="CC0 (CC0Textures)",
    ),
    Photograph(
        name="grass",
        source_prompt="a black and white photo of grass from above",
        prompt="a black and white photo of grass with a small white flower from above",
        rights="CC0 (linolafett)",
    ),
    Photograph(
        name="hubble_deep_field",
        source_prompt="a photo of many distant galaxies on a black sky",
        prompt="a photo of many distant galaxies and a large moon on a black sky",
        rights="public domain (NASA)",
        unusual=True,
    ),
    Photograph(
        name="immunohistochemistry",
        source_prompt="a microscope image of brown and blue stained tissue",
        prompt="a microscope image of green and blue stained tissue",
        rights="no known copyright restrictions (CMMI)",
        unusual=True,
    ),
)
