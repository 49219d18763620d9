"""The floor of every program here: errors, files, the console, options, plugins by name.

Belongs here: what a command needs that prints, reads and writes as ours do, without torch.
"""

from typing import TYPE_CHECKING

from latentedit_keep.floor.names import exports

if TYPE_CHECKING:
    from latentedit_keep.floor.console import Progress as Progress
    from latentedit_keep.floor.console import complain as complain
    from latentedit_keep.floor.console import echo as echo
    from latentedit_keep.floor.console import print_json as print_json
    from latentedit_keep.floor.console import print_rows as print_rows
    from latentedit_keep.floor.console import progress_bar as progress_bar
    from latentedit_keep.floor.console import typed_command as typed_command
    from latentedit_keep.floor.console import warn as warn
    from latentedit_keep.floor.console import were_replaced as were_replaced
    from latentedit_keep.floor.errors import ConfigError as ConfigError
    from latentedit_keep.floor.errors import FileFormatError as FileFormatError
    from latentedit_keep.floor.errors import ImageError as ImageError
    from latentedit_keep.floor.errors import LatentEditError as LatentEditError
    from latentedit_keep.floor.errors import MissingDependencyError as MissingDependencyError
    from latentedit_keep.floor.errors import OutputError as OutputError
    from latentedit_keep.floor.errors import RegistryError as RegistryError
    from latentedit_keep.floor.errors import ShapeError as ShapeError
    from latentedit_keep.floor.errors import did_you_mean as did_you_mean
    from latentedit_keep.floor.errors import nearest as nearest
    from latentedit_keep.floor.errors import to_install as to_install
    from latentedit_keep.floor.files import atomic_file as atomic_file
    from latentedit_keep.floor.files import check_place as check_place
    from latentedit_keep.floor.files import existing as existing
    from latentedit_keep.floor.files import make_folder as make_folder
    from latentedit_keep.floor.files import plain as plain
    from latentedit_keep.floor.files import read_bytes as read_bytes
    from latentedit_keep.floor.files import read_json as read_json
    from latentedit_keep.floor.files import read_object as read_object
    from latentedit_keep.floor.files import read_text as read_text
    from latentedit_keep.floor.files import unwritable as unwritable
    from latentedit_keep.floor.files import user_path as user_path
    from latentedit_keep.floor.files import write_text as write_text
    from latentedit_keep.floor.options import completed as completed
    from latentedit_keep.floor.plugins import COMMANDS as COMMANDS
    from latentedit_keep.floor.plugins import Registry as Registry

__getattr__, __dir__, __all__ = exports(__name__)
