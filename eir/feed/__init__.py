"""Feeds that the daemon follows by itself: one registry's stream on Redis, many daemons.

    registry ──message──► stream ──transport──► consumer ──entry──► follower ──action──► consumer
                                                   │  what to do next, decided without I/O
                                                   └──begin, chunk, commit──► intake ──► store

`message` is what travels, `follower` decides, `transport` talks to Redis,
`consumer` does what the follower says, `publish` is the other end. The page for
producers is docs/redis-feed.md. Losing Redis makes tables stale, nothing else.
"""
