"""pyMOR, the reference: its example systems and its reductors.

Imported only if it is installed; every function here needs it.
"""

import time
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from hydropress.systems.interop import from_pymor
from hydropress.systems.modal import ModalSystem
from hydropress.systems.moments import Time
from hydropress.systems.norms import relative_h2_error

METHODS = ("pymor-bt", "pymor-irka", "pymor-tsia")
DISCRETE_METHODS = ("pymor-bt",)
"""pyMOR's IRKA and TSIA raise NotImplementedError for a model with a sampling time."""
TOLERANCE = 1e-4
"""pyMOR's default for IRKA and TSIA, on the relative change of the interpolation points."""

SAMPLING_TIME: dict[Time, int] = {"continuous": 0, "discrete": 1}
"""As pyMOR's models tell the two kinds apart."""


@dataclass(frozen=True)
class Example:
    """One of pyMOR's example systems.

    Attributes
    ----------
    title
        For the reader.
    states
        Its order.
    orders
        To which it is reduced.
    make
        Builds it as an ``LTIModel``.
    """

    title: str
    states: int
    orders: tuple[int, ...]
    make: Callable[[], Any]


def example_models() -> dict[str, Example]:
    """Return the examples that need no file and are linear, stable and time-invariant."""
    examples: Any = import_module("pymor.models.examples")

    def heat_in_one_dimension() -> Any:
        model = examples.heat_equation_1d_example(0.02).to_lti()
        return model.with_(A=model.A.assemble(model.parameters.parse({"diffusion": 1.0})))

    small, large = (2, 4, 6, 8, 10), (2, 4, 6, 10, 16)
    return {
        "penzl": Example("Penzl, order 1006", 1006, (2, 6, 10), examples.penzl_example),
        "penzl-mimo": Example(
            "Penzl, order 106, 2 inputs, 3 outputs",
            106,
            large,
            lambda: examples.penzl_mimo_example(106),
        ),
        "msd": Example(
            "Mass-spring-damper, order 60",
            60,
            large,
            lambda: examples.msd_example(60, 1, as_lti=True),
        ),
        "msd-mimo": Example(
            "Mass-spring-damper, order 60, 2 inputs and outputs",
            60,
            large,
            lambda: examples.msd_example(60, 2, as_lti=True),
        ),
        "heat-1d": Example("Heat equation, 1D, order 51", 51, small, heat_in_one_dimension),
        "heat-2d": Example(
            "Heat equation, 2D, order 61",
            61,
            small,
            lambda: examples.heat_equation_non_parametric_example(0.2).to_lti(),
        ),
    }


@contextmanager
def quietly(seed: int) -> Generator[None]:
    """Silence pyMOR's log and seed its random starts."""
    logger: Any = import_module("pymor.core.logger")
    random: Any = import_module("pymor.tools.random")
    with logger.log_levels({"pymor": "ERROR"}), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with random.new_rng(seed):
            yield


def to_bank(model: Any) -> ModalSystem:
    """Return a model as a bank of one system."""
    return from_pymor(model).reshape(1)


def to_model(system: ModalSystem) -> Any:
    """Return one system's real modal realisation as pyMOR's model, without D."""
    models: Any = import_module("pymor.models.iosys")
    A, B, C, _ = (matrix.numpy() for matrix in system.to_state_space())
    return models.LTIModel.from_matrices(A, B, C, sampling_time=SAMPLING_TIME[system.time])


def fresh(model: Any) -> Any:
    """Return a copy without the Gramians that pyMOR keeps with a model: they would save time."""
    return model.with_(name=f"copy of {model.name}")


@dataclass(frozen=True)
class Rival:
    """What one of pyMOR's methods did.

    Attributes
    ----------
    model
        Its reduced model.
    seconds
        Wall time.
    iterations
        0 for BT.
    converged
        By the method's own criterion.
    """

    model: Any
    seconds: float
    iterations: int
    converged: bool


def methods_for(time: Time) -> tuple[str, ...]:
    """Return pyMOR's methods that take systems of a kind of time."""
    return METHODS if time == "continuous" else DISCRETE_METHODS


def run(method: str, model: Any, order: int) -> Rival:
    """Reduce a model by one of ``METHODS``, with pyMOR's own defaults."""
    if method == "pymor-bt":
        began = time.perf_counter()
        reduced = import_module("pymor.reductors.bt").BTReductor(model).reduce(order)
        return Rival(reduced, time.perf_counter() - began, 0, True)
    reductors: Any = import_module("pymor.reductors.h2")
    make = reductors.IRKAReductor if method == "pymor-irka" else reductors.TSIAReductor
    began = time.perf_counter()
    reductor = make(model)
    reduced = reductor.reduce(order, tol=TOLERANCE)
    seconds = time.perf_counter() - began
    history = reductor.conv_crit
    return Rival(reduced, seconds, len(history), bool(history[-1] < TOLERANCE))


def error_of(full: ModalSystem, reduced: Any) -> float:
    """Return a reduced model's relative error by this package's closed form; inf if unstable."""
    A, B, C, _, E = reduced.to_matrices(format="dense")
    if E is not None:
        A, B = np.linalg.solve(E, A), np.linalg.solve(E, B)
    system = ModalSystem.from_state_space(A, B, C, time=full.time)
    if not bool((system.decay > 0).all()):
        return float("inf")
    return float(relative_h2_error(full, system.reshape(*full.batch_shape)))


def own_error(model: Any, reduced: Any) -> float:
    """Return the same by pyMOR's own norm: a Lyapunov (Stein) equation for the difference."""
    return float((model - reduced).h2_norm() / model.h2_norm())
