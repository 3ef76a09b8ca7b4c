"""Auditions, through the command line: clips, their page, and banks for `render`."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import soundfile
import yaml

from gansynth.errors import ConfigError
from gansynth.score.instruments import Bank, load_bank, random_latents
from pipeline import preview
from pipeline.__main__ import main
from tests.support.pages import Page, links, write_song

NAMES = ('"><script>alert(1)</script>', "\u202eknalb", "plain")


def test_every_candidate_can_be_heard_and_seen(audition: Path) -> None:
    found = Page((audition / "index.html").read_text("utf-8"))
    clips = {button["data-clip"] for button in found.all("button") if "data-clip" in button}
    assert clips == {f"{kind}-{n}" for kind in ("note", "phrase") for n in range(3)} | {
        "strip-0-1",
        "strip-0-2",
        "strip-1-2",
    }
    for clip in clips:
        sound, rate = soundfile.read(audition / "clips" / f"{clip}.wav")
        assert rate == 16000
        assert np.abs(sound).max() == pytest.approx(0.9, abs=1e-3)
    for url in links(found):
        if not url.startswith("#"):
            assert (audition / unquote(url)).exists()
    assert "gansynth-beam preview" in found.text
    assert "--count 3 --seed 7 --keep 0 --as my_bank.yaml" in found.text
    assert all(
        button.get("aria-label") or button.get("data-clip") or "data-of" in button for button in found.all("button")
    )


def test_the_keyboards_notes_and_the_maps_points_are_rendered(audition: Path) -> None:
    clips = {path.stem for path in (audition / "clips").glob("*.wav")}
    assert {f"key-{n}-{pitch}" for n in range(3) for pitch in (48, 72)} <= clips
    assert {clip for clip in clips if clip.startswith("map-")} == {f"map-{n}" for n in range(preview.GRID**2)}
    assert preview.key_pitches(30, range(24, 85)) == [30, 42]
    bank = load_bank(str(audition / preview.MAP_BANK), 16)
    drawn = random_latents(3, 16, 7)
    np.testing.assert_array_equal(bank.latents[:3], drawn)
    assert len(bank) == 3 + preview.GRID**2
    lengths = np.linalg.norm(drawn, axis=1)
    assert (np.linalg.norm(bank.latents[3:], axis=1) <= lengths.max() + 1e-9).all()


def test_a_point_of_the_map_plays_a_song(audition: Path, tiny: str, tmp_path: Path) -> None:
    """The command that the page shows is called as it stands, with a song in the place of song.mid."""
    found = Page((audition / "index.html").read_text("utf-8"))
    (data,) = (json.loads(text) for attributes, text in found.scripts if attributes.get("id") == "audition")
    words = shlex.split(data["render"].replace("NUMBER", "40"))
    write_song(tmp_path / "song.mid", range(60, 62))
    replaced = {"song.mid": str(tmp_path / "song.mid"), "out": str(tmp_path / "out")}
    words = [replaced.get(word, word) for word in words]
    assert main([*words[words.index("render") :], "--quiet"]) == 0
    (row,) = map(json.loads, (tmp_path / "out" / "manifest.jsonl").read_text().splitlines())
    assert row["instruments"] == ["point-37", "drums"]
    assert f"checkpoint={tiny}" in words


def test_two_instruments_have_no_map(tiny: str, tmp_path: Path) -> None:
    assert main(["preview", "--checkpoint", tiny, "--count", "2", "--output", str(tmp_path), "--quiet"]) == 0
    assert 'id="plane"' not in (tmp_path / "index.html").read_text("utf-8")
    assert not (tmp_path / preview.MAP_BANK).exists()


def test_what_is_kept_plays_in_a_render(audition: Path, tiny: str, tmp_path: Path) -> None:
    bank = tmp_path / "mine.yaml"
    options = ["--checkpoint", tiny, "--count", "3", "--seed", "7", "--quiet"]
    assert main(["preview", *options, "--keep", "2,0", "--names", "glass, reed", "--as", str(bank)]) == 0
    kept = load_bank(str(bank), 16)
    assert kept.names == ("glass", "reed")
    np.testing.assert_array_equal(kept.latents, random_latents(3, 16, 7)[[2, 0]])
    write_song(tmp_path / "a.mid", range(60, 64))
    settings = [f"checkpoint={tiny}", f"instruments.bank={bank}", "instruments.mode=fixed"]
    options = [word for setting in [*settings, "instruments.instruments=[reed]"] for word in ("--set", setting)]
    assert main(["render", str(tmp_path / "a.mid"), "--output", str(tmp_path / "out"), "--quiet", *options]) == 0
    (row,) = map(json.loads, (tmp_path / "out" / "manifest.jsonl").read_text().splitlines())
    assert row["instruments"] == ["reed", "drums"]
    # The saved bank can be auditioned again.
    out = tmp_path / "again"
    assert main(["preview", "--checkpoint", tiny, "--bank", str(bank), "--output", str(out), "--quiet"]) == 0
    one, other = (soundfile.read(folder / "clips" / f"note-{n}.wav")[0] for folder, n in ((out, 0), (audition, 2)))
    np.testing.assert_array_equal(one, other)


def test_names_of_a_bank_are_text_and_nothing_else() -> None:
    bank = Bank(NAMES, random_latents(3, 4, 0), families={"plain": "<b>bold</b>"})
    found = Page(preview.render_page(preview.Preview(bank="<i>file</i>.yaml"), bank, [(0, 1)]))
    harmless = Page(preview.render_page(preview.Preview(), Bank(("a", "b", "c"), bank.latents), [(0, 1)]))
    assert {tag for tag, _ in found.elements} == {tag for tag, _ in harmless.elements}
    assert NAMES[0] in found.text
    assert "\u202e" not in found.text
    assert "<b>bold</b>" in found.text
    assert "--bank '<i>file</i>.yaml'" in found.text


def test_pairs() -> None:
    assert len(preview.Preview().pairs(12)) == 66
    assert preview.Preview().pairs(13) == [(i, i + 1) for i in range(12)]
    assert preview.Preview(between=((3, 1),)).pairs(50) == [(3, 1)]
    with pytest.raises(ConfigError, match="--between: no instrument 9"):
        preview.Preview(between=((3, 9),)).pairs(5)


def test_subsets_keep_programs_and_families() -> None:
    bank = Bank(("a", "b", "c"), random_latents(3, 4, 0), {0: 0, 5: 2, 6: 2}, {"c": "winds"})
    kept = preview.subset(bank, (2, 1), ("x", "y"))
    assert kept.names == ("x", "y")
    assert kept.programs == {5: 0, 6: 0}
    assert kept.families == {"x": "winds"}
    np.testing.assert_array_equal(kept.latents, bank.latents[[2, 1]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--pitch", "100"], "--pitch 100: the checkpoint plays 24..84"),
        (["--keep", "0,3"], "--keep: no instrument 3; choose from 0..2"),
        (["--keep", "0,1", "--names", "one"], "--names: give 2 distinct names, not 1"),
        (["--keep", "0,0"], "give 2 distinct names, not 1"),
        (["--keep", "0", "--as", "bank.txt"], "bank.txt: a bank is written as .yaml or .npz"),
        (["--keep", "0", "--as", "/proc/nowhere/bank.npz"], "--as /proc/nowhere/bank.npz: cannot be written"),
        (["--output", "/proc/nowhere"], "--output /proc/nowhere: cannot be written"),
        (["--bank", "nowhere.yaml"], "instruments.bank nowhere.yaml: cannot be read"),
        (["--count", "1000"], "a page shows 1 to 200 instruments"),
        (["--between", "0,5"], "--between: no instrument 5"),
        (["--checkpoint", "/nowhere"], "no such folder"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_why(
    options: list[str],
    message: str,
    tiny: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["preview", "--checkpoint", tiny, "--count", "3", *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


@pytest.mark.parametrize("options", [["--keep", "one"], ["--between", "3"], ["--runner=X"], ["--sed", "1"]])
def test_misspelt_options_are_refused(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["preview", *options])
    assert end.value.code == 2
    assert options[0].split("=")[0] in capsys.readouterr().err


def test_saved_yaml_is_for_people_too(tiny: str, tmp_path: Path) -> None:
    bank = tmp_path / "bank.yaml"
    assert main(["preview", "--checkpoint", tiny, "--keep", "4", "--as", str(bank), "--quiet"]) == 0
    (entry,) = yaml.safe_load(bank.read_text())["instruments"]
    assert entry["name"] == "random-0-4"
