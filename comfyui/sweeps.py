"""Strengths of a sweep."""


def strengths(first: float, last: float, count: int) -> tuple[float, ...]:
    """Evenly spaced values from the first to the last, both included, without the noise of floats; one is the last."""
    if count == 1:
        return (last,)
    return tuple(round(first + (last - first) * step / (count - 1), 6) for step in range(count))
