"""How much the layout of a picture changed: whether the same places still resemble the same places."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.nn.functional import interpolate

from latentedit.core.errors import ShapeError
from latentedit.core.settings import check
from latentedit_bench.metrics.pictures import in_double
from latentedit_bench.metrics.pie_bench import Mode

Keys = Callable[[Tensor], Tensor]
"""Pictures as `network_input` gives them, ``[b, 3, h, w]``, to keys of a layer's attention ``[b, heads, tokens, dim]``.

PIE-Bench takes the last layer of DINO's ViT-B/8, its class token too. With transformers 5, where its files are there:
``model = ViTModel.from_pretrained("facebook/dino-vitb8", add_pooling_layer=False, local_files_only=True).eval()``, a
forward hook on ``model.layers[11].attention.k_proj`` that keeps its output ``[b, tokens, 768]``, and ``[:, None]`` of
that: heads are joined anyway.
"""

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_SHORT_SIDE, _LONGEST_SIDE = 224, 480
_SMALLEST_NORM = 1e-8


def self_similarity(keys: Float[Tensor, "b heads tokens dim"]) -> Float64[Tensor, "b tokens tokens"]:
    """``cos(k_i, k_j)`` of every two tokens, a token's key being those of all its heads side by side.

    The product of the two lengths is taken as 1e-8 where it is below that, so a token without a key resembles none.
    """
    joined = keys.double().transpose(1, 2).flatten(2)
    lengths = joined.norm(dim=2, keepdim=True)
    return joined @ joined.mT / (lengths @ lengths.mT).clamp(min=_SMALLEST_NORM)


def structure_distance(
    edited: Float[Tensor, "b heads tokens dim"], source: Float[Tensor, "b heads tokens dim"]
) -> Float64[Tensor, " b"]:
    """Mean square difference of the two `self_similarity` matrices.

    In [0, 4], lower is better; 0 for any change that scales the keys or turns all of them alike.

    Traps: no edit scores best, and a change of shape that was asked for counts as much as one that was not.

    Args:
        edited: keys of the edited pictures; see `Keys`.
        source: of the pictures before.

    Raises:
        ShapeError: the two differ in shape.

    Source:
        Tumanyan et al. 2022, "Splicing ViT Features", equation 5; the mean over all pairs is that of PIE-Bench.
    """
    if edited.shape != source.shape:
        raise ShapeError(f"expected keys of one shape; got {list(edited.shape)} and {list(source.shape)}")
    return (self_similarity(edited) - self_similarity(source)).square().flatten(1).mean(1)


def network_input(pictures: Float[Tensor, "b 3 h w"], *, mode: Mode) -> Float[Tensor, "b 3 height width"]:
    """Pictures as PIE-Bench gives them to DINO: shorter side 224, 480 at most, ImageNet's mean and deviation.

    In legacy mode they go from 0 to 255 into a normalisation meant for 0 to 1, and are scaled bilinearly without
    antialiasing, as torchvision scaled tensors when the evaluator was written. Corrected: 0 to 1, antialiased.

    Args:
        pictures: in [-1, 1].
        mode: see `latentedit_bench.metrics.pie_bench`.

    Returns:
        Single precision.
    """
    check(Mode, mode=mode)
    (double,) = in_double(pictures)
    short, long = sorted(double.shape[2:])
    scale = min(_SHORT_SIDE / short, _LONGEST_SIDE / long)
    size = [int(side * scale + 1e-9) for side in double.shape[2:]]
    brightest = 1 if mode == "corrected" else 255
    scaled = interpolate(double, size=size, mode="bilinear", antialias=mode == "corrected", align_corners=False)
    mean, deviation = (double.new_tensor(values)[:, None, None] for values in (_MEAN, _DEVIATION))
    return ((((scaled + 1) / 2 * brightest) - mean) / deviation).float()


@torch.no_grad()
def picture_structure_distance(
    edited: Float[Tensor, "b 3 h w"], source: Float[Tensor, "b 3 h w"], keys: Keys, *, mode: Mode
) -> Float64[Tensor, " b"]:
    """`structure_distance` of pictures in [-1, 1].

    Args:
        edited: pictures in [-1, 1].
        source: before the edit.
        keys: of the network.
        mode: see `network_input`.

    Cost:
        Two calls of the network.
    """
    return structure_distance(*(keys(network_input(pictures, mode=mode)) for pictures in (edited, source)))
