"""All that is wrong with an input, told at once."""

from latentedit.core.errors import ConfigError

MOST = 50
"""Faults that a message lists; of more it gives the number."""


class Faults:
    """Gathers what is wrong, and raises once.

    Args:
        name: what the message calls the input, such as its file.

    Example:
        >>> faults = Faults("cats.csv")
        >>> faults.add("row 2", "the caption is empty")
        >>> faults.check()
        Traceback (most recent call last):
        latentedit.core.errors.ConfigError: expected cats.csv to have no faults; got 1: row 2: the caption is empty
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._found: list[str] = []

    def __len__(self) -> int:
        return len(self._found)

    def add(self, where: str, what: str) -> None:
        """Note a fault.

        Args:
            where: such as "row 3 (id 'x')".
            what: is wrong there.
        """
        self._found.append(" ".join(f"{where}: {what}".split()))

    def check(self) -> None:
        """Go on if nothing was found.

        Raises:
            ConfigError: otherwise; its one line has the number of faults, then each, `MOST` at most.
        """
        if not self._found:
            return
        more = f"; and {len(self._found) - MOST} more" if len(self._found) > MOST else ""
        raise ConfigError(
            f"expected {self._name} to have no faults; got {len(self._found)}: {'; '.join(self._found[:MOST])}{more}"
        )
