"""`e3d ui`: past and present runs in the browser."""

import time

import typer

_LOOK_EVERY_S = 1.0


def ui() -> None:
    """Keep the Prefect UI open, with all past runs, until Ctrl-C; prints its address.

    Commands that run meanwhile share this server, and it is theirs until the last has ended. With
    PREFECT_API_URL set, the address of that server's UI is printed, and that is all.
    """
    from flows.server import ServerError, prefect_server, running_server

    with prefect_server() as server:
        typer.echo(server.ui_url)
        if not server.embedded:
            return
        try:
            typer.echo("Ctrl-C closes it.", err=True)
            while running_server():
                time.sleep(_LOOK_EVERY_S)
        except KeyboardInterrupt:
            return
        raise ServerError(f"the Prefect server has ended; its log is {server.log}")
