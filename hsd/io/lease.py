"""One process at a time works in a run's folder: its lease says who, and is renewed while it works.

A lease is a file that exactly one process can make (O_CREAT with O_EXCL, which NFS and Lustre hold
to, unlike flock). Whoever finds one that is dead takes it over. A process that lost its lease, as
it was suspended for long, finds that out when it renews it, and writes no more.
"""

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from hsd.errors import ErrorCode, InUseError, PreflightError, TakenOver
from hsd.io.files import LEASE, is_empty, remove_unfinished
from hsd.io.provenance import now
from hsd.io.run_identity import IDENTITY

RENEW_S = 30.0
"""How often a lease is renewed: seldom enough for a file system's server, often enough that a job
which waits for a sign of life hears one soon."""
STALE_S = 600.0
"""Without a renewal for so long it is dead, wherever its holder was. Where the file system's server
gives the times, no clock of a host counts; where each host gives its own, as on Lustre, they must
not differ by more than this: munge, and SLURM with it, refuses clocks that differ by 300 s."""
WATCH_S = 120.0
"""How long a job of a scheduler waits for a sign of life: four renewals, measured by its own clock
alone. It may follow a job that was killed on another node a moment ago."""
POLL_S = 1.0
_LONGEST, _TRIES = 65536, 100


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lease, as its file says it. Fields that cannot be known here are None.

    `boot` and `pids` name the running kernel and its space of process ids, in which `pid` is
    looked for; `ticks` is when that process began, since ids are used again.
    """

    host: str
    pid: int
    ticks: int | None
    boot: str | None
    pids: str | None
    job: str | None
    attempt: int
    work: str
    since: str
    token: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def words(self) -> str:
        """Return who it is, for a sentence; a file may say anything, which a terminal obeys."""
        attempt = f", attempt {self.attempt}" if self.attempt else ""
        job = f", SLURM job {self.job.partition('@')[0]}{attempt}" if self.job else ""
        said = f"{self.work} (process {self.pid} on {self.host}{job}) since {self.since}"
        return "".join(filter(str.isprintable, said))

    def is_over(self, mine: "Holder") -> bool | None:
        """Whether its holder has ended, by what the process `mine` can tell; None: by nothing.

        SLURM never runs two attempts of a job: the earlier one has ended, or is cut off with its
        node, and then finds out at its next renewal.
        """
        if self.job is not None and self.job == mine.job and self.attempt < mine.attempt:
            return True
        if self.boot is None or (self.boot, self.pids) != (mine.boot, mine.pids):
            return None  # another machine, or another container on this one
        ticks = ticks_of(self.pid)
        if self.ticks is None or (ticks is None and _is_hidden(self.pid)):
            return None
        return ticks != self.ticks


def myself(work: str) -> Holder:
    """Return this process as the holder of a lease for `work`, such as `hsd train`."""
    env = os.environ
    job, cluster = env.get("SLURM_JOB_ID"), env.get("SLURM_CLUSTER_NAME", "")
    return Holder(
        host=socket.gethostname(),
        pid=os.getpid(),
        ticks=ticks_of(os.getpid()),
        boot=_kernel("sys/kernel/random/boot_id"),
        pids=_pids(),
        job=f"{job}@{cluster}" if job else None,
        attempt=int(env.get("SLURM_RESTART_COUNT") or 0),
        work=work,
        since=now(),
    )


def ticks_of(pid: int) -> int | None:
    """Return when a process began, in ticks since the machine started; None when it has ended."""
    stat = _kernel(f"{pid}/stat")
    if stat is None:
        return None
    state, *numbers = stat.rpartition(")")[2].split()  # its name may hold blanks and brackets
    return None if state in ("Z", "X") else int(numbers[18])


class Lease:
    """A lease that this process holds."""

    def __init__(
        self, file: Path, holder: Holder, shown: Path, lost: Callable[[str], None]
    ) -> None:
        self.file, self._text, self._shown, self._lost = file, _text(holder), shown, lost
        self._taken: str | None = None
        self._one_at_a_time = threading.Lock()

    def renew(self) -> bool:
        """Say that this process is alive; False, once told to `lost`, when another has the lease.

        The file's time alone is changed, which needs no room on a full disk. What the disk cannot
        say now it may say the next time.
        """
        with self._one_at_a_time:
            return self._renewed()

    def _renewed(self) -> bool:
        if self._taken:
            return False
        try:
            handle = os.open(self.file, os.O_RDWR)
        except FileNotFoundError:
            with suppress(OSError):
                _create(self.file, self._text)  # removed by hand: whoever makes it first has it
            return True
        except OSError:
            return True
        try:
            found = os.read(handle, _LONGEST)
            if found == self._text:
                os.utime(handle)
                return True
        except OSError:
            return True
        finally:
            os.close(handle)
        self._taken = _taken_over(self._shown, _holder(found))
        self._lost(self._taken)
        return False

    def require(self) -> None:
        """Renew it; raise TakenOver when another process has it by now."""
        if not self.renew():
            raise TakenOver(self._taken)

    def release(self) -> None:
        """Remove it, unless it is another's."""
        with suppress(OSError):
            if self.file.read_bytes() == self._text:
                self.file.unlink()


@contextmanager
def hold_lease(
    folder: Path,
    work: str,
    *,
    name: str = LEASE,
    lost: Callable[[str], None] = lambda _: None,
    of: Path | None = None,
) -> Iterator[Lease]:
    """Hold the lease of `folder` within the block; folders made for it go again if left empty.

    `work` says what is done, for those who are refused; `of` names another path to them. `lost` is
    called, in another thread, with a sentence when the lease was taken over. The lease's file gets
    another `name` where several may be held in one folder.

    Raises InUseError when another process holds it, and PreflightError where it cannot be written.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    mine = myself(work)
    file, shown = folder / name, of or folder
    _take(file, mine, shown)
    lease = Lease(file, mine, shown, lost)
    ended = threading.Event()
    # A thread, since the work may be in one long call of a library, which lets threads run, and
    # since a thread ends with its process, however that ends.
    renewing = threading.Thread(target=_renew, args=(lease, ended), daemon=True, name="lease")
    renewing.start()
    try:
        if name == LEASE and ((folder / IDENTITY).exists() or is_empty(folder)):
            remove_unfinished(folder)  # of a run of hsd; what is in other folders is not ours
        yield lease
    finally:
        ended.set()
        renewing.join()
        lease.release()
        for path in made:
            with suppress(OSError):
                path.rmdir()


def clear(folder: Path, work: str, name: str = LEASE) -> None:
    """Remove what a killed process left: its lease, and unfinished files as `hold_lease` does.

    Nothing where somebody works there, or where the folder cannot be written.
    """
    if (folder / name).exists():
        with suppress(PreflightError), hold_lease(folder, work, name=name):
            pass


def _renew(lease: Lease, ended: threading.Event) -> None:
    while not ended.wait(RENEW_S) and lease.renew():
        pass


def _take(file: Path, mine: Holder, shown: Path) -> None:
    """Make the lease's file, once whoever held it has ended."""
    for _ in range(_TRIES):
        if _made(file, mine, shown):
            return
        found = _read(file)
        if found is None:
            continue  # released a moment ago
        over = _is_over(file, found, mine)
        if over is None and mine.job:
            over = _is_silent(file, found)
        if over:
            _put_aside(file, found)
        elif _read(file) is not None:
            raise InUseError(_in_use(file, found, shown), code=ErrorCode.FOLDER_IN_USE)
    raise PreflightError(f"{file}: cannot be made and is not there; remove what stands there.")


def _made(file: Path, mine: Holder, shown: Path) -> bool:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # the folder went again, as who made it left it empty
            return _create(file, _text(mine))
        return False
    except FileExistsError:
        raise PreflightError(f"{shown} is a file; output_dir must be a folder.") from None
    except OSError as error:
        raise PreflightError(f"{shown}: cannot be written ({error.strerror}).") from None


def _create(file: Path, text: bytes) -> bool:
    """Make the file, whole or not at all; False where it is there."""
    try:
        handle = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except FileExistsError:
        return False
    try:
        os.write(handle, text)
    except OSError:
        file.unlink()
        raise
    finally:
        os.close(handle)
    return True


@dataclass(frozen=True, slots=True)
class _Found:
    """A lease's file at one moment."""

    text: bytes
    changed_ns: int


def _read(file: Path) -> _Found | None:
    """Return what the file says and when it was renewed; None when there is none.

    It is opened: NFS then asks its server, and would else give a time of a minute ago.
    """
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    try:
        return _Found(os.read(handle, _LONGEST), os.fstat(handle).st_mtime_ns)
    finally:
        os.close(handle)


def _is_over(file: Path, found: _Found, mine: Holder) -> bool | None:
    """Whether a lease's holder has ended; None where only its next renewal can tell."""
    holder = _holder(found.text)
    over = holder.is_over(mine) if holder else None
    if over is None and _age_s(file, found) > STALE_S:
        return True
    return over


def _is_silent(file: Path, found: _Found) -> bool:
    """Watch a lease, and return whether it stayed as it is for longer than its holder may be."""
    end = time.monotonic() + WATCH_S
    while time.monotonic() < end:
        time.sleep(POLL_S)
        if _read(file) != found:
            return False
    return True


def _age_s(file: Path, found: _Found) -> float:
    """Return the seconds since a renewal by the file system's own clock, which a new file has."""
    probe = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    try:
        os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        return (probe.stat().st_mtime_ns - found.changed_ns) / 1e9
    finally:
        probe.unlink(missing_ok=True)


def _put_aside(file: Path, dead: _Found) -> None:
    """Remove a dead lease; of several that do so at once, none removes the winner's new one."""
    aside = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    if (again := _read(file)) is None or again.text != dead.text:
        return
    try:
        file.rename(aside)
    except FileNotFoundError:
        return
    if (moved := aside.read_bytes()) != dead.text:
        _create(file, moved)  # another took it over between the two lines above
    aside.unlink()


def _in_use(file: Path, found: _Found, shown: Path) -> str:
    holder = _holder(found.text)
    heard = max(0, round(_age_s(file, found)))
    who = holder.words if holder else "another process"
    return (
        f"{shown} is in use: {who} works in it and was heard of {heard} s ago. Wait until it has "
        f"ended, or choose another folder; where it is certain that it runs no more, remove {file}."
    )


def _taken_over(folder: Path, by: Holder | None) -> str:
    who = by.words if by else "another process"
    return (
        f"{folder} was taken over: {who} works in it now, as nothing had been heard of this one "
        "for long. Stopped without writing more."
    )


def _text(holder: Holder) -> bytes:
    return (json.dumps(asdict(holder), ensure_ascii=False) + "\n").encode()


def _holder(text: bytes) -> Holder | None:
    """Return who a lease's file names; None where it is none of ours, or not whole yet."""
    try:
        said = json.loads(text)
        found = Holder(**{one.name: said[one.name] for one in fields(Holder)})
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return found if isinstance(found.pid, int) and isinstance(found.attempt, int) else None


def _kernel(name: str) -> str | None:
    try:
        return Path("/proc", name).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _is_hidden(pid: int) -> bool:
    """Whether a process is there that another user runs, and /proc does not show (hidepid)."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return False


def _pids() -> str | None:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return None
