"""A flow in two dimensions that turns and dies away, on a coarse grid or a fine one, in NumPy.

The fluid fills a square of 2 pi by 2 pi whose opposite sides are joined. What is kept of it is its
vorticity, how fast it turns at each point, in arrays whose last two axes are y and x; axes before
them are other flows, solved at once. This file knows neither the model that corrects the coarse
grid nor the store in which that runs.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Field: TypeAlias = NDArray[np.float64]

POINTS = 32  # of the coarse grid, in each direction
FINER = 3  # so many points and steps of the fine grid for one of the coarse grid
STEP = 0.1  # time that a step on the coarse grid takes
KEPT = 12  # the coarse grid keeps waves of up to so many in 2 pi: shorter ones it gets wrong
VISCOSITY = 3e-2


def beginning(seed: int, points: int) -> Field:
    """Return the vorticity of a flow that begins: whirls drawn by `seed`, the same on each grid."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:points, :points] * (2 * np.pi / points)
    field = np.zeros((points, points))
    for kx in range(5):
        for ky in range(-4, 5):
            strength, phase = rng.normal(), rng.uniform(0, 2 * np.pi)
            if 2 <= kx * kx + ky * ky <= 10:
                field += strength * np.cos(kx * x + ky * y + phase)
    whirls: Field = field * (2.0 / field.std())
    return whirls


def coarse_step(field: Field) -> Field:
    """Return the field a step later, as the coarse grid sees it."""
    return smoothed(_step(field, STEP))


def fine_steps(seeds: Sequence[int], steps: int) -> Iterator[Field]:
    """Solve on the fine grid, for several flows at once, and yield what the coarse grid holds.

    Yields:
        [flows, POINTS, POINTS], first of the beginning and then after each of the coarse grid's
        steps: `steps + 1` times.
    """
    field = np.stack([beginning(seed, POINTS * FINER) for seed in seeds])
    yield smoothed(field)
    for _ in range(steps):
        for _ in range(FINER):
            field = _step(field, STEP / FINER)
        yield smoothed(field)


def smoothed(field: Field) -> Field:
    """Return a field of any grid on the coarse one, without the waves that are too short for it."""
    points = field.shape[-1]
    waves = np.fft.rfft2(field)
    kept = np.zeros((*field.shape[:-2], POINTS, POINTS // 2 + 1), complex)
    kept[..., : KEPT + 1, : KEPT + 1] = waves[..., : KEPT + 1, : KEPT + 1]
    kept[..., -KEPT:, : KEPT + 1] = waves[..., -KEPT:, : KEPT + 1]
    smooth: Field = np.fft.irfft2(kept, (POINTS, POINTS)) * (POINTS / points) ** 2
    return smooth


def error(field: Field, truth: Field) -> float:
    """Return how far a field is from the true one, as a share of the true one's size."""
    return float(np.linalg.norm(field - truth) / np.linalg.norm(truth))


def energy(field: Field) -> float:
    """Return the kinetic energy of a flow, for each unit of its area."""
    return float(np.mean(field * _stream(field)) / 2)


def _step(field: Field, time: float) -> Field:
    """Return the field some time later: it is carried along, and then evens out."""
    first = field + time * _change(field)
    second = 0.75 * field + 0.25 * (first + time * _change(first))
    carried = (field + 2.0 * (second + time * _change(second))) / 3.0  # after Runge and Kutta
    fading = np.exp(-VISCOSITY * time * _squares(field.shape[-1]))
    later: Field = np.fft.irfft2(fading * np.fft.rfft2(carried), field.shape[-2:])
    return later


def _change(field: Field) -> Field:
    """Return how fast the vorticity changes where the flow carries it along."""
    h = 2 * np.pi / field.shape[-1]
    change: Field = -_carried(_around(field), _around(_stream(field))) / (12 * h * h)
    return change


def _stream(field: Field) -> Field:
    """Return the stream function, along whose lines the fluid moves."""
    points = field.shape[-1]
    stream: Field = np.fft.irfft2(np.fft.rfft2(field) / _squares(points), (points, points))
    return stream


@lru_cache
def _squares(points: int) -> Field:
    """Return the squares of the wave numbers; for the mean, which is 0, something to divide by."""
    wave = np.fft.fftfreq(points, 1 / points)
    squares: Field = wave[:, None] ** 2 + wave[None, : points // 2 + 1] ** 2
    squares[0, 0] = 1.0
    return squares


def _around(field: Field) -> dict[tuple[int, int], Field]:
    """Return what lies beside each point, by how far up and how far right of it."""
    points = field.shape[-1]
    wide = np.pad(field, [(0, 0)] * (field.ndim - 2) + [(1, 1), (1, 1)], mode="wrap")
    beside = (-1, 0, 1)
    return {
        (up, right): wide[..., 1 + up : 1 + up + points, 1 + right : 1 + right + points]
        for up in beside
        for right in beside
    }


def _carried(z: dict[tuple[int, int], Field], p: dict[tuple[int, int], Field]) -> Field:
    """Return velocity times gradient of `z`, `p` the stream function, times 12 h^2.

    This is Arakawa's form (1966), the mean of three that on a grid are not the same; it neither
    makes energy nor loses it.
    """
    e, w, n, s = (0, 1), (0, -1), (1, 0), (-1, 0)
    ne, nw, se, sw = (1, 1), (1, -1), (-1, 1), (-1, -1)
    plain = (z[e] - z[w]) * (p[n] - p[s]) - (z[n] - z[s]) * (p[e] - p[w])
    along = z[e] * (p[ne] - p[se]) - z[w] * (p[nw] - p[sw])
    along += z[s] * (p[se] - p[sw]) - z[n] * (p[ne] - p[nw])
    across = z[ne] * (p[n] - p[e]) - z[sw] * (p[w] - p[s])
    across += z[se] * (p[e] - p[s]) - z[nw] * (p[n] - p[w])
    return plain + along + across
