"""What Export Dataset is asked to do, read from what the artist wrote."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from texture_recovery.form_fields import one_of, positive_integer
from texture_recovery.pipeline_commands import JobFolder
from texture_recovery.stage_defaults import ExportDefaults
from texture_recovery.turntable import Turntable
from usd_tools.camera_views import CAMERA_TOKEN
from usd_tools.color import COLOR_SPACES
from usd_tools.console import parse_resolution
from usd_tools.errors import UserError
from usd_tools.frames import parse_frames

FOLDER = "Folder"
FRAMES = "Frames (1:64 or 1:64:2)"
RESOLUTION = "Resolution"
SAMPLES = "Samples per pixel"
TEST_EVERY = "Hold out every Nth frame"
COLOR_SPACE = "Color space of the renders"


@dataclass(frozen=True)
class ExportRequest:
    """folder: of the recovery. object_path, cameras: prim paths; no cameras: a new turntable.

    frames: SPEC. resolution: of the renders. samples: per pixel. test_every: every so manieth frame is held
    out. color_space: that the renderer writes. ground_truth: whether to convert the stage's look and light.
    """

    folder: JobFolder
    object_path: str
    cameras: Sequence[str]
    frames: str
    resolution: tuple[int, int] = ExportDefaults.resolution
    samples: int = ExportDefaults.samples
    test_every: int = 8
    color_space: str = "acescg"
    ground_truth: bool = True

    @property
    def numbers(self) -> list[int]:
        """The frames' numbers.

        Raises:
            UserError: they cannot be the names of pictures, or are too few to see the object from all around.
        """
        frames = parse_frames(self.frames, "Frames")
        if len(frames) * len(self.camera_paths) < 2:
            raise UserError(
                "Frames: one picture does not show an object from all around; give some dozens, such as "
                "1:64, of a camera (or an object) that turns, or choose several cameras"
            )
        return _whole(frames)

    @property
    def turntable(self) -> Turntable | None:
        """The turntable to make.

        Raises:
            UserError: its frames do not follow each other.
        """
        if self.cameras:
            return None
        numbers = self.numbers
        if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
            raise UserError(f"Frames {self.frames}: a new turntable has consecutive frames, such as 1:64")
        return Turntable(
            object_path=self.object_path,
            frames=len(numbers),
            first_frame=numbers[0],
            resolution=self.resolution,
            samples=self.samples,
            picture=(self.folder.renders / "stage.<F4>.exr").absolute().as_posix(),
        )

    def without_ground_truth(self) -> ExportRequest:
        return replace(self, ground_truth=False)

    @property
    def camera_paths(self) -> Sequence[str]:
        """The cameras to render through."""
        return self.cameras or (Turntable().camera_path,)

    @property
    def picture_names(self) -> str:
        """The pictures' pattern below the folder of renders, for the converter."""
        return f"{CAMERA_TOKEN}/stage.%04d.exr" if len(self.camera_paths) > 1 else "stage.%04d.exr"


def default_fields(folder: str, told: ExportDefaults, color_space: str) -> dict[str, str]:
    """The form as it is first shown: labels and their contents."""
    width, height = told.resolution
    return {
        FOLDER: folder,
        FRAMES: told.frames,
        RESOLUTION: f"{width}x{height}",
        SAMPLES: str(told.samples),
        TEST_EVERY: "8",
        COLOR_SPACE: color_space,
    }


def request_from_fields(
    fields: Mapping[str, str], expand: Callable[[str], Path], object_path: str, cameras: Sequence[str]
) -> ExportRequest:
    """The filled-in form as a request. expand: puts Houdini's variables into a path.

    Raises:
        UserError: a field is not what it should be; all is checked, the turntable too.
    """
    folder = expand(fields[FOLDER])
    if not folder.is_absolute():
        raise UserError(
            f"{FOLDER} {fields[FOLDER]}: expected a full path, such as $HIP/texture_recovery/teapot"
        )
    request = ExportRequest(
        JobFolder(folder),
        object_path,
        cameras,
        fields[FRAMES],
        parse_resolution(fields[RESOLUTION]),
        positive_integer(fields, SAMPLES),
        positive_integer(fields, TEST_EVERY),
        one_of(fields, COLOR_SPACE, COLOR_SPACES),
    )
    if request.test_every < 2:
        raise UserError(f"{TEST_EVERY} 1: would leave none to train on; expected 2 or more")
    _ = request.numbers, request.turntable
    return request


def _whole(frames: Sequence[float]) -> list[int]:
    """Frames as numbers of pictures.

    Raises:
        UserError: one is negative or not whole.
    """
    odd = [frame for frame in frames if frame < 0 or frame != int(frame)]
    if odd:
        raise UserError(f"Frames: {odd[0]:g} is not a whole number from 0 on; pictures are named by frame")
    return [int(frame) for frame in frames]
