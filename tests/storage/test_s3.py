"""What only an S3 store can get wrong: the network, credentials, refusals, uploads in parts."""

import multiprocessing
import os
import socket
import threading
import traceback
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import servers

from storage import s3
from storage.s3 import S3Store
from storage.store import NotInStore, Store, StoreError, open_store

PARTS = 11 << 20  # bytes; three parts of 5 MiB


@pytest.fixture(params=["moto_store", "seaweed_store"])
def s3_store(request: pytest.FixtureRequest) -> Store:
    return request.getfixturevalue(request.param)


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


def _trouble(store: Store) -> str:
    """The sentence of a write that must fail; with no secret anywhere in what could be shown."""
    with pytest.raises(StoreError) as caught:
        store.create("a/key", b"data")
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + repr(store)
    assert os.environ.get("AWS_SECRET_ACCESS_KEY", servers.SECRET_KEY) not in shown
    assert servers.SECRET_KEY not in shown
    assert not isinstance(caught.value, NotInStore)
    return str(caught.value)


def test_an_endpoint_where_nobody_listens(moto_store: Store, monkeypatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://user:{servers.SECRET_KEY}@127.0.0.1:{port}")
    message = _trouble(moto_store)
    assert f"the S3 server http://127.0.0.1:{port} does not answer" in message
    assert "AWS_ENDPOINT_URL_S3" in message


def test_an_endpoint_that_never_answers(moto_store: Store, monkeypatch) -> None:
    monkeypatch.setattr(s3, "_FIRST_ANSWER_TIMEOUT_S", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{port}")
        assert "does not answer" in _trouble(moto_store)


def test_an_endpoint_that_is_no_address(moto_store: Store, monkeypatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "nonsense")
    assert "AWS_ENDPOINT_URL is not an address" in _trouble(moto_store)


def test_a_server_that_is_no_s3_server(moto_store: Store, monkeypatch, tmp_path: Path) -> None:
    handler = partial(QuietHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{web.server_port}")
        assert "not as an S3 server does" in _trouble(moto_store)
        web.shutdown()
        thread.join(10)


@pytest.mark.parametrize(
    ("variable", "value"), [("AWS_PROFILE", "no-such"), ("AWS_DEFAULT_REGION", "no region")]
)
def test_settings_that_cannot_be_used(moto_store, monkeypatch, variable, value) -> None:
    monkeypatch.setenv(variable, value)
    assert variable in _trouble(moto_store)


def test_a_bucket_that_does_not_exist(s3_store: Store) -> None:
    store = open_store("s3://no-such-bucket/x")
    assert "the bucket does not exist" in _trouble(store)
    with pytest.raises(StoreError, match="the bucket does not exist"):
        store.exists("a/key")


def test_no_credentials(moto_store: Store, monkeypatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    assert "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in _trouble(moto_store)


def test_a_wrong_secret(seaweed_store: Store, monkeypatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret-K2pQ")
    assert "AWS_SECRET_ACCESS_KEY does not belong to AWS_ACCESS_KEY_ID" in _trouble(seaweed_store)


def test_an_unknown_access_key(seaweed_store: Store, monkeypatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    assert "AWS_ACCESS_KEY_ID" in _trouble(seaweed_store)


def test_a_user_who_may_only_read(seaweed_store: Store, monkeypatch) -> None:
    seaweed_store.put("a/other", b"there")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", servers.READER_KEY)
    reader = open_store(seaweed_store.url)
    assert reader.get("a/other") == b"there"
    assert "access is denied" in _trouble(reader)
    assert "s3:PutObject" in _trouble(reader)


@pytest.mark.parametrize(
    "url",
    ["s3://", "s3://ab", "s3://Films/x", "s3://films/a b", "s3://films/../x", "s3://films/x?y=1"],
)
def test_urls_that_name_no_bucket_or_prefix_are_refused(url: str) -> None:
    with pytest.raises(StoreError, match="store 's3://"):
        open_store(url)


def test_credentials_in_the_url_are_refused_and_not_repeated() -> None:
    with pytest.raises(StoreError, match="holds credentials") as caught:
        open_store("s3://key:topsecret@films/x")
    assert "topsecret" not in str(caught.value)


def test_large_objects_in_parts_are_created_once(
    s3_store: S3Store, monkeypatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(s3, "_PART_BYTES", 5 << 20)
    first, second = os.urandom(PARTS), os.urandom(PARTS)
    assert s3_store.create("big/created", first) is True
    assert s3_store.create("big/created", second) is False
    assert s3_store.get("big/created") == first
    (tmp_path / "file").write_bytes(second)
    s3_store.put_file("big/put", tmp_path / "file")
    s3_store.fetch("big/put", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == second


def test_a_lost_race_leaves_no_unfinished_upload(
    seaweed_store, seaweed_server, monkeypatch
) -> None:
    monkeypatch.setattr(s3, "_PART_BYTES", 5 << 20)
    seaweed_store.create("big/created", b"small")
    assert seaweed_store.create("big/created", bytes(PARTS)) is False
    answer = seaweed_server.client().list_multipart_uploads(Bucket=servers.BUCKET)
    assert "Uploads" not in answer


def test_a_conflict_with_another_conditional_write_is_tried_again(
    moto_store: S3Store, monkeypatch
) -> None:
    """Amazon answers 409 while another conditional write is under way; no test server does."""
    filesystem = moto_store._filesystem()
    whole_pipe, answers = filesystem.pipe_file, [409, 409]

    def pipe(*args: object, **options: object) -> None:
        if answers:
            refusal = {"Error": {"Code": "ConditionalRequestConflict"}}
            refusal["ResponseMetadata"] = {"HTTPStatusCode": answers.pop()}
            raise OSError(5, "conflict") from s3.ClientError(refusal, "PutObject")
        whole_pipe(*args, **options)

    monkeypatch.setattr(filesystem, "pipe_file", pipe)
    monkeypatch.setattr(s3.time, "sleep", lambda _: None)
    assert moto_store.create("a/key", b"data") is True
    answers[:] = [409] * 100
    with pytest.raises(StoreError, match="ConditionalRequestConflict"):
        moto_store.create("a/other", b"data")


def test_a_listing_of_many_pages_is_whole(moto_store: S3Store, moto_server) -> None:
    wanted = [f"many/{number:04d}" for number in range(2100)]
    moto_server.add_objects(servers.BUCKET, [f"{moto_store._prefix}/{key}" for key in wanted])
    assert moto_store.list("many") == wanted


def _create_in_child(store: Store, answers) -> None:
    answers.put((store.create("fork/key", b"child"), store.get("fork/parent")))


def test_a_forked_child_opens_its_own_connection(moto_store: S3Store) -> None:
    moto_store.put("fork/parent", b"parent")
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=_create_in_child, args=(moto_store, answers))
    child.start()
    try:
        assert answers.get(timeout=60) == (True, b"parent")
    finally:
        child.join(10)
        child.kill()
    assert moto_store.get("fork/key") == b"child"


def test_data_and_refusals_survive_a_server_killed_in_mid_work(
    seaweed_server, seaweed_store
) -> None:
    assert seaweed_store.create("a/record", b"first")
    seaweed_server.kill9()
    with pytest.raises(StoreError, match="does not answer"):
        seaweed_store.get("a/record")
    seaweed_server.restart()
    assert seaweed_store.create("a/record", b"second") is False
    assert seaweed_store.get("a/record") == b"first"
    assert seaweed_store.create("a/next", b"next")
