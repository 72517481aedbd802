"""Inquiries: what the tables and the journal know of a phone or a subscriber.

    text ──► identity ──► keys ◄── IMSI index, msisdns
                            │
                            ▼
              slots: rows ──► Slot ──► public status
              Checker ──────► judgements
              history: journal, backwards ──► operations
              audit ◄── who asked for what (before the answer)

Everything here runs in threads of its own, beside the checks: it reads the
generation that checks read, registry.db by a connection of its own, and writes
inquiries.db only.
"""
