"""Calibration data as users hold them."""

import warnings

import numpy as np
import pytest
import torch

from hydropress.calibration.sequences import MINIMUM_CALIBRATION, as_sequences
from torch_warnings import warns_always


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.uint8])
def test_an_array_mapped_from_a_file_is_taken_without_a_warning(dtype, tmp_path):
    values = np.arange(MINIMUM_CALIBRATION * 6).reshape(MINIMUM_CALIBRATION, 6, 1).astype(dtype)
    np.save(tmp_path / "calibration.npy", values)
    mapped = np.load(tmp_path / "calibration.npy", mmap_mode="r")
    with warnings.catch_warnings(), warns_always():
        warnings.simplefilter("error")
        sequences = as_sequences(mapped, torch.float32)
    assert sequences.dtype == (torch.float32 if values.dtype.kind == "f" else torch.int64)
    assert sequences.tolist() == values.tolist()
