"""The SSH engine against OpenSSH: what `ssh-keygen` reads in certificates, and logins through a real sshd on the loopback interface,
by the command `ssh`; and the host's side of passwords that hold once.
"""

import getpass
import json
import os
import pathlib
import shutil
import subprocess
import time
import unittest

from harness import BIN, Server, clean_env, free_port, scratch

SSHD = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin")
KEYGEN = shutil.which("ssh-keygen")
USER = getpass.getuser()
USER_ROLE = {"key_type": "ca", "allow_user_certificates": True, "allowed_users": "*", "allowed_extensions": "*", "ttl": "5m"}


def keygen(*words):
    run = subprocess.run([KEYGEN, *map(str, words)], capture_output=True, text=True, timeout=60)
    if run.returncode:
        raise AssertionError(f"ssh-keygen {words}: {run.stderr}")
    return run.stdout


@unittest.skipUnless(KEYGEN, "needs ssh-keygen (Debian: apt-get install openssh-client)")
class Engine(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = scratch()
        cls.server = Server.dev()
        cls.addClassCleanup(cls.server.stop)
        cls.api = cls.server.api
        for mount in ("ssh", "hosts"):
            cls.api.must("POST", f"sys/mounts/{mount}", {"type": "ssh"})
            cls.api.must("POST", f"{mount}/config/ca", {"key_type": "ed25519"})
        cls.api.must("POST", "ssh/roles/user", USER_ROLE)
        host = {"key_type": "ca", "allow_host_certificates": True, "allowed_domains": "localhost,127.0.0.1", "allow_bare_domains": True}
        cls.api.must("POST", "hosts/roles/host", host)
        cls.api.must("POST", "ssh/roles/otp", {"key_type": "otp", "default_user": "u", "cidr_list": "127.0.0.0/8,192.0.2.0/24"})

    def key(self, kind="ed25519", *more):
        path = pathlib.Path(scratch()) / "key"
        keygen("-q", "-t", kind, *more, "-N", "", "-C", "", "-f", path)
        return path

    def read(self, certificate):
        path = pathlib.Path(scratch()) / "key-cert.pub"
        path.write_text(certificate)
        return keygen("-L", "-f", path)


class Certificates(Engine):
    def test_ssh_keygen_reads_every_kind_of_key_under_every_kind_of_authority(self):
        authorities = [("ed25519", 0, "ED25519"), ("ec", 256, "ECDSA"), ("ec", 384, "ECDSA"), ("ec", 521, "ECDSA"), ("rsa", 2048, "RSA")]
        for kind, bits, shown in authorities:
            self.api.must("POST", f"ssh/issuers/import/{kind}{bits}", {"key_type": kind, "key_bits": bits})
            role = {**USER_ROLE, "issuer_ref": f"{kind}{bits}", "default_critical_options": {"force-command": "/bin/true"}}
            self.api.must("POST", "ssh/roles/all", role)
            for user in (("ed25519",), ("ecdsa", "-b", "384"), ("ecdsa", "-b", "521"), ("rsa", "-b", "2048")):
                with self.subTest(authority=f"{kind}{bits}", key=user[0]):
                    public = self.key(*user).with_suffix(".pub").read_text()
                    body = {"public_key": public, "valid_principals": "alice,bob", "extensions": {"permit-pty": ""}}
                    signed = self.api.must("POST", "ssh/sign/all", body).data
                    text = self.read(signed["signed_key"])
                    for line in ("user certificate", f"Signing CA: {shown}", "alice", "bob", "force-command /bin/true", "permit-pty"):
                        self.assertIn(line, text)
                    self.assertIn(str(int(signed["serial_number"], 16)), text)

    def test_key_pairs_that_are_issued_belong_together(self):
        for kind, bits in (("ed25519", 0), ("ec", 256), ("rsa", 2048)):
            with self.subTest(kind):
                made = self.api.must("POST", "ssh/issue/user", {"key_type": kind, "key_bits": bits, "valid_principals": "u"}).data
                path = pathlib.Path(scratch()) / "key"
                path.touch(mode=0o600)
                path.write_text(made["private_key"])
                public = keygen("-y", "-f", path)
                own = subprocess.run([KEYGEN, "-l", "-f", "-"], input=public, capture_output=True, text=True, timeout=60).stdout.split()[1]
                self.assertIn(f"Public key: {'ECDSA' if kind == 'ec' else kind.upper()}-CERT {own}", self.read(made["signed_key"]))

    def test_an_authority_that_is_brought_along_signs_as_itself(self):
        path = self.key("ecdsa", "-b", "384")
        body = {"private_key": path.read_text(), "public_key": path.with_suffix(".pub").read_text()}
        self.api.must("POST", "ssh/issuers/import/brought", body)
        self.api.must("POST", "ssh/roles/brought", {**USER_ROLE, "issuer_ref": "brought"})
        public = self.key().with_suffix(".pub").read_text()
        signed = self.api.must("POST", "ssh/sign/brought", {"public_key": public, "valid_principals": "u"}).data["signed_key"]
        self.assertIn(keygen("-l", "-f", path.with_suffix(".pub")).split()[1], self.read(signed))


@unittest.skipUnless(SSHD, "needs sshd (Debian: apt-get install openssh-server)")
class Logins(Engine):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.port, here = free_port(), pathlib.Path(scratch())
        keygen("-q", "-t", "ed25519", "-N", "", "-f", here / "host")
        body = {"public_key": (here / "host.pub").read_text(), "cert_type": "host", "valid_principals": "127.0.0.1"}
        (here / "host-cert.pub").write_text(cls.api.must("POST", "hosts/sign/host", body).data["signed_key"])
        (here / "users.pub").write_bytes(cls.api.get("ssh/public_key", token=None).raw)
        (here / "config").write_text(
            f"Port {cls.port}\nListenAddress 127.0.0.1\nHostKey {here}/host\nHostCertificate {here}/host-cert.pub\n"
            f"TrustedUserCAKeys {here}/users.pub\nAuthorizedKeysFile none\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            f"UsePAM no\nStrictModes no\nPidFile {here}/pid\nPermitRootLogin prohibit-password\nLogLevel VERBOSE\n"
        )
        if os.geteuid() == 0:
            # Where it gives up its rights; the package's own script makes it.
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        cls.log = open(here / "log", "w")
        cls.addClassCleanup(cls.log.close)
        cls.sshd = subprocess.Popen([SSHD, "-D", "-e", "-f", str(here / "config")], stderr=cls.log)
        cls.addClassCleanup(cls.sshd.wait)
        cls.addClassCleanup(cls.sshd.terminate)
        for _ in range(100):
            time.sleep(0.1)
            if "Server listening" in (here / "log").read_text():
                break
        else:
            raise AssertionError((here / "log").read_text())

    def login(self, *flags, key=None, host=f"{USER}@127.0.0.1", hosts="hosts", role="user"):
        key = key or self.key()
        words = [BIN, "ssh", "-mode=ca", f"-role={role}", f"-public-key-path={key}.pub", f"-private-key-path={key}", *flags]
        words += [f"-host-key-mount-point={hosts}"] if hosts else []
        words += [host, "-p", str(self.port), "-F", "/dev/null", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "echo", "in"]
        env = clean_env(self.folder, VAULT_ADDR=self.server.address, VAULT_TOKEN=self.api.token, USER=USER)
        return subprocess.run(words, capture_output=True, text=True, env=env, timeout=60)

    def test_a_certificate_logs_in_on_a_host_with_a_certificate(self):
        run = self.login()
        self.assertEqual((run.returncode, run.stdout), (0, "in\n"), run.stderr)

    def test_keys_of_every_kind_log_in(self):
        for kind in (("ecdsa", "-b", "256"), ("ecdsa", "-b", "521"), ("rsa", "-b", "3072")):
            with self.subTest(kind[0]):
                self.assertEqual(self.login(key=self.key(*kind)).stdout, "in\n")

    def test_another_principal_is_refused(self):
        run = self.login("-valid-principals=somebody-else")
        self.assertEqual((run.returncode, run.stdout), (255, ""), run.stderr)
        self.assertIn("Permission denied", run.stderr)

    def test_an_authority_that_the_host_does_not_know_is_refused(self):
        self.api.must("POST", "ssh/issuers/import/other", {"key_type": "ed25519"})
        self.api.must("POST", "ssh/roles/other", {**USER_ROLE, "issuer_ref": "other"})
        run = self.login(role="other")
        self.assertEqual((run.returncode, run.stdout), (255, ""), run.stderr)

    def test_a_certificate_for_another_address_is_refused(self):
        self.api.must("POST", "ssh/roles/elsewhere", {**USER_ROLE, "default_critical_options": {"source-address": "192.0.2.1"}})
        self.assertEqual(self.login(role="elsewhere").returncode, 255)

    def test_a_certificate_that_has_ended_is_refused(self):
        self.api.must("POST", "ssh/roles/short", {**USER_ROLE, "ttl": "1s", "not_before_duration": "1h"})
        key = self.key()
        body = {"public_key": key.with_suffix(".pub").read_text(), "valid_principals": USER}
        (key.parent / "key-cert.pub").write_text(self.api.must("POST", "ssh/sign/short", body).data["signed_key"])
        time.sleep(2.5)
        words = ["ssh", "-F", "/dev/null", "-i", str(key), "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=no"]
        words += ["-o", "UserKnownHostsFile=/dev/null", "-p", str(self.port), f"{USER}@127.0.0.1", "echo", "in"]
        run = subprocess.run(words, capture_output=True, text=True, timeout=60, env=clean_env(self.folder))
        self.assertEqual((run.returncode, run.stdout), (255, ""), run.stderr)

    def test_a_host_that_the_engine_did_not_sign_is_refused(self):
        run = self.login(hosts="ssh")
        self.assertEqual((run.returncode, run.stdout), (255, ""), run.stderr)
        self.assertIn("Host key verification failed", run.stderr)

    def test_nothing_is_left_behind(self):
        before = set(pathlib.Path("/tmp").glob("coffer-ssh-*"))
        self.login()
        self.login("-valid-principals=x")
        self.assertEqual(set(pathlib.Path("/tmp").glob("coffer-ssh-*")) - before, set())


class Passwords(Engine):
    def helper(self, password, user="u", flags=(), **config):
        path = pathlib.Path(scratch()) / "helper.hcl"
        config = {"vault_addr": self.server.address, "ssh_mount_point": "ssh", "allowed_roles": "*", **config}
        path.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in config.items()))
        env = clean_env(self.folder, PAM_USER=user)
        words = [BIN, "ssh-helper", "-dev", f"-config={path}", *flags]
        return subprocess.run(words, input=password, capture_output=True, text=True, env=env, timeout=60)

    def password(self, ip="127.0.0.1", **more):
        return self.api.must("POST", "ssh/creds/otp", {"ip": ip, **more}).data["key"]

    def test_a_password_lets_in_once(self):
        self.assertEqual(self.helper("", flags=["-verify-only"]).returncode, 0)
        password = self.password()
        # As pam_exec gives it, with a NUL behind it.
        self.assertEqual(self.helper(password + "\0").returncode, 0)
        self.assertEqual(self.helper(password).returncode, 1)

    def test_it_lets_in_nobody_else_and_nowhere_else(self):
        for password, options in (
            (self.password(), {"user": "root"}),
            (self.password(), {"user": ""}),
            (self.password(ip="192.0.2.7"), {}),
            (self.password(), {"allowed_roles": "another"}),
            (self.password(), {"allowed_cidr_list": "10.0.0.0/8"}),
            (self.password(), {"ssh_mount_point": "hosts"}),
            ("", {}),
            ("verify-echo-request", {}),
            ("x" * 10000, {}),
        ):
            with self.subTest(options=options):
                run = self.helper(password, **options)
                self.assertEqual(run.returncode, 1, run.stderr)
                self.assertNotIn(password or "-", run.stdout + run.stderr)

    def test_without_the_server_nobody_is_let_in(self):
        self.assertEqual(self.helper(self.password(), vault_addr=f"http://127.0.0.1:{free_port()}").returncode, 1)

    def test_a_network_of_the_configuration_stands_for_the_host(self):
        self.assertEqual(self.helper(self.password(ip="192.0.2.7"), allowed_cidr_list="192.0.2.0/24").returncode, 0)

    def test_the_command_hands_the_password_to_sshpass_alone(self):
        tools = pathlib.Path(scratch())
        (tools / "sshpass").write_text('#!/bin/sh\nfor word in "$@"; do printf "[%s]" "$word"; done\nprintf "%s;%s" "$SSHPASS" "$VAULT_TOKEN"\nexit 3\n')
        (tools / "sshpass").chmod(0o755)
        env = clean_env(self.folder, VAULT_ADDR=self.server.address, VAULT_TOKEN=self.api.token)
        env["PATH"] = f"{tools}:{env['PATH']}"
        run = subprocess.run([BIN, "ssh", "-mode=otp", "-role=otp", "u@127.0.0.1", "ls", "-l"], capture_output=True, text=True, env=env, timeout=60)
        self.assertEqual(run.returncode, 3, run.stderr)
        words, _, token = run.stdout.rpartition("]")[2].partition(";")
        self.assertTrue(run.stdout.startswith("[-e][ssh][-p][22][-o][StrictHostKeyChecking=ask][u@127.0.0.1][ls][-l]"), run.stdout)
        self.assertEqual((len(words), token), (36, ""), "the password goes, the token stays")


if __name__ == "__main__":
    unittest.main()
