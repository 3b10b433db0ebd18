"""What an adapter is: it finds SSMs in a model, reads them, and writes smaller ones back."""

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from torch import Tensor, nn

from hydropress.models.layer import LinearSSM
from hydropress.models.modal_mimo_ssm import ModalMIMOSSM
from hydropress.models.modal_ssm import ModalSSM
from hydropress.systems.modal import MIMOSystem, ModalSystem, SISOSystem


@dataclass(frozen=True)
class LinearPart:
    """What is linear and time-invariant in a module: y = k * u + D u + b.

    Attributes
    ----------
    system
        Discrete time, float64: of scalar systems a bank of shape ``(directions, H)``, of a system
        of many inputs and outputs ``(directions,)``.  A second direction reads the sequence from
        its end and starts one sample ahead, y[t] = … + Σ_j k_b[j] u[t + 1 + j], so that the
        present sample counts once, in the first direction; D is the first direction's.
    bias
        b, shape ``(H,)``; None if there is none.
    step
        Time units per sample of each system, positive, ``(directions, H)`` or ``(directions,)``;
        None if the module has no such scale.  Parameters of the smaller layer are kept in these
        units, so that they train at the rates of the original's.
    """

    system: ModalSystem
    bias: Tensor | None = None
    step: Tensor | None = None

    @property
    def directions(self) -> int:
        return self.system.batch_shape[0]

    @property
    def channels(self) -> int:
        """H."""
        return self.system.D.shape[-1]

    def to_layer(self) -> LinearSSM:
        """Return a layer of this package that computes the same, its parameters float32.

        Raises
        ------
        UnstableSystemError
            If a pole does not decay, which no value of the parameters can express.
        """
        if isinstance(self.system, SISOSystem):
            return ModalSSM.from_system(self.system, step=self.step, bias=self.bias)
        assert isinstance(self.system, MIMOSystem)
        return ModalMIMOSSM.from_system(self.system, step=self.step, bias=self.bias)


@dataclass(frozen=True)
class Tap:
    """Where in a module the output of its linear part can be seen.

    Attributes
    ----------
    module
        The module itself or a submodule.
    side
        Whether it is the ``input`` or the ``output`` of it; of several values the first.
    channels_last
        Whether the signal there is ``(..., L, H)``; None if it is as the module takes it.
    """

    module: nn.Module
    side: Literal["input", "output"] = "output"
    channels_last: bool | None = None


@runtime_checkable
class Adapter(Protocol):
    """Three functions and two words about one family of modules.

    Attributes
    ----------
    name
        Of the family, for messages and saved models.
    channels_last
        Whether the module takes ``(..., L, H)`` instead of ``(..., H, L)``.
    """

    name: str
    channels_last: bool

    def find(self, model: nn.Module) -> list[str]:
        """Return the names of the modules of this family, as ``model.named_modules()`` has them."""
        ...

    def read(self, module: nn.Module) -> LinearPart:
        """Return the linear part of such a module; factors of two and normalisations folded in."""
        ...

    def write(self, module: nn.Module, layer: LinearSSM) -> nn.Module:
        """Return a module that computes with a given linear part and is called as the original.

        Parameters
        ----------
        module
            The original, which is not changed.
        layer
            Takes and returns ``(..., H, L)``; its sizes alone say what the result's are.
        """
        ...

    def tap(self, module: nn.Module) -> Tap:
        """Return where the linear part's output is, in an original or a written module."""
        ...
