"""The server as people run it: both ways to start without a configuration, configuration files, what SIGHUP reloads, audit devices that
fail, quotas, explain, diagnose and debug. Each test looks at the effect."""

import json
import os
import pathlib
import pty
import re
import select
import signal
import socket
import ssl
import stat
import subprocess
import tarfile
import threading
import time
import unittest

import harness

ANSWERS = (200, 429, 473, 501, 503)


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def run_server(*args, home, seconds=15, **env):
    """A server that is expected to end by itself: its exit code and all that it said."""
    ran = subprocess.Popen([harness.BIN, "server", *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, env=harness.clean_env(home, **env))
    try:
        return ran.communicate(timeout=seconds)[0], ran.returncode
    except subprocess.TimeoutExpired:
        ran.kill()
        return ran.communicate()[0] + "\n(it went on running)", None


def on_terminal(args, home, enough, seconds=20):
    """What a program says to a terminal until `enough`; then it is told to stop."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(args[0], args, harness.clean_env(home))
    said, end = b"", time.monotonic() + seconds
    try:
        while not enough(said.decode("utf-8", "replace")):
            if time.monotonic() > end:
                raise AssertionError(f"it did not come: {said[-800:]}")
            if select.select([terminal], [], [], 0.2)[0]:
                said += os.read(terminal, 65536)
        time.sleep(0.2)
        if select.select([terminal], [], [], 0)[0]:
            said += os.read(terminal, 65536)
    finally:
        os.kill(pid, signal.SIGTERM)
        status = os.waitpid(pid, 0)[1]
        os.close(terminal)
    if status != 0:
        raise AssertionError(f"SIGTERM ended it with status {status}")
    return said.decode("utf-8", "replace")


class WithoutConfiguration(unittest.TestCase):
    """`coffer server`: durable, initialises itself, comes back unsealed."""

    PORT = 8200

    def setUp(self):
        end = time.monotonic() + 60
        while True:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", self.PORT))
                    break
                except OSError:
                    if time.monotonic() > end:
                        self.skipTest("another program listens on 127.0.0.1:8200, the address that this is about")
            time.sleep(0.5)
        self.folder = harness.scratch()
        self.home = self.folder / "home"

    def start(self, *args):
        self.home.mkdir(exist_ok=True)
        server = harness.Server(["server", *map(str, args)], self.PORT, self.folder, env=harness.clean_env(self.home), ready=(200,))
        self.addCleanup(server.stop)
        return server

    def root_token(self):
        return harness.eventually(self.find_token, what="a file with the root token")

    def find_token(self):
        """The one file, readable by its owner alone, that holds the token."""
        for path in self.folder.rglob("*"):
            if path.is_file() and "token" in path.name.lower() and path.name != "server.log":
                text = path.read_text("latin-1").strip()
                if re.fullmatch(r"hvs\.[A-Za-z0-9_.-]+", text):
                    self.assertEqual(0o600, mode(path), f"{path} is readable by others")
                    return text
        return None

    def key_file(self):
        keys = [path for path in self.folder.rglob("*") if path.is_file() and "key" in path.name.lower() and "data" not in path.parts]
        self.assertTrue(keys, f"no key file among {[str(p) for p in self.folder.rglob('*')]}")
        return keys[0]

    def test_a_secret_outlives_kill_nine_with_nothing_configured(self):
        server = self.start()
        token = self.root_token()
        self.assertNotIn(token, server.log_text(), "it is shown on a terminal only")
        server.api.token = token
        self.assertIn("secret/", server.cli("secrets", "list", token=token).stdout, "there is a place for secrets from the start")
        self.assertEqual(0, server.cli("kv", "put", "secret/first", "k=v", token=token).returncode)
        server.kill()
        server.start()
        self.assertEqual("v", server.cli("kv", "get", "-field=k", "secret/first", token=token).stdout.strip())
        self.assertEqual({"initialized": True, "sealed": False}, {k: v for k, v in server.api.get("sys/seal-status").json.items() if k in ("initialized", "sealed")})
        server.api.must("POST", "auth/token/revoke-self")
        server.stop()
        server.start()
        self.assertEqual(403, server.api.get("secret/data/first", token=token).status, "a revoked root token stays revoked")

    def test_data_without_its_key_is_refused_and_kept(self):
        data, key = self.folder / "data", self.folder / "elsewhere" / "seal.key"
        key.parent.mkdir()
        server = self.start("-data", data, "-seal-key", key)
        token = self.root_token()
        server.api.token = token
        server.api.must("POST", "secret/data/x", {"data": {"k": "v"}})
        self.assertEqual(0o600, mode(key))
        server.stop()
        away = key.with_name("away")
        key.rename(away)
        text, code = run_server("-data", data, "-seal-key", key, home=self.home)
        self.assertNotIn(code, (0, None), text)
        self.assertIn("key", text)
        self.assertFalse(key.exists(), "no new key is made for data that has one")
        key.write_bytes(os.urandom(32))
        os.chmod(key, 0o600)
        text, code = run_server("-data", data, "-seal-key", key, home=self.home)
        self.assertNotIn(code, (0, None), text)
        key.unlink()
        away.rename(key)
        server.start()
        self.assertEqual({"k": "v"}, server.api.must("GET", "secret/data/x").data["data"])

    def test_the_key_lies_in_another_tree_than_the_data(self):
        self.start()
        key = self.key_file()
        self.assertEqual(0o600, mode(key))
        secret = key.read_bytes().strip()
        for path in self.folder.rglob("*"):
            if path.is_file() and path != key:
                self.assertNotIn(secret, path.read_bytes(), f"the key stands in {path}")

    def test_one_process_at_a_time(self):
        self.start("-data", self.folder / "data")
        text, code = run_server("-data", self.folder / "data", home=self.home)
        self.assertNotIn(code, (0, None), text)
        self.assertTrue(text.strip())

    def test_on_a_terminal_the_root_token_is_shown_once_and_left_nowhere(self):
        self.home.mkdir()
        port = harness.free_port()
        args = [harness.BIN, "server", f"-listen-address=127.0.0.1:{port}"]
        said = on_terminal(args, self.home, lambda text: "Root Token:" in text)
        token = re.search(r"Root Token: (hvs\.\S+)", said)[1]
        for path in self.folder.rglob("*"):
            self.assertFalse(path.is_file() and token.encode() in path.read_bytes(), f"the token stands in {path}")
        again = on_terminal(args, self.home, lambda text: "Data:" in text)
        self.assertNotIn("Root Token:", again)
        self.assertNotIn(token, again)

    def test_only_loopback_and_no_flags_of_other_ways_to_start(self):
        self.home.mkdir()
        text, code = run_server("-listen-address=0.0.0.0:18299", home=self.home)
        self.assertEqual(1, code, text)
        self.assertIn("TLS", text)
        text, code = run_server("-dev", "-data", self.folder / "d", home=self.home)
        self.assertEqual(1, code, text)
        self.assertIn("-data", text)
        self.assertEqual([], list(self.home.iterdir()), "nothing was made")

    def test_a_key_that_others_may_read_is_refused(self):
        server = self.start("-data", self.folder / "data", "-seal-key", self.folder / "k" / "seal.key")
        server.stop()
        os.chmod(self.folder / "k" / "seal.key", 0o644)
        text, code = run_server("-data", self.folder / "data", "-seal-key", self.folder / "k" / "seal.key", home=self.home)
        self.assertEqual(1, code, text)
        self.assertIn("chmod 600", text)

    def test_diagnose_warns_where_key_and_data_share_a_volume(self):
        server = self.start("-data", self.folder / "data", "-seal-key", self.folder / "seal.key")
        server.stop()
        ran = server.cli("operator", "diagnose", "-data", str(self.folder / "data"), "-seal-key", str(self.folder / "seal.key"))
        self.assertRegex((ran.stdout + ran.stderr).lower(), r"volume|filesystem|file system|device")


class DevMode(unittest.TestCase):
    def start(self, *args, env=None, **more):
        port, folder = harness.free_port(), harness.scratch()
        home = folder / "home"
        home.mkdir()
        env = harness.clean_env(home, **{key: value.format(port=port) for key, value in (env or {}).items()})
        words = [arg.format(port=port, folder=folder) for arg in args]
        server = harness.Server(["server", "-dev", *words], port, folder, env=env, ready=(200,), **more)
        self.addCleanup(server.stop)
        return server

    def test_the_environment_names_token_and_address(self):
        server = self.start(env={"VAULT_DEV_ROOT_TOKEN_ID": "chosen", "VAULT_DEV_LISTEN_ADDRESS": "127.0.0.1:{port}"})
        self.assertEqual(200, server.api.get("auth/token/lookup-self", token="chosen").status)
        self.assertEqual("2", server.api.get("sys/mounts", token="chosen").data["secret/"]["options"]["version"])

    def test_it_says_how_to_use_it(self):
        server = self.start("-dev-listen-address=127.0.0.1:{port}")
        text = harness.eventually(lambda: "Root Token" in server.log_text() and server.log_text())
        self.assertRegex(text, r"Unseal Key: \S+")
        token = re.search(r"Root Token: (\S+)", text)[1]
        self.assertIn(f"VAULT_ADDR='{server.address}'", text.replace("BAO_ADDR", "VAULT_ADDR"))
        self.assertEqual(200, server.api.get("auth/token/lookup-self", token=token).status)
        self.assertEqual(token, next(path for path in (server.home / ".vault-token", server.home / ".bao-token") if path.exists()).read_text().strip())

    def test_no_store_token(self):
        server = self.start("-dev-listen-address=127.0.0.1:{port}", "-dev-no-store-token", "-dev-root-token-id=chosen")
        self.assertEqual([], [path.name for path in server.home.iterdir() if "token" in path.name])

    def test_tls(self):
        port, folder = harness.free_port(), harness.scratch()
        certificate = tls_server(self, port, folder)
        self.assertIn("BEGIN CERTIFICATE", certificate)

    def test_nothing_is_left_behind(self):
        server = self.start("-dev-listen-address=127.0.0.1:{port}", "-dev-root-token-id=chosen", "-dev-no-store-token")
        server.api.must("POST", "secret/data/x", {"data": {"k": "gone"}}, token="chosen")
        server.kill()
        server.start()
        self.assertEqual(404, server.api.get("secret/data/x", token="chosen").status)


def tls_server(test, port, folder):
    """Starts a dev server with TLS, which makes certificate files in `folder`, and returns the certificate that it shows."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    log = open(folder / "tls.log", "w+")
    process = subprocess.Popen([harness.BIN, "server", "-dev-tls", f"-dev-tls-cert-dir={folder}", f"-dev-listen-address=127.0.0.1:{port}", "-dev-root-token-id=chosen", "-dev-no-store-token"],
                               stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=harness.clean_env(home))
    test.addCleanup(log.close)
    test.addCleanup(process.wait)
    test.addCleanup(process.terminate)

    def shown():
        if process.poll() is not None:
            log.seek(0)
            test.fail(f"the server ended: {log.read()[-500:]}")
        return certificate_at(port)

    return harness.eventually(shown, 20, "TLS")


def certificate_at(port):
    try:
        return ssl.get_server_certificate(("127.0.0.1", port), timeout=3)
    except (OSError, ssl.SSLError):
        return None


class ConfigurationFiles(unittest.TestCase):
    def setUp(self):
        self.folder = harness.scratch()
        self.home = self.folder / "home"
        self.home.mkdir()
        self.port = harness.free_port()

    def write(self, text, name="coffer.hcl"):
        (self.folder / name).write_text(text)
        return f"-config={self.folder / name}"

    def start(self, *args, ready=ANSWERS):
        server = harness.Server(["server", *args], self.port, self.folder, ready=ready)
        self.addCleanup(server.stop)
        return server

    def listener(self, port=None):
        return f'listener "tcp" {{\n  address = "127.0.0.1:{port or self.port}"\n  tls_disable = true\n}}\n'

    def refused(self, text, *words, name="coffer.hcl"):
        said, code = run_server(self.write(text, name), home=self.home)
        self.assertNotIn(code, (0, None), said)
        for word in words:
            self.assertIn(word, said)
        return said

    def test_json_as_old_clients_write_it(self):
        config = {"backend": {"inmem": {}}, "listener": {"tcp": {"address": f"127.0.0.1:{self.port}", "tls_disable": 1}}, "disable_mlock": True, "default_lease_ttl": "168h", "max_lease_ttl": "720h"}
        server = self.start(self.write(json.dumps(config), "coffer.json"))
        self.assertEqual(501, server.api.get("sys/health").status)

    def test_several_files_and_a_directory(self):
        (self.folder / "conf").mkdir()
        self.write('storage "inmem" {}\n', "conf/a.hcl")
        self.write(json.dumps({"ui": False}), "conf/b.json")
        server = self.start(f"-config={self.folder / 'conf'}", self.write(self.listener(), "listener.hcl"))
        self.assertEqual(501, server.api.get("sys/health").status)

    def test_several_listeners_and_a_unix_socket(self):
        other, path = harness.free_port(), self.folder / "coffer.sock"
        server = self.start(self.write(f'storage "inmem" {{}}\n{self.listener()}{self.listener(other)}listener "unix" {{\n  address = "{path}"\n  socket_mode = "0600"\n}}\n'))
        self.assertEqual(501, harness.Api(f"http://127.0.0.1:{other}").get("sys/health").status)
        if not harness.is_reference():
            self.assertEqual(0o600, mode(path))
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(path))
            client.sendall(b"GET /v1/sys/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            self.assertIn(b"501", client.recv(4096).split(b"\r\n")[0])
        server.stop()

    @unittest.skipIf(harness.is_reference(), "the reference has neither")
    def test_file_and_raft_stanzas_start_the_embedded_store_with_a_note(self):
        for kind, more in (("file", ""), ("raft", '  node_id = "n1"\n')):
            with self.subTest(kind=kind):
                data = self.folder / f"data-{kind}"
                server = self.start(self.write(f'storage "{kind}" {{\n  path = "{data}"\n{more}}}\n{self.listener()}cluster_addr = "http://127.0.0.1:{harness.free_port()}"\napi_addr = "{f"http://127.0.0.1:{self.port}"}"\n'))
                made = server.initialise()
                server.api.must("PUT", "sys/policies/acl/kept", {"policy": 'path "a" { capabilities = ["read"] }'})
                server.kill()
                server.restart()
                self.assertEqual(200, server.api.get("sys/policies/acl/kept", token=made["root_token"]).status)
                self.assertIn("embedded", server.log_text())
                server.stop()

    def test_mistakes_are_named(self):
        self.refused('storage "inmem" {\n', name="broken.hcl")
        self.refused(f'storage "nosuch" {{}}\n{self.listener()}', "nosuch")
        if not harness.is_reference():  # which fetches a certificate by itself
            self.refused(f'storage "inmem" {{}}\nlistener "tcp" {{\n  address = "127.0.0.1:{self.port}"\n}}\n', "tls")
        self.refused(f'storage "inmem" {{}}\nlistener "tcp" {{\n  address = "127.0.0.1:{self.port}"\n  tls_cert_file = "/nosuch/cert.pem"\n  tls_key_file = "/nosuch/key.pem"\n}}\n', "/nosuch/")
        self.refused(f'storage "inmem" {{}}\ndefault_lease_ttl = "soon"\n{self.listener()}', "default_lease_ttl")
        self.refused(f'{self.listener()}')

    def test_a_pid_file_lives_as_long_as_the_server(self):
        pid = self.folder / "coffer.pid"
        server = self.start(self.write(f'storage "inmem" {{}}\npid_file = "{pid}"\n{self.listener()}'))
        self.assertEqual(server.pid, int(harness.eventually(lambda: pid.exists() and pid.read_text().strip(), what="the pid file")))
        self.assertEqual(0, server.stop())
        self.assertFalse(pid.exists())

    @unittest.skipIf(harness.is_reference(), "needs a durable store of ours")
    def test_a_static_seal_unseals_by_itself_and_takes_no_other_key(self):
        key = self.folder / "seal.key"
        key.write_bytes(os.urandom(32))
        text = f'storage "embedded" {{\n  path = "{self.folder}/data"\n}}\nseal "static" {{\n  current_key_id = "one"\n  current_key = "file://{key}"\n}}\n{self.listener()}'
        server = self.start(self.write(text))
        made = server.api.must("PUT", "sys/init", {"recovery_shares": 1, "recovery_threshold": 1}, token=None).json
        self.assertEqual(200, server.api.get("sys/health").status)
        server.kill()
        server.restart(unseal=False)
        harness.eventually(lambda: server.api.get("sys/health").status == 200, what="unsealing")
        self.assertEqual(200, server.api.get("auth/token/lookup-self", token=made["root_token"]).status)
        server.stop()
        key.write_bytes(os.urandom(32))
        self.refused(text, str(key))
        key.unlink()
        self.refused(text, str(key))

    @unittest.skipIf(harness.is_reference(), "the reference has these")
    def test_a_key_that_is_known_and_not_built_is_an_error_that_names_it(self):
        for text, word in (('ha_storage "consul" {}\n', "ha_storage"), ('storage "postgresql" {}\n', "postgresql"), ('seal "awskms" {}\nstorage "inmem" {}\n', "awskms")):
            with self.subTest(word=word):
                self.refused(text + ('storage "inmem" {}\n' if "storage" not in text.replace("ha_storage", "") else "") + self.listener(), word)

    @unittest.skipIf(harness.is_reference(), "ours to say")
    def test_an_unknown_key_is_a_warning_with_the_nearest_name(self):
        server = self.start(self.write(f'storage "inmem" {{}}\nlog_lvel = "debug"\n{self.listener()}'))
        harness.eventually(lambda: "log_lvel" in server.log_text() and "log_level" in server.log_text())

    def test_nobody_begins_a_rekey_or_a_root_token_without_a_token(self):
        text = f'storage "inmem" {{}}\ndisable_mlock = true\napi_addr = "http://127.0.0.1:{self.port}"\ncluster_addr = "http://127.0.0.1:{harness.free_port()}"\n{self.listener()}'
        server = self.start(self.write(text))
        server.initialise()
        for method, path, body in (("PUT", "sys/rekey/init", {"secret_shares": 1, "secret_threshold": 1}), ("DELETE", "sys/rekey/init", None), ("PUT", "sys/rekey/update", {"key": "00"}),
                                   ("PUT", "sys/generate-root/attempt", {}), ("DELETE", "sys/generate-root/attempt", None), ("PUT", "sys/generate-root/update", {"key": "00"})):
            with self.subTest(method=method, path=path):
                self.assertIn(server.api.call(method, path, body, token=None).status, (403, 405))

    def test_the_address_is_taken(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", self.port))
            taken.listen()
            self.refused(f'storage "inmem" {{}}\n{self.listener()}', str(self.port))


class Reload(unittest.TestCase):
    """SIGHUP: what changes, and what goes on."""

    def test_log_level(self):
        with harness.Server.configured(top='log_level = "error"\n') as server:
            for _ in range(5):
                server.api.get("sys/mounts")
            before = len(server.log_text())
            path = server.folder / "coffer.hcl"
            path.write_text(path.read_text().replace('log_level = "error"', 'log_level = "trace"'))
            server.hang_up()

            def speaks():
                server.api.get("sys/mounts")
                return re.search(r"DEBUG|TRACE", server.log_text()[before:])

            harness.eventually(speaks, what="a line at the new level")

    def test_a_broken_configuration_changes_nothing(self):
        with harness.Server.configured() as server:
            (server.folder / "coffer.hcl").write_text("listener {")
            server.hang_up()
            time.sleep(0.5)
            self.assertTrue(server.alive())
            self.assertEqual(200, server.api.get("sys/health").status)
            self.assertEqual(200, server.api.get("sys/mounts").status)

    def test_tls_certificate(self):
        one, two = harness.scratch(), harness.scratch()
        for folder in (one, two):
            tls_server(self, harness.free_port(), folder)
        names = sorted(path.name for path in one.glob("*.pem"))
        certificate = next(name for name in names if "cert" in name)
        key = next(name for name in names if "key" in name and "ca" not in name)
        folder, port = harness.scratch(), harness.free_port()
        swap = lambda source: [(folder / to).write_bytes((source / name).read_bytes()) for name, to in ((certificate, "cert.pem"), (key, "key.pem"))]
        swap(one)
        (folder / "tls.hcl").write_text(f'storage "inmem" {{}}\ndisable_mlock = true\nlistener "tcp" {{\n  address = "127.0.0.1:{port}"\n  tls_cert_file = "{folder}/cert.pem"\n  tls_key_file = "{folder}/key.pem"\n}}\n')
        log = open(folder / "server.log", "w")
        self.addCleanup(log.close)
        process = subprocess.Popen([harness.BIN, "server", f"-config={folder}/tls.hcl"], stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=harness.clean_env(folder))
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)
        first = harness.eventually(lambda: certificate_at(port), 20, "TLS")
        (folder / "cert.pem").write_text("no certificate")
        process.send_signal(1)
        time.sleep(0.5)
        self.assertEqual(first, certificate_at(port), "a broken file must not end what works")
        swap(two)
        process.send_signal(1)
        harness.eventually(lambda: certificate_at(port) not in (None, first), what="the new certificate")

    def test_a_rotated_audit_file_is_opened_anew(self):
        folder = harness.scratch()
        log, old = folder / "audit.log", folder / "audit.log.1"
        with harness.Server.configured(folder=folder, top=f'audit "file" "f" {{\n  options = {{\n    file_path = "{log}"\n  }}\n}}\n') as server:
            server.api.must("GET", "sys/mounts")
            log.rename(old)
            server.hang_up()

            def anew():
                server.api.must("LIST", "sys/policies/acl")
                return log.exists() and "sys/policies/acl" in log.read_text()

            harness.eventually(anew, what="the new file")
            self.assertEqual(0o600, mode(log))
            self.assertIn("sys/mounts", old.read_text())
            for line in harness.audit_lines(old) + harness.audit_lines(log):
                self.assertIn(line["type"], ("request", "response"))


class Audit(unittest.TestCase):
    def device(self, kind, name, **options):
        rows = "\n".join(f'    {key} = "{value}"' for key, value in options.items())
        return f'audit "{kind}" "{name}" {{\n  options = {{\n{rows}\n  }}\n}}\n'

    @unittest.skipIf(harness.is_reference(), "the reference writes on to the deleted file")
    def test_a_deleted_file_is_noticed(self):
        folder = harness.scratch()
        log = folder / "audit.log"
        with harness.Server.configured(folder=folder, top=self.device("file", "f", file_path=log)) as server:
            server.api.must("GET", "sys/mounts")
            log.unlink()

            def there():
                server.api.must("GET", "sys/mounts")
                return log.exists()

            harness.eventually(there, what="the file")

    def listen(self, path, lines, stop):
        with socket.socket(socket.AF_UNIX) as place:
            place.bind(str(path))
            place.listen()
            place.settimeout(0.1)
            open_now = []
            while not stop.is_set():
                try:
                    connection, _ = place.accept()
                    connection.settimeout(0.02)
                    open_now.append(connection)
                except TimeoutError:
                    pass
                for connection in open_now:
                    try:
                        lines.append(connection.recv(1 << 20))
                    except OSError:
                        pass
            for connection in open_now:
                connection.close()
        path.unlink()

    def test_no_device_can_write_no_answer(self):
        folder = harness.scratch()
        path = folder / "audit.sock"
        lines, stop = [], threading.Event()
        listener = threading.Thread(target=self.listen, args=(path, lines, stop), daemon=True)
        listener.start()
        harness.eventually(path.exists)
        with harness.Server.configured(folder=folder, top=self.device("socket", "s", address=path, socket_type="unix", write_timeout="1s")) as server:
            api = server.api
            token = api.token_for("p", 'path "sys/mounts" { capabilities = ["read"] }')
            api.must("GET", "sys/mounts")
            harness.eventually(lambda: b"sys/mounts" in b"".join(lines), what="the audit line")
            stop.set()
            listener.join(5)
            reply = harness.eventually(lambda: next((r for r in [api.get("sys/mounts")] if r.status >= 500), None), what="the refusal")
            if not harness.is_reference():
                self.assertEqual(503, reply.status, reply)
                self.assertIn("audit", reply.text)
                health = api.get("sys/health", token=None)
                self.assertIn("audit", health.text, "health says why")
            self.assertGreaterEqual(api.put("sys/policies/acl/not-written", {"policy": 'path "a" { capabilities = ["read"] }'}).status, 500)
            self.assertGreaterEqual(api.get("sys/mounts", token=token).status, 500)
            self.assertGreaterEqual(api.get("sys/mounts", token="wrong").status, 400)
            again, stop2 = [], threading.Event()
            listener = threading.Thread(target=self.listen, args=(path, again, stop2), daemon=True)
            listener.start()
            harness.eventually(lambda: api.get("sys/mounts").status == 200, 20, "the device again")
            self.assertEqual(404, api.get("sys/policies/acl/not-written").status, "nothing was done unseen")
            stop2.set()
            listener.join(5)

    def test_one_device_of_two_is_enough(self):
        folder = harness.scratch()
        path, log = folder / "audit.sock", folder / "audit.log"
        stop = threading.Event()
        listener = threading.Thread(target=self.listen, args=(path, [], stop), daemon=True)
        listener.start()
        harness.eventually(path.exists)
        top = self.device("socket", "s", address=path, socket_type="unix", write_timeout="1s") + self.device("file", "f", file_path=log)
        with harness.Server.configured(folder=folder, top=top) as server:
            stop.set()
            listener.join(5)
            for _ in range(5):
                server.api.must("GET", "sys/mounts")
            self.assertGreaterEqual(sum(line["request"]["path"] == "sys/mounts" for line in harness.audit_lines(log)), 10)

    def test_over_the_api_only_where_the_configuration_allows_it(self):
        with harness.Server.configured(audit=False) as server:
            reply = server.api.post("sys/audit/f", {"type": "file", "options": {"file_path": str(server.folder / "a.log")}})
            self.assertGreaterEqual(reply.status, 400, reply)
            self.assertFalse((server.folder / "a.log").exists())

    def test_never_onto_what_is_no_audit_log(self):
        with harness.Server.configured() as server:
            target, link = server.folder / "passwd", server.folder / "link"
            target.write_text("root:x:0:0\n")
            os.chmod(target, 0o644)
            link.symlink_to(server.folder / "new.log")
            enable = lambda path, **more: server.api.post("sys/audit/f", {"type": "file", "options": {"file_path": str(path), **more}})
            if not harness.is_reference():
                for path in (target, link, server.folder, "/dev/null", "/proc/self/mem"):
                    self.assertEqual(400, enable(path).status, str(path))
                self.assertEqual(400, enable(server.folder / "x.log", mode="0777").status, "no log that others may run")
                self.assertEqual("root:x:0:0\n", target.read_text())
                self.assertFalse((server.folder / "new.log").exists())
                self.assertEqual(0o644, mode(target))
            self.assertEqual(204, enable(server.folder / "good.log").status)
            self.assertEqual(0o600, mode(server.folder / "good.log"))

    def test_init_unseal_and_refusals_are_audited(self):
        folder = harness.scratch()
        log = folder / "audit.log"
        with harness.Server.configured(folder=folder, top=self.device("file", "f", file_path=log)) as server:
            server.api.get("secret/nothing", token="wrong")
            server.api.get("sys/nosuch")
            paths = {(line["request"]["path"], line["type"]) for line in harness.audit_lines(log)}
            self.assertIn(("secret/nothing", "request"), paths)
            if not harness.is_reference():
                self.assertIn("sys/init", {path for path, _ in paths})
                self.assertIn("sys/unseal", {path for path, _ in paths})
            text = log.read_text()
            for key in server.keys:
                self.assertNotIn(key, text)

    def test_elided_lists_and_raw(self):
        folder = harness.scratch()
        short, raw = folder / "short.log", folder / "raw.log"
        top = self.device("file", "short", file_path=short, elide_list_responses="true") + self.device("file", "raw", file_path=raw, log_raw="true")
        with harness.Server.configured(folder=folder, top=top) as server:
            for number in range(5):
                server.api.must("PUT", f"sys/policies/acl/policy-{number}", {"policy": 'path "a" { capabilities = ["read"] }'})
            server.api.must("LIST", "sys/policies/acl")
            last = lambda path: [line for line in harness.audit_lines(path) if line["type"] == "response"][-1]["response"]["data"]["keys"]
            self.assertIn("policy-3", last(raw))
            self.assertIsInstance(last(short), int)


class Quotas(unittest.TestCase):
    def test_a_rate_limit_limits_its_path_alone(self):
        with harness.Server.dev() as server:
            api = server.api
            api.must("POST", "secret/data/x", {"data": {"k": "v"}})
            api.must("POST", "sys/quotas/rate-limit/slow", {"rate": 3, "interval": "10s", "path": "secret/"})
            seen = [api.get("secret/data/x") for _ in range(20)]
            self.assertEqual({200, 429}, {reply.status for reply in seen})
            self.assertLessEqual(sum(reply.status == 200 for reply in seen), 6)
            refused = next(reply for reply in seen if reply.status == 429)
            self.assertIn("rate limit quota exceeded", refused.text)
            self.assertEqual({200}, {api.get("auth/token/lookup-self").status for _ in range(20)})
            self.assertIn("slow", api.must("LIST", "sys/quotas/rate-limit").data["keys"])
            api.must("DELETE", "sys/quotas/rate-limit/slow")
            self.assertEqual({200}, {api.get("secret/data/x").status for _ in range(20)})

    def test_wrong_quotas_are_refused(self):
        with harness.Server.dev() as server:
            for body in ({"rate": 0}, {"rate": -3}, {}, {"rate": 5, "path": "nosuch/"}, {"rate": 5, "interval": "-1s"}, {"rate": 5, "block_interval": "-1s"}):
                with self.subTest(body=body):
                    self.assertEqual(400, server.api.post("sys/quotas/rate-limit/bad", body).status)


@unittest.skipIf(harness.is_reference(), "the reference has no explain")
class Explain(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server.dev()
        cls.addClassCleanup(cls.server.stop)
        cls.api = cls.server.api
        cls.policy = 'path "secret/myapp/*" { capabilities = ["read"] }\npath "secret/data/open" { capabilities = ["read", "update"] }\npath "secret/data/open/shut" { capabilities = ["deny"] }\npath "sys/policies/explain" { capabilities = ["update"] }'
        cls.token = cls.api.token_for("app", cls.policy)

    def ask(self, path, operation="read", token=None, **more):
        return self.api.post("sys/policies/explain", {"path": path, "operation": operation, **more}, token=token or self.token)

    def test_it_agrees_with_what_happens(self):
        self.api.must("POST", "secret/data/open", {"data": {"k": "v"}})
        for method, operation, path, body in (("GET", "read", "secret/data/open", None), ("POST", "update", "secret/data/open", {"data": {"k": "w"}}), ("DELETE", "delete", "secret/data/open", None),
                                              ("GET", "read", "secret/data/open/shut", None), ("GET", "read", "secret/data/myapp/x", None), ("LIST", "list", "secret/metadata/", None), ("GET", "read", "sys/mounts", None)):
            with self.subTest(operation=operation, path=path):
                told = self.ask(path, operation).data["allowed"]
                done = self.api.call(method, path, body, token=self.token).status != 403
                self.assertEqual(done, told)

    def test_it_names_the_rule_and_the_policy(self):
        text = json.dumps(self.ask("secret/data/open").data)
        self.assertIn("app", text)
        self.assertIn("secret/data/open", text)
        denied = self.ask("secret/data/open/shut").data
        self.assertFalse(denied["allowed"])
        self.assertIn("deny", json.dumps(denied))

    def test_it_says_when_data_is_missing_in_the_path(self):
        told = self.ask("secret/data/myapp/database").data
        self.assertFalse(told["allowed"])
        self.assertIn("data/", json.dumps(told))
        self.assertRegex(json.dumps(told), r"secret/data/myapp/\*|lacks")

    def test_another_token_needs_sudo(self):
        other = self.api.token_for("other", 'path "secret/data/x" { capabilities = ["read"] }')
        self.assertEqual(403, self.api.post("sys/policies/explain", {"path": "secret/data/x", "operation": "read", "token": other}, token=self.token).status)
        self.assertEqual(403, self.api.post("sys/policies/explain", {"path": "secret/data/x", "operation": "read", "policies": ["root"]}, token=self.token).status)
        told = self.api.must("POST", "sys/policies/explain", {"path": "secret/data/x", "operation": "read", "token": other}).data
        self.assertTrue(told["allowed"])
        self.assertTrue(self.api.must("POST", "sys/policies/explain", {"path": "secret/data/open", "operation": "read", "policies": ["app"]}).data["allowed"])

    def test_wrong_questions(self):
        for body in ({}, {"path": "x"}, {"path": "x", "operation": "fly"}, {"path": "a/../b", "operation": "read"}, {"operation": "read"}):
            with self.subTest(body=body):
                self.assertIn(self.api.post("sys/policies/explain", body, token=self.token).status, (400,) if body != {"path": "x"} else (200, 400))

    def test_the_command_line(self):
        run = lambda *args: self.server.cli("policy", "explain", *args, token=self.token)
        self.assertEqual(0, run("-path=secret/data/open", "-operation=read").returncode)
        denied = run("-path=secret/data/myapp/database", "-operation=read")
        self.assertEqual(2, denied.returncode)
        self.assertIn("data/", denied.stdout)

    def test_policy_test_works_without_a_server(self):
        path = self.server.folder / "app.hcl"
        path.write_text(self.policy)
        run = lambda *args: subprocess.run([harness.BIN, "policy", "test", *args], capture_output=True, text=True, env=harness.clean_env(self.server.home, VAULT_ADDR="http://127.0.0.1:1"), cwd=self.server.folder)
        allowed = run("-policy=app.hcl", "-path=secret/data/open", "-operation=read")
        self.assertEqual(0, allowed.returncode, allowed.stderr)
        self.assertEqual(2, run("-policy=app.hcl", "-path=secret/data/open", "-operation=delete").returncode)


class DiagnoseAndDebug(unittest.TestCase):
    def diagnose(self, text):
        folder = harness.scratch()
        (folder / "c.hcl").write_text(text)
        ran = subprocess.run([harness.BIN, "operator", "diagnose", f"-config={folder / 'c.hcl'}"], capture_output=True, text=True, env=harness.clean_env(folder), timeout=60)
        return ran.returncode, ran.stdout + ran.stderr

    def test_a_sound_configuration(self):
        folder = harness.scratch()
        code, said = self.diagnose(harness.config(harness.free_port(), harness.durable_storage(folder), audit=False))
        self.assertIn(code, (0, 2), said)
        self.assertTrue(said.strip())

    def test_mistakes_are_found(self):
        port = harness.free_port()
        code, said = self.diagnose(f'storage "inmem" {{}}\nlistener "tcp" {{\n  address = "127.0.0.1:{port}"\n  tls_cert_file = "/nosuch/cert.pem"\n  tls_key_file = "/nosuch/key.pem"\n}}\n')
        self.assertNotEqual(0, code, said)
        self.assertIn("/nosuch/", said)
        code, said = self.diagnose('storage "inmem" {\n')
        self.assertNotEqual(0, code, said)

    def test_debug_makes_a_bundle(self):
        with harness.Server.dev() as server:
            target = server.folder / "bundle.tar.gz"
            ran = server.cli("debug", "-duration=1s", "-interval=1s", "-metrics-interval=1s", f"-output={target}", timeout=90)
            self.assertEqual(0, ran.returncode, ran.stdout + ran.stderr)
            with tarfile.open(target) as archive:
                names = {pathlib.PurePath(member.name).name for member in archive if member.isfile()}
            self.assertTrue({"index.json"} <= names, names)
            self.assertTrue(any("server_status" in name for name in names), names)
            if not harness.is_reference():
                self.assertEqual(0o600, mode(target))


class Telemetry(unittest.TestCase):
    def test_metrics_for_prometheus_and_in_flight(self):
        with harness.Server.configured(top='telemetry {\n  prometheus_retention_time = "60s"\n  disable_hostname = true\n}\n') as server:
            api = server.api
            api.must("GET", "sys/mounts")
            text = api.must("GET", "sys/metrics?format=prometheus").text
            self.assertRegex(text, r"(?m)^# TYPE \w+ (counter|gauge|summary|histogram)$")
            for line in text.splitlines():
                if line and not line.startswith("#"):
                    self.assertRegex(line, r"^[a-zA-Z_:][\w:]*(\{.*\})? [-+0-9.eEInfNa]+$")
            self.assertEqual(403, api.get("sys/metrics?format=prometheus", token="wrong").status)
            self.assertEqual(200, api.get("sys/in-flight-req").status)
            self.assertEqual(403, api.get("sys/in-flight-req", token=None).status)
            self.assertEqual(200, api.get("sys/host-info").status)


if __name__ == "__main__":
    unittest.main()
