"""A generic door: the arrays of some diagonal SSMs in a file, smaller ones out in another.

A file holds either a bank of scalar systems, ``poles`` and ``residues`` (..., n), or systems of M
inputs and P outputs, ``poles`` (..., n), ``B`` (..., n, M) and ``C`` (..., P, n), in the record's
convention: one entry a conjugate pair (the member with Im > 0, counted as 2 Re), or a real pole.
``D`` (...) or (..., P, M) may stand beside them.  Poles are discrete, the input acting at once,
unless there is a ``step``, one number or (...) or (..., n): then they are continuous and sampled by
zero-order hold.

A complex array may also be stored as two, ``poles.real`` and ``poles.imag``, as Safetensors need it
in double precision.
"""

import math
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from hydropress.calibration.targets import check_order, order_of_ratio
from hydropress.errors import (
    DataNotFoundError,
    FileFormatError,
    InvalidArgumentError,
    UnstableSystemError,
)
from hydropress.models.adapters.complex_states import system_of_states
from hydropress.reduction.reduce import reduce
from hydropress.reduction.result import Reduction
from hydropress.systems.assembly import compact, concatenate, without_silent_modes
from hydropress.systems.discretization import discretize_zoh
from hydropress.systems.modal import MIMOSystem, ModalSystem, SISOSystem

COMPLEX = "poles", "residues", "B", "C"
REAL = "D", "step"
SUFFIXES = ".npz", ".safetensors"
_UNREADABLE = (
    *(OSError, EOFError, ValueError, TypeError, NotImplementedError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, SafetensorError),
)
"""What a damaged file makes the libraries raise."""


@dataclass(frozen=True)
class _Contents:
    """What a file holds, and how it holds it."""

    arrays: Mapping[str, Tensor]
    is_split: bool

    @property
    def dtype(self) -> torch.dtype:
        return self.arrays["poles"].dtype


def compress_system_file(
    path: str | Path,
    out: str | Path,
    *,
    order: int | None = None,
    ratio: float | None = None,
    method: str = "h2",
) -> Reduction[Any]:
    """Reduce the systems in a file and write the smaller ones to another, of the same kind.

    Parameters
    ----------
    path
        A ``.npz`` or ``.safetensors`` file with the arrays that this module's text names.
    out
        File to write, of the same suffix: the same names, dtypes and convention, poles continuous
        if they were, and D, with fewer entries.  An entry that a system does not need has a
        residue, or B and C, of zero; steps of each pole become one of each system, their geometric
        mean.
    order, ratio
        Real states of each system, or about which share of all states to keep; one of the two.
    method
        Name of a registered reduction method.

    Returns
    -------
    Reduction
        The discrete-time systems and their errors.

    Raises
    ------
    DataNotFoundError
        If there is no such file.
    FileFormatError
        If it is not of its kind, or names are missing or not known.
    InvalidArgumentError
        If shapes or values do not fit, or ``order`` and ``ratio`` do not.
    UnstableSystemError
        If a pole does not decay.
    """
    path, out = Path(path), Path(out)
    if (order is None) == (ratio is None):
        raise InvalidArgumentError(
            f"order={order}, ratio={ratio}; required: exactly one of them; leave the other out"
        )
    if path.suffix not in SUFFIXES or out.suffix != path.suffix:
        raise InvalidArgumentError(
            f"{path.name} to {out.name}; required: two files of the same kind, "
            f"{' or '.join(SUFFIXES)}; rename or convert one of them"
        )
    contents = _read(path)
    system = _system(contents.arrays)
    _require_stable(system, path)
    states = system.order.flatten()
    if order is None:
        assert ratio is not None
        order = order_of_ratio(ratio, states)
    check_order(order, int(states.max()))
    reduction = reduce(system, order, method)
    _write(out, _arrays(reduction.system, contents), contents.is_split)
    return reduction


def _read(path: Path) -> _Contents:
    if not path.is_file():
        raise DataNotFoundError(f"no file {path}; required: a file of arrays; check the path")
    try:
        arrays = _read_archive(path) if path.suffix == ".npz" else dict(load_file(path))
    except _UNREADABLE as error:
        raise FileFormatError(
            f"{path} cannot be read ({error}); required: a whole {path.suffix} file of numbers; "
            "write it again"
        ) from error
    is_split = "poles.real" in arrays
    for name in COMPLEX:
        real, imaginary = f"{name}.real", f"{name}.imag"
        if real in arrays and imaginary in arrays:
            arrays[name] = _joined(name, arrays.pop(real), arrays.pop(imaginary))
    unknown = sorted(set(arrays) - {*COMPLEX, *REAL})
    wanted = [{"poles", "residues"}, {"poles", "B", "C"}]
    given = set(arrays) & set(COMPLEX)
    if unknown or given not in wanted:
        raise FileFormatError(
            f"{path} with {', '.join(sorted(arrays)) or 'no arrays'}; required: poles and either "
            "residues, or B and C; D and step if there are such; a complex array may be two, "
            ".real and .imag; rename the arrays"
        )
    return _Contents(arrays, is_split)


def _read_archive(path: Path) -> dict[str, Tensor]:
    """Read the arrays of an archive, none of which claims to be larger than its record."""
    with zipfile.ZipFile(path) as archive:
        for record in archive.infolist():
            with archive.open(record) as member:
                version = np.lib.format.read_magic(member)
                if version == (1, 0):
                    shape, _, dtype = np.lib.format.read_array_header_1_0(member)
                else:
                    shape, _, dtype = np.lib.format.read_array_header_2_0(member)
            if math.prod(shape) * dtype.itemsize > record.file_size:
                raise ValueError(
                    f"{record.filename[:60]!r} declares {shape} and holds "
                    f"{record.file_size:,} bytes"
                )
    with np.load(path, allow_pickle=False) as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


def _joined(name: str, real: Tensor, imaginary: Tensor) -> Tensor:
    if real.shape != imaginary.shape or real.dtype != imaginary.dtype or real.is_complex():
        raise InvalidArgumentError(
            f"{name}.real of shape {tuple(real.shape)} and {name}.imag of shape "
            f"{tuple(imaginary.shape)}; required: real arrays of one shape and dtype"
        )
    return torch.complex(real, imaginary)


def _system(arrays: Mapping[str, Tensor]) -> ModalSystem:
    """Return the discrete-time systems of a file, entries without an output made empty."""
    step = arrays.get("step")
    time = "discrete" if step is None else "continuous"
    poles, D = arrays["poles"], arrays.get("D")
    if "residues" in arrays:
        given = ModalSystem.siso(poles, arrays["residues"], D, time=time)
    else:
        given = ModalSystem.mimo(poles, arrays["B"], arrays["C"], D, time=time)
    if step is not None:
        given = _sampled(given, _steps(step, given))
    return without_silent_modes(given)


def _steps(step: Tensor, given: ModalSystem) -> Tensor:
    """Return the step of each entry, float64, shape ``(..., n)``."""
    shape = given.exponents.shape
    if step.shape in (torch.Size(()), torch.Size((1,)), shape[:-1]) and step.shape != shape:
        step = step.reshape(step.shape if step.shape == shape[:-1] else ())[..., None]
    elif step.shape != shape:
        raise InvalidArgumentError(
            f"step of shape {tuple(step.shape)} with poles of shape {tuple(shape)}; required: one "
            "number, or one for each system or each pole"
        )
    if step.is_complex() or not bool(((step > 0) & torch.isfinite(step)).all()):
        raise InvalidArgumentError("step holds values that are not positive; required: > 0")
    return step.double().expand(shape)


def _sampled(given: ModalSystem, step: Tensor) -> ModalSystem:
    """Return continuous-time systems sampled by zero-order hold.

    A phase above π per sample is that of another pole; at π the pole is real.
    """
    batch = given.batch_shape
    exponents, gain = discretize_zoh(given.exponents, step)
    if isinstance(given, SISOSystem):
        B, C, D = gain[..., None], given.residues[..., None, :], given.D[..., None, None]
    else:
        assert isinstance(given, MIMOSystem)
        B, C, D = gain[..., None] * given.B, given.C, given.D
    C = C * given.states[..., None, :]
    parts = (part.reshape(-1, *part.shape[len(batch) :]) for part in (exponents, B, C, D))
    systems = [system_of_states(*one).reshape(1) for one in zip(*parts, strict=True)]
    whole = concatenate(systems)
    if isinstance(given, SISOSystem):
        residues = whole.C[:, 0] * whole.B[..., 0]
        scalar = ModalSystem.from_exponents(
            whole.exponents, residues, whole.states, given.D.flatten()
        )
        return scalar.reshape(*batch)
    return whole.reshape(*batch)


def _require_stable(system: ModalSystem, path: Path) -> None:
    unstable = int((system.decay <= 0).sum())
    if unstable:
        size = "|a| < 1, or with a step Re λ < 0"
        raise UnstableSystemError(
            f"{path} with {unstable} pole(s) that do not decay; required: {size}; remove them, or "
            "add step if the poles are continuous"
        )


def _arrays(system: ModalSystem, contents: _Contents) -> dict[str, Tensor]:
    """Return a file's arrays for systems, as the original holds its own."""
    batch = system.batch_shape
    system = compact(system.reshape(-1)).reshape(*batch)
    used = system.states > 0
    exponents = torch.where(used, system.exponents, -1.0)
    residues: dict[str, Tensor]
    if isinstance(system, SISOSystem):
        residues = {"residues": torch.where(used, system.residues, 0)}
    else:
        assert isinstance(system, MIMOSystem)
        residues = {
            "B": torch.where(used[..., None], system.B, 0),
            "C": torch.where(used[..., None, :], system.C, 0),
        }
    values = {
        "poles": replace(system, exponents=exponents, states=system.states.clamp_min(1)).poles
    }
    if "step" in contents.arrays:
        values, residues = _continuous(exponents, residues, system.states, contents)
    dtype = contents.dtype if contents.dtype.is_complex else contents.dtype.to_complex()
    real = dtype.to_real()
    arrays = {
        name: value.to(dtype) for name, value in {**values, **residues}.items() if name != "step"
    }
    arrays["D"] = system.D.to(real)
    if "step" in values:
        arrays["step"] = values["step"].to(contents.arrays["step"].dtype)
    return arrays


def _continuous(
    exponents: Tensor, residues: dict[str, Tensor], states: Tensor, contents: _Contents
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return continuous poles, the step, and residues or B and C without the gain of the hold.

    An alternating real pole is the conjugate pair of poles that turn by π a sample, with half of
    its residue each.
    """
    step = contents.arrays["step"].double()
    if step.shape == contents.arrays["poles"].shape:
        step = torch.exp(torch.log(step).mean(-1))
    single = step.reshape(-1)[0] if step.ndim == 0 or step.shape == (1,) else step[..., None]
    poles = exponents / single
    _, gain = discretize_zoh(poles, single)
    half = torch.where((states == 1) & (exponents.imag != 0), 0.5, 1.0)
    if "residues" in residues:
        residues = {"residues": residues["residues"] * half / gain}
    else:
        residues = {
            "B": residues["B"] / gain[..., None],
            "C": residues["C"] * half[..., None, :],
        }
    return {"poles": poles, "step": step}, residues


def _write(out: Path, arrays: dict[str, Tensor], is_split: bool) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".safetensors":
        # Complex numbers of double precision are none of its types.
        is_split = is_split or arrays["poles"].dtype == torch.complex128
    if is_split:
        split = {name: value for name, value in arrays.items() if not value.is_complex()}
        for name in set(arrays) - set(split):
            split[f"{name}.real"] = arrays[name].real.contiguous()
            split[f"{name}.imag"] = arrays[name].imag.contiguous()
        arrays = split
    arrays = {name: arrays[name].contiguous() for name in sorted(arrays)}
    if out.suffix == ".safetensors":
        save_file(arrays, out)
    else:
        values: Any = {name: value.numpy() for name, value in arrays.items()}
        with out.open("wb") as file:
            np.savez(file, **values)
