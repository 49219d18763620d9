"""What U-Net adapters share: sites, sizes, and the U-Nets that they refuse."""

from typing import Any

import pytest
import torch

from latentedit.core.errors import ModelError
from latentedit.core.rng import draw
from latentedit.models.ddpm import DDPMBackbone
from latentedit.models.sites import keeping, projections
from latentedit.models.unet import check_plain


def test_sites_are_the_blocks_in_their_order(sd: Any, ddpm: DDPMBackbone) -> None:
    """Attention layers are in the order in which the network runs them."""
    own = ("down.0", "down.1", "mid", "up.0", "up.1")
    assert sd.sites[:5] == ddpm.sites[:5] == own
    assert sd.default_site == ddpm.default_site == "mid"
    for backbone, sides in ((sd, (4, 4, 4, 8, 8)), (ddpm, (8, 8, 8, 16, 16))):
        z = draw((1, *backbone.latent_shape(*[backbone.capabilities.sizes[1]] * 2)), seed=0, purpose="sites")
        for site, side in zip(own, sides, strict=True):
            feature = backbone.features(z, torch.tensor([0.5]), backbone.embed([""]), site)
            assert feature.shape[2:] == (side, side)
    z = draw((1, *sd.latent_shape(64, 64)), seed=0, purpose="sites")
    with keeping(projections(sd._attention())) as found:
        sd.velocity(z, torch.tensor([0.5]), sd.embed([""]))
    assert list(dict.fromkeys(name.rpartition(".")[0] for name in found)) == list(sd.attention_layers)
    assert [name.partition(".")[0] for name in sd.attention_layers] == ["down", "mid", "up", "up"]
    assert (sd.capabilities.sizes, sd.capabilities.size_multiple) == ((16, 64, 96), 16)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"addition_embed_type": "text_time"}, "XL"),
        ({"encoder_hid_dim_type": "ip_image_proj"}, "image prompt"),
        ({"time_cond_proj_dim": 256}, "consistency"),
        ({"time_embedding_type": "fourier"}, "fourier"),
    ],
)
def test_a_u_net_that_wants_more_is_refused(sd: Any, settings: dict[str, Any], message: str) -> None:
    check_plain(sd._network)

    class Other:
        config = dict(sd._network.config) | settings

    with pytest.raises(ModelError, match=message):
        check_plain(Other)


def test_forward_mode_passes_group_norms_of_any_layout(ddpm: Any) -> None:
    """PyTorch refuses layouts that attention leaves behind; without the adapter's care this raises."""
    norm = ddpm._network.mid_block.resnets[0].norm1
    assert isinstance(norm, torch.nn.GroupNorm)
    x = draw((1, 64, 16), seed=0, purpose="norm").transpose(1, 2).reshape(1, 16, 8, 8)
    x = x.as_strided(x.shape, (1024, 1, 128, 16))
    _, tangent = torch.func.jvp(norm, (x,), (x.flip(2).contiguous().as_strided(x.shape, x.stride()),))
    assert bool(tangent.isfinite().all())
