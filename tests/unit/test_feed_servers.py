"""Addresses of Redis servers as texts."""

import pytest

from eir.feed.servers import Server, servers


@pytest.mark.parametrize(
    ("text", "server", "shown"),
    [
        ("redis://a", Server("a", 6379), "redis://a:6379"),
        ("redis://a:1/2", Server("a", 1, 2), "redis://a:1"),
        ("rediss://[::1]:6380", Server("::1", 6380, tls=True), "rediss://[::1]:6380"),
        ("unix:///run/redis.sock?db=3", Server("", 0, 3, path="/run/redis.sock"), "unix:///run/redis.sock"),
        ("sentinel://s/main", Server("s", 26379, name="main"), "sentinel://s:26379/main"),
        ("sentinels://s:1/main/4", Server("s", 1, 4, tls=True, name="main"), "sentinels://s:1/main"),
    ],
)
def test_an_address_is_read_and_shown(text: str, server: Server, shown: str) -> None:
    assert servers(text) == (server,)
    assert str(server) == shown


def test_several_stand_with_spaces_between() -> None:
    assert [server.host for server in servers("  redis://a  redis://b\n")] == ["a", "b"]
    assert servers("") == ()


@pytest.mark.parametrize(
    "text",
    [
        "a:6379",
        "http://a",
        "redis://",
        "redis://a:x",
        "redis://a:70000",
        "redis://a/one",
        "redis://a/1/2",
        "redis://a?db=1",
        "redis://a#1",
        "sentinel://a",
        "unix://a/b",
        "unix:///a?db=x",
        "redis://u:p@a",
    ],
)
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="URLs"):
        servers(text)


def test_a_password_in_an_address_is_not_repeated() -> None:
    with pytest.raises(ValueError, match="redis_password_file") as error:
        servers("redis://user:hunter2@a")
    assert "hunter2" not in str(error.value)
