"""What came of a launch, in lines for people."""

from __future__ import annotations

import resource

from bench.results import Figure
from eir.notify.outbox import NoticeState

from .run import Launch

STEPS = ("taken first", "taken reminder", "taken last")
ENDINGS = ("taken cut_off", "taken resolved", "taken restored")
UNWARNED = ("cut off unwarned", "cut off without an open case")
LOST = ("a notice that was not sent", "an ending that was not told")


def report(launch: Launch, seconds: float) -> str:
    """Return the report."""
    model, people, keeper = launch.model, launch.people, launch.desk.keeper
    lines = [
        f"{people.subscribers:,} subscribers, {people.days} days, seed {people.seed}: {seconds:,.0f} s",
        f"pairs {len(people.keys):,}, sightings {len(people.sighted):,}",
        "",
        "by the plain model:",
        *(f"  {what:<28}{count:>12,}" for what, count in sorted(model.counts.items())),
        "by the SMSC:",
        *(f"  {what:<28}{count:>12,}" for what, count in sorted(launch.smsc.counts.items())),
        "by the run:",
        *(f"  {what:<28}{count:>12,}" for what, count in sorted(launch.counts.items())),
        "by the keeper, since its last start:",
        *(f"  {what:<28}{count:>12,}" for what, count in sorted(keeper.counts.items())),
        "cases on disk:",
        *(f"  {state.name:<28}{count:>12,}" for state, count in keeper.cases.states().items()),
        "notices on disk:",
        *(f"  {NoticeState(state).name:<28}{count:>12,}" for state, count in keeper.outbox.counts().items()),
        "",
    ]
    if model.wrong:
        lines += ["WRONG:", *(f"  {what:<50}{count:>8,}" for what, count in model.wrong.most_common())]
        lines += ["the first of each:", *(f"  {what}: {where}" for what, where in model.examples.items())]
    else:
        lines.append("nothing wrong")
    return "\n".join(lines)


def figures(launch: Launch, seconds: float) -> dict[str, Figure]:
    """Return what is saved of a launch."""
    model, counts, wrong = launch.model, launch.counts, launch.model.wrong
    unanswered = launch.smsc.counts["answers lost"] + counts["in flight at kills"]

    def count(value: int) -> Figure:
        return Figure(value, "")

    return {
        "days": count(launch.people.days),
        "sightings": count(len(launch.people.sighted)),
        "cases opened": count(model.counts["opened"]),
        "warnings that an SMSC took": count(sum(model.counts[stage] for stage in STEPS)),
        "cut off": count(model.counts["cut off"]),
        "endings told": count(sum(model.counts[stage] for stage in ENDINGS)),
        "kills": count(counts["kills"]),
        "submissions without an answer": count(unanswered),
        "notices repeated after them": count(model.counts["repeats"]),
        "wrong: cut off unwarned": count(sum(wrong[what] for what in UNWARNED)),
        "wrong: notices lost": count(sum(n for what, n in wrong.items() if what.startswith(LOST))),
        "wrong: everything that the model found": count(sum(wrong.values())),
        "time it took": Figure(seconds / 60, "min"),
        "memory, simulation and model included": Figure(
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, "GiB"
        ),
    }
