"""The same run against a real S3 server: films from a bucket, everything kept in a bucket."""

import os
from pathlib import Path

import pytest
import servers
from small_dataset import NAME, RECIPE, dataset_files

from flows.preprocess import preprocess_films
from flows.server import PrefectServer
from tests.flows.command import e3d

FILMS, STORE = f"s3://{servers.BUCKET}/incoming/", f"s3://{servers.BUCKET}/e3d"


@pytest.fixture(scope="module")
def bucket(
    seaweed_server: servers.SeaweedServer, short_man: Path, short_woman: Path
) -> servers.SeaweedServer:
    """The server with the two short films in the folder FILMS of its bucket."""
    for film in (short_man, short_woman):
        seaweed_server.client().upload_file(str(film), servers.BUCKET, f"incoming/{film.name}")
    return seaweed_server


def test_the_dataset_is_the_same_byte_for_byte(
    bucket: servers.SeaweedServer,
    prefect_api: PrefectServer,
    small_store: Path,
    short_man: Path,
    short_woman: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in bucket.environment.items():
        monkeypatch.setenv(name, value)
    words = ["--store", STORE, "--dataset", NAME, "--recipe", RECIPE, "--json"]
    ended = e3d("preprocess", FILMS, *words)
    assert ended.code == 0, ended.err
    assert ended.result["outcomes"] == {"ok": 2}
    assert ended.result["computed"] == 8
    assert servers.SECRET_KEY not in ended.out + ended.err

    in_folder, in_bucket = dataset_files(small_store), dataset_files(STORE)
    assert {name.rpartition(".")[2] for _, _, name in in_folder} == {"parquet", "mp4"}
    assert in_bucket.keys() == in_folder.keys()
    assert [key for key, data in in_folder.items() if in_bucket[key] != data] == []

    result = preprocess_films([str(short_man), FILMS], STORE, NAME, RECIPE, "none")
    assert (result["computed"], result["reused"]) == (0, 8)
    assert result["key"] == ended.result["key"]


def test_a_bucket_without_permission_or_server_is_one_sentence(
    bucket: servers.SeaweedServer, prefect_api: PrefectServer, short_man: Path
) -> None:
    reader = bucket.environment | {"AWS_ACCESS_KEY_ID": servers.READER_KEY}
    words = ["--store", STORE, "--dataset", NAME, "--recipe", RECIPE]
    ended = e3d("preprocess", short_man, *words, **reader)
    assert ended.code == 2
    assert "access is denied" in ended.sentence
    assert servers.SECRET_KEY not in ended.err + os.environ.get("AWS_SECRET_ACCESS_KEY", "")
