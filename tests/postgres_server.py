"""A PostgreSQL server of a test's own, on a socket in a folder, that may be killed and cut off."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

VERSIONS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


class Server:
    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder = folder
        self._programs = programs

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/postgres?host={self.folder}"

    def start(self) -> None:
        options = f"-k {self.folder} -c listen_addresses= -c max_connections=40"
        log = f"{self.folder}/log"
        self._run("pg_ctl", "-D", f"{self.folder}/data", "-w", "-l", log, "-o", options, "start")

    def stop(self) -> None:
        """Cleanly; also where it is dead already."""
        self._run("pg_ctl", "-D", f"{self.folder}/data", "-m", "fast", "-w", "stop", check=False)

    def kill(self) -> None:
        """SIGKILL of all its processes: nothing is flushed.  Returns when they are gone."""
        leader = psutil.Process(
            int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        )
        family = [leader, *leader.children(recursive=True)]
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        _, alive = psutil.wait_procs(family, timeout=10)
        assert not alive

    def create(self) -> None:
        self._run("initdb", "-D", f"{self.folder}/data", "-U", "postgres", "-A", "trust", "-k")

    def _run(self, program: str, *words: str, check: bool = True) -> None:
        command = [str(self._programs / program), *words]
        if os.geteuid() == 0:  # PostgreSQL refuses root.
            command = [
                "setpriv",
                "--reuid=postgres",
                "--regid=postgres",
                "--clear-groups",
                *command,
            ]
        ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if check and ran.returncode:
            raise RuntimeError(f"{program}: {ran.stdout}{ran.stderr}")


@contextmanager
def postgres(programs: Path | None = None) -> Iterator[Server]:
    """Skipped where PostgreSQL's programs are not installed; CI must not skip it.

    programs: of which version; by default the newest.
    """
    if not VERSIONS and programs is None:
        if os.environ.get("CI"):
            raise RuntimeError("PostgreSQL is not installed, and CI must test on it")
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="orlop-postgres-"))
    if os.geteuid() == 0:
        owner = pwd.getpwnam("postgres")
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    server = Server(folder, programs or VERSIONS[0])
    try:
        server.create()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
