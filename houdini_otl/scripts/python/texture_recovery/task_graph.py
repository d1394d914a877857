"""Many recoveries at once: a TOP network of standard nodes, or the same chain as plain commands.

    assets -> frames -> render -> all_frames -> convert -> settings -> train -> import -> compare -> done

`assets`, `frames` and `settings` are wedges, so one task renders some frames of one asset, one converts an
asset, and one trains an asset with one choice of settings. Every step is a Generic Generator with a command
line, so whatever scheduler the network has runs it: local, HQueue, Deadline, Tractor. The farm needs
the clone, the training Python and the folder at the same paths. Every command may be run again: training
goes on where it was, everything else is done anew.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from texture_recovery.pipeline_commands import (
    Training,
    compare_command,
    convert_command,
    import_command,
    options,
    render_command,
    train_command,
)
from usd_tools.errors import UserError

if TYPE_CHECKING:
    import hou


@dataclass(frozen=True)
class Asset:
    """One object to recover.

    name: of its folder. camera, object_path: prim paths in `stage`; each may be a prim above several cameras,
    or meshes. variants: `SET=CHOICE` of the stage.
    """

    name: str
    stage: str
    camera: str
    object_path: str
    variants: Sequence[str] = ()


@dataclass(frozen=True)
class Variation:
    """One choice of training settings, as `KEY=VALUE`. name: of its folder below the asset's."""

    name: str
    settings: Sequence[str] = ("seed=0",)


@dataclass(frozen=True)
class Batch:
    """All that is to be recovered.

    folder: where each asset gets a folder. first_frame, last_frame: of every asset's turntable.
    frames_per_task: how many frames one render task does. resolution, samples: of the renders; None for the
    stage's. config: settings file of recon/configs, such as `cpu.yaml`, or a full path; None for the
    defaults, which want a GPU. renderer, color_space, test_every, device: as in `pipeline_commands`.
    one_at_a_time: train one after the other, for a single machine whose GPU holds one training run.
    """

    folder: str
    assets: Sequence[Asset]
    variations: Sequence[Variation] = (Variation("default"),)
    first_frame: int = 1
    last_frame: int = 64
    frames_per_task: int = 8
    resolution: tuple[int, int] | None = None
    samples: int | None = None
    renderer: str = "husk"
    color_space: str | None = None
    test_every: int = 8
    config: str | None = None
    device: str = "auto"
    one_at_a_time: bool = False

    def frame_ranges(self) -> list[str]:
        """The frames of each render task, as SPECs."""
        starts = range(self.first_frame, self.last_frame + 1, self.frames_per_task)
        return [f"{start}:{min(start + self.frames_per_task - 1, self.last_frame)}" for start in starts]


def plain_commands(training: Training, batch: Batch) -> list[list[str]]:
    """Every command of `batch` in an order in which they can run one after the other.

    Raises:
        UserError: see `check`.
    """
    check(batch)
    commands = []
    for asset in batch.assets:
        for frames in batch.frame_ranges():
            commands.append(_asset_steps(training, batch, asset, frames)["render"])
        commands.append(_asset_steps(training, batch, asset, "")["convert"])
        for variation in batch.variations:
            commands += _variation_steps(training, batch, asset, variation).values()
    return commands


def shell_script(training: Training, batch: Batch) -> str:
    """`plain_commands` for a POSIX shell, which stops at the first failure."""
    return "\n".join(["set -e", *(shlex.join(command) for command in plain_commands(training, batch)), ""])


def build(network: hou.OpNode, training: Training, batch: Batch) -> hou.OpNode:
    """Fills the TOP network `network` with the graph; returns its last node.

    Raises:
        UserError: see `check`; or a node lacks a parameter, in a version of Houdini that is not known.
    """
    check(batch)
    varied = any(asset.variants for asset in batch.assets)
    asset = Asset("`@asset`", "`@stage`", "`@camera`", "`@object`", ("`@variants`",) if varied else ())
    steps: Mapping[str, list[str]] = {
        **_asset_steps(training, batch, asset, "`@frames`"),
        **_variation_steps(training, batch, asset, Variation("`@variation`", ("`@settings`",))),
    }
    assets = batch.assets
    last = _wedge(
        network,
        None,
        "assets",
        {
            "asset": [asset.name for asset in assets],
            "stage": [asset.stage for asset in assets],
            "camera": [asset.camera for asset in assets],
            "object": [asset.object_path for asset in assets],
            **(
                {"variants": [" ".join(options("--variant", asset.variants)) for asset in assets]}
                if varied
                else {}
            ),
        },
    )
    last = _wedge(network, last, "frames", {"frames": batch.frame_ranges()})
    last = _step(network, last, "render", steps["render"])
    last = _node(network, last, "partitionbyattribute", "all_frames")
    # One task for each distinct value of the text attribute `asset`.
    _set(last, {"mode": 2, "attributes": 1, "name1": "asset", "type1": 2})
    last = _step(network, last, "convert", steps["convert"])
    variations = {
        "variation": [variation.name for variation in batch.variations],
        "settings": [" ".join(variation.settings) for variation in batch.variations],
    }
    last = _wedge(network, last, "settings", variations)
    for name in ("train", "import", "compare"):
        last = _step(network, last, name, steps[name])
        if name == "train" and batch.one_at_a_time:
            _set(last, {"sequential": 1})
    last = _node(network, last, "waitforall", "done")
    network.layoutChildren()
    return last


def check(batch: Batch) -> None:
    """Raises UserError unless `batch` can be written as command lines and folders."""
    if not (batch.assets and batch.variations):
        raise UserError("the batch has no assets or no variations; give at least one of each")
    if not 0 <= batch.first_frame <= batch.last_frame or batch.frames_per_task < 1:
        raise UserError(
            f"frames {batch.first_frame} to {batch.last_frame} by {batch.frames_per_task}: expected "
            "0 <= first <= last and at least 1 per task"
        )
    for kind, names in (
        ("asset", [asset.name for asset in batch.assets]),
        ("variation", [variation.name for variation in batch.variations]),
    ):
        for name in names:
            if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
                raise UserError(f"{kind} {name!r}: expected a name of letters, digits, - and _ (a folder's)")
        if len({name.lower() for name in names}) < len(names):
            raise UserError(f"{kind} names {', '.join(names)}: expected different ones (they name folders)")
    for asset in batch.assets:
        if not all((asset.stage, asset.camera, asset.object_path)):
            raise UserError(f"asset {asset.name}: expected a stage, a camera and an object")
        for variant in asset.variants:
            if not re.fullmatch(r"[^\s=]+=[^\s=]+", variant):
                raise UserError(
                    f"asset {asset.name}: variant {variant!r}: expected SET=CHOICE without spaces"
                )
    for variation in batch.variations:
        if not variation.settings:
            raise UserError(f"variation {variation.name}: has no settings; seed=0 changes nothing")
        for setting in variation.settings:
            if re.search(r"\s", setting):
                raise UserError(f"variation {variation.name}: {setting!r}: expected KEY=VALUE without spaces")
    texts = [batch.folder, batch.config or ""]
    for asset in batch.assets:
        texts += [asset.name, asset.stage, asset.camera, asset.object_path, *asset.variants]
    texts += [setting for variation in batch.variations for setting in variation.settings]
    for text in texts:
        if re.search(r'["`\n]', text):
            raise UserError(f"{text!r}: quotes and line breaks cannot be written into a command line")


def _asset_steps(training: Training, batch: Batch, asset: Asset, frames: str) -> dict[str, list[str]]:
    folder = PurePath(batch.folder) / asset.name
    return {
        "render": render_command(
            training,
            asset.stage,
            folder / "renders",
            renderer=batch.renderer,
            cameras=[asset.camera],
            variants=asset.variants,
            frames=frames,
            resolution=batch.resolution,
            samples=batch.samples,
        ),
        "convert": convert_command(
            training,
            asset.stage,
            folder / "renders",
            folder / "dataset",
            cameras=[asset.camera],
            variants=asset.variants,
            object_path=asset.object_path,
            frames=f"{batch.first_frame}:{batch.last_frame}",
            test_every=batch.test_every,
            color_space=batch.color_space,
        ),
    }


def _variation_steps(
    training: Training, batch: Batch, asset: Asset, variation: Variation
) -> dict[str, list[str]]:
    dataset = PurePath(batch.folder) / asset.name / "dataset"
    folder = PurePath(batch.folder) / asset.name / variation.name
    return {
        "train": train_command(
            training,
            dataset,
            folder / "run",
            config=None if batch.config is None else training.config(batch.config),
            settings=variation.settings,
            device=batch.device,
            resume=True,
        ),
        "import": import_command(
            training,
            folder / "run",
            folder / "recovered.usda",
            stage=asset.stage,
            object_path=asset.object_path,
        ),
        "compare": compare_command(training, folder / "run", dataset, folder / "report"),
    }


def command_line(command: Sequence[str]) -> str:
    """A command as the text of a Generic Generator, for POSIX and Windows alike.

    Double quotes around all that is not plain; `@settings` and `@variants` stay bare, because they are
    several words. The latter bring their option with them: an asset may have none.
    """
    words = []
    for i, word in enumerate(command):
        if command[i + 1 : i + 2] == ["`@variants`"]:
            continue
        word = word.replace("\\", "/")
        plain = word in ("`@settings`", "`@variants`") or re.fullmatch(r"[A-Za-z0-9_./:=,+-]+", word)
        words.append(word if plain else f'"{word}"')
    return " ".join(words)


def _node(network: hou.OpNode, above: hou.OpNode | None, kind: str, name: str) -> hou.OpNode:
    node = network.createNode(kind, name)
    if above is not None:
        node.setInput(0, above)
    return node


def _step(network: hou.OpNode, above: hou.OpNode, name: str, command: Sequence[str]) -> hou.OpNode:
    node = _node(network, above, "genericgenerator", name)
    _set(node, {"pdg_command": command_line(command)})
    return node


def _wedge(
    network: hou.OpNode, above: hou.OpNode | None, name: str, attributes: Mapping[str, Sequence[str]]
) -> hou.OpNode:
    """A Wedge whose n-th item has the n-th text of each attribute."""
    node = _node(network, above, "wedge", name)
    count = len(next(iter(attributes.values())))
    _set(node, {"wedgecount": count, "wedgeattributes": len(attributes)})
    for i, (attribute, values) in enumerate(attributes.items(), start=1):
        _set(node, {f"name{i}": attribute, f"type{i}": 4, f"values{i}": count})  # 4: text
        _set(node, {f"strvalue{i}_{n}": value for n, value in enumerate(values, start=1)})
    return node


def _set(node: hou.OpNode, values: Mapping[str, int | str]) -> None:
    for name, value in values.items():
        parm = node.parm(name)
        if parm is None:
            raise UserError(f"{node.path()}: has no parameter {name}; this version of Houdini is not known")
        parm.set(value)
