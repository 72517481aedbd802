"""The store beside the plain model: what the tables say, as the model's facts."""

from __future__ import annotations

import hashlib

from eir.identity import SERIALS
from eir.proto import sync_pb2
from eir.whitelist import items
from eir.whitelist.algebra import State
from eir.whitelist.delta import Applied, Header
from eir.whitelist.items import AUTHORITY_BITS, CODE_MASK, REGISTERED, UNTIL_BITS, UNTIL_MASK, Item
from eir.whitelist.operation import Operation, message
from eir.whitelist.store import Store
from eir.whitelist.tables import TABLES, Generation


def push(
    store: Store, rows: list[Operation], feed: str = "feed", *, parts: int = 1, **header: object
) -> Applied:
    """Send operations as one delta in some chunks."""
    position = next((known.sequence for known in store.feeds() if known.feed == feed), 0)
    pending = store.push(Header(feed, position + 1, position, len(rows), **header))
    digest = hashlib.sha256()
    size = -(-len(rows) // parts) or 1
    for index, start in enumerate(range(0, len(rows), size)):
        payload = sync_pb2.DeltaRows(operations=map(message, rows[start : start + size])).SerializeToString()
        digest.update(payload)
        pending.chunk(index, payload)
    return pending.commit(digest.digest())


def _row_facts(imei: int | str, head: int, words: object, authorities: list[str]) -> State:
    facts: State = {}
    if head & REGISTERED:
        facts["registered", imei] = True
    if owner := head & CODE_MASK:
        facts["pairs", imei] = owner
    for kind, subject, value in items.unpack(words or []):
        until = value & UNTIL_MASK
        exempt = (0 if until == UNTIL_MASK else until, value >> UNTIL_BITS)
        match kind:
            case Item.UTILIZER:
                facts["utilizers", imei] = facts.get(("utilizers", imei), frozenset()) | {subject}
            case Item.BLOCK:
                authority = authorities[subject & ((1 << AUTHORITY_BITS) - 1)]
                facts["blocks", imei, subject >> AUTHORITY_BITS, authority] = True
            case Item.TRACK:
                facts["tracked", imei] = True
            case Item.EXEMPT_IMEI:
                facts["exemptions", imei, 0] = exempt
            case Item.EXEMPT_PAIR:
                facts["exemptions", imei, subject] = exempt
            case Item.GRANDFATHER_IMEI:
                facts["grandfathered", imei, 0] = value
            case Item.GRANDFATHER_PAIR:
                facts["grandfathered", imei, subject] = value
            case Item.EXEMPT_IMSI:
                facts["exemptions", 0, imei] = exempt
    return facts


def facts_of(
    store: Store,
    keys: list[int],
    raw_texts: list[str],
    imsis: list[int],
    generation: Generation | None = None,
) -> State:
    """Everything the store says of these, in the model's terms, by single look-ups."""
    now, authorities, types = generation or store.generation, store.authorities, store.device_types
    facts: State = {}
    for key in keys:
        facts |= _row_facts(key, *now.key_row(key), authorities)
        if others := now.links(key):
            facts["links", key] = frozenset((key, *others))
    for text in raw_texts:
        facts |= _row_facts(text, *now.raw_row(text), authorities)
    for imsi in imsis:
        facts |= _row_facts(imsi, 0, now.imsi_words(imsi), authorities)
        for subscriber in store.journal.subscribers([imsi]).values():
            facts["subscribers", imsi] = (subscriber.msisdn, subscriber.language)
    for tac in sorted({key // SERIALS for key in keys} | {1}):
        if number := now.device_type(tac):
            facts["tacs", tac] = types[number]
        facts |= _range_facts(now, tac, authorities)
    return facts


def _range_facts(now: Generation, tac: int, authorities: list[str]) -> State:
    """Ranges of a TAC, asked serial by serial over the first few."""
    facts: State = {}
    for serial in range(20):
        for piece in now.range_pieces(tac * SERIALS + serial):
            cause, authority = piece >> 16 & 0xFF, authorities[piece & 0xFFFF] if piece & 0xFFFF else ""
            fact = ("blocked_ranges", tac, cause, authority) if cause else ("registered_ranges", tac)
            key = tac * SERIALS + serial
            spans = facts.get(fact, ())
            if spans and spans[-1][1] == key - 1:
                facts[fact] = (*spans[:-1], (spans[-1][0], key))
            else:
                facts[fact] = (*spans, (key, key))
    return facts


def counts_of(state: State) -> dict[str, int]:
    """Rows by table, as the store counts them."""
    out = dict.fromkeys(TABLES, 0)
    raw = set()
    for fact, value in state.items():
        table = fact[0]
        if isinstance(fact[1], str):
            raw.add(fact[1])
        if table in ("registered_ranges", "blocked_ranges", "utilizers"):
            out[table] += len(value)
        elif table == "links":
            out[table] += sum(fact[1] < other for other in value)
        elif table == "exemptions" and fact[1] == 0:
            out["imsi_exemptions"] += 1
        else:
            out[table] += 1
    out["raw"] = len(raw)
    return out
