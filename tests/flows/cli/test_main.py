"""The command line as such: help, exit codes, and what a user reads when something goes wrong."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli.main import app, main

LIMIT_S = 60.0
COMMANDS = [["doctor"], ["ui"], ["assets", "list"], ["assets", "fetch"], ["assets", "verify"]]


def run_python(
    script: str, home: Path, *, send: signal.Signals | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own; with `send`, signal it when it has said `ready`."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"E3D_HOME": str(home)} | variables,
    )
    try:
        if send is not None:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(send)
        out, err = process.communicate(timeout=LIMIT_S)
    finally:
        process.kill()
    return subprocess.CompletedProcess([], process.returncode, out, err)


def failing_command(error: str) -> str:
    return f"""
        from flows.cli.main import app, main
        from pipeline.errors import ConfigurationError
        from storage.assets import AssetMissing
        from storage.store import StoreError

        @app.command()
        def fail() -> None:
            raise {error}

        import sys
        sys.argv = ["e3d", "fail"]
        main()
    """


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_teaches_by_two_examples(command: list[str]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert "Examples" in result.output
    shown = result.output.split("Examples")[1]
    assert shown.count("e3d " + " ".join(command)) == 2


def test_help_lists_all_commands_and_the_version_is_told() -> None:
    runner = CliRunner()
    overview = runner.invoke(app, ["--help"])
    assert overview.exit_code == 0
    assert {"doctor", "assets", "ui"} <= set(overview.output.split())
    version = runner.invoke(app, ["--version"])
    assert (version.exit_code, version.output.split()[0]) == (0, "e3d")


def test_help_loads_nothing_heavy(tmp_path: Path) -> None:
    script = """
        import sys
        import flows.cli.main
        print({"torch", "ray", "prefect", "cv2", "pyarrow", "pydantic"} & sys.modules.keys())
    """
    assert run_python(script, tmp_path).stdout == "set()\n"


@pytest.mark.parametrize("words", [["nonsense"], ["doctor", "--nonsense"], []])
def test_bad_use_ends_with_code_2(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["e3d", *words])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as end:
            main()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert end.value.code == 2


@pytest.mark.parametrize("kind", ["ConfigurationError", "AssetMissing", "StoreError"])
def test_what_a_user_can_mend_is_one_sentence_and_code_2(kind: str, tmp_path: Path) -> None:
    script = failing_command(f"{kind}('frames: given 0, allowed is 1 or more s3://id:word@host')")
    result = run_python(script, tmp_path)
    assert result.returncode == 2
    assert result.stderr == "e3d: frames: given 0, allowed is 1 or more s3://***@host\n"
    assert not list(tmp_path.rglob("*.log"))


def test_a_bug_is_one_sentence_and_a_file_without_secrets(tmp_path: Path) -> None:
    script = failing_command("ZeroDivisionError('with wJalrXUtnFEMI')")
    result = run_python(script, tmp_path, AWS_SECRET_ACCESS_KEY="wJalrXUtnFEMI", E3D_DEBUG="")
    assert result.returncode == 1
    (log,) = (tmp_path / "logs").iterdir()
    assert result.stderr.count("\n") == 1
    assert str(log) in result.stderr
    told = log.read_text()
    assert "Traceback" in told
    assert "e3d fail" in told
    assert "ZeroDivisionError: with ***" in told
    assert "wJalrXUtnFEMI" not in told + result.stderr


def test_a_bug_is_shown_whole_on_demand_and_where_no_file_can_be_written(tmp_path: Path) -> None:
    script = failing_command("ZeroDivisionError()")
    assert "Traceback" in run_python(script, tmp_path, E3D_DEBUG="1").stderr
    (tmp_path / "file").write_text("")
    result = run_python(script, tmp_path / "file" / "home", E3D_DEBUG="")
    assert result.returncode == 1
    assert "Traceback" in result.stderr


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_command_cleans_up_and_says_what_is_kept(
    sent: signal.Signals, code: int, tmp_path: Path
) -> None:
    script = """
        import sys, time
        from flows.cli.main import app, main

        @app.command()
        def wait() -> None:
            try:
                print("ready", flush=True)
                time.sleep(60)
            finally:
                print("cleaned up", flush=True)

        sys.argv = ["e3d", "wait"]
        main()
    """
    result = run_python(script, tmp_path, send=sent)
    assert result.returncode == code
    assert "cleaned up" in result.stdout
    assert "what was committed is kept; run the same command again" in result.stderr
    assert "Traceback" not in result.stderr
