"""Does a model that chats see a change grow with the strength?

    python examples/judge.py me.png --change "no beard => a beard" --judge openai:MODEL
    python examples/judge.py portraits/*.png --change "=> glasses" --judge openai:MODEL --method eim flowedit

The judge is any captioner that answers prompts: a model behind an endpoint with OpenAI's protocol (set OPENAI_BASE_URL
and OPENAI_API_KEY), or the folder or hub id of one. It sees original and edit side by side, one strength at a time, and
not the strength. A judge's numbers are its own: compare them between methods with the same judge only.
"""

import argparse
import dataclasses
import itertools
import math
import re
from collections.abc import Sequence
from statistics import fmean

from PIL import Image
from scipy.stats import spearmanr

import latentedit as le
from latentedit.core import CaptionError, ConfigError
from latentedit.encoding import PromptedCaptioner, make_captioner

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


def main(arguments: Sequence[str] | None = None) -> dict[str, list[Gradualness]]:
    """Edit images at several strengths by each method, let them be rated, and print the ratings."""
    parser = argparse.ArgumentParser(description="Let a model that chats rate how far a change has gone.")
    parser.add_argument("images", nargs="+")
    parser.add_argument("--change", required=True, help='"OLD => NEW"')
    parser.add_argument("--judge", required=True, help="openai:MODEL, a folder or a hub id")
    parser.add_argument("--model", default="portraits")
    parser.add_argument("--method", nargs="+", default=["eim"])
    parser.add_argument("--strengths", type=float, nargs="+", default=[0.0, 0.25, 0.5, 0.75, 1.0])
    given = parser.parse_args(arguments)
    model, strengths = le.load(given.model), sorted(given.strengths)
    judge = make_captioner(given.judge, model)
    if not isinstance(judge, PromptedCaptioner):
        raise ConfigError(f"{given.judge} answers no questions. Use a model that chats, such as openai:MODEL")
    old, _, new = (words.strip() for words in given.change.partition("=>"))
    words = {"old": old or "nothing", "new": new or "nothing"}
    found: dict[str, list[Gradualness]] = {method: [] for method in given.method}
    print("strengths", *(f"{strength:g}" for strength in strengths))
    for method, image in itertools.product(given.method, given.images):
        strip = le.sweep(model, image, change=given.change, strengths=strengths, method=method)
        one = gradualness(strengths, [rate(judge, part.source, part.image, **words) for part in strip])
        found[method].append(one)
        print(f"{method}, {image}: rated", *one.ratings, f"of 10; {_text([one])}")
    if len(given.images) > 1:
        for method, ones in found.items():
            print(f"{method}, {len(ones)} images: {_text(ones)}")
    return found


def _text(found: Sequence[Gradualness]) -> str:
    """The means over images; a correlation is left out where all ratings are equal."""
    correlations = [one.correlation for one in found if not math.isnan(one.correlation)]
    mean = fmean(correlations) if correlations else math.nan
    return f"rank correlation {mean:.2f}, falls {fmean(one.falls for one in found):g}"


if __name__ == "__main__":
    main()
