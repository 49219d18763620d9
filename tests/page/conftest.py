"""The command line in this process."""

from tests.commands import *  # noqa: F403
