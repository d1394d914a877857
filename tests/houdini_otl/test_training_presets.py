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


def config_of(preset: Preset, folder: JobFolder, **changes: str) -> Config:
    fields = training_fields(preset, light_is_known=knows_light(folder.dataset)) | changes
    settings = settings_from_fields(fields, preset, folder)
    return load_config(ROOT / "recon" / "configs" / preset.config if preset.config else None, settings)


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.label)
def test_form_shows_what_the_presets_settings_say(folder: JobFolder, preset: Any) -> None:
    config = config_of(preset, folder)
    assert config.train.coarse_iterations == preset.coarse_iterations
    assert config.train.fine_iterations == preset.fine_iterations
    assert config.train.resolution == preset.picture_size
    assert config.textures.resolution == preset.texture_size
    assert (config.light.mode, config.material.occlusion) == ("known", False)
    mesh = str(folder.dataset / "ground_truth" / "mesh.obj")
    assert config.geometry.mesh == (mesh if preset.keep_mesh else None)
    assert (COARSE in training_fields(preset, light_is_known=True)) != preset.keep_mesh


def test_what_is_left_alone_is_not_set(folder: JobFolder) -> None:
    """A run's config then follows its file, whatever that will say."""
    fields = training_fields(PRESETS[0], light_is_known=True)
    assert settings_from_fields(fields, PRESETS[0], folder) == []


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
