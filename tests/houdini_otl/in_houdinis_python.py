"""What test_houdinis_python.py runs in an environment that has pxr and numpy and nothing else, like hython.

    python in_houdinis_python.py SCENE RUN REPORT WORK

Imports every module that the plugin imports in Houdini's process, then cooks, exports and imports for real.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
MISSING = (
    "torch",
    "warp",
    "OpenEXR",
    "imageio",
    "PIL",
    "yaml",
    "tqdm",
    "mitsuba",
    "MaterialX",
    "xatlas",
    "scipy",
)


def done(what: str) -> None:
    sys.stdout.write(what + "\n")


def main(scene: Path, run: Path, report: Path, work: Path) -> None:
    found = [name for name in MISSING if importlib.util.find_spec(name) is not None]
    assert not found, f"this environment was to be without {found}"
    sys.path[:0] = [str(HERE.parents[1] / "houdini_otl" / "scripts" / "python"), str(HERE / "stand_in")]

    import texture_recovery

    names = [module.name for module in pkgutil.iter_modules(texture_recovery.__path__)]
    for name in names:
        importlib.import_module(f"texture_recovery.{name}")
    done(f"{len(names)} modules")

    from pxr import Usd
    from texture_recovery.export_request import ExportRequest
    from texture_recovery.pipeline_commands import JobFolder
    from texture_recovery.recovered_variant import ImportRecovered, write_recovered
    from texture_recovery.recovery_error import RecoveryError, write_error
    from texture_recovery.stage_choices import cameras, recoverable_objects
    from texture_recovery.stage_export import check_stage, finish_stage
    from texture_recovery.turntable import Turntable, write_turntable

    from usd_tools.import_materials import import_run

    for layout in ("sphere", "rings", "object"):
        stage = Usd.Stage.Open(Usd.Stage.Open(str(scene)).Flatten())
        write_turntable(stage, Turntable(layout=layout, frames=4))
        assert "/cameras/turntable" in cameras(stage), layout
        done(f"cooked a turntable, {layout}")

    (object_path,) = recoverable_objects(stage, 1)
    request = ExportRequest(JobFolder(work / "recovery"), object_path, (), "1:4")
    request.folder.path.mkdir()
    Usd.Stage.Open(str(scene)).Export(str(request.folder.stage))
    finish_stage(request)
    check_stage(request)
    done("exported and checked")

    layer = work / "recovered.usda"
    import_run(run, layer)
    stage = Usd.Stage.CreateInMemory()
    switched = write_recovered(stage, ImportRecovered(str(layer), object_path=object_path))
    assert object_path in switched and stage.GetPrimAtPath("/Recovered/mesh")
    done("imported")

    stage = Usd.Stage.Open(Usd.Stage.Open(str(scene)).Flatten())
    assert write_error(stage, RecoveryError(report=str(report), object_path=object_path), 1.0)
    done("showed the error")

    loaded = sorted({name.partition(".")[0] for name in sys.modules} & {*MISSING, "recon"})
    assert not loaded, f"imported in Houdini's process: {loaded}"


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))
