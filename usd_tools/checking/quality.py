"""Blur, clipping, exposure and masks of single pictures, compared with those of neighboring views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from usd_tools.color import luminance, srgb_to_linear
from usd_tools.images import Pixels

_NEIGHBORS = 6
_BLURRED = 0.4
"""Sharpness, as a share of the neighboring views', below which a picture counts as blurred."""

_STOPS = 1.0
"""Exposure steps from the neighboring views beyond which a picture counts as badly exposed."""

_CLIPPED = 0.02
_CLIPPED_CODE = 254.5 / 255
_DARK = 0.002


@dataclass(frozen=True)
class PictureFacts:
    """sharpness: contrast-free measure, larger is sharper. exposure: mean linear luminance of the object.

    clipped: share of the object's pixels at the top of the range. covered, soft: shares of the picture that
    are the object, and of the object that are partly transparent. cut: the object reaches the picture's edge.
    framed: it is the corners that are covered.
    """

    sharpness: float
    exposure: float
    clipped: float
    covered: float
    soft: float
    cut: bool
    framed: bool


def picture_facts(color: Pixels, mask: npt.NDArray[np.float32], hdr: Pixels | None = None) -> PictureFacts:
    """color: (H, W, 3) straight sRGB. mask: (H, W). hdr: (H, W, 3 | 4) associated, or None."""
    solid = mask > 0.99
    linear = luminance(srgb_to_linear(color))
    inside = solid.copy()
    inside[1:-1, 1:-1] &= solid[:-2, 1:-1] & solid[2:, 1:-1] & solid[1:-1, :-2] & solid[1:-1, 2:]
    inside[[0, -1]] = inside[:, [0, -1]] = False
    edge = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    any_mask = mask > 0.5
    return PictureFacts(
        sharpness=_sharpness(luminance(color), inside),
        exposure=float(linear[solid].mean()) if solid.any() else 0.0,
        clipped=_clipped(color, solid, hdr),
        covered=float(any_mask.mean()),
        soft=float(((mask > 0.02) & ~solid).sum() / max(any_mask.sum(), 1)),
        cut=bool((edge > 0.5).any()),
        framed=bool((mask[[0, 0, -1, -1], [0, -1, 0, -1]] > 0.5).all()),
    )


def _sharpness(coded: npt.NDArray[np.floating], inside: npt.NDArray[np.bool_]) -> float:
    """Energy of the second differences over that of the first ones: blur lowers it, contrast does not."""
    core = np.s_[1:-1, 1:-1]
    here = coded[core]
    left, right, up, down = coded[1:-1, :-2], coded[1:-1, 2:], coded[:-2, 1:-1], coded[2:, 1:-1]
    second = (left + right + up + down - 4 * here) ** 2
    first = (right - left) ** 2 + (down - up) ** 2
    where = inside[core]
    total = float(first[where].sum())
    return float(second[where].sum()) / total if total > 0 else 0.0


def _clipped(color: Pixels, solid: npt.NDArray[np.bool_], hdr: Pixels | None) -> float:
    if not solid.any():
        return 0.0
    if hdr is None:
        return float((color[solid] >= _CLIPPED_CODE).any(axis=1).mean())
    brightest = hdr[..., :3][solid].max(axis=1)
    # Scene-linear renders end in a plateau only where something clipped them.
    return float((brightest == brightest.max()).mean()) if brightest.max() > 0 else 0.0


def picture_problems(
    facts: Sequence[PictureFacts], directions: npt.NDArray[np.float64] | None, has_hdr: bool
) -> list[list[str]]:
    """What is wrong with each picture, in words.

    directions: (N, 3) unit, from the object to each camera: neighbors show nearly the same. None where they
        are not to be trusted; then nothing is compared.
    """
    sharpness = np.array([fact.sharpness for fact in facts])
    exposure = np.log2(np.maximum([fact.exposure for fact in facts], 1e-6))
    count = min(_NEIGHBORS, len(facts) - 1)
    problems: list[list[str]] = []
    for index, fact in enumerate(facts):
        told = []
        if fact.framed:
            told.append("its mask covers the picture's corners: inverted? white has to be the object")
        elif fact.cut:
            told.append("the object reaches the picture's edge; what is cut off cannot be learnt")
        if fact.covered < 0.01:
            told.append(f"the object is {fact.covered:.1%} of the picture; move the camera closer")
        if fact.soft > 0.3:
            told.append(f"{fact.soft:.0%} of its mask is partly transparent; expected sharp edges")
        if directions is not None and count > 0:
            order = np.argsort(-(directions @ directions[index]), kind="stable")
            near = order[order != index][:count]
            usual = float(np.median(sharpness[near]))
            if fact.sharpness < _BLURRED * usual:
                told.append(f"blurred: {fact.sharpness / usual:.0%} of its neighbors' sharpness")
            stops = float(exposure[index] - np.median(exposure[near]))
            if abs(stops) > _STOPS:
                told.append(
                    f"{abs(stops):.1f} stops {'brighter' if stops > 0 else 'darker'} than its neighbors"
                )
        if fact.clipped > _CLIPPED:
            remedy = "; render without clamping" if has_hdr else "; EXRs keep highlights"
            told.append(f"{fact.clipped:.0%} of the object is clipped{remedy}")
        if 0 < fact.exposure < _DARK:
            told.append("nearly black; raise light or exposure")
        problems.append(told)
    return problems
