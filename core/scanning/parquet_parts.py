"""A folder of results, on this machine or on object storage (any fsspec URL): JSON and parts of Parquet that appear whole."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import StoreError, StoreUnavailableError
from core.scanning.places import open_filesystem


class PartsFolder:
    """A folder, which is made when the first file is written.

    Args:
        url: where it is.

    Raises:
        ScanError: on construction, when the protocol is not known here.
        StoreError: on any call, when the storage refuses or a file is damaged.
        StoreUnavailableError: on any call, when the storage does not answer: the same may succeed later.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._filesystem, root = open_filesystem(url)
        self._root = root.rstrip("/")

    def is_empty(self) -> bool:
        """Whether nothing lies there, or it is not there."""
        with self._as_store_errors():
            return not self._names("")

    def read_json(self, name: str) -> dict[str, Any] | None:
        """A JSON object; None when it is not there."""
        with self._as_store_errors():
            try:
                content = self._filesystem.cat_file(f"{self._root}/{name}")
            except FileNotFoundError:
                return None
        try:
            return dict(json.loads(content))
        except (ValueError, TypeError):
            raise StoreError(f"{name} in {self.url} is damaged; name another folder for the results.") from None

    def write_json(self, name: str, value: dict[str, Any]) -> None:
        """Writes or replaces a JSON object."""
        self._write_whole(name, json.dumps(value, indent=1).encode())

    def parts(self, kind: str) -> list[str]:
        """Names of the parts of a kind, in their order."""
        with self._as_store_errors():
            return sorted(name for name in self._names(kind) if name.endswith(".parquet"))

    def read_part(self, kind: str, name: str) -> pa.Table:
        """All rows of a part."""
        with self._as_store_errors():
            content = self._filesystem.cat_file(f"{self._root}/{kind}/{name}")
        try:
            return pq.read_table(io.BytesIO(content))
        except pa.ArrowInvalid as error:
            raise StoreError(f"{kind}/{name} in {self.url} is damaged ({error}); delete it and run the scan again.") from None

    def write_part(self, kind: str, name: str, table: pa.Table) -> None:
        """Writes or replaces a part."""
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd")
        self._write_whole(f"{kind}/{name}", buffer.getvalue())

    def remove_part(self, kind: str, name: str) -> None:
        """Deletes a part."""
        with self._as_store_errors():
            self._filesystem.rm_file(f"{self._root}/{kind}/{name}")

    def _names(self, kind: str) -> list[str]:
        try:
            paths = self._filesystem.ls(f"{self._root}/{kind}".rstrip("/"), detail=False)
        except FileNotFoundError:
            return []
        return [name for path in paths if (name := path.rstrip("/").rpartition("/")[2])]

    def _write_whole(self, name: str, content: bytes) -> None:
        path = f"{self._root}/{name}"
        with self._as_store_errors():
            self._filesystem.makedirs(path.rpartition("/")[0], exist_ok=True)
            file = self._filesystem.open(path, "wb", autocommit=False)
            try:
                file.write(content)
                file.close()
            except BaseException:
                file.discard()
                raise
            file.commit()

    @contextmanager
    def _as_store_errors(self) -> Iterator[None]:
        try:
            yield
        except PermissionError as error:
            raise StoreError(f"{self.url} cannot be written: {_words(error)}. Check permissions and credentials.") from error
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, FileExistsError) as error:
            raise StoreError(f"{self.url} cannot be used: {_words(error)}. Check the address.") from error
        except OSError as error:
            raise StoreUnavailableError(f"{self.url} does not answer: {_words(error)}.") from error


def _words(error: OSError) -> str:
    return str(error.strerror or error).rstrip(".") or type(error).__name__
