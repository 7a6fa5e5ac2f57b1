"""Plain networks of other programs, with their names of tensors, for `fast-style import`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _conv(x: Tensor, convolution: nn.Conv2d) -> Tensor:
    margin = convolution.kernel_size[0] // 2
    return convolution(F.pad(x, (margin,) * 4, mode="reflect"))


class _Holder(nn.Module):
    """A module that only gives its parts their names."""

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)


class Examples(nn.Module):
    """The network of pytorch/examples, which takes and gives values from 0 to 255.

    ``ups`` and ``inner`` name the decoder as gordicaleksa's network does.
    """

    def __init__(
        self, widths: tuple[int, int, int], blocks: int, ups: str = "deconv", inner: str = ""
    ) -> None:
        super().__init__()
        full, half, quarter = widths
        self.blocks, self.ups, self.inner = blocks, ups, inner

        def norm(channels: int) -> nn.Module:
            return nn.InstanceNorm2d(channels, affine=True)

        def conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Module:
            return _Holder(conv2d=nn.Conv2d(inputs, outputs, kernel, stride))

        sides = (3, full, half, quarter)
        for n in (1, 2, 3):
            shape = sides[n - 1], sides[n], 9 if n == 1 else 3, 1 if n == 1 else 2
            self.add_module(f"conv{n}", conv(*shape))
            self.add_module(f"in{n}", norm(sides[n]))
        for n in range(1, blocks + 1):
            parts = {f"conv{i}": conv(quarter, quarter, 3) for i in (1, 2)}
            norms = {f"in{i}": norm(quarter) for i in (1, 2)}
            self.add_module(f"res{n}", _Holder(**parts, **norms))
        for n, (inputs, outputs) in enumerate([(quarter, half), (half, full)], 1):
            up = conv(inputs, outputs, 3)
            self.add_module(f"{ups}{n}", _Holder(conv2d=up) if inner else up)
            self.add_module(f"in{n + 3}", norm(outputs))
        self.add_module(f"{ups}3", conv(full, 3, 9))

    def _layer(self, x: Tensor, name: str, norm: str = "", relu: bool = True) -> Tensor:
        x = _conv(x, self.get_submodule(f"{name}.conv2d"))  # type: ignore[arg-type]
        if norm:
            x = self.get_submodule(norm)(x)
        return x.relu() if relu else x

    def forward(self, x: Tensor) -> Tensor:
        for n in (1, 2, 3):
            x = self._layer(x, f"conv{n}", f"in{n}")
        for n in range(1, self.blocks + 1):
            y = self._layer(x, f"res{n}.conv1", f"res{n}.in1")
            x = x + self._layer(y, f"res{n}.conv2", f"res{n}.in2", relu=False)
        for n in (1, 2):
            doubled = F.interpolate(x, scale_factor=2, mode="nearest")
            x = self._layer(doubled, f"{self.ups}{n}{self.inner}", f"in{n + 3}")
        return self._layer(x, f"{self.ups}3", relu=False)


class Transposed(nn.Module):
    """The network of rrmina/fast-neural-style-pytorch: values from 0 to 255, blue first.

    With ``bottleneck`` it is the one of 1 x 1, 3 x 3 and 1 x 1 convolutions.
    """

    def __init__(
        self, widths: tuple[int, int, int], blocks: int, bottleneck: int | None = None
    ) -> None:
        super().__init__()
        full, half, quarter = widths

        def part(convolution: nn.Module, channels: int, name: str = "conv_layer") -> nn.Module:
            norm = nn.InstanceNorm2d(channels, affine=True)
            return _Holder(**{name: convolution, "norm_layer": norm})

        def conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Module:
            return part(nn.Conv2d(inputs, outputs, kernel, stride), outputs)

        def up(inputs: int, outputs: int) -> nn.Module:
            layer = nn.ConvTranspose2d(inputs, outputs, 3, 2, 1, output_padding=1)
            return part(layer, outputs, "conv_transpose")

        def block() -> nn.Module:
            if bottleneck is None:
                return _Holder(conv1=conv(quarter, quarter, 3), conv2=conv(quarter, quarter, 3))
            return _Holder(
                conv1=conv(quarter, bottleneck, 1),
                conv2=conv(bottleneck, bottleneck, 3),
                conv3=conv(bottleneck, quarter, 1),
            )

        relu = nn.ReLU()
        encoder = [conv(3, full, 9), conv(full, half, 3, 2), conv(half, quarter, 3, 2)]
        self.ConvBlock = nn.Sequential(encoder[0], relu, encoder[1], relu, encoder[2], relu)
        self.ResidualBlock = nn.Sequential(*(block() for _ in range(blocks)))
        last = _Holder(conv_layer=nn.Conv2d(full, 3, 9))
        self.DeconvBlock = nn.Sequential(up(quarter, half), relu, up(half, full), relu, last)

    def forward(self, x: Tensor) -> Tensor:
        def normed(x: Tensor, part: nn.Module) -> Tensor:
            return part.norm_layer(_conv(x, part.conv_layer))  # type: ignore[operator,arg-type]

        for part in self.ConvBlock[::2]:
            x = normed(x, part).relu()
        for block in self.ResidualBlock:
            *inner, last = block.children()
            y = x
            for part in inner:
                y = normed(y, part).relu()
            x = x + normed(y, last)
        for part in self.DeconvBlock[:4:2]:
            x = part.norm_layer(part.conv_transpose(x)).relu()  # type: ignore[operator]
        return _conv(x, self.DeconvBlock[4].conv_layer)  # type: ignore[arg-type]


def with_random_weights(network: nn.Module, last: str, middle: float, spread: float) -> nn.Module:
    """Let norms differ, and let the last layer give values around ``middle``, as pictures do."""
    torch.manual_seed(0)
    for name, parameter in network.named_parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, 0.5, 0.3)
        else:
            size = spread if name.startswith(last) else 1.0
            nn.init.normal_(parameter, 0, size / parameter[0].numel() ** 0.5)
    network.get_parameter(f"{last}.bias").data.fill_(middle)
    return network.eval().requires_grad_(False)
