"""`bimacosr weights` from the outside, with a server of the test's own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from bimacosr.cli.weights import weights
from bimacosr.models import transfer
from bimacosr.models.releases import RELEASES
from tests.unit.models.file_server import Answer, FileServer, serving

CONTENT = bytes(range(256)) * 2000
SCRIPT = "from bimacosr.cli.weights import weights; weights()"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """Stands for GitHub, through `BIMACOSR_MIRROR`."""
    monkeypatch.setattr(transfer, "time", SimpleNamespace(sleep=lambda pause_s: None))
    monkeypatch.delenv("http_proxy", raising=False)
    monkeypatch.delenv("BIMACOSR_OFFLINE", raising=False)
    with serving(CONTENT) as running:
        monkeypatch.setenv("BIMACOSR_MIRROR", running.address)
        yield running


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BIMACOSR_CACHE", str(tmp_path))
    return tmp_path / "weights"


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(weights, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


class TestList:
    def test_every_release_with_its_facts(self, cache: Path) -> None:
        result = run("list")
        assert result.exit_code == 0
        for release in RELEASES.values():
            assert f"{release.name}\n" in result.stdout
            assert f"file: {release.path}\n" in result.stdout
        assert "221.4 MB" in result.stdout
        assert "unknown before the download" in result.stdout
        assert "S-Lab License 1.0" in result.stdout
        assert "CC BY-NC-SA 4.0" in result.stdout
        assert "(downloaded)" not in result.stdout

    def test_what_is_there_is_marked(self, server: FileServer, cache: Path) -> None:
        run("download", "SinSR_v1", "--yes")
        text = run("list").stdout
        assert text.count("(downloaded)") == 1
        assert "SinSR_v1 (downloaded)" in text
        assert "size: 0.5 MB" in text

    def test_a_bad_mirror_is_one_sentence(
        self, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BIMACOSR_MIRROR", "nowhere")
        result = run("list")
        assert result.exit_code == 1
        assert result.stderr.startswith("error: BIMACOSR_MIRROR must be")


class TestDownload:
    @pytest.mark.parametrize("flag", ["--yes", "--accept-license"])
    def test_the_licence_comes_before_the_file(
        self, server: FileServer, cache: Path, flag: str
    ) -> None:
        result = run("download", "sinsr_v1", flag)
        assert result.exit_code == 0
        assert "SinSR_v1: CC BY-NC-SA 4.0: non-commercial use only" in result.stderr
        assert result.stdout == f"SinSR_v1: {cache / 'SinSR_v1.pth'} downloaded, 0.5 MB\n"
        assert (cache / "SinSR_v1.pth").read_bytes() == CONTENT

    def test_nobody_to_ask(self, server: FileServer, cache: Path) -> None:
        result = run("download", "SinSR_v1")
        assert result.exit_code == 1
        assert "CC BY-NC-SA 4.0" in result.stderr
        assert "error: the licence must be accepted" in result.stderr
        assert "--accept-license" in result.stderr
        assert server.requests == []

    def test_a_second_time_nothing_is_asked(self, server: FileServer, cache: Path) -> None:
        run("download", "SinSR_v1", "--yes")
        result = run("download", "SinSR_v1", "SinSR_v1.pth")
        assert result.exit_code == 0
        assert result.stdout == f"SinSR_v1: {cache / 'SinSR_v1.pth'} is there\n"
        assert result.stderr == ""
        assert len(server.requests) == 1

    def test_one_that_fails_does_not_stop_the_others(self, server: FileServer, cache: Path) -> None:
        result = run("download", "all", "--yes")
        assert result.exit_code == 1
        assert "S-Lab License 1.0" in result.stderr
        assert "another file: it has 512000 bytes instead of 221364711" in result.stderr
        assert {path.name for path in cache.glob("*.pth")} == {
            "SinSR_v1.pth",
            "resshift_realsrx4_s15_v1.pth",
        }

    def test_refused_by_the_server(self, server: FileServer, cache: Path) -> None:
        server.answers.append(Answer(status=404))
        result = run("download", "SinSR_v1", "--yes")
        assert result.exit_code == 1
        assert f"{server.address}/SinSR_v1.pth is not there (404)" in result.stderr
        assert f"put the file at {cache / 'SinSR_v1.pth'} by hand" in result.stderr

    def test_offline_names_file_and_place_and_asks_nothing(
        self, server: FileServer, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BIMACOSR_OFFLINE", "1")
        result = run("download", "SinSR_v1")
        assert result.exit_code == 1
        assert "SinSR_v1.pth is not in the cache, and BIMACOSR_OFFLINE" in result.stderr
        assert f"put it at {cache / 'SinSR_v1.pth'}" in result.stderr
        assert "CC BY" not in result.stderr
        assert server.requests == []

    def test_an_unknown_name_stops_before_anything(self, server: FileServer, cache: Path) -> None:
        result = run("download", "all", "v3", "--yes")
        assert result.exit_code == 1
        assert "there is no release 'v3'" in result.stderr
        assert server.requests == []

    def test_ctrl_c_keeps_what_arrived(
        self, server: FileServer, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(*arguments: object) -> bytes:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            server.answers.append(Answer(drop_after=1000))
            patch.setattr(transfer, "time", SimpleNamespace(sleep=interrupt))
            result = run("download", "SinSR_v1", "--yes")
        assert result.exit_code == 130
        assert "run again to go on" in result.stderr
        assert run("download", "SinSR_v1", "--yes").exit_code == 0
        assert server.requests[-1]["Range"] == "bytes=1000-"

    def test_quiet(self, server: FileServer, cache: Path) -> None:
        result = run("download", "SinSR_v1", "--yes", "-q")
        assert result.exit_code == 0
        assert result.stdout == ""


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
class TestTerminal:
    def ask(self, answer: bytes, *arguments: str) -> tuple[int, str]:
        """Run the command on a terminal on which somebody types `answer`."""
        ours, theirs = os.openpty()
        os.write(ours, answer)
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=os.environ | {"COLUMNS": "100", "TERM": "xterm"},
        )
        os.close(theirs)
        text = b""
        try:
            while block := os.read(ours, 4096):
                text += block
        except OSError:  # so Linux says that the other side is closed
            pass
        os.close(ours)
        return process.wait(), text.decode()

    def test_yes(self, server: FileServer, cache: Path) -> None:
        status, text = self.ask(b"y\n", "download", "SinSR_v1")
        assert status == 0
        assert text.index("CC BY-NC-SA 4.0") < text.index("Do you accept?")
        assert text.index("Do you accept?") < text.index("downloaded, 0.5 MB")
        assert (cache / "SinSR_v1.pth").read_bytes() == CONTENT

    @pytest.mark.parametrize("answer", [b"n\n", b"\n"])
    def test_no(self, server: FileServer, cache: Path, answer: bytes) -> None:
        status, text = self.ask(answer, "download", "SinSR_v1")
        assert status == 1
        assert "the licence is not accepted, so nothing is downloaded" in text
        assert server.requests == []

    def test_a_bar_with_size_and_rate(self, server: FileServer, cache: Path) -> None:
        server.answers.append(Answer(drop_after=300_000))
        status, text = self.ask(b"", "download", "SinSR_v1", "--yes")
        assert status == 0
        assert re.search(r"[\d.]+/512\.0 kB", text)
        assert re.search(r"[\d.]+ .?B/s", text)


class TestVerify:
    def test_nothing_there(self, cache: Path) -> None:
        result = run("verify")
        assert result.exit_code == 0
        assert "no release file is in the cache" in result.stdout

    def test_what_is_there_is_intact(self, server: FileServer, cache: Path) -> None:
        run("download", "SinSR_v1", "--yes")
        for arguments in ((), ("SinSR_v1",), ("all",)):
            result = run("verify", *arguments)
            assert result.exit_code == 0
            assert result.stdout == "SinSR_v1: intact, as recorded\n"

    def test_damage(self, server: FileServer, cache: Path) -> None:
        run("download", "SinSR_v1", "resshift_realsrx4_s15_v1", "--yes")
        (cache / "SinSR_v1.pth").write_bytes(CONTENT[:-1] + b"?")
        result = run("verify")
        assert result.exit_code == 1
        assert f"error: {cache / 'SinSR_v1.pth'} is damaged" in result.stderr
        assert "bimacosr weights download SinSR_v1" in result.stderr
        assert "resshift_realsrx4_s15_v1: intact" in result.stdout
        assert run("download", "SinSR_v1", "--yes").exit_code == 0
        assert run("verify").exit_code == 0

    def test_one_that_was_named_and_is_not_there(self, cache: Path) -> None:
        result = run("verify", "autoencoder_vq_f4")
        assert result.exit_code == 1
        assert "autoencoder_vq_f4.pth is not there" in result.stderr

    def test_a_file_of_another_length_than_published(self, cache: Path) -> None:
        cache.mkdir()
        (cache / "autoencoder_vq_f4.pth").write_bytes(CONTENT)
        assert run("verify").exit_code == 1

    def test_a_file_put_there_by_hand_is_recorded(self, cache: Path) -> None:
        cache.mkdir()
        (cache / "SinSR_v1.pth").write_bytes(CONTENT)
        result = run("verify")
        assert result.exit_code == 0
        assert "no hash was known; recorded" in result.stdout
        assert run("verify").stdout == "SinSR_v1: intact, as recorded\n"
        (cache / "SinSR_v1.pth").write_bytes(CONTENT[:-1])
        assert run("verify").exit_code == 1

    def test_a_damaged_record_does_not_stop_the_others(
        self, server: FileServer, cache: Path
    ) -> None:
        run("download", "SinSR_v1", "resshift_realsrx4_s15_v1", "--yes")
        (cache / "resshift_realsrx4_s15_v1.pth.sha256").write_text("?")
        result = run("verify")
        assert result.exit_code == 1
        assert "holds no SHA-256" in result.stderr
        assert "SinSR_v1: intact" in result.stdout
