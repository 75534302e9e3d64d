"""The commands `pki`: two mounts, an intermediate made in one step, and who signed whom."""

import json
import subprocess
import unittest

from harness import Server


class Commands(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server.dev()
        cls.addClassCleanup(cls.server.stop)
        for mount in ("pr", "pint"):
            cls.server.api.must("POST", f"sys/mounts/{mount}", {"type": "pki", "config": {"max_lease_ttl": "87600h"}})
        cls.server.api.must("POST", "pr/root/generate/internal", {"common_name": "root", "key_type": "ec", "ttl": "100h"})

    def run_pki(self, *words, code=0):
        run = self.server.cli("pki", *words)
        self.assertEqual(run.returncode, code, run.stdout + run.stderr)
        return run.stdout if code == 0 else run.stderr

    def test_an_intermediate_is_made_and_found_again(self):
        made = json.loads(self.run_pki("issue", "-format=json", "-issuer_name=one", "/pr/issuer/default", "pint/", "common_name=one", "ttl=50h", "key_type=ec"))
        self.assertEqual((made["data"]["issuer_name"], len(made["data"]["ca_chain"])), ("one", 2))
        self.assertTrue(made["data"]["key_id"], "the key that signs is on the mount")
        self.server.api.must("POST", "pint/roles/r", {"allow_any_name": True, "key_type": "ec"})
        self.server.api.must("POST", "pint/issuer/one/issue/r", {"common_name": "a.example", "ttl": "1h"})
        match = json.loads(self.run_pki("verify-sign", "-format=json", "pr/issuer/default", "pint/issuer/one"))
        self.assertEqual(set(match.values()), {True})
        back = json.loads(self.run_pki("verify-sign", "-format=json", "pint/issuer/one", "pr/issuer/default"))
        self.assertEqual((len(back), set(back.values())), (5, {False}))
        found = json.loads(self.run_pki("list-intermediates", "-format=json", "-use_names", "pr/issuer/default"))
        self.assertEqual((found["pint/issuer/one"], len([p for p in found if p.startswith("pr/")])), (True, 1))
        table = self.run_pki("list-intermediates", "pr/issuer/default", "pint/issuer/one")
        self.assertEqual(table, "intermediate       match?\n------------       ------\npint/issuer/one    true\n\n\n")
        none = json.loads(self.run_pki("list-intermediates", "-format=json", "pint/issuer/one", "pr/"))
        self.assertEqual(set(none.values()), {False})

    def test_another_is_made_like_one_that_is_there(self):
        values = ["common_name=like.example", "organization=Acme", "country=AT", "alt_names=b.example", "ip_sans=192.0.2.1", "max_path_length=0", "ttl=20h", "key_type=ec", "key_bits=384"]
        self.run_pki("issue", "-issuer_name=old", "pr/issuer/default", "pint", *values)
        self.run_pki("reissue", "-issuer_name=new", "pr/issuer/default", "pint/issuer/old", "pint", "organization=Other")

        def shown(name):
            pem = self.server.api.must("GET", f"pint/issuer/{name}").data["certificate"]
            run = subprocess.run(["openssl", "x509", "-noout", "-subject", "-ext", "subjectAltName,basicConstraints"], input=pem, capture_output=True, text=True, timeout=30)
            return run.stdout

        self.assertEqual(shown("new"), shown("old").replace("Acme", "Other"))
        self.assertIn("Acme", shown("old"))
        self.assertIn("pathlen:0", shown("old"))
        self.assertIn("template issuer", self.run_pki("reissue", "pr/issuer/default", "pint/issuer/none", "pint", code=1))

    def test_a_mount_is_compared_with_good_practice(self):
        api = self.server.api
        api.must("POST", "sys/mounts/sick", {"type": "pki", "config": {"max_lease_ttl": "87600h"}})
        self.assertIn("no default issuer", self.run_pki("health-check", "sick", code=1))
        self.assertIn("non-PKI mount", self.run_pki("health-check", "secret", code=1))
        self.assertIn("Not enough arguments", self.run_pki("health-check", code=1))
        api.must("POST", "sick/root/generate/internal", {"common_name": "sick", "key_type": "ec", "ttl": "300h"})
        role = {"allow_any_name": True, "key_type": "ec", "allow_localhost": True, "allowed_domains": "a.example"}
        api.must("POST", "sick/roles/r", role)
        leaf = api.must("POST", "sick/issue/r", {"common_name": "a.example", "ttl": "1h"}).data["serial_number"]

        def found(*words, code, token=...):
            run = self.server.cli("pki", "health-check", "-format=json", *words, "sick", token=token)
            self.assertEqual(run.returncode, code, run.stdout + run.stderr)
            return {name: sorted({one["status"] for one in all}) for name, all in json.loads(run.stdout).items()}, run.stdout

        first, text = found(code=4)
        wanted = {
            "ca_validity_period": "critical", "crl_validity_period": "ok", "root_issued_leaves": "warning", "role_allows_localhost": "warning",
            "role_allows_glob_wildcards": "ok", "role_no_store_false": "warning", "audit_visibility": "informational",
            "allow_if_modified_since": "informational", "enable_auto_tidy": "informational", "tidy_last_run": "critical",
            "too_many_certs": "ok", "enable_acme_issuance": "not_applicable", "allow_acme_headers": "not_applicable",
        }
        self.assertEqual(first, {name: [status] for name, status in wanted.items()})
        self.assertIn(leaf, text)
        # All that was said is put right, but for the root's own leaf and short life.
        api.must("POST", "sick/roles/r", {**role, "allow_localhost": False, "no_store": True})
        api.must("POST", "sick/config/auto-tidy", {"enabled": True, "tidy_cert_store": True, "interval_duration": "12h"})
        api.must("POST", "sick/tidy", {"tidy_cert_store": True})
        api.must("POST", "sys/mounts/sick/tune", {"passthrough_request_headers": ["If-Modified-Since"], "allowed_response_headers": ["Last-Modified"]})
        limits = self.server.folder / "limits.json"
        limits.write_text(json.dumps({"audit_visibility": {"enabled": False}, "too_many_certs": {"count_warning": 1}, "ca_validity_period": {"root_expiry_critical": "1d"}}))
        second, _ = found(f"-health-config={limits}", code=3)
        self.assertEqual({name for name, statuses in second.items() if statuses == ["warning"]}, {"ca_validity_period", "root_issued_leaves", "too_many_certs"})
        self.assertNotIn("audit_visibility", second)
        self.assertEqual({second[name][0] for name in ("role_allows_localhost", "role_no_store_false", "enable_auto_tidy", "tidy_last_run", "allow_if_modified_since")}, {"ok"})
        found(f"-health-config={limits}", "-return-indicator=critical", code=0)
        self.assertEqual(found("-default-disabled", code=0)[0], {})
        # Who may not read says so, in place of a finding.
        self.server.cli("policy", "write", "little", "-", stdin='path "sick/cert/ca" { capabilities = ["read"] }')
        little = self.server.cli("token", "create", "-policy=little", "-field=token").stdout.strip()
        self.assertEqual(found(code=6, token=little)[0]["too_many_certs"], ["insufficient_permissions"])
        limits.write_text('{"no_such_check": {}}')
        self.assertIn("no_such_check", self.run_pki("health-check", f"-health-config={limits}", "sick", code=1))

    def test_a_parent_that_may_not_go_so_deep_signs_nothing(self):
        self.server.api.must("POST", "sys/mounts/flat", {"type": "pki"})
        self.server.api.must("POST", "flat/root/generate/internal", {"common_name": "flat", "key_type": "ec", "max_path_length": 0})
        self.assertIn("Failure Signing Intermediate", self.run_pki("issue", "flat/issuer/default", "pint", "common_name=x", "key_type=ec", code=1))

    def test_what_is_not_there_is_named(self):
        for words, why in (
            (["verify-sign", "pr/issuer/default"], "expected both potential issuer and issued"),
            (["verify-sign", "pr/issuer/none", "pr/issuer/default"], "Failed to read issuer: pr/issuer/none"),
            (["list-intermediates"], "expected potential parent"),
            (["list-intermediates", "pr/issuer/none"], "Failed to read parent issuer on path pr/issuer/none"),
            (["issue", "pr/issuer/default", "pint"], "Not enough arguments"),
            (["issue", "pr/issuer/none", "pint", "common_name=x"], "Unable to access parent issuer pr/issuer/none"),
            (["issue", "pr/issuer/default", "nomount", "common_name=x"], "nomount"),
            (["issue", "-type=exported", "pr/issuer/default", "pint", "common_name=x"], "internal or existing"),
        ):
            with self.subTest(words=words):
                self.assertIn(why, self.run_pki(*words, code=1))


if __name__ == "__main__":
    unittest.main()
