"""Draw the bundled painting peacock-mosaic, in smalti and gold, from a seed and nothing else.

Tesserae are set as Hausner ("Simulating Decorative Mosaics", 2001) sets them: as cells of a
centroidal Voronoi diagram whose metric is a square turned along the contours of the design, cut off
where two fields of colour meet. Each tile is then tinted, tilted and bedded in mortar by itself.
"""

from dataclasses import dataclass, field

import numpy as np
from canvas import (
    HEIGHT,
    SUPERSAMPLING,
    WIDTH,
    Array,
    Float,
    Int,
    Mask,
    command,
    distance_to_joint,
    flow_along,
    ramp,
    shrink,
    smooth_noise,
    soften,
)
from PIL import Image

ROUNDS = 9  # of moving every tile to its middle
ROOT = (500.0, 596.0)  # where the train's feathers spring from
STRETCH = 1.1  # the train is higher than wide
# Radius of each ring of eyes, how many there are, and the radius of one.
RINGS = ((455, 19, 38), (364, 18, 33), (286, 15, 29), (216, 12, 25))
REACH = 1.9  # half the train's spread, radians from upright

GOLD = ((96, 54, 10), (196, 132, 32), (250, 208, 92), (255, 244, 190))


@dataclass
class Cartoon:
    """The design under the tiles, one value per pixel (H, W).

    `region` keeps tiles apart, `angle` is the direction of their rows in radians, `size` their
    side in pixels, `color` (H, W, 3) the sRGB the setter looks for, `gold` how many are gold.
    """

    y: Float
    x: Float
    region: Int = field(init=False)
    angle: Float = field(init=False)
    size: Float = field(init=False)
    color: Float = field(init=False)
    gold: Float = field(init=False)

    def __post_init__(self) -> None:
        """Start with an empty wall."""
        shape = self.x.shape
        self.region = np.zeros(shape, np.int32)
        self.angle, self.size, self.gold = (np.zeros(shape, np.float32) for _ in range(3))
        self.color = np.zeros((*shape, 3), np.float32)

    def lay(
        self, mask: Mask, region: Array | int, angle: Array | float, color: Array | tuple[int, ...],
        size: float = 9.5, gold: float = 0.0, where: tuple[slice, slice] = np.s_[:, :],
    ) -> None:  # fmt: skip
        """Put a field over what is already there; `region` numbers start anew at each call."""
        fresh = int(self.region.max()) + 1 + np.asarray(region, np.int32)
        for target, value in (
            (self.region, fresh), (self.angle, angle), (self.size, size), (self.gold, gold),
        ):  # fmt: skip
            target[where][mask] = np.broadcast_to(value, mask.shape)[mask]
        self.color[where][mask] = np.broadcast_to(color, (*mask.shape, 3))[mask]


def window(x: float, y: float, reach: float) -> tuple[slice, slice]:
    """The rows and columns of a drawing within `reach` pixels of (x, y)."""
    rows, columns = (
        slice(max(0, int((c - reach) * SUPERSAMPLING)), max(0, int((c + reach) * SUPERSAMPLING)))
        for c in (y, x)
    )
    return rows, columns


def eyes() -> list[tuple[float, float, float, float]]:
    """Centre x, centre y, radius and direction (radians) of every eye, the outer ones last."""
    found = []
    for ring, (radius, count, size) in reversed(list(enumerate(RINGS))):
        for turn in np.linspace(-REACH, REACH, count + ring % 2)[: count + ring % 2]:
            if ring % 2:  # the rings stand in each other's gaps
                turn *= 1 - 1 / count
            dx, dy = radius * np.sin(turn), -radius * STRETCH * np.cos(turn)
            found.append((ROOT[0] + dx, ROOT[1] + dy, float(size), float(np.arctan2(dy, dx))))
    return found


def design(rng: np.random.Generator) -> Cartoon:
    """Draw the cartoon."""
    rows, columns = HEIGHT * SUPERSAMPLING, WIDTH * SUPERSAMPLING
    y, x = np.mgrid[:rows, :columns].astype(np.float32) / SUPERSAMPLING
    # An unsteady hand: every line below wavers by a few pixels.
    x = x + 2.2 * smooth_noise(rng, x.shape, 90 * SUPERSAMPLING)
    y = y + 2.2 * smooth_noise(rng, x.shape, 90 * SUPERSAMPLING)
    cartoon = Cartoon(y, x)
    spots = eyes()
    dx, dy = x - ROOT[0], (y - ROOT[1]) / STRETCH
    r, turn = np.hypot(dx, dy), np.arctan2(dx, -dy)

    # Ground to stand on, and the air about the train: rows ripple outwards from its scallops.
    outside = np.maximum(r - 452, 40 * (np.abs(turn) - REACH - 0.09) * r / 40)
    softness = 8.0
    total = np.exp(-outside.clip(-100) / softness)
    for cx, cy, size, _ in spots[-RINGS[0][1] :]:
        total += np.exp(-(np.hypot(x - cx, y - cy) - 1.2 * size).clip(-100) / softness)
    air = (-softness * np.log(total)).astype(np.float32)
    band = np.floor(air / 13)
    glow = ramp(
        air + 5 * smooth_noise(rng, x.shape, 60),
        (0, (252, 240, 206)), (22, (244, 222, 170)), (60, (232, 184, 112)),
        (110, (206, 122, 70)), (170, (158, 66, 50)), (230, (104, 36, 44)),
    )  # fmt: skip
    gilded = np.where(band == 1, 0.95, np.where(band % 4 == 3, 0.5, 0.1))
    everywhere = np.ones(x.shape, np.bool_)
    cartoon.lay(everywhere, band.clip(-2) + 2, flow_along(air), glow, 13)
    cartoon.gold[:] = gilded

    shore = y - 710 - 10 * np.sin(x / 130 + 0.6) - 5 * np.sin(x / 47)
    furrow = np.floor(shore / 12.5)
    earth = ramp(
        shore, (0, (40, 58, 30)), (12, (122, 128, 42)), (26, (206, 150, 62)), (44, (190, 92, 48)),
        (70, (120, 46, 38)), (95, (70, 28, 34)),
    )  # fmt: skip
    cartoon.lay(shore > 0, furrow.clip(0), flow_along(shore), earth, 12, 0.06)

    # Train: feathers side by side, barbs slanting out from their quills.
    train = air < 0
    feathers = 37
    place = turn / (2 * REACH / feathers)
    beside = (place - np.rint(place)) * (2 * REACH / feathers) * r
    level = r - 0.8 * np.abs(beside)
    barb = np.floor(level / 19 + 0.5 * (np.rint(place) % 2))
    rank = (level / 19 + 0.5 * (np.rint(place) % 2) - barb)[..., None]
    base = np.select(
        [(barb % 3 == k)[..., None] for k in (0, 1)],
        [np.array([2, 92, 84], np.float32), np.array([10, 132, 84], np.float32)],
        np.array([4, 62, 86], np.float32),
    )
    base = base * (0.65 + 0.6 * rank) + 26 * rank
    cartoon.lay(train, 0, flow_along(level), base, 10.5, 0.03)
    quill = train & (np.abs(beside) < 3.6) & (r > 120)
    cartoon.lay(quill, np.rint(place) + 50, turn - np.pi / 2, (150, 158, 52), 8, 0.35)

    for cx, cy, size, heading in spots:
        here = window(cx, cy, 1.9 * size)
        ahead = (x[here] - cx) * np.cos(heading) + (y[here] - cy) * np.sin(heading)
        aside = -(x[here] - cx) * np.sin(heading) + (y[here] - cy) * np.cos(heading)
        # Pear-shaped: pointed towards the root.
        d = np.hypot(ahead * np.where(ahead < 0, 0.8, 1.0), aside * (1 - 0.18 * ahead / size))
        d = d / size
        heart = np.hypot(ahead + 0.10 * size - 0.16 * size * np.abs(aside) / (0.3 * size),
                         aside * 0.9) / size  # fmt: skip
        around = flow_along(d)
        for edge, color, gold in (
            (1.2, (6, 44, 56), 0.0), (1.04, (176, 190, 60), 0.22), (0.83, (206, 92, 34), 0.25),
            (0.63, (50, 206, 204), 0.0), (0.42, (26, 78, 210), 0.0),
        ):  # fmt: skip
            reach = d < edge
            cartoon.lay(reach, 0, around, color, size * 0.215, gold, here)
        cartoon.lay(heart < 0.235, 0, around, (36, 12, 104), size * 0.34, 0, here)

    # Mantle: small scales about the root, gold on their rims.
    for row in range(7, 0, -1):
        radius = row * 20.0 + 20
        count = int(2 + row * 5)
        for k in range(count):
            a = -REACH - 0.1 + (k + 0.5 * (row % 2)) * (2 * REACH + 0.2) / count
            cx = ROOT[0] + radius * np.sin(a)
            cy = ROOT[1] - radius * STRETCH * np.cos(a)
            here = window(cx, cy, 24)
            d = np.hypot(x[here] - cx, y[here] - cy)
            rim = np.array((214, 190, 70) if row % 2 else (120, 176, 70), np.float32)
            for edge, tint, gold in ((20, rim, 0.55), (12, 0.2 * rim + np.array((0, 84, 70)), 0.0)):
                cartoon.lay(d < edge, 0, flow_along(d), tint, 8.2, gold, here)

    bird(cartoon)
    for cx, cy, size in (
        (150, 766, 24), (246, 752, 18), (330, 775, 21), (668, 770, 23), (768, 754, 18),
        (860, 772, 23), (414, 778, 15), (592, 784, 15),
    ):  # fmt: skip
        flower(cartoon, cx, cy, size)
    return cartoon


def flower(cartoon: Cartoon, cx: float, cy: float, size: float) -> None:
    """Set a rosette of radius `size`."""
    here = window(cx, cy, 1.5 * size)
    right, down = cartoon.x[here] - cx, cartoon.y[here] - cy
    d = np.hypot(right, down)
    a = np.arctan2(down, right)
    petal = np.rint(a * 6 / (2 * np.pi)) % 6
    edge = size * (0.8 + 0.2 * np.cos(a * 6))
    cartoon.lay(d < edge + 4, 0, flow_along(d - edge), (32, 50, 34), 7, 0, here)
    tint = ramp(d / size, (0.3, (226, 84, 84)), (0.7, (250, 196, 176)), (1, (255, 240, 226)))
    cartoon.lay(d < edge, petal, a, tint, 8, 0, here)
    cartoon.lay(d < 0.36 * size, 0, flow_along(d), (250, 200, 60), 7, 0.8, here)


def bird(cartoon: Cartoon) -> None:
    """Set the peacock himself: legs, body, neck, head and crest."""
    x, y = cartoon.x, cartoon.y
    for foot in (470.0, 532.0):
        leg = np.abs(x - foot - (y - 740) * (foot - 500) / 200) - 5
        leg = np.maximum(leg, np.abs(y - 725) - 34)
        toes = np.maximum(np.abs(x - foot) - 28, np.abs(y - 759 - np.abs(x - foot) * 0.3) - 5)
        shape = np.minimum(leg, toes)
        cartoon.lay(shape < 5, 0, flow_along(shape), (52, 30, 30), 7)
        cartoon.lay(shape < 0, 0, flow_along(shape), (232, 176, 84), 7, 0.3)

    # The body is a chain of circles down a gentle S, melted together.
    rise = np.linspace(0, 1, 60)
    middle = 500 + 15 * np.sin(rise * 5.2) - 16 * rise**3
    heights = 622 - 272 * rise
    radii = np.interp(rise, [0, 0.18, 0.42, 0.7, 0.9, 1], [88, 80, 52, 30, 27, 35])
    body = np.full(x.shape, 1e9, np.float32)
    for cx, cy, radius in zip(middle, heights, radii, strict=True):
        np.minimum(body, np.hypot(x - cx, (y - cy) * 0.94) - radius, out=body)
    head = (float(middle[-1]), float(heights[-1]))

    # Crest: stalks with a fan at each end, behind the head.
    for k in range(7):
        a = np.radians(-128 + k * 13)
        tip = (head[0] + 96 * np.cos(a), head[1] + 4 + 96 * np.sin(a))
        here = window((head[0] + tip[0]) / 2, (head[1] + tip[1]) / 2, 75)
        px, py = x[here] - head[0], y[here] - head[1]
        along = px * np.cos(a) + py * np.sin(a)
        off = np.abs(-px * np.sin(a) + py * np.cos(a))
        stalk = np.maximum(off - 2.6, np.abs(along - 48) - 48)
        knob = np.hypot(x[here] - tip[0], (y[here] - tip[1])) - 9
        both = np.minimum(stalk, knob)
        cartoon.lay(both < 4, 0, flow_along(both), (6, 22, 48), 7, 0, here)
        cartoon.lay(stalk < 0, 0, a, (240, 206, 110), 6.5, 0.7, here)
        cartoon.lay(knob < 0, 0, flow_along(knob), (84, 214, 226), 7, 0, here)

    cartoon.lay(body < 9, 0, flow_along(body), (250, 214, 110), 8.5, 0.9)
    side = np.tanh((x - np.interp(y, heights[::-1], middle[::-1])) / 46)
    tone = (0.52 - 0.42 * side - (y - 520) / 900).astype(np.float32)
    feathers = np.sin(y / 8.5 + 2.2 * np.cos(x / 15)) * 0.13
    blue = ramp(
        tone + feathers, (0, (14, 12, 88)), (0.28, (18, 40, 160)), (0.5, (14, 92, 214)),
        (0.72, (40, 158, 232)), (0.95, (150, 228, 240)),
    )  # fmt: skip
    cartoon.lay(body < 0, np.floor(-body / 11).clip(0), flow_along(body), blue, 9.6)
    cartoon.lay((body < 0) & (body > -7.5), 0, flow_along(body), (10, 10, 66), 8)

    # Beak: a hooked wedge to the left.
    ahead = (head[0] - 30 - x) / 50
    beak = np.maximum(np.abs(y - head[1] - 5 - 9 * ahead**2) - 12 * (1 - ahead), -50 * ahead)
    cartoon.lay(beak < 4.5, 0, flow_along(beak), (6, 14, 52), 7)
    cartoon.lay(beak < 0, 0, np.pi / 2, (244, 214, 150), 8)

    # Face: a white cheek about a dark eye.
    cheek = np.hypot((x - head[0] + 6) / 1.5, y - head[1] + 1)
    cartoon.lay(cheek < 15.5, 0, flow_along(cheek), (248, 244, 226), 7)
    pupil = np.hypot(x - head[0] + 7, y - head[1] + 1)
    cartoon.lay(pupil < 9.5, 0, flow_along(pupil), (22, 16, 30), 9)
    spark = np.hypot(x - head[0] + 9, y - head[1] + 4)
    cartoon.lay(spark < 2.8, 0, 0.4, (255, 250, 240), 7)


def assign(
    seeds: Array, turn: Array, side: Array, home: Int, region: Int, scale: int
) -> tuple[Int, Float]:
    """Which tile each pixel belongs to, (H, W), or -1; and its distance in units of the tile.

    `seeds` (tiles, 2) as x, y in finished pixels, `turn` (tiles,) in radians, `side` (tiles,) in
    pixels, `home` (tiles,) the region that each may not leave; `region` is `scale` times as large.
    """
    best = np.full(region.shape, np.inf, np.float32)
    owner = np.full(region.shape, -1, np.int32)
    cos, sin = np.cos(turn), np.sin(turn)
    for tile, (cx, cy) in enumerate(seeds * scale):
        reach = int(1.7 * side[tile] * scale) + 1
        top, left = max(0, int(cy) - reach), max(0, int(cx) - reach)
        here = np.s_[top : int(cy) + reach + 1, left : int(cx) + reach + 1]
        near = best[here]
        down = (np.arange(top, top + near.shape[0], dtype=np.float32) - cy)[:, None]
        right = np.arange(left, left + near.shape[1], dtype=np.float32) - cx
        unit = 1 / (side[tile] * scale)
        c, s = cos[tile] * unit, sin[tile] * unit
        # A little longer along the row than across it.
        d = np.maximum(np.abs(0.92 * (right * c + down * s)), np.abs(1.08 * (down * c - right * s)))
        closer = (d < near) & (region[here] == home[tile])
        near[closer] = d[closer]
        owner[here][closer] = tile
    return owner, best


def set_tiles(cartoon: Cartoon, rng: np.random.Generator) -> Int:
    """Cut the cartoon into tiles: the tile's number per pixel, (H, W), or -1 for mortar."""
    small = np.s_[::SUPERSAMPLING, ::SUPERSAMPLING]
    region, size, angle = cartoon.region[small], cartoon.size[small], cartoon.angle[small]

    def sow(bare: Mask) -> Float:
        rows, columns = np.nonzero(bare & (rng.random(bare.shape) < size**-2.0))
        return np.stack([columns, rows], -1).astype(np.float32)

    seeds = sow(np.ones(region.shape, np.bool_))
    for i in range(ROUNDS):
        column, row = seeds.astype(int).T
        home, turn, side = region[row, column], angle[row, column], size[row, column]
        if i == ROUNDS - 1:
            break
        owner, far = assign(seeds, turn, side, home, region, 1)
        flat = owner.ravel() + 1
        sizes = np.bincount(flat, minlength=len(seeds) + 1)[1:]
        rows, columns = np.indices(owner.shape)
        middle = np.stack(
            [np.bincount(flat, c.ravel(), len(seeds) + 1)[1:] / sizes.clip(1)
             for c in (columns, rows)], -1,
        ).astype(np.float32)  # fmt: skip
        # A tile in a thin curve has its middle outside: it stays.
        column, row = middle.astype(int).T
        stays = region[row, column] != home
        middle[stays] = seeds[stays]
        # Slivers are swept up, and gaps sown again.
        kept = sizes > (0.16 if i > 3 else 0.05) * side**2
        seeds = np.concatenate([middle[kept], sow((owner < 0) | (far > 0.95))])
    owner, _ = assign(seeds, turn, side, home, cartoon.region, SUPERSAMPLING)
    return owner


def paint(seed: int) -> Image.Image:
    """Draw the painting of `seed`: an RGB image of WIDTH x HEIGHT pixels."""
    rng = np.random.default_rng(seed)
    cartoon = design(rng)
    tile = set_tiles(cartoon, rng)
    shape, count = tile.shape, int(tile.max()) + 1
    flat = tile.ravel() + 1
    area = np.bincount(flat, minlength=count + 1)[1:].clip(1)

    def middle(values: Array) -> Float:
        return (np.bincount(flat, values.ravel(), count + 1)[1:] / area).astype(np.float32)

    x, y = np.meshgrid(np.arange(shape[1], dtype=np.float32), np.arange(shape[0], dtype=np.float32))
    center_x, center_y = middle(x), middle(y)
    tint = np.stack([middle(cartoon.color[..., k]) for k in range(3)], -1)
    # No two pieces come from the same pour of glass.
    tint *= 1 + rng.normal(0, 0.13, (count, 1)) + rng.normal(0, 0.065, (count, 3))
    tint += rng.normal(0, 7, (count, 3))
    stray = rng.random(count) < 0.025
    tint[stray] = tint[stray] * 0.6 + tint[rng.integers(0, count, stray.sum())] * 0.4
    gilt = rng.random(count) < middle(cartoon.gold)

    # Each tile is bedded at its own tilt, and shows light or shade.
    tilt = rng.normal(0, 0.3, (count, 2)).astype(np.float32)
    lean = tilt[tile]
    across = ((x - center_x[tile]) * lean[..., 0] + (y - center_y[tile]) * lean[..., 1]) / 10
    facing = (-(0.6 * tilt[:, 0] + 0.8 * tilt[:, 1]))[tile]
    cloudy = smooth_noise(rng, shape, 8) * 0.7 + smooth_noise(rng, shape, 6, 18) * 0.7
    shift = rng.integers(0, 1500, (2, count))
    rows = (y.astype(np.int32) + shift[0][tile]) % shape[0]
    columns = (x.astype(np.int32) + shift[1][tile]) % shape[1]
    cloudy = cloudy[rows, columns]
    light = 1 + 0.34 * facing + 0.18 * across + 0.01 * cloudy
    picture = tint[tile] * light[..., None]
    leaf = ramp(
        0.95 + 1.5 * facing + 0.7 * across + 0.09 * cloudy
        + rng.normal(0, 0.3, count)[tile],
        *zip((-0.4, 0.7, 1.6, 2.6), GOLD, strict=True),
    )  # fmt: skip
    shining = gilt[tile]
    picture[shining] = leaf[shining]

    # Bevels catch the light above and to the left; mortar lies lower, in shadow.
    gap = distance_to_joint(tile, 10 * SUPERSAMPLING) / SUPERSAMPLING
    gap -= rng.uniform(0.35, 1.15, count).astype(np.float32)[tile]
    gap -= 0.2 * smooth_noise(rng, shape, 14)
    level = soften(gap)
    down, right = np.gradient(np.minimum(level, 2.2))
    slope = ((0.6 * right + 0.8 * down) * SUPERSAMPLING)[..., None]
    picture *= 1 + 0.18 * slope.clip(-1, 1)
    picture += 16 * slope.clip(0, 1) ** 2
    solid = (0.5 + level / 0.8).clip(0, 1)[..., None]
    solid[tile < 0] = 0
    grit = 1 + 0.05 * smooth_noise(rng, shape, 6) + 0.1 * smooth_noise(rng, shape, 60)
    mortar = (np.array([40, 32, 30], np.float32) + 0.2 * cartoon.color) * grit[..., None]
    mortar *= (1.1 + 0.2 * level.clip(-3, 0))[..., None]
    return shrink(soften(mortar * (1 - solid) + picture.clip(0, 255) * solid))


if __name__ == "__main__":
    command(paint, "peacock-mosaic", "a peacock in tesserae of glass and gold", seed=7)
