"""The builder: same sources, same bytes; wrong sources, a clear error."""

import hashlib
import io
import json
import tarfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("resvg_py")
pytest.importorskip("skimage")

from vlm_history.errors import InputError
from vlm_history.world import build

NAMES = """
[animal]
counter = "마리"
[animal.names]
1F408 = ["고양이", "cat"]
1F997 = ["귀뚜라미", "cricket"]
[fruit]
counter = "개"
[fruit.names]
1F353 = ["딸기", "strawberry"]
[tool]
counter = "개"
[tool.names]
2702 = ["가위", "scissors", "article=", "plural=scissors"]
231B = ["모래시계", "hourglass", "article=an", "counter=점"]
"""
ICONS = {
    "cat": '<rect x="10" y="20" width="40" height="20" fill="#c60"/>',
    "cricket": '<circle cx="32" cy="32" r="9" fill="#383"/>',
    "strawberry": '<path d="M8 8h20v40z" fill="#d22" fill-opacity=".8"/>',
    "scissors": '<path d="M2 2L60 60" stroke="#555" stroke-width="4"/>',
    "hourglass": '<path d="M8 4h48L8 60h48z" fill="#ca4"/>',
}
CODES = {"1f408": "cat", "1f997": "cricket", "1f353": "strawberry", "2702": "scissors", "231b": "hourglass"}


def entry(code: str, order: int, language: str) -> dict[str, Any]:
    version = 5 if code == "1f997" else 1
    hexcode = code.upper() + ("-FE0F" if code == "2702" else "")
    return {
        "hexcode": hexcode,
        "order": order,
        "version": version,
        "label": f"{language} label",
        "tags": [f"{language} {code}", "cat"],
    }


def pack(folder: Path, source: build.Source, files: dict[str, Any]) -> build.Source:
    with tarfile.open(folder / source.tarball, "w:gz") as archive:
        for name, value in files.items():
            data = json.dumps(value).encode()
            info = tarfile.TarInfo(f"package/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return replace(source, sha256=hashlib.sha256((folder / source.tarball).read_bytes()).hexdigest())


@pytest.fixture
def tarballs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "tarballs"
    folder.mkdir()
    sources = {}
    for artist, source in build.SOURCES.items():
        icons = {name: {"body": body} for name, body in ICONS.items()}
        aliases: dict[str, Any] = {"old-cat": {"parent": "cat"}, "mirrored": {"parent": "cat", "hFlip": True}}
        if artist == "emojione":  # an older set: another name for one thing, and another thing by one name
            icons["tabby"] = icons.pop("cat")
        if artist == "noto-v1":
            icons["old-cat"] = icons.pop("cat")
            aliases = {}
            del icons["hourglass"]
        if artist == "fxemoji":  # by name: a face, the animal under a name of its own, a Unicode name, a face's alias
            icons = {"cat": icons["cat"], "catside": icons["cricket"], "blackscissors": icons["scissors"]}
        if artist == "streamline":  # of two variants the first; the name of another sequence's first character
            icons = {f"strawberry-{i}": icons[name] for i, name in ((2, "cat"), (1, "strawberry"))} | {
                "hourglass": icons["hourglass"]
            }
        files = {
            "icons.json": {"icons": icons, "aliases": aliases, "width": 64, "height": 64},
            "chars.json": {} if artist in (*build.BORROW, *build.BY_NAME) else CODES,
        }
        sources[artist] = pack(folder, source, files)
    monkeypatch.setattr(build, "SOURCES", sources)
    data = {
        f"{language}/data.json": [entry(code, order, language) for order, code in enumerate(CODES)]
        for language in ("en", "ko")
    }
    monkeypatch.setattr(build, "EMOJIBASE", pack(folder, build.EMOJIBASE, data))
    (tmp_path / "names.toml").write_text(NAMES, encoding="utf-8")
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_same_bytes_twice(tarballs: Path, tmp_path: Path) -> None:
    build.build(tmp_path / "one", tarballs, tmp_path / "names.toml")
    time.sleep(2.1)  # the clock of a zip ticks every two seconds
    build.build(tmp_path / "two", tarballs, tmp_path / "names.toml")
    one = tree(tmp_path / "one")
    assert one == tree(tmp_path / "two")
    expected = {f"artwork/{artist}.npz" for artist in build.SOURCES} | {
        "concepts.json",
        "emoji.json",
        "manifest.json",
        "textures.npz",
    }
    assert set(one) == expected


def test_what_is_built(tarballs: Path, tmp_path: Path) -> None:
    packs = build.build(tmp_path / "out", tarballs, tmp_path / "names.toml")
    rows = {row["en"]: row for row in json.loads((tmp_path / "out/concepts.json").read_text("utf-8"))["concepts"]}
    assert list(rows) == ["cat", "cricket", "strawberry", "scissors", "hourglass"]
    assert rows["strawberry"]["plural"] == "strawberries" and rows["strawberry"]["article"] == "a"
    assert rows["scissors"]["article"] == "" and rows["scissors"]["hexcode"] == "2702-FE0F"
    assert rows["hourglass"]["article"] == "an" and rows["hourglass"]["counter"] == "점"
    assert "cat" not in rows["cat"]["keywords_en"] and "ko 1f408" in rows["cat"]["keywords_ko"]
    assert packs["twemoji"]["hexcode"].tolist() == [row["hexcode"] for row in rows.values()]
    # A name the old set does not have, an emoji that came after it, an alias that leads to the old name.
    assert packs["emojione"]["hexcode"].tolist() == ["1F353", "2702-FE0F", "231B"]
    assert packs["noto-v1"]["hexcode"].tolist() == ["1F408", "1F353", "2702-FE0F"]
    # By name: the table's, then the name in Unicode; a variant's number does not count.
    assert packs["fxemoji"]["hexcode"].tolist() == ["1F408", "2702-FE0F"]
    assert np.array_equal(packs["fxemoji"]["rgba"][0], packs["twemoji"]["rgba"][1])
    assert packs["streamline"]["hexcode"].tolist() == ["1F353", "231B"]
    assert np.array_equal(packs["streamline"]["rgba"][0], packs["twemoji"]["rgba"][2])


def test_a_longer_sequence_is_not_called_by_its_first_character() -> None:
    assert build.called({"hexcode": "1F408", "label": "cat"}) == ["cat", "CAT"]
    assert build.called({"hexcode": "2702-FE0F", "label": "scissors"}) == ["scissors", "BLACK SCISSORS"]
    assert build.called({"hexcode": "1F408-200D-2B1B", "label": "black cat"}) == ["black cat"]


def test_no_icon_is_two_concepts(tarballs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "NAMED", {("streamline", "1f408"): "hourglass"})
    with pytest.raises(InputError, match="streamline's hourglass is both cat and hourglass"):
        build.build(tmp_path / "out", tarballs, tmp_path / "names.toml")


def test_paper_fills_what_the_ink_surrounds_and_a_rim() -> None:
    ring = '<circle cx="32" cy="32" r="20" fill="none" stroke="#000" stroke-width="4"/>'
    bare, backed = (build.draw(ring, (0, 0, 64, 64), on_paper) for on_paper in (False, True))
    assert not bare[32, 32].any() and backed[32, 32].tolist() == [255, 255, 255, 255]
    row = backed[32]
    assert row[0].tolist() == [0, 0, 0, 0] and row[1, :3].min() > 200 and row[1, 3] > 200  # margin, rim,
    assert row[3].tolist() == [0, 0, 0, 255]  # ink


def test_drawn_to_the_margin_and_straight_alpha() -> None:
    picture = build.draw(ICONS["cat"], (0, 0, 64, 64))
    alpha = picture[..., 3]
    rows, columns = np.flatnonzero(alpha.any(axis=1)), np.flatnonzero(alpha.any(axis=0))
    assert (columns[0], columns[-1]) == (1, 62)
    assert abs(rows[0] - 16) <= 1 and abs(rows[-1] - 47) <= 1  # twice as wide as high, centred
    see_through = build.draw(ICONS["strawberry"], (0, 0, 64, 64))
    inside = see_through[5, 32]
    assert abs(int(inside[3]) - 204) <= 1 and abs(int(inside[0]) - 0xDD) <= 2  # not darkened by its alpha
    assert not see_through[see_through[..., 3] == 0].any()


def test_empty_icon() -> None:
    with pytest.raises(InputError, match="came out empty"):
        build.draw("<g/>", (0, 0, 64, 64))


def test_wrong_checksum(tarballs: Path, tmp_path: Path) -> None:
    (tarballs / build.SOURCES["noto"].tarball).write_bytes(b"something else")
    with pytest.raises(InputError, match=r"iconify-json-noto-1\.2\.9\.tgz: sha256 is [0-9a-f]{64}, expected"):
        build.build(tmp_path / "out", tarballs, tmp_path / "names.toml")
    assert not (tmp_path / "out").exists()


def test_missing_tarball(tarballs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tarballs / build.SOURCES["noto"].tarball).unlink()
    assert build.main(["--tarballs", str(tarballs), "--out", str(tmp_path / "out")]) == 2
    assert "npm pack @iconify-json/noto@1.2.9" in capsys.readouterr().err


def test_share_alike_is_refused(tarballs: Path, tmp_path: Path) -> None:
    build.SOURCES["noto"] = replace(build.SOURCES["noto"], licence="CC-BY-SA-4.0")
    with pytest.raises(InputError, match="may not enter the package"):
        build.build(tmp_path / "out", tarballs, tmp_path / "names.toml")


def test_a_training_artist_without_a_picture(tarballs: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "REFUSED", {("noto", "1f353"): "for the test"})
        with pytest.raises(InputError, match=r"noto has no picture of 1F353 \(strawberry\)"):
            build.build(tmp_path / "out", tarballs, tmp_path / "names.toml")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (NAMES.replace('"고양이", "cat"', '"딸기", "cat"'), "딸기 names two things in 'ko'"),
        (NAMES.replace('"딸기", "strawberry"', '"딸기", "cat"'), "cat names two things in 'en'"),
        (NAMES.replace("strawberry", "four leaf clover"), "one or two words"),
        (NAMES.replace("strawberry", "yo-yo"), "one or two words"),
        (NAMES.replace("딸기", "크리스마스트리"), "1 to 6 Hangul syllables"),
        (NAMES.replace("1F353", "1F999"), "no emoji has the code 1f999"),
        (NAMES.replace("[fruit", "[fruits"), r"\[fruits\] is none of the categories"),
    ],
)
def test_bad_names(tarballs: Path, tmp_path: Path, table: str, message: str) -> None:
    (tmp_path / "names.toml").write_text(table, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        build.build(tmp_path / "out", tarballs, tmp_path / "names.toml")


def test_half_written_is_never_seen(tmp_path: Path) -> None:
    build.write(tmp_path / "deep/file", b"one")
    build.write(tmp_path / "deep/file", b"two")
    assert tree(tmp_path) == {"deep/file": b"two"}


@pytest.mark.parametrize(
    ("name", "plural"),
    [
        ("cat", "cats"),
        ("bus", "buses"),
        ("peach", "peaches"),
        ("fox", "foxes"),
        ("key", "keys"),
        ("toy", "toys"),
        ("puppy", "puppies"),
    ],
)
def test_regular_plurals(name: str, plural: str) -> None:
    assert build.plural_of(name) == plural


def test_the_shipped_table_matches_the_shipped_data() -> None:
    """Who edits names.toml runs the builder too."""
    rows = build.read_names(build.HERE / "names.toml")
    shipped = json.loads((build.HERE / "data/concepts.json").read_text(encoding="utf-8"))["concepts"]
    fields = ("en", "ko", "plural", "counter", "category", "article")
    assert rows == {build.canonical(row["hexcode"]): {key: row[key] for key in fields} for row in shipped}


def test_textures_are_reproducible() -> None:
    with np.load(build.HERE / "data/textures.npz", allow_pickle=False) as pack:
        shipped = {key: pack[key] for key in pack.files}
    assert build.digest(build.textures()) == build.digest(shipped)
