"""The shipped artwork is what its manifest says, and a reader's own pack is read with distrust."""

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlm_history.errors import InputError
from vlm_history.world import build
from vlm_history.world.artwork import ARTISTS, DATA, VENDOR, read_pack, shipped
from vlm_history.world.concepts import canonical, concepts

TRAINING = ("twemoji", "noto", "fluent-flat", "fluent-gradient")
DRAWN = {"emojione": 450, "noto-v1": 450, "fxemoji": 400, "streamline": 250, "fluent-contrast": 680}
MANIFEST = json.loads((DATA / "manifest.json").read_text(encoding="utf-8"))


# --- shipped -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("artist", ARTISTS)
def test_shipped(artist: str) -> None:
    art = shipped(artist)
    assert art.rgba.dtype == np.uint8 and art.rgba.shape == (len(art), 64, 64, 4)
    assert not art.rgba.flags.writeable
    assert len(set(art.hexcode)) == len(art)
    order = [concept.hexcode for concept in concepts()]
    assert list(art.hexcode) == [code for code in order if code in set(art.hexcode)]
    alpha = art.rgba[..., 3]
    assert (alpha.max(axis=(1, 2)) > 128).all()
    assert not art.rgba[alpha == 0].any()


@pytest.mark.parametrize("artist", ARTISTS)
def test_cropped_and_centred(artist: str) -> None:
    alpha = shipped(artist).rgba[..., 3] > 16
    for picture in alpha:
        rows, columns = np.flatnonzero(picture.any(axis=1)), np.flatnonzero(picture.any(axis=0))
        height, width = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
        assert 58 <= max(height, width) <= 64
        assert abs((rows[0] + rows[-1]) / 2 - 31.5) <= 2 and abs((columns[0] + columns[-1]) / 2 - 31.5) <= 2


def test_every_concept_is_drawn_by_every_training_artist() -> None:
    everything = tuple(concept.hexcode for concept in concepts())
    for artist in TRAINING:
        assert shipped(artist).hexcode == everything
    assert set(DRAWN) == set(ARTISTS) - set(TRAINING)
    for artist, least in DRAWN.items():
        assert len(shipped(artist)) >= least


def test_no_two_concepts_share_a_drawing() -> None:
    for artist in ARTISTS:
        pictures = [picture.tobytes() for picture in shipped(artist).rgba]
        assert len(set(pictures)) == len(pictures), artist


def test_black_ink_lies_on_white_paper() -> None:
    """Else a dark background swallows it."""
    for picture in shipped("fluent-contrast").rgba:
        visible = picture[picture[..., 3] == 255][:, :3]
        assert (visible.max(axis=1) < 64).any() and (visible.min(axis=1) > 192).any()
        edge = picture[(picture[..., 3] > 64) & (picture[..., 3] < 255)][:, :3]
        assert edge.min() > 128, "ink without a rim of paper"


def test_what_was_refused_is_not_shipped() -> None:
    for artist, code in build.REFUSED:
        assert code not in {canonical(drawn) for drawn in shipped(artist).hexcode}
    for artist, code in build.NAMED:
        assert code in {canonical(drawn) for drawn in shipped(artist).hexcode}


def test_vendors() -> None:
    assert set(VENDOR) == set(ARTISTS) == set(build.SOURCES)
    assert VENDOR["fluent-flat"] == VENDOR["fluent-gradient"] == VENDOR["fluent-contrast"]


def test_unknown_artist() -> None:
    with pytest.raises(InputError, match="artist must be one of twemoji"):
        shipped("openmoji")


def test_contents_are_what_the_manifest_says() -> None:
    packs = {f"artwork/{artist}.npz" for artist in ARTISTS} | {"textures.npz"}
    assert set(MANIFEST["contents"]) == packs | {"concepts.json", "emoji.json"}
    for name in packs:
        with np.load(DATA / name, allow_pickle=False) as pack:
            assert build.digest({key: pack[key] for key in pack.files}) == MANIFEST["contents"][name], name
    import hashlib

    for name in ("concepts.json", "emoji.json"):
        assert hashlib.sha256((DATA / name).read_bytes()).hexdigest() == MANIFEST["contents"][name]


def test_sources_are_pinned_and_not_share_alike() -> None:
    pinned = {
        source.package: {"version": source.version, "sha256": source.sha256, "licence": source.licence}
        for source in (*build.SOURCES.values(), build.EMOJIBASE)
    }
    assert MANIFEST["sources"] == pinned
    for source in MANIFEST["sources"].values():
        assert not build.FORBIDDEN_LICENCE.search(source["licence"])
        assert source["licence"] in ("MIT", "Apache-2.0", "CC-BY-4.0")
    assert build.FORBIDDEN_LICENCE.search("CC-BY-SA-4.0")


def test_notice_credits_everyone() -> None:
    notice = (Path(__file__).parents[2] / "NOTICE").read_text(encoding="utf-8")
    for source in (*build.SOURCES.values(), build.EMOJIBASE):
        assert f"{source.package} {source.version}" in notice
        assert source.licence.replace("CC-BY-4.0", "CC-BY 4.0") in notice
    for file in build.PHOTOGRAPHS:
        assert f"  {file.partition('.')[0]} " in notice
    assert notice.count("rasterised, cropped, resized to 64x64") == 8


def test_files_are_small() -> None:
    for path in DATA.rglob("*"):
        if path.is_file():
            assert path.stat().st_size < 8 * 2**20, path.name


def test_textures() -> None:
    with np.load(DATA / "textures.npz", allow_pickle=False) as pack:
        pattern, names = pack["pattern"], pack["name"]
    assert pattern.dtype == np.uint8 and pattern.shape == (len(names), 64, 64, 3)
    assert 24 <= len(names) <= 40 and len(set(names.tolist())) == len(names)
    grey = pattern.astype(float).mean(axis=3)
    assert (grey.std(axis=(1, 2)) <= 24).all(), "so busy that objects drown in it"


# --- a reader's own pack -----------------------------------------------------------------------------------------


def good() -> dict[str, Any]:
    art = shipped("twemoji")
    return {"rgba": art.rgba[:5].copy(), "hexcode": np.array(art.hexcode[:5])}


def save(path: Path, **changes: Any) -> Path:
    arrays = {key: value for key, value in {**good(), **changes}.items() if value is not None}
    np.savez(path, **arrays)
    return path


def test_a_good_pack(tmp_path: Path) -> None:
    art = read_pack(save(tmp_path / "mine.npz"))
    assert art.artist == "mine" and len(art) == 5
    assert np.array_equal(art.rgba, good()["rgba"])
    assert read_pack(str(tmp_path / "mine.npz")).hexcode == art.hexcode


@pytest.mark.parametrize("spell", [str.lower, str.upper, lambda code: code.replace("-FE0F", "")])
def test_codes_are_read_however_they_are_spelt(tmp_path: Path, spell: Callable[[str], str]) -> None:
    codes = ["1F43B-200D-2744-FE0F", "1F408", "2602-FE0F", "1F34E", "1F415"]
    art = read_pack(save(tmp_path / "pack.npz", hexcode=np.array([spell(code) for code in codes])))
    known = {concept.hexcode for concept in concepts()}
    assert set(art.hexcode) <= known and art.hexcode[0] == "1F43B-200D-2744-FE0F"


def rgba(**changes: Any) -> np.ndarray:
    array = np.asarray(good()["rgba"])
    return np.zeros(changes["shape"], np.uint8) if "shape" in changes else array.astype(changes["dtype"])


def transparent() -> np.ndarray:
    array = good()["rgba"]
    array[2, ..., 3] = 0
    return np.asarray(array)


def codes(**changes: str) -> np.ndarray:
    array = good()["hexcode"].tolist()
    for place, code in changes.items():
        array[int(place[1:])] = code
    return np.array(array)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rgba": None}, "`rgba` is missing"),
        ({"hexcode": None}, "`hexcode` is missing"),
        ({"rgba": rgba(dtype=np.float32)}, "`rgba` must be uint8, got float32"),
        ({"rgba": rgba(dtype=np.int64)}, "`rgba` must be uint8, got int64"),
        ({"rgba": rgba(shape=(5, 64, 64, 3))}, r"shape \(N, 64, 64, 4\), got \(5, 64, 64, 3\)"),
        ({"rgba": rgba(shape=(5, 72, 72, 4))}, r"got \(5, 72, 72, 4\)"),
        ({"rgba": rgba(shape=(64, 64, 4))}, r"got \(64, 64, 4\)"),
        ({"rgba": good()["rgba"][:4]}, r"`hexcode` must have shape \(4,\)"),
        ({"hexcode": good()["hexcode"].reshape(5, 1)}, r"`hexcode` must have shape \(5,\)"),
        ({"hexcode": np.arange(5)}, "`hexcode` must hold str, got int64"),
        ({"hexcode": good()["hexcode"].astype("S")}, "`hexcode` must hold str"),
        ({"rgba": rgba(shape=(0, 64, 64, 4)), "hexcode": np.array([], dtype="U1")}, "no picture"),
        ({"hexcode": codes(_3="1F6000")}, r"hexcode '1F6000' \(row 3\) is no emoji's"),
        ({"rgba": rgba(shape=(1, 64, 64, 4)), "hexcode": np.array(["1F600"])}, "none of its 1 emojis"),
        ({"hexcode": codes(_3="cat")}, "hexcode 'cat'"),
        ({"hexcode": codes(_3="")}, "hexcode ''"),
        ({"hexcode": codes(_4=good()["hexcode"][1].lower())}, r"comes twice \(rows 1 and 4\)"),
        ({"rgba": transparent()}, r"picture 2 \(.*\) is fully transparent"),
    ],
)
def test_malformed(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        read_pack(save(tmp_path / "pack.npz", **changes))
    assert "an artwork pack is an npz" in str(error.value) and "\n" not in str(error.value)


def test_emojis_that_are_no_concepts_are_left_out(tmp_path: Path) -> None:
    pack = read_pack(save(tmp_path / "pack.npz", hexcode=codes(_3="1F600")))
    assert len(pack) == 4 and pack.skipped == 1
    assert pack.hexcode == tuple(code for row, code in enumerate(good()["hexcode"]) if row != 3)
    np.testing.assert_array_equal(pack.rgba, np.delete(good()["rgba"], 3, axis=0))


class Trap:
    """Something that says so when it is unpickled."""

    sprung = False

    def __reduce__(self) -> tuple[Any, ...]:
        return (_spring, ())


def _spring() -> str:
    Trap.sprung = True
    return "sprung"


@pytest.mark.parametrize("key", ["rgba", "hexcode"])
def test_nothing_is_unpickled(tmp_path: Path, key: str) -> None:
    path = save(tmp_path / "pack.npz", **{key: np.array([Trap()] * 5, dtype=object)})
    with pytest.raises(InputError, match="pickled Python objects"):
        read_pack(path)
    assert not Trap.sprung


@pytest.mark.parametrize("content", [b"", b"not a zip", b"\x93NUMPY\x01\x00", pickle.dumps(Trap())])
def test_not_an_npz(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "pack.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not an npz"):
        read_pack(path)
    assert not Trap.sprung


def test_a_single_array_is_no_pack(tmp_path: Path) -> None:
    np.save(tmp_path / "pack.npy", good()["rgba"])
    with pytest.raises(InputError, match="not an npz"):
        read_pack(tmp_path / "pack.npy")


def test_a_zip_of_something_else(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "pack.npz", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(InputError, match="`rgba` is missing"):
        read_pack(tmp_path / "pack.npz")


def test_text_that_calls_itself_an_array(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "pack.npz", "w") as archive:
        archive.writestr("rgba.npy", "hello")
        archive.writestr("hexcode.npy", "hello")
    with pytest.raises(InputError):
        read_pack(tmp_path / "pack.npz")


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.npz", tmp_path):
        with pytest.raises(InputError, match="no such file"):
            read_pack(path)


def test_cut_short_anywhere(tmp_path: Path) -> None:
    whole = save(tmp_path / "whole.npz").read_bytes()
    path = tmp_path / "cut.npz"
    for size in np.linspace(0, len(whole) - 1, 25, dtype=int):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError):
            read_pack(path)


@pytest.mark.parametrize("seed", range(60))
def test_damaged_bytes_never_crash(tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    buffer = io.BytesIO()
    (np.savez_compressed if seed % 2 else np.savez)(buffer, **good())
    data = np.frombuffer(buffer.getvalue(), np.uint8).copy()
    where = random.integers(0, 200 if seed % 3 == 0 else len(data), size=4)
    where = np.concatenate([where, len(data) - 1 - random.integers(0, 200, size=2)])
    data[where] = random.integers(0, 256, size=len(where))
    path = tmp_path / "pack.npz"
    path.write_bytes(data.tobytes())
    try:
        art = read_pack(path)
    except InputError:
        return
    assert art.rgba.shape == (5, 64, 64, 4)
