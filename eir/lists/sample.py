"""Which verdicts a change would change, in a sample of the IMEIs it touches. Pure.

change ──some IMEIs, all operations on them──► checked before and after ──► counted
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Final, NamedTuple

import numpy as np

from eir.check import Checker
from eir.errors import RejectedError
from eir.identity import imei_text, imsi_text
from eir.lists.change import Batch, Change
from eir.policy import Policy
from eir.verdict import Reason, Status
from eir.whitelist.items import CODE_MASK
from eir.whitelist.parse import rows_from_payload
from eir.whitelist.rows import concat
from eir.whitelist.tables import Generation
from eir.whitelist.view import View, with_plan

SEED: Final = 1
KEYS_OF_RANGE_MAX: Final = 16
"""IMEIs looked at in one range."""


class Turn(NamedTuple):
    """A verdict before and after, in words: status and reason."""

    before: str
    after: str


@dataclass
class Verdicts:
    """Pairs of IMEI and IMSI looked at, and what their verdicts become where they change."""

    checked: int = 0
    changed: Counter[Turn] = field(default_factory=Counter)


@dataclass(frozen=True)
class _Tables:
    """What the checker reads."""

    generation: Generation
    device_types: Sequence[str]


def verdicts(view: View, change: Change, policy: Policy, count_max: int, now: int) -> Verdicts:
    """Check some of what a change touches before and after it."""
    out = Verdicts()
    chosen = _chosen(change, count_max)
    payloads = [payload for payload, _ in chosen.payloads()]
    if not payloads:
        return out
    try:
        after, _ = with_plan(view, concat([rows_from_payload(payload, 0, "list")[0] for payload in payloads]))
    except RejectedError:
        return out
    checkers = [
        Checker(_Tables(generation, view.device_types), policy, lambda: now)
        for generation in (view.generation, after)
    ]
    for imei, imsi in _identities(view.generation, after, chosen, count_max):
        said = [_words(checker, imei, imsi) for checker in checkers]
        out.checked += 1
        if said[0] != said[1]:
            out.changed[Turn(*said)] += 1
    return out


def _words(checker: Checker, imei: str, imsi: str) -> str:
    verdict = checker.check(imei, imsi, "", False)
    return f"{Status(verdict.status).name} {Reason(verdict.reason).name}"


def _chosen(change: Change, count_max: int) -> Change:
    """Return a change of some of the operations, with all others on the same IMEIs."""
    random = Random(SEED)  # noqa: S311 - the same sample each time is meant
    total = change.row_count
    places = sorted(random.sample(range(total), min(count_max, total)))
    keys = {change.subject(place).imei for place in places}
    numbers = np.array(sorted(int(key) for key in keys if len(key) == 14 and key.isdigit()), np.uint64)
    out = Change()
    for batch in change.batches:
        if batch.texts:
            at = np.array([place for place, text in enumerate(batch.texts) if text in keys], np.int64)
        elif batch.imei is not None:
            at = np.flatnonzero(np.isin(batch.imei, numbers))
        else:
            continue
        out.add(_part(batch, at))
    return out


def _part(batch: Batch, at: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Batch:
    columns = ("imei", "imei_last", "imsi", "former_imsi")
    taken = {name: column[at] for name in columns if (column := getattr(batch, name)) is not None}
    return replace(
        batch, texts=tuple(batch.texts[place] for place in at.tolist()) if batch.texts else (), **taken
    )


def _identities(
    before: Generation, after: Generation, chosen: Change, count_max: int
) -> list[tuple[str, str]]:
    """IMEIs of the operations, each with the SIMs that own it before and after, or none."""
    out: dict[tuple[str, str], None] = {}
    for batch in chosen.batches:
        if batch.texts:
            out.update(dict.fromkeys((text, "") for text in batch.texts))
            continue
        assert batch.imei is not None
        keys = batch.imei.tolist()
        if batch.imei_last is not None:
            spans = zip(keys, batch.imei_last.tolist(), strict=True)
            keys = [
                key
                for first, last in spans
                for key in (first, *before.paired_keys(first, last)[:KEYS_OF_RANGE_MAX].tolist())
            ]
        for key in keys:
            owners = {generation.key_row(key)[0] & CODE_MASK for generation in (before, after)}
            for code in owners:
                out[imei_text(key), imsi_text(code) if code else ""] = None
    return list(out)[:count_max]
