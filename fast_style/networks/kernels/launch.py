"""Shared by all kernels: their operations in PyTorch, the size of their tiles, and their launch."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

READ = 8192
"""Bytes that a program reads at a time. The backward passes read two tiles of half of it."""

LINE = 128
"""Bytes of each pixel in a tile: a line of an H100's cache."""

PROGRAMS = 528
"""Programs that share a picture: four on each of an H100's 132 multiprocessors, which keep its
memory busy if none takes more than its share of the registers. It is a constant, so that sums do
not depend on the GPU."""

MAX_REGISTERS = 128

MAX_CHUNKS = 1024
"""More than the parts that a picture is ever split into."""

MAX_PIXELS = 2**30
"""Kernels count a picture's pixels in 32 bits."""

# `torch.library.custom_op` would do the same, but its first call imports all of TorchDynamo, which
# takes seconds.
_library = torch.library.Library("fast_style", "DEF")


def define(schema: str, launch: Callable[..., Any], fake: Callable[..., Any]) -> None:
    """Make an operation ``torch.ops.fast_style.NAME``.

    Args:
        schema: its name, arguments and result, as PyTorch writes them.
        launch: computes it.
        fake: makes results without values, for fake tensors.
    """
    name = schema.partition("(")[0]
    _library.define(schema)
    _library.impl(name, launch, "CompositeExplicitAutograd")
    torch.library.register_fake(f"fast_style::{name}", fake, lib=_library)


def launch(
    kernel: Any, device: torch.device, grid: tuple[int, ...], *arguments: Any, **options: Any
) -> None:
    """Launch a Triton kernel.

    Args:
        kernel: the compiled function.
        device: of its tensors.
        grid: numbers of programs.
        arguments: of the kernel.
        options: constants of the kernel, and Triton's own options.
    """
    options["maxnreg"] = MAX_REGISTERS
    options["enable_fp_fusion"] = True  # the default depends on Triton's version
    if device.type == "cpu":
        kernel[grid](*arguments, **options)
    else:
        with torch.cuda.device(device):  # Triton launches on the current one
            kernel[grid](*arguments, **options)


def check(x: Tensor, margin: int, skipped: int) -> None:
    """Refuse pictures and margins that no kernel takes.

    Raises:
        ValueError: for another shape than ``(N, C, H, W)``, a margin wider than the mirror image,
            or too large a picture.
    """
    if x.dim() != 4 or x.numel() == 0:
        raise ValueError(f"pictures come as (N, C, H, W), not {tuple(x.shape)}")
    if margin and not 0 <= margin <= min(x.shape[2:]) - skipped:
        raise ValueError(
            f"a margin of {margin} is wider than the mirror image of {x.shape[2]} x {x.shape[3]}"
        )
    if (x.shape[2] + 2 * margin) * (x.shape[3] + 2 * margin) > MAX_PIXELS:
        raise ValueError(f"{x.shape[2]} x {x.shape[3]} is more than 2^30 pixels")


def empty(like: Tensor, *shape: int) -> Tensor:
    """A tensor in channels_last, of the dtype and device of another."""
    return torch.empty(
        shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last
    )


def tile(like: Tensor, channels: int, size: int) -> tuple[int, int, int]:
    """How a program's tile covers pixels and channels.

    Args:
        like: a tensor of the dtype.
        channels: channels of the picture.
        size: bytes of a tile.

    Returns:
        Pixels of a tile, its channels, and the number of tiles that the channels take.
    """
    item = like.element_size()
    block_c = min(1 << (channels - 1).bit_length(), LINE // item)
    return size // item // block_c, block_c, parts(channels, block_c)


def split(pixels: int, block_p: int, others: int) -> tuple[int, int]:
    """How many tiles a chunk of a picture has, and how many chunks the picture.

    Args:
        pixels: of the picture.
        block_p: pixels of a tile.
        others: pictures of this size that are worked on together.
    """
    tiles = parts(pixels, block_p)
    each = parts(tiles * others, PROGRAMS)
    return each, parts(tiles, each)


def parts(whole: int, size: int) -> int:
    """Parts of a size that cover the whole: the quotient, rounded up."""
    return -(-whole // size)
