"""Threads that answer checks come before all others of their daemon, and leave them time."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from eir.server import priority
from eir.server.priority import CHECK_NICE_LESS, OTHERS_NICE, CheckThreads, is_calm, keeps_time_for_others

SCRIPT = """
import json, os, sys, threading
from pathlib import Path
from eir.server.priority import CHECK_NICE_LESS, CHECK_REALTIME, CheckThreads

ready, spin, done = threading.Barrier(3), threading.Event(), threading.Event()
threads, told = {}, {}

def nice(thread):
    return os.getpriority(os.PRIO_PROCESS, thread)

def standing(thread):
    return [os.sched_getscheduler(thread), nice(thread) - own]

def allowed(how):
    try:
        how()
    except PermissionError:
        return False
    return True

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
if sys.argv[1] == "no real-time":
    set_class = os.sched_setscheduler

    def refuse(thread, policy, how):
        if policy == os.SCHED_RR:
            raise PermissionError
        set_class(thread, policy, how)

    os.sched_setscheduler = refuse
told["realtime"] = allowed(lambda: os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(CHECK_REALTIME)))
os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
told["nice"] = allowed(lambda: os.setpriority(os.PRIO_PROCESS, 0, own - CHECK_NICE_LESS))
if told["nice"]:
    os.setpriority(os.PRIO_PROCESS, 0, own)

checks = CheckThreads()
checks.prefer(0.0)
told["check"] = standing(threads["check-0"])
told["writer"] = [os.sched_getscheduler(threads["writer"]), nice(threads["writer"])]

child = []
thread = threading.Thread(target=lambda: child.append(nice(threading.get_native_id())))
thread.start()
thread.join()
told["child"] = child[0]

spin.set()
while spin.is_set():
    done.wait(0.01)
checks.review(0.2)
told["busy"] = standing(threads["check-0"])
checks.review(100.0)
told["calm"] = standing(threads["check-0"])
done.set()
print(json.dumps(told))
"""


FIRST = {
    "realtime": [os.SCHED_RR, 0],
    "nice": [os.SCHED_OTHER, -CHECK_NICE_LESS],
    "none": [os.SCHED_OTHER, 0],
}


@pytest.mark.parametrize("without", ["nothing", "no real-time", "no capability"])
def test_checks_come_first_as_far_as_the_system_allows_it(without: str) -> None:
    command = [sys.executable, "-c", SCRIPT, without]
    if without == "no capability" and os.geteuid() == 0:
        bare = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
        if subprocess.run([*bare, "true"], capture_output=True, check=False).returncode:
            pytest.skip("this root may not give up capabilities")
        command = [*bare, *command]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    told["realtime"] &= keeps_time_for_others()
    first = next((one for one in ("realtime", "nice") if told[one]), "none")
    assert told["check"] == FIRST[first], "the class, and the nice value against what it was started with"
    assert told["busy"] == FIRST["none"], "a check thread that leaves no time to others is one of them"
    assert told["calm"] == FIRST[first], "and comes first again when it does"
    niced = max(os.getpriority(os.PRIO_PROCESS, 0), OTHERS_NICE)
    assert told["writer"] == [os.SCHED_OTHER, niced]
    assert told["child"] == niced, "what other threads start is niced as well"


@pytest.mark.parametrize(
    ("runtime", "period", "kept"),
    [
        ("950000", "1000000", True),
        ("-1", "1000000", False),
        ("0", "1000000", False),
        ("1000000", "1000000", False),
        ("", "1", False),
    ],
)
def test_the_real_time_class_is_for_kernels_that_keep_time_for_others(
    tmp_path: Path, runtime: str, period: str, kept: bool
) -> None:
    (tmp_path / "sched_rt_runtime_us").write_text(f"{runtime}\n")
    (tmp_path / "sched_rt_period_us").write_text(f"{period}\n")
    assert keeps_time_for_others(tmp_path) == kept
    assert not keeps_time_for_others(tmp_path / "none")


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


NICE = 3
BUSY, CALM = 0.9, 0.1


class Kernel:
    """Threads and their standing, without a system: what is asked of it, and what it refuses."""

    def __init__(self, tasks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._tasks, self.keeps_time = tasks, True
        self.refuses: set[tuple[int, int]] = set()
        """Threads, and the classes that they may not have."""
        self.standing: dict[int, list[int]] = {}
        monkeypatch.setattr(priority, "_TASKS", tasks)
        monkeypatch.setattr(priority, "keeps_time_for_others", lambda: self.keeps_time)
        monkeypatch.setattr(priority, "_shorten_slice", lambda _: None)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
        monkeypatch.setattr(os, "sched_getscheduler", lambda thread: self.standing[thread][0])
        monkeypatch.setattr(os, "sched_setscheduler", self._put)
        monkeypatch.setattr(os, "getpriority", lambda _, thread: self.standing[thread][1])
        monkeypatch.setattr(os, "setpriority", self._weigh)

    def begin(self, thread: int, name: str) -> None:
        (self._tasks / str(thread)).mkdir()
        (self._tasks / str(thread) / "comm").write_text(name)
        self.standing[thread] = [os.SCHED_OTHER, NICE]
        self.ran(thread, 0.0)

    def ran(self, thread: int, seconds: float) -> None:
        (self._tasks / str(thread) / "schedstat").write_text(f"{seconds * 1e9:.0f} 0 0")

    def end(self, thread: int) -> None:
        shutil.rmtree(self._tasks / str(thread))

    def hide(self, thread: int) -> None:
        """Let reads fail for another reason than that the thread has ended."""
        (self._tasks / str(thread) / "schedstat").unlink()
        (self._tasks / str(thread) / "schedstat").mkdir()

    def _put(self, thread: int, policy: int, _: os.sched_param) -> None:
        if (thread, policy) in self.refuses:
            raise PermissionError
        self.standing[thread][0] = policy

    def _weigh(self, _: int, thread: int, nice: int) -> None:
        self.standing[thread][1] = nice


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    kernel = Kernel(tmp_path, monkeypatch)
    for thread, name in ((11, "check-0"), (12, "check-1"), (13, "accept"), (14, "python")):
        kernel.begin(thread, name)
    return kernel


REALTIME, NICED, ORDINARY = (
    [os.SCHED_RR, NICE],
    [os.SCHED_OTHER, NICE - CHECK_NICE_LESS],
    [os.SCHED_OTHER, NICE],
)


def checks_of(kernel: Kernel) -> list[list[int]]:
    return [kernel.standing[thread] for thread in (11, 12, 13)]


def test_those_that_are_left_are_watched_when_one_has_ended(kernel: Kernel) -> None:
    checks = CheckThreads()
    checks.prefer(0)
    assert checks_of(kernel) == [REALTIME] * 3
    kernel.end(13)
    kernel.ran(11, BUSY)
    checks.review(1)
    assert checks_of(kernel)[:2] == [ORDINARY] * 2
    kernel.ran(11, BUSY + CALM)
    checks.review(2)
    assert checks_of(kernel)[:2] == [REALTIME] * 2


def test_those_that_cannot_be_watched_do_not_come_first(kernel: Kernel) -> None:
    checks = CheckThreads()
    checks.prefer(0)
    kernel.hide(12)
    checks.review(1)
    assert checks_of(kernel) == [ORDINARY] * 3


def test_what_is_refused_for_one_thread_is_done_for_the_others(kernel: Kernel) -> None:
    kernel.refuses = {(11, os.SCHED_RR)}
    checks = CheckThreads()
    checks.prefer(0)
    assert checks_of(kernel) == [NICED, REALTIME, REALTIME]
    kernel.refuses = {(12, os.SCHED_OTHER)}
    kernel.ran(13, BUSY)
    checks.review(1)
    assert checks_of(kernel) == [ORDINARY, REALTIME, ORDINARY]
    kernel.refuses = set()
    kernel.ran(13, 2 * BUSY)
    checks.review(2)
    assert checks_of(kernel) == [ORDINARY] * 3, "it is tried again"


def test_a_kernel_that_no_longer_keeps_time_for_others_has_only_niced_threads(kernel: Kernel) -> None:
    checks = CheckThreads()
    checks.prefer(0)
    kernel.keeps_time = False
    checks.review(1)
    assert checks_of(kernel) == [NICED] * 3
    kernel.keeps_time = True
    checks.review(2)
    assert [policy for policy, _ in checks_of(kernel)] == [os.SCHED_RR] * 3
