"""The settings that the shelf offers for training."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from texture_recovery.pipeline_commands import JobFolder
from usd_tools.errors import UserError


@dataclass(frozen=True)
class Preset:
    """config: settings file in recon/configs; None for the defaults. keep_mesh: the original mesh and UVs."""

    label: str
    config: str | None
    keep_mesh: bool


PRESETS = (
    Preset("Small, for any computer: new mesh and textures", "cpu.yaml", False),
    Preset("Small, for any computer: textures on the original mesh and UVs", "cpu.yaml", True),
    Preset("Full size, needs an NVIDIA GPU: new mesh and textures", None, False),
    Preset("Full size, needs an NVIDIA GPU: textures on the original mesh and UVs", None, True),
)


def preset_settings(preset: Preset, folder: JobFolder) -> list[str]:
    """`KEY=VALUE` for the dataset of `folder`: to learn an unknown light, to keep a mesh.

    Raises:
        UserError: there is no dataset, or not what the preset needs of it.
    """
    settings = [] if knows_light(folder.dataset) else ["light.mode=learnt"]
    if preset.keep_mesh:
        mesh = folder.dataset / "ground_truth" / "mesh.obj"
        if not mesh.is_file():
            raise UserError(
                f"{mesh}: is not there, the dataset was exported without true textures; choose a new mesh"
            )
        settings.append(f"geometry.mesh={mesh}")
    return settings


def knows_light(dataset: Path) -> bool:
    """Whether the dataset brings the light that the pictures were rendered with.

    Raises:
        UserError: it is no dataset of ours.
    """
    path = dataset / "dataset.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))["light_probe"] is not None
    except FileNotFoundError:
        raise UserError(f"{path}: is not there; click Export Dataset first, and let it finish") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); export the dataset again") from None
