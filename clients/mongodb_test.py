"""The database engine with MongoDB's protocol: a small server of the test's own, which MongoDB's own client for Python speaks with too, so that
what it understands is MongoDB's protocol and not ours."""

import base64
import hashlib
import hmac
import os
import socketserver
import struct
import threading
import unittest

import harness

ADMIN = "vault-admin-password"
ROUNDS = {"SCRAM-SHA-1": 10_000, "SCRAM-SHA-256": 15_000}
HASHES = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256"}


class Refused(Exception):
    def __init__(self, code, text):
        super().__init__(text)
        self.code = code


class Server(socketserver.ThreadingTCPServer):
    """Accounts, who they are, and nothing else. `mechanisms` are those that it takes."""

    allow_reuse_address = daemon_threads = True

    def __init__(self, mechanisms=("SCRAM-SHA-1", "SCRAM-SHA-256")):
        super().__init__(("127.0.0.1", 0), Session)
        self.port, self.mechanisms = self.server_address[1], list(mechanisms)
        self.users, self.lock, self.heard = {}, threading.Lock(), []
        self.put("admin", "vault-admin", ADMIN, [{"role": "root", "db": "admin"}])
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def put(self, database, name, password, roles):
        digest = hashlib.md5(f"{name}:mongo:{password}".encode()).hexdigest()
        secrets = {"SCRAM-SHA-1": digest, "SCRAM-SHA-256": password}
        kept = {}
        for mechanism, secret in secrets.items():
            salt = os.urandom(16)
            salted = hashlib.pbkdf2_hmac(HASHES[mechanism], secret.encode(), salt, ROUNDS[mechanism])
            kept[mechanism] = (salt, salted)
        self.users[database, name] = {"secrets": kept, "roles": roles}

    def names(self):
        return set(self.users)

    def uri(self, options=""):
        return "mongodb://{{username}}:{{password}}@127.0.0.1:%d/%s" % (self.port, options)

    def login(self, database, user, password, **more):
        """Whom MongoDB's own client is taken for, or None where it is refused."""
        import pymongo
        from pymongo.errors import OperationFailure
        client = pymongo.MongoClient("127.0.0.1", self.port, username=user, password=password, authSource=database, directConnection=True,
                                     serverSelectionTimeoutMS=5000, **more)
        try:
            return client.admin.command("connectionStatus")["authInfo"]
        except OperationFailure:
            return None
        finally:
            client.close()


class Session(socketserver.BaseRequestHandler):
    def handle(self):
        import bson
        self.user = self.talk = None
        while True:
            head = self.read(16)
            if not head:
                return
            length, number, _, operation = struct.unpack("<4i", head)
            body = self.read(length - 16)
            if operation == 2004:  # The first hello of clients that do not know yet whom they speak with.
                end = body.index(b"\0", 4)
                reply = bson.encode({"ok": 1.0, **self.hello(bson.decode(body[end + 9:]))})
                self.send(number, 1, struct.pack("<iqii", 8, 0, 0, 1) + reply)
                continue
            document = bson.decode(self.join(body))
            self.send(number, 2013, b"\0\0\0\0\0" + bson.encode(self.answer(document)))

    def join(self, body):
        assert body[4] == 0, "only one document is asked for here"
        return body[5:5 + struct.unpack_from("<i", body, 5)[0]]

    def read(self, length):
        got = b""
        while len(got) < length:
            more = self.request.recv(length - len(got))
            if not more:
                return None
            got += more
        return got

    def send(self, number, operation, body):
        self.request.sendall(struct.pack("<4i", 16 + len(body), 1, number, operation) + body)

    def answer(self, document):
        name = next(iter(document))
        with self.server.lock:
            self.server.heard.append({k: v for k, v in document.items() if k not in ("pwd", "payload")})
            try:
                known = {"hello": self.hello, "ismaster": self.hello, "isMaster": self.hello, "ping": lambda d: {}, "saslStart": self.start,
                         "saslContinue": self.go_on, "connectionStatus": self.status, "endSessions": lambda d: {}}
                if name in known:
                    return {**known[name](document), "ok": 1.0}
                if not self.user:
                    raise Refused(13, f"Command {name} requires authentication")
                if name not in ("createUser", "updateUser", "dropUser", "usersInfo"):
                    raise Refused(59, f"no such command: '{name}'")
                if not any(role == {"role": "root", "db": "admin"} for role in self.server.users[self.user]["roles"]):
                    raise Refused(13, f"not authorized on {document['$db']} to execute command")
                return {**getattr(self, name)(document), "ok": 1.0}
            except Refused as refused:
                return {"ok": 0.0, "errmsg": str(refused), "code": refused.code, "codeName": "Refused"}

    def hello(self, document):
        found = {"isWritablePrimary": True, "ismaster": True, "maxBsonObjectSize": 16777216, "maxMessageSizeBytes": 48000000, "maxWriteBatchSize": 100000,
                 "minWireVersion": 0, "maxWireVersion": 21, "readOnly": False, "helloOk": True}
        if "saslSupportedMechs" in document:
            database, _, name = document["saslSupportedMechs"].partition(".")
            if (database, name) in self.server.users:
                found["saslSupportedMechs"] = self.server.mechanisms
        return found

    def start(self, document):
        mechanism = document["mechanism"]
        first = document["payload"].decode()
        if mechanism not in self.server.mechanisms or not first.startswith("n,,n="):
            raise Refused(18, "Authentication failed.")
        bare = first[3:]
        name, _, nonce = bare[2:].partition(",r=")
        user = document["$db"], name.replace("=2C", ",").replace("=3D", "=")
        if user not in self.server.users:
            raise Refused(18, "Authentication failed.")
        salt, salted = self.server.users[user]["secrets"][mechanism]
        nonce += base64.b64encode(os.urandom(18)).decode()
        challenge = f"r={nonce},s={base64.b64encode(salt).decode()},i={ROUNDS[mechanism]}"
        self.talk = user, HASHES[mechanism], salted, nonce, f"{bare},{challenge}"
        return {"conversationId": 7, "done": False, "payload": challenge.encode()}

    def go_on(self, document):
        if not self.talk or document["conversationId"] != 7:
            raise Refused(17, "No SASL session state found")
        user, kind, salted, nonce, messages = self.talk
        if not document["payload"]:
            return {"conversationId": 7, "done": True, "payload": b""}
        unproven, _, proof = document["payload"].decode().rpartition(",p=")
        messages += "," + unproven
        client = hmac.digest(salted, b"Client Key", kind)
        mask = hmac.digest(hashlib.new(kind, client).digest(), messages.encode(), kind)
        shown = bytes(a ^ b for a, b in zip(base64.b64decode(proof), mask))
        if unproven != f"c=biws,r={nonce}" or not hmac.compare_digest(shown, client):
            raise Refused(18, "Authentication failed.")
        self.user = user
        signature = hmac.digest(hmac.digest(salted, b"Server Key", kind), messages.encode(), kind)
        return {"conversationId": 7, "done": False, "payload": b"v=" + base64.b64encode(signature)}

    def status(self, _):
        users = [{"user": self.user[1], "db": self.user[0]}] if self.user else []
        return {"authInfo": {"authenticatedUsers": users, "authenticatedUserRoles": self.server.users[self.user]["roles"] if self.user else []}}

    def createUser(self, document):
        user = document["$db"], document["createUser"]
        if user in self.server.users:
            raise Refused(51003, f"User \"{user[1]}@{user[0]}\" already exists")
        roles = [role if isinstance(role, dict) else {"role": role, "db": user[0]} for role in document["roles"]]
        if any(role["role"] == "nosuchrole" for role in roles):
            raise Refused(31, "Could not find role: nosuchrole")
        self.server.put(*user, document["pwd"], roles)
        return {}

    def updateUser(self, document):
        user = document["$db"], document["updateUser"]
        if user not in self.server.users:
            raise Refused(11, f"User '{user[1]}@{user[0]}' not found")
        self.server.put(*user, document["pwd"], self.server.users[user]["roles"])
        return {}

    def dropUser(self, document):
        if self.server.users.pop((document["$db"], document["dropUser"]), None) is None:
            raise Refused(11, f"User '{document['dropUser']}@{document['$db']}' not found")
        return {}

    def usersInfo(self, document):
        user = document["$db"], document["usersInfo"]
        return {"users": [{"user": user[1], "db": user[0]}] if user in self.server.users else []}


class OnMongoDb(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.db = Server()
        cls.server = harness.Server.dev()
        cls.api = cls.server.api
        cls.api.must("POST", "sys/mounts/database", {"type": "database"})
        cls.api.must("POST", "database/config/m", cls.config())
        cls.api.must("POST", "database/roles/app", {"db_name": "m", "creation_statements": '{"db": "app", "roles": [{"role": "read"}, {"role": "readWrite", "db": "logs"}]}',
                                                    "revocation_statements": '{"db": "app"}', "default_ttl": "1h"})

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.db.shutdown()

    @classmethod
    def config(cls, db=None, **more):
        return {"plugin_name": "mongodb-database-plugin", "connection_url": (db or cls.db).uri("admin"), "username": "vault-admin", "password": ADMIN,
                "allowed_roles": "*", **more}

    def test_the_server_of_the_test_is_one_of_mongodb(self):
        for mechanism in ROUNDS:
            who = self.db.login("admin", "vault-admin", ADMIN, authMechanism=mechanism)
            self.assertEqual([{"user": "vault-admin", "db": "admin"}], who["authenticatedUsers"])
            self.assertIsNone(self.db.login("admin", "vault-admin", "wrong", authMechanism=mechanism))

    def test_a_login_works_and_ends(self):
        before = self.db.names()
        made = self.api.must("GET", "database/creds/app").json
        user, password = made["data"]["username"], made["data"]["password"]
        self.assertRegex(user, r"^v-[a-z-]*-app-[A-Za-z0-9]{20}-[0-9]+$")
        self.assertEqual([{"role": "read", "db": "app"}, {"role": "readWrite", "db": "logs"}], self.db.login("app", user, password)["authenticatedUserRoles"])
        self.assertIsNone(self.db.login("app", user, password + "x"))
        for _ in range(2):
            self.api.must("PUT", "sys/leases/revoke", {"lease_id": made["lease_id"], "sync": True})
        self.assertIsNone(self.db.login("app", user, password))
        self.assertEqual(before, self.db.names())

    def test_servers_with_one_mechanism(self):
        for mechanism in ROUNDS:
            db = Server([mechanism])
            self.api.must("POST", "database/config/one", self.config(db))
            refused = self.api.post("database/config/one", self.config(db, password="canary-wrong"))
            self.assertEqual(400, refused.status)
            self.assertIn("Authentication failed", refused.text)
            self.assertNotIn("canary", refused.text)
            db.shutdown()

    def test_passwords_change(self):
        with self.db.lock:
            self.db.put("admin", "rooted", "first", [{"role": "root", "db": "admin"}])
            self.db.put("admin", "job", "first", [])
        self.api.must("POST", "database/config/own", self.config(username="rooted", password="first", write_concern='{"wmode": "majority", "wtimeout": 5000}'))
        self.api.must("POST", "database/rotate-root/own")
        self.assertEqual({"w": "majority", "wtimeout": 5000}, next(d for d in reversed(self.db.heard) if "updateUser" in d)["writeConcern"])
        self.assertIsNone(self.db.login("admin", "rooted", "first"))
        self.api.must("POST", "database/static-roles/job", {"db_name": "own", "username": "job", "rotation_period": "1h"})
        first = self.api.must("GET", "database/static-creds/job").json["data"]["password"]
        self.assertIsNotNone(self.db.login("admin", "job", first))
        self.api.must("POST", "database/rotate-role/job")
        self.assertIsNone(self.db.login("admin", "job", first))

    def test_hostile_names_stay_names(self):
        self.api.must("POST", "database/config/hostile", self.config(username_template='v", "roles": ["root"], "x": "{{random 8}},=\\\\'))
        self.api.must("POST", "database/roles/hostile", {"db_name": "hostile", "creation_statements": '{"roles": ["read"]}'})
        made = self.api.must("GET", "database/creds/hostile").json
        who = self.db.login("admin", made["data"]["username"], made["data"]["password"])
        self.assertEqual([{"role": "read", "db": "admin"}], who["authenticatedUserRoles"])
        self.api.must("PUT", "sys/leases/revoke", {"lease_id": made["lease_id"], "sync": True})
        self.assertIsNone(self.db.login("admin", made["data"]["username"], made["data"]["password"]))

    def test_refusals_are_clear_and_leave_nothing(self):
        before = self.db.names()
        for statement, status in (('{"db": "app"}', 400), ("db.createUser({})", 400), ('{"roles": ["nosuchrole"]}', 500)):
            self.api.must("POST", "database/roles/bad", {"db_name": "m", "creation_statements": statement})
            self.assertEqual(status, self.api.get("database/creds/bad").status, statement)
        with self.db.lock:
            self.db.put("admin", "weak", "weak", [])
        for more in ({"username": "weak", "password": "weak", "verify_connection": True},):
            self.api.must("POST", "database/config/weak", self.config(**more))
        self.api.must("POST", "database/roles/weak", {"db_name": "weak", "creation_statements": '{"roles": ["read"]}'})
        refused = self.api.get("database/creds/weak")
        self.assertEqual(500, refused.status)
        self.assertIn("not authorized", refused.text)
        self.assertEqual(before | {("admin", "weak")}, self.db.names())
        closed = self.api.post("database/config/down", self.config(connection_url="mongodb://{{username}}:{{password}}@127.0.0.1:%d/" % harness.free_port()))
        self.assertEqual(400, closed.status)
        self.assertIn("can't be reached", closed.text)


if __name__ == "__main__":
    unittest.main()
