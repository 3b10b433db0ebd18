r"""Conversions between modal systems and arrays or objects of SciPy, python-control and pyMOR.

A converted system has the same impulse response h and transfer function, its feedthrough included.
All of these mean

    x[t+1] = A x[t] + B u[t],  y[t] = C x[t] + D u[t],  so that  h[0] = D,  h[t] = C A^{t-1} B,

in discrete time, and their systems come in with ``delay=1``: the modes are those of A, B and C, and
D is D, which a reduction keeps.  In a system without a delay, as a layer has it, the modes act at
once, h[t] = C A^t B + D δ[t]; it goes out with C A and D + C B in place of C and D, and
:func:`~hydropress.systems.delay.with_delay` takes it from one form to the other.  Continuous time
is the same everywhere.

A must be diagonalisable, and be it barely.  Of poles at 0, pure delays, that leaves single ones, or
of several inputs and outputs also equal ones side by side (rank A + their number = n).  A chain of
them, z^{-2} and beyond, is refused like any other repeated pole; delay the input instead.

A record keeps no sampling time: its unit of time is the sample.  Take it from the other library's
object (``dt``, ``sampling_time``) and hand it back as ``dt``.

The libraries are imported where they are used; none is needed for the rest of the package.

Examples
--------
A Butterworth filter of order 6, cut to the best one of order 4 and handed back as sections:

>>> from scipy import signal
>>> from hydropress import reduce
>>> from hydropress.systems.interop import from_sos, to_sos
>>> full = from_sos(signal.butter(6, 0.2, output="sos"))
>>> int(full.order), full.time
(6, 'discrete')
>>> sections = to_sos(reduce(full, 4).system)
>>> sections.shape
(2, 6)
>>> filtered = signal.sosfilt(sections, [1.0, 0.0, 0.0])
"""

from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydropress.errors import InvalidArgumentError, MissingLibraryError
from hydropress.systems.checks import finite_reals
from hydropress.systems.modal import ModalSystem, SISOSystem
from hydropress.systems.moments import Time
from hydropress.systems.rational import ZerosPolesGain, factorize
from hydropress.systems.textbook import (
    from_entries,
    from_matrices,
    from_zeros,
    sampling_time,
    solve_for_derivative,
    to_matrices,
    to_zeros,
)

Array = NDArray[Any]


# NumPy


def from_arrays(A: Any, B: Any, C: Any, D: Any = None, *, time: Time) -> ModalSystem:
    """Convert the matrices of x[t+1] = A x[t] + B u[t] or x' = A x + B u, y = C x + D u.

    Parameters
    ----------
    A
        Real, shape ``(n, n)``, or with leading batch axes ``(..., n, n)``; or the diagonal of a
        diagonal A, complex, shape ``(n,)``, both members of every conjugate pair.
    B
        Shape ``(..., n)`` or ``(..., n, M)``; real, or complex beside a diagonal A.
    C
        Shape ``(..., n)`` or ``(..., P, n)``; the same.
    D
        Real, shape ``(...)`` or ``(..., P, M)``; zero if not given.
    time
        ``discrete`` or ``continuous``; never guessed from the values.

    Returns
    -------
    ModalSystem
        A :class:`SISOSystem` if M = P = 1, else a :class:`MIMOSystem`; of delay 1 in discrete time.

    Raises
    ------
    InvalidArgumentError
        If shapes disagree, values are not finite or not real where they must be, a pole lacks its
        conjugate, or poles are repeated or nearly (the modes cannot be told apart).

    Warns
    -----
    IllConditionedWarning
        If the eigenvectors of A have a condition above 10⁸: half the digits of the modes are lost.

    Examples
    --------
    >>> from hydropress import reduce
    >>> system = from_arrays([[0.9, 0.2], [-0.2, 0.9]], [1, 0], [0, 1], time="discrete")
    >>> system.impulse_response(3).numpy().round(3).tolist()
    [0.0, 0.0, -0.2]
    >>> A, B, C, D = to_arrays(reduce(system, 1).system)
    >>> A.shape, D.tolist()
    ((1, 1), [[0.0]])
    """
    return from_matrices(A, B, C, D, time)


def to_arrays(system: ModalSystem) -> tuple[Array, Array, Array, Array]:
    """Convert one system to real A, B, C and D as :func:`from_arrays` takes them.

    Returns
    -------
    A, B, C, D
        float64, shapes ``(n, n)`` block diagonal, ``(n, M)``, ``(P, n)``, ``(P, M)``; a pair is the
        block [[Re a, -Im a], [Im a, Re a]].

    Raises
    ------
    InvalidArgumentError
        If the record holds a batch; index it first.
    """
    return to_matrices(system)


# SciPy


def from_scipy(system: Any) -> ModalSystem:
    """Convert a ``scipy.signal`` system.

    Parameters
    ----------
    system
        ``StateSpace``, ``TransferFunction`` or ``ZerosPolesGain``; discrete time if it has a
        ``dt``.

    Returns
    -------
    ModalSystem
        A :class:`SISOSystem` of one input and output, else a :class:`MIMOSystem`.

    Raises
    ------
    InvalidArgumentError
        If poles are repeated or nearly (the modes cannot be told apart), or numbers are not real.
    MissingLibraryError
        If SciPy is not installed.

    Warns
    -----
    IllConditionedWarning
        As :func:`from_arrays`, of a state space.

    Notes
    -----
    Zeros, poles and gain keep the accuracy of their poles.  A transfer function's poles are the
    roots of its polynomial and poorly known for high orders, whoever computes them.
    """
    signal = _library("scipy.signal", "scipy")
    time: Time = "continuous" if getattr(system, "dt", None) is None else "discrete"
    if isinstance(system, signal.StateSpace):
        return from_matrices(system.A, system.B, system.C, system.D, time)
    if isinstance(system, signal.TransferFunction):
        rows = [[row] for row in np.atleast_2d(system.num)]
        return from_entries(rows, [[system.den]] * len(rows), time)
    if isinstance(system, signal.ZerosPolesGain):
        gain = finite_reals("gain", system.gain).item()
        return from_zeros(ZerosPolesGain(system.zeros, system.poles, gain), time)
    raise _unknown(system, "a scipy.signal StateSpace, TransferFunction or ZerosPolesGain")


def to_scipy(system: ModalSystem, *, dt: float | None = None) -> Any:
    """Convert one system to a ``scipy.signal.StateSpace``.

    Parameters
    ----------
    dt
        Sampling time of the result, 1 if not given; of discrete time only.

    Raises
    ------
    InvalidArgumentError
        If the record holds a batch, or ``dt`` does not fit.
    MissingLibraryError
        If SciPy is not installed.
    """
    signal = _library("scipy.signal", "scipy")
    A, B, C, D = to_matrices(system)
    if system.time == "continuous":
        sampling_time(system, dt)
        return signal.StateSpace(A, B, C, D)
    return signal.StateSpace(A, B, C, D, dt=sampling_time(system, dt))


def to_scipy_zpk(system: ModalSystem, *, dt: float | None = None) -> Any:
    """Convert one scalar system to a ``scipy.signal.ZerosPolesGain``; as :func:`to_scipy`.

    The poles are the record's own and the zeros generalized eigenvalues: no polynomial is formed,
    as SciPy's conversion from a state space does.  Zeros too far away to be seen where the gain is
    large, as a narrow filter has them, are left out.  What is returned has been compared with the
    transfer function beside every pole.
    """
    signal = _library("scipy.signal", "scipy")
    zeros, poles, gain = to_zeros(system)
    if system.time == "continuous":
        sampling_time(system, dt)
        return signal.ZerosPolesGain(zeros, poles, gain)
    return signal.ZerosPolesGain(zeros, poles, gain, dt=sampling_time(system, dt))


def from_sos(sections: Any) -> SISOSystem:
    """Convert a cascade of second-order sections, in discrete time.

    Parameters
    ----------
    sections
        Real, shape ``(K, 6)``, each row b0, b1, b2, a0, a1, a2 as in SciPy.

    Raises
    ------
    InvalidArgumentError
        If the shape is another, an a0 is 0, or poles are repeated or nearly.
    """
    rows = finite_reals("sections", sections).numpy()
    if rows.ndim != 2 or rows.shape[1] != 6 or not rows[:, 3].all():
        raise InvalidArgumentError(
            f"sections of shape {rows.shape}; required: (K, 6), b0 b1 b2 a0 a1 a2 with a0 not 0; "
            "ask SciPy's filter design for output='sos'"
        )
    parts = [factorize(row[:3], row[3:]) for row in rows]
    zeros = np.concatenate([part.zeros for part in parts] or [np.zeros(0)])
    poles = np.concatenate([part.poles for part in parts] or [np.zeros(0)])
    gain = float(np.prod([part.gain for part in parts]))
    return from_zeros(ZerosPolesGain(zeros, poles, gain), "discrete")


def to_sos(system: ModalSystem) -> Array:
    """Convert one scalar discrete-time system to a cascade for ``scipy.signal.sosfilt``.

    Returns
    -------
    numpy.ndarray
        float64, shape ``(K, 6)``, K = ⌈order / 2⌉ or 1.

    Raises
    ------
    InvalidArgumentError
        If the record holds a batch, several inputs or outputs, or is of continuous time, or its
        zeros are lost in rounding: their product is then not its transfer function.
    MissingLibraryError
        If SciPy is not installed.
    """
    signal = _library("scipy.signal", "scipy")
    if system.time != "discrete":
        raise InvalidArgumentError(
            "a continuous-time system; required: discrete time for second-order sections; "
            "discretise it first, or use to_scipy_zpk"
        )
    zeros, poles, gain = to_zeros(system)
    sections = signal.zpk2sos(zeros, poles, gain)
    # SciPy fills up missing zeros with zeros at 0, each a step early: take them out again.
    early = len(poles) - len(zeros)
    for section in sections:
        while early and section[2] == 0:
            section[:3] = 0.0, section[0], section[1]
            early -= 1
    return sections


# python-control


def from_control(system: Any) -> ModalSystem:
    """Convert a python-control ``StateSpace`` or ``TransferFunction``.

    Parameters
    ----------
    system
        Of continuous (``dt=0``) or discrete time (``dt`` positive or ``True``).

    Raises
    ------
    InvalidArgumentError
        As :func:`from_scipy`, and if ``dt`` is ``None``, which says neither.
    MissingLibraryError
        If python-control is not installed.

    Notes
    -----
    A transfer function matrix becomes the sum of its entries, each with its own poles.
    """
    control = _library("control", "control")
    if not isinstance(system, (control.StateSpace, control.TransferFunction)):
        raise _unknown(system, "a control.StateSpace or control.TransferFunction")
    if system.dt is None:
        raise InvalidArgumentError(
            "dt=None, an unspecified time base; required: dt=0 (continuous) or a sampling time; "
            "set it on the system"
        )
    time: Time = "discrete" if system.dt else "continuous"
    if isinstance(system, control.StateSpace):
        return from_matrices(system.A, system.B, system.C, system.D, time)
    return from_entries(system.num, system.den, time)


def to_control(system: ModalSystem, *, dt: float | None = None) -> Any:
    """Convert one system to a ``control.StateSpace``; ``control.tf`` of it is another step.

    Parameters
    ----------
    dt
        Sampling time of the result, 1 if not given; of discrete time only.

    Raises
    ------
    InvalidArgumentError
        If the record holds a batch, or ``dt`` does not fit.
    MissingLibraryError
        If python-control is not installed.
    """
    control = _library("control", "control")
    return control.StateSpace(*to_matrices(system), sampling_time(system, dt))


# pyMOR


def from_pymor(model: Any) -> ModalSystem:
    """Convert a pyMOR ``LTIModel``, in discrete time if its ``sampling_time`` is positive.

    Raises
    ------
    InvalidArgumentError
        As :func:`from_scipy`, and if E is singular or nearly, or the model has parameters.
    MissingLibraryError
        If pyMOR is not installed.
    """
    if not isinstance(model, _library("pymor.models.iosys", "pymor").LTIModel):
        raise _unknown(model, "a pymor LTIModel", "; call its to_lti() if it has one")
    if model.parametric:
        raise InvalidArgumentError(
            f"a model of parameters {sorted(model.parameters)}; required: numbers only; fix them "
            "with with_(...) or build the model for one value"
        )
    A, B, C, D, E = model.to_matrices(format="dense")
    D = np.zeros((len(C), B.shape[1])) if D is None else D
    time: Time = "discrete" if model.sampling_time else "continuous"
    if E is not None:
        A, B = solve_for_derivative(E, A, B)
    return from_matrices(A, B, C, D, time)


def to_pymor(system: ModalSystem, *, dt: float | None = None) -> Any:
    """Convert one system to a pyMOR ``LTIModel``; E is the identity.

    Parameters
    ----------
    dt
        Sampling time of the result, 1 if not given; of discrete time only.

    Raises
    ------
    InvalidArgumentError
        If the record holds a batch, or ``dt`` does not fit.
    MissingLibraryError
        If pyMOR is not installed.
    """
    pymor = _library("pymor.models.iosys", "pymor")
    matrices = to_matrices(system)
    return pymor.LTIModel.from_matrices(*matrices, sampling_time=sampling_time(system, dt))


def _library(module: str, package: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingLibraryError(
            f"{package} is not installed ({error}); required for this conversion only; run "
            f"'pip install {package}'"
        ) from error


def _unknown(value: Any, required: str, remedy: str = "") -> InvalidArgumentError:
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    return InvalidArgumentError(f"a {kind}; required: {required}{remedy}")
