"""Matrices on which torch's eigenvalue routine gives up, or writes where it must not."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from hydropress.systems.eigen import eigen, eigenvalues, in_eigenbasis
from tolerances import EXACT

DEFEATING = [
    [-2.8531601822779817e-10, 19.494208162621295, -1.164021222743733e-15, -7.0651419682068276e-15],
    [-19.4942081626213, -2.8530060721884044e-10, -6.266879029642284e-15, -4.228687865133847e-16],
    [1.4279436157839733e-15, -3.435822386527003e-16, -2.8531319235026364e-10, 19.494208162621305],
    [7.089121195958855e-16, -2.354007398363369e-15, -19.494208162621295, -2.853095915864374e-10],
]
"""Two nearly equal pairs: the QR iteration of some LAPACKs does not end."""

REPEATED = """
import sys, torch
from hydropress.systems.eigen import eigen
A = torch.tensor(eval(sys.argv[1]), dtype=torch.float64)[None]
for _ in range(20):
    values, vectors = eigen(A)
    others = [torch.randn(50, 50) for _ in range(100)]
print(float((A.to(values) @ vectors - vectors * values[:, None]).abs().max()))
"""


def test_an_iteration_that_gives_up_leaves_the_process_whole():
    command = [sys.executable, "-c", REPEATED, repr(DEFEATING)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 1e-13


def test_the_same_as_torch_where_that_ends():
    matrices = torch.randn(2, 3, 5, 5, dtype=torch.float64, generator=torch.Generator())
    values, vectors = eigen(matrices)
    expected = torch.linalg.eig(matrices)
    for found, wanted in ((values, expected[0]), (vectors, expected[1])):
        torch.testing.assert_close(found, wanted, rtol=EXACT, atol=EXACT)
    torch.testing.assert_close(eigenvalues(matrices), torch.linalg.eigvals(matrices))


@pytest.mark.parametrize("shape", [(0, 0), (0, 3, 3), (2, 0, 0)])
def test_nothing_to_do(shape):
    values, vectors = eigen(torch.zeros(shape, dtype=torch.float64))
    assert values.shape == shape[:-1]
    assert vectors.shape == shape
    columns = torch.zeros(*shape[:-1], 2, dtype=torch.float64)
    assert in_eigenbasis(values, vectors, columns).shape == columns.shape


def test_coefficients_in_the_eigenbasis():
    generator = torch.Generator()
    matrices = torch.randn(400, 5, 5, dtype=torch.float64, generator=generator)
    columns = torch.randn(400, 5, 2, dtype=torch.float64, generator=generator)
    values, vectors = eigen(matrices)
    assert set((values.imag > 0).sum(-1).tolist()) == {0, 1, 2}
    found = in_eigenbasis(values, vectors, columns)
    expected = torch.linalg.solve(vectors, columns.to(vectors.dtype))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    assert found[values.imag == 0].imag.abs().max() == 0
    torch.testing.assert_close(
        found[values.imag > 0].conj(), found[values.imag < 0], rtol=EXACT, atol=EXACT
    )


def test_eigenvalues_of_a_matrix_that_defeats_the_iteration():
    found = eigenvalues(torch.tensor(DEFEATING, dtype=torch.float64)).numpy()
    assert np.sort(found.imag) == pytest.approx([-19.4942] * 2 + [19.4942] * 2, rel=1e-6)
    assert found.real == pytest.approx([-2.853e-10] * 4, abs=1e-13)
