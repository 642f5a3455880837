"""Fetching the detector: from a server on this machine that does what servers do."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from dataclasses import replace
from hashlib import sha256
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from edge_emotion import ChecksumError, InputError, OutputError, UnknownNameError, fetch
from edge_emotion.cli import app
from tests.publisher import DATA, Handler, serve


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Where the fetched file is to lie, in a folder that is not there yet."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "100% mine" / "data"))
    monkeypatch.setenv("no_proxy", "*")
    return fetch.user_file(fetch.YUNET)


def pin(monkeypatch, url, data=DATA):
    file = replace(fetch.YUNET, url=url, sha256=sha256(data).hexdigest(), size=len(data))
    monkeypatch.setitem(fetch.FILES, "yunet", file)


@pytest.fixture
def site(place, monkeypatch):
    """A server without encryption: what is told apart below is all the same with it."""
    for site, port in serve(ThreadingHTTPServer(("127.0.0.1", 0), Handler)):
        pin(monkeypatch, f"http://127.0.0.1:{port}/file")
        yield site


def part(place: Path) -> Path:
    return place.with_name(place.name + ".part")


def lies_at(place: Path) -> set[str]:
    return {p.name for p in place.parent.iterdir()}


def test_the_published_file_is_pinned_and_https():
    assert fetch.YUNET.url.startswith("https://github.com/opencv/opencv_zoo/")
    assert fetch.YUNET.url.endswith(f"/{fetch.YUNET.name}")
    assert fetch.FILES == {"yunet": fetch.YUNET}
    assert "MIT" in fetch.YUNET.what


def test_fetched_whole(site, place):
    told = []
    assert fetch.fetch("yunet", progress=lambda done, total: told.append((done, total))) == place
    assert place.read_bytes() == DATA
    assert lies_at(place) == {place.name}
    assert site.asked == [("/file", None)]
    assert told == sorted(told)
    assert told[-1] == (len(DATA), len(DATA))


def test_what_is_there_is_not_asked_for(site, place):
    place.parent.mkdir(parents=True)
    place.write_bytes(DATA)
    assert fetch.fetch("yunet") == place
    assert site.asked == []


def test_a_damaged_file_is_replaced(site, place):
    place.parent.mkdir(parents=True)
    place.write_bytes(DATA[:-1] + b"x")
    fetch.fetch("yunet")
    assert place.read_bytes() == DATA


def test_a_broken_transfer_goes_on_where_it_broke_off(site, place):
    site.stop = 70_000
    with pytest.raises(InputError, match="cannot fetch http://127") as caught:
        fetch.fetch("yunet")
    assert str(place) in str(caught.value)
    assert "asking again" in str(caught.value)
    assert part(place).read_bytes() == DATA[:70_000]
    assert not place.exists()
    site.stop = None
    fetch.fetch("yunet")
    assert site.asked == [("/file", None), ("/file", "bytes=70000-")]
    assert place.read_bytes() == DATA
    assert lies_at(place) == {place.name}


def test_ctrl_c_keeps_what_came(site, place):
    def interrupt(done: int, total: int) -> None:
        if done > 100_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch.fetch("yunet", progress=interrupt)
    kept = part(place).stat().st_size
    assert 100_000 < kept < len(DATA)
    fetch.fetch("yunet")
    assert site.asked[-1] == ("/file", f"bytes={kept}-")
    assert place.read_bytes() == DATA


def test_a_server_that_ignores_range_is_asked_for_the_whole(site, place):
    place.parent.mkdir(parents=True)
    part(place).write_bytes(b"x" * 70_000)
    site.ranges = False
    fetch.fetch("yunet")
    assert place.read_bytes() == DATA


@pytest.mark.parametrize("size", [len(DATA), len(DATA) + 5])
def test_a_part_that_is_as_long_as_the_whole_is_no_part(site, place, size):
    place.parent.mkdir(parents=True)
    part(place).write_bytes(b"x" * size)
    fetch.fetch("yunet")
    assert site.asked == [("/file", None)]
    assert place.read_bytes() == DATA


@pytest.mark.parametrize("begun", [0, 70_000])
def test_another_file_of_the_same_size(site, place, begun):
    place.parent.mkdir(parents=True)
    if begun:
        part(place).write_bytes(b"x" * begun)  # of an older file, say
    else:
        site.body = DATA[::-1]
    with pytest.raises(ChecksumError, match="gave another file than expected") as caught:
        fetch.fetch("yunet")
    assert str(place) in str(caught.value)
    assert lies_at(place) == set()


def test_no_more_is_read_than_was_expected(site, place):
    site.body = DATA + b"x" * 5_000_000
    told = []
    with pytest.raises(ChecksumError, match="larger than the 200000 bytes"):
        fetch.fetch("yunet", progress=lambda done, total: told.append(done))
    assert max(told) == len(DATA) + 1
    assert lies_at(place) == set()


def test_a_shorter_file_than_expected_is_begun_anew_in_the_end(site, place):
    site.body = DATA[:90_000]
    with pytest.raises(InputError, match="90000 of 200000 bytes"):
        fetch.fetch("yunet")
    with pytest.raises(InputError, match="Range"):  # 416: the server has no more
        fetch.fetch("yunet")
    assert lies_at(place) == set()
    site.body = DATA
    fetch.fetch("yunet")
    assert place.read_bytes() == DATA


@pytest.mark.parametrize("status", [403, 404, 500, 503])
def test_a_server_that_has_it_not(site, place, status):
    site.status = status
    with pytest.raises(InputError, match="cannot fetch http://127") as caught:
        fetch.fetch("yunet")
    assert f"put the file at {place}" in str(caught.value)
    assert not place.exists()


def test_offline_names_the_place(place, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # not listening
        pin(monkeypatch, f"https://127.0.0.1:{taken.getsockname()[1]}/file")
        result = CliRunner().invoke(app, ["fetch", "yunet"])
    assert (result.exit_code, result.stdout) == (4, "")
    (line,) = result.stderr.splitlines()
    assert "refused" in line
    assert f"put the file at {place}" in line


def test_a_proxy_that_is_no_url(place, monkeypatch):
    pin(monkeypatch, "https://no-such-host.invalid/file")
    monkeypatch.delenv("no_proxy")
    monkeypatch.setenv("https_proxy", "http:/proxy")
    with pytest.raises(InputError, match=r"proxy URL with no authority.*put the file at"):
        fetch.fetch("yunet")


def test_a_name_that_cannot_be_resolved(place, monkeypatch):
    pin(monkeypatch, "https://no-such-host.invalid/file")
    with pytest.raises(InputError, match="put the file at"):
        fetch.fetch("yunet")


def test_a_place_that_cannot_be_written(site, place):
    place.parent.parent.parent.mkdir(parents=True)
    place.parent.parent.write_text("a file where a folder should be")
    with pytest.raises(OutputError, match=r"cannot write .*yunet.*: Not a directory"):
        fetch.fetch("yunet")
    assert site.asked == []


def test_a_folder_in_its_place(site, place):
    (place / "inner").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"cannot write .*yunet"):
        fetch.fetch("yunet")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="NO /dev/full: a full disk is not tried")
def test_a_full_disk(site, place):
    place.parent.mkdir(parents=True)
    part(place).symlink_to("/dev/full")
    with pytest.raises(OutputError, match="No space left on device"):
        fetch.fetch("yunet")
    assert not place.exists()


def test_a_redirect_away_from_https_is_not_followed(site, place, monkeypatch):
    pin(monkeypatch, fetch.FILES["yunet"].url.replace("/file", "/moved"))
    site.location = "/file"  # on the same server, which has no encryption
    with pytest.raises(InputError, match="redirected away from https"):
        fetch.fetch("yunet")
    assert [path for path, _ in site.asked] == ["/moved"]


# Encrypted, with a certificate made for this test


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """(certificate, key) of 127.0.0.1, its own authority."""
    if shutil.which("openssl") is None:
        pytest.skip("NO openssl: encrypted transfers are not tried")
    folder = tmp_path_factory.mktemp("certificate")
    command = [
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
        "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
        "-addext", "keyUsage=critical,digitalSignature,keyCertSign",  # Python 3.13 wants it
        "-keyout", "key.pem", "-out", "certificate.pem",
    ]  # fmt: skip
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "certificate.pem", folder / "key.pem"


@pytest.fixture
def safe_site(place, certificate, monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda request, address: None  # type: ignore[method-assign]
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    for site, port in serve(server):
        pin(monkeypatch, f"https://127.0.0.1:{port}/moved")
        site.location = "/file"
        yield site


def test_a_redirect_within_https_is_followed(safe_site, place):
    """As the publisher's does. A part is asked for where the file has moved to as well."""
    place.parent.mkdir(parents=True)
    part(place).write_bytes(DATA[:70_000])
    assert fetch.fetch("yunet") == place
    assert safe_site.asked == [("/moved", "bytes=70000-"), ("/file", "bytes=70000-")]
    assert place.read_bytes() == DATA


@pytest.mark.parametrize("location", ["http://127.0.0.1:1/file", "ftp://127.0.0.1:1/file"])
def test_a_redirect_out_of_https_is_not_followed(safe_site, place, location):
    safe_site.location = location
    with pytest.raises(InputError, match=r"redirected away from https|not allowed"):
        fetch.fetch("yunet")
    assert not place.exists()


@pytest.mark.usefixtures("safe_site")
def test_a_certificate_that_nobody_vouches_for_is_refused(place, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(InputError, match="certificate verify failed"):
        fetch.fetch("yunet")
    assert not place.exists()


# The command


def test_the_command_prints_the_place_and_the_licence(site, place):
    result = CliRunner().invoke(app, ["fetch", "yunet"])
    assert (result.exit_code, result.stdout) == (0, f"{place}\n")
    assert result.stderr == f"{fetch.YUNET.what}\n"
    assert CliRunner().invoke(app, ["fetch", "yunet"]).stdout == f"{place}\n"
    assert len(site.asked) == 1


def test_another_file_has_exit_code_1_and_an_unknown_name_2(site, place):
    site.body = DATA[::-1]
    assert CliRunner().invoke(app, ["fetch", "yunet"]).exit_code == 1
    assert CliRunner().invoke(app, ["fetch", "yunett"]).exit_code == 2
    with pytest.raises(UnknownNameError, match="did you mean 'yunet'"):
        fetch.fetch("yunett")


def test_no_other_command_fetches_anything(place, model_folder, tmp_path, monkeypatch):
    def connect(*args: object, **named: object) -> None:
        raise AssertionError("a connection was made")

    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    monkeypatch.setattr(socket, "socket", connect)
    monkeypatch.setattr(socket, "create_connection", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)
    asked = CliRunner().invoke(app, ["fetch", "yunet"])
    assert isinstance(asked.exception, AssertionError), "this very test sees connections"
    model = ["--model", str(model_folder), str(tmp_path / "a.png")]
    for faces, code in (("auto", 0), ("hog", 0), ("off", 0), ("yunet", 4)):
        result = CliRunner().invoke(app, ["predict", "--faces", faces, *model])
        assert result.exit_code == code, result.stderr
    assert "edge-emotion fetch yunet" in result.stderr
    for other in (["doctor"], ["inspect", str(model_folder)]):
        assert CliRunner().invoke(app, other).exit_code == 0
    assert not place.parent.exists() or not list(place.parent.iterdir())
