"""Numbered broken inputs, each a copy of an intact scene, dataset or run in which one file is broken.

Case N of a seed is always the same. The formats alternate with N, so any stretch of numbers has them all.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pxr import Sdf, Usd, UsdUtils

from tests.usd_tools.malformed import special_files
from tests.usd_tools.malformed.spoiling import spoil_bytes, spoil_json, spoil_text
from tests.usd_tools.stages import write_scene
from usd_tools import dataset_to_colmap
from usd_tools.usd_to_llff import main as convert

FORMATS = ("usda", "usdc", "usdz", "exr", "png", "hdr", "npy", "json", "obj", "colmap")


@dataclass(frozen=True)
class Case:
    """label: what was done to which file. commands: of COMMANDS, to be run in this order in `folder`."""

    label: str
    folder: Path
    commands: tuple[str, ...]


def write_base(folder: Path) -> None:
    """The intact inputs: scene/ (with renders), scene_c/, scene_z/, dataset/, model/ and run/."""
    scene = write_scene(folder / "scene", frames=2)
    stage = Usd.Stage.Open(str(scene.stage))
    for name in ("scene_c", "scene_z"):
        shutil.copytree(folder / "scene" / "renders", folder / name / "renders")
    shutil.copytree(folder / "scene" / "textures", folder / "scene_c" / "textures")
    stage.GetRootLayer().Export(str(folder / "scene_c" / "scene.usdc"))
    package = folder / "scene_z" / "scene.usdz"
    assert UsdUtils.CreateNewUsdzPackage(Sdf.AssetPath(str(scene.stage)), str(package)), "no package"
    assert convert(scene.arguments(folder / "dataset")) == 0
    dataset_to_colmap.main([str(folder / "dataset"), "--out", str(folder / "model")])
    run = folder / "run"
    shutil.copytree(folder / "dataset" / "ground_truth", run / "mesh")
    shutil.copy(folder / "dataset" / "dataset.json", run)
    settings = "seed: 0\nlight:\n  probe: null\n  mode: known\ntextures:\n  mode: learnt\n"
    (run / "config.yaml").write_text(settings)


def make_case(base: Path, folder: Path, number: int, seed: int = 0) -> Case:
    """Writes case `number` into `folder`, which must not exist."""
    draw = random.Random(f"{seed} {number}")
    kind = FORMATS[number % len(FORMATS)]
    label, commands = _MAKERS[kind](base, folder, number // len(FORMATS), draw)
    return Case(f"{number} {kind}: {label}", folder, commands)


def _copy(base: Path, folder: Path, *names: str) -> None:
    """Hard links: what a case breaks is replaced, not written into."""
    for name in names:
        shutil.copytree(base / name, folder / name, copy_function=os.link)


def _replace(path: Path, content: bytes | str) -> None:
    path.unlink()
    if isinstance(content, str):
        content = content.encode("utf-8", "surrogatepass")
    path.write_bytes(content)


def _chosen(
    specials: Callable[[], dict[str, bytes]] | Callable[[], dict[str, str]], turn: int
) -> tuple[str, bytes | str] | None:
    """Every second case is a special one, as long as there are any."""
    items: Sequence[tuple[str, bytes | str]] = list(specials().items())
    index, plain = divmod(turn, 2)
    return None if plain or index >= len(items) else items[index]


def _usda(base: Path, folder: Path, turn: int, draw: random.Random) -> tuple[str, tuple[str, ...]]:
    _copy(base, folder, "scene")
    path = folder / "scene" / "scene.usda"
    intact = path.read_text(encoding="utf-8")
    label, content = _chosen(lambda: _usda_specials(intact), turn) or ("spoiled", spoil_text(intact, draw))
    assert content != intact or label == "spoiled", f"{label} leaves the stage as it is"
    _replace(path, content)
    return label, ("convert",)


@cache
def _usda_specials(intact: str) -> dict[str, str]:
    return special_files.usdas(intact)


def _usdc(base: Path, folder: Path, turn: int, draw: random.Random) -> tuple[str, tuple[str, ...]]:
    _copy(base, folder, "scene_c")
    path = folder / "scene_c" / "scene.usdc"
    _replace(path, spoil_bytes(path.read_bytes(), draw))
    return "spoiled", ("convert binary",)


def _usdz(base: Path, folder: Path, turn: int, draw: random.Random) -> tuple[str, tuple[str, ...]]:
    _copy(base, folder, "scene_z")
    path = folder / "scene_z" / "scene.usdz"
    intact = path.read_bytes()
    label, content = _chosen(lambda: special_files.usdzs(intact), turn) or (
        "spoiled",
        spoil_bytes(intact, draw),
    )
    _replace(path, content)
    return label, ("convert package",)


def _picture(
    base: Path,
    folder: Path,
    draw: random.Random,
    files: dict[str, tuple[str, ...]],
    content: Callable[[bytes], bytes | str],
) -> tuple[str, tuple[str, ...]]:
    """Breaks one of `files`, which tells the commands that read each."""
    name = draw.choice(sorted(files))
    _copy(base, folder, name.partition("/")[0])
    _replace(folder / name, content((folder / name).read_bytes()))
    return name, files[name]


def _exr(base: Path, folder: Path, turn: int, draw: random.Random) -> tuple[str, tuple[str, ...]]:
    intact = (base / "scene/renders/sphere.0002.exr").read_bytes()
    special = _chosen(lambda: special_files.exrs(intact), turn)
    files = {
        "scene/renders/sphere.0001.exr": ("convert",),
        "scene/renders/sphere.0002.exr": ("convert",),
        "scene/textures/probe.exr": ("convert",),
        "dataset/hdr/frame_0001.exr": ("check", "load"),
        "run/mesh/probe.exr": ("import",),
    }
    where, commands = _picture(
        base, folder, draw, files, lambda data: special[1] if special else spoil_bytes(data, draw)
    )
    return f"{special[0] if special else 'spoiled'} {where}", commands


def _png(base: Path, folder: Path, turn: int, draw: random.Random) -> tuple[str, tuple[str, ...]]:
    special = _chosen(lambda: special_files.PNGS, turn)
    files = {f"scene/textures/{name}.png": ("convert",) for name in ("albedo", "roughness", "normal")}
    files |= {f"dataset/{name}/frame_0002.png": ("load as llff", "check") for name in ("images", "masks")}
    files |= {"run/mesh/albedo.png": ("import",), "dataset/rgba/frame_0001.png": ("load as nerf",)}
    where, commands = _picture(
        base, folder, draw, files, lambda data: special[1] if special else spoil_bytes(data, draw)
    )
    return f"{special[0] if special else 'spoiled'} {where}", commands


def _hdr(base: Path, folder: Path, turn: int, draw: random.Random) -> tuple[str, tuple[str, ...]]:
    _copy(base, folder, "scene")
    stage = folder / "scene" / "scene.usda"
    _replace(stage, stage.read_text(encoding="utf-8").replace("probe.exr", "probe.hdr"))
    head = b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 16 +X 32\n"
    intact = head + bytes(draw.randrange(100, 140) for _ in range(16 * 32 * 4))
    label, content = _chosen(special_files.hdrs, turn) or ("spoiled", spoil_bytes(intact, draw))
    (folder / "scene/textures/probe.hdr").write_bytes(content)  # type: ignore[arg-type]
    return label, ("convert",)


def _npy(base: Path, folder: Path, turn: int, draw: random.Random) -> tuple[str, tuple[str, ...]]:
    _copy(base, folder, "dataset")
    path = folder / "dataset" / "poses_bounds.npy"
    label, content = _chosen(special_files.npys, turn) or ("spoiled", spoil_bytes(path.read_bytes(), draw))
    _replace(path, content)
    return label, ("load as llff",)


def _json(base: Path, folder: Path, turn: int, draw: random.Random) -> tuple[str, tuple[str, ...]]:
    name, commands = draw.choice(
        (
            ("dataset/dataset.json", ("load", "check", "colmap")),
            ("dataset/transforms_train.json", ("load", "check", "colmap")),
            ("dataset/transforms_train.json", ("load as nerf",)),
            ("run/dataset.json", ("import",)),
        )
    )
    _copy(base, folder, name.partition("/")[0])
    intact = (folder / name).read_text(encoding="utf-8")
    special = _chosen(lambda: special_files.JSONS, turn)
    broken = draw.random() < 0.75
    content = spoil_json(json.loads(intact), draw) if broken else spoil_bytes(intact.encode(), draw)
    _replace(folder / name, special[1] if special else content)
    return f"{special[0] if special else 'spoiled'} {name}", commands


def _obj(base: Path, folder: Path, turn: int, draw: random.Random) -> tuple[str, tuple[str, ...]]:
    name, commands = draw.choice(
        (("dataset/ground_truth/mesh.obj", ("mesh", "check")), ("run/mesh/mesh.obj", ("import",)))
    )
    _copy(base, folder, name.partition("/")[0])
    intact = (folder / name).read_text(encoding="utf-8")
    special = _chosen(special_files.objs, turn)
    content = spoil_text(intact, draw) if draw.random() < 0.7 else spoil_bytes(intact.encode(), draw)
    _replace(folder / name, special[1] if special else content)
    return f"{special[0] if special else 'spoiled'} {name}", commands


def _colmap(base: Path, folder: Path, turn: int, draw: random.Random) -> tuple[str, tuple[str, ...]]:
    _copy(base, folder, "dataset", "model")
    path = folder / "model" / draw.choice(("cameras.txt", "images.txt"))
    intact = path.read_text(encoding="utf-8")
    _replace(path, spoil_text(intact, draw) if draw.random() < 0.6 else spoil_bytes(intact.encode(), draw))
    return f"spoiled {path.name}", ("photographs",)


_MAKERS = {
    "usda": _usda,
    "usdc": _usdc,
    "usdz": _usdz,
    "exr": _exr,
    "png": _png,
    "hdr": _hdr,
    "npy": _npy,
    "json": _json,
    "obj": _obj,
    "colmap": _colmap,
}
