"""How the toy's vectors go out: in which size and length, and as which numbers."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.support.toy.fields import Wanted
from tests.support.toy.model import Vector, unit

Numbers = NDArray[Any]


class ToyForms:
    """Gives a vector the form that is asked for."""

    #: How base64 carries the numbers of a vector.
    float_type = "<f4"

    def shaped(self, vector: Vector, wanted: Wanted) -> Vector:
        """Return a vector in the length and the size that are asked for."""
        return self.shortened(self.scaled(vector, wanted), wanted)

    def scaled(self, vector: Vector, wanted: Wanted) -> Vector:
        """Return a vector as the model makes it where that is asked for: it is longer than 1."""
        return 3 * vector if wanted.norm == -1 else vector

    def shortened(self, vector: Vector, wanted: Wanted) -> Vector:
        """Return the first numbers, in length 1 again."""
        if wanted.size in (None, len(vector)):
            return vector
        return unit(vector[: wanted.size])

    def written(self, vector: Vector, wanted: Wanted) -> list[Any] | str:
        """Write a vector as JSON carries it, which has no NaN: llama-server writes null."""
        numbers: Numbers = vector.astype(np.float32)
        kind = self.float_type
        if wanted.numbers != "float":
            numbers, kind = self.whole(numbers, wanted.numbers), "<i1"
        if wanted.as_base64:
            return base64.b64encode(numbers.astype(kind).tobytes()).decode()
        return [None if np.isnan(number) else number for number in numbers.tolist()]

    def whole(self, vector: Numbers, form: str) -> Numbers:
        """Return a vector as whole numbers."""
        numbers = {
            "int8": np.clip(self.steps(vector * 127), -128, 127),
            "uint8": np.clip(self.steps((vector + 1) * np.float32(127.5)), 0, 255),
            "ubinary": self.bits(vector),
            "binary": self.signed(self.bits(vector)),
        }
        return numbers[form].astype(np.int64)

    def steps(self, numbers: Numbers) -> Numbers:
        """Return each number as the step that is nearest."""
        return np.rint(numbers)

    def bits(self, vector: Numbers) -> NDArray[np.uint8]:
        """Return the signs of a vector, eight in a byte."""
        return np.packbits(vector > 0)

    def signed(self, packed: NDArray[np.uint8]) -> Numbers:
        """Return bytes as numbers from -128."""
        return packed - 128.0
