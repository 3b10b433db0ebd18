"""Record what layers of lindermanlab/S5 compute: python s5_flax.py CLONE OUT.npz.

CLONE is a checkout of the repository; it needs JAX and Flax.  Parameters are
kept in float32; outputs are computed from them in float64.
"""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

CHANNELS, STATES, LENGTH = 3, 8, 40
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "bilinear": {"discretization": "bilinear", "clip_eigs": True},
    "free": {"conj_sym": False, "C_init": "lecun_normal"},
    "both": {"bidirectional": True, "clip_eigs": True},
    "both-in-one": {"bidirectional": True, "C_init": "complex_normal", "step_rescale": 0.5},
}


def main() -> None:
    clone, out = sys.argv[1:]
    sys.path.insert(0, clone)
    jax.config.update("jax_enable_x64", True)
    jax.numpy.DeviceArray = jax.Array  # a name that JAX had when the repository was written
    from flax.traverse_util import flatten_dict
    from s5.seq_model import BatchClassificationModel
    from s5.ssm import init_S5SSM
    from s5.ssm_init import make_DPLR_HiPPO

    def layer(conj_sym=True, step_rescale=1.0, **options):
        size = STATES if conj_sym else STATES // 2
        poles, _, _, vectors, _ = make_DPLR_HiPPO(size)
        kept = STATES // 2
        poles, vectors = poles[:kept], vectors[:, :kept]
        settings = {
            "H": CHANNELS,
            "P": kept,
            "Lambda_re_init": poles.real,
            "Lambda_im_init": poles.imag,
            "V": vectors,
            "Vinv": vectors.conj().T,
            "C_init": "trunc_standard_normal",
            "discretization": "zoh",
            "dt_min": 0.01,
            "dt_max": 0.2,
            "conj_sym": conj_sym,
            "clip_eigs": False,
            "bidirectional": False,
            **options,
        }
        return init_S5SSM(**settings), step_rescale

    arrays = {}
    random = np.random.default_rng(0)
    signal = random.standard_normal((LENGTH, CHANNELS))
    arrays["signal"] = signal
    for name, options in CASES.items():
        make, rescale = layer(**options)
        module = make(step_rescale=rescale)
        tree = module.init(jax.random.PRNGKey(1), signal)["params"]
        tree = {key: np.array(value, dtype=np.float32) for key, value in tree.items()}
        tree["Lambda_re"] += 0.1 * random.standard_normal(STATES // 2).astype(np.float32)
        if options.get("clip_eigs"):
            tree["Lambda_re"][0] = 0.01
        exact = {key: value.astype(np.float64) for key, value in tree.items()}
        output = module.apply({"params": exact}, signal)
        arrays |= {f"{name}/{key}": value for key, value in tree.items()}
        arrays[f"{name}/output"] = np.array(output, dtype=np.float64)
    model = BatchClassificationModel(
        ssm=layer()[0], d_output=2, d_model=CHANNELS, n_layers=2, padded=False, training=False
    )
    batch = np.zeros((1, LENGTH, 1)), np.ones((1, LENGTH))
    tree = model.init({"params": jax.random.PRNGKey(2), "dropout": jax.random.PRNGKey(3)}, *batch)
    for path, value in flatten_dict(tree["params"]).items():
        arrays["model/" + ".".join(path)] = np.array(value, dtype=np.float32)
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(out, **arrays)


if __name__ == "__main__":
    main()
