"""Notices: a SIM in a slot it is not paired with is warned, and cut off when nothing happens.

    sighting, delta, receipt ──► case ──► schedule ──► messages ──► segmentation ──► SMSC
                                  (state)   (due at)     (text)        (parts)

Pure but for the link to the SMSC. States and their transitions stand in
`case.TRANSITIONS`, once; `schedule` is a function of the case, its timetable
and the time.
"""
