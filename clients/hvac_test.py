"""hvac, the Python client that people have, against the server: the story of a first day, then its API module by module.
Refusals stand beside every happy case, since what a server must not do is what clients rely on."""

import os
import stat
import time
import unittest

import hvac
from hvac import exceptions

import harness

READ_ONE = 'path "secret/data/myapp/database" { capabilities = ["read"] }'


def client(server, token=None):
    return hvac.Client(url=server.address, token=token)


class FirstDay(unittest.TestCase):
    """Store a secret as with Vault, read it from Python with a token for that path alone, see who read it, lose the power, go on."""

    def test_store_read_audit_kill_and_find_everything(self):
        folder = harness.scratch()
        log = folder / "audit.log"
        audit = f'audit "file" "log" {{\n  options = {{\n    file_path = "{log}"\n  }}\n}}\n'
        server = harness.Server.configured(storage=harness.durable_storage(folder), folder=folder, top=audit)
        with server:
            vault = harness.BIN if harness.is_reference() else harness.vault_link(folder)
            run = lambda *args: server.cli(*args, binary=vault)
            self.assertEqual(0, run("secrets", "enable", "-path=secret", "kv-v2").returncode)
            harness.eventually(lambda: run("kv", "put", "secret/myapp/database", "username=app", "password=Tr0ub4dor").returncode == 0, what="kv put")
            self.assertEqual("Tr0ub4dor", run("kv", "get", "-field=password", "secret/myapp/database").stdout)

            token = server.api.token_for("one", READ_ONE)
            reader = client(server, token)
            read = reader.secrets.kv.v2.read_secret_version("myapp/database", raise_on_deleted_version=True)
            self.assertEqual({"username": "app", "password": "Tr0ub4dor"}, read["data"]["data"])
            with self.assertRaises(exceptions.Forbidden):
                reader.secrets.kv.v2.read_secret_version("myapp/other", raise_on_deleted_version=True)
            with self.assertRaises(exceptions.Forbidden):
                reader.secrets.kv.v2.create_or_update_secret("myapp/database", {"password": "mine"})
            with self.assertRaises(exceptions.Forbidden):
                reader.secrets.kv.v2.list_secrets("myapp")

            self.check_audit(server, log, token)
            version = read["data"]["metadata"]["version"]
            server.kill()
            server.restart()
            again = client(server, token).secrets.kv.v2.read_secret_version("myapp/database", raise_on_deleted_version=True)
            self.assertEqual("Tr0ub4dor", again["data"]["data"]["password"])
            self.assertEqual(version, again["data"]["metadata"]["version"])
            self.assertIn("one", client(server, server.token).sys.list_policies()["data"]["keys"])
            self.assertEqual(0o600, stat.S_IMODE(os.stat(log).st_mode))

    def check_audit(self, server, log, token):
        accessor = client(server, server.token).auth.token.lookup(token)["data"]["accessor"]
        hashed = server.api.must("POST", "sys/audit-hash/log", {"input": accessor}).json["hash"]
        text = log.read_text()
        self.assertNotIn("Tr0ub4dor", text)
        self.assertNotIn(token, text)
        lines = [line for line in harness.audit_lines(log) if line["request"]["path"] == "secret/data/myapp/database" and line.get("auth", {}).get("accessor") == hashed]
        read = [line for line in lines if line["request"]["operation"] == "read" and line["type"] == "response"]
        self.assertEqual(1, len(read), "the audit log must say that this token read the secret once")
        self.assertEqual(["one"], read[0]["auth"]["policies"])
        self.assertTrue(read[0]["auth"]["policy_results"]["allowed"])
        denied = [line for line in lines if line["request"]["operation"] in ("update", "create") and line["type"] == "request"]
        self.assertTrue(denied, "a refusal is audited too")
        self.assertIn("permission denied", denied[0].get("error", ""))


class WithDevServer(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server.dev()
        cls.root = client(cls.server, "root")
        cls.addClassCleanup(cls.server.stop)

    def limited(self, name, policy, **fields):
        return client(self.server, self.server.api.token_for(name, policy, **fields))

    def refused(self, error, call, *args, **kwargs):
        with self.assertRaises(error) as caught:
            call(*args, **kwargs)
        return str(caught.exception)


class KeyValue2(WithDevServer):
    def setUp(self):
        self.kv = self.root.secrets.kv.v2
        self.path = self.id().rsplit(".", 1)[-1]

    def read(self, **more):
        return self.kv.read_secret_version(self.path, raise_on_deleted_version=True, **more)["data"]

    def test_versions_in_order(self):
        for number in (1, 2, 3):
            self.assertEqual(number, self.kv.create_or_update_secret(self.path, {"n": number})["data"]["version"])
        self.assertEqual({"n": 3}, self.read()["data"])
        self.assertEqual({"n": 1}, self.read(version=1)["data"])
        self.refused(exceptions.InvalidPath, self.read, version=4)

    def test_numbers_come_back_exactly_as_sent(self):
        if harness.is_reference():
            self.skipTest("the reference passes numbers through floats")
        for text in ("12345678901234567890", "1.10", "1e3", "-0", "123456789012345678901234567890.123456789"):
            self.server.api.must("POST", f"secret/data/{self.path}", f'{{"data":{{"n":{text}}}}}')
            reply = self.server.api.must("GET", f"secret/data/{self.path}")
            self.assertIn(f'"n":{text}', reply.text.replace(" ", ""))

    def test_every_json_shape_survives(self):
        value = {"text": "ünï\u0000\u2028 \"quoted\" </script>", "empty": "", "list": [1, "two", None, {"three": [False]}], "deep": {"a": {"b": {"c": {}}}}}
        self.kv.create_or_update_secret(self.path, value)
        self.assertEqual(value, self.read()["data"])

    def test_check_and_set(self):
        self.kv.create_or_update_secret(self.path, {"n": 1}, cas=0)
        self.assertIn("check-and-set", self.refused(exceptions.InvalidRequest, self.kv.create_or_update_secret, self.path, {"n": 2}, cas=0))
        self.refused(exceptions.InvalidRequest, self.kv.create_or_update_secret, self.path, {"n": 2}, cas=7)
        self.kv.create_or_update_secret(self.path, {"n": 2}, cas=1)
        self.assertEqual({"n": 2}, self.read()["data"])

    def test_cas_required(self):
        self.kv.update_metadata(self.path, cas_required=True)
        self.assertIn("check-and-set", self.refused(exceptions.InvalidRequest, self.kv.create_or_update_secret, self.path, {"n": 1}))
        self.kv.create_or_update_secret(self.path, {"n": 1}, cas=0)

    def test_patch_changes_only_what_it_names(self):
        self.refused(exceptions.InvalidPath, self.kv.patch, self.path, {"b": 1})
        self.kv.create_or_update_secret(self.path, {"a": "1", "b": "2", "c": "3"})
        self.kv.patch(self.path, {"b": "new", "c": None})
        left = self.read()["data"]
        self.assertEqual(("1", "new"), (left["a"], left["b"]))
        self.assertIsNone(left.get("c"))

    def test_soft_delete_and_undelete(self):
        self.kv.create_or_update_secret(self.path, {"n": 1})
        self.kv.create_or_update_secret(self.path, {"n": 2})
        self.kv.delete_latest_version_of_secret(self.path)
        self.refused(exceptions.InvalidPath, self.read)
        self.assertEqual({"n": 1}, self.read(version=1)["data"])
        self.kv.undelete_secret_versions(self.path, [2])
        self.assertEqual({"n": 2}, self.read()["data"])

    def test_destroy_is_for_good(self):
        self.kv.create_or_update_secret(self.path, {"n": 1})
        self.kv.destroy_secret_versions(self.path, [1])
        self.refused(exceptions.InvalidPath, self.read)
        self.kv.undelete_secret_versions(self.path, [1])
        self.refused(exceptions.InvalidPath, self.read)
        self.assertTrue(self.kv.read_secret_metadata(self.path)["data"]["versions"]["1"]["destroyed"])

    def test_old_versions_fall_off(self):
        self.kv.update_metadata(self.path, max_versions=2)
        for number in (1, 2, 3):
            self.kv.create_or_update_secret(self.path, {"n": number})
        self.refused(exceptions.InvalidPath, self.read, version=1)
        self.assertEqual({"2", "3"}, set(self.kv.read_secret_metadata(self.path)["data"]["versions"]))

    def test_metadata_delete_removes_all(self):
        self.kv.create_or_update_secret(self.path, {"n": 1})
        self.kv.update_metadata(self.path, custom_metadata={"owner": "team"})
        self.assertEqual({"owner": "team"}, self.kv.read_secret_metadata(self.path)["data"]["custom_metadata"])
        self.kv.delete_metadata_and_all_versions(self.path)
        self.refused(exceptions.InvalidPath, self.kv.read_secret_metadata, self.path)
        self.assertEqual(1, self.kv.create_or_update_secret(self.path, {"n": 9})["data"]["version"])

    def test_custom_metadata_holds_text_alone(self):
        for wrong in ({"n": [1]}, {"n": {"a": 1}}, {"k" * 200: "v"}, {"k": "v" * 600}, {str(n): "v" for n in range(65)}):
            reply = self.server.api.post(f"secret/metadata/{self.path}", {"custom_metadata": wrong})
            self.assertEqual(400, reply.status, f"{wrong} {reply}")

    def test_list_shows_folders_and_names(self):
        for name in ("a", "b/c", "b/d/e"):
            self.kv.create_or_update_secret(f"{self.path}/{name}", {"n": 1})
        self.assertEqual(["a", "b/"], self.kv.list_secrets(self.path)["data"]["keys"])
        self.assertEqual(["c", "d/"], self.kv.list_secrets(f"{self.path}/b")["data"]["keys"])
        self.refused(exceptions.InvalidPath, self.kv.list_secrets, f"{self.path}/none")

    def test_bodies_without_data_are_refused(self):
        for body in ({}, {"options": {}}, {"data": "text"}, {"data": [1]}, {"data": {"a": 1}, "options": {"cas": "x"}}, {"data": {"a": 1}, "options": 3}):
            reply = self.server.api.post(f"secret/data/{self.path}", body)
            self.assertEqual(400, reply.status, f"{body} {reply}")
        self.refused(exceptions.InvalidPath, self.read)

    def test_a_policy_divides_the_parts_of_one_secret(self):
        self.kv.create_or_update_secret(self.path, {"a": "x", "b": {"c": 1}})
        keys_only = self.limited("subkeys", f'path "secret/subkeys/{self.path}" {{ capabilities = ["read"] }}')
        shown = self.server.api.get(f"secret/subkeys/{self.path}", token=keys_only.token)
        self.assertEqual({"a": None, "b": {"c": None}}, shown.data["subkeys"])
        self.refused(exceptions.Forbidden, keys_only.secrets.kv.v2.read_secret_version, self.path, raise_on_deleted_version=True)
        self.refused(exceptions.Forbidden, keys_only.secrets.kv.v2.read_secret_metadata, self.path)
        self.refused(exceptions.Forbidden, keys_only.secrets.kv.v2.destroy_secret_versions, self.path, [1])

    def test_delete_version_after(self):
        self.kv.update_metadata(self.path, delete_version_after="1s")
        self.kv.create_or_update_secret(self.path, {"n": 1})
        harness.eventually(lambda: self.server.api.get(f"secret/data/{self.path}").status == 404, 5, "the deletion")


class KeyValue1(WithDevServer):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.root.sys.enable_secrets_engine("kv", "kv1", options={"version": "1"})
        cls.kv = cls.root.secrets.kv.v1

    def test_write_read_list_delete(self):
        self.kv.create_or_update_secret("a/b", {"k": "v"}, mount_point="kv1")
        self.assertEqual({"k": "v"}, self.kv.read_secret("a/b", mount_point="kv1")["data"])
        self.assertEqual(["b"], self.kv.list_secrets("a", mount_point="kv1")["data"]["keys"])
        self.kv.delete_secret("a/b", mount_point="kv1")
        self.refused(exceptions.InvalidPath, self.kv.read_secret, "a/b", mount_point="kv1")
        self.refused(exceptions.InvalidPath, self.kv.list_secrets, "a", mount_point="kv1")

    def test_an_empty_body_is_refused(self):
        self.assertEqual(400, self.server.api.post("kv1/empty", {}).status)

    def test_upgrade_to_version_2_keeps_the_secrets(self):
        self.root.sys.enable_secrets_engine("kv", "old", options={"version": "1"})
        for number in range(20):
            self.kv.create_or_update_secret(f"d/{number}", {"n": number}, mount_point="old")
        self.root.sys.tune_mount_configuration("old", options={"version": "2"})
        read = lambda number: self.server.api.get(f"old/data/d/{number}")
        harness.eventually(lambda: read(0).status == 200, 20, "the upgrade")
        for number in range(20):
            self.assertEqual({"n": number}, read(number).data["data"])
        self.assertEqual(2, self.root.secrets.kv.v2.create_or_update_secret("d/3", {"n": "new"}, mount_point="old")["data"]["version"])


class Tokens(WithDevServer):
    def setUp(self):
        self.tokens = self.root.auth.token

    def new(self, **fields):
        return self.tokens.create(**fields)["auth"]

    def test_lookup_says_what_it_is(self):
        made = self.new(policies=["default"], ttl="1h", meta={"who": "me"}, display_name="job")
        seen = self.tokens.lookup(made["client_token"])["data"]
        self.assertEqual(("token-job", {"who": "me"}, ["default"]), (seen["display_name"], seen["meta"], seen["policies"]))
        self.assertTrue(3590 <= seen["ttl"] <= 3600)
        self.assertEqual(seen["accessor"], self.tokens.lookup_accessor(made["accessor"])["data"]["accessor"])
        self.assertEqual("", self.tokens.lookup_accessor(made["accessor"])["data"]["id"], "an accessor never gives the token away")

    def test_a_revoked_token_is_refused_at_once_with_its_children(self):
        parent = self.new(policies=["root"], ttl="1h")["client_token"]
        child = client(self.server, parent).auth.token.create(policies=["default"])["auth"]["client_token"]
        orphan = client(self.server, parent).auth.token.create(policies=["default"], no_parent=True)["auth"]["client_token"]
        self.tokens.revoke(parent)
        for token in (parent, child):
            self.refused(exceptions.Forbidden, client(self.server, token).auth.token.lookup_self)
        client(self.server, orphan).auth.token.lookup_self()

    def test_revoke_and_orphan_leaves_the_children(self):
        parent = self.new(policies=["root"], ttl="1h")["client_token"]
        child = client(self.server, parent).auth.token.create(policies=["default"])["auth"]["client_token"]
        self.tokens.revoke_and_orphan_children(parent)
        self.refused(exceptions.Forbidden, client(self.server, parent).auth.token.lookup_self)
        self.assertTrue(client(self.server, child).auth.token.lookup_self()["data"]["orphan"])

    def test_revoke_by_accessor(self):
        made = self.new(policies=["default"])
        self.tokens.revoke_accessor(made["accessor"])
        self.refused(exceptions.Forbidden, client(self.server, made["client_token"]).auth.token.lookup_self)
        self.refused((exceptions.Forbidden, exceptions.InvalidPath, exceptions.InvalidRequest), self.tokens.lookup_accessor, made["accessor"])

    def test_use_limit(self):
        token = client(self.server, self.new(policies=["default"], num_uses=2)["client_token"])
        token.auth.token.lookup_self()
        token.auth.token.lookup_self()
        self.refused(exceptions.Forbidden, token.auth.token.lookup_self)

    def test_a_token_ends_with_its_time(self):
        token = client(self.server, self.new(policies=["default"], ttl="1s")["client_token"])
        token.auth.token.lookup_self()
        time.sleep(1.6)
        self.refused(exceptions.Forbidden, token.auth.token.lookup_self)

    def test_explicit_max_ttl_bounds_renewal(self):
        made = self.new(policies=["default"], ttl="10s", explicit_max_ttl="20s")
        renewed = self.tokens.renew(made["client_token"], increment="1h")["auth"]
        self.assertLessEqual(renewed["lease_duration"], 20)

    def test_a_periodic_token_renews_to_its_period(self):
        made = self.new(policies=["default"], period="1h")
        self.assertEqual(3600, self.tokens.renew(made["client_token"], increment="5h")["auth"]["lease_duration"])

    def test_a_token_that_is_not_renewable_says_so(self):
        made = self.new(policies=["default"], ttl="1h", renewable=False)
        self.refused((exceptions.InvalidRequest, exceptions.InternalServerError), self.tokens.renew, made["client_token"])

    def test_no_token_gives_more_than_it_has(self):
        lesser = self.limited("maker", 'path "auth/token/create" { capabilities = ["update"] }')
        self.refused((exceptions.InvalidRequest, exceptions.Forbidden), lesser.auth.token.create, policies=["root"])
        self.refused((exceptions.InvalidRequest, exceptions.Forbidden), lesser.auth.token.create, policies=["other"])
        self.refused((exceptions.InvalidRequest, exceptions.Forbidden), lesser.auth.token.create, policies=["maker"], no_parent=True)
        self.refused((exceptions.InvalidRequest, exceptions.Forbidden), lesser.auth.token.create, id="chosen", policies=["maker"])
        for name in (" root", "ROOT", "Root ", "root\u0000"):
            with self.assertRaises(exceptions.VaultError):
                lesser.auth.token.create(policies=[name])

    def test_batch_tokens(self):
        made = self.new(policies=["default"], type="batch", ttl="1h", renewable=False)
        self.assertEqual("batch", made["token_type"])
        token = client(self.server, made["client_token"])
        self.assertEqual("batch", token.auth.token.lookup_self()["data"]["type"])
        self.refused(exceptions.VaultError, token.auth.token.renew_self)
        self.refused(exceptions.VaultError, self.tokens.revoke, made["client_token"])
        self.refused(exceptions.VaultError, token.auth.token.create)
        self.refused(exceptions.VaultError, self.root.auth.token.create, type="batch", num_uses=1)
        flipped = made["client_token"][:-2] + ("AA" if made["client_token"][-2:] != "AA" else "BB")
        self.refused(exceptions.Forbidden, client(self.server, flipped).auth.token.lookup_self)

    def test_roles_bound_what_a_token_may_be(self):
        self.tokens.create_or_update_role("r", allowed_policies=["default", "app"], disallowed_policies=["root"], orphan=True, renewable=False, path_suffix="jobs")
        made = self.tokens.create(role_name="r", policies=["app"])["auth"]
        self.assertEqual((False, True), (made["renewable"], made["orphan"]))
        self.refused(exceptions.InvalidRequest, self.tokens.create, role_name="r", policies=["root"])
        self.refused(exceptions.InvalidRequest, self.tokens.create, role_name="r", policies=["other"])
        self.refused((exceptions.InvalidRequest, exceptions.InvalidPath), self.tokens.create, role_name="none")
        self.assertIn("r", self.tokens.list_roles()["data"]["keys"])
        self.tokens.delete_role("r")
        self.refused(exceptions.InvalidPath, self.tokens.read_role, "r")

    def test_bound_cidrs(self):
        self.server.api.must("POST", "auth/token/roles/elsewhere", {"token_bound_cidrs": ["10.9.8.0/24"], "allowed_policies": ["default"]})
        made = self.tokens.create(role_name="elsewhere", policies=["default"])["auth"]["client_token"]
        self.refused(exceptions.Forbidden, client(self.server, made).auth.token.lookup_self)

    def test_wrong_tokens_are_all_refused_alike(self):
        batch = [] if harness.is_reference() else ["hvb.x", "hvb." + "A" * 200]  # the reference answers these with a 500
        for token in ("", "ROOT", "hvs.", "hvs.x", *batch, "x" * 4000, "s.doesnotexist0000000000000"):
            reply = self.server.api.get("auth/token/lookup-self", token=None, headers={"X-Vault-Token": token} if token else {})
            self.assertEqual(403, reply.status, f"{token[:30]!r} {reply}")

    def test_a_bearer_header_counts_as_a_token(self):
        reply = self.server.api.get("auth/token/lookup-self", token=None, headers={"Authorization": "Bearer root"})
        self.assertEqual(200, reply.status, reply)
        reply = self.server.api.get("auth/token/lookup-self", token=None, headers={"Authorization": "Bearer wrong"})
        self.assertEqual(403, reply.status, reply)


class Identity(WithDevServer):
    """Who a token acts for, and what that gives it."""

    OWN = 'path "secret/data/{{identity.entity.name}}/*" { capabilities = ["create", "update", "read"] }'

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.identity = cls.root.secrets.identity
        cls.accessor = cls.root.sys.list_auth_methods()["data"]["token/"]["accessor"]
        cls.root.auth.token.create_or_update_role("any", allowed_entity_aliases=["*"], allowed_policies=["own"])
        cls.root.sys.create_or_update_policy("own", cls.OWN)

    def acting_as(self, alias):
        auth = self.root.auth.token.create(role_name="any", entity_alias=alias)["auth"]
        return client(self.server, auth["client_token"]), auth["entity_id"]

    def name(self):
        return self.id().rsplit(".", 1)[-1]

    def test_a_policy_says_the_name_and_means_it(self):
        token, entity = self.acting_as("robert")
        self.identity.update_entity(entity, name="bob")
        token.secrets.kv.v2.create_or_update_secret("bob/x", {"a": "b"})
        for other in ("alice/x", "robert/x", "bob2/x", "*/x"):
            self.refused(exceptions.Forbidden, token.secrets.kv.v2.create_or_update_secret, other, {"a": "b"})
        self.identity.update_entity(entity, name="alice")
        self.refused(exceptions.Forbidden, token.secrets.kv.v2.read_secret_version, "bob/x", raise_on_deleted_version=True)
        token.secrets.kv.v2.create_or_update_secret("alice/x", {"a": "b"})

    def test_entities_by_id_and_name(self):
        made = self.identity.create_or_update_entity("Carol", metadata={"team": "a"}, policies=["P", "q"])["data"]
        read = self.identity.read_entity(made["id"])["data"]
        self.assertEqual(("Carol", {"team": "a"}, ["p", "q"], False), (read["name"], read["metadata"], read["policies"], read["disabled"]))
        self.assertEqual(made["id"], self.identity.read_entity_by_name("cAROL")["data"]["id"])
        self.assertIn(made["id"], self.identity.list_entities()["data"]["keys"])
        self.assertIn("Carol", self.identity.list_entities_by_name()["data"]["keys"])
        self.assertEqual(made["id"], self.identity.lookup_entity(name="carol")["data"]["id"])
        for root in (["root"], [" ROOT"]):
            self.refused(exceptions.InvalidRequest, self.identity.create_or_update_entity, "Carol", policies=root)
        self.identity.delete_entity_by_name("CAROL")
        self.refused(exceptions.InvalidPath, self.identity.read_entity, made["id"])
        ids = [self.identity.create_or_update_entity(f"many{n}")["data"]["id"] for n in range(3)]
        self.root.write("identity/entity/batch-delete", entity_ids=ids)
        for gone in ids:
            self.refused(exceptions.InvalidPath, self.identity.read_entity, gone)

    def test_aliases_find_their_entity(self):
        entity = self.identity.create_or_update_entity(self.name())["data"]["id"]
        alias = self.identity.create_or_update_entity_alias("dora", entity, self.accessor)["data"]["id"]
        self.assertEqual(entity, self.acting_as("DORA")[1])
        self.assertEqual(entity, self.identity.lookup_entity(alias_name="dora", alias_mount_accessor=self.accessor)["data"]["id"])
        self.assertEqual("dora", self.identity.read_entity_alias(alias)["data"]["name"])
        self.assertIn(alias, self.identity.list_entity_aliases()["data"]["keys"])
        self.refused(exceptions.InvalidRequest, self.identity.create_or_update_entity_alias, "second", entity, self.accessor)
        self.refused(exceptions.InvalidRequest, self.identity.create_or_update_entity_alias, "x", entity, "no-such-accessor")
        self.identity.delete_entity_alias(alias)
        self.assertNotEqual(entity, self.acting_as("dora")[1])

    def test_disabling_and_deleting_end_a_token(self):
        token, entity = self.acting_as(self.name())
        self.identity.update_entity(entity, disabled=True)
        self.refused(exceptions.Forbidden, token.auth.token.lookup_self)
        self.refused(exceptions.Forbidden, self.acting_as, self.name())
        self.identity.update_entity(entity, disabled=False)
        token.auth.token.lookup_self()
        self.identity.delete_entity(entity)
        self.refused(exceptions.Forbidden, token.auth.token.lookup_self)

    def test_groups_give_policies_at_any_depth(self):
        token, entity = self.acting_as(self.name())
        self.root.sys.create_or_update_policy("deep", 'path "secret/data/deep" { capabilities = ["create", "update"] }')
        write = lambda: token.secrets.kv.v2.create_or_update_secret("deep", {"a": "b"})
        self.refused(exceptions.Forbidden, write)
        inner = self.identity.create_or_update_group("inner", member_entity_ids=[entity])["data"]["id"]
        outer = self.identity.create_or_update_group("outer", member_group_ids=[inner], policies=["deep"])["data"]["id"]
        write()
        read = self.identity.read_entity(entity)["data"]
        self.assertEqual(([inner], [outer]), (read["direct_group_ids"], read["inherited_group_ids"]))
        self.assertEqual(["deep"], token.auth.token.lookup_self()["data"]["identity_policies"])
        self.refused(exceptions.VaultError, self.identity.update_group, inner, "inner", member_group_ids=[outer])
        self.identity.delete_group(outer)
        self.refused(exceptions.Forbidden, write)
        self.assertEqual(inner, self.identity.lookup_group(name="INNER")["data"]["id"])
        external = self.identity.create_or_update_group("external", group_type="external")["data"]["id"]
        alias = self.identity.create_or_update_group_alias("outside", mount_accessor=self.accessor, canonical_id=external)["data"]["id"]
        self.assertEqual("outside", self.identity.read_group_alias(alias)["data"]["name"])
        self.refused(exceptions.InvalidRequest, self.root.write, f"identity/group/id/{external}", member_entity_ids=[entity])

    def test_merging(self):
        kept = self.identity.create_or_update_entity("kept", policies=["k"])["data"]["id"]
        token, gone = self.acting_as(self.name())
        self.identity.update_entity(gone, policies=["g"])
        self.identity.merge_entities([gone], kept)
        self.assertEqual(["k"], token.auth.token.lookup_self()["data"]["identity_policies"])
        self.assertEqual(kept, self.acting_as(self.name())[1])
        self.refused(exceptions.InvalidRequest, self.identity.merge_entities, [gone], kept)


class Policies(WithDevServer):
    def test_write_read_list_delete(self):
        self.root.sys.create_or_update_policy("Team", 'path "a" { capabilities = ["read"] }')
        self.assertIn("team", self.root.sys.list_policies()["data"]["keys"])
        self.assertIn('path "a"', self.root.sys.read_policy("team")["data"]["rules"])
        self.root.sys.delete_policy("team")
        self.refused(exceptions.InvalidPath, self.root.sys.read_policy, "team")

    def test_what_is_no_policy_is_refused(self):
        for text in ('path "a" {', 'path "a" { capabilities = ["fly"] }', 'path "a" { caps = ["read"] }', 'path "a+b/*" { policy = "none" }', "path = 3"):
            reply = self.server.api.put("sys/policies/acl/bad", {"policy": text})
            self.assertEqual(400, reply.status, f"{text} {reply}")
        self.assertEqual(404, self.server.api.get("sys/policies/acl/bad").status)

    def test_root_and_default_stay(self):
        self.refused(exceptions.InvalidRequest, self.root.sys.create_or_update_policy, "root", 'path "a" { capabilities = ["deny"] }')
        self.refused(exceptions.InvalidRequest, self.root.sys.delete_policy, "root")
        self.refused(exceptions.InvalidRequest, self.root.sys.delete_policy, "default")

    def test_deny_and_the_most_specific_path_win(self):
        policy = """
            path "secret/*" { capabilities = ["read", "list", "create", "update"] }
            path "secret/data/closed/*" { capabilities = ["deny"] }
            path "secret/data/+/open" { capabilities = ["read"] }
        """
        limited = self.limited("mixed", policy)
        self.root.secrets.kv.v2.create_or_update_secret("closed/x", {"a": 1})
        self.refused(exceptions.Forbidden, limited.secrets.kv.v2.read_secret_version, "closed/x", raise_on_deleted_version=True)
        self.refused(exceptions.Forbidden, limited.secrets.kv.v2.create_or_update_secret, "team/open", {"a": 1})
        limited.secrets.kv.v2.create_or_update_secret("team/shut", {"a": 1})

    def test_parameters_can_be_required_and_denied(self):
        self.root.sys.enable_secrets_engine("kv", "params", options={"version": "1"})
        limited = self.limited("params", """
            path "params/a" { capabilities = ["create", "update"]
              required_parameters = ["owner"]
              allowed_parameters = { "owner" = ["me", "us*"], "value" = [] } }
            path "params/b" { capabilities = ["create", "update"]
              denied_parameters = { "admin" = [] } }
        """)
        write = lambda path, body: self.server.api.post(path, body, token=limited.token).status
        self.assertEqual(403, write("params/a", {"value": "x"}))
        self.assertEqual(403, write("params/a", {"owner": "them"}))
        self.assertEqual(403, write("params/a", {"owner": "me", "other": "x"}))
        self.assertEqual(204, write("params/a", {"owner": "users", "value": "x"}))
        self.assertEqual(403, write("params/b", {"admin": "x"}))
        self.assertEqual(204, write("params/b", {"user": "x"}))

    def test_capabilities(self):
        limited = self.limited("caps", 'path "secret/data/a" { capabilities = ["read", "update"] }')
        found = self.root.sys.get_capabilities(paths=["secret/data/a", "secret/data/b"], token=limited.token)["data"]
        self.assertEqual(["read", "update"], sorted(found["secret/data/a"]))
        self.assertEqual(["deny"], found["secret/data/b"])

    def test_password_policies(self):
        rule = 'length = 20\nrule "charset" { charset = "abc"\n min-chars = 1 }'
        self.server.api.must("PUT", "sys/policies/password/p", {"policy": rule})
        made = self.server.api.must("GET", "sys/policies/password/p/generate").data["password"]
        self.assertEqual((20, set()), (len(made), set(made) - set("abc")))
        self.assertEqual(400, self.server.api.put("sys/policies/password/bad", {"policy": "length = 2"}).status)


class Wrapping(WithDevServer):
    def wrapped(self, ttl="60s", **headers):
        return self.server.api.must("GET", "secret/data/wrapped", headers={"X-Vault-Wrap-TTL": ttl, **headers}).json["wrap_info"]

    def setUp(self):
        self.root.secrets.kv.v2.create_or_update_secret("wrapped", {"a": "inside"})

    def test_opens_once(self):
        info = self.wrapped()
        opened = client(self.server, info["token"]).sys.unwrap()
        self.assertEqual({"a": "inside"}, opened["data"]["data"])
        self.refused((exceptions.InvalidRequest, exceptions.Forbidden), client(self.server, info["token"]).sys.unwrap)

    def test_lookup_does_not_open(self):
        info = self.wrapped()
        self.assertEqual("secret/data/wrapped", self.server.api.must("POST", "sys/wrapping/lookup", {"token": info["token"]}).data["creation_path"])
        self.assertEqual({"a": "inside"}, client(self.server, info["token"]).sys.unwrap()["data"]["data"])

    def test_a_wrapping_token_does_nothing_else(self):
        token = client(self.server, self.wrapped()["token"])
        self.refused(exceptions.Forbidden, token.secrets.kv.v2.read_secret_version, "wrapped", raise_on_deleted_version=True)
        self.refused(exceptions.Forbidden, token.auth.token.create)

    def test_ends_with_its_time(self):
        info = self.wrapped("1s")
        time.sleep(1.6)
        self.refused((exceptions.InvalidRequest, exceptions.Forbidden), client(self.server, info["token"]).sys.unwrap)

    def test_rewrap_ends_the_old_token(self):
        old = self.wrapped()["token"]
        new = self.server.api.must("POST", "sys/wrapping/rewrap", {"token": old}).json["wrap_info"]["token"]
        self.refused((exceptions.InvalidRequest, exceptions.Forbidden), client(self.server, old).sys.unwrap)
        self.assertEqual({"a": "inside"}, client(self.server, new).sys.unwrap()["data"]["data"])

    def test_jwt_form(self):
        info = self.wrapped(**{"X-Vault-Wrap-Format": "jwt"})
        self.assertEqual(3, len(info["token"].split(".")))
        opened = self.server.api.must("POST", "sys/wrapping/unwrap", {"token": info["token"]})
        self.assertEqual({"a": "inside"}, opened.data["data"])

    def test_a_wrong_span_is_refused(self):
        for ttl in ("-5s", "five", "1x"):
            reply = self.server.api.get("secret/data/wrapped", headers={"X-Vault-Wrap-TTL": ttl})
            self.assertEqual(400, reply.status, f"{ttl} {reply}")

    def test_a_policy_can_demand_it(self):
        limited = self.limited("wrap", 'path "secret/data/wrapped" { capabilities = ["read"]\n min_wrapping_ttl = "1s"\n max_wrapping_ttl = "90s" }')
        read = lambda **headers: self.server.api.get("secret/data/wrapped", token=limited.token, headers=headers).status
        self.assertEqual(403, read())
        self.assertEqual(403, read(**{"X-Vault-Wrap-TTL": "2h"}))
        self.assertEqual(200, read(**{"X-Vault-Wrap-TTL": "60s"}))


class Cubbyhole(WithDevServer):
    def test_belongs_to_one_token_and_ends_with_it(self):
        one = self.root.auth.token.create(policies=["default"])["auth"]["client_token"]
        other = self.root.auth.token.create(policies=["default"])["auth"]["client_token"]
        self.server.api.must("POST", "cubbyhole/mine", {"k": "v"}, token=one)
        self.assertEqual({"k": "v"}, self.server.api.get("cubbyhole/mine", token=one).data)
        for token in (other, "root"):
            self.assertEqual(404, self.server.api.get("cubbyhole/mine", token=token).status)
        batch = self.root.auth.token.create(policies=["default"], type="batch", renewable=False)["auth"]["client_token"]
        self.assertIn(self.server.api.post("cubbyhole/mine", {"k": "v"}, token=batch).status, (400, 403))


class System(WithDevServer):
    def test_health_and_leader(self):
        health = self.root.sys.read_health_status(method="GET")
        self.assertEqual((True, False), (health["initialized"], health["sealed"]))
        self.assertRegex(health["version"], r"^\d+\.\d+\.\d+")
        self.assertIn("is_self", self.root.sys.read_leader_status() | {"is_self": None})

    def test_mounts(self):
        sys = self.root.sys
        sys.enable_secrets_engine("kv", "m1", description="one", config={"default_lease_ttl": "1h"})
        self.assertIn("m1/", sys.list_mounted_secrets_engines()["data"])
        self.refused(exceptions.InvalidRequest, sys.enable_secrets_engine, "kv", "m1")
        self.refused(exceptions.InvalidRequest, sys.enable_secrets_engine, "kv", "m1/inner")
        self.refused(exceptions.InvalidRequest, sys.enable_secrets_engine, "nosuch", "m2")
        for reserved in ("sys", "cubbyhole", "auth/x", "identity"):
            self.refused(exceptions.InvalidRequest, sys.enable_secrets_engine, "kv", reserved)
        sys.disable_secrets_engine("m1")
        self.refused((exceptions.InvalidPath, exceptions.Forbidden), self.root.secrets.kv.v1.read_secret, "x", mount_point="m1")
        for core in ("sys", "cubbyhole", "identity"):
            self.refused(exceptions.InvalidRequest, sys.disable_secrets_engine, core)

    def test_a_move_takes_the_secrets_along(self):
        self.root.sys.enable_secrets_engine("kv", "from", options={"version": "1"})
        self.root.secrets.kv.v1.create_or_update_secret("x", {"k": "v"}, mount_point="from")
        self.root.sys.move_backend("from", "to")
        harness.eventually(lambda: self.server.api.get("to/x").status == 200, what="the move")
        self.assertEqual({"k": "v"}, self.server.api.get("to/x").data)
        self.assertEqual(404, self.server.api.get("from/x").status)

    def test_remount_of_nothing_is_refused(self):
        self.assertEqual(400, self.server.api.post("sys/remount", {"from": "nosuch", "to": "x"}).status)
        self.assertEqual(400, self.server.api.post("sys/remount", {"from": "secret", "to": "sys/x"}).status)

    def test_tools(self):
        made = self.server.api.must("POST", "sys/tools/random/16", {"format": "hex"}).data["random_bytes"]
        self.assertEqual(32, len(made))
        self.assertEqual(400, self.server.api.post("sys/tools/random/0").status)
        self.assertEqual(400, self.server.api.post("sys/tools/random/16", {"format": "octal"}).status)
        digest = self.server.api.must("POST", "sys/tools/hash/sha2-256", {"input": "YWJj"}).data["sum"]
        self.assertEqual("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", digest)
        self.assertEqual(400, self.server.api.post("sys/tools/hash/sha2-256", {"input": "%%%"}).status)

    def test_an_ordinary_token_may_not_touch_sys(self):
        limited = self.limited("none", 'path "secret/*" { capabilities = ["read"] }')
        for method, path in (("GET", "sys/mounts"), ("PUT", "sys/seal"), ("GET", "sys/audit"), ("POST", "sys/rotate"), ("GET", "sys/policies/acl"),
                             ("GET", "sys/config/auditing/request-headers"), ("GET", "sys/auth"), ("LIST", "auth/token/accessors"),
                             ("LIST", "sys/leases/lookup"), ("PUT", "sys/leases/revoke-force/x"), ("GET", "sys/host-info"), ("GET", "sys/raw/core/mounts")):
            self.assertEqual(403, self.server.api.call(method, path, token=limited.token).status, f"{method} {path}")
        self.assertEqual(200, self.server.api.get("sys/health", token=None).status)

    def test_sudo_is_asked_for_where_it_must_be(self):
        limited = self.limited("wide", 'path "*" { capabilities = ["create", "read", "update", "delete", "list"] }')
        for method, path in (("PUT", "sys/seal"), ("GET", "sys/audit"), ("LIST", "auth/token/accessors"), ("PUT", "sys/leases/revoke-prefix/x")):
            self.assertEqual(403, self.server.api.call(method, path, token=limited.token).status, f"{method} {path}")

    def test_unknown_paths(self):
        self.assertEqual(404, self.server.api.get("nosuch/mount").status)
        self.assertEqual(403, self.server.api.get("nosuch/mount", token=None).status)
        self.assertEqual(404, self.server.api.get("sys/nosuch").status)
        self.assertEqual(404, self.server.api.get("/nothing/here").status)


class SealAndKeys(unittest.TestCase):
    """init, unseal, seal, rekey, rotate, generate-root with several shares."""

    def setUp(self):
        self.server = harness.Server.configured(init=False)
        self.addCleanup(self.server.stop)
        self.hvac = client(self.server)

    def initialised(self):
        made = self.hvac.sys.initialize(secret_shares=5, secret_threshold=3)
        self.server.keys, self.server.token = made["keys_base64"][:3], made["root_token"]
        self.hvac.token = self.server.api.token = made["root_token"]
        return made

    def test_bad_shapes_of_init_are_refused(self):
        for shares, threshold in ((0, 0), (1, 2), (3, 1), (256, 3), (-1, 1)):
            with self.assertRaises(exceptions.VaultError, msg=f"{shares} {threshold}"):
                self.hvac.sys.initialize(secret_shares=shares, secret_threshold=threshold)
        self.assertFalse(self.hvac.sys.is_initialized())

    def test_three_of_five_open_and_two_do_not(self):
        made = self.initialised()
        with self.assertRaises(exceptions.InvalidRequest):
            self.hvac.sys.initialize(5, 3)
        for key in (made["keys"][4], made["keys"][0]):
            self.assertTrue(self.hvac.sys.submit_unseal_key(key)["sealed"])
        self.assertEqual(2, self.hvac.sys.read_seal_status()["progress"])
        self.assertEqual(2, self.hvac.sys.submit_unseal_key(made["keys"][0])["progress"], "the same share twice counts once")
        with self.assertRaises(exceptions.VaultDown):
            self.hvac.sys.list_policies()
        self.assertFalse(self.hvac.sys.submit_unseal_key(made["keys"][2])["sealed"])
        harness.eventually(lambda: self.server.api.get("sys/health", token=None).status == 200)
        self.hvac.sys.seal()
        self.assertTrue(self.hvac.sys.is_sealed())
        with self.assertRaises(exceptions.VaultDown):
            self.hvac.sys.list_policies()

    def test_wrong_keys_open_nothing(self):
        made = self.initialised()
        for wrong in ("", "zz", "00", "ab" * 200, "not base64!"):
            reply = self.server.api.put("sys/unseal", {"key": wrong}, token=None)
            self.assertEqual(400, reply.status, f"{wrong!r} {reply}")
        forged = "".join("0" if c != "0" else "1" for c in made["keys"][1])
        for key in (made["keys"][0], made["keys"][2]):
            self.hvac.sys.submit_unseal_key(key)
        with self.assertRaises(exceptions.VaultError):
            self.hvac.sys.submit_unseal_key(forged)
        self.assertTrue(self.hvac.sys.is_sealed())
        self.assertTrue(self.hvac.sys.submit_unseal_key(reset=True)["sealed"])
        self.server.unseal()

    def test_rekey_makes_the_old_keys_useless(self):
        made = self.initialised()
        self.server.unseal()
        begun = self.hvac.sys.start_rekey(secret_shares=3, secret_threshold=2)
        nonce = begun["nonce"] if "nonce" in begun else begun["data"]["nonce"]
        with self.assertRaises(exceptions.VaultError):
            self.hvac.sys.rekey(made["keys"][0], nonce="0" * 36)
        done = {}
        for key in made["keys"][:3]:
            done = self.hvac.sys.rekey(key, nonce=nonce)
        new = done["keys"]
        self.assertEqual(3, len(new))
        self.hvac.sys.seal()
        with self.assertRaises(exceptions.VaultError):
            for key in made["keys"][:3]:
                self.hvac.sys.submit_unseal_key(key)
        self.hvac.sys.submit_unseal_key(reset=True)
        for key in new[:2]:
            status = self.hvac.sys.submit_unseal_key(key)
        self.assertFalse(status["sealed"])

    def test_rotate_keeps_old_secrets_readable(self):
        self.initialised()
        self.server.unseal()
        api = self.server.api
        api.must("POST", "sys/mounts/kv", {"type": "kv", "options": {"version": "1"}})
        api.must("POST", "kv/before", {"k": "v"})
        first = self.hvac.sys.read_key_status() if hasattr(self.hvac.sys, "read_key_status") else self.hvac.key_status
        self.hvac.sys.rotate_encryption_key()
        api.must("POST", "kv/after", {"k": "w"})
        self.assertEqual({"k": "v"}, api.must("GET", "kv/before").data)
        self.hvac.sys.seal()
        self.server.unseal()
        self.assertEqual({"k": "v"}, api.must("GET", "kv/before").data)
        self.assertEqual({"k": "w"}, api.must("GET", "kv/after").data)
        self.assertTrue(first)

    def test_generate_root(self):
        made = self.initialised()
        self.server.unseal()
        otp = self.server.api.must("GET", "sys/generate-root/attempt", token=None).json["otp_length"] * "x"
        with self.assertRaises(exceptions.VaultError):
            self.hvac.sys.start_root_token_generation(otp="short")
        nonce = self.hvac.sys.start_root_token_generation(otp=otp)["nonce"]
        with self.assertRaises(exceptions.VaultError):
            self.hvac.sys.generate_root(made["keys"][0], nonce="0" * 36)
        for key in made["keys"][:3]:
            done = self.hvac.sys.generate_root(key, nonce=nonce)
        self.assertTrue(done["complete"])
        decoded = self.server.cli("operator", "generate-root", f"-decode={done['encoded_token']}", f"-otp={otp}")
        token = decoded.stdout.strip()
        self.assertEqual(["root"], client(self.server, token).auth.token.lookup_self()["data"]["policies"], decoded.stderr)
        with self.assertRaises(exceptions.VaultError):
            self.hvac.sys.generate_root(made["keys"][0], nonce=nonce)


if __name__ == "__main__":
    unittest.main()
