"""Certificates of ours before OpenSSL and, where Go is there, before the linter zlint: what is issued verifies, what is forged does not,
and what OpenSSL made (requests, authorities, keys) is taken as it is."""

import json
import subprocess
import unittest

import harness

KINDS = {
    "rsa": {"key_type": "rsa"},
    "rsa-pss": {"key_type": "rsa", "use_pss": True, "signature_bits": 384},
    "p256": {"key_type": "ec", "key_bits": 256},
    "p384": {"key_type": "ec", "key_bits": 384},
    "p521": {"key_type": "ec", "key_bits": 521},
    "ed25519": {"key_type": "ed25519"},
}


def openssl(*args, folder, ok=True):
    run = subprocess.run(["openssl", *map(str, args)], cwd=folder, capture_output=True, text=True, timeout=60)
    if ok and run.returncode:
        raise AssertionError(f"openssl {' '.join(map(str, args))}: {run.stdout}{run.stderr}")
    return run


class Pki(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        server = harness.Server.dev()
        cls.addClassCleanup(server.stop)
        cls.api = harness.Api(server.address, "root")
        cls.folder = harness.scratch()

    def mount(self, name, **root):
        self.api.must("POST", f"sys/mounts/{name}", {"type": "pki", "config": {"max_lease_ttl": "87600h"}})
        self.api.must("POST", f"{name}/config/urls", {
            "issuing_certificates": f"http://pki.example.com/v1/{name}/ca",
            "crl_distribution_points": f"http://pki.example.com/v1/{name}/crl",
            "ocsp_servers": f"http://pki.example.com/v1/{name}/ocsp",
        })
        fields = {"common_name": f"Root {name}", "organization": "Example", "country": "CH", "ttl": "80000h", "key_type": "ec", **root}
        return self.api.must("POST", f"{name}/root/generate/internal", fields).data

    def write(self, name, text):
        (self.folder / name).write_text(text + "\n")
        return name

    def verify(self, leaf, root, between=(), ok=True):
        args = ["verify", "-x509_strict", "-CAfile", self.write("root.pem", root)]
        if between:
            args += ["-untrusted", self.write("between.pem", "\n".join(between))]
        run = openssl(*args, self.write("leaf.pem", leaf), folder=self.folder, ok=False)
        self.assertEqual(ok, run.returncode == 0, run.stdout + run.stderr)
        return run.stdout + run.stderr

    def text(self, certificate):
        return openssl("x509", "-noout", "-text", "-in", self.write("one.pem", certificate), folder=self.folder).stdout

    def request(self, subject, *extensions, key="ec"):
        made = {
            "ec": ["ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", "asking.key"],
            "rsa1024": ["genrsa", "-out", "asking.key", "1024"],
            "rsa": ["genrsa", "-out", "asking.key", "2048"],
            "ed25519": ["genpkey", "-algorithm", "ed25519", "-out", "asking.key"],
        }[key]
        openssl(*made, folder=self.folder)
        more = [part for extension in extensions for part in ("-addext", extension)]
        return openssl("req", "-new", "-key", "asking.key", "-subj", subject, *more, folder=self.folder).stdout

    def test_chains_of_every_kind_of_key_verify(self):
        for name, kind in KINDS.items():
            with self.subTest(name):
                root = self.mount(name, **kind)
                below = self.api.must("POST", f"{name}/intermediate/generate/internal",
                                      {"common_name": "Int CA", "organization": "Example", **kind}).data
                signed = self.api.must("POST", f"{name}/root/sign-intermediate", {
                    "csr": below["csr"], "common_name": "Int CA", "organization": "Example", "ttl": "8000h", "max_path_length": 0,
                    "permitted_dns_domains": "example.com", **({"use_pss": True, "signature_bits": 384} if kind.get("use_pss") else {})}).data
                taken = self.api.must("POST", f"{name}/intermediate/set-signed", {"certificate": signed["certificate"]}).data
                issuer = taken["imported_issuers"][0]
                self.api.must("POST", f"{name}/roles/web", {"allow_any_name": True, "key_type": "any", "issuer_ref": issuer, "ttl": "720h",
                                                            "use_pss": kind.get("use_pss", False)})
                made = self.api.must("POST", f"{name}/issue/web", {
                    "common_name": "www.example.com", "alt_names": "a.example.com", "ip_sans": "192.0.2.1,2001:db8::1",
                    "key_type": kind["key_type"], "key_bits": kind.get("key_bits", 0)}).data
                self.verify(made["certificate"], root["certificate"], [signed["certificate"]])
                self.assertEqual([signed["certificate"], root["certificate"]], made["ca_chain"])
                # The key is the certificate's.
                self.write("leaf.key", made["private_key"])
                key = openssl("pkey", "-in", "leaf.key", "-pubout", folder=self.folder).stdout
                self.assertEqual(key, openssl("x509", "-in", "leaf.pem", "-noout", "-pubkey", folder=self.folder).stdout)
                text = self.text(made["certificate"])
                for part in ("DNS:www.example.com, DNS:a.example.com, IP Address:192.0.2.1, IP Address:2001:DB8:0:0:0:0:0:1",
                             f"OCSP - URI:http://pki.example.com/v1/{name}/ocsp", f"CA Issuers - URI:http://pki.example.com/v1/{name}/ca",
                             f"URI:http://pki.example.com/v1/{name}/crl", "TLS Web Server Authentication"):
                    self.assertIn(part, text)
                self.assertNotIn("CA:TRUE", text)
                # A leaf is no issuer, whoever holds its key.
                (self.folder / "forged.ext").write_text("subjectAltName=DNS:b.example.com\n")
                forged = self.request("/CN=b.example.com")
                self.write("forged.csr", forged)
                pss = ["-sigopt", "rsa_padding_mode:pss"] if kind.get("use_pss") else []
                openssl("x509", "-req", "-in", "forged.csr", "-CA", "leaf.pem", "-CAkey", "leaf.key", "-set_serial", "7", "-extfile", "forged.ext",
                        "-out", "forged.pem", *pss, folder=self.folder)
                self.verify((self.folder / "forged.pem").read_text(), root["certificate"],
                            [signed["certificate"], made["certificate"]], ok=False)

    def test_an_issuer_gives_no_name_outside_its_constraints(self):
        self.mount("bound", permitted_dns_domains="example.com")
        self.api.must("POST", "bound/roles/any", {"allow_any_name": True, "key_type": "ec", "ttl": "24h"})
        self.api.must("POST", "bound/issue/any", {"common_name": "a.example.com"})
        for body in ({"common_name": "a.evil.org"}, {"common_name": "a.example.com", "alt_names": "b.evil.org"}):
            self.assertEqual(400, self.api.call("POST", "bound/issue/any", body).status)
        asking = self.request("/CN=a.example.com", "subjectAltName=DNS:b.evil.org")
        for path in ("bound/sign/any", "bound/sign-verbatim"):
            self.assertEqual(400, self.api.call("POST", path, {"csr": asking}).status, path)

    def test_requests_of_openssl_are_signed_and_make_no_authority(self):
        root = self.mount("asked")["certificate"]
        self.api.must("POST", "asked/roles/web", {"allowed_domains": "example.com", "allow_subdomains": True, "key_type": "any", "ttl": "24h"})
        for key in ("ec", "rsa", "ed25519"):
            asking = self.request("/CN=a.example.com/O=Evil", "subjectAltName=DNS:b.example.com,IP:192.0.2.7", "basicConstraints=critical,CA:TRUE",
                                  "keyUsage=critical,keyCertSign,digitalSignature", key=key)
            for path in ("sign/web", "sign-verbatim"):
                made = self.api.must("POST", f"asked/{path}", {"csr": asking, "ttl": "1h"}).data["certificate"]
                self.verify(made, root)
                text = self.text(made)
                self.assertNotIn("CA:TRUE", text)
                self.assertNotIn("Certificate Sign", text)
                self.assertIn("DNS:b.example.com", text)
                self.assertEqual(path == "sign-verbatim", "Evil" in text)
        refused = [
            self.request("/CN=evil.org"),
            self.request("/CN=a.example.com", "subjectAltName=DNS:evil.org"),
            self.request("/CN=a.example.com", "subjectAltName=URI:spiffe://x/y"),
            self.request("/CN=a.example.com", "subjectAltName=email:a@evil.org"),
            self.request("/CN=a.example.com", "subjectAltName=otherName:1.2.3;UTF8:x"),
            self.request("/O=nobody"),
            self.request("/CN=a.example.com", key="rsa1024"),
            "", "junk", "-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END CERTIFICATE REQUEST-----",
        ]
        for asking in refused:
            self.assertEqual(400, self.api.call("POST", "asked/sign/web", {"csr": asking}).status, asking)

    def test_an_authority_of_openssl_goes_on_here(self):
        folder = self.folder
        openssl("genrsa", "-out", "old.key", "2048", folder=folder)
        openssl("req", "-x509", "-new", "-key", "old.key", "-subj", "/C=CH/O=Old/CN=Old CA", "-days", "300", "-out", "old.pem", "-addext",
                "keyUsage=critical,keyCertSign,cRLSign", folder=folder)
        self.api.must("POST", "sys/mounts/old", {"type": "pki"})
        both = (folder / "old.key").read_text() + (folder / "old.pem").read_text()
        taken = self.api.must("POST", "old/config/ca", {"pem_bundle": both}).data
        self.assertEqual(1, len(taken["imported_issuers"]))
        self.api.must("POST", "old/roles/web", {"allow_any_name": True, "key_type": "ec", "ttl": "24h"})
        made = self.api.must("POST", "old/issue/web", {"common_name": "a.example.com"}).data
        self.verify(made["certificate"], (folder / "old.pem").read_text())
        # A leaf, and a key that does not read, are no authority.
        for bad in (made["certificate"] + "\n", both.replace("MII", "MIX", 1), (folder / "old.pem").read_text()[:200]):
            self.assertEqual(400, self.api.call("POST", "old/config/ca", {"pem_bundle": bad}).status)

    def test_a_million_is_many_pages(self):
        self.mount("many")
        self.api.must("POST", "many/roles/web", {"allow_any_name": True, "key_type": "ec", "ttl": "24h"})
        for _ in range(25):
            self.api.must("POST", "many/issue/web", {"common_name": "a.example.com"})
        whole = self.api.must("LIST", "many/certs").data["keys"]
        paged, after = [], ""
        while True:
            page = self.api.call("GET", f"many/certs?list=true&limit=7&after={after}")
            if page.status == 404:
                break
            paged += page.data["keys"]
            after = paged[-1]
        self.assertEqual(whole, paged)
        self.assertEqual(26, len(paged))

    def test_the_linter_finds_nothing_wrong(self):
        linter = zlint()
        if not linter:
            self.skipTest("needs Go, for the linter zlint (Debian: apt-get install golang)")
        made = {}
        for name in ("p256", "p384", "rsa"):
            root = self.mount(f"lint-{name}", **KINDS[name])
            below = self.api.must("POST", f"lint-{name}/intermediate/generate/internal",
                                  {"common_name": "Int CA", "organization": "Example", "country": "CH", **KINDS[name]}).data
            signed = self.api.must("POST", f"lint-{name}/root/sign-intermediate", {
                "csr": below["csr"], "common_name": "Int CA", "organization": "Example", "country": "CH", "ttl": "8000h", "max_path_length": 0}).data
            self.api.must("POST", f"lint-{name}/roles/web", {
                "allow_any_name": True, "require_cn": False, "ttl": "720h", "key_usage": "DigitalSignature", "policy_identifiers": "2.23.140.1.2.1",
                "basic_constraints_valid_for_non_ca": True, **KINDS[name]})
            leaf = self.api.must("POST", f"lint-{name}/issue/web", {"alt_names": "www.example.com,a.example.com", "ip_sans": "192.0.2.1"}).data
            made |= {f"{name} root": root["certificate"], f"{name} below": signed["certificate"], f"{name} leaf": leaf["certificate"]}
        faults = {}
        for name, certificate in made.items():
            path = self.folder / self.write("lint.pem", certificate)
            run = subprocess.run([linter, "-includeSources", "RFC3279,RFC5280,RFC5480,RFC5891,RFC8813,Community", str(path)],
                                 capture_output=True, text=True, timeout=60)
            found = {lint: result["result"] for lint, result in json.loads(run.stdout).items() if result["result"] in ("error", "fatal")}
            if found:
                faults[name] = found
        self.assertEqual({}, faults)


def zlint():
    """The linter that `./test pki` installs; nothing where it could not."""
    program = harness.ROOT / ".test-env" / "go" / "zlint"
    return str(program) if program.exists() else None


if __name__ == "__main__":
    unittest.main()
