"""Many units of work: run folders that can be continued, processes or machines that do them, manifests of edits."""

from typing import TYPE_CHECKING

from latentedit.core.names import exports

if TYPE_CHECKING:
    from latentedit.batch.edits import bisect_failures as bisect_failures
    from latentedit.batch.edits import images_in as images_in
    from latentedit.batch.executors import Executor as Executor
    from latentedit.batch.executors import run_work as run_work
    from latentedit.batch.executors import suitable_workers as suitable_workers
    from latentedit.batch.folder import MANIFEST as MANIFEST
    from latentedit.batch.folder import TABLE as TABLE
    from latentedit.batch.folder import Failure as Failure
    from latentedit.batch.folder import Manifest as Manifest
    from latentedit.batch.folder import Row as Row
    from latentedit.batch.folder import RunFolder as RunFolder
    from latentedit.batch.folder import UnitRecord as UnitRecord
    from latentedit.batch.folder import UnitResult as UnitResult
    from latentedit.batch.folder import faults_of as faults_of
    from latentedit.batch.folder import file_name as file_name
    from latentedit.batch.manifest import EditRow as EditRow
    from latentedit.batch.manifest import ImageFile as ImageFile
    from latentedit.batch.manifest import Text as Text
    from latentedit.batch.manifest import load_manifest as load_manifest
    from latentedit.batch.manifest import read_document as read_document
    from latentedit.batch.manifest import validated as validated
    from latentedit.batch.work import UnitFunction as UnitFunction
    from latentedit.batch.work import Work as Work
    from latentedit.batch.work import check_same_model as check_same_model

__getattr__, __dir__, __all__ = exports(__name__)
