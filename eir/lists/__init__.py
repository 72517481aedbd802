"""Lists: files of rows that operators and registries exchange, and the deltas they amount to.

    FILE ──open──► blocks of lines ──parse──► columns ──clash──► what the file says
                                     └─ odd rows, one by one        │
                                                                    ▼
    tables ──present──► what is there ──────────────────────────► compare ──► operations
    shelf ───────────────(what the tables do not hold)─┘                      │
                                                     payloads ──► one delta ◄─┘

A file is taken whole or not at all. The formats are in docs/lists.md.
"""
