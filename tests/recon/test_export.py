"""What a run exports: OBJ, MTL, maps, packed map and probe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from recon.color import linear_to_srgb
from recon.export import export_asset
from recon.geometry.mesh import Mesh, mesh_from_obj
from recon.material.channels import Channels, ChannelSettings
from recon.material.texture_maps import TextureMaps
from tests.shapes import uv_sphere
from usd_tools.errors import UserError
from usd_tools.images import read_image
from usd_tools.obj import read_obj

FILES = {
    "mesh.obj",
    "mesh.mtl",
    "probe.exr",
    *(f"{name}.png" for name in ("albedo", "roughness", "metallic", "occlusion", "normal", "orm")),
}
STEP = 1 / 255


def mesh() -> Mesh:
    return mesh_from_obj(uv_sphere(6, 9))


def maps(seed: int = 0, occlusion: bool = True) -> TextureMaps:
    random = torch.Generator().manual_seed(seed)

    def noise(channels: int) -> torch.Tensor:
        return torch.rand(8, 16, channels, generator=random)

    normal = torch.nn.functional.normalize(noise(3) - torch.tensor([0.5, 0.5, 0.0]), dim=-1)
    start = Channels(noise(3), normal, 0.1 + 0.8 * noise(1), noise(1), noise(1))
    return TextureMaps(start, ChannelSettings(), learn_occlusion=occlusion)


def probe() -> torch.Tensor:
    return 30 * torch.rand(4, 8, 3, generator=torch.Generator().manual_seed(9))


def test_files_are_those_of_the_contract(tmp_path):
    export_asset(tmp_path / "mesh", mesh(), maps(), probe())
    assert {path.name for path in (tmp_path / "mesh").iterdir()} == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["mesh"]


def test_obj_comes_back_equal(tmp_path):
    export_asset(tmp_path / "mesh", mesh(), maps(), probe())
    back, expected = mesh_from_obj(read_obj(tmp_path / "mesh" / "mesh.obj")), mesh()
    for name in ("vertices", "faces", "uvs", "uv_faces", "normal_faces"):
        assert torch.equal(getattr(back, name), getattr(expected, name)), name
    torch.testing.assert_close(back.normals, expected.normals, rtol=0, atol=1e-6)


def test_mtl_names_files_that_are_there(tmp_path):
    folder = tmp_path / "mesh"
    export_asset(folder, mesh(), maps(), probe())
    statements = dict(
        line.split(maxsplit=1) for line in (folder / "mesh.mtl").read_text(encoding="utf-8").splitlines()
    )
    named = {key: statements[key] for key in ("map_Kd", "map_Pr", "map_Pm", "norm")}
    assert list(named.values()) == ["albedo.png", "roughness.png", "metallic.png", "normal.png"]
    assert all((folder / file).is_file() for file in named.values())
    text = (folder / "mesh.obj").read_text(encoding="utf-8")
    assert "mtllib mesh.mtl\n" in text and f"usemtl {statements['newmtl']}\n" in text


def test_maps_are_coded_as_the_contract_says(tmp_path):
    export_asset(tmp_path / "mesh", mesh(), learnt := maps(), probe())
    read = {name: read_image(tmp_path / "mesh" / f"{name}.png") for name in ("albedo", "normal", "roughness")}
    expected = learnt.to_images()
    for name, image in read.items():
        assert image.shape[:2] == (8, 16)
        np.testing.assert_allclose(image[..., : expected[name].shape[2]], expected[name], atol=0.51 * STEP)
    # sRGB-coded albedo; unit normals as 0.5 + 0.5 n.
    random = torch.rand(8, 16, 3, generator=torch.Generator().manual_seed(0))
    assert np.abs(read["normal"] * 2 - 1).max() <= 1.0 and read["normal"][..., 2].min() >= 0.5
    normal = torch.nn.functional.normalize(random - torch.tensor([0.5, 0.5, 0.0]), dim=-1)
    np.testing.assert_allclose(read["normal"], 0.5 + 0.5 * normal.numpy(), atol=STEP)
    generator = torch.Generator().manual_seed(0)
    torch.rand(8, 16, 3, generator=generator)
    albedo = linear_to_srgb(torch.rand(8, 16, 3, generator=generator)).numpy()
    np.testing.assert_allclose(read["albedo"], albedo, atol=STEP)


def test_orm_packs_occlusion_roughness_metallic(tmp_path):
    export_asset(tmp_path / "mesh", mesh(), maps(), probe())
    orm = read_image(tmp_path / "mesh" / "orm.png")
    assert orm.shape == (8, 16, 3)
    for channel, name in enumerate(("occlusion", "roughness", "metallic")):
        alone = read_image(tmp_path / "mesh" / f"{name}.png")[..., 0]
        np.testing.assert_array_equal(orm[..., channel], alone)
        assert np.ptp(alone) > 0.5


def test_occlusion_that_is_not_learnt_is_white(tmp_path):
    export_asset(tmp_path / "mesh", mesh(), maps(occlusion=False), probe())
    assert (read_image(tmp_path / "mesh" / "occlusion.png") == 1.0).all()
    assert (read_image(tmp_path / "mesh" / "orm.png")[..., 0] == 1.0).all()


def test_probe_keeps_its_range_exactly(tmp_path):
    export_asset(tmp_path / "mesh", mesh(), maps(), probe())
    np.testing.assert_array_equal(read_image(tmp_path / "mesh" / "probe.exr"), probe().numpy())


def test_a_moved_mesh_with_gradient_is_exported(tmp_path):
    moved = mesh().with_vertices(mesh().vertices.clone().requires_grad_()).with_smooth_normals()
    export_asset(tmp_path / "mesh", moved, maps(), probe())
    assert len(read_obj(tmp_path / "mesh" / "mesh.obj").faces) == len(moved.faces)


def test_earlier_export_is_replaced_as_a_whole(tmp_path):
    folder = tmp_path / "mesh"
    export_asset(folder, mesh(), maps(0), probe())
    first = (folder / "albedo.png").read_bytes()
    (folder / "left.over").write_text("", encoding="utf-8")
    export_asset(folder, mesh(), maps(1), probe())
    assert {path.name for path in folder.iterdir()} == FILES
    assert (folder / "albedo.png").read_bytes() != first


def test_failed_export_leaves_the_earlier_one(tmp_path, monkeypatch):
    folder = tmp_path / "mesh"
    export_asset(folder, mesh(), maps(0), probe())
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(path: Path, *rest: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("recon.export.write_exr", full)
    with pytest.raises(OSError, match="No space"):
        export_asset(folder, mesh(), maps(1), probe())
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["mesh"]


def test_foreign_folder_is_refused(tmp_path):
    folder = tmp_path / "mesh"
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match="not empty and not an earlier output"):
        export_asset(folder, mesh(), maps(), probe())
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]


def test_a_picture_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    """They are written beside the mesh, which must not hide their errors."""

    def full(path: Path, values: object) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("recon.export.write_png", full)
    with pytest.raises(OSError, match="No space left"):
        export_asset(tmp_path / "mesh", mesh(), maps(), torch.rand(4, 8, 3))
    assert list(tmp_path.iterdir()) == []
