"""Threads that answer checks come before all others of their daemon."""

from __future__ import annotations

import os
import subprocess
import sys

SCRIPT = """
import os, threading
from pathlib import Path
from eir.server.priority import prefer_checks

ready, done = threading.Barrier(3), threading.Event()
threads = {}

def run(name):
    threads[name] = threading.get_native_id()
    Path(f"/proc/self/task/{threads[name]}/comm").write_text(name)
    ready.wait()
    done.wait()

for name in ("check-0", "writer"):
    threading.Thread(target=run, args=(name,), daemon=True).start()
ready.wait()
prefer_checks()
child = []

def note():
    child.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

thread = threading.Thread(target=note)
thread.start()
thread.join()
print(*(os.getpriority(os.PRIO_PROCESS, threads[name]) for name in ("check-0", "writer")), *child)
done.set()
"""


def test_other_threads_and_those_that_they_start_are_niced() -> None:
    said = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True).stdout
    check, writer, child = map(int, said.split())
    assert check == os.getpriority(os.PRIO_PROCESS, 0), "unchanged, whatever the tests run at"
    assert (writer, child) == (max(check, 15), max(check, 15))
