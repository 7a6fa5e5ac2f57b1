"""What the losses do not see and the eye does: spots, checkerboards, borders, instability.

Pure functions on float pictures ``(N, 3, H, W)``, RGB in [0, 1]. Levels are those of 8-bit
pictures, 255 of them from black to white. None of these figures says how well a picture is
stylized: a grey one has no fault. They stand beside the losses, and no network is trained on them.
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

# A Gaussian dot of height c gives at its own scale a response of c / 4 (`_dots`).
SPOT_CONTRAST = 0.2  # of full scale: dots fainter than this drown in brushwork
SPOT_SCALES = (1.5, 3.0, 6.0)  # standard deviations in px, for dots of about 4 to 25 px across
FLAT_WINDOW = 25  # px
FLAT_DEVIATION = 0.03  # of the photo's brightness within the window

BLOCK = 64  # px: a period of 4 px is then its 16th frequency, far from its neighbours
FRAME = 3  # px
BORDER = 16  # px


def spots(stylized: Tensor, photos: Tensor) -> Tensor:
    """Dots per 10,000 px where the photo is flat (nan if under 1 % of it is), ``(N,)``.

    A sky or a wall gives a network nothing to draw but strokes, so a small round thing there is
    noise of the network's own: a droplet, a ring, a speck. Round tells it from a stroke: the
    brightness curves the same way in all directions, where along a stroke it hardly curves. A dot
    is a local maximum over places and three sizes of the weaker of the two principal curvatures of
    the blurred picture (scale-normalised as Lindeberg 1998, section 4), in the channel where that
    is largest, if as strong as that of a Gaussian dot of a fifth of full scale. Flat is where the
    photo's brightness deviates by less than 0.03 in a window of 25 px. The outer 16 px do not
    count: an edge cuts strokes into dots. A painting of dots should give dots: the painting's own
    count, flat or not (`dots`), is what to compare with.
    """
    return _per_10_000(_dots(stylized), _flat(photos))


def dots(pictures: Tensor) -> Tensor:
    """Dots per 10,000 px of whole pictures, ``(N,)``: what `spots` counts, flat or not."""
    found = _dots(pictures)
    return _per_10_000(found, torch.ones_like(found))


def _per_10_000(found: Tensor, where: Tensor) -> Tensor:
    inside = (..., slice(BORDER, -BORDER), slice(BORDER, -BORDER))
    found, where = found[inside].flatten(1), where[inside].flatten(1)
    count, area = (found & where).sum(1), where.sum(1)
    return torch.where(area >= 0.01 * where.shape[1], 10_000 * count / area, torch.nan)


def _dots(pictures: Tensor) -> Tensor:
    """Where there is the centre of a dot, ``(N, 1, H, W)`` of bool."""
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
    return peaks & (strongest > SPOT_CONTRAST / 4)


def _blur(pictures: Tensor, scale: float) -> Tensor:
    """With a Gaussian of this standard deviation in px, rows first: 2 x 37 taps for 37 x 37."""
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
    """Patterns of 2 and 4 px periods beyond the painting's, in levels (root mean square), ``(N,)``.

    A network that halves the picture twice and doubles it twice repeats its own grid every 2 and
    4 px (Odena, Dumoulin and Olah 2016): that is energy at exactly the frequencies of 1/4 and 1/2
    cycles per pixel, down, across and in both, where brushwork has it spread over all. So the mean
    power spectrum of blocks of 64 px (Hann window, half overlapping: Welch 1967) is summed at those
    15 frequencies less what lies around them (the median of 3 to 5 bins away), and the same of the
    painting, at the size whose style was measured, is taken off: canvas and JPEG repeat, too.
    """
    excess = _grid_power(stylized) - _grid_power(painting).mean()
    return LEVELS * excess.clamp_min(0).sqrt()


def _grid_power(pictures: Tensor) -> Tensor:
    """Power at periods of 2 and 4 px over that around them, mean of the channels, ``(N,)``."""
    window = torch.hann_window(BLOCK, device=pictures.device)
    window = window[:, None] * window
    blocks = pictures.unfold(2, BLOCK, BLOCK // 2).unfold(3, BLOCK, BLOCK // 2)
    blocks = blocks - blocks.mean((-2, -1), keepdim=True)
    power = torch.fft.fft2(blocks * window).abs().square().mean((1, 2, 3))
    power = power / (BLOCK**2 * window.square().sum())  # sums to the variance (Parseval)
    reach = torch.arange(-5, 6, device=pictures.device)
    distance = torch.maximum(reach[:, None].abs(), reach.abs())
    peak, around = distance <= 1, distance >= 3  # Hann's peak is three bins wide
    total = torch.zeros_like(power[:, 0, 0])
    for row in range(0, BLOCK, BLOCK // 4):
        for column in range(0, BLOCK, BLOCK // 4):
            if row == column == 0:
                continue
            near = power[:, (row + reach[:, None]) % BLOCK, (column + reach) % BLOCK]
            background = near[:, around].median(1).values
            total += near[:, peak].sum(1) - peak.sum() * background
    return total


def border(stylized: Tensor) -> dict[str, Tensor]:
    """How the edges of pictures differ from what lies just inside them.

    Padding invents what is beyond the edge, and networks answer with frames: paler, darker or
    emptier than the rest. The outermost 3 px are held against the next 13, and the outer 16 px
    against the next 16: near enough that a photo's own composition, whose subject is in the middle,
    hardly tells. Colours are averaged over the four sides and all pictures before they are
    compared, so that what is chance cancels and what is the network's stays.

    Returned are scalars: ``colour_3`` and ``colour_16``, the distance of the mean colours in levels
    (root mean square of the channels); ``contrast_3`` and ``contrast_16``, the root mean square
    difference of neighbours along the edge as a share of that inside: 1 is as it should be, and a
    dull frame is below.
    """
    colours, contrasts = [], []
    for turned in (stylized, stylized.flip(-2), stylized.mT, stylized.mT.flip(-2)):
        strip = turned[..., : 2 * BORDER, 2 * BORDER : -2 * BORDER]  # corners are of two sides
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
    """How much a picture changed, as a share of its own contrast, ``(N,)``.

    The root mean square difference over the picture's standard deviation, without the outer 16 px,
    which `border` judges: 0 is still, 1.4 another picture. Film shimmers where a network answers to
    what nobody sees, so `again` is stylized from the photo moved by a pixel (`shift`), with a
    sensor's noise (`add_noise`) or saved as JPEG (`recompress`). As a share, since a grey picture
    would be the most stable of all.
    """
    inside = (..., slice(BORDER, -BORDER), slice(BORDER, -BORDER))
    stylized, again = stylized[inside], again[inside]
    difference = (again - stylized).square().flatten(1).mean(1).sqrt()
    return difference / stylized.flatten(1).std(1).clamp_min(1e-6)


def shift(pictures: Tensor) -> Tensor:
    """Pictures moved by one pixel up and left, one pixel smaller: nothing is made up at the edge,
    and a stylized picture is moved in the same way."""
    return pictures[..., 1:, 1:]


def add_noise(photos: Tensor, deviation: float = 0.02, seed: int = 0) -> Tensor:
    """Photos with Gaussian noise, as of a sensor in poor light: the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(photos.shape, generator=generator).to(photos)
    return (photos + deviation * noise).clamp(0, 1)


def recompress(photos: Tensor, quality: int = 75) -> Tensor:
    """Photos after a JPEG of this quality, with halved colour resolution as cameras save it."""
    decoded = []
    for photo in photos:
        file = io.BytesIO()
        to_picture(photo).save(file, format="JPEG", quality=quality, subsampling="4:2:0")
        decoded.append(to_tensor(Image.open(file).convert("RGB")))
    return torch.stack(decoded).to(photos)
