"""Prints what Python's email package sees in each message of a folder: one JSON object a part.

Usage: python_email.py compat32|default FOLDER
"""
import base64
import email
import email.policy
import json
import os
import sys

policy = {"compat32": email.policy.compat32, "default": email.policy.default}[sys.argv[1]]


def parts(message):
    if message.is_multipart():
        for part in message.get_payload():
            yield from parts(part)
    else:
        yield message


def attempt(f, otherwise):
    try:
        return f()
    except Exception:  # a reader that falls over shows nothing
        return otherwise


for name in sorted(os.listdir(sys.argv[2])):
    with open(os.path.join(sys.argv[2], name), "rb") as f:
        message = attempt(lambda: email.message_from_binary_file(f, policy=policy), None)
    for part in attempt(lambda: list(parts(message)), []):
        content = attempt(lambda: part.get_payload(decode=True), b"") or b""
        print(json.dumps({
            "message": name,
            "name": str(attempt(part.get_filename, "") or ""),
            "type": attempt(part.get_content_type, "text/plain"),
            "attached": attempt(part.get_content_disposition, None) == "attachment",
            "content": base64.b64encode(content[:2048]).decode(),
        }))
