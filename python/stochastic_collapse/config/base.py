"""What all settings have in common, and the kinds of numbers in them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError


class Settings(BaseModel):
    """Base of all settings: immutable, no unknown keys, no NaN or infinity."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True, serialize_by_alias=True
    )


def _no_switch(value: Any) -> Any:
    if isinstance(value, bool):  # pydantic would take it for 0 or 1
        raise PydanticCustomError("no_number", "input should be a number")
    return value


Number = BeforeValidator(_no_switch)
Positive = Annotated[int, Field(ge=1), Number]
Count = Annotated[int, Field(ge=0), Number]
Probability = Annotated[float, Field(ge=0, le=1), Number]
NonNegative = Annotated[float, Field(ge=0), Number]
PositiveReal = Annotated[float, Field(gt=0), Number]
Fraction = Annotated[float, Field(ge=0, lt=1), Number]
Activation = Literal["gelu", "relu"]
Switch = Literal["auto", True, False]
