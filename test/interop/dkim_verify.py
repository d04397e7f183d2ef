# Says of each signature of a message "ok DOMAIN", or why it does not verify.
# Usage: dkim_verify.py RECORDS.json MESSAGE; the records are name -> TXT.
import json
import sys

import dkim

with open(sys.argv[1]) as f:
    records = json.load(f)
with open(sys.argv[2], "rb") as f:
    message = f.read()


def lookup(name, timeout=5):
    return records.get(name.decode().rstrip("."), "").encode() or None


count = sum(1 for name, _ in dkim.DKIM(message).headers if name.lower() == b"dkim-signature")
for index in range(count):
    d = dkim.DKIM(message)
    try:
        verdict = "ok " + d.domain.decode() if d.verify(index, dnsfunc=lookup) else "not valid"
    except dkim.DKIMException as problem:
        verdict = f"{type(problem).__name__}: {problem}"
    print(verdict)
