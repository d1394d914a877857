"""Shading of one pixel, and its adjoint for two upstream gradients.

The formulas are those of `recon.render.shade`; what each loss reaches is that of
`recon.render.fused_shading`. Every factor's slopes are found together with its value, so
that the adjoint, linear in the upstream gradient, reads no memory and costs little to apply twice.

It is written by hand: an adjoint made by Warp would have to be launched once for every combination of losses
that some input learns from, each time with all lookups, and would bring the atomic adds into the light's
texels, which a CPU must do in order, into the launch that runs in parallel.
"""

# `_Entry` is a type that Warp makes at run time, which mypy does not follow.
# mypy: disable-error-code="valid-type, index"

from __future__ import annotations

from typing import Any

import warp as wp

from recon.light.cubemap import (
    Bilinear,
    Place,
    bilinear,
    bilinear_to_direction,
    bilinear_to_texels,
    place,
)
from recon.render.shade import GRAZING, LEAST_LIGHT

wp.set_module_options({"enable_backward": False})

FROM_A = 1
FROM_B = 2

_Entry = wp.types.vector(length=6, dtype=wp.float32)  # of the environment BRDF's table

_TINY = 1e-12  # least length that is divided by, as in torch's normalize


@wp.struct
class _Geometry:
    """A pixel's shading frame, with what its adjoint needs. Light's frame, where not said otherwise."""

    interpolated: wp.vec3  # world space, of length `interpolated_length` before it was normalized
    interpolated_length: float
    perturbation: wp.vec3
    in_tangent_space: wp.bool
    tangent: wp.vec3  # world space, as the next
    bitangent: wp.vec3
    handedness: float
    world_normal: wp.vec3  # unit
    world_length: float  # before it was normalized
    distance: float  # to the camera
    to_light_frame: wp.mat33
    normal: wp.vec3  # unit, before it is bent toward the camera
    to_camera: wp.vec3  # unit
    lift: float
    bent: wp.vec3  # unit, faces the camera
    bent_length: float  # before it was normalized
    cosine: float  # of `bent` with `to_camera`, clamped
    cosine_slope: float


@wp.struct
class _Incoming:
    """The light that meets the surface: values, and their slopes along direction and roughness."""

    lower: Place
    upper: Place
    below: Bilinear
    above: Bilinear
    fraction: float  # of the level above
    fraction_slope: float  # with the material's roughness, for the same width
    fraction_along_width: float
    mirrored: wp.vec3  # less what is occluded
    mirrored_share: wp.vec3  # slope of `mirrored` with the lookup's value
    around: Place
    diffuse: Bilinear
    irradiance: wp.vec3  # less what is occluded
    irradiance_share: wp.vec3


@wp.struct
class _Response:
    """An entry of `recon.light.fg_table`, with its slopes."""

    value: _Entry
    along_cosine: _Entry
    along_roughness: _Entry


@wp.struct
class _Gradient:
    albedo: wp.vec3
    roughness: float
    metallic: float
    occlusion: float
    perturbation: wp.vec3
    normal: wp.vec3
    position: wp.vec3


@wp.func
def _through_normalize(unit: wp.vec3, length: float, gradient: wp.vec3) -> wp.vec3:
    """Gradient with respect to a vector of `length` that was normalized to `unit`."""
    return (gradient - unit * wp.dot(unit, gradient)) / length


@wp.func
def _shading_normal(
    i: int,
    perturbations: wp.array[wp.vec3],
    normals: wp.array[wp.vec3],
    tangents: wp.array[wp.vec4],
) -> _Geometry:
    """The frame as far as it does not depend on the camera."""
    result = _Geometry()
    result.perturbation = perturbations[i]
    result.interpolated = normals[i]
    result.interpolated_length = 1.0
    result.in_tangent_space = tangents.shape[0] > 0
    shading = wp.vec3(0.0, 0.0, 0.0)
    if tangents.shape[0] > 0:
        # MikkTSpace: interpolated frame as it is, without renormalizing or orthogonalizing.
        frame = tangents[i]
        result.tangent = wp.vec3(frame[0], frame[1], frame[2])
        result.handedness = frame[3]
        result.bitangent = wp.cross(result.interpolated, result.tangent) * frame[3]
        shading = (
            result.tangent * result.perturbation[0]
            + result.bitangent * result.perturbation[1]
            + result.interpolated * result.perturbation[2]
        )
    else:
        result.interpolated_length = wp.max(wp.length(result.interpolated), _TINY)
        result.interpolated = result.interpolated / result.interpolated_length
        shading = result.interpolated + result.perturbation
    result.world_length = wp.max(wp.length(shading), _TINY)
    result.world_normal = shading / result.world_length
    result.normal = result.world_normal
    return result


@wp.func
def _face_camera(frame: _Geometry) -> _Geometry:
    """`frame` with its `normal` bent toward its `to_camera`."""
    result = frame
    result.lift = wp.max(GRAZING - wp.dot(result.normal, result.to_camera), 0.0)
    bent = result.normal + result.to_camera * result.lift
    result.bent_length = wp.max(wp.length(bent), _TINY)
    result.bent = bent / result.bent_length
    cosine = wp.dot(result.bent, result.to_camera)
    result.cosine = wp.clamp(cosine, 0.5 * GRAZING, 1.0)
    result.cosine_slope = wp.where(cosine == result.cosine, 1.0, 0.0)
    return result


@wp.func
def _geometry(
    i: int,
    perturbations: wp.array[wp.vec3],
    normals: wp.array[wp.vec3],
    positions: wp.array[wp.vec3],
    tangents: wp.array[wp.vec4],
    views: wp.array[wp.int64],
    origins: wp.array[wp.vec3],
    rotations: wp.array[wp.mat33],
) -> _Geometry:
    result = _shading_normal(i, perturbations, normals, tangents)
    view = int(views[i])
    toward = origins[view] - positions[i]
    result.distance = wp.max(wp.length(toward), _TINY)
    result.to_camera = toward / result.distance
    result.to_light_frame = wp.identity(n=3, dtype=float)
    if rotations.shape[0] > 0:
        # Light only meets the surface through n and v, so both turn into the light's frame: R^T n.
        result.to_light_frame = wp.transpose(rotations[view])
        result.normal = result.to_light_frame * result.normal
        result.to_camera = result.to_light_frame * result.to_camera
    return _face_camera(result)


@wp.func
def _response(fg: wp.array2d[_Entry], cosine: float, roughness: float) -> _Response:
    """Bilinear lookup in the table, clamped, where slopes are zero."""
    last = fg.shape[0] - 1
    size = float(last)
    y = wp.clamp(cosine, 0.0, 1.0) * size
    x = wp.clamp(roughness, 0.0, 1.0) * size
    row = wp.min(int(y), last - 1)
    column = wp.min(int(x), last - 1)
    fy = y - float(row)
    fx = x - float(column)
    a = fg[row, column]
    b = fg[row, column + 1]
    c = fg[row + 1, column]
    d = fg[row + 1, column + 1]
    upper = a + (b - a) * fx
    lower = c + (d - c) * fx
    result = _Response()
    result.value = upper + (lower - upper) * fy
    result.along_cosine = (lower - upper) * size
    result.along_roughness = ((b - a) * (1.0 - fy) + (d - c) * fy) * size
    if roughness < 0.0 or roughness > 1.0:
        result.along_roughness = _Entry(0.0)
    return result


@wp.func
def _share(value: wp.vec3, occluded: wp.vec3) -> wp.vec3:
    """Slope of max(value - occluded, LEAST_LIGHT * value), component by component."""
    result = wp.vec3(1.0, 1.0, 1.0)
    for channel in range(3):
        if value[channel] - occluded[channel] < LEAST_LIGHT * value[channel]:
            result[channel] = LEAST_LIGHT
    return result


@wp.func
def _less(value: wp.vec3, occluded: wp.vec3) -> wp.vec3:
    return wp.max(value - occluded, value * LEAST_LIGHT)


@wp.func
def _incoming(
    i: int,
    geometry: _Geometry,
    roughness: float,
    lean: float,
    width: float,
    texels: wp.array[wp.vec3],
    table: wp.array2d[wp.int32],
    knots: wp.array[float],
    variance: wp.array2d[float],
    occluded_irradiance: wp.array[wp.vec3],
    occluded_reflected: wp.array[wp.vec3],
) -> _Incoming:
    result = _Incoming()

    # Roughness as the pixel shows it, then the level that was filtered for it.
    alpha2 = roughness * roughness * roughness * roughness
    if variance.shape[0] > 0:
        alpha2 += variance[i, 0]
    fourth = alpha2 * width
    seen = wp.sqrt(wp.sqrt(wp.min(fourth, 1.0)))
    to_fourth = wp.where(fourth <= 1.0, 0.25 / wp.max(seen * seen * seen, _TINY), 0.0)
    slope = 4.0 * roughness * roughness * roughness * width * to_fourth
    along_width = alpha2 * to_fourth
    count = knots.shape[0]
    level = wp.int32(0)
    if count > 1:
        inside = wp.clamp(seen, knots[0], knots[count - 1])
        for knot in range(1, count - 1):
            if inside >= knots[knot]:
                level = knot
        step = 1.0 / (knots[level + 1] - knots[level])
        result.fraction = (inside - knots[level]) * step
        result.fraction_slope = wp.where(seen == inside, slope * step, 0.0)
        result.fraction_along_width = wp.where(seen == inside, along_width * step, 0.0)

    # Where the lobe is looked up, between the normal and the mirror direction.
    reflected = geometry.bent * (1.0 + lean * (2.0 * geometry.cosine - 1.0)) - geometry.to_camera * lean
    higher = wp.min(level + 1, count - 1)
    result.lower = place(reflected, table[level, 0], table[level, 1])
    result.upper = place(reflected, table[higher, 0], table[higher, 1])
    result.below = bilinear(texels, result.lower)
    result.above = bilinear(texels, result.upper)
    result.mirrored = result.below.value * (1.0 - result.fraction) + result.above.value * result.fraction
    result.around = place(geometry.bent, table[count, 0], table[count, 1])
    result.diffuse = bilinear(texels, result.around)
    result.irradiance = result.diffuse.value

    result.mirrored_share = wp.vec3(1.0, 1.0, 1.0)
    result.irradiance_share = wp.vec3(1.0, 1.0, 1.0)
    if occluded_reflected.shape[0] > 0:
        result.mirrored_share = _share(result.mirrored, occluded_reflected[i])
        result.mirrored = _less(result.mirrored, occluded_reflected[i])
        result.irradiance_share = _share(result.irradiance, occluded_irradiance[i])
        result.irradiance = _less(result.irradiance, occluded_irradiance[i])
    return result


@wp.func
def _even(value: float) -> wp.vec3:
    return wp.vec3(value, value, value)


@wp.func
def _metals(albedo: wp.vec3, response: _Response) -> wp.vec3:
    """What a metal of that base color reflects."""
    return albedo * response.value[0] + _even(response.value[1])


@wp.func
def _reflectances(albedo: wp.vec3, metallic: float, response: _Response) -> tuple[wp.vec3, wp.vec3]:
    """What `mirrored` and `irradiance` are multiplied with."""
    specular = _even((1.0 - metallic) * response.value[2]) + _metals(albedo, response) * metallic
    return specular, albedo * ((1.0 - metallic) * response.value[3])


@wp.func
def _to_lookups(
    through: wp.vec3, specular: wp.vec3, diffuse: wp.vec3, incoming: _Incoming
) -> tuple[wp.vec3, wp.vec3]:
    """Gradients of what is looked up of the prefiltered light, specular and diffuse."""
    to_mirrored = wp.cw_mul(wp.cw_mul(through, specular), incoming.mirrored_share)
    return to_mirrored, wp.cw_mul(wp.cw_mul(through, diffuse), incoming.irradiance_share)


@wp.func
def _to_material_and_geometry(
    gradient: wp.vec3,
    albedo: wp.vec3,
    metallic: float,
    occlusion: float,
    geometry: _Geometry,
    incoming: _Incoming,
    response: _Response,
) -> _Gradient:
    """The adjoint of one pixel's color for its upstream `gradient`, in everything but the light."""
    result = _Gradient()
    specular, diffuse = _reflectances(albedo, metallic, response)
    color = wp.cw_mul(incoming.mirrored, specular) + wp.cw_mul(incoming.irradiance, diffuse)
    result.occlusion = wp.dot(gradient, color)

    through = gradient * occlusion
    to_specular = wp.cw_mul(through, incoming.mirrored)
    to_diffuse = wp.cw_mul(through, incoming.irradiance)
    colored = wp.dot(to_diffuse, albedo)
    white = to_specular[0] + to_specular[1] + to_specular[2]
    as_metal = wp.dot(to_specular, _metals(albedo, response))
    result.albedo = to_specular * (metallic * response.value[0])
    result.albedo += to_diffuse * ((1.0 - metallic) * response.value[3])
    result.metallic = as_metal - white * response.value[2] - colored * response.value[3]

    to_mirrored, to_irradiance = _to_lookups(through, specular, diffuse, incoming)
    to_reflected = (
        bilinear_to_direction(incoming.lower, incoming.below, to_mirrored) * (1.0 - incoming.fraction)
        + bilinear_to_direction(incoming.upper, incoming.above, to_mirrored) * incoming.fraction
    )
    lean = response.value[4]
    along_normal = 2.0 * geometry.cosine - 1.0
    to_fraction = wp.dot(to_mirrored, incoming.above.value - incoming.below.value)
    to_response = _Entry(
        wp.dot(to_specular, albedo) * metallic,
        white * metallic,
        white * (1.0 - metallic),
        colored * (1.0 - metallic),
        wp.dot(to_reflected, geometry.bent * along_normal - geometry.to_camera),
        to_fraction * incoming.fraction_along_width,
    )
    result.roughness = wp.dot(to_response, response.along_roughness) + to_fraction * incoming.fraction_slope

    to_cosine = wp.dot(to_response, response.along_cosine) + 2.0 * lean * wp.dot(to_reflected, geometry.bent)
    to_cosine = to_cosine * geometry.cosine_slope
    to_bent = (
        bilinear_to_direction(incoming.around, incoming.diffuse, to_irradiance)
        + to_reflected * (1.0 + lean * along_normal)
        + geometry.to_camera * to_cosine
    )
    to_camera = geometry.bent * to_cosine - to_reflected * lean

    to_normal = _through_normalize(geometry.bent, geometry.bent_length, to_bent)
    to_camera += to_normal * geometry.lift
    if geometry.lift > 0.0:
        to_lift = wp.dot(to_normal, geometry.to_camera)
        to_camera -= geometry.normal * to_lift
        to_normal -= geometry.to_camera * to_lift

    to_world = wp.transpose(geometry.to_light_frame)
    to_toward = _through_normalize(geometry.to_camera, geometry.distance, to_camera)
    result.position = -(to_world * to_toward)
    to_shading = _through_normalize(geometry.world_normal, geometry.world_length, to_world * to_normal)
    if geometry.in_tangent_space:
        result.perturbation = wp.vec3(
            wp.dot(to_shading, geometry.tangent),
            wp.dot(to_shading, geometry.bitangent),
            wp.dot(to_shading, geometry.interpolated),
        )
        around = wp.cross(geometry.tangent, to_shading) * (geometry.handedness * geometry.perturbation[1])
        result.normal = to_shading * geometry.perturbation[2] + around
    else:
        result.perturbation = to_shading
        result.normal = _through_normalize(geometry.interpolated, geometry.interpolated_length, to_shading)
    return result


@wp.func
def _upstream(gradients: wp.array[wp.vec3], i: int) -> wp.vec3:
    """Zero where no gradient arrived."""
    if gradients.shape[0] > 0:
        return gradients[i]
    return wp.vec3(0.0, 0.0, 0.0)


@wp.func
def _routed(route: int, from_a: Any, from_b: Any) -> Any:
    result = from_a - from_a
    if (route & FROM_A) != 0:
        result += from_a
    if (route & FROM_B) != 0:
        result += from_b
    return result


@wp.kernel
def shading_normals(
    start: int,
    perturbations: wp.array[wp.vec3],
    normals: wp.array[wp.vec3],
    tangents: wp.array[wp.vec4],
    to_camera: wp.array[wp.vec3],
    shading: wp.array[wp.vec3],
) -> None:
    """Unit normals in world space, bent toward the camera unless `to_camera` is empty."""
    i = start + wp.tid()
    frame = _shading_normal(i, perturbations, normals, tangents)
    shading[i] = frame.world_normal
    if to_camera.shape[0] > 0:
        frame.to_camera = to_camera[i]
        frame = _face_camera(frame)
        shading[i] = frame.bent


@wp.kernel
def shade(
    start: int,
    albedos: wp.array[wp.vec3],
    roughnesses: wp.array2d[float],
    metallics: wp.array2d[float],
    occlusions: wp.array2d[float],
    perturbations: wp.array[wp.vec3],
    normals: wp.array[wp.vec3],
    positions: wp.array[wp.vec3],
    texels: wp.array[wp.vec3],
    tangents: wp.array[wp.vec4],
    views: wp.array[wp.int64],
    origins: wp.array[wp.vec3],
    rotations: wp.array[wp.mat33],
    fg: wp.array2d[_Entry],
    table: wp.array2d[wp.int32],
    knots: wp.array[float],
    variance: wp.array2d[float],
    occluded_irradiance: wp.array[wp.vec3],
    occluded_reflected: wp.array[wp.vec3],
    color_a: wp.array[wp.vec3],
    color_b: wp.array[wp.vec3],
) -> None:
    """Optional inputs and outputs are empty where there are none."""
    i = start + wp.tid()
    geometry = _geometry(i, perturbations, normals, positions, tangents, views, origins, rotations)
    response = _response(fg, geometry.cosine, roughnesses[i, 0])
    incoming = _incoming(
        i,
        geometry,
        roughnesses[i, 0],
        response.value[4],
        response.value[5],
        texels,
        table,
        knots,
        variance,
        occluded_irradiance,
        occluded_reflected,
    )
    specular, diffuse = _reflectances(albedos[i], metallics[i, 0], response)
    color = wp.cw_mul(incoming.mirrored, specular) + wp.cw_mul(incoming.irradiance, diffuse)
    color = color * occlusions[i, 0]
    color_a[i] = color
    if color_b.shape[0] > 0:
        color_b[i] = color


@wp.kernel
def shade_adjoint(
    start: int,
    albedos: wp.array[wp.vec3],
    roughnesses: wp.array2d[float],
    metallics: wp.array2d[float],
    occlusions: wp.array2d[float],
    perturbations: wp.array[wp.vec3],
    normals: wp.array[wp.vec3],
    positions: wp.array[wp.vec3],
    texels: wp.array[wp.vec3],
    tangents: wp.array[wp.vec4],
    views: wp.array[wp.int64],
    origins: wp.array[wp.vec3],
    rotations: wp.array[wp.mat33],
    fg: wp.array2d[_Entry],
    table: wp.array2d[wp.int32],
    knots: wp.array[float],
    variance: wp.array2d[float],
    occluded_irradiance: wp.array[wp.vec3],
    occluded_reflected: wp.array[wp.vec3],
    gradient_a: wp.array[wp.vec3],
    gradient_b: wp.array[wp.vec3],
    albedo_route: int,
    gloss_route: int,
    perturbation_route: int,
    geometry_route: int,
    light_route: int,
    to_albedo: wp.array[wp.vec3],
    to_roughness: wp.array2d[float],
    to_metallic: wp.array2d[float],
    to_occlusion: wp.array2d[float],
    to_perturbation: wp.array[wp.vec3],
    to_normal: wp.array[wp.vec3],
    to_position: wp.array[wp.vec3],
    to_texels: wp.array[wp.vec3],
) -> None:
    """Gradients of all inputs, each from the losses of its route (FROM_A, FROM_B); empty if not wanted.

    `gloss_route` is that of roughness, metallic and occlusion. Texels' gradients are added: on a CPU, a
    launch that asks for them has to stay on one core.
    """
    i = start + wp.tid()
    geometry = _geometry(i, perturbations, normals, positions, tangents, views, origins, rotations)
    response = _response(fg, geometry.cosine, roughnesses[i, 0])
    incoming = _incoming(
        i,
        geometry,
        roughnesses[i, 0],
        response.value[4],
        response.value[5],
        texels,
        table,
        knots,
        variance,
        occluded_irradiance,
        occluded_reflected,
    )
    albedo = albedos[i]
    metallic = metallics[i, 0]
    occlusion = occlusions[i, 0]
    upstream_a = _upstream(gradient_a, i)
    upstream_b = _upstream(gradient_b, i)
    a = _to_material_and_geometry(upstream_a, albedo, metallic, occlusion, geometry, incoming, response)
    b = _to_material_and_geometry(upstream_b, albedo, metallic, occlusion, geometry, incoming, response)
    if to_albedo.shape[0] > 0:
        to_albedo[i] = _routed(albedo_route, a.albedo, b.albedo)
    if to_roughness.shape[0] > 0:
        to_roughness[i, 0] = _routed(gloss_route, a.roughness, b.roughness)
    if to_metallic.shape[0] > 0:
        to_metallic[i, 0] = _routed(gloss_route, a.metallic, b.metallic)
    if to_occlusion.shape[0] > 0:
        to_occlusion[i, 0] = _routed(gloss_route, a.occlusion, b.occlusion)
    if to_perturbation.shape[0] > 0:
        to_perturbation[i] = _routed(perturbation_route, a.perturbation, b.perturbation)
    if to_normal.shape[0] > 0:
        to_normal[i] = _routed(geometry_route, a.normal, b.normal)
    if to_position.shape[0] > 0:
        to_position[i] = _routed(geometry_route, a.position, b.position)
    if to_texels.shape[0] > 0:
        specular, diffuse = _reflectances(albedo, metallic, response)
        through = _routed(light_route, upstream_a, upstream_b) * occlusion
        to_mirrored, to_irradiance = _to_lookups(through, specular, diffuse, incoming)
        bilinear_to_texels(to_texels, incoming.lower, to_mirrored * (1.0 - incoming.fraction))
        if incoming.fraction > 0.0:
            bilinear_to_texels(to_texels, incoming.upper, to_mirrored * incoming.fraction)
        bilinear_to_texels(to_texels, incoming.around, to_irradiance)
