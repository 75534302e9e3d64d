"""Hostile and broken input over the wire: every answer is a clear error of the right status, nothing that differs after decoding is
executed, memory stays bounded and the server goes on. Each test ends by asking the server for a secret as a client would."""

import concurrent.futures
import json
import resource
import socket
import time
import unittest

import harness

LIMIT = 32 << 20
OURS = not harness.is_reference()


class Connection:
    """A raw connection: what is sent is what the test wrote, byte for byte."""

    def __init__(self, server, timeout=20):
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=timeout)
        self.buffer = b""

    def send(self, data):
        self.socket.sendall(data)
        return self

    def reply(self):
        """The next reply: status, headers (lower case), body. Status 0 where the connection ended without one."""
        while b"\r\n\r\n" not in self.buffer:
            if not self._more():
                return 0, {}, self.buffer
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        first, *lines = head.decode("latin-1").split("\r\n")
        status, headers = int(first.split()[1]), dict(line.lower().split(": ", 1) for line in lines if ": " in line)
        if status == 100:
            return self.reply()
        if status in (204, 304):
            return status, headers, b""
        length = int(headers.get("content-length", -1))
        while (len(self.buffer) < length if length >= 0 else headers.get("transfer-encoding") != "chunked" or not self.buffer.endswith(b"0\r\n\r\n")):
            if not self._more():
                break
        body, self.buffer = (self.buffer[:length], self.buffer[length:]) if length >= 0 else (self.buffer, b"")
        return status, headers, body

    def _more(self):
        try:
            data = self.socket.recv(65536)
        except (ConnectionError, TimeoutError):
            return False
        self.buffer += data
        return bool(data)

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def request(method, target, body=b"", token="root", headers=(), length=True):
    """The bytes of a request; `target` may be any bytes."""
    target = target.encode() if isinstance(target, str) else target
    lines = [b"%s %s HTTP/1.1" % (method.encode(), target), b"Host: coffer.test"]
    lines += [b"X-Vault-Token: " + token.encode()] if token else []
    lines += [line.encode() for line in headers]
    lines += [b"Content-Length: %d" % len(body)] if length and (body or method != "GET") else []
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


class BadInput(unittest.TestCase):
    listener = ""

    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server.configured(listener=cls.listener)
        cls.addClassCleanup(cls.server.stop)
        cls.root = cls.server.token
        cls.api = cls.server.api
        cls.api.must("POST", "sys/mounts/kv", {"type": "kv", "options": {"version": "1"}})
        cls.api.must("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
        harness.eventually(lambda: cls.api.post("secret/data/closed/x", {"data": {"k": "the closed secret"}}).status == 200)
        cls.api.must("POST", "kv/sentinel", {"k": "here"})
        cls.limited = cls.api.token_for("open", 'path "secret/data/open/*" { capabilities = ["create", "read", "update", "delete", "list"] }')

    def tearDown(self):
        self.assertTrue(self.server.alive(), f"the server ended: {self.server.log_text()[-500:]}")
        self.assertEqual({"k": "here"}, self.api.must("GET", "kv/sentinel").data)
        self.assertNotIn("panicked", self.server.log_text())

    def one(self, *args, **more):
        more.setdefault("token", self.root)
        with Connection(self.server) as connection:
            try:
                connection.send(request(*args, **more))
            except ConnectionError:
                pass  # refused before all was sent; what it said counts
            return connection.reply()

    def clear_error(self, reply, *statuses, note=""):
        status, headers, body = reply
        self.assertIn(status, statuses, f"{note} answered {status} {body[:200]!r}")
        if OURS and body and status != 431:
            self.assertIn("errors", json.loads(body), note)

    def bounded(self, before, megabytes):
        grown = self.server.memory_mb() - before
        self.assertLess(grown, megabytes, f"grew by {grown:.0f} MB from {before:.0f} MB")


class Paths(BadInput):
    # Each would be another path once decoded or cleaned: a redirect to the cleaned path or an error, never an execution.
    UNCLEAN = [
        "open/../closed/x", "open/./../closed/x", "open//../closed/x", "./closed/x", "closed//x", "closed/./x", "closed/x/..", "closed/x/.", "open/..",
        "open/%2e%2e/closed/x", "open/%2E%2e/closed/x", "open/.%2e/closed/x", "open/%2e./closed/x", "closed/%2e/x", "open/%2e%2e%2fclosed/x",
        "open%2f..%2fclosed%2fx", "open/..%2fclosed/x", "open%2F%2E%2E%2Fclosed/x", "%2e%2e/data/closed/x",
        "closed/x%00", "closed%00/x", "%00", "closed/x%0d%0aX-Vault-Token:%20root", "closed/x%09", "closed/%7f", "closed/x%0a",
        "%c0%ae%c0%ae/closed/x", "open/%c0%ae%c0%ae/closed/x", "open/%e0%80%ae%e0%80%ae/closed/x", "open/%c0%afclosed", "%ff", "%ed%a0%80", "%f8%88%80%80%80",
        "closed/x%", "closed/x%2", "closed/x%zz", "closed/%u002e%u002e/x", "open/%2g",
    ]
    RAW = [b"closed/x\xff", b"\xc0\xae\xc0\xae/closed/x", b"closed/\x00x", b"closed/x y", b"closed/x\tz", b"closed\x7f/x"]
    # Names like any other: they may be used, but lead nowhere else.
    ODD_NAMES = ["open/;/closed", "open/..;/closed/x", "open/%252e%252e/closed/x", "open/%252fclosed", "open/..\\closed\\x", "open/%5c..%5cclosed%5cx",
                 "open/...", "open/..x", "open/%20", "open/~", "open/$HOME", "open/*", "open/+", "open/%E2%82%AC", "open/%EF%BC%8E%EF%BC%8E/closed/x", "open/%23", "open/%3F"]

    def test_what_differs_after_decoding_is_never_executed(self):
        for path in [p.encode() for p in self.UNCLEAN] + self.RAW:
            for method, body in (("GET", b""), ("POST", b'{"data":{"k":"planted"}}'), ("DELETE", b""), ("LIST", b"")):
                with self.subTest(path=path, method=method):
                    status, headers, reply = self.one(method, b"/v1/secret/data/" + path, body)
                    if not OURS and (b"%2f" in path.lower() or b"%c" in path.lower() or path[-1:] == b"\xff" or b"%ff" in path or b"\xc0" in path or b"%e" in path or b"%f8" in path or b"\x7f" in path or b"%7f" in path):
                        continue  # the reference executes some of these
                    self.assertIn(status, (301, 307, 308, 400), reply[:200])
                    if status != 400:
                        self.check_redirect(headers["location"])
        self.assertEqual({"k": "the closed secret"}, self.api.must("GET", "secret/data/closed/x").data["data"])
        self.assertEqual(1, self.api.must("GET", "secret/data/closed/x").data["metadata"]["version"])

    def check_redirect(self, location):
        self.assertTrue(location.startswith("/v1/"), f"a redirect stays on this server: {location}")
        for piece in location.split("?")[0].split("/")[1:]:
            self.assertNotIn(piece, (".", ".."))

    def test_no_spelling_takes_a_limited_token_to_what_it_may_not_read(self):
        for path in [p.encode() for p in self.UNCLEAN + self.ODD_NAMES] + self.RAW:
            for method, body in (("GET", b""), ("POST", b'{"data":{"k":"planted"}}'), ("DELETE", b"")):
                with self.subTest(path=path, method=method):
                    status, _, reply = self.one(method, b"/v1/secret/data/" + path, body, token=self.limited)
                    self.assertNotIn(b"the closed secret", reply)
                    self.assertLess(status, 500, reply[:200])
        closed = self.api.must("GET", "secret/data/closed/x").data
        self.assertEqual(({"k": "the closed secret"}, 1), (closed["data"], closed["metadata"]["version"]))

    def test_outside_of_the_api(self):
        for target in ("//v1/kv/sentinel", "/v1", "/v1/", "/", "/V1/kv/sentinel", "/v1/../v1/kv/sentinel", "/v2/kv/sentinel", "/v1//kv/sentinel", "/v1kv/sentinel", "/.git/config", "/%76%31/kv/sentinel",
                       "/v1/kv/../../etc/passwd", "//evil.test/v1/kv/sentinel", "///evil.test/%2e%2e"):
            with self.subTest(target=target):
                status, headers, body = self.one("GET", target)
                self.assertNotIn(b'"here"', body if OURS else b"")
                self.assertLess(status, 500, body[:200])
                if status in (301, 307, 308):
                    self.assertFalse(headers["location"].startswith("//"), f"leads to another host: {headers['location']}")

    def test_a_path_without_end(self):
        for length in (4_000, 60_000, 1 << 20):
            status, _, body = self.one("GET", "/v1/kv/" + "a" * length)
            self.assertIn(status, (400, 404, 414, 431, 0) if OURS else (404, 431), f"{length}: {body[:100]}")

    def test_queries(self):
        for query in ("version=%zz", "version=-1", "version=x", "version=99999999999999999999999", "list=perhaps", "version=1&version=2", "a=%00", "version[]=1", "%ff=1"):
            with self.subTest(query=query):
                status, _, body = self.one("GET", f"/v1/secret/data/closed/x?{query}")
                self.assertIn(status, (200, 400, 404), body[:200])


class Bodies(BadInput):
    def refused(self, body, *, path="kv/bad", method="POST", statuses=(400,)):
        data = body if isinstance(body, bytes) else body.encode()
        self.clear_error(self.one(method, f"/v1/{path}", data), *statuses, note=repr(data[:60]))
        if method == "POST" and path == "kv/bad":
            self.assertEqual(404, self.api.get("kv/bad").status, f"{data[:60]!r} was stored")

    def test_malformed_json(self):
        for body in ("{", "}", '{"a"', '{"a":', '{"a":}', '{"a":1,}', "{'a':1}", '{"a":01}', '{"a":1e}', '{"a":.5}', '{"a":+1}', '{"a":NaN}', '{"a":Infinity}', '{"a":"\n"}',
                     '{"a":"\\x41"}', '{"a":"\\u12"}', '{"a":tru}', "{a:1}", '{"a":1}}', '{"a":1} {"b":2}', '{"a":1}x', "not json", "<a/>", "a=b", '{"a":1', '[{"a":1}', '{"a" "b"}', "\x00", '{"a":1}\x00'):
            with self.subTest(body=body):
                self.refused(body)

    def test_json_that_is_no_object(self):
        for body in ("[]", '"text"', "3", "true", '[{"a":1}]'):
            with self.subTest(body=body):
                self.refused(body)

    def test_duplicate_keys(self):
        if not OURS:
            self.skipTest("the reference takes the last of them")
        for body in ('{"a":1,"a":1}', '{"a":1,"b":{"c":1,"c":2}}', '{"a":[{"x":1,"x":2}]}', '{"a":1,"\\u0061":2}'):
            with self.subTest(body=body):
                self.refused(body)
        self.refused('{"policies":["default"],"policies":["root"]}', path="auth/token/create")
        self.refused('{"data":{"k":1},"data":{"k":2}}', path="secret/data/dup")

    def test_no_text_in_utf_8(self):
        if not OURS:
            self.skipTest("the reference replaces what is no UTF-8")
        for body in (b'{"a":"\xff"}', b'{"\xc3":1}', b'{"a":"\xed\xa0\x80"}', b'{"a":"\xc0\xaf"}', b'{"a":"\xf4\x90\x80\x80"}', b'\xfe\xff\x00{\x00}', '{"a":1}'.encode("utf-16")):
            with self.subTest(body=body):
                self.refused(body)

    def test_lone_surrogates(self):
        if not OURS:
            self.skipTest("the reference replaces them")
        for body in ('{"a":"\\ud800"}', '{"a":"\\udc00x"}', '{"a":"\\ud800\\u0041"}'):
            with self.subTest(body=body):
                self.refused(body)

    def test_depth(self):
        for depth in (64, 1_000, 100_000, 1_000_000) if OURS else (10_000, 1_000_000):
            for opening, closing in (('{"a":', "}"), ('{"a":[', "]}"), ("[", "]")):
                with self.subTest(depth=depth, opening=opening):
                    self.refused('{"d":' + opening * depth + "1" + closing * depth + "}")
                    self.refused('{"d":' + opening * depth)

    def test_a_depth_that_people_use_is_taken(self):
        body = '{"a":' * 30 + '"deep"' + "}" * 30
        self.api.must("POST", "kv/thirty", body)
        self.assertEqual(json.loads(body), self.api.must("GET", "kv/thirty").data)

    def test_too_many_strings_and_members(self):
        self.refused('{"a":[' + '"x",' * 300_000 + '"x"]}')
        if OURS:
            self.refused("{" + ",".join(f'"k{n}":1' for n in range(20_000)) + "}")

    def test_a_body_over_the_limit(self):
        before = self.server.memory_mb()
        body = b'{"a":"' + b"x" * LIMIT + b'"}'
        self.clear_error(self.one("POST", "/v1/kv/bad", body), 413)
        self.clear_error(self.one("POST", "/v1/kv/bad", body, token=None), 413, 403)
        self.assertEqual(404, self.api.get("kv/bad").status)
        with Connection(self.server) as connection:  # announced only
            connection.send(request("POST", "/v1/kv/bad", token=self.root, headers=["Content-Length: 99999999999"], length=False))
            if OURS:
                self.clear_error(connection.reply(), 413)
        self.bounded(before, 160)

    def test_a_chunked_body_over_the_limit(self):
        before = self.server.memory_mb()
        with Connection(self.server) as connection:
            connection.send(request("POST", "/v1/kv/bad", token=self.root, headers=["Transfer-Encoding: chunked"], length=False))
            chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
            try:
                for _ in range(34):
                    connection.send(chunk)
                connection.send(b"0\r\n\r\n")
            except ConnectionError:
                pass
            status, _, body = connection.reply()
        self.assertIn(status, (413, 0), body[:100])
        self.bounded(before, 160)

    def test_a_large_body_within_the_limit_comes_back(self):
        value = "x" * (1 << 20)
        self.api.must("POST", "kv/large", {"k": value})
        self.assertEqual(value, self.api.must("GET", "kv/large").data["k"])

    def test_wrong_types_name_the_field(self):
        cases = [
            ("auth/token/create", {"ttl": "soon"}, ""), ("auth/token/create", {"num_uses": "many"}, "num_uses"), ("auth/token/create", {"renewable": "perhaps"}, "renewable"),
            ("auth/token/create", {"meta": "text"}, "meta"), ("auth/token/create", {"meta": {"a": {"b": 1}}}, "meta"), ("auth/token/create", {"type": "nosuch"}, ""),
            ("auth/token/create", {"policies": {"a": 1}}, "policies"), ("auth/token/create", {"period": [1]}, "period"),
            ("auth/token/lookup", {"token": {"a": 1}}, "token"), ("sys/policies/acl/x", {"policy": {"a": 1}}, ""),
            ("secret/metadata/x", {"max_versions": "three"}, "max_versions"), ("secret/metadata/x", {"cas_required": "perhaps"}, "cas_required"),
            ("secret/metadata/x", {"delete_version_after": "later"}, "delete_version_after"), ("secret/destroy/closed/x", {"versions": {"a": 1}}, "versions"),
            ("secret/destroy/closed/x", {}, ""), ("secret/config", {"max_versions": []}, "max_versions"),
            ("sys/mounts/m", {"type": 3}, ""), ("sys/mounts/m", {}, ""), ("sys/mounts/m", {"type": "kv", "config": "text"}, "config"),
            ("sys/mounts/m", {"type": "kv", "config": {"max_lease_ttl": "long"}}, ""), ("sys/tools/random/x", {}, ""), ("sys/wrapping/lookup", {}, ""),
            ("sys/audit/f", {"type": "nosuch"}, ""), ("sys/audit/f", {"type": "file", "options": "text"}, ""), ("sys/quotas/rate-limit/q", {"rate": "fast"}, "rate"), ("sys/quotas/rate-limit/q", {"rate": -1}, ""),
        ]
        for path, body, field in cases:
            with self.subTest(path=path, body=body):
                reply = self.api.post(path, body)
                self.assertEqual(400, reply.status, reply)
                if OURS and field:
                    self.assertIn(field, " ".join(reply.errors), "the error names the field")
                self.assertNotIn("panick", reply.text)
        self.assertEqual(1, self.api.must("GET", "secret/data/closed/x").data["metadata"]["version"])

    def test_methods(self):
        for method in ("TRACE", "CONNECT", "PROPFIND", "get", "OPTIONS", "FOO"):
            with self.subTest(method=method):
                status, _, body = self.one(method, "/v1/kv/sentinel")
                self.assertIn(status, (400, 403, 404, 405, 501) if method != "OPTIONS" else (200, 204, 400, 403, 404, 405, 412), body[:100])
                self.assertNotIn(b"here", body)


class Framing(BadInput):
    """HTTP itself, bent. Two readings of one message must not exist (request smuggling)."""

    def status(self, data):
        with Connection(self.server, timeout=8) as connection:
            return connection.send(data).reply()[0]

    def test_ambiguous_lengths(self):
        base = f"POST /v1/kv/smuggled HTTP/1.1\r\nHost: x\r\nX-Vault-Token: {self.root}\r\n"
        body = '{"a":"b"}'
        for headers in (
            "Content-Length: 9\r\nContent-Length: 3\r\n", "Content-Length: 9, 3\r\n", "Content-Length: -9\r\n", "Content-Length: 9x\r\n", "Content-Length: 0x9\r\n", "Content-Length : 9\r\n",
            "Transfer-Encoding: chunked, identity\r\n", "Transfer-Encoding: xchunked\r\n", "Content-Length: 99999999999999999999999\r\n", "X\x00Y: 1\r\nContent-Length: 9\r\n",
        ):
            with self.subTest(headers=headers):
                self.assertIn(self.status((base + headers + "\r\n" + body).encode()), (400, 413, 501, 0))
                self.assertEqual(404, self.api.get("kv/smuggled").status)

    def test_a_length_beside_chunks_is_not_read_in_two_ways(self):
        inner = f"POST /v1/kv/inner HTTP/1.1\r\nHost: x\r\nX-Vault-Token: {self.root}\r\nContent-Length: 9\r\n\r\n" + '{"a":"b"}'
        outer = f"POST /v1/kv/outer HTTP/1.1\r\nHost: x\r\nContent-Length: {5 + len(inner)}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}"
        with Connection(self.server, timeout=5) as connection:
            connection.send(outer.encode()).reply()
            connection.reply()
        if OURS:
            self.assertEqual(404, self.api.get("kv/inner").status, "what stands behind an ambiguous message must not be executed")

    def test_bad_chunks(self):
        base = f"POST /v1/kv/bad HTTP/1.1\r\nHost: x\r\nX-Vault-Token: {self.root}\r\nTransfer-Encoding: chunked\r\n\r\n"
        for chunks in ("zz\r\n", "-1\r\n{}\r\n0\r\n\r\n", "ffffffffffffffff1\r\n{}", "3\r\n{}\r\n0\r\n\r\n"):
            with self.subTest(chunks=chunks):
                self.assertIn(self.status((base + chunks).encode()), (400, 413, 0))
        self.assertEqual(404, self.api.get("kv/bad").status)

    def test_a_body_that_breaks_off_changes_nothing(self):
        for _ in range(20):
            with Connection(self.server) as connection:
                connection.send(request("POST", "/v1/kv/bad", token=self.root, headers=["Content-Length: 100"], length=False) + b'{"a":"b"}')
        time.sleep(0.3)
        self.assertEqual(404, self.api.get("kv/bad").status)

    def test_no_http_at_all(self):
        for data in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200, b"hello\r\n\r\n", b"GET /\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x00" * 5000, b"\r\n" * 5000, b"SSH-2.0-x\r\n",
                     b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 4000, b"GET  /v1/kv/sentinel HTTP/1.1\r\n\r\n"):
            with self.subTest(data=data[:20]):
                with Connection(self.server, timeout=3) as connection:
                    try:
                        connection.send(data)
                        connection.socket.shutdown(socket.SHUT_WR)
                    except OSError:
                        pass
                    self.assertNotEqual(200, connection.reply()[0])

    def test_header_bombs(self):
        before = self.server.memory_mb()
        many = [f"X-H{n}: v" for n in range(5_000)]
        for headers in (many, ["X-Large: " + "v" * (2 << 20)], ["X" * (1 << 20) + ": v"], ["X-Vault-Token: " + "t" * (1 << 20)], ["X-Vault-Wrap-TTL: " + "9" * 5000], ["Cookie: " + "a=b;" * 200_000]):
            with Connection(self.server) as connection:
                try:
                    connection.send(request("GET", "/v1/kv/sentinel", token=None, headers=headers))
                except ConnectionError:
                    continue
                status, _, body = connection.reply()
                self.assertIn(status, (400, 403, 431, 0), body[:100])
        self.bounded(before, 60)

    def test_two_tokens_in_one_request(self):
        status, _, body = self.one("GET", "/v1/kv/sentinel", token=None, headers=["X-Vault-Token: wrong", f"X-Vault-Token: {self.root}"])
        self.assertIn(status, (400, 403), body[:100])

    def test_pipelining_answers_in_order(self):
        for number in range(40):
            self.api.must("POST", f"kv/p{number}", {"n": f"value-{number}"})
        with Connection(self.server) as connection:
            connection.send(b"".join(request("GET", f"/v1/kv/p{number}", token=self.root) for number in range(40)))
            for number in range(40):
                status, _, body = connection.reply()
                self.assertEqual((200, {"n": f"value-{number}"}), (status, json.loads(body)["data"]))


class SlowClients(BadInput):
    listener = '  http_read_header_timeout = "1s"\n  http_read_timeout = "2s"\n  http_idle_timeout = "2s"\n'

    def ends_within(self, connection, seconds):
        connection.socket.settimeout(seconds)
        began = time.monotonic()
        connection.reply()
        self.assertLess(time.monotonic() - began, seconds, "the server waits for ever")

    def test_headers_that_never_end(self):
        with Connection(self.server) as connection:
            connection.send(b"GET /v1/kv/sentinel HTTP/1.1\r\nHost: x\r\n")
            began = time.monotonic()
            try:
                for number in range(100):
                    connection.send(b"X-%d: y\r\n" % number)
                    time.sleep(0.1)
            except ConnectionError:
                pass
            self.assertLess(time.monotonic() - began, 8, "one more header must not buy more time")

    def test_a_connection_that_says_nothing(self):
        with Connection(self.server) as connection:
            self.ends_within(connection, 8)

    def test_a_body_drop_by_drop(self):
        with Connection(self.server) as connection:
            connection.send(request("POST", "/v1/kv/slow", token=self.root, headers=["Content-Length: 1000"], length=False))
            began = time.monotonic()
            try:
                for _ in range(100):
                    connection.send(b" ")
                    time.sleep(0.1)
            except ConnectionError:
                pass
            self.assertLess(time.monotonic() - began, 9)
        self.assertEqual(404, self.api.get("kv/slow").status)

    def test_slow_clients_do_not_hold_up_others(self):
        before = self.server.memory_mb()
        slow = [Connection(self.server) for _ in range(300)]
        for number, connection in enumerate(slow):
            if number % 2:
                connection.send(b"GET /v1/kv/sentinel HTTP/1.1\r\nHost:")
            else:  # announces much, sends little: nothing may be set aside for it
                connection.send(request("POST", "/v1/kv/slow", token=self.root, headers=["Content-Length: 30000000"], length=False) + b'{"a":"')
        began = time.monotonic()
        for _ in range(50):
            self.assertEqual(200, self.api.get("kv/sentinel").status)
        self.assertLess(time.monotonic() - began, 5)
        self.bounded(before, 60)
        for connection in slow:
            connection.close()

    def test_clients_that_never_read(self):
        before = self.server.memory_mb()
        self.api.must("POST", "kv/wide", {"k": "x" * 500_000})
        deaf = []
        for _ in range(20):
            connection = Connection(self.server)
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.send(b"".join(request("GET", "/v1/kv/wide", token=self.root) for _ in range(100)))
            deaf.append(connection)
        time.sleep(1)
        self.assertEqual(200, self.api.get("kv/sentinel").status)
        self.bounded(before, 160)
        for connection in deaf:
            connection.close()


class Crowds(BadInput):
    @classmethod
    def setUpClass(cls):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the server inherits it
        super().setUpClass()

    def test_ten_thousand_idle_connections(self):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        wanted = min(10_000, hard - 500)
        harness.say(f"        {wanted} idle connections (the limit of open files is {hard})")
        before, idle = self.server.memory_mb(), []
        try:
            for number in range(wanted):
                connection = Connection(self.server)
                if number % 3 == 0:  # one in three has been served once and stays
                    connection.send(request("GET", "/v1/sys/health", token=None))
                idle.append(connection)
            began = time.monotonic()
            for _ in range(100):
                self.assertEqual(200, self.api.get("kv/sentinel").status)
            took = (time.monotonic() - began) / 100
            grown = self.server.memory_mb() - before
            harness.say(f"        {grown * 1000 / wanted:.1f} kB each, {took * 1000:.1f} ms a call beside them")
            self.assertLess(took, 0.2)
            self.bounded(before, 400)
        finally:
            for connection in idle:
                connection.close()

    def test_many_large_bodies_at_once(self):
        before = self.server.memory_mb()
        body = b'{"a":"' + b"x" * (8 << 20) + b'"'  # 8 MiB, and no end to the JSON

        def send(_):
            return self.one("POST", "/v1/kv/bad", body)[0]

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            self.assertEqual({400}, set(pool.map(send, range(24))))
        self.bounded(before, 400)


if __name__ == "__main__":
    unittest.main()
