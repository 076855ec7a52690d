"""The invisible mark: a keyed pattern in the brightness of generated faces (Spec 2.10.9).

The picture is divided into square cells, and a secret key draws a sign for each. The pattern is
bright where the sign is + and dark where it is -. It is added where pixels were generated, and
changes its sign every FLIP_FRAMES frames. Cells are shares of the picture, so scaling the film
scales them with it, and they are large enough for video encoders to keep them.

It is looked for without the original. Differences of frames FLIP_FRAMES apart cancel what stands
still and double the pattern. They are added up over segments of the film in step with the flips
and compared with the key's signs in windows over the picture, since the place of the face, the
size of the cells and the frame of the first flip are not known. In one such trial, on any film,
z = sum(sign * seen) / sqrt(sum(seen^2)) has mean 0 and variance 1 over the choice of keys, and by
Hoeffding's inequality exceeds z with a probability of at most exp(-z^2 / 2). That times the number
of trials bounds the chance of a false alarm: it is known, not estimated.

Scaling and encoding leave the mark in place; cropping, turning, and changing the frame rate do not.

Shape suffixes: H height, W width, C colour; R rows and C columns of cells, P steps of the flips.
"""

import hashlib
import hmac
import math
from collections import deque
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

AMPLITUDE = 2.5
"""Root mean square of the pattern in levels of 255, in a frame never more: 40.2 dB.

In the texture of a small face it is up to 1.4 times as strong, in smooth skin 0.6 times.
"""
FLIP_FRAMES = 4
"""Shorter flickers and is lost between an encoder's frames; over a longer time faces move away."""
FALSE_ALARM = 1e-6
SEGMENT_FRAMES = 100

_ROWS = (45, 64, 90, 128, 180, 256, 362)
_MOST_ROWS_PX = 2 * _ROWS[-1]
_MIN_CELL_PX = 5.0
"""Smaller ones are lost when a film is stored at half its size."""
_ASPECT_STEPS = 7
"""Steps of columns per doubling of width / height: none of the usual shapes lies between two."""
_ASPECT_DOUBT = 0.01
_FINE_CELLS, _FINER_CELLS = 1.5, 0.8
"""What is coarser is no part of the pattern, and more than that is not looked at."""
_NEAR_CELLS = 2.0
_NOISE_LEVELS = 0.5
_LEAST_WINDOW_CELLS, _WINDOW_GROWTH = 16, 1.5
_TEXTURE_PX, _TEXTURE_LEVELS, _STRENGTHS = 8, 6.0, (0.6, 1.4)
_CONTEXT = b"export3d invisible mark 1"


@dataclass(frozen=True)
class MarkKey:
    """The secret that signs stand for. Its text never leaves the machine; `name` may."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) < 16:
            raise ValueError("the secret of the invisible mark has fewer than 16 bytes")

    @property
    def name(self) -> str:
        """Public name of the key, from which the secret cannot be had."""
        return hmac.new(self.secret, _CONTEXT + b" name", hashlib.sha256).hexdigest()[:12]

    def signs(self, rows: int, columns: int) -> Floats:
        """Return [rows, columns] values +1 or -1, the same on every machine."""
        count, context = rows * columns, _CONTEXT + f" {rows} {columns}".encode()
        seed = hmac.new(self.secret, context, hashlib.sha256).digest()
        drawn = np.frombuffer(hashlib.shake_256(seed).digest(-(-count // 8)), np.uint8)
        return (1 - 2 * np.unpackbits(drawn, count=count).astype(np.float32)).reshape(rows, columns)


def pattern(key: MarkKey, height_px: int, width_px: int) -> Floats:
    """Return the key's pattern_HW for frames of that size, in levels of 255."""
    fitting = [rows for rows in _ROWS if rows * _MIN_CELL_PX <= height_px]
    rows = max(fitting, default=_ROWS[0])
    signs_RC = key.signs(rows, _columns(rows, width_px / height_px))
    size = (width_px, height_px)
    enlarged_HW = cv2.resize(_fine(signs_RC, _FINE_CELLS), size, interpolation=cv2.INTER_CUBIC)
    return np.asarray(enlarged_HW * (AMPLITUDE / enlarged_HW.std()), np.float32)


def with_invisible_mark(
    frame_HWC: Bytes, pattern_HW: Floats, where_HW: Floats, number: int
) -> Bytes:
    """Return frame `number` of a film with the pattern; `where_HW` is its strength, 0 to 1.

    The frames of a film are numbered one by one, those without a mark too. The pattern is added to
    all channels alike; pixels where its strength is 0 keep their values.
    """
    marked_HWC = frame_HWC.copy()
    left, top, width, height = cv2.boundingRect((where_HW > 0).view(np.uint8))
    if not width:
        return marked_HWC
    box = (slice(top, top + height), slice(left, left + width))
    sign = 1 if number // FLIP_FRAMES % 2 == 0 else -1
    added_HW = sign * pattern_HW[box] * where_HW[box] * _hidden_by_texture(frame_HWC[box])
    over_frame = math.sqrt(float(np.square(added_HW).sum()) / where_HW.size)
    added_HW *= min(1.0, AMPLITUDE / max(over_frame, 1e-6))
    marked_HWC[box] = cv2.add(frame_HWC[box], cv2.merge([added_HW] * 3), dtype=cv2.CV_8U)
    return marked_HWC


def _hidden_by_texture(frame_HWC: Bytes) -> Floats:
    """Return by how much the pattern may be stronger or weaker: it is seen least in texture."""
    height, width = frame_HWC.shape[:2]
    small = (max(1, width // _TEXTURE_PX), max(1, height // _TEXTURE_PX))
    luma_HW = cv2.cvtColor(frame_HWC, cv2.COLOR_RGB2GRAY).astype(np.float32)
    mean_HW = cv2.resize(luma_HW, small, interpolation=cv2.INTER_AREA)
    square_HW = cv2.resize(np.square(luma_HW), small, interpolation=cv2.INTER_AREA)
    spread_HW = np.sqrt(np.maximum(square_HW - np.square(mean_HW), 0))
    strength_HW = cv2.GaussianBlur(np.clip(spread_HW / _TEXTURE_LEVELS, *_STRENGTHS), (0, 0), 1)
    return np.asarray(cv2.resize(strength_HW, (width, height)), np.float32)


@dataclass(frozen=True)
class Finding:
    """What was found: the best z of all trials, the bound on its chance, the frames looked at."""

    z: float
    false_alarm: float
    frames: int

    @property
    def marked(self) -> bool:
        """Whether chance is no explanation."""
        return self.false_alarm <= FALSE_ALARM


class MarkDetector:
    """Looks for one key's mark in frames, given one after another; all have one size."""

    def __init__(self, key: MarkKey) -> None:
        self._key = key
        self._frames = 0
        self._lattices: list[_Lattice] = []
        self._best_z, self._trials = 0.0, 0

    def see(self, frame_HWC: Bytes) -> None:
        """Take the next frame."""
        height, width = frame_HWC.shape[:2]
        luma_HW: Floats = cv2.cvtColor(frame_HWC, cv2.COLOR_RGB2GRAY).astype(np.float32)
        if height > _MOST_ROWS_PX:  # Seven reductions of a small picture take less time.
            small = (max(1, round(width * _MOST_ROWS_PX / height)), _MOST_ROWS_PX)
            reduced_HW = cv2.resize(luma_HW, small, interpolation=cv2.INTER_AREA)
            luma_HW = np.asarray(reduced_HW, np.float32)
        if not self._frames:
            self._lattices = _lattices(self._key, height, width)
        elif self._frames % SEGMENT_FRAMES == 0:
            self._best_z, self._trials = self._with_segment()
            for lattice in self._lattices:
                lattice.segment_PRC[:] = 0
        for lattice in self._lattices:
            lattice.see(luma_HW, self._frames)
        self._frames += 1

    def finding(self) -> Finding:
        """Return what all frames so far say: the best of their segments, and of all together."""
        best_z, trials = self._with_segment()
        for lattice in self._lattices if self._frames > SEGMENT_FRAMES else ():
            best_z, trials = lattice.search(lattice.film_PRC, best_z, trials)
        chance = trials * math.exp(-(best_z**2) / 2) if trials else 1.0
        return Finding(best_z, min(1.0, chance), self._frames)

    def _with_segment(self) -> tuple[float, int]:
        best_z, trials = self._best_z, self._trials
        for lattice in self._lattices:
            best_z, trials = lattice.search(lattice.segment_PRC, best_z, trials)
        return best_z, trials


class _Lattice:
    """The film seen in one size of cells, added up by its step within two flips."""

    def __init__(self, signs_RC: Floats) -> None:
        self._signs_RC = signs_RC
        self._before: deque[Floats] = deque(maxlen=FLIP_FRAMES)
        self.segment_PRC = np.zeros((2 * FLIP_FRAMES, *signs_RC.shape), np.float32)
        self.film_PRC = np.zeros_like(self.segment_PRC)

    def see(self, luma_HW: Floats, number: int) -> None:
        rows, columns = self._signs_RC.shape
        cells_RC = cv2.resize(luma_HW, (columns, rows), interpolation=cv2.INTER_AREA)
        fine_RC = _fine(np.asarray(cells_RC, np.float32), _FINER_CELLS)
        if len(self._before) == FLIP_FRAMES:
            change_RC = fine_RC - self._before[0]
            # Places in motion must not outshout the others.
            power_RC = cv2.GaussianBlur(np.square(change_RC), (0, 0), _NEAR_CELLS)
            change_RC /= np.sqrt(power_RC + _NOISE_LEVELS**2)
            self.segment_PRC[number % (2 * FLIP_FRAMES)] += change_RC
            self.film_PRC[number % (2 * FLIP_FRAMES)] += change_RC
        self._before.append(fine_RC)

    def search(self, sum_PRC: Floats, best_z: float, trials: int) -> tuple[float, int]:
        """Return the best z with that of these sums, and the trials with those made here."""
        # What the second flip takes back is the first one's, with the other sign.
        flips_PRC = sum_PRC[:FLIP_FRAMES] - sum_PRC[FLIP_FRAMES:]
        for step in range(FLIP_FRAMES):
            seen_RC = flips_PRC[step:].sum(0) - flips_PRC[:step].sum(0)
            power_RC = cv2.GaussianBlur(np.square(seen_RC), (0, 0), _NEAR_CELLS)
            seen_RC = np.tanh(seen_RC / (1.5 * np.sqrt(power_RC + 1e-6)))
            with_signs = cv2.integral(seen_RC * self._signs_RC, sdepth=cv2.CV_64F)
            squares = cv2.integral(np.square(seen_RC), sdepth=cv2.CV_64F)
            for rows, columns in _windows(*seen_RC.shape):
                # Where next to nothing changed there is nothing to find.
                square = np.maximum(_window_sums(squares, rows, columns), 1.0)
                z = _window_sums(with_signs, rows, columns) / np.sqrt(square)
                best_z = max(best_z, float(np.abs(z).max()))
                trials += 2 * z.size
        return best_z, trials


def _lattices(key: MarkKey, height_px: int, width_px: int) -> list[_Lattice]:
    # Scaling rounds the width, which may move a film's shape across the border of two steps.
    aspects = [width_px / height_px * (1 + doubt) for doubt in (-_ASPECT_DOUBT, _ASPECT_DOUBT)]
    return [
        _Lattice(key.signs(rows, columns))
        for rows in _ROWS
        if rows <= max(height_px, _ROWS[0])
        for columns in sorted({_columns(rows, aspect) for aspect in aspects})
    ]


def _columns(rows: int, aspect: float) -> int:
    """Return how many columns make cells that are square to 5 %."""
    step = round(_ASPECT_STEPS * math.log2(aspect))
    return max(4, round(rows * 2 ** (step / _ASPECT_STEPS)))


def _fine(cells_RC: Floats, sigma_cells: float) -> Floats:
    """Take away what is coarser than so many cells."""
    return np.asarray(cells_RC - cv2.GaussianBlur(cells_RC, (0, 0), sigma_cells), np.float32)


_Corners = tuple[NDArray[np.int64], NDArray[np.int64]]


def _windows(rows: int, columns: int) -> list[tuple[_Corners, _Corners]]:
    """Return (tops and bottoms, lefts and rights) of square windows of every size."""
    sides, side = [], float(_LEAST_WINDOW_CELLS)
    while side < max(rows, columns):
        sides.append(round(side))
        side *= _WINDOW_GROWTH
    return [(_places(rows, side), _places(columns, side)) for side in [*sides, max(rows, columns)]]


def _places(length: int, side: int) -> _Corners:
    side = min(side, length)
    last = length - side
    starts = np.unique(np.append(np.arange(0, last, max(1, side // 4)), last))
    return starts, starts + side


def _window_sums(
    integral: NDArray[np.float64], rows: _Corners, columns: _Corners
) -> NDArray[np.float64]:
    (tops, bottoms), (lefts, rights) = rows, columns
    bands = integral[bottoms] - integral[tops]
    return np.asarray(bands[:, rights] - bands[:, lefts])
