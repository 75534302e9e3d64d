"""ACME and revocation with the clients that people have: certbot, OpenSSL's crl and ocsp, and requests made by hand.

It runs in a network of its own, with names of its own (see part_acme of ./test): an ACME server asks port 80, and here that is nobody else's."""

import http.server
import os
import subprocess
import threading
import unittest

from cryptography import x509
from cryptography.hazmat.primitives import serialization

import acme_wire as wire
import harness


class Place(http.server.ThreadingHTTPServer):
    """Port 80 of every name here: says what the challenges want, and to others nothing."""

    def __init__(self):
        self.answers = {}
        place = self

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                text = place.answers.get(self.path.rpartition("/")[2], "").encode()
                self.send_response(200 if text else 404)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 80), Answer)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


def ready(server):
    """A root, a role, and an ACME server."""
    api = server.api
    api.must("POST", "sys/mounts/pki", {"type": "pki", "config": {"max_lease_ttl": "87600h"}})
    api.must("POST", "pki/root/generate/internal", {"common_name": "Root", "key_type": "ec", "ttl": "8760h"})
    api.must("POST", "pki/roles/r", {"allowed_domains": "one.test", "allow_bare_domains": True, "key_type": "any"})
    api.must("POST", "pki/config/cluster", {"path": f"{server.address}/v1/pki"})
    api.must("POST", "pki/config/acme", {"enabled": True})
    return f"{server.address}/v1/pki"


def openssl(folder, *args):
    run = subprocess.run(["openssl", *map(str, args)], cwd=folder, capture_output=True, text=True, timeout=60)
    if run.returncode:
        raise AssertionError(f"openssl {' '.join(map(str, args))}: {run.stderr}{run.stdout}")
    return run.stdout + run.stderr


def fetch(folder, url, name):
    reply = wire.ask("GET", url)
    assert reply.status == 200, reply
    (folder / name).write_bytes(reply.body)


class Certbot(unittest.TestCase):
    def test_a_certificate_comes_is_renewed_and_goes_back(self):
        with harness.Server.dev() as server:
            base, folder = ready(server), harness.scratch()

            def certbot(*args):
                places = [f"--{name}-dir={folder / name}" for name in ("config", "work", "logs")]
                run = subprocess.run([os.environ["CERTBOT"], *args, "-n", *places, "--server", f"{base}/roles/r/acme/directory"], capture_output=True, text=True,
                                     timeout=180)
                self.assertEqual(run.returncode, 0, run.stdout + run.stderr)

            obtain = ["certonly", "--standalone", "--agree-tos", "--register-unsafely-without-email", "-d", "one.test"]
            certbot(*obtain)
            live = folder / "config" / "live" / "one.test"
            fetch(folder, f"{base}/ca/pem", "ca.pem")
            self.assertIn("OK", openssl(folder, "verify", "-CAfile", "ca.pem", "-purpose", "sslserver", live / "cert.pem"))
            self.assertIn("one.test", openssl(folder, "x509", "-in", live / "cert.pem", "-noout", "-ext", "subjectAltName"))
            first = openssl(folder, "x509", "-in", live / "cert.pem", "-noout", "-serial")
            certbot(*obtain, "--force-renewal")
            self.assertNotEqual(first, openssl(folder, "x509", "-in", live / "cert.pem", "-noout", "-serial"))
            (folder / "gone.pem").write_bytes((live / "cert.pem").read_bytes())
            certbot("revoke", "--cert-path", str(live / "cert.pem"), "--no-delete-after-revoke")
            fetch(folder, f"{base}/crl/pem", "list.pem")
            serial = openssl(folder, "x509", "-in", "gone.pem", "-noout", "-serial").strip().partition("=")[2]
            self.assertIn(serial, openssl(folder, "crl", "-in", "list.pem", "-noout", "-text", "-CAfile", "ca.pem"))


class OpenSsl(unittest.TestCase):
    def test_lists_and_replies_are_understood(self):
        for key_type in ("ec", "ed25519", "rsa"):
            with self.subTest(key_type), harness.Server.dev() as server:
                api, folder = server.api, harness.scratch()
                api.must("POST", "sys/mounts/pki", {"type": "pki", "config": {"max_lease_ttl": "87600h"}})
                api.must("POST", "pki/root/generate/internal", {"common_name": "Root", "key_type": key_type, "ttl": "8760h"})
                api.must("POST", "pki/roles/r", {"allow_any_name": True, "key_type": "ec"})
                base = f"{server.address}/v1/pki"
                fetch(folder, f"{base}/ca/pem", "ca.pem")
                for name in ("bad", "good"):
                    made = api.must("POST", "pki/issue/r", {"common_name": f"{name}.test"}).json["data"]
                    (folder / f"{name}.pem").write_text(made["certificate"])
                    if name == "bad":
                        api.must("POST", "pki/revoke", {"serial_number": made["serial_number"]})
                fetch(folder, f"{base}/crl", "list.der")
                said = openssl(folder, "crl", "-in", "list.der", "-inform", "DER", "-noout", "-text", "-CAfile", "ca.pem")
                self.assertIn("verify OK", said)
                self.assertEqual(said.count("Serial Number:"), 1)
                (folder / "both.pem").write_text((folder / "ca.pem").read_text() + "\n" + openssl(folder, "crl", "-in", "list.der", "-inform", "DER"))
                openssl(folder, "verify", "-crl_check", "-CAfile", "both.pem", "good.pem")
                with self.assertRaises(AssertionError):
                    openssl(folder, "verify", "-crl_check", "-CAfile", "both.pem", "bad.pem")
                for name, word in (("good", "good"), ("bad", "revoked")):
                    for digest in ("-sha1", "-sha256"):
                        said = openssl(folder, "ocsp", "-issuer", "ca.pem", "-CAfile", "ca.pem", digest, "-cert", f"{name}.pem", "-url", f"{base}/ocsp")
                        self.assertIn("Response verify OK", said)
                        self.assertIn(f"{name}.pem: {word}", said)
                        self.assertNotIn("WARNING: no nonce", said)
                openssl(folder, "ocsp", "-issuer", "ca.pem", "-cert", "bad.pem", "-no_nonce", "-reqout", "ask.der")
                path = wire.base64.b64encode((folder / "ask.der").read_bytes()).decode().replace("+", "%2B")
                # An empty segment is no path here, whatever it was meant for: such a request goes by POST.
                if "//" in path:
                    continue
                fetch(folder, f"{base}/ocsp/{path}", "reply.der")
                said = openssl(folder, "ocsp", "-issuer", "ca.pem", "-CAfile", "ca.pem", "-cert", "bad.pem", "-no_nonce", "-respin", "reply.der")
                self.assertIn("bad.pem: revoked", said)


class ByHand(unittest.TestCase):
    def test_a_challenge_outlives_the_server(self):
        with harness.Server.durable() as server, Place() as place:
            client = wire.Client(f"{ready(server)}/acme/directory")
            self.assertEqual(client.new_account(contact=["mailto:a@b.test"]).status, 201)
            order = client.new_order("one.test", "127.0.0.1")
            self.assertEqual(order.status, 201)
            for authorization in order.json["authorizations"]:
                challenge = client.challenge(authorization, "http-01")
                place.answers[challenge["token"]] = client.authorise(challenge["token"])
                self.assertEqual(client.post(challenge["url"], {}).json["status"], "processing")
            server.kill()
            server.restart()
            client.nonce = None
            url = order.headers["location"]
            harness.eventually(lambda: client.post(url).json["status"] == "ready", 30, "the order is ready")
            request = wire.csr("one.test", "127.0.0.1")
            self.assertEqual(client.post(order.json["finalize"], {"csr": wire.b64(wire.csr("two.test"))}).problem, "badCSR")
            done = client.post(order.json["finalize"], {"csr": wire.b64(request)})
            self.assertEqual(done.json["status"], "valid", done)
            chain = x509.load_pem_x509_certificates(client.post(done.json["certificate"]).body)
            self.assertEqual(len(chain), 2)
            chain[0].verify_directly_issued_by(chain[1])
            der = chain[0].public_bytes(serialization.Encoding.DER)
            self.assertEqual(client.post(client.directory["revokeCert"], {"certificate": wire.b64(der)}).status, 200)

    def test_refusals(self):
        with harness.Server.dev() as server:
            base = ready(server)
            client = wire.Client(f"{base}/acme/directory")
            self.assertEqual(wire.ask("HEAD", client.directory["newNonce"]).status, 200)
            self.assertEqual(wire.ask("GET", client.directory["newNonce"]).status, 204)
            client.new_account()
            orders = f"{base}/acme/orders"
            signed = wire.jws(client.key, client.header(orders), None)
            self.assertEqual(client.post(orders, signed=signed).status, 200)
            again = client.post(orders, signed=signed)
            self.assertEqual((again.status, again.problem), (400, "badNonce"))
            self.assertTrue(client.nonce, "a refusal has the next nonce")
            for more, problem in [({"nonce": "AAAA"}, "badNonce"), ({"url": base}, "unauthorized"), ({"alg": "none"}, "badSignatureAlgorithm"),
                                  ({"alg": "HS256"}, "badSignatureAlgorithm"), ({"kid": client.kid[:-3] + "abc"}, "accountDoesNotExist")]:
                self.assertEqual(client.post(orders, **more).problem, problem, more)
            other = wire.Client(f"{base}/roles/r/acme/directory")
            other.new_account()
            self.assertEqual(other.new_order("two.test").problem, "rejectedIdentifier")
            mine = client.new_order("one.test")
            self.assertEqual(other.post(mine.headers["location"]).problem, "accountDoesNotExist")
            self.assertIn(wire.ask("GET", mine.headers["location"]).status, (403, 405))


if __name__ == "__main__":
    unittest.main()
