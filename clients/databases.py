"""Real databases for tests, each with a folder and a port of its own on the loopback interface, ended by its own process id."""

import atexit
import contextlib
import glob
import os
import pwd
import shutil
import signal
import subprocess

import harness

_running = set()


@atexit.register
def _end_all():
    for database in list(_running):
        with contextlib.suppress(Exception):
            database.stop()


def find(name):
    """A program, the newest of PostgreSQL's before those in the path."""
    newest = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"), key=lambda p: int(p.split("/")[4]))
    usual = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    return newest[-1] if newest else usual


def missing(*names):
    return [name for name in names if not find(name)]


class Database:
    """`user` is whom it runs as where the tests run as root, which databases refuse."""

    user = "nobody"

    def __init__(self):
        self.folder = harness.scratch()
        self.port, self.process = harness.free_port(), None
        self.own = {}
        if os.getuid() == 0:
            account = self.user if self.user in {p.pw_name for p in pwd.getpwall()} else "nobody"
            self.own = {"user": account, "group": pwd.getpwnam(account).pw_gid, "extra_groups": []}
            os.chown(self.folder, pwd.getpwnam(account).pw_uid, -1)
        self.folder.chmod(0o755)
        self.prepare()
        self.start()

    def run(self, *args, **more):
        env = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "LC_ALL": "C.UTF-8"}
        done = subprocess.run(args, capture_output=True, text=True, cwd=self.folder, env=env, timeout=120, **self.own, **more)
        if done.returncode:
            raise AssertionError(f"{args[0]} failed: {done.stdout[-500:]} {done.stderr[-1500:]}")
        return done.stdout

    def start(self):
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder, **self.own)
        _running.add(self)
        harness.eventually(self.answers, 60, f"the start of {type(self).__name__}")

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(self.end)
            self.process.wait(30)
        _running.discard(self)

    end = signal.SIGTERM

    def make_certificate(self):
        """For localhost and 127.0.0.1, signed by itself: `tls.crt` and `tls.key`."""
        self.run("openssl", "req", "-new", "-x509", "-days", "2", "-nodes", "-subj", "/CN=localhost", "-addext", "basicConstraints=critical,CA:FALSE",
                 "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out", str(self.folder / "tls.crt"), "-keyout", str(self.folder / "tls.key"))
        (self.folder / "tls.key").chmod(0o600)

    def certificate(self):
        return (self.folder / "tls.crt").read_text()

    def log_text(self):
        return (self.folder / "log").read_text("utf-8", "replace")


class Postgres(Database):
    """A cluster with TLS, the administrator `vault-admin` and the database `production`. Logins go by scram-sha-256 over TCP."""

    user = "postgres"
    end = signal.SIGQUIT
    password = "vault-admin-password"

    def prepare(self):
        self.data = self.folder / "data"
        self.run(find("initdb"), "-D", str(self.data), "-U", "super", "--auth-local=trust", "--auth-host=scram-sha-256", "-E", "UTF8", "--no-sync")
        self.make_certificate()

    def command(self):
        settings = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": self.folder, "fsync": "off", "ssl": "on",
                    "ssl_cert_file": self.folder / "tls.crt", "ssl_key_file": self.folder / "tls.key", "log_min_messages": "fatal", "max_connections": 400}
        return [find("postgres"), "-D", str(self.data), *(f"-c{k}={v}" for k, v in settings.items())]

    def answers(self):
        with contextlib.suppress(AssertionError):
            return self.ask("SELECT 1", database="postgres") == "1"

    def make_admin(self):
        self.ask("""CREATE ROLE "vault-admin" SUPERUSER LOGIN PASSWORD 'vault-admin-password'""", database="postgres")
        self.ask("CREATE DATABASE production", database="postgres")
        self.ask("CREATE TABLE things (name text); INSERT INTO things VALUES ('one')")

    def ask(self, sql, database="production"):
        """As the superuser, over the socket."""
        return self.run(find("psql"), "-h", str(self.folder), "-p", str(self.port), "-U", "super", "-d", database, "-AtqX", "-v", "ON_ERROR_STOP=1", "-c", sql).strip()

    def login(self, user, password, sql="SELECT 1"):
        """What an account gets, or None where it is refused."""
        env = {"PATH": os.environ["PATH"], "PGPASSWORD": password, "PGCONNECT_TIMEOUT": "10"}
        done = subprocess.run([find("psql"), "-h", "127.0.0.1", "-p", str(self.port), "-U", user, "-d", "production", "-AtqX", "-v", "ON_ERROR_STOP=1", "-c", sql],
                              capture_output=True, text=True, env=env, timeout=60)
        return done.stdout.strip() if done.returncode == 0 else None

    def roles(self, like="v-%"):
        return set(self.ask(f"SELECT rolname FROM pg_roles WHERE rolname LIKE '{like}'").split("\n")) - {""}

    def url(self, mode="require"):
        return "postgresql://{{username}}:{{password}}@127.0.0.1:%d/production?sslmode=%s" % (self.port, mode)


class MariaDb(Database):
    user = "mysql"

    def prepare(self):
        self.data, self.socket = self.folder / "data", self.folder / "s"
        self.run(find("mariadb-install-db"), "--no-defaults", f"--datadir={self.data}", "--auth-root-authentication-method=normal", "--skip-test-db")
        self.make_certificate()

    def command(self):
        return [find("mariadbd"), "--no-defaults", f"--datadir={self.data}", f"--port={self.port}", "--bind-address=127.0.0.1", f"--socket={self.socket}",
                f"--pid-file={self.folder / 'pid'}", "--innodb-flush-log-at-trx-commit=0", "--skip-name-resolve",
                f"--ssl-cert={self.folder / 'tls.crt'}", f"--ssl-key={self.folder / 'tls.key'}"]

    def answers(self):
        with contextlib.suppress(AssertionError):
            return self.ask("SELECT 1") == "1"

    def make_admin(self):
        self.ask("CREATE USER 'vault-admin'@'127.0.0.1' IDENTIFIED BY 'vault-admin-password'; GRANT ALL ON *.* TO 'vault-admin'@'127.0.0.1' WITH GRANT OPTION; "
                 "CREATE DATABASE production; CREATE TABLE production.things (name text); INSERT INTO production.things VALUES ('one')")

    def ask(self, sql):
        return self.run(find("mariadb"), "--no-defaults", "-S", str(self.socket), "-u", "root", "-BN", "-e", sql).strip()

    def login(self, user, password, sql="SELECT 1"):
        env = {"PATH": os.environ["PATH"], "MYSQL_PWD": password}
        done = subprocess.run([find("mariadb"), "--no-defaults", "--protocol=tcp", "-h", "127.0.0.1", "-P", str(self.port), "-u", user, "-BN", "-e", sql],
                              capture_output=True, text=True, env=env, timeout=60)
        return done.stdout.strip() if done.returncode == 0 else None

    def users(self, like="v-%"):
        return set(self.ask(f"SELECT User FROM mysql.user WHERE User LIKE '{like}'").split("\n")) - {""}

    def url(self):
        return "{{username}}:{{password}}@tcp(127.0.0.1:%d)/" % self.port


class Redis(Database):
    password = "vault-admin-password"

    def prepare(self):
        self.make_certificate()
        self.tls_port = harness.free_port()
        (self.folder / "redis.conf").write_text(
            f"tls-port {self.tls_port}\ntls-cert-file {self.folder}/tls.crt\ntls-key-file {self.folder}/tls.key\ntls-auth-clients no\n"
            f'port {self.port}\nbind 127.0.0.1\ndir {self.folder}\nsave ""\n'
            f"user super on nopass ~* &* +@all\nuser default on >{self.password} ~* &* +@all\n")

    def command(self):
        return [find("redis-server"), str(self.folder / "redis.conf")]

    def answers(self):
        return self.ask("PING") == "PONG"

    def ask(self, *words):
        return self.login("super", "any", *words)

    def login(self, user, password, *words):
        words = words or ("PING",)
        done = subprocess.run([find("redis-cli"), "-p", str(self.port), "--user", user, "--pass", password, "--no-auth-warning", *words],
                              capture_output=True, text=True, timeout=30)
        refused = "AUTH failed" in done.stderr or done.stdout.startswith(("NOAUTH", "NOPERM", "WRONGPASS", "ERR"))
        return None if done.returncode or refused else done.stdout.strip()

    def users(self):
        return {name for name in self.ask("ACL", "USERS").split("\n") if name.startswith("V_")}
