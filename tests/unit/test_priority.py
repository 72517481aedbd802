"""Threads that answer checks come before all others of their daemon, and leave them time."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from eir.server.priority import CHECK_NICE_LESS, OTHERS_NICE, is_calm

SCRIPT = """
import json, os, threading
from pathlib import Path
from eir.server.priority import CHECK_NICE_LESS, CheckThreads

ready, spin, done = threading.Barrier(3), threading.Event(), threading.Event()
threads, told = {}, {}

def nice(thread):
    return os.getpriority(os.PRIO_PROCESS, thread)

def run(name):
    threads[name] = threading.get_native_id()
    Path(f"/proc/self/task/{threads[name]}/comm").write_text(name)
    ready.wait()
    if name == "check-0":
        spin.wait()
        while ran() < 0.2:
            pass
        spin.clear()
    done.wait()

def ran():
    return int(Path(f"/proc/self/task/{threads['check-0']}/schedstat").read_text().split()[0]) / 1e9

for name in ("check-0", "writer"):
    threading.Thread(target=run, args=(name,), daemon=True).start()
ready.wait()
own = nice(0)
try:
    os.setpriority(os.PRIO_PROCESS, 0, own - CHECK_NICE_LESS)
    os.setpriority(os.PRIO_PROCESS, 0, own)
    told["allowed"] = True
except PermissionError:
    told["allowed"] = False

checks = CheckThreads()
began = ran()
checks.prefer(0.0)
told["check"], told["writer"] = nice(threads["check-0"]) - own, nice(threads["writer"])

child = []
thread = threading.Thread(target=lambda: child.append(nice(threading.get_native_id())))
thread.start()
thread.join()
told["child"] = child[0]

spin.set()
while spin.is_set():
    done.wait(0.01)
checks.review(0.2)
told["busy"] = nice(threads["check-0"]) - own
checks.review(100.0)
told["calm"] = nice(threads["check-0"]) - own
done.set()
print(json.dumps(told))
"""


def test_checks_come_first_and_what_other_threads_start_is_niced_too() -> None:
    said = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True).stdout
    told = json.loads(said)
    first = -CHECK_NICE_LESS if told["allowed"] else 0
    assert told["check"] == first, "against what it was started with"
    assert told["writer"] == told["child"] == max(os.getpriority(os.PRIO_PROCESS, 0), OTHERS_NICE)
    assert told["busy"] == 0, "a check thread that leaves no time to others has its own weight"
    assert told["calm"] == first, "and comes first again when it does"


@pytest.mark.parametrize(
    ("shares", "processors", "preferred", "calm"),
    [
        ([0.4], 1, True, True),
        ([0.8], 4, True, False),
        ([0.6], 4, True, True),
        ([0.6], 4, False, False),
        ([0.4], 4, False, True),
        ([0.4, 0.4], 1, True, False),
        ([0.4, 0.4], 2, True, True),
    ],
)
def test_calm_is_each_thread_and_all_together_with_room_between_the_bounds(
    shares: list[float], processors: int, preferred: bool, calm: bool
) -> None:
    assert is_calm(shares, processors, preferred=preferred) == calm
