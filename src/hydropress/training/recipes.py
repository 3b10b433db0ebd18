"""Recipes: everything that determines a trained model, in one YAML file."""

import types
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import yaml

from hydropress.data.tasks import TASKS, find_task
from hydropress.errors import DataNotFoundError, FileFormatError
from hydropress.evaluation.task_models import OF_THE_TASK
from hydropress.models.classifier import ClassifierConfig
from hydropress.training.config import TrainingConfig

ENTRIES = ("data", "length", "seed", "model", "training")

Config = TypeVar("Config")


@dataclass(frozen=True)
class Recipe:
    """How to make a model from nothing.

    Attributes
    ----------
    name
        For people; not part of the file.
    data
        What to train on, one of :data:`~hydropress.data.tasks.TASKS`.
    length
        Longest sequence; None for the task's own.
    seed
        Determines initial weights, order of the data and dropout.
    model, training
        The architecture, and how it is trained; ``training.seed`` is always ``seed``, and what the
        model is given and asked for is always the task's.
    """

    name: str
    data: str = "fashion-mnist"
    length: int | None = None
    seed: int = 0
    model: ClassifierConfig = field(default_factory=ClassifierConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        task = find_task(self.data)
        decided = {name: getattr(task, name) for name in OF_THE_TASK}
        object.__setattr__(self, "model", replace(self.model, **decided))
        object.__setattr__(self, "training", replace(self.training, seed=self.seed))

    def to_dict(self) -> dict[str, Any]:
        """Return what its YAML file would hold, with every default written out."""
        training = asdict(self.training)
        del training["seed"]
        return {
            "data": self.data,
            "length": self.length,
            "seed": self.seed,
            "model": self.model.to_dict(),
            "training": training,
        }


def recipe_names() -> tuple[str, ...]:
    """Return the names of the recipes in the package."""
    return tuple(sorted(path.stem for path in _folder().glob("*.yaml")))


def _folder() -> Path:
    return Path(str(files("hydropress.training").joinpath("recipes")))


def load_recipe(name_or_path: str | Path, *, seed: int | None = None) -> Recipe:
    """Read a recipe.

    Parameters
    ----------
    name_or_path
        Name of a recipe in the package, or a YAML file with any of the entries ``data``,
        ``length``, ``seed``, ``model`` (fields of ClassifierConfig) and ``training`` (fields of
        TrainingConfig).
    seed
        Replaces the recipe's own.

    Raises
    ------
    DataNotFoundError
        If there is no such recipe; the message lists those there are.
    FileFormatError
        If it has an entry that is not known, or of the wrong kind.
    """
    path = Path(name_or_path)
    if str(name_or_path) in recipe_names():
        path = _folder() / f"{name_or_path}.yaml"
    if not path.is_file():
        raise DataNotFoundError(
            f"recipe {str(name_or_path)!r}; required: one of {', '.join(recipe_names())}, or a "
            "YAML file; check the spelling"
        )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise FileFormatError(f"{path}: not YAML ({error}); correct it") from error
    recipe = parse_recipe(content, name=path.stem, source=str(path))
    return recipe if seed is None else replace(recipe, seed=seed)


def parse_recipe(content: Any, *, name: str, source: str) -> Recipe:
    """Turn the content of a recipe's file into a recipe; ``source`` names it in errors."""
    entries = _mapping(content, source)
    _check_keys(entries, ENTRIES, source)
    data = entries.get("data", Recipe.data)
    if not isinstance(data, str) or data not in TASKS:
        raise FileFormatError(
            f"{source}, data: {data!r}; required: one of {', '.join(TASKS)}; correct it"
        )
    model = _configuration(ClassifierConfig, entries.get("model"), f"{source}, model")
    for field_name in OF_THE_TASK:
        given = _mapping(entries.get("model"), source).get(field_name)
        if given not in (None, getattr(TASKS[data], field_name)):
            raise FileFormatError(
                f"{source}, model.{field_name}: {given!r}; required: "
                f"{getattr(TASKS[data], field_name)!r}, since the data are {data!r}; leave it out"
            )
    return Recipe(
        name=name,
        data=data,
        length=_convert(entries.get("length"), int | None, f"{source}, length"),
        seed=_convert(entries.get("seed", 0), int, f"{source}, seed"),
        model=model,
        training=_configuration(
            TrainingConfig, entries.get("training"), f"{source}, training", leave_out=("seed",)
        ),
    )


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise FileFormatError(f"{where}: {value!r}; required: entries `name: value`; correct it")
    return value


def _check_keys(entries: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in entries:
        if key not in known:
            raise FileFormatError(
                f"{where}: unknown entry {key!r}; required: any of {', '.join(known)}; correct or "
                "remove it"
            )


def _configuration(
    kind: type[Config], value: Any, where: str, *, leave_out: tuple[str, ...] = ()
) -> Config:
    entries = _mapping(value, where)
    names = tuple(f.name for f in fields(kind) if f.name not in leave_out)  # type: ignore[arg-type]
    _check_keys(entries, names, where)
    hints = get_type_hints(kind)
    return kind(
        **{name: _convert(entry, hints[name], f"{where}.{name}") for name, entry in entries.items()}
    )


def _convert(value: Any, kind: Any, where: str) -> Any:
    """Return a YAML value as the kind that a field declares."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is types.UnionType:  # "int | None"
        if value is None:
            return None
        return _convert(value, arguments[0], where)
    if origin is Literal:
        if value in arguments:
            return value
        required = f"one of {', '.join(map(str, arguments))}"
    elif origin is tuple:
        if isinstance(value, list | tuple) and len(value) == len(arguments):
            return tuple(
                _convert(entry, part, where) for entry, part in zip(value, arguments, strict=True)
            )
        required = f"a list of {len(arguments)} numbers"
    elif kind is float:
        number = _number(value)
        if number is not None:
            return number
        required = "a number"
    else:
        if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
            return value
        required = {int: "a whole number", bool: "true or false"}.get(kind, kind.__name__)
    raise FileFormatError(f"{where}: {value!r}; required: {required}; correct it")


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)  # YAML reads 4e-3, without a point, as text
    except ValueError:
        return None
