"""Texts as sequences of bytes: byte b is token b + 1, and 0 is left for the padding."""

import torch
from torch import Tensor

from hydropress.errors import InvalidArgumentError

NUM_TOKENS = 257
"""The padding and 256 bytes."""


class ByteTexts:
    """Texts one after the other in memory, cut to a length; one that comes again is kept once."""

    def __init__(self, max_length: int) -> None:
        if max_length < 1:
            raise InvalidArgumentError(
                f"max_length = {max_length}; required: 1 or more bytes; give a larger one"
            )
        self._max_length = max_length
        self._content = bytearray()
        self._places: dict[bytes, int] = {}

    def add(self, text: bytes) -> tuple[int, int]:
        """Keep a text that is not empty; return where its tokens start and how many they are."""
        kept = text[: self._max_length]
        start = self._places.setdefault(kept, len(self._content))
        if start == len(self._content):
            self._content += kept
        return start, len(kept)

    def tokens(self) -> Tensor:
        """Return the tokens of all texts, uint8; int16 if some byte is 255, which UTF-8 never has.

        There must be one or more.
        """
        content = torch.frombuffer(self._content, dtype=torch.uint8)
        fits = int(content.max()) < 255
        return content.to(torch.uint8 if fits else torch.int16) + 1
