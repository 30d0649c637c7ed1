"""Folders of class folders: layout, parts, decoding, and what is said of bad input."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from keras_classics.datasets import data, folder_index, image_folder
from keras_classics.datasets.parts import Part
from keras_classics.errors import InputError

random = np.random.default_rng(0)


def picture(path: Path, size: tuple[int, int] = (12, 10), mode: str = "RGB", seed: int | None = None) -> np.ndarray:
    """Write random pixels to `path`; `size` is (height, width)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = size if mode == "L" else (*size, len(mode))
    pixels = (random if seed is None else np.random.default_rng(seed)).integers(0, 256, shape, np.uint8)
    Image.fromarray(pixels, mode).save(path)
    return pixels


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of twenty images, all different."""
    for name in ("cat", "dog"):
        for number in range(20):
            picture(tmp_path / name / f"{number:02}.png")
    return tmp_path


def message_of(*arguments: Any) -> str:
    with pytest.raises(InputError) as caught:
        data.load(*map(str, arguments[:1]), *arguments[1:])
    text = str(caught.value)
    assert "\n" not in text
    return text


def paths(part: Part) -> set[Path]:
    return {file.path for file in part.source.files}


def test_a_tenth_of_each_class_is_held_out_for_test_and_for_validation(folder: Path) -> None:
    dataset = data.load(str(folder))
    assert dataset.class_names == ("cat", "dog")
    assert {name: np.bincount(part.labels).tolist() for name, part in dataset.parts.items()} == {
        "train": [15, 15],
        "validation": [2, 2],
        "calibration": [1, 1],
        "test": [2, 2],
    }
    assert set.union(*map(paths, dataset.parts.values())) == set(folder.rglob("*.png"))


def test_parts_depend_on_content_and_not_on_names(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    before = data.load(str(folder))
    other = tmp_path_factory.mktemp("renamed")
    for number, path in enumerate(sorted(folder.rglob("*.png"), reverse=True)):
        (other / path.parent.name).mkdir(exist_ok=True)
        path.rename(other / path.parent.name / f"new{number}.png")
    after = data.load(str(other))
    for name, part in before.parts.items():
        same = {file.digest for file in part.source.files} == {file.digest for file in after.parts[name].source.files}
        assert same, name


def test_copies_of_an_image_land_in_one_part(folder: Path) -> None:
    for path in list((folder / "cat").iterdir()):
        (folder / "cat" / f"copy of {path.name}").write_bytes(path.read_bytes())
        (folder / "dog" / f"taken for a dog {path.name}").write_bytes(path.read_bytes())
    parts = data.load(str(folder)).parts.values()
    digests = [{file.digest for file in part.source.files} for part in parts]
    assert sum(map(len, digests)) == 40
    assert sum(len(part) for part in parts) == 80


def test_split_folders_are_kept_and_what_is_missing_is_held_out_of_train(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("split")
    for part in ("train", "val", "test"):
        for name in ("cat", "dog"):
            for number in range(8):
                picture(root / part / name / f"{number}.png")
    dataset = data.load(str(root))
    assert paths(dataset.test) == set((root / "test").rglob("*.png"))
    assert paths(dataset.validation) == set((root / "val").rglob("*.png"))
    assert paths(dataset.train) | paths(dataset.calibration) == set((root / "train").rglob("*.png"))
    assert len(dataset.calibration) == 2


def test_what_is_tested_on_is_not_trained_on_even_if_train_holds_it(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("leaking")
    folder.rename(root / "train")
    for name in ("cat", "dog"):
        (root / "test" / name).mkdir(parents=True)
        for number in range(3):
            same = (root / "train" / name / f"{number:02}.png").read_bytes()
            (root / "test" / name / f"other name {number}.png").write_bytes(same)
    with pytest.warns(UserWarning, match="6 images occur in more than one part"):
        dataset = data.load(str(root))
    tested = {file.digest for file in dataset.test.source.files}
    assert len(dataset.test) == 6
    for part in (dataset.train, dataset.validation, dataset.calibration):
        assert not tested & {file.digest for file in part.source.files}


def test_images_of_one_size_keep_it_up_to_the_default_size(folder: Path) -> None:
    assert data.load(str(folder)).image_shape == (12, 10, 3)
    assert data.load(str(folder), default_size=11).image_shape == (11, 11, 3)
    picture(folder / "cat" / "larger.png", (16, 16))
    assert data.load(str(folder), default_size=64).image_shape == (64, 64, 3)
    assert data.load(str(folder), (7, 9, 3)).train.images(slice(2)).shape == (2, 7, 9, 3)


def test_pixels_are_those_of_the_file(folder: Path) -> None:
    pixels = picture(folder / "cat" / "known.png")
    dataset = data.load(str(folder))
    found = [
        part.images(np.array([index]))[0]
        for part in dataset.parts.values()
        for index, file in enumerate(part.source.files)
        if file.path.name == "known.png"
    ]
    np.testing.assert_allclose(found, [pixels / 255], atol=1e-6)


def test_resizing_keeps_the_middle_of_the_longer_side(tmp_path: Path) -> None:
    pixels = np.zeros((8, 24), np.uint8)
    pixels[:, 8:16] = 200
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    assert (image_folder.decode(tmp_path / "wide.png", (4, 4, 1)) > 150).all()


def test_channels_are_one_only_if_every_image_is_grayscale(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    gray = tmp_path_factory.mktemp("gray")
    for name in ("a", "b"):
        for number in range(5):
            picture(gray / name / f"{number}.png", mode="L")
    assert data.load(str(gray)).image_shape == (12, 10, 1)
    picture(folder / "cat" / "gray.png", mode="L")
    assert data.load(str(folder)).image_shape == (12, 10, 3)


def test_sixteen_bit_grays_are_scaled_and_not_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 257, 32896, 65535]], np.uint16)).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(image_folder.decode(tmp_path / "deep.png", (1, 4, 1))[0, :, 0], [0, 1, 128, 255])


def test_a_photo_taken_sideways_is_set_upright(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 255]], np.uint8).repeat(8, 0).repeat(8, 1))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: the right edge of the pixels is the bottom of the scene
    image.save(tmp_path / "sideways.png", exif=exif)
    upright = image_folder.decode(tmp_path / "sideways.png", (16, 8, 1))
    assert upright[0].max() < 10
    assert upright[-1].min() > 245


def test_other_files_are_passed_over_and_subfolders_are_searched(folder: Path) -> None:
    (folder / "cat" / "Thumbs.db").write_bytes(b"x")
    (folder / ".cache").mkdir()
    picture(folder / "cat" / "more" / "deep.PNG")
    dataset = data.load(str(folder))
    assert dataset.class_names == ("cat", "dog")
    assert sum(len(part) for part in dataset.parts.values()) == 41


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert f"{tmp_path / 'none'} is not a folder" in message_of(tmp_path / "none")


def test_the_home_of_nobody() -> None:
    assert "~nobody-of-that-name is not a folder" in message_of("~nobody-of-that-name")


def test_a_file_instead_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert "file is not a folder" in message_of(tmp_path / "file")


def test_a_folder_without_class_folders(tmp_path: Path) -> None:
    assert "has no class folders" in message_of(tmp_path)
    picture(tmp_path / "loose.png")
    assert "has no class folders; put the images of each class in a folder" in message_of(tmp_path)


def test_a_class_folder_without_images(folder: Path) -> None:
    (folder / "eel").mkdir()
    assert f"{folder / 'eel'} has no images" in message_of(folder)


def test_a_single_class(folder: Path) -> None:
    for path in (folder / "dog").iterdir():
        path.unlink()
    (folder / "dog").rmdir()
    assert "one class folder, cat; classification takes at least two" in message_of(folder)


def test_a_split_without_test_images(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("untested")
    folder.rename(root / "train")
    assert "has train but no test" in message_of(root)


def test_two_folders_for_validation(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("twice")
    folder.rename(root / "train")
    for name in ("test", "val", "validation"):
        (root / name).mkdir()
    assert "both val and validation" in message_of(root)


def test_a_class_that_is_only_tested(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("strange")
    folder.rename(root / "train")
    picture(root / "test" / "eel" / "0.png")
    assert f"{root / 'test' / 'eel'} is a class that train has not" in message_of(root)


def test_too_few_images_of_a_class(folder: Path) -> None:
    for number in range(3):
        picture(folder / "eel" / f"{number}.png")
    assert "class eel" in message_of(folder)
    assert "at least four" in message_of(folder)
    picture(folder / "eel" / "fourth.png")
    dataset = data.load(str(folder))
    assert [np.count_nonzero(part.labels == 2) for part in dataset.parts.values()] == [1, 1, 1, 1]


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "gif"])
def test_a_truncated_image_is_named(folder: Path, suffix: str) -> None:
    path = folder / "cat" / f"cut.{suffix}"
    picture(path, (40, 40))
    path.write_bytes(path.read_bytes()[:-60])
    assert f"{path} cannot be read as an image" in message_of(folder)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_a_file_that_is_no_image_is_named(folder: Path, content: bytes) -> None:
    path = folder / "cat" / "text.png"
    path.write_bytes(content)
    assert f"{path} cannot be read as an image" in message_of(folder)


def test_a_format_that_would_start_a_program_is_not_opened(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow runs Ghostscript on what is PostScript, whatever its name ends in."""
    programs = tmp_path_factory.mktemp("programs")
    (programs / "gs").write_text(f"#!/bin/sh\ntouch {programs}/started\n")
    (programs / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    path = folder / "cat" / "drawing.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n")
    assert f"{path} cannot be read as an image (it is none of BMP, " in message_of(folder)
    assert not (programs / "started").exists()


@pytest.mark.parametrize("suffix", ["gif", "png", "tiff", "webp"])
def test_an_animation_is_refused_by_name(folder: Path, suffix: str) -> None:
    path = folder / "cat" / f"moving.{suffix}"
    frames = [Image.fromarray(random.integers(0, 256, (12, 10, 3), np.uint8)) for _ in range(3)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert f"{path} cannot be read as an image (it holds several pictures" in message_of(folder)


def test_a_header_of_too_many_pixels_is_refused_before_they_are_decoded(tmp_path: Path) -> None:
    path = tmp_path / "vast.pgm"
    path.write_bytes(b"P5 13000 13000 255\n" + bytes(1000))
    with (
        pytest.warns(Image.DecompressionBombWarning),
        pytest.raises(InputError, match="13000×13000 are more than 134,217,728 pixels"),
    ):
        image_folder.decode(path, (8, 8, 1))


def test_a_pipe_among_the_images_is_passed_over_and_not_waited_for(folder: Path) -> None:
    path = folder / "cat" / "pipe.png"
    os.mkfifo(path)
    assert len(data.load(str(folder)).train) == 30
    with pytest.raises(InputError, match="it is not a file"):
        image_folder.decode(path, (8, 8, 3))


def test_grays_without_a_known_range_are_refused(folder: Path) -> None:
    path = folder / "cat" / "float.tiff"
    Image.fromarray(random.random((12, 10), np.float32)).save(path)
    assert f"{path} cannot be read as an image (its pixels are of mode F" in message_of(folder)


def test_a_wrong_channel_count_brings_the_mend(folder: Path) -> None:
    text = message_of(folder, (8, 8, 1))
    assert "holds colour images and an image shape of 8×8×1 is asked for; use 8×8×3" in text


def spoil(folder: Path) -> None:
    """Two images that cannot be read, what archivers leave, and a pipe that is called like an image."""
    (folder / "cat" / "broken.jpg").write_bytes(b"\xff\xd8\xff half a JPEG")
    (folder / "dog" / "phone.heic").write_bytes(b"not for Pillow")
    (folder / "cat" / "._00.png").write_bytes(b"left by macOS")
    (folder / "dog" / "__MACOSX").mkdir()
    (folder / "dog" / "__MACOSX" / "01.png").write_bytes(b"left by macOS")
    (folder / "__MACOSX" / "cat").mkdir(parents=True)
    os.mkfifo(folder / "cat" / "pipe.png")


def test_all_that_cannot_be_read_is_named_at_once(folder: Path) -> None:
    spoil(folder)
    message = message_of(folder)
    assert message.startswith("2 images cannot be read: ")
    assert "broken.jpg" in message
    assert "phone.heic" in message
    assert message.endswith("replace or remove them, or give --skip-unreadable")


def test_what_cannot_be_read_is_skipped_where_that_is_asked_for(folder: Path) -> None:
    expected = data.load(str(folder))
    spoil(folder)
    dataset = data.load(str(folder), skip_unreadable=True)
    assert dataset.class_names == expected.class_names
    assert [Path(line.split()[0]).name for line in dataset.skipped] == ["broken.jpg", "phone.heic"]
    assert {name: part.digest() for name, part in dataset.parts.items()} == {
        name: part.digest() for name, part in expected.parts.items()
    }


def test_a_folder_is_read_once_and_again_only_where_it_changed(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path_factory.mktemp("home")))
    for path in folder.rglob("*.png"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    read: list[Path] = []
    inspect = image_folder._inspect

    def remembered(path: Path) -> folder_index.Found:
        read.append(path)
        return inspect(path)

    monkeypatch.setattr(image_folder, "_inspect", remembered)
    first = data.load(str(folder))
    assert len(read) == 40
    again = data.load(str(folder))
    assert len(read) == 40
    assert {name: part.digest() for name, part in first.parts.items()} == {
        name: part.digest() for name, part in again.parts.items()
    }
    changed, gone = folder / "cat" / "03.png", folder / "dog" / "05.png"
    picture(changed)
    gone.unlink()
    everywhere = set().union(*(paths(part) for part in data.load(str(folder)).parts.values()))
    assert changed in everywhere
    assert gone not in everywhere
    assert set(read[40:]) == {changed}
    for index in Path(os.environ["KERAS_HOME"]).rglob("*.json"):
        index.write_text("{")
    del read[:]
    data.load(str(folder))
    assert len(read) == 39


def test_a_home_that_cannot_be_written_to_is_done_without(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", "/proc/none")
    assert len(data.load(str(folder)).train) == 30


def test_what_file_managers_leave_is_passed_over(folder: Path) -> None:
    (folder / "cat" / "._00.png").write_bytes(b"no image")
    (folder / "cat" / "__MACOSX").mkdir()
    (folder / "cat" / "__MACOSX" / "00.png").write_bytes(b"no image")
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "00.png").write_bytes(b"no image")
    os.mkfifo(folder / "dog" / "pipe.png")
    dataset = data.load(str(folder))
    assert dataset.class_names == ("cat", "dog")
    assert sum(map(len, dataset.parts.values())) == 40


def test_large_jpegs_are_decoded_at_a_fraction_of_their_size_to_nearly_the_same(tmp_path: Path) -> None:
    skimage = pytest.importorskip("skimage.data")
    photo = Image.fromarray(skimage.chelsea()).resize((1804, 1200), Image.Resampling.BICUBIC)
    photo.save(tmp_path / "large.jpg", quality=95)
    photo.save(tmp_path / "large.png")
    drafted, whole = (image_folder.decode(tmp_path / f"large.{kind}", (224, 224, 3)) for kind in ("jpg", "png"))
    assert np.abs(drafted.astype(int) - whole).mean() < 2
    decoded = image_folder._read(tmp_path / "large.jpg", 224)
    assert decoded.size == (451, 300)


def test_gray_images_are_three_channels_for_a_network_that_takes_colours(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        for number in range(8):
            picture(tmp_path / name / f"{number}.png", mode="L")
    assert data.load(str(tmp_path)).image_shape == (12, 10, 1)
    images = data.load(str(tmp_path), (12, 10, 3)).train.images()
    np.testing.assert_array_equal(images[..., 0], images[..., 2])
    np.testing.assert_array_equal(images[..., :1], data.load(str(tmp_path)).train.images())
