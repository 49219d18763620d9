"""The best candidates of a round are compared again on more items."""

from collections.abc import Sequence

from latentedit.numerics.halving import successive_halving

FIRST = {"a": 3, "b": 1, "c": 2, "d": 9, "e": 1, "f": 7, "g": 5}  # scores on few items
LATER = FIRST | {"b": 4}  # the best of them is not the best on all


def test_the_best_third_continues_and_stands_before_the_others() -> None:
    rounds = list[tuple[str, int]]()

    def scores(some: Sequence[str], size: int) -> list[int]:
        rounds.append(("".join(some), size))
        return [(FIRST if size == 2 else LATER)[one] for one in some]

    assert "".join(successive_halving("abcdefg", scores, [2, 8])) == "ecbagfd"
    assert rounds == [("abcdefg", 2), ("bec", 8)]
    assert "".join(successive_halving("abcdefg", scores, [8])) == "ecabgfd"
