"""hvac's logins with a JWT, through a provider and with a Kubernetes service account. The API server here answers what a real one answered
(vectors/kubernetes); with a running one see kubernetes_test.py."""

import http.server
import json
import threading
import time
import unittest
import urllib.parse
import urllib.request

import hvac
from hvac import exceptions

import harness
import oidc_provider

RECORDED = {case["name"]: case for case in map(json.loads, (harness.ROOT / "vectors/kubernetes/token-reviews.jsonl").read_text().splitlines())}
CA = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


class ApiServer:
    """Answers a TokenReview with what was recorded under the name that the test gave the token."""

    def __init__(self):
        self.answers, self.bearers = {}, []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_POST(self):
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.bearers.append(self.headers["Authorization"])
                case = RECORDED[outer.answers[asked["spec"]["token"].strip()]]
                raw = json.dumps(case["reply"]).encode()
                self.send_response(case["status"])
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def token(self, name):
        """A token with the recorded claims, issued now."""
        now = int(time.time())
        claims = {**RECORDED[name]["claims"], "iat": now, "nbf": now, "exp": now + 600, "jti": name}
        token = oidc_provider.token(claims)
        self.answers[token] = name
        return token

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Kubernetes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.api = ApiServer()
        cls.addClassCleanup(cls.api.close)
        cls.server = harness.Server.dev("-dev-no-store-token")
        cls.addClassCleanup(cls.server.stop)
        root = hvac.Client(url=cls.server.address, token="root")
        root.sys.enable_auth_method("kubernetes")
        root.auth.kubernetes.configure(cls.api.address, kubernetes_ca_cert=CA, token_reviewer_jwt="the-reviewer", disable_local_ca_jwt=True)
        root.auth.kubernetes.create_role("app", ["app", "gone"], ["ns1"], ttl="1h", policies=["app"])
        root.auth.kubernetes.create_role("vault", ["app"], ["ns1"], audience="vault")
        root.sys.create_or_update_policy("app", 'path "secret/data/app/*" { capabilities = ["read"] }')
        root.secrets.kv.v2.create_or_update_secret("app/db", {"password": "p"})

    def login(self, name, role="app"):
        client = hvac.Client(url=self.server.address)
        return client, client.auth.kubernetes.login(role=role, jwt=self.api.token(name) + "\n")

    def test_an_account_reads_its_secret(self):
        client, reply = self.login("good")
        self.assertEqual(("app", "ns1", 3600), (reply["auth"]["metadata"]["service_account_name"], reply["auth"]["metadata"]["service_account_namespace"], reply["auth"]["lease_duration"]))
        self.assertEqual("p", client.secrets.kv.v2.read_secret_version("app/db", raise_on_deleted_version=True)["data"]["data"]["password"])
        client.auth.token.renew_self()
        self.login("other audience bound", "vault")
        self.assertEqual({"Bearer the-reviewer"}, set(self.api.bearers))

    def test_what_the_cluster_refuses_is_denied(self):
        for name, case in RECORDED.items():
            if not case.get("claims") or name.startswith("good"):
                continue
            if name == "other audience bound":
                continue
            with self.subTest(name=name), self.assertRaises(exceptions.Forbidden):
                self.login(name)

    def test_an_audience_that_the_role_does_not_take(self):
        with self.assertRaises(exceptions.Forbidden):
            self.login("good", "vault")


class Tokens(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.provider = oidc_provider.Provider()
        cls.addClassCleanup(cls.provider.close)
        cls.server = harness.Server.dev("-dev-no-store-token")
        cls.addClassCleanup(cls.server.stop)
        root = cls.root = hvac.Client(url=cls.server.address, token="root")
        root.sys.enable_auth_method("jwt")
        root.auth.jwt.configure(jwks_url=f"{cls.provider.issuer}/keys", bound_issuer=cls.provider.issuer)
        root.auth.jwt.create_role("ci", "sub", [], bound_audiences=["coffer"], token_ttl="60")
        root.sys.enable_auth_method("oidc")
        root.auth.oidc.configure(oidc_discovery_url=cls.provider.issuer, oidc_client_id="coffer", oidc_client_secret="client-secret", default_role="who", path="oidc")
        root.auth.oidc.create_role("who", "sub", ["http://localhost:8250/oidc/callback"], role_type="oidc", path="oidc")

    def token(self, **claims):
        now = int(time.time())
        return oidc_provider.token({"iss": self.provider.issuer, "sub": "a", "aud": "coffer", "iat": now, "exp": now + 60, **claims})

    def test_a_token_logs_in(self):
        client = hvac.Client(url=self.server.address)
        reply = client.auth.jwt.jwt_login("ci", self.token())
        self.assertEqual(60, reply["auth"]["lease_duration"])
        self.assertEqual("jwt-a", client.auth.token.lookup_self()["data"]["display_name"])
        for token in (self.token(aud="x"), self.token(exp=5), "x"):
            with self.assertRaises(exceptions.InvalidRequest):
                client.auth.jwt.jwt_login("ci", token)

    def test_what_is_configured_is_read(self):
        self.assertEqual("valid", self.root.auth.jwt.read_config()["data"]["status"])
        self.assertEqual(["coffer"], self.root.auth.jwt.read_role("ci")["data"]["bound_audiences"])
        self.root.auth.jwt.create_role("gone", "sub", [], bound_subject="a")
        self.assertEqual(["ci", "gone"], self.root.auth.jwt.list_roles()["data"]["keys"])
        self.root.auth.jwt.delete_role("gone")
        with self.assertRaises(exceptions.InvalidPath):
            self.root.auth.jwt.read_role("gone")

    def test_a_person_logs_in(self):
        client = hvac.Client(url=self.server.address)
        url = client.auth.oidc.oidc_authorization_url_request("who", "http://localhost:8250/oidc/callback", path="oidc")["data"]["auth_url"]
        nonce = urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)["nonce"][0]

        class Stay(urllib.request.HTTPRedirectHandler):
            def redirect_request(self, *_):
                return None

        with self.assertRaises(urllib.error.HTTPError) as sent:
            urllib.request.build_opener(Stay).open(url, timeout=10)
        back = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(sent.exception.headers["Location"]).query))
        reply = client.auth.oidc.oidc_callback(back["state"], nonce, back["code"], path="oidc")
        self.assertEqual({"role": "who"}, reply["auth"]["metadata"])
        with self.assertRaises(exceptions.InvalidRequest):
            client.auth.oidc.oidc_callback(back["state"], nonce, back["code"], path="oidc")
