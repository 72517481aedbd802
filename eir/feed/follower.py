"""What to do with the next message of a stream. Pure.

    entry ──take──► action ──consumer does it──► applied | refused
                                                   └──► cursor, resume point, state

The follower looks for one thing: a delta that builds on where its feed stands.
Sequences decide, stream ids only say where to read on: a repeat is passed over,
what builds further ahead is remembered by its place, so that it is found again
once what is missing has come. Nothing here knows Redis, a clock or the store.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple, TypeAlias

from crc32c import crc32c

from eir.errors import FeedMessageError
from eir.feed.message import Begin, Cause, Chunk, Commit, Heartbeat, Message, decode

CHECKED_BYTES: Final = 256
SKIPPED_MAX: Final = 256
"""Transfers that are passed over and remembered, so that their chunks are not counted as orphans."""
AHEAD_MAX: Final = 4096
"""Deltas further ahead whose place is remembered."""


class FeedState(StrEnum):
    """How following a stream goes."""

    CONNECTING = "connecting"
    """No server answers."""
    FOLLOWING = "following"
    """Every delta of the stream is applied as it comes."""
    WAITING = "waiting"
    """The tables cannot take a delta now; it is tried again."""
    SNAPSHOT = "snapshot"
    """The stream does not hold the delta that comes next: that one is needed, or a snapshot."""
    REFUSED = "refused"
    """The delta that comes next was refused; the feed stands before it."""


class Place(NamedTuple):
    """An entry of a stream, by its id and a checksum by which it is known again; 0 where it was not read."""

    id: str
    checksum: int = 0


START: Final = Place("0-0")
"""The place before every entry."""


class Entry(NamedTuple):
    """One entry of a stream: its id, and alternating names and values."""

    id: str
    fields: list[bytes]

    @property
    def place(self) -> Place:
        """Where it is; of a large field the beginning is enough to know it by."""
        checksum = 1
        for text in self.fields:
            checksum = crc32c(text[:CHECKED_BYTES], crc32c(len(text).to_bytes(8, "little"), checksum))
        return Place(self.id, checksum or 1)


@dataclass(frozen=True)
class Bounds:
    """What a transfer may hold; the same as of a pushed delta."""

    chunk_bytes_max: int = 4 << 20
    delta_bytes_max: int = 4 << 30
    transfers_max: int = 4


@dataclass
class Transfer:
    """A delta on its way; `before` is the place from which its begin is read again."""

    begin: Begin
    before: Place
    next_index: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class Refused:
    """The delta before which the feed stands, and why."""

    sequence: int
    reason: str
    message: str
    before: Place


# What the consumer is to do.


class Nothing(NamedTuple):
    """Read on; a repeat is counted as one."""

    repeat: bool = False


class Refuse(NamedTuple):
    """Count a refusal by its cause; give up a transfer, if one is named."""

    cause: str
    message: str
    transfer: str = ""


class Open(NamedTuple):
    """Begin a delta, giving up the transfer whose place it takes, if any."""

    begin: Begin
    instead_of: str = ""


class Take(NamedTuple):
    """Make a chunk durable."""

    chunk: Chunk


class Finish(NamedTuple):
    """Commit a delta."""

    begin: Begin
    commit: Commit


class Compare(NamedTuple):
    """Hold the commit of a delta that was applied before against what was applied."""

    begin: Begin
    commit: Commit


class Complete(NamedTuple):
    """Note until when the feed is complete."""

    sequence: int
    complete_until: int


class Gap(NamedTuple):
    """What comes next is not in the stream; `fresh` once for each place where that happens."""

    message: str
    fresh: bool


class Rescan(NamedTuple):
    """Read the stream again from its first entry: what comes next may be there."""


Action: TypeAlias = Nothing | Refuse | Open | Take | Finish | Compare | Complete | Gap | Rescan


@dataclass
class Follower:
    """Where one feed is in its stream, and what the next message means there."""

    feed: str
    bounds: Bounds = field(default_factory=Bounds)
    position: int = 0
    """Sequence of the last delta applied."""
    cursor: Place = START
    """The last entry read."""
    resume: Place = START
    """The entry after which a new process reads on."""
    gap: str = ""
    """What is missing, as people read it."""
    refused: Refused | None = None
    seen_sequence: int = 0
    """Largest sequence that a commit or a heartbeat named since the start."""
    whole: bool = True
    """Everything that the stream held was seen since the start."""
    _open: dict[str, Transfer] = field(default_factory=dict)
    _skipped: OrderedDict[str, Begin | None] = field(default_factory=OrderedDict)
    _ahead: dict[int, Place] = field(default_factory=dict)
    _gap_position: int = -1
    _accepted: int = 0

    # -- where to read ----------------------------------------------------------------------------

    def start(self, position: int, resume: Place) -> list[str]:
        """Read on after `resume`, the feed standing at `position`; return the transfers given up."""
        self.position, self.cursor = position, resume
        self.whole = resume == START
        return self._drop(self._open)

    def rescan(self) -> list[str]:
        """Read from the first entry; return the transfers given up."""
        return self.start(self.position, START)

    def rewind(self) -> list[str]:
        """Read again what was not finished; return the transfers given up."""
        self.cursor = self.resume
        return self._drop(self._open)

    def _drop(self, names: dict[str, Transfer] | list[str]) -> list[str]:
        dropped = list(names)
        for name in dropped:
            self._open.pop(name, None)
        return dropped

    def _settle(self) -> None:
        """Move the resume point up to what is finished."""
        if not self.gap and self.refused is None:
            self.resume = next((transfer.before for transfer in self._open.values()), self.cursor)

    @property
    def state(self) -> FeedState:
        """How following goes, the connection aside."""
        if self.refused is not None:
            return FeedState.REFUSED
        return FeedState.SNAPSHOT if self.gap else FeedState.FOLLOWING

    @property
    def message(self) -> str:
        """What is wrong; empty while nothing is."""
        return self.refused.message if self.refused is not None else self.gap

    # -- messages ---------------------------------------------------------------------------------

    def take(self, entry: Entry) -> Action:
        """Say what the next entry asks for."""
        before, self.cursor = self.cursor, entry.place
        try:
            action = self._message(decode(entry.fields, self.feed), before)
        except FeedMessageError as error:
            action = Refuse(error.cause, error.message)
        self._settle()
        return action

    def oversized(self, entry_id: str) -> Refuse:
        """Pass over an entry that is too large to be read."""
        self.cursor = Place(entry_id)
        self._settle()
        return Refuse(Cause.MESSAGE_SIZE, "an entry larger than a message may be")

    def _message(self, message: Message, before: Place) -> Action:
        match message:
            case Begin():
                return self._begin(message, before)
            case Chunk():
                return self._chunk(message)
            case Commit():
                return self._commit(message)
            case Heartbeat():
                return self._heartbeat(message)

    def _begin(self, begin: Begin, before: Place) -> Action:
        name = begin.transfer
        if name in self._open and self._open[name].begin == begin:
            return Nothing(repeat=True)
        if begin.sequence <= self.position:
            self._skip(name, begin)
            return Nothing(repeat=True)
        if begin.base_sequence == self.position:
            instead_of = name if name in self._open else ""
            if not instead_of and len(self._open) >= self.bounds.transfers_max:
                instead_of = next(iter(self._open))
                self._skip(instead_of, None)
            self._drop([instead_of])
            self._open[name] = Transfer(begin, before)
            self._skipped.pop(name, None)
            return Open(begin, instead_of)
        self._skip(name, None)
        if begin.base_sequence > self.position:
            self._remember(begin.base_sequence, before)
            return self._missing(f"builds on {begin.base_sequence}")
        return self._missing(
            f"has sequence {begin.sequence} and builds on {begin.base_sequence}, further back"
        )

    def _remember(self, base_sequence: int, before: Place) -> None:
        self._ahead.setdefault(base_sequence, before)
        if len(self._ahead) > AHEAD_MAX:
            del self._ahead[max(self._ahead)]
            self.whole = False

    def _missing(self, what: str) -> Action:
        """Say that what comes next is missing, once the whole stream was looked through for it."""
        if self.refused is not None:
            return Nothing()
        if not self.whole:
            return Rescan()
        fresh, self._gap_position = self._gap_position != self.position, self.position
        self.gap = (
            f"the feed stands at sequence {self.position}, and the stream does not hold what comes next:"
            f" a message {what}"
        )
        return Gap(self.gap, fresh)

    def _chunk(self, chunk: Chunk) -> Action:
        transfer = self._open.get(chunk.transfer)
        if transfer is None:
            return self._not_open(chunk)
        if chunk.index < transfer.next_index:
            return Nothing(repeat=True)  # the content hash tells whether it was the same
        if chunk.index > transfer.next_index:
            return self._give_up(
                chunk.transfer,
                Cause.TRANSFER_INCOMPLETE,
                f"chunk {chunk.index} of sequence {chunk.sequence} came where chunk"
                f" {transfer.next_index} was expected",
            )
        transfer.bytes += len(chunk.payload)
        if len(chunk.payload) > self.bounds.chunk_bytes_max or transfer.bytes > self.bounds.delta_bytes_max:
            return self._give_up(
                chunk.transfer, Cause.MESSAGE_SIZE, f"the payloads of sequence {chunk.sequence} are too large"
            )
        transfer.next_index += 1
        return Take(chunk)

    def _commit(self, commit: Commit) -> Action:
        self.seen_sequence = max(self.seen_sequence, commit.sequence)
        transfer = self._open.get(commit.transfer)
        if transfer is None:
            begin = self._skipped.get(commit.transfer)
            if begin is not None and begin.sequence == commit.sequence:
                return Compare(begin, commit)
            return self._not_open(commit)
        if commit.chunk_count != transfer.next_index or commit.sequence != transfer.begin.sequence:
            return self._give_up(
                commit.transfer,
                Cause.TRANSFER_INCOMPLETE,
                f"sequence {commit.sequence} was committed with {commit.chunk_count} chunks;"
                f" {transfer.next_index} of sequence {transfer.begin.sequence} came",
            )
        return Finish(transfer.begin, commit)

    def _heartbeat(self, heartbeat: Heartbeat) -> Action:
        self.seen_sequence = max(self.seen_sequence, heartbeat.sequence)
        if heartbeat.sequence > self.position:
            return self._missing(f"says that the feed is at {heartbeat.sequence}")
        if heartbeat.sequence < self.position:
            return Nothing(repeat=True)
        self.gap = ""  # the registry stands where we do
        return Complete(heartbeat.sequence, heartbeat.complete_until)

    def _not_open(self, message: Chunk | Commit) -> Action:
        if message.transfer in self._skipped or message.sequence <= self.position:
            return Nothing(repeat=message.sequence <= self.position)
        return Refuse(
            Cause.TRANSFER_UNKNOWN,
            f"a {type(message).__name__.lower()} of sequence {message.sequence} without begin",
        )

    def _give_up(self, transfer: str, cause: Cause, message: str) -> Refuse:
        self._drop([transfer])
        self._skip(transfer, None)
        return Refuse(cause, message, transfer)

    def _skip(self, transfer: str, begin: Begin | None) -> None:
        self._skipped[transfer] = begin
        self._skipped.move_to_end(transfer)
        if len(self._skipped) > SKIPPED_MAX:
            self._skipped.popitem(last=False)

    # -- what came of it --------------------------------------------------------------------------

    def begin_of(self, transfer: str) -> Begin:
        """Begin of a transfer that is on its way."""
        return self._open[transfer].begin

    def overrides(self, begin: Begin) -> bool:
        """Tell whether an operator accepted this delta as it is."""
        return begin.sequence == self._accepted

    def applied(self, transfer: str, sequence: int) -> list[str]:
        """Note that a delta was applied; return the other transfers, which build on what is past."""
        begin = self._open[transfer].begin
        self._drop([transfer])
        self._skip(transfer, begin)
        return self.moved(sequence)

    def moved(self, position: int) -> list[str]:
        """Note that the feed stands elsewhere, whoever brought it there; return the transfers given up."""
        self.position, self.gap, self.refused, self._accepted = position, "", None, 0
        past = [name for name, transfer in self._open.items() if transfer.begin.base_sequence != position]
        for name in past:
            self._skip(name, None)
        self._drop(past)
        self._ahead = {base: before for base, before in self._ahead.items() if base >= position}
        self.cursor = self._ahead.pop(position, self.cursor)
        self._settle()
        return past

    def refuse(self, transfer: str, reason: str, message: str) -> None:
        """Note that a delta was refused: the feed stops before it."""
        refused = self._open[transfer]
        self._drop([transfer])
        self._skip(transfer, None)
        self.resume = min((refused.before, self.resume), key=order)
        self.refused = Refused(
            refused.begin.sequence,
            reason,
            f"sequence {refused.begin.sequence} was refused: {message} ({reason})",
            refused.before,
        )
        self._accepted = 0

    def accept(self, sequence: int) -> bool:
        """Read a refused delta again, to apply it as it is; tells whether the feed stands before that one."""
        if self.refused is None or self.refused.sequence != sequence:
            return False
        self.cursor, self.refused, self._accepted = self.refused.before, None, sequence
        return True


def order(place: Place) -> tuple[int, int]:
    """Key by which places in a stream are in order."""
    milliseconds, _, number = place.id.partition("-")
    return int(milliseconds), int(number or 0)
