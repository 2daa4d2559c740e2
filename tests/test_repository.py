"""Promises that the files make about one another."""

import fnmatch
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from conftest import ROOT

PACKAGE = ROOT / "src/carousel"


def repository_files() -> list[Path]:
    """What git tracks; where there is no git, all that .gitignore does not name."""
    try:
        listing = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        listing = ""
    paths = [ROOT / name for name in listing.split("\0") if name] or unignored_files()
    return [path for path in paths if path.is_file()]


def unignored_files() -> list[Path]:
    ignored = [*(ROOT / ".gitignore").read_text().replace("/", "").split(), ".git"]
    return [
        path
        for path in ROOT.rglob("*")
        if not any(
            fnmatch.fnmatch(part, pattern)
            for part in path.relative_to(ROOT).parts
            for pattern in ignored
        )
    ]


FILES = repository_files()
PAGES = [path for path in FILES if path.suffix == ".md"]


def read(*patterns: str) -> str:
    return "\n".join(p.read_text("utf-8") for pattern in patterns for p in ROOT.glob(pattern))


LABEL = re.compile(r"\(([a-z][a-z0-9]*\.\d+)\)")  # such as (lstm.3)
DEFINITION = re.compile(r"^\| \(([a-z][a-z0-9]*\.\d+)\) \|", re.MULTILINE)  # a row of a table
# The map, math/README.md, repeats the labels.
MATH = [path for path in sorted(ROOT.glob("math/**/*.md")) if path.name != "README.md"]
DEFINED = [label for page in MATH for label in DEFINITION.findall(page.read_text("utf-8"))]
# What is derived from them, a displayed formula: no code computes it but the block that checks it.
DERIVED = re.findall(
    r"^\*\*\(([a-z][a-z0-9]*\.\d+)\)\*\*", read("math/**/*.md", "notes/**/*.md"), re.MULTILINE
)
# What equations are for: the ops, the update rules, and how sentences are chosen.
OPS = {
    path.name: path.read_text("utf-8")
    for path in (
        *sorted((PACKAGE / "ops").glob("[a-z]*.py")),
        PACKAGE / "generation/sentence_best_of.py",
        PACKAGE / "training/optimizers.py",
    )
}
TABLES = [page for page in MATH if DEFINITION.search(page.read_text("utf-8"))]


def test_every_equation_cited_is_defined() -> None:
    cited = set(LABEL.findall(read("src/**/*.py", "math/**/*.md", "notes/**/*.md")))
    assert cited - {*DEFINED, *DERIVED} == set()


def test_every_equation_defined_is_cited_by_an_op() -> None:
    assert len(DEFINED) >= 80, "the pattern finds too little"
    assert set(DEFINED) - set(LABEL.findall("".join(OPS.values()))) == set()


def derivations(op: str) -> set[Path]:
    """The pages that an op's first lines name."""
    named = re.findall(r"math/[\w/]+\.md", OPS[op].split('"""')[1])
    return {ROOT / name for name in named}


@pytest.mark.parametrize("op", OPS)
def test_an_op_cites_the_equations_of_the_pages_it_names_and_no_others(op: str) -> None:
    assert derivations(op)
    defined = {label for page in derivations(op) for label in definitions(page)}
    cited = set(LABEL.findall(OPS[op]))
    assert cited
    assert cited - defined == set()


@pytest.mark.parametrize("page", TABLES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_names_the_ops_that_name_it_and_they_cite_all_of_its_equations(page: Path) -> None:
    text = page.read_text("utf-8")
    (code,) = re.findall(r"^Code: .*$", text, re.MULTILINE)
    linked = set(re.findall(r"/src/carousel/(?:ops|generation|training)/(\w+\.py)\)", code))
    naming = {op for op in OPS if page in derivations(op)}
    assert naming == linked
    cited = {label for op in naming for label in LABEL.findall(OPS[op])}
    assert set(definitions(page)) - cited == set()
    assert definitions(page)


def definitions(page: Path) -> list[str]:
    return DEFINITION.findall(page.read_text("utf-8"))


def test_no_equation_is_defined_twice() -> None:
    assert [label for label, n in Counter([*DEFINED, *DERIVED]).items() if n > 1] == []


def test_equations_are_numbered_from_one_without_gap() -> None:
    numbers: dict[str, list[int]] = {}
    for topic, number in (label.split(".") for label in [*DEFINED, *DERIVED]):
        numbers.setdefault(topic, []).append(int(number))
    assert all(n == list(range(1, len(n) + 1)) for n in numbers.values()), numbers


def broken_links(page: Path) -> list[str]:
    """The relative links of a page of Markdown that lead nowhere."""
    prose = without_code(page.read_text("utf-8"))
    links = re.findall(r"\]\(([^()\s]+)(?: \"[^\"]*\")?\)", prose)
    links += re.findall(r"^\[[^\]]+\]: (\S+)", prose, re.MULTILINE)
    links += re.findall(r"<(?:a|img)\s[^>]*(?:href|src)=\"([^\"]+)\"", prose)
    return [link for link in links if not re.match(r"[a-z]+:", link) and not leads(page, link)]


def leads(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    if anchor and target.suffix == ".md":
        return target.is_file() and anchor in anchors(target.read_text("utf-8"))
    return target.exists()


def anchors(text: str) -> set[str]:
    """The names GitHub gives the headings: lower case, hyphens for spaces, -1 for a second one."""
    seen: Counter[str] = Counter()
    names = set()
    for title in re.findall(r"^#{1,6} +(.+?)(?: +#+)?$", without_code(text, inline=False), re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).lower()
        name = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        names.add(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return names


def without_code(text: str, *, inline: bool = True) -> str:
    prose = re.sub(r"^(```+|~~~+).*?^\1", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", "", prose) if inline else prose


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page) == []


def test_the_reader_of_links(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# One `two`: three\n## Same\n## Same\n```\n# no heading\n```\n")
    good = ["a.md", "a.md#one-two-three", "a.md#same-1", "#here", "https://example.org/none"]
    bad = ["b.md", "a.md#no-heading", "a.md#same-2", "#there", "folder/"]
    text = "# Here\n```\n[x](none.md)\n```\n`[x](none.md)`\n"
    text += "".join(f'[`code`]({link}) ![image]({link} "title")\n' for link in good + bad)
    (tmp_path / "page.md").write_text(text)
    assert broken_links(tmp_path / "page.md") == [link for link in bad for _ in "ab"]


# Written so that this file does not match itself. Ada is nobody: her home may stand in an example.
PLACE = re.compile(
    rb"(?<![\w.~<>-])/(?:work/|root/|(?:home|Users)/(?!ada\b))"
    rb"|files\.pythonhosted|pypi\.(?:org|python)|registry\.npmjs|(?:deb|security)\.debian\.org"
    rb"|download\.pytorch\.org|conda\.anaconda"
)


def test_no_file_names_a_machine_or_a_registry() -> None:
    found = {str(path.relative_to(ROOT)): set(PLACE.findall(path.read_bytes())) for path in FILES}
    allowed = {"README.md": {b"download.pytorch." + b"org"}}  # where PyTorch's CPU wheels are
    named = {name: places - allowed.get(name, set()) for name, places in found.items()}
    assert {name: places for name, places in named.items() if places} == {}


def test_the_reader_of_places() -> None:
    for place in ("/ro" + "ot/x", '"/ho' + 'me/me/text.txt"', "https://py" + "pi.org/simple"):
        assert PLACE.search(place.encode()), place
    for text in ("net/wo" + "rk/x", "../shared/corpora", "~/ho" + "me/x", "PyPI"):
        assert not PLACE.search(text.encode()), text


ROOMS = {path.parent.name for path in PACKAGE.glob("*/*") if path.suffix in (".py", ".md")}


def test_every_room_stands_in_the_architecture() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    assert {room for room in ROOMS if f"`{room}/`" not in page} == set()


def test_the_map_in_the_docs_is_the_disk() -> None:
    """Its folders are those of the repository and the rooms of the package; its files exist."""
    page = (ROOT / "docs/map.md").read_text("utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (block,) = [block for block in blocks if re.search(r"^src/carousel/ ", block, re.MULTILINE)]
    entries, parent = set(), ""
    for line in block.splitlines():
        indent, names = re.match(r"( *)(.*?)(?:  |$)", line).groups()
        parent = parent if indent else names
        entries |= {parent + name if indent else name for name in re.split(r"[ ,]+", names)}
    assert {entry for entry in entries if not (ROOT / entry).exists()} == set()
    tops = {path.relative_to(ROOT).parts[0] for path in FILES if path.parent != ROOT}
    shown = {top for top in tops if not top.startswith(".")}
    assert {entry.split("/")[0] for entry in entries if "/" in entry} - {".ci"} == shown
    rooms = {e.split("/")[2] for e in entries if re.fullmatch(r"src/carousel/\w+/", e)}
    assert rooms == ROOMS


@pytest.mark.parametrize(
    "module",
    [
        "carousel",
        "carousel.models.config",
        "carousel.models.families",
        "carousel.training.config",
        "carousel.generation.config",
    ],
)
def test_importing_brings_no_torch(module: str) -> None:
    """Else `carousel --help` would take seconds."""
    program = f"import sys, {module}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("False\n", "")
