"""Does a model that chats see a change grow with the strength?

    python examples/judge.py me.png --change "no beard => a beard" --judge openai:MODEL

The judge is any captioner that answers prompts: a model behind an endpoint with OpenAI's protocol (set OPENAI_BASE_URL
and OPENAI_API_KEY), or the folder or hub id of one. It sees original and edit side by side, one strength at a time, and
not the strength. A judge's numbers are its own: compare them between methods with the same judge only.
"""

import argparse
import dataclasses
import itertools
import re
from collections.abc import Sequence

from PIL import Image
from scipy.stats import spearmanr

import latentedit as le
from latentedit.edits import PromptedCaptioner, make_captioner
from latentedit.errors import CaptionError, ConfigError

QUESTION = (
    "Left is an original image, right an edit of it. The request was to change {old!r} to {new!r}. How far has this "
    "change gone in the right image? Answer with one whole number alone, from 0 (as in the original) to 10 (complete)."
)
NUMBER = re.compile(r"(?<![\d.,-])(?:10|\d)(?![\d.,]*\d)")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Gradualness:
    """How ratings follow strengths, which rise."""

    ratings: tuple[int, ...]  # from 0 to 10, one a strength
    correlation: float  # Spearman's, of rating and strength; nan where all ratings are equal
    falls: int  # steps at which the rating falls
    largest_step: float  # share of the whole rise that the largest step makes up; nan without a rise


def rate(judge: PromptedCaptioner, original: Image.Image, edited: Image.Image, *, old: str, new: str) -> int:
    """How far a change has gone in an edited image, from 0 to 10; a `CaptionError` for an answer without a number."""
    pair = Image.new("RGB", (original.width + edited.width, max(original.height, edited.height)), "white")
    pair.paste(original.convert("RGB"), (0, 0))
    pair.paste(edited.convert("RGB"), (original.width, 0))
    answer = judge.answer(pair, QUESTION.format(old=old, new=new))
    found = NUMBER.search(answer)
    if found is None:
        raise CaptionError(f"the judge answered without a number from 0 to 10: {answer[:80]!r}. Use another judge")
    return int(found[0])


def gradualness(strengths: Sequence[float], ratings: Sequence[int]) -> Gradualness:
    """How ratings follow rising strengths."""
    steps = [after - before for before, after in itertools.pairwise(ratings)]
    rise, varies = ratings[-1] - ratings[0], len(set(ratings)) > 1
    return Gradualness(
        ratings=tuple(ratings),
        correlation=float(spearmanr(strengths, ratings).statistic) if varies else float("nan"),
        falls=sum(step < 0 for step in steps),
        largest_step=max(steps) / rise if rise > 0 else float("nan"),
    )


def main(arguments: Sequence[str] | None = None) -> Gradualness:
    """Edit an image at several strengths, let them be rated, and print the ratings."""
    parser = argparse.ArgumentParser(description="Let a model that chats rate how far a change has gone.")
    parser.add_argument("image")
    parser.add_argument("--change", required=True, help='"OLD => NEW"')
    parser.add_argument("--judge", required=True, help="openai:MODEL, a folder or a hub id")
    parser.add_argument("--model", default="portraits")
    parser.add_argument("--method", default=None)
    parser.add_argument("--strengths", type=float, nargs="+", default=[0.0, 0.25, 0.5, 0.75, 1.0])
    given = parser.parse_args(arguments)
    model, strengths = le.load(given.model), sorted(given.strengths)
    judge = make_captioner(given.judge, model)
    if not isinstance(judge, PromptedCaptioner):
        raise ConfigError(f"{given.judge} answers no questions. Use a model that chats, such as openai:MODEL")
    old, _, new = (words.strip() for words in given.change.partition("=>"))
    strip = le.sweep(model, given.image, change=given.change, strengths=strengths, method=given.method)
    words = {"old": old or "nothing", "new": new or "nothing"}
    found = gradualness(strengths, [rate(judge, one.source, one.image, **words) for one in strip])
    for strength, rating in zip(strengths, found.ratings, strict=True):
        print(f"strength {strength:.2f}  rated {rating:2d} of 10")
    print(f"rank correlation {found.correlation:.2f}, falls {found.falls}, largest step {found.largest_step:.0%}")
    return found


if __name__ == "__main__":
    main()
