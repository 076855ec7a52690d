import os
import signal
import subprocess
import sys

from typer.testing import CliRunner

from flows.cli.main import app
from flows.server import PrefectServer, check_api

LIMIT_S = 60.0


def test_the_address_is_shown_and_the_server_kept_until_ctrl_c(prefect_api: PrefectServer) -> None:
    """It joins the embedded server of the home, which others use too, and leaves it to them."""
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.cli.main", "ui"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().strip() == prefect_api.ui_url
        assert "Ctrl-C" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=LIMIT_S)
    finally:
        process.kill()
    assert (process.returncode, said) == (0, "")
    check_api(prefect_api.api_url)


def test_a_given_server_needs_no_keeping(prefect_api: PrefectServer) -> None:
    result = CliRunner().invoke(app, ["ui"])
    assert (result.exit_code, result.stdout.strip()) == (0, prefect_api.ui_url)
