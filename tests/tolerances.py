"""How far a result may be from its oracle: one table, each line with its reason.

All are relative to the scale of the compared quantity unless said otherwise.  A test that needs
more than its line here has found a bug.
"""

import torch

EXACT = 0.0
"""Same operations on the same numbers: bit for bit."""

ROUNDING = 1e-13
"""float64 formulas of a few hundred operations without cancellation (eps = 2e-16)."""

NORM = 1e-10
"""H2 norms and inner products against 50 digits, poles as near the boundary as |1 - a| = 1e-6:
such a pole, rounded once, has lost six digits of its decay; its exponent has lost none."""

SMALL_ERROR = 1e-3
"""Relative H2 errors down to 1e-8: three digits are promised, 16 - 8 = 8 are there to be lost."""

DENSE = 1e-8
"""float64 against dense matrix equations or eigenvalues, on systems with |1 - a| above 1e-2: the
oracle itself loses the condition of a Lyapunov equation (1e4) and of a modal basis (1e3)."""

QUADRATURE = 1e-7
"""float64 against numerical integrals and frequency averages with at least that resolution."""

KERNEL_FLOAT32 = 2e-6
"""float32 kernels and convolutions: computed in float64 where phases grow, then rounded
(eps = 1.2e-7); transforms of length L add log2(L) roundings."""

STREAM_FLOAT32 = 1e-5
"""float32 recurrence against float32 convolution over 4,096 steps: rounding errors of single steps
add up over the memory of the slowest mode, about 1,000 samples, as a random walk."""

CLASSIFIER_FLOAT32 = 1e-4
"""float32 logits by stream against by sequence: the errors of several layers, each amplified by
its normalisation."""

ROUNDED_PARAMETERS = 1e-4
"""A system against the layer that keeps it in float32 parameters, over 1,000 samples: the phase
error is t eps |Im s|."""

LAYER = {torch.float32: KERNEL_FLOAT32, torch.float64: 1e-12}
"""Layers against explicit sums, by the layer's dtype; in float64 the phase at t = 1,000 has lost
three digits."""

STREAM = {torch.float32: STREAM_FLOAT32, torch.float64: 1e-11}
"""Streams against convolutions, by dtype; in float64 rounding adds up as in float32."""

EXTRACTED = {torch.float32: 1e-5, torch.float64: 1e-10}
"""A layer's system against what the layer does with an impulse, by dtype: what is promised."""
