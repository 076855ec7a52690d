"""`e3d facemodel`: learn the face model `mesh478` from a dataset, and read a model's card."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.cli.examples import examples
from flows.cli.session import AsJson, Store, as_lines, show
from pipeline.errors import ConfigurationError

app = typer.Typer(
    help="Learn a linear face model from a dataset, or show what one was made of.",
    epilog=examples(
        "e3d facemodel show",
        "e3d facemodel build actors --store ./e3d-store --out actors.safetensors",
    ),
    no_args_is_help=True,
    rich_markup_mode="rich",
)


@app.command(
    epilog=examples(
        "e3d facemodel build actors --store ./e3d-store --out actors.safetensors",
        "e3d facemodel build actors --store s3://bucket/e3d --out actors.safetensors "
        "--portrait a.jpg --portrait b.jpg",
    )
)
def build(
    dataset: Annotated[str, typer.Argument(help="A dataset with mesh landmarks.")],
    store: Store,
    out: Annotated[Path, typer.Option(help="The safetensors file to write.")],
    portrait: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PICTURE",
            help="A picture of one further person, who adds to identity only; may be repeated.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option(help="Replace the file if there is one.")] = False,
    as_json: AsJson = False,
) -> None:
    """Learn mean, identity and expression from a dataset's persons, and test them on others.

    Only statistics over many persons are written. The same dataset gives the same file.
    """
    if out.exists() and not force:
        raise ConfigurationError(f"{out} is there already; to replace it: --force")
    if not out.parent.is_dir():
        raise ConfigurationError(f"out is {out}; the folder {out.parent} is not there")
    from pipeline.faces.model_build import build_face_model
    from storage.ledger import Ledger
    from storage.store import open_store

    built = build_face_model(
        Ledger(open_store(store)),
        dataset,
        portrait or (),
        report=lambda said: typer.echo(said, err=True),
    )
    for doubt in built.doubts:
        typer.echo(f"in doubt: {doubt}", err=True)
    part = out.with_name(f".{out.name}.part")
    try:
        part.write_bytes(built.content)
        part.replace(out)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise ConfigurationError(f"{out} cannot be written: {error.strerror}") from error
    _tell(out, as_json=as_json, doubts=list(built.doubts))


@app.command("show", epilog=examples("e3d facemodel show", "e3d facemodel show FILE --json"))
def show_card(
    file: Annotated[
        Path | None, typer.Argument(help="A face model's file; default: the one that is shipped.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a face model was made of, and how it does on persons that it has not seen."""
    _tell(file, as_json=as_json)


def _tell(file: Path | None, *, as_json: bool, **further: Any) -> None:
    from preprocess.face3d.mesh478 import SHIPPED, read_mesh478

    path = file or SHIPPED
    try:
        face = read_mesh478(path).face
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    told: Mapping[str, Any] = {
        "file": str(path),
        "sha256": face.digest,
        "identity": len(face.identity_IV3),
        "expression": len(face.expression_EV3),
        "card": dict(face.card),
    }
    show({**told, **further}, as_lines(told), as_json=as_json)
