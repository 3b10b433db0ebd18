"""What a saved model's config.json must say, and how to say what is wrong with it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from hydropress.errors import FileFormatError
from hydropress.models.config import OF_OTHER_LAYERS, ClassifierConfig

FORMAT = "hydropress-classifier"
VERSION = 1
ANOTHER_COPY = "save the model again or take another copy of it"

_SHOWN_PROBLEMS = 4
_MOST_NUMBERS = 2  # directions of a layer
_HEADER: dict[str, Any] = {"format": Literal[FORMAT], "version": Literal[VERSION]}
_LAYERS: dict[Any, dict[str, Any]] = {
    "s4d": {"kind": Literal["s4d"]},
    "dss": {"kind": Literal["dss"]},
    "s5": {"kind": Literal["s5"]},
    "lru": {"kind": Literal["lru"]},
    "modal": {"kind": Literal["modal"], "pairs": int, "reals": int},
    "modal_mimo": {
        "kind": Literal["modal_mimo"],
        "pairs": tuple[int, ...],
        "reals": tuple[int, ...],
        "full_feedthrough": bool,
    },
}
_ANY_LAYER: dict[str, Any] = {"kind": Literal["s4d", "dss", "s5", "lru", "modal", "modal_mimo"]}


def parse_description(
    path: Path, description: Any, tensor_names: Iterable[str]
) -> tuple[ClassifierConfig, list[dict[str, Any]]]:
    """Check every field of a description.

    Parameters
    ----------
    path
        Where it was read, for the message.
    description
        What the JSON file holds.
    tensor_names
        Of the tensors that it describes.

    Returns
    -------
    config, layers
        The architecture, and for each block the kind of its SSM and, for ``modal`` and
        ``modal_mimo``, the number of its pairs and real poles, of ``modal_mimo`` by direction.

    Raises
    ------
    FileFormatError
        If a field is missing, unknown or of the wrong type.
    """
    start = description
    if isinstance(description, dict):
        start = {name: value for name, value in description.items() if name in _HEADER}
    refuse(path, _problems("", start, _HEADER), f"{FORMAT} version {VERSION}")
    blocks = {name.split(".")[1] for name in tensor_names if name.startswith("blocks.")}
    fields = get_type_hints(ClassifierConfig)
    if isinstance(description, dict) and isinstance(description.get("config"), dict):
        given = description["config"]
        fields = {n: kind for n, kind in fields.items() if n in given or n not in OF_OTHER_LAYERS}
    problems = _problems("", description, {**_HEADER, "config": fields, "layers": list})
    if not problems:
        layers = description["layers"]
        count = description["config"]["num_layers"]
        own = description["config"].get("layer", ClassifierConfig.layer)
        if not count == len(layers) == len(blocks):
            problems = [
                f"num_layers is {brief(count)} with {len(layers)} layers listed and tensors of "
                f"{len(blocks)} blocks"
            ]
        for index, layer in enumerate(layers):
            kind = layer.get("kind") if isinstance(layer, dict) else None
            known = isinstance(kind, str) and kind in _LAYERS
            problems += _problems(f"layers[{index}]", layer, _LAYERS[kind] if known else _ANY_LAYER)
            if known and kind not in (own, "modal", "modal_mimo"):
                problems.append(f"layers[{index}].kind is {kind!r}, and config.layer {own!r}")
    refuse(path, problems, f"exactly the fields of a {FORMAT} of version {VERSION}")
    config: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in description["config"].items()
    }
    return ClassifierConfig(**config), description["layers"]


def _problems(name: str, value: Any, required: Any) -> list[str]:
    """Say where a JSON value is not of a type, or not an object with just the given fields."""
    name = name.removeprefix(".")
    if isinstance(required, dict):
        if not isinstance(value, dict):
            return [f"{name or 'the whole'} is {brief(value)}, not an object"]
        missing = [f"{name}.{field} is missing" for field in required if field not in value]
        unknown = [f"{name}.{field} is unknown" for field in value if field not in required]
        found = [problem.removeprefix(".") for problem in missing + unknown]
        for field in required.keys() & value.keys():
            found += _problems(f"{name}.{field}", value[field], required[field])
        return found
    options = get_args(required)
    wanted = required.__name__ if isinstance(required, type) else required
    if get_origin(required) is Literal:
        right = any(type(value) is type(option) and value == option for option in options)
        wanted = " or ".join(map(repr, options))
    elif options[1:] == (...,):
        wanted = "a list of whole numbers"
        right = isinstance(value, list) and len(value) <= _MOST_NUMBERS
        right = right and not any(_problems("", part, options[0]) for part in value)
    elif get_origin(required) is tuple:
        wanted = f"a list of {len(options)} numbers"
        right = isinstance(value, list) and len(value) == len(options)
        right = right and not any(map(_problems, map(str, options), value, options))
    elif required is float:
        right = type(value) in (int, float) and abs(value) < 1e300
    else:
        right = type(value) is required
    return [] if right else [f"{name} is {brief(value)}, not {wanted}"]


def refuse(path: Path, problems: list[str], required: str) -> None:
    """Raise FileFormatError if there are problems."""
    if problems:
        raise FileFormatError(
            f"{path}: {listed(problems)}; required: {required}; {ANOTHER_COPY}, or use the "
            "version of Hydropress that wrote it"
        )


def listed(problems: list[str]) -> str:
    """Join the first problems and count the rest."""
    more = len(problems) - _SHOWN_PROBLEMS
    rest = f", and {more} more" if more > 0 else ""
    return ", ".join(problems[:_SHOWN_PROBLEMS]) + rest


def brief(value: Any) -> str:
    """Show a value or an exception in one line of limited length."""
    text = str(value) if isinstance(value, Exception) else repr(value)
    text = " ".join(text.split())
    return text if len(text) <= 120 else text[:117] + "..."
