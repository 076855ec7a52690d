"""What a user can mend: a job, recipe or option that is not usable as given."""

from storage.identity import check_name


class ConfigurationError(Exception):
    """One sentence: which field, what was given, what is allowed. Exit code 2 of a command."""


def usable_name(name: str, what: str) -> str:
    """Return a name that can stand in keys and ids. Raises ConfigurationError for any other."""
    try:
        return check_name(name, what)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
