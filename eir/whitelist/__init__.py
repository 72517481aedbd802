"""The tables: how a delta becomes what checks read.

    feed ──delta──► journal ──rows──► overlay ──► generation ──► published
                                         └──rebuild──► segments ──┘

`delta` is what a feed sends, `journal` what is durable, `segment` the immutable
files, `overlay` the rows since, `tables` the generation that checks read,
`store` the writer, `rebuild` the child that folds overlays into segments.
"""
