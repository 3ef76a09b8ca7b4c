"""Spherical interpolation for any latents, random instruments that never change, and errors of banks."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import gansynth
from gansynth.errors import ConfigError
from gansynth.score.instruments import Bank, load_bank, random_bank, random_latents, save_bank, slerp

VALUES = st.floats(-10, 10, allow_subnormal=False)
VECTORS = arrays(np.float64, st.shared(st.integers(2, 8), key="size"), elements=VALUES)
FRACTIONS = st.floats(0, 1)


def norm(p: np.ndarray) -> float:
    return float(np.linalg.norm(p))


def angle(p: np.ndarray, q: np.ndarray) -> float:
    return float(np.arccos(np.clip(p @ q / (norm(p) * norm(q)), -1, 1)))


@given(VECTORS, VECTORS)
def test_slerp_ends(p: np.ndarray, q: np.ndarray) -> None:
    assume(norm(p) and norm(q) and angle(p, q) < 3)  # opposite ones have a test of their own
    assert np.allclose(slerp(p, q, 0.0), p, atol=1e-8)
    assert np.allclose(slerp(p, q, 1.0), q, atol=1e-8)


@given(VECTORS, VECTORS, FRACTIONS)
def test_slerp_keeps_equal_norms(p: np.ndarray, q: np.ndarray, t: float) -> None:
    assume(norm(p) > 1e-3 and norm(q) > 1e-3)
    q = q * norm(p) / norm(q)
    assert norm(slerp(p, q, t)) == pytest.approx(norm(p), rel=1e-6)


@given(VECTORS, VECTORS, FRACTIONS)
def test_slerp_turns_at_an_even_speed(p: np.ndarray, q: np.ndarray, t: float) -> None:
    assume(norm(p) > 1e-3 and norm(q) > 1e-3 and angle(p, q) > 0.01)
    p, q = p / norm(p), q / norm(q)
    assert angle(p, slerp(p, q, t)) == pytest.approx(t * angle(p, q), abs=1e-5)


@given(VECTORS, VECTORS, FRACTIONS)
def test_slerp_is_symmetric(p: np.ndarray, q: np.ndarray, t: float) -> None:
    assume(norm(p) and norm(q) and angle(p, q) < 3)
    assert np.allclose(slerp(p, q, t), slerp(q, p, 1 - t), atol=1e-8)


@given(VECTORS, VECTORS, st.floats(-2, 3))
def test_slerp_is_always_finite(p: np.ndarray, q: np.ndarray, t: float) -> None:
    for one, other in [
        (p, q),
        (p, p),
        (p, -p),
        (p, 2 * p),
        (p, -3 * p),
        (p, 0 * p),
        (0 * p, q),
        (0 * p, 0 * p),
        (p, p + 1e-9),
    ]:
        assert np.isfinite(slerp(one, other, t)).all()


@given(VECTORS, st.floats(0.1, 5), FRACTIONS)
def test_slerp_of_parallel_latents_is_linear(p: np.ndarray, factor: float, t: float) -> None:
    assert np.allclose(slerp(p, factor * p, t), (1 - t) * p + t * factor * p, atol=1e-6 * (1 + norm(p)))


@given(VECTORS, st.floats(0.5, 2), FRACTIONS)
def test_slerp_of_opposite_latents_goes_half_round(p: np.ndarray, factor: float, t: float) -> None:
    assume(norm(p) > 1e-3)
    q = -factor * p
    assert np.allclose(slerp(p, q, 0.0), p, atol=1e-8)
    assert np.allclose(slerp(p, q, 1.0), q, atol=1e-8)
    middle = slerp(p, q, t)
    assert norm(middle) == pytest.approx(norm(p) * (1 - t + t * factor), rel=1e-6)
    assert angle(p, middle) == pytest.approx(np.pi * t, abs=1e-5)


@given(VECTORS, VECTORS, FRACTIONS)
def test_slerp_near_the_degenerate_cases_has_no_jump(p: np.ndarray, q: np.ndarray, t: float) -> None:
    assume(norm(p) > 0.1 and norm(q) > 0.1 and 0.1 < angle(p, q) < 3)
    near = [slerp(p, p + step * q, t) for step in (0, 1e-7, 1e-6, 1e-5)]
    for other in near[1:]:
        assert np.allclose(near[0], other, atol=1e-3)


def test_slerp_of_many_at_once() -> None:
    random = np.random.RandomState(0)
    p, q, t = random.normal(size=[7, 5]), random.normal(size=[7, 5]), random.uniform(size=7)
    p[2], q[3] = q[2], -p[3]
    together = slerp(p, q, t)
    assert together.shape == (7, 5)
    for i in range(7):
        assert np.allclose(together[i], slerp(p[i], q[i], t[i]), atol=1e-12)
    assert slerp(p[0], q[0], t).shape == (7, 5)
    assert slerp(p[:0], q[:0], t[:0]).shape == (0, 5)
    assert gansynth.slerp([1, 0], [0, 1], 0.5).tolist() == pytest.approx([0.5**0.5] * 2)


@given(st.floats(-5, 5), st.floats(-5, 5), FRACTIONS)
def test_slerp_in_one_dimension(p: float, q: float, t: float) -> None:
    assert np.isfinite(slerp([p], [q], t)).all()


def test_slerp_equals_the_references(data: Path) -> None:
    golden = np.load(data / "goldens" / "z_notes.npz")
    found = slerp(golden["slerp_p0"], golden["slerp_p1"], golden["slerp_t"])
    assert np.abs(found - golden["slerp_out"]).max() <= 1e-12


# Random instruments


def test_random_latents_never_change() -> None:
    # Written down once: songs rendered last year must come out the same.
    assert random_latents(2, 3, 7).tolist() == [
        [1.690525703800356, -0.4659373705408328, 0.0328201636785844],
        [0.40751628299650783, -0.7889230286257386, 0.00206557290594813],
    ]
    assert gansynth.random_latents(1, 2, seed=[1, 2, 3, 4]).tolist() == [[-0.5425993170836949, 0.22993530378547133]]


@given(st.integers(0, 5), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_random_latents_are_what_the_reference_draws(n: int, size: int, seed: int) -> None:
    state = np.random.get_state()
    try:
        np.random.seed(seed)
        expected = np.random.normal(size=[n, size])  # Model.generate_z
    finally:
        np.random.set_state(state)
    found = random_latents(n, size, seed)
    assert found.dtype == np.float64
    assert (found == expected).all()
    assert (random_latents(n + 3, size, seed)[:n] == found).all()


def test_random_latents_leave_numpys_state_alone() -> None:
    before = np.random.get_state()[1].copy()
    random_latents(3, 4, 1)
    assert (np.random.get_state()[1] == before).all()


# Banks

ENTRIES: list[dict[str, Any]] = [
    {"name": "flute", "latent": [0.1, -2.5, 3e-5], "family": "flute", "programs": [72, 73]},
    {"name": "bell", "latent": [1 / 3, 1e10, -0.0]},
    {"name": "7", "latent": [1, 2, 3], "programs": [128]},
]


def check_bank(bank: Bank, rich: bool) -> None:
    assert bank.names == ("flute", "bell", "7")
    assert len(bank) == 3
    assert bank.latents.dtype == np.float64
    assert bank.latents.tolist() == [entry["latent"] for entry in ENTRIES]
    assert bank.programs == ({72: 0, 73: 0, 128: 2} if rich else {})
    assert bank.families == ({"flute": "flute"} if rich else {})


def test_bank_round_trips(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(yaml.safe_dump({"instruments": ENTRIES, "made": "today"}))
    (tmp_path / "b.json").write_text(json.dumps({"instruments": ENTRIES}))
    (tmp_path / "c.json").write_text("\n " + json.dumps({entry["name"]: entry["latent"] for entry in ENTRIES}))
    names, latents = zip(*((entry["name"], entry["latent"]) for entry in ENTRIES), strict=True)
    np.savez(tmp_path / "d.npz", names=np.array(names), latents=np.array(latents))
    check_bank(load_bank(str(tmp_path / "a.yaml"), 3), rich=True)
    check_bank(load_bank(f"file://{tmp_path}/b.json", 3), rich=True)
    check_bank(load_bank(str(tmp_path / "c.json"), 3), rich=False)
    check_bank(gansynth.load_bank(str(tmp_path / "d.npz"), 3), rich=False)


class Bomb:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path(__file__).with_name("pickle-was-loaded"),))


@pytest.mark.parametrize("how", ["object names", "object latents", "bare pickle"])
def test_pickles_are_refused(how: str, tmp_path: Path) -> None:
    path = tmp_path / "bank.npz"
    if how == "object names":
        np.savez(path, names=np.array([Bomb()], object), latents=np.ones([1, 3]))
    elif how == "object latents":
        np.savez(path, names=np.array(["a"]), latents=np.array([[Bomb()] * 3], object))
    else:
        path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ConfigError, match=r"bank\.npz: cannot be read"):
        load_bank(str(path), 3)
    assert not Path(__file__).with_name("pickle-was-loaded").exists()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("x.yaml", b"instruments:\n- {name: flute, latent: [1, 2]}\n", "'flute' needs a latent of 3 .* has 2"),
        ("x.yaml", b"instruments:\n- {name: flute}\n", "'flute' needs a latent of 3"),
        ("x.yaml", b"instruments:\n- {name: flute, latent: [1, 2, .nan]}\n", "finite"),
        ("x.yaml", b"instruments:\n- {name: flute, latent: [1, 2, three]}\n", "flute|cannot be read"),
        ("x.yaml", b"instruments:\n- {name: flute, latent: [1, 2, [3]]}\n", "flute|cannot be read"),
        ("x.yaml", b"instruments:\n- {name: flute, latent: [1, 2, 3], programs: [piano]}\n", "x.yaml"),
        ("x.yaml", b"instruments:\n- flute\n", "x.yaml"),
        ("x.yaml", b"instruments: []\n", "contains no instruments"),
        ("x.yaml", b"instruments: 7\n", "cannot be read"),
        ("x.yaml", b"", "x.yaml"),
        ("x.yaml", b"just text", "x.yaml"),
        ("x.yaml", b"- 1\n- 2\n", "x.yaml"),
        ("x.yaml", b"a: b: c", "cannot be read"),
        ("x.yaml", b"!!python/object/apply:os.getcwd []", "cannot be read"),
        ("x.yaml", b"\xff\xfe\x00", "cannot be read"),
        ("x.json", b"{", "cannot be read"),
        ("x.json", b"{}", "contains no instruments"),
        ("x.npz", b"", "cannot be read"),
        ("x.npz", b"PK\x03\x04 not really", "cannot be read"),
    ],
)
def test_bad_banks_are_named(name: str, content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=says) as caught:
        load_bank(str(tmp_path / name), 3)
    assert str(tmp_path / name) in str(caught.value)


def test_names_and_latents_must_match(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", names=np.array(["a", "b"]), latents=np.ones([3, 3]))
    with pytest.raises(ConfigError, match=r"x\.npz"):
        load_bank(str(tmp_path / "x.npz"), 3)
    np.savez(tmp_path / "x.npz", latents=np.ones([3, 3]))
    with pytest.raises(ConfigError, match=r"x\.npz"):
        load_bank(str(tmp_path / "x.npz"), 3)


def test_missing_bank(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read"):
        load_bank(str(tmp_path / "nowhere.yaml"), 3)


def test_index() -> None:
    bank = Bank(("flute", "bell", "0"), np.eye(3))
    assert [bank.index(name) for name in ("flute", "bell", 0, 2)] == [0, 1, 0, 2]
    assert bank.index("0") == 2  # a name that looks like a number is a name
    for unknown in ("oboe", 3, -1, "1"):
        with pytest.raises(ConfigError, match=r"0\.\.2: flute, bell, 0") as caught:
            bank.index(unknown)
        assert repr(unknown) in str(caught.value)


def test_programs() -> None:
    bank = Bank(("flute", "bell"), np.eye(2), programs={0: 1})
    assert bank.for_program(0) == 1
    assert [bank.for_program(program) for program in (1, 2, 128)] == [1, 0, 0]


def test_random_bank() -> None:
    bank = random_bank(3, 4, seed=9)
    assert bank.names == ("random-9-0", "random-9-1", "random-9-2")
    assert (bank.latents == random_latents(3, 4, 9)).all()


@pytest.mark.parametrize("suffix", [".yaml", ".yml", ".npz"])
def test_saved_banks_are_read_back_exactly(suffix: str, tmp_path: Path) -> None:
    names = ("glass", "日本", 'a "quoted": name', "- x", "7")
    bank = Bank(names, random_latents(5, 16, 3) * 1e-3, {5: 1, 40: 1, 0: 0}, {"glass": "bells"})
    save_bank(bank, str(tmp_path / f"one{suffix}"))
    again = load_bank(str(tmp_path / f"one{suffix}"), 16)
    assert again.names == names
    np.testing.assert_array_equal(again.latents, bank.latents)
    if suffix != ".npz":
        assert (again.programs, again.families) == (bank.programs, bank.families)
    save_bank(bank, str(tmp_path / f"two{suffix}"))
    assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"two{suffix}").read_bytes()


def test_banks_are_saved_as_yaml_or_npz_alone(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"bank\.txt: a bank is written as \.yaml or \.npz"):
        save_bank(random_bank(2, 4, 0), str(tmp_path / "bank.txt"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("column", "value", "wrong"), [("level", 6.0, (99, "loud")), ("release", 0.05, (0, -1, 3.5, ".nan", "soon"))]
)
def test_levels_and_releases_are_kept_and_bounded(
    column: str, value: float, wrong: tuple[object, ...], tmp_path: Path
) -> None:
    values: dict[str, Any] = {f"{column}s": {"one": value}}
    bank = Bank(("one", "plain"), np.zeros([2, 3]), **values)
    save_bank(bank, str(tmp_path / "bank.yaml"))
    again = load_bank(str(tmp_path / "bank.yaml"), 3)
    assert getattr(again, f"{column}s") == {"one": value}
    assert again.digest == bank.digest != Bank(bank.names, bank.latents).digest
    for bad in wrong:
        (tmp_path / "bad.yaml").write_text(f"instruments:\n- {{name: x, latent: [0, 0, 0], {column}: {bad}}}\n")
        with pytest.raises(ConfigError, match=r"bad\.yaml: .*(x' has|cannot be read)"):
            load_bank(str(tmp_path / "bad.yaml"), 3)


def test_releases_of_programs_are_kept_and_bounded(tmp_path: Path) -> None:
    bank = Bank(("one", "plain"), np.zeros([2, 3]), {7: 0, 9: 0, 4: 1}, program_releases={9: 0.05, 4: 1.0})
    save_bank(bank, str(tmp_path / "bank.yaml"))
    again = load_bank(str(tmp_path / "bank.yaml"), 3)
    assert again.program_releases == {9: 0.05, 4: 1.0}
    assert again.digest == bank.digest != Bank(bank.names, bank.latents, bank.programs).digest
    for bad in ("{9: 0}", "{9: 4}", "{9: soon}", "{nine: 1}", "[1]"):
        text = f"instruments:\n- {{name: x, latent: [0, 0, 0], programs: [9], program_releases: {bad}}}\n"
        (tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(ConfigError, match=r"bad\.yaml: .*(x' has release of program 9|cannot be read)"):
            load_bank(str(tmp_path / "bad.yaml"), 3)


def test_levels_of_pitches_are_kept_and_bounded(tmp_path: Path) -> None:
    levels = {"one": {36: 1.0, 84: -5.0}}
    bank = Bank(("one", "plain"), np.zeros([2, 3]), levels={"one": 2.0}, pitch_levels=levels)
    save_bank(bank, str(tmp_path / "bank.yaml"))
    again = load_bank(str(tmp_path / "bank.yaml"), 3)
    assert again.pitch_levels == levels
    assert again.digest == bank.digest != Bank(bank.names, bank.latents, levels=bank.levels).digest
    table = again.level_table(("plain", "one", "drums"))
    assert table.shape == (3, 128)
    assert table[1, [0, 36, 48, 60, 84, 127]].tolist() == [3.0, 3.0, 1.5, 0.0, -3.0, -3.0]
    assert not table[[0, 2]].any()
    for bad in ("{36: 50}", "{36: loud}", "{128: 1}", "{-1: 1}", "[1]"):
        text = f"instruments:\n- {{name: x, latent: [0, 0, 0], pitch_levels: {bad}}}\n"
        (tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(ConfigError, match=r"bad\.yaml: .*(x' has (a )?level|cannot be read)"):
            load_bank(str(tmp_path / "bad.yaml"), 3)
