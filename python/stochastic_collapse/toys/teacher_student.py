"""Linear teacher–student: a student that learns a teacher of low rank from noisy targets (Figure 5).

The teacher W (n, m) has a few singular values, the data are X (N, n) and Y = X W + noise, and the student is a product
of two factors. In the diagonal form X has orthonormal columns and the student the singular vectors of XᵀY, so that
every mode is a recursion of its own in (u, v), with the estimate ŝ = u v of the singular value s* of XᵀY. In the
general form the student is V U with full matrices, and the noise is that of mini-batches.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import model_validator

from ..config import NonNegative, Positive, PositiveReal, Settings
from .arrays import Array
from .grids import PositiveGrid


class _TeacherStudentSettings(Settings):
    points: Positive = 1024
    """Number N of examples."""
    inputs: Positive = 64
    """Number n of inputs."""
    outputs: Positive = 64
    """Number m of outputs."""
    teacher: PositiveGrid = tuple(np.linspace(0.5, 1, 8).tolist())
    """Singular values of the teacher, as many as its rank. Numbers, and ranges {start, stop, count} with both ends."""
    target_noise: NonNegative = 0.5
    """Targets are X W + target_noise·N(0, 1)/√m."""

    @model_validator(mode="after")
    def _rank_fits(self) -> _TeacherStudentSettings:
        if len(self.teacher) > min(self.inputs, self.outputs):
            raise ValueError(
                f"teacher: {len(self.teacher)} singular values are more than inputs {self.inputs} "
                f"and outputs {self.outputs} allow"
            )
        return self

    def teacher_matrix(self, rng: np.random.Generator) -> Array:
        """W, (n, m), with random singular vectors."""
        left, right = _orthonormal(rng, self.inputs, self.inputs), _orthonormal(rng, self.outputs, self.outputs)
        rank = len(self.teacher)
        return (left[:, :rank] * self.teacher) @ right[:, :rank].T

    def targets(self, x: Array, w: Array, rng: np.random.Generator) -> Array:
        """Y, (N, m)."""
        return x @ w + self.target_noise * rng.standard_normal((len(x), self.outputs)) / np.sqrt(self.outputs)


class TeacherStudentSettings(_TeacherStudentSettings):
    """The diagonal form: r = u v − s* + σ ξ, (u, v) ← (u − lr r v/N, v − lr r u/N); the noise level is σ (Figure 5)."""

    name: Literal["teacher-student"]
    init: tuple[float, float] = (1.0, 1.0)
    """u and v of every mode at the start."""

    @model_validator(mode="after")
    def _columns_fit(self) -> TeacherStudentSettings:
        if self.points < self.inputs:
            raise ValueError(f"points: {self.points} are too few for {self.inputs} orthonormal columns (inputs)")
        return self

    def parameters(self) -> dict[str, Any]:
        """What engines need to know beside the data."""
        return {"points": self.points, "init": list(self.init)}

    def data(self, seed: int) -> dict[str, Array]:
        """s_star (M,), the singular values of XᵀY, falling, and the teacher (n, m) in the basis of their vectors."""
        rng = np.random.default_rng(seed)
        w, x = self.teacher_matrix(rng), _orthonormal(rng, self.points, self.inputs)
        left, s_star, right = np.linalg.svd(x.T @ self.targets(x, w, rng))
        return {"s_star": s_star, "teacher": left.T @ w @ right.T}


class TeacherStudentGeneralSettings(_TeacherStudentSettings):
    """The general form: SGD on ‖X V U − Y‖²/2 per example; a noise level is a mini-batch size."""

    name: Literal["teacher-student-general"]
    init: PositiveReal = 0.5
    """The entries of V and U are uniform in [0, init) at the start, the same in all trajectories."""

    def parameters(self) -> dict[str, Any]:
        """What engines need to know beside the data."""
        return {}

    def data(self, seed: int) -> dict[str, Array]:
        """x (N, n), y (N, m), the teacher (n, m), and the start: v (n, n) and u (n, m)."""
        rng = np.random.default_rng(seed)
        w, x = self.teacher_matrix(rng), rng.random((self.points, self.inputs)) / np.sqrt(self.inputs)
        v, u = (self.init * rng.random((self.inputs, columns)) for columns in (self.inputs, self.outputs))
        return {"x": x, "y": self.targets(x, w, rng), "teacher": w, "v": v, "u": u}


def _orthonormal(rng: np.random.Generator, rows: int, columns: int) -> Array:
    """A matrix of orthonormal columns, uniform among these up to signs, which do not matter here."""
    return np.linalg.qr(rng.standard_normal((rows, columns)))[0]
