"""Prints requests and their shared key signatures as azure-storage-queue computes them.

It signs with the package's own policy. Left out is what the package signs otherwise than the
service documents, and no client of queues needs: a parameter given twice (it keeps the last one),
upper case names that sort otherwise than lower case ones (it sorts before it lowers them), runs of
white space within header values (it keeps them), Date beside x-ms-date (it signs both), and Range
(it signs none).
"""

import json
import sys

from azure.core.pipeline import PipelineContext, PipelineRequest
from azure.core.pipeline.transport import HttpRequest
from azure.storage.queue._shared.authentication import SharedKeyCredentialPolicy

# Made up: the bytes 0 to 63 in base64.
KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw=="
DATE = "Fri, 02 Jan 2026 03:04:05 GMT"
COMMON = {"x-ms-date": DATE, "x-ms-version": "2026-02-06"}
XML = {"Content-Type": "application/xml"}

HOSTS = {
    "host": ("exampleaccount", "https://exampleaccount.queue.core.windows.net"),
    "path": ("devstoreaccount1", "http://127.0.0.1:10001/devstoreaccount1"),
}

MESSAGE = "/orders/messages/1f2e3d4c-0000-4000-8000-5a6b7c8d9eaf"
RECEIPT = "popreceipt=AgAAAAMAAAAAAAAA%2BxGv%2FQ8n2AE%3D"

# Name, method, path with query, headers beside the common ones, length of the body.
REQUESTS = [
    ("create queue", "PUT", "/orders", {}, None),
    ("create queue, content length 0", "PUT", "/orders", {"Content-Length": "0"}, 0),
    (
        "create queue with metadata",
        "PUT",
        "/orders",
        {"x-ms-meta-team": "billing", "x-ms-meta-Env": "Test", "x-ms-meta-a": "1"},
        None,
    ),
    ("delete queue", "DELETE", "/orders", {}, None),
    ("get metadata", "GET", "/orders?comp=metadata", {}, None),
    ("get metadata with a timeout", "GET", "/orders?comp=metadata&timeout=30", {}, None),
    ("head metadata", "HEAD", "/orders?comp=metadata", {}, None),
    ("set metadata", "PUT", "/orders?comp=metadata", {"x-ms-meta-team": "a b, c:d"}, None),
    ("set metadata, empty value", "PUT", "/orders?comp=metadata", {"x-ms-meta-team": ""}, None),
    ("set metadata, unicode", "PUT", "/orders?comp=metadata", {"x-ms-meta-t": "Größe ✓"}, None),
    ("list queues", "GET", "/?comp=list", {}, None),
    (
        "list queues, all parameters",
        "GET",
        "/?prefix=ord&comp=list&timeout=30&maxresults=5000&include=metadata&marker=%2Facc%2Forders",
        {},
        None,
    ),
    ("list queues, upper case names", "GET", "/?COMP=list&Include=Metadata&Prefix=Ord", {}, None),
    ("list queues, empty value", "GET", "/?comp=list&prefix=", {}, None),
    (
        "list queues, encoded value",
        "GET",
        "/?comp=list&prefix=a%20b%2Bc%3Dd%26e%3Ff%25g%C3%BC",
        {},
        None,
    ),
    ("put message", "POST", "/orders/messages", {**XML, "Content-Length": "79"}, 79),
    (
        "put message, hidden, for ever",
        "POST",
        "/orders/messages?visibilitytimeout=604799&messagettl=-1",
        {**XML, "Content-Length": "65536"},
        65536,
    ),
    ("get messages", "GET", "/orders/messages", {}, None),
    (
        "get messages, batch",
        "GET",
        "/orders/messages?numofmessages=32&visibilitytimeout=60",
        {},
        None,
    ),
    ("peek messages", "GET", "/orders/messages?peekonly=true&numofmessages=32", {}, None),
    ("clear messages", "DELETE", "/orders/messages", {}, None),
    ("delete message", "DELETE", f"{MESSAGE}?{RECEIPT}", {}, None),
    (
        "delete message, receipt with spaces",
        "DELETE",
        f"{MESSAGE}?popreceipt=a%20b%20%20c%2B",
        {},
        None,
    ),
    (
        "update message with a body",
        "PUT",
        f"{MESSAGE}?{RECEIPT}&visibilitytimeout=60",
        {**XML, "Content-Length": "103"},
        103,
    ),
    ("update message without a body", "PUT", f"{MESSAGE}?{RECEIPT}&visibilitytimeout=0", {}, None),
    (
        "update message, content length 0",
        "PUT",
        f"{MESSAGE}?visibilitytimeout=60&{RECEIPT}",
        {**XML, "Content-Length": "0"},
        0,
    ),
    ("get acl", "GET", "/orders?comp=acl", {}, None),
    ("set acl", "PUT", "/orders?comp=acl", {**XML, "Content-Length": "203"}, 203),
    ("get service properties", "GET", "/?restype=service&comp=properties", {}, None),
    (
        "set service properties",
        "PUT",
        "/?restype=service&comp=properties",
        {**XML, "Content-Length": "411"},
        411,
    ),
    ("get service stats", "GET", "/?restype=service&comp=stats", {}, None),
    (
        "headers of a client",
        "GET",
        "/orders/messages?numofmessages=1",
        {
            "Accept": "application/xml",
            "User-Agent": "example/1.0",
            "x-ms-client-request-id": "5a6b7c8d-0000-4000-8000-1f2e3d4c5b6a",
            "x-ms-return-client-request-id": "true",
        },
        None,
    ),
    (
        "every header that is signed by itself",
        "POST",
        "/orders/messages",
        {
            "Content-Encoding": "identity",
            "Content-Language": "en",
            "Content-Length": "12",
            "Content-MD5": "1B2M2Y8AsgTpgAmY7PhCfg==",
            "Content-Type": "application/xml; charset=utf-8",
            "If-Modified-Since": DATE,
            "If-Match": '"0x8D101F7E4B662C4"',
            "If-None-Match": "*",
            "If-Unmodified-Since": DATE,
        },
        12,
    ),
]


class Policy(SharedKeyCredentialPolicy):
    """The package's, with the string that it signs kept."""

    def _add_authorization_header(self, request, string_to_sign):
        self.string_to_sign = string_to_sign
        super()._add_authorization_header(request, string_to_sign)


def vector(name, account, method, url, headers, body_length):
    http = HttpRequest(method, url, headers=dict(headers))
    policy = Policy(account, KEY)
    policy.on_request(PipelineRequest(http, PipelineContext(None)))
    return {
        "name": name,
        "account": account,
        "key": KEY,
        "method": method,
        "url": url,
        "headers": headers,
        "body_length": body_length or 0,
        "string_to_sign": policy.string_to_sign,
        "authorization": http.headers["Authorization"],
    }


def vectors():
    for style, (account, base) in HOSTS.items():
        for name, method, path, headers, body_length in REQUESTS:
            name, headers = f"{name} ({style} style)", {**COMMON, **headers}
            yield vector(name, account, method, base + path, headers, body_length)
        name, url = f"Date alone ({style} style)", f"{base}/orders?comp=metadata"
        headers = {"Date": DATE, "x-ms-version": COMMON["x-ms-version"]}
        yield vector(name, account, "GET", url, headers, None)
    account, base = HOSTS["path"]
    name = "list queues (path style, no slash)"
    yield vector(name, account, "GET", f"{base}?comp=list", COMMON, None)


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    json.dump(list(vectors()), sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")
