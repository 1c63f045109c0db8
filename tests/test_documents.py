"""What the documents tell people to do can be done: commands parse and plan, links lead somewhere."""

import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from seqfinal_jax.config.command_line import FlagParser, read_configuration
from seqfinal_jax.config.parse import parse
from seqfinal_jax.sweeps.sweep import _parser as sweep_parser

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")), *sorted(ROOT.glob("*.md"))]
MAIN = "seqfinal_jax.main"


def commands(page):
    """The commands of a page's shell blocks, a line each, continued lines put together."""
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(), flags=re.S)
    text = "\n".join(blocks).replace("\\\n", " ")
    return [
        line.split("   #")[0].split("  #")[0].strip()
        for line in text.splitlines()
        if "python" in line or line.startswith("seqfinal ")
    ]


def words(line):
    filled = re.sub(r"\$[a-z]\w*|\$\(.*?\)", "1", line.replace("$M", "erm_final"))
    return shlex.split(filled.rstrip("\\ "))


def found(module):
    """(page, arguments) of every command that calls a module."""
    rows = []
    for page in dict.fromkeys(PAGES):
        for line in commands(page):
            if module in line and "<" not in line:
                own = words(line)
                if module in own:
                    rows.append(pytest.param(own[own.index(module) + 1 :], id=f"{page.name}:{line[:90]}"))
    return rows


def given(arguments):
    """The configuration of a command line and its settings; blanks that a reader fills in are filled."""
    config = next(each.removeprefix("--config=") for each in arguments if each.startswith("--config="))
    settings = [each for each in arguments if each.startswith("--config.")]
    return config.replace(":N", ":3"), settings


@pytest.mark.parametrize("arguments", found(MAIN))
def test_commands_of_the_documents_make_configurations(arguments):
    config, settings = given(arguments)
    if "plugins=" in " ".join(settings) or not re.match(r"(configs/)?\w+(\.py)?(:|$)", config):
        pytest.skip("a file of the reader's own")
    made, changed = read_configuration(config, settings)
    parse(made)
    assert len(changed) == len(settings)
    flags = [
        each.split("=")[0] for each in arguments if each.startswith("--") and not each.startswith("--config")
    ]
    assert set(flags) <= {"--workdir", "--data_dir", "--dry_run", "--shard"}


ANALYSIS = [
    "adjacent", "figures", "interpolation", "params", "projection", "report", "steps", "svcca", "tables",
]  # fmt: skip


class Parsed(Exception):
    """Ends a command when its arguments are parsed."""


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        pytest.param(name, *row.values, id=row.id)
        for name in ANALYSIS
        for row in found(f"seqfinal_jax.analysis.{name}")
    ],
)
def test_commands_of_the_analysis_parse(module, arguments, monkeypatch):
    parse = FlagParser.flags

    def only_parse(parser, given=None):
        parse(parser, given)
        raise Parsed

    monkeypatch.setattr(FlagParser, "flags", only_parse)
    place = {"tables": "tables.command", "figures": "figures_command"}.get(module, module)
    with pytest.raises(Parsed):
        import_module(f"seqfinal_jax.analysis.{place}").main(arguments)


@pytest.mark.parametrize("module", ["images", "shift"])
def test_commands_that_look_at_data_make_configurations(module):
    for row in found(f"seqfinal_jax.analysis.{module}"):
        (arguments,) = row.values
        config, settings = given(arguments)
        if config == "configs/1.py":
            continue  # in a loop over names
        parse(read_configuration(config, settings)[0])
        flags = {each.split("=")[0] for each in arguments if not each.startswith("--config")}
        assert flags <= {"--data_dir", "--out", "--points", "--max_iterations"}, row.id


def test_no_figure_or_table_of_the_paper_stands_in_two_places():
    """Of the headings of the page on reproducing it."""
    text = (ROOT / "docs" / "reproducing.md").read_text()
    taken = []
    for heading in re.findall(r"^## (.*)$", text, flags=re.M):
        kind = "figure"
        for word, first, last in re.findall(r"(figures?|tables?|and|,)? ?(\d+)(?: to (\d+))?", heading):
            kind = word.rstrip("s") if word.startswith(("figure", "table")) else kind
            taken += [(kind, number) for number in range(int(first), int(last or first) + 1)]
    assert len(taken) == len(set(taken))
    assert set(taken) >= {("table", number) for number in range(4, 15)}


@pytest.mark.parametrize("arguments", [row for row in found("sweep") if "status" not in row.id])
def test_sweeps_of_the_documents_parse(arguments):
    options, rest = sweep_parser().parse_known_args(arguments)
    assert all(each.startswith("--config.") for each in rest)
    if options.action == "start":
        for config in options.config:
            parse(read_configuration(config, rest)[0])


@pytest.mark.parametrize(
    "page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in dict.fromkeys(PAGES)]
)
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith(("http", "#", "mailto")):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path
        assert target.exists(), f"{page.name}: {link}"
        if anchor and target.suffix == ".md":
            heads = [re.sub(r"[^\w\s-]", "", head.lower()).strip().replace(" ", "-")
                     for head in re.findall(r"^#+ (.*)$", target.read_text(), flags=re.M)]  # fmt: skip
            assert anchor in heads, f"{page.name}: {link}"


def test_the_site_builds_without_a_warning(tmp_path):
    """MkDocs in strict mode: every page is in the navigation, and every link leads to a page or heading."""
    pytest.importorskip("mkdocs", reason="MkDocs is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "site" / "reproducing" / "index.html").is_file()


def test_the_tutorial_runs_as_it_is_written(tmp_path, monkeypatch, capsys):
    """Of a run that is made short: the same calls, with a preset and two seeds."""
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "tutorial.py").read_text()
    assert text.count('"digits_rcl"') == 1 and text.count("(0, 1, 2, 3, 4, 5)") == 1
    short = text.replace('"digits_rcl"', '"digits_rcl:smoke"').replace("(0, 1, 2, 3, 4, 5)", "(0, 1)")
    exec(compile(short, "tutorial.py", "exec"), {"__name__": "__main__"})
    said = capsys.readouterr().out
    assert "points above the final step alone; by seed:" in said and "the first ten test images are" in said
    assert (tmp_path / "runs" / "tutorial" / "report" / "index.html").is_file()
