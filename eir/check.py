"""The check on the portable engine: identity, facts, verdict.

    request ──► identity ──► near facts ──► gate ──► standing ──► status
                                 └─ needs ─► far facts ─┘

No I/O, no lock, no rule: the rules are in the policy's tables. The generation is
read once for each check, so that a verdict is of one table state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from eir.identity import SERIALS, Imei, ImsiClass, imei_text, imsi_text, parse_imei, parse_imsi
from eir.notify.case import State
from eir.notify.case_table import CaseTable, Found
from eir.policy import Policy, PolicyTables
from eir.verdict import (
    GATE_FIELDS,
    STANDING_FIELDS,
    Far,
    Grandfathered,
    ImsiKind,
    OwnBlock,
    Reason,
    Relation,
    Standing,
    Status,
    weights,
)
from eir.whitelist.items import CODE_MASK, REGISTERED, UNTIL_MASK, Item, unpack
from eir.whitelist.rows import U64, BlockCause
from eir.whitelist.tables import Generation

U8 = npt.NDArray[np.uint8]
_G: Final = weights(GATE_FIELDS)
_S: Final = weights(STANDING_FIELDS)
_BLOCKS: Final = {
    BlockCause.STOLEN: OwnBlock.STOLEN,
    BlockCause.LOST: OwnBlock.LOST,
    BlockCause.BARRED: OwnBlock.BARRED,
}
# Plain numbers: operators of an enum cost a microsecond each.
_LINKS, _RANGES, _IMSI_ROWS = int(Far.LINKS), int(Far.RANGES), int(Far.IMSI_ROWS)
_KEYED: Final = frozenset(
    map(
        int,
        (
            Standing.KEY,
            Standing.SPECIAL_ZERO,
            Standing.SPECIAL_REPEATED,
            Standing.SPECIAL_TEST,
            Standing.SPECIAL_PLACEHOLDER,
        ),
    )
)
"""Classes of IMEIs that are 14 digits, and so have a key."""
_PASSES: Final = frozenset((Reason.EMERGENCY, Reason.OVERRIDE))
_HOME_SIMS: Final = frozenset((ImsiKind.HOME, ImsiKind.ABROAD))
_CUT_OFF: Final = int(State.CUT_OFF)
_RANGE_BLOCKING: Final = frozenset((BlockCause.STOLEN, BlockCause.LOST, BlockCause.BARRED))


class Verdict(NamedTuple):
    """The answer to one check; `deadline` in seconds since the Unix epoch, 0 for none."""

    status: int
    reason: int
    deadline: int
    serial: int
    stale: bool
    cache_seconds: int
    unpaired: tuple[int, int] | None = None
    """IMEI key and IMSI code of a pair that has a case, or is to have one."""


class Published(Protocol):
    """What the checker needs of the store."""

    @property
    def generation(self) -> Generation:
        """The generation that checks read."""

    @property
    def device_types(self) -> Sequence[str]:
        """Device types by number."""


class _Row:
    """Near facts of one IMEI, and when the exemptions among them end."""

    __slots__ = (
        "block",
        "cloned",
        "exempt_imei",
        "exempt_pair",
        "grandfathered",
        "in_use_before",
        "individually",
        "owner",
        "pairs",
        "tracked",
        "utilizer",
    )

    def __init__(
        self, head: int, words: memoryview | None, imsi: int, now: int, tables: PolicyTables, tac: int
    ) -> None:
        self.owner = head & CODE_MASK
        self.individually = bool(head & REGISTERED) or self.owner != 0  # an activation registers it too
        self.block, self.cloned, self.tracked, self.utilizer = OwnBlock.NONE, False, False, False
        self.exempt_imei = self.exempt_pair = 0  # when they end
        self.grandfathered = Grandfathered.NONE
        self.in_use_before = False  # with whatever SIM
        self.pairs = 1 if self.owner else 0
        if words is None:
            return
        before = tables.grandfather_before(tac) or UNTIL_MASK
        for kind, subject, value in unpack(words):
            if kind == Item.UTILIZER:
                self.pairs += 1
                self.utilizer = self.utilizer or subject == imsi
            elif kind == Item.BLOCK:
                cause = subject >> 16
                self.cloned = self.cloned or cause == BlockCause.CLONED
                block = _BLOCKS.get(BlockCause(cause), OwnBlock.NONE)
                if block and (not self.block or block < self.block):
                    self.block = block
            elif kind == Item.TRACK:
                self.tracked = True
            elif kind == Item.EXEMPT_IMEI and now < value & UNTIL_MASK:
                self.exempt_imei = value & UNTIL_MASK
            elif kind == Item.EXEMPT_PAIR and subject == imsi and now < value & UNTIL_MASK:
                self.exempt_pair = value & UNTIL_MASK
            elif kind == Item.GRANDFATHER_IMEI and tables.grandfather_imei and value <= before:
                self.in_use_before = True
                self.grandfathered = self.grandfathered or Grandfathered.IMEI
            elif kind == Item.GRANDFATHER_PAIR and tables.grandfather_pair and value <= before:
                self.in_use_before = True
                if subject == imsi:
                    self.grandfathered = Grandfathered.PAIR


class Checker:
    """Answers checks from the generation that is published."""

    def __init__(self, store: Published, policy: Policy, clock: Callable[[], int]) -> None:
        """Take where the tables are, the policy, and the clock (seconds since the Unix epoch)."""
        self._store, self._clock = store, clock
        self.policy = policy
        self.override = False
        self.stale = False
        self.cases: CaseTable | None = None
        """Where cases are found; None where none are kept. Set it anew when its slots are others."""

    @property
    def generation(self) -> Generation:
        """What checks are answered from now."""
        return self._store.generation

    def check(self, imei: str, imsi: str, serving_plmn: str, emergency: bool) -> Verdict:
        """Judge one identity. Never raises for what a phone sent."""
        generation, now = self._store.generation, self._clock()
        return self._check(self.policy, generation, now, imei, imsi, serving_plmn, emergency)

    def check_batch(
        self, imeis: Sequence[str], imsis: Sequence[str], serving_plmn: str, policy: Policy | None = None
    ) -> list[Verdict]:
        """Judge many identities by one table state and one policy, that in force unless it is given.

        `imsis` is empty or as long as `imeis`.
        """
        policy, generation, now = policy or self.policy, self._store.generation, self._clock()
        given = imsis or [""] * len(imeis)
        return [
            self._check(policy, generation, now, imei, imsi, serving_plmn, False)
            for imei, imsi in zip(imeis, given, strict=True)
        ]

    def judge_pairs(self, keys: U64, imsis: U64, now: int) -> tuple[U8, U8, U64]:
        """Judge pairs at home, by the engine that answers the checks, as the keeper of the cases asks.

        Returns of each its reason, its outcome, and when the exemption ends that it rests on (0: none).
        """
        policy, generation = self.policy, self._store.generation
        tables = policy.at(now)
        reasons, outcomes = np.empty(len(keys), np.uint8), np.empty(len(keys), np.uint8)
        ends = np.empty(len(keys), np.uint64)
        for at, (key, imsi) in enumerate(zip(keys.tolist(), imsis.tolist(), strict=True)):
            imei, sim = imei_text(key), imsi_text(imsi)
            verdict = self._check(policy, generation, now, imei, sim, "", False, with_case=False)
            reasons[at], ends[at] = verdict.reason, verdict.deadline
            outcomes[at] = tables.modes[tables.cohort(key // SERIALS, imsi)][verdict.reason]
        return reasons, outcomes, ends

    def judge_at(self, imei: str, imsi: str, when: int) -> Verdict:
        """Judge one identity at home as it will be at a second, if the tables do not change."""
        return self._check(self.policy, self._store.generation, when, imei, imsi, "", False)

    def compare(
        self, policies: tuple[Policy, Policy], imei: str, imsi: str, serving_plmn: str, emergency: bool
    ) -> tuple[Verdict, Verdict]:
        """Judge one identity by two policies, at one moment and by one table state."""
        generation, now = self._store.generation, self._clock()
        one, other = policies
        return (
            self._check(one, generation, now, imei, imsi, serving_plmn, emergency),
            self._check(other, generation, now, imei, imsi, serving_plmn, emergency),
        )

    def _check(
        self,
        policy: Policy,
        generation: Generation,
        now: int,
        imei_text: str,
        imsi_text: str,
        serving_plmn: str,
        emergency: bool,
        *,
        with_case: bool = True,
    ) -> Verdict:
        tables = policy.at(now)
        imei = parse_imei(imei_text, policy.placeholders)
        imsi_class, imsi = parse_imsi(imsi_text)
        keyed = imei.imei_class in _KEYED
        tac = imei.key // SERIALS if keyed else -1
        if keyed:
            head, words = generation.key_row(imei.key)
        else:
            head, words = generation.raw_row(imei.raw) if imei.raw else (0, None)
        row = _Row(head, words, imsi, now, tables, tac)
        kind = _imsi_kind(tables, imsi_class, imsi, serving_plmn)
        far = _FarFacts(generation, tables, imei, keyed, imsi, now)

        gate = (
            emergency * _G["emergency"]
            + self.override * _G["override"]
            + (row.exempt_pair != 0) * _G["pair_exempt"]
            + row.block * _G["own_block"]
            + kind * _G["imsi_kind"]
            + row.individually * _G["individually_registered"]
            + (row.exempt_imei != 0) * _G["imei_exempt"]
            + (imsi != 0 and tables.imsi_range_exempt(imsi)) * _G["imsi_range_exempt"]
            + (keyed and self._type_exempt(generation, tables, tac)) * _G["device_type_exempt"]
        )
        needs = tables.gate_needs[gate]
        if needs & _LINKS:
            gate += far.linked_block * _G["linked_block"]
        if needs & _RANGES:
            gate += far.range_block * _G["range_block"]
        if needs & _IMSI_ROWS:
            gate += (far.imsi_exempt_until != 0) * _G["imsi_exempt"]
        reason = tables.gate[gate]
        if not reason:
            reason = _standing_reason(tables, imei, row, imsi, kind, far)
        outcome = tables.modes[tables.cohort(tac, imsi)][reason]
        tracked = row.tracked and reason not in _PASSES
        exempt_until = _deadline(reason, row, far)
        # The end of an exemption is a deadline like any other: its subscriber is to be warned.
        ends = exempt_until and exempt_until - now <= tables.exempt_notice_seconds
        known = keyed and kind in _HOME_SIMS
        unpaired = (imei.key, imsi) if known and (tables.opens[outcome] or ends) else None
        case = self._case(unpaired, reason) if with_case else None
        past_deadline = case is not None and case.state == _CUT_OFF
        stale = self.stale  # once: what is answered is what was judged by
        status = tables.outcomes[outcome * 8 + tracked * 4 + stale * 2 + past_deadline]
        deadline = exempt_until if case is None else case.deadline
        # What passes an emergency call or the override says nothing of the next check.
        keep = status == Status.WHITELISTED and reason not in _PASSES
        cache = self._cache_seconds(policy, tables, now, deadline) if keep else 0
        return Verdict(status, reason, deadline, generation.serial, stale, cache, unpaired)

    def _case(self, unpaired: tuple[int, int] | None, reason: int) -> Found | None:
        """Return the case of an unpaired pair; one of another cause is none for this check."""
        if unpaired is None or self.cases is None:
            return None
        case = self.cases.find(*unpaired)
        return case if case is not None and case.cause == reason else None

    def _type_exempt(self, generation: Generation, tables: PolicyTables, tac: int) -> bool:
        number = generation.device_type(tac)
        return tables.device_type_exempt(tac, self._store.device_types[number] if number else "")

    @staticmethod
    def _cache_seconds(policy: Policy, tables: PolicyTables, now: int, deadline: int) -> int:
        """Seconds an answer may be kept: never past the next deadline or change of the policy.

        Of the second that `now` is, all but its end may be over.
        """
        ends = [end - now - 1 for end in (deadline, policy.next_change(now)) if end]
        return max(min([tables.cache_seconds_max, *ends]), 0)


def _imsi_kind(tables: PolicyTables, imsi_class: ImsiClass, imsi: int, serving_plmn: str) -> ImsiKind:
    if imsi_class != ImsiClass.WELL_FORMED:
        return ImsiKind(imsi_class)
    if not tables.home(imsi):
        return ImsiKind.FOREIGN
    return ImsiKind.HOME if tables.home_plmn(serving_plmn) else ImsiKind.ABROAD


def _standing_reason(
    tables: PolicyTables, imei: Imei, row: _Row, imsi: int, kind: ImsiKind, far: _FarFacts
) -> int:
    """Reason by rows 8 to 16."""
    relation = Relation.NONE
    if imsi and row.owner == imsi:
        relation = Relation.OWNER
    elif row.utilizer:
        relation = Relation.UTILIZER
    standing = (
        relation * _S["relation"]
        + row.grandfathered * _S["grandfathered"]
        + kind * _S["imsi_kind"]
        + _standing(imei, row, tables) * _S["standing"]
        + (row.owner != 0) * _S["owned"]
        + row.individually * _S["individually_registered"]
    )
    needs = tables.standing_needs[standing]
    if needs & _LINKS:
        standing += far.other_slot_paired * _S["other_slot_paired"]
        standing += far.other_slot_owned * _S["other_slot_owned"]
    if needs & _RANGES:
        standing += far.range_registered * _S["range_registered"]
    return tables.standing[standing]


def _standing(imei: Imei, row: _Row, tables: PolicyTables) -> int:
    if imei.imei_class:
        return int(imei.imei_class)
    if row.cloned:
        return Standing.CLONED
    return Standing.SHARED if row.pairs > tables.pairs_per_imei_max else Standing.KEY


def _deadline(reason: int, row: _Row, far: _FarFacts) -> int:
    """End of the exemption a verdict rests on; 0 where it has none."""
    if reason in (Reason.EXEMPT_PAIR, Reason.EXEMPT_PAIR_BLOCKED):
        until = row.exempt_pair
    elif reason == Reason.EXEMPT_IMEI:
        until = row.exempt_imei
    elif reason == Reason.EXEMPT_IMSI:
        until = far.imsi_exempt_until
    else:
        return 0
    return 0 if until == UNTIL_MASK else until


class _FarFacts:
    """Facts that cost a further look-up; each is looked up when it is asked for."""

    def __init__(
        self, generation: Generation, tables: PolicyTables, imei: Imei, keyed: bool, imsi: int, now: int
    ) -> None:
        self._generation, self._tables = generation, tables
        self._imei, self._keyed, self._imsi, self._now = imei, keyed, imsi, now
        self._slots: list[_Row] | None = None
        self._pieces: Sequence[int] | None = None

    @property
    def slots(self) -> list[_Row]:
        """Rows of the other slots of the device."""
        if self._slots is None:
            keys = self._generation.links(self._imei.key) if self._keyed else ()
            self._slots = [
                _Row(*self._generation.key_row(key), self._imsi, self._now, self._tables, key // SERIALS)
                for key in keys
            ]
        return self._slots

    @property
    def pieces(self) -> Sequence[int]:
        """Range pieces that hold the IMEI."""
        if self._pieces is None:
            self._pieces = self._generation.range_pieces(self._imei.key) if self._keyed else ()
        return self._pieces

    @property
    def linked_block(self) -> bool:
        return any(slot.block in (OwnBlock.STOLEN, OwnBlock.LOST) for slot in self.slots)

    @property
    def other_slot_paired(self) -> bool:
        return self._imsi != 0 and any(slot.owner == self._imsi or slot.utilizer for slot in self.slots)

    @property
    def other_slot_owned(self) -> bool:
        return any(slot.owner or slot.in_use_before for slot in self.slots)

    @property
    def range_block(self) -> bool:
        return any(piece >> 16 & 0xFF in _RANGE_BLOCKING for piece in self.pieces)

    @property
    def range_registered(self) -> bool:
        return any(not piece >> 16 & 0xFF for piece in self.pieces)

    @property
    def imsi_exempt_until(self) -> int:
        """End of the exemption of the IMSI alone; 0 where it has none now."""
        words = self._generation.imsi_words(self._imsi) if self._imsi else None
        if words is None:
            return 0
        ends = [value & UNTIL_MASK for kind, _, value in unpack(words) if kind == Item.EXEMPT_IMSI]
        return max((end for end in ends if self._now < end), default=0)
