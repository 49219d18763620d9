"""Errors: what latentedit raises on purpose, and how its messages name the remedy."""

from typing import TYPE_CHECKING

from latentedit_keep.base.names import exports

if TYPE_CHECKING:
    from latentedit.core.errors import CaptionError as CaptionError
    from latentedit.core.errors import ConfigError as ConfigError
    from latentedit.core.errors import ConvergenceError as ConvergenceError
    from latentedit.core.errors import CoordinateError as CoordinateError
    from latentedit.core.errors import DeviceError as DeviceError
    from latentedit.core.errors import FileFormatError as FileFormatError
    from latentedit.core.errors import ImageError as ImageError
    from latentedit.core.errors import LatentEditError as LatentEditError
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

__getattr__, __dir__, __all__ = exports(__name__)
