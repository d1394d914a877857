"""What Train offers and what it makes of the answers, held to the settings that recon.train reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from texture_recovery import ROOT
from texture_recovery.pipeline_commands import JobFolder
from texture_recovery.training_presets import (
    COARSE,
    FINE,
    LIGHT,
    MORE,
    OCCLUSION,
    PICTURES,
    PRESETS,
    TEXTURES,
    Preset,
    knows_light,
    likely_preset,
    settings_from_fields,
    training_fields,
)

from recon.config import Config, load_config
from usd_tools.errors import UserError


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    """With a dataset that has true textures and light."""
    return make_folder(tmp_path, truth=True)


def make_folder(path: Path, *, truth: bool) -> JobFolder:
    folder = JobFolder(path)
    folder.dataset.mkdir(parents=True)
    probe = "ground_truth/probe.exr" if truth else None
    (folder.dataset / "dataset.json").write_text(json.dumps({"light_probe": probe}))
    if truth:
        (folder.dataset / "ground_truth").mkdir()
        (folder.dataset / "ground_truth" / "mesh.obj").touch()
    return folder


def file_of(preset: Preset) -> Path | None:
    return None if preset.config is None else ROOT / "recon" / "configs" / preset.config


def config_of(preset: Preset, folder: JobFolder, **changes: str) -> Config:
    usual = load_config(file_of(preset), []).flat()
    fields = training_fields(preset, usual, light_is_known=knows_light(folder.dataset)) | changes
    return load_config(file_of(preset), settings_from_fields(fields, preset, usual, folder))


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.label)
def test_what_is_left_alone_is_as_in_the_settings_file(folder: JobFolder, preset: Any) -> None:
    mesh = str(folder.dataset / "ground_truth" / "mesh.obj")
    usual = load_config(file_of(preset), [f"geometry.mesh={mesh}"] if preset.keep_mesh else [])
    assert config_of(preset, folder) == usual


def test_forms_show_what_the_files_say(folder: JobFolder) -> None:
    small, kept, large = PRESETS[0], PRESETS[1], PRESETS[2]
    values = load_config(file_of(small), ["train.fine_iterations=7", "train.resolution=96"]).flat()
    fields = training_fields(small, values, light_is_known=True)
    assert (fields[FINE], fields[PICTURES], fields[LIGHT], fields[OCCLUSION]) == ("7", "96", "known", "no")
    assert COARSE in fields and COARSE not in training_fields(kept, values, light_is_known=True)
    fields = training_fields(large, load_config(None, []).flat(), light_is_known=False)
    assert (fields[PICTURES], fields[LIGHT]) == ("full", "learnt")


def test_every_field_has_its_effect(folder: JobFolder) -> None:
    changes = {
        COARSE: "70",
        FINE: "60",
        PICTURES: "256",
        TEXTURES: "2048",
        LIGHT: "learnt",
        OCCLUSION: "yes",
        MORE: "train.batch=3  material.model=joint textures.resolution=64",
    }
    config = config_of(PRESETS[0], folder, **changes)
    assert (config.train.coarse_iterations, config.train.fine_iterations) == (70, 60)
    assert config.train.resolution == 256
    assert (config.light.mode, config.material.occlusion) == ("learnt", True)
    assert (config.train.batch, config.material.model) == (3, "joint")
    assert config.textures.resolution == 64, "more settings have the last word"
    assert config_of(PRESETS[0], folder, **{PICTURES: "full"}).train.resolution is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({FINE: "0"}, r"Fine iterations .* 0: expected a whole number above 0"),
        ({COARSE: "many"}, "expected a whole number above 0"),
        ({TEXTURES: "1k"}, "Texture resolution 1k: expected a whole number"),
        ({PICTURES: "all"}, "all: expected a whole number"),
        ({LIGHT: "unknown"}, "expected known, learnt"),
        ({OCCLUSION: ""}, "expected yes, no"),
        ({MORE: "train.batch 4"}, "More settings train.batch: expected KEY=VALUE"),
        ({MORE: "train.batch = 4"}, "expected KEY=VALUE"),
    ],
)
def test_fields_are_checked(folder: JobFolder, changes: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        config_of(PRESETS[0], folder, **changes)


def test_datasets_without_truth(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "dark", truth=False)
    assert config_of(PRESETS[0], folder).light.mode == "learnt"
    with pytest.raises(UserError, match="without true textures; choose a new mesh"):
        config_of(PRESETS[1], folder)
    with pytest.raises(UserError, match="click Export Dataset first"):
        knows_light(tmp_path / "other")
    (folder.dataset / "dataset.json").write_text("{}")
    with pytest.raises(UserError, match="export the dataset again"):
        knows_light(folder.dataset)


def test_likely_preset_fits_the_machine() -> None:
    assert PRESETS[likely_preset("NVIDIA H200")].large
    assert not PRESETS[likely_preset("")].large
