"""Decisions: what nodes were told, kept to be explained later.

    check ──wanted?──► queue ──► log (a thread) ──► files by day ──► read ──┐
    policy in force ──────────────────────────────► policies by hash ──────┼──► why ──► sentences
                                                    journal ──► history ───┘

Beside the check path: what does not fit into the queue, or onto the disk, is
dropped and counted. `keep` and `record` are pure; `why` explains and prints nothing.
"""
