"""Finding models by name or path."""

import pytest

from hydropress.data.shipped import find_model, shipped_model_path, shipped_models
from hydropress.errors import DataNotFoundError, UnknownNameError
from hydropress.models.checkpoint import load, save
from tiny import tiny_model


def test_shipped_models_load():
    for name in shipped_models():
        assert load(shipped_model_path(name)).config.num_classes == 10
        assert find_model(name) == shipped_model_path(name)


def test_unknown_names_list_the_known():
    with pytest.raises(UnknownNameError, match="required: one of"):
        shipped_model_path("nothing")


def test_directories_with_a_model_or_around_one(tmp_path):
    save(tiny_model(), tmp_path / "run" / "model")
    assert find_model(tmp_path / "run") == tmp_path / "run" / "model"
    assert find_model(str(tmp_path / "run" / "model")) == tmp_path / "run" / "model"
    with pytest.raises(DataNotFoundError, match=r"holds no config\.json"):
        find_model(tmp_path)
    with pytest.raises(DataNotFoundError, match="not a directory"):
        find_model(tmp_path / "nowhere")
