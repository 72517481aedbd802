"""Folding overlays into shards: merging, splitting, names, and the child process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from segment_samples import Model, columns, exempt, key_of, overlay, random_model, raw_rows

from eir.whitelist import rebuild, segment, shard_decode, shard_rows
from eir.whitelist.files import FileLayer
from eir.whitelist.items import REGISTERED, Item
from eir.whitelist.overlay import Overlay, Table
from eir.whitelist.rebuild import TAC_END, Job, Writer
from eir.whitelist.shard import Shard
from eir.whitelist.tables import Common

TACS = [35_000_001, 35_000_002, 86_123_456]


def as_model(rows: shard_rows.ShardRows) -> Model:
    """Columns as dicts."""
    out = Model()
    for place, (key, head) in enumerate(zip(rows.keys.key.tolist(), rows.keys.head.tolist(), strict=True)):
        out.rows[key] = (head, tuple(rows.keys.extra.run(place).tolist()))
    ranges = rows.ranges
    parts = (ranges.tac, ranges.first, ranges.last, ranges.cause, ranges.authority)
    out.ranges = set(zip(*(part.tolist() for part in parts), strict=True))
    for key, other in zip(rows.links.key.tolist(), rows.links.other.tolist(), strict=True):
        out.links.setdefault(key, set()).add(other)
    return out


@pytest.mark.parametrize("seed", range(5))
def test_rows_of_the_overlay_replace_those_below_and_empty_ones_leave(seed: int) -> None:
    random = Random(seed)
    base, newer = random_model(random, TACS, 80), random_model(random, TACS[:2], 30)
    for key in random.sample(sorted(base.rows), min(9, len(base.rows))):
        newer.rows[key] = (0, ())
    for key in random.sample(sorted(base.links), min(5, len(base.links))):
        newer.links[key] = set()
    told = {TACS[1], *(tac for tac, *_ in newer.ranges)}
    merged = as_model(rebuild.merge(base.shard_rows(), overlay(newer, {}, told), 0, TAC_END - 1))
    rows = base.rows | newer.rows
    assert merged.rows == {key: row for key, row in rows.items() if row != (0, ())}
    links = base.links | newer.links
    assert merged.links == {key: others for key, others in links.items() if others}
    assert merged.ranges == {piece for piece in base.ranges if piece[0] not in told} | newer.ranges


def test_only_the_rows_of_its_tacs_come_into_a_shard() -> None:
    newer = Model({key_of(tac, 1): (REGISTERED, ()) for tac in TACS})
    merged = rebuild.merge(rebuild.empty_rows(), overlay(newer, {}, set()), TACS[1], TACS[2] - 1)
    assert merged.keys.key.tolist() == [key_of(TACS[1], 1)]
    cut = rebuild.slice_tacs(newer.shard_rows(), TACS[0], TACS[1])
    assert cut.keys.key.tolist() == [key_of(TACS[0], 1), key_of(TACS[1], 1)]


def test_a_shard_of_many_keys_is_split_between_tacs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuild, "SHARD_KEYS_MAX", 100)
    monkeypatch.setattr(rebuild, "SHARD_KEYS_TARGET", 60)
    model = Model({key_of(tac, serial): (REGISTERED, ()) for tac in range(10, 20) for serial in range(30)})
    model.ranges = {(12, 0, 5, 0, 0), (19, 0, 5, 0, 0)}
    writer = Writer(tmp_path, FileLayer(), 7, model.blocks(), 3)
    writer.shards(model.shard_rows(), 5, 99)
    spans = [(file.first_tac, file.last_tac) for file in writer.written]
    assert (spans[0][0], spans[-1][1]) == (5, 99)
    assert all(one[1] + 1 == two[0] for one, two in pairwise(spans))
    assert len(spans) == 5
    found = Model()
    for file in writer.written:
        assert file.name == f"shard-{file.first_tac:08d}-000000000007-000003.seg"
        assert (tmp_path / rebuild.index_name(file.name)).exists()
        loaded = segment.load(tmp_path / file.name)
        assert (loaded.crc32c, loaded.serial, loaded.total_bytes) == (file.crc32c, 7, file.bytes)
        part = as_model(shard_decode.decode(Shard(loaded, writer.blocks)))
        found.rows |= part.rows
        found.ranges |= part.ranges
    assert (found.rows, found.ranges) == (model.rows, model.ranges)


def test_one_tac_of_very_many_keys_stays_one_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuild, "SHARD_KEYS_MAX", 10)
    monkeypatch.setattr(rebuild, "SHARD_KEYS_TARGET", 5)
    model = Model({key_of(7, serial): (REGISTERED, ()) for serial in range(50)})
    writer = Writer(tmp_path, FileLayer(), 1, model.blocks())
    writer.shards(model.shard_rows(), 7, 7)
    assert [(file.first_tac, file.last_tac) for file in writer.written] == [(7, 7)]


def test_the_common_tables_merge_as_the_rest_does() -> None:
    one, two = exempt(Item.EXEMPT_IMSI, 4, 5), exempt(Item.EXEMPT_IMSI, 4, 6)
    older = Overlay.of(
        {
            Table.RAW: columns(raw_rows({"0F": (REGISTERED, ()), "1F": (REGISTERED, ())})),
            Table.IMSI: columns({5: (0, (one,)), 6: (0, (one,))}),
            Table.TACS: columns({1: (3, ()), 2: (4, ())}),
        }
    )
    newer = Overlay.of(
        {
            Table.RAW: columns(raw_rows({"1F": (0, ())})),
            Table.IMSI: columns({5: (0, ()), 6: (0, (two,))}),
            Table.TACS: columns({1: (0, ()), 3: (5, ())}),
        }
    )
    common = Common(rebuild.merge_common(Common.empty(), older), Common.empty().blocks)
    merged = rebuild.merge_common(common, newer)
    assert len(merged[Table.RAW].columns()) == 1
    left = merged[Table.IMSI].columns()
    assert (left.keys.tolist(), left.extra.words.tolist()) == ([6], [two])
    left = merged[Table.TACS].columns()
    assert (left.keys.tolist(), left.heads.tolist()) == ([2, 3], [4, 5])


def test_the_edition_is_in_the_name() -> None:
    assert rebuild.edition_of("shard-35000001-000000000007-000012.seg") == 12
    assert rebuild.edition_of("common-000000000007-000003.seg") == 3
    assert rebuild.overlay_name(7, 12) == "overlay-000000000007-000012.seg"


def child(tmp_path: Path, **job: object) -> subprocess.CompletedProcess[str]:
    """Run a job in a process of its own."""
    model = Model({key_of(35_000_001, 1): (REGISTERED, ())})
    FileLayer().write(tmp_path / "overlay.seg", overlay(model, {}, set()).image(4))
    path = tmp_path / "job.json"
    path.write_text(
        json.dumps(asdict(Job(str(tmp_path), 4, "overlay.seg", None, edition=2, is_first=True)) | job)
    )
    line = [sys.executable, "-m", "eir.whitelist.rebuild", str(path)]
    return subprocess.run(line, capture_output=True, text=True, timeout=60)


def test_a_child_prints_what_it_wrote(tmp_path: Path) -> None:
    done = child(tmp_path, parent=os.getpid())
    assert (done.returncode, done.stderr) == (0, "")
    written = json.loads(done.stdout)
    assert [(file["kind"], file["serial"], file["first_tac"], file["last_tac"]) for file in written] == [
        ("shard", 4, 0, TAC_END - 1),
        ("common", 4, 0, TAC_END - 1),
    ]
    assert all((tmp_path / file["name"]).stat().st_size == file["bytes"] for file in written)


def test_a_child_whose_daemon_is_gone_writes_nothing(tmp_path: Path) -> None:
    done = child(tmp_path, parent=1 << 30)
    assert done.returncode
    assert "is gone" in done.stderr
    assert not list(tmp_path.glob("shard-*"))


def test_a_child_whose_source_is_damaged_fails(tmp_path: Path) -> None:
    done = child(tmp_path, shards=["gone.seg"])
    assert done.returncode
    assert "gone.seg" in done.stderr.splitlines()[-1]
