"""An S3 server for the benchmark, SeaweedFS as the tests start it, in a process of its own.

So neither its start nor what the tests import weighs on the process that is measured.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def s3_server() -> Iterator[tuple[str, dict[str, str]]]:
    """Give the url of an empty store, and the variables that lead to it."""
    command = [sys.executable, "-m", "benchmarks.orchestration.server"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        try:
            told = json.loads(process.stdout.readline())
            yield told["url"], told["environment"]
        finally:
            process.stdin.close()


def main() -> None:
    from tests.servers import BUCKET, start_seaweed  # noqa: PLC0415  see above

    with tempfile.TemporaryDirectory(prefix="e3d-benchmark-") as folder:
        server = start_seaweed(Path(folder) / "seaweed")
        try:
            told = {"url": f"s3://{BUCKET}/store", "environment": server.environment}
            print(json.dumps(told), flush=True)
            sys.stdin.read()
        finally:
            server.stop()


if __name__ == "__main__":
    main()
