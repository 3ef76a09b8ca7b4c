"""The documentation: its length, its links, its tables, and every command and snippet in it."""

from __future__ import annotations

import importlib
import importlib.util
import re
import shlex
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest

from pipeline import dataflow
from pipeline.__main__ import _parser, _with_command, main
from pipeline.config import JobConfig, load_config
from pipeline.options import check_beam_options, separate
from pipeline.run import _flags
from pipeline.view import Server
from transforms.manifest import ErrorRow, NoteRow, PartRow, SongRow, columns, type_name

ROOT = Path(__file__).parents[1]
DOCS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
LINKED = [
    *DOCS,
    *(ROOT / name / "README.md" for name in ("benchmarks", "training")),
    ROOT / "gansynth/mini/MODEL_CARD.md",
]
SNIPPETS = {"README.md": 1, "docs/guide.md": 1, "docs/studio.md": 3}
"""Python in the pages; the README's is run here, the others in tests/pipeline/test_render.py and test_outputs.py."""
PROGRAMS = {
    "./run_pipeline.sh",
    "./run_tests.sh",
    ".venv/bin/gansynth-beam",
    ".venv/bin/python",
    "gansynth-beam",
    "python",
}
ELSEWHERE = {"gcloud", "docker", "for", "ACCOUNT=serviceAccount:$(gcloud"}
"""Programs whose commands are not run: they need Google's machines, or another cluster."""


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def prose(page: Path) -> str:
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def commands(page: Path) -> list[str]:
    text = "".join(blocks(page, "sh")).replace("\\\n", "")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def words(command: str) -> list[str]:
    return shlex.split(command, comments=True)


COMMANDS = [command for page in DOCS for command in commands(page)]


def arguments_of(command: str) -> list[str] | None:
    """The arguments of pipeline's command line; None if the command is another program's."""
    program, *arguments = words(command)
    if program.endswith("python") and arguments[:2] == ["-m", "pipeline"]:
        return arguments[2:]
    if program in ("./run_pipeline.sh", ".venv/bin/gansynth-beam", "gansynth-beam"):
        return [*_with_command(_parser(), arguments)]
    return None


def jobs(page: Path, local: bool) -> list[list[str]]:
    """The arguments of a page's commands that run on this machine, or of those that need others."""
    found = [arguments for command in commands(page) if (arguments := arguments_of(command)) is not None]
    found = [arguments for arguments in found if "<" not in arguments]  # tests/pipeline/test_single_file.py has these
    return [arguments for arguments in found if any("://" in w or w.startswith("--runner") for w in arguments) != local]


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= 900


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        plain = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()).replace(" ", "-")
        found.add(next(a for n in range(99) if (a := f"{plain}-{n}" if n else plain) not in found))
    return found


@pytest.mark.parametrize("page", LINKED, ids=name_of)
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    broken = []
    for link in links:
        target, _, anchor = link.partition("#")
        if "://" in target:
            continue
        path = (page.parent / target).resolve() if target else page
        if not path.exists() or (anchor and (path.suffix != ".md" or anchor not in anchors(path))):
            broken.append(link)
    assert broken == []


def test_every_page_is_reached_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [page for page in DOCS if page.name != "README.md" and f"({name_of(page)})" not in readme] == []


@pytest.mark.parametrize(
    ("row", "introduction"),
    [
        (SongRow, "## manifest.jsonl"),
        (PartRow, "A *part* is one program and track name of the song:"),
        (NoteRow, "A *note* in `silent_notes` and `broken_notes`:"),
        (ErrorRow, "## errors.jsonl"),
    ],
)
def test_tables_of_columns_are_those_of_the_types(row: type, introduction: str) -> None:
    table = (ROOT / "docs" / "outputs.md").read_text().split(f"\n{introduction}\n\n")[1].split("\n\n")[0]
    wanted = [f"| `{name}` | {type_name(hint)} | {text} |" for name, hint, text in columns(row)]
    assert table.splitlines() == ["| column | type | description |", "|---|---|---|", *wanted]


def test_the_glossary_names_what_is_in_the_code() -> None:
    section = (ROOT / "docs" / "architecture.md").read_text().split("## Glossary\n")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")][1:]
    terms = [row[0] for row in rows]
    assert len(terms) > 30
    assert len(set(terms)) == len(terms)
    for _, meaning, place in rows:
        assert meaning
        for name in re.findall(r"`([^`]+)`", place):
            module, _, attribute = name.rpartition(".")
            assert hasattr(importlib.import_module(module), attribute), name


def test_files_that_architecture_and_contributing_name_exist() -> None:
    for page in (ROOT / "docs" / "architecture.md", ROOT / "CONTRIBUTING.md", ROOT / "docs" / "reliability.md"):
        names = re.findall(
            r"`((?:gansynth|transforms|pipeline|configs|tests|requirements|examples)/[\w./*]*)`", page.read_text()
        )
        assert names
        assert [name for name in names if name.isascii() and "NAME" not in name and not list(ROOT.glob(name))] == []


def test_names_of_things_to_change_exist() -> None:
    section = (ROOT / "docs" / "architecture.md").read_text().split("## Where changes go\n")[1]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 25
    sources = "\n".join(
        path.read_text() for name in ("gansynth", "transforms", "pipeline") for path in (ROOT / name).rglob("*.py")
    )
    for _, change in rows:
        for name in re.findall(r"`(_?[A-Z]\w+|[a-z]+_[a-z_]+)(?:\._\w+)?`", change):
            assert re.search(rf"^(class|def|    def) {name}\b|^{name}\b.* = ", sources, re.MULTILINE), name


# Commands


def test_commands_are_found_and_known() -> None:
    assert len(COMMANDS) > 40
    assert sum(len(jobs(page, local=True)) for page in DOCS) > 20
    assert sum(len(jobs(page, local=False)) for page in DOCS) > 3
    assert [command for command in COMMANDS if command.split()[0] not in PROGRAMS | ELSEWHERE] == []


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the commands expect it: the repository's files, and a user's."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("configs", "gansynth", "pipeline", "transforms"):
        (folder / name).symlink_to(ROOT / name)
    song = (ROOT / "tests" / "data" / "midi" / "melody.mid").read_bytes()
    for name in ("my_midi_folder/a.mid", "corpus/x/b.mid", "more.mid", "song.mid"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(song)
    with tarfile.open(folder / "lmd_full.tar.gz", "w:gz") as archive:
        archive.add(folder / "song.mid", "lmd/song.mid")
    (folder / "songs.txt").write_text("song.mid\nmore.mid\n")
    return folder


def parsed(arguments: list[str]) -> tuple[JobConfig, list[str]]:
    """Settings and Beam's options of a job's arguments, as the command line takes them."""
    args, others = _parser().parse_known_args(arguments)
    patterns, beam_arguments = separate(others)
    return load_config(args.config, args.set, [*patterns, *args.input], args.output), beam_arguments


@pytest.mark.parametrize("page", [page for page in DOCS if jobs(page, local=True)], ids=name_of)
def test_local_commands_work(page: Path, checkout: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a small checkpoint where instruments have no names, and a small song instead of the examples."""
    monkeypatch.chdir(checkout)
    tiny = str(data / "checkpoints" / "tiny")
    for arguments in jobs(page, local=True):
        if arguments[0] == "preview":
            assert main([*arguments, "--checkpoint", tiny, "--quiet"]) == 0, arguments
            continue
        if arguments[0] == "compare":
            for folder in arguments[1 : arguments.index("-o")]:
                assert main(["song.mid", "-o", folder, "--set", f"checkpoint={tiny}", "--overwrite", "--quiet"]) == 0
            assert main([*arguments, "--quiet"]) == 0, arguments
            continue
        if arguments[0] == "bank":
            named = "--instruments" in arguments  # of the checkpoint that has names
            chosen = [] if named else ["--set", f"checkpoint={tiny}"]
            assert main([*arguments, *chosen, "--quiet"]) == 0, arguments
            continue
        if arguments[0] == "view":  # of a job of another page
            (checkout / arguments[1]).mkdir(parents=True, exist_ok=True)
            (checkout / arguments[1] / "index.html").touch()
            monkeypatch.setattr(Server, "serve_forever", lambda _: None)
            monkeypatch.setattr("webbrowser.open", lambda _: True)
            assert main(arguments) == 0, arguments
            continue
        config, _ = parsed(arguments)
        if config.compute.device == "gpu":
            continue
        has_names = any(
            isinstance(name, str) for name in (*config.instruments.programs.values(), *config.instruments.instruments)
        )
        quick = ["compute.threads=1", "compute.workers=1", *([] if has_names else [f"checkpoint={tiny}"])]
        options = [word for setting in quick for word in ("--set", setting)]
        shutil.rmtree(checkout / config.output, ignore_errors=True)
        inputs = [] if config.input else ["song.mid"]
        assert main([arguments[0], *inputs, *arguments[1:], *options, "--quiet"]) == 0, arguments
        written = checkout / config.output
        assert arguments[0] == "plan" or written.is_file() or (written / "manifest.jsonl").read_text()


@pytest.mark.parametrize("page", [page for page in DOCS if jobs(page, local=False)], ids=name_of)
def test_options_of_commands_for_other_machines_are_known(
    page: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(checkout)
    for arguments in jobs(page, local=False):
        config, beam_arguments = parsed(arguments)
        options = [*_flags(config.beam), *beam_arguments]
        assert config.input
        if check_beam_options(options) == dataflow.RUNNER:
            assert set(dataflow.complete(config, options)) > set(options)


def test_commands_of_the_tests_name_what_exists() -> None:
    found = 0
    for command in COMMANDS:
        program, *arguments = words(command)
        if program == "./run_tests.sh":
            paths = [word for word in arguments if not word.startswith("-") and "/" in word]
            assert [path for path in paths if not (ROOT / path).exists()] == []
            if "-m" in arguments:
                marker = arguments[arguments.index("-m") + 1]
                assert f'"{marker}: ' in (ROOT / "pyproject.toml").read_text()
            found += 1
        elif program.endswith("python") and arguments_of(command) is None:
            assert importlib.util.find_spec(arguments[arguments.index("-m") + 1]), command
            found += 1
    assert found > 5


def test_the_fuzzers_commands_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.fuzz.__main__ import main as fuzz

    monkeypatch.chdir(tmp_path)
    lines = [words(command)[3:] for command in COMMANDS if "tests.fuzz" in command]
    assert len(lines) == 2
    for line in lines:
        assert fuzz([word if word != "1000" else "3" for word in line]) == 0
    assert (tmp_path / "mutant.mid").stat().st_size > 0


# Snippets


def test_snippets_are_where_tests_run_them() -> None:
    assert {name_of(page): len(found) for page in DOCS if (found := blocks(page, "python"))} == SNIPPETS


def test_the_readmes_snippet_works(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(checkout)
    (snippet,) = blocks(ROOT / "README.md", "python")
    assert len([line for line in snippet.splitlines() if line]) <= 6
    names: dict[str, Any] = {}
    exec(snippet, names)
    assert names["notes"].shape == (2, 64000)
    assert names["audio"].shape == (round(names["song"].seconds * 16000),)
    assert names["picture"].startswith(b"\x89PNG")


def test_settings_in_yaml_are_taken(tmp_path: Path) -> None:
    found = [(page, text) for page in DOCS for text in blocks(page, "yaml")]
    assert found
    for _, text in found:
        (tmp_path / "settings.yaml").write_text(text)
        assert load_config(str(tmp_path / "settings.yaml")) != load_config(None)


def test_settings_in_the_text_are_known() -> None:
    named = {setting for page in DOCS for setting in re.findall(r"--set '?([a-z_]+\.[a-z_]+)=", page.read_text())}
    assert len(named) > 15
    for name in named:
        section, key = name.split(".")
        assert hasattr(getattr(load_config(None), section), key), name


def test_the_examples_of_the_common_settings_are_valid() -> None:
    section = (ROOT / "README.md").read_text().split("## Five common settings\n")[1].split("\n## ")[0]
    options = re.findall(r"^\| `--set (.+)` \|", section, re.MULTILINE)
    assert len(options) == 5
    for option in options:
        (setting,) = shlex.split(option)
        assert load_config(None, [setting]) != load_config(None)
