"""The command line in this process, on a tiny model."""

from tests.commands import *  # noqa: F403
