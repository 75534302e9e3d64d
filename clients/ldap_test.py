"""The auth methods ldap and radius against servers that speak their protocols: OpenLDAP's slapd, started here on the loopback
interface with folders of its own, and a small RADIUS server of ours that can lie.
"""

import base64
import hashlib
import hmac
import os
import shutil
import socket
import struct
import subprocess
import threading
import time
import unittest
from urllib.parse import quote

from harness import Server, free_port, scratch

SLAPD = shutil.which("slapd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/lib/openldap")
BASE = "dc=example,dc=org"
SEARCHER = f"cn=searcher,{BASE}"
SEARCHER_PASSWORD = "searcher-pass"
REFUSED = ["ldap operation failed: failed to bind as user"]

PEOPLE = {
    # Entry's first part, name to log in with, password.
    "uid=alice": ("alice", "wonder land"),
    "uid=bob": ("bob", "builder"),
    r"uid=comma\, the": ("comma, the", "comma-pass"),
    r"uid=star*(x)\\y\#": ("star*(x)\\y#", "star-pass"),
    "uid=ünïcode": ("ünïcode", "pässwörd"),
}

CONFIG = f"""
include {{schema}}/core.schema
include {{schema}}/cosine.schema
include {{schema}}/inetorgperson.schema
include {{schema}}/nis.schema
pidfile {{folder}}/slapd.pid
modulepath {{modules}}
moduleload back_mdb
TLSCACertificateFile {{folder}}/ca.pem
TLSCertificateFile {{folder}}/server.pem
TLSCertificateKeyFile {{folder}}/server.key
allow bind_anon_cred
database mdb
maxsize 10485760
suffix "{BASE}"
rootdn "cn=root,{BASE}"
rootpw root-pass
directory {{folder}}/data
access to attrs=userPassword by dn.exact="{SEARCHER}" write by anonymous auth by self write by * none
access to dn.subtree="ou=people,{BASE}" by dn.exact="{SEARCHER}" read by self read by anonymous auth by * none
access to * by * read
"""


def entry(dn, *lines):
    return "\n".join([f"dn:: {_b64(dn)}", *lines]) + "\n\n"


def _b64(text):
    return base64.b64encode(text.encode()).decode()


def ldif():
    text = entry(BASE, "objectClass: dcObject", "objectClass: organization", "o: x", "dc: example")
    for ou in ("people", "groups"):
        text += entry(f"ou={ou},{BASE}", "objectClass: organizationalUnit", f"ou: {ou}")
    text += entry(SEARCHER, "objectClass: organizationalRole", "objectClass: simpleSecurityObject", "cn: searcher", f"userPassword: {SEARCHER_PASSWORD}")
    for rdn, (name, password) in PEOPLE.items():
        person = ["objectClass: inetOrgPerson", "cn: someone", "sn: someone", f"uid:: {_b64(name)}", f"userPassword:: {_b64(password)}"]
        text += entry(f"{rdn},ou=people,{BASE}", *person)
    # Two entries that one name finds.
    twin = ["objectClass: inetOrgPerson", "cn: twin", "sn: twin", "uid: twin", "userPassword: twin-pass"]
    text += entry(f"uid=twin,ou=people,{BASE}", *twin)
    text += entry(f"ou=more,ou=people,{BASE}", "objectClass: organizationalUnit", "ou: more")
    text += entry(f"uid=twin,ou=more,ou=people,{BASE}", *twin)

    def group(name, *members):
        return entry(f"cn={name},ou=groups,{BASE}", "objectClass: groupOfNames", f"cn: {name}", *[f"member:: {_b64(m)}" for m in members])

    text += group("Admins", f"uid=alice,ou=people,{BASE}")
    text += group("Devs", f"uid=alice,ou=people,{BASE}", f"uid=bob,ou=people,{BASE}", rf"uid=comma\, the,ou=people,{BASE}")
    # A group inside which Devs stands: found only by who asks for it.
    text += group("Staff", f"cn=Devs,ou=groups,{BASE}")
    return text


def certificates(folder):
    """An authority, a certificate of it for localhost, and another authority."""
    run = lambda *words: subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)
    for name in ("ca", "other"):
        run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}")
    run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost")
    (folder / "ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
    run("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "ext", "-out", "server.pem")


class Slapd:
    def __init__(self):
        self.folder = scratch("coffer-slapd-")
        certificates(self.folder)
        schema = next(p for p in ("/etc/ldap/schema", "/etc/openldap/schema") if os.path.isdir(p))
        modules = next(p for p in ("/usr/lib/ldap", "/usr/lib/openldap", "/usr/lib64/openldap") if os.path.isdir(p))
        (self.folder / "data").mkdir()
        (self.folder / "slapd.conf").write_text(CONFIG.format(folder=self.folder, schema=schema, modules=modules))
        (self.folder / "all.ldif").write_text(ldif())
        added = subprocess.run([SLAPD, "-T", "add", "-f", "slapd.conf", "-l", "all.ldif"], cwd=self.folder, capture_output=True, text=True)
        if added.returncode:
            raise RuntimeError(added.stderr)
        self.port, self.tls_port = free_port(), free_port()
        self.process = None
        self.start()

    def start(self):
        urls = f"ldap://127.0.0.1:{self.port} ldaps://127.0.0.1:{self.tls_port}"
        log = open(self.folder / "log", "ab")
        # -d keeps it in the foreground, as our child.
        self.process = subprocess.Popen([SLAPD, "-d", "256", "-f", "slapd.conf", "-h", urls], cwd=self.folder, stdout=log, stderr=log)
        for port in (self.port, self.tls_port):
            for _ in range(100):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.05)
            else:
                raise RuntimeError((self.folder / "log").read_text())

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(20)
            self.process = None


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server.dev()
        cls.root = cls.server.api
        cls.addClassCleanup(cls.server.stop)


@unittest.skipUnless(SLAPD and shutil.which("openssl"), "needs slapd and openssl (Debian: apt-get install slapd openssl)")
class Ldap(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.slapd = Slapd()
        cls.addClassCleanup(cls.slapd.stop)
        root = cls.root
        assert root.post("sys/auth/ldap", {"type": "ldap"}).status == 204
        for name in ("admins", "devs", "staff"):
            assert root.post(f"auth/ldap/groups/{name}", {"policies": f"{name}-policy"}).status == 204

    def setUp(self):
        self.configure()

    def configure(self, **more):
        config = {
            "url": f"ldap://127.0.0.1:{self.slapd.port}",
            "starttls": False, "certificate": "", "insecure_tls": False, "tls_min_version": "tls12", "tls_max_version": "tls12",
            "binddn": SEARCHER, "bindpass": SEARCHER_PASSWORD, "discoverdn": False,
            "userdn": f"ou=people,{BASE}", "userattr": "uid", "userfilter": "({{.UserAttr}}={{.Username}})",
            "groupdn": f"ou=groups,{BASE}", "groupattr": "cn", "groupfilter": "(member={{.UserDN}})",
            "deny_null_bind": True, "request_timeout": 5, "connection_timeout": 5, "username_as_alias": False, "max_page_size": 0,
        } | more
        reply = self.root.post("auth/ldap/config", config)
        self.assertEqual(reply.status, 204 if config["deny_null_bind"] else 200, reply)

    def login(self, name, password):
        return self.root.call("POST", f"auth/ldap/login/{quote(name, safe='')}", {"password": password}, token=None)

    def refused(self, name, password):
        reply = self.login(name, password)
        self.assertEqual((reply.status, reply.errors), (400, REFUSED), (name, reply))

    def test_groups_become_policies(self):
        auth = self.login("alice", "wonder land").json["auth"]
        self.assertEqual(sorted(auth["policies"]), ["admins-policy", "default", "devs-policy"])
        self.assertEqual(auth["metadata"]["username"], "alice")
        self.assertTrue(auth["entity_id"])
        auth = self.login("bob", "builder").json["auth"]
        self.assertEqual(sorted(auth["policies"]), ["default", "devs-policy"])

    def test_case_makes_no_other_person(self):
        one = self.login("alice", "wonder land").json["auth"]["entity_id"]
        self.assertEqual(self.login("ALICE", "wonder land").json["auth"]["entity_id"], one)

    def test_a_filter_over_groups_inside_groups(self):
        self.configure(groupfilter=f"(|(member={{{{.UserDN}}}})(&(objectClass=groupOfNames)(cn=Staff)(member=cn=Devs,ou=groups,{BASE})))")
        self.assertIn("staff-policy", self.login("bob", "builder").json["auth"]["policies"])
        self.configure(userfilter="(&(objectClass=inetOrgPerson)(!(uid=bob))({{.UserAttr}}={{.Username}}))")
        self.refused("bob", "builder")
        self.assertEqual(self.login("alice", "wonder land").status, 200)

    def test_hostile_names_are_names(self):
        for direct in (False, True):
            if direct:
                self.configure(binddn="", bindpass="")
            for name, password in PEOPLE.values():
                with self.subTest(name=name, direct=direct):
                    self.assertEqual(self.login(name, password).status, 200)
            for name in ("*", "a*", "alice)(uid=*", "*)(uid=*))(|(uid=*", r"\2a", f"alice,ou=people,{BASE}", "alice+cn=x", "#alice", "\\", "(", '"alice"', "ali<ce>;"):
                with self.subTest(name=name, direct=direct):
                    self.refused(name, "wonder land")
        reply = self.root.call("POST", "auth/ldap/login/alice%00", {"password": "wonder land"}, token=None)
        self.assertEqual(reply.status, 400)

    def test_wrong_passwords_and_nobody_read_the_same(self):
        for name, password in (("alice", "wrong"), ("nobody", "wonder land"), ("alice", ""), ("nobody", ""), ("twin", "twin-pass"), (" alice", "wonder land"), ("alice ", "wonder land")):
            self.refused(name, password)
        reply = self.root.call("POST", "auth/ldap/login/alice", {}, token=None)
        self.assertEqual((reply.status, reply.errors), (400, REFUSED))

    def test_a_direct_bind_with_an_empty_password_is_no_login(self):
        # This slapd takes a name without a password for an anonymous bind, and says yes.
        self.configure(binddn="", bindpass="", deny_null_bind=False)
        self.refused("alice", "")
        self.assertEqual(self.login("alice", "wonder land").status, 200)

    def test_pages(self):
        self.configure(max_page_size=1)
        auth = self.login("alice", "wonder land").json["auth"]
        self.assertEqual(sorted(auth["policies"]), ["admins-policy", "default", "devs-policy"])

    def test_a_renewal_asks_again(self):
        auth = self.login("bob", "builder").json["auth"]
        renew = lambda: self.root.as_token(auth["client_token"]).post("auth/token/renew-self")
        self.assertEqual(renew().status, 200)
        self.root.post("auth/ldap/groups/devs", {"policies": "other"})
        try:
            self.assertGreaterEqual(renew().status, 400)
        finally:
            self.root.post("auth/ldap/groups/devs", {"policies": "devs-policy"})
        self.assertEqual(renew().status, 200)

    def test_tls_with_our_authority_alone(self):
        read = lambda name: (self.slapd.folder / name).read_text()
        plain, tls = f"ldap://localhost:{self.slapd.port}", f"ldaps://localhost:{self.slapd.tls_port}"
        for name, url, more in (("StartTLS", plain, {"starttls": True}), ("ldaps", tls, {})):
            with self.subTest(name):
                for version in ("tls12", "tls13"):
                    self.configure(url=url, certificate=read("ca.pem"), tls_min_version=version, tls_max_version=version, **more)
                    self.assertEqual(self.login("alice", "wonder land").status, 200)
                self.configure(url=url, certificate=read("other.pem"), **more)
                self.assertEqual(self.login("alice", "wonder land").status, 500)
                self.configure(url=url, insecure_tls=True, **more)
                self.assertEqual(self.login("alice", "wonder land").status, 200)

    def test_a_wrong_account_of_our_own_is_said_as_ours(self):
        self.configure(bindpass="wrong")
        reply = self.login("alice", "wonder land")
        self.assertEqual((reply.status, reply.errors), (500, ["the directory does not take binddn and bindpass"]))

    def test_down_and_up_again(self):
        self.slapd.stop()
        try:
            reply = self.login("alice", "wonder land")
            self.assertEqual(reply.status, 500, reply)
            self.assertIn("127.0.0.1", reply.errors[0])
        finally:
            self.slapd.start()
        self.assertEqual(self.login("alice", "wonder land").status, 200)
        self.configure(url=f"ldap://127.0.0.1:{free_port()},ldap://127.0.0.1:{self.slapd.port}")
        self.assertEqual(self.login("alice", "wonder land").status, 200)

    def test_the_account_gets_a_new_password(self):
        self.assertEqual(self.root.post("auth/ldap/config/rotate-root").status, 204)
        self.assertEqual(self.login("alice", "wonder land").status, 200)
        # What was known before is known no more.
        self.configure()
        self.assertEqual(self.login("alice", "wonder land").status, 500)
        new = subprocess.run(
            ["ldappasswd", "-x", "-H", f"ldap://127.0.0.1:{self.slapd.port}", "-D", f"cn=root,{BASE}", "-w", "root-pass", "-s", SEARCHER_PASSWORD, SEARCHER],
            capture_output=True, text=True,
        )
        self.assertEqual(new.returncode, 0, new.stderr)
        self.assertEqual(self.login("alice", "wonder land").status, 200)

    def test_guessing_locks_a_name_out(self):
        for name in ("Bob", "bob", "BOB", "bob", "bOb"):
            self.refused(name, "guess")
        self.assertEqual(self.login("bob", "builder").status, 403)
        accessor = self.root.get("sys/auth").data["ldap/"]["accessor"]
        self.assertEqual(self.root.post(f"sys/locked-users/{accessor}/unlock/bob").status, 204)
        self.assertEqual(self.login("bob", "builder").status, 200)

    def test_no_secret_is_shown(self):
        for reply in (self.root.get("auth/ldap/config"), self.login("alice", "wrong")):
            self.assertNotIn(SEARCHER_PASSWORD, reply.text)
            self.assertNotIn("bindpass", reply.text)


class Radius(Case):
    SHARED = b"shared secret"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        cls.socket.bind(("127.0.0.1", 0))
        cls.addClassCleanup(cls.socket.close)
        cls.lie, cls.seen = None, []
        threading.Thread(target=cls.serve, daemon=True).start()
        assert cls.root.post("sys/auth/radius", {"type": "radius"}).status == 204
        config = {"host": "127.0.0.1", "port": cls.socket.getsockname()[1], "secret": cls.SHARED.decode(), "dial_timeout": 1, "read_timeout": 1, "unregistered_user_policies": "guest"}
        reply = cls.root.post("auth/radius/config", config)
        assert reply.status == 204, reply
        assert cls.root.post("auth/radius/users/alice", {"policies": "alices"}).status == 204

    @classmethod
    def serve(cls):
        while True:
            try:
                packet, address = cls.socket.recvfrom(4096)
            except OSError:
                return
            for reply in cls.answers(packet):
                cls.socket.sendto(reply, address)

    @classmethod
    def answers(cls, packet):
        code, ident, length = struct.unpack(">BBH", packet[:4])
        asked, at, attributes = packet[4:20], 20, {}
        while at < length:
            kind, size = packet[at], packet[at + 1]
            attributes[kind] = (at, packet[at + 2 : at + size])
            at += size
        at, tag = attributes[80]
        zeroed = packet[: at + 2] + bytes(16) + packet[at + 18 :]
        authentic = hmac.compare_digest(hmac.new(cls.SHARED, zeroed, hashlib.md5).digest(), tag)
        password, before = b"", asked
        hidden = attributes[2][1]
        for i in range(0, len(hidden), 16):
            mask = hashlib.md5(cls.SHARED + before).digest()
            password += bytes(a ^ b for a, b in zip(hidden[i : i + 16], mask))
            before = hidden[i : i + 16]
        password = password.rstrip(b"\0")
        cls.seen.append((attributes[1][1], authentic))
        fine = authentic and (attributes[1][1], password) in ((b"alice", b"wonder land, longer than sixteen"), (b"bob", b"pw"))
        answer = cls.answer(2 if fine else 3, ident, asked)
        if cls.lie is None:
            return [answer]
        if cls.lie == "forged then right":
            return [cls.answer(3, ident, asked, shared=b"guess"), answer]
        return {
            "silence": lambda: [],
            "wrong secret": lambda: [cls.answer(2, ident, asked, shared=b"guess")],
            "no message authenticator": lambda: [cls.answer(2, ident, asked, authenticated=False)],
            "other id": lambda: [cls.answer(2, ident ^ 1, asked)],
            "other question": lambda: [cls.answer(2, ident, bytes(16))],
            "turned over": lambda: [bytes([2]) + cls.answer(3, ident, asked)[1:]],
            "cut": lambda: [cls.answer(2, ident, asked)[:-1]],
            "challenge": lambda: [cls.answer(11, ident, asked)],
        }[cls.lie]()

    @staticmethod
    def answer(code, ident, asked, shared=SHARED, authenticated=True):
        attributes = (b"\x50\x12" + bytes(16) if authenticated else b"") + b"\x12\x04hi"
        head = struct.pack(">BBH", code, ident, 20 + len(attributes))
        if authenticated:
            tag = hmac.new(shared, head + asked + attributes, hashlib.md5).digest()
            attributes = attributes[:2] + tag + attributes[18:]
        return head + hashlib.md5(head + asked + attributes + shared).digest() + attributes

    def setUp(self):
        type(self).lie = None

    def login(self, name, password):
        return self.root.call("POST", f"auth/radius/login/{name}", {"password": password}, token=None)

    def test_who_is_accepted_gets_policies(self):
        self.seen.clear()
        auth = self.login("alice", "wonder land, longer than sixteen").json["auth"]
        self.assertEqual(sorted(auth["policies"]), ["alices", "default"])
        auth = self.root.call("POST", "auth/radius/login", {"username": "bob", "password": "pw"}, token=None).json["auth"]
        self.assertEqual(sorted(auth["policies"]), ["default", "guest"])
        self.assertTrue(all(authentic for _, authentic in self.seen))

    def test_who_is_rejected_gets_none(self):
        for name, password in (("alice", "wrong"), ("nobody", "pw"), ("bob", "pw" * 65)):
            reply = self.login(name, password)
            self.assertEqual((reply.status, reply.errors), (400, ["access denied by the authentication server"]))
        self.assertEqual(self.login("alice", "").status, 400)

    def test_a_lie_is_no_answer(self):
        for lie in ("silence", "wrong secret", "no message authenticator", "other id", "other question", "turned over", "cut"):
            with self.subTest(lie):
                type(self).lie = lie
                reply = self.login("bob", "pw")
                self.assertEqual(reply.status, 500, reply)
                self.assertIn("does not answer rightly in time", reply.errors[0])
        type(self).lie = "forged then right"
        self.assertEqual(self.login("bob", "pw").status, 200)

    def test_a_challenge_is_no_login(self):
        type(self).lie = "challenge"
        self.assertEqual(self.login("bob", "pw").status, 400)

    def test_our_own_wrong_secret(self):
        self.root.post("auth/radius/config", {"secret": "other"})
        try:
            self.assertEqual(self.login("bob", "pw").status, 500)
        finally:
            self.root.post("auth/radius/config", {"secret": self.SHARED.decode()})
        self.assertNotIn(self.SHARED.decode(), self.root.get("auth/radius/config").text)


if __name__ == "__main__":
    unittest.main()
