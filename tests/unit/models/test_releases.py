"""The table of release files, and where they are looked for."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from bimacosr.errors import ModelError, OptionError
from bimacosr.models.releases import (
    RELEASES,
    Release,
    find_release,
    is_offline,
    release_named,
    releases_folder,
)


class TestTable:
    def test_it_has_the_files_of_the_official_scripts(self) -> None:
        resshift = "https://github.com/zsyOAOA/ResShift/releases/download/v2.0/"
        assert {release.folder + "/" + release.file for release in RELEASES.values()} == {
            resshift + "resshift_realsrx4_s15_v1.pth",
            resshift + "autoencoder_vq_f4.pth",
            "https://github.com/wyf0912/SinSR/releases/download/v1.0/SinSR_v1.pth",
        }

    def test_what_is_known_of_the_autoencoder(self) -> None:
        release = RELEASES["autoencoder_vq_f4"]
        assert release.size == 221_364_711
        assert release.sha256 is not None
        assert release.sha256.startswith("e967eaa2")

    @pytest.mark.parametrize("release", RELEASES.values(), ids=RELEASES)
    def test_every_row_is_sound(self, release: Release) -> None:
        assert release.sha256 is None or re.fullmatch("[0-9a-f]{64}", release.sha256)
        assert "non-commercial" in release.license.terms
        assert release.license.address.startswith("https://")
        assert RELEASES[release.name] is release
        assert release.name.casefold() not in ("all", "")

    @pytest.mark.parametrize("name", ["SinSR_v1", "SinSR_v1.pth", "sinsr_v1", "SINSR_V1.PTH"])
    def test_a_name_is_understood(self, name: str) -> None:
        assert release_named(name) is RELEASES["SinSR_v1"]

    def test_an_unknown_name_gets_the_known_ones(self) -> None:
        with pytest.raises(ModelError, match=r"no release 'v3': give one of resshift_.*, SinSR_v1"):
            release_named("v3")


class TestFolder:
    @pytest.fixture(autouse=True)
    def _home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Path, "home", lambda: tmp_path)
        for name in ("BIMACOSR_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
            monkeypatch.delenv(name, raising=False)

    @pytest.mark.parametrize(
        ("platform", "variables", "expected"),
        [
            ("linux", {}, ".cache/bimacosr"),
            ("linux", {"XDG_CACHE_HOME": "{}/xdg"}, "xdg/bimacosr"),
            ("linux", {"XDG_CACHE_HOME": "relative"}, ".cache/bimacosr"),
            ("linux", {"BIMACOSR_CACHE": "{}/mine", "XDG_CACHE_HOME": "{}/xdg"}, "mine"),
            ("darwin", {"XDG_CACHE_HOME": "{}/xdg"}, "Library/Caches/bimacosr"),
            ("win32", {}, "AppData/Local/bimacosr"),
            ("win32", {"LOCALAPPDATA": "{}/local"}, "local/bimacosr"),
            ("win32", {"BIMACOSR_CACHE": "{}/mine"}, "mine"),
        ],
    )
    def test_each_system_has_its_place(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        platform: str,
        variables: dict[str, str],
        expected: str,
    ) -> None:
        monkeypatch.setattr(sys, "platform", platform)
        for name, value in variables.items():
            monkeypatch.setenv(name, value.format(tmp_path))
        assert releases_folder() == tmp_path / expected / "weights"

    def test_a_relative_cache_folder_is_made_absolute(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("BIMACOSR_CACHE", "mine")
        assert releases_folder() == tmp_path / "mine" / "weights"

    def test_without_a_home_the_variable_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def homeless() -> Path:
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.setattr(Path, "home", homeless)
        monkeypatch.setattr(sys, "platform", "linux")
        with pytest.raises(ModelError, match="set BIMACOSR_CACHE"):
            releases_folder()


class TestFind:
    def test_a_release_in_the_cache(self, cache: Path) -> None:
        cache.mkdir(parents=True)
        (cache / "SinSR_v1.pth").write_bytes(b"weights")
        for name in ("SinSR_v1", "SinSR_v1.pth", "sinsr_v1"):
            assert find_release(name) == cache / "SinSR_v1.pth"

    def test_one_that_is_not_there(self, cache: Path) -> None:
        with pytest.raises(ModelError) as caught:
            find_release("sinsr_v1")
        assert "bimacosr weights download SinSR_v1" in str(caught.value)
        assert f"put SinSR_v1.pth into {cache}" in str(caught.value)

    def test_one_that_is_cut_short(self, cache: Path) -> None:
        cache.mkdir(parents=True)
        (cache / "autoencoder_vq_f4.pth").write_bytes(b"short")
        with pytest.raises(ModelError, match="damaged: it has 5 bytes instead of 221364711"):
            find_release("autoencoder_vq_f4")

    def test_a_file_anywhere(self, cache: Path, tmp_path: Path) -> None:
        (tmp_path / "my.pth").write_bytes(b"weights")
        assert find_release(str(tmp_path / "my.pth")) == tmp_path / "my.pth"
        assert find_release(tmp_path / "my.pth") == tmp_path / "my.pth"

    def test_a_file_here_goes_before_the_cache_but_not_before_a_name(
        self, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        cache.mkdir(parents=True)
        for folder in (tmp_path, cache):
            (folder / "SinSR_v1.pth").write_bytes(b"weights")
            (folder / "SinSR_v1").write_bytes(b"a file that is called as a release")
        assert find_release("SinSR_v1.pth") == Path("SinSR_v1.pth")
        assert find_release("SinSR_v1") == cache / "SinSR_v1.pth"

    def test_a_path_is_never_taken_for_a_name(self, cache: Path, tmp_path: Path) -> None:
        cache.mkdir(parents=True)
        (cache / "SinSR_v1.pth").write_bytes(b"weights")
        for path in ("weights/SinSR_v1.pth", Path("SinSR_v1.pth")):
            with pytest.raises(ModelError, match=r"SinSR_v1.pth do not exist; check the path"):
                find_release(path)

    @pytest.mark.parametrize("name", ["unet", "", "a" * 300, "nul\0byte"])
    def test_neither_a_file_nor_a_name(self, cache: Path, name: str) -> None:
        with pytest.raises(ModelError, match="weights") as caught:
            find_release(name)
        assert "give a file, or one of resshift" in str(caught.value) or "cannot be read" in str(
            caught.value
        )


class TestEnvironment:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [("", False), ("0", False), ("False", False), ("no", False), ("1", True), ("yes", True)],
    )
    def test_offline(self, monkeypatch: pytest.MonkeyPatch, value: str, expected: bool) -> None:
        monkeypatch.setenv("BIMACOSR_OFFLINE", value)
        assert is_offline() is expected

    @pytest.mark.parametrize("slash", ["", "/", "//"])
    def test_a_mirror_replaces_the_folder(
        self, monkeypatch: pytest.MonkeyPatch, slash: str
    ) -> None:
        monkeypatch.setenv("BIMACOSR_MIRROR", "https://example.org/weights" + slash)
        assert RELEASES["SinSR_v1"].address == "https://example.org/weights/SinSR_v1.pth"

    @pytest.mark.parametrize(
        "mirror",
        [
            "ftp://example.org/weights",
            "file:///tmp",
            "example.org/weights",
            "https://",
            "https://[",
            "https://example.org:port/",
            "https://me:secret@example.org/",
            "https://example.org/?file=",
            "https://example.org/a\nb",
        ],
    )
    def test_what_is_no_mirror(self, monkeypatch: pytest.MonkeyPatch, mirror: str) -> None:
        monkeypatch.setenv("BIMACOSR_MIRROR", mirror)
        with pytest.raises(OptionError, match="BIMACOSR_MIRROR must be the http") as caught:
            _ = RELEASES["SinSR_v1"].address
        assert "secret" not in str(caught.value)
