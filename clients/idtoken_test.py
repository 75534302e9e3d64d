"""Identity tokens and the OIDC provider as a client sees them: PyJWT verifies what the server signed with the keys that it
publishes, in every algorithm, and a login goes its whole way from the description to `userinfo`."""

import base64
import hashlib
import json
import os
import time
import unittest
import urllib.parse

import jwt

from harness import Server

ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "EdDSA")
POLICY = 'path "identity/oidc/*" { capabilities = ["read", "update"] }'


def encoded(raw):
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server.dev()
        cls.addClassCleanup(cls.server.stop)
        cls.root = cls.server.api
        cls.done("PUT", "sys/policies/acl/oidc", {"policy": POLICY})
        cls.done("POST", "sys/auth/userpass", {"type": "userpass"})
        for name in ("alice", "mallory"):
            cls.done("POST", f"auth/userpass/users/{name}", {"password": "pw", "policies": "oidc"})
        cls.alice, cls.entity = cls.person("alice")
        cls.mallory, _ = cls.person("mallory")
        hostile = {"name": 'al"ice", "admin": true, "x": "', "metadata": {"team": "{{identity.entity.id}}"}}
        cls.done("POST", f"identity/entity/id/{cls.entity}", hostile)
        cls.done("POST", "identity/group", {"name": "staff", "member_entity_ids": [cls.entity]})

    @classmethod
    def done(cls, method, path, body=None):
        reply = cls.root.call(method, path, body)
        assert reply.status < 300, (path, reply)
        return reply

    @classmethod
    def person(cls, name):
        auth = cls.root.call("POST", f"auth/userpass/login/{name}", {"password": "pw"}, token=None).json["auth"]
        return cls.root.as_token(auth["client_token"]), auth["entity_id"]

    def verified(self, token, keys_path, audience, issuer, **more):
        header = jwt.get_unverified_header(token)
        keys = self.root.call("GET", keys_path, token=None).json["keys"]
        found = [key for key in keys if key["kid"] == header["kid"]]
        self.assertEqual([key["alg"] for key in found], [header["alg"]])
        key = jwt.PyJWK(found[0])
        return jwt.decode(token, key, algorithms=[found[0]["alg"]], audience=audience, issuer=issuer, **more)


class Tokens(Case):
    def test_every_algorithm_verifies_with_the_published_keys(self):
        described = self.root.call("GET", "identity/oidc/.well-known/openid-configuration", token=None)
        self.assertEqual(sorted(described.json["id_token_signing_alg_values_supported"]), sorted(ALGORITHMS))
        issuer = described.json["issuer"]
        template = '{"name": {{identity.entity.name}}, "groups": {{identity.entity.groups.names}}, "team": {{identity.entity.metadata.team}}}'
        for algorithm in ALGORITHMS:
            with self.subTest(algorithm):
                self.done("POST", f"identity/oidc/key/{algorithm}", {"algorithm": algorithm, "allowed_client_ids": "*"})
                self.done("POST", f"identity/oidc/role/{algorithm}", {"key": algorithm, "client_id": "app", "template": template, "ttl": 60})
                token = self.alice.get(f"identity/oidc/token/{algorithm}").data["token"]
                claims = self.verified(token, "identity/oidc/.well-known/keys", "app", issuer)
                self.assertEqual((claims["sub"], claims["groups"]), (self.entity, ["staff"]))
                # What a name says is a name.
                self.assertEqual((claims["name"], claims["team"]), ('al"ice", "admin": true, "x": "', "{{identity.entity.id}}"))
                self.assertNotIn("admin", claims)
                self.assertEqual(claims["exp"] - claims["iat"], 60)
                with self.assertRaises(jwt.InvalidAudienceError):
                    self.verified(token, "identity/oidc/.well-known/keys", "other", issuer)
                head, body, signature = token.split(".")
                forged = encoded(json.dumps(claims | {"sub": "someone"}).encode())
                with self.assertRaises(jwt.InvalidSignatureError):
                    self.verified(f"{head}.{forged}.{signature}", "identity/oidc/.well-known/keys", "app", issuer)
                ours = lambda token: self.root.post("identity/oidc/introspect", {"token": token}).json["active"]
                self.assertEqual((ours(token), ours(f"{head}.{forged}.{signature}")), (True, False))
                none = encoded(json.dumps({"alg": "none", "kid": jwt.get_unverified_header(token)["kid"]}).encode())
                self.assertFalse(ours(f"{none}.{body}."))

    def test_a_rotation_keeps_what_was_signed(self):
        self.done("POST", "identity/oidc/key/turn", {"algorithm": "ES256", "allowed_client_ids": "*"})
        self.done("POST", "identity/oidc/role/turn", {"key": "turn", "client_id": "app"})
        issuer = self.root.call("GET", "identity/oidc/.well-known/openid-configuration", token=None).json["issuer"]
        before = self.alice.get("identity/oidc/token/turn").data["token"]
        self.done("POST", "identity/oidc/key/turn/rotate", {})
        after = self.alice.get("identity/oidc/token/turn").data["token"]
        self.assertNotEqual(jwt.get_unverified_header(before)["kid"], jwt.get_unverified_header(after)["kid"])
        for token in (before, after):
            self.verified(token, "identity/oidc/.well-known/keys", "app", issuer)

    def test_no_private_half_leaves(self):
        keys = self.root.call("GET", "identity/oidc/.well-known/keys", token=None).json["keys"]
        self.assertFalse([key for key in keys if {"d", "p", "q", "dp", "dq", "qi", "k"} & set(key)])


class Provider(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.done("POST", "identity/oidc/assignment/staff", {"entity_ids": cls.entity})
        cls.done("POST", "identity/oidc/scope/profile", {"template": '{"name": {{identity.entity.name}}}'})
        cls.done("POST", "identity/oidc/client/app", {"assignments": "staff", "redirect_uris": "https://app/cb,http://127.0.0.1/cb"})
        cls.client = cls.root.get("identity/oidc/client/app").data
        cls.done("POST", "identity/oidc/provider/p", {"allowed_client_ids": cls.client["client_id"], "scopes_supported": "profile"})
        cls.described = cls.root.call("GET", "identity/oidc/provider/p/.well-known/openid-configuration", token=None).json

    def authorize(self, who, **more):
        verifier = encoded(os.urandom(40))
        asked = {
            "client_id": self.client["client_id"], "redirect_uri": "https://app/cb", "response_type": "code", "scope": "openid profile",
            "state": "state", "nonce": "nonce", "code_challenge": encoded(hashlib.sha256(verifier.encode()).digest()),
            "code_challenge_method": "S256",
        } | more
        return who.get("identity/oidc/provider/p/authorize?" + urllib.parse.urlencode(asked)), verifier

    def exchange(self, code, verifier, post=False, secret=None, **more):
        path = "/" + self.described["token_endpoint"].split("//")[1].split("/", 1)[1]
        body = {"grant_type": "authorization_code", "code": code, "redirect_uri": "https://app/cb", "code_verifier": verifier} | more
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        secret = self.client["client_secret"] if secret is None else secret
        if post:
            body |= {"client_id": self.client["client_id"], "client_secret": secret}
        else:
            pair = f"{self.client['client_id']}:{secret}".encode()
            headers["Authorization"] = "Basic " + base64.b64encode(pair).decode()
        return self.root.call("POST", path, urllib.parse.urlencode(body), headers=headers, token=None)

    def test_a_login_from_end_to_end(self):
        for post in (False, True):
            with self.subTest(post=post):
                asked, verifier = self.authorize(self.alice, max_age=600)
                self.assertEqual((asked.status, asked.json["state"]), (200, "state"))
                reply = self.exchange(asked.json["code"], verifier, post=post)
                self.assertEqual((reply.status, reply.headers["cache-control"]), (200, "no-store"))
                claims = self.verified(
                    reply.json["id_token"], "identity/oidc/provider/p/.well-known/keys", self.client["client_id"], self.described["issuer"]
                )
                self.assertEqual((claims["sub"], claims["nonce"], claims["name"]), (self.entity, "nonce", 'al"ice", "admin": true, "x": "'))
                self.assertLess(abs(claims["auth_time"] - time.time()), 600)
                half = lambda text: encoded(hashlib.sha256(text.encode()).digest()[:16])
                self.assertEqual((claims["at_hash"], claims["c_hash"]), (half(reply.json["access_token"]), half(asked.json["code"])))
                bearer = {"Authorization": f"Bearer {reply.json['access_token']}"}
                shown = self.root.call("GET", "identity/oidc/provider/p/userinfo", headers=bearer, token=None)
                self.assertEqual((shown.status, shown.json["sub"]), (200, self.entity))
                self.assertEqual(self.root.call("GET", "auth/token/lookup-self", headers=bearer, token=None).status, 403)

    def test_refusals(self):
        refused = lambda reply, status, error: self.assertEqual((reply.status, reply.json.get("error")), (status, error), reply)
        code, verifier = (lambda pair: (pair[0].json["code"], pair[1]))(self.authorize(self.alice))
        self.assertEqual(self.exchange(code, verifier).status, 200)
        refused(self.exchange(code, verifier), 400, "invalid_grant")
        for more, status, error in (
            ({"secret": "wrong"}, 401, "invalid_client"),
            ({"redirect_uri": "http://127.0.0.1/cb"}, 400, "invalid_grant"),
            ({"code_verifier": encoded(os.urandom(40))}, 400, "invalid_grant"),
            ({"code_verifier": ""}, 400, "invalid_request"),
            ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ):
            asked, verifier = self.authorize(self.alice)
            refused(self.exchange(asked.json["code"], **({"verifier": verifier} | more)), status, error)
        for who, more, error in (
            (self.mallory, {}, "access_denied"),
            (self.root, {}, "access_denied"),
            (self.alice, {"redirect_uri": "https://evil/cb"}, "invalid_redirect_uri"),
            (self.alice, {"redirect_uri": "http://127.0.0.1:1@evil/cb"}, "invalid_redirect_uri"),
            (self.alice, {"client_id": "x"}, "invalid_client_id"),
            (self.alice, {"scope": "profile"}, "invalid_request"),
            (self.alice, {"response_type": "token"}, "unsupported_response_type"),
        ):
            refused(self.authorize(who, **more)[0], 400, error)
        self.assertEqual(self.authorize(self.alice, redirect_uri="http://127.0.0.1:4321/cb")[0].status, 200)

    def test_two_exchanges_at_once_give_tokens_once(self):
        import concurrent.futures

        for _ in range(5):
            asked, verifier = self.authorize(self.alice)
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                statuses = sorted(pool.map(lambda _: self.exchange(asked.json["code"], verifier).status, range(8)))
            self.assertEqual(statuses, [200] + [400] * 7)


if __name__ == "__main__":
    unittest.main()
