"""Service accounts of a real Kubernetes API server log in (`./test kubernetes`; the server is built once, see kube_apiserver.py)."""

import time
import unittest

import harness
import kube_apiserver

LACKS = kube_apiserver.missing()


@unittest.skipIf(LACKS, LACKS or "")
class Accounts(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = kube_apiserver.Cluster()
        cls.cluster.namespace("ns1", {"team": "a"})
        cls.cluster.namespace("ns2", {"team": "b"})
        cls.cluster.account("ns1", "reviewer", reviewer=True)
        for namespace, name in (("ns1", "app"), ("ns2", "app"), ("ns1", "other"), ("ns1", "gone")):
            cls.cluster.account(namespace, name)
        cls.server = harness.Server.configured()
        cls.api = cls.server.api
        cls.api.must("POST", "sys/auth/kubernetes", {"type": "kubernetes"})
        cls.reviewer = cls.cluster.token("ns1", "reviewer")
        cls.configure()
        cls.role("app", bound_service_account_namespaces="ns1")

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.cluster.close()

    @classmethod
    def configure(cls, **more):
        cls.api.must("POST", "auth/kubernetes/config", {
            "kubernetes_host": cls.cluster.host, "kubernetes_ca_cert": cls.cluster.ca, "token_reviewer_jwt": cls.reviewer, **more})

    @classmethod
    def role(cls, name, **more):
        cls.api.must("POST", f"auth/kubernetes/role/{name}", {"bound_service_account_names": "app,gone", "token_policies": "p", **more})

    def setUp(self):
        self.configure()

    def login(self, token, role="app"):
        return self.api.call("POST", "auth/kubernetes/login", {"role": role, "jwt": token}, token=None)

    def denied(self, reply):
        self.assertEqual(reply.status, 403, reply)

    def test_an_account_logs_in(self):
        token = self.cluster.token("ns1", "app")
        auth = self.login(token).json["auth"]
        uid = kube_apiserver.claims(token)["kubernetes.io"]["serviceaccount"]["uid"]
        self.assertEqual(auth["metadata"], {
            "role": "app", "service_account_name": "app", "service_account_namespace": "ns1", "service_account_secret_name": "",
            "service_account_uid": uid})
        self.assertEqual(self.api.as_token(auth["client_token"]).get("auth/token/lookup-self").data["display_name"], "kubernetes-ns1-app")

    def test_others_do_not(self):
        good = self.cluster.token("ns1", "app")
        for token in (self.cluster.token("ns2", "app"), self.cluster.token("ns1", "other"), good[:-8] + "AAAAAAAA", self.cluster.ADMIN, "x"):
            self.denied(self.login(token))

    def test_an_account_that_is_gone_is_nobody(self):
        token = self.cluster.token("ns1", "gone")
        self.assertEqual(self.login(token).status, 200)
        self.cluster.must("DELETE", "/api/v1/namespaces/ns1/serviceaccounts/gone")
        # The API server keeps what it has reviewed for some seconds.
        end = time.monotonic() + 30
        while self.login(token).status == 200 and time.monotonic() < end:
            time.sleep(1)
        self.denied(self.login(token))
        self.cluster.account("ns1", "gone")
        self.denied(self.login(token))

    def test_audiences(self):
        self.role("vault", bound_service_account_namespaces="ns1", audience="vault")
        self.assertEqual(self.login(self.cluster.token("ns1", "app", ["vault"]), "vault").status, 200)
        self.denied(self.login(self.cluster.token("ns1", "app"), "vault"))

    def test_namespaces_by_their_labels(self):
        self.role("team", bound_service_account_namespace_selector='{"matchLabels":{"team":"a"}}')
        self.assertEqual(self.login(self.cluster.token("ns1", "app"), "team").status, 200)
        self.denied(self.login(self.cluster.token("ns2", "app"), "team"))

    def test_keys_are_looked_at_first(self):
        self.configure(pem_keys=[self.cluster.public_key])
        good = self.cluster.token("ns1", "app")
        self.assertEqual(self.login(good).status, 200)
        self.denied(self.login(good[:-8] + "AAAAAAAA"))

    def test_a_reviewer_without_the_right_and_no_server(self):
        good = self.cluster.token("ns1", "app")
        self.configure(token_reviewer_jwt=self.cluster.token("ns2", "app"))
        self.denied(self.login(good))
        self.configure(kubernetes_host="https://127.0.0.1:1")
        self.denied(self.login(good))
        self.configure(kubernetes_ca_cert="no certificate")
        self.denied(self.login(good))
        text = self.server.log.read_text()
        self.assertIn("a call was refused", text)
        for secret in (good.split(".")[2], self.reviewer.split(".")[2]):
            self.assertFalse(secret in text)
