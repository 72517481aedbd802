"""A trial: a second policy judges live checks beside the first, without effect.

    check ──sample──► queue ──► thread: both policies, one table state ──► tally ──► report
                                paced to a share of a processor

`distinct` and `tally` are pure.
"""
