"""The slow twin of `recon.render.fused_shading`: plain torch, in float64, without any kernel."""

from dataclasses import fields, is_dataclass, replace

import pytest
import torch
from torch.nn.functional import normalize

from recon.render import shade as shade_module
from tests.recon.light import reference_light


def shade_in_plain_torch(channels, frame, light, fg, *, variance=None, occluded=None):
    """(P, 3) as `fused_shade`'s color, differentiable in whatever the arguments hold."""
    normal = shade_module.world_normal(frame.normal, channels.normal, frame.tangent)
    to_camera = normalize(frame.origins[frame.views] - frame.positions, dim=-1)
    if frame.light_rotation is not None:
        to_light_frame = frame.light_rotation[frame.views].transpose(1, 2)
        normal, to_camera = ((to_light_frame @ v[..., None])[..., 0] for v in (normal, to_camera))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shade_module, "lookup", _lookup)
        return shade_module.shade(
            channels.albedo,
            normal,
            channels.roughness,
            channels.metallic,
            channels.occlusion,
            to_camera,
            light,
            fg,
            variance=variance,
            occluded=occluded,
        )


def _lookup(levels, directions, level=None):
    if level is None:
        return reference_light.lookup(levels[:1], directions, directions.new_zeros(len(directions), 1))
    return reference_light.lookup(levels, directions, level)


def cast(value, dtype):
    """A tensor in `dtype`; tuples and dataclasses of tensors likewise. Integers and None stay."""
    if isinstance(value, tuple):
        return tuple(cast(item, dtype) for item in value)
    if is_dataclass(value):
        return replace(
            value, **{field.name: cast(getattr(value, field.name), dtype) for field in fields(value)}
        )
    if isinstance(value, torch.Tensor) and value.is_floating_point():
        return value.to(dtype)
    return value
