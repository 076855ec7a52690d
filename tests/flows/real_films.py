"""Jobs over real films, what the ledger knows of their shots, and pictures compared.

Shapes: F frames, H, W, C colours.
"""

import dataclasses
import datetime
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from small_dataset import decode, write_film

from flows.render import render_film
from model.inference.paste_back import mask_on_film
from model.inference.smoothing import SmoothingConfig
from pipeline.films import local_film
from pipeline.recipes import preprocess_recipe
from pipeline.rendering.job import FilmShot
from pipeline.rendering.job_file import parse_job
from pipeline.rendering.plan import plan_render
from pipeline.rendering.shots import shot_items
from pipeline.runners.local import LocalRunner
from pipeline.stage import Work
from pipeline.stages.film_shot import FaceCrops, ShotPlan, plan_shot
from pipeline.stages.rendering import Animators
from preprocess.media.decode import decode_film, frame_times
from preprocess.media.deliver import write_film as write_delivery
from preprocess.media.ffmpeg import find_ffmpeg
from preprocess.media.probe import probe_film
from storage.ledger import Ledger
from storage.store import open_store
from tests.flows.conftest import RUN
from tests.flows.consents import RENDER_RECIPE

Frames = NDArray[np.uint8]
_MUX_LIMIT_S = 60.0


def film_shot(shot: str, film: Path, performance: Path, consent: str, **more: Any) -> Any:
    """A shot of a job, as a job file has it."""
    video = {"video": str(performance)}
    named = {"mode": "film", "id": shot, "film": str(film), "performance": video}
    return {**named, "consent": consent, **more}


def job_of(name: str, *shots: Any, **more: Any) -> dict[str, Any]:
    """A job that writes nothing into its pictures which an eye could see."""
    job = {"job": name, "run": RUN, "recipe": RENDER_RECIPE, "visible_mark": False}
    return {**job, "shots": list(shots), **more}


def render(store: Path, job: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Render a job without Ray; return its rows by shot, in order."""
    result = render_film(job=job, store=str(store), ray_address="none")
    return {row["shot_id"]: row for row in result["shots"]}


def planned(store: Path, job: dict[str, Any], folder: Path) -> dict[str, "Face"]:
    """Where the ledger's tables say that the actor's face is in each admitted shot.

    All films must be pre-processed already; `folder` is for copies.
    """
    return {work.item.id: _face(work) for work in works_of(store, job, folder)}


def works_of(store: Path, job: dict[str, Any], folder: Path) -> list[Work]:
    """What the stage that renders films gets for each admitted shot; see `planned`."""
    ledger, wanted = Ledger(open_store(str(store))), parse_job(job)
    recipe = preprocess_recipe(wanted.recipe)
    plan = plan_render(ledger, wanted, recipe, datetime.datetime.now(datetime.UTC))
    seen = LocalRunner().run(
        recipe.stages(),
        plan.films(),
        store_url=str(store),
        run_id="looked-at-by-tests",
        on_event=lambda _event: None,
    )
    items = [item for item in shot_items(ledger, plan, seen)["film"] if not item.ended]
    return [Work(item, ledger, folder / item.id, lambda *_: None) for item in items]


def _face(work: Work) -> "Face":
    work.folder.mkdir(parents=True)
    shot = FilmShot.model_validate(work.item.inputs["shot"])
    film = local_film(str(work.item.places["film"]), work.folder)
    plan = plan_shot(work, shot, film, SmoothingConfig())
    return Face(plan, FaceCrops(work, plan))


@dataclasses.dataclass(frozen=True)
class Face:
    """A shot's face: what is known of it before anything is rendered."""

    plan: ShotPlan
    crops: FaceCrops

    def weight(self, frame: int) -> NDArray[np.float32]:
        """How far each pixel [H,W] of a frame of the shot is covered, 0 to 1."""
        info = self.plan.info
        if not self.plan.render_F[frame]:
            return np.zeros((info.height, info.width), np.float32)
        affine_33 = self.plan.actor.affine_N33[frame]
        return mask_on_film(self.crops.mask(frame), affine_33, (info.height, info.width))


class OwnCrops:
    """Stands in for the animator: gives the film's own crops, found by their cameras."""

    image_px = 256

    def __init__(self, face: Face) -> None:
        self._crops = face.crops
        cameras_N25 = face.plan.actor.camera_N25
        self._frame = {camera_25.tobytes(): f for f, camera_25 in enumerate(cameras_N25)}

    def portrait(self, _image: Frames) -> "OwnCrops":
        """Need none."""
        return self

    def animate(self, _exp_TE: Any, camera_T25: NDArray[np.float32]) -> Iterator[Frames]:
        """Give the crop of the frame that has each camera."""
        return (self._crops[self._frame[camera_25.tobytes()]] for camera_25 in camera_T25)


def show_own_crops(patch: pytest.MonkeyPatch) -> None:
    """Let the rest of the process "render" every face as the film has it."""

    def of(_animators: Animators, work: Work) -> OwnCrops:
        return OwnCrops(_face(dataclasses.replace(work, folder=work.folder / "own")))

    patch.setattr(Animators, "of", of)


def encoded(film: Path, out: Path) -> Path:
    """The untouched film, written with the settings of delivered films; silent."""
    _, pts = frame_times(film)
    info = dataclasses.replace(probe_film(film), audio=None)
    pictures = (frame.rgb for frame in decode_film(film))
    write_delivery(out, pictures, original=info, pts=pts, audio_from=None)
    return out


def with_sound(frames: Sequence[Frames], sound: Path, out: Path) -> Path:
    """A film of these frames at 30 fps with the sound of another one."""
    silent = write_film(frames, out.with_name(f"silent-{out.name}"))
    command = [find_ffmpeg(), "-v", "error", "-i", silent, "-i", sound, "-map", "0:v", "-map"]
    command += ["1:a", "-c", "copy", "-t", str(len(frames) / 30), "-y", out]
    subprocess.run(command, check=True, timeout=_MUX_LIMIT_S)
    return out


def still(film: Path, out: Path) -> Path:
    """The first picture of a film as PNG."""
    cv2.imwrite(str(out), decode(film)[0][..., ::-1])
    return out


def level_errors(one: Frames, other: Frames) -> NDArray[np.float64]:
    """Differences of two pictures' levels [...,C]."""
    return np.abs(one.astype(np.float64) - other)


def psnr(error: NDArray[np.float64]) -> float:
    """Peak signal to noise ratio in dB of differences in levels of 8 bits."""
    return float(20 * np.log10(255 / np.sqrt(np.mean(error**2))))


def nearest(frame_HWC: Frames, frames_FHWC: Sequence[Frames]) -> int:
    """Which of some frames is most like one."""
    return int(np.argmin([level_errors(frame_HWC, other).mean() for other in frames_FHWC]))


def sound_of(film: Path) -> tuple[int, NDArray[np.float32]]:
    """(rate in Hz, samples of the first channel from the first picture on), by PyAV alone."""
    with av.open(str(film)) as container:
        picture = next(container.decode(video=0))
        zero_s = float(picture.pts * picture.time_base)
        rate_hz = container.streams.audio[0].rate
    with av.open(str(film)) as container:
        pieces = list(container.decode(audio=0))
    mono = av.AudioResampler(format="fltp", layout="mono", rate=rate_hz)
    waves = [one.to_ndarray()[0] for piece in pieces for one in mono.resample(piece)]
    start_s = float(pieces[0].pts * pieces[0].time_base) - zero_s
    wave_N = np.concatenate(waves)
    before = round(start_s * rate_hz)
    if before >= 0:
        return rate_hz, np.concatenate([np.zeros(before, np.float32), wave_N])
    return rate_hz, wave_N[-before:]


def sound_is_late_s(delivered: Path, film: Path, start_s: float) -> float:
    """By how much the sound of a film's stretch, not silent, comes late: at most 50 ms."""
    rate_hz, original_N = sound_of(film)
    _, heard_N = sound_of(delivered)
    most = round(0.05 * rate_hz)
    first = round(start_s * rate_hz)
    count = min(len(heard_N), len(original_N) - first) - 2 * most
    wanted_N = original_N[first + most : first + most + count]
    assert wanted_N.std() > 1e-4
    match = np.correlate(heard_N[: count + 2 * most], wanted_N, "valid")
    return float(int(match.argmax()) - most) / rate_hz


def unrendered(store: Path, folder: Path) -> Path:
    """A copy of a store in which no shot of a film is rendered yet."""
    rendered = shutil.ignore_patterns("render-film", "deliver")
    return Path(shutil.copytree(store, folder / "store", ignore=rendered))
