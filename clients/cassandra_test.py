"""The database engine with a real Cassandra: logins that work and end, passwords that change, statements that fail, kill -9."""

import os
import shutil
import signal
import threading
import time
import unittest

import databases
import harness

ADMIN = "vault-admin-password"
CREATE = """CREATE USER '{{username}}' WITH PASSWORD '{{password}}' NOSUPERUSER; GRANT SELECT ON KEYSPACE things TO '{{username}}';"""
JARS = os.environ.get("COFFER_CASSANDRA_JARS")
# What bin/cassandra tells Java of its modules.
EXPORTS = "java.base/jdk.internal.misc java.base/jdk.internal.ref java.base/sun.nio.ch java.management.rmi/com.sun.jmx.remote.internal.rmi " \
          "java.rmi/sun.rmi.registry java.rmi/sun.rmi.server java.sql/java.sql java.base/java.lang.ref jdk.unsupported/sun.misc"
OPENS = "java.base/java.lang.module java.base/jdk.internal.loader java.base/jdk.internal.ref java.base/jdk.internal.reflect java.base/jdk.internal.math " \
        "java.base/jdk.internal.module java.base/jdk.internal.util.jar java.base/sun.nio.ch java.base/java.io java.base/java.nio java.base/java.lang " \
        "java.base/java.util java.base/java.util.concurrent java.base/java.util.concurrent.atomic jdk.management/com.sun.management.internal"
CONFIG = """cluster_name: test
num_tokens: 1
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
data_file_directories: [{folder}/data]
commitlog_directory: {folder}/commitlog
saved_caches_directory: {folder}/caches
hints_directory: {folder}/hints
cdc_raw_directory: {folder}/cdc
commitlog_sync: periodic
commitlog_sync_period: 10000ms
endpoint_snitch: SimpleSnitch
seed_provider: [{{class_name: org.apache.cassandra.locator.SimpleSeedProvider, parameters: [{{seeds: "127.0.0.1:{storage}"}}]}}]
listen_address: 127.0.0.1
storage_port: {storage}
ssl_storage_port: {ssl_storage}
rpc_address: 127.0.0.1
start_native_transport: true
native_transport_port: {port}
authenticator: PasswordAuthenticator
authorizer: CassandraAuthorizer
role_manager: CassandraRoleManager
roles_validity: 0ms
permissions_validity: 0ms
credentials_validity: 0ms
client_encryption_options: {{enabled: true, optional: true, keystore: {folder}/keystore.p12, keystore_password: canary-store, store_type: PKCS12, require_client_auth: false}}
"""
LOG = """<configuration><appender name="O" class="ch.qos.logback.core.ConsoleAppender"><encoder><pattern>%-5level %logger{20} %msg%n</pattern></encoder></appender>
<root level="INFO"><appender-ref ref="O"/></root></configuration>"""


class Cassandra(databases.Database):
    end = signal.SIGKILL

    def prepare(self):
        self.make_certificate()
        self.run("openssl", "pkcs12", "-export", "-in", f"{self.folder}/tls.crt", "-inkey", f"{self.folder}/tls.key", "-out", f"{self.folder}/keystore.p12",
                 "-passout", "pass:canary-store", "-name", "server")
        (self.folder / "keystore.p12").chmod(0o644)
        conf = self.folder / "conf"
        conf.mkdir()
        (conf / "cassandra.yaml").write_text(CONFIG.format(folder=self.folder, port=self.port, storage=harness.free_port(), ssl_storage=harness.free_port()))
        (conf / "logback.xml").write_text(LOG)

    def command(self):
        more = [word for name, targets in (("--add-exports", EXPORTS), ("--add-opens", OPENS)) for target in targets.split()
                for word in (name, f"{target}=ALL-UNNAMED")]
        settings = {"cassandra.config": f"file://{self.folder}/conf/cassandra.yaml", "cassandra.storagedir": self.folder / "data",
                    "logback.configurationFile": self.folder / "conf" / "logback.xml", "cassandra.superuser_setup_delay_ms": 0,
                    "cassandra.skip_wait_for_gossip_to_settle": 0, "cassandra.ring_delay_ms": 1, "cassandra.jmx.local.port": harness.free_port(),
                    "jdk.attach.allowAttachSelf": "true", "io.netty.tryReflectionSetAccessible": "true", "java.io.tmpdir": self.folder,
                    "jna.tmpdir": self.folder}
        return ["java", "-Xms512m", "-Xmx512m", "-Xss512k", *(f"-D{k}={v}" for k, v in settings.items()), *more,
                "-cp", f"{JARS}/*:{self.folder}/conf", "org.apache.cassandra.service.CassandraDaemon"]

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError(self.log_text()[-3000:])
        return self.login("cassandra", "cassandra") is not None

    def login(self, user, password, cql="SELECT release_version FROM system.local"):
        """What an account gets by another client, or None where it is refused."""
        from cassandra import Unauthorized
        from cassandra.auth import PlainTextAuthProvider
        from cassandra.cluster import Cluster, NoHostAvailable
        cluster = Cluster(["127.0.0.1"], port=self.port, auth_provider=PlainTextAuthProvider(user, password), protocol_version=4,
                          connect_timeout=10, schema_event_refresh_window=-1, token_metadata_enabled=False, schema_metadata_enabled=False)
        try:
            return [tuple(row) for row in cluster.connect().execute(cql)]
        except (NoHostAvailable, Unauthorized):
            return None
        finally:
            cluster.shutdown()

    def roles(self):
        return {name for (name,) in self.login("cassandra", "cassandra", "SELECT role FROM system_auth.roles") if name.startswith("v_")}


class OnCassandra(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not JARS or not shutil.which("java") or not shutil.which("openssl"):
            raise unittest.SkipTest("needs a Java runtime, Maven for org.apache.cassandra:cassandra-all, and OpenSSL (Debian: apt-get install default-jre-headless maven openssl)")
        cls.db = Cassandra()
        for cql in ("CREATE KEYSPACE things WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}",
                    "CREATE TABLE things.names (name text PRIMARY KEY)", "INSERT INTO things.names (name) VALUES ('one')",
                    f"CREATE ROLE \"vault-admin\" WITH PASSWORD = '{ADMIN}' AND LOGIN = true AND SUPERUSER = true"):
            cls.db.login("cassandra", "cassandra", cql)
        cls.folder = harness.scratch()
        cls.server = harness.Server.durable()
        cls.api = cls.server.api
        cls.api.must("POST", "sys/mounts/database", {"type": "database"})
        cls.api.must("POST", "database/config/c", cls.config())
        cls.api.must("POST", "database/roles/app", {"db_name": "c", "creation_statements": CREATE, "default_ttl": "1h", "max_ttl": "24h"})

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.db.stop()

    @classmethod
    def config(cls, **more):
        return {"plugin_name": "cassandra-database-plugin", "hosts": "127.0.0.1", "port": cls.db.port, "username": "vault-admin", "password": ADMIN,
                "protocol_version": 4, "allowed_roles": "*", **more}

    def creds(self, role="app"):
        return self.api.must("GET", f"database/creds/{role}").json

    def test_a_login_works_and_ends(self):
        before = self.db.roles()
        made = self.creds()
        user, password = made["data"]["username"], made["data"]["password"]
        self.assertRegex(user, r"^v_[a-z_]*_app_[a-z0-9]{20}_[0-9]+$")
        self.assertEqual([("one",)], self.db.login(user, password, "SELECT name FROM things.names"))
        self.assertIsNone(self.db.login(user, password, "INSERT INTO things.names (name) VALUES ('two')"))
        self.assertIsNone(self.db.login(user, password + "x"))
        for _ in range(2):
            self.api.must("PUT", "sys/leases/revoke", {"lease_id": made["lease_id"], "sync": True})
        self.assertIsNone(self.db.login(user, password), "refused once revoked")
        self.assertEqual(before, self.db.roles())

    def test_without_statements_and_with_tls(self):
        self.api.must("POST", "database/config/tls", self.config(tls=True, tls_ca=self.db.certificate()))
        self.api.must("POST", "database/roles/plain", {"db_name": "tls"})
        made = self.creds("plain")
        self.assertIsNotNone(self.db.login(made["data"]["username"], made["data"]["password"]))
        self.api.must("PUT", "sys/leases/revoke", {"lease_id": made["lease_id"], "sync": True})
        refused = self.api.post("database/config/other", self.config(tls=True))
        self.assertEqual(400, refused.status, "no authority that is known")

    def test_refusals_are_clear_and_leave_nothing(self):
        before = self.db.roles()
        for more, said in (({"password": "canary-wrong"}, "incorrect"), ({"port": harness.free_port()}, "can't be reached"), ({"hosts": ""}, "hosts cannot be empty"),
                           ({"protocol_version": 2}, "must be 3 or 4"), ({"consistency": "MOST"}, "consistency")):
            refused = self.api.post("database/config/bad", self.config(**more))
            self.assertEqual(400, refused.status, more)
            self.assertIn(said, refused.text)
            self.assertNotIn("canary", refused.text)
        for statements in ("CREATE USER '{{username}}' WITH PASSWORD '{{password}}'; GRANT SELECT ON KEYSPACE nothing TO '{{username}}'",
                           "CREATE USER '{{username}}' WITH", "CREATE USER '{{username}}' WITH PASSWORD '{{password}}'; nonsense"):
            self.api.must("POST", "database/roles/bad", {"db_name": "c", "creation_statements": statements})
            refused = self.api.get("database/creds/bad")
            self.assertEqual(500, refused.status, statements)
        self.assertEqual(before, self.db.roles(), "nothing is half created")

    def test_hostile_names_stay_names(self):
        self.api.must("POST", "database/config/hostile", self.config(username_template="""v_$$"; DROP ROLE cassandra; --{{random 8}}"""))
        self.api.must("POST", "database/roles/hostile", {"db_name": "hostile", "creation_statements": CREATE})
        made = self.creds("hostile")
        self.assertIn("DROP ROLE", made["data"]["username"])
        self.assertEqual([("one",)], self.db.login(made["data"]["username"], made["data"]["password"], "SELECT name FROM things.names"))
        self.api.must("PUT", "sys/leases/revoke", {"lease_id": made["lease_id"], "sync": True})
        self.assertIsNone(self.db.login(made["data"]["username"], made["data"]["password"]))
        # The server puts names into statements of its own: a quote would end theirs.
        self.api.must("POST", "database/config/hostile", self.config(username_template="v_'{{random 8}}"))
        self.assertEqual(400, self.api.get("database/creds/hostile").status)
        self.assertIsNotNone(self.creds()["data"]["username"])

    def test_passwords_change(self):
        for user in ("rooted", "job"):
            self.db.login("cassandra", "cassandra", f"CREATE ROLE {user} WITH PASSWORD = 'first' AND LOGIN = true AND SUPERUSER = {'true' if user == 'rooted' else 'false'}")
        self.api.must("POST", "database/config/own", self.config(username="rooted", password="first"))
        self.api.must("POST", "database/rotate-root/own")
        self.assertIsNone(self.db.login("rooted", "first"))
        self.api.must("POST", "database/static-roles/job", {"db_name": "own", "username": "job", "rotation_period": "1h"})
        first = self.api.must("GET", "database/static-creds/job").json["data"]
        self.assertIsNotNone(self.db.login("job", first["password"]))
        self.api.must("POST", "database/rotate-role/job")
        second = self.api.must("GET", "database/static-creds/job").json["data"]
        self.assertIsNone(self.db.login("job", first["password"]))
        self.assertIsNotNone(self.db.login("job", second["password"]))
        refused = self.api.post("database/static-roles/none", {"db_name": "own", "username": "nobody", "rotation_period": "1h"})
        self.assertEqual(500, refused.status)

    def test_nothing_is_left_where_the_server_is_killed(self):
        made = self.creds()["data"]["username"]
        self.assertIn(made, self.of_app())
        for delay in (0.0, 0.01, 0.03, 0.06, 0.1):
            asking = threading.Thread(target=self.ask_and_be_cut_off)
            asking.start()
            time.sleep(delay)
            self.server.kill()
            asking.join()
            self.server.restart()
        # Leases that were registered go with their mount's prefix, the others with their notes.
        self.api.must("PUT", "sys/leases/revoke-prefix/database/creds/app")
        harness.eventually(lambda: not self.of_app(), 150, "the removal of what was left")

    def of_app(self):
        return {name for name in self.db.roles() if "_app_" in name}

    def ask_and_be_cut_off(self):
        try:
            self.api.get("database/creds/app")
        except Exception as error:  # However the connection breaks.
            harness.say(f"cut off: {type(error).__name__}")


if __name__ == "__main__":
    unittest.main()
