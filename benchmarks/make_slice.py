"""Write the slice of Fashion-MNIST that the package ships.

The first 2,000 test images, and 4,096 training images drawn with a fixed seed, as evenly over the
classes as their number allows.

    python benchmarks/make_slice.py [FOLDER]
"""

import sys
from pathlib import Path

import numpy as np

from hydropress.data import fashion_mnist
from hydropress.data.fashion_mnist import DEFAULT_FOLDER, SLICE_FILE, load_full

SEED = 0
NUM_TRAIN, NUM_TEST, NUM_CLASSES = 4096, 2000, 10


def choose_evenly(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return sorted indices of ``count`` labels, class sizes differing by one at most."""
    generator = np.random.default_rng(seed)
    extra = generator.permutation(NUM_CLASSES)[: count % NUM_CLASSES]
    chosen = [
        generator.choice(
            np.flatnonzero(labels == label),
            count // NUM_CLASSES + int(label in extra),
            replace=False,
        )
        for label in range(NUM_CLASSES)
    ]
    return np.sort(np.concatenate(chosen))


def main() -> None:
    """Read the full data, write the slice into the package."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_FOLDER
    train, test = load_full("train", folder), load_full("test", folder)
    chosen = choose_evenly(train.labels.numpy(), NUM_TRAIN, SEED)
    path = Path(fashion_mnist.__file__).with_name(SLICE_FILE)
    np.savez_compressed(
        path,
        train_images=train.images.numpy()[chosen],
        train_labels=train.labels.numpy()[chosen].astype(np.uint8),
        test_images=test.images.numpy()[:NUM_TEST],
        test_labels=test.labels.numpy()[:NUM_TEST].astype(np.uint8),
    )
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
