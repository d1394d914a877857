"""A finished run as a USD layer: the recovered mesh with its look in the original stage's space.

    python usd_tools/import_materials.py RUN --out FILE.usd[a|c|z] [--stage STAGE --object PRIM]

Alone, the layer holds /Recovered with mesh, look and (where it was learnt) light. With --stage it lies over
the original stage, which is only referred to, never changed, and a variant set named `source` flips between
`original` and `recovered`. The look is UsdPreviewSurface and MaterialX (OpenPBR), reading the same pictures.
After training on a known mesh only the look is new. Needs pxr and numpy only.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import shutil
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np

from usd_tools.console import setup_logging
from usd_tools.errors import UserError, run_command
from usd_tools.files import atomic_file, atomic_folder
from usd_tools.matrices import Matrix
from usd_tools.obj import read_obj
from usd_tools.recovered_layer import Recovered, write_layer, write_layer_over
from usd_tools.source_variants import VARIANT_SET
from usd_tools.stage import open_stage
from usd_tools.usd_errors import usd_reason

log = logging.getLogger(__name__)

CHANNELS = ("albedo", "roughness", "metallic", "occlusion", "normal")

SUFFIXES = (".usd", ".usda", ".usdc", ".usdz")


@dataclass(frozen=True)
class Origin:
    """Where the run's data came from, as its dataset.json tells.

    object: prim path, None where that is unknown. frame: on which a moving object was held, None for the
    stage's first. variants: `SET=CHOICE` under which the stage was converted.
    """

    stage_to_dataset: Matrix
    up_axis: str
    meters_per_unit: float
    object: str | None
    frame: float | None = None
    variants: tuple[str, ...] = ()


def read_origin(run: Path) -> Origin:
    """The run's dataset.json; the dataset frame itself where the data had none (plain NeRF or LLFF folders).

    Raises:
        UserError: it is there and malformed.
    """
    path = run / "dataset.json"
    if not path.is_file():
        log.warning("%s: is not there, so the result stays in the dataset's own frame", path)
        return Origin(np.eye(4), "Y", 1.0, None)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        matrix = np.array(content["stage_to_dataset"], np.float64)
        up_axis, meters = str(content["up_axis"]), float(content["metersPerUnit"])
        object_path = None if content["object"] is None else str(content["object"])
        frame = None if content.get("reference_frame") is None else float(content["reference_frame"])
        variants = tuple(str(variant) for variant in content.get("variants", ()))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"{path}: cannot be read as dataset.json ({error}); restore it from the dataset"
        ) from None
    usable = (
        matrix.shape == (4, 4) and np.isfinite(matrix).all() and abs(np.linalg.det(matrix[:3, :3])) > 1e-30
    )
    if not usable or up_axis not in ("Y", "Z") or not meters > 0:
        raise UserError(f"{path}: its stage_to_dataset, up_axis or metersPerUnit is impossible; restore it")
    return Origin(matrix, up_axis, meters, object_path, frame, variants)


def config_value(run: Path, section: str, key: str) -> str | None:
    """`section.key` of the run's config.yaml as text; None where it is null or absent.

    Houdini's Python has no YAML reader; the resolved config is plain blocks, which two expressions can read.

    Raises:
        UserError: there is no config.yaml.
    """
    path = run / "config.yaml"
    if not path.is_file():
        raise UserError(f"{path}: is missing; expected a run folder of recon.train")
    text = path.read_text(encoding="utf-8", errors="replace") + "\n"
    block = re.search(rf"^{section}:[ \t]*\n((?:[ \t]+.*\n|[ \t]*\n)*)", text, re.MULTILINE)
    found = re.search(rf"^[ \t]+{key}:[ \t]*['\"]?([^'\"\n]*)", block[1], re.MULTILINE) if block else None
    value = found[1].strip() if found else ""
    return None if value in ("", "null", "~") else value


def light_was_learnt(run: Path) -> bool:
    """Whether the run's config says `light.mode: learnt`."""
    return config_value(run, "light", "mode") == "learnt"


def _settings_of(run: Path) -> dict[str, str]:
    """What the layer remembers of the run: enough to repeat it."""
    settings = {"run": run.resolve().name, "config": (run / "config.yaml").read_text("utf-8", "replace")}
    if (run / "run.json").is_file():
        settings["versions_and_times"] = (run / "run.json").read_text("utf-8", "replace")
    return settings


def import_run(run: Path, out: Path, stage: Path | None = None, object_path: str | None = None) -> None:
    """Writes the layer, and for all but .usdz its textures beside it in `<stem>_textures`.

    Raises:
        UserError: the run is not finished, or `out` or the stage cannot be used.
    """
    suffix = out.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"--out {out}: expected a name that ends in {', '.join(SUFFIXES)}")
    files = _result_files(run)
    origin = read_origin(run)
    source = None
    if stage is not None:
        object_path = object_path or origin.object
        if object_path is None:
            raise UserError("--stage needs --object: the run does not tell which prim it recovered")
        source = open_stage(stage, origin.variants)
        _refuse_to_overwrite(out, source)
    mesh = read_obj(run / "mesh" / "mesh.obj")

    def write(layer: Path, textures: Path, name: str) -> None:
        for file in files.values():
            shutil.copyfile(file, textures / file.name)
        assets = {channel: f"./{name}/{file.name}" for channel, file in files.items()}
        probe = assets.pop("probe", None)
        recovered = Recovered(
            mesh,
            assets,
            probe,
            origin.stage_to_dataset,
            origin.up_axis,
            origin.meters_per_unit,
            origin.frame,
            config_value(run, "geometry", "mesh") is not None,
            _settings_of(run),
        )
        if source is None:
            write_layer(layer, recovered)
        else:
            assert object_path is not None, "checked with the stage"
            root = write_layer_over(layer, recovered, source, object_path)
            log.info("%s: holds the result; flip the variant set '%s' above it", root, VARIANT_SET)

    name = f"{out.stem}_textures"
    if suffix == ".usdz":
        with tempfile.TemporaryDirectory(prefix="import_materials_") as folder, atomic_file(out) as package:
            (Path(folder) / name).mkdir()
            layer = Path(folder) / f"{out.stem}.usdc"
            write(layer, Path(folder) / name, name)
            _package(layer, package)
    else:
        with atomic_folder(out.with_name(name), "albedo.png") as textures, atomic_file(out) as layer:
            write(layer, textures, name)


def _result_files(run: Path) -> dict[str, Path]:
    """The pictures to bring along, by channel, and `probe` where the run learnt it."""
    if not run.is_dir():
        raise UserError(f"{run}: no such run folder; check the path")
    folder = run / "mesh"
    files = {channel: folder / f"{channel}.png" for channel in CHANNELS}
    if light_was_learnt(run):
        files["probe"] = folder / "probe.exr"
    missing = [file.name for file in (folder / "mesh.obj", *files.values()) if not file.is_file()]
    if missing:
        raise UserError(f"{folder}: lacks {', '.join(missing)}; expected a finished run, let training end")
    return files


def _refuse_to_overwrite(out: Path, source: Any) -> None:
    target = out.resolve()
    for layer in source.GetUsedLayers():
        if layer.realPath and Path(layer.realPath).resolve() == target:
            name = source.GetRootLayer().realPath
            raise UserError(f"--out {out}: is part of {name}, which is never changed; name another file")


def _package(layer: Path, package: Path) -> None:
    from pxr import Sdf, Tf, UsdUtils

    try:
        written = UsdUtils.CreateNewUsdzPackage(Sdf.AssetPath(str(layer)), str(package))
    except Tf.ErrorException as error:
        reason = usd_reason(error)
        raise UserError(
            f"{package.parent}: the package could not be written ({reason}); check its space"
        ) from None
    if not (written and _is_whole(package)):
        raise UserError(f"{package.parent}: the package could not be written; check its space")


def _is_whole(package: Path) -> bool:
    """Whether all files of the package can be read back: on a full disk USD cuts it short without a word."""
    try:
        with zipfile.ZipFile(package) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, OSError):
        return False


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="import_materials",
        description="Write a finished run as a USD layer with UsdPreviewSurface and MaterialX looks.",
    )
    parser.add_argument("run", metavar="RUN", type=Path, help="run folder of recon.train")
    parser.add_argument(
        "--out", metavar="FILE", type=Path, required=True, help="layer to write: .usd, .usda, .usdc or .usdz"
    )
    parser.add_argument("--stage", metavar="STAGE", type=Path, help="original stage to lay the result over")
    parser.add_argument("--object", metavar="PRIM", help="prim the result replaces; default: as converted")
    options = parser.parse_args(arguments)
    setup_logging()
    if options.object is not None and options.stage is None:
        raise UserError(f"--object {options.object}: needs --stage")
    import_run(options.run, options.out, options.stage, options.object)
    log.info("%s: written", options.out)


if __name__ == "__main__":
    run_command(main)
