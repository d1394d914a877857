"""The settings that the shelf offers for training: a few presets, and a form for what artists change."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

_LIGHT, _OCCLUSION = "light.mode", "material.occlusion"
_NUMBERS = {
    COARSE: "train.coarse_iterations",
    FINE: "train.fine_iterations",
    PICTURES: "train.resolution",
    TEXTURES: "textures.resolution",
}


@dataclass(frozen=True)
class Preset:
    """config: settings file in recon/configs; None for the defaults. keep_mesh: the original mesh and UVs.

    large: whether it is made for an NVIDIA GPU.
    """

    label: str
    config: str | None
    keep_mesh: bool
    large: bool


_SMALL, _LARGE = "Small, for any computer", "Full size, for an NVIDIA GPU"
_NEW, _KEPT = "new mesh and textures", "textures on the original mesh and UVs"
PRESETS = (
    Preset(f"{_SMALL}: {_NEW}", "cpu.yaml", keep_mesh=False, large=False),
    Preset(f"{_SMALL}: {_KEPT}", "cpu.yaml", keep_mesh=True, large=False),
    Preset(f"{_LARGE}: {_NEW}", None, keep_mesh=False, large=True),
    Preset(f"{_LARGE}: {_KEPT}", None, keep_mesh=True, large=True),
)


def likely_preset(gpu: str) -> int:
    """Index of the preset that fits a machine: `gpu` is its graphics card's name, "" if it has none."""
    return next(index for index, preset in enumerate(PRESETS) if preset.large == bool(gpu))


def training_fields(preset: Preset, values: Mapping[str, Any], *, light_is_known: bool) -> dict[str, str]:
    """The form as it is first shown: labels and their contents. values: the preset's settings by their keys.

    A kept mesh has no coarse stage.
    """
    numbers = {label: values[key] for label, key in _NUMBERS.items()}
    fields = {label: FULL if number is None else str(number) for label, number in numbers.items()}
    if preset.keep_mesh:
        del fields[COARSE]
    return {
        **fields,
        LIGHT: values[_LIGHT] if light_is_known else "learnt",
        OCCLUSION: "yes" if values[_OCCLUSION] else "no",
        MORE: "",
    }


def settings_from_fields(
    fields: Mapping[str, str], preset: Preset, values: Mapping[str, Any], folder: JobFolder
) -> list[str]:
    """What differs from the preset's settings `values`, as `KEY=VALUE`, for the dataset of `folder`.

    Raises:
        UserError: there is no dataset, or not what is needed of it, or a field is not what it should be.
    """
    settings = [f"geometry.mesh={_original_mesh(folder.dataset)}"] if preset.keep_mesh else []
    for label, key in _NUMBERS.items():
        if label in fields:
            whole = label == PICTURES and fields[label] == FULL
            number = None if whole else positive_integer(fields, label)
            if number != values[key]:
                settings.append(f"{key}={'null' if number is None else number}")
    light = one_of(fields, LIGHT, ("known", "learnt"))
    if light != values[_LIGHT]:
        settings.append(f"{_LIGHT}={light}")
    occlusion = one_of(fields, OCCLUSION, ("yes", "no")) == "yes"
    if occlusion != values[_OCCLUSION]:
        settings.append(f"{_OCCLUSION}={str(occlusion).lower()}")
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
