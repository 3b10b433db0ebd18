"""What cannot be converted, and what is said of it."""

import math
from typing import Any

import control
import numpy as np
import pytest
from pymor.models.iosys import LTIModel, SecondOrderModel
from scipy import signal as scipy_signal

from hydropress.errors import InvalidArgumentError, MissingLibraryError
from hydropress.systems import interop
from hydropress.systems.interop import (
    from_arrays,
    from_control,
    from_pymor,
    from_scipy,
    to_pymor,
    to_scipy,
    to_sos,
)
from strategies import build

# SciPy's types, inferred from its code, are narrower than what it takes and returns.
signal: Any = scipy_signal


def second_order() -> Any:
    one = np.eye(2)
    return SecondOrderModel.from_matrices(one, one, one, np.ones((2, 1)), np.ones((1, 2)))


ONE = np.ones((1, 1))
# Wrong on purpose, which pyright need not know.
ANY: Any = str
WRONG = {
    "not of SciPy": (lambda: from_scipy(np.eye(2)), "numpy.ndarray; required: a scipy.signal"),
    "not of control": (lambda: from_control(signal.dlti([1], [1, 2])), "required: a control.State"),
    "not of pyMOR": (lambda: from_pymor(second_order()), "SecondOrderModel.*to_lti"),
    "time base": (lambda: from_control(control.ss(-ONE, ONE, ONE, 0, None)), "unspecified time"),
    "chain of delays": (
        lambda: from_control(control.ss([[0, 1], [0, 0]], [[0], [1]], [[1, 0]], 0, 1)),
        r"eigenvectors of condition (\d\.\de\+\d+|inf); required.*at 0.*delay the input",
    ),
    "delays of a polynomial": (
        lambda: from_control(control.tf([1], [1, -0.5, 0, 0], 1)),
        r"pole 0.* is repeated, or nearly: its modes have condition inf;.*delay the input",
    ),
    "A of arrays": (
        lambda: from_arrays(np.ones((2, 3)), [1, 1], [1, 1], time="discrete"),
        r"A of shape \(2, 3\); required: a square matrix",
    ),
    "B of arrays": (
        lambda: from_arrays(np.eye(2), np.ones((3, 1)), [1, 1], time="discrete"),
        r"B of shape \(3, 1\) with A of shape \(2, 2\); required: .*n, M",
    ),
    "C beside a diagonal": (
        lambda: from_arrays([0.5, 0.2], [1, 1], np.ones((1, 3)), time="discrete"),
        r"C of shape \(1, 3\) with A of shape \(2,\); required: .*\(n,\)",
    ),
    "D of arrays": (
        lambda: from_arrays(np.eye(2), np.ones((2, 2)), np.ones((1, 2)), 0, time="discrete"),
        r"D of shape \(\) .*required: \(1, 2\)",
    ),
    "rows of different lengths": (
        lambda: from_arrays([[1, 2], [3]], [1, 1], [1, 1], time="discrete"),
        "A is no array",
    ),
    "NaN": (lambda: from_arrays([[0.5]], [math.nan], [1], time="discrete"), "B contains NaN"),
    "half a diagonal": (
        lambda: from_arrays([0.5 + 0.1j], [1], [1], time="discrete"),
        r"pole 0\.5\+0\.1j of A lacks its conjugate.*ModalSystem\.siso",
    ),
    "the other half": (
        lambda: from_arrays([0.5 - 0.1j], [1], [1], time="discrete"),
        r"pole 0\.5-0\.1j of A lacks its conjugate",
    ),
    "residues of a diagonal": (
        lambda: from_arrays([0.5 + 0.1j, 0.5 - 0.1j], [1, 1], [1j, 1j], time="discrete"),
        "lacks its conjugate, or their c b. are not conjugate",
    ),
    "a real pole of a diagonal": (
        lambda: from_arrays([0.5, 0.2], [1, 1], [1j, 1], time="discrete"),
        "real pole has a complex residue",
    ),
    "time of arrays": (lambda: from_arrays(np.eye(1), [1], [1], time=ANY("z")), "time='z'"),
    "Jordan block": (
        lambda: from_scipy(signal.StateSpace([[-1, 1], [0, -1]], [[0], [1]], [[1, 0]], 0)),
        r"eigenvectors of condition .*e\+.*; required: a diagonalisable",
    ),
    "Jordan block with E": (
        lambda: from_pymor(
            LTIModel.from_matrices(
                np.array([[-1.0, 1], [0, -2]]),
                np.ones((2, 1)),
                np.ones((1, 2)),
                E=np.diag([1.0, 2.0]),
            )
        ),
        "eigenvectors of condition",
    ),
    "singular E": (
        lambda: from_pymor(
            LTIModel.from_matrices(
                -np.eye(2), np.ones((2, 1)), np.ones((1, 2)), E=np.diag([1.0, 0.0])
            )
        ),
        "E has condition inf; required: a regular E",
    ),
    "complex": (lambda: from_scipy(signal.StateSpace([[-1j]], ONE, ONE, ONE)), "A is complex"),
}


@pytest.mark.parametrize(("make", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_has_no_modes_is_refused(make, message):
    with pytest.raises(InvalidArgumentError, match=message):
        make()


@pytest.mark.parametrize(
    ("call", "package"),
    [
        (lambda: to_scipy(build([-1.0], [1.0], [1])), "scipy"),
        (lambda: to_sos(build([-1.0], [1.0], [1])), "scipy"),
        (lambda: from_control(None), "control"),
        (lambda: to_pymor(build([-1.0], [1.0], [1])), "pymor"),
    ],
)
def test_a_missing_library_is_named(call, package, monkeypatch):
    def missing(name: str, *_: Any) -> Any:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(interop, "import_module", missing)
    with pytest.raises(MissingLibraryError, match=f"{package} is not installed.*pip install"):
        call()
