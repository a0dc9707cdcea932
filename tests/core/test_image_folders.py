"""Names of pictures: found below their folders, in several where asked, and never outside."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import ImageFolders, encode_png, image_file, read_image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "images"
    (root / "sub").mkdir(parents=True)
    for path in (root / "a.png", root / "sub/b.png", tmp_path / "secret.png"):
        path.write_bytes(encode_png(Image.new("RGB", (2, 2), "red")))
    (tmp_path / "images-too").mkdir()
    (tmp_path / "images-too/c.png").write_bytes(b"")
    (root / "out.png").symlink_to(tmp_path / "secret.png")
    (root / "out").symlink_to(tmp_path)
    (root / "in.png").symlink_to(root / "sub/b.png")
    return root


@pytest.mark.parametrize("name", ["a.png", "sub/b.png", "sub/../a.png", "./a.png", "in.png"])
def test_names_below_the_folder_are_found(folder: Path, name: str) -> None:
    assert read_image(image_file(folder, name)).size == (2, 2)


@pytest.mark.parametrize(
    "name", ["../secret.png", "sub/../../secret.png", "../images-too/c.png", "out.png", "out/secret.png", "a.png\0"]
)
def test_names_that_lead_out_of_the_folder_are_refused(folder: Path, name: str) -> None:
    with pytest.raises(InputError, match="leads out of the folder"):
        image_file(folder, name)


def test_absolute_names_are_refused_even_of_a_file_that_is_there(folder: Path) -> None:
    with pytest.raises(InputError, match="leads out of the folder"):
        image_file(folder, str(folder.parent / "secret.png"))


@pytest.mark.parametrize("name", ["none.png", "", ".", "sub", "a.png/b.png", "x" * 200])
def test_names_of_no_file_are_refused_as_missing(folder: Path, name: str) -> None:
    with pytest.raises(InputError, match="is missing"):
        image_file(folder, name)


@pytest.mark.parametrize("name", ["a.png", "./a.png", "sub/../a.png", ".//a.png", "{folder}/a.png", "{link}/a.png"])
def test_a_file_has_one_name_however_a_row_writes_it(folder: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "link").symlink_to(folder)
    written = name.format(folder=folder, link=tmp_path / "link")
    assert ImageFolders([folder]).find(written) == "a.png"
    assert ImageFolders([tmp_path / "link"]).find(written) == "a.png"


def test_a_link_inside_keeps_its_own_name(folder: Path) -> None:
    assert ImageFolders([folder]).find("in.png") == "in.png"


def tree(root: Path, *names: str) -> Path:
    """Files below `root`, each of which holds its own path."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{root.name}/{name}")
    return root


def read_text(images: ImageFolders, name: str) -> str:
    picture = images.read(images.find(name))
    assert picture["path"] == images.find(name)
    return (picture["bytes"] or b"").decode()


def test_a_picture_is_searched_for_below_several_folders(tmp_path: Path) -> None:
    coco = tree(tmp_path / "coco", "train2017/000000000139.jpg", "val2017/000000000285.jpg")
    others = tree(tmp_path / "others", "ade/training/c/ADE_train_00009414.jpg", "vg/VG_100K/2.jpg", "flat.jpg")
    images = ImageFolders([coco, others], search=True)
    assert images.find("000000000139.jpg") == "train2017/000000000139.jpg"
    assert read_text(images, "val2017/000000000285.jpg") == "coco/val2017/000000000285.jpg"
    assert read_text(images, "ADE_train_00009414.jpg") == "others/ade/training/c/ADE_train_00009414.jpg"
    assert read_text(images, "VG_100K/2.jpg") == "others/vg/VG_100K/2.jpg"
    assert read_text(images, "flat.jpg") == "others/flat.jpg"


def test_the_name_as_it_stands_wins_over_the_search_and_the_first_folder_over_the_second(tmp_path: Path) -> None:
    first, second = tree(tmp_path / "first", "sub/a.jpg"), tree(tmp_path / "second", "a.jpg", "sub/a.jpg")
    images = ImageFolders([first, second], search=True)
    assert read_text(images, "a.jpg") == "second/a.jpg"
    assert read_text(images, "sub/a.jpg") == "first/sub/a.jpg"


@pytest.mark.parametrize(("name", "found"), [("VG_100K/2.jpg", "x/VG_100K/2.jpg"), ("x/VG_100K/2.jpg", None)])
def test_a_name_that_fits_two_files_is_refused_unless_it_names_the_folder(
    tmp_path: Path, name: str, found: str | None
) -> None:
    images = ImageFolders([tree(tmp_path / "a", "x/VG_100K/2.jpg"), tree(tmp_path / "b", "x/VG_100K_2/2.jpg")], True)
    assert images.find(name) == (found or name)
    with pytest.raises(InputError, match=r"'2\.jpg' fits x/VG_100K/2\.jpg and x/VG_100K_2/2\.jpg") as error:
        images.find("2.jpg")
    assert "source.images" in error.value.hint


@pytest.mark.parametrize("name", ["2.jpg", "b.jpg", "100K/22.jpg", "sub", "", "none.jpg"])
def test_a_search_finds_whole_names_only(tmp_path: Path, name: str) -> None:
    images = ImageFolders([tree(tmp_path / "a", "sub/VG_100K/22.jpg", "sub/ab.jpg")], search=True)
    with pytest.raises(InputError, match="is missing"):
        images.find(name)


def test_without_search_a_picture_in_a_sub_folder_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is missing"):
        ImageFolders([tree(tmp_path / "a", "sub/a.jpg")]).find("a.jpg")


@pytest.mark.parametrize("name", ["../secret.png", "out.png", "out/secret.png", "sub/../../secret.png", "a\0.png"])
def test_a_search_never_leads_out_of_the_folders(folder: Path, name: str) -> None:
    images = ImageFolders([folder, folder.parent / "images-too"], search=True)
    with pytest.raises(InputError):
        images.read(images.find(name))
    (folder / "deeper").mkdir()
    (folder / "deeper/link.png").symlink_to(folder.parent / "secret.png")
    with pytest.raises(InputError, match="leads out of the folder"):
        ImageFolders([folder], search=True).read("deeper/link.png")


def test_the_folders_are_walked_once_whatever_is_searched_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walks: list[Path] = []
    walk = os.walk

    def counted(root: Path) -> Any:
        walks.append(root)
        return walk(root)

    monkeypatch.setattr(os, "walk", counted)
    images = ImageFolders([tree(tmp_path / "a", "a.jpg", *(f"sub/{k}.jpg" for k in range(20)))], search=True)
    assert images.find("a.jpg") == "a.jpg"
    assert walks == []
    for k in range(20):
        assert images.find(f"{k}.jpg") == f"sub/{k}.jpg"
    assert walks == [tmp_path / "a"]


def test_a_folder_may_be_a_link_and_links_out_of_it_are_not_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tree(tmp_path / "real", "sub/a.jpg"))
    assert read_text(ImageFolders([tmp_path / "link"], search=True), "a.jpg") == "real/sub/a.jpg"
    (tmp_path / "of links").mkdir()
    (tmp_path / "of links/coco").symlink_to(tmp_path / "real")
    with pytest.raises(InputError, match="missing"):
        ImageFolders([tmp_path / "of links"], search=True).find("a.jpg")


def test_a_folder_whose_name_is_not_utf_8_is_named_where_a_picture_lies_in_it(tmp_path: Path) -> None:
    strange = os.fsencode(tmp_path) + b"/caf\xe9"
    Path(os.fsdecode(strange)).mkdir()
    Path(os.fsdecode(strange + b"/a.jpg")).write_text("a")
    with pytest.raises(InputError, match=r"'a\.jpg' lies in a folder whose name is not UTF-8"):
        ImageFolders([tmp_path], search=True).find("a.jpg")


def test_a_picture_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "a.jpg")

    def refused(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", refused)
    with pytest.raises(InputError, match=r"a\.jpg: cannot be read \(Permission denied\)"):
        ImageFolders([tmp_path]).read("a.jpg")
