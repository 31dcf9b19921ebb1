"""Vectors as whole numbers and bits that are not those of the floats."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.contract.faults.fault import Faults
from tests.support.toy.fields import Wanted
from tests.support.toy.forms import Numbers, ToyForms
from tests.support.toy.model import Vector

FAULTS = Faults()


@FAULTS.add(
    "bits in another order",
    caught_by={"sides_have_forms"}
    | {f"form_{name}{more}" for name in ("binary", "ubinary") for more in ("", "_with_dimensions")},
)
class BitsInAnotherOrder(ToyForms):
    def bits(self, vector: Numbers) -> NDArray[np.uint8]:
        return super().bits(vector[::-1])


@FAULTS.add("binary wraps around", caught_by={"form_binary", "form_binary_with_dimensions"})
class BinaryWrapsAround(ToyForms):
    def signed(self, packed: NDArray[np.uint8]) -> Numbers:
        return packed.astype(np.int8)


@FAULTS.add("steps rounded down", caught_by={"form_int8", "form_uint8"})
class StepsRoundedDown(ToyForms):
    def steps(self, numbers: Numbers) -> Numbers:
        return np.floor(numbers)


@FAULTS.add(
    "whole before it is short",
    caught_by={"form_int8_with_dimensions", "form_uint8_with_dimensions"},
)
class WholeBeforeItIsShort(ToyForms):
    def shortened(self, vector: Vector, wanted: Wanted) -> Vector:
        is_float = wanted.numbers == "float"
        return super().shortened(vector, wanted) if is_float else vector[: wanted.size]


@FAULTS.add("base64 is always of floats", caught_by={"dtype_and_base64"})
class Base64IsAlwaysOfFloats(ToyForms):
    def written(self, vector: Vector, wanted: Wanted) -> list[Any] | str:
        numbers = "float" if wanted.as_base64 else wanted.numbers
        return super().written(vector, replace(wanted, numbers=numbers))


@FAULTS.add("always normalised", caught_by={"not_normalized"})
class AlwaysNormalised(ToyForms):
    def scaled(self, vector: Vector, wanted: Wanted) -> Vector:
        return vector
