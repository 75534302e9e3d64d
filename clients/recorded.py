"""Recorded calls of the reference and how a reply is judged against them: shared by the replay and by the canary suite.

A reply is right when its status is the recorded one and it has every recorded field, of the recorded type, with the recorded
value except where the recording names the field as volatile. More fields than recorded are allowed. Texts of errors and
warnings are ours to word: a difference there is reported apart and is no failure.
"""

import http.client
import json
import re
import tempfile
import urllib.parse

NAME = re.compile(r"\{\{(\w+)\}\}")
SPAN = re.compile(r"ttl$|_duration$")
SECONDS_OFF = 5


def load(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


class Names:
    """What earlier replies gave (tokens, keys, accessors), for the `{{names}}` of later calls."""

    def __init__(self, address):
        self.known = {"work": tempfile.mkdtemp(prefix="replay-"), "addr": address}

    def fill(self, value):
        if isinstance(value, dict):
            return {key: self.fill(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.fill(item) for item in value]
        if not isinstance(value, str):
            return value
        alone = NAME.fullmatch(value)
        if alone and alone[1] in self.known:
            return self.known[alone[1]]  # a name that is the whole text keeps the type of what it stands for
        return NAME.sub(lambda found: str(self.known.get(found[1], found[0])), value)

    def keep(self, record, reply):
        """Keeps what the record says to save; returns what was not there."""
        missing = []
        for name, pointer in (record.get("save") or {}).items():
            try:
                self.known[name] = at(reply, pointer)
            except (KeyError, IndexError, TypeError, ValueError):
                missing.append(f"no {pointer} to go on with")
        # One recorded name has no pointer, since its key holds a slash: the accessor of the userpass mount.
        if (record["method"], record["path"]) == ("GET", "/v1/sys/auth") and isinstance(reply, dict):
            mount = reply.get("userpass/")
            if isinstance(mount, dict) and "accessor" in mount:
                self.known["upacc"] = mount["accessor"]
        return missing


def at(document, pointer):
    """The value that a JSON pointer (RFC 6901) names."""
    for step in pointer.strip("/").split("/"):
        step = step.replace("~1", "/").replace("~0", "~")
        document = document[int(step)] if isinstance(document, list) else document[step]
    return document


def send(host, port, record, names, timeout=60):
    """One call as it was recorded, on a connection of its own. Returns status, body (JSON where it is) and headers."""
    body = names.fill(record["request_body"])
    if body is not None:
        body = (body if isinstance(body, str) else json.dumps(body)).encode()
    path = names.fill(record["path"]).replace(" ", "%20")
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request(record["method"], path, body, names.fill(record["request_headers"]))
        reply = connection.getresponse()
        raw, headers = reply.read(), {name.lower(): value for name, value in reply.getheaders()}
    finally:
        connection.close()
    try:
        return reply.status, json.loads(raw), headers
    except ValueError:
        return reply.status, raw.decode("utf-8", "replace"), headers


class Judge:
    """Compares one reply with its record: `faults` fail it, `wording` does not."""

    def __init__(self, record, status, body, headers):
        self.loose, self.faults, self.wording = set(record["volatile"]), [], []
        other_status = record.get("hashicorp_status")
        if status != record["status"] and status == other_status:
            return  # the two products of the reference part here, and either's answer is right
        if status != record["status"]:
            self.faults.append(f"status {record['status']} expected, {status} found: {str(body)[:120]}")
        else:
            self._headers(record["response_headers"], headers)
        wanted = record["response"]
        if not isinstance(wanted, str):
            self._value(wanted, body, "")
        elif record["method"] != "HEAD" and bool(wanted) != bool(body):
            self.faults.append(f"body {wanted[:60]!r} expected, {str(body)[:60]!r} found")

    def _headers(self, wanted, found):
        for name in ("content-type", "cache-control"):
            if name in wanted and media(wanted[name]) != media(found.get(name) or ""):
                self.faults.append(f"header {name}: {wanted[name]!r} expected, {found.get(name)!r} found")

    def _value(self, wanted, found, path):
        here = path or "/"
        if kind(wanted) != kind(found):
            if here not in self.loose:
                self.faults.append(f"{here}: {kind(wanted)} expected, {kind(found)} found")
        elif isinstance(wanted, (dict, list)):
            if f"{path}/*" not in self.loose:
                (self._object if isinstance(wanted, dict) else self._list)(wanted, found, path)
        elif kind(wanted) == "number" and SPAN.search(path) and abs(wanted - found) <= SECONDS_OFF:
            return
        elif wanted != found and here not in self.loose:
            self.faults.append(f"{here}: {wanted!r} expected, {found!r} found"[:240])

    def _object(self, wanted, found, path):
        for key, value in wanted.items():
            step = f"{path}/{key.replace('~', '~0').replace('/', '~1')}"
            if key in found:
                self._value(value, found[key], step)
            else:
                self.faults.append(f"{step}: missing")

    def _list(self, wanted, found, path):
        if path in self.loose:
            return
        if path in ("/errors", "/warnings"):
            if wanted != found:
                self.wording.append(f"{path}: {wanted} expected, {found} found")
        elif len(wanted) != len(found):
            self.faults.append(f"{path}: {len(wanted)} items expected, {len(found)} found: {str(found)[:80]}")
        else:
            for number, (one, other) in enumerate(zip(wanted, found)):
                self._value(one, other, f"{path}/{number}")


def media(header):
    return header.split(";")[0]


def kind(value):
    if isinstance(value, bool):
        return "bool"
    return "number" if isinstance(value, (int, float)) else type(value).__name__


def host_and_port(address):
    parts = urllib.parse.urlsplit(address)
    return parts.hostname, parts.port
