"""node-vault, a client of another language: node's own test runner on node/vault.test.mjs against a fresh server."""

import re
import shutil
import subprocess
import unittest

import harness

INSTALLED = harness.ROOT / ".test-env" / "node" / "package.json"


class NodeVault(unittest.TestCase):
    """Each test of the file counts as one here."""


def load_tests(loader, tests, pattern):
    suite = unittest.TestSuite()
    source = (harness.HERE / "node" / "vault.test.mjs").read_text()
    for name in re.findall(r"^test\('([^']+)'", source, re.M):
        suite.addTest(case(name))
    return suite


def case(name):
    def check(self):
        result = results().get(name)
        self.assertIsNotNone(result, f"node did not run it: {results.output[-1500:]}")
        self.assertEqual("ok", result[0], result[1])

    method = "test_" + re.sub(r"\W+", "_", name)
    setattr(NodeVault, method, check)
    return NodeVault(method)


def results():
    """Runs the file once; name → (ok or not ok, what was printed below it)."""
    if not hasattr(results, "found"):
        with harness.Server.dev() as server:
            env = harness.clean_env(server.home, VAULT_ADDR=server.address, ROOT_TOKEN=server.token, NODE_VAULT_FROM=INSTALLED)
            run = subprocess.run([shutil.which("node"), "--test", "--test-reporter=tap", str(harness.HERE / "node" / "vault.test.mjs")],
                                 capture_output=True, text=True, env=env, timeout=120)
        results.output = run.stdout + run.stderr
        found = re.findall(r"^ *(ok|not ok) \d+ - (.+?)$(.*?)(?=^ *(?:ok|not ok) \d+ - |\Z)", run.stdout, re.M | re.S)
        results.found = {name.strip(): (word, rest) for word, name, rest in found}
    return results.found


if __name__ == "__main__":
    unittest.main()
