"""The commands of the program: ours are listed here, those of other packages are entry points."""

from latentedit.core.plugins import Registry

OUR_COMMANDS = {
    "Keep and check": {
        "keep": "latentedit.cli.keep:keep",
        "check": "latentedit.cli.check:check",
        "app": "latentedit.cli.page:app",
        "mcp": "latentedit.agents.server:mcp",
    },
    "Edit": {
        "edit": "latentedit.cli.edit:edit",
        "sweep": "latentedit.cli.sweep:sweep",
        "undo": "latentedit.cli.undo:undo",
        "replay": "latentedit.cli.replay:replay",
        "caption": "latentedit.cli.caption:caption",
    },
    "Directions": {
        "direction": "latentedit.cli.direction:app",
        "discover": "latentedit.cli.discover:discover",
        "transport": "latentedit.cli.transport:transport",
        "path": "latentedit.cli.path:path",
    },
    "Models": {
        "models": "latentedit.cli.models:app",
        "methods": "latentedit.cli.methods:methods",
        "doctor": "latentedit.cli.doctor:doctor",
        "help": "latentedit.cli.help:explain",
    },
}
"""Title of a help panel to its commands, each with the import path of its function or ``typer.Typer``."""

BENCH_COMMANDS = ("bench", "reproduce")
"""Commands of the package ``latentedit-bench``."""

TORCH_FREE_COMMANDS = frozenset(["keep", "check", "app", "mcp", "undo", "help"])
"""Commands that run without the extra ``models``."""

COMMANDS = Registry(
    group="latentedit.commands",
    kind="command",
    own={name: address for panel in OUR_COMMANDS.values() for name, address in panel.items()},
)
"""Name to a function or a ``typer.Typer``."""


def panel_of(name: str) -> str | None:
    """The title of the help's panel that lists a command; None for a command of another package."""
    if name in BENCH_COMMANDS:
        return "Measure"
    for title, panel in OUR_COMMANDS.items():
        if name in panel:
            return title
    return None
