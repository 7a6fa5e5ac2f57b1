"""Draw the bundled painting indigo-woodcut, mountains and pines, from a seed and nothing else.

Made as a print is: flat blocks of rust, ochre, mist and cream are printed first, then an indigo key
block, from which everything light has been cut with a gouge. The cuts follow the forms, side by
side (Jobard and Lefer, "Creating Evenly-Spaced Streamlines of Arbitrary Density", 1997), and are as
wide as the light is strong.
"""

from collections import deque
from collections.abc import Sequence

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
from PIL import Image, ImageDraw

PAPER, OCHRE, RUST = (243, 230, 200), (232, 168, 82), (196, 76, 40)
MIST, TEAL, INDIGO = (150, 178, 182), (70, 124, 134), (22, 27, 72)
SUN = (292.0, 196.0, 84.0)  # centre x, centre y, radius
SHORE, BANK = 566.0, 690.0  # upper edges of the lake and of the ground before it


class Block:
    """The drawing on the blocks, one value per pixel (H, W).

    Cuts do not leave their `facet`; a line is left standing around each `shape`. `tone` is how much
    of the indigo stays, 0 to 1, `angle` the direction of the cuts (radians), `pitch` the distance
    between them in pixels, `tint` (H, W, 3) the colour printed underneath.
    """

    def __init__(self) -> None:
        """Take an uncut block."""
        shape = (HEIGHT, WIDTH)
        self.y, self.x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
        self.shape, self.facet = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
        self.tone, self.angle, self.pitch = (np.zeros(shape, np.float32) for _ in range(3))
        self.tint = np.zeros((*shape, 3), np.float32)

    def draw(
        self, mask: Mask, tone: Array | float, angle: Array | float, tint: Array | tuple[int, ...],
        pitch: float, facet: Array | int = 0, outlined: bool = True,
    ) -> None:  # fmt: skip
        """Draw a shape over what is already there."""
        if outlined:
            self.shape[mask] = self.shape.max() + 1
        facets = self.facet.max() + 1 + np.asarray(facet, np.int32)
        for target, value in ((self.facet, facets), (self.tone, tone), (self.angle, angle)):
            target[mask] = np.broadcast_to(value, mask.shape)[mask]
        self.pitch[mask] = pitch
        self.tint[mask] = np.broadcast_to(tint, (*mask.shape, 3))[mask]


def pick(choice: Array, *colors: tuple[int, int, int]) -> Float:
    """The colour that each whole number in `choice` stands for, (..., 3)."""
    table = np.array(colors, np.float32)
    found: Float = table[np.asarray(choice).astype(int).clip(0, len(colors) - 1)]
    return found


def jagged(rng: np.random.Generator, points: Sequence[tuple[float, float]], rough: float) -> Float:
    """A skyline (WIDTH,) through (x, y) points, broken like rock, `rough` pixels deep."""
    at = np.arange(WIDTH)
    edge = np.interp(at, *np.array(points, np.float32).T).astype(np.float64)
    for length in (64, 27, 11):
        knots = np.arange(-length, WIDTH + 2.0 * length, length)
        knots += rng.uniform(-0.3, 0.3, knots.size) * length
        edge += np.interp(at, knots, rng.normal(0, rough * length / 64, knots.size))
    return edge.astype(np.float32)


def sky(block: Block, rng: np.random.Generator) -> None:
    """Sun, wind and banks of cloud."""
    x, y = block.x, block.y
    from_sun = np.hypot(x - SUN[0], y - SUN[1])
    drift = smooth_noise(rng, x.shape, 130, 300)
    level = y * (1 - np.exp(-((from_sun / 210) ** 2))) * 0.9 + 22 * drift
    level += 150 * np.exp(-((from_sun / 190) ** 2))
    wind = np.sin(level / 21 + 0.5 * smooth_noise(rng, x.shape, 60, 200))
    tone = 0.53 - 0.0008 * y - 0.36 * np.exp(-((from_sun / 210) ** 2)) - 0.24 * wind
    block.draw(
        np.ones(x.shape, np.bool_), tone, flow_along(level),
        ramp(y + 16 * drift, (0, TEAL), (110, MIST), (230, PAPER), (330, OCHRE), (450, RUST)),
        7.5,
    )  # fmt: skip
    halo = from_sun < SUN[2] + 24 + 5 * np.cos(np.arctan2(y - SUN[1], x - SUN[0]) * 24)
    block.draw(halo, 0.08, np.arctan2(y - SUN[1], x - SUN[0]), PAPER, 8)
    block.draw(from_sun < SUN[2], 0.1 + 0.5 * (from_sun / SUN[2]) ** 3, flow_along(from_sun),
               ramp(y - SUN[1], (-80, OCHRE), (10, (216, 104, 50)), (60, RUST)), 7)  # fmt: skip

    for middle, low, half, puffs in ((120, 300, 170, 8), (870, 150, 190, 9), (470, 62, 120, 6),
                                     (420, 366, 150, 7)):  # fmt: skip
        order = rng.permutation(puffs)
        for k in order:
            part = (k + 0.5) / puffs * 2 - 1
            radius = (0.16 + 0.14 * (1 - part**2)) * half * rng.uniform(0.85, 1.15)
            cx = middle + part * half
            cy = low - 0.26 * half * (1 - part**2) * rng.uniform(0.5, 1.2)
            d = np.hypot(x - cx, (y - cy) * 1.15)
            puff = (d < radius) & (y < low + 6 * np.sin(x / 23))
            shade = 0.06 + 0.75 * ((y - cy) / radius * 0.5 + 0.4).clip(0, 1) ** 2
            shade += 0.2 * ((x - cx) / radius).clip(0, 1)
            block.draw(puff, shade, flow_along(d), ramp(y - low, (-70, PAPER), (0, MIST)), 6.5)


def mountains(block: Block, rng: np.random.Generator) -> None:
    """Snow peaks: spurs fan out from each summit, sunlit on the left."""
    x, y = block.x, block.y
    peaks = (
        ((806.0, 236.0), ((0, 700), (620, 520), (716, 340), (806, 236), (1000, 420)), 9),
        ((150.0, 330.0), ((0, 440), (150, 330), (270, 440), (380, 540), (1000, 700)), 8),
        ((596.0, 118.0), ((0, 760), (250, 560), (390, 380), (486, 270), (596, 118), (664, 214),
                          (740, 300), (880, 470), (1000, 560)), 11),
    )  # fmt: skip
    for (top_x, top_y), outline, rough in peaks:
        edge = jagged(rng, outline, rough)
        fall = (y - top_y + 34).clip(8)
        crack = smooth_noise(rng, x.shape, 34, 26) + 0.7 * smooth_noise(rng, x.shape, 13)
        fan = (x - top_x + 9 * crack * (fall / 160).clip(0, 1)) / fall
        spur = fan * 4.2 + 0.22 * np.sin(y / 30) + 0.3
        lit = (spur - np.floor(spur)) < np.where(fan < 0.03, 0.74, 0)
        down = y - edge
        tone = np.where(lit, 0.02 + 0.0007 * fall, 0.66 + 0.16 * (np.floor(spur) % 2))
        # Cuts run down the spurs, the way the rock falls.
        angle = np.arctan2(fall, x - top_x) + np.where(lit, 0.30, -0.35)
        color = pick(
            (fall + 34 * crack > 210) + (fall + 34 * crack > 300.0),
            PAPER, (238, 198, 142), (220, 128, 72),
        )  # fmt: skip
        color[~lit] = pick((fall + 30 * crack > 230)[~lit], MIST, (196, 96, 58))
        block.draw(down > 0, tone, angle, color, 7.5, np.floor(spur) * 2 + lit + 60)


def hills(block: Block, rng: np.random.Generator) -> None:
    """Foothills with cuts along their backs, and a wood in front of them."""
    x, y = block.x, block.y
    at = np.arange(WIDTH)
    for base, tall, wide, phase, stops in (
        (470, 40, 620, 0.3, ((0, OCHRE), (34, (222, 124, 62)), (90, RUST))),
        (512, 34, 470, 3.4, ((0, (222, 124, 62)), (30, RUST), (80, (150, 54, 40)))),
    ):
        edge = base - tall * np.sin(at * 2 * np.pi / wide + phase) - 9 * np.sin(at / 31 + phase)
        down = (y - edge).astype(np.float32)
        swell = down + 15 * smooth_noise(rng, x.shape, 60, 90)
        tone = 0.02 + 0.6 * (down / 80).clip(0, 1) + 0.14 * np.sin(swell / 13)
        lie = flow_along(down + 0.9 * np.abs((x + 60 * phase) % 150 - 75) * (down / 60).clip(0, 1))
        block.draw(down > 0, tone, lie, ramp(down, *stops), 7)
    # The wood: small firs shoulder to shoulder.
    edge = np.full(WIDTH, 900.0)
    for cx in np.arange(-10, WIDTH + 10, 11):
        top = SHORE - 26 - 22 * rng.random() - 14 * np.sin(cx / 90)
        middle = cx + rng.uniform(-4, 4)
        saw = (np.abs(at - middle) * 3.4 + 3.0 * (np.abs(at - middle) % 4 > 2)) + top
        edge = np.minimum(edge, saw)
    wood = y > edge
    block.draw(wood, 0.84 - 0.25 * np.sin(x / 6 + y / 9), np.pi / 2 + 0.3 * np.sin(x / 17),
               ramp(y, (510, OCHRE), (SHORE, TEAL)), 6)  # fmt: skip


def lake(block: Block, rng: np.random.Generator) -> None:
    """Still water, with the peak and the sun upside down in it."""
    x, y = block.x, block.y
    ripple = smooth_noise(rng, x.shape, 5, 60)
    depth = y - SHORE
    shaken = x + 9 * ripple
    peak = np.exp(-(((shaken - 610) / (190 - 0.8 * depth)) ** 2))
    glitter = np.exp(-(((shaken - SUN[0]) / (46 + 0.35 * depth)) ** 2))
    tone = 0.38 + 0.2 * ripple - 0.5 * glitter + 0.2 * peak + 0.25 * np.exp(-depth / 14)
    wave = depth + 3.4 * np.sin(x / 33 + depth / 9) + 2 * np.sin(x / 14 - depth / 5)
    color = ramp(depth + 10 * ripple, (0, OCHRE), (24, PAPER), (60, MIST), (130, TEAL))
    color = np.where(glitter[..., None] > 0.5, np.array((236, 150, 80), np.float32), color)
    block.draw(y > SHORE + 2 * np.sin(x / 40), tone, flow_along(wave), color, 6.2)


def bank(block: Block, rng: np.random.Generator) -> None:
    """The near ground: rounded rocks and turf."""
    x, y = block.x, block.y
    edge = BANK + 34 * np.sin(x / 150 + 1.0) - 40 * np.exp(-(((x - 930) / 140) ** 2))
    edge = edge - 40 * np.exp(-(((x - 60) / 150) ** 2))
    down = y - edge
    swell = down + 9 * smooth_noise(rng, x.shape, 40, 90)
    tone = 0.2 + 0.24 * np.sin(swell / 11) + 0.36 * (down / 90).clip(0, 1)
    block.draw(down > 0, tone, flow_along(swell), ramp(down + 8 * np.sin(x / 37),
               (0, OCHRE), (40, (214, 110, 56)), (90, RUST), (120, (140, 50, 42))), 8)  # fmt: skip
    for cx, cy, size in ((360, 742, 46), (430, 764, 34), (300, 772, 30), (660, 752, 42),
                         (722, 776, 34), (584, 786, 30), (500, 792, 24)):  # fmt: skip
        a = np.arctan2(y - cy, x - cx)
        rock = np.hypot((x - cx) / 1.3, y - cy) / size
        rock = rock * (1 + 0.07 * np.sin(a * 3 + cx) + 0.05 * np.sin(a * 7 + cy))
        light = 0.12 + 0.7 * ((x - cx) / size * 0.45 + (y - cy) / size * 0.5 + 0.42).clip(0, 1)
        facet = np.floor((a + cx) * 1.1) % 3
        facet_lie = flow_along(rock) + 0.5 * (facet - 1)
        tint = ramp(light, (0.1, PAPER), (0.6, MIST))
        rock_here = (rock < 1) & (y < cy + 0.55 * size)
        block.draw(rock_here, light + 0.12 * (facet - 1), facet_lie, tint, 6.5, facet)


def pine(
    block: Block, rng: np.random.Generator, foot_x: float, foot_y: float, top: float, spread: float
) -> None:
    """A pine: boughs in tiers, each drooping outwards and lit on the sun's side."""
    x, y = block.x, block.y
    tall = foot_y - top
    sway = foot_x + 7 * np.sin(y / 60 + foot_x) - 7 * np.sin(foot_y / 60 + foot_x)
    trunk = np.abs(x - sway) < 3 + 7 * ((y - top) / tall).clip(0, 1)
    trunk &= (y > top + 20) & (y < foot_y)
    block.draw(trunk, 0.55 + 0.04 * (x - sway), np.pi / 2, RUST, 5)
    # From the lowest tier up, as the upper boughs hang over the lower ones.
    tiers = int(10 + tall / 60)
    space = 0.9 * tall / tiers
    for tier in range(tiers, 0, -1):
        part = (tier - 0.4) / tiers
        for side in (-1, 1):
            half = spread * (0.06 + 0.94 * part**0.9) * rng.uniform(0.8, 1.12)
            out = side * (x - sway) / half
            spine = top + 0.86 * tall * part + half * (0.62 * out - 0.16 * out**2)
            spine = spine + rng.uniform(-0.15, 0.15) * space - 0.8 * space * (1 - part)
            # A fringe of needles below, a smooth back above.
            needles = np.abs((x + 0.8 * y * side) / 9 % 1 * 2 - 1)
            thick = space * (1.0 - 0.72 * out.clip(0, 1)) * (0.75 + 0.5 * needles)
            bough = (out > -0.1) & (out < 1) & (y > spine - 0.2 * space * (1 - out))
            bough &= y < spine + thick
            toward = side * np.sign(SUN[0] - foot_x)
            below = (y - spine) / space + 0.2
            tone = 0.16 + 1.2 * below.clip(0, 1) - 0.12 * toward
            tint = ramp(below, (0.1, PAPER if toward > 0 else MIST),
                        (0.5, OCHRE if toward > 0 else TEAL))  # fmt: skip
            lie = np.arctan2(0.5 + 0.9 * below, side * np.ones_like(x))
            block.draw(bough, tone.clip(0.05, 0.95), lie, tint, 5)


def cuts(block: Block, rng: np.random.Generator) -> list[Float]:
    """Outlines of all cuts of the gouge, each (corners, 2) as x, y in pixels."""
    taken = np.zeros((HEIGHT, WIDTH), np.bool_)
    step = 2.5
    disc_y, disc_x = np.mgrid[-9:10, -9:10]
    away = np.hypot(disc_y, disc_x)
    direction = np.stack([np.cos(block.angle), np.sin(block.angle)], -1)

    def walk(x: float, y: float, sign: float, facet: int, most: int) -> list[tuple[float, float]]:
        points = []
        heading = sign * direction[int(y), int(x)]
        for _ in range(most):
            x, y = x + step * heading[0], y + step * heading[1]
            if not (0 <= x < WIDTH and 0 <= y < HEIGHT):
                points.append((x, y))
                break
            row, column = int(y), int(x)
            if taken[row, column] or block.facet[row, column] != facet:
                break
            turned = direction[row, column]
            heading = turned if turned @ heading > 0 else -turned
            points.append((x, y))
        return points

    found = []
    scattered = rng.uniform((0, 0), (WIDTH, HEIGHT), (60_000, 2))
    beside: deque[tuple[float, float]] = deque()
    for start in scattered:
        beside.append((float(start[0]), float(start[1])))
        while beside:
            x, y = beside.popleft()
            if not (0 <= x < WIDTH and 0 <= y < HEIGHT) or taken[int(y), int(x)]:
                continue
            facet, pitch = block.facet[int(y), int(x)], block.pitch[int(y), int(x)]
            most = int(rng.uniform(6, 20) * pitch / 6)
            back, forth = (walk(x, y, sign, facet, most) for sign in (-1, 1))
            path = np.array([*back[::-1], (x, y), *forth])
            if len(path) < 5:
                continue
            # Cuts may come closer than a pitch where the flow narrows.
            near = away < 0.62 * pitch
            rows = path[:, 1].astype(int)[:, None] + disc_y[near]
            columns = path[:, 0].astype(int)[:, None] + disc_x[near]
            taken[rows.clip(0, HEIGHT - 1), columns.clip(0, WIDTH - 1)] = True
            tangent = np.gradient(path, axis=0)
            normal = np.stack([-tangent[:, 1], tangent[:, 0]], -1)
            normal /= np.hypot(*tangent.T)[:, None] + 1e-6
            beside.extend((p[0], p[1]) for s in (1, -1) for p in (path + s * pitch * normal)[::3])

            # The gouge goes in at a point, bites, and comes out blunt.
            u = np.linspace(0, 1, len(path))
            if rng.random() < 0.5:
                u = 1 - u
            bite = (1 - (1 - u / 0.4).clip(0) ** 1.7) * (
                1 - 0.75 * ((u - 0.78) / 0.22).clip(0) ** 2
            )
            column, row = path.astype(int).clip(0, (WIDTH - 1, HEIGHT - 1)).T
            light = (1 - block.tone[row, column]).clip(0, 1) ** 0.85
            half = 0.6 * pitch * light * bite * rng.uniform(0.8, 1.15)
            half = half * rng.normal(1, 0.05, len(path)) * min(1, len(path) / 7) + 0.12
            half[light < 0.06] = 0
            side = normal * half[:, None]
            found.append(np.concatenate([path + side, (path - side)[::-1]]).astype(np.float32))
    return found


def printed(block: Block, key: Float, rng: np.random.Generator) -> Image.Image:
    """Print the colours, then `key` (the share of indigo per drawing pixel), on paper."""
    shape = key.shape
    tint = np.repeat(np.repeat(block.tint, SUPERSAMPLING, 0), SUPERSAMPLING, 1)
    tint = np.roll(tint, (3, -4), (0, 1))  # the blocks never quite meet
    wobble = smooth_noise(rng, shape, 90)
    grain = smooth_noise(rng, shape, 5, 340) + 0.6 * smooth_noise(rng, shape, 3, 120)
    grain = np.sin(1.7 * grain + wobble)
    press = smooth_noise(rng, shape, 120)
    thin = (0.10 + 0.07 * grain + 0.03 * press).clip(0, 0.5)[..., None]
    paper = np.array((247, 238, 214), np.float32) + 2 * smooth_noise(rng, shape, 9)[..., None]
    picture = tint * (1 - thin) + paper * thin

    # Indigo lies thinner along the grain, and leaves pinholes where the paper was rough.
    rough = smooth_noise(rng, shape, 4) + 0.4 * grain
    ink = key * (0.94 + 0.035 * grain + 0.02 * press).clip(0, 1)
    ink *= 1 - 0.55 * ((rough - 2.35) * 2).clip(0, 1)
    dark = np.array(INDIGO, np.float32) * (0.8 + 0.2 * picture / 255)
    return shrink(soften(picture * (1 - ink[..., None]) + dark * ink[..., None]))


def paint(seed: int) -> Image.Image:
    """Draw the painting of `seed`: an RGB image of WIDTH x HEIGHT pixels."""
    rng = np.random.default_rng(seed)
    block = Block()
    sky(block, rng)
    mountains(block, rng)
    hills(block, rng)
    lake(block, rng)
    bank(block, rng)
    for foot_x, foot_y, top, spread in (
        (206, 708, 372, 66), (776, 700, 384, 64), (72, 748, 110, 112), (912, 754, 96, 116),
    ):  # fmt: skip
        pine(block, rng, foot_x, foot_y, top, spread)

    fine = 2 * SUPERSAMPLING
    plate = Image.new("L", (WIDTH * fine, HEIGHT * fine), 255)
    pen = ImageDraw.Draw(plate)
    for outline in cuts(block, rng):
        pen.polygon([(float(px), float(py)) for px, py in (outline + 0.5) * fine], fill=0)
    key = np.asarray(plate.reduce(2), np.float32) / 255
    shape: Int = np.repeat(np.repeat(block.shape, SUPERSAMPLING, 0), SUPERSAMPLING, 1)
    gap = distance_to_joint(shape, 8 * SUPERSAMPLING) / SUPERSAMPLING
    hand = 1.5 + 0.45 * smooth_noise(rng, shape.shape, 40)
    line = (0.5 + (hand - soften(gap)) / 0.8).clip(0, 1)
    return printed(block, np.maximum(key, line).astype(np.float32), rng)


if __name__ == "__main__":
    command(paint, "indigo-woodcut", "mountains and pines in a woodcut", seed=7)
