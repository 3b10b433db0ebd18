"""Record what the original layers compute, as test vectors.

Takes a folder with checkouts of the originals: ``s4`` (state-spaces/s4, e757cef), ``s4-v3`` (the
same, tag v3.0.0), ``s4-v2`` (643a518), ``dss`` (ag1988/dss), ``annotated-s4``
(srush/annotated-s4), ``aTENNuate`` (Brainchip-Inc/aTENNuate).  They need einops, opt_einsum and
omegaconf, the annotated one jax and flax.  Run from the folder of the tests' helpers::

    PYTHONPATH=tests python tests/models/adapters/record/record.py CHECKOUTS s4d s4 dss …
"""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import torch
from torch import Tensor, nn

from models.adapters.vectors import Case, save

H, N, L = 4, 8, 40
IN_DOUBLE = ("disturbed", "zoh", "bidirectional bilinear", "real poles", "everything")
"""Cases that are recorded in float64 too; the vectors are to stay small."""


def load_file(path: Path, name: str, stubs: tuple[str, ...] = ()) -> ModuleType:
    """Import one file of a checkout; libraries that it imports and does not need here are empty."""
    for stub in stubs:
        try:
            importlib.import_module(stub)
        except ImportError:
            sys.modules[stub] = MagicMock()
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def disturbed(module: nn.Module, amount: float) -> None:
    """Move parameters away from their regular initial values."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(amount * torch.randn_like(parameter))


def run(
    name: str,
    kind: str,
    module: nn.Module,
    options: dict[str, Any],
    *,
    double: bool = False,
    last: bool = False,
    amount: float = 0.05,
    activation: str | None = "activation",
    channels: int = H,
) -> Case:
    """Run a module on noise and note what enters its activation."""
    disturbed(module, amount)
    if double:
        module.double()
    module.eval()
    dtype = torch.float64 if double else torch.float32
    signal = torch.randn(1, L, channels, dtype=dtype)
    signal = signal if last else signal.mT.contiguous()
    seen: list[Tensor] = []
    if activation is not None:
        part = module.get_submodule(activation)
        part.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    with torch.no_grad():
        output = module(signal)
    output = output[0] if isinstance(output, tuple) else output
    state = {key: value.detach() for key, value in module.state_dict().items()}
    linear = seen[0] if seen else output
    return Case(name, kind, options, state, signal, linear, output)


def dropout_module() -> None:
    """Provide the one name that s4d.py imports from its own repository."""
    package = MagicMock()
    package.DropoutNd = nn.Dropout
    for name in ("src", "src.models"):
        sys.modules[name] = MagicMock()
    sys.modules["src.models.nn"] = package


def record_s4d(folder: Path) -> list[Case]:
    dropout_module()
    file = load_file(folder / "s4/models/s4/s4d.py", "original_s4d")
    cases: list[Case] = []
    for name, options, amount in (
        ("initial", {}, 0.0),
        ("disturbed", {}, 0.05),
        ("no learning rate", {"lr": 0.0}, 0.0),
        ("channels last", {"transposed": False}, 0.05),
    ):
        for double in (False, True) if name in IN_DOUBLE else (False,):
            module = file.S4D(H, N, **options)
            last = not options.get("transposed", True)
            case = run(name, "S4D", module, options, double=double, last=last, amount=amount)
            cases.append(case)
    return cases


S4_CASES: dict[str, dict[str, Any]] = {
    "zoh": {},
    "bilinear": {"disc": "bilinear"},
    "dss": {"disc": "dss", "l_max": L, "dt_min": 0.02},
    "bidirectional": {"bidirectional": True},
    "bidirectional bilinear": {"bidirectional": True, "disc": "bilinear", "n_ssm": 2},
    "bidirectional dss": {"bidirectional": True, "disc": "dss", "l_max": L},
    "shared by all": {"n_ssm": 1},
    "shared by two": {"n_ssm": 2},
    "real softplus": {"real_transform": "softplus"},
    "real relu": {"real_transform": "relu"},
    "real sigmoid": {"real_transform": "sigmoid"},
    "real none": {"real_transform": "none"},
    "imag exp": {"imag_transform": "exp"},
    "imag softplus": {"imag_transform": "softplus"},
    "imag relu": {"imag_transform": "relu"},
    "imag sigmoid": {"imag_transform": "sigmoid", "imag_scale": 0.05},
    "step softplus": {"dt_transform": "softplus"},
    "step fast": {"dt_fast": True},
    "steps untied": {"dt_tie": False},
    "bandlimit": {"bandlimit": 0.5, "dt_min": 0.05, "dt_max": 0.2},
    "real poles": {"is_real": True, "init": "diag-real"},
    "real poles bilinear": {"is_real": True, "init": "diag-real", "disc": "bilinear"},
    "channels first": {"transposed": True},
    "cut off": {"l_max": 25},
    "everything": {
        "bidirectional": True,
        "n_ssm": 2,
        "disc": "bilinear",
        "real_transform": "softplus",
        "imag_transform": "exp",
        "dt_transform": "softplus",
        "dt_tie": False,
    },
}


def record_s4(folder: Path) -> list[Case]:
    file = load_file(folder / "s4/models/s4/s4.py", "original_s4")
    cases: list[Case] = []
    for name, options in S4_CASES.items():
        # The originals cast kernels of disc="dss" to float32, so there is nothing else of them.
        for double in (False, True) if name in IN_DOUBLE else (False,):
            arguments = {"mode": "diag", "d_state": N, "init": "diag-lin", "transposed": False}
            module = file.FFTConv(H, **{**arguments, **options})
            last = not options.get("transposed", False)
            cases.append(run(name, "FFTConv", module, options, double=double, last=last))
    for name, options in (("block", {}), ("block channels last", {"transposed": False})):
        module = file.S4Block(H, mode="diag", d_state=N, init="diag-inv", **options)
        last = not options.get("transposed", True)
        seen = "layer.activation"
        cases.append(run(name, "S4Block", module, options, last=last, activation=seen))
    return cases


S4_V3_CASES: dict[str, dict[str, Any]] = {
    "bilinear": {},
    "zoh": {"disc": "zoh"},
    "dss": {"disc": "dss", "l_max": L},
    "bidirectional": {"bidirectional": True},
    "shared": {"n_ssm": 2},
    "softplus": {"real_type": "softplus"},
    "relu": {"real_type": "relu"},
    "channels last": {"transposed": False},
    "bandlimit": {"bandlimit": 0.5, "dt_min": 0.05, "dt_max": 0.2},
}


def record_s4_v3(folder: Path) -> list[Case]:
    file = load_file(folder / "s4-v3/src/models/s4/s4.py", "original_s4_v3")
    cases: list[Case] = []
    for name, options in S4_V3_CASES.items():
        for double in (False, True) if name in IN_DOUBLE else (False,):
            arguments = {"mode": "diag", "measure": "diag-lin", "d_state": N, **options}
            module = file.S4(H, **arguments)
            last = not options.get("transposed", True)
            cases.append(run(name, "S4", module, options, double=double, last=last))
    path = folder / "s4-v2/src/models/sequence/ss/standalone/s4d.py"
    file = load_file(path, "original_s4_v2")
    for name, options in (("version 2", {}), ("version 2 bidirectional", {"bidirectional": True})):
        module = file.S4D(H, N, scaling="linear", n_ssm=2, **options)
        cases.append(run(name, "version 2", module, options))
    return cases


DSS_CASES: dict[str, dict[str, Any]] = {
    "exp": {"version": "exp"},
    "exp one step": {"version": "exp", "sep_dt_re_im": False},
    "exp no scale": {"version": "exp-no-scale"},
    "exp re im": {"version": "exp-re-im"},
    "softmax": {"version": "softmax", "max_kernel_length": L, "dt_min": 0.02},
    "softmax short": {"version": "softmax", "max_kernel_length": 20, "dt_min": 0.02},
    "softmax unlimited": {"version": "softmax"},
    "clip": {"version": "clip"},
    "clip no scale": {"version": "clip-no-scale", "sep_dt_re_im": False},
    "bidirectional": {"version": "exp", "bidirectional": True},
    "channels last": {"version": "exp", "transposed": False},
}


def record_dss(folder: Path) -> list[Case]:
    file = load_file(folder / "dss/src/models/sequence/ss/standalone/dss.py", "original_dss")
    cases: list[Case] = []
    for name, options in DSS_CASES.items():
        module = file.DSS(H, N, **options)
        last = not options.get("transposed", True)
        cases.append(run(name, "DSS", module, options, last=last))
    module = file.DSS(H, N, version="softmax", Lambda_init="randn", max_kernel_length=L)
    options = {"version": "softmax", "max_kernel_length": L}
    cases.append(run("softmax growing", "DSS", module, options))
    return cases


def record_attenuate(folder: Path) -> list[Case]:
    stubs = ("librosa", "torchaudio", "einops.layers.torch", "huggingface_hub")
    file = load_file(folder / "aTENNuate/attenuate/model.py", "original_attenuate", stubs)
    cases: list[Case] = []
    for name, inputs, outputs, amount in (
        ("initial", H, H, 0.0),
        ("disturbed", H, H, 0.05),
        ("two in three out", 2, 3, 0.05),
    ):
        arguments = {"num_coeffs": N, "in_channels": inputs, "out_channels": outputs, "repeat": 2}
        module = file.SSMLayer(**arguments)
        # The original casts to float32 whatever it gets.
        case = run(
            name, "SSMLayer", module, arguments, amount=amount, activation=None, channels=inputs
        )
        cases.append(case)
    return cases


def record_annotated_s4d(folder: Path) -> list[Case]:
    import jax  # type: ignore[import-not-found]

    for name in ("celluloid", "matplotlib", "matplotlib.pyplot", "seaborn"):
        sys.modules[name] = MagicMock()
    sys.path.insert(0, str(folder / "annotated-s4"))
    s4d = importlib.import_module("s4.s4d")
    cases: list[Case] = []
    for name, scaling, amount in (
        ("initial", "linear", 0.0),
        ("disturbed", "linear", 0.05),
        ("hippo", "hippo", 0.05),
    ):
        layer = s4d.S4DLayer(N=N, l_max=L, scaling=scaling)
        signal = np.random.default_rng(0).normal(size=(L, H)).astype(np.float32)
        tree = layer.init(jax.random.PRNGKey(1), signal)["params"]
        rng = np.random.default_rng(1)
        tree = {
            key: np.asarray(value + amount * rng.normal(size=value.shape), np.float32)
            for key, value in tree.items()
        }
        output = torch.from_numpy(np.array(layer.apply({"params": tree}, signal)))
        state = {key: torch.from_numpy(np.array(value)) for key, value in tree.items()}
        cases.append(Case(name, "S4DLayer", {}, state, torch.from_numpy(signal), output, output))
    return cases


RECORDERS: dict[str, Callable[[Path], list[Case]]] = {
    "s4d": record_s4d,
    "s4": record_s4,
    "s4_v3": record_s4_v3,
    "dss": record_dss,
    "attenuate": record_attenuate,
    "annotated_s4d": record_annotated_s4d,
}


def main() -> None:
    folder, *families = sys.argv[1:]
    for family in families or RECORDERS:
        torch.manual_seed(0)
        save(family, RECORDERS[family](Path(folder)))


if __name__ == "__main__":
    main()
