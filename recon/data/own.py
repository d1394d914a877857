"""This project's own datasets, written by usd_to_llff: transforms as in NeRF folders, EXRs preferred."""

from __future__ import annotations

from pathlib import Path

from recon.data.frames import Frame
from recon.data.nerf import read_transforms
from usd_tools.checked_values import read_json
from usd_tools.errors import UserError

SCHEMA_VERSION = 1


def own_frames(folder: Path, split: str) -> list[Frame]:
    """Frames of `split` ("train", "test"); a dataset without held-out frames has an empty "test".

    Raises:
        UserError: the dataset is of a later version, incomplete or malformed.
    """
    info = read_json(folder / "dataset.json")
    version = info.get("schema_version")
    if isinstance(version, bool) or not isinstance(version, int) or not 1 <= version <= SCHEMA_VERSION:
        raise UserError(
            f"{folder / 'dataset.json'}: schema_version is {version!r}, expected at most {SCHEMA_VERSION}; "
            "convert the stage again or update this program"
        )
    path = folder / f"transforms_{split}.json"
    if split == "test" and not path.exists():
        return []
    return read_transforms(path, prefer_hdr=True)
