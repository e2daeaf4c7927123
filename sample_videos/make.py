r"""Draw the sample clips and films: videos of a cartoon figure that performs eight simple actions.

    python sample_videos/make.py [OUT_DIR] [--films N]

With the clips, anyone can train and test a recogniser in a minute without a download. Each of the fourteen
performers has a different body and clothes and does every action once. Background, furniture, facing, frame
size, frame rate, camera shake, speed, pauses and length are random in each take. Two pairs of actions are one
movement, run forwards and backwards (`REVERSED`): a performer's `stand_up` has the pictures of the same
performer's `sit_down` in the opposite order. Only the order in time distinguishes the classes of such a pair,
so an average over the frames has to guess.

Files are named as in the KTH data set, `<action>/person<NN>_<action>_d1.mp4`, so that the rule
`^(person\d+)_` finds the performer. Split by performer, as the two clips of a pair share a scene. The same
seed gives the same pictures.

Films, `films/day<NN>.mp4`, show performers who are in no clip. Each does every action once, in one room, with
idle time before and after each action. `films/spans.csv` lists the actions and their times.

Lengths on the figure are in units of its height; x points in the direction that the figure faces, y up, and
the origin is on the floor in the middle of the picture.
"""

import argparse
import csv
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

SEED = 2024
PERFORMERS = 14
FILMS = 2
MOVEMENTS = ("sit_down", "pick_up", "wave", "jumping_jack", "walk", "push_up")
REVERSED = {"stand_up": "sit_down", "put_down": "pick_up"}
ACTIONS = tuple(sorted((*MOVEMENTS, *REVERSED)))
ONE_SHOT = frozenset(REVERSED.values())  # go from one pose to another; the rest repeat a cycle
FRONTAL = frozenset({"wave", "jumping_jack"})  # seen from the front, the rest from the side

FINE = 4  # pictures are drawn this many times larger, then shrunk, which smooths the edges
SOFT = 0.6  # blur of the pictures in pixels
MARGIN = 12  # pixels around the picture into which the camera may shake and drift
SIZES = ((144, 108), (160, 112), (160, 120), (176, 132))
RATES = (15, 16, 18, 20)
IDLE = (1.5, 3.5)  # seconds, before an action and after it
SEEN = 0.02  # share of a movement, at its start and at its end, that is too small to be seen

Colour = tuple[int, int, int]  # blue, green, red
Image = npt.NDArray[np.uint8]
Vector = npt.NDArray[np.float64]

SKINS: tuple[Colour, ...] = ((178, 206, 244), (140, 176, 226), (96, 138, 194), (62, 92, 142))
HAIRS: tuple[Colour, ...] = ((30, 30, 36), (36, 60, 96), (70, 150, 210), (40, 70, 160))
SHIRTS: tuple[Colour, ...] = (
    (50, 50, 205), (190, 90, 40), (60, 150, 50), (40, 190, 235),
    (150, 60, 140), (235, 235, 235), (40, 120, 240), (160, 160, 40),
)  # fmt: skip
TROUSERS: tuple[Colour, ...] = (
    (110, 60, 35), (45, 45, 45), (70, 110, 150), (60, 85, 50), (130, 120, 115), (50, 40, 110),
)  # fmt: skip
WOODS: tuple[Colour, ...] = ((50, 85, 130), (90, 140, 185), (70, 60, 60), (60, 60, 150))


# --------------------------------------------------------------------------------- random choices


@dataclass(frozen=True)
class Body:
    """One performer: proportions and colours, the same in all of his clips."""

    thigh: float
    shin: float
    torso: float
    upper_arm: float
    forearm: float
    head: float
    thick: float
    shoulders: float
    skin: Colour
    hair: Colour
    long_hair: bool
    shirt: Colour
    sleeves: bool
    trousers: Colour
    shoes: Colour

    @property
    def leg(self) -> float:
        return self.thigh + self.shin

    @property
    def arm(self) -> float:
        return self.upper_arm + self.forearm


@dataclass(frozen=True)
class Take:
    """One recording of one movement, run forwards: its random choices, and its curves over time."""

    width: int
    height: int
    fps: int
    scale: float  # height of the figure in pixels
    facing: int  # 1: to the right, -1: to the left
    style: Vector  # four numbers in 0..1 that vary a movement from take to take
    progress: Vector  # per frame: progress of the movement, 0..1
    effort: Vector  # per frame: 0 at rest, 1 moving; fades a cycle in and out
    camera: Vector  # per frame: x and y in pixels
    wood: Colour
    wall: int  # seed of the background


def make_body(performer: int) -> Body:
    rng = np.random.default_rng([SEED, performer])
    size = rng.uniform(0.94, 1.06, size=6)
    limb = rng.uniform(0.93, 1.07)
    shade = int(rng.integers(20, 90))
    return Body(
        thigh=0.245 * size[0],
        shin=0.245 * size[0] * size[1],
        torso=0.27 * size[2],
        upper_arm=0.165 * limb,
        forearm=0.175 * limb,
        head=0.088 * size[3],
        thick=float(rng.uniform(0.85, 1.25)),
        shoulders=0.080 * size[4],
        skin=SKINS[rng.integers(len(SKINS))],
        hair=HAIRS[rng.integers(len(HAIRS))],
        long_hair=bool(rng.random() < 0.4),
        shirt=SHIRTS[performer % len(SHIRTS)],
        sleeves=bool(rng.random() < 0.5),
        trousers=TROUSERS[rng.integers(len(TROUSERS))],
        shoes=(shade, shade, shade + 20),
    )


def make_take(performer: int, movement: str) -> Take:
    """Draw a take, independently of whether it will be shown forwards or backwards."""
    rng = np.random.default_rng([SEED, performer, 1 + MOVEMENTS.index(movement)])
    width, height = SIZES[rng.integers(len(SIZES))]
    fps = int(RATES[rng.integers(len(RATES))])
    before, after = rng.uniform(0.15, 0.55, size=2) * (1.0 if movement in ONE_SHOT else 0.6)
    between = float(rng.uniform(0.2, 0.5)) if rng.random() < 0.35 else 0.0
    moving = float(rng.uniform(1.0, 2.1)) + (0.0 if movement in ONE_SHOT else 0.3)
    ticks = np.arange(round((before + moving + between + after) * fps)) / fps
    split = float(rng.uniform(0.35, 0.65))
    moved = np.interp(
        ticks,
        np.cumsum([before, moving * split, between, moving * (1 - split)]),
        [0.0, split, split, 1.0],
    )
    rest = np.cumsum([before, 0.25, moving - 0.5, 0.25])
    rest[2:] += between
    if movement in ONE_SHOT:  # start and stop gently, one more gently than the other
        first, last = rng.uniform(1.3, 2.2, size=2)
        moved = moved**first / (moved**first + (1 - moved) ** last)
    tall = 0.74 if movement in FRONTAL else 0.80
    return Take(
        width=width,
        height=height,
        fps=fps,
        scale=float(height * tall * rng.uniform(0.94, 1.06)),
        facing=int(rng.choice((-1, 1))),
        style=rng.random(4),
        progress=moved,
        effort=np.interp(ticks, rest, [0.0, 1.0, 1.0, 0.0]),
        camera=shake(rng, ticks),
        wood=WOODS[rng.integers(len(WOODS))],
        wall=int(rng.integers(1 << 31)),
    )


def shake(rng: np.random.Generator, ticks: Vector) -> Vector:
    """The path of a camera: on a tripod, drifting slowly, or held in the hand."""
    drift = rng.uniform(-3.0, 3.0, size=2) * (1.0, 0.4)
    swing = rng.uniform(0.3, 0.9, size=(2, 2))
    pace = rng.uniform(0.4, 1.6, size=(2, 2))
    phase = rng.uniform(0.0, 2 * math.pi, size=(2, 2))
    kind = rng.integers(3)
    path = np.outer(ticks / ticks[-1] - 0.5, drift) if kind else np.zeros((len(ticks), 2))
    if kind == 2:
        angle = 2 * math.pi * ticks[:, None, None] * pace + phase
        path = path + (swing * np.sin(angle)).sum(axis=2)
    return np.asarray(path, dtype=np.float64)


# ------------------------------------------------------------------------------------- movements


@dataclass(frozen=True)
class Pose:
    """Positions of hip, hands and ankles; the joints between them follow (`bend`).

    `points` contains x and y of: hip, near hand, far hand, near ankle, far ankle.
    """

    points: Vector
    lean: float  # of the torso, forwards, in radians
    load: tuple[float, float] | None = None  # centre of the carried box


def blend(a: Pose, b: Pose, part: float) -> Pose:
    return Pose(a.points + (b.points - a.points) * part, a.lean + (b.lean - a.lean) * part)


def through(poses: tuple[Pose, Pose, Pose], part: float) -> Pose:
    """The smooth curve through the three poses at 0, 1/2 and 1."""
    weights = (
        (1 - part) * (1 - 2 * part),
        4 * part * (1 - part),
        part * (2 * part - 1),
    )
    points = sum((w * p.points for w, p in zip(weights, poses, strict=True)), np.zeros((5, 2)))
    return Pose(points, sum(w * p.lean for w, p in zip(weights, poses, strict=True)))


def pose(
    hip: tuple[float, float],
    hands: tuple[tuple[float, float], tuple[float, float]],
    feet: tuple[tuple[float, float], tuple[float, float]],
    lean: float = 0.0,
) -> Pose:
    return Pose(np.array([hip, *hands, *feet], dtype=np.float64), lean)


def upright(body: Body) -> Pose:
    """Standing, seen from the side, arms hanging."""
    low = body.leg + body.torso - body.arm * 0.96
    hands = ((0.04, low), (0.02, low))
    return pose((0.0, body.leg * 0.99 + 0.03), hands, ((0.02, 0.03), (-0.02, 0.03)), 0.02)


def facing_us(body: Body) -> Pose:
    """Standing, seen from the front, arms hanging."""
    low = body.leg + body.torso - body.arm * 0.93
    out = body.shoulders + 0.07
    return pose((0.0, body.leg * 0.985 + 0.03), ((out, low), (-out, low)), ((0.07, 0.03), (-0.07, 0.03)))


def sit_down(body: Body, take: Take, frame: int) -> Pose:
    seat = seat_height(body)
    back = -0.93 * body.thigh
    stand = upright(body)
    feet = ((0.04, 0.03), (0.0, 0.03))
    half = pose(
        (back * 0.62, 0.03 + body.leg * 0.76),
        ((0.17 + 0.1 * take.style[0], 0.62), (0.15 + 0.1 * take.style[0], 0.60)),
        feet,
        0.55 + 0.25 * take.style[1],
    )
    knee = (back + body.thigh * 0.85, seat + 0.10)
    sit = pose((back, seat + 0.055), (knee, (knee[0] + 0.02, knee[1])), feet, -0.05)
    return through((stand, half, sit), float(take.progress[frame]))


def pick_up(body: Body, take: Take, frame: int) -> Pose:
    """Grip a box on the floor and lift it to the chest, where it stays in the hands."""
    part = float(take.progress[frame])
    squat = 0.50 + 0.16 * take.style[0]
    floor = (0.27, BOX / 2 + 0.01)
    feet = ((0.04, 0.03), (-0.03, 0.03))
    grip = pose(
        (-0.13, 0.03 + body.leg * squat),
        ((floor[0], floor[1] + 0.03), (floor[0] + 0.03, floor[1] + 0.03)),
        feet,
        1.05 + 0.15 * take.style[1],
    )
    height = body.leg + body.torso * (0.55 + 0.25 * take.style[2])
    hold = pose((-0.03, body.leg * 0.99 + 0.03), ((0.2, height), (0.23, height)), feet, -0.10)
    now = through((upright(body), grip, hold), part)
    hand = now.points[1]
    lift = (float(hand[0]) + 0.01, max(float(hand[1]) - 0.03, floor[1]))
    return Pose(now.points, now.lean, floor if part < 0.5 else lift)


def wave(body: Body, take: Take, frame: int) -> Pose:
    rest = facing_us(body)
    turn = math.sin(2 * math.pi * cycles(take, 1.4, 2.2) * take.progress[frame])
    angle = 0.35 + 0.55 * turn  # of the whole arm, from straight up, outwards
    top = body.leg + body.torso
    reach = body.arm * 0.93
    up = rest.points.copy()
    up[1] = (body.shoulders + reach * math.sin(angle), top + reach * math.cos(angle))
    return blend(rest, Pose(up, 0.03 * turn), float(take.effort[frame]))


def jumping_jack(body: Body, take: Take, frame: int) -> Pose:
    rest = facing_us(body)
    turn = math.pi * 2 * round(cycles(take, 1.0, 1.5)) * take.progress[frame]
    part = (1 - math.cos(turn)) / 2
    top = body.leg + body.torso
    angle = 0.35 + (2.75 - 0.35) * part  # of the arms, from straight down, outwards
    out = body.shoulders + body.arm * 0.95 * math.sin(angle)
    hand = top - body.arm * 0.95 * math.cos(angle)
    spread = 0.06 + 0.20 * part
    jump = 0.06 * math.sin(turn) ** 2
    hip = 0.03 + jump + math.sqrt((body.leg * 0.985) ** 2 - (spread - 0.05) ** 2)
    foot = 0.03 + jump
    star = pose(
        (0.0, hip),
        ((out, hand + jump), (-out, hand + jump)),
        ((spread, foot), (-spread, foot)),
    )
    return blend(rest, star, float(take.effort[frame]))


def walk(body: Body, take: Take, frame: int) -> Pose:
    stride = 0.14 + 0.04 * take.style[1]
    steps = cycles(take, 0.9, 1.3)
    turn = 2 * math.pi * steps * take.progress[frame]
    way = min(0.40 * steps, 0.62) * (float(take.progress[frame]) - 0.5)
    rest = upright(body)
    hang = float(rest.points[1, 1])
    now = pose(
        (0.0, 0.03 + body.leg * (0.965 + 0.015 * math.cos(2 * turn))),
        ((-0.15 * math.cos(turn) + 0.04, hang + 0.03), (0.15 * math.cos(turn) + 0.04, hang + 0.03)),
        (
            (stride * math.cos(turn), 0.03 + 0.07 * max(0.0, -math.sin(turn))),
            (-stride * math.cos(turn), 0.03 + 0.07 * max(0.0, math.sin(turn))),
        ),
        0.07,
    )
    now = blend(rest, now, float(take.effort[frame]))
    return Pose(now.points + np.array([way, 0.0]), now.lean)


def push_up(body: Body, take: Take, frame: int) -> Pose:
    turn = 2 * math.pi * round(cycles(take, 0.9, 1.4)) * take.progress[frame]
    low = (1 - math.cos(turn)) / 2
    lean = 1.16 + 0.24 * low  # of the whole straight body, from upright, about the toes
    along = np.array([math.sin(lean), math.cos(lean)])
    toes = np.array([-0.46, 0.05])
    hip = toes + along * body.leg * 0.997
    hand = toes[0] + math.sin(1.16) * (body.leg + body.torso) + 0.02
    points = np.array([hip, (hand, 0.035), (hand + 0.03, 0.035), toes, toes - (0.02, 0.0)])
    return Pose(points, lean)


def cycles(take: Take, slow: float, fast: float) -> float:
    """How often a repeated movement is done in the take, for a pace in cycles per second."""
    seconds = float(np.count_nonzero(np.diff(take.progress) > 0)) / take.fps
    return max(2.0, seconds * (slow + (fast - slow) * float(take.style[0])))


MOVES: dict[str, Callable[[Body, Take, int], Pose]] = {
    "sit_down": sit_down,
    "pick_up": pick_up,
    "wave": wave,
    "jumping_jack": jumping_jack,
    "walk": walk,
    "push_up": push_up,
}

# --------------------------------------------------------------------------------------- drawing

BOX = 0.17  # edge of the carried box


def seat_height(body: Body) -> float:
    return body.shin * 0.98


def shade(colour: Colour, factor: float) -> Colour:
    b, g, r = (min(255, int(c * factor)) for c in colour)
    return b, g, r


class Canvas:
    """An enlarged picture with a margin, on which lengths are given in units of the figure."""

    def __init__(self, image: Image, take: Take) -> None:
        self.image = image
        self.unit = take.scale * FINE
        self.facing = take.facing
        self.origin = (image.shape[1] / 2, floor_line(take))

    def at(self, point: tuple[float, float] | Vector) -> tuple[int, int]:
        x = self.origin[0] + self.facing * float(point[0]) * self.unit
        return round(x), round(self.origin[1] - float(point[1]) * self.unit)

    def disc(self, centre: tuple[float, float] | Vector, radius: float, colour: Colour) -> None:
        cv2.circle(self.image, self.at(centre), round(radius * self.unit), colour, cv2.FILLED)

    def area(self, points: list[tuple[float, float]] | list[Vector], colour: Colour) -> None:
        corners = np.array([self.at(point) for point in points], dtype=np.int32)
        cv2.fillConvexPoly(self.image, cv2.convexHull(corners), colour)

    def block(self, left: float, low: float, right: float, high: float, colour: Colour) -> None:
        self.area([(left, low), (right, low), (right, high), (left, high)], colour)

    def limb(self, start: Vector, end: Vector, thick: float, thin: float, colour: Colour) -> None:
        """A rounded bar that tapers from `thick` to `thin` (radii)."""
        along = end - start
        across = np.array([-along[1], along[0]]) / max(float(np.hypot(*along)), 1e-6)
        sides = [start + across * thick, start - across * thick]
        self.area([*sides, end - across * thin, end + across * thin], colour)
        self.disc(start, thick, colour)
        self.disc(end, thin, colour)


def floor_line(take: Take) -> float:
    return (MARGIN + take.height * 0.93) * FINE


def bend(start: Vector, end: Vector, first: float, second: float, side: float) -> tuple[Vector, Vector]:
    """The joint between two bones from `start` towards `end`, and where the second bone ends."""
    along = end - start
    length = float(np.hypot(*along))
    reach = min(max(length, abs(first - second) + 1e-3), (first + second) * 0.999)
    along = along / max(length, 1e-6)
    foot = (first**2 - second**2 + reach**2) / (2 * reach)
    across = np.array([-along[1], along[0]]) * side
    joint = start + along * foot + across * math.sqrt(max(first**2 - foot**2, 0.0))
    return joint, start + along * reach


def draw_leg(
    canvas: Canvas, body: Body, hip: Vector, ankle: Vector, side: float, tint: float, toe: float
) -> None:
    knee, end = bend(hip, ankle, body.thigh, body.shin, side)
    thick = body.thick
    heel, tip = end + np.array([-0.025, -0.006]), end + np.array([toe, -0.006])
    for grow, factor in ((0.009, 0.35), (0.0, 1.0)):  # the outline, then the fill
        trousers = shade(body.trousers, tint * factor)
        canvas.limb(heel, tip, 0.024 + grow, 0.020 + grow, shade(body.shoes, factor))
        canvas.limb(knee, end, 0.038 * thick + grow, 0.030 * thick + grow, trousers)
        canvas.limb(hip, knee, 0.052 * thick + grow, 0.040 * thick + grow, trousers)


def draw_arm(canvas: Canvas, body: Body, shoulder: Vector, hand: Vector, side: float, tint: float) -> None:
    elbow, end = bend(shoulder, hand, body.upper_arm, body.forearm, side)
    thick = body.thick
    for grow, factor in ((0.009, 0.35), (0.0, 1.0)):
        shirt, skin = shade(body.shirt, tint * factor), shade(body.skin, tint * factor)
        canvas.limb(elbow, end, 0.029 * thick + grow, 0.023 * thick + grow, shirt if body.sleeves else skin)
        canvas.limb(shoulder, elbow, 0.037 * thick + grow, 0.030 * thick + grow, shirt)
        canvas.disc(end, 0.031 + grow, skin)


def draw_head(canvas: Canvas, body: Body, neck: Vector, lean: float, frontal: bool) -> None:
    up = np.array([math.sin(lean), math.cos(lean)])
    front = np.array([math.cos(lean), -math.sin(lean)])
    r = body.head
    centre = neck + up * (r + 0.035)
    canvas.limb(neck, centre, 0.030 * body.thick, 0.030, shade(body.skin, 0.85))
    back = 0.0 if frontal else -0.22 * r
    crown = centre + up * 0.22 * r + front * back
    if body.long_hair and not frontal:
        canvas.limb(crown, centre - up * 0.75 * r + front * back * 2, r * 1.02, r * 0.6, body.hair)
    canvas.disc(centre, r + 0.009, shade(body.skin, 0.35))
    canvas.disc(crown, r * 0.98, body.hair)
    face = centre - up * 0.16 * r + front * (0.0 if frontal else 0.16 * r)
    canvas.disc(face, r * 0.84, body.skin)
    if not frontal:
        canvas.disc(face + front * r * 0.84, r * 0.2, body.skin)
    for eye in (-0.34, 0.34) if frontal else (0.45,):
        canvas.disc(face + front * eye * r + up * 0.15 * r, r * 0.13, (30, 30, 30))


def draw_torso(canvas: Canvas, body: Body, hips: list[Vector], shoulders: list[Vector]) -> None:
    for grow, factor in ((0.009, 0.35), (0.0, 1.0)):
        shirt, trousers = shade(body.shirt, factor), shade(body.trousers, factor)
        low, high = 0.054 * body.thick + grow, 0.052 * body.thick + grow
        canvas.limb(hips[0], hips[1], low, low, trousers)
        for hip, shoulder in zip(hips, shoulders, strict=True):
            canvas.limb(hip + (shoulder - hip) * 0.2, shoulder, low, high, shirt)
        canvas.area([*hips, *shoulders], shirt)


def draw_figure(canvas: Canvas, body: Body, now: Pose, frontal: bool, wood: Colour) -> None:
    hip, near_hand, far_hand, near_foot, far_foot = now.points
    up = np.array([math.sin(now.lean), math.cos(now.lean)])
    neck = hip + up * body.torso
    if frontal:
        wide, narrow = np.array([body.shoulders, -0.02]), np.array([0.05, 0.0])
        other = wide * (-1, 1)
        draw_leg(canvas, body, hip + narrow, near_foot, 1.0, 1.0, 0.02)
        draw_leg(canvas, body, hip - narrow, far_foot, -1.0, 1.0, -0.02)
        if body.long_hair:
            canvas.limb(neck + up * (body.head + 0.05), neck, body.head * 1.03, body.head, body.hair)
        draw_torso(canvas, body, [hip + narrow, hip - narrow], [neck + wide, neck + other])
        draw_head(canvas, body, neck, now.lean, frontal)
        draw_arm(canvas, body, neck + wide, near_hand, 1.0 if near_hand[1] < neck[1] else -1.0, 1.0)
        draw_arm(canvas, body, neck + other, far_hand, -1.0 if far_hand[1] < neck[1] else 1.0, 1.0)
        return
    depth = np.array([0.012, 0.0])
    shoulder = neck - up * 0.03
    draw_arm(canvas, body, shoulder + depth, far_hand, -1.0, 0.72)
    draw_leg(canvas, body, hip + depth, far_foot, 1.0, 0.72, 0.07)
    draw_leg(canvas, body, hip - depth, near_foot, 1.0, 1.0, 0.07)
    draw_torso(canvas, body, [hip, hip], [shoulder, shoulder])
    draw_head(canvas, body, neck, now.lean * 0.7, frontal)
    if now.load is not None:
        draw_box(canvas, now.load, wood)
    draw_arm(canvas, body, shoulder - depth, near_hand, -1.0, 0.92)


def draw_box(canvas: Canvas, centre: tuple[float, float], wood: Colour) -> None:
    x, y, r = centre[0], centre[1], BOX / 2
    canvas.block(x - r - 0.009, y - r - 0.009, x + r + 0.009, y + r + 0.009, shade(wood, 0.35))
    canvas.block(x - r, y - r, x + r, y + r, shade(wood, 1.25))
    canvas.block(x - r, y - 0.02, x + r, y + 0.02, shade(wood, 0.8))


def draw_chair(canvas: Canvas, x: float, seat: float, wood: Colour) -> None:
    """A chair whose seat is centred at `x`, with its back behind the figure."""
    for grow, factor in ((0.009, 0.35), (0.0, 1.0)):
        colour = shade(wood, factor)
        canvas.block(x - 0.15 - grow, -grow, x - 0.115 + grow, seat + 0.33 + grow, colour)
        canvas.block(x + 0.10 - grow, -grow, x + 0.135 + grow, seat, colour)
        canvas.block(x - 0.15 - grow, seat - 0.045 - grow, x + 0.14 + grow, seat + grow, colour)


def draw_room(body: Body, take: Take) -> Image:
    """The background: a wall, a floor, and at random a window, a picture, a plant or a lamp."""
    rng = np.random.default_rng(take.wall)
    high, wide = (take.height + 2 * MARGIN) * FINE, (take.width + 2 * MARGIN) * FINE
    wall = contrasting(rng, body)
    image = np.empty((high, wide, 3), dtype=np.uint8)
    image[:] = wall
    kind = int(rng.integers(4))
    if kind == 1:  # light from one side or from above
        slope = np.linspace(1.12, 0.86, wide if rng.random() < 0.5 else high)
        ramp = slope[None, :, None] if len(slope) == wide else slope[:, None, None]
        image[:] = np.clip(image * ramp, 0, 255).astype(np.uint8)
    elif kind == 2:  # a blotchy wall
        coarse = rng.normal(0.0, 9.0, size=(7, 9)).astype(np.float32)
        noise = cv2.resize(coarse, (wide, high), interpolation=cv2.INTER_CUBIC)[:, :, None]
        image[:] = np.clip(image + noise, 0, 255).astype(np.uint8)
    canvas = Canvas(image, take)
    ground = round(floor_line(take) - rng.uniform(0.02, 0.12) * take.height * FINE)
    if kind == 3 or rng.random() < 0.6:
        cv2.rectangle(image, (0, ground), (wide, high), shade(wall, rng.uniform(0.6, 0.85)), cv2.FILLED)
        cv2.rectangle(image, (0, ground - 2 * FINE), (wide, ground), shade(wall, 0.5), cv2.FILLED)
    else:
        cv2.line(image, (0, ground), (wide, ground), shade(wall, 0.6), FINE)
    if rng.random() < 0.6:
        decorate(canvas, rng)
    return image


def decorate(canvas: Canvas, rng: np.random.Generator) -> None:
    side = float(rng.choice((-1.0, 1.0)))
    x = side * rng.uniform(0.42, 0.52)
    kind = int(rng.integers(4))
    tone = int(rng.integers(60, 200))
    if kind == 0:  # window
        canvas.block(x - 0.14, 0.52, x + 0.14, 0.92, (225, 225, 225))
        canvas.block(x - 0.12, 0.54, x - 0.01, 0.90, (225, 190, 150))
        canvas.block(x + 0.01, 0.54, x + 0.12, 0.90, (225, 190, 150))
    elif kind == 1:  # picture
        canvas.block(x - 0.12, 0.62, x + 0.12, 0.82, (50, 70, 90))
        canvas.block(x - 0.10, 0.64, x + 0.10, 0.80, (tone, 170, 220 - tone // 2))
    elif kind == 2:  # plant
        canvas.block(x - 0.05, 0.0, x + 0.05, 0.11, (60, 90, 160))
        for leaf in (-0.5, 0.0, 0.5):
            tip = np.array([x + 0.22 * math.sin(leaf), 0.1 + 0.28 * math.cos(leaf)])
            canvas.limb(np.array([x, 0.11]), tip, 0.02, 0.035, (60, 130, 60))
    else:  # lamp
        canvas.block(x - 0.07, 0.0, x + 0.07, 0.02, (70, 70, 70))
        canvas.block(x - 0.01, 0.0, x + 0.01, 0.75, (70, 70, 70))
        canvas.area([(x - 0.1, 0.72), (x + 0.1, 0.72), (x + 0.05, 0.9), (x - 0.05, 0.9)], (150, 215, 240))


def contrasting(rng: np.random.Generator, body: Body) -> Colour:
    """A pale or dark colour for the wall, different from all of the performer's clothes."""
    while True:
        grey = rng.uniform(150, 230) if rng.random() < 0.75 else rng.uniform(95, 130)
        b, g, r = (int(c) for c in grey + rng.uniform(-20, 20, size=3))
        clothes = np.array([body.skin, body.shirt, body.trousers], dtype=np.float64)
        if np.abs(clothes - (b, g, r)).sum(axis=1).min() > 100:
            return b, g, r


# ----------------------------------------------------------------------------------------- clips


def render(performer: int, action: str) -> tuple[list[Image], int]:
    """The frames of a clip (blue, green, red) and its frames per second."""
    movement = REVERSED.get(action, action)
    body, take = make_body(performer), make_take(performer, movement)
    frames = list(draw(body, take, movement))
    return frames[::-1] if action in REVERSED else frames, take.fps


def draw(body: Body, take: Take, movement: str) -> Iterator[Image]:
    """The frames of a take, run forwards."""
    room = draw_room(body, take)
    if movement == "sit_down":
        draw_chair(Canvas(room, take), -0.93 * body.thigh + 0.01, seat_height(body), take.wood)
    for frame, (dx, dy) in enumerate(take.camera):
        large = room.copy()
        now = MOVES[movement](body, take, frame)
        draw_figure(Canvas(large, take), body, now, movement in FRONTAL, take.wood)
        left, top = round((MARGIN + dx) * FINE), round((MARGIN + dy) * FINE)
        seen = large[top : top + take.height * FINE, left : left + take.width * FINE]
        small = cv2.resize(seen, (take.width, take.height), interpolation=cv2.INTER_AREA)
        small = cv2.GaussianBlur(small, (3, 3), SOFT)  # fewer bytes
        yield np.asarray(small, dtype=np.uint8)


def clip_path(folder: Path, performer: int, action: str) -> Path:
    return folder / action / f"person{performer:02d}_{action}_d1.mp4"


def write_clip(folder: Path, performer: int, action: str) -> Path:
    path = clip_path(folder, performer, action)
    write_frames(path, *render(performer, action))
    return path


def write_frames(path: Path, frames: list[Image], fps: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    size = frames[0].shape[1], frames[0].shape[0]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
    if not writer.isOpened():
        raise OSError(f"OpenCV cannot write {path}")
    for frame in frames:
        writer.write(frame)
    writer.release()


# ----------------------------------------------------------------------------------------- films

Labelled = tuple[float, float, str]  # start and end in seconds, action


def render_film(number: int) -> tuple[list[Image], int, list[Labelled]]:
    """The frames of a film, its frames per second, and its labelled spans.

    The takes follow one another. A reversible movement is run forwards and back, with a pause in between.
    """
    performer = PERFORMERS + number
    rng = np.random.default_rng([SEED, performer])
    body, place = make_body(performer), make_take(performer, "wave")
    frames: list[Image] = []
    spans: list[Labelled] = []
    for movement in rng.permutation(MOVEMENTS).tolist():
        back = next((action for action, other in REVERSED.items() if other == movement), None)
        take = filmed(make_take(performer, movement), place, rng, there_and_back=back is not None)
        seen = (take.progress > SEEN) & (take.progress < 1 - SEEN)
        moving = np.flatnonzero((np.diff(take.progress) != 0) & (seen[1:] | seen[:-1]))
        gaps = np.flatnonzero(np.diff(moving) > place.fps)  # a pause, not a hesitation
        runs = np.split(moving, gaps + 1)
        for run, action in zip(runs, (movement, back), strict=False):
            first, last = int(run[0]) + len(frames), int(run[-1]) + 2 + len(frames)
            spans.append((first / place.fps, last / place.fps, str(action)))
        frames += draw(body, take, movement)
    return frames, place.fps, spans


def filmed(take: Take, place: Take, rng: np.random.Generator, *, there_and_back: bool) -> Take:
    """A take in the room and with the camera of another take, with idle time before and after."""
    moving = np.flatnonzero(np.diff(take.progress) > 0)
    seconds = np.arange(moving[0], moving[-1] + 2) / take.fps
    ticks = np.arange(seconds[0], seconds[-1], 1 / place.fps)
    before, between, after = (round(s * place.fps) for s in rng.uniform(*IDLE, size=3))

    def stretched(values: Vector) -> Vector:
        run = np.interp(ticks, seconds, values[moving[0] : moving[-1] + 2])
        run[[0, -1]] = values[[moving[0], moving[-1] + 1]]
        if there_and_back:
            run = np.concatenate([run, np.full(between, run[-1]), run[::-1]])
        return np.pad(run, (before, after), "edge")

    progress, effort = stretched(take.progress), stretched(take.effort)
    camera = shake(rng, np.arange(len(progress)) / place.fps)
    return replace(place, style=take.style, progress=progress, effort=effort, camera=camera, wood=take.wood)


def write_films(folder: Path, number: int) -> list[Path]:
    """Write films and the table of their spans."""
    paths = [folder / f"day{film:02d}.mp4" for film in range(1, number + 1)]
    rows: list[tuple[object, ...]] = [("path", "start", "end", "label")]
    for film, path in enumerate(paths, 1):
        frames, fps, spans = render_film(film)
        write_frames(path, frames, fps)
        rows += [(path.name, f"{start:.2f}", f"{end:.2f}", action) for start, end, action in spans]
    with (folder / "spans.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw the sample clips and films.")
    parser.add_argument("out_dir", nargs="?", type=Path, default=Path(__file__).parent)
    parser.add_argument("--films", type=int, metavar="N", help="draw N films into OUT_DIR, and no clips")
    arguments = parser.parse_args()
    folder: Path = arguments.out_dir
    if arguments.films is not None:
        print(f"{len(write_films(folder, arguments.films))} films in {folder}")
        return
    clips = [write_clip(folder, p, action) for action in ACTIONS for p in range(1, PERFORMERS + 1)]
    films = write_films(folder / "films", FILMS)
    for what, paths in (("clips", clips), ("films", films)):
        print(f"{len(paths)} {what}, {sum(p.stat().st_size for p in paths) / 1e6:.2f} MB, in {folder}")


if __name__ == "__main__":
    main()
