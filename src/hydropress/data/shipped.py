"""Trained models that come with the package."""

from importlib.resources import files
from pathlib import Path

from hydropress.errors import DataNotFoundError, UnknownNameError

CONFIG = "config.json"


def _folder() -> Path:
    return Path(str(files("hydropress.data").joinpath("models")))


def shipped_models() -> tuple[str, ...]:
    """Return the names of the models in the package, in alphabetical order."""
    return tuple(sorted(path.parent.name for path in _folder().glob(f"*/{CONFIG}")))


def shipped_model_path(name: str) -> Path:
    """Return the directory of a shipped model, which lists the names there are if it fails."""
    if name not in shipped_models():
        raise UnknownNameError(
            f"model {name!r}; required: one of {', '.join(shipped_models()) or '(none shipped)'}"
        )
    return _folder() / name


def find_model(model: str | Path) -> Path:
    """Return the directory that a model is to be loaded from.

    Parameters
    ----------
    model
        Name of a shipped model, a model's directory, or the output directory of a command that
        holds one as ``model``.

    Raises
    ------
    DataNotFoundError
        If it is none of these.
    """
    if str(model) in shipped_models():
        return shipped_model_path(str(model))
    path = Path(model)
    for candidate in (path, path / "model"):
        if (candidate / CONFIG).is_file():
            return candidate
    state = f"holds no {CONFIG}" if path.is_dir() else "is not a directory"
    raise DataNotFoundError(
        f"model {str(model)!r} {state}; required: a directory that hydropress wrote, or a shipped "
        f"model ({', '.join(shipped_models()) or 'none here'}); check the path"
    )
