"""Programs that pass for husk and for the training Python, as scripts on disk. POSIX only."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

HUSK = """#!{python}
import json, os, sys, time
from pathlib import Path
arguments = sys.argv[1:]
with Path({log!r}).open("a") as log:
    log.write("\\t".join(arguments) + "\\n")
Path({log!r}).with_name("environment.json").write_text(json.dumps(dict(os.environ)))
if {mode!r} == "hang":
    Path({log!r}).with_name("hangs").touch()
    time.sleep(60)
value = {{flag: arguments[arguments.index(flag) + 1] for flag in ("-f", "-n", "-i", "-o")}}
for index in range(int(value["-n"])):
    if {mode!r} == "render":
        path = Path(value["-o"] % (int(value["-f"]) + index * int(value["-i"])))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(Path({picture!r}).read_bytes())
print("No licenses could be found to run this application.")
"""

MITSUBA_HUSK = """#!{python}
import os, subprocess, sys
from pathlib import Path
from tempfile import TemporaryDirectory
value = {{flag: sys.argv[sys.argv.index(flag) + 1] for flag in ("-f", "-n", "-i", "-c", "-p", "-o")}}
width, height = sys.argv[sys.argv.index("-r") + 1 :][:2]
first, count, step = (int(value[flag]) for flag in ("-f", "-n", "-i"))
stage = sys.argv[-1]
with TemporaryDirectory() as folder:
    command = [{python!r}, "-E", {script!r}, stage, "--out", folder, "--camera", value["-c"]]
    command += ["--samples", value["-p"], "--resolution", f"{{width}}x{{height}}"]
    command += ["--frames", f"{{first}}:{{first + (count - 1) * step}}:{{step}}"]
    subprocess.run(command, check=True)
    for frame in range(first, first + count * step, step):
        picture = Path(folder) / f"{{Path(stage).stem}}.{{frame:04d}}.exr"
        Path(value["-o"] % frame).write_bytes(picture.read_bytes())
"""

TRAINING_PYTHON = """#!{python}
import json, os, shutil, sys, time
from datetime import datetime, timezone
from pathlib import Path
arguments = sys.argv[1:]
with Path({log!r}).open("a") as log:
    log.write("\\t".join(arguments) + "\\n")
if "-c" in arguments and "cuda" in arguments[arguments.index("-c") + 1]:
    print({gpu!r})
    sys.exit(0)
if "recon.train" not in arguments and not any("compare_textures" in word for word in arguments):
    os.execv({python!r}, [{python!r}, *arguments])
out = Path(arguments[arguments.index("--out") + 1])
out.mkdir(parents=True, exist_ok=True)
if "recon.train" not in arguments:
    (out / "index.html").write_text("<title>report</title>")
    sys.exit(0)

def report(stage, iteration, total, error=None):
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    content = dict(stage=stage, iteration=iteration, total=total, pid=os.getpid(), error=error, time=now)
    (out / "status.json").write_text(json.dumps(content))

report("starting", 0, 0)
if {mode!r} == "refuse":
    print("error: --set train.btach: no such key; did you mean train.batch?", file=sys.stderr)
    sys.exit(2)
if "--resume" not in arguments:
    dataset = Path(arguments[arguments.index("--data") + 1])
    shutil.copy(dataset / "dataset.json", out)
    (out / "config.yaml").write_text("light:\\n  mode: known\\n")
if {mode!r} == "work" and "--resume" not in arguments:
    try:
        report("coarse", 3, 10)
        time.sleep(60)
    except KeyboardInterrupt:
        report("coarse", 4, 10, "KeyboardInterrupt")
        sys.exit(130)
shutil.copytree(out.parent / "dataset" / "ground_truth", out / "mesh", dirs_exist_ok=True)
report("done", 1, 1)
"""


def install_husk(houdini: Path, picture: Path, mode: str = "render") -> Path:
    """Puts a husk into `houdini`/bin; returns the log of its command lines, with environment.json beside it.

    picture: what every frame becomes. mode: `render`, `fail` (writes nothing and exits with 0), or `hang`.
    """
    log = houdini / "husk.log"
    _write(
        houdini / "bin" / "husk",
        HUSK.format(python=sys.executable, log=str(log), picture=str(picture), mode=mode),
    )
    return log


def install_mitsuba_as_husk(houdini: Path) -> None:
    """Puts a husk into `houdini`/bin that renders for real, with Mitsuba, in linear Rec.709."""
    script = Path(__file__).resolve().parents[2] / "usd_tools" / "render_turntable.py"
    _write(houdini / "bin" / "husk", MITSUBA_HUSK.format(python=sys.executable, script=str(script)))


def install_training_python(folder: Path, mode: str = "work", gpu: str = "") -> tuple[Path, Path]:
    """A Python that runs everything but training and comparison for real; its path and its log.

    mode: `work` trains until it is interrupted, and to the end when it resumes; `finish` does so at once;
    `refuse` ends with an error. gpu: the graphics card that it tells of.
    """
    log = folder / "python.log"
    python = folder / "python"
    _write(python, TRAINING_PYTHON.format(python=sys.executable, log=str(log), mode=mode, gpu=gpu))
    return python, log


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
