"""The command line. Public for plugins: options that ours have too, the model that they choose, the state of a run.

Printing, files and the options ``--json`` and ``--quiet`` are in `latentedit.core`.
"""

from typing import TYPE_CHECKING

from latentedit.core.names import exports

if TYPE_CHECKING:
    from latentedit.cli.options import Device as Device
    from latentedit.cli.options import Json as Json
    from latentedit.cli.options import ModelChoice as ModelChoice
    from latentedit.cli.options import Quiet as Quiet
    from latentedit.cli.options import Ray as Ray
    from latentedit.cli.options import Seed as Seed
    from latentedit.cli.options import Settings as Settings
    from latentedit.cli.options import Workers as Workers
    from latentedit.cli.options import chooses_model as chooses_model
    from latentedit.cli.options import parse_settings as parse_settings
    from latentedit.cli.options import parse_strengths as parse_strengths
    from latentedit.cli.program import run as run
    from latentedit.cli.run_status import finish as finish
    from latentedit.cli.run_status import status_json as status_json
    from latentedit.cli.run_status import status_rows as status_rows

__getattr__, __dir__, __all__ = exports(__name__)
