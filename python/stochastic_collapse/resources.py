"""Where the directories that are shipped beside the Python package (configs, figures, julia) lie."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parents[1]


def shipped(name: str) -> Path:
    """Path of a shipped directory or file, such as ``"configs/digits/mlp_gelu.yaml"``.

    A wheel holds these directories inside the package; an editable install finds them at the checkout's top level.
    The path returned need not exist when `name` is not shipped.
    """
    inside = _PACKAGE / name
    return inside if inside.exists() else _CHECKOUT / name
