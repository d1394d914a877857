"""Configs: what is accepted, what is refused and how it is told."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml

import recon
from recon.config import Config, differences, load_config, with_values
from usd_tools.errors import UserError

DEFAULT = Path(recon.__file__).parent / "configs" / "default.yaml"


def write(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(*overrides: str, path: Path | None = None) -> str:
    with pytest.raises(UserError) as caught:
        load_config(path, overrides)
    return str(caught.value)


def test_default_yaml_documents_every_key_with_its_default():
    assert load_config(DEFAULT) == Config()
    written = yaml.safe_load(DEFAULT.read_text(encoding="utf-8"))

    def keys(mapping: dict, prefix: str = "") -> list[str]:
        out = []
        for name, value in mapping.items():
            out += keys(value, f"{prefix}{name}.") if isinstance(value, dict) else [prefix + name]
        return out

    assert keys(written) == list(Config().flat())
    assert "python -m recon.train --config" in DEFAULT.read_text(encoding="utf-8").split("seed:")[0]


def test_every_shipped_config_loads():
    for path in DEFAULT.parent.glob("*.yaml"):
        load_config(path)


def test_overrides_win_over_the_file_and_the_last_one_wins(tmp_path):
    path = write(tmp_path, "train: {batch: 2, coarse_iterations: 7}\nmaterial:\n  a:\n    hash_levels: 4\n")
    config = load_config(path, ["train.batch=3", "train.batch=5", "material.b={mlp_width: 64}"])
    assert config.train.batch == 5
    assert config.train.coarse_iterations == 7
    assert config.material.a.hash_levels == 4
    assert config.material.b.mlp_width == 64
    assert config.train.fine_iterations == Config().train.fine_iterations


def test_round_trip_through_yaml(tmp_path):
    config = load_config(
        None,
        [
            "train.learning_rate_fine=1e-5",
            "train.resolution=128",
            "geometry.mesh=stage.usda:/World/cow",
            "loss.a=[mse, smape]",
            "light.mode=learnt",
            "geometry.sdf_regularizer=[1, 0]",
            "data.path=vägen/ 2024",
        ],
    )
    again = load_config(write(tmp_path, config.to_yaml()))
    assert again == config
    assert differences(config, again) == []
    assert set(differences(Config(), config)) >= {"train.resolution: None -> 128"}


def test_numbers():
    config = load_config(None, ["train.learning_rate_fine=1e-3", "light.initial=1"])
    assert config.train.learning_rate_fine == 1e-3
    assert config.light.initial == 1.0 and isinstance(config.light.initial, float)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("train.batch=true", "train.batch: expected an integer at least 1, got True"),
        ("train.batch=1.5", "expected an integer"),
        ("train.batch=0", "at least 1, got 0"),
        ("train.samples=2", "one of 1, 4"),
        ("train.learning_rate_fine=0", "above 0"),
        ("train.learning_rate_fine=.nan", "expected a number"),
        ("train.learning_rate_fine=.inf", "expected a number"),
        ("train.learning_rate_fine=fast", "expected a number"),
        ("train.learning_rate_fine=true", "expected a number"),
        ("train.batch=null", "expected an integer"),
        ("material.occlusion=1", "expected true or false"),
        ("material.model=Split", "one of split, joint"),
        ("loss.a=[mse]", "a list of 2 values"),
        ("loss.a=mse", "a list of 2 values"),
        ("loss.a_weights=[1, -1]", "at least 0"),
        ("loss.a_weights=[0, 0]", "a weight above 0"),
        ("train=4", "expected a section of keys"),
        ("train.batch", "expected KEY=VALUE"),
        ("train.batch=[", "expected valid YAML"),
        ("material.hash_finest=8", "material.hash_finest: expected at least material.hash_base (16)"),
        ("material.hash_finest=1", "an integer at least 2 or null, got 1"),
        ("material={hash_finest: 512, a: {hash_base: 1024}}", "material.a.hash_finest"),
        ("material.initial_roughness=0.01", "material.roughness_min"),
        ("bacth=3", "did you mean 'train.batch'"),
        ("grid=3", "did you mean 'geometry.grid'"),
        ("material.a.hash_levls=3", "did you mean 'material.a.hash_levels'"),
        ("trian={batch: 4}", "did you mean 'train'"),
    ],
)
def test_refusals(override, told):
    assert told in refusal(override)


def test_all_problems_are_told_at_once_with_their_source(tmp_path):
    path = write(tmp_path, "train: {batch: 0, bach: 3}\nseed: -1\n")
    message = refusal("light.mode=off", path=path)
    for told in ("train.batch", "train.bach", "seed", "--set light.mode"):
        assert told in message
    assert message.count(str(path)) == 3
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("train:\n  batch: 1\n  batch: 2\n", "'batch' is given twice"),
        ("seed: 1\ntrain: {}\nseed: 2\n", "'seed' is given twice"),
        ("- 1\n- 2\n", "expected sections of keys"),
        ("seed: [\n", "expected valid YAML"),
        ("a: !!python/object/apply:os.getcwd []\n", "expected valid YAML"),
        ("a: 2024-13-45\n", "expected valid YAML"),
        ("? [1, 2]\n: 3\n", "expected valid YAML"),
        ("1: 2\n", "unknown key '1'"),
    ],
)
def test_bad_files(tmp_path, text, told):
    assert told in refusal(path=write(tmp_path, text))


def test_missing_and_binary_files(tmp_path):
    assert "no such config file" in refusal(path=tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x81")
    assert "readable YAML" in refusal(path=tmp_path / "binary.yaml")


def test_an_empty_file_or_section_means_the_defaults(tmp_path):
    assert load_config(write(tmp_path, "")) == Config()
    assert load_config(write(tmp_path, "train:\nseed: 3\n")) == dataclasses.replace(Config(), seed=3)


def test_branches_inherit_their_sizes():
    config = load_config(
        None, ["material.hash_levels=6", "material.b.hash_levels=4", "material.b.mlp_width=16"]
    )
    assert config.material.encoder("a") == config.material.encoder(None)
    assert config.material.encoder("a").hash_levels == 6
    assert config.material.encoder("b").hash_levels == 4
    assert config.material.encoder("b").mlp_width == 16


def test_with_values_checks_like_a_file():
    assert with_values(Config(), {"data.path": "x", "loss.a": ("mse", "mse")}).loss.a == ("mse", "mse")
    with pytest.raises(UserError, match=r"train\.batch"):
        with_values(Config(), {"train.batch": 0})


def test_a_path_is_taken_as_typed():
    for text in ("1.0", "true", "a: b", "[x]", "*.exr", "C:\\x"):
        assert load_config(None, [f"light.probe={text}"]).light.probe == text
    assert load_config(None, ["light.probe=null"]).light.probe is None


def test_loss_names_are_those_of_the_losses():
    from recon import losses
    from recon.config import COLOR_LOSSES

    assert set(COLOR_LOSSES) == set(losses.COLOR_LOSSES)
