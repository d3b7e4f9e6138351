# SPDX-License-Identifier: Apache-2.0
"""Throw-away PostgreSQL clusters and client sessions, on nothing but the standard library and psql.

A `Cluster` is a data directory with a server that can be killed, copied and promoted. A `Session` is one
connection, whose statements are either acknowledged, refused with a SQLSTATE, or lost with the server.
"""
import os
import pwd
import queue
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

BIN = Path(os.environ["PG_DORIS_BIN"])
ROOT = Path(os.environ["PG_DORIS_RECOVERY"])
AS_SERVER = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
WAIT_SECONDS = 120

SETTINGS = """
listen_addresses = ''
# The kernel survives what these tests do to the server, so nothing needs to reach the disk.
fsync = off
shared_buffers = 64MB
max_wal_size = 512MB
max_prepared_transactions = 10
wal_level = logical
log_line_prefix = '%m [%p] '
restart_after_crash = off
"""


SCENARIOS = []


class Skipped(Exception):
    """What a scenario needs is not on this machine."""


class ServerLost(Exception):
    """The connection ended before the statement was answered: it may have been committed or not."""


class Refused(Exception):
    def __init__(self, state, text):
        super().__init__(f"{state}: {text}")
        self.state = state


def scenario(function):
    """Registers a scenario; they run in the order in which their modules are imported."""
    SCENARIOS.append(function)
    return function


def check(condition, message):
    if not condition:
        raise AssertionError(message)


def until(condition, what, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        check(time.monotonic() < deadline, f"{what} did not happen in {seconds} s")
        time.sleep(0.05)


def run(*command, check=True, as_server=True, **options):
    """Runs a program of the server's and returns its output."""
    command = (AS_SERVER if as_server else []) + [str(word) for word in command]
    done = subprocess.run(command, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed with {done.returncode}:\n{done.stdout}")
    return done.stdout


def server_owned(path):
    """A directory that the server may write."""
    path.mkdir(parents=True, exist_ok=True)
    if AS_SERVER:
        user = pwd.getpwnam("postgres")
        os.chown(path, user.pw_uid, user.pw_gid)
    return path


class Cluster:
    def __init__(self, directory, port=5432, binaries=BIN):
        self.home = directory
        self.data = directory / "data"
        self.port = port
        self.bin = binaries
        self.log = directory / "log"
        # A socket's path holds 107 bytes at most.
        self.socket = directory if len(str(directory)) < 85 else Path(f"/tmp/pg_doris-recovery-{os.getpid()}-{port}")

    def init(self, settings="", checksums=True, preload=True):
        server_owned(self.home)
        options = ["--data-checksums"] if checksums else []
        run(self.bin / "initdb", "-D", self.data, "-U", "postgres", "--no-sync", "-A", "trust", "-E", "UTF8",
            "--locale=C.UTF-8", *options)
        library = Path(run(self.bin / "pg_config", "--pkglibdir").strip()) / "pg_doris.so"
        if preload and library.exists():
            settings += "\nshared_preload_libraries = 'pg_doris'\n"
        self.configure(SETTINGS + settings)
        return self

    def configure(self, text):
        with open(self.data / "postgresql.conf", "a") as file:
            file.write(text + "\n")

    def start(self):
        server_owned(self.socket)
        run(self.bin / "pg_ctl", "-D", self.data, "-l", self.log, "-t", WAIT_SECONDS, "-w",
            "-o", f"-k {self.socket} -p {self.port}", "start")
        return self

    def stop(self, mode="fast"):
        if self.pid():
            run(self.bin / "pg_ctl", "-D", self.data, "-m", mode, "-t", WAIT_SECONDS, "-w", "stop", check=False)

    def pid(self):
        try:
            pid = int((self.data / "postmaster.pid").read_text().splitlines()[0])
            os.kill(pid, 0)
            return pid
        except (FileNotFoundError, ProcessLookupError, IndexError):
            return None

    def kill(self):
        """kill -9 of the postmaster and every process of its, at once."""
        postmaster = self.pid()
        os.kill(postmaster, signal.SIGSTOP)
        children = [int(pid) for pid in run("ps", "-o", "pid=", "--ppid", postmaster, as_server=False, check=False).split()]
        for pid in children + [postmaster]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        deadline = time.monotonic() + WAIT_SECONDS
        while any(Path(f"/proc/{pid}").exists() and not is_zombie(pid) for pid in children + [postmaster]):
            if time.monotonic() > deadline:
                raise RuntimeError("killed processes are still there")
            time.sleep(0.02)
        # Where nobody reaps orphans, the dead postmaster's pid is still taken, and its lock files look held.
        for lock in (self.data / "postmaster.pid", self.socket / f".s.PGSQL.{self.port}.lock"):
            lock.unlink(missing_ok=True)

    def session(self, database="postgres"):
        return Session(self, database)

    def query(self, sql, database="postgres"):
        """One statement on a connection of its own: its rows as lists of strings."""
        with self.session(database) as session:
            return session.query(sql)

    def value(self, sql, database="postgres"):
        return self.query(sql, database)[0][0]

    def backup(self, directory, port, *options):
        """A base backup, as a cluster that is not started yet."""
        server_owned(directory)
        run(self.bin / "pg_basebackup", "-h", self.socket, "-p", self.port, "-U", "postgres", "-D", directory / "data",
            "--checkpoint=fast", "--no-sync", *options)
        return Cluster(directory, port, self.bin)

    def crash_messages(self):
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return [line for line in text.splitlines() if "PANIC:" in line or "terminated by signal 11" in line
                or "terminated by signal 6" in line]


def is_zombie(pid):
    try:
        return ") Z" in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True


class Session:
    """A psql process, asked one statement at a time."""
    MARK = "--answered"

    def __init__(self, cluster, database):
        self.process = subprocess.Popen(
            [str(cluster.bin / "psql"), "-XAtq", "-F", "\t", "-h", str(cluster.socket), "-p", str(cluster.port),
             "-U", "postgres", "-d", database],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1)
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def query(self, sql, timeout=WAIT_SECONDS):
        """Rows as lists of strings; Refused or ServerLost."""
        try:
            self.process.stdin.write(f"{sql}\n;\n\\echo {self.MARK} :SQLSTATE\n")
            self.process.stdin.flush()
        except (BrokenPipeError, ValueError):
            raise ServerLost() from None
        lines = []
        while True:
            try:
                line = self.lines.get(timeout=timeout)
            except queue.Empty:
                raise RuntimeError(f"no answer in {timeout} s to: {sql}") from None
            if line is None or "server closed the connection" in line or "connection to server was lost" in line:
                raise ServerLost()
            if line.startswith(self.MARK):
                break
            lines.append(line)
        state = line.split()[1] if " " in line else "00000"
        # An empty statement after a failed one leaves the state; 57P0x says that the server goes down.
        if state.startswith("57P0") or state.startswith("08"):
            raise ServerLost()
        errors = [text for text in lines if text.startswith(("ERROR:", "FATAL:", "psql: error:"))]
        if errors or state != "00000":
            raise Refused(state, "\n".join(lines))
        return [text.split("\t") for text in lines if not text.startswith(("NOTICE:", "WARNING:", "DETAIL:", "HINT:"))]

    def value(self, sql):
        return self.query(sql)[0][0]

    def close(self):
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Writer(threading.Thread):
    """Does one thing over and over until the server is lost or `stop` is called.

    `step(session, n)` does the n-th; `acknowledged` holds the numbers that were answered, `tried` the last one.
    """

    def __init__(self, cluster, step):
        super().__init__(daemon=True)
        self.cluster = cluster
        self.step = step
        self.acknowledged = []
        self.tried = -1
        self.error = None
        self.stopping = threading.Event()
        self.start()

    def run(self):
        try:
            with self.cluster.session() as session:
                while not self.stopping.is_set():
                    self.tried += 1
                    self.step(session, self.tried)
                    self.acknowledged.append(self.tried)
        except ServerLost:
            pass
        except Exception as error:  # shown by finish()
            self.error = error

    def finish(self):
        self.stopping.set()
        self.join(WAIT_SECONDS)
        if self.error:
            raise self.error


def fresh(name):
    """An empty directory for a scenario."""
    directory = ROOT / name
    shutil.rmtree(directory, ignore_errors=True)
    return server_owned(directory)
