"""How much a set of outcomes in several objectives dominates: the volume between it and a reference point, exactly."""

import numpy as np
from jaxtyping import Float


def hypervolume(points: Float[np.ndarray, "point objective"], reference: Float[np.ndarray, " objective"]) -> float:
    """The volume that is better than the reference and no better than some point, where more is better.

    By slices along the last objective: between two consecutive values of it the volume is the slice's height times the
    volume, one objective fewer, of the points above; in two objectives that is the area under a staircase. A point
    that is not better than the reference in every objective adds nothing.

    Args:
        points: one row each; in at least one objective.
        reference: what counts as nothing.

    >>> hypervolume(np.array([[2.0, 1.0], [1.0, 2.0]]), np.zeros(2))
    3.0
    """
    above = np.asarray(points, float) - np.asarray(reference, float)
    return _volume(above[(above > 0).all(1)])


def _volume(points: Float[np.ndarray, "point objective"]) -> float:
    if not len(points):
        return 0.0
    if points.shape[1] == 1:
        return float(points.max())
    points = points[np.argsort(-points[:, -1])]
    height = -np.diff(points[:, -1], append=0.0)
    if points.shape[1] == 2:
        return float(height @ np.maximum.accumulate(points[:, 0]))
    there = np.flatnonzero(height)
    return float(sum(height[i] * _volume(points[: i + 1, :-1]) for i in there))
