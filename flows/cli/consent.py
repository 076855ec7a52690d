"""`e3d consent`: who agreed to be shown in generated films, in what, and until when."""

import datetime
import getpass
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.examples import examples
from flows.cli.session import AsJson, Store, as_lines, show
from pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from pipeline.provenance.consent import Consent

app = typer.Typer(
    help="Register, list and revoke consents; nothing that is registered is ever changed.",
    epilog=examples(
        "e3d consent list --store ./e3d-store",
        "e3d consent revoke anna-2026 --store ./e3d-store --why 'asked for it'",
    ),
    no_args_is_help=True,
    rich_markup_mode="rich",
)

By = Annotated[str | None, typer.Option(help="Who enters this; default: your login name.")]


@app.command(
    epilog=examples(
        "e3d consent add --id anna-2026 --name 'Anna Actor' --use dubbing --until 2027-12-31 "
        "--picture anna.jpg --store ./e3d-store",
        "e3d consent add --id ben --name Ben --use dubbing --use portrait --until 2027-06-30 "
        "--picture ben.png --store s3://bucket/e3d --json",
    )
)
def add(
    store: Store,
    consent_id: Annotated[str, typer.Option("--id", help="A new id, by which jobs name it.")],
    name: Annotated[str, typer.Option(help="The person's name.")],
    use: Annotated[list[str], typer.Option(help="dubbing or portrait; may be repeated.")],
    until: Annotated[str, typer.Option(metavar="YYYY-MM-DD", help="The last day, in UTC.")],
    picture: Annotated[
        Path,
        typer.Option(help="Shows this person alone; of a film its first frame. It is not kept."),
    ],
    recipe: Annotated[
        str, typer.Option(help="That of the jobs: its network measures the face.")
    ] = "dubbing",
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Register a person's consent, with the face that it is for."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")  # it warns of its own default backend
    from pipeline.provenance.consent_registry import register_consent
    from pipeline.provenance.reference_face import reference_face
    from pipeline.recipes import preprocess_recipe

    uses, last_day = _uses(use), _date(until)
    networks = preprocess_recipe(recipe).landmarks.networks
    consent = register_consent(
        _ledger(store),
        consent_id=consent_id,
        name=name,
        uses=uses,
        until=last_day,
        face=reference_face(picture, networks),
        by=_who(by),
        now=_now(),
    )
    _tell(consent, as_json=as_json)


@app.command(
    "list",
    epilog=examples(
        "e3d consent list --store ./e3d-store", "e3d consent list --store s3://bucket/e3d --json"
    ),
)
def list_all(store: Store, as_json: AsJson = False) -> None:
    """Show every consent: what it allows, until when, who registered it, and whether it holds."""
    from pipeline.provenance.consent_registry import all_consents

    told = [_facts(consent) for consent in all_consents(_ledger(store))]
    text = "\n".join(as_lines({one.pop("id"): one}) for one in map(dict, told))
    show({"consents": told}, text or "no consent is registered", as_json=as_json)


@app.command(
    epilog=examples(
        "e3d consent revoke anna-2026 --store ./e3d-store --why 'asked for it'",
        "e3d consent revoke anna-2026 --store s3://bucket/e3d --why 'contract ended' --by legal",
    )
)
def revoke(
    consent_id: Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.")],
    store: Store,
    why: Annotated[str, typer.Option(help="The reason, in one line.")],
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """End a consent now and for good; the record and its end stay readable."""
    from pipeline.provenance.consent_registry import revoke_consent

    consent = revoke_consent(_ledger(store), consent_id, why=why, by=_who(by), now=_now())
    _tell(consent, as_json=as_json)


def _uses(given: list[str]) -> "tuple[Any, ...]":
    from pipeline.provenance.consent import Use

    for one in given:
        if one not in set(Use):
            raise ConfigurationError(f"use is {one!r}; allowed is {', '.join(Use)}")
    return tuple(Use(one) for one in given)


def _date(given: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(given)
    except ValueError:
        raise ConfigurationError(
            f"until is {given!r}; it must be a day such as 2027-12-31"
        ) from None


def _facts(consent: "Consent") -> dict[str, Any]:
    """Return what people ask of a consent; the embedding says nothing to them."""
    facts: dict[str, Any] = {
        "id": consent.id,
        "name": consent.name,
        "uses": list(map(str, consent.uses)),
        "until": consent.until.isoformat(),
        "state": consent.state(_now()),
        "registered": {"at": consent.registered_at, "by": consent.registered_by},
        "face measured by": dict(consent.face.network),
    }
    if consent.revocation:
        facts["revoked"] = asdict(consent.revocation)
    return facts


def _tell(consent: "Consent", *, as_json: bool) -> None:
    facts = _facts(consent)
    show(facts, as_lines(facts), as_json=as_json)


def _ledger(store: str) -> Any:
    from storage.ledger import Ledger
    from storage.store import open_store

    return Ledger(open_store(store))


def _who(given: str | None) -> str:
    if given is not None:
        return given
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise ConfigurationError("your login name is not known here; give --by") from None


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
