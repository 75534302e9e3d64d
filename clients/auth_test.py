"""AppRole and userpass as people use them: hvac and the command line against a server, lockout from the configuration, a password that
is typed unseen. What the server does inside is tested in Rust; here it is what a client sees."""

import concurrent.futures
import json
import os
import pty
import re
import select
import subprocess
import time
import unittest
import urllib.error
import urllib.request

import hvac
from hvac import exceptions

import harness
import oidc_provider

APP = 'path "secret/data/app/*" { capabilities = ["read"] }'


class AppRole(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server.dev("-dev-no-store-token")
        cls.addClassCleanup(cls.server.stop)
        cls.root = hvac.Client(url=cls.server.address, token="root")
        cls.root.sys.create_or_update_policy("app", APP)
        cls.root.sys.enable_auth_method("approle")
        cls.root.secrets.kv.v2.create_or_update_secret("app/db", {"password": "p"})

    def role(self, name, **more):
        self.root.auth.approle.create_or_update_approle(name, token_policies=["app"], token_ttl="10m", **more)
        return self.root.auth.approle.read_role_id(name)["data"]["role_id"]

    def login(self, role_id, secret_id, **more):
        client = hvac.Client(url=self.server.address)
        return client, client.auth.approle.login(role_id=role_id, secret_id=secret_id, **more)

    def test_a_program_logs_in_reads_what_it_may_and_renews(self):
        role_id = self.role("web")
        secret_id = self.root.auth.approle.generate_secret_id("web", metadata={"env": "dev"})["data"]["secret_id"]
        client, made = self.login(role_id, secret_id)
        self.assertEqual(["app", "default"], made["auth"]["policies"])
        self.assertEqual({"role_name": "web", "env": "dev"}, made["auth"]["metadata"])
        self.assertEqual("p", client.secrets.kv.v2.read_secret_version("app/db", raise_on_deleted_version=True)["data"]["data"]["password"])
        with self.assertRaises(exceptions.Forbidden):
            client.secrets.kv.v2.read_secret_version("other", raise_on_deleted_version=True)
        self.assertEqual(600, client.auth.token.renew_self()["auth"]["lease_duration"])
        client.auth.token.revoke_self()
        self.assertFalse(client.is_authenticated())

    def test_refusals(self):
        role_id = self.role("strict", secret_id_num_uses=1)
        made = self.root.auth.approle.generate_secret_id("strict")["data"]
        for wrong in [(role_id, "no"), ("no", made["secret_id"])]:
            with self.assertRaisesRegex(exceptions.InvalidRequest, "invalid role or secret ID"):
                self.login(*wrong)
        self.login(role_id, made["secret_id"])
        with self.assertRaisesRegex(exceptions.InvalidRequest, "invalid role or secret ID"):
            self.login(role_id, made["secret_id"])
        body = {"secret_id": "short", "ttl": "1s"}
        self.assertEqual(1, self.server.api.must("POST", "auth/approle/role/strict/custom-secret-id", body).data["secret_id_ttl"])
        time.sleep(1.1)
        with self.assertRaises(exceptions.InvalidRequest):
            self.login(role_id, "short")
        self.root.auth.approle.delete_role("strict")
        with self.assertRaises(exceptions.InvalidRequest):
            self.login(role_id, "short")

    def test_secret_ids_by_accessor(self):
        role_id = self.role("acc")
        approle = self.root.auth.approle
        made = approle.generate_secret_id("acc")["data"]
        accessor = made["secret_id_accessor"]
        self.assertEqual([accessor], approle.list_secret_id_accessors("acc")["data"]["keys"])
        self.assertEqual(accessor, approle.read_secret_id("acc", made["secret_id"])["data"]["secret_id_accessor"])
        self.assertEqual(accessor, approle.read_secret_id_accessor("acc", accessor)["data"]["secret_id_accessor"])
        approle.destroy_secret_id_accessor("acc", accessor)
        with self.assertRaises(exceptions.InvalidRequest):
            self.login(role_id, made["secret_id"])
        with self.assertRaises(exceptions.InvalidPath):
            approle.read_secret_id_accessor("acc", accessor)

    def test_a_wrapped_secret_id_opens_once(self):
        role_id = self.role("wrapped")
        wrapped = self.root.auth.approle.generate_secret_id("wrapped", wrap_ttl="60s")["wrap_info"]["token"]
        opened = hvac.Client(url=self.server.address, token=wrapped).sys.unwrap()["data"]["secret_id"]
        self.login(role_id, opened)
        with self.assertRaises(exceptions.VaultError):
            hvac.Client(url=self.server.address, token=wrapped).sys.unwrap()

    def test_of_many_at_once_as_many_win_as_there_are_uses(self):
        role_id = self.role("race")
        self.server.api.must("POST", "sys/auth/approle/tune", {"user_lockout_config": {"lockout_disable": True}})
        secret_id = self.server.api.must("POST", "auth/approle/role/race/secret-id", {"num_uses": 1}).data["secret_id"]
        body = {"role_id": role_id, "secret_id": secret_id}
        with concurrent.futures.ThreadPoolExecutor(50) as pool:
            tries = list(pool.map(lambda _: harness.Api(self.server.address).post("auth/approle/login", body).status, range(50)))
        self.assertEqual((1, 49), (tries.count(200), tries.count(400)), tries)

    def test_the_command_line_logs_in_as_a_program(self):
        role_id = self.role("cli")
        secret_id = self.root.auth.approle.generate_secret_id("cli")["data"]["secret_id"]
        ran = self.server.cli("login", "-method=approle", "-token-only", f"role_id={role_id}", "secret_id=-", token=None, stdin=secret_id)
        self.assertEqual(0, ran.returncode, ran.stderr)
        self.assertFalse((self.server.home / ".vault-token").exists())
        token = ran.stdout.strip()
        self.assertEqual("auth/approle/login", self.server.api.must("GET", "auth/token/lookup-self", token=token).data["path"])
        refused = self.server.cli("login", "-method=approle", f"role_id={role_id}", "secret_id=canary-wrong", token=None)
        self.assertEqual(2, refused.returncode)
        self.assertIn("invalid role or secret ID", refused.stderr)
        self.assertNotIn("canary-wrong", refused.stdout + refused.stderr)


class Userpass(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        lockout = 'user_lockout "userpass" {\n  lockout_threshold = 3\n  lockout_duration = "2s"\n}\n'
        cls.server = harness.Server.configured(top=lockout)
        cls.addClassCleanup(cls.server.stop)
        cls.root = hvac.Client(url=cls.server.address, token=cls.server.token)
        cls.root.sys.enable_auth_method("userpass")
        cls.root.sys.enable_auth_method("userpass", path="people")

    def user(self, name, password="right", mount="userpass", **more):
        self.root.auth.userpass.create_or_update_user(name, password=password, mount_point=mount, **more)

    def login(self, name, password, mount="userpass"):
        return hvac.Client(url=self.server.address).auth.userpass.login(name, password, mount_point=mount)

    def test_a_person_logs_in_and_changes_the_password(self):
        self.user("ann", token_policies=["app"])
        made = self.login("Ann", "right")
        self.assertEqual({"username": "ann"}, made["auth"]["metadata"])
        self.root.auth.userpass.update_password_on_user("ann", "newer")
        with self.assertRaisesRegex(exceptions.InvalidRequest, "invalid username or password"):
            self.login("ann", "right")
        self.login("ann", "newer")
        self.assertEqual(["app"], self.root.auth.userpass.read_user("ann")["data"]["token_policies"])
        self.root.auth.userpass.delete_user("ann")
        with self.assertRaisesRegex(exceptions.InvalidRequest, "invalid username or password"):
            self.login("ann", "newer")

    def test_who_guesses_is_locked_out_on_that_mount_for_that_time(self):
        for name in ["eve", "nobody"]:
            for mount in ["userpass", "people"]:
                if name == "eve":
                    self.user(name, mount=mount)
            for written in [name, name.upper(), name]:
                with self.assertRaisesRegex(exceptions.InvalidRequest, "invalid username or password"):
                    self.login(written, "wrong")
            with self.assertRaises(exceptions.Forbidden):
                self.login(name, "right")
        self.login("eve", "right", mount="people")
        locked = self.server.api.must("GET", "sys/locked-users").data
        self.assertEqual((2, ["eve", "nobody"]), (locked["total"], locked["by_namespace"][0]["mount_accessors"][0]["alias_identifiers"]))
        time.sleep(2.1)
        self.login("eve", "right")

    def test_an_operator_unlocks(self):
        self.user("kim")
        for _ in range(3):
            with self.assertRaises(exceptions.InvalidRequest):
                self.login("kim", "wrong")
        accessor = self.server.api.must("GET", "sys/auth").data["userpass/"]["accessor"]
        self.server.api.must("POST", f"sys/locked-users/{accessor}/unlock/kim")
        self.login("kim", "right")

    def test_the_command_line_keeps_the_token_prints_a_field_or_nothing(self):
        self.user("cli", mount="people")
        login = lambda *more: self.server.cli("login", "-method=userpass", "-path=people", *more, "username=cli", "password=right", token=None)
        ran = login("-no-print")
        self.assertEqual((0, "", ""), (ran.returncode, ran.stdout, ran.stderr))
        kept = (self.server.home / ".vault-token").read_text()
        self.assertEqual("people-cli", self.server.api.must("GET", "auth/token/lookup-self", token=kept).data["display_name"])
        (self.server.home / ".vault-token").unlink()
        ran = login("-no-store", "-field=token")
        self.assertRegex(ran.stdout, r"^\S{20,}$")
        self.assertFalse((self.server.home / ".vault-token").exists())
        ran = login("-no-store", "-format=json")
        self.assertEqual({"username": "cli"}, json.loads(ran.stdout)["auth"]["metadata"])
        ran = self.server.cli("auth", "help", "userpass")
        self.assertIn("login -method=userpass", ran.stdout)

    def test_a_password_is_asked_for_and_not_shown(self):
        self.user("typed", password="canary-typed")
        status, shown = typed(self.server, ["login", "-method=userpass", "username=typed"], "Password (will be hidden):", "canary-typed\n")
        self.assertEqual(0, status, shown)
        self.assertIn("Success! You are now authenticated", shown)
        self.assertNotIn("canary-typed", shown)
        # Where nobody can type it, it says how to give it.
        ran = self.server.cli("login", "-method=userpass", "username=typed", token=None)
        self.assertEqual(2, ran.returncode)
        self.assertIn("password=-", ran.stderr)


class Browser(unittest.TestCase):
    """The command line's login through a provider, with a browser that says yes."""

    @classmethod
    def setUpClass(cls):
        cls.provider = oidc_provider.Provider()
        cls.addClassCleanup(cls.provider.close)
        cls.server = harness.Server.dev("-dev-no-store-token")
        cls.addClassCleanup(cls.server.stop)
        must, cls.port = cls.server.api.must, harness.free_port()
        must("POST", "sys/auth/oidc", {"type": "oidc"})
        must("POST", "auth/oidc/config", {"oidc_discovery_url": cls.provider.issuer, "oidc_client_id": "coffer", "oidc_client_secret": "client-secret"})
        back = [f"http://localhost:{cls.port}/oidc/callback"]
        for name, more in (("people", {}), ("form", {}), ("device", {"callback_mode": "device"})):
            must("POST", f"auth/oidc/role/{name}", {"user_claim": "sub", "allowed_redirect_uris": back, "token_policies": ["app"], **more})

    def login(self, role, visit, *more):
        """Runs the command, visits the address that it prints: exit status, output, errors."""
        args = [harness.BIN, "login", "-method=oidc", *more, f"role={role}", f"port={self.port}", "skip_browser=true"]
        env = harness.clean_env(self.server.home, VAULT_ADDR=self.server.address, BAO_ADDR=self.server.address)
        running = subprocess.Popen(args, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        said = []
        for line in running.stderr:
            said.append(line)
            if line.strip().startswith("http"):
                visit(line.strip())
                break
        out, err = running.communicate(timeout=30)
        return running.returncode, out, "".join(said) + err

    def test_a_person_logs_in_through_the_browser(self):
        pages = []
        visit = lambda address: pages.append(urllib.request.urlopen(address, timeout=20).read().decode())
        status, out, err = self.login("people", visit, "-no-store", "-field=token")
        self.assertEqual(0, status, err)
        self.assertIn("You are logged in", pages[0])
        self.assertEqual("oidc-bob", self.server.api.must("GET", "auth/token/lookup-self", token=out.strip()).data["display_name"])

    def test_other_calls_to_the_listener_do_not_end_the_login(self):
        def visit(address):
            for path in ("/favicon.ico", "/oidc/callback?code=x"):
                with self.assertRaises(urllib.error.HTTPError):
                    urllib.request.urlopen(f"http://localhost:{self.port}{path}", timeout=20)
            urllib.request.urlopen(address, timeout=20)

        self.assertEqual(0, self.login("people", visit, "-no-store", "-no-print")[0])

    def test_refusals(self):
        status, out, err = self.login("nobody", self.fail)
        self.assertEqual((2, ""), (status, out))
        self.assertIn("Error authenticating", err)
        ran = self.server.cli("login", "-method=oidc", "role=people", f"port={self.port}", "callbackhost=elsewhere.example", "skip_browser=true", token=None)
        self.assertEqual(2, ran.returncode)
        self.assertIn("unable to authorize role", ran.stderr)
        for words in (["prot=1"], ["port=high"], ["skip_browser=perhaps"]):
            self.assertEqual(1, self.server.cli("login", "-method=oidc", *words, token=None).returncode, words)

        def forged(_):
            urllib.request.urlopen(f"http://localhost:{self.port}/oidc/callback?state=st_canary-forged&code=canary-code", timeout=20)

        status, out, err = self.login("people", forged)
        self.assertEqual((2, ""), (status, out))
        self.assertIn("Expired or missing OAuth state", err)
        self.assertNotIn("canary-code", err)
        self.assertNotIn("client_nonce", err)

    def test_without_a_browser_a_device_says_yes(self):
        def visit(_):
            self.provider.approved = True

        status, out, err = self.login("device", visit, "-no-store", "-field=token")
        self.assertEqual(0, status, err)
        self.assertEqual(["app", "default"], self.server.api.must("GET", "auth/token/lookup-self", token=out.strip()).data["policies"])


def typed(server, args, prompt, answer, seconds=20):
    """Runs a command on a terminal of its own, types `answer` once `prompt` is there: its exit status and what the terminal showed."""
    pid, terminal = pty.fork()
    if pid == 0:
        env = harness.clean_env(server.home, VAULT_ADDR=server.address, BAO_ADDR=server.address)
        os.execve(harness.BIN, [harness.BIN, *args], env)
    shown, sent, end = b"", False, time.monotonic() + seconds
    while time.monotonic() < end:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                shown += os.read(terminal, 4096)
            except OSError:
                break
        if not sent and re.search(re.escape(prompt).encode(), shown):
            os.write(terminal, answer.encode())
            sent = True
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), shown.decode("utf-8", "replace")


if __name__ == "__main__":
    unittest.main()
