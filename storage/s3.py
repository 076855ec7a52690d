"""Store in an S3 bucket: Amazon's, or any server that honours conditional writes."""

import contextlib
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator
from http.client import IncompleteRead
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import fsspec.asyn
import s3fs
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004  botocore's own
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.parsers import ResponseParserError

from storage.store import NotInStore, Store, StoreError, check_key, check_prefix

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_MD5 = re.compile(r"[0-9a-f]{32}")
_CONNECT_TIMEOUT_S = 5
_READ_TIMEOUT_S = 30
_FIRST_ANSWER_TIMEOUT_S = 20  # whole first request, so that a silent endpoint is noticed soon
_ATTEMPTS = 3
_CONFLICT_ATTEMPTS = 6
_PART_BYTES = 50 << 20  # objects of two parts and more go up in parts

_TROUBLE = (
    OSError,
    BotoCoreError,
    ClientError,
    ResponseParserError,
    aiohttp.ClientError,
    IncompleteRead,
)
_NETWORK = (ConnectionError, HTTPClientError)
_REFUSALS = {
    "NoSuchBucket": "the bucket does not exist: create it, or correct the store's url",
    "InvalidAccessKeyId": "the server does not know the key in AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "AWS_SECRET_ACCESS_KEY does not belong to AWS_ACCESS_KEY_ID",
    "ExpiredToken": "the session has expired: renew AWS_SESSION_TOKEN",
    "InvalidToken": "AWS_SESSION_TOKEN is not valid",
    "RequestTimeTooSkewed": "this machine's clock is wrong: set it",
    "AccessDenied": (
        "access is denied: the credentials need s3:ListBucket, s3:GetObject, s3:PutObject and "
        "s3:DeleteObject here"
    ),
    "PermanentRedirect": "the bucket lies in another region: set AWS_DEFAULT_REGION",
    "AuthorizationHeaderMalformed": "the bucket lies in another region: set AWS_DEFAULT_REGION",
}


class S3Store(Store):
    """One S3 object per key, below the prefix of the url; create-only is If-None-Match."""

    lists_md5 = True

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if "@" in parts.netloc:
            raise StoreError(
                "the store's url holds credentials: give them by AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY"
            )
        if not _BUCKET.fullmatch(parts.netloc) or parts.query or parts.fragment:
            raise StoreError(
                f"store {url!r} is not s3://bucket/prefix, the bucket 3 to 63 of a-z, 0-9, '.', '-'"
            )
        self._bucket = parts.netloc
        try:
            self._prefix = check_prefix(parts.path.strip("/"))
        except ValueError as error:
            raise StoreError(f"store {url!r} has an unusable prefix: {error}") from None
        self.url = f"s3://{self._bucket}/{self._prefix}".removesuffix("/")
        self._opened: tuple[int, s3fs.S3FileSystem] | None = None

    def create(self, key: str, data: bytes) -> bool:
        """See Store.create. A repeat after an answer that was lost on its way can report False."""
        path = self._path(key)
        with _plain_errors(f"create {self.uri(key)}"):
            filesystem = self._filesystem()
            for attempt in range(1, _CONFLICT_ATTEMPTS + 1):
                try:
                    filesystem.pipe_file(path, data, chunksize=_PART_BYTES, mode="create")
                except OSError as error:
                    # Some servers' refusal becomes FileExistsError, others' a plain OSError.
                    if isinstance(error, FileExistsError) or _status(error) == 412:
                        return False
                    # Amazon: another conditional write to this key is under way, try again.
                    if _status(error) != 409 or attempt == _CONFLICT_ATTEMPTS:
                        raise
                    time.sleep(0.2 * attempt)
                else:
                    return True
        raise AssertionError("the last attempt returns or raises")

    def put(self, key: str, data: bytes) -> None:
        """See Store.put."""
        with _plain_errors(f"write {self.uri(key)}"):
            self._filesystem().pipe_file(self._path(key), data, chunksize=_PART_BYTES)

    def put_file(self, key: str, path: Path) -> None:
        """See Store.put_file; a file of two parts and more is sent in parts."""
        if not path.is_file():
            raise StoreError(f"cannot write {self.uri(key)}: there is no file {path}")
        with _plain_errors(f"write {self.uri(key)}"):
            self._filesystem().put_file(str(path), self._path(key), chunksize=_PART_BYTES)

    def get(self, key: str) -> bytes:
        """See Store.get."""
        with _plain_errors(f"read {self.uri(key)}"):
            # One stream: with more, s3fs first asks for the size, in up to two requests.
            data: bytes = self._filesystem().cat_file(self._path(key), max_concurrency=1)
        return data

    def fetch(self, key: str, path: Path) -> None:
        """See Store.fetch."""
        part = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            with _plain_errors(f"copy {self.uri(key)} to {path}"):
                self._filesystem().get_file(self._path(key), str(part))
                part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def exists(self, key: str) -> bool:
        """See Store.exists."""
        try:
            with _plain_errors(f"look for {self.uri(key)}"):
                self._call("head_object", Key=self._object_key(key))
        except NotInStore:
            return False
        return True

    def list(self, prefix: str) -> list[str]:
        """See Store.list."""
        return list(self.list_md5(prefix))

    def list_md5(self, prefix: str) -> dict[str, str | None]:
        """See Store.list_md5; not known of objects in parts, or encrypted with keys of KMS."""
        inside = "/".join(part for part in (self._prefix, check_prefix(prefix)) if part)
        start = f"{inside}/" if inside else ""
        own = len(self._prefix) + 1 if self._prefix else 0
        found: dict[str, str | None] = {}
        more: dict[str, str] = {}
        with _plain_errors(f"list {self.url}"):
            while True:
                page = self._call("list_objects_v2", Prefix=start, **more)
                for entry in page.get("Contents", []):
                    if not entry["Key"].endswith("/"):
                        tag = entry.get("ETag", "").strip('"')
                        found[entry["Key"][own:]] = tag if _MD5.fullmatch(tag) else None
                if not page.get("IsTruncated"):
                    return dict(sorted(found.items()))
                more = {"ContinuationToken": page["NextContinuationToken"]}

    def delete(self, key: str) -> None:
        """See Store.delete."""
        with _plain_errors(f"delete {self.uri(key)}"):
            self._filesystem().rm_file(self._path(key))

    def uri(self, key: str) -> str:
        """See Store.uri."""
        return f"s3://{self._path(key)}"

    def _path(self, key: str) -> str:
        return f"{self._bucket}/{self._object_key(key)}"

    def _object_key(self, key: str) -> str:
        return f"{self._prefix}/{check_key(key)}" if self._prefix else check_key(key)

    def _call(self, method: str, **arguments: object) -> dict[str, Any]:
        answer: dict[str, Any] = self._filesystem().call_s3(
            method, Bucket=self._bucket, **arguments
        )
        return answer

    def _filesystem(self) -> s3fs.S3FileSystem:
        """This process's connection: a forked child must not use its parent's event loop."""
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = (os.getpid(), _connect(self._bucket, self._prefix))
        return self._opened[1]


def _connect(bucket: str, prefix: str) -> s3fs.S3FileSystem:
    """A new connection that has got one answer: later a 404 can only mean a missing key."""
    filesystem = s3fs.S3FileSystem(
        use_listings_cache=False,
        skip_instance_cache=True,
        config_kwargs={
            "connect_timeout": _CONNECT_TIMEOUT_S,
            "read_timeout": _READ_TIMEOUT_S,
            "retries": {"mode": "standard", "total_max_attempts": _ATTEMPTS},
        },
    )
    filesystem.retries = (
        2  # bodies that break off; requests are repeated by botocore, as told above
    )
    ask: Callable[..., object] = filesystem._call_s3  # noqa: SLF001  the blocking form takes no time limit
    try:
        fsspec.asyn.sync(
            filesystem.loop,
            ask,
            "list_objects_v2",
            Bucket=bucket,
            Prefix=prefix,
            MaxKeys=1,
            timeout=_FIRST_ANSWER_TIMEOUT_S,
        )
    except FileNotFoundError as error:
        if _code(error) != "NoSuchBucket":
            raise StoreError(f"{_server()} answers, but not as an S3 server does") from error
        raise
    except ValueError as error:  # how botocore refuses an endpoint that is no address
        if isinstance(error, BotoCoreError):
            raise
        raise StoreError(
            "AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL is not an address like https://host:port"
        ) from None
    return filesystem


@contextlib.contextmanager
def _plain_errors(action: str) -> Iterator[None]:
    """Turn the many exceptions of s3fs, botocore and aiohttp into one sentence for the operator."""
    try:
        yield
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise StoreError(
            f"cannot {action}: no S3 credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "or AWS_PROFILE"
        ) from error
    except _TROUBLE as error:
        code, status = _code(error), _status(error)
        if code in {"NoSuchKey", "404"}:
            raise NotInStore(f"cannot {action}: there is no such object") from error
        if code in _REFUSALS or status == 403:
            reason = _REFUSALS.get(code, _REFUSALS["AccessDenied"])
            raise StoreError(f"cannot {action} at {_server()}: {reason}") from error
        if code:
            raise StoreError(f"cannot {action}: {_server()} answered {code} ({error})") from error
        if (
            isinstance(error, OSError)
            and error.strerror
            and not isinstance(error, aiohttp.ClientError)
        ):
            # a file of this machine
            raise StoreError(f"cannot {action}: {error.strerror}") from error
        if isinstance(error, BotoCoreError) and not isinstance(error, _NETWORK):
            # Its text may quote a credential helper, its name does not.
            raise StoreError(
                f"cannot {action}: the AWS settings cannot be used ({type(error).__name__}); check "
                "AWS_PROFILE, AWS_DEFAULT_REGION and the AWS configuration files"
            ) from None
        raise StoreError(
            f"cannot {action}: {_server()} does not answer ({type(error).__name__}); check "
            "AWS_ENDPOINT_URL_S3 and the network"
        ) from error


def _refusal(error: BaseException) -> dict[str, Any]:
    """The server's answer, which s3fs keeps as the cause of its OSError."""
    origin = error if isinstance(error, ClientError) else error.__cause__
    response: dict[str, Any] = origin.response if isinstance(origin, ClientError) else {}
    return response


def _code(error: BaseException) -> str:
    return str(_refusal(error).get("Error", {}).get("Code", ""))


def _status(error: BaseException) -> int:
    return int(_refusal(error).get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _server() -> str:
    """The endpoint in use, without a user or password that its address may hold."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    if not endpoint:
        return "Amazon S3"
    parts = urlsplit(endpoint)
    return f"the S3 server {parts.scheme}://{parts.netloc.rpartition('@')[2]}"
