"""`bimacosr weights`: the public release files, listed, downloaded and verified."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from bimacosr.cli.report import Report
from bimacosr.errors import BimacosrError, ModelError
from bimacosr.io.failures import shown
from bimacosr.models.checksum import State, check, record, sha256_of
from bimacosr.models.download import download
from bimacosr.models.releases import RELEASES, License, Release, is_offline, release_named
from bimacosr.models.transfer import Progress as ByteProgress

__all__ = ["weights"]


@click.group()
def weights() -> None:
    """Get the published weights of ResShift, SinSR and VQ-f4.

    They lie in the folder "weights" of your cache folder, or of the one that BIMACOSR_CACHE names.
    BIMACOSR_MIRROR is the address of another server's folder to take them from; with
    BIMACOSR_OFFLINE=1 nothing is fetched.
    """


@weights.command("list")
def list_releases() -> None:
    """Print every release file: size, licence, and where it lies or would lie."""
    with _one_sentence():
        for number, release in enumerate(RELEASES.values()):
            if number:
                click.echo("")
            for line in _description(release):
                click.echo(shown(line))


@weights.command("download")
@click.argument("names", nargs=-1, required=True, metavar="NAME...|all")
@click.option(
    "--accept-license",
    "--yes",
    "accepted",
    is_flag=True,
    help="Accept the licences that are shown; without it you are asked.",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress; licences and errors only.")
def download_releases(names: tuple[str, ...], accepted: bool, quiet: bool) -> None:
    """Download release files, or all of them, after showing their licences.

    A file that is there and intact is left alone; a download that broke off goes on where it
    stopped.
    """
    report = Report(quiet=quiet)
    with _one_sentence():
        lacking = []
        for release in _chosen(names):
            if check(release) in (State.INTACT, State.UNRECORDED):
                _say(f"{release.name}: {download(release)} is there", quiet)
            else:
                lacking.append(release)
        if lacking and not is_offline():
            _agree(lacking, accepted)
        for release in lacking:
            try:
                with _bar(release, quiet) as progress:
                    path = download(release, progress)
                _say(f"{release.name}: {path} downloaded, {_megabytes(path.stat().st_size)}", quiet)
            except BimacosrError as error:
                report.failed(str(error))
    sys.exit(1 if report.failures else 0)


@weights.command("verify")
@click.argument("names", nargs=-1, metavar="[NAME...|all]")
def verify_releases(names: tuple[str, ...]) -> None:
    """Compare downloaded files with their published or recorded hashes.

    Without names, every file that is there. The exit status is 1 if one is damaged, or if one
    that was named is not there.
    """
    report = Report()
    with _one_sentence():
        named = bool(names) and "all" not in names
        found = False
        for release in _chosen(names or ("all",)):
            try:
                state = _verified(release)
            except BimacosrError as error:
                report.failed(str(error))
                continue
            found |= state is not State.MISSING
            if state is State.DAMAGED or (state is State.MISSING and named):
                report.failed(_complaint(release, state))
        if not found and not report.failures:
            click.echo("no release file is in the cache; see: bimacosr weights list")
    sys.exit(1 if report.failures else 0)


def _verified(release: Release) -> State:
    """Check one file, and say so if it is sound."""
    state = check(release)
    if state is State.UNRECORDED:
        record(release.path, sha256_of(release.path))
        _say(f"{release.name}: no hash was known; recorded {release.path}.sha256")
    elif state is State.INTACT:
        source = "published" if release.sha256 else "recorded"
        _say(f"{release.name}: intact, as {source}")
    return state


def _complaint(release: Release, state: State) -> str:
    lack = "is damaged" if state is State.DAMAGED else "is not there"
    return f"{release.path} {lack}; run: bimacosr weights download {release.name}"


def _chosen(names: Sequence[str]) -> list[Release]:
    """Look the names up, each release once; "all" stands for every one."""
    named = [release_named(name) for name in names if name != "all"]
    return list(RELEASES.values() if "all" in names else dict.fromkeys(named))


def _description(release: Release) -> Iterator[str]:
    path, size = release.path, release.size
    is_there = path.is_file()
    if is_there:
        size = path.stat().st_size
    yield f"{release.name}{' (downloaded)' if is_there else ''}"
    yield f"  summary: {release.summary}"
    yield f"  size: {'unknown before the download' if size is None else _megabytes(size)}"
    yield f"  license: {_license_line(release.license)}"
    yield f"  from: {release.address}"
    yield f"  file: {path}"


def _agree(releases: Sequence[Release], accepted: bool) -> None:
    """Show the licences and have them accepted.

    Raises:
        ModelError: they are not accepted, or nobody is there to be asked.
    """
    by_license: dict[License, list[str]] = {}
    for release in releases:
        by_license.setdefault(release.license, []).append(release.name)
    for terms, names in by_license.items():
        click.echo(f"{', '.join(names)}: {_license_line(terms)}", err=True)
    if accepted:
        return
    if not sys.stdin.isatty():
        raise ModelError(
            "the licence must be accepted before the download: run again with --accept-license"
        )
    if not click.confirm("Do you accept?", err=True):
        raise ModelError("the licence is not accepted, so nothing is downloaded")


def _license_line(terms: License) -> str:
    return f"{terms.name}: {terms.terms} ({terms.address})"


@contextmanager
def _bar(release: Release, quiet: bool) -> Iterator[ByteProgress]:
    """Show how far a download is and how fast; nothing where there is no terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    hidden = quiet or not console.is_terminal
    with Progress(*columns, console=console, disable=hidden, transient=True) as bar:
        task = bar.add_task(release.name, total=release.size, start=False)

        def moved(done: int, total: int | None) -> None:
            if not bar.tasks[0].started:
                bar.update(task, completed=done)  # what an earlier run brought is no speed
                bar.start_task(task)
            bar.update(task, completed=done, total=total)

        yield moved


@contextmanager
def _one_sentence() -> Iterator[None]:
    """End the command with one sentence for what is a user's business."""
    try:
        yield
    except BimacosrError as error:
        Report().failed(str(error))
        sys.exit(1)
    except KeyboardInterrupt:
        click.echo("interrupted: run again to go on where it stopped", err=True)
        sys.exit(130)


def _say(line: str, quiet: bool = False) -> None:
    if not quiet:
        click.echo(shown(line))


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
