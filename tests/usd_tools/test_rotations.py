"""Rotations against pxr's own and against what they should spread evenly over."""

import math

import numpy as np
import pytest
from pxr import Gf, Usd, UsdGeom

from usd_tools.matrices import column_matrix
from usd_tools.rotations import (
    fibonacci_directions,
    rotate_xyz_degrees,
    rotation_angle,
    rotation_from_vector,
    rotation_grid,
)

VECTORS = np.random.default_rng(5).normal(size=(12, 3))


@pytest.mark.parametrize("vector", VECTORS)
def test_vectors_turn_as_gf_rotation(vector):
    rotation = rotation_from_vector(vector)
    angle = float(np.linalg.norm(vector))
    expected = Gf.Matrix4d().SetRotate(Gf.Rotation(Gf.Vec3d(*vector), math.degrees(angle)))
    np.testing.assert_allclose(rotation, column_matrix(expected)[:3, :3], atol=1e-9)
    assert rotation_angle(rotation) == pytest.approx(min(angle % (2 * math.pi), -angle % (2 * math.pi)))


@pytest.mark.parametrize("vector", [*VECTORS[:4], (0, math.pi / 2, 0), (0, -math.pi / 2, 0), (0, 0, 0)])
def test_rotate_xyz_is_usds(vector):
    rotation = rotation_from_vector(vector)
    stage = Usd.Stage.CreateInMemory()
    prim = UsdGeom.Xform.Define(stage, "/x")
    prim.AddRotateXYZOp(UsdGeom.XformOp.PrecisionDouble).Set(Gf.Vec3d(*rotate_xyz_degrees(rotation)))
    np.testing.assert_allclose(column_matrix(prim.GetLocalTransformation())[:3, :3], rotation, atol=1e-9)


def test_directions_are_spread_evenly():
    directions = fibonacci_directions(500)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1)
    closest = np.sort(directions @ directions.T, axis=1)[:, -2]
    spacing = np.degrees(np.arccos(closest))
    assert spacing.min() > 0.5 * spacing.max()


def test_grid_leaves_no_rotation_far_away():
    grid = rotation_grid(math.radians(20))
    for vector in np.random.default_rng(6).normal(size=(50, 3)) * 2:
        rotation = rotation_from_vector(vector)
        cosine = (np.einsum("nij,ij->n", grid, rotation).max() - 1) / 2
        assert np.degrees(np.arccos(cosine)) < 20
