"""What came of a launch, in lines for people."""

from __future__ import annotations

from eir.notify.outbox import NoticeState

from .run import Launch


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
