"""Where a stream is: addresses of Redis servers and Sentinels as texts. Pure.

redis://HOST:PORT/DB   rediss:// (TLS)   unix:///PATH?db=DB
sentinel://HOST:PORT/NAME/DB   sentinels:// (TLS)
"""

from __future__ import annotations

from typing import Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

PORTS: Final = {"redis": 6379, "rediss": 6379, "sentinel": 26379, "sentinels": 26379, "unix": 0}
SAYS: Final = "URLs, as redis://HOST:PORT/DB, rediss://…, unix:///PATH, sentinel://HOST:PORT/NAME/DB"


class Server(NamedTuple):
    """One address; `name` is what a Sentinel calls the server, empty for a server itself."""

    host: str
    port: int
    db: int = 0
    tls: bool = False
    path: str = ""
    name: str = ""

    def __str__(self) -> str:
        """As people write it."""
        if self.path:
            return f"unix://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        kind = ("sentinel" if self.name else "redis") + ("s" if self.tls else "")
        return f"{kind}://{host}:{self.port}" + (f"/{self.name}" if self.name else "")


def servers(text: str) -> tuple[Server, ...]:
    """Read addresses with spaces between. Raises ValueError that says what is allowed."""
    return tuple(map(_server, text.split()))


def _server(text: str) -> Server:
    url = urlsplit(text)
    if url.scheme not in PORTS:
        raise ValueError(SAYS)
    if url.username or url.password:
        raise ValueError("URLs without user and password: redis_username and redis_password_file have them")
    parts = [part for part in url.path.split("/") if part]
    try:
        if url.scheme == "unix":
            server = Server("", 0, int(parse_qs(url.query).get("db", ["0"])[0]), path=url.path)
            valid = bool(url.path) and not url.netloc
        else:
            name = parts.pop(0) if url.scheme.startswith("sentinel") else ""
            tls = url.scheme in ("rediss", "sentinels")
            server = Server(
                url.hostname or "",
                url.port or PORTS[url.scheme],
                int("".join(parts) or 0),
                tls=tls,
                name=name,
            )
            valid = bool(server.host) and len(parts) < 2 and not url.query
    except (ValueError, IndexError):
        raise ValueError(SAYS) from None
    if not valid or url.fragment:
        raise ValueError(SAYS)
    return server
