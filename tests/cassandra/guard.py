"""Run a command, and end it when whoever asked for it is gone, however that one ended.

``python guard.py SIGNAL COMMAND…``: standard input is a pipe that the starter holds open and never writes to.
Its end of file, which a SIGKILL of the starter brings about too, sends SIGNAL to the command. The command's
process id is the one line on standard output; the command writes to the guard's standard error.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_the_guard() -> None:
    """Have Linux kill the command when the guard itself is killed.

    Runs between fork and exec, which is safe: the guard has no second thread yet.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> int:
    ending, command = signal.Signals(int(sys.argv[1])), sys.argv[2:]
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=2, preexec_fn=end_with_the_guard)  # noqa: PLW1509
    print(child.pid, flush=True)

    def watch() -> None:
        os.read(0, 1)
        child.send_signal(ending)

    threading.Thread(target=watch, daemon=True).start()
    status = child.wait()
    return 128 - status if status < 0 else status


if __name__ == "__main__":
    sys.exit(main())
