"""Planted secrets, looked for wherever they must not be.

Every operation of the reference's surface (golden/vault-surface.jsonl) whose mount is here is called with planted values in each field
that holds a secret, text and numbers; then the recorded calls run with planted values in what they store; then the same values go
through refusals: wrong tokens, wrong types, broken JSON, wrong unseal keys, the command line. Afterwards none of them, and no token
or key that the server gave out, stands in the server's log, the audit file, the body of an error, the process's environment and
arguments, the files of the store, or what the command line printed in an error.
"""

import base64
import json
import pathlib
import re
import tarfile
import unittest
import urllib.parse

import harness
import recorded

OURS = not harness.is_reference()
SURFACE = recorded.load(harness.GOLDEN / "vault-surface.jsonl")
# Operations that would end the run rather than add to it; each has tests of its own.
ENDS_THE_RUN = re.compile(r"^/(auth/token/revoke-self|sys/(seal|step-down|init|unseal|raw|rekey|rotate|generate-root|replication|storage/raft|namespaces|plugins|pprof|monitor|audit/))")
# What a field holds is a secret, wherever it stands.
SECRET_FIELDS = {"token", "key", "unlock_key", "otp", "encoded_token", "value", "input", "plaintext", "password", "secret_id", "id", "mfa_payload", "nonce", "jwt", "id_token", "client_nonce", "oidc_client_secret", "token_reviewer_jwt"}


class Planted:
    """Values that occur nowhere else. Each knows the field that it was planted in."""

    def __init__(self):
        self.values, self.count = {}, 0

    def text(self, where):
        self.count += 1
        value = f"cnry{self.count:05d}q{abs(hash(where)) % 10**8:08d}zz"
        self.values[value] = where
        return value

    def number(self, where):
        self.count += 1
        value = 7_391_000_000_000_000 + self.count * 1_000_003
        self.values[str(value)] = where
        return value

    def fraction(self, where):
        self.count += 1
        text = f"8.{self.count:05d}46213097"
        self.values[text] = where
        return float(text)

    def secret(self, value, where):
        """One that the server made: a token, a key."""
        if isinstance(value, str) and len(value) >= 20:
            self.values[value] = where

    def leaves(self, value, where):
        """The same shape with every leaf planted."""
        if isinstance(value, dict):
            return {key: self.leaves(item, f"{where}.{key}") for key, item in value.items()}
        if isinstance(value, list):
            return [self.leaves(item, where) for item in value]
        if isinstance(value, bool) or value is None:
            return value
        return self.text(where) if isinstance(value, str) else self.number(where)

    def needles(self):
        """Every form in which a value could stand: as it is, in base64 and in hexadecimal."""
        for value, where in self.values.items():
            raw = value.encode()
            for form in {value, base64.b64encode(raw).decode().rstrip("="), base64.urlsafe_b64encode(raw).decode().rstrip("="), raw.hex(), urllib.parse.quote(value, safe="")}:
                yield form, where


class Canary(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.planted = Planted()
        folder = harness.scratch()
        cls.audit = folder / "audit.log"
        top = f'log_level = "trace"\nraw_storage_endpoint = true\naudit "file" "canary" {{\n  options = {{\n    file_path = "{cls.audit}"\n  }}\n}}\n'
        cls.server = harness.Server.configured(storage=harness.durable_storage(folder), folder=folder, top=top, init=False)
        cls.addClassCleanup(cls.server.stop)
        cls.errors, cls.prints, cls.calls = [], [], 0
        made = cls.server.initialise(shares=2, threshold=2)
        for key in [*made["keys"], *made["keys_base64"], made["root_token"]]:
            cls.planted.secret(key, "sys/init")
        cls.api = cls.server.api
        cls.api.must("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
        cls.api.must("POST", "sys/mounts/kv1", {"type": "kv", "options": {"version": "1"}})
        for method in ("approle", "jwt", "kubernetes", "userpass"):
            cls.api.must("POST", f"sys/auth/{method}", {"type": method})
        harness.eventually(lambda: cls.api.post("secret/data/ready", {"data": {"k": 1}}).status == 200)
        cls.limited = cls.api.token_for("limited", 'path "secret/data/allowed" { capabilities = ["read"] }')
        cls.planted.secret(cls.limited, "auth/token/create")
        cls.whole_surface()
        cls.recorded_calls()
        cls.refusals()
        cls.command_line()
        cls.environment = cls.proc("environ") + b"\0" + cls.proc("cmdline")
        cls.found_alive = cls.server.alive()
        cls.server.stop()  # all that is to be written is written

    # ---- planting ------------------------------------------------------------------------------

    @classmethod
    def send(cls, method, path, body=None, token=..., headers=None):
        reply = cls.api.call(method, path, body, token=token, headers=headers)
        cls.calls += 1
        if reply.status >= 400:
            cls.errors.append((f"{method} {path}", reply.text))
        else:
            cls.keep_what_was_given(path, reply)
        return reply

    @classmethod
    def keep_what_was_given(cls, path, reply):
        if isinstance(reply.json, dict):
            auth, wrap, data = (reply.json.get(name) or {} for name in ("auth", "wrap_info", "data"))
            cls.planted.secret(auth.get("client_token"), path)
            cls.planted.secret(wrap.get("token"), path)
            if isinstance(data, dict):
                for name in ("random_bytes", "password", "secret_id"):
                    cls.planted.secret(data.get(name), path)

    @classmethod
    def whole_surface(cls):
        mounts = set(cls.api.must("GET", "sys/mounts").data)
        auths = {f"auth/{name}" for name in cls.api.must("GET", "sys/auth").data}
        cls.surface = 0
        for operation in SURFACE:
            path = operation["path"]
            mount = "/".join(path.split("/")[1:3 if path.startswith("/auth/") else 2]) + "/"
            if mount not in mounts | auths or ENDS_THE_RUN.match(path):
                continue
            cls.surface += 1
            where = re.sub(r"\{\w+\}", "canary-place", path).lstrip("/")
            body = None if operation["method"] in ("GET", "LIST", "DELETE") else cls.body_for(operation)
            for token in (cls.server.token, cls.limited, None):
                cls.send(operation["method"], where, body, token=token)

    @classmethod
    def body_for(cls, operation):
        where, body = operation["path"], {}
        for name, kind in operation["fields"].items():
            named = name in ("key", "id") and where.startswith("/identity/")  # names there, which the audit log shows
            if name in SECRET_FIELDS and not named and kind in ("string", "lowercase"):
                body[name] = cls.planted.text(f"{where} {name}")
            elif name in ("data", "value"):
                body[name] = {"text": cls.planted.text(f"{where} {name}"), "number": cls.planted.number(f"{where} {name}"), "list": [cls.planted.text(f"{where} {name}"), cls.planted.fraction(f"{where} {name}")]}
        if not operation["fields"]:  # kv 1 and cubbyhole take any
            body = {"text": cls.planted.text(where), "number": cls.planted.number(where), "fraction": cls.planted.fraction(where), "deep": {"list": [cls.planted.text(where), cls.planted.number(where)]}}
        return body

    @classmethod
    def recorded_calls(cls):
        """The recorded calls on key-value mounts and cubbyholes, in order, with planted values in what they store."""
        names = recorded.Names(cls.server.address)
        names.known["root"] = cls.server.token
        stored = re.compile(r"^/v1/(?:(?P<two>secret/data)|kv1?|cubbyhole)/")
        host, port = recorded.host_and_port(cls.server.address)
        for record in recorded.load(harness.GOLDEN / "vault-http.jsonl"):
            if record["group"] not in ("mounts", "kv1", "kv2", "cubbyhole", "wrapping", "token", "capabilities"):
                continue
            found, body = stored.match(record["path"]), record["request_body"]
            if found and isinstance(body, dict):
                if found["two"]:
                    body = {**body, "data": cls.planted.leaves(body.get("data"), record["path"])} if "data" in body else body
                else:
                    body = cls.planted.leaves(body, record["path"])
                record = {**record, "request_body": body}
            status, reply, _ = recorded.send(host, port, record, names)
            names.keep(record, reply)
            cls.calls += 1
            text = reply if isinstance(reply, str) else json.dumps(reply)
            if status >= 400:
                cls.errors.append((f"#{record['seq']} {record['method']} {record['path']}", text))
            elif isinstance(reply, dict):
                cls.keep_what_was_given(record["path"], harness.Reply(status, {}, text.encode()))

    @classmethod
    def refusals(cls):
        new = lambda where: cls.planted.text(where)
        for path in ("secret/data/x", "kv1/x", "cubbyhole/x", "sys/tools/hash", "auth/token/lookup", "sys/wrapping/unwrap", "sys/unseal"):
            for shape in ('{{"data":{{"k":"{0}"', '{{"data":"{0}"}}', '"{0}"', '["{0}"]', '{0}', '{{"data":{{"k":"{0}","k":"{0}"}}}}', '{{"data":{{"k":"{0}\xff"}}}}', '{{"data":{{"k":{1}}}', '{{"data":{1}}}', '{{"options":"{0}"}}',
                          '{{"data":{{"k":"{0}"}},"options":{{"cas":"{0}"}}}}', '{{"token":["{0}"]}}', '{{"token":{{"a":"{0}"}}}}', '{{"key":{{"a":"{0}"}}}}', '{{"token":{1}}}', '{{"key":{1}}}', '{{"input":["{0}"]}}', '{{"token":"{0}","x":' + "[" * 80):
                for token in (cls.server.token, cls.limited):
                    cls.send("POST", path, shape.format(new(f"refusal at {path}"), cls.planted.number(f"refusal at {path}")).encode("latin-1"), token=token)
        for header in ("X-Vault-Token", "Authorization", "X-Vault-Wrap-TTL", "X-Vault-Namespace", "Cookie"):
            for value in (new(f"header {header}"), "Bearer " + new(f"header {header}"), "hvs." + new(f"header {header}"), "hvb." + new(f"header {header}"), "s." + new(f"header {header}")):
                if header in ("X-Vault-Token", "Authorization", "Cookie"):
                    cls.send("GET", "secret/data/x", headers={header: value}, token=None)
        for key in (new("unseal key"), base64.b64encode(new("unseal key").encode()).decode(), new("unseal key").encode().hex()):
            cls.send("PUT", "sys/unseal", {"key": key}, token=None)
            cls.send("PUT", "sys/generate-root/update", {"key": key, "nonce": new("nonce")}, token=None)
            cls.send("PUT", "sys/rekey/update", {"key": key, "nonce": new("nonce")}, token=None)
        for path in ("sys/host-info", "sys/metrics", "sys/metrics?format=prometheus", "sys/in-flight-req", "sys/config/state/sanitized", "sys/internal/counters/activity", "sys/internal/specs/openapi", "sys/loggers", "sys/leases/count"):
            reply = cls.send("GET", path)
            cls.errors.append((f"reply of {path}", reply.text))  # these show the server, so no secret stands in them either

    @classmethod
    def command_line(cls):
        run = cls.server.cli
        new = cls.planted.text
        cls.api.must("POST", "secret/data/cli", {"data": {"k": 1}})
        for token, args, stdin in (
            (cls.limited, ("kv", "put", "secret/cli", "k=" + new("kv put, denied")), None),
            (cls.server.token, ("kv", "put", "-cas=9", "secret/cli", "k=" + new("kv put, wrong version")), None),
            (cls.server.token, ("kv", "put", "nosuch/cli", "k=" + new("kv put, no mount")), None),
            (cls.server.token, ("kv", "put", "secret/cli", "-"), '{"k":"' + new("kv put, broken JSON")),
            (cls.server.token, ("write", "secret/cli", "k=" + new("write, wrong path")), None),
            (cls.server.token, ("kv", "put", "-nosuchflag", "secret/cli", "k=" + new("kv put, unknown flag")), None),
            (None, ("login", new("login")), None),
            (None, ("login", "-"), new("login from input")),
            (None, ("operator", "unseal", new("operator unseal")), None),
            ("hvs." + new("token in the environment"), ("kv", "get", "secret/cli"), None),
            (cls.server.token, ("token", "lookup", "hvs." + new("token lookup")), None),
            (cls.server.token, ("token", "revoke", "hvs." + new("token revoke")), None),
            (cls.server.token, ("unwrap", "hvs." + new("unwrap")), None),
        ):
            ran = run(*args, token=token, stdin=stdin)
            cls.prints.append((f"coffer {' '.join(args[:2])}", ran.stdout + ran.stderr))
        cls.debug(run)

    @classmethod
    def debug(cls, run):
        """What `debug` collects goes to people who ask for it, so it is searched as a log is."""
        target = cls.server.folder / "bundle.tar.gz"
        ran = run("debug", "-duration=1s", "-interval=1s", "-metrics-interval=1s", f"-output={target}", timeout=90)
        cls.prints.append(("coffer debug", ran.stdout + ran.stderr))
        cls.bundle = target.exists()
        if cls.bundle:
            with tarfile.open(target) as archive:
                for member in archive:
                    if member.isfile():
                        cls.prints.append((f"debug bundle {member.name}", archive.extractfile(member).read().decode("latin-1")))

    @classmethod
    def proc(cls, name):
        return pathlib.Path(f"/proc/{cls.server.pid}/{name}").read_bytes()

    # ---- looking -------------------------------------------------------------------------------

    def nowhere_in(self, what, text):
        found = [f"{where}: {form}" for form, where in self.planted.needles() if form in text]
        self.assertEqual([], found[:10], f"{len(found)} planted values in {what}")

    def test_enough_was_planted(self):
        self.assertGreater(len(self.planted.values), 300)
        self.assertGreater(self.calls, 700)
        self.assertGreater(self.surface, 100)
        self.assertGreater(len(self.errors), 200)
        self.assertTrue(self.found_alive)

    def test_not_in_the_servers_log(self):
        text = self.server.log_text()
        self.assertTrue(text, "a server at trace says something")
        self.assertNotIn("panicked", text)
        self.nowhere_in("the log", text)

    def test_not_in_the_audit_file(self):
        text = self.audit.read_text()
        self.assertGreater(len(text.splitlines()), self.calls, "every call leaves a request and a reply")
        self.nowhere_in("the audit file", text)

    def test_the_audit_file_shows_them_only_as_hashes(self):
        hashed = 0
        for line in harness.audit_lines(self.audit):
            if line["type"] == "request" and line["request"]["path"].startswith("kv1/") and line["request"].get("data"):
                for leaf in leaves(line["request"]["data"]):
                    if leaf is None or isinstance(leaf, bool) and not OURS:
                        continue
                    self.assertRegex(str(leaf), r"^hmac-sha256:[0-9a-f]{64}$")
                    hashed += 1
        self.assertGreater(hashed, 5)

    def test_not_in_an_error(self):
        for call, text in self.errors:
            with self.subTest(call=call):
                self.nowhere_in(f"the error of {call}", text)

    def test_not_in_what_the_command_line_prints(self):
        for command, text in self.prints:
            with self.subTest(command=command):
                self.nowhere_in(f"the output of {command}", text)

    def test_the_debug_bundle_was_searched(self):
        self.assertTrue(self.bundle, "debug made no bundle")

    def test_not_in_the_environment_of_the_process(self):
        self.nowhere_in("the environment", self.environment.decode("latin-1"))

    def test_not_in_the_files_of_the_store(self):
        files = [path for path in self.server.folder.rglob("*") if path.is_file() and path != self.audit]
        size = 0
        for path in files:
            content = path.read_bytes().decode("latin-1")
            size += len(content)
            with self.subTest(file=str(path.relative_to(self.server.folder))):
                self.nowhere_in(path.name, content)
        self.assertGreater(size, 10_000)


def leaves(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from leaves(item)
    else:
        yield value


if __name__ == "__main__":
    unittest.main()
