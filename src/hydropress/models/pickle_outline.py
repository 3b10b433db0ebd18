"""What a pickle of torch.save would build, told from its instructions; none is carried out.

PyTorch's own reader of weights only runs no foreign code either, but it does call ``bytearray`` and
tensor classes with any size it is told, hashes whatever tuple it is given as a key, and takes a
storage's word for its length.  So a pickle is judged here first: it may build dictionaries, lists,
tuples, numbers, texts and strided tensors, and nothing else.  Settings that OmegaConf wrote, as
checkpoints of state-spaces/s4 hold them beside the model, are passed over: nothing is built.
"""

import math
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

#: Some 35 instructions build a tensor: enough for tens of thousands of them.
MOST_INSTRUCTIONS = 2**20
_MOST_AXES = 64

_STORAGES: dict[str, torch.dtype] = {
    "ByteStorage": torch.uint8,
    "CharStorage": torch.int8,
    "ShortStorage": torch.int16,
    "IntStorage": torch.int32,
    "LongStorage": torch.int64,
    "BoolStorage": torch.bool,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    "UntypedStorage": torch.uint8,
}
_DTYPES = {
    str(value).removeprefix("torch."): value
    for value in vars(torch).values()
    if isinstance(value, torch.dtype)
}
_DICTIONARY = "collections OrderedDict"
_DEFAULT_DICTIONARY = "collections defaultdict"
_TENSOR = "torch._utils _rebuild_tensor_v2"
_TENSOR_OF_NEW_TYPE = "torch._utils _rebuild_tensor_v3"
_PARAMETER = "torch._utils _rebuild_parameter"
_FUNCTIONS = (_DICTIONARY, _DEFAULT_DICTIONARY, _TENSOR, _TENSOR_OF_NEW_TYPE, _PARAMETER)
#: What the settings of OmegaConf name as the type of a value, as Python 2 called it.
_TYPES = ("bool", "dict", "float", "int", "list", "long", "str", "tuple", "unicode")
_IN_PYTHON_3 = {"long": "int", "unicode": "str"}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_VALUES = ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINSTRING")


class ForeignObjectError(ValueError):
    """A pickle names a class or function that is no part of a tensor."""


@dataclass(frozen=True, slots=True)
class StorageOutline:
    """Numbers in a file: their type, the name of their record, and how many there are to be."""

    dtype: torch.dtype
    key: str
    count: int

    @property
    def nbytes(self) -> int:
        """Length of the record."""
        return self.count * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class TensorOutline:
    """A view of a storage that lies within it."""

    storage: StorageOutline
    dtype: torch.dtype
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    flags: tuple[tuple[str, bool], ...] = ()

    @property
    def nbytes(self) -> int:
        """Memory that a copy takes."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class Outline:
    """What a pickle would build, with outlines for tensors, and what else it names.

    ``settings`` are the names, as Python 3 has them, of classes whose objects are passed over.
    """

    tree: Any
    storages: set[StorageOutline]
    settings: set[str]


@dataclass(frozen=True, slots=True)
class _Global:
    name: str


class Setting(_Global):
    """A class whose objects are passed over, and, in its place, such an object."""


def outline(pickled: bytes) -> Outline:
    """Return what a pickle would build.

    Raises
    ------
    ForeignObjectError
        If it names anything else than tensors and OmegaConf's settings; the message is its name.
    ValueError
        If it is damaged, too long, or describes a tensor that does not lie within its storage.
    """
    machine = _Machine()
    try:
        for count, (code, argument, _) in enumerate(pickletools.genops(pickled)):
            if count >= MOST_INSTRUCTIONS:
                raise ValueError(f"more than {MOST_INSTRUCTIONS:,} instructions")
            if code.name == "STOP":
                return Outline(machine.stack.pop(), machine.storages, machine.settings)
            machine.carry_out(code.name, argument)
    except (IndexError, KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"a damaged pickle: {type(error).__name__}") from error
    raise ValueError("a pickle without an end")


class _Machine:
    """The stack machine of pickles, whose functions only write down what they were to build."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.storages: set[StorageOutline] = set()
        self.settings: set[str] = set()

    def carry_out(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _VALUES:
            stack.append(argument)
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = stack[-1]
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            size = int(name[-1])
            if len(stack) < size:
                raise IndexError
            stack[-size:] = [tuple(stack[-size:])]
        elif name in self._ACTIONS:
            self._ACTIONS[name](self)
        elif name == "GLOBAL":
            stack.append(self._global(argument))
        elif name != "PROTO" or argument != 2:
            raise ValueError(f"the instruction {name} {argument}, which torch.save never writes")

    def _mark(self) -> None:
        self.below.append(self.stack)
        self.stack = []

    def _since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.below.pop()
        return items

    def _append(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise TypeError
        self.stack[-1] += items

    def _set(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise TypeError
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Of tuples within tuples, one hash may take for ever.
            if type(key) not in (str, int, float, bool, type(None)):
                raise ValueError(f"a dictionary with a {type(key).__name__} as key")
            target[key] = value

    def _build(self) -> None:
        # The attribute that state_dict() puts on its dictionary; as any other, it could hide a
        # method.
        state = self.stack.pop()
        if type(self.stack[-1]) is Setting:
            return
        if type(self.stack[-1]) is not dict or type(state) is not dict or {*state} - {"_metadata"}:
            raise ForeignObjectError("an object with attributes")

    def _global(self, argument: str) -> Any:
        module, _, name = argument.partition(" ")
        if argument in _FUNCTIONS:
            return _Global(argument)
        if module in ("torch", "torch.storage") and name in _STORAGES:
            return _Global(name)
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if module == "__builtin__" and name in _TYPES:
            return self._setting(f"builtins.{_IN_PYTHON_3.get(name, name)}")
        if argument == "typing Any" or module.partition(".")[0] == "omegaconf":
            return self._setting(f"{module}.{name}")
        raise ForeignObjectError(f"{module}.{name}")

    def _setting(self, name: str) -> Setting:
        self.settings.add(name)
        return Setting(name)

    def _new(self) -> None:
        _, kind = self.stack.pop(), self.stack.pop()
        if type(kind) is not Setting:
            raise ValueError("the instruction NEWOBJ, which torch.save writes for no tensor")
        self.stack.append(kind)

    def _persistent(self) -> None:
        kind, storage, key, _, count = self.stack.pop()
        if kind not in ("storage", b"storage") or type(storage) is not _Global:
            raise TypeError
        if type(key) is not str or type(count) is not int or count < 0:
            raise TypeError
        found = StorageOutline(_STORAGES[storage.name], key, count)
        self.storages.add(found)
        self.stack.append(found)

    def _reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if type(arguments) is not tuple:
            raise TypeError
        if type(function) is Setting:
            self.stack.append(function)
        elif type(function) is _Global:
            self.stack.append(_call(function.name, arguments))
        else:
            raise TypeError

    _ACTIONS: ClassVar[dict[str, Callable[["_Machine"], None]]] = {
        "MARK": _mark,
        "TUPLE": lambda self: self._push(tuple(self._since_mark())),
        "EMPTY_DICT": lambda self: self._push({}),
        "EMPTY_LIST": lambda self: self._push([]),
        "APPEND": lambda self: self._append([self.stack.pop()]),
        "APPENDS": lambda self: self._append(self._since_mark()),
        "SETITEM": lambda self: self._set([self.stack.pop(-2), self.stack.pop()]),
        "SETITEMS": lambda self: self._set(self._since_mark()),
        "BINPERSID": _persistent,
        "REDUCE": _reduce,
        "NEWOBJ": _new,
        "BUILD": _build,
    }

    def _push(self, value: Any) -> None:
        self.stack.append(value)


def _call(function: str, arguments: tuple[Any, ...]) -> Any:
    if function == _DICTIONARY and not arguments:
        return {}
    if function == _DEFAULT_DICTIONARY and [*map(type, arguments)] == [Setting]:
        return {}
    if function == _PARAMETER:
        tensor, _, hooks = arguments
        if type(tensor) is not TensorOutline or hooks:
            raise TypeError
        return tensor
    if function == _TENSOR:
        return _tensor(*arguments)
    if function == _TENSOR_OF_NEW_TYPE:
        *view, dtype = arguments[:7]
        return _tensor(*view, *arguments[7:], dtype=dtype)
    raise ForeignObjectError(function.replace(" ", "."))


def _tensor(
    storage: Any,
    offset: Any,
    shape: Any,
    stride: Any,
    _: Any,
    hooks: Any,
    flags: Any = None,
    *,
    dtype: Any = None,
) -> TensorOutline:
    flags = flags or {}
    if type(storage) is not StorageOutline or hooks or not type(shape) is type(stride) is tuple:
        raise TypeError
    if len(shape) > _MOST_AXES or type(flags) is not dict or len(flags) > 2:  # conjugated, negated
        raise TypeError
    if any(type(value) is not bool for value in flags.values()):
        raise TypeError
    dtype = storage.dtype if dtype is None else dtype
    numbers = (offset, *shape, *stride)
    if type(dtype) is not torch.dtype or any(type(n) is not int or n < 0 for n in numbers):
        raise TypeError
    last = offset + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
    needed = (last + 1) * dtype.itemsize if 0 not in shape else 0
    if needed > storage.nbytes:
        raise ValueError(
            f"a tensor of shape {shape} and strides {stride} at {offset} in a storage of "
            f"{storage.count:,} numbers"
        )
    return TensorOutline(storage, dtype, offset, shape, stride, tuple(sorted(flags.items())))
