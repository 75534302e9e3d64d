"""The database engine with real databases: logins that work and end, passwords that change, statements that fail, kill -9."""

import concurrent.futures
import http.client
import os
import random
import threading
import time
import unittest

import databases
import harness

KILLS = int(os.environ.get("COFFER_KILLS") or (100 if os.environ.get("COFFER_TEST_FULL") else 3))
ADMIN = "vault-admin-password"
CREATE = """CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO "{{name}}";"""


def creds(api, role):
    return api.must("GET", f"database/creds/{role}").json


def revoke(api, lease):
    api.must("PUT", "sys/leases/revoke", {"lease_id": lease, "sync": True})


class OnPostgres(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        lacking = databases.missing("postgres", "initdb", "psql", "openssl")
        if lacking:
            raise unittest.SkipTest(f"needs {' '.join(lacking)} (Debian: apt-get install postgresql)")
        cls.db = databases.Postgres()
        cls.db.make_admin()
        cls.server = harness.Server.dev()
        cls.api = cls.server.api
        cls.api.must("POST", "sys/mounts/database", {"type": "database"})
        cls.api.must("POST", "database/config/pg", {"plugin_name": "postgresql-database-plugin", "connection_url": cls.db.url(), "username": "vault-admin",
                                                    "password": ADMIN, "allowed_roles": "app*,st*"})
        cls.api.must("POST", "database/roles/app", {"db_name": "pg", "creation_statements": CREATE, "default_ttl": "1h", "max_ttl": "24h"})

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.db.stop()

    def test_the_guides_two_roles_as_they_stand(self):
        """The commands of a published guide, but for the host."""
        with harness.Server.dev() as server:
            def vault(*args):
                done = server.cli(*args)
                self.assertEqual(0, done.returncode, done.stderr)
                return done.stdout

            vault("secrets", "enable", "database")
            vault("write", "database/config/postgresql", "plugin_name=postgresql-database-plugin", "allowed_roles=app-readonly,app-readwrite",
                  f"connection_url={self.db.url()}", "username=vault-admin", f"password={ADMIN}")
            for role, rights in (("app-readonly", "SELECT"), ("app-readwrite", "SELECT, INSERT, UPDATE, DELETE")):
                vault("write", f"database/roles/{role}", "db_name=postgresql",
                      "creation_statements=CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}';         GRANT "
                      + rights + " ON ALL TABLES IN SCHEMA public TO \"{{name}}\";", "default_ttl=1h", "max_ttl=24h")
            before = self.db.roles()
            for role, writes in (("app-readonly", False), ("app-readwrite", True)):
                made = server.api.must("GET", f"database/creds/{role}").json
                user, password = made["data"]["username"], made["data"]["password"]
                self.assertEqual(3600, made["lease_duration"])
                self.assertRegex(user, f"^v-[a-z-]+-app-read-")
                self.assertEqual("one", self.db.login(user, password, "SELECT name FROM things LIMIT 1"))
                inserted = self.db.login(user, password, "INSERT INTO things VALUES ('two')")
                self.assertEqual(writes, inserted is not None)
                self.assertIsNone(self.db.login(user, password + "x"))
                revoke(server.api, made["lease_id"])
                self.assertIsNone(self.db.login(user, password), "refused once revoked")
            self.assertEqual(before, self.db.roles())

    def test_nobody_gets_the_same_login(self):
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda _: creds(self.api, "app"), range(24)))
        self.assertEqual(24, len({m["data"]["username"] for m in made}))
        self.assertEqual(24, len({m["data"]["password"] for m in made}))
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda m: revoke(self.api, m["lease_id"]), made))
        self.assertEqual(set(), self.db.roles() & {m["data"]["username"] for m in made})

    def test_revoking_ends_what_is_open_and_grants_elsewhere(self):
        self.db.ask('CREATE SCHEMA IF NOT EXISTS "odd ""name"; CREATE TABLE IF NOT EXISTS "odd ""name".t (c int)')
        more = CREATE + """ GRANT USAGE ON SCHEMA "odd ""name" TO "{{name}}"; GRANT SELECT (c) ON "odd ""name".t TO "{{name}}"; GRANT CONNECT, TEMPORARY ON DATABASE production TO "{{name}}";"""
        self.api.must("POST", "database/roles/app-more", {"db_name": "pg", "creation_statements": more})
        made = creds(self.api, "app-more")
        user, password = made["data"]["username"], made["data"]["password"]
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            open_session = pool.submit(self.db.login, user, password, "SELECT pg_sleep(60)")
            harness.eventually(lambda: self.db.ask(f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{user}'") == "1")
            revoke(self.api, made["lease_id"])
            self.assertIsNone(open_session.result(10), "the session ended")
        self.assertNotIn(user, self.db.roles())

    def test_an_expired_login_is_refused(self):
        self.api.must("POST", "database/roles/app-short", {"db_name": "pg", "creation_statements": CREATE, "default_ttl": "2s"})
        made = creds(self.api, "app-short")["data"]
        self.assertIsNotNone(self.db.login(made["username"], made["password"]))
        harness.eventually(lambda: made["username"] not in self.db.roles(), 15, "the end of the lease")
        self.assertIsNone(self.db.login(made["username"], made["password"]))

    def test_renewing_moves_the_end_in_the_database(self):
        made = creds(self.api, "app")
        user = made["data"]["username"]
        left = f"SELECT round(extract(epoch FROM rolvaliduntil - now())) FROM pg_roles WHERE rolname = '{user}'"
        self.assertAlmostEqual(3605, int(self.db.ask(left)), delta=10)
        renewed = self.api.must("PUT", "sys/leases/renew", {"lease_id": made["lease_id"], "increment": 7200}).json
        self.assertEqual(7200, renewed["lease_duration"])
        self.assertAlmostEqual(7205, int(self.db.ask(left)), delta=10)
        renewed = self.api.must("PUT", "sys/leases/renew", {"lease_id": made["lease_id"], "increment": 999999}).json
        self.assertAlmostEqual(86400, renewed["lease_duration"], delta=30)
        self.assertAlmostEqual(86405, int(self.db.ask(left)), delta=40)
        revoke(self.api, made["lease_id"])

    def test_roles_that_may_not_use_the_connection(self):
        self.api.must("POST", "database/roles/other", {"db_name": "pg", "creation_statements": CREATE})
        reply = self.api.get("database/creds/other")
        self.assertEqual((500, True), (reply.status, "is not an allowed role" in reply.errors[0]), reply)
        self.assertEqual(500, self.api.post("database/static-roles/other-st", {"db_name": "pg", "username": "x", "rotation_period": "60s"}).status)

    def test_hostile_names(self):
        self.api.must("POST", "database/config/free", {"plugin_name": "postgresql-database-plugin", "connection_url": self.db.url("disable"), "username": "vault-admin",
                                                       "password": ADMIN, "allowed_roles": "*", "username_template": "{{.DisplayName}}"})
        self.api.must("POST", "database/roles/free", {"db_name": "free", "creation_statements": CREATE + """COMMENT ON ROLE "{{name}}" IS '{{name}}';"""})
        self.api.must("PUT", "sys/policies/acl/free", {"policy": 'path "database/creds/*" { capabilities = ["read"] }'})
        self.db.ask("CREATE ROLE victim")
        for hostile in ['"; DROP ROLE victim; --', "'; DROP ROLE victim; --", "\\'; DROP ROLE victim; --", '{{password}}"', "$$; DROP ROLE victim; $$", "a\\", "ü\"'"]:
            token = self.api.must("POST", "auth/token/create", {"policies": ["free"], "display_name": hostile}).json["auth"]["client_token"]
            reply = self.api.get("database/creds/free", token=token)
            self.assertIn(reply.status, (200, 400), f"{hostile!r}: {reply}")
            if reply.status == 200:
                user = reply.data["username"]
                quoted = user.replace("'", "''")
                self.assertEqual("1", self.db.ask(f"SELECT count(*) FROM pg_roles WHERE rolname = E'{quoted}'".replace("\\", "\\\\")), user)
                revoke(self.api, reply.json["lease_id"])
            self.assertEqual({"victim"}, self.db.roles("victim"), hostile)
        # One that the database would cut off would not be found again.
        token = self.api.must("POST", "auth/token/create", {"policies": ["free"], "display_name": "x" * 70}).json["auth"]["client_token"]
        self.assertEqual(400, self.api.get("database/creds/free", token=token).status)
        self.assertEqual(set(), self.db.roles("token%"))

    def test_passwords_of_any_characters(self):
        policy = 'length = 30\nrule "charset" { charset = "\'\\"\\\\ab$;-% {}" }'
        self.api.must("PUT", "sys/policies/password/wild", {"policy": policy})
        self.api.must("POST", "database/roles/app-wild", {"db_name": "pg", "creation_statements": CREATE, "credential_config": {"password_policy": "wild"}})
        for _ in range(5):
            made = creds(self.api, "app-wild")
            self.assertEqual(30, len(made["data"]["password"]))
            self.assertIsNotNone(self.db.login(made["data"]["username"], made["data"]["password"]), made["data"])
            revoke(self.api, made["lease_id"])

    def test_what_the_database_refuses_leaves_nothing_and_tells_nothing(self):
        before = self.db.roles()
        for statements in ["CREATE ROLE \"{{name}}\" PASSWORD '{{password}}'; GRANT NONSENSE ON things TO \"{{name}}\"",
                           "CREATE ROLE \"{{name}}\" PASSWORD '{{password}}'; SELECT '{{password}}'::int",
                           "CREATE ROLE \"{{name}}\" PASSWORD '{{password}}'; COMMIT; SELECT * FROM nothing_there"]:
            self.api.must("POST", "database/roles/app-bad", {"db_name": "pg", "creation_statements": statements})
            reply = self.api.get("database/creds/app-bad")
            self.assertEqual((500, True), (reply.status, "SQLSTATE" in reply.errors[0]), reply)
            if "::int" in statements:
                self.assertIn("[redacted]", reply.errors[0])
            self.assertEqual(before, self.db.roles(), statements)
        self.api.must("POST", "database/roles/app-bad", {"creation_statements": 'CREATE ROLE "{{name}}" PASSWORD {{password}}'})
        self.assertEqual(400, self.api.get("database/creds/app-bad").status)

    def test_bad_connections_are_refused_and_kept_nowhere(self):
        good = {"plugin_name": "postgresql-database-plugin", "connection_url": self.db.url(), "username": "vault-admin", "password": ADMIN}
        for change, words in [({"password": "canary-7f3a"}, "28P01"), ({"connection_url": self.db.url().replace(str(self.db.port), "1")}, "reached"),
                              ({"connection_url": self.db.url().replace("production", "nothing")}, "3D000"), ({"connection_url": self.db.url("verify-full")}, "TLS"),
                              ({"connection_url": "nonsense"}, "not understood"), ({"plugin_name": "mongodb-database-plugin"}, "does not begin with mongodb://")]:
            reply = self.api.post("database/config/bad", {**good, **change})
            self.assertIn(reply.status, (400, 501), reply)
            self.assertIn(words, reply.errors[0])
            self.assertNotIn("canary", reply.text)
            self.assertEqual(404, self.api.get("database/config/bad").status)
        certificate = self.db.certificate()
        self.api.must("POST", "database/config/good", {**good, "connection_url": self.db.url("verify-full"), "tls_ca": certificate})
        self.api.must("DELETE", "database/config/good")

    def test_a_database_that_is_down_and_comes_back(self):
        database = databases.Postgres()
        database.make_admin()
        self.api.must("POST", "database/config/down", {"plugin_name": "postgresql-database-plugin", "connection_url": database.url(), "username": "vault-admin",
                                                       "password": ADMIN, "allowed_roles": "*"})
        self.api.must("POST", "database/roles/down", {"db_name": "down", "creation_statements": CREATE})
        made = creds(self.api, "down")
        database.stop()
        reply = self.api.get("database/creds/down")
        self.assertEqual((500, True), (reply.status, "reached" in reply.errors[0] or "broke" in reply.errors[0]), reply)
        reply = self.api.put("sys/leases/revoke", {"lease_id": made["lease_id"], "sync": True})
        self.assertGreaterEqual(reply.status, 400, "not revoked, and says so")
        database.start()
        self.assertEqual({made["data"]["username"]}, database.roles())
        self.assertIsNotNone(database.login(creds(self.api, "down")["data"]["username"], "") or "connections that broke are not used again")
        revoke(self.api, made["lease_id"])
        self.assertNotIn(made["data"]["username"], database.roles())
        database.stop()

    def test_the_root_password_changes(self):
        self.db.ask("CREATE ROLE second SUPERUSER LOGIN PASSWORD 'second-password'")
        self.api.must("POST", "database/config/second", {"plugin_name": "postgresql-database-plugin", "connection_url": self.db.url(), "username": "second",
                                                         "password": "second-password", "allowed_roles": "*"})
        self.api.must("POST", "database/roles/second", {"db_name": "second", "creation_statements": CREATE})
        revoke(self.api, creds(self.api, "second")["lease_id"])
        self.api.must("POST", "database/rotate-root/second", {})
        self.assertIsNone(self.db.login("second", "second-password"))
        self.assertNotIn("password", self.api.must("GET", "database/config/second").data["connection_details"])
        revoke(self.api, creds(self.api, "second")["lease_id"])

    def test_static_roles(self):
        self.db.ask("CREATE ROLE job LOGIN PASSWORD 'first'")
        self.api.must("POST", "database/static-roles/st-job", {"db_name": "pg", "username": "job", "rotation_period": "5s"})
        self.assertIsNone(self.db.login("job", "first"))
        held = self.api.must("GET", "database/static-creds/st-job").data
        self.assertEqual(("job", 5), (held["username"], held["rotation_period"]))
        self.assertLessEqual(held["ttl"], 5)
        self.assertIsNotNone(self.db.login("job", held["password"]))
        later = harness.eventually(lambda: (now := self.api.must("GET", "database/static-creds/st-job").data)["password"] != held["password"] and now, 15, "the change")
        self.assertIsNotNone(self.db.login("job", later["password"]))
        self.api.must("POST", "database/static-roles/st-job", {"db_name": "pg", "username": "job", "rotation_period": "1h"})
        self.api.must("POST", "database/rotate-role/st-job", {})
        self.assertIsNone(self.db.login("job", later["password"]))
        self.assertIsNotNone(self.db.login("job", self.api.must("GET", "database/static-creds/st-job").data["password"]))
        reply = self.api.post("database/static-roles/st-ghost", {"db_name": "pg", "username": "ghost", "rotation_period": "60s"})
        self.assertEqual((500, True), (reply.status, "42704" in reply.errors[0]), reply)
        self.assertEqual(404, self.api.get("database/static-roles/st-ghost").status)

    def test_static_roles_by_schedule(self):
        self.db.ask("CREATE ROLE cron LOGIN PASSWORD 'first'")
        self.api.must("POST", "database/static-roles/st-cron", {"db_name": "pg", "username": "cron", "rotation_schedule": "* * * * *", "rotation_window": "1h"})
        held = self.api.must("GET", "database/static-creds/st-cron").data
        self.assertEqual(("* * * * *", 3600), (held["rotation_schedule"], held["rotation_window"]))
        self.assertLessEqual(held["ttl"], 60)
        later = harness.eventually(lambda: (now := self.api.must("GET", "database/static-creds/st-cron").data)["password"] != held["password"] and now, 66, "the minute")
        self.assertIsNotNone(self.db.login("cron", later["password"]))
        self.api.must("DELETE", "database/static-roles/st-cron")

    def test_two_accounts_take_turns(self):
        self.db.ask("CREATE ROLE slot_a LOGIN; CREATE ROLE slot_b LOGIN")
        self.api.must("POST", "database/static-roles/st-two", {"db_name": "pg", "username": "slot_a", "second_username": "slot_b", "rotation_period": "1h"})
        first = self.api.must("GET", "database/static-creds/st-two").data
        self.api.must("POST", "database/rotate-role/st-two", {})
        second = self.api.must("GET", "database/static-creds/st-two").data
        self.assertEqual(["slot_a", "slot_b"], [first["username"], second["username"]])
        for held in (first, second):
            self.assertIsNotNone(self.db.login(held["username"], held["password"]), "the one before works still")
        # One that can't log in is never handed out.
        self.db.ask("ALTER ROLE slot_a NOLOGIN")
        self.assertEqual(500, self.api.post("database/rotate-role/st-two", {}).status)
        self.assertEqual(second["password"], self.api.must("GET", "database/static-creds/st-two").data["password"])

    def test_accounts_that_change_their_own_password(self):
        self.db.ask("CREATE ROLE alone LOGIN PASSWORD 'alone-1'")
        self.api.must("POST", "database/config/alone", {"plugin_name": "postgresql-database-plugin", "connection_url": self.db.url(), "self_managed": True, "allowed_roles": "*"})
        role = {"db_name": "alone", "username": "alone", "rotation_period": "1h"}
        self.assertEqual(400, self.api.post("database/static-roles/alone", role).status)
        self.assertEqual(500, self.api.post("database/static-roles/alone", {**role, "self_managed_password": "wrong"}).status)
        self.api.must("POST", "database/static-roles/alone", {**role, "self_managed_password": "alone-1"})
        self.api.must("POST", "database/rotate-role/alone", {})
        self.assertIsNone(self.db.login("alone", "alone-1"))
        self.assertIsNotNone(self.db.login("alone", self.api.must("GET", "database/static-creds/alone").data["password"]))

    def test_no_secret_in_the_log(self):
        made = creds(self.api, "app")
        self.api.get("database/creds/app-bad")
        log = self.server.log_text()
        self.assertNotIn(ADMIN, log)
        self.assertNotIn(made["data"]["password"], log)
        revoke(self.api, made["lease_id"])


class Killed(unittest.TestCase):
    """kill -9 between the making of a role and the commit of its lease, and at other moments."""

    @classmethod
    def setUpClass(cls):
        lacking = databases.missing("postgres", "initdb", "psql", "openssl")
        if lacking:
            raise unittest.SkipTest(f"needs {' '.join(lacking)} (Debian: apt-get install postgresql)")
        cls.db = databases.Postgres()
        cls.db.make_admin()

    @classmethod
    def tearDownClass(cls):
        cls.db.stop()

    def serve(self):
        server = harness.Server.durable()
        server.api.must("POST", "sys/mounts/database", {"type": "database"})
        server.api.must("POST", "database/config/pg", {"plugin_name": "postgresql-database-plugin", "connection_url": self.db.url("disable"), "username": "vault-admin",
                                                       "password": ADMIN, "allowed_roles": "*", "max_open_connections": 16})
        server.api.must("POST", "database/roles/app", {"db_name": "pg", "creation_statements": CREATE})
        # The role is there for good before the statements come to their end: so the kill lands where it hurts.
        server.api.must("POST", "database/roles/slow", {"db_name": "pg", "creation_statements": CREATE + "COMMIT; SELECT pg_sleep(20);"})
        return server

    def test_no_orphan_is_left(self):
        dice = random.Random(20261123)
        with self.serve() as server:
            orphans = 0
            for number in range(KILLS):
                known = self.db.roles()
                stopping = threading.Event()

                def ask(role):
                    while not stopping.is_set():
                        try:
                            if server.api.get(f"database/creds/{role}").status != 200:
                                return
                        except (OSError, http.client.HTTPException):
                            return

                with concurrent.futures.ThreadPoolExecutor(6) as pool:
                    for role in ("slow", "slow", "app", "app", "app", "app"):
                        pool.submit(ask, role)
                    harness.eventually(lambda: any("-slow-" in role for role in self.db.roles() - known), 20, "the making of a role")
                    time.sleep(dice.uniform(0, 0.3))
                    server.kill()
                    stopping.set()
                server.restart()
                orphans += len(self.db.roles()) - self.leases(server)
                harness.say(f"        kill {number + 1} of {KILLS}: {len(self.db.roles())} roles, {self.leases(server)} leases")
                if self.leases(server) > 300:  # PostgreSQL has one row for all grants on a table: some 1,500 roles are its end
                    # What the killed server had under way holds the database's connections for a while.
                    revoked = lambda: server.api.put("sys/leases/revoke-prefix/database/creds/app", {"sync": True}).status < 300
                    harness.eventually(revoked, 60, "room for more roles")
            self.assertGreaterEqual(orphans, KILLS, "each kill landed between the role and its lease")
            harness.eventually(lambda: not any("-slow-" in role for role in self.db.roles()) and len(self.db.roles()) == self.leases(server), 240, "the end of orphans")
            server.api.must("PUT", "sys/leases/revoke-prefix/database/creds", {"sync": True})
            harness.eventually(lambda: not self.db.roles(), 120, "the end of all roles")

    def leases(self, server):
        reply = server.api.list("sys/leases/lookup/database/creds/app/")
        return len(reply.data["keys"]) if reply.status == 200 else 0

    def test_logins_end_while_nobody_is_there_to_end_them(self):
        with self.serve() as server:
            server.api.must("POST", "database/roles/app", {"default_ttl": "2s"})
            made = creds(server.api, "app")["data"]
            server.kill()
            self.assertIsNotNone(self.db.login(made["username"], made["password"]))
            time.sleep(8)
            self.assertIsNone(self.db.login(made["username"], made["password"]), "its end stands in the database")
            server.restart()
            harness.eventually(lambda: made["username"] not in self.db.roles(), 15, "the revocation after the restart")

    def test_root_and_static_passwords_survive(self):
        self.db.ask("CREATE ROLE root2 SUPERUSER LOGIN PASSWORD 'root2'; CREATE ROLE job2 LOGIN PASSWORD 'x'")
        slow = "ALTER ROLE \"{{name}}\" PASSWORD '{{password}}'; COMMIT; SELECT pg_sleep(20)"
        with self.serve() as server:
            api = server.api
            api.must("POST", "database/config/pg2", {"plugin_name": "postgresql-database-plugin", "connection_url": self.db.url(), "username": "root2", "password": "root2",
                                                     "allowed_roles": "*", "root_rotation_statements": [slow]})
            api.must("POST", "database/roles/app2", {"db_name": "pg2", "creation_statements": CREATE})
            api.must("POST", "database/static-roles/job2", {"db_name": "pg2", "username": "job2", "rotation_period": "1h"})
            api.must("POST", "database/static-roles/job2", {"db_name": "pg2", "username": "job2", "rotation_statements": [slow]})
            for path in ("database/rotate-root/pg2", "database/rotate-role/job2"):
                name = "root2" if "root" in path else "job2"
                secret = f"SELECT rolpassword FROM pg_authid WHERE rolname = '{name}'"
                before = self.db.ask(secret)
                with concurrent.futures.ThreadPoolExecutor(1) as pool:
                    asked = pool.submit(lambda: api.post(path, {}))
                    harness.eventually(lambda: self.db.ask(secret) != before, 15, "the change in the database")
                    server.kill()
                    self.assertIsNotNone(asked.exception(20))
                server.restart()
                revoke(api, creds(api, "app2")["lease_id"])
                held = api.must("GET", "database/static-creds/job2").data
                self.assertIsNotNone(self.db.login("job2", held["password"]), f"after {path}")


class OnMariaDb(unittest.TestCase):
    CREATE = "CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}'; GRANT SELECT ON production.* TO '{{name}}'@'%';"

    @classmethod
    def setUpClass(cls):
        lacking = databases.missing("mariadbd", "mariadb-install-db", "mariadb")
        if lacking:
            raise unittest.SkipTest(f"needs {' '.join(lacking)} (Debian: apt-get install mariadb-server)")
        cls.db = databases.MariaDb()
        cls.db.make_admin()
        cls.server = harness.Server.dev()
        cls.api = cls.server.api
        cls.api.must("POST", "sys/mounts/database", {"type": "database"})
        cls.api.must("POST", "database/config/my", {"plugin_name": "mysql-database-plugin", "connection_url": cls.db.url(), "username": "vault-admin", "password": ADMIN,
                                                    "allowed_roles": "*"})
        cls.api.must("POST", "database/roles/app", {"db_name": "my", "creation_statements": cls.CREATE, "default_ttl": "1h"})

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.db.stop()

    def test_a_login_works_and_ends(self):
        made = creds(self.api, "app")
        user, password = made["data"]["username"], made["data"]["password"]
        self.assertLessEqual(len(user), 32)
        self.assertEqual("one", self.db.login(user, password, "SELECT name FROM production.things"))
        self.assertIsNone(self.db.login(user, password, "INSERT INTO production.things VALUES ('two')"))
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            open_session = pool.submit(self.db.login, user, password, "SELECT SLEEP(60)")
            harness.eventually(lambda: self.db.ask(f"SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = '{user}'") == "1")
            self.assertEqual(200, self.api.put("sys/leases/renew", {"lease_id": made["lease_id"]}).status)
            revoke(self.api, made["lease_id"])
            self.assertIsNone(open_session.result(10), "the session ended")
        self.assertIsNone(self.db.login(user, password))
        self.assertNotIn(user, self.db.users())

    def test_a_statement_that_fails_leaves_nothing(self):
        before = self.db.users()
        for more in ("GRANT NONSENSE ON *.* TO '{{name}}'@'%'", "SELECT '{{password}}' FROM nothing_there", "SELECT {{nothing}} '{{password}}' x y"):
            self.api.must("POST", "database/roles/bad", {"db_name": "my", "creation_statements": "CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}'; " + more})
            reply = self.api.get("database/creds/bad")
            self.assertEqual((500, True), (reply.status, "Error 1" in reply.errors[0]), reply)
            self.assertEqual(before, self.db.users(), "what this database does not take back itself is taken back")

    def test_hostile_names_and_passwords_of_any_characters(self):
        mode = self.db.ask("SELECT @@GLOBAL.sql_mode")
        for more in ("", ",NO_BACKSLASH_ESCAPES"):
            self.db.ask(f"SET GLOBAL sql_mode = '{mode}{more}'")
            self.hostile_names()
        self.db.ask(f"SET GLOBAL sql_mode = '{mode}'; DROP USER victim")

    def hostile_names(self):
        self.api.must("PUT", "sys/policies/password/wild", {"policy": 'length = 24\nrule "charset" { charset = "\'\\"\\\\`ab;-" }'})
        self.api.must("POST", "database/config/free", {"plugin_name": "mysql-database-plugin", "connection_url": self.db.url(), "username": "vault-admin", "password": ADMIN,
                                                       "allowed_roles": "*", "username_template": "{{.DisplayName | truncate 32}}", "password_policy": "wild"})
        self.api.must("POST", "database/roles/free", {"db_name": "free", "creation_statements": self.CREATE})
        self.api.must("PUT", "sys/policies/acl/free", {"policy": 'path "database/creds/*" { capabilities = ["read"] }'})
        self.db.ask("CREATE USER IF NOT EXISTS victim")
        for hostile in ["'; DROP USER victim; #", "\\'; DROP USER victim; #", "`\"'\\"]:
            token = self.api.must("POST", "auth/token/create", {"policies": ["free"], "display_name": hostile}).json["auth"]["client_token"]
            reply = self.api.get("database/creds/free", token=token)
            self.assertEqual(200, reply.status, reply)
            self.assertIsNotNone(self.db.login(reply.data["username"], reply.data["password"]), hostile)
            revoke(self.api, reply.json["lease_id"])
            self.assertEqual(({"victim"}, set()), (self.db.users("victim"), self.db.users("token%")))

    def test_root_and_static_passwords(self):
        self.db.ask("CREATE USER second@'127.0.0.1' IDENTIFIED BY 'second'; GRANT ALL ON *.* TO second@'127.0.0.1' WITH GRANT OPTION; "
                    "CREATE USER job@'127.0.0.1' IDENTIFIED BY 'first'; CREATE USER job@'localhost' IDENTIFIED BY 'first'")
        self.api.must("POST", "database/config/second", {"plugin_name": "mysql-database-plugin", "connection_url": self.db.url(), "username": "second", "password": "second",
                                                         "allowed_roles": "*"})
        self.api.must("POST", "database/rotate-root/second", {})
        self.assertIsNone(self.db.login("second", "second"))
        self.api.must("POST", "database/static-roles/job", {"db_name": "second", "username": "job", "rotation_period": "1h"})
        self.assertIsNone(self.db.login("job", "first"))
        self.assertIsNotNone(self.db.login("job", self.api.must("GET", "database/static-creds/job").data["password"]))
        reply = self.api.post("database/static-roles/ghost", {"db_name": "second", "username": "ghost", "rotation_period": "1h"})
        self.assertEqual((500, True), (reply.status, "does not exist" in reply.errors[0]), reply)

    def test_tls(self):
        config = {"plugin_name": "mysql-database-plugin", "username": "vault-admin", "password": ADMIN, "allowed_roles": "*"}
        self.db.ask("ALTER USER 'vault-admin'@'127.0.0.1' REQUIRE SSL")
        try:
            self.assertEqual(400, self.api.post("database/config/tls", {**config, "connection_url": self.db.url() + "?tls=false"}).status)
            self.assertEqual(400, self.api.post("database/config/tls", {**config, "connection_url": self.db.url() + "?tls=true"}).status, "an authority that nobody knows")
            other = databases.Redis()
            other.stop()
            self.assertEqual(400, self.api.post("database/config/tls", {**config, "connection_url": self.db.url(), "tls_ca": other.certificate()}).status)
            self.api.must("POST", "database/config/tls", {**config, "connection_url": self.db.url() + "?tls=skip-verify"})
            self.api.must("POST", "database/config/tls", {**config, "connection_url": self.db.url(), "tls_ca": self.db.certificate()})
            self.api.must("POST", "database/roles/tls", {"db_name": "tls", "creation_statements": self.CREATE})
            revoke(self.api, creds(self.api, "tls")["lease_id"])
        finally:
            self.db.ask("ALTER USER 'vault-admin'@'127.0.0.1' REQUIRE NONE")

    def test_wrong_passwords(self):
        reply = self.api.post("database/config/bad", {"plugin_name": "mysql-database-plugin", "connection_url": self.db.url(), "username": "vault-admin", "password": "canary-1"})
        self.assertEqual((400, True, False), (reply.status, "1045" in reply.errors[0], "canary" in reply.text), reply)


class OnRedis(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        lacking = databases.missing("redis-server", "redis-cli")
        if lacking:
            raise unittest.SkipTest(f"needs {' '.join(lacking)} (Debian: apt-get install redis-server)")
        cls.db = databases.Redis()
        cls.db.ask("SET", "k", "v")
        cls.server = harness.Server.dev()
        cls.api = cls.server.api
        cls.api.must("POST", "sys/mounts/database", {"type": "database"})
        cls.config = {"host": "127.0.0.1", "port": cls.db.port, "username": "default", "password": ADMIN, "allowed_roles": "*"}
        for plugin in ("redis", "valkey"):
            cls.api.must("POST", f"database/config/{plugin}", {"plugin_name": f"{plugin}-database-plugin", **cls.config})
            cls.api.must("POST", f"database/roles/{plugin}", {"db_name": plugin, "creation_statements": '["~*", "+@read"]'})

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.db.stop()

    def test_a_login_works_and_ends(self):
        self.api.must("POST", "database/roles/usual", {"db_name": "redis"})
        for role in ("redis", "valkey", "usual"):
            made = creds(self.api, role)
            user, password = made["data"]["username"], made["data"]["password"]
            self.assertEqual("v", self.db.login(user, password, "GET", "k"))
            self.assertIsNone(self.db.login(user, password, "SET", "k", "w"))
            self.assertEqual(200, self.api.put("sys/leases/renew", {"lease_id": made["lease_id"]}).status)
            revoke(self.api, made["lease_id"])
            self.assertIsNone(self.db.login(user, password, "GET", "k"))
        self.assertEqual(set(), self.db.users())

    def test_rules_that_are_refused(self):
        self.api.must("POST", "database/roles/bad", {"db_name": "redis", "creation_statements": '["+@nonsense"]'})
        reply = self.api.get("database/creds/bad")
        self.assertEqual((500, True), (reply.status, "+@nonsense" in reply.errors[0]), reply)
        self.assertEqual(set(), self.db.users())

    def test_root_and_static_passwords(self):
        self.db.ask("ACL", "SETUSER", "second", "on", ">second", "~*", "&*", "+@all")
        self.db.ask("ACL", "SETUSER", "job", "on", ">first", "~*", "+@read")
        self.api.must("POST", "database/config/second", {"plugin_name": "redis-database-plugin", **self.config, "username": "second", "password": "second"})
        self.api.must("POST", "database/rotate-root/second", {})
        self.assertIsNone(self.db.login("second", "second"))
        self.api.must("POST", "database/static-roles/job", {"db_name": "second", "username": "job", "rotation_period": "1h"})
        self.assertIsNone(self.db.login("job", "first", "GET", "k"))
        self.assertEqual("v", self.db.login("job", self.api.must("GET", "database/static-creds/job").data["password"], "GET", "k"))
        self.assertEqual(500, self.api.post("database/static-roles/ghost", {"db_name": "second", "username": "ghost", "rotation_period": "1h"}).status)
        self.assertNotIn("ghost", self.db.ask("ACL", "USERS"), "none is made by it")

    def test_tls(self):
        config = {"plugin_name": "redis-database-plugin", **self.config, "port": self.db.tls_port, "tls": True}
        self.assertEqual(400, self.api.post("database/config/tls", config).status, "an authority that nobody knows")
        self.api.must("POST", "database/config/tls", {**config, "insecure_tls": True})
        self.api.must("POST", "database/config/tls", {**config, "insecure_tls": False, "ca_cert": self.db.certificate()})
        self.api.must("POST", "database/roles/tls", {"db_name": "tls"})
        revoke(self.api, creds(self.api, "tls")["lease_id"])

    def test_bad_connections(self):
        for change in ({"password": "canary-2"}, {"port": 1}, {"username": ""}, {"host": ""}, {"tls": True}):
            reply = self.api.post("database/config/bad", {"plugin_name": "redis-database-plugin", **self.config, **change})
            self.assertEqual((400, False), (reply.status, "canary" in reply.text), reply)


if __name__ == "__main__":
    unittest.main()
