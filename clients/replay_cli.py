#!/usr/bin/env python3
"""Replays the recorded command lines of the reference and compares exit codes and output.

    replay_cli.py [--have identity] [--show 30] [--as vault]

Starts an uninitialised server in memory with the program under test (COFFER_BIN) and runs every recorded command in order with
it, in one folder, with the recorded standard input and tokens. `--as NAME` runs the commands through a link of that name.

A command is right when its exit code is the recorded one and so is its standard output: tables column by column, JSON key by
key (more keys may be there). What changes from run to run or from product to product (identifiers, times, spans, tokens, key
material, versions, product names) is levelled on both sides; help texts are ours to word and need only be there. A command
whose needs are not all named by --have runs too and counts as skipped.
"""

import argparse
import collections
import json
import pathlib
import re
import shlex
import socket
import subprocess
import sys
import time

import harness

# Order matters: what a later pattern would cut into pieces is levelled by an earlier one.
LEVELLED = [(re.compile(pattern, flags), name) for pattern, name, flags in (
    (r"-----BEGIN [A-Z ]+-----.*?-----END [A-Z ]+-----", "<pem>", re.S),
    (r"https?://127\.0\.0\.1:\d+", "<address>", 0),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( ?[+-]\d{4}| ?UTC|Z)*( m=\S+)?", "<time>", 0),
    (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "<uuid>", 0),
    (r"\b(hvs|hvb|s|b)\.[A-Za-z0-9_-]{10,}", "<token>", 0),
    (r"\b([a-z][a-z0-9_-]*)_[0-9a-f]{8}\b", r"\1_<accessor>", 0),
    (r"\b\d\d [A-Z][a-z]{2} \d\d \d\d:\d\d UTC\b|\b1[6-9]\d{8}\b", "<time>", 0),
    (r"\b[0-9a-f]{2}(:[0-9a-f]{2}){10,}", "<serial>", 0),
    (r"(?=[A-Za-z+/_-]*\d)(?=[0-9+/_-]*[A-Za-z])[A-Za-z0-9+/_-]{20,}={0,2}", "<bytes>", 0),
    (r"\b[A-Za-z0-9]{24}\b", "<bytes>", 0),  # an accessor that happens to have no digit
    (r"(?m)^(Encoded Token|OTP)(\s+)\S+$|^[A-Za-z0-9+/]{26,}={0,2}$", r"\1\2<bytes>", 0),  # and tokens and one-time pads
    (r"\bv?\d+\.\d+\.\d+\S*", "<version>", 0),
    (r"\b(\d+h)?(\d+m)?\d+(\.\d+)?s\b|\b\d+h(\d+m)?\b", "<span>", 0),
    (r"-{2,}|={2,}", "--", 0),
    (r"\b(OpenBao|Vault|Coffer|bao|vault|coffer)\b", "<product>", 0),
)]
# Rows and keys that depend on the storage, the product or its version, not on the command.
OF_THE_PRODUCT = {
    "id", "Encryption Count", "Build Date", "Cluster Name", "Cluster ID", "Version", "Storage Type", "HA Enabled", "Removed From Cluster",
    "Commit Date", "build_date", "cluster_name", "cluster_id", "version", "storage_type", "ha_enabled", "removed_from_cluster", "commit_date",
}
OF_THE_CLOCK = re.compile(r"ttl|time|duration|expir|iteration")
OURS_TO_WORD = ("<usage>", "<help text>", "<cut>")
FILES = {
    "p.hcl": 'path "secret/*" { capabilities=["read","list"] }\npath   "kv/*" {\ncapabilities = [ "create" ]\n}\n',
    "bad.hcl": 'path "x" {',
    "d.json": '{"a":"1","b":{"c":2}}',
    "val.txt": "file-value",
}
RECORDED_HOST = "vm"  # the name of the recording's machine, which its `operator members` shows
SETTLES = (["operator", "unseal"], ["secrets", "enable"])  # the reference answers these before it has finished


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--have", default="", help="engines and auth methods that are there, or 'all'")
    options.add_argument("--show", type=int, default=30, help="how many wrong commands to print")
    options.add_argument("--as", dest="name", default="", help="run the commands through a link of this name")
    args = options.parse_args()
    with harness.Server.configured(init=False) as server:
        for name, text in FILES.items():
            (server.folder / name).write_text(text)
        binary = harness.vault_link(server.folder) if args.name == "vault" else harness.BIN
        return replay(args, server, binary)


def replay(args, server, binary):
    have = set(filter(None, args.have.split(",")))
    run, passed, failed, skipped = Run(server, binary), 0, 0, collections.Counter()
    unmade = 0  # tokens that the recorded logins made and ours could not
    for line in open(harness.GOLDEN / "vault-cli.jsonl", encoding="utf-8"):
        record = json.loads(line)
        command = [run.fill(word) for word in record["argv"]]
        if any("127.0.0.1:" in word and "-address" not in word for word in command):
            skipped["address-of-the-recording"] += 1
            continue
        lacking = sorted(set(record.get("needs", ())) - have) if have != {"all"} else []
        problem = judge(without_rows(record, unmade), *run.command(record, command))
        if lacking:
            unmade += record["exit"] == 0 and logs_in(command)
            skipped[f"needs-{lacking[0]}"] += 1
        elif problem:
            failed += 1
            if failed <= args.show:
                print(f"#{record['seq']} {shlex.join(record['argv'])}: {problem}", flush=True)
        else:
            passed += 1
    for name, count in skipped.items():
        print(f"skipped: cli/{name}: {count} recorded commands")
    print(f"{passed} passed, {failed} failed, {sum(skipped.values())} skipped")
    return 1 if failed or not passed else 0


def logs_in(command):
    return command[0] == "login" or any(word.endswith("/login") for word in command)


def without_rows(record, unmade):
    """The list of all accessors, less those of tokens that were not made."""
    if unmade and record["argv"] == ["list", "auth/token/accessors"]:
        return {**record, "stdout": "\n".join(record["stdout"].rstrip("\n").split("\n")[:-unmade])}
    return record


class Run:
    def __init__(self, server, binary):
        self.server, self.binary, self.work, self.names = server, binary, str(server.folder), {"work": str(server.folder)}

    def fill(self, text):
        return re.sub(r"@@(\w+)@@", lambda name: self.names.get(name[1], name[0]), text).replace("/work-dir", self.work)

    def command(self, record, command):
        token = record.get("token_env")
        try:
            ran = self.server.cli(*command, binary=self.binary, token=token and self.names.get(token, token),
                                  stdin=self.fill(record["stdin"] or ""), timeout=90)
        except subprocess.TimeoutExpired:
            return "no answer", "", ""
        out = ran.stdout.replace(self.work, "/work-dir")
        if command[:2] == ["operator", "members"]:
            out = out.replace(socket.gethostname(), RECORDED_HOST)
        for name, pattern in (record.get("save") or {}).items():
            found = re.search(pattern, out)
            if found:
                self.names[name] = found[1]
        if command[:2] in SETTLES:
            time.sleep(1 if harness.is_reference() else 0.1)
        return ran.returncode, out, ran.stderr


def judge(record, code, out, err):
    """What is wrong with a run, or an empty text."""
    wanted = record["stdout"]
    if code != record["exit"]:
        return f"exit {record['exit']} expected, {code}: {(out + err)[-160:].strip()!r}"
    if any(mark in wanted for mark in OURS_TO_WORD):
        return "" if (out + err).strip() else "nothing printed"
    want, got = shape(wanted), shape(out)
    if covers(want, got) if isinstance(want, dict) else want == got:
        return ""
    return f"{want} expected, {got}"[:400]


def shape(text):
    """A JSON text with levelled leaves, or of any other text the columns of each line."""
    text = text.strip()
    if text.startswith(("{", "[")):
        try:
            return leaves(json.loads(text))
        except ValueError:
            pass
    rows = ([re.sub(r"\s+", " ", cell) for cell in re.split(r"\s{2,}|\t", line.strip())] for line in level(text).splitlines())
    return [["curl"] if row[0].startswith("curl ") else row for row in rows if row[0] and row[0] not in OF_THE_PRODUCT]


def leaves(value):
    if isinstance(value, dict):
        return {level(key): leaves(item) for key, item in value.items() if key not in OF_THE_PRODUCT}
    if isinstance(value, list):
        return [leaves(item) for item in value]
    return level(value) if isinstance(value, str) else value


def level(text):
    for pattern, name in LEVELLED:
        text = pattern.sub(name, text)
    return text


def covers(want, got, key=""):
    if isinstance(want, dict):
        return isinstance(got, dict) and all(name in got and covers(item, got[name], name) for name, item in want.items())
    if isinstance(want, list):
        return isinstance(got, list) and len(want) == len(got) and all(covers(one, other, key) for one, other in zip(want, got))
    if isinstance(want, (int, float)) and isinstance(got, (int, float)) and OF_THE_CLOCK.search(key):
        return True
    return want == got


if __name__ == "__main__":
    sys.exit(main())
