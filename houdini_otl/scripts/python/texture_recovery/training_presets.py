"""The settings that the shelf offers for training: a few presets, and a form for what artists change."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from texture_recovery.form_fields import one_of, positive_integer
from texture_recovery.pipeline_commands import JobFolder
from usd_tools.errors import UserError

COARSE = "Coarse iterations (shape and first textures)"
FINE = "Fine iterations (textures)"
PICTURES = "Longest side of the training pictures (pixels, or full)"
TEXTURES = "Texture resolution"
LIGHT = "Light (known or learnt)"
OCCLUSION = "Occlusion texture (yes or no)"
MORE = "More settings (such as train.batch=4 seed=1)"

FULL = "full"
"""In place of a size: pictures as they were rendered."""

_NUMBERS = {
    COARSE: "train.coarse_iterations",
    FINE: "train.fine_iterations",
    PICTURES: "train.resolution",
    TEXTURES: "textures.resolution",
}


@dataclass(frozen=True)
class Preset:
    """config: settings file in recon/configs; None for the defaults. keep_mesh: the original mesh and UVs.

    large: whether it is made for an NVIDIA GPU. The other fields are what the settings say, for the form.
    """

    label: str
    config: str | None
    keep_mesh: bool
    large: bool
    coarse_iterations: int
    fine_iterations: int
    picture_size: int | None
    texture_size: int


def _small(what: str, *, keep_mesh: bool) -> Preset:
    return Preset(f"Small, for any computer: {what}", "cpu.yaml", keep_mesh, False, 800, 500, 128, 512)


def _large(what: str, *, keep_mesh: bool) -> Preset:
    return Preset(f"Full size, for an NVIDIA GPU: {what}", None, keep_mesh, True, 1000, 1000, None, 1024)


_NEW, _KEPT = "new mesh and textures", "textures on the original mesh and UVs"
PRESETS = (
    _small(_NEW, keep_mesh=False),
    _small(_KEPT, keep_mesh=True),
    _large(_NEW, keep_mesh=False),
    _large(_KEPT, keep_mesh=True),
)


def likely_preset(gpu: str) -> int:
    """Index of the preset that fits a machine: `gpu` is its graphics card's name, "" if it has none."""
    return next(index for index, preset in enumerate(PRESETS) if preset.large == bool(gpu))


def training_fields(preset: Preset, *, light_is_known: bool) -> dict[str, str]:
    """The form as it is first shown: labels and their contents. A kept mesh has no coarse stage."""
    return {
        **({} if preset.keep_mesh else {COARSE: str(preset.coarse_iterations)}),
        FINE: str(preset.fine_iterations),
        PICTURES: str(preset.picture_size or FULL),
        TEXTURES: str(preset.texture_size),
        LIGHT: "known" if light_is_known else "learnt",
        OCCLUSION: "no",
        MORE: "",
    }


def settings_from_fields(fields: Mapping[str, str], preset: Preset, folder: JobFolder) -> list[str]:
    """What differs from the preset's settings, as `KEY=VALUE`, for the dataset of `folder`.

    Raises:
        UserError: there is no dataset, or not what is needed of it, or a field is not what it should be.
    """
    defaults = training_fields(preset, light_is_known=knows_light(folder.dataset))
    settings = []
    if preset.keep_mesh:
        settings.append(f"geometry.mesh={_original_mesh(folder.dataset)}")
    for label in [label for label in _NUMBERS if label in fields and fields[label] != defaults[label]]:
        whole = label == PICTURES and fields[label] == FULL
        settings.append(f"{_NUMBERS[label]}={'null' if whole else positive_integer(fields, label)}")
    if one_of(fields, LIGHT, ("known", "learnt")) == "learnt":
        settings.append("light.mode=learnt")
    if one_of(fields, OCCLUSION, ("yes", "no")) == "yes":
        settings.append("material.occlusion=true")
    return settings + _more(fields[MORE])


def _more(text: str) -> list[str]:
    settings = text.split()
    for setting in settings:
        if not setting.partition("=")[1] or setting.startswith("="):
            raise UserError(
                f"More settings {setting}: expected KEY=VALUE without spaces in it, such as train.batch=4; "
                "recon/configs/default.yaml explains every key"
            )
    return settings


def _original_mesh(dataset: Path) -> Path:
    mesh = dataset / "ground_truth" / "mesh.obj"
    if not mesh.is_file():
        raise UserError(
            f"{mesh}: is not there, the dataset was exported without true textures; choose a new mesh"
        )
    return mesh


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
