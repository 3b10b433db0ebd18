"""What a written module consists of where the original computes a kernel and convolves with it."""

import copy
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from hydropress.errors import InvalidArgumentError
from hydropress.models.adapters.modes import is_kind, linear_part
from hydropress.models.adapters.protocol import LinearPart, Tap
from hydropress.models.layer import LinearSSM
from hydropress.models.modal_ssm import ModalSSM
from hydropress.systems.kernels import modal_kernel


class ModalKernel(nn.Module):
    """Takes the place of an original's kernel and is called as that is.

    Parameters
    ----------
    layer
        Whose modes it computes with; copied.  D and the bias are not part of a kernel.
    family
        Name of the adapter that wrote it.
    returns_state
        Whether the original returns ``(kernel, None)`` with a first axis of directions instead of
        the kernel of shape ``(H, L)`` alone.
    """

    def __init__(self, layer: ModalSSM, family: str, *, returns_state: bool) -> None:
        super().__init__()
        self.family = family
        self.returns_state = returns_state
        self.layer = copy.deepcopy(layer)
        no_D = torch.zeros_like(layer.D)
        del self.layer.D
        self.layer.register_buffer("D", no_D, persistent=False)
        self.layer.bias = None
        self._recurrence: Any = None

    def forward(
        self, L: int, state: Tensor | None = None, rate: float | None = 1.0
    ) -> Tensor | tuple[Tensor, None]:
        """Return the convolution kernels.

        Parameters
        ----------
        L
            Number of samples.
        state
            Not supported.
        rate
            Sampling step in units of that of the original's kernel.
        """
        if state is not None:
            raise InvalidArgumentError(
                "a state for the convolution of a reduced layer; required: none; go on step by "
                "step (setup_step, step) from default_state instead"
            )
        rate = 1.0 if rate is None else rate
        kernel = self.layer.kernel(L) if rate == 1 else self._resampled(L, rate)
        return (kernel, None) if self.returns_state else kernel[0]

    def _resampled(self, length: int, rate: float) -> Tensor:
        """Return kernels of the continuous-time modes, held over steps of another length."""
        modes = self.layer.modes()
        singles = modes.exponents[modes.num_pairs :]
        if bool((singles.imag != 0).any()):
            raise InvalidArgumentError(
                f"rate={rate} for a kernel with alternating modes, which have no continuous-time "
                "form; required: rate=1; reduce without them"
            )
        exponents = modes.exponents * rate
        residues = modes.residues * torch.expm1(exponents) / torch.expm1(modes.exponents)
        each = modal_kernel(exponents[:, None], residues[:, None], length)
        total = each.new_zeros(self.layer.directions * self.layer.channels, length)
        total = total.index_add(0, modes.row, each)
        kernel = total.reshape(self.layer.directions, self.layer.channels, length)
        return kernel.to(self.layer.D.dtype)

    def _setup_step(self, **_: Any) -> None:
        """Prepare for :meth:`step`, as S4 layers ask their kernels to."""
        with torch.no_grad():
            self._recurrence = self.layer.recurrence()

    def default_state(self, *batch_shape: int) -> Tensor:
        """Return the state from which a sequence starts."""
        return self.layer.initial_state(*batch_shape)

    def step(self, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Advance by one sample; the output, without D, has an axis of heads, ``(batch, 1, H)``."""
        if self._recurrence is None:
            self._setup_step()
        output, state = self.layer.step(u, state, self._recurrence)
        return output[:, None], state


class ChannelBias(nn.Module):
    """Adds a constant to each channel.

    Parameters
    ----------
    bias
        Shape ``(H,)``.
    channels_last
        Whether signals are ``(..., L, H)`` instead of ``(..., H, L)``.
    """

    def __init__(self, bias: Tensor, *, channels_last: bool) -> None:
        super().__init__()
        self.bias = nn.Parameter(bias.detach().clone())
        self.channels_last = channels_last

    def forward(self, signal: Tensor) -> Tensor:
        return signal + (self.bias if self.channels_last else self.bias[:, None])


class KernelAdapter(ABC):
    """An adapter of modules that hold ``kernel``, ``D`` and ``activation``.

    The kernel is replaced, D updated in its place, and a bias that the smaller layer has put in
    front of the activation, whose input is the linear part's output.

    Parameters
    ----------
    channels_last
        Which modules it finds: those made with ``transposed=False``, or all others.
    name
        Of the adapter; that of the family, with ``-channels-last`` if so, if not given.
    classes, kernel_classes
        Names of the classes that are meant, of the module and of the kernel; a subclass counts.
        The family's own if not given.  With names of its own, an adapter of renamed copies of the
        original's code can be registered.
    """

    family: ClassVar[str]
    own_classes: ClassVar[tuple[str, ...]]
    own_kernel_classes: ClassVar[tuple[str, ...]]
    returns_state: ClassVar[bool] = True

    def __init__(
        self,
        *,
        channels_last: bool = False,
        name: str | None = None,
        classes: tuple[str, ...] | None = None,
        kernel_classes: tuple[str, ...] | None = None,
    ) -> None:
        default = f"{self.family}-channels-last" if channels_last else self.family
        self.name = default if name is None else name
        self.channels_last = channels_last
        self.classes = self.own_classes if classes is None else classes
        self.kernel_classes = self.own_kernel_classes if kernel_classes is None else kernel_classes

    @abstractmethod
    def is_kernel(self, kernel: nn.Module) -> bool:
        """Return whether a kernel has the family's tensors."""

    @abstractmethod
    def read_modes(self, module: nn.Module) -> tuple[Tensor, Tensor, Tensor]:
        """Return exponents ``(H, n)``, weights ``(directions, H, n)`` and steps ``(H,)``.

        k[t] = Σ Re(w e^{st}); complex128.
        """

    def activation_is_last(self, module: nn.Module) -> bool:
        """Return whether the activation sees ``(..., L, H)``."""
        return False

    def inner_kernel(self, module: nn.Module) -> nn.Module:
        """Return the submodule with the kernel's parameters."""
        return module.get_submodule("kernel")

    def find(self, model: nn.Module) -> list[str]:
        return [name for name, module in model.named_modules() if self._fits(module)]

    def _fits(self, module: nn.Module) -> bool:
        parts = dict(module.named_children())
        if not is_kind(module, self.classes) or not {"kernel", "activation"} <= set(parts):
            return False
        if not isinstance(getattr(module, "D", None), Tensor):
            return False
        if self.channels_last != (not getattr(module, "transposed", True)):
            return False
        kernel = self.inner_kernel(module)
        if isinstance(kernel, ModalKernel):
            return kernel.family == self.family
        return is_kind(kernel, self.kernel_classes) and self.is_kernel(kernel)

    def read(self, module: nn.Module) -> LinearPart:
        kernel = self.inner_kernel(module)
        D = module.get_parameter("D")
        if not isinstance(kernel, ModalKernel):
            exponents, weights, step = self.read_modes(module)
            return linear_part(exponents, weights, D, step, self.family)
        system = kernel.layer.system()
        system.D[0] = D.detach().double().flatten()
        bias = _bias_of(module)
        step = kernel.layer.step_size.reshape(system.batch_shape)
        return LinearPart(system, None if bias is None else bias.bias.detach(), step)

    def write(self, module: nn.Module, layer: LinearSSM) -> nn.Module:
        """Return a copy of the module with another kernel, D and, if the layer has one, bias.

        The bias is there if ``layer.bias`` is not None, whatever its values, so that sizes alone
        say what the result's tensors are.

        Raises
        ------
        InvalidArgumentError
            If the layer is no bank of scalar systems in modal form.
        """
        if not isinstance(layer, ModalSSM):
            raise InvalidArgumentError(
                f"a {type(layer).__name__} for a module of family {self.family}; required: a "
                "ModalSSM, one scalar system a channel and direction; make it with "
                "ModalSSM.from_system"
            )
        original = module.get_submodule("kernel")
        # The original's kernel is not copied: it is large, and may hold what cannot be.
        written = copy.deepcopy(module, {id(original): nn.Identity()})
        kernel = ModalKernel(layer, self.family, returns_state=self.returns_state)
        _inherit_hints(original, kernel)
        written.register_module("kernel", kernel)
        activation = _activation_of(written)
        if layer.bias is not None:
            bias = ChannelBias(layer.bias, channels_last=self.activation_is_last(module))
            activation = nn.Sequential(bias, activation)
        written.register_module("activation", activation)
        with torch.no_grad():
            D = written.get_parameter("D")
            D.copy_(layer.D.reshape(D.shape))
        return written.train(module.training)

    def tap(self, module: nn.Module) -> Tap:
        return Tap(_activation_of(module), "input", self.activation_is_last(module))


def _bias_of(module: nn.Module) -> ChannelBias | None:
    activation = module.get_submodule("activation")
    if isinstance(activation, nn.Sequential) and len(activation) == 2:
        first = activation[0]
        return first if isinstance(first, ChannelBias) else None
    return None


def _activation_of(module: nn.Module) -> nn.Module:
    """Return the activation of an original or a written module, without a bias before it."""
    activation = module.get_submodule("activation")
    if _bias_of(module) is None:
        return activation
    assert isinstance(activation, nn.Sequential)
    return activation[1]


def _inherit_hints(original: nn.Module, kernel: ModalKernel) -> None:
    """Pass on the ``_optim`` of poles, by which the originals' training scripts set rates."""
    hints = [getattr(one, "_optim", None) for one in original.parameters()]
    hint = next((one for one in hints if one), None)
    if hint is not None:
        for name, parameter in kernel.named_parameters():
            if not name.endswith("C"):
                vars(parameter)["_optim"] = dict(hint)
