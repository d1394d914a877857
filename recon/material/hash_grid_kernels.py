"""Warp kernels of the multiresolution hash encoding.

Index of the per-level kernels: level * points + point, so that neighbors in a launch read the same level's
slice of the table. A level is described by three integers: its resolution N (cells per axis), the offset of
its slice in the table, and its mask: 0 for a level that is indexed densely, else (slots - 1), where slots is
a power of two.
"""

# mypy: ignore-errors
# Warp compiles these functions itself; their annotations are Warp values, not Python types, and must be there
# as objects: hence no `from __future__ import annotations`.

from dataclasses import dataclass
from functools import lru_cache

import warp as wp

# The primes of Müller et al. 2022, equation 4; the first is 1, so x needs no multiplication.
PRIME_Y = 2654435761
PRIME_Z = 805459861

_PRIME_Y = wp.constant(wp.uint32(PRIME_Y))
_PRIME_Z = wp.constant(wp.uint32(PRIME_Z))


def _add_entry_snippet(features: int) -> str:
    """C++ that adds `value` into `table[entry]`.

    Atomics limit the backward pass. From compute capability 9.0 on, one of them adds two floats; entries of
    an even number of floats are aligned for it. On a CPU no two threads add into the same level.
    """
    singly = f"""
        for (int k = 0; k < {features}; ++k)
    #if defined(__CUDA_ARCH__)
            atomicAdd(place + k, value[k]);
    #else
            place[k] += value[k];
    #endif
    """
    pairs = f"""
    #if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
        for (int k = 0; k < {features}; k += 2)
            asm volatile("red.global.add.v2.f32 [%0], {{%1, %2}};"
                :: "l"(__cvta_generic_to_global(place + k)), "f"(value[k]), "f"(value[k + 1]) : "memory");
    #else
        {singly}
    #endif
    """
    place = "float* place = reinterpret_cast<float*>(&wp::index(table, entry));"
    return place + (pairs if features % 2 == 0 else singly)


@wp.func
def _slot(x: int, y: int, z: int, resolution: int, mask: int):
    """Where grid vertex (x, y, z) is kept, within its level's slice."""
    if mask == 0:
        return x + (resolution + 1) * (y + (resolution + 1) * z)
    key = wp.uint32(x) ^ (wp.uint32(y) * _PRIME_Y) ^ (wp.uint32(z) * _PRIME_Z)
    return int(key & wp.uint32(mask))


@wp.func
def _cell(x: float, resolution: int):
    """The cell that holds x (clamped to [0, 1]) along one axis; 1 belongs to the last cell."""
    return wp.min(int(wp.clamp(x, 0.0, 1.0) * float(resolution)), resolution - 1)


@wp.func
def _offset(x: float, cell: int, resolution: int):
    return wp.clamp(x, 0.0, 1.0) * float(resolution) - float(cell)


@wp.func
def _inside(x: float):
    """Slope of the clamp to [0, 1]."""
    if x < 0.0 or x > 1.0:
        return 0.0
    return 1.0


@dataclass(frozen=True)
class HashGridKernels:
    """forward: features of (level, point). backward_table: scatters into the table, over (level, point).
    backward_points: gradient of a point, over points."""

    forward: wp.Kernel
    backward_table: wp.Kernel
    backward_points: wp.Kernel

    @property
    def all(self) -> tuple[wp.Kernel, ...]:
        """The kernels, to be compiled ahead of their first use."""
        return self.forward, self.backward_table, self.backward_points


@lru_cache
def hash_grid_kernels(features: int) -> HashGridKernels:
    """The kernels for entries of `features` floats, compiled on first use."""
    Feature = wp.types.vector(length=features, dtype=wp.float32)

    @wp.func_native(snippet=_add_entry_snippet(features))
    def add_entry(table: wp.array(dtype=Feature), entry: int, value: Feature): ...

    @wp.kernel(enable_backward=False, module="unique")
    def forward(
        start: int,
        points: wp.array(dtype=wp.vec3),
        table: wp.array(dtype=Feature),
        resolutions: wp.array(dtype=wp.int32),
        offsets: wp.array(dtype=wp.int32),
        masks: wp.array(dtype=wp.int32),
        encoded: wp.array2d(dtype=Feature),
    ):
        index = start + wp.tid()
        level = index // points.shape[0]
        i = index % points.shape[0]
        p = points[i]
        n = resolutions[level]
        mask = masks[level]
        base = offsets[level]
        x = _cell(p[0], n)
        y = _cell(p[1], n)
        z = _cell(p[2], n)
        fx = _offset(p[0], x, n)
        fy = _offset(p[1], y, n)
        fz = _offset(p[2], z, n)
        f000 = table[base + _slot(x, y, z, n, mask)]
        f100 = table[base + _slot(x + 1, y, z, n, mask)]
        f010 = table[base + _slot(x, y + 1, z, n, mask)]
        f110 = table[base + _slot(x + 1, y + 1, z, n, mask)]
        f001 = table[base + _slot(x, y, z + 1, n, mask)]
        f101 = table[base + _slot(x + 1, y, z + 1, n, mask)]
        f011 = table[base + _slot(x, y + 1, z + 1, n, mask)]
        f111 = table[base + _slot(x + 1, y + 1, z + 1, n, mask)]
        f00 = f000 + fx * (f100 - f000)
        f10 = f010 + fx * (f110 - f010)
        f01 = f001 + fx * (f101 - f001)
        f11 = f011 + fx * (f111 - f011)
        f0 = f00 + fy * (f10 - f00)
        f1 = f01 + fy * (f11 - f01)
        encoded[i, level] = f0 + fz * (f1 - f0)

    @wp.kernel(enable_backward=False, module="unique")
    def backward_table(
        start: int,
        points: wp.array(dtype=wp.vec3),
        resolutions: wp.array(dtype=wp.int32),
        offsets: wp.array(dtype=wp.int32),
        masks: wp.array(dtype=wp.int32),
        gradient: wp.array2d(dtype=Feature),
        table_gradient: wp.array(dtype=Feature),
    ):
        index = start + wp.tid()
        level = index // points.shape[0]
        i = index % points.shape[0]
        p = points[i]
        n = resolutions[level]
        mask = masks[level]
        base = offsets[level]
        x = _cell(p[0], n)
        y = _cell(p[1], n)
        z = _cell(p[2], n)
        fx = _offset(p[0], x, n)
        fy = _offset(p[1], y, n)
        fz = _offset(p[2], z, n)
        g = gradient[i, level]
        g0 = (1.0 - fz) * g
        g1 = fz * g
        g00 = (1.0 - fy) * g0
        g10 = fy * g0
        g01 = (1.0 - fy) * g1
        g11 = fy * g1
        add_entry(table_gradient, base + _slot(x, y, z, n, mask), (1.0 - fx) * g00)
        add_entry(table_gradient, base + _slot(x + 1, y, z, n, mask), fx * g00)
        add_entry(table_gradient, base + _slot(x, y + 1, z, n, mask), (1.0 - fx) * g10)
        add_entry(table_gradient, base + _slot(x + 1, y + 1, z, n, mask), fx * g10)
        add_entry(table_gradient, base + _slot(x, y, z + 1, n, mask), (1.0 - fx) * g01)
        add_entry(table_gradient, base + _slot(x + 1, y, z + 1, n, mask), fx * g01)
        add_entry(table_gradient, base + _slot(x, y + 1, z + 1, n, mask), (1.0 - fx) * g11)
        add_entry(table_gradient, base + _slot(x + 1, y + 1, z + 1, n, mask), fx * g11)

    @wp.kernel(enable_backward=False, module="unique")
    def backward_points(
        start: int,
        points: wp.array(dtype=wp.vec3),
        table: wp.array(dtype=Feature),
        resolutions: wp.array(dtype=wp.int32),
        offsets: wp.array(dtype=wp.int32),
        masks: wp.array(dtype=wp.int32),
        gradient: wp.array2d(dtype=Feature),
        points_gradient: wp.array(dtype=wp.vec3),
    ):
        i = start + wp.tid()
        p = points[i]
        total = wp.vec3(0.0, 0.0, 0.0)
        for level in range(resolutions.shape[0]):
            n = resolutions[level]
            mask = masks[level]
            base = offsets[level]
            x = _cell(p[0], n)
            y = _cell(p[1], n)
            z = _cell(p[2], n)
            fx = _offset(p[0], x, n)
            fy = _offset(p[1], y, n)
            fz = _offset(p[2], z, n)
            g = gradient[i, level]
            # What each corner contributes to the loss; the trilinear form is then differentiated as scalars.
            c000 = wp.dot(g, table[base + _slot(x, y, z, n, mask)])
            c100 = wp.dot(g, table[base + _slot(x + 1, y, z, n, mask)])
            c010 = wp.dot(g, table[base + _slot(x, y + 1, z, n, mask)])
            c110 = wp.dot(g, table[base + _slot(x + 1, y + 1, z, n, mask)])
            c001 = wp.dot(g, table[base + _slot(x, y, z + 1, n, mask)])
            c101 = wp.dot(g, table[base + _slot(x + 1, y, z + 1, n, mask)])
            c011 = wp.dot(g, table[base + _slot(x, y + 1, z + 1, n, mask)])
            c111 = wp.dot(g, table[base + _slot(x + 1, y + 1, z + 1, n, mask)])
            dx = wp.lerp(wp.lerp(c100 - c000, c110 - c010, fy), wp.lerp(c101 - c001, c111 - c011, fy), fz)
            dy = wp.lerp(wp.lerp(c010 - c000, c110 - c100, fx), wp.lerp(c011 - c001, c111 - c101, fx), fz)
            dz = wp.lerp(wp.lerp(c001 - c000, c101 - c100, fx), wp.lerp(c011 - c010, c111 - c110, fx), fy)
            total += float(n) * wp.vec3(dx, dy, dz)
        points_gradient[i] = wp.vec3(
            total[0] * _inside(p[0]), total[1] * _inside(p[1]), total[2] * _inside(p[2])
        )

    return HashGridKernels(forward, backward_table, backward_points)
