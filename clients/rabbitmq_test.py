"""Users of a real RabbitMQ: they are there with their permissions while their lease lives, and gone after it."""

import base64
import http.client
import json
import os
import pathlib
import subprocess
import time
import unittest
import urllib.parse

import harness

SERVER = pathlib.Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


class Broker:
    """RabbitMQ with its management API, all of it on the loopback interface and in a folder of its own."""

    def __init__(self):
        self.folder = harness.scratch()
        self.port, amqp, distribution, self.epmd = (harness.free_port() for _ in range(4))
        (self.folder / "plugins").write_text("[rabbitmq_management].\n")
        (self.folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{amqp}\nmanagement.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {self.port}\n"
        )
        env = harness.clean_env(
            self.folder,
            RABBITMQ_NODENAME=f"coffer{self.port}@localhost",
            RABBITMQ_MNESIA_BASE=self.folder / "mnesia",
            RABBITMQ_LOG_BASE=self.folder / "log",
            RABBITMQ_ENABLED_PLUGINS_FILE=self.folder / "plugins",
            RABBITMQ_CONFIG_FILE=self.folder / "rabbitmq.conf",
            RABBITMQ_PID_FILE=self.folder / "pid",
            RABBITMQ_DIST_PORT=distribution,
            RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1}",
            ERL_EPMD_ADDRESS="127.0.0.1",
            ERL_EPMD_PORT=self.epmd,
        )
        self.env = env
        with open(self.folder / "out", "wb") as out:
            self.process = subprocess.Popen([SERVER], env=env, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        self.uri = f"http://127.0.0.1:{self.port}"

    def ready(self):
        if self.process.poll() is not None:
            raise AssertionError("the broker ended: " + (self.folder / "out").read_text()[-800:])
        try:
            return self.ask("whoami", "guest", "guest")[0] == 200
        except OSError:
            return False

    def ask(self, path, user="guest", password="guest"):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            login = base64.b64encode(f"{user}:{password}".encode()).decode()
            connection.request("GET", f"/api/{path}", headers={"Authorization": f"Basic {login}"})
            reply = connection.getresponse()
            return reply.status, json.loads(reply.read())
        finally:
            connection.close()

    def users(self):
        return sorted(user["name"] for user in self.ask("users")[1])

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
        # The port mapper outlives the nodes that it maps, and goes when it is told to.
        end = time.monotonic() + 10
        while time.monotonic() < end:
            told = subprocess.run(["epmd", "-port", str(self.epmd), "-kill"], env=self.env, capture_output=True, text=True)
            if "Killed" in told.stdout + told.stderr or "Cannot connect" in told.stdout + told.stderr:
                break
            time.sleep(0.5)


class RabbitMq(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not SERVER.exists():
            raise unittest.SkipTest("needs RabbitMQ (Debian: apt-get install rabbitmq-server)")
        cls.broker = Broker()
        cls.addClassCleanup(cls.broker.stop)
        cls.server = harness.Server.dev()
        cls.addClassCleanup(cls.server.stop)
        harness.eventually(cls.broker.ready, 120, "the broker")
        cls.api = cls.server.api
        cls.api.must("POST", "sys/mounts/rabbitmq", {"type": "rabbitmq"})
        cls.api.must("POST", "rabbitmq/config/connection", {"connection_uri": cls.broker.uri, "username": "guest", "password": "guest"})
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        cls.api.must("POST", "rabbitmq/roles/app", {
            "tags": "monitoring",
            "vhosts": json.dumps({"/": everything}),
            "vhost_topics": json.dumps({"/": {"amq.topic": {"write": "^a$", "read": "^b$"}}}),
        })

    def test_a_user_works_and_is_gone_with_its_lease(self):
        made = self.api.must("GET", "rabbitmq/creds/app").json
        user, password = made["data"]["username"], made["data"]["password"]
        self.assertTrue(made["renewable"])
        self.assertEqual(self.broker.ask("whoami", user, password), (200, {"name": user, "tags": ["monitoring"]}))
        path = urllib.parse.quote(user, safe="")
        permissions = self.broker.ask(f"users/{path}/permissions")[1]
        self.assertEqual([(p["vhost"], p["configure"], p["write"], p["read"]) for p in permissions], [("/", ".*", ".*", ".*")])
        topics = self.broker.ask(f"users/{path}/topic-permissions")[1]
        self.assertEqual([(p["exchange"], p["write"], p["read"]) for p in topics], [("amq.topic", "^a$", "^b$")])
        renewed = self.api.must("POST", "sys/leases/renew", {"lease_id": made["lease_id"], "increment": 600}).json
        self.assertEqual(renewed["lease_duration"], 600)
        self.api.must("POST", "sys/leases/revoke", {"lease_id": made["lease_id"], "sync": True})
        self.assertEqual(self.broker.ask("whoami", user, password)[0], 401)
        self.assertNotIn(user, self.broker.users())

    def test_a_user_is_gone_when_its_lease_ends(self):
        self.api.must("POST", "rabbitmq/config/lease", {"ttl": 2, "max_ttl": 2})
        try:
            made = self.api.must("GET", "rabbitmq/creds/app").json
        finally:
            self.api.must("POST", "rabbitmq/config/lease", {"ttl": 0, "max_ttl": 0})
        self.assertEqual(made["lease_duration"], 2)
        user = made["data"]["username"]
        self.assertIn(user, self.broker.users())
        harness.eventually(lambda: user not in self.broker.users(), 15, "the end of the user")

    def test_disabling_the_mount_takes_the_users_away(self):
        self.api.must("POST", "sys/mounts/other", {"type": "rabbitmq"})
        self.api.must("POST", "other/config/connection", {"connection_uri": self.broker.uri, "username": "guest", "password": "guest"})
        self.api.must("POST", "other/roles/app", {"tags": "management"})
        users = [self.api.must("GET", "other/creds/app").data["username"] for _ in range(3)]
        self.assertEqual(set(users) - set(self.broker.users()), set())
        self.api.must("DELETE", "sys/mounts/other")
        harness.eventually(lambda: not set(users) & set(self.broker.users()), 15, "the end of the users")

    def test_hostile_names_stay_names(self):
        self.api.must("POST", "sys/mounts/odd", {"type": "rabbitmq"})
        self.api.must("POST", "odd/config/connection", {
            "connection_uri": self.broker.uri, "username": "guest", "password": "guest",
            "username_template": "../users/guest?x=%2F#{{.RoleName}} \"'{{random 4}}",
        })
        self.api.must("POST", "odd/roles/r", {"vhosts": json.dumps({"/": {"read": ".*"}})})
        made = self.api.must("GET", "odd/creds/r").json
        self.assertIn(made["data"]["username"], self.broker.users())
        self.api.must("POST", "sys/leases/revoke", {"lease_id": made["lease_id"], "sync": True})
        self.assertNotIn(made["data"]["username"], self.broker.users())
        self.assertIn("guest", self.broker.users())

    def test_refusals(self):
        before = self.broker.users()
        wrong = self.api.post("rabbitmq/config/connection", {"connection_uri": self.broker.uri, "username": "guest", "password": "canary-wrong"})
        self.assertEqual(wrong.status, 500)
        self.assertIn("status 401", wrong.errors[0])
        nobody = self.api.post("rabbitmq/config/connection", {"connection_uri": "http://127.0.0.1:1", "username": "guest", "password": "canary-wrong"})
        self.assertEqual(nobody.status, 500)
        self.api.must("POST", "rabbitmq/roles/nowhere", {"vhosts": json.dumps({"no such vhost": {"read": ".*"}})})
        refused = self.api.get("rabbitmq/creds/nowhere")
        self.assertEqual(refused.status, 500)
        self.assertIn("permissions could not be made", refused.errors[0])
        self.assertEqual(self.api.get("rabbitmq/creds/none").status, 400)
        for reply in (wrong, nobody, refused):
            self.assertNotIn("canary", reply.text)
        # The user whose permissions were refused is taken away by its note, later; no other came.
        self.assertLessEqual(len(set(self.broker.users()) - set(before)), 1)


if __name__ == "__main__":
    unittest.main()
