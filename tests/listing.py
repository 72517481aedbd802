"""`eir import` on a data directory of the test's own."""

import json
from pathlib import Path

from click.testing import CliRunner

from eir.cli import main
from eir.whitelist import view
from eir.whitelist.items import CODE_MASK, REGISTERED, Item, unpack

NOBODY = "127.0.0.1:1"
"""An address where no daemon is."""


class Importer:
    """Imports into a directory, and says what is there then."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self.count = 0

    def file(self, content: str | bytes) -> Path:
        """A list with this content."""
        self.count += 1
        path = self.folder / f"list-{self.count}.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def run(self, *words: object, code: int | None = 0) -> list[dict]:
        """Import with these words; what JSON says."""
        line = ["import", *map(str, words), "--json", "--create", "--data-dir", str(self.data_dir)]
        result = CliRunner().invoke(main, [*line, "--address", NOBODY], env={})
        assert code is None or result.exit_code == code, result.output + result.stderr
        return json.loads(result.stdout)

    def take(self, content: str | bytes, *words: object, code: int | None = 0) -> dict:
        """Import a list with this content."""
        return self.run(self.file(content), *words, code=code)[0]

    @property
    def tables(self) -> view.View:
        """The tables as they are now."""
        return view.read(self.data_dir)

    def row(self, imei: int | str) -> tuple[bool, int, set[tuple[int, int]]]:
        """Of an IMEI: registered, owner, and items as (kind, subject)."""
        generation = self.tables.generation
        head, words = generation.key_row(imei) if isinstance(imei, int) else generation.raw_row(imei)
        items = {(kind, subject) for kind, subject, _ in unpack(words)} if words else set()
        return bool(head & REGISTERED), head & CODE_MASK, items

    def sims(self, imei: int | str) -> list[int]:
        """Owner and utilizers of an IMEI, as the last digits of their IMSIs."""
        _, owner, items = self.row(imei)
        utilizers = sorted(subject for kind, subject in items if kind == Item.UTILIZER)
        return [code % 1000 for code in ([owner] if owner else []) + utilizers]
