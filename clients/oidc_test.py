"""Logins with tokens and through a browser, over the wire: against a provider of our own (oidc_provider.py), with the person and the
browser played by the test. Beside what works stand the ways in which it must not."""

import concurrent.futures
import http.client
import json
import re
import time
import unittest
import urllib.parse

import harness
import oidc_provider

BACK = "http://localhost:8250/oidc/callback"
OURS = not harness.is_reference()


class Logins(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.provider = oidc_provider.Provider(client_secret="canary-client-secret")
        folder = harness.scratch()
        cls.audit = folder / "audit.log"
        device = f'audit "file" "test" {{ options = {{ file_path = "{cls.audit}" }} }}'
        cls.server = harness.Server.configured(folder=folder, top=device)
        cls.api = cls.server.api
        for kind in ("jwt", "oidc"):
            cls.api.must("POST", f"sys/auth/{kind}", {"type": kind})
        cls.api.must("POST", "auth/jwt/config", {"jwks_url": f"{cls.provider.issuer}/keys", "bound_issuer": cls.provider.issuer})
        cls.api.must("POST", "auth/jwt/role/ci", {
            "role_type": "jwt", "user_claim": "sub", "bound_audiences": ["coffer"], "bound_claims": {"ref": ["main", "release"]},
            "groups_claim": "groups", "token_policies": "ci", "token_ttl": "5m"})
        cls.api.must("POST", "auth/oidc/config", {
            "oidc_discovery_url": cls.provider.issuer, "oidc_client_id": "coffer", "oidc_client_secret": cls.provider.client_secret,
            "default_role": "person"})
        cls.direct = f"{cls.server.address}/v1/auth/oidc/oidc/callback"
        for name, more in {"person": {}, "direct": {"callback_mode": "direct"}, "device": {"callback_mode": "device"}}.items():
            cls.api.must("POST", f"auth/oidc/role/{name}", {
                "user_claim": "sub", "allowed_redirect_uris": [BACK, cls.direct], "token_policies": "people", **more})
        cls.said = []

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.provider.close()

    def setUp(self):
        self.provider.claims, self.provider.say, self.provider.approved = {}, None, False

    # ---- the players -------------------------------------------------------------------------

    def ask(self, method, path, body=None):
        """A call without a token; what it says is kept for the search for secrets."""
        reply = self.api.call(method, path, body, token=None)
        self.said.append(reply.text)
        return reply

    def begin(self, role="person", back=BACK):
        reply = self.ask("POST", "auth/oidc/oidc/auth_url", {"role": role, "redirect_uri": back, "client_nonce": "word"})
        self.assertEqual(reply.status, 200, reply)
        return reply.data

    def person(self, url):
        """Goes where the address says and says yes; what the provider sends the browser back with."""
        place = urllib.parse.urlsplit(url)
        connection = http.client.HTTPConnection(place.hostname, place.port, timeout=10)
        connection.request("GET", f"{place.path}?{place.query}")
        reply = connection.getresponse()
        self.assertEqual(reply.status, 302, reply.read())
        return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(reply.headers["Location"]).query))

    def callback(self, **fields):
        return self.ask("GET", "auth/oidc/oidc/callback?" + urllib.parse.urlencode(fields))

    def poll(self, state, word="word"):
        return self.ask("POST", "auth/oidc/oidc/poll", {"state": state, "client_nonce": word})

    def refused(self, reply, why=""):
        self.assertEqual(reply.status, 400, reply)
        self.assertIn(why, " ".join(reply.errors))

    # ---- tokens --------------------------------------------------------------------------------

    def token(self, **claims):
        now = int(time.time())
        own = {"iss": self.provider.issuer, "sub": "repo:a", "aud": "coffer", "iat": now, "nbf": now, "exp": now + 60, "ref": "main",
               "groups": ["builders"]}
        return oidc_provider.token({k: v for k, v in {**own, **claims}.items() if v is not None})

    def jwt(self, token):
        return self.ask("POST", "auth/jwt/login", {"role": "ci", "jwt": token})

    def test_a_token_logs_in_and_its_token_works(self):
        reply = self.jwt(self.token())
        auth = reply.json["auth"]
        self.assertEqual((sorted(auth["policies"]), auth["metadata"], auth["lease_duration"]), (["ci", "default"], {"role": "ci"}, 300))
        mine = self.api.as_token(auth["client_token"])
        self.assertEqual(mine.get("auth/token/lookup-self").data["display_name"], "jwt-repo:a")
        self.assertTrue(auth["entity_id"])
        self.assertEqual(mine.post("auth/token/renew-self").status, 200)

    def test_other_tokens_do_not(self):
        for claims, why in [
            ({"aud": "other"}, "audience"), ({"aud": None}, "audience"), ({"ref": "branch"}, "ref"), ({"ref": None}, "ref"), ({"exp": 5}, "expired"),
            ({"iss": "https://evil.example"}, "issuer"), ({"sub": None}, "sub"), ({"groups": {"a": 1}}, "groups"), ({"nbf": 99999999999}, "not yet"),
        ]:
            with self.subTest(claims=claims):
                self.refused(self.jwt(self.token(**claims)), why)
        good = self.token()
        head, body, signature = good.split(".")
        none = oidc_provider.b64(b'{"alg":"none"}')
        for token in ["x", f"{none}.{body}.", f"{none}.{body}.{signature}", f"{head}.{body}.", good[:-6], f"{head}.{oidc_provider.b64(b'{}')}.{signature}"]:
            with self.subTest(token=token[:20]):
                self.refused(self.jwt(token))

    def test_the_public_key_is_no_shared_secret(self):
        import hashlib
        import hmac
        key = json.dumps(oidc_provider.key_set()["keys"][0]).encode()
        claims = {"iss": self.provider.issuer, "sub": "repo:a", "aud": "coffer", "exp": int(time.time()) + 60, "ref": "main", "groups": []}
        self.refused(self.jwt(oidc_provider.token(claims, {"alg": "HS256"}, lambda m: hmac.new(key, m, hashlib.sha256).digest())))

    # ---- the browser ----------------------------------------------------------------------------

    def test_a_person_logs_in_once(self):
        back = self.person(self.begin()["auth_url"])
        reply = self.callback(**back, client_nonce="word")
        self.assertEqual(sorted(reply.json["auth"]["policies"]), ["default", "people"])
        self.refused(self.callback(**back, client_nonce="word"), "Expired or missing OAuth state")
        exchange = [form for _, where, form, _ in self.provider.asked if where == "/token"][-1]
        self.assertEqual((exchange["grant_type"], len(exchange["code_verifier"])), ("authorization_code", 43))

    def test_at_once_it_is_once_at_most(self):
        for _ in range(5):
            back = self.person(self.begin()["auth_url"])
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                replies = list(pool.map(lambda _: self.callback(**back, client_nonce="word"), range(8)))
            self.assertLessEqual(sum(reply.status == 200 for reply in replies), 1)
            self.assertEqual({reply.status for reply in replies} - {200}, {400})

    def test_what_comes_back_wrong_ends_the_login(self):
        for fields, why in [({"client_nonce": "other"}, "client_nonce"), ({}, "client_nonce"), ({"client_nonce": "word", "code": "none"}, "invalid_grant")]:
            with self.subTest(fields=fields):
                back = self.person(self.begin()["auth_url"])
                self.refused(self.callback(**{**back, **fields}), why)
                self.refused(self.callback(**back, client_nonce="word"), "Expired or missing OAuth state")
        for claims in [{"nonce": "other"}, {"nonce": None}, {"aud": "other"}, {"iss": "https://evil.example"}, {"exp": 5}, {"aud": ["coffer", "x"]}]:
            with self.subTest(claims=claims):
                self.provider.claims = claims
                back = self.person(self.begin()["auth_url"])
                self.refused(self.callback(**back, client_nonce="word"))

    def test_no_address_but_the_roles(self):
        for back in ["https://evil.example/", "http://localhost.evil.example/oidc/callback", BACK + "/x"]:
            self.assertEqual(self.begin(back=back)["auth_url"], "")

    @unittest.skipUnless(OURS, "the pages are our own")
    def test_in_direct_mode_the_person_says_yes(self):
        begun = self.begin("direct", self.direct)
        back = self.person(begun["auth_url"])
        self.refused(self.poll(begun["state"]), "authorization_pending")
        page = self.ask("GET", "auth/oidc/oidc/callback?" + urllib.parse.urlencode(back))
        self.assertEqual(page.status, 200, page)
        self.assertIn("default-src 'none'", page.headers["content-security-policy"])
        self.assertTrue(page.headers["content-type"].startswith("text/html"))
        self.refused(self.poll(begun["state"]), "authorization_pending")
        fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', page.text))
        done = self.api.call("POST", "auth/oidc/oidc/callback", urllib.parse.urlencode(fields),
                             {"Content-Type": "application/x-www-form-urlencoded"}, token=None)
        self.assertEqual(done.status, 200, done)
        self.assertEqual(sorted(self.poll(begun["state"]).json["auth"]["policies"]), ["default", "people"])
        self.refused(self.poll(begun["state"]), "Expired or missing OAuth state")

    @unittest.skipUnless(OURS, "the pages are our own")
    def test_what_the_provider_says_is_text(self):
        begun = self.begin("direct", self.direct)
        page = self.callback(state=begun["state"], error="access_denied", error_description="<script>alert(1)</script>")
        self.assertEqual(page.status, 400)
        self.assertNotIn("<script", page.text)
        self.assertIn("access_denied", page.text)

    def test_a_device_waits(self):
        begun = self.begin("device")
        self.assertTrue(begun["auth_url"].startswith(f"{self.provider.issuer}/who"), begun)
        self.refused(self.poll(begun["state"]), "authorization_pending")
        self.provider.approved = True
        self.assertEqual(sorted(self.poll(begun["state"]).json["auth"]["policies"]), ["default", "people"])
        self.refused(self.poll(begun["state"]), "Expired or missing OAuth state")

    # ---- secrets --------------------------------------------------------------------------------

    def test_zz_no_secret_stands_where_it_must_not(self):
        token = self.token(sub="canary-person")
        self.provider.say = (401, {"error": "invalid_client", "error_description": "canary-description"})
        back = self.person(self.begin()["auth_url"])
        self.refused(self.callback(**back, client_nonce="word"))
        self.jwt(token)
        self.jwt(token[:-4])
        self.api.get("auth/oidc/config")
        log = self.server.log.read_text()
        audit = self.audit.read_text()
        self.assertIn("auth/oidc/oidc/callback", audit)
        signature, code = token.split(".")[2][:-4], back["code"]
        for place, text in [("the log", log), ("the audit file", audit), ("an answer", "".join(self.said) + self.api.get("auth/oidc/config").text)]:
            # What a provider describes is its own affair; the reference repeats it.
            for secret in [self.provider.client_secret, signature, code, *(["canary-description"] if OURS else [])]:
                self.assertFalse(secret in text, f"{secret} stands in {place}")
