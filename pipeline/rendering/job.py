"""A render job: which shots, of whom, driven by which performances, with which trained run."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    model_validator,
)

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


class Dub(_Strict):
    """A sound file that is delivered with the pictures, such as the mix of the dub."""

    file: str
    start_s: Annotated[float, Field(ge=0)] = 0.0
    """Time in the file that is heard with the first picture of the shot."""


class Cuts(StrEnum):
    """Into what a film's stretch is divided: nothing, or the takes that its editor joined."""

    NONE = "none"
    AUTO = "auto"


class Pose(StrEnum):
    """How a portrait's head is turned: as the performer's, or slowly around."""

    PERFORMANCE = "performance"
    ORBIT = "orbit"


class FilmShot(_Strict):
    """The actor of `film` gets the performance's expressions; pose and timing stay the film's."""

    mode: Literal["film"]
    id: Name
    film: str
    consent: Name | None = None
    """Of the person whose face is replaced; where the film shows several, it says which."""
    performance: Performance
    start_s: Annotated[float, Field(ge=0)] = 0.0
    """Where the shot begins in the film, after its first picture."""
    end_s: Annotated[float, Field(gt=0)] | None = None
    """Where it ends; None: with the film."""
    dub: Dub | None = None
    """Delivered in place of what `audio` says."""
    cuts: Cuts = Cuts.NONE
    """`auto` makes a shot of every take between two cuts: ID-001, ID-002, and so on."""
    audio: Literal["film", "performance"] = "film"
    policy: Policy = Policy.KEEP

    @model_validator(mode="after")
    def _lasts(self) -> Self:
        if self.end_s is not None and self.end_s <= self.start_s:
            raise ValueError(f"end_s {self.end_s:g} must be later than start_s {self.start_s:g}")
        return self


class PortraitShot(_Strict):
    """A still picture moves with the performance: a clip of the crop, with the performer's pose."""

    mode: Literal["portrait"]
    id: Name
    portrait: str
    consent: Name | None = None
    """Of the person in the picture."""
    performance: Performance
    pose: Pose = Pose.PERFORMANCE
    duration_s: Annotated[float, Field(gt=0)] | None = None
    """Length of the clip; None plays the performance to its end."""


Shot = Annotated[FilmShot | PortraitShot, Field(discriminator="mode")]
_ANY_SHOT: TypeAdapter[FilmShot | PortraitShot] = TypeAdapter(Shot)


class _Source(_Strict):
    """Who is shown in some shots of a matrix."""

    id: Name
    consent: Name | None = None


class FilmSource(_Source):
    """An actor's film."""

    film: str


class PortraitSource(_Source):
    """A picture."""

    portrait: str


class NamedPerformance(Performance):
    """A performance of a matrix."""

    id: Name


class _Matrix(_Strict):
    id: Name
    performances: Annotated[list[NamedPerformance], Field(min_length=1)]
    sources: Sequence[_Source]

    def shots(self) -> list[FilmShot | PortraitShot]:
        """Return every source with every performance, as shots named ID-SOURCE-PERFORMANCE."""
        settings = self.model_dump(exclude={"id", "performances", "sources"})
        return [
            _ANY_SHOT.validate_python(
                {
                    **settings,
                    **source.model_dump(),
                    "id": f"{self.id}-{source.id}-{performance.id}",
                    "performance": performance.model_dump(exclude={"id"}),
                }
            )
            for source in self.sources
            for performance in self.performances
        ]


class FilmMatrix(_Matrix):
    """Every film with every performance."""

    mode: Literal["film"]
    sources: Annotated[list[FilmSource], Field(min_length=1)]
    audio: Literal["film", "performance"] = "film"
    policy: Policy = Policy.KEEP


class PortraitMatrix(_Matrix):
    """Every picture with every performance."""

    mode: Literal["portrait"]
    sources: Annotated[list[PortraitSource], Field(min_length=1)]
    pose: Pose = Pose.PERFORMANCE
    duration_s: Annotated[float, Field(gt=0)] | None = None


Matrix = Annotated[FilmMatrix | PortraitMatrix, Field(discriminator="mode")]


class Job(_Strict):
    """One render job, as `e3d render` takes it."""

    job: Name
    run: Name
    """The training run whose newest checkpoint renders."""
    shots: list[Shot] = []
    matrix: list[Matrix] = []
    """Further shots, written short: each of some sources with each of some performances."""
    checkpoint: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Ledger key of the run's weights or of one of its checkpoints; None: the newest."""
    deliver_to: str | None = None
    """Folder or s3://bucket/prefix, where JOB/ is made; None: deliver/ in the store."""
    visible_mark: bool = True
    """Write 'AI-generated' into a corner of every frame."""
    invisible_mark: bool = True
    """Put a pattern that only the key's owner can find into all that is generated."""
    recipe: str = "dubbing"
    """How the films are pre-processed: a recipe that keeps every frame at its own time."""
    seed: int = 0
    """Chooses among equally good source frames."""

    def expanded(self) -> "Job":
        """Return the job with its matrices written out as shots."""
        further = [shot for matrix in self.matrix for shot in matrix.shots()]
        return self.model_copy(update={"shots": [*self.shots, *further], "matrix": []})

    def relative_to(self, folder: Path) -> "Job":
        """Return the job with relative paths read from `folder` (where the job file lies)."""

        def place(path: str) -> str:
            return path if "://" in path else str((folder / path).resolve())

        shots: list[FilmShot | PortraitShot] = []
        for shot in self.shots:
            performance = shot.performance.model_copy(
                update={"video": place(shot.performance.video)}
            )
            still: dict[str, Any] = (
                {"film": place(shot.film)}
                if isinstance(shot, FilmShot)
                else {"portrait": place(shot.portrait)}
            )
            if isinstance(shot, FilmShot) and shot.dub is not None:
                still["dub"] = shot.dub.model_copy(update={"file": place(shot.dub.file)})
            shots.append(shot.model_copy(update={"performance": performance, **still}))
        deliver_to = None if self.deliver_to is None else place(self.deliver_to)
        return self.model_copy(update={"shots": shots, "deliver_to": deliver_to})
