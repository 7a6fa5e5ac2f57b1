"""CUDA graphs, emulated on any machine: operations on tensors are recorded and repeated.

As in a real graph, Python numbers are frozen, tensors are read where they lie, and recording
changes nothing. Operations that wait for the device or draw random numbers cannot be recorded.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_iter, tree_map_only, tree_unflatten

FORBIDDEN = ("_local_scalar_dense", "nonzero", "rand", "normal_", "bernoulli", "uniform_")


class EmulatedRecorder:
    """A `Recorder` for CPU tensors, through PyTorch's dispatcher."""

    def __init__(self) -> None:
        self.device = torch.device("cpu")
        self.records = 0
        self.replays = 0
        self.operations: list[str] = []

    def aside(self, call: Callable[[], Any]) -> Any:
        return call()

    def record(self, body: Callable[[], Any]) -> Callable[[], Any]:
        self.records += 1
        with _Tape() as tape:
            outputs = body()
        tape.undo()
        self.operations = [str(function) for function, *_ in tape.calls]
        kept, structure = tree_flatten(outputs)

        def replay() -> Any:
            self.replays += 1
            for static, fresh in zip(kept, tape.run(kept), strict=True):
                static.copy_(fresh)
            return tree_unflatten(kept, structure)

        return replay


class _Tape(TorchDispatchMode):
    """The dispatched operations in order, with their arguments and results."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []
        self.made: set[int] = set()  # memory of results, which `calls` keeps alive
        self.before: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        assert not any(word in str(function) for word in FORBIDDEN), f"{function} in a graph"
        for argument, value in zip(function._schema.arguments, args, strict=False):
            if argument.alias_info is not None and argument.alias_info.is_write:
                self._remember(value)
        if "out" in kwargs:
            self._remember(kwargs["out"])
        result = function(*args, **kwargs)
        self.calls.append((function, args, kwargs, result))
        given = {_memory(tensor) for tensor in _tensors((args, kwargs))}
        self.made |= {_memory(tensor) for tensor in _tensors(result)} - given
        return result

    def _remember(self, written: Any) -> None:
        for tensor in _tensors(written):
            memory = _memory(tensor)
            if memory not in self.made and memory not in self.before:
                whole = torch.empty(0, dtype=tensor.dtype).set_(tensor.untyped_storage())
                self.before[memory] = whole, whole.clone()

    def undo(self) -> None:
        """Restore the tensors that existed before."""
        for whole, value in self.before.values():
            whole.copy_(value)

    def run(self, wanted: list[Tensor]) -> list[Tensor]:
        """Repeat all operations; returns the new values of tensors that were made when recorded."""
        fresh: dict[int, Any] = {}

        def of_now(tensor: Tensor) -> Tensor:
            return fresh.get(id(tensor), tensor)

        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            for function, args, kwargs, result in self.calls:
                now = function(
                    *tree_map_only(Tensor, of_now, args), **tree_map_only(Tensor, of_now, kwargs)
                )
                for old, new in zip(tree_iter(result), tree_iter(now), strict=True):
                    if isinstance(old, Tensor):
                        fresh[id(old)] = new
        return [of_now(tensor) for tensor in wanted]


def _tensors(values: Any) -> list[Tensor]:
    return [value for value in tree_iter(values) if isinstance(value, Tensor)]


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
