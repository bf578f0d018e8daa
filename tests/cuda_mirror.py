# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""CUDA's types on a CPU: what autocast casts there, and what its kernels refuse.

Autocast follows a list of operators for each device. `cuda_mirror` puts CUDA's list, read from the headers of the installed
PyTorch, in the place of the CPU's inside the dispatcher itself, so that ``torch.autocast("cpu", torch.bfloat16)`` casts what
``torch.autocast("cuda", torch.bfloat16)`` casts, promotes what it promotes, and leaves alone what it leaves alone.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.nested._internal import ops
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

HEADER = Path(torch.__file__).parent / "include" / "ATen" / "autocast_mode.h"
LISTS = ("LOWER_PRECISION_FP", "FP32", "FP32_SET_OPT_DTYPE", "PROMOTE")
# Registered beside the lists, by hand: cuDNN's own operators, which nobody calls, and a loss that autocast refuses.
BY_HAND = frozenset(
    {
        "aten::cudnn_convolution",
        "aten::cudnn_convolution_transpose",
        "aten::_cudnn_rnn",
        "aten::binary_cross_entropy",
    }
)
_ABOVE = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastCPU)


def cuda_lists() -> dict[str, str]:
    """Policy of every operator on CUDA's list, such as ``{"aten::mm": "LOWER_PRECISION_FP", ...}``."""
    text = HEADER.read_text().replace("\\\n", "\n")
    found = {}
    for name in LISTS:
        start = text.index(f"#define AT_FORALL_{name}(_)")
        block = re.split(r"\n\s*\n", text[start:])[0]
        for operator, overload in re.findall(r"_\((\w+)(?:, (\w+))?\)", block.split("(_)", 1)[1]):
            found[f"aten::{operator}" + (f".{overload}" if overload else "")] = name
    block = text[text.index("#define AT_FORALL_DIFFERENT_REDISPATCH_SIGNATURE(_)") :]
    block = block[: block.index("#define AT_FORALL_PROMOTE")]
    return {**found, **dict.fromkeys((f"aten::{n}" for n in re.findall(r'"(norm\.\w+)"', block)), "NORM")}


def registered(device: str) -> set[str]:
    """Operators that autocast knows on a device, by the dispatcher itself."""
    names = torch._C._dispatch_get_registrations_for_dispatch_key(f"Autocast{device}")
    return {name for name in names if name.startswith("aten::")}


def _operator(name: str) -> Any:
    packet, _, overload = name.removeprefix("aten::").partition(".")
    return getattr(getattr(torch.ops.aten, packet), overload or "default")


def _eligible(x: Any) -> bool:
    return isinstance(x, Tensor) and x.is_floating_point() and x.dtype != torch.float64


def _widest(leaves: list[Any]) -> torch.dtype:
    types = {x.dtype for x in leaves if isinstance(x, Tensor) and x.is_floating_point()}
    return torch.float32 if types & {torch.float32, torch.float64} else torch.get_autocast_dtype("cpu")


def _kernel(name: str, policy: str) -> Callable[..., Any]:
    """What CUDA's autocast does before an operator."""
    operator = _operator(name)
    names = [argument.name for argument in operator._schema.arguments]

    def call(*args: Any, **kwargs: Any) -> Any:
        with torch._C._ExcludeDispatchKeyGuard(_ABOVE):
            target = operator
            if policy in ("FP32_SET_OPT_DTYPE", "NORM"):
                kwargs = {**dict(zip(names, args, strict=False)), **kwargs}
                args, first = (), kwargs[names[0]]
                if _eligible(first) and policy == "NORM":
                    kwargs["dtype"] = torch.float32
                    target = _operator(
                        "aten::norm.ScalarOpt_dim_dtype" if "dim" in kwargs else "aten::norm.ScalarOpt_dtype"
                    )
                elif _eligible(first) and kwargs.get("dtype") is None:
                    kwargs["dtype"] = torch.float32
                return target(**kwargs)
            dtype = {"LOWER_PRECISION_FP": torch.get_autocast_dtype("cpu"), "FP32": torch.float32}.get(policy)
            dtype = dtype or _widest(tree_leaves((args, kwargs)))
            args, kwargs = tree_map(lambda x: x.to(dtype) if _eligible(x) else x, (args, kwargs))
            return target(*args, **kwargs)

    return call


class _Kernels(TorchDispatchMode):
    """Refuses what CUDA's kernels refuse and the CPU's do not; multiplies bfloat16 in float32, as tensor cores sum."""

    SAME = ("native_layer_norm", "native_group_norm", "_fused_rms_norm")
    PRODUCTS = (
        "mm",
        "addmm",
        "bmm",
        "baddbmm",
        "convolution",
        "convolution_backward",
        "_scaled_dot_product_flash_attention_for_cpu",
        "_scaled_dot_product_flash_attention_for_cpu_backward",
    )

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = func.overloadpacket.__name__, kwargs or {}
        if name in self.SAME:
            kinds = {x.dtype for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)}
            if len(kinds) > 1:
                raise RuntimeError(
                    f"{name} on CUDA: expected one scalar type, found {sorted(map(str, kinds))}."
                )
        if name in self.PRODUCTS and any(
            isinstance(x, Tensor) and x.dtype == torch.bfloat16 for x in tree_leaves((args, kwargs))
        ):
            return self._rounded(func, args, kwargs)
        return func(*args, **kwargs)

    @staticmethod
    def _rounded(func: Any, args: Any, kwargs: Any) -> Any:
        floats = {x.dtype for x in tree_leaves(args) if isinstance(x, Tensor) and x.is_floating_point()}
        attention = "attention" in func.overloadpacket.__name__  # which keeps sums in float32
        if len(floats) > 1 and not attention:
            raise RuntimeError(f"{func}: expected the same dtypes, found {sorted(map(str, floats))}.")
        args, kwargs = tree_map(
            lambda x: x.float() if isinstance(x, Tensor) and x.dtype == torch.bfloat16 else x, (args, kwargs)
        )
        out = func(*args, **kwargs)
        if attention and isinstance(out, tuple) and not func.overloadpacket.__name__.endswith("backward"):
            return out[0].bfloat16(), *out[1:]
        return tree_map(
            lambda x: x.bfloat16() if isinstance(x, Tensor) and x.dtype == torch.float32 else x, out
        )


def _variable_length(*jagged: Tensor, **kwargs: Any) -> Tensor:
    """Attention over jagged tensors, sequence by sequence: a CPU has no kernel of CUDA's kind, and its plain one saves
    tensors that checkpointing cannot count."""
    q, k, v = (x.transpose(1, 2) for x in jagged)
    parts = [x.values().split(x.offsets().diff().tolist()) for x in (q, k, v)]
    rows = [
        F.scaled_dot_product_attention(*(x.transpose(0, 1) for x in one)).transpose(0, 1)
        for one in zip(*parts, strict=True)
    ]
    return torch.nested.nested_tensor_from_jagged(torch.cat(rows), q.offsets()).transpose(1, 2)


@contextmanager
def cuda_mirror() -> Iterator[None]:
    """CUDA's rules for the types of CPU tensors, inside the block."""
    library = torch.library.Library("aten", "IMPL")
    with ExitStack() as stack:
        stack.callback(library._destroy)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that kernels are replaced is the point
            lists = cuda_lists()
            for name, policy in lists.items():
                library.impl(name.removeprefix("aten::"), _kernel(name, policy), "AutocastCPU")
            for name in registered("CPU") - lists.keys() - BY_HAND:
                library.impl(name.removeprefix("aten::"), torch.library.fallthrough_kernel, "AutocastCPU")
        # Code takes the way that it takes on CUDA.
        stack.enter_context(patch.object(torch.Tensor, "is_cuda", True))
        stack.enter_context(patch.object(torch.Tensor, "is_cpu", False))
        stack.enter_context(patch.object(ops, "jagged_scaled_dot_product_attention", _variable_length))
        stack.enter_context(_Kernels())
        yield


class NoHostSync(TorchDispatchMode):
    """Refuses what makes a program wait for a GPU: looks at values, results whose size depends on them, new constants."""

    WAITS = (
        "_local_scalar_dense",
        "nonzero",
        "masked_select",
        "is_nonzero",
        "equal",
        "unique",
        "_unique2",
        "lift_fresh",
    )

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = func.overloadpacket.__name__, kwargs or {}
        indices = args[1] if name in ("index", "index_put", "index_put_", "_unsafe_index") else ()
        by_mask = any(x is not None and x.dtype in (torch.bool, torch.uint8) for x in indices)
        if name in self.WAITS or by_mask:
            raise RuntimeError(f"{func} waits for the device.")
        return func(*args, **kwargs)


@contextmanager
def fake_cuda(module: torch.nn.Module) -> Iterator[None]:
    """Lets a module's tensors lie on CUDA and hold nothing: the dispatcher's own kernels of CUDA's autocast then apply, and
    tensors of two devices do not meet. The module is of no use afterwards."""
    with FakeTensorMode():
        for part in module.modules():
            tables = {name: getattr(part, name) for name in getattr(part, "_kept", ())}
            for name, x in {**part._parameters, **part._buffers, **tables}.items():
                if x is not None:
                    empty = torch.empty(x.shape, dtype=x.dtype, device="cuda")
                    is_weight = isinstance(x, torch.nn.Parameter)
                    setattr(part, name, torch.nn.Parameter(empty, x.requires_grad) if is_weight else empty)
        torch.set_autocast_enabled("cuda", True)
        torch.set_autocast_dtype("cuda", torch.bfloat16)
        try:
            yield
        finally:
            torch.set_autocast_enabled("cuda", False)
