"""The Kubernetes secrets engine against a real kube-apiserver: tokens do what their role says and no more, and what was made for a lease is
gone with it."""

import unittest

import harness
import kube_apiserver

RBAC = "/apis/rbac.authorization.k8s.io/v1"
RULES = "rules:\n- apiGroups: ['']\n  resources: [configmaps]\n  verbs: [get, list]\n"


class Engine(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if why := kube_apiserver.missing():
            raise unittest.SkipTest(why)
        cls.cluster = kube_apiserver.Cluster()
        cls.addClassCleanup(cls.cluster.close)
        for name, labels in (("apps", {"team": "a"}), ("other", {"team": "b"})):
            cls.cluster.namespace(name, labels)
        cls.cluster.account("apps", "there")
        cls.server = harness.Server.dev()
        cls.addClassCleanup(cls.server.stop)
        cls.api = cls.server.api
        cls.configure("kubernetes")

    @classmethod
    def configure(cls, mount, **more):
        cls.api.must("POST", f"sys/mounts/{mount}", {"type": "kubernetes"})
        cls.api.must("POST", f"{mount}/config", {"kubernetes_host": cls.cluster.host, "kubernetes_ca_cert": cls.cluster.ca,
                                                 "service_account_jwt": cls.cluster.ADMIN, "disable_local_ca_jwt": True, **more})

    def role(self, name, mount="kubernetes", **fields):
        self.api.must("POST", f"{mount}/roles/{name}", {"allowed_kubernetes_namespaces": ["apps"], **fields})

    def made(self):
        """All that the engine made and that is there now, by kind and name."""
        found = set()
        for path in ("/api/v1/serviceaccounts", f"{RBAC}/roles", f"{RBAC}/rolebindings", f"{RBAC}/clusterroles", f"{RBAC}/clusterrolebindings"):
            listed = self.cluster.must("GET", f"{path}?labelSelector=app.kubernetes.io/managed-by%3Dcoffer")
            found |= {(listed["kind"], item["metadata"]["name"]) for item in listed["items"]}
        return found

    def maps(self, namespace, token):
        return self.cluster.call("GET", f"/api/v1/namespaces/{namespace}/configmaps", token=token)[0]

    def revoke(self, reply):
        self.api.must("POST", "sys/leases/revoke", {"lease_id": reply["lease_id"], "sync": True})

    def test_a_role_of_its_own(self):
        self.role("own", generated_role_rules=RULES, extra_labels={"team": "a"}, token_default_ttl="20m", token_default_audiences=[self.cluster.issuer])
        reply = self.api.must("POST", "kubernetes/creds/own").json
        data = reply["data"]
        self.assertFalse(reply["renewable"])
        self.assertLessEqual(abs(reply["lease_duration"] - 1200), 5)
        self.assertEqual(data["service_account_namespace"], "apps")
        said = kube_apiserver.claims(data["service_account_token"])
        self.assertEqual((said["sub"], said["aud"]), (f"system:serviceaccount:apps:{data['service_account_name']}", [self.cluster.issuer]))
        name = data["service_account_name"]
        self.assertEqual(self.made(), {("ServiceAccountList", name), ("RoleList", name), ("RoleBindingList", name)})
        harness.eventually(lambda: self.maps("apps", data["service_account_token"]) == 200, 20, "the role's right")
        self.assertEqual(self.maps("other", data["service_account_token"]), 403)
        self.revoke(reply)
        self.assertEqual(self.made(), set())
        harness.eventually(lambda: self.maps("apps", data["service_account_token"]) == 401, 30, "the end of the token")

    def test_bound_in_the_whole_cluster(self):
        self.role("bound", kubernetes_role_name="view", kubernetes_role_type="ClusterRole")
        inside = self.api.must("POST", "kubernetes/creds/bound", {"kubernetes_namespace": "apps"}).json
        across = self.api.must("POST", "kubernetes/creds/bound", {"kubernetes_namespace": "apps", "cluster_role_binding": True}).json
        self.assertEqual(len(self.made()), 4)
        for reply, there, elsewhere in ((inside, 200, 403), (across, 200, 200)):
            # The cluster fills its own roles by a controller that does not run here: what counts is where the binding reaches.
            token = reply["data"]["service_account_token"]
            name = reply["data"]["service_account_name"]
            kind = "clusterrolebindings" if reply is across else "namespaces/apps/rolebindings"
            binding = self.cluster.must("GET", f"{RBAC}/{kind}/{name}")
            self.assertEqual(binding["roleRef"], {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"})
            self.assertEqual(binding["subjects"], [{"kind": "ServiceAccount", "name": name, "namespace": "apps"}])
            self.assertIn(self.maps("apps", token), (there, 403))
            self.assertIn(self.maps("other", token), (elsewhere, 403))
        self.revoke(inside)
        self.revoke(across)
        self.assertEqual(self.made(), set())

    def test_an_account_that_is_there(self):
        self.role("there", service_account_name="there")
        reply = self.api.must("POST", "kubernetes/creds/there", {"kubernetes_namespace": "apps", "ttl": "15m"}).json
        self.assertEqual(reply["data"]["service_account_name"], "there")
        token = reply["data"]["service_account_token"]
        self.assertEqual(self.maps("apps", token), 403, "it is known and may do nothing")
        self.revoke(reply)
        self.cluster.must("GET", "/api/v1/namespaces/apps/serviceaccounts/there")
        self.assertEqual(self.made(), set())

    def test_namespaces_by_their_labels(self):
        self.api.must("POST", "kubernetes/roles/labelled", {"allowed_kubernetes_namespace_selector": "matchLabels:\n  team: a\n", "generated_role_rules": RULES})
        reply = self.api.must("POST", "kubernetes/creds/labelled", {"kubernetes_namespace": "apps"}).json
        refused = self.api.post("kubernetes/creds/labelled", {"kubernetes_namespace": "other"})
        self.assertEqual(refused.status, 400)
        self.assertIn("is not present", refused.errors[0])
        missing = self.api.post("kubernetes/creds/labelled", {"kubernetes_namespace": "nowhere"})
        self.assertEqual((missing.status, missing.errors[0]), (500, "Kubernetes refused to show the namespace (NotFound, status 404)"))
        self.revoke(reply)

    def test_disabling_the_mount_takes_all_away(self):
        self.configure("many")
        self.role("own", "many", generated_role_rules=RULES)
        for _ in range(3):
            self.api.must("POST", "many/creds/own")
        self.assertEqual(len(self.made()), 9)
        self.api.must("DELETE", "sys/mounts/many")
        harness.eventually(lambda: not self.made(), 20, "the end of all that was made")

    def test_refusals(self):
        self.role("own2", generated_role_rules=RULES)
        self.role("missing", service_account_name="nobody")
        for body in ({"kubernetes_namespace": "../other"}, {"kubernetes_namespace": "other"}, {"kubernetes_namespace": "*"}, {"cluster_role_binding": True}, {"ttl": "-1h"}):
            self.assertEqual(self.api.post("kubernetes/creds/own2", body).status, 400, body)
        reply = self.api.post("kubernetes/creds/missing")
        self.assertEqual((reply.status, reply.errors[0]), (500, "Kubernetes refused to give a token of apps/nobody (NotFound, status 404)"))
        short = self.api.post("kubernetes/creds/own2", {"ttl": "5s"})
        self.assertEqual(short.status, 500)
        self.assertIn("Invalid", short.errors[0])
        self.role("odd", generated_role_rules=RULES, name_template="../{{.RoleName}}-{{random 4}}")
        self.assertEqual(self.api.post("kubernetes/creds/odd").status, 400)
        self.configure("wrong", service_account_jwt="canary-of-nobody")
        self.role("own", "wrong", generated_role_rules=RULES)
        reply = self.api.post("wrong/creds/own")
        self.assertEqual(reply.status, 500)
        self.assertIn("status 401", reply.errors[0])
        self.assertNotIn("canary", reply.text)
        self.api.must("POST", "sys/mounts/untrusted", {"type": "kubernetes"})
        self.api.must("POST", "untrusted/config", {"kubernetes_host": self.cluster.host, "service_account_jwt": self.cluster.ADMIN, "disable_local_ca_jwt": True})
        self.role("own", "untrusted", generated_role_rules=RULES)
        self.assertEqual(self.api.post("untrusted/creds/own").status, 500, "an authority that nobody named is not trusted")
        self.assertEqual(self.made(), set())
        self.assertNotIn(self.cluster.ADMIN, self.server.log_text())


if __name__ == "__main__":
    unittest.main()
