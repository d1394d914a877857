"""What USD's own camera projects, the written dataset projects to the same pixel, on stages of any build.

The stages vary in up axis, units, transforms above object and camera (scales, mirrors, shear of the camera's
rig, reset stacks), apertures, offsets, conform policies, pixel shapes, and in what moves: camera, object,
light, focal length. USD's side is GfCamera's frustum, its window fitted to the picture by own arithmetic.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pxr import Gf, Sdf, Usd, UsdGeom, UsdLux, UsdRender

from usd_tools.cameras import APERTURE_POLICIES
from usd_tools.dataset import write_poses_bounds, write_transforms
from usd_tools.plan_dataset import Request, plan_dataset

FRAMES = (3.0, 4.5, 6.0)
TEST_FRAMES = "1,8"  # before and after the selected ones: the reference frame is held out
POINTS = [(x, y, z) for x in (-1.0, 1.0) for y in (-0.6, 0.7) for z in (-0.8, 0.9)]
FACES = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]

numbers = st.integers(0, 2**32 - 1).map(np.random.default_rng)


@st.composite
def scenes(draw):
    """What a stage is built from: choices by hypothesis, figures by a random generator it seeds."""
    return {
        "random": draw(numbers),
        "up": draw(st.sampled_from("YZ")),
        "unit": draw(st.sampled_from([1.0, 0.01, 100.0])),
        "pixel_aspect": draw(st.sampled_from([1.0, 1.0, 2.0, 0.5])),
        "size": draw(st.sampled_from([(640, 480), (480, 640), (512, 512), (1920, 800)])),
        "offsets": draw(st.booleans()),
        "on_product": draw(st.booleans()),
        "reset": draw(st.booleans()),
        "mirror": draw(st.booleans()),
        "rig_mirror": draw(st.booleans()),
        "moving": draw(st.sets(st.sampled_from(["camera", "object", "light", "focal"]), min_size=1)),
        "normalize": draw(st.booleans()),
    }


def rotation(random):
    return Gf.Matrix4d().SetRotate(Gf.Rotation(Gf.Vec3d(*random.normal(size=3)), random.uniform(-180, 180)))


def scaling(x, y, z):
    return Gf.Matrix4d().SetScale(Gf.Vec3d(float(x), float(y), float(z)))


def translation(offset):
    return Gf.Matrix4d().SetTranslate(Gf.Vec3d(*(float(x) for x in offset)))


def keys(moving):
    """Times of samples; what lies between is interpolated, what lies beyond is held."""
    return (2.0, 5.0, 7.0) if moving else (None,)


def set_at(attribute, value, time):
    attribute.Set(value) if time is None else attribute.Set(value, time)


def build(folder, scene):
    """Writes the stage; returns it and its mesh, camera and light."""
    random, unit = scene["random"], scene["unit"]
    stage = Usd.Stage.CreateNew(str(folder / "scene.usda"))
    UsdGeom.SetStageUpAxis(stage, scene["up"])
    UsdGeom.SetStageMetersPerUnit(stage, 1.0 / unit)
    center = random.uniform(-5, 5, 3) * unit
    # A scale below the turntable, which may mirror; a similarity above it, or any scale if reset or at rest.
    top = UsdGeom.Xform.Define(stage, "/set")
    any_scale = scene["reset"] or "object" not in scene["moving"]
    top.AddTransformOp().Set((scaling(1, 2, 3) if any_scale else scaling(1, 1, 1)) * rotation(random))
    table = UsdGeom.Xform.Define(stage, "/set/table")
    place = table.AddTransformOp()
    table.SetResetXformStack(scene["reset"])
    place.Set(scaling(unit, unit, unit) * translation(center))
    spin = table.AddRotateXYZOp()  # angles, because matrices that are interpolated shear
    for time in keys("object" in scene["moving"]):
        set_at(spin.GetAttr(), Gf.Vec3f(*random.uniform(-170, 170, 3)), time)
    scale = random.uniform(0.5, 1.5, 3) * [-1 if scene["mirror"] else 1, 1, 1]
    mesh = UsdGeom.Mesh.Define(stage, "/set/table/mesh")
    mesh.AddTransformOp().Set(rotation(random) * scaling(*scale))
    mesh.CreatePointsAttr([Gf.Vec3f(*point) for point in POINTS])
    mesh.CreateFaceVertexCountsAttr([4] * len(FACES))
    mesh.CreateFaceVertexIndicesAttr([i for face in FACES for i in face])
    mesh.CreateSubdivisionSchemeAttr("none")
    uvs = UsdGeom.PrimvarsAPI(mesh).CreatePrimvar("st", Sdf.ValueTypeNames.TexCoord2fArray, "vertex")
    uvs.Set([Gf.Vec2f(0.1 * i, 0.2) for i in range(len(POINTS))])

    camera = build_camera(stage, scene, center_of(mesh))
    dome = UsdLux.DomeLight.Define(stage, "/dome")
    dome.CreateTextureFileAttr("probe.exr")
    (folder / "probe.exr").touch()
    sway = dome.AddRotateXYZOp()
    for time in keys("light" in scene["moving"]):
        set_at(sway.GetAttr(), Gf.Vec3f(*random.uniform(-80, 80, 3)), time)
    build_settings(stage, scene)
    stage.Save()
    return stage, mesh, camera, dome


def center_of(mesh):
    return UsdGeom.Xformable(mesh).ComputeLocalToWorldTransform(1.0).ExtractTranslation()


def build_camera(stage, scene, center):
    random, unit = scene["random"], scene["unit"]
    rig = UsdGeom.Xform.Define(stage, "/rig")
    sizes = random.uniform(0.3, 3, 3) * [-1 if scene["rig_mirror"] else 1, 1, 1]
    rig.AddTransformOp().Set(scaling(*sizes) * rotation(random) * translation(random.uniform(-3, 3, 3)))
    camera = UsdGeom.Camera.Define(stage, "/rig/camera")
    wide = float(random.uniform(15, 40))
    camera.CreateHorizontalApertureAttr(wide)
    camera.CreateVerticalApertureAttr(wide * float(random.uniform(0.4, 1.6)))
    if scene["offsets"]:
        camera.CreateHorizontalApertureOffsetAttr(float(random.uniform(-4, 4)))
        camera.CreateVerticalApertureOffsetAttr(float(random.uniform(-4, 4)))
    for time in keys("focal" in scene["moving"]):
        set_at(camera.CreateFocalLengthAttr(), float(random.uniform(20, 60)), time)
    inverse = rig.ComputeLocalToWorldTransform(1.0).GetInverse()
    pose = camera.AddTransformOp()
    side = random.normal(size=3)
    for time in keys("camera" in scene["moving"]):
        # Samples near enough that between them, where USD interpolates matrices, the object stays in front.
        direction = Gf.Vec3d(*(side / np.linalg.norm(side) + random.uniform(-0.4, 0.4, 3))).GetNormalized()
        eye = center + direction * float(random.uniform(8, 12) * unit)
        target = center + Gf.Vec3d(*random.uniform(-0.5, 0.5, 3)) * unit
        look = Gf.Matrix4d().SetLookAt(eye, target, Gf.Vec3d(*np.roll(side, 1)))
        set_at(pose.GetAttr(), look.GetInverse() * inverse, time)
    return camera


def build_settings(stage, scene):
    if scene["policy"] is None and scene["pixel_aspect"] == 1:
        return
    told = UsdRender.Settings.Define(stage, "/Render/settings")
    stage.SetMetadata("renderSettingsPrimPath", "/Render/settings")
    if scene["on_product"]:  # a product's opinions win over its settings'
        told.CreateAspectRatioConformPolicyAttr("cropAperture")
        told.CreatePixelAspectRatioAttr(3.0)
        product = UsdRender.Product.Define(stage, "/Render/product")
        told.CreateProductsRel().AddTarget(product.GetPath())
        told.CreateCameraRel().AddTarget("/rig/camera")
        told = product
    told.CreateAspectRatioConformPolicyAttr(scene["policy"] or "expandAperture")
    told.CreatePixelAspectRatioAttr(scene["pixel_aspect"])


def fitted_frustum(camera, time, scene):
    """GfCamera's frustum, its window brought to the picture's shape as UsdRenderSettingsBase prescribes."""
    frustum = camera.GetCamera(time).frustum
    window = frustum.window
    width, height = window.GetSize()
    picture_width, picture_height = scene["size"]
    shape = scene["pixel_aspect"] * picture_width / picture_height
    too_narrow = width / height < shape
    match scene["policy"] or "expandAperture":
        case "expandAperture":
            width, height = (height * shape, height) if too_narrow else (width, width / shape)
        case "cropAperture":
            width, height = (width, width / shape) if too_narrow else (height * shape, height)
        case "adjustApertureWidth":
            width = height * shape
        case "adjustApertureHeight":
            height = width / shape
    half = Gf.Vec2d(width, height) / 2
    middle = (window.GetMin() + window.GetMax()) / 2
    frustum.window = Gf.Range2d(middle - half, middle + half)
    return frustum


def usd_pixels(mesh, camera, time, scene):
    """(N, 2) pixels of the mesh's points, from the picture's top-left edge; (N,) depths in stage units."""
    frustum = fitted_frustum(camera, time, scene)
    world = UsdGeom.Xformable(mesh).ComputeLocalToWorldTransform(time)
    view = world * frustum.ComputeViewMatrix()
    points = [Gf.Vec3d(*point) for point in POINTS]
    ndc = np.array([(view * frustum.ComputeProjectionMatrix()).Transform(point) for point in points])
    depths = np.array([-view.Transform(point)[2] for point in points])
    return np.stack([ndc[:, 0] + 1, 1 - ndc[:, 1]], axis=1) / 2 * scene["size"], depths


@pytest.mark.parametrize("policy", [None, *APERTURE_POLICIES])
@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(scene=scenes())
def test_dataset_projects_as_usd_does(policy, scene):
    scene["policy"] = policy
    with tempfile.TemporaryDirectory() as name:
        check(Path(name), scene)


def check(folder, scene):
    _stage, mesh, camera, dome = build(folder, scene)  # kept: prims do not keep their stage
    (folder / "renders").mkdir()
    for frame in (1, *FRAMES, 8):
        (folder / "renders" / f"r.{frame:08.3f}.exr").touch()
    job = plan_dataset(
        Request(
            str(folder / "scene.usda"),
            images=str(folder / "renders"),
            frames=",".join(f"{frame:g}" for frame in FRAMES),
            test_frames=TEST_FRAMES,
            normalize=scene["normalize"],
            ground_truth=False,
        )
    )
    width, height = scene["size"]
    frames = {}
    for split in ("train", "test"):
        members = [frame for frame in job.frames if frame.split == split]
        write_transforms(folder / "t.json", members, width, height, job.frames[0])
        content = json.loads((folder / "t.json").read_text())
        frames |= {f.frame: {**content, **entry} for f, entry in zip(members, content["frames"])}
    write_poses_bounds(folder / "poses_bounds.npy", job.frames, width, height)
    bounds = np.load(folder / "poses_bounds.npy", allow_pickle=False)
    assert sorted(frames) == [1.0, *FRAMES, 8.0]

    # The object stands still in the dataset, as it does on the lowest frame.
    to_dataset = np.array(job.description["stage_to_dataset"])
    held = np.array(UsdGeom.Xformable(mesh).ComputeLocalToWorldTransform(1.0)).T
    x, y, z, one = to_dataset @ held @ np.append(np.array(POINTS), np.ones((len(POINTS), 1)), axis=1).T
    for index, time in enumerate(sorted(frames)):
        expected, depths = usd_pixels(mesh, camera, time, scene)
        assert (depths > 0).all(), "the test's own cameras look at the object"
        entry = frames[time]
        pose = np.array(entry["transform_matrix"])
        np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-9)
        assert np.linalg.det(pose[:3, :3]) > 0
        right, up, back, _ = np.linalg.inv(pose) @ np.stack([x, -z, y, one])
        found = np.stack(
            [entry["cx"] - entry["fl_x"] * right / back, entry["cy"] + entry["fl_y"] * up / back], axis=1
        )
        np.testing.assert_allclose(found, expected, atol=1e-4)

        # LLFF: the same pose in the Y-up frame; it has one focal length and a centered principal point.
        llff = bounds[index, :15].reshape(3, 5)
        down, right, back, position = llff[:, :4].T
        offset = np.stack([x, y, z], axis=1) - position
        scale = llff[2, 4] / (offset @ -back)
        vertical = height / 2 + scale * (offset @ down)
        horizontal = width / 2 + scale * (offset @ right)
        if not scene["offsets"]:
            np.testing.assert_allclose(vertical, expected[:, 1], atol=1e-4)
            if abs(entry["fl_x"] / entry["fl_y"] - 1) < 1e-12:
                np.testing.assert_allclose(horizontal, expected[:, 0], atol=1e-4)
        else:
            np.testing.assert_allclose(vertical - height / 2, expected[:, 1] - entry["cy"], atol=1e-4)
        near, far = bounds[index, 15:]
        size = np.cbrt(np.linalg.det(to_dataset[:3, :3]))
        np.testing.assert_allclose([near, far], size * np.array([depths.min(), depths.max()]), rtol=1e-6)

        check_light(np.array(entry["light_rotation"]), to_dataset[:3, :3] / size, mesh, dome, time)


def check_light(light_rotation, turn, mesh, dome, time):
    """Radiance L_t(d) = L_t0(R^T d): a point of the dome's picture shines from where USD puts it."""
    np.testing.assert_allclose(light_rotation @ light_rotation.T, np.eye(3), atol=1e-6)

    def matrix(prim, at):
        return np.array(UsdGeom.Xformable(prim).ComputeLocalToWorldTransform(at)).T[:3, :3]

    direction = np.array([0.36, 0.48, 0.8])  # in the dome's own frame
    # Directions relative to the object: into its local space at `time`, and out of it as it is held.
    to_held = turn @ matrix(mesh, 1.0) @ np.linalg.inv(matrix(mesh, time))
    now = to_held @ matrix(dome, time) @ direction
    before = turn @ matrix(dome, 1.0) @ direction
    np.testing.assert_allclose(light_rotation.T @ now, before, atol=1e-5)
