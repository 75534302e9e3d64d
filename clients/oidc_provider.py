"""A small OpenID Connect provider for tests: discovery, keys, authorization code with PKCE, form_post, implicit id tokens, the device flow.

It lives in a thread of the test and does what the test tells it: `claims` go into each id token over its own, `say` replaces a
token's answer, `approved` says whether the person at the device has said yes. What it received is kept in `asked`. Signed with a
throw-away key, so that nothing but Python is needed.
"""

import base64
import hashlib
import http.server
import json
import secrets
import threading
import time
import urllib.parse

# Nobody's key: it signs what tests make up.
N = int("a149dd40172f7cb8bfd11fa87aabb2de06c632efa760d70075ecdfd3c5789df5c07e01b31fbc207d4ecbec64a2c024884f1d1fab93112ae597cc39e39b96e55be8c9f938c5d4012f4da83e245967563754508a002206208074c3b0b6a16b26d0372b0513a8a8ed89c99835fb77d7c3a2bf41628b4357cebcde6c6fd4c5b2a622ea01f47896a4b7caa847689e5bc1c4a76b6751f1d5830864947c458296141c4fb6f8ad7879cf61ed387fc5e8ce4de371c644e55795e5e4e509603167503c1c5d641a01bfc81c58440f835c517ef312f10019e39b176217344046c778b069cc2e102397a174be0736f8b85497d301269b3daaa14b15acd882759453b9124258c3", 16)
D = int("c5a8250c8b5d6c16127c7b0a4320726e1b147f0cfe0274cf36600ead12d8b8e697fa7ea56b1967222993f47a1fe4238bd33dcdb76633d3c37f93e2c84714aab547ee12636637b9d14e9f5ab3111d77fb0bc8e7ab375c6ad856eabad56b06f58f4061e8317f5ab0eaa5b37349b4447c96d096409334f996d2142d5a4a013d937a4b8f9cc58f42f63179dae0b441a659af0b3e4ff5a15749b7e40a03e6a724ba58554de2e60a8d98644d39a826a6a3a07736a0ff5a84561d48c64140e2af10e7e1c825af9bd421d4225553eb718fe15adbb8a778ac9062ebf711b82f13627460c5f990e70b5a085d5a4669eaeed23bd97934b1c3e17b9d8c7e60325ecc2b2a669", 16)
E = 65537


def b64(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def sign(message):
    """RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017 section 8.2)."""
    digest = bytes.fromhex("3031300d060960864801650304020105000420") + hashlib.sha256(message).digest()
    padded = b"\x00\x01" + b"\xff" * (256 - 3 - len(digest)) + b"\x00" + digest
    return pow(int.from_bytes(padded, "big"), D, N).to_bytes(256, "big")


def token(claims, header=None, signature=sign):
    head = {"alg": "RS256", "kid": "k1", "typ": "JWT", **(header or {})}
    signed = f"{b64(json.dumps(head).encode())}.{b64(json.dumps(claims).encode())}"
    return f"{signed}.{b64(signature(signed.encode()))}"


def key_set():
    number = lambda n: b64(n.to_bytes((n.bit_length() + 7) // 8, "big"))
    return {"keys": [{"kty": "RSA", "kid": "k1", "use": "sig", "alg": "RS256", "n": number(N), "e": number(E)}]}


class Provider:
    def __init__(self, client_id="coffer", client_secret="client-secret"):
        self.client_id, self.client_secret = client_id, client_secret
        self.claims, self.say, self.approved, self.asked, self.codes, self.devices = {}, None, False, [], {}, {}
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                provider.handle(self, "")

            def do_POST(self):
                provider.handle(self, self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode())

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    # ---- what it answers -------------------------------------------------------------------

    def handle(self, call, body):
        where, _, query = call.path.partition("?")
        form = dict(urllib.parse.parse_qsl(body or query))
        self.asked.append((call.command, where, form, dict(call.headers)))
        known = {
            "/.well-known/openid-configuration": self.describe,
            "/keys": lambda *_: (200, key_set()),
            "/authorize": self.authorize,
            "/token": self.token,
            "/device": self.device,
        }
        status, answer = known.get(where, lambda *_: (404, {"error": "not_found"}))(form, call.headers)
        raw = b"" if answer is None else json.dumps(answer).encode()
        call.send_response(status if isinstance(status, int) else 302)
        if not isinstance(status, int):
            call.send_header("Location", status)
        call.send_header("Content-Type", "application/json")
        call.send_header("Content-Length", str(len(raw)))
        call.end_headers()
        call.wfile.write(raw)

    def describe(self, *_):
        at = self.issuer
        return 200, {
            "issuer": at, "jwks_uri": f"{at}/keys", "authorization_endpoint": f"{at}/authorize", "token_endpoint": f"{at}/token",
            "device_authorization_endpoint": f"{at}/device", "response_types_supported": ["code", "id_token"],
            "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["RS256"],
        }

    def id_token(self, nonce=None):
        now = int(time.time())
        claims = {"iss": self.issuer, "sub": "bob", "aud": self.client_id, "iat": now, "exp": now + 300}
        if nonce is not None:
            claims["nonce"] = nonce
        claims.update(self.claims)
        return token({k: v for k, v in claims.items() if v is not None})

    def authorize(self, ask, _):
        """The person says yes: the browser is sent back."""
        if ask.get("client_id") != self.client_id or ask.get("scope", "").split()[:1] != ["openid"]:
            return 400, {"error": "invalid_request"}
        code = secrets.token_urlsafe(16)
        self.codes[code] = ask
        back = {"state": ask["state"], "code": code} if ask["response_type"] == "code" else {"state": ask["state"], "id_token": self.id_token(ask["nonce"])}
        if ask.get("response_mode") == "form_post":
            return 200, {"post_to": ask["redirect_uri"], "form": back}
        return f"{ask['redirect_uri']}?{urllib.parse.urlencode(back)}", None

    def knows(self, form, headers):
        basic = headers.get("Authorization", "").removeprefix("Basic ")
        if basic:
            user, _, word = base64.b64decode(basic).decode().partition(":")
            return (urllib.parse.unquote_plus(user), urllib.parse.unquote_plus(word)) == (self.client_id, self.client_secret)
        return (form.get("client_id"), form.get("client_secret")) == (self.client_id, self.client_secret)

    def token(self, form, headers):
        if self.say is not None:
            return self.say
        if not self.knows(form, headers):
            return 401, {"error": "invalid_client", "error_description": "who are you"}
        if form.get("grant_type") == "urn:ietf:params:oauth:grant-type:device_code":
            if form.get("device_code") not in self.devices:
                return 400, {"error": "invalid_grant"}
            if not self.approved:
                return 400, {"error": "authorization_pending"}
            del self.devices[form["device_code"]]
            return 200, {"access_token": secrets.token_urlsafe(8), "token_type": "Bearer", "id_token": self.id_token()}
        # A code is good once.
        ask = self.codes.pop(form.get("code"), None)
        if not ask or form.get("redirect_uri") != ask["redirect_uri"]:
            return 400, {"error": "invalid_grant", "error_description": "no such code"}
        if "code_challenge" in ask and b64(hashlib.sha256(form.get("code_verifier", "").encode()).digest()) != ask["code_challenge"]:
            return 400, {"error": "invalid_grant", "error_description": "the verifier does not fit"}
        return 200, {"access_token": secrets.token_urlsafe(8), "token_type": "Bearer", "id_token": self.id_token(ask["nonce"])}

    def device(self, form, headers):
        code = secrets.token_urlsafe(16)
        self.devices[code] = form
        return 200, {"device_code": code, "user_code": "ABCD-EFGH", "verification_uri": f"{self.issuer}/who", "interval": 1, "expires_in": 60,
                     "verification_uri_complete": f"{self.issuer}/who?user_code=ABCD-EFGH"}
