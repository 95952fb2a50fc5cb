"""Downloads from a server that drops connections, lies, changes its file and refuses."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from bimacosr.errors import ModelError
from bimacosr.models import connection, lock, transfer
from bimacosr.models.checksum import State, check
from bimacosr.models.download import download
from bimacosr.models.releases import Release
from tests.unit.models.conftest import CONTENT, SHA256
from tests.unit.models.file_server import Answer, FileServer, closed_port

CUT = 300_000


def only_the_file_stays(cache: Path) -> None:
    assert {path.name for path in cache.iterdir()} == {"net.pth", "net.pth.sha256", "net.pth.lock"}
    assert (cache / "net.pth").read_bytes() == CONTENT


class TestUndisturbed:
    def test_the_file_comes_whole_and_its_hash_is_recorded(
        self, release: Release, cache: Path
    ) -> None:
        seen: list[tuple[int, int | None]] = []
        path = download(release, lambda done, total: seen.append((done, total)))
        assert path == cache / "net.pth"
        only_the_file_stays(cache)
        assert (cache / "net.pth.sha256").read_text() == f"{SHA256}  net.pth\n"
        assert seen[0] == (0, len(CONTENT))
        assert seen[-1] == (len(CONTENT), len(CONTENT))
        assert seen == sorted(seen)

    def test_an_intact_file_is_not_fetched_again(
        self, release: Release, server: FileServer
    ) -> None:
        download(release)
        assert download(release).read_bytes() == CONTENT
        assert len(server.requests) == 1

    def test_a_file_put_there_by_hand_is_trusted_and_recorded(
        self, release: Release, server: FileServer, cache: Path
    ) -> None:
        cache.mkdir(parents=True)
        (cache / "net.pth").write_bytes(CONTENT)
        assert check(release) is State.UNRECORDED
        download(release)
        assert check(release) is State.INTACT
        assert server.requests == []

    def test_a_damaged_file_is_replaced(self, release: Release, cache: Path) -> None:
        download(release)
        damaged = bytearray(CONTENT)
        damaged[1000] ^= 1
        (cache / "net.pth").write_bytes(damaged)
        assert check(release) is State.DAMAGED
        download(release)
        only_the_file_stays(cache)

    def test_a_mirror(
        self, release: Release, server: FileServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        elsewhere = replace(release, folder=f"http://127.0.0.1:{closed_port()}")
        monkeypatch.setenv("BIMACOSR_MIRROR", f"{server.address}/deep/folder/")
        download(elsewhere)
        assert server.paths == ["/deep/folder/net.pth"]

    def test_a_proxy(
        self, release: Release, server: FileServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("http_proxy", server.address)
        monkeypatch.setenv("no_proxy", "")
        download(replace(release, folder="http://weights.invalid"))
        assert server.paths == ["http://weights.invalid/net.pth"]

    @pytest.mark.parametrize("location", ["/elsewhere/net.pth", "{}/elsewhere/net.pth"])
    def test_a_redirect(
        self,
        release: Release,
        server: FileServer,
        cache: Path,
        pauses: list[float],
        location: str,
    ) -> None:
        redirect = Answer(status=302, headers={"Location": location.format(server.address)})
        server.answers += [redirect, Answer(drop_after=CUT), redirect]
        download(release)
        only_the_file_stays(cache)
        assert server.paths == ["/net.pth", "/elsewhere/net.pth"] * 2
        assert server.requests[-1]["Range"] == f"bytes={CUT}-"


class TestInterrupted:
    @pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
    def test_it_goes_on_where_it_broke_off(
        self,
        release: Release,
        server: FileServer,
        cache: Path,
        pauses: list[float],
        reset: bool,
    ) -> None:
        server.answers += [Answer(drop_after=CUT, reset=reset), Answer(drop_after=1000)]
        download(release)
        only_the_file_stays(cache)
        assert "Range" not in server.requests[0]
        begins = [int(r["Range"][6:-1]) for r in server.requests if "Range" in r]
        if not reset:  # a reset takes with it what was under way
            assert begins == [CUT, CUT + 1000]
        assert all(r["If-Range"] == '"one"' for r in server.requests[1:] if "Range" in r)
        assert len(pauses) == 2

    def test_a_later_run_goes_on(self, known: Release, server: FileServer, cache: Path) -> None:
        def interrupt(done: int, total: int | None) -> None:
            if done > CUT:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            download(known, interrupt)
        arrived = (cache / "net.pth.part").stat().st_size
        assert CUT < arrived < len(CONTENT)
        assert not (cache / "net.pth").exists()
        download(known)
        assert server.requests[-1]["Range"] == f"bytes={arrived}-"
        only_the_file_stays(cache)

    def test_a_part_that_is_complete_needs_no_request(
        self, release: Release, server: FileServer, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def killed(part: Path) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("bimacosr.models.download.sync", killed)
            with pytest.raises(KeyboardInterrupt):
                download(release)
        download(release)
        only_the_file_stays(cache)
        assert len(server.requests) == 1

    @pytest.mark.parametrize("framing", ["chunked", "length"])
    def test_without_a_mark_it_begins_anew(
        self,
        release: Release,
        server: FileServer,
        cache: Path,
        pauses: list[float],
        framing: str,
    ) -> None:
        server.answers.append(Answer(drop_after=CUT, headers={"ETag": ""}, framing=framing))
        download(release)
        only_the_file_stays(cache)
        assert "Range" not in server.requests[1]

    def test_a_weak_mark_is_not_used_but_a_date_is(
        self, release: Release, server: FileServer, cache: Path, pauses: list[float]
    ) -> None:
        date = "Mon, 23 Nov 2026 01:00:00 GMT"
        headers = {"ETag": 'W/"one"', "Last-Modified": date}
        server.answers += [
            Answer(drop_after=CUT, headers=headers),
            Answer(ignores_condition=True, headers={"ETag": ""}),
        ]
        download(release)
        only_the_file_stays(cache)
        assert server.requests[1]["If-Range"] == date
        assert server.requests[1]["Range"] == f"bytes={CUT}-"

    def test_chunks_go_on_as_well(
        self, release: Release, server: FileServer, cache: Path, pauses: list[float]
    ) -> None:
        server.answers += [Answer(drop_after=CUT, framing="chunked"), Answer(framing="chunked")]
        download(release)
        only_the_file_stays(cache)
        assert server.requests[1]["Range"] == f"bytes={CUT}-"

    def test_a_server_without_ranges_sends_it_all_again(
        self, release: Release, server: FileServer, cache: Path, pauses: list[float]
    ) -> None:
        server.answers += [Answer(drop_after=CUT), Answer(ignores_range=True)]
        download(release)
        only_the_file_stays(cache)
        assert len(server.requests) == 2

    def test_another_part_than_was_asked_for_is_not_added(
        self, release: Release, server: FileServer, cache: Path, pauses: list[float]
    ) -> None:
        server.answers += [Answer(drop_after=CUT), Answer(shift=1)]
        download(release)
        only_the_file_stays(cache)
        assert "Range" not in server.requests[2]

    def test_another_address_is_not_glued_to_the_first(
        self, release: Release, server: FileServer, cache: Path, pauses: list[float]
    ) -> None:
        server.answers += [Answer(drop_after=CUT), Answer(status=404)]
        with pytest.raises(ModelError):
            download(release)
        assert (cache / "net.pth.part").stat().st_size == CUT
        download(replace(release, folder=f"{server.address}/other"))
        only_the_file_stays(cache)
        assert "Range" not in server.requests[-1]


class TestChanged:
    @pytest.mark.parametrize("honest", [True, False], ids=["200", "206 all the same"])
    @pytest.mark.parametrize("size", [len(CONTENT), len(CONTENT) + 5])
    def test_a_changed_file_is_not_glued_to_the_old_one(
        self,
        release: Release,
        server: FileServer,
        cache: Path,
        pauses: list[float],
        honest: bool,
        size: int,
    ) -> None:
        server.answers += [Answer(drop_after=CUT), Answer(status=403)]
        with pytest.raises(ModelError):
            download(release)
        server.content, server.etag = bytes(reversed(CONTENT)).ljust(size), '"two"'
        server.answers.append(Answer(ignores_condition=not honest))
        assert download(release).read_bytes() == server.content

    def test_a_file_that_got_shorter_than_what_arrived(
        self, release: Release, server: FileServer, pauses: list[float]
    ) -> None:
        server.answers += [Answer(drop_after=CUT), Answer(status=404)]
        with pytest.raises(ModelError):
            download(release)
        server.content = CONTENT[:1000]
        server.answers.append(Answer(ignores_condition=True))  # 416: nothing from there on
        assert download(release).read_bytes() == CONTENT[:1000]
        assert ["Range" in r for r in server.requests] == [False, True, True, False]

    @pytest.mark.parametrize("text", ["", "{}", "[1]", "not json", '{"address": 1}'])
    def test_a_damaged_note_begins_anew(
        self, release: Release, server: FileServer, cache: Path, text: str
    ) -> None:
        cache.mkdir(parents=True)
        (cache / "net.pth.part").write_bytes(b"from nowhere")
        (cache / "net.pth.part.json").write_text(text)
        download(release)
        only_the_file_stays(cache)

    def test_a_part_longer_than_the_file_begins_anew(
        self, release: Release, server: FileServer, cache: Path, pauses: list[float]
    ) -> None:
        server.answers += [Answer(drop_after=CUT), Answer(status=404)]
        with pytest.raises(ModelError):
            download(release)
        with (cache / "net.pth.part").open("ab") as part:
            part.write(CONTENT)
        download(release)
        only_the_file_stays(cache)

    def test_a_wrong_hash_is_refused_and_nothing_stays(
        self, known: Release, server: FileServer, cache: Path
    ) -> None:
        server.content = bytes(reversed(CONTENT))
        with pytest.raises(ModelError, match="not the file it should be") as caught:
            download(known)
        assert SHA256 in str(caught.value)
        assert "is published" in str(caught.value)
        assert {path.name for path in cache.iterdir()} == {"net.pth.lock"}

    def test_what_was_trusted_first_is_held_against_later_files(
        self, release: Release, server: FileServer, cache: Path
    ) -> None:
        download(release).unlink()
        server.content = bytes(reversed(CONTENT))
        with pytest.raises(ModelError, match=r"recorded when .* delete .*net\.pth\.sha256"):
            download(release)
        (cache / "net.pth.sha256").unlink()
        assert download(release).read_bytes() == server.content

    def test_a_published_hash_goes_before_a_recorded_one(
        self, known: Release, server: FileServer, cache: Path
    ) -> None:
        download(known)
        (cache / "net.pth.sha256").write_text("0" * 64 + "  net.pth")
        assert check(known) is State.INTACT

    def test_a_damaged_record_is_named(self, release: Release, cache: Path) -> None:
        download(release)
        (cache / "net.pth.sha256").write_text("")
        with pytest.raises(ModelError, match=r"net\.pth\.sha256 holds no SHA-256; delete it"):
            download(release)

    def test_a_bit_changed_on_the_disk_is_found_after_a_resumed_download(
        self, known: Release, server: FileServer, cache: Path, pauses: list[float]
    ) -> None:
        server.answers += [Answer(drop_after=CUT), Answer(status=404)]
        with pytest.raises(ModelError):
            download(known)
        with (cache / "net.pth.part").open("r+b") as part:
            part.write(bytes([CONTENT[0] ^ 1]))
        with pytest.raises(ModelError, match="not the file it should be"):
            download(known)
        download(known)
        only_the_file_stays(cache)


class TestWrongLengths:
    def test_another_length_than_published_is_refused_at_once(
        self, known: Release, server: FileServer, cache: Path
    ) -> None:
        server.content = CONTENT + b"more"
        with pytest.raises(ModelError, match="another file: it has 700005 bytes instead of 700001"):
            download(known)
        assert not (cache / "net.pth.part").exists()
        assert len(server.requests) == 1

    def test_more_declared_than_sent_is_never_taken_for_the_file(
        self, release: Release, server: FileServer, cache: Path, pauses: list[float]
    ) -> None:
        lie = Answer(declared=len(CONTENT) + 9, ignores_range=True)
        server.answers += [lie] * 20
        with pytest.raises(ModelError, match=r"it ends after 700001 of 700010 bytes"):
            download(release)
        assert not (cache / "net.pth").exists()
        assert len(server.requests) == 5
        server.answers.clear()
        download(release)
        only_the_file_stays(cache)

    def test_fewer_declared_than_sent(
        self, known: Release, release: Release, server: FileServer, cache: Path
    ) -> None:
        server.answers += [Answer(declared=CUT)] * 2
        with pytest.raises(ModelError, match="another file: it has 300000 bytes"):
            download(known)
        # of an unknown file the declared length is all that is known
        assert download(release).read_bytes() == CONTENT[:CUT]

    def test_without_any_length_a_cut_would_go_unseen(
        self, known: Release, release: Release, server: FileServer, cache: Path
    ) -> None:
        server.answers += [Answer(framing="close")] * 2
        with pytest.raises(ModelError, match="comes without its length"):
            download(release)
        download(known)
        only_the_file_stays(cache)

    def test_chunks_end_where_they_say(self, release: Release, server: FileServer) -> None:
        server.answers.append(Answer(framing="chunked"))
        assert download(release).read_bytes() == CONTENT


class TestRefused:
    @pytest.mark.parametrize(
        ("status", "message"),
        [
            (404, r"net\.pth is not there \(404\)"),
            (410, r"net\.pth is not there \(410\)"),
            (403, r"net\.pth refuses the download \(403\)"),
            (407, r"the proxy .* wants a password"),
            (204, r"net\.pth answers 204 instead of a file"),
        ],
    )
    def test_a_final_answer_is_not_repeated(
        self, release: Release, server: FileServer, cache: Path, status: int, message: str
    ) -> None:
        server.answers.append(Answer(status=status))
        with pytest.raises(ModelError, match=message) as caught:
            download(release)
        assert f"{server.address}/net.pth" in str(caught.value)
        assert f"put the file at {cache / 'net.pth'} by hand" in str(caught.value)
        assert len(server.requests) == 1

    @pytest.mark.parametrize("status", [500, 502, 503, 408, 429])
    def test_a_passing_one_is(
        self, release: Release, server: FileServer, pauses: list[float], status: int
    ) -> None:
        server.answers += [Answer(status=status)] * 4
        assert download(release).read_bytes() == CONTENT
        assert pauses == [1, 2, 4, 8]

    def test_but_not_for_ever(
        self, release: Release, server: FileServer, pauses: list[float]
    ) -> None:
        server.answers += [Answer(status=500)] * 9
        with pytest.raises(ModelError, match=r"the server answers 500\); run again to go on"):
            download(release)
        assert len(server.requests) == 5

    def test_progress_starts_the_count_anew(
        self, release: Release, server: FileServer, cache: Path, pauses: list[float]
    ) -> None:
        server.answers += [Answer(drop_after=1000)] * 12
        download(release)
        only_the_file_stays(cache)
        assert pauses == [1] * 12

    @pytest.mark.parametrize(("asked", "waited"), [("7", 7), ("9999", 60), ("soon", 1), ("-1", 1)])
    def test_the_server_says_how_long_to_wait(
        self, release: Release, server: FileServer, pauses: list[float], asked: str, waited: float
    ) -> None:
        server.answers.append(Answer(status=503, headers={"Retry-After": asked}))
        download(release)
        assert pauses == [waited]

    def test_nobody_there(self, release: Release, cache: Path, pauses: list[float]) -> None:
        gone = replace(release, folder=f"http://127.0.0.1:{closed_port()}")
        with pytest.raises(ModelError, match="refused"):
            download(gone)
        assert pauses == [1, 2, 4, 8]

    def test_a_server_that_falls_silent(
        self,
        release: Release,
        server: FileServer,
        cache: Path,
        pauses: list[float],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(connection, "_TIMEOUT_S", 0.2)
        silence = threading.Event()
        server.answers.append(Answer(hold=silence))
        download(release)
        silence.set()
        only_the_file_stays(cache)
        assert server.requests[1]["Range"] == f"bytes={len(CONTENT) // 2}-"

    def test_a_web_page_is_no_file(self, release: Release, server: FileServer, cache: Path) -> None:
        server.answers.append(Answer(headers={"Content-Type": "text/html; charset=utf-8"}))
        with pytest.raises(ModelError, match="a web page instead of a file: log in"):
            download(release)
        assert not (cache / "net.pth").exists()

    def test_an_empty_file(self, release: Release, server: FileServer, cache: Path) -> None:
        server.content = b""
        with pytest.raises(ModelError, match=r"net\.pth is empty"):
            download(release)
        assert not (cache / "net.pth").exists()

    def test_a_compressed_answer(self, release: Release, server: FileServer) -> None:
        server.answers.append(Answer(headers={"Content-Encoding": "gzip"}))
        with pytest.raises(ModelError, match="compressed form"):
            download(release)

    def test_a_redirect_in_a_circle(self, release: Release, server: FileServer) -> None:
        server.answers += [Answer(status=302, headers={"Location": "/net.pth"})] * 30
        with pytest.raises(ModelError, match=r"refuses the download \(302\)"):
            download(release)

    def test_a_redirect_to_something_else_than_the_web(
        self, release: Release, server: FileServer
    ) -> None:
        server.answers.append(Answer(status=302, headers={"Location": "ftp://127.0.0.1/net.pth"}))
        with pytest.raises(ModelError, match=r"unsafe address \(ftp: instead of http:\)"):
            download(release)

    def test_a_redirect_from_https_to_http(
        self, release: Release, server: FileServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # https without encryption: it needs no certificate, and takes the same way through urllib
        plain = connection.http.client.HTTPConnection.connect
        monkeypatch.setattr(connection.http.client.HTTPSConnection, "connect", plain)
        secure = replace(release, folder=f"https://127.0.0.1:{server.port}")
        unsafe = Answer(status=302, headers={"Location": f"{server.address}/net.pth"})
        server.answers.append(unsafe)
        with pytest.raises(ModelError, match=r"unsafe address \(http: instead of https:\)"):
            download(secure)
        assert server.paths == ["/net.pth"]
        server.answers.append(Answer(status=302, headers={"Location": "/safe/net.pth"}))
        assert download(secure).read_bytes() == CONTENT

    def test_an_untrusted_certificate(
        self, release: Release, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def untrusted(self: object) -> None:
            error = connection.ssl.SSLCertVerificationError(1, "certificate verify failed")
            error.verify_message = "self-signed certificate"
            raise error

        monkeypatch.setattr(connection.http.client.HTTPSConnection, "connect", untrusted)
        with pytest.raises(ModelError, match=r"\(self-signed certificate\).*SSL_CERT_FILE"):
            download(replace(release, folder="https://127.0.0.1:1"))


class TestOffline:
    def test_the_file_and_its_place_are_named(
        self, release: Release, server: FileServer, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BIMACOSR_OFFLINE", "1")
        with pytest.raises(ModelError, match=r"net\.pth is not in the cache") as caught:
            download(release)
        assert f"put it at {cache / 'net.pth'}, from {server.address}" in str(caught.value)
        assert server.requests == []
        assert not cache.exists()

    def test_what_is_there_is_given(
        self, release: Release, monkeypatch: pytest.MonkeyPatch, cache: Path
    ) -> None:
        download(release)
        monkeypatch.setenv("BIMACOSR_OFFLINE", "1")
        assert download(release).read_bytes() == CONTENT
        (cache / "net.pth").write_bytes(b"damaged")
        with pytest.raises(ModelError, match=r"net\.pth is damaged, and BIMACOSR_OFFLINE"):
            download(release)


class TestDisk:
    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
    def test_a_disk_that_fills_up(self, release: Release, cache: Path) -> None:
        cache.mkdir(parents=True)
        (cache / "net.pth.part").symlink_to("/dev/full")
        with pytest.raises(ModelError, match=r"the disk is full while .*free some space"):
            download(release)
        assert not (cache / "net.pth").exists()

    def test_too_little_room_is_seen_before(
        self, release: Release, monkeypatch: pytest.MonkeyPatch, server: FileServer, cache: Path
    ) -> None:
        usage = transfer.shutil.disk_usage
        with monkeypatch.context() as patch:
            patch.setattr(
                transfer.shutil, "disk_usage", lambda path: usage(path)._replace(free=700_000)
            )
            with pytest.raises(ModelError, match="room for 700,000 bytes, and 700,001 are needed"):
                download(release)
        download(release)
        only_the_file_stays(cache)

    def test_a_cache_folder_that_cannot_be(
        self, release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").write_text("not a folder")
        monkeypatch.setenv("BIMACOSR_CACHE", str(tmp_path / "file"))
        with pytest.raises(ModelError, match="set BIMACOSR_CACHE to another folder"):
            download(release)

    @pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no permission bits on this system")
    def test_a_cache_that_may_not_be_written(
        self, release: Release, monkeypatch: pytest.MonkeyPatch, server: FileServer
    ) -> None:
        with tempfile.TemporaryDirectory() as folder:
            monkeypatch.setenv("BIMACOSR_CACHE", folder)
            Path(folder).chmod(0o555)
            user = os.geteuid()
            if user == 0:  # root writes everywhere
                os.seteuid(65534)
            try:
                with pytest.raises(ModelError, match="may not be written by you; set BIMACOSR_C"):
                    download(release)
            finally:
                os.seteuid(user)
                Path(folder).chmod(0o755)
        assert server.requests == []


class TestTwoAtOnce:
    def test_threads_fetch_once_and_both_have_it(
        self,
        release: Release,
        server: FileServer,
        cache: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(lock, "_PAUSE_S", 0.01)
        go_on, waited = threading.Event(), threading.Event()
        server.answers.append(Answer(hold=go_on))
        started = threading.Event()
        results: list[bytes] = []

        def first() -> None:
            results.append(download(release, lambda done, total: started.set()).read_bytes())

        def second() -> None:
            def told(done: int, total: int | None) -> None:
                if done:
                    waited.set()

            results.append(download(release, told).read_bytes())

        threads = [threading.Thread(target=first), threading.Thread(target=second)]
        threads[0].start()
        assert started.wait(10)
        threads[1].start()
        assert waited.wait(10), "the one who waits sees the other's bytes"
        go_on.set()
        for thread in threads:
            thread.join(10)
        assert results == [CONTENT, CONTENT]
        assert len(server.requests) == 1
        only_the_file_stays(cache)

    def test_processes_do_not_damage_it(
        self, release: Release, server: FileServer, cache: Path
    ) -> None:
        server.answers += [Answer(drop_after=CUT), Answer(drop_after=CUT)]
        with multiprocessing.get_context("spawn").Pool(3) as pool:
            hashes = pool.map(_downloaded_hash, [release] * 3)
        assert hashes == [SHA256] * 3
        assert len(server.requests) == 3
        only_the_file_stays(cache)

    def test_the_lock_of_a_process_that_died_is_free(
        self, release: Release, server: FileServer, cache: Path
    ) -> None:
        process = multiprocessing.get_context("spawn").Process(target=_die_midway, args=(release,))
        process.start()
        process.join(60)
        assert process.exitcode == 9
        assert (cache / "net.pth.part").exists()
        download(release)
        only_the_file_stays(cache)


def _downloaded_hash(release: Release) -> str:
    return hashlib.sha256(download(release).read_bytes()).hexdigest()


def _die_midway(release: Release) -> None:
    download(release, lambda done, total: os._exit(9) if done else None)
