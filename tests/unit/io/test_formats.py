from __future__ import annotations

from pathlib import Path

import pytest

from bimacosr.config.picture import PictureLimits
from bimacosr.errors import OptionError
from bimacosr.io import FORMATS, format_for, is_picture_name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("png", "PNG"),
        ("PNG", "PNG"),
        ("jpg", "JPEG"),
        (".jpeg", "JPEG"),
        ("tif", "TIFF"),
        ("Tiff", "TIFF"),
        ("webp", "WEBP"),
        ("bmp", "BMP"),
        ("out/photo.JPG", "JPEG"),
        (Path("a.b/photo.tif"), "TIFF"),
    ],
)
def test_formats_are_found_by_name_extension_and_path(name, expected: str) -> None:
    assert format_for(name).name == expected


@pytest.mark.parametrize("name", ["gif", "photo.heic", "photo", "", "a.png/photo"])
def test_an_unknown_format_names_the_known(name: str) -> None:
    with pytest.raises(OptionError, match="choose one of PNG, JPEG, WEBP, TIFF, BMP"):
        format_for(name)


def test_no_extension_belongs_to_two_formats() -> None:
    extensions = [extension for form in FORMATS for extension in form.extensions]
    assert len(extensions) == len(set(extensions))
    assert all(extension == extension.lower() for extension in extensions)


@pytest.mark.parametrize("name", ["a.png", "A.JPEG", "x/y.tiff", "b.jfif"])
def test_pictures_in_a_folder(name: str) -> None:
    assert is_picture_name(name)


@pytest.mark.parametrize(
    "name", ["a.gif", "a.txt", "png", ".a.png", "._a.png", ".a.png.1f.part", "a.png.part"]
)
def test_what_is_no_picture_in_a_folder(name: str) -> None:
    assert not is_picture_name(name)


@pytest.mark.parametrize("value", [0, -1, 1.5, True])
def test_limits_out_of_range(value: object) -> None:
    with pytest.raises(OptionError, match=r"max_pixels is .* whole number of 1 or more"):
        PictureLimits(max_pixels=value)  # type: ignore[arg-type]
