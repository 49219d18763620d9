"""Ten edits in a row, each by an editor that damages: what rots with and without `latentedit.keep`."""

import numpy as np
from PIL import Image

from latentedit_bench.known_pairs.cases import SEEDS
from latentedit_bench.known_pairs.changes import draw_object, true_mask
from latentedit_bench.known_pairs.damages import Damage
from latentedit_bench.known_pairs.measured import FAR_PX, Row, psnr
from latentedit_bench.known_pairs.photographs import PHOTOGRAPHS, Half, cropped, photograph, scaled
from latentedit_keep.api import keep
from latentedit_keep.warp import cv2

EDITS = 10
_SIDE = 512
_SHARE = 0.02


def repeated(half: Half, index: int) -> list[Row]:
    """One row an edit: error of the edited part and of what was never edited, with and without.

    Args:
        half: whose photographs are used.
        index: of the photograph.
    """
    generator = np.random.default_rng([7, SEEDS[half], index])
    name = PHOTOGRAPHS[half][index % len(PHOTOGRAPHS[half])]
    original = scaled(cropped(photograph(name), generator), _SIDE, generator)
    truth = without = with_keep = original
    rows: list[Row] = []
    for edit in range(1, EDITS + 1):
        wanted = np.rint(draw_object(truth.astype(np.float32), truth, _SHARE, generator)).clip(0, 255).astype(np.uint8)
        change = wanted.astype(np.float32) - truth
        mask = true_mask(truth.astype(np.float32), wanted.astype(np.float32))[..., None] > 0
        damage = _damage((original.shape[1], original.shape[0]), generator)
        without, edited = (
            damage.apply(np.where(mask, truth + change, start).astype(np.float32)) for start in (without, with_keep)
        )
        with_keep = np.asarray(keep(Image.fromarray(with_keep), Image.fromarray(edited)).image)
        truth = wanted
        touched = true_mask(original.astype(np.float32), truth.astype(np.float32))
        far = cv2.distanceTransform((touched <= 0).astype(np.uint8), cv2.DIST_L2, 5) > FAR_PX
        rows.append(
            {
                "picture": name.rsplit("/", 1)[-1].partition(".")[0],
                "edit": edit,
                "rest_without_db": psnr(without, original, touched == 0),
                "rest_with_db": psnr(with_keep, original, touched == 0),
                "edited_without_db": psnr(without, truth, touched > 0.5),
                "edited_with_db": psnr(with_keep, truth, touched > 0.5),
                "far_touched": int(((with_keep != original).any(axis=2) & far).sum()),
            }
        )
    return rows


def _damage(size: tuple[int, int], generator: np.random.Generator) -> Damage:
    """Half a pixel, a light cast, other texture and JPEG."""
    matrix = np.eye(3)
    matrix[:2, 2] = generator.uniform(-0.7, 0.7, 2)
    return Damage(
        matrix=matrix,
        size=size,
        gamma=np.exp(generator.normal(0, 0.02, 3)),
        gain=1 + generator.normal(0, 0.01, 3),
        contrast=1.0,
        saturation=1.0,
        codec="texture and jpeg",
        amount=0.3,
        seed=int(generator.integers(2**31)),
    )
