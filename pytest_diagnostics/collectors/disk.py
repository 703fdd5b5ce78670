"""The machine's disks and the local file systems on them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

from ..core.handlers import ExceptionHandler
from ..system import parsers
from ..system.parsers import DiskCounters, Mount
from ..system.procfs import printable
from ..system.sampling import FIRST, NO_TIME, RESET, Answer, LocalCollector, Monotonic, share

_SECTOR = 512
_TOTALS = ("read_bytes", "write_bytes", "read_count", "write_count")
_RATES = ("read_bytes_per_sec", "write_bytes_per_sec")

#: File systems that answer at once from this machine. Everything else is left alone: a call on a dead
#: network mount never returns, and which kinds those are only their list of names could tell.
_LOCAL = frozenset(
    (
        *("apfs", "bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "hfs", "hfsplus", "jfs"),
        *("msdos", "nilfs2", "ntfs", "ntfs3", "overlay", "reiserfs", "tmpfs", "ufs", "vfat", "xfs", "zfs"),
    )
)
#: Where a tmpfs holds files that tests write; the others are the system's own.
_TMPFS = ("/", "/tmp", "/var/tmp", "/dev/shm", "/run/shm")
#: Below one of these, even the way to a local file system leads over the network.
_REMOTE = re.compile(
    r"nfs|cifs|smb|fuse|autofs|9p|ceph|glusterfs|lustre|afs|ncpfs|gfs|ocfs|beegfs|gpfs|virtiofs|coda|davfs"
)
_PHYSICAL = re.compile(r"(sd|vd|xvd|hd)[a-z]+|nvme\d+n\d+|mmcblk\d+|dasd[a-z]+")


class DiskCollector(LocalCollector):
    """What the disks did since the last tick, and how full the local file systems are.

    - ``partitions``: {mount: {total_bytes, used_bytes, free_bytes, percent}} by statvfs, at most ten
      seconds old, 32 mounts at most. Only of local file systems, which the mount table tells apart:
      network mounts and what lies below them are never touched. ``free_bytes`` is what a user without
      privileges can still write, ``percent`` is used of used and free, as in df
    - ``read_bytes``, ``write_bytes``, ``read_count``, ``write_count``: of all whole disks since the machine
      started, /proc/diskstats; the host's, in a container, too
    - ``read_bytes_per_sec``, ``write_bytes_per_sec``: since the last tick
    - ``busy_percent``: of the busiest disk: percent of the time since the last tick with a request open

    Off Linux, psutil's ``disk_io_counters`` and ``disk_partitions``.
    """

    default_name = "disk"
    plain = True
    main_file = "self/mountinfo"
    REFRESH_SECONDS = 10.0
    MAX_PARTITIONS = 32
    if hasattr(os, "statvfs"):
        _statvfs = staticmethod(os.statvfs)

    def __init__(
        self,
        name: str | None = None,
        exception_handler: ExceptionHandler | None = None,
        *,
        clock: Monotonic | None = None,
        root: str = "",
    ) -> None:
        """See ``LocalCollector``."""
        super().__init__(name, exception_handler, clock=clock, root=root)
        self._mountinfo = self.keep("/proc/self/mountinfo", chunked=4096)
        self._diskstats = self.keep("/proc/diskstats", chunked=512, size=16384)
        self._devices = parsers.Memo(parsers.Table(parsers.disk).rows)
        self._disks: dict[str, DiskCounters] = {}
        self._before: Mapping[str, DiskCounters] | None = None
        self._when = 0.0
        self._found: dict[str, DiskCounters] = {}
        self._whole: tuple[str, ...] = ()
        self._mounted = b""
        self._points: tuple[list[str], int] = ([], 0)
        self._partitions = Answer()
        self._usages: dict[str, dict[str, float | None]] = {}
        self._until = float("-inf")

    def start(self) -> None:
        """Begin a new series of differences."""
        self._before = None
        self._until = float("-inf")

    def fill(self, answer: Answer, now: float) -> None:
        """Read diskstats; ask the file systems every ten seconds."""
        if now >= self._until:
            self._until = now + self.REFRESH_SECONDS
            self._partitions, self._usages = Answer(), {}
            content = self._partitions.read(self._mountinfo.read, "partitions")
            if content is not None:
                if content != self._mounted:  # that hardly ever changes, and takes long to sort out
                    self._points = local_mounts(parsers.mounts(content), self.MAX_PARTITIONS)
                    self._mounted = content
                self._ask(self._partitions, *self._points)
        self._add_partitions(answer)
        content = answer.read(self._diskstats.read, *_TOTALS, *_RATES, "busy_percent")
        if content is None:
            self._before = None
            return
        found = self._devices.of(content)
        if found is not self._found:
            if found.keys() != self._found.keys():
                self._whole = self._whole_disks(found)
            self._found = found
            self._disks = {name: found[name] for name in self._whole}
        self._fill_io(answer, now, self._disks)

    def fill_portable(self, answer: Answer, now: float) -> None:
        """Ask psutil, without its memory of wraps: a vanished disk makes it add whole counters."""
        import psutil

        if now >= self._until:
            self._until = now + self.REFRESH_SECONDS
            self._partitions, self._usages = Answer(), {}
            for part in psutil.disk_partitions(all=False)[: self.MAX_PARTITIONS]:
                if _REMOTE.search(part.fstype) or not part.fstype:
                    continue  # an empty drive has no file system
                try:
                    usage = psutil.disk_usage(part.mountpoint)
                except OSError as exc:
                    self._partitions.reasons[f"partitions[{part.mountpoint}]"] = str(exc)
                    continue
                self._usages[part.mountpoint] = _usage(usage.total, usage.used, usage.free)
            self._partitions.put("partitions", self._usages or None, "no local file system could be asked")
        self._add_partitions(answer)
        found = {
            name: DiskCounters(
                io.read_count,
                io.read_bytes // _SECTOR,
                io.write_count,
                io.write_bytes // _SECTOR,
                getattr(io, "busy_time", 0),
            )
            for name, io in (psutil.disk_io_counters(perdisk=True, nowrap=False) or {}).items()
        }
        self._fill_io(answer, now, found)
        answer.absent("read on Linux only", "busy_percent")

    def _add_partitions(self, answer: Answer) -> None:
        # Whoever is given a result may change it: the next one is made of other objects.
        usages = {point: dict(usage) for point, usage in self._usages.items()}
        answer.data["partitions"] = usages or None
        answer.reasons.update(self._partitions.reasons)

    def _ask(self, answer: Answer, points: list[str], left_out: int) -> None:
        for point in points:
            try:
                found = self._statvfs(self._root + point)
            except OSError as exc:
                answer.reasons[printable(f"partitions[{point}]")] = printable(f"{point}: {exc.strerror}")
                continue
            unit = found.f_frsize
            used = (found.f_blocks - found.f_bfree) * unit
            if found.f_blocks:
                self._usages[printable(point)] = _usage(found.f_blocks * unit, used, found.f_bavail * unit)
        answer.put("partitions", self._usages or None, "no local file system could be asked")
        if left_out:
            answer.reasons["partitions"] = f"{left_out} more mounts were left out"

    def _whole_disks(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the disks that are neither a part of another nor built on others: those count twice."""
        block = f"{self._root}/sys/block"
        found = [name for name in names if self._exists(f"{block}/{name.replace('/', '!')}/device")]
        # Without /sys (or with drivers that tell no device) the usual names must do.
        return tuple(found or [name for name in names if _PHYSICAL.fullmatch(name)])

    def _fill_io(self, answer: Answer, now: float, found: dict[str, DiskCounters]) -> None:
        before, elapsed = self._before, now - self._when
        self._before, self._when = found, now
        if not found:
            answer.absent("no disk is seen from here", *_TOTALS, *_RATES, "busy_percent")
            return
        data = answer.data
        reads, read, writes, written, _ = map(sum, zip(*found.values(), strict=True))
        data["read_bytes"], data["write_bytes"] = read * _SECTOR, written * _SECTOR
        data["read_count"], data["write_count"] = reads, writes
        grown = _grown(before, found) if elapsed > 0 else NO_TIME
        if isinstance(grown, str):
            answer.absent(grown, *_RATES, "busy_percent")
            return
        read, written, busiest = grown
        data["read_bytes_per_sec"] = round(read * _SECTOR / elapsed, 1)
        data["write_bytes_per_sec"] = round(written * _SECTOR / elapsed, 1)
        data["busy_percent"] = share(busiest, elapsed * 1000)


def _grown(
    before: Mapping[str, DiskCounters] | None, now: Mapping[str, DiskCounters]
) -> tuple[int, int, int] | str:
    """Return sectors read and written, and the most milliseconds that one disk was busy; or why not."""
    if before is None:
        return FIRST
    if before is now:
        return 0, 0, 0
    compared, read, written, busiest = False, 0, 0, 0
    for name, disk in now.items():
        earlier = before.get(name)
        if earlier is None:
            continue
        compared = True
        if earlier is disk:
            continue  # its line is the same
        for word, value, least in (
            ("read", disk.read_sectors, earlier.read_sectors),
            ("written", disk.write_sectors, earlier.write_sectors),
            ("busy", disk.busy_ms, earlier.busy_ms),
        ):
            if value < least:
                return f"{RESET} ({name} {word})"
        read += disk.read_sectors - earlier.read_sectors
        written += disk.write_sectors - earlier.write_sectors
        busiest = max(busiest, disk.busy_ms - earlier.busy_ms)
    return (read, written, busiest) if compared else FIRST


def local_mounts(mounts: list[Mount], most: int) -> tuple[list[str], int]:
    """Return the mount points that may be asked, shortest first, and how many were left out.

    Decided from the mount table alone. A device that is mounted twice is asked once.
    """
    visible = {mount.point: mount for mount in mounts}  # a later mount on the same point hides the first
    remote = [mount.point.rstrip("/") + "/" for mount in mounts if _REMOTE.match(mount.kind)]
    points: dict[str, str] = {}
    for mount in sorted(visible.values(), key=lambda mount: (len(mount.point), mount.point)):
        if mount.kind not in _LOCAL or (mount.kind == "tmpfs" and mount.point not in _TMPFS):
            continue
        if any((mount.point + "/").startswith(point) for point in remote):
            continue
        points.setdefault(mount.device, mount.point)
    found = list(points.values())
    return found[:most], max(0, len(found) - most)


def _usage(total: int, used: int, free: int) -> dict[str, float | None]:
    percent = share(used, used + free) if used + free else None
    return {"total_bytes": total, "used_bytes": used, "free_bytes": free, "percent": percent}
