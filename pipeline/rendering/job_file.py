"""The render job: a YAML file that names shots, performances and a trained run.

A mistake in the file ends in one `ConfigurationError` that names the field and the line.
"""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import ConfigurationError

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]


class Policy(StrEnum):
    """What becomes of a film frame without a face, or beyond the performance's end."""

    KEEP = "keep"
    HOLD = "hold"
    FAIL_SHOT = "fail-shot"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Performance(_Strict):
    """Whose face gives the expressions."""

    video: str
    start_s: Annotated[float, Field(ge=0)] = 0.0
    """Time in the performance that plays at the first frame of the shot."""


class FilmShot(_Strict):
    """The actor of `film` gets the performance's expressions; pose and timing stay the film's."""

    mode: Literal["film"]
    id: Name
    film: str
    performance: Performance
    audio: Literal["film", "performance"] = "film"
    policy: Policy = Policy.KEEP


class PortraitShot(_Strict):
    """A still picture moves with the performance: a clip of the crop, with the performer's pose."""

    mode: Literal["portrait"]
    id: Name
    portrait: str
    performance: Performance
    duration_s: Annotated[float, Field(gt=0)] | None = None
    """Length of the clip; None plays the performance to its end."""


Shot = Annotated[FilmShot | PortraitShot, Field(discriminator="mode")]


class Job(_Strict):
    """One render job, as `e3d render` takes it."""

    job: Name
    run: Name
    """The training run whose newest checkpoint renders."""
    shots: Annotated[list[Shot], Field(min_length=1)]
    visible_mark: bool = True
    """Write 'AI-generated' into a corner of every frame."""
    recipe: str = "dubbing"
    """How the films are pre-processed: a recipe that keeps every frame at its own time."""
    seed: int = 0
    """Chooses among equally good source frames."""

    def relative_to(self, folder: Path) -> "Job":
        """Return the job with relative paths read from `folder` (where the job file lies)."""

        def place(path: str) -> str:
            return path if "://" in path else str((folder / path).resolve())

        shots: list[FilmShot | PortraitShot] = []
        for shot in self.shots:
            performance = shot.performance.model_copy(
                update={"video": place(shot.performance.video)}
            )
            still = (
                {"film": place(shot.film)}
                if isinstance(shot, FilmShot)
                else {"portrait": place(shot.portrait)}
            )
            shots.append(shot.model_copy(update={"performance": performance, **still}))
        return self.model_copy(update={"shots": shots})


def read_job(path: Path) -> Job:
    """Read and check a job file; relative paths in it are relative to the file.

    Raises ConfigurationError with field and line.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read as a job file: {error}") from error
    try:
        data = yaml.safe_load(text)
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path} is not valid YAML: {error}") from error
    return _checked(data, str(path), tree).relative_to(path.parent)


def parse_job(data: object) -> Job:
    """Check a job that is given as plain values, as to a deployment. Raises ConfigurationError."""
    return _checked(data, "job", None)


def _checked(data: object, name: str, tree: yaml.Node | None) -> Job:
    try:
        job = Job.model_validate(data)
    except ValidationError as error:
        raise ConfigurationError(_first_mistake(name, tree, error)) from error
    ids = [shot.id for shot in job.shots]
    twice = sorted({shot_id for shot_id in ids if ids.count(shot_id) > 1})
    if twice:
        raise ConfigurationError(f"{name}: shot id {twice[0]!r} is used more than once")
    return job


def _first_mistake(name: str, tree: yaml.Node | None, error: ValidationError) -> str:
    first, *others = error.errors()
    loc = first["loc"]
    # Below a shot pydantic's location names the chosen mode, which is no level of the file.
    where = (loc[:2] + loc[3:] if loc[:1] == ("shots",) else loc) or ("(top level)",)
    field = ".".join(str(part) for part in where)
    more = f" ({len(others)} more)" if others else ""
    given = "" if first["type"] == "missing" else f", given {first['input']!r:.80}"
    line = f", line {_line_of(tree, where)}" if tree else ""
    return f"{name}{line}: {field}: {first['msg']}{given}{more}"


def _line_of(node: yaml.Node | None, where: Sequence[object]) -> int:
    """Line (from 1) of the deepest node on the way to `where` that exists in the file."""
    line = 1
    for part in where:
        if isinstance(node, yaml.MappingNode):
            found = [value for key, value in node.value if key.value == part]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            found = node.value[part : part + 1]
        else:
            found = []
        if not found:
            break
        node = found[0]
        line = node.start_mark.line + 1
    return line
