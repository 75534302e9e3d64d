"""ACME (RFC 8555) spoken by hand, so that each part of a request can be wrong on purpose."""

import base64
import hashlib
import hmac
import http.client
import json
import urllib.parse

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils


def b64(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def packed(value):
    return b64(json.dumps(value).encode())


class Answer:
    """A reply: status, headers with names in lower case, the body as bytes and, where it is JSON, as a value."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body
        self.json = json.loads(body) if "json" in headers.get("content-type", "") and body else None

    @property
    def problem(self):
        """The end of an error's type: `badNonce`."""
        return (self.json or {}).get("type", "").rpartition(":")[2]

    def __repr__(self):
        return f"{self.status} {self.headers.get('content-type')} {self.body[:600]!r}"


def ask(method, url, body=None, headers=None):
    place = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=60)
    try:
        path = place.path + (f"?{place.query}" if place.query else "")
        connection.request(method, path, body, headers or {})
        reply = connection.getresponse()
        return Answer(reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read())
    finally:
        connection.close()


class Key:
    """An account's key: ECDSA on P-256."""

    algorithm = "ES256"

    def __init__(self):
        self.private = ec.generate_private_key(ec.SECP256R1())

    def jwk(self):
        numbers = self.private.public_key().public_numbers()
        return {"crv": "P-256", "kty": "EC", "x": b64(numbers.x.to_bytes(32, "big")), "y": b64(numbers.y.to_bytes(32, "big"))}

    def thumbprint(self):
        return b64(hashlib.sha256(json.dumps(self.jwk(), sort_keys=True, separators=(",", ":")).encode()).digest())

    def sign(self, message):
        r, s = utils.decode_dss_signature(self.private.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def jws(key, header, payload):
    """A flattened JWS. `payload` None is POST-as-GET's empty one."""
    protected = packed(header)
    payload = "" if payload is None else packed(payload)
    return {"protected": protected, "payload": payload, "signature": b64(key.sign(f"{protected}.{payload}".encode()))}


class HmacKey:
    """The key of an external account binding."""

    def __init__(self, raw):
        self.raw = raw

    def sign(self, message):
        return hmac.new(self.raw, message, hashlib.sha256).digest()


class Client:
    def __init__(self, directory):
        self.directory_url = directory
        self.directory = ask("GET", directory).json
        self.key, self.kid, self.nonce = Key(), None, None

    def fresh_nonce(self):
        return ask("HEAD", self.directory["newNonce"]).headers["replay-nonce"]

    def header(self, place, by_key=False, **more):
        nonce, self.nonce = self.nonce or self.fresh_nonce(), None
        header = {"alg": self.key.algorithm, "nonce": nonce, "url": place}
        header.update({"jwk": self.key.jwk()} if by_key or not self.kid else {"kid": self.kid})
        header.update(more)
        return {name: value for name, value in header.items() if value is not None}

    def post(self, place, payload=None, by_key=False, signed=None, **more):
        """A signed request; `more` changes members of the protected header (None takes one out), `signed` is sent as it is."""
        signed = signed or jws(self.key, self.header(place, by_key, **more), payload)
        reply = ask("POST", place, json.dumps(signed), {"Content-Type": "application/jose+json"})
        self.nonce = reply.headers.get("replay-nonce")
        return reply

    def new_account(self, eab=None, **payload):
        payload = {"termsOfServiceAgreed": True, **payload}
        url = self.directory["newAccount"]
        if eab:
            kid, raw = eab
            payload["externalAccountBinding"] = jws(HmacKey(raw), {"alg": "HS256", "kid": kid, "url": url}, self.key.jwk())
        reply = self.post(url, payload, by_key=True)
        if reply.status in (200, 201):
            self.kid = reply.headers["location"]
        return reply

    def new_order(self, *names, **more):
        identifiers = [{"type": "ip" if is_ip(name) else "dns", "value": name} for name in names]
        return self.post(self.directory["newOrder"], {"identifiers": identifiers, **more})

    def challenge(self, authorization, kind):
        """Of an authorization's URL, its challenge of this kind."""
        found = self.post(authorization).json
        return next(c for c in found["challenges"] if c["type"] == kind)

    def authorise(self, token):
        return f"{token}.{self.key.thumbprint()}"


def is_ip(name):
    return ":" in name or name.replace(".", "").isdigit()


def csr(*names, common_name=None, key=None):
    import ipaddress

    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)] if common_name else [])
    general = [x509.IPAddress(ipaddress.ip_address(n)) if is_ip(n) else x509.DNSName(n) for n in names]
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if general:
        builder = builder.add_extension(x509.SubjectAlternativeName(general), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
