"""Numerics in flow coordinates: levels, schedules, solvers, random streams, linear algebra by products, devices, costs.

`Condition` is in `latentedit`.
"""

from typing import TYPE_CHECKING

from latentedit.core.names import exports

if TYPE_CHECKING:
    from latentedit.numerics.autodiff import Derivative as Derivative
    from latentedit.numerics.block_lanczos import TruncatedSVD as TruncatedSVD
    from latentedit.numerics.block_lanczos import truncated_svd as truncated_svd
    from latentedit.numerics.cg import Solution as Solution
    from latentedit.numerics.cg import conjugate_gradient as conjugate_gradient
    from latentedit.numerics.cost import Cost as Cost
    from latentedit.numerics.cost import peak_bytes as peak_bytes
    from latentedit.numerics.cost import reset_peak as reset_peak
    from latentedit.numerics.device import dtype_name as dtype_name
    from latentedit.numerics.device import existing_device as existing_device
    from latentedit.numerics.device import half_or_float32 as half_or_float32
    from latentedit.numerics.flow import LevelGrid as LevelGrid
    from latentedit.numerics.flow import alpha_sigma_from_level as alpha_sigma_from_level
    from latentedit.numerics.flow import clean_estimate as clean_estimate
    from latentedit.numerics.flow import level_batch as level_batch
    from latentedit.numerics.flow import model_from_canonical as model_from_canonical
    from latentedit.numerics.flow import noise_estimate as noise_estimate
    from latentedit.numerics.flow import per_element as per_element
    from latentedit.numerics.flow import shifted_grid as shifted_grid
    from latentedit.numerics.flow import uniform_grid as uniform_grid
    from latentedit.numerics.flow import velocity_from_prediction as velocity_from_prediction
    from latentedit.numerics.halving import Candidate as Candidate
    from latentedit.numerics.halving import continuing as continuing
    from latentedit.numerics.halving import successive_halving as successive_halving
    from latentedit.numerics.operator import LinearOperator as LinearOperator
    from latentedit.numerics.progress import LatentProgress as LatentProgress
    from latentedit.numerics.rng import draw as draw
    from latentedit.numerics.rng import item_seed as item_seed
    from latentedit.numerics.rng import noise_like as noise_like
    from latentedit.numerics.rng import seeded as seeded
    from latentedit.numerics.rng import stream as stream
    from latentedit.numerics.schedule import DiscreteSchedule as DiscreteSchedule
    from latentedit.numerics.schedule import scaled_linear_schedule as scaled_linear_schedule
    from latentedit.numerics.schedule import schedule_from_betas as schedule_from_betas
    from latentedit.numerics.solvers import EulerSolver as EulerSolver
    from latentedit.numerics.solvers import MidpointSolver as MidpointSolver
    from latentedit.numerics.solvers import Solver as Solver
    from latentedit.numerics.solvers import integrate as integrate
    from latentedit.numerics.tensor_files import pack_tensors as pack_tensors
    from latentedit.numerics.tensor_files import read_tensor_file as read_tensor_file
    from latentedit.numerics.tensor_files import unpack_tensors as unpack_tensors

__getattr__, __dir__, __all__ = exports(__name__)
