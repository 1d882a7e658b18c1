"""The documents are true: settings, instruments, errors, frames, modules, links and examples, held to the code.

No service is started here. Examples of JSON must be what the models take; that they were received is up to who writes.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args, get_origin

import annotated_types
import pytest
from prometheus_client import Counter, Gauge, Histogram
from pydantic.fields import FieldInfo

from realtime import Realtime, errors, metrics
from realtime.core.connection.session import Limits
from realtime.core.mql.filters import Bounds
from realtime.core.wire import closing, protocol
from realtime.core.wire.protocol import CLIENT_FRAMES, ServerFrame
from realtime.settings import ENV_PREFIX, OPTIONS, Settings, default_data_dir

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
PROSE = [*PAGES, ROOT / "findings" / "README.md", ROOT / "realtime" / "web" / "static" / "realtime" / "README.md"]
OURS = ("protocol", "operators", "architecture", "faults", "settings", "operations")

PATTERNS = {
    "database": (r'^[^/\\. "$\x00]+$', 'none of `/ \\ . " $`, no space, no NUL'),
    "epoch": (r"^[0-9A-F]{8}$", "8 upper-case hexadecimal digits"),
}
"""Settings with a pattern, and the words that stand for it. Another pattern needs other words."""


def read(name: str) -> str:
    return (DOCS / f"{name}.md").read_text()


def section(text: str, heading: str) -> str:
    """What stands below a heading, up to the next one of its level or above."""
    level = heading.split(maxsplit=1)[0]
    found = re.search(rf"^{re.escape(heading)}\n(.*?)(?=^#{{1,{len(level)}}} |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None, f"no heading {heading!r}"
    return found[1]


def rows(text: str, header: str) -> list[list[str]]:
    """The cells of the table whose first line is `header`, without that line."""
    lines = text.splitlines()
    start = lines.index(header) + 2
    table = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip("|").split(" |")])
    return table


def unquoted(cell: str) -> str:
    """A cell that is one code span, without its marks."""
    assert re.fullmatch(r"`[^`]+`", cell), f"{cell!r} is no code span"
    return cell.strip("`")


# ------------------------------------------------------------------------------------------------------------ settings

SETTINGS_HEADER = "| option | variable | default | range | meaning |"


def default_of(field: FieldInfo) -> str:
    if field.default_factory is default_data_dir:
        return f"`{default_data_dir()}`".replace(str(Path.home()), "~")
    value = field.default
    if value is None:
        return "none"
    if value == ():
        return "empty"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def range_of(name: str, field: FieldInfo) -> str:
    """The range of a setting in the words of the table."""
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(field.annotation))
    found: dict[type[Any], Any] = {type(bound): bound for bound in field.metadata}
    low = found[annotated_types.Ge].ge if annotated_types.Ge in found else None
    high = found[annotated_types.Le].le if annotated_types.Le in found else None
    unit = ""
    if annotated_types.MinLen in found:
        low, unit = found[annotated_types.MinLen].min_length, " characters"
        high = found[annotated_types.MaxLen].max_length if annotated_types.MaxLen in found else None
    words = []
    if low is not None:
        unit = unit.removesuffix("s") if high is None and low == 1 else unit
        words.append(f"at least {low}{unit}" if high is None else f"{low} to {high}{unit}")
    patterns = [bound.pattern for bound in field.metadata if getattr(bound, "pattern", None) is not None]
    if patterns:
        pattern, shown = PATTERNS[name]
        assert patterns == [pattern], f"the pattern of {name} is another one: the page needs other words"
        words.append(shown)
    return ", ".join(words)


def test_the_settings_table_has_every_field_with_its_option_default_and_range() -> None:
    fields = Settings.model_fields
    table = rows(read("settings"), SETTINGS_HEADER)
    wanted = [
        [
            f"`--{name.replace('_', '-')}`" if name in OPTIONS else "",
            f"`{ENV_PREFIX}{name.upper()}`",
            default_of(field),
            range_of(name, field),
        ]
        for name, field in fields.items()
    ]
    assert len(table) >= 25
    assert [row[:4] for row in table] == wanted
    assert [row for row in table if len(row[4]) < 10] == []


def test_the_ranges_of_the_settings_are_read_from_their_bounds() -> None:
    """The test above compares nothing if this finds no bounds."""
    found = {name: range_of(name, field) for name, field in Settings.model_fields.items()}
    assert found["port"] == "0 to 65535"
    assert found["heartbeat_seconds"] == "0.2 to 300"
    assert found["outbox_bytes"] == "at least 1024"
    assert sum(bool(text) for text in found.values()) >= 20


# ------------------------------------------------------------------------------------------------------------- metrics


def test_the_metrics_table_has_every_instrument_with_its_type_and_labels() -> None:
    instruments = [value for value in vars(metrics).values() if isinstance(value, Counter | Gauge | Histogram)]
    wanted = [
        [
            f"`{instrument._name}{'_total' if isinstance(instrument, Counter) else ''}`",
            instrument._type,
            ", ".join(f"`{label}`" for label in instrument._labelnames),
        ]
        for instrument in instruments
    ]
    table = rows(read("operations"), "| name | type | labels | meaning |")
    assert len(wanted) >= 10
    assert sorted(row[:3] for row in table) == sorted(wanted)
    assert [row for row in table if len(row[3]) < 10] == []


# -------------------------------------------------------------------------------------------------------------- errors


def kinds(base: type[errors.ServiceError]) -> Iterator[type[errors.ServiceError]]:
    for kind in base.__subclasses__():
        yield kind
        yield from kinds(kind)


def test_the_error_table_has_every_code_with_its_status_and_retry() -> None:
    found = {kind for kind in kinds(errors.ServiceError) if kind.__module__ == errors.__name__}
    wanted = sorted([f"`{kind.code}`", str(kind.status), "yes" if kind.retry else "no"] for kind in found)
    table = rows(read("protocol"), "| code | HTTP | retry | when | for example |")
    assert len(wanted) >= 20
    assert sorted(row[:3] for row in table) == wanted
    assert [row for row in table if len(row[3]) < 10] == []


def test_the_close_codes_of_the_code_are_on_the_page() -> None:
    codes = {value for name, value in vars(closing).items() if name.startswith("CLOSE_")}
    table = rows(read("protocol"), "| close code | meaning | reconnect |")
    shown = {int(code) for row in table for code in re.findall(r"\d{4}", row[0])}
    assert len(codes) >= 3
    assert codes <= shown


# -------------------------------------------------------------------------------------------------------------- frames

SERVER_FRAMES: dict[str, type[ServerFrame]] = {
    kind.model_fields["type"].default: kind for kind in ServerFrame.__subclasses__()
}


def shown_fields(text: str, name: str) -> set[str]:
    """The field names that the section of a frame has in code spans, alone or in a list."""
    return set(re.findall(r"`([a-z_]+)`", section(text, f"### `{name}`")))


@pytest.mark.parametrize("name", CLIENT_FRAMES)
def test_every_client_frame_is_described_with_its_fields(name: str) -> None:
    fields = CLIENT_FRAMES[name].model_fields.keys() - {"id", "type"}
    missing = fields - shown_fields(read("protocol"), name)
    assert missing == set()
    assert len(CLIENT_FRAMES) >= 8


@pytest.mark.parametrize("name", SERVER_FRAMES)
def test_every_server_frame_is_described_with_its_fields(name: str) -> None:
    fields = SERVER_FRAMES[name].model_fields.keys() - {"type"}
    missing = fields - shown_fields(read("protocol"), name)
    assert missing == set()
    assert len(SERVER_FRAMES) >= 14


def test_no_frame_is_described_that_is_not_there() -> None:
    text = read("protocol")
    client = re.findall(r"^### `(\w+)`$", section(text, "## 3. Client frames"), re.MULTILINE)
    server = re.findall(r"^### `(\w+)`$", section(text, "## 4. Server frames"), re.MULTILINE)
    assert set(client) == set(CLIENT_FRAMES)
    assert set(server) == set(SERVER_FRAMES)


def blocks(text: str) -> Iterator[str]:
    """What stands in the fences that say `json`."""
    yield from re.findall(r"^```json\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def values(block: str) -> Iterator[tuple[str, Any]]:
    """The JSON values of a block, which may be several, each as its text and itself."""
    decoder = json.JSONDecoder()
    at = 0
    while block[at:].strip():
        at += len(block[at:]) - len(block[at:].lstrip())
        value, end = decoder.raw_decode(block, at)
        yield block[at:end], value
        at = end


EXAMPLES = [example for block in blocks(read("protocol")) for example in values(block)]


def test_the_client_frames_among_the_examples_are_accepted() -> None:
    seen = set()
    for text, value in EXAMPLES:
        if value.get("type") in CLIENT_FRAMES:
            assert protocol.parse(text).id == value["id"]
            seen.add(value["type"])
    assert seen == set(CLIENT_FRAMES), "each has an example"


def test_the_server_frames_among_the_examples_have_the_fields_that_are_sent() -> None:
    seen = set()
    for text, value in EXAMPLES:
        kind = SERVER_FRAMES.get(value.get("type"))
        if kind is not None:
            assert value.keys() <= kind.model_fields.keys(), text
            required = {name for name, field in kind.model_fields.items() if field.is_required()}
            assert required <= value.keys(), text
            seen.add(value["type"])
    assert seen == set(SERVER_FRAMES), "each has an example"


def test_every_example_is_a_frame_or_an_answer_over_http() -> None:
    stray = [
        text
        for text, value in EXAMPLES
        if value.get("type", "about:blank") not in {*CLIENT_FRAMES, *SERVER_FRAMES, "about:blank"}
    ]
    assert stray == []
    assert len(EXAMPLES) >= 30


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_json_block_parses(page: Path) -> None:
    for block in blocks(page.read_text()):
        assert list(values(block))


def test_every_fence_that_is_opened_is_closed() -> None:
    assert {page.name for page in PAGES if len(re.findall(r"^```", page.read_text(), re.MULTILINE)) % 2} == set()
    assert {f"{name}.md" for name in OURS} <= {page.name for page in PAGES}


def test_every_example_of_embedding_has_its_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each by itself, as somebody pastes it; given are the `rt` of the first, and the reader's own `shop.sessions`."""
    theirs = ModuleType("shop.sessions")
    theirs.__dict__["sessions"] = theirs.__dict__["who"] = lambda: None
    monkeypatch.setitem(sys.modules, "shop", ModuleType("shop"))
    monkeypatch.setitem(sys.modules, theirs.__name__, theirs)
    examples = re.findall(r"^```python\n(.*?)^```$", read("embedding"), re.MULTILINE | re.DOTALL)
    assert len(examples) >= 5
    for number, example in enumerate(examples, 1):
        code = compile(example, f"docs/embedding.md, example {number}", "exec", dont_inherit=True)
        exec(code, {"rt": Realtime(Settings(database="shop"))})


def test_the_limits_with_a_name_are_those_of_welcome() -> None:
    page = read("protocol")
    assert "`welcome.limits` has those with a name here" in page
    welcome = next(value for _, value in EXAMPLES if value.get("type") == "welcome")
    shown = [*Limits(1, 2, 3, 4, Bounds()).shown()]
    assert len(shown) == 6
    assert [*welcome["limits"]] == shown
    table = rows(page, "| limit | default | what happens beyond it |")
    assert [row[0] for row in table if re.fullmatch(r"`[a-z_]+`", row[0])] == [f"`{name}`" for name in shown]


# ------------------------------------------------------------------------------------------------------------- modules


def test_every_module_is_named_in_the_architecture() -> None:
    files = [*(ROOT / "realtime").rglob("*.py"), *(ROOT / "realtime" / "web" / "static").rglob("*.js")]
    wanted = {str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts}
    table = rows(read("architecture"), "| path | what it is for |")
    shown = [unquoted(row[0]) for row in table]
    assert len(wanted) >= 40
    assert sorted(shown) == sorted(wanted)
    assert [row for row in table if len(row[1]) < 10] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_that_is_named_exists(page: Path) -> None:
    named = set(re.findall(r"`((?:realtime|tests|docker|docs|\.ci)/[\w./-]*)`", page.read_text()))
    assert {path for path in named if not (ROOT / path).exists()} == set()
    assert named or page.name != "architecture.md"


def test_every_variable_that_is_named_is_read_somewhere() -> None:
    sources = [*(ROOT / "tests").rglob("*.py"), ROOT / "docker" / "compose.yaml"]
    known = {f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields}
    known |= {name for source in sources for name in re.findall(r"REALTIME_[A-Z_]+", source.read_text())}
    named = {name for page in PAGES for name in re.findall(r"REALTIME_[A-Z_]+\b", page.read_text())}
    assert len(named) >= 30
    assert named - known == set()


# --------------------------------------------------------------------------------------------------------------- links


def anchor(heading: str) -> str:
    """The anchor that a forge gives to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def anchors(page: Path) -> set[str]:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return {anchor(heading) for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


def links(page: Path) -> list[str]:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"\]\(([^)\s]+)\)", text)
    return [link for link in found if not re.match(r"[a-z]+:", link)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    broken = []
    for link in links(page):
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        lost = not target.exists() or (fragment and target.suffix == ".md" and fragment not in anchors(target))
        if lost or not target.is_relative_to(ROOT.resolve()):
            broken.append(link)
    assert broken == []


def test_no_line_of_prose_is_over_120_columns() -> None:
    """Tables, code, headings and what `make adversity` writes have lines as long as they are."""
    checked, long = 0, []
    for page in (page for page in PROSE if page.name != "adversity.md"):
        code = False
        for number, line in enumerate(page.read_text().splitlines(), 1):
            code ^= line.lstrip().startswith("```")
            if not code and not line.lstrip().startswith(("|", "#", "<", "```")):
                checked += 1
                long += [f"{page.name}:{number}"] if len(line) > 120 else []
    assert checked > 1000
    assert long == []


def test_there_are_links_to_check() -> None:
    assert sum(len(links(page)) for page in PAGES) >= 20
    assert {"1-promises", "9-not-there-yet", "42-events"} <= anchors(DOCS / "protocol.md")
