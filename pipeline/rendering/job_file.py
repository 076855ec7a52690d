"""The job file: YAML read and checked.

A mistake in it ends in one `ConfigurationError` that names the field and the line.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import yaml
from pydantic import ValidationError

from pipeline.errors import ConfigurationError
from pipeline.rendering.job import Cuts, FilmShot, Job


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
        job = Job.model_validate(data).expanded()
    except ValidationError as error:
        raise ConfigurationError(_first_mistake(name, tree, error)) from error
    if not job.shots:
        raise ConfigurationError(f"{name}: shots and matrix are empty: there is nothing to render")
    ids = [shot.id for shot in job.shots]
    twice = sorted({shot_id for shot_id in ids if ids.count(shot_id) > 1})
    if twice:
        raise ConfigurationError(f"{name}: shot id {twice[0]!r} is used more than once")
    for shot in job.shots:
        if isinstance(shot, FilmShot) and shot.cuts is Cuts.AUTO:
            take = re.compile(re.escape(shot.id) + r"-\d{3,}")
            if taken := next(filter(take.fullmatch, ids), None):
                raise ConfigurationError(
                    f"{name}: shot id {taken!r} is that of a take of shot {shot.id!r}, which is "
                    "divided at its cuts; call one of them otherwise"
                )
    return job


def _first_mistake(name: str, tree: yaml.Node | None, error: ValidationError) -> str:
    first, *others = error.errors()
    loc = first["loc"]
    # Below a shot pydantic's location names the chosen mode, which is no level of the file.
    has_mode = loc[:1] in {("shots",), ("matrix",)}
    where = (loc[:2] + loc[3:] if has_mode else loc) or ("(top level)",)
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
