"""Transit against the peer's: what either encrypts, signs or backs up, the other reads where the key was carried over."""

import base64
import subprocess
import unittest

import harness

TYPES = ["aes128-gcm96", "aes256-gcm96", "chacha20-poly1305", "xchacha20-poly1305", "ed25519", "ecdsa-p256", "ecdsa-p384",
         "ecdsa-p521", "rsa-2048", "rsa-3072", "mldsa-44", "mldsa-65", "mldsa-87", "hmac"]
PLAIN = base64.b64encode(b"a secret text").decode()
OTHER = base64.b64encode(b"another text").decode()
CONTEXT = base64.b64encode(b"a context").decode()


def serve(case, binary=None):
    server = harness.Server.dev(binary=binary)
    case.addClassCleanup(server.stop)
    api = harness.Api(server.address, "root")
    api.must("POST", "sys/mounts/transit", {"type": "transit"})
    return api


class WithThePeer(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.ours = serve(cls)
        cls.theirs = serve(cls, binary=harness.reference_binary())

    def carried(self, name, fields, sender, receiver):
        """A key with two versions, made by one and restored at the other."""
        sender.must("POST", f"transit/keys/{name}", {"exportable": True, "allow_plaintext_backup": True, **fields})
        sender.must("POST", f"transit/keys/{name}/rotate", {})
        backup = sender.must("GET", f"transit/backup/{name}").data["backup"]
        receiver.must("POST", "transit/restore", {"backup": backup})

    def both_ways(self, tag):
        return [(self.ours, self.theirs, f"from-us-{tag}"), (self.theirs, self.ours, f"from-them-{tag}")]

    def test_backups_ciphertexts_signatures_and_macs_of_every_type(self):
        for kind in TYPES:
            for sender, receiver, name in self.both_ways(kind):
                with self.subTest(name):
                    fields = {"type": kind, **({"key_size": 48} if kind == "hmac" else {})}
                    self.carried(name, fields, sender, receiver)
                    for a, b in ((sender, receiver), (receiver, sender)):
                        shown, again = (api.must("GET", f"transit/keys/{name}").data for api in (a, b))
                        for field in ("type", "latest_version", "min_decryption_version", "supports_signing", "exportable"):
                            self.assertEqual(shown[field], again[field], field)
                        mac = a.must("POST", f"transit/hmac/{name}", {"input": PLAIN}).data["hmac"]
                        self.assertEqual(mac, b.must("POST", f"transit/hmac/{name}", {"input": PLAIN}).data["hmac"])
                        self.assertTrue(b.must("POST", f"transit/verify/{name}", {"input": PLAIN, "hmac": mac}).data["valid"])
                        if shown["supports_encryption"]:
                            for version in (1, 2):
                                sealed = a.must("POST", f"transit/encrypt/{name}", {"plaintext": PLAIN, "key_version": version}).data
                                opened = b.must("POST", f"transit/decrypt/{name}", {"ciphertext": sealed["ciphertext"]}).data
                                self.assertEqual(PLAIN, opened["plaintext"])
                        # The peer's process ends its connection when it signs with an ML-DSA key that was restored, its own ones too.
                        if shown["supports_signing"] and not (kind.startswith("mldsa") and a is self.theirs and sender is self.ours):
                            self.signatures(a, b, name, kind)

    def signatures(self, a, b, name, kind):
        ways = [{}]
        if kind.startswith("ecdsa"):
            ways += [{"marshaling_algorithm": "jws"}, {"hash_algorithm": "sha2-512"}, {"hash_algorithm": "sha3-256"}]
        if kind.startswith("rsa"):
            ways += [{"signature_algorithm": "pkcs1v15"}, {"salt_length": "hash"}, {"hash_algorithm": "sha2-384"}, {"salt_length": "20"},
                     {"salt_length": "0"}, {"salt_length": "-1"}, {"hash_algorithm": "sha3-224"}, {"hash_algorithm": "sha2-224"},
                     {"hash_algorithm": "sha3-512", "signature_algorithm": "pkcs1v15"},
                     {"hash_algorithm": "none", "prehashed": True, "signature_algorithm": "pkcs1v15"}]
        for way in ways:
            with self.subTest(name=name, **way):
                signature = a.must("POST", f"transit/sign/{name}", {"input": PLAIN, **way}).data["signature"]
                good = b.must("POST", f"transit/verify/{name}", {"input": PLAIN, "signature": signature, **way})
                self.assertTrue(good.data["valid"])
                bad = b.must("POST", f"transit/verify/{name}", {"input": OTHER, "signature": signature, **way})
                self.assertFalse(bad.data["valid"])

    def test_derived_and_convergent_keys(self):
        for kind in TYPES[:4]:
            for sender, receiver, name in self.both_ways(f"convergent-{kind}"):
                with self.subTest(name):
                    self.carried(name, {"type": kind, "derived": True, "convergent_encryption": True}, sender, receiver)
                    ask = {"plaintext": PLAIN, "context": CONTEXT}
                    sealed = [api.must("POST", f"transit/encrypt/{name}", ask).data["ciphertext"] for api in (sender, receiver)]
                    self.assertEqual(sealed[0], sealed[1])
            for sender, receiver, name in self.both_ways(f"derived-{kind}"):
                with self.subTest(name):
                    self.carried(name, {"type": kind, "derived": True}, sender, receiver)
                    sealed = sender.must("POST", f"transit/encrypt/{name}", {"plaintext": PLAIN, "context": CONTEXT}).data["ciphertext"]
                    opened = receiver.must("POST", f"transit/decrypt/{name}", {"ciphertext": sealed, "context": CONTEXT})
                    self.assertEqual(PLAIN, opened.data["plaintext"])
                    wrong = receiver.post(f"transit/decrypt/{name}", {"ciphertext": sealed, "context": OTHER})
                    self.assertEqual(400, wrong.status)

    def test_derived_signatures(self):
        for sender, receiver, name in self.both_ways("derived-ed25519"):
            with self.subTest(name):
                self.carried(name, {"type": "ed25519", "derived": True}, sender, receiver)
                made = [api.must("POST", f"transit/sign/{name}", {"input": PLAIN, "context": CONTEXT}).data for api in (sender, receiver)]
                self.assertEqual(made[0]["signature"], made[1]["signature"])
                self.assertEqual(made[0]["public_key"], made[1]["public_key"])

    def test_every_form_of_export_is_the_peers(self):
        for kind in TYPES:
            name = f"form-{kind}"
            self.carried(name, {"type": kind, **({"key_size": 32} if kind == "hmac" else {})}, self.theirs, self.ours)
            for what in ("encryption-key", "signing-key", "hmac-key", "public-key", "certificate-chain"):
                for form in ("", "raw", "der", "pem", "x"):
                    with self.subTest(kind=kind, what=what, form=form):
                        ours, theirs = (api.get(f"transit/export/{what}/{name}?format={form}") for api in (self.ours, self.theirs))
                        self.assertEqual(theirs.status, ours.status)
                        if theirs.status == 200:
                            self.assertEqual(theirs.data["keys"], ours.data["keys"])

    def test_certificates_go_over_and_come_back(self):
        folder = harness.scratch()
        run = lambda *args: subprocess.run(["openssl", *args], check=True, capture_output=True, cwd=folder).stdout
        run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key", "-out", "ca.pem",
            "-subj", "/CN=an authority", "-addext", "keyUsage=keyCertSign")
        for sender, receiver, name in self.both_ways("certified"):
            with self.subTest(name):
                sender.must("POST", f"transit/keys/{name}", {"type": "ecdsa-p256", "exportable": True, "allow_plaintext_backup": True})
                (folder / "csr.pem").write_text(sender.must("POST", f"transit/keys/{name}/csr", {}).data["csr"])
                run("req", "-in", "csr.pem", "-verify", "-noout")
                run("x509", "-req", "-in", "csr.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "leaf.pem", "-subj", "/CN=a leaf")
                chain = (folder / "leaf.pem").read_text() + (folder / "ca.pem").read_text()
                sender.must("POST", f"transit/keys/{name}/set-certificate", {"certificate_chain": chain})
                receiver.must("POST", "transit/restore", {"backup": sender.must("GET", f"transit/backup/{name}").data["backup"]})
                for api in (sender, receiver):
                    self.assertEqual(chain.strip(), api.must("GET", f"transit/export/certificate-chain/{name}").data["keys"]["1"])

    def test_a_template_gives_a_request_its_names(self):
        folder = harness.scratch()
        run = lambda *args: subprocess.run(["openssl", *args], check=True, capture_output=True, cwd=folder).stdout
        run("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "t.key", "-out", "t.pem",
            "-subj", "/C=DE/O=Acme/CN=a.example", "-addext", "subjectAltName=DNS:a.example,IP:192.0.2.1")
        template = (folder / "t.pem").read_text()
        for kind in ("ecdsa-p384", "ed25519", "rsa-2048"):
            texts = []
            for api in (self.ours, self.theirs):
                api.must("POST", f"transit/keys/template-{kind}", {"type": kind})
                (folder / "o.pem").write_text(api.must("POST", f"transit/keys/template-{kind}/csr", {"csr": template}).data["csr"])
                run("req", "-in", "o.pem", "-verify", "-noout")
                shown = run("req", "-in", "o.pem", "-noout", "-text", "-reqopt", "no_pubkey,no_sigdump").decode()
                texts.append([line.strip() for line in shown.splitlines()])
            self.assertEqual(texts[1], texts[0], kind)
            self.assertIn("DNS:a.example, IP Address:192.0.2.1", texts[0])

    def test_two_servers_agree_on_a_key(self):
        for curve in ("p256", "p384", "p521"):
            halves = []
            for api in (self.ours, self.theirs):
                api.must("POST", f"transit/keys/base-{curve}", {"type": f"ecdsa-{curve}"})
                halves.append(api.must("GET", f"transit/keys/base-{curve}").data["keys"]["1"]["public_key"])
            for api, half in zip((self.ours, self.theirs), reversed(halves)):
                api.must("POST", f"transit/derive-key/agreed-{curve}", {"base_key_name": f"base-{curve}", "peer_public_key": half})
            sealed = self.ours.must("POST", f"transit/encrypt/agreed-{curve}", {"plaintext": PLAIN}).data["ciphertext"]
            opened = self.theirs.must("POST", f"transit/decrypt/agreed-{curve}", {"ciphertext": sealed})
            self.assertEqual(PLAIN, opened.data["plaintext"])

    def test_a_broken_backup_is_refused_and_changes_nothing(self):
        self.ours.must("POST", "transit/keys/broken", {"exportable": True, "allow_plaintext_backup": True})
        backup = self.ours.must("GET", "transit/backup/broken").data["backup"]
        document = base64.b64decode(backup)
        for bad in (b"{}", b"[]", b"", b"\xff", document[:-20], document.replace(b'"latest_version":1', b'"latest_version":0'),
                    document.replace(b'"latest_version":1', b'"latest_version":900000000000'), document.replace(b'"type":0', b'"type":77'),
                    document.replace(b'"type":0', b'"type":3'), document.replace(b'"name":"broken"', b'"name":"../x"')):
            reply = self.ours.post("transit/restore", {"backup": base64.b64encode(bad).decode()})
            self.assertEqual(400, reply.status, (bad[:40], reply))
        self.assertEqual(500, self.ours.post("transit/restore", {"backup": backup}).status, "the key is there")
        self.ours.must("POST", "transit/restore", {"backup": backup, "force": True})


class Imports(unittest.TestCase):
    """Keys from elsewhere, sealed by OpenSSL to the wrapping key as the documentation says."""

    @classmethod
    def setUpClass(cls):
        cls.api = serve(cls)

    def sealed(self, material, digest="sha256"):
        folder = harness.scratch()
        (folder / "wrapping.pem").write_text(self.api.must("GET", "transit/wrapping_key").data["public_key"])
        (folder / "material").write_bytes(material)
        ephemeral = bytes(range(32))
        (folder / "ephemeral").write_bytes(ephemeral)
        run = lambda *args: subprocess.run(["openssl", *args], check=True, capture_output=True, cwd=folder).stdout
        first = run("pkeyutl", "-encrypt", "-pubin", "-inkey", "wrapping.pem", "-in", "ephemeral", "-pkeyopt", "rsa_padding_mode:oaep",
                    "-pkeyopt", f"rsa_oaep_md:{digest}", "-pkeyopt", f"rsa_mgf1_md:{digest}")
        second = run("enc", "-id-aes256-wrap-pad", "-e", "-K", ephemeral.hex(), "-iv", "A65959A6", "-in", "material")
        return base64.b64encode(first + second).decode()

    def test_an_aes_key(self):
        key = bytes(range(100, 132))
        self.api.must("POST", "transit/keys/in-aes/import", {"type": "aes256-gcm96", "ciphertext": self.sealed(key), "exportable": True})
        self.assertEqual(base64.b64encode(key).decode(), self.api.must("GET", "transit/export/encryption-key/in-aes").data["keys"]["1"])
        self.assertEqual(400, self.api.post("transit/keys/in-aes/rotate", {}).status, "rotation was not allowed")
        self.api.must("POST", "transit/keys/in-aes/import_version", {"ciphertext": self.sealed(bytes(32), "sha1"), "hash_function": "SHA1"})
        self.assertEqual(2, self.api.must("GET", "transit/keys/in-aes").data["latest_version"])

    def test_an_rsa_key_and_its_public_half_alone(self):
        run = lambda *args, **more: subprocess.run(["openssl", *args], check=True, capture_output=True, **more).stdout
        document = run("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-outform", "DER")
        private = run("pkcs8", "-topk8", "-nocrypt", "-inform", "DER", "-outform", "DER", input=document)
        public = run("pkey", "-inform", "DER", "-pubout", input=document).decode()
        self.api.must("POST", "transit/keys/in-rsa/import", {"type": "rsa-2048", "ciphertext": self.sealed(private)})
        self.api.must("POST", "transit/keys/in-public/import", {"type": "rsa-2048", "public_key": public})
        signature = self.api.must("POST", "transit/sign/in-rsa", {"input": PLAIN}).data["signature"]
        self.assertTrue(self.api.must("POST", "transit/verify/in-public", {"input": PLAIN, "signature": signature}).data["valid"])
        sealed = self.api.must("POST", "transit/encrypt/in-public", {"plaintext": PLAIN}).data["ciphertext"]
        self.assertEqual(400, self.api.post("transit/decrypt/in-public", {"ciphertext": sealed}).status, "the private half is not here")
        self.assertEqual(400, self.api.post("transit/sign/in-public", {"input": PLAIN}).status)
        self.assertEqual(PLAIN, self.api.must("POST", "transit/decrypt/in-rsa", {"ciphertext": sealed}).data["plaintext"])
        self.api.must("POST", "transit/keys/in-public/import_version", {"ciphertext": self.sealed(private), "version": 1})
        self.assertEqual(PLAIN, self.api.must("POST", "transit/decrypt/in-public", {"ciphertext": sealed}).data["plaintext"])

    def test_what_does_not_fit_is_refused(self):
        good = self.sealed(bytes(32))
        raw = base64.b64decode(good)
        other = base64.b64encode(bytes([raw[0] ^ 1]) + raw[1:]).decode()
        for fields, status in (
            ({"ciphertext": "AAAA"}, 500),
            ({"ciphertext": "!"}, 400),
            ({"ciphertext": other}, 400),
            ({"ciphertext": base64.b64encode(raw[:-1]).decode()}, 400),
            ({"ciphertext": good, "type": "aes128-gcm96"}, 400),
            ({"ciphertext": good, "type": "rsa-2048"}, 400),
            ({"ciphertext": good, "hash_function": "SHA512"}, 400),
            ({"ciphertext": good, "hash_function": "MD5"}, 400),
            ({"ciphertext": good, "type": "nope"}, 400),
            ({"ciphertext": good, "auto_rotate_period": "2h"}, 400),
            ({"ciphertext": good, "public_key": "x"}, 400),
            ({}, 400),
        ):
            with self.subTest(**{k: str(v)[:20] for k, v in fields.items()}):
                self.assertEqual(status, self.api.post("transit/keys/refused/import", fields).status)
        self.assertEqual(404, self.api.get("transit/keys/refused").status)

    def test_sealed_export_to_another_mount(self):
        self.api.must("POST", "sys/mounts/elsewhere", {"type": "transit"})
        wrapping = self.api.must("GET", "elsewhere/wrapping_key").data["public_key"]
        self.api.must("POST", "transit/keys/way/import", {"type": "rsa-4096", "public_key": wrapping})
        self.api.must("POST", "transit/keys/goes", {"type": "ed25519", "exportable": True})
        self.api.must("POST", "transit/keys/stays", {"type": "ed25519"})
        sealed = self.api.must("GET", "transit/byok-export/way/goes").data["keys"]["1"]
        self.api.must("POST", "elsewhere/keys/came/import", {"type": "ed25519", "ciphertext": sealed})
        signature = self.api.must("POST", "transit/sign/goes", {"input": PLAIN}).data["signature"]
        self.assertTrue(self.api.must("POST", "elsewhere/verify/came", {"input": PLAIN, "signature": signature}).data["valid"])
        self.assertEqual(400, self.api.get("transit/byok-export/way/stays").status)
        self.assertEqual(400, self.api.get("transit/byok-export/goes/goes").status)


if __name__ == "__main__":
    unittest.main()
