"""What a number says beyond its control, matched row by row; mostly of a trained network less its untrained twin."""

from collections.abc import Callable, Sequence

from latentedit_bench.metrics.statistics import Estimate, Table

NETWORKS = ("trained", "untrained")
"""Whose rows stand in the column "network"."""

Number = tuple[str, str, Estimate]
"""The statement, the measure, and what was found."""


def of_network(part: Table, network: str) -> Table:
    """The rows of one of `NETWORKS`."""
    return part[part["network"] == network]


def less_control(
    part: Table, column: str, keys: Sequence[str], *, by: str = "network", names: tuple[str, str] = NETWORKS
) -> Table:
    """A column of what is looked at less that of its control, with the keys by which both are matched.

    Args:
        part: rows of one model.
        column: averaged where several rows share their keys; nan where there is nothing of one of both.
        keys: columns.
        by: the column that tells what is looked at from its control.
        names: of both in that column, the control last.
    """
    wide = part.pivot_table(index=list(keys), columns=by, values=column, aggfunc="mean")
    wide = wide.reindex(columns=list(names))  # of which nothing is known, there is no column
    return (wide[names[0]] - wide[names[1]]).rename(column).reset_index()


def against_control(
    part: Table,
    column: str,
    keys: Sequence[str],
    number: Callable[[Table], Estimate],
    said: str,
    measure: str,
    *,
    by: str = "network",
    names: tuple[str, str] = NETWORKS,
) -> list[Number]:
    """A number of what is looked at less that of its control; then of each by itself.

    Args:
        part, column, keys, by, names: see `less_control`.
        number: of rows with the keys and the column; linear in the column.
        said: the statement.
        measure: what the number is, with its unit.
    """
    less = number(less_control(part, column, keys, by=by, names=names))
    alone = [(said, f"{measure}, {name}", number(part[part[by] == name])) for name in names]
    return [(said, f"{measure}, {names[0]} less {names[1]}", less), *alone]
