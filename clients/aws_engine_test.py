"""The AWS engine against moto's server: through boto3 one sees that users and their keys are there while the lease lives, and gone after
it; through hvac that the guide's client gets them. Moto keeps accounts and policies; it checks no signatures (those are held to AWS's own
published suite elsewhere)."""

import json
import os
import subprocess
import sys
import time
import unittest
import http.server
import threading

import harness

try:
    import boto3
    import botocore.exceptions
    import hvac
    import moto  # noqa: F401
except ImportError:
    boto3 = None

POLICY = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]})
READ_ONLY = "arn:aws:iam::123456789012:policy/ReadOnly"


class Cloud:
    """Moto's server on the loopback interface."""

    def __init__(self):
        self.port, self.folder = harness.free_port(), harness.scratch()
        self.address = f"http://127.0.0.1:{self.port}"
        with open(self.folder / "out", "wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", str(self.port)],
                stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=self.folder, env=harness.clean_env(self.folder),
            )
        self.iam = boto3.client("iam", endpoint_url=self.address, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
        harness.eventually(self.answers, 60, "moto's server")
        self.iam.create_policy(PolicyName="ReadOnly", PolicyDocument=POLICY)

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError("moto's server ended: " + (self.folder / "out").read_text()[-800:])
        try:
            self.iam.list_users()
            return True
        except botocore.exceptions.BotoCoreError:
            return False

    def users(self):
        return {user["UserName"] for user in self.iam.list_users()["Users"]}

    def whoami(self, data):
        sts = boto3.client("sts", endpoint_url=self.address, region_name="us-east-1", aws_access_key_id=data["access_key"],
                           aws_secret_access_key=data["secret_key"], aws_session_token=data.get("session_token"))
        return sts.get_caller_identity()["Arn"]

    def stop(self):
        self.process.terminate()
        self.process.wait(20)


class Between(http.server.ThreadingHTTPServer):
    """Stands between the server and AWS, and may do something once an action was done there, before its reply goes on."""

    def __init__(self, target, after):
        self.after = after

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                there = harness.http.client.HTTPConnection("127.0.0.1", target, timeout=20)
                there.request("POST", self.path, body, dict(self.headers))
                reply = there.getresponse()
                text = reply.read()
                there.close()
                if self.server.after(body.decode()):
                    return
                self.send_response(reply.status)
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Engine(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if boto3 is None:
            raise unittest.SkipTest("needs boto3 and moto (clients/requirements.txt)")
        cls.cloud = Cloud()
        cls.addClassCleanup(cls.cloud.stop)
        cls.server = harness.Server.dev()
        cls.addClassCleanup(cls.server.stop)
        cls.api = cls.server.api
        cls.configure(cls.api)

    @classmethod
    def configure(cls, api, mount="aws", iam=None):
        api.must("POST", f"sys/mounts/{mount}", {"type": "aws"})
        api.must("POST", f"{mount}/config/root", {
            "access_key": "AKIAIOSFODNN7EXAMPLE", "secret_key": "canary-root-secret", "region": "us-east-1",
            "iam_endpoint": iam or cls.cloud.address, "sts_endpoint": cls.cloud.address,
        })
        api.must("POST", f"{mount}/roles/s3-readonly", {
            "credential_type": "iam_user", "policy_arns": [READ_ONLY], "policy_document": POLICY, "user_path": "/apps/", "iam_tags": {"team": "a"},
        })

    def setUp(self):
        self.before = self.cloud.users()

    def made(self):
        (user,) = self.cloud.users() - self.before
        return user

    def test_the_guides_client_gets_a_user_that_ends_with_its_lease(self):
        client = hvac.Client(url=self.server.address, token=self.server.token)
        reply = client.secrets.aws.generate_credentials(name="s3-readonly")
        data, user = reply["data"], self.made()
        self.assertGreater(reply["lease_duration"], 0)
        self.assertIsNone(data.get("security_token"))
        self.assertEqual(self.cloud.whoami(data), self.cloud.iam.get_user(UserName=user)["User"]["Arn"])
        known = self.cloud.iam.get_user(UserName=user)["User"]
        self.assertEqual(known["Path"], "/apps/")
        self.assertEqual(self.cloud.iam.list_user_tags(UserName=user)["Tags"], [{"Key": "team", "Value": "a"}])
        self.assertEqual([p["PolicyArn"] for p in self.cloud.iam.list_attached_user_policies(UserName=user)["AttachedPolicies"]], [READ_ONLY])
        self.assertEqual(self.cloud.iam.get_user_policy(UserName=user, PolicyName="s3-readonly")["PolicyDocument"], json.loads(POLICY))
        self.assertEqual([k["AccessKeyId"] for k in self.cloud.iam.list_access_keys(UserName=user)["AccessKeyMetadata"]], [data["access_key"]])
        self.assertEqual(client.sys.renew_lease(lease_id=reply["lease_id"], increment=3600)["lease_duration"], 3600)
        self.api.must("POST", "sys/leases/revoke", {"lease_id": reply["lease_id"], "sync": True})
        self.assertEqual(self.cloud.users(), self.before)

    def test_groups_are_joined_and_left(self):
        self.cloud.iam.create_group(GroupName="readers")
        self.api.must("POST", "aws/roles/grouped", {"credential_type": "iam_user", "iam_groups": ["readers"]})
        reply = self.api.must("GET", "aws/creds/grouped").json
        self.assertEqual([u["UserName"] for u in self.cloud.iam.get_group(GroupName="readers")["Users"]], [self.made()])
        self.api.must("POST", "sys/leases/revoke", {"lease_id": reply["lease_id"], "sync": True})
        self.assertEqual((self.cloud.users(), self.cloud.iam.get_group(GroupName="readers")["Users"]), (self.before, []))

    def test_a_user_is_gone_when_its_lease_ends(self):
        self.api.must("POST", "aws/config/lease", {"lease": "2s", "lease_max": "2s"})
        self.assertEqual(self.api.must("GET", "aws/config/lease").data, {"lease": "2s", "lease_max": "2s"})
        try:
            self.assertEqual(self.api.must("GET", "aws/creds/s3-readonly").json["lease_duration"], 2)
        finally:
            self.api.must("POST", "aws/config/lease", {"lease": "0", "lease_max": "0"})
        self.made()
        harness.eventually(lambda: self.cloud.users() == self.before, 15, "the end of the user")

    def test_many_at_once_and_all_gone_with_the_mount(self):
        self.configure(self.api, "many")
        with harness_pool(8) as pool:
            replies = list(pool.map(lambda _: self.api.get("many/creds/s3-readonly"), range(24)))
        self.assertEqual({r.status for r in replies}, {200})
        self.assertEqual(len(self.cloud.users() - self.before), 24)
        self.api.must("DELETE", "sys/mounts/many")
        harness.eventually(lambda: self.cloud.users() == self.before, 30, "the end of the users")

    def test_sessions(self):
        arn = self.cloud.iam.create_role(RoleName="deploy", AssumeRolePolicyDocument=POLICY)["Role"]["Arn"]
        self.api.must("POST", "aws/roles/assume", {"credential_type": "assumed_role", "role_arns": [arn], "session_tags": {"a": "b"}})
        self.api.must("POST", "aws/roles/federate", {"credential_type": "federation_token", "policy_document": POLICY})
        self.api.must("POST", "aws/roles/session", {"credential_type": "session_token"})
        for path, body in [("aws/creds/assume", {"ttl": "15m"}), ("aws/sts/assume", {"role_arn": arn, "role_session_name": "me"}), ("aws/sts/federate", {}), ("aws/creds/session", {})]:
            with self.subTest(path=path, body=body):
                reply = self.api.must("POST", path, body).json
                data = reply["data"]
                self.assertFalse(reply["renewable"])
                self.assertTrue(data["access_key"] and data["secret_key"])
                self.assertEqual(data["security_token"], data["session_token"])
                self.assertLessEqual(reply["lease_duration"], 900 if body.get("ttl") else 3600)
                self.assertLessEqual(abs(reply["lease_duration"] - data["ttl"]), 1)
                self.assertEqual(self.api.post("sys/leases/renew", {"lease_id": reply["lease_id"]}).status, 400)
                if "assume" in path:
                    self.assertIn(":assumed-role/deploy/", data["arn"])
                    self.assertIn(":assumed-role/deploy/", self.cloud.whoami(data))
        self.cloud.iam.create_group(GroupName="narrow")
        self.cloud.iam.put_group_policy(GroupName="narrow", PolicyName="own", PolicyDocument=POLICY)
        self.cloud.iam.attach_group_policy(GroupName="narrow", PolicyArn=READ_ONLY)
        self.api.must("POST", "aws/roles/narrowed", {"credential_type": "assumed_role", "role_arns": [arn], "iam_groups": ["narrow"]})
        self.api.must("GET", "aws/creds/narrowed")
        self.api.must("POST", "aws/roles/narrowed", {"iam_groups": ["no such group"]})
        self.assertIn("NoSuchEntity", self.api.get("aws/creds/narrowed").errors[0])
        client = hvac.Client(url=self.server.address, token=self.server.token)
        reply = client.secrets.aws.generate_credentials(name="assume", endpoint="sts", ttl="20m", role_arn=arn)
        self.assertLessEqual(reply["lease_duration"], 1200)
        self.assertEqual(self.cloud.users(), self.before)

    def test_the_engines_own_key_is_rotated(self):
        self.cloud.iam.create_user(UserName="engine")
        self.addCleanup(lambda: self.cloud.iam.delete_user(UserName="engine"))
        key = self.cloud.iam.create_access_key(UserName="engine")["AccessKey"]
        self.api.must("POST", "sys/mounts/own", {"type": "aws"})
        self.api.must("POST", "own/config/root", {"access_key": key["AccessKeyId"], "secret_key": key["SecretAccessKey"], "iam_endpoint": self.cloud.address})
        keys = lambda: {k["AccessKeyId"] for k in self.cloud.iam.list_access_keys(UserName="engine")["AccessKeyMetadata"]}
        self.addCleanup(lambda: [self.cloud.iam.delete_access_key(UserName="engine", AccessKeyId=k) for k in keys()])
        new = self.api.must("POST", "own/config/rotate-root").data["access_key"]
        self.assertNotEqual(new, key["AccessKeyId"])
        root = self.api.must("GET", "own/config/root")
        self.assertEqual(root.data["access_key"], new)
        self.assertNotIn("secret", root.text)
        harness.eventually(lambda: keys() == {new}, 15, "the end of the old key")
        self.cloud.iam.create_access_key(UserName="engine")
        refused = self.api.post("own/config/rotate-root")
        self.assertEqual(refused.status, 400)
        self.assertEqual(len(keys()), 2)

    def test_refusals(self):
        for method, path, body, status, part in [
            ("GET", "aws/creds/none", None, 400, "Role 'none' not found"),
            ("POST", "aws/creds/s3-readonly", {"role_arn": "arn:aws:iam::1:role/x"}, 400, "role_arn has no effect"),
            ("POST", "aws/roles/x", {"credential_type": "iam_user", "policy_document": "{canary"}, 400, "cannot parse policy document"),
            ("POST", "aws/roles/x", {"credential_type": "magic"}, 400, "unrecognized credential_type"),
            ("POST", "aws/roles/x", {"credential_type": "session_token", "default_sts_ttl": "2h", "max_sts_ttl": "1h"}, 400, "max_sts_ttl"),
        ]:
            with self.subTest(path=path, body=body):
                reply = self.api.call(method, path, body)
                self.assertEqual(reply.status, status)
                self.assertIn(part, reply.errors[0])
                self.assertNotIn("canary", reply.text)
        self.api.must("POST", "aws/roles/missing", {"credential_type": "iam_user", "iam_groups": ["no such group"]})
        reply = self.api.get("aws/creds/missing")
        self.assertEqual((reply.status, reply.errors[0]), (500, "AWS refused AddUserToGroup: NoSuchEntity (status 404)"))
        self.assertEqual(self.cloud.users(), self.before, "what was made by then is taken back at once")
        self.api.must("POST", "sys/mounts/down", {"type": "aws"})
        self.api.must("POST", "down/config/root", {"access_key": "A", "secret_key": "canary", "iam_endpoint": "http://127.0.0.1:1"})
        self.api.must("POST", "down/roles/r", {"credential_type": "iam_user", "policy_arns": READ_ONLY})
        reply = self.api.get("down/creds/r")
        self.assertEqual(reply.status, 500)
        self.assertNotIn("canary", reply.text)
        self.assertNotIn("canary", self.server.log_text())

    def test_a_policy_of_the_guide_is_enough(self):
        token = self.server.api.token_for("app", 'path "aws/creds/s3-readonly" { capabilities = ["read"] }')
        reply = self.api.get("aws/creds/s3-readonly", token=token)
        self.assertEqual(reply.status, 200)
        for path in ("aws/creds/other", "aws/config/root", "aws/roles/s3-readonly", "aws/sts/s3-readonly"):
            self.assertEqual(self.api.get(path, token=token).status, 403, path)
        self.api.must("POST", "auth/token/revoke", {"token": token})
        harness.eventually(lambda: self.cloud.users() == self.before, 15, "the end of the user with its token")


class KillNine(unittest.TestCase):
    """The process ends between what it did at AWS and its own commit."""

    def test_no_user_is_left(self):
        if boto3 is None:
            raise unittest.SkipTest("needs boto3 and moto (clients/requirements.txt)")
        cloud = Cloud()
        self.addCleanup(cloud.stop)
        killed = threading.Event()

        def kill_after(body, action):
            if f"Action={action}&" in body and not killed.is_set():
                killed.set()
                server.kill()
                return True
            return False

        with harness.Server.durable() as server:
            Engine.cloud = cloud
            between = Between(cloud.port, lambda body: kill_after(body, step))
            self.addCleanup(between.shutdown)
            step = "none"
            Engine.configure(server.api, iam=f"http://127.0.0.1:{between.server_port}")
            for step in ("CreateUser", "AttachUserPolicy", "CreateAccessKey"):
                killed.clear()
                with self.assertRaises((OSError, harness.http.client.HTTPException)):
                    server.api.get("aws/creds/s3-readonly")
                self.assertTrue(killed.is_set())
                server.restart()
            step = "none"
            self.assertEqual(len(cloud.users()), 3)
            began = time.monotonic()
            # A note counts as left over once no call can be at work on it any more.
            harness.eventually(lambda: not cloud.users(), 120, "the rolling back of the three users")
            print(f"rolled back {time.monotonic() - began:.0f} s after the last restart")


def harness_pool(size):
    import concurrent.futures

    return concurrent.futures.ThreadPoolExecutor(size)


if __name__ == "__main__":
    unittest.main()
