"""The database engine with SQL Server's protocol: a small server of the test's own, which another client of that protocol (python-tds) speaks with too,
so that what it understands is TDS and not ours alone. It knows logins and nothing else."""

import re
import socketserver
import struct
import threading
import unittest

import harness

ADMIN = "vault-admin-p]a's;s"
CREATE = "CREATE LOGIN [{{name}}] WITH PASSWORD = '{{password}}'; CREATE USER [{{name}}] FOR LOGIN [{{name}}];"
DONE = b"\xfd\0\0\0\0" + bytes(8)
NAME, TEXT = r"\[((?:[^\]]|\]\])*)\]", r"N?'((?:[^']|'')*)'"


class Refused(Exception):
    def __init__(self, number, text):
        super().__init__(text)
        self.number = number


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Session)
        self.port, self.lock, self.heard = self.server_address[1], threading.Lock(), []
        self.logins, self.users, self.disabled = {"vault-admin": ADMIN}, set(), set()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def login(self, user, password):
        """Whether another client is let in, and is answered."""
        import pytds
        try:
            with pytds.connect("127.0.0.1", port=self.port, user=user, password=password, database="app", autocommit=True, login_timeout=5) as open_one:
                return open_one.cursor().execute_scalar("SELECT 1 FROM sys.server_principals WHERE name = N'vault-admin'") == 1
        except (pytds.LoginError, pytds.tds_base.OperationalError):
            return False


class Session(socketserver.BaseRequestHandler):
    def handle(self):
        self.transaction, self.undo = bytes(8), None
        while True:
            kind, body = self.message()
            if kind is None:
                return
            if kind == 0x12:
                self.send(bytes([0, 0, 11, 0, 6, 1, 0, 17, 0, 1, 0xff, 16, 0, 0, 0, 0, 0, 2]))
            elif kind == 0x10:
                if not self.log_in(body):
                    return
            elif kind == 1:
                self.batch(body)
            else:
                raise AssertionError(f"a packet of kind {kind}")

    def message(self):
        kind, whole = None, b""
        while True:
            head = self.read(8)
            if not head:
                return None, b""
            kind, last, length = struct.unpack(">BBH", head[:4])
            whole += self.read(length - 8)
            if last & 1:
                return kind, whole

    def read(self, length):
        got = b""
        while len(got) < length:
            try:
                more = self.request.recv(length - len(got))
            except OSError:
                return None
            if not more:
                return None
            got += more
        return got

    def send(self, body):
        pieces = [body[at:at + 500] for at in range(0, len(body), 500)] or [b""]
        for number, piece in enumerate(pieces):
            self.request.sendall(struct.pack(">BBHHBB", 4, number + 1 == len(pieces), len(piece) + 8, 0, number + 1 & 0xff, 0) + piece)

    def log_in(self, body):
        assert struct.unpack_from("<I", body)[0] == len(body), "its length"
        field = lambda n: body[struct.unpack_from("<H", body, 36 + 4 * n)[0]:][:2 * struct.unpack_from("<H", body, 38 + 4 * n)[0]]
        user = field(1).decode("utf-16-le")
        password = bytes(((b ^ 0xa5) << 4 | (b ^ 0xa5) >> 4) & 0xff for b in field(2)).decode("utf-16-le")
        with self.server.lock:
            good = self.server.logins.get(user) == password and user not in self.server.disabled
        if not good:
            self.send(self.error(18456, 14, f"Login failed for user '{user}'."))
            return False
        name = "Microsoft SQL Server".encode("utf-16-le")
        welcome = b"\x01\x74\0\0\x04" + bytes([len(name) // 2]) + name + bytes([16, 0, 0, 0])
        size = b"\x04\x04" + "4096".encode("utf-16-le") + b"\x04" + "4096".encode("utf-16-le")
        self.send(b"\xad" + struct.pack("<H", len(welcome)) + welcome + b"\xe3" + struct.pack("<H", len(size)) + size + DONE)
        self.user = user
        return True

    @staticmethod
    def error(number, severity, text):
        inside = struct.pack("<iBBH", number, 1, severity, len(text)) + text.encode("utf-16-le") + b"\0\0" + struct.pack("<i", 1)
        return b"\xaa" + struct.pack("<H", len(inside)) + inside + b"\xfd\x02\0\0\0" + bytes(8)

    def batch(self, body):
        headers, inner, kind = struct.unpack_from("<IIH", body)
        assert (headers, inner, kind) == (22, 18, 2) and body[10:18] == self.transaction, "the transaction that is open"
        text = body[22:].decode("utf-16-le")
        with self.server.lock:
            self.server.heard.append(text)
            try:
                self.send(self.say(text) + DONE)
            except Refused as refused:
                self.send(self.error(refused.number, 16, str(refused)))

    def say(self, text):
        server = self.server
        name = lambda found: found.group(1).replace("]]", "]")
        value = lambda found, n=1: found.group(n).replace("''", "'")
        if text.startswith("BEGIN TRANSACTION"):
            self.transaction, self.undo = b"\x01\0\0\0\x33\0\0\0", (dict(server.logins), set(server.users))
            return b"\xe3\x0b\0\x08\x08" + self.transaction + b"\0"
        if text.startswith(("COMMIT", "IF @@TRANCOUNT > 0 ROLLBACK")):
            if text.startswith("IF") and self.undo:
                server.logins, server.users = self.undo
            ended, self.transaction, self.undo = self.transaction, bytes(8), None
            return b"\xe3\x0b\0" + (b"\x09" if text[0] == "C" else b"\x0a") + b"\0\x08" + ended
        if found := re.fullmatch(f"CREATE LOGIN {NAME} WITH PASSWORD = {TEXT}", text):
            if name(found) in server.logins:
                raise Refused(15025, f"The server principal '{name(found)}' already exists.")
            server.logins[name(found)] = value(found, 2)
        elif found := re.fullmatch(f"CREATE USER {NAME} FOR LOGIN {NAME}", text):
            server.users.add(name(found))
        elif found := re.fullmatch(f"ALTER LOGIN {NAME} WITH PASSWORD = {TEXT}", text):
            self.known(name(found))
            server.logins[name(found)] = value(found, 2)
        elif found := re.fullmatch(f"ALTER LOGIN {NAME} DISABLE", text):
            self.known(name(found))
            server.disabled.add(name(found))
        elif found := re.fullmatch(f"DROP LOGIN {NAME}", text):
            self.known(name(found))
            assert name(found) not in server.users, "its user is to go first"
            del server.logins[name(found)]
        elif found := re.fullmatch(f"SELECT 1 FROM sys.server_principals WHERE name = {TEXT}", text):
            return self.rows(b"\x38", [struct.pack("<i", 1)] if value(found) in server.logins else [])
        elif text.startswith("SELECT name FROM sys.databases"):
            return self.names(["app"])
        elif found := re.fullmatch(rf"SELECT name FROM \[app\].sys.database_principals WHERE sid = SUSER_SID\({TEXT}\)", text):
            return self.names([value(found)] if value(found) in server.users else [])
        elif found := re.fullmatch(rf"EXEC \[app\].sys.sp_executesql {TEXT}", text):
            server.users.discard(name(re.fullmatch(f"DROP USER {NAME}", value(found))))
        elif text.startswith("SELECT session_id"):
            return self.names([])
        elif not text.startswith(("SET ", "SELECT 1", "use [app]")):
            raise Refused(102, f"Incorrect syntax near '{text[:40]}'.")
        return b""

    def known(self, name):
        if name not in self.server.logins:
            raise Refused(15151, f"Cannot alter the login '{name}', because it does not exist or you do not have permission.")

    def names(self, values):
        encoded = [value.encode("utf-16-le") for value in values]
        return self.rows(b"\xe7\0\x01\x09\x04\xd0\0\x34", [struct.pack("<H", len(value)) + value for value in encoded])

    @staticmethod
    def rows(kind, values):
        return b"\x81\x01\0" + bytes(4) + b"\x08\0" + kind + b"\0" + b"".join(b"\xd1" + value for value in values)


class OnSqlServer(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.db = Server()
        cls.server = harness.Server.dev()
        cls.api = cls.server.api
        cls.api.must("POST", "sys/mounts/database", {"type": "database"})
        cls.api.must("POST", "database/config/s", cls.config())
        cls.api.must("POST", "database/roles/app", {"db_name": "s", "creation_statements": CREATE, "default_ttl": "1h"})

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.db.shutdown()

    @classmethod
    def config(cls, **more):
        return {"plugin_name": "mssql-database-plugin", "connection_url": "sqlserver://{{username}}:{{password}}@127.0.0.1:%d?database=app" % cls.db.port,
                "username": "vault-admin", "password": ADMIN, "allowed_roles": "*", **more}

    def test_the_server_of_the_test_speaks_with_another_client(self):
        self.assertTrue(self.db.login("vault-admin", ADMIN))
        self.assertFalse(self.db.login("vault-admin", "wrong"))

    def test_a_login_works_and_ends(self):
        made = self.api.must("GET", "database/creds/app").json
        user, password = made["data"]["username"], made["data"]["password"]
        self.assertRegex(user, r"^v-[a-z-]*-app-[A-Za-z0-9]{20}-[0-9]+$")
        self.assertTrue(self.db.login(user, password))
        for _ in range(2):
            self.api.must("PUT", "sys/leases/revoke", {"lease_id": made["lease_id"], "sync": True})
        self.assertFalse(self.db.login(user, password))
        self.assertNotIn(user, self.db.logins)
        self.assertNotIn(user, self.db.users)

    def test_long_statements_and_hostile_names(self):
        self.api.must("POST", "database/config/hostile", self.config(username_template="v]'; DROP LOGIN [vault-admin] --{{random 8}}"))
        padded = CREATE + "SELECT 1 -- " + "x" * 20_000
        self.api.must("POST", "database/roles/hostile", {"db_name": "hostile", "creation_statements": padded})
        made = self.api.must("GET", "database/creds/hostile").json
        self.assertTrue(self.db.login(made["data"]["username"], made["data"]["password"]))
        self.api.must("PUT", "sys/leases/revoke", {"lease_id": made["lease_id"], "sync": True})
        self.assertFalse(self.db.login(made["data"]["username"], made["data"]["password"]))
        self.assertIn("vault-admin", self.db.logins)

    def test_refusals_are_clear_and_leave_nothing(self):
        before = set(self.db.logins)
        self.api.must("POST", "database/roles/bad", {"db_name": "s", "creation_statements": CREATE + "nonsense"})
        refused = self.api.get("database/creds/bad")
        self.assertEqual(500, refused.status)
        self.assertIn("102", refused.text)
        self.assertEqual(before, set(self.db.logins), "rolled back")
        for more, said in (({"password": "canary-wrong"}, "Login failed"), ({"connection_url": "sqlserver://h/x"}, "instance"),
                           ({"connection_url": "sqlserver://{{username}}:{{password}}@127.0.0.1:%d?encrypt=true" % self.db.port}, "speaks no TLS")):
            refused = self.api.post("database/config/bad", self.config(**more))
            self.assertEqual(400, refused.status, more)
            self.assertIn(said, refused.text)
            self.assertNotIn("canary", refused.text)

    def test_passwords_change(self):
        with self.db.lock:
            self.db.logins.update({"rooted": "first", "job": "first"})
        self.api.must("POST", "database/config/own", self.config(username="rooted", password="first"))
        self.api.must("POST", "database/rotate-root/own")
        self.assertFalse(self.db.login("rooted", "first"))
        self.api.must("POST", "database/static-roles/job", {"db_name": "own", "username": "job", "rotation_period": "1h"})
        self.assertTrue(self.db.login("job", self.api.must("GET", "database/static-creds/job").json["data"]["password"]))
        self.assertEqual(500, self.api.post("database/static-roles/none", {"db_name": "own", "username": "nobody", "rotation_period": "1h"}).status)


if __name__ == "__main__":
    unittest.main()
