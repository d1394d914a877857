"""Views: which picture was taken through which camera on which frame, and which of them are held out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from usd_tools.camera_selection import camera_frames, camera_labels
from usd_tools.errors import UserError
from usd_tools.frames import parse_frames, split_frames
from usd_tools.picture_sequences import find_pictures, match_pictures

CAMERA_TOKEN = "<camera>"
"""Stands for a camera's label (see `camera_labels`) in patterns."""


@dataclass(frozen=True)
class View:
    """One picture. camera: UsdGeom.Camera. label: its name in files. mask: None where alpha is it."""

    camera: Any
    label: str
    frame: float
    picture: Path
    held_out: bool
    mask: Path | None = None


def find_views(
    stage: Any,
    cameras: Sequence[Any],
    images: str,
    frames: str | None = None,
    test_frames: str | None = None,
    test_every: int | None = None,
    masks: str | None = None,
) -> list[View]:
    """The views of `cameras`, by frame and then in the order of the cameras.

    images, masks: see `pictures_of_camera`. frames: a SPEC; None for each camera's own (see
        `camera_frames`), or else those of its pictures. test_frames, test_every: what to hold out, see
        `split_frames`.

    Raises:
        UserError: a SPEC is malformed, no view is left to train on, or frames and pictures do not match.
    """
    named = None if frames is None else parse_frames(frames)
    held_out = [] if test_frames is None else parse_frames(test_frames, "--test-frames")
    labels = camera_labels(stage, cameras)
    found = []
    for camera, label in zip(cameras, labels):
        selected = named if named is not None else camera_frames(stage, camera)
        still = selected[0] if selected else float(stage.GetStartTimeCode())
        where, pictures = pictures_of_camera(
            images, label, len(cameras) > 1, [*(selected or []), *held_out], still
        )
        found.append((selected or sorted(pictures), where, pictures))
    splits = split_frames([selected for selected, _, _ in found], test_frames, test_every)
    views = []
    for camera, label, split, (_, where, pictures) in zip(cameras, labels, splits, found):
        matched = match_pictures(split.frames, pictures, where, complete=named is None)
        masked: list[Path | None] = [None] * len(matched)
        if masks is not None:
            where, found_masks = pictures_of_camera(
                masks, label, len(cameras) > 1, split.frames, split.frames[0], "--masks"
            )
            masked = [*match_pictures(split.frames, found_masks, where, complete=False, option="--masks")]
        views += [
            View(camera, label, frame, picture, frame in split.test, mask)
            for frame, picture, mask in zip(split.frames, matched, masked)
        ]
    return sorted(views, key=lambda view: view.frame)  # stable: cameras stay in their order


def pictures_of_camera(
    images: str,
    label: str,
    several: bool,
    wanted: Iterable[float] = (),
    still: float = 1.0,
    option: str = "--images",
) -> tuple[str, dict[float, Path]]:
    """Folder or pattern of one camera's pictures, and these by frame.

    images: as `find_pictures` takes it, with `<camera>` for the label anywhere in it, or a folder that holds
        one folder per camera. With `<camera>`, a picture may lack a frame number: it is of frame `still`.
    several: whether there are other cameras, so that `images` has to tell them apart.
    wanted: the frames to find; if there are sub-frames among them, names in a folder are read as such.

    Raises:
        UserError: there are none, or they cannot be told apart.
    """
    where = images.replace(CAMERA_TOKEN, label)
    if where == images and (Path(images) / label).is_dir():
        where = str(Path(images) / label)
    elif where == images and several:
        raise UserError(
            f"{option} {images}: there are several cameras; put {CAMERA_TOKEN} into a pattern (it stands for "
            f"{label}, for one) or give a folder with one folder per camera"
        )
    if where != images and Path(where).is_file():
        return where, {still: Path(where)}
    return where, find_pictures(where, option, subframes=any(frame % 1 for frame in wanted))
