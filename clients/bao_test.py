"""The peer's own command line, `bao`, against our server: it must not notice that the server is another program."""

import json
import unittest

import harness

BAO = harness.reference_binary()


class BaoCommandLine(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server.dev()
        cls.addClassCleanup(cls.server.stop)

    def bao(self, *args, token="root", stdin=None):
        return self.server.cli(*args, binary=BAO, token=token, stdin=stdin)

    def good(self, *args, **more):
        run = self.bao(*args, **more)
        self.assertEqual(0, run.returncode, f"{args}: {run.stdout} {run.stderr}")
        return run.stdout

    def json(self, command, *args, **more):
        words = command.split()
        return json.loads(self.good(*words, "-format=json", *args, **more))

    def bad(self, code, *args, **more):
        run = self.bao(*args, **more)
        self.assertEqual(code, run.returncode, f"{args}: {run.stdout} {run.stderr}")
        return run.stdout + run.stderr

    def test_status(self):
        status = self.json("status")
        self.assertEqual((True, False, "shamir"), (status["initialized"], status["sealed"], status["type"]))

    def test_kv_by_mount_and_by_path(self):
        self.good("kv", "put", "-mount=secret", "bao/a", "k=v", "n=1")
        self.assertEqual("v", self.good("kv", "get", "-field=k", "secret/bao/a").strip())
        self.assertEqual({"k": "v", "n": "1"}, self.json("kv get", "-mount=secret", "bao/a")["data"]["data"])
        self.good("kv", "patch", "-mount=secret", "bao/a", "n=2")
        self.assertEqual("2", self.good("kv", "get", "-field=n", "-mount=secret", "bao/a").strip())
        self.assertEqual(["a"], self.json("kv list", "secret/bao"))
        self.good("kv", "delete", "secret/bao/a")
        self.assertRegex(self.good("kv", "get", "secret/bao/a"), r"deletion_time +\d{4}-")
        self.good("kv", "undelete", "-versions=2", "secret/bao/a")
        self.assertEqual("2", self.good("kv", "get", "-field=n", "secret/bao/a").strip())
        self.good("kv", "rollback", "-version=1", "secret/bao/a")
        self.assertEqual("1", self.good("kv", "get", "-field=n", "secret/bao/a").strip())
        self.good("kv", "destroy", "-versions=1", "secret/bao/a")
        self.good("kv", "metadata", "put", "-custom-metadata=owner=me", "secret/bao/a")
        self.assertEqual({"owner": "me"}, self.json("kv metadata get", "secret/bao/a")["data"]["custom_metadata"])
        self.good("kv", "metadata", "delete", "secret/bao/a")
        self.assertIn("No value found", self.bad(2, "kv", "get", "secret/bao/a"))

    def test_kv_refusals(self):
        self.good("kv", "put", "secret/bao/cas", "k=v")
        self.assertIn("check-and-set", self.bad(2, "kv", "put", "-cas=0", "secret/bao/cas", "k=w"))
        self.bad(2, "kv", "get", "nosuch/path")
        self.bad(2, "kv", "list", "secret/nothing/here")
        self.bad(2, "kv", "get", "-version=99", "secret/bao/cas")
        self.assertIn("permission denied", self.bad(2, "kv", "get", "secret/bao/cas", token="wrong"))

    def test_policies(self):
        self.good("policy", "write", "app", "-", stdin='path "secret/data/app/*" { capabilities = ["read"] }')
        self.assertIn("app", self.good("policy", "list").split())
        self.assertIn("secret/data/app/*", self.good("policy", "read", "app"))
        self.bad(2, "policy", "write", "broken", "-", stdin='path "x" { capabilities = ["fly"] }')
        self.bad(2, "policy", "read", "nosuch")
        self.good("policy", "delete", "app")
        self.bad(2, "policy", "delete", "root")

    def test_tokens(self):
        made = self.json("token create", "-policy=default", "-ttl=1h", "-display-name=cli")["auth"]
        self.assertEqual("token-cli", self.json("token lookup", made["client_token"])["data"]["display_name"])
        self.assertEqual("token-cli", self.json("token lookup", "-accessor", made["accessor"])["data"]["display_name"])
        self.good("token", "renew", made["client_token"])
        self.assertEqual("deny", self.good("token", "capabilities", made["client_token"], "secret/data/x").strip())
        self.good("token", "revoke", made["client_token"])
        self.bad(2, "token", "lookup", made["client_token"])
        self.bad(2, "token", "create", "-policy=root", token=made["client_token"])

    def test_login_keeps_a_token_for_the_next_command(self):
        made = self.json("token create", "-policy=default")["auth"]["client_token"]
        self.good("login", "-", token=None, stdin=made)
        self.assertEqual(made, self.good("print", "token", token=None).strip())
        self.assertEqual(["default"], self.json("token lookup", token=None)["data"]["policies"])
        self.bad(2, "login", "wrong-token", token=None)

    def test_secrets_engines(self):
        self.good("secrets", "enable", "-path=bk", "-version=2", "kv")
        self.assertIn("bk/", self.json("secrets list"))
        self.good("secrets", "tune", "-description=ours", "bk")
        self.assertEqual("ours", self.json("secrets list", "-detailed")["bk/"]["description"])
        self.bad(2, "secrets", "enable", "-path=bk", "kv")
        self.bad(2, "secrets", "enable", "nosuchengine")
        self.good("secrets", "move", "bk", "bk2")
        self.good("secrets", "disable", "bk2")
        self.assertNotIn("bk2/", self.json("secrets list"))

    def test_read_write_list_delete_and_raw(self):
        self.good("write", "cubbyhole/x", "a=b", "c=@" + str(self.file("value.txt", "from a file")))
        self.assertEqual({"a": "b", "c": "from a file"}, self.json("read", "cubbyhole/x")["data"])
        self.assertEqual(["x"], self.json("list", "cubbyhole"))
        self.good("delete", "cubbyhole/x")
        self.bad(2, "read", "cubbyhole/x")
        self.bad(2, "write", "sys/nosuch", "a=b")

    def test_wrapping(self):
        self.good("kv", "put", "secret/bao/w", "k=inside")
        token = json.loads(self.good("read", "-wrap-ttl=60s", "-format=json", "secret/data/bao/w"))["wrap_info"]["token"]
        self.assertEqual("inside", json.loads(self.good("unwrap", "-format=json", token))["data"]["data"]["k"])
        self.bad(2, "unwrap", token)

    def test_operators_commands(self):
        self.assertIn("Key Term", self.good("operator", "key-status"))
        self.good("operator", "rotate")
        self.assertEqual([], list(self.json("audit list") or []) if self.bao("audit", "list").returncode == 0 else [])
        self.good("path-help", "secret")

    def file(self, name, text):
        path = self.server.folder / name
        path.write_text(text)
        return path


class BaoOperatesASealedServer(unittest.TestCase):
    def test_init_unseal_seal(self):
        with harness.Server.configured(init=False) as server:
            run = lambda *args, token=None: server.cli(*args, binary=BAO, token=token)
            self.assertEqual(2, run("status").returncode)
            made = json.loads(run("operator", "init", "-key-shares=3", "-key-threshold=2", "-format=json").stdout)
            self.assertNotEqual(0, run("operator", "init").returncode)
            self.assertEqual(2, run("status").returncode)
            for key in made["unseal_keys_b64"][:2]:
                self.assertEqual(0, run("operator", "unseal", key).returncode)
            harness.eventually(lambda: run("status").returncode == 0, what="unsealing")
            self.assertEqual(0, run("secrets", "enable", "kv", token=made["root_token"]).returncode)
            self.assertNotEqual(0, run("operator", "seal", token="wrong").returncode)
            self.assertEqual(0, run("operator", "seal", token=made["root_token"]).returncode)
            self.assertEqual(2, run("kv", "get", "kv/x", token=made["root_token"]).returncode)


if __name__ == "__main__":
    unittest.main()
