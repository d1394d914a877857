"""Sweep files: the runs that follow, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from recon.sweep.plan import Sweep, load_sweep, slug
from usd_tools.errors import UserError

SHIPPED = sorted((Path(__file__).resolve().parents[3] / "recon/configs/sweeps").glob("*.yaml"))


def sweep(tmp_path: Path, text: str, *extra: str) -> Sweep:
    path = tmp_path / "sweep.yaml"
    path.write_text(text, encoding="utf-8")
    return load_sweep(path, extra)


def test_scenes_variants_grid_and_seeds_multiply(tmp_path):
    found = sweep(
        tmp_path,
        """
        name: Everything at once
        scenes: {cow: data/cow, ball: }
        seeds: [0, 7]
        overrides: {train.batch: 2}
        variants:
          split: {}
          joint: {material.model: joint}
        grid:
          material.hash_levels: [2, 4]
          loss.a: [[log_l1, mse]]
        """,
    )
    assert found.datasets == {"cow": tmp_path / "data/cow", "ball": None}
    assert len(found.runs) == 2 * 2 * 2 * 2
    assert len({run.name for run in found.runs}) == 16
    assert found.variants[0] == "split, hash_levels=2, a=log_l1+mse"
    assert found.runs[0].name == "cow/split-hash_levels=2-a=log_l1+mse/seed_0"
    run = found.runs[-1]
    assert (run.scene, run.variant, run.seed) == ("ball", "joint, hash_levels=4, a=log_l1+mse", 7)
    config = found.config_of(run, Path("dataset"))
    assert (config.seed, config.train.batch, config.material.model) == (7, 2, "joint")
    assert (config.material.hash_levels, config.loss.a) == (4, ("log_l1", "mse"))


def test_nothing_but_a_scene_is_one_run_of_the_defaults(tmp_path):
    found = sweep(tmp_path, "scenes: {cow: }")
    assert [run.name for run in found.runs] == ["cow/default/seed_0"]
    assert found.name == "sweep"
    assert not found.relight


def test_variants_go_before_the_command_line_and_that_before_the_file(tmp_path):
    text = """
        scenes: {cow: }
        config: own.yaml
        overrides: {train.batch: 2, train.samples: 4}
        variants: {small: {train.coarse_iterations: 5}}
    """
    (tmp_path / "own.yaml").write_text("train: {batch: 3, fine_iterations: 9}", encoding="utf-8")
    found = sweep(tmp_path, text, "train.batch=6", "train.coarse_iterations=50")
    config = found.config_of(found.runs[0], Path("dataset"))
    assert (config.train.batch, config.train.samples) == (6, 4)
    assert (config.train.coarse_iterations, config.train.fine_iterations) == (5, 9)


def test_the_datasets_folder_is_put_in_when_it_is_known(tmp_path):
    found = sweep(tmp_path, 'scenes: {cow: }\noverrides: {geometry.mesh: "{dataset}/ground_truth/mesh.obj"}')
    run = found.runs[0]
    assert "{dataset}" in run.overrides["geometry.mesh"], "results must not tell of folders"
    assert "geometry.mesh=/data/cow/ground_truth/mesh.obj" in run.settings(Path("/data/cow"))


def test_values_keep_their_kind(tmp_path):
    found = sweep(
        tmp_path,
        "scenes: {c: }\noverrides: {material.occlusion: true, train.resolution: null, light.initial: 1.0e-3}",
    )
    config = found.config_of(found.runs[0], Path("dataset"))
    assert config.material.occlusion is True
    assert config.train.resolution is None
    assert config.light.initial == pytest.approx(1e-3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seeds: [0]", "scenes: expected names"),
        ("scenes: [cow]", "scenes: expected names"),
        ("scenes: {cow: }\nseed: [0]", "unknown key 'seed'"),
        ("scenes: {cow: }\nseeds: [0, 0]", "seeds: expected a list of different"),
        ("scenes: {cow: }\nseeds: 3", "seeds: expected a list"),
        ("scenes: {cow: }\nseeds: [true]", "seeds: expected a list"),
        ("scenes: {cow: }\noverrides: [a]", "overrides: expected settings"),
        ("scenes: {cow: }\nvariants: {}", "variants: expected names"),
        ("scenes: {cow: }\ngrid: {train.batch: 4}", "grid: expected keys with lists"),
        ("scenes: {cow: }\nrelight: maybe", "relight: expected true or false"),
        ("scenes: {cow: }\nname: '...'", "name: expected text with letters"),
        ("scenes: {cow: }\nconfig: [a]", "config: expected the path"),
        ("scenes: {cow: }\nconfig: gone.yaml", "gone.yaml: no such config file"),
        ("scenes: {cow: }\nvariants: {x: {train.bach: 2}}", "x: .*unknown key 'train.bach'.*train.batch"),
        (
            "scenes: {cow: }\ngrid: {material.model: [split, spilt]}",
            "model=spilt: .*expected one of split, joint",
        ),
        ("scenes: {cow: }\nvariants: {a b: {}, a-b: {}}", "'a b' and 'a-b' would share a folder"),
        ("scenes: {Cow: , cow: }", "'Cow' and 'cow' would share a folder"),
        ("scenes: {cow: }\ntargets: [1]", "targets: expected {SCENE"),
        ("scenes: {cow: }\ntargets: {cow: 3}", "targets: expected {SCENE"),
        ("scenes: {cow: }\ntargets: {dog: {default: {coverage: 1}}}", "dog: default: no such scene"),
        ("scenes: {cow: }\ntargets: {cow: {best: {coverage: 1}}}", "cow: best: no such variant.*default"),
        ("scenes: {cow: }\ntargets: {cow: {default: {rough: 1}}}", "rough: expected one of roughness_mae"),
        ("scenes: {cow: }\ntargets: {cow: {default: {coverage: yes}}}", "coverage: expected a number"),
        ("- a", "expected sections of keys"),
    ],
)
def test_mistakes_are_told(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        sweep(tmp_path, text)


def test_bad_command_line_settings_are_told(tmp_path):
    with pytest.raises(UserError, match=r"--set train\.batch: expected KEY=VALUE"):
        sweep(tmp_path, "scenes: {cow: }", "train.batch")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_sweeps_that_come_with_the_project(path):
    found = load_sweep(path)
    assert found.name == path.stem
    assert list(found.datasets) == ["cow", "bishop", "ball"]
    assert len(found.variants) > 1
    header = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    assert any(f"python -m recon.sweep recon/configs/sweeps/{path.name}" in line for line in header)


def test_targets_are_kept_by_scene_and_variant(tmp_path):
    found = sweep(tmp_path, "scenes: {cow: }\ntargets: {cow: {default: {coverage: 1, normal_deg: 2.5}}}")
    assert found.targets == {("cow", "default"): {"coverage": 1, "normal_deg": 2.5}}


def test_studies_are_complete():
    sweeps = {path.stem: load_sweep(path) for path in SHIPPED}
    assert len(set(sweeps["losses_a"].variants)) == len(set(sweeps["losses_b"].variants)) == 5 * 5
    settings = {
        (run.overrides["light.mode"], run.overrides["material.model"]) for run in sweeps["acceptance"].runs
    }
    assert len(settings) == 4
    assert {run.seed for run in sweeps["acceptance"].runs} == {0, 1, 2}
    levels = {run.overrides["material.hash_levels"] for run in sweeps["hash_levels"].runs}
    assert levels == {"2", "4", "8", "16"}
    assert {run.overrides["data.kind"] for run in sweeps["joint_vs_split"].runs} == {"views", "mesh"}


def test_slugs_are_fit_for_files():
    assert slug(" a/b: (c) ") == "a-b-c"
    assert slug("../..") == ""
