"""docs/api.md has every RPC, every field, every status code and every reason."""

import inspect
import re
import tempfile
from collections.abc import Iterator
from importlib.resources import files as files_of_package
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2
from grpc_tools import protoc

from eir import errors
from eir.interceptors import code_of
from eir.whitelist.delta import RowReason
from tests.unit.test_interceptors import ERRORS, made

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "api.md"
FILES = ("check", "sync", "enforcement", "policy", "inquiry", "notice", "group")
TYPES = {
    value: name.removeprefix("TYPE_").lower()
    for name, value in descriptor_pb2.FieldDescriptorProto.Type.items()
}
FATAL_ONLY = (errors.FatalError,)
"""Errors that end the daemon: they have an exit code, and no client sees them."""


def described() -> descriptor_pb2.FileDescriptorSet:
    """The protos with their comments."""
    found = descriptor_pb2.FileDescriptorSet()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set.binpb"
        files = [f"{ROOT}/eir/proto/{name}.proto" for name in FILES]
        folders = [f"-I{ROOT}", f"-I{files_of_package('grpc_tools')}/_proto"]
        line = ["", *folders, f"--descriptor_set_out={out}", "--include_source_info", *files]
        assert protoc.main(line) == 0
        found.ParseFromString(out.read_bytes())
    return found


def comments(file: descriptor_pb2.FileDescriptorProto) -> dict[tuple[int, ...], str]:
    """Comments by path, each on one line."""
    return {
        tuple(location.path): " ".join(location.leading_comments.split())
        for location in file.source_code_info.location
    }


def fields(
    message: descriptor_pb2.DescriptorProto, path: tuple[int, ...], said: dict[tuple[int, ...], str]
) -> Iterator[str]:
    for index, field in enumerate(message.field):
        kind = field.type_name.rpartition(".")[2] or TYPES[field.type]
        if field.label == field.LABEL_REPEATED:
            kind = f"repeated {kind}"
        yield f"| `{field.name}` | {field.number} | {kind} | {said[*path, 2, index]} |"


def rows() -> list[str]:
    """Every table row of the page that the code decides, in order."""
    out: list[str] = []
    for file in described().file:
        said = comments(file)
        for place, service in enumerate(file.service):
            out.append(f"## `{service.name}`")
            for index, method in enumerate(service.method):
                kinds = {
                    (False, False): "unary",
                    (False, True): "server stream",
                    (True, True): "bidirectional stream",
                }
                kind = kinds[method.client_streaming, method.server_streaming]
                text = said[(6, place, 2, index)]
                out.append(f"| `{method.name}` | {kind} | {text} |")
        for place, message in enumerate(file.message_type):
            if message.field:
                out.append(f"### `{message.name}`")
                out += fields(message, (4, place), said)
        for place, enum in enumerate(file.enum_type):
            out.append(f"### `{enum.name}`")
            for index, value in enumerate(enum.value):
                text = re.sub(rf"^{value.name}:? ?", "", said[(5, place, 2, index)])
                out.append(f"| `{value.name}` | {value.number} | {text} |")
    return out


def error_rows() -> list[str]:
    seen = [kind for kind in ERRORS if not issubclass(kind, FATAL_ONLY)]
    out = []
    for kind in sorted(seen, key=lambda kind: kind.reason):
        text = (inspect.getdoc(kind) or "").splitlines()[0]
        out.append(f"| `{kind.reason}` | `{code_of(made(kind)).name}` | {text} |")
    return out


def row_reason_rows() -> list[str]:
    """Reasons of bad rows, with the text that stands below each in its class."""
    source = inspect.getsource(RowReason)
    texts = dict(re.findall(r'    ([A-Z_]+) = "[A-Z_]+"\n    """(.*?)"""', source))
    return [f"| `{reason}` | {texts[reason]} |" for reason in RowReason]


def exit_rows() -> list[str]:
    fatal = [kind for kind in ERRORS if issubclass(kind, errors.FatalError)]
    assert all(isinstance(kind, type) for kind in fatal)
    return [
        f"| {kind.exit_code} | `{kind.reason}` | {(inspect.getdoc(kind) or '').splitlines()[0]} |"
        for kind in sorted(fatal, key=lambda kind: kind.exit_code)
    ]


def all_rows() -> list[str]:
    return [*rows(), *error_rows(), *row_reason_rows(), *exit_rows()]


@pytest.mark.parametrize("part", [rows, error_rows, row_reason_rows, exit_rows])
def test_the_page_has_every_row_of_the_code(part: object) -> None:
    assert callable(part)
    lines = PAGE.read_text().splitlines()
    wanted = part()
    assert wanted
    assert [row for row in wanted if row not in lines] == []


def test_the_page_has_no_row_that_the_code_has_not() -> None:
    lines = PAGE.read_text().splitlines()
    body = [
        line for line in lines if line.startswith(("| `", "### `", "## `")) or re.match(r"\| \d+ \|", line)
    ]
    assert body == all_rows()


def test_all_protos_are_one_go_package() -> None:
    """No generated file then imports another by its path, and users need no M options."""
    protos = [path.read_text() for path in (ROOT / "eir" / "proto").glob("*.proto")]
    options = {re.findall(r'^option go_package = "(.+)";$', text, re.MULTILINE)[0] for text in protos}
    assert options == {"network-eir/eirv1;eirv1"}
    assert "--go_opt=module=network-eir" in PAGE.read_text()
