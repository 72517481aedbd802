"""A scheme's launch in simulation: what the daemon's parts did, beside a plain model of what they should.

    people (seeded): phones seen, registry, numbers ──► course: store, checks, keeper, sender ──► SMSC
                                                          └────────► plain model ◄───────────────┘
                                                                        └──► what is wrong, report

The model is dictionaries and lists, and imports nothing of eir: it is told what
the outside saw (sightings, deltas, what the SMSC took) and says what must
follow from it.
"""
