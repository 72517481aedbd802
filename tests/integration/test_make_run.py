"""`make run` on a terminal: Ctrl-C drains the daemon, and make ends with 0."""

import os
import pty
import select
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECONDS_MAX = 100


def test_ctrl_c_drains_and_make_ends_with_0(tmp_path: Path) -> None:
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir()
    for name, words in (("python", ""), ("eir", "-m eir")):
        script = bin_dir / name
        script.write_text(f'#!/bin/sh\nexec {sys.executable} {words} "$@"\n')
        script.chmod(0o755)
    pid, terminal = pty.fork()
    if not pid:
        os.chdir(ROOT)
        for listener in ("CHECK", "MANAGE", "HTTP"):
            os.environ[f"EIR_{listener}_LISTEN"] = "127.0.0.1:0"
        # `-o setup`: what it would install is there, in the tests' own environment.
        words = ["make", "-o", "setup", "run", f"BIN={bin_dir}", f"DATA={tmp_path}/data", "REGISTERED=20000"]
        os.execvp("make", words)
    said, interrupted, end = b"", False, time.monotonic() + SECONDS_MAX
    while time.monotonic() < end:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            said += os.read(terminal, 4096)
        except OSError:  # the terminal's last process ended
            break
        if b"ready" in said and b"serial" in said and not interrupted:
            interrupted = True
            os.write(terminal, b"\x03")
    ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert interrupted, said
    assert b"stopped" in said
    assert ended == 0, said
