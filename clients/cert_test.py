"""Client certificates over the wire: who logs in with one, and who does not. Certificates, revocation lists and OCSP replies are
OpenSSL's own."""

import contextlib
import http.client
import http.server
import json
import shutil
import socket
import ssl
import subprocess
import threading
import unittest

import harness

ANYONE = 'path "auth/token/lookup-self" { capabilities = ["read"] }\npath "auth/token/renew-self" { capabilities = ["update"] }'


def openssl(*args, folder):
    run = subprocess.run(["openssl", *map(str, args)], cwd=folder, capture_output=True, text=True, timeout=60)
    if run.returncode:
        raise AssertionError(f"openssl {' '.join(map(str, args))}: {run.stderr}")
    return run.stdout


class Authority:
    """A certificate authority in a folder of its own."""

    def __init__(self, name):
        self.folder = harness.scratch()
        self.path = self.folder / "ca.pem"
        self.key("ca")
        openssl("req", "-x509", "-new", "-key", "ca.key", "-subj", f"/CN={name}", "-days", "30", "-out", "ca.pem", "-addext",
                "keyUsage=critical,keyCertSign,cRLSign", folder=self.folder)
        (self.folder / "index").write_text("")
        (self.folder / "number").write_text("01\n")
        (self.folder / "ca.cnf").write_text("[ca]\ndefault_ca=own\n[own]\ndatabase=index\ncrlnumber=number\ndefault_md=sha256\ndefault_crl_days=3\n")

    def key(self, name):
        openssl("ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", f"{name}.key", folder=self.folder)

    def issue(self, name, usage="clientAuth", common_name=None, more=""):
        """Makes NAME.pem and NAME.key and gives back their paths."""
        self.key(name)
        (self.folder / f"{name}.ext").write_text(f"extendedKeyUsage={usage}\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n{more}\n")
        openssl("req", "-new", "-key", f"{name}.key", "-subj", f"/CN={common_name or name}/OU=eng", "-out", f"{name}.csr", folder=self.folder)
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "20", "-out", f"{name}.pem",
                "-extfile", f"{name}.ext", folder=self.folder)
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def revoke(self, name):
        openssl("ca", "-config", "ca.cnf", "-keyfile", "ca.key", "-cert", "ca.pem", "-revoke", f"{name}.pem", folder=self.folder)

    def revocation_list(self):
        openssl("ca", "-config", "ca.cnf", "-gencrl", "-keyfile", "ca.key", "-cert", "ca.pem", "-out", "list.pem", folder=self.folder)
        return (self.folder / "list.pem").read_text()

    def known_good(self, name):
        """Enters a certificate into the index that OCSP replies are made from."""
        serial = openssl("x509", "-in", f"{name}.pem", "-noout", "-serial", folder=self.folder).strip().split("=")[1]
        with open(self.folder / "index", "a") as index:
            index.write(f"V\t360101000000Z\t\t{serial}\tunknown\t/CN={name}\n")

    @contextlib.contextmanager
    def responder(self):
        """Answers OCSP over HTTP on the loopback interface, each time with what OpenSSL says."""
        authority = self

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                folder = harness.scratch()
                (folder / "request").write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
                openssl("ocsp", "-index", "index", "-rsigner", "ca.pem", "-rkey", "ca.key", "-CA", "ca.pem", "-nmin", "5", "-reqin", folder / "request",
                        "-respout", folder / "reply", folder=authority.folder)
                reply = (folder / "reply").read_bytes()
                self.send_response(200)
                self.send_header("Content-Type", "application/ocsp-response")
                self.send_header("Content-Length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            server.server_close()


class Client:
    """Calls over TLS, with a certificate or without."""

    def __init__(self, port, authority, pair=None, version=None):
        self.port, self.session = port, None
        self.context = ssl.create_default_context(cafile=authority.path)
        if pair:
            self.context.load_cert_chain(*pair)
        if version:
            self.context.minimum_version = self.context.maximum_version = version

    def call(self, method, path, body=None, token=None, resume=False):
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=30, context=self.context)
        if resume:
            plain = socket.create_connection(("127.0.0.1", self.port), 30)
            connection.sock = self.context.wrap_socket(plain, server_hostname="127.0.0.1", session=self.session)
        try:
            connection.request(method, f"/v1/{path}", json.dumps(body or {}), {"X-Vault-Token": token} if token else {})
            reply = connection.getresponse()
            answer = harness.Reply(reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read())
            self.reused = connection.sock.session_reused if connection.sock else None
            self.session = connection.sock.session if connection.sock else self.session
            return answer
        finally:
            connection.close()

    def login(self, **fields):
        return self.call("POST", "auth/cert/login", fields)


class Cert(unittest.TestCase):
    def setUp(self):
        self.hosts, self.people, self.strangers = Authority("hosts"), Authority("people"), Authority("people")
        pair = self.hosts.issue("server", usage="serverAuth")
        self.tls = harness.free_port()
        listener = f'listener "tcp" {{\n  address = "127.0.0.1:{self.tls}"\n  tls_cert_file = "{pair[0]}"\n  tls_key_file = "{pair[1]}"\n}}\n'
        folder = harness.scratch()
        self.server = harness.Server.configured(storage=harness.durable_storage(folder), folder=folder, top=listener)
        self.addCleanup(self.server.stop)
        self.api = self.server.api
        self.api.must("POST", "sys/auth/cert", {"type": "cert"})
        self.api.must("PUT", "sys/policies/acl/anyone", {"policy": ANYONE})
        self.role()

    def role(self, **fields):
        role = {"certificate": self.people.path.read_text(), "token_policies": "anyone", "token_ttl": "1h", **fields}
        self.api.must("POST", "auth/cert/certs/people", role)

    def client(self, pair=None, version=None):
        return Client(self.tls, self.hosts, pair, version)

    def refused(self, reply):
        self.assertIn(reply.status, (400, 403, 500) if harness.is_reference() else (400,), reply)
        self.assertIsNone((reply.json or {}).get("auth"), reply)

    def test_a_person_logs_in_by_both_versions_of_tls_and_in_a_resumed_session(self):
        pair = self.people.issue("alice")
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with self.subTest(version=version.name):
                client = self.client(pair, version)
                made = client.login()
                self.assertEqual(200, made.status, made)
                auth = made.json["auth"]
                self.assertEqual(("alice", "people"), (auth["metadata"]["common_name"], auth["metadata"]["cert_name"]))
                seen = client.call("GET", "auth/token/lookup-self", token=auth["client_token"])
                self.assertEqual("cert-people", seen.data["display_name"])
                again = client.call("POST", "auth/cert/login", resume=True)
                self.assertTrue(client.reused, "the session was not resumed")
                self.assertEqual(200, again.status, again)

    def test_nobody_else_logs_in(self):
        self.refused(self.client().login())
        self.refused(self.client(self.strangers.issue("alice")).login())
        self.refused(self.client(self.people.issue("host", usage="serverAuth")).login())
        self.refused(self.client(self.people.issue("alice")).login(name="other"))
        plain = self.api.post("auth/cert/login", token=None)
        self.assertEqual(400, plain.status, plain)
        self.role(allowed_common_names="b*")
        self.refused(self.client(self.people.issue("alice")).login())
        self.assertEqual(200, self.client(self.people.issue("bob")).login().status)

    def test_a_token_is_renewed_with_its_own_certificate_alone(self):
        alice = self.client(self.people.issue("alice"))
        other = self.client(self.people.issue("second", common_name="alice"))
        token = alice.login().json["auth"]["client_token"]
        self.assertEqual(200, other.login().status)
        renew = lambda client: client.call("POST", "auth/token/renew-self", token=token)
        self.assertEqual(200, renew(alice).status)
        self.refused(renew(other))
        self.refused(renew(self.client()))
        self.refused(self.api.post("auth/token/renew", {"token": token}))
        self.assertEqual(200, renew(alice).status)

    def test_a_revoked_certificate_stays_out_from_the_first_request_after_a_crash(self):
        alice, bob = self.people.issue("alice"), self.people.issue("bob")
        self.people.revoke("alice")
        self.api.must("POST", "auth/cert/crls/people", {"crl": self.people.revocation_list()})
        self.refused(self.client(alice).login())
        self.assertEqual(200, self.client(bob).login().status)
        self.server.kill()
        self.server.restart()
        self.refused(self.client(alice).login())
        self.assertEqual(200, self.client(bob).login().status)
        if not harness.is_reference():
            forged = self.api.post("auth/cert/crls/forged", {"crl": self.strangers.revocation_list()})
            self.assertEqual(400, forged.status, forged)
        self.assertEqual(400, self.api.post("auth/cert/crls/x", {"crl": "garbage"}).status)

    def test_ocsp_by_openssl(self):
        with self.people.responder() as address:
            more = {"ocsp_enabled": True, "ocsp_servers_override": address}
            alice, bob, carol = (self.people.issue(name) for name in ("alice", "bob", "carol"))
            self.people.known_good("alice")
            self.people.revoke("bob")
            self.role(**more)
            self.assertEqual(200, self.client(alice).login().status)
            self.refused(self.client(bob).login())
            self.refused(self.client(carol).login())
            self.role(**more, ocsp_fail_open=True)
            self.refused(self.client(bob).login())
        if not harness.is_reference():
            self.role(**more, ocsp_fail_open=False, ocsp_max_retries=0)
            self.refused(self.client(alice).login())

    def test_the_command_line_logs_in(self):
        pair = self.people.issue("alice")
        address = f"https://127.0.0.1:{self.tls}"
        flags = [f"-address={address}", f"-ca-cert={self.hosts.path}"]
        own = [f"-client-cert={pair[0]}", f"-client-key={pair[1]}"]
        run = self.server.cli("login", "-method=cert", "-no-store", "-format=json", *flags, *own, "name=people", token=None)
        self.assertEqual(0, run.returncode, run.stderr)
        self.assertEqual("alice", json.loads(run.stdout)["auth"]["metadata"]["common_name"])
        run = self.server.cli("login", "-method=cert", "-no-store", *flags, token=None)
        self.assertEqual(2, run.returncode, run.stdout)


if not shutil.which("openssl"):
    Cert = unittest.skip("apt-get install openssl")(Cert)
