"""The foundation of every room, without torch: errors, files, the console, settings, recipes, plugins, workers.

The base of all errors, `LatentEditError`, is in `latentedit`.
"""

from typing import TYPE_CHECKING

from latentedit.core.names import exports

if TYPE_CHECKING:
    from latentedit.core.console import Progress as Progress
    from latentedit.core.console import complain as complain
    from latentedit.core.console import echo as echo
    from latentedit.core.console import print_json as print_json
    from latentedit.core.console import print_rows as print_rows
    from latentedit.core.console import progress_bar as progress_bar
    from latentedit.core.console import typed_command as typed_command
    from latentedit.core.console import warn as warn
    from latentedit.core.console import were_replaced as were_replaced
    from latentedit.core.errors import CaptionError as CaptionError
    from latentedit.core.errors import ConfigError as ConfigError
    from latentedit.core.errors import ConvergenceError as ConvergenceError
    from latentedit.core.errors import CoordinateError as CoordinateError
    from latentedit.core.errors import DeviceError as DeviceError
    from latentedit.core.errors import FileFormatError as FileFormatError
    from latentedit.core.errors import ImageError as ImageError
    from latentedit.core.errors import LatentEditWarning as LatentEditWarning
    from latentedit.core.errors import MissingDependencyError as MissingDependencyError
    from latentedit.core.errors import ModelError as ModelError
    from latentedit.core.errors import OutputError as OutputError
    from latentedit.core.errors import RegistryError as RegistryError
    from latentedit.core.errors import ShapeError as ShapeError
    from latentedit.core.errors import UnknownImageError as UnknownImageError
    from latentedit.core.errors import UnsupportedDerivativeError as UnsupportedDerivativeError
    from latentedit.core.errors import did_you_mean as did_you_mean
    from latentedit.core.errors import nearest as nearest
    from latentedit.core.errors import to_install as to_install
    from latentedit.core.files import atomic_file as atomic_file
    from latentedit.core.files import check_place as check_place
    from latentedit.core.files import existing as existing
    from latentedit.core.files import make_folder as make_folder
    from latentedit.core.files import plain as plain
    from latentedit.core.files import read_bytes as read_bytes
    from latentedit.core.files import read_json as read_json
    from latentedit.core.files import read_object as read_object
    from latentedit.core.files import read_text as read_text
    from latentedit.core.files import unwritable as unwritable
    from latentedit.core.files import user_path as user_path
    from latentedit.core.files import write_text as write_text
    from latentedit.core.options import completed as completed
    from latentedit.core.plugins import BACKBONES as BACKBONES
    from latentedit.core.plugins import CAPTIONERS as CAPTIONERS
    from latentedit.core.plugins import DOMAINS as DOMAINS
    from latentedit.core.plugins import EDITORS as EDITORS
    from latentedit.core.plugins import EXPERIMENTS as EXPERIMENTS
    from latentedit.core.plugins import FRAMERS as FRAMERS
    from latentedit.core.plugins import METRICS as METRICS
    from latentedit.core.plugins import MODELS as MODELS
    from latentedit.core.plugins import Registry as Registry
    from latentedit.core.plugins import has_models as has_models
    from latentedit.core.plugins import require as require
    from latentedit.core.process import keep_freed_memory as keep_freed_memory
    from latentedit.core.recipe import Recipe as Recipe
    from latentedit.core.setting import Combine as Combine
    from latentedit.core.setting import Count as Count
    from latentedit.core.setting import Guidance as Guidance
    from latentedit.core.setting import Level as Level
    from latentedit.core.setting import Levels as Levels
    from latentedit.core.setting import Natural as Natural
    from latentedit.core.setting import Positive as Positive
    from latentedit.core.setting import Probe as Probe
    from latentedit.core.setting import Scale as Scale
    from latentedit.core.setting import Share as Share
    from latentedit.core.setting import Start as Start
    from latentedit.core.setting import Until as Until
    from latentedit.core.setting import Weight as Weight
    from latentedit.core.setting import check_value as check_value
    from latentedit.core.setting import from_plain as from_plain
    from latentedit.core.setting import settings as settings
    from latentedit.core.setting import to_plain as to_plain

__getattr__, __dir__, __all__ = exports(__name__)
