"""What can be wrong with a film, as values that a stage turns into a row."""

from enum import StrEnum


class FilmReason(StrEnum):
    """Why a file cannot be used as a film."""

    VANISHED = "vanished"
    UNREADABLE = "unreadable"
    NOT_A_FILE = "not_a_file"
    EMPTY = "empty"
    NOT_MEDIA = "not_media"
    NOT_A_FILM = "not_a_film"
    TRUNCATED = "truncated"
    NO_VIDEO = "no_video"
    NO_AUDIO = "no_audio"
    TOO_LARGE = "too_large"
    UNDECODABLE = "undecodable"


class UnusableFilm(Exception):  # noqa: N818 - names the finding, not a programming error
    """A file that is no usable film; caught once, where a stage turns it into an outcome.

    `reason` is for rows and filters, `detail` is one sentence for people. It pickles.
    """

    def __init__(self, reason: FilmReason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"
