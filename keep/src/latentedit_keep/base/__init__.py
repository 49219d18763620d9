"""The base of every program here: errors, files, the console, options, plugins by name.

Belongs here: what a command needs that prints, reads and writes as ours do, without torch.
"""

from typing import TYPE_CHECKING

from latentedit_keep.base.names import exports

if TYPE_CHECKING:
    from latentedit_keep.base.console import Progress as Progress
    from latentedit_keep.base.console import complain as complain
    from latentedit_keep.base.console import echo as echo
    from latentedit_keep.base.console import print_json as print_json
    from latentedit_keep.base.console import print_rows as print_rows
    from latentedit_keep.base.console import progress_bar as progress_bar
    from latentedit_keep.base.console import typed_command as typed_command
    from latentedit_keep.base.console import warn as warn
    from latentedit_keep.base.console import were_replaced as were_replaced
    from latentedit_keep.base.errors import ConfigError as ConfigError
    from latentedit_keep.base.errors import FileFormatError as FileFormatError
    from latentedit_keep.base.errors import ImageError as ImageError
    from latentedit_keep.base.errors import LatentEditError as LatentEditError
    from latentedit_keep.base.errors import MissingDependencyError as MissingDependencyError
    from latentedit_keep.base.errors import OutputError as OutputError
    from latentedit_keep.base.errors import RegistryError as RegistryError
    from latentedit_keep.base.errors import ShapeError as ShapeError
    from latentedit_keep.base.errors import did_you_mean as did_you_mean
    from latentedit_keep.base.errors import nearest as nearest
    from latentedit_keep.base.errors import to_install as to_install
    from latentedit_keep.base.files import atomic_file as atomic_file
    from latentedit_keep.base.files import check_place as check_place
    from latentedit_keep.base.files import existing as existing
    from latentedit_keep.base.files import make_folder as make_folder
    from latentedit_keep.base.files import plain as plain
    from latentedit_keep.base.files import read_bytes as read_bytes
    from latentedit_keep.base.files import read_json as read_json
    from latentedit_keep.base.files import read_object as read_object
    from latentedit_keep.base.files import read_text as read_text
    from latentedit_keep.base.files import unwritable as unwritable
    from latentedit_keep.base.files import user_path as user_path
    from latentedit_keep.base.files import write_text as write_text
    from latentedit_keep.base.options import completed as completed
    from latentedit_keep.base.plugins import COMMANDS as COMMANDS
    from latentedit_keep.base.plugins import Registry as Registry

__getattr__, __dir__, __all__ = exports(__name__)
