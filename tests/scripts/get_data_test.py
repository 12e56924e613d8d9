"""scripts/get-data against a server on loopback that can cut, ignore ranges and serve the wrong bytes."""

import bz2
import contextlib
import gzip
import hashlib
import http.server
import io
import json
import lzma
import os
import pathlib
import random
import shutil
import socket
import struct
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import types
import unittest
from unittest import mock

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "get-data"
SCRIPT_MODULE = types.ModuleType("get_data")
sys.modules["get_data"] = SCRIPT_MODULE  # where dataclasses look themselves up
exec(compile(SCRIPT.read_text(), SCRIPT, "exec"), SCRIPT_MODULE.__dict__)


def md5(data):
    return hashlib.md5(data).hexdigest()


def tar(members):
    """A .tar.gz of (name, bytes) files and ready-made TarInfo members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


class Server(http.server.ThreadingHTTPServer):
    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.ranges, self.cut_after, self.failures, self.requests = {}, True, None, 0, []
        self.answers = {}  # what to do instead, by path
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/"


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        server, wanted = self.server, self.headers.get("Range")
        server.requests.append((self.path.lstrip("/"), wanted))
        if answer := server.answers.get(self.path.lstrip("/")):
            return answer(self)
        data = server.files.get(self.path.lstrip("/"))
        if data is None:
            return self.send_error(404)
        if server.failures:
            server.failures -= 1
            return self.send_error(503)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and server.ranges else None
        if start is not None and start >= len(data):
            return self.send_error(416)
        self.send_response(200 if start is None else 206)
        if start is not None:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        body = data[start or 0 :]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if server.cut_after is None else body[: server.cut_after])


class GetData(unittest.TestCase):
    def setUp(self):
        self.server = Server()
        top = pathlib.Path(tempfile.mkdtemp(prefix="espalier-get-data-"))
        self.to = top / "data"
        self.to.mkdir()
        self.images = bytes(range(256)) * 2000
        self.server.files["images.gz"] = self.images
        self.manifest = {"digits": {"base": self.server.url, "folder": "digits", "files": {"images.gz": md5(self.images)}}}
        self.addCleanup(shutil.rmtree, top)
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)

    @property
    def path(self):
        return self.to / "digits" / "images.gz"

    @property
    def part(self):
        return self.to / "digits" / "images.gz.part"

    def archive(self, members):
        data = tar(members)
        self.server.files["set.tar.gz"] = data
        self.manifest = {"set": {"base": self.server.url, "folder": "set", "files": {"set.tar.gz": md5(data)}}}

    def run_script(self, *arguments, code=0):
        manifest = self.to / "manifest.json"
        manifest.write_text(json.dumps(self.manifest))
        done = subprocess.run(
            [sys.executable, SCRIPT, "--manifest", manifest, "--to", self.to, "--wait", "0", *(arguments or ["all"])],
            capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
            env={**os.environ, "no_proxy": "127.0.0.1"},
        )
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        return done.stdout + done.stderr

    def failure(self, *arguments):
        """The one line that a failing run ends with."""
        return self.run_script(*arguments, code=1).splitlines()[-1]

    def test_whole_download(self):
        self.assertIn("digits: complete", self.run_script())
        self.assertEqual(self.path.read_bytes(), self.images)
        self.assertFalse(self.part.exists())

    def test_nothing_is_fetched_twice(self):
        self.run_script()
        self.assertIn("digits: already there", self.run_script())
        self.assertEqual(len(self.server.requests), 1)

    def test_a_file_gone_bad_is_fetched_again(self):
        self.run_script()
        self.path.write_bytes(b"x" + self.images[1:])
        self.assertIn("wrong checksum", self.run_script())
        self.assertEqual(self.path.read_bytes(), self.images)

    def test_a_bad_file_stays_until_its_successor_is_whole(self):
        self.path.parent.mkdir()
        self.path.write_bytes(b"old")
        self.server.files.clear()
        self.failure()
        self.assertEqual(self.path.read_bytes(), b"old")

    def test_retries_and_resumes_after_a_cut(self):
        self.server.cut_after = 200_000
        self.run_script("all", "--retries", "1")
        self.assertEqual(self.path.read_bytes(), self.images)
        self.assertEqual([r for _, r in self.server.requests], [None, "bytes=200000-", "bytes=400000-"])

    def test_the_next_run_resumes(self):
        self.server.cut_after = 200_000
        self.assertIn("run again to go on", self.failure("all", "--retries", "0"))
        self.assertEqual(self.part.stat().st_size, 200_000)
        self.server.cut_after = None
        self.run_script("all", "--retries", "0")
        self.assertEqual(self.path.read_bytes(), self.images)
        self.assertEqual(self.server.requests[-1][1], "bytes=200000-")

    def test_a_server_without_ranges_starts_again(self):
        self.part.parent.mkdir()
        self.part.write_bytes(self.images[:1000])
        self.server.ranges = False
        self.run_script()
        self.assertEqual(self.path.read_bytes(), self.images)
        self.assertEqual(len(self.server.requests), 1)

    def test_a_whole_part_is_taken_as_it_is(self):
        self.part.parent.mkdir()
        self.part.write_bytes(self.images)
        self.run_script()
        self.assertEqual(self.path.read_bytes(), self.images)

    def test_a_wrong_part_is_thrown_away(self):
        self.part.parent.mkdir()
        for wrong in (b"wrong", self.images + b"too long"):
            self.part.write_bytes(wrong)
            self.assertIn("from the start", self.run_script())
            self.assertEqual(self.path.read_bytes(), self.images)
            self.path.unlink()

    def test_gives_up_on_a_server_that_never_recovers(self):
        self.server.failures = 100
        self.assertIn("HTTP 503", self.failure("all", "--retries", "2"))
        self.assertEqual(len(self.server.requests), 3)

    def test_waits_for_a_server_that_recovers(self):
        self.server.failures = 2
        self.run_script()
        self.assertEqual(self.path.read_bytes(), self.images)

    def test_wrong_checksum(self):
        self.server.files["images.gz"] = b"something else"
        self.assertRegex(self.failure(), rf"images.gz: MD5 is {md5(b'something else')}, expected {md5(self.images)}")
        self.assertEqual(list((self.to / "digits").iterdir()), [])

    def test_missing_on_the_server(self):
        self.server.files.clear()
        self.assertIn("images.gz: HTTP 404 Not Found", self.failure())
        self.assertEqual(len(self.server.requests), 1)

    def test_no_server(self):
        self.assertRegex(self.failure("all", "--base", "http://127.0.0.1:9/", "--retries", "1"), "Connection refused")

    def test_base_names_a_mirror(self):
        self.manifest["digits"]["base"] = "http://127.0.0.1:9/"
        self.run_script("digits", "--base", self.server.url.rstrip("/"))
        self.assertEqual(self.path.read_bytes(), self.images)

    def test_folder_that_cannot_be_written(self):
        (self.to / "digits").write_text("a file stands in the way")
        text = self.failure()
        self.assertRegex(text, "get-data: .*digits.*: (File exists|Not a directory)")
        self.in_our_words(text)

    def test_a_full_disk(self):
        self.part.parent.mkdir()
        self.part.symlink_to("/dev/full")
        self.assertEqual(self.failure(), f"get-data: {self.part}: No space left on device")

    def test_archive(self):
        self.archive([("set/train.bin", b"abc"), ("set/more/test.bin", b"de")])
        self.run_script()
        self.assertEqual((self.to / "set/train.bin").read_bytes(), b"abc")
        self.assertEqual((self.to / "set/more/test.bin").read_bytes(), b"de")
        self.assertFalse((self.to / "set.tar.gz").exists())
        self.assertIn("already there", self.run_script())
        self.assertEqual(len(self.server.requests), 1)

    def test_unpacked_file_gone_bad(self):
        self.archive([("set/train.bin", b"abc"), ("set/test.bin", b"de")])
        self.run_script()
        (self.to / "set/train.bin").write_bytes(b"abX")
        (self.to / "set/test.bin").unlink()
        self.run_script()
        self.assertEqual((self.to / "set/train.bin").read_bytes(), b"abc")
        self.assertEqual((self.to / "set/test.bin").read_bytes(), b"de")

    def test_archive_that_leaves_its_folder(self):
        link = tarfile.TarInfo("set/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        for bad, message in (
            ("../climbed", "lies outside of set/"),
            ("set/../../climbed", "lies outside of set/"),
            (str(self.to / "climbed"), "lies outside of set/"),
            ("elsewhere/x", "lies outside of set/"),
            (link, "neither file nor folder"),
        ):
            with self.subTest(member=bad):
                self.archive([("set/train.bin", b"abc"), (bad, b"")])
                self.assertIn(message, self.failure())
                self.assertEqual(sorted(p.name for p in self.to.iterdir()), ["manifest.json", "set.tar.gz"])
                self.assertEqual([p.name for p in self.to.parent.iterdir()], ["data"])
                (self.to / "set.tar.gz").unlink()

    def test_archive_that_is_none(self):
        self.archive([])
        self.server.files["set.tar.gz"] = b"no archive"
        self.manifest["set"]["files"]["set.tar.gz"] = md5(b"no archive")
        self.assertIn("set.tar.gz: no readable archive", self.failure())

    def answer(self, status, *headers, body=b"", endless=False):
        """What the server sends in place of images.gz, to the byte."""
        def send(handler):
            handler.close_connection = True
            handler.wfile.write(b"\r\n".join([b"HTTP/1.0 " + status, *headers, b"", body]))
            with contextlib.suppress(ConnectionError):
                while endless:
                    handler.wfile.write(bytes(1 << 20))
        self.server.answers["images.gz"] = send

    def sized(self, size):
        self.manifest["digits"]["files"]["images.gz"] = {"md5": md5(self.images), "bytes": size}

    def test_a_size_in_the_manifest(self):
        self.sized(len(self.images))
        self.run_script()
        self.assertEqual(self.path.read_bytes(), self.images)

    def test_no_more_is_taken_than_the_manifest_says(self):
        self.sized(len(self.images))
        self.answer(b"200 OK", endless=True)
        self.assertIn(f"the server sends more than the {len(self.images)} bytes that the file has; it was thrown away",
                      self.failure())
        self.assertEqual(list((self.to / "digits").iterdir()), [])
        self.answer(b"200 OK", b"Content-Length: 4000000000", endless=True)
        self.assertIn(f"the server would send 4000000000 bytes, the file has {len(self.images)}; nothing was taken",
                      self.failure())
        self.assertEqual(list((self.to / "digits").iterdir()), [])

    def test_a_part_that_is_longer_than_the_file_goes(self):
        self.sized(len(self.images))
        self.part.parent.mkdir()
        self.part.write_bytes(self.images + b"!")
        self.run_script()
        self.assertEqual(self.path.read_bytes(), self.images)

    def test_a_length_that_is_no_number(self):
        for length in (b"abc", b"-5", b"\xb2", b"1" * 5000, b"1_0"):
            self.answer(b"200 OK", b"Content-Length: " + length, body=b"x")
            self.assertIn("as the length, expected a number of bytes", self.failure())

    def test_a_redirect_to_nowhere(self):
        for target in (b"http://[::1", b"http://a b/", b"nonsense://x", b"http://127.0.0.1:99999999/", b"file:///etc/passwd"):
            with self.subTest(target=target):
                self.answer(b"302 Found", b"Location: " + target)
                self.assertRegex(self.failure("all", "--retries", "0"), "^get-data: .*images.gz: ")

    def test_bases_that_are_no_url(self):
        for base in ("nowhere", "http://[::1", "http://127.0.0.1:x/", "http://a\x1b[2J/"):
            with self.subTest(base=base):
                text = self.failure("all", "--base", base, "--retries", "0")
                self.assertRegex(text, "^get-data: .*images.gz: .*is no URL")
                self.in_our_words(text)

    def test_what_a_server_says_is_shown_not_obeyed(self):
        for status in (b"404 \x1b[2Jgone\x07", b"503 \x1b]0;title\x07", b"404 \x9b31m", b"404 " + b"x" * 60000):
            self.answer(status)
            text = self.run_script("all", "--retries", "1", code=1)
            self.assertTrue(all(c.isprintable() or c == "\n" for c in text), text)
            self.assertLess(max(map(len, text.splitlines())), 1200)
        self.answer(b"404 \x1b[2Jgone")
        self.assertIn("HTTP 404 \\x1b[2Jgone", self.failure())

    def test_damaged_archives(self):
        whole = tar([("set/train.bin", bytes(range(256)) * 40)])
        plain = gzip.decompress(whole)
        noise = bytearray(lzma.compress(gzip.decompress(tar([("set/train.bin", random.Random(0).randbytes(300_000))]))))
        noise[200_000] ^= 1
        damaged = {"set.tar.gz": [whole[:30], whole[:60] + b"\xff" * 40 + whole[100:], b"\x1f\x8b"],
                   "set.tar.xz": [bytes(noise), lzma.compress(plain)[:100], b"\xfd7zXZ\0" + bytes(50)],
                   "set.tar.bz2": [bz2.compress(plain)[:30], bz2.compress(plain)[:60] + b"\xff" * 40, b"BZh9" + bytes(50)],
                   "set.tar": [plain[:700], plain[:124] + b"\xff" * 12 + plain[136:], plain[:100] + b"x" * 400, b""]}
        for name, contents in damaged.items():
            for content in contents:
                with self.subTest(name=name, content=content[:20]):
                    self.server.files[name] = content
                    self.manifest = {"set": {"base": self.server.url, "folder": "set", "files": {name: md5(content)}}}
                    text = self.failure()
                    self.assertRegex(text, "^get-data: .*: (no readable archive|member )")
                    self.in_our_words(text)
                    (self.to / name).unlink()

    def test_names_in_the_manifest_stay_inside(self):
        outside = str(self.to.parent / "climbed")
        for key, bad in (("folder", "../climbed"), ("files", "a/../../climbed"), ("folder", outside), ("files", outside),
                         ("files", ".."), ("folder", ""), ("files", "a\0b"), ("files", "a\x1b[2J")):
            with self.subTest(name=bad, key=key):
                self.server.files[bad] = self.images
                entry = {"base": self.server.url, "folder": "digits", "files": {"images.gz": md5(self.images)}}
                entry[key] = bad if key == "folder" else {bad: md5(self.images)}
                self.manifest = {"digits": entry}
                self.assertIn("is no plain name, or lies outside of the folder that --to names", self.failure())
                self.assertEqual([p.name for p in self.to.parent.iterdir()], ["data"])
                self.assertEqual([p.name for p in self.to.iterdir()], ["manifest.json"])

    def test_unknown_set(self):
        self.assertIn("no data set is called 'mnits', known are digits", self.run_script("mnits", code=2))
        self.assertEqual(self.server.requests, [])

    def said(self, *arguments):
        """The line that main() ends with, in this process: for tests of many inputs."""
        with mock.patch("sys.argv", ["get-data", *map(str, arguments)]):
            return SCRIPT_MODULE.main()

    def in_our_words(self, text):
        """One line, and nothing in it that Python or a library of it says."""
        self.assertTrue(all(line.isprintable() for line in text.splitlines()), text)
        self.assertNotRegex(text, r"argument of type|indices must|codec|Expecting|IncompleteRead|\\r|Remote end|timed out|"
                                  r"Errno|_ssl|line is too long|got more than|urlopen|object has|Redirection|infinite|"
                                  r"[Uu]nknown url|nonnumeric|Invalid IPv6|control char|ReadError|Exceeds|recursion")

    def test_broken_manifest(self):
        whole = self.manifest["digits"]
        for broken, message in (
            ({"digits": {key: value for key, value in whole.items() if key != "base"}}, "digits has no 'base'"),
            ({"digits": {**whole, "files": {"a": 1}}}, "digits.files.a is neither an MD5 nor"),
            ({"digits": {**whole, "files": {"a": {"md5": "x", "bytes": 1.5}}}}, "digits.files.a.bytes is no number"),
            ({"digits": {**whole, "files": {"a": {"md5": "x", "bytes": -1}}}}, "digits.files.a.bytes is no number"),
            ({"digits": {**whole, "files": []}}, "digits.files is not an object"),
            ([], "is no object of data sets"),
        ):
            self.manifest = broken
            self.assertIn("manifest.json: " + message, self.failure())

    def test_a_manifest_of_any_types(self):
        anything = (None, True, 5, 1.5, "base folder files", [], ["base", "folder", "files"], {}, {"base": 1}, "\ud800")
        whole, files = self.manifest["digits"], self.manifest["digits"]["files"]
        manifests = [*anything, *({"x": value} for value in anything)]
        manifests += [{"x": {**whole, key: value}} for key, kind in (("base", str), ("folder", str), ("files", dict))
                      for value in anything if not isinstance(value, kind)]
        manifests += [{"x": {**whole, "files": {"a": value}}} for value in anything if not isinstance(value, str)]
        manifests += [{"x": {**whole, "files": {"a": {"md5": "x", "bytes": 5, key: value}}}} for key in ("md5", "bytes")
                      for value in anything if type(value) is not (str if key == "md5" else int)]
        manifests += [{"x": {**whole, "base": "http://\ud800/"}}, {"\ud800": whole}, {"x": {**whole, "files": {"\ud800": "x"}}},
                      {"x": {**whole, "files": {"\u00fc b": files["images.gz"]}}}]
        for self.manifest in manifests:
            if self.manifest == {}:  # no sets, none of them missing
                continue
            with self.subTest(manifest=self.manifest):
                (self.to / "manifest.json").write_text(json.dumps(self.manifest))
                text = self.said("all", "--manifest", self.to / "manifest.json", "--to", self.to, "--retries", "0")
                self.assertRegex(text, f"^get-data: ({self.to}/manifest.json: |http://)")
                self.in_our_words(text)

    def test_a_manifest_that_is_no_json(self):
        path = self.to.parent / "odd.json"
        for content, message in (
            (b"", "no JSON at line 1, column 1"), (b'{"x": 1,}', "no JSON at line 1"), (b'{"x":\n nope}', "no JSON at line 2, column 2"),
            (b'{"x": "\xff"}', "no UTF-8 at byte 7"), ("\ufeff{}".encode(), "no JSON at line 1"),
            (b"[" * 100_000, "lie too deep"), (b'{"a":' * 100_000, "lie too deep"), (b"1" * 5000, "a number too long to read"),
        ):
            with self.subTest(content=content[:20]):
                path.write_bytes(content)
                text = self.said("all", "--manifest", path)
                self.assertIn(f"get-data: {path}: ", text)
                self.assertIn(message, text)
                self.in_our_words(text)
        for path in (self.to, self.to / "none.json"):
            self.in_our_words(self.said("all", "--manifest", path))

    def test_servers_that_speak_nonsense(self):
        chunked = b"Transfer-Encoding: chunked"
        for status, headers, body, message in (
            (b"", (), b"", "does not speak HTTP"),
            (b"abc", (), b"", "does not speak HTTP"),
            (b"200 OK", (b"X: " + b"x" * 70_000,), b"", "does not speak HTTP"),
            (b"200 OK", (b"X: x",) * 200, b"", "does not speak HTTP"),
            (b"200 OK", (chunked,), b"", "broke off"),
            (b"200 OK", (chunked,), b"zz\r\nabc", "broke off"),
            (b"200 OK", (chunked,), b"-5\r\nabc", "broke off"),
            (b"200 OK", (chunked,), b"a\r\nabc", "broke off"),
            (b"302 Found", (b"Content-Length: 50", b"Location: /x"), b"abc", "HTTP 404 Not Found"),
            (b"302 Found", (b"Location: images.gz",), b"", "HTTP 302, a redirect that leads nowhere"),
            (b"302 Found", (b"Location: file:///etc/passwd",), b"", "HTTP 302, a redirect that leads nowhere"),
            (b"302 Found", (b"Location: nonsense://x",), b"", "HTTP 302, a redirect that leads nowhere"),
            (b"302 Found", (b"Location: http://[::1",), b"", "is no URL"),
        ):
            with self.subTest(status=status, headers=[h[:20] for h in headers], body=body):
                self.answer(status, *headers, body=body)
                text = self.run_script("all", "--retries", "1", code=1)
                self.assertRegex(text.splitlines()[-1], f"^get-data: {self.server.url}images.gz: .*({message})")
                self.in_our_words(text)

    def raw(self, what):
        """A server that does `what` with a connection, in place of speaking HTTP; its port."""
        listener = socket.create_server(("127.0.0.1", 0))
        def serve():
            with contextlib.suppress(OSError):
                while True:
                    with listener.accept()[0] as connection:
                        what(connection)
        threading.Thread(target=serve, daemon=True).start()
        self.addCleanup(listener.close)
        return listener.getsockname()[1]

    def test_the_body_of_a_redirect_is_not_read(self):
        sent = []

        def redirect(connection):
            connection.recv(4096)
            connection.sendall(f"HTTP/1.1 302 Found\r\nLocation: {self.server.url}images.gz\r\n\r\n".encode())
            for _ in range(64):
                sent.append(connection.send(bytes(1 << 20)))
        self.run_script("all", "--base", f"http://127.0.0.1:{self.raw(redirect)}/", "--retries", "0")
        self.assertLess(sum(sent), 48 << 20)

    def test_servers_that_are_none(self):
        def garbage(connection):
            connection.recv(1000)
            connection.sendall(b"garbage\r\n")
        def close(connection):
            connection.recv(1000)
        def reset(connection):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        def silence(connection):
            connection.recv(1000)
            time.sleep(1)
        for scheme, what, message in (
            ("http", garbage, "does not speak HTTP"), ("http", close, "closed the connection without an answer"),
            ("http", reset, "(Connection reset by peer|closed the connection)"), ("http", silence, "silent for 0.2 s"),
            ("https", garbage, "no secure connection"), ("https", close, "."), ("https", reset, "."),
        ):
            with self.subTest(scheme=scheme, what=what.__name__):
                base = f"{scheme}://127.0.0.1:{self.raw(what)}/"
                text = self.run_script("all", "--base", base, "--retries", "1", "--timeout", "0.2", code=1)
                self.assertRegex(text.splitlines()[-1], f"^get-data: {base}images.gz: .*{message}")
                self.in_our_words(text)

    def test_built_in_table_has_the_three_sets(self):
        done = subprocess.run([sys.executable, SCRIPT, "nothing"], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 2)
        self.assertIn("known are mnist, cifar10, cifar100 and all", done.stderr)


if __name__ == "__main__":
    unittest.main()
