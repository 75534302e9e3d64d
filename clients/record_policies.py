#!/usr/bin/env python3
"""Asks a Vault-compatible reference server what random policies grant, and writes the answers as vectors.

    bao server -dev -dev-root-token-id=root -dev-listen-address=127.0.0.1:18377 &
    clients/record_policies.py http://127.0.0.1:18377 root vectors/policy

The same seed asks the same questions. `cargo test -p coffer-core policy::recorded` holds Coffer's decider against the files. The server's
policies and mounts are changed: never point this at a server that anyone uses.
"""

import json
import pathlib
import random
import sys
import urllib.error
import urllib.request

ADDRESS, ROOT, OUT = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
RANDOM = random.Random(20)
WORDS = ["create", "read", "update", "patch", "delete", "list", "scan", "sudo", "list", "read"]


def call(method, path, body=None, token=ROOT, headers=()):
    request = urllib.request.Request(
        f"{ADDRESS}/v1/{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"X-Vault-Token": token, **dict(headers)},
    )
    try:
        with urllib.request.urlopen(request) as reply:
            text = reply.read()
            return reply.status, json.loads(text) if text else None
    except urllib.error.HTTPError as error:
        return error.code, None


def path(wild):
    names = ["a", "b", "ab", "+", "+"] if wild else ["a", "b", "ab", "abc"]
    made = "/".join(RANDOM.choice(names) for _ in range(RANDOM.randint(1, 4)))
    tail = RANDOM.choice(["", "/", "*", "/*"] if wild else ["", "", "/"])
    return made if made.endswith("+") and tail == "*" else made + tail


def block(place, fields):
    return f'path "{place}" {{\n{fields}\n}}\n'


def words(some):
    return f"  capabilities = {json.dumps(some)}"


def token_of(policies):
    for i, text in enumerate(policies):
        status, _ = call("PUT", f"sys/policies/acl/p{i}", {"policy": text})
        assert status == 204, text
    names = [f"p{i}" for i in range(len(policies))]
    _, reply = call("POST", "auth/token/create", {"policies": names, "no_default_policy": True})
    return reply["auth"]["client_token"]


def random_policies():
    policies = []
    for _ in range(RANDOM.randint(1, 3)):
        text = ""
        for _ in range(RANDOM.randint(1, 5)):
            some = [word for word in WORDS if RANDOM.random() < 0.33]
            if RANDOM.random() < 0.12:
                some.append("deny")
            text += block(path(True), words(sorted(set(some))))
        policies.append(text)
    return policies


def record_capabilities(sets, paths_each):
    """What sys/capabilities says of random paths."""
    for _ in range(sets):
        policies = random_policies()
        paths = sorted({path(False) for _ in range(paths_each)})
        status, reply = call("POST", "sys/capabilities", {"token": token_of(policies), "paths": paths})
        assert status == 200, policies
        yield {"policies": policies, "capabilities": {p: reply["data"][p] for p in paths}}


def record_operations(sets, asks_each):
    """Whether real requests pass."""
    for name in ["a", "b", "ab", "abc"]:
        call("POST", f"sys/mounts/{name}", {"type": "kv"})
    for _ in range(sets):
        policies = random_policies()
        token = token_of(policies)
        asks = []
        for _ in range(asks_each):
            operation, method = RANDOM.choice(
                [("list", "LIST"), ("list", "LIST"), ("scan", "SCAN"), ("read", "GET"), ("delete", "DELETE"), ("create", "PUT")]
            )
            asked = path(False).strip("/")
            if "/" not in asked:
                asked += "/a"
            body = {"k": "v"} if method == "PUT" else None
            status, _ = call(method, asked, body, token)
            if method == "PUT":
                call("DELETE", asked)  # so that the next write creates again
            if operation in ("list", "scan"):
                asked += "/"  # as the server completes it
            asks.append([operation, asked, status != 403])
        yield {"policies": policies, "asks": asks}


VALUES = ['"x"', '"xy"', '"y*"', '"*z"', '"*m*"', "5", "true", '"5"']
GIVEN = ["x", "xy", "yy", "zz", "amb", 5, True, "5", "true", ["x"], None, 5.0]


def lists():
    names = RANDOM.sample(["a", "B", "c", "*"], RANDOM.randint(1, 3))
    return ", ".join(f'"{n}" = [{", ".join(RANDOM.sample(VALUES, RANDOM.choice([0, 0, 1, 2])))}]' for n in names)


def constraints():
    fields = words(["create", "read", "list"])
    if RANDOM.random() < 0.5:
        fields += f"\n  allowed_parameters = {{ {lists()} }}"
    if RANDOM.random() < 0.4:
        fields += f"\n  denied_parameters = {{ {lists()} }}"
    if RANDOM.random() < 0.3:
        fields += f"\n  required_parameters = {json.dumps(RANDOM.sample(['a', 'B', 'c', 'limit'], RANDOM.randint(1, 2)))}"
    if RANDOM.random() < 0.2:
        fields += f"\n  min_wrapping_ttl = {RANDOM.choice([30, 60])}"
    if RANDOM.random() < 0.2:
        fields += f"\n  max_wrapping_ttl = {RANDOM.choice([60, 90])}"
    if RANDOM.random() < 0.2:
        fields += f"\n  pagination_limit = {RANDOM.choice([1, 5])}"
    return fields


def record_constraints(sets, asks_each):
    """Whether real requests with fields and wrapping pass."""
    call("POST", "sys/mounts/k", {"type": "kv"})
    for _ in range(sets):
        policies = [block("k/*", constraints()) for _ in range(RANDOM.choice([1, 1, 2]))]
        token = token_of(policies)
        asks = []
        for _ in range(asks_each):
            operation = RANDOM.choice(["create", "create", "create", "read", "list"])
            wrap = RANDOM.choice([None, None, 30, 60, 90])
            headers = {"X-Vault-Wrap-TTL": str(wrap)} if wrap else {}
            body, query = {}, {}
            if operation == "create":
                body = {name: RANDOM.choice(GIVEN) for name in RANDOM.sample(["a", "b", "B", "c", "d"], RANDOM.randint(0, 3))}
                status, _ = call("PUT", "k/x", body, token, headers)
                call("DELETE", "k/x")
            else:
                if operation == "list" and RANDOM.random() < 0.6:
                    query["limit"] = RANDOM.choice(["0", "1", "3", "9", "-1", "max", "abc"])
                text = "".join(f"?{k}={v}" for k, v in query.items())
                method = "GET" if operation == "read" else "LIST"
                status, _ = call(method, "k/x" + text, None, token, headers)
            asked = "k/x/" if operation == "list" else "k/x"
            asks.append([operation, asked, {**body, **query}, wrap, status != 403])
        yield {"policies": policies, "asks": asks}


for name, cases in [
    ("capabilities", record_capabilities(250, 24)),
    ("operations", record_operations(120, 25)),
    ("constraints", record_constraints(250, 12)),
]:
    with open(OUT / f"{name}.jsonl", "w", encoding="utf-8") as file:
        count = 0
        for case in cases:
            file.write(json.dumps(case, separators=(",", ":")) + "\n")
            count += 1
    print(f"{name}: {count} sets of policies")
