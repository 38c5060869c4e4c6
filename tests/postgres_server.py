"""A private PostgreSQL server for tests: in a temporary folder, on its own port, as an ordinary user, gone with its process."""

from __future__ import annotations

import ctypes
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from itertools import count
from pathlib import Path

try:
    import psycopg
except ModuleNotFoundError:  # the tests of SQLite run without it
    psycopg = None

OWNER = "earwitness"
_START_S = 60.0
# Speed, not safety: what is lost with the machine is lost. A crash of the server alone loses nothing even so.
_SETTINGS = (
    "fsync=off", "full_page_writes=off", "listen_addresses=127.0.0.1", "unix_socket_directories=",
    "max_connections=100", "shared_buffers=64MB", "log_min_messages=warning",
)  # fmt: skip
_PR_SET_PDEATHSIG = 1


class NoServerError(Exception):
    """Why no server can be started here, one sentence."""


class PostgresServer:
    """A server that runs from the end of construction; `stop` and `start` interrupt it, `close` removes it.

    Args:
        settings: more of `postgresql.conf`, `name=value`.

    Raises:
        NoServerError: PostgreSQL is not installed, or it does not start.
    """

    def __init__(self, *settings: str) -> None:
        if psycopg is None:
            raise NoServerError("psycopg is not installed ('pip install -r requirements-cluster.txt' brings it)")
        self._programs = _find_programs()
        self._settings = (*_SETTINGS, *settings)
        self._user = _ordinary_user()
        self._folder = Path(tempfile.mkdtemp(prefix="earwitness-postgres-"))
        self._process: subprocess.Popen | None = None
        self._numbers = count(1)
        self._password = secrets.token_hex(8)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        try:
            self._initialise()
            self.start()
        except BaseException:
            self.close()
            raise

    def url(self, database: str = "postgres") -> str:
        """SQLAlchemy's URL of a database."""
        return f"postgresql+psycopg://{OWNER}:{self._password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Starts the server and waits until it answers."""
        command = [str(self._programs / "postgres"), "-D", str(self._folder / "data"), "-p", str(self.port)]
        for setting in self._settings:
            command += ["-c", setting]
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, preexec_fn=_die_with_parent, **self._as_user
            )
        deadline = time.monotonic() + _START_S
        while True:
            try:
                return psycopg.connect(self._conninfo("postgres"), connect_timeout=5).close()
            except psycopg.OperationalError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    words = self._log.read_text(errors="replace").strip().splitlines()[-1:] or [str(error)]
                    raise NoServerError(f"PostgreSQL did not start: {words[0]}") from None
                time.sleep(0.05)

    def stop(self, *, kill: bool = False) -> None:
        """Stops it as an operator would (connections are cut, transactions undone), or as a crash would."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGQUIT if kill else signal.SIGINT)
        self._process.wait(_START_S)
        self._process = None

    def close(self) -> None:
        """Stops it and removes its files."""
        self.stop(kill=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def new_database(self, encoding: str = "UTF8") -> str:
        """The URL of a new database."""
        name = f"test{next(self._numbers)}"
        locale = "" if encoding == "UTF8" else " LOCALE_PROVIDER libc LOCALE 'C'"
        self._run(f"CREATE DATABASE {name} TEMPLATE template0 STRATEGY file_copy ENCODING '{encoding}'{locale}")
        return self.url(name)

    def emptied(self, url: str) -> str:
        """A database of this server with nothing in it and nobody connected; quicker than a new one."""
        name = url.rsplit("/", 1)[1]
        self._run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        self._run("DROP SCHEMA public CASCADE; CREATE SCHEMA public", database=name)
        return url

    def _run(self, statement: str, *, database: str = "postgres") -> None:
        with psycopg.connect(self._conninfo(database), autocommit=True) as connection:
            connection.execute(statement)

    def _conninfo(self, database: str) -> str:
        return f"host=127.0.0.1 port={self.port} dbname={database} user={OWNER} password={self._password}"

    def _initialise(self) -> None:
        if self._user:
            shutil.chown(self._folder, self._user)
        secret = self._folder / "password"
        secret.write_text(self._password)
        # English order, as servers have it in the field: what relies on the order of bytes must not pass here.
        command = [str(self._programs / "initdb"), "-D", str(self._folder / "data"), "-U", OWNER, "--pwfile", str(secret)]
        command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"]
        command += ["--locale-provider=icu", "--icu-locale=en-US"]
        done = subprocess.run(command, capture_output=True, text=True, **self._as_user)
        if done.returncode:
            raise NoServerError(f"initdb failed: {(done.stderr or done.stdout).strip().splitlines()[-1]}")

    @property
    def _log(self) -> Path:
        return self._folder / "server.log"

    @property
    def _as_user(self) -> dict:
        """What `subprocess` must be told, so that a process is not root: PostgreSQL refuses to be."""
        return {"cwd": self._folder} | ({"user": self._user, "group": self._group, "extra_groups": []} if self._user else {})

    @property
    def _group(self) -> int:
        return pwd.getpwnam(self._user).pw_gid


def _find_programs() -> Path:
    """The folder of `initdb` and `postgres`: Debian puts them beside PATH, one folder per version."""
    folders = [Path(path).resolve().parent for path in (shutil.which("initdb"), shutil.which("postgres")) if path]
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name), reverse=True)
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise NoServerError("PostgreSQL's server is not installed ('apt-get install postgresql' brings it)")


def _ordinary_user() -> str | None:
    """Whom to be where we are root; None where we are an ordinary user already."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in known)


def _die_with_parent() -> None:
    """Tells the kernel to end the server at once when the tests are killed (Linux)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)
