"""The base of every program here: errors, files, the console, options, plugins by name.

Belongs here: what a command needs that prints, reads and writes as ours do, without torch.
"""

from typing import TYPE_CHECKING

from latentedit.base.names import exports

if TYPE_CHECKING:
    from latentedit.base.console import Progress as Progress
    from latentedit.base.console import complain as complain
    from latentedit.base.console import echo as echo
    from latentedit.base.console import print_json as print_json
    from latentedit.base.console import print_rows as print_rows
    from latentedit.base.console import progress_bar as progress_bar
    from latentedit.base.console import typed_command as typed_command
    from latentedit.base.console import warn as warn
    from latentedit.base.console import were_replaced as were_replaced
    from latentedit.base.errors import ConfigError as ConfigError
    from latentedit.base.errors import FileFormatError as FileFormatError
    from latentedit.base.errors import ImageError as ImageError
    from latentedit.base.errors import LatentEditError as LatentEditError
    from latentedit.base.errors import MissingDependencyError as MissingDependencyError
    from latentedit.base.errors import OutputError as OutputError
    from latentedit.base.errors import RegistryError as RegistryError
    from latentedit.base.errors import ShapeError as ShapeError
    from latentedit.base.errors import did_you_mean as did_you_mean
    from latentedit.base.errors import nearest as nearest
    from latentedit.base.errors import to_install as to_install
    from latentedit.base.files import atomic_file as atomic_file
    from latentedit.base.files import check_place as check_place
    from latentedit.base.files import existing as existing
    from latentedit.base.files import make_folder as make_folder
    from latentedit.base.files import plain as plain
    from latentedit.base.files import read_bytes as read_bytes
    from latentedit.base.files import read_json as read_json
    from latentedit.base.files import read_object as read_object
    from latentedit.base.files import read_text as read_text
    from latentedit.base.files import unwritable as unwritable
    from latentedit.base.files import user_path as user_path
    from latentedit.base.files import write_text as write_text
    from latentedit.base.options import completed as completed
    from latentedit.base.plugins import COMMANDS as COMMANDS
    from latentedit.base.plugins import Registry as Registry

__getattr__, __dir__, __all__ = exports(__name__)
