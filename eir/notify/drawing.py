"""The drawing of a case's states in docs/notices.md, made from `case.TRANSITIONS`: `make docs` writes it.

TRANSITIONS ──► Mermaid ──► between the marks of the page
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from eir.notify.case import TRANSITIONS, State

BEGINS: Final = "<!-- states: made by `make docs` from eir/notify/case.py -->\n"
ENDS: Final = "<!-- states end -->\n"


def drawing() -> str:
    """Return the states and transitions as a Mermaid diagram."""
    found: dict[tuple[State, State], list[str]] = {}
    for (before, event), after in TRANSITIONS.items():
        if before != after:
            found.setdefault((before, after), []).append(event.name.lower())
    stays = {
        state: [
            event.name.lower() for (before, event), after in TRANSITIONS.items() if before == after == state
        ]
        for state in State
    }
    lines = ["stateDiagram-v2", "    [*] --> OPEN: sighted"]
    lines += [f"    {a.name} --> {b.name}: {', '.join(events)}" for (a, b), events in found.items()]
    lines += [
        f"    {state.name} --> {state.name}: {', '.join(events)}" for state, events in stays.items() if events
    ]
    lines.append("    RESOLVED --> [*]")
    return "```mermaid\n" + "\n".join(lines) + "\n```\n"


def drawn(page: str) -> str:
    """Return a page with the drawing between its marks. Raises ValueError where it has none."""
    head, begins, rest = page.partition(BEGINS)
    _, ends, tail = rest.partition(ENDS)
    if not (begins and ends):
        raise ValueError("the page has no marks for the drawing of states")
    return head + begins + drawing() + ends + tail


def main(argv: list[str]) -> int:
    """Write the drawing into pages."""
    for path in map(Path, argv):
        path.write_text(drawn(path.read_text("utf-8")), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
