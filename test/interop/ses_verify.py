"""Recomputes the SigV4 signature of a recorded request with botocore, which none
of the relay's authors wrote. Usage: ses_verify.py RECORD BODY SECRET_ACCESS_KEY

RECORD is JSON: method, url, headers. Prints "ok" and what was signed, or says
what is wrong and fails.
"""
import json
import re
import sys

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

record = json.load(open(sys.argv[1], encoding="utf-8"))
with open(sys.argv[2], "rb") as f:
    body = f.read()
headers = {k.lower(): v for k, v in record["headers"].items()}
m = re.fullmatch(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, SignedHeaders=(\S+), Signature=([0-9a-f]{64})",
    headers.get("authorization", ""),
)
if not m:
    sys.exit("no signature: %r" % headers.get("authorization"))
key, date, region, service, names, signature = m.groups()
names = names.split(";")
for name in ("host", "x-amz-date", "content-length", "content-type"):
    if name not in names:
        sys.exit("%s is not signed" % name)
if "x-amz-security-token" in headers and "x-amz-security-token" not in names:
    sys.exit("the session token is not signed")
if not headers["x-amz-date"].startswith(date):
    sys.exit("signed for another day: %s" % headers["x-amz-date"])
if int(headers["content-length"]) != len(body):
    sys.exit("%s octets signed, %d came" % (headers["content-length"], len(body)))

request = AWSRequest(
    method=record["method"], url=record["url"], data=body, headers={n: headers[n] for n in names}
)
request.context["timestamp"] = headers["x-amz-date"]
auth = SigV4Auth(Credentials(key, sys.argv[3], headers.get("x-amz-security-token")), service, region)
text = auth.string_to_sign(request, auth.canonical_request(request))
if auth.signature(text, request) != signature:
    sys.exit("the signature is another one; botocore signs\n" + auth.canonical_request(request))
print("ok", key, region, service, len(body))
