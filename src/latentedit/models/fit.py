"""Whether the parts of a pipeline belong to one model, so that a mixed one is refused when it is taken."""

from typing import Any

from latentedit.core.errors import ModelError


def check_widths(*, text: int, encoder: Any, channels: int, vae: Any, layers: int = 1) -> None:
    """Refuse a text encoder or an autoencoder of another model than the transformer's.

    Args:
        text: width of a text token that the transformer takes.
        encoder: of text.
        channels: of a latent that the transformer takes.
        vae: the autoencoder.
        layers: of the encoder that are joined to one token.

    Raises:
        ModelError: another width of the text, or another number of latent channels.
    """
    width = layers * int(encoder.config.get_text_config().hidden_size)
    if width != text:
        raise ModelError(
            f"the transformer takes text of width {text}; the text encoder gives {width}. Use the parts of one model"
        )
    given = int(vae.config.get("latent_channels", 0) or vae.config["z_dim"])
    if given != channels:
        raise ModelError(
            f"the transformer takes latents of {channels} channels; the VAE gives {given}. Use the parts of one model"
        )


def check_chat_template(tokenizer: Any) -> None:
    """Refuse a tokenizer that cannot build the prompt.

    Raises:
        ModelError: a tokenizer without its chat template.
    """
    if not tokenizer.chat_template:
        raise ModelError(
            "the tokenizer has no chat template, of which this model makes its prompt. "
            "Get chat_template.jinja of the model's tokenizer folder"
        )
