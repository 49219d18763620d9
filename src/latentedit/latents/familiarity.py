"""Whether a model knows a picture, in a word, a number and the nearest reason."""

import dataclasses
from typing import Literal

State = Literal["known", "doubtful", "unknown"]
"""As what the model draws itself; away from it, but nearer to it than to disorder; neither."""

Reason = Literal["", "subject", "style", "framing", "size", "colours", "caption"]
"""What is nearest to what is wrong; "" where nothing is. "subject": the framer sees none. "size": too few pixels, or
blurred. "caption": it does not fit the picture."""

_SAID: dict[str, str] = {
    "subject": "nothing that the model draws was found in it",
    "style": "nearest reason: style",
    "framing": "nearest reason: framing",
    "size": "nearest reason: size or sharpness",
    "colours": "nearest reason: colours",
    "caption": "nearest reason: the caption does not fit it",
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """What the guard of a model says of a picture under its caption; see `guard`.

    Args:
        state: "known", "doubtful" or "unknown".
        number: loss of the picture at level 0.5, in the median loss of what the model draws itself.
        reason: the nearest one.
        caption_fits: the model denoises the picture at least as well with its caption as without any.
        caption_read: the caption is what the model's own reader says.
        evaluations: of the network, spent on finding out.
    """

    state: State
    number: float
    reason: Reason
    caption_fits: bool
    caption_read: bool
    evaluations: int

    @property
    def text(self) -> str:
        """State, number and reason in one clause."""
        said = f"; {_SAID[self.reason]}" if self.reason else ""
        return f"{self.state}: {self.number:.1f} x the loss of what the model draws itself{said}"

    @property
    def doubts(self) -> tuple[str, ...]:
        """What the user should know before an edit; nothing of a known picture under a caption that fits."""
        found: list[str] = []
        if self.state != "known":
            found.append(f"this picture is {self.state} to the model: {self.text.removeprefix(f'{self.state}: ')}")
            if self.caption_read:
                found.append("the caption was read by a reader that was not made for such pictures")
        if not self.caption_fits:
            found.append("the caption does not fit the picture: the model denoises it better without any")
        return tuple(found)
