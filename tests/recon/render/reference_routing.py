"""The gradient router: shade once, hand out the image twice, and choose which loss reaches which input.

Two losses on one image normally add up in every parameter; keeping them apart by two backward passes over the
whole graph costs a second pass. Here the shading graph is private to one autograd node whose two outputs are
equal in value. Its backward visits the graph once per group of inputs, each with its own upstream gradient,
and autograd prunes every visit to the operations that lead to that group.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

A, B, BOTH, NONE = "A", "B", "A+B", "none"
ROUTES = (A, B, BOTH, NONE)


def route(
    fn: Callable[..., Tensor], inputs: Mapping[str, Tensor], routes: Mapping[str, str]
) -> tuple[Tensor, Tensor]:
    """Evaluates `fn(**inputs)` once and returns its value twice, (color_a, color_b).

    fn: a differentiable function of its arguments, returning one tensor, e.g. (P, 3); P = 0 is fine. It must
        not capture tensors that require gradients: those would be cut off, so it is refused.
    inputs: fn's tensor arguments.
    routes: for every input that requires a gradient, whose gradient it receives: "A" (what arrives at
        color_a), "B" (at color_b), "A+B" (the sum) or "none".

    Differentiable once; a second derivative, or a second backward pass through the same node, is refused.
    """
    for name, tensor in inputs.items():
        if tensor.requires_grad and name not in routes:
            raise ValueError(
                f"route: input {name!r} requires a gradient but has no route; use one of {ROUTES}"
            )
        if name in routes and routes[name] not in ROUTES:
            raise ValueError(f"route: {name!r} has the route {routes[name]!r}; expected one of {ROUTES}")
    names = tuple(inputs)
    sides = tuple(routes.get(name, NONE) for name in names)
    tensors = [inputs[name].detach() if side == NONE else inputs[name] for name, side in zip(names, sides)]
    return _Route.apply(fn, names, sides, torch.is_grad_enabled(), *tensors)


class _Route(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        fn: Callable[..., Tensor],
        names: tuple[str, ...],
        sides: tuple[str, ...],
        record: bool,
        *tensors: Tensor,
    ) -> tuple[Tensor, Tensor]:
        leaves = [tensor.detach().requires_grad_(record and tensor.requires_grad) for tensor in tensors]
        with torch.set_grad_enabled(record):
            color = fn(**dict(zip(names, leaves)))
        if color.requires_grad:
            _refuse_captured(color, leaves)
        ctx.set_materialize_grads(False)
        ctx.sides, ctx.leaves, ctx.color = sides, leaves, color
        # Copies, so that an in-place edit of one image reaches neither the other nor the private graph.
        return color.detach().clone(), color.detach().clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError("route: differentiable once only; call backward without create_graph")
        if ctx.color is None:
            raise RuntimeError(
                "route: its graph was freed by an earlier backward; add the losses, then call it once"
            )
        color, leaves, sides = ctx.color, ctx.leaves, ctx.sides
        ctx.color = ctx.leaves = None
        from_a, from_b = gradients
        upstream = {A: from_a, B: from_b, BOTH: _sum(from_a, from_b)}
        groups = {
            side: [i for i, leaf in enumerate(leaves) if leaf.requires_grad and sides[i] == side]
            for side, gradient in upstream.items()
            if gradient is not None and color.requires_grad
        }
        groups = {side: members for side, members in groups.items() if members}
        result: list[Tensor | None] = [None] * len(leaves)
        for position, (side, members) in enumerate(groups.items()):
            found = torch.autograd.grad(
                color,
                [leaves[i] for i in members],
                upstream[side],
                retain_graph=position + 1 < len(groups),
                allow_unused=True,
            )
            for i, gradient in zip(members, found):
                result[i] = gradient
        return (None, None, None, None, *result)


def _sum(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    if first is None or second is None:
        return second if first is None else first
    return first + second


def _refuse_captured(color: Tensor, leaves: list[Tensor]) -> None:
    """Raises if `color` depends on a leaf that is not one of `leaves`. A few hundred nodes: microseconds."""
    known = {id(leaf) for leaf in leaves}
    stack, seen = [color.grad_fn], set()
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)
        if variable is not None and id(variable) not in known:
            raise ValueError(
                f"route: fn captures a tensor of shape {tuple(variable.shape)} that requires a gradient; "
                "pass it in inputs, or detach it"
            )
        stack.extend(child for child, _ in node.next_functions)
