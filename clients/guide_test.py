"""A published guide's Python program and policy (guide/), as they stand but for the indentation that their page lost: AppRole or a Kubernetes
service account logs in, reads what its entity's name allows, gets logins of a database and of AWS that are nobody else's, and renews
their leases. Against a real PostgreSQL, moto's AWS, and an API server that answers token reviews."""

import base64
import http.server
import importlib.util
import io
import json
import os
import pathlib
import ssl
import subprocess
import sys
import threading
import time
import unittest
from unittest import mock

import hvac

import databases
import harness

HERE = pathlib.Path(__file__).resolve().parent / "guide"
PROGRAM, POLICY = HERE / "vault_client.py", (HERE / "app-policy.hcl").read_text()
TOKEN_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/token"
CREATE = """CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO \"{{name}}\";"""


class Guide(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        lacking = databases.missing("postgres", "initdb", "psql", "openssl")
        if lacking:
            raise unittest.SkipTest(f"needs {' '.join(lacking)} (Debian: apt-get install postgresql)")
        cls.db = databases.Postgres()
        cls.addClassCleanup(cls.db.stop)
        cls.db.make_admin()
        cls.server = harness.Server.dev("-dev-no-store-token")
        cls.addClassCleanup(cls.server.stop)
        cls.api = cls.server.api
        must = cls.api.must
        must("PUT", "sys/policies/acl/app", {"policy": POLICY})
        for name in ("database", "api-keys"):
            must("POST", f"secret/data/myapp/{name}", {"data": {"of": name}})
        must("POST", "secret/data/other/database", {"data": {"of": "others"}})
        must("POST", "sys/mounts/database", {"type": "database"})
        must("POST", "database/config/postgresql", {"plugin_name": "postgresql-database-plugin", "allowed_roles": "app-readonly,app-readwrite",
                                                    "connection_url": cls.db.url(), "username": "vault-admin", "password": "vault-admin-password"})
        must("POST", "database/roles/app-readonly", {"db_name": "postgresql", "creation_statements": CREATE, "default_ttl": "1h", "max_ttl": "24h"})
        must("POST", "sys/auth/approle", {"type": "approle"})
        must("POST", "auth/approle/role/myapp", {"token_policies": ["app"], "token_ttl": "1h"})
        cls.role_id = must("GET", "auth/approle/role/myapp/role-id").data["role_id"]
        cls.secret_id = must("POST", "auth/approle/role/myapp/secret-id", {}).data["secret_id"]
        cls.entity = must("POST", "identity/entity", {"name": "myapp"}).data["id"]
        accessor = must("GET", "sys/auth").data["approle/"]["accessor"]
        must("POST", "identity/entity-alias", {"name": cls.role_id, "canonical_id": cls.entity, "mount_accessor": accessor})

    def env(self, **more):
        return {"VAULT_ADDR": self.server.address, "VAULT_ROLE_ID": self.role_id, "VAULT_SECRET_ID": self.secret_id, **more}

    def module(self, **env):
        """The program as a module: what it does by itself at its end has been done by then."""
        with mock.patch.dict(os.environ, self.env(**env)), mock.patch("sys.stdout", io.StringIO()):
            spec = importlib.util.spec_from_file_location("guide_vault_client", PROGRAM)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        return module

    def test_the_program_runs_as_it_stands(self):
        env = {**harness.clean_env(self.server.home), **self.env()}
        ran = subprocess.run([sys.executable, "-W", "ignore", str(PROGRAM)], capture_output=True, text=True, timeout=60, env=env)
        self.assertEqual(0, ran.returncode, ran.stderr[-1500:])
        self.assertRegex(ran.stdout, r"^Temporary DB user: v-approle-app-read-\S+\n$")
        self.assertIn(ran.stdout.split()[-1], self.db.roles())

    def test_what_it_gets_is_its_own_and_works_and_is_renewed(self):
        module = self.module()
        vault = module.vault
        self.assertEqual(({"of": "database"}, {"of": "api-keys"}), (module.db_config, module.api_keys))
        one, other = module.db_creds, vault.get_database_credentials("app-readonly")
        self.assertNotEqual(one["username"], other["username"])
        self.assertEqual(3600, one["lease_duration"])
        self.assertEqual("one", self.db.login(one["username"], one["password"], "SELECT name FROM things LIMIT 1"))
        self.assertIsNone(self.db.login(one["username"], one["password"], "INSERT INTO things VALUES ('x')"))
        renewed = vault.renew_lease(one["lease_id"], 7200)
        self.assertEqual((one["lease_id"], 7200), (renewed["lease_id"], renewed["lease_duration"]))
        self.assertEqual(3600, vault.renew_lease(one["lease_id"])["lease_duration"])
        self.api.must("PUT", "sys/leases/revoke", {"lease_id": one["lease_id"], "sync": True})
        self.assertIsNone(self.db.login(one["username"], one["password"]))
        self.assertEqual("1", self.db.login(other["username"], other["password"]))

    def test_the_policy_means_what_it_says(self):
        vault = self.module().vault
        for path in ("other/database", "myappx/database"):
            with self.assertRaises(hvac.exceptions.Forbidden):
                vault.get_secret(path)
        with self.assertRaises(hvac.exceptions.InvalidPath):
            vault.get_secret("myapp/none")
        with self.assertRaises(hvac.exceptions.Forbidden):
            vault.get_database_credentials("app-readwrite")
        with self.assertRaises(hvac.exceptions.Forbidden):
            vault.client.sys.list_mounted_secrets_engines()
        vault.client.auth.token.renew_self()

    def test_wrong_and_missing_proofs(self):
        module = self.module()
        for wrong in ((self.role_id, "wrong"), ("wrong", self.secret_id)):
            with self.assertRaises(hvac.exceptions.InvalidRequest):
                module.VaultClient(self.server.address, role_id=wrong[0], secret_id=wrong[1])
        # hvac would find a token that somebody keeps on this machine.
        with mock.patch.dict(os.environ, {"HOME": str(harness.scratch())}):
            nobody = module.VaultClient(self.server.address)
        with self.assertRaises(hvac.exceptions.Forbidden):
            nobody.get_secret("myapp/database")

    def test_a_service_account_logs_in(self):
        must, cluster = self.api.must, Cluster()
        self.addCleanup(cluster.stop)
        must("POST", "sys/auth/kubernetes", {"type": "kubernetes"})
        must("POST", "auth/kubernetes/config", {"kubernetes_host": cluster.address, "kubernetes_ca_cert": cluster.authority, "token_reviewer_jwt": "reviewer",
                                                "disable_local_ca_jwt": True, "disable_iss_validation": True})
        must("POST", "auth/kubernetes/role/app", {"bound_service_account_names": "web", "bound_service_account_namespaces": "prod", "token_policies": "app",
                                                  "alias_name_source": "serviceaccount_name"})
        accessor = must("GET", "sys/auth").data["kubernetes/"]["accessor"]
        must("POST", "identity/entity-alias", {"name": "prod/web", "canonical_id": self.entity, "mount_accessor": accessor})
        module = self.module()
        for account, good in (("web", True), ("forged", False), ("other", False)):
            with in_pod(service_account_token(account)):
                if not good:
                    with self.assertRaises(hvac.exceptions.VaultError):
                        module.VaultClient(self.server.address)
                    continue
                vault = module.VaultClient(self.server.address)
            self.assertEqual({"of": "database"}, vault.get_secret("myapp/database"))
        self.assertEqual(["Bearer reviewer"], sorted(set(cluster.asked)))

    def test_credentials_of_aws(self):
        try:
            import aws_engine_test
        except ImportError:
            self.skipTest("needs moto and boto3 from clients/requirements.txt")
        if aws_engine_test.boto3 is None:
            self.skipTest("needs moto and boto3 from clients/requirements.txt")
        cloud = aws_engine_test.Cloud()
        self.addCleanup(cloud.stop)
        must = self.api.must
        must("POST", "sys/mounts/aws", {"type": "aws"})
        must("POST", "aws/config/root", {"access_key": "AKIAROOT", "secret_key": "root", "region": "us-east-1", "iam_endpoint": cloud.address, "sts_endpoint": cloud.address})
        must("POST", "aws/roles/s3-readonly", {"credential_type": "iam_user", "policy_document": aws_engine_test.POLICY})
        before = cloud.users()
        made = self.module().vault.get_aws_credentials("s3-readonly")
        self.assertTrue(made["access_key"] and made["secret_key"] and made["lease_duration"] > 0)
        self.assertIsNone(made["security_token"])
        self.assertEqual(1, len(cloud.users() - before))
        with self.assertRaises(hvac.exceptions.VaultError):
            self.module().vault.get_aws_credentials("admin")


def in_pod(token):
    """As in a pod: the one file of the service account is there, all others are what they are."""
    real_open, real_exists = open, os.path.exists
    stack = mock.patch.multiple("os.path", exists=lambda path: path == TOKEN_FILE or real_exists(path))
    opened = mock.patch("builtins.open", lambda path, *a, **k: io.StringIO(token) if path == TOKEN_FILE else real_open(path, *a, **k))

    class Both:
        def __enter__(self):
            stack.start(), opened.start()

        def __exit__(self, *_):
            opened.stop(), stack.stop()

    return Both()


def service_account_token(name):
    part = lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
    claims = {"iss": "https://kubernetes.default.svc", "aud": ["https://kubernetes.default.svc"], "exp": int(time.time()) + 600, "iat": int(time.time()) - 5,
              "kubernetes.io": {"namespace": "prod", "serviceaccount": {"name": "web" if name == "forged" else name, "uid": f"uid-{name}"}},
              "sub": f"system:serviceaccount:prod:{name}"}
    return ".".join([part({"alg": "RS256", "kid": "k"}), part(claims), base64.urlsafe_b64encode(name.encode() * 8).rstrip(b"=").decode()])


class Cluster:
    """An API server that knows the service account `web` of the namespace `prod`, by its token alone."""

    def __init__(self):
        folder = harness.scratch()
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=cluster",
                        "-addext", "basicConstraints=critical,CA:FALSE", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key.pem", "-out", folder / "crt.pem"],
                       check=True, capture_output=True)
        self.authority, self.asked = (folder / "crt.pem").read_text(), []
        good, asked = service_account_token("web").rsplit(".", 1)[1], self.asked

        class Answers(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                asked.append(self.headers["Authorization"])
                status = {"authenticated": False}
                if self.path == "/apis/authentication.k8s.io/v1/tokenreviews" and review["spec"]["token"].rsplit(".", 1)[-1] == good:
                    status = {"authenticated": True, "audiences": review["spec"].get("audiences", []),
                              "user": {"username": "system:serviceaccount:prod:web", "uid": "uid-web", "groups": ["system:serviceaccounts"]}}
                body = json.dumps({"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "status": status}).encode()
                self.send_response(201)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "crt.pem", folder / "key.pem")
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.address = f"https://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


if __name__ == "__main__":
    unittest.main()
