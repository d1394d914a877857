"""Training settings: typed, nested, frozen dataclasses, read from YAML and `--set KEY=VALUE`.

Every setting has one home: its field below carries the default and the limits; `configs/default.yaml`
explains it. Everything wrong with a file and its overrides is reported at once. The components of `recon`
take plain parameters; only the recipe in `recon.train` sees a `Config`.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from usd_tools.errors import UserError

COLOR_LOSSES = ("log_l1", "smape", "mse", "rel_mse", "l1")  # as in recon.losses
BRANCHES = ("A+B", "A", "B")


def _field(
    default: Any,
    *,
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    choices: tuple[Any, ...] | None = None,
) -> Any:
    """A field with limits: `minimum` and `maximum` are allowed values, `above` is not."""
    limits = {"minimum": minimum, "above": above, "maximum": maximum, "choices": choices}
    return dataclasses.field(default=default, metadata=limits)


@dataclass(frozen=True)
class DataConfig:
    path: str | None = None
    kind: str = _field("views", choices=("views", "mesh"))


@dataclass(frozen=True)
class TrainConfig:
    coarse_iterations: int = _field(1000, minimum=0)
    fine_iterations: int = _field(1000, minimum=0)
    fine_pixels: int = _field(196608, minimum=0)
    batch: int = _field(8, minimum=1)
    coarse_growth: tuple[float, float] = _field((0.4, 0.7), minimum=0.0, maximum=1.0)
    fine_growth: tuple[float, float] = _field((0.15, 0.3), minimum=0.0, maximum=1.0)
    resolution: int | None = _field(None, minimum=8, maximum=16384)
    samples: int = _field(1, choices=(1, 4))
    learning_rate_coarse: float = _field(0.03, above=0.0)
    learning_rate_fine: float = _field(0.003, above=0.0)
    learning_rate_field: float = _field(0.01, above=0.0)
    b_rise: float = _field(0.0, minimum=0.0, maximum=1.0)
    final_rate: float = _field(0.03, above=0.0, maximum=1.0)
    log_every: int = _field(50, minimum=1)
    image_every: int = _field(250, minimum=0)
    checkpoint_every: int = _field(500, minimum=0)
    validate_views: int | None = _field(None, minimum=0)


@dataclass(frozen=True)
class GeometryConfig:
    grid: int = _field(64, minimum=4, maximum=512)
    half_extent: float = _field(1.0, above=0.0)
    fit: bool = True
    mesh: str | None = None
    init: str = _field("hull", choices=("hull", "random", "sphere"))
    learning_rate_scale: float = _field(0.05, minimum=0.0)
    sdf_regularizer: tuple[float, float] = _field((0.2, 0.01), minimum=0.0)
    denoise: int = _field(10, minimum=0)
    diffusion: int = _field(16, minimum=0)
    normal_smoothness: float = _field(0.01, minimum=0.0)


@dataclass(frozen=True)
class EncoderSettings:
    """Size of one branch's hash grid and MLP, after inheritance."""

    hash_levels: int
    hash_features: int
    hash_table_log2: int
    hash_base: int
    hash_finest: int | None
    mlp_width: int
    mlp_layers: int


@dataclass(frozen=True)
class BranchConfig:
    """What one branch has of its own; null takes the value from `material`."""

    hash_levels: int | None = _field(None, minimum=1, maximum=32)
    hash_features: int | None = _field(None, choices=(1, 2, 4, 8))
    hash_table_log2: int | None = _field(None, minimum=4, maximum=24)
    hash_base: int | None = _field(None, minimum=2)
    hash_finest: int | None = _field(None, minimum=2)
    mlp_width: int | None = _field(None, minimum=1)
    mlp_layers: int | None = _field(None, minimum=1)
    learning_rate_scale: float = _field(1.0, minimum=0.0)


@dataclass(frozen=True)
class MaterialConfig:
    model: str = _field("split", choices=("split", "joint"))
    searches: int = _field(2, minimum=0, maximum=3)
    hash_levels: int = _field(16, minimum=1, maximum=32)
    hash_features: int = _field(2, choices=(1, 2, 4, 8))
    hash_table_log2: int = _field(19, minimum=4, maximum=24)
    hash_base: int = _field(16, minimum=2)
    hash_finest: int | None = _field(None, minimum=2)
    mlp_width: int = _field(32, minimum=1)
    mlp_layers: int = _field(2, minimum=1)
    mixed_precision: bool = False
    occlusion: bool = False
    normal: bool = True
    roughness_min: float = _field(0.03, minimum=0.0, maximum=1.0)
    initial_roughness: float | None = _field(None, minimum=0.0, maximum=1.0)
    initial_metallic: float = _field(0.1, minimum=0.0, maximum=1.0)
    a: BranchConfig = dataclasses.field(default_factory=BranchConfig)
    b: BranchConfig = dataclasses.field(default_factory=BranchConfig)

    def encoder(self, branch: str | None = None) -> EncoderSettings:
        """Sizes of branch "a" or "b", or of the joint model (None)."""
        own = {"a": self.a, "b": self.b}[branch] if branch is not None else None
        sizes = {}
        for field in dataclasses.fields(EncoderSettings):
            override = getattr(own, field.name, None)
            sizes[field.name] = getattr(self, field.name) if override is None else override
        return EncoderSettings(**sizes)


@dataclass(frozen=True)
class LossConfig:
    a: tuple[str, str] = _field(("log_l1", "smape"), choices=COLOR_LOSSES)
    a_weights: tuple[float, float] = _field((0.35, 0.15), minimum=0.0)
    b: tuple[str, str] = _field(("rel_mse", "mse"), choices=COLOR_LOSSES)
    b_weights: tuple[float, float] = _field((0.7, 0.3), minimum=0.0)
    b_refine: tuple[str, str] | None = _field(("log_l1", "rel_mse"), choices=COLOR_LOSSES)
    mask_weight: float = _field(0.5, minimum=0.0)
    joint: str = _field("rel_mse", choices=COLOR_LOSSES)
    routing: str = _field("strict", choices=("strict", "summed"))
    free_light: float = _field(3.0, minimum=0.0)
    certain_bend: float = _field(0.1, minimum=0.0)
    geometry: str = _field("A", choices=BRANCHES)
    normal: str = _field("A+B", choices=BRANCHES)
    light: str = _field("A+B", choices=BRANCHES)


@dataclass(frozen=True)
class LightConfig:
    mode: str = _field("known", choices=("known", "learnt"))
    model: str = _field("traced", choices=("traced", "split_sum"))
    probe: str | None = None
    resolution: int | None = _field(None, choices=(16, 32, 64, 128, 256, 512, 1024))
    initial: float = _field(0.5, above=0.0)
    learning_rate: float = _field(0.1, above=0.0)


@dataclass(frozen=True)
class TexturesConfig:
    resolution: int = _field(1024, minimum=16, maximum=16384)
    learnt: bool = False


@dataclass(frozen=True)
class RegularizerConfig:
    albedo_smoothness: float = _field(0.03, minimum=0.0)
    roughness_smoothness: float = _field(0.02, minimum=0.0)
    metallic_smoothness: float = _field(0.05, minimum=0.0)
    dark_metal: float = _field(0.01, minimum=0.0)
    normal_offset: float = _field(1.0, minimum=0.0)
    smoothness_ramp: int = _field(500, minimum=0)
    jitter: float = _field(0.01, above=0.0)
    subset: float = _field(0.25, above=0.0, maximum=1.0)
    light_grey: float = _field(0.0005, minimum=0.0)


@dataclass(frozen=True)
class Config:
    """All settings of a run. What each means stands in `configs/default.yaml`."""

    seed: int = _field(0, minimum=0, maximum=2**32 - 1)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    geometry: GeometryConfig = dataclasses.field(default_factory=GeometryConfig)
    material: MaterialConfig = dataclasses.field(default_factory=MaterialConfig)
    loss: LossConfig = dataclasses.field(default_factory=LossConfig)
    light: LightConfig = dataclasses.field(default_factory=LightConfig)
    textures: TexturesConfig = dataclasses.field(default_factory=TexturesConfig)
    regularizer: RegularizerConfig = dataclasses.field(default_factory=RegularizerConfig)

    def to_yaml(self) -> str:
        """Every key with its value; `load_config` reads it back to an equal `Config`."""
        return yaml.safe_dump(_plain(dataclasses.asdict(self)), sort_keys=False, allow_unicode=True)

    def flat(self) -> dict[str, Any]:
        """{dotted key: value}, in the order of the fields."""
        return {key: _value_at(self, key) for key in _LEAVES}


def load_config(path: Path | str | None = None, overrides: Sequence[str] = ()) -> Config:
    """The defaults, changed by the YAML file `path`, then by `overrides` ("KEY=VALUE" with dotted keys).

    Raises `UserError` with all problems in one line: unknown keys (with the nearest valid one), wrong types,
    impossible values, duplicate keys.
    """
    problems: list[str] = []
    values: dict[str, Any] = {}
    if path is not None:
        _collect(read_yaml(Path(path)), "", f"{path}: ", values, problems)
    for override in overrides:
        _collect_override(override, values, problems)
    config = _build(Config, "", values)
    if not problems:
        problems = _contradictions(config)
    if problems:
        raise UserError("; ".join(problems))
    return config


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """`config` with the dotted keys of `values` replaced, checked like a file's."""
    problems: list[str] = []
    merged = config.flat()
    for key, value in values.items():
        _collect_leaf(key, _plain(value), "", merged, problems)
    changed = _build(Config, "", merged)
    problems = problems or _contradictions(changed)
    if problems:
        raise UserError("; ".join(problems))
    return changed


def differences(old: Config, new: Config) -> list[str]:
    """One "key: old -> new" for each setting that differs."""
    before, after = old.flat(), new.flat()
    return [f"{key}: {before[key]} -> {after[key]}" for key in before if before[key] != after[key]]


class _UniqueKeyLoader(yaml.SafeLoader):
    """The safe loader, except that a key given twice is an error instead of a silent overwrite."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = (key_node.tag, str(key_node.value))
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key '{key_node.value}' is given twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def _parse_yaml(text: str, source: str) -> Any:
    try:
        # A subclass of SafeLoader: it makes plain values only.
        return yaml.load(text, Loader=_UniqueKeyLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{source}: expected valid YAML: {' '.join(str(error).split())}") from error


def read_yaml(path: Path) -> Mapping[Any, Any]:
    """What a YAML file maps, {} where it is empty. UserError for anything else, and for duplicate keys."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such config file; give an existing YAML file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: expected a readable YAML text file ({error})") from error
    content = _parse_yaml(text, str(path))
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected sections of keys, such as `train: {{batch: 4}}`, got {content!r}")
    return content


def _collect(
    mapping: Mapping[Any, Any], prefix: str, source: str, values: dict[str, Any], problems: list[str]
) -> None:
    """Checks `mapping` key by key; good ones land in `values` under their dotted name."""
    for name, value in mapping.items():
        key = f"{prefix}{name}"
        if key in _SECTIONS:
            if isinstance(value, dict):
                _collect(value, key + ".", source, values, problems)
            elif value is not None:  # an empty section is written `train:`
                problems.append(f"{source}{key}: expected a section of keys, got {value!r}")
        else:
            _collect_leaf(key, value, source, values, problems)


def _collect_leaf(key: str, value: Any, source: str, values: dict[str, Any], problems: list[str]) -> None:
    if key not in _LEAVES:
        problems.append(f"{source}unknown key '{key}'{_suggestion(key)}")
        return
    kind, limits = _LEAVES[key]
    try:
        values[key] = _convert(value, kind, limits)
    except _WrongValueError as error:
        problems.append(f"{source}{key}: expected {error}, got {value!r}")


def _collect_override(override: str, values: dict[str, Any], problems: list[str]) -> None:
    key, equals, text = override.partition("=")
    key = key.strip()
    if not equals or not key:
        problems.append(f"--set {override}: expected KEY=VALUE")
        return
    value = text.strip()
    if key not in _LEAVES or str not in _alternatives(_LEAVES[key][0]):
        try:
            value = _parse_yaml(text, f"--set {key}")
        except UserError as error:
            problems.append(str(error))
            return
    elif value in ("null", "~", ""):  # a path or a name is taken as typed, whatever YAML would make of it
        value = None  # type: ignore[assignment]
    _collect(({key: value}), "", "--set ", values, problems)


class _WrongValueError(Exception):
    """What was expected."""


def _alternatives(kind: Any) -> tuple[Any, ...]:
    """The members of a union (`int | None`), or the type itself."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return typing.get_args(kind)
    return (kind,)


def _convert(value: Any, kind: Any, limits: Mapping[str, Any]) -> Any:
    alternatives = _alternatives(kind)
    nullable = type(None) in alternatives
    if value is None and nullable:
        return None
    kind = alternatives[0]
    if typing.get_origin(kind) is tuple:
        members = typing.get_args(kind)
        expected = f"a list of {len(members)} values, each {_describe(members[0], limits, False)}"
        if not isinstance(value, (list, tuple)) or len(value) != len(members):
            raise _WrongValueError(expected)
        try:
            return tuple(_convert(item, member, limits) for item, member in zip(value, members))
        except _WrongValueError as error:
            raise _WrongValueError(expected) from error
    converted = _cast(value, kind)
    if converted is None or not _within(converted, limits):
        raise _WrongValueError(_describe(kind, limits, nullable))
    return converted


def _cast(value: Any, kind: type) -> Any:
    """`value` as `kind`, or None where it is of another type."""
    if kind is float:
        if isinstance(value, str):  # YAML 1.1 reads 1e-3 (no dot) as text
            try:
                value = float(value)
            except ValueError:
                return None
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return float(value) if is_number and math.isfinite(value) else None
    if kind is int and isinstance(value, bool):
        return None
    return value if isinstance(value, kind) else None


def _within(value: Any, limits: Mapping[str, Any]) -> bool:
    if limits.get("choices") is not None and value not in limits["choices"]:
        return False
    if limits.get("minimum") is not None and value < limits["minimum"]:
        return False
    if limits.get("above") is not None and value <= limits["above"]:
        return False
    return limits.get("maximum") is None or value <= limits["maximum"]


def _describe(kind: type, limits: Mapping[str, Any], nullable: bool) -> str:
    if limits.get("choices") is not None:
        text = "one of " + ", ".join(str(choice) for choice in limits["choices"])
    else:
        text = {bool: "true or false", int: "an integer", float: "a number", str: "text"}[kind]
        bounds = [
            f"{word} {limits[name]:g}" if isinstance(limits[name], float) else f"{word} {limits[name]}"
            for name, word in (("minimum", "at least"), ("above", "above"), ("maximum", "at most"))
            if limits.get(name) is not None
        ]
        text = " ".join([text, " and ".join(bounds)]).strip()
    return text + " or null" if nullable else text


def _suggestion(key: str) -> str:
    known = [*_LEAVES, *_SECTIONS]
    same_name = [candidate for candidate in known if candidate.rpartition(".")[2] == key.rpartition(".")[2]]
    nearest = difflib.get_close_matches(key, same_name, n=1, cutoff=0.0) or difflib.get_close_matches(
        key, known, n=1, cutoff=0.5
    )
    return f" (did you mean '{nearest[0]}'?)" if nearest else ""


def _contradictions(config: Config) -> list[str]:
    """Values that are fine by themselves but not together."""
    problems = []
    material = config.material
    for branch in (None, "a", "b"):
        sizes = material.encoder(branch)
        if sizes.hash_finest is not None and sizes.hash_finest < sizes.hash_base:
            where = "material" if branch is None else f"material.{branch}"
            problems.append(
                f"{where}.hash_finest: expected at least {where}.hash_base ({sizes.hash_base}), "
                f"got {sizes.hash_finest}"
            )
    if material.initial_roughness is not None and material.initial_roughness < material.roughness_min:
        problems.append(
            f"material.initial_roughness: expected at least material.roughness_min "
            f"({material.roughness_min:g}), got {material.initial_roughness:g}"
        )
    for name in ("a_weights", "b_weights"):
        if not any(getattr(config.loss, name)):
            problems.append(f"loss.{name}: expected a weight above 0, got zeros only")
    return problems


def _build(kind: type, prefix: str, values: Mapping[str, Any]) -> Any:
    arguments = {}
    for field in dataclasses.fields(kind):
        key = f"{prefix}{field.name}"
        if key in _SECTIONS:
            arguments[field.name] = _build(_SECTIONS[key], key + ".", values)
        elif key in values:
            arguments[field.name] = values[key]
    return kind(**arguments)


def _value_at(config: Any, key: str) -> Any:
    for name in key.split("."):
        config = getattr(config, name)
    return config


def _plain(value: Any) -> Any:
    """Tuples as lists, so that the safe dumper writes them as plain sequences."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _walk(kind: type, prefix: str = "") -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
    """(dotted key, type, limits) of every section and setting below the dataclass `kind`."""
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        key = f"{prefix}{field.name}"
        yield key, hints[field.name], field.metadata
        if dataclasses.is_dataclass(hints[field.name]):
            yield from _walk(hints[field.name], key + ".")


_SECTIONS: dict[str, Any] = {key: kind for key, kind, _ in _walk(Config) if dataclasses.is_dataclass(kind)}
_LEAVES = {key: (kind, limits) for key, kind, limits in _walk(Config) if key not in _SECTIONS}
