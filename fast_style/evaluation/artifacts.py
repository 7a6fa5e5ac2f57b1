"""Measures of artifacts that the eye sees and the losses miss.

Pure functions on float pictures ``(N, 3, H, W)``, RGB in [0, 1]. A level is a step of an 8-bit
picture, 1/255. These figures stand beside the losses and do not say how well a picture is stylized:
a grey picture has no artifact. No network is trained on them.
"""

from __future__ import annotations

import io
import math

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from fast_style.images import to_picture, to_tensor

LEVELS = 255

SPOT_CONTRAST = 0.2  # of the range [0, 1]; fainter dots drown in brushwork
SPOT_SCALES = (1.5, 3.0, 6.0)  # standard deviations in px, for dots about 4 to 25 px across
FLAT_WINDOW = 25  # px
FLAT_DEVIATION = 0.03  # standard deviation of the brightness within the window
FLAT_SHARE = 0.01  # of a photo; `spots` needs that much flat area

BLOCK = 64  # px; a period of 4 px is the 16th frequency of such a block
GRID = 4  # px, the longest period of a network that halves the picture twice

FRAME = 3  # px, the outer strip in which networks draw frames
BORDER = 16  # px


def spots(stylized: Tensor, photos: Tensor) -> Tensor:
    """Count dots per 10,000 px in the flat areas of photos.

    A network has nothing to draw in a sky or on a wall but strokes. A small round mark there is an
    artifact: a droplet, a ring, a speck. Its brightness curves alike in all directions, while a
    stroke hardly curves along its length. A dot is a local maximum, over places and three
    scales, of the weaker principal curvature of the blurred picture (scale-normalised as in
    Lindeberg 1998, section 4), in the channel where that is largest. It counts if it is as strong
    as a Gaussian dot of contrast 0.2.

    An area is flat if the brightness of the photo has a standard deviation below 0.03 in a window
    of 25 px. The outer 16 px do not count, as the edge cuts strokes into dots.

    Args:
        stylized: stylized photos, ``(N, 3, H, W)`` in [0, 1].
        photos: the photos themselves, of the same shape.

    Returns:
        Dots per 10,000 px, ``(N,)``; nan where less than 1 % of a photo is flat. A painting made of
        dots should yield dots: compare with its own count, `dots`.

    >>> photo = torch.full((1, 3, 64, 64), 0.5)
    >>> stylized = photo.clone()
    >>> stylized[..., 30:34, 30:34] = 0  # one dot in the inner 32 x 32 px
    >>> spots(stylized, photo)
    tensor([9.7656])
    """
    return _per_10_000(_dots(stylized), _flat(photos))


def dots(pictures: Tensor) -> Tensor:
    """Count dots per 10,000 px of whole pictures, flat areas or not.

    Args:
        pictures: ``(N, 3, H, W)`` in [0, 1].

    Returns:
        Dots per 10,000 px, ``(N,)``, as `spots` defines them.
    """
    found = _dots(pictures)
    return _per_10_000(found, torch.ones_like(found))


def _per_10_000(found: Tensor, where: Tensor) -> Tensor:
    inside = (..., slice(BORDER, -BORDER), slice(BORDER, -BORDER))
    found, where = found[inside].flatten(1), where[inside].flatten(1)
    count, area = (found & where).sum(1), where.sum(1)
    return torch.where(area >= FLAT_SHARE * where.shape[1], 10_000 * count / area, torch.nan)


def _dots(pictures: Tensor) -> Tensor:
    """A mask of the centres of dots, ``(N, 1, H, W)``."""
    strongest = torch.zeros_like(pictures[:, :1])
    for scale in SPOT_SCALES:
        blurred = F.pad(_blur(pictures, scale), (1,) * 4, mode="replicate")
        middle = blurred[..., 1:-1, 1:-1]
        down = blurred[..., 2:, 1:-1] - 2 * middle + blurred[..., :-2, 1:-1]
        across = blurred[..., 1:-1, 2:] - 2 * middle + blurred[..., 1:-1, :-2]
        mixed = (
            blurred[..., 2:, 2:]
            + blurred[..., :-2, :-2]
            - blurred[..., 2:, :-2]
            - blurred[..., :-2, 2:]
        ) / 4
        # The principal curvatures are mean + spread and mean - spread.
        mean, spread = (down + across) / 2, (((down - across) / 2) ** 2 + mixed**2).sqrt()
        weaker = scale**2 * F.relu(mean.abs() - spread)
        strongest = torch.maximum(strongest, weaker.amax(1, keepdim=True))
    peaks = strongest == F.max_pool2d(strongest, 9, stride=1, padding=4)
    # A Gaussian dot of contrast c responds with c / 4 at its own scale.
    return peaks & (strongest > SPOT_CONTRAST / 4)


def _blur(pictures: Tensor, scale: float) -> Tensor:
    """Gaussian blur with a standard deviation in px, as two 1D convolutions."""
    reach = math.ceil(3 * scale)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1).to(pictures) / scale) ** 2)
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1)
    planes = F.pad(pictures.flatten(0, 1).unsqueeze(1), (reach,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(planes, kernel), kernel.mT).view_as(pictures)


def _flat(photos: Tensor) -> Tensor:
    brightness = photos.mean(1, keepdim=True)

    def mean(values: Tensor) -> Tensor:
        padded = F.pad(values, (FLAT_WINDOW // 2,) * 4, mode="reflect")
        return F.avg_pool2d(padded, FLAT_WINDOW, stride=1)

    return mean(brightness**2) - mean(brightness) ** 2 < FLAT_DEVIATION**2


def checkerboard(stylized: Tensor, painting: Tensor) -> Tensor:
    """Measure patterns with periods of 2 and 4 px beyond those of the painting.

    A network that halves the picture twice and doubles it twice repeats its own grid every 2 and 4
    px (Odena, Dumoulin and Olah 2016). The grid puts power at exactly 1/4 and 1/2 cycles per pixel,
    down, across and both, while brushwork spreads over all frequencies. The power spectrum is the
    mean over blocks of 64 px (Hann window, half overlapping: Welch 1967). Its excess over the
    surroundings (the median of 3 to 5 bins away) is summed at those 15 frequencies. The excess of
    the painting is subtracted, because canvas and JPEG repeat as well.

    Args:
        stylized: ``(N, 3, H, W)`` in [0, 1], at least 64 px a side.
        painting: the style image at the size whose style is measured, ``(M, 3, H, W)``.

    Returns:
        Root mean square of the pattern in levels, ``(N,)``.

    >>> flat = torch.full((1, 3, 128, 128), 0.5)
    >>> stripes = flat + 0.1 * torch.tensor([1.0, -1.0]).repeat(64)  # a period of 2 px
    >>> checkerboard(stripes, painting=flat)  # 0.1 x 255
    tensor([25.5000])
    """
    excess = _grid_power(stylized) - _grid_power(painting).mean()
    return LEVELS * excess.clamp_min(0).sqrt()


def _grid_power(pictures: Tensor) -> Tensor:
    """Power at periods of 2 and 4 px above their surroundings, averaged over channels, ``(N,)``."""
    window = torch.hann_window(BLOCK, device=pictures.device)
    window = window[:, None] * window
    blocks = pictures.unfold(2, BLOCK, BLOCK // 2).unfold(3, BLOCK, BLOCK // 2)
    blocks = blocks - blocks.mean((-2, -1), keepdim=True)
    power = torch.fft.fft2(blocks * window).abs().square().mean((1, 2, 3))
    power = power / (BLOCK**2 * window.square().sum())  # the sum is the variance (Parseval)
    reach = torch.arange(-5, 6, device=pictures.device)
    distance = torch.maximum(reach[:, None].abs(), reach.abs())
    peak, around = distance <= 1, distance >= 3  # a peak is three bins wide with Hann's window
    total = torch.zeros_like(power[:, 0, 0])
    for row in range(0, BLOCK, BLOCK // GRID):
        for column in range(0, BLOCK, BLOCK // GRID):
            if row == column == 0:
                continue
            near = power[:, (row + reach[:, None]) % BLOCK, (column + reach) % BLOCK]
            background = near[:, around].median(1).values
            total += near[:, peak].sum(1) - peak.sum() * background
    return total


def border(stylized: Tensor) -> dict[str, Tensor]:
    """Compare the edges of pictures with what lies just inside them.

    Padding invents what is beyond the edge, and networks answer with frames that are paler, darker
    or emptier than the rest. The outer 3 px are compared with the next 13, and the outer 16 px with
    the next 16. These strips are so close together that the composition of a photo hardly matters.
    Colours are averaged over the four sides and all pictures first: chance cancels, and the mark of
    the network stays.

    Args:
        stylized: ``(N, 3, H, W)`` in [0, 1], more than 64 px a side.

    Returns:
        Scalars by name. ``colour_3`` and ``colour_16`` are distances of the mean colours in levels
        (root mean square over channels). ``contrast_3`` and ``contrast_16`` are root mean square
        differences of neighbours along the edge, relative to those inside: 1 is ideal, and a dull
        frame is below 1.

    >>> stylized = torch.full((1, 3, 128, 128), 0.5)
    >>> stylized[..., :3] = stylized[..., -3:] = 0.6  # pale on 2 of 4 sides
    >>> border(stylized)["colour_3"]
    tensor(12.7500)
    """
    colours, contrasts = [], []
    for turned in (stylized, stylized.flip(-2), stylized.mT, stylized.mT.flip(-2)):
        strip = turned[..., : 2 * BORDER, 2 * BORDER : -2 * BORDER]  # corners belong to two sides
        colours.append(strip.mean((0, 3)))
        contrasts.append(strip.diff(dim=-1).square().mean((0, 1, 3)))
    colour, contrast = torch.stack(colours).mean(0), torch.stack(contrasts).mean(0)
    found = {}
    for outer, end in ((FRAME, BORDER), (BORDER, 2 * BORDER)):
        shift = colour[:, :outer].mean(1) - colour[:, outer:end].mean(1)
        found[f"colour_{outer}"] = LEVELS * shift.square().mean().sqrt()
        ratio = contrast[:outer].mean() / contrast[outer:end].mean().clamp_min(1e-12)
        found[f"contrast_{outer}"] = ratio.sqrt()
    return found


def change(stylized: Tensor, again: Tensor) -> Tensor:
    """Measure how much pictures changed, relative to their own contrast.

    Film flickers where a network reacts to what no eye sees. ``again`` is therefore stylized from
    the photo moved by a pixel (`shift`), with the noise of a sensor (`add_noise`), or saved as JPEG
    (`recompress`). The outer 16 px are left to `border`. Division by the contrast keeps a grey
    picture from being the most stable of all.

    Args:
        stylized: ``(N, 3, H, W)`` in [0, 1].
        again: what should look the same, of the same shape.

    Returns:
        Root mean square difference over the standard deviation, ``(N,)``: 0 for no change, 1.4 for
        an unrelated picture.

    >>> picture = torch.rand(1, 3, 64, 64)
    >>> change(picture, picture)
    tensor([0.])
    """
    inside = (..., slice(BORDER, -BORDER), slice(BORDER, -BORDER))
    stylized, again = stylized[inside], again[inside]
    difference = (again - stylized).square().flatten(1).mean(1).sqrt()
    return difference / stylized.flatten(1).std(1).clamp_min(1e-6)


def shift(pictures: Tensor) -> Tensor:
    """Move pictures by one pixel up and left.

    They become one pixel smaller, so nothing is invented at the edge, and photos and stylized
    pictures move alike.

    Args:
        pictures: ``(N, 3, H, W)``.

    Returns:
        ``(N, 3, H - 1, W - 1)``.
    """
    return pictures[..., 1:, 1:]


def add_noise(photos: Tensor, deviation: float = 0.02, seed: int = 0) -> Tensor:
    """Add the Gaussian noise of a sensor in poor light to photos.

    Args:
        photos: ``(N, 3, H, W)`` in [0, 1].
        deviation: standard deviation of the noise.
        seed: seed of the noise; the same seed gives the same noise.
    """
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(photos.shape, generator=generator).to(photos)
    return (photos + deviation * noise).clamp(0, 1)


def recompress(photos: Tensor, quality: int = 75) -> Tensor:
    """Save photos as JPEG and read them back.

    Args:
        photos: ``(N, 3, H, W)`` in [0, 1].
        quality: quality of the JPEG, 1 to 95. Colours are stored at half the resolution (4:2:0), as
            cameras do.
    """
    decoded = []
    for photo in photos:
        file = io.BytesIO()
        to_picture(photo).save(file, format="JPEG", quality=quality, subsampling="4:2:0")
        decoded.append(to_tensor(Image.open(file).convert("RGB")))
    return torch.stack(decoded).to(photos)
