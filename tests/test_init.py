"""The names that the package promises at its root."""

import importlib
import importlib.metadata
import inspect
import pkgutil
import subprocess
import sys

import torch

import hydropress

PUBLIC = {
    "ModalSystem",
    "__version__",
    "compress",
    "h2_error",
    "h2_norm",
    "hankel_singular_values",
    "hinf_norm",
    "load",
    "reduce",
    "reduce_path",
    "register_adapter",
    "register_method",
    "save",
}


def test_all_is_the_documented_list():
    assert len(hydropress.__all__) == len(set(hydropress.__all__))
    assert set(hydropress.__all__) == PUBLIC


def test_every_name_is_there_and_documented():
    for name in PUBLIC - {"__version__"}:
        assert inspect.getdoc(getattr(hydropress, name)), name


def test_no_name_is_hidden_by_a_module():
    """Whatever has been imported before: a module of the same name would take its place."""
    modules = ("hydropress.compression.model", "hydropress.cli", "hydropress.models.loading")
    for name in modules:
        importlib.import_module(name)
    for name in PUBLIC - {"__version__"}:
        for _ in range(2):
            assert not inspect.ismodule(getattr(hydropress, name)), name
    places = pkgutil.iter_modules(hydropress.__path__)
    assert {place.name for place in places}.isdisjoint(PUBLIC)


def test_version_is_that_of_the_distribution():
    assert hydropress.__version__ == importlib.metadata.version("hydropress")


def test_star_import_brings_the_list():
    namespace: dict[str, object] = {}
    exec("from hydropress import *", namespace)
    assert set(namespace) - {"__builtins__"} == PUBLIC


def test_readme_size_use_from_the_root():
    system = hydropress.ModalSystem.siso([[0.9 + 0.1j, 0.5]], [[1.0 + 0.5j, 2.0]])
    reduction = hydropress.reduce(system, 2)
    error = hydropress.h2_error(system, reduction.system) / hydropress.h2_norm(system)
    torch.testing.assert_close(error, reduction.relative_error)
    path = hydropress.reduce_path(system, 2, "balanced")
    values = hydropress.hankel_singular_values(system)
    assert path.orders == (2,)
    assert bool((values[:, 0] >= values[:, 1]).all())


def test_import_neither_prints_nor_loads_optional_parts():
    code = (
        "import sys, hydropress;"
        "print(*sorted({'pymor', 'control', 'plotly', 'typer', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == done.stderr.strip() == ""
