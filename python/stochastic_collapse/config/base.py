"""What all settings have in common, and the kinds of numbers in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field
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


def names_of(kind: type[Settings]) -> tuple[str, ...]:
    """What may stand in the `name` of settings of this kind: one of a few names, or a reference such as timm:NAME."""
    field = kind.model_fields["name"]
    return get_args(field.annotation) or (str(field.examples[0]),)  # type: ignore[index]


def reference(source: str) -> Any:
    """The annotation of the name of settings that refer to something: `source`, a colon, and what is there."""
    return Annotated[str, Field(pattern=rf"^{source}:\S+$", examples=[f"{source}:{_WHAT[source]}"])]


_WHAT = {
    "timm": "NAME",
    "torchvision": "NAME",
    "transformers": "FOLDER",
    "python": "MODULE:CALLABLE",
}


def told_apart(kinds: Callable[[], Iterable[type[Settings]]]) -> Any:
    """What tells the members of a union of settings apart: their names, or what stands before a reference's colon.

    Each member has its first name for a tag.
    """

    def tag(value: Any) -> str | None:
        name = value.get("name") if isinstance(value, Mapping) else getattr(value, "name", None)
        if name is None:
            return None
        for kind in kinds():
            names = names_of(kind)
            if name in names or (
                str(name).partition(":")[1] and names[0].startswith(f"{str(name).partition(':')[0]}:")
            ):
                return names[0]
        return str(name)

    return Field(discriminator=Discriminator(tag))
