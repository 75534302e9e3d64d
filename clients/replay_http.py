#!/usr/bin/env python3
"""Replays the recorded HTTP calls of the reference against a fresh server, in order, and judges every reply.

    replay_http.py [--storage inmem|embedded] [--groups kv2,token] [--have identity] [--address URL] [--show 30] [--wording]

Without --address it starts the program under test (COFFER_BIN) with the configuration that the recording was made with. Calls of
groups that are not named run too, since they set the stage, and are counted as skipped; so are calls that need an engine or
auth method which --have does not name. `--have all` skips none. See recorded.py for when a reply is right.
"""

import argparse
import collections
import http.client
import sys
import time

import harness
import recorded

TOP = """raw_storage_endpoint = true
telemetry {
  prometheus_retention_time = "60s"
  disable_hostname = true
}
"""


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--address", help="a fresh server that runs already")
    options.add_argument("--storage", choices=("inmem", "embedded"), default="inmem")
    options.add_argument("--groups", default="", help="count these alone")
    options.add_argument("--have", default="", help="engines and auth methods that are there, or 'all'")
    options.add_argument("--show", type=int, default=30, help="how many wrong replies to print")
    options.add_argument("--wording", action="store_true", help="print differing texts of errors too")
    args = options.parse_args()
    records = recorded.load(harness.GOLDEN / "vault-http.jsonl")
    if args.address:
        return replay(args, records, args.address)
    folder = harness.scratch()
    storage = harness.durable_storage(folder) if args.storage == "embedded" else None
    with harness.Server.configured(storage=storage, folder=folder, top=TOP, init=False) as server:
        code = replay(args, records, server.address)
        if not server.alive():
            harness.say(f"the server ended: {server.log_text()[-600:]}")
        return code


def replay(args, records, address):
    groups, have = words(args.groups), words(args.have)
    names, tally, skipped = recorded.Names(address), Tally(args), collections.Counter()
    host, port = recorded.host_and_port(address)
    for record in records:
        time.sleep(record.get("wait_s") or 0)
        try:
            status, body, headers = recorded.send(host, port, record, names)
        except (OSError, http.client.HTTPException) as error:
            status, body, headers = 0, f"{type(error).__name__}: {error}", {}
        judge = recorded.Judge(record, status, body, headers)
        judge.faults += names.keep(record, body)
        lacking = sorted(set(record.get("needs", ())) - have) if have != {"all"} else []
        if groups and record["group"] not in groups:
            skipped[f"group-{record['group']}"] += 1
        elif lacking:
            skipped[f"needs-{lacking[0]}"] += 1
        else:
            tally.add(record, judge)
    return tally.report(skipped)


class Tally:
    def __init__(self, args):
        self.args, self.groups, self.wording = args, {}, 0

    def add(self, record, judge):
        row = self.groups.setdefault(record["group"], [0, 0])
        row[bool(judge.faults)] += 1
        call = f"{record['method']} {record['path']}"
        if judge.faults and sum(bad for _, bad in self.groups.values()) <= self.args.show:
            print(f"#{record['seq']} {record['group']} {call} {record.get('note') or ''}".rstrip())
            print("    " + "\n    ".join(judge.faults[:6]), flush=True)
        if judge.wording:
            self.wording += 1
            if self.args.wording:
                print(f"wording #{record['seq']} {call}: {'; '.join(judge.wording)}"[:400])

    def report(self, skipped):
        for group, (good, bad) in self.groups.items():
            print(f"{group:20} {good:4} passed {bad:4} failed")
        for name, count in skipped.items():
            print(f"skipped: http/{name}: {count} recorded calls")
        good, bad = (sum(row[i] for row in self.groups.values()) for i in (0, 1))
        print(f"wording differs in {self.wording}")
        print(f"{good} passed, {bad} failed, {sum(skipped.values())} skipped")
        return 1 if bad or not good else 0


def words(text):
    return set(filter(None, text.split(",")))


if __name__ == "__main__":
    sys.exit(main())
