"""Logins with tokens of a GitHub that a test keeps on the loopback interface."""

import contextlib
import http.server
import json
import threading
import unittest
import urllib.parse

import harness


class GitHub:
    """Knows one token, `ghp_good`, and whose it is."""

    def __init__(self):
        self.organizations, self.teams, self.asked, self.answer = [{"id": 42, "login": "acme"}], [], [], None
        github = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                github.asked.append(self.path)
                self.reply(*github.reply(self.path, self.headers.get("Authorization")))

            def reply(self, status, body):
                raw = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/api/v3/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def reply(self, path, authorization):
        if self.answer:
            return self.answer
        url = urllib.parse.urlsplit(path)
        query = urllib.parse.parse_qs(url.query)
        if url.path == "/api/v3/orgs/acme":
            return 200, {"id": 42, "login": "acme"}
        if authorization != "Bearer ghp_good":
            return 401, {"message": "Bad credentials"}
        page, size = int(query.get("page", ["1"])[0]), int(query.get("per_page", ["30"])[0])
        part = lambda all: (200, all[(page - 1) * size : page * size])
        return {
            "/api/v3/user": (200, {"login": "octocat", "id": 1}),
            "/api/v3/user/orgs": part(self.organizations),
            "/api/v3/user/teams": part(self.teams),
        }.get(url.path, (404, {"message": "Not Found"}))

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Login(unittest.TestCase):
    def setUp(self):
        self.github = GitHub()
        self.addCleanup(self.github.close)
        self.server = harness.Server.dev()
        self.addCleanup(self.server.stop)
        self.api = self.server.api
        self.api.must("POST", "sys/auth/github", {"type": "github"})
        self.api.must("POST", "auth/github/config", {"organization": "acme", "base_url": self.github.address})
        self.api.must("POST", "auth/github/map/teams/site-reliability", {"value": "sre"})
        team = lambda name: {"name": name.title().replace("-", " "), "slug": name, "organization": {"id": 42, "login": "acme"}}
        self.github.teams = [team(f"team-{n}") for n in range(120)] + [team("site-reliability")]

    def login(self, token="ghp_good"):
        return self.api.post("auth/github/login", {"token": token}, token=None)

    def test_a_member_logs_in_with_the_policies_of_a_team_on_the_second_page(self):
        self.assertEqual(42, self.api.get("auth/github/config").data["organization_id"])
        made = self.login()
        self.assertEqual(200, made.status, made)
        auth = made.json["auth"]
        self.assertEqual(["default", "sre"], sorted(auth["policies"]))
        self.assertEqual({"org": "acme", "username": "octocat"}, auth["metadata"])
        seen = self.api.get("auth/token/lookup-self", token=auth["client_token"])
        self.assertEqual("github-octocat", seen.data["display_name"])
        self.assertNotIn("ghp_good", json.dumps(seen.json))
        run = self.server.cli("login", "-method=github", "-no-store", "-format=json", "token=ghp_good", token=None)
        self.assertEqual(0, run.returncode, run.stderr)
        run = self.server.cli("login", "-method=github", "-no-store", token=None, VAULT_AUTH_GITHUB_TOKEN="ghp_good")
        self.assertEqual(0, run.returncode, run.stderr)
        run = self.server.cli("login", "-method=github", "-no-store", token=None, VAULT_AUTH_GITHUB_TOKEN="ghp_bad")
        self.assertEqual(2, run.returncode, run.stdout)

    def test_others_do_not(self):
        self.assertEqual(400, self.login("ghp_bad").status)
        self.assertEqual(400, self.login("").status)
        self.github.organizations = [{"id": 43, "login": "acme"}]
        self.assertEqual(400, self.login().status)
        for answer in [(500, {}), (403, {"message": "rate limit"}), (200, "garbage"), (200, {})]:
            self.github.answer = answer
            refused = self.login()
            self.assertEqual(500, refused.status, refused)
            self.assertNotIn("ghp_good", refused.text)
        self.assertNotIn("ghp_good", self.server.log_text())

    def test_a_renewal_asks_github_again(self):
        token = self.login().json["auth"]["client_token"]
        renew = lambda: self.api.post("auth/token/renew-self", token=token)
        self.assertEqual(200, renew().status)
        teams, self.github.teams = self.github.teams, []
        self.assertGreaterEqual(renew().status, 400)
        self.github.teams, self.github.organizations = teams, []
        self.assertGreaterEqual(renew().status, 400)
        with contextlib.closing(self.github):
            pass
        self.assertEqual(500, renew().status)
