"""Sends one file as an attachment with Python's smtplib. Exits non-zero unless it is taken.

Usage: send_smtplib.py PORT clear|starttls|implicit CA MECHANISM USER PASSWORD FROM TO FILE
"""
import email.message
import pathlib
import smtplib
import ssl
import sys

port, tls, ca, mechanism, user, password, sender, recipient, file = sys.argv[1:]

message = email.message.EmailMessage()
message["From"] = sender
message["To"] = recipient
message["Subject"] = "Scan – Etage 3"
message.set_content("Your scan.\n")
message.add_attachment(pathlib.Path(file).read_bytes(), maintype="application", subtype="pdf", filename="scan.pdf")

context = ssl.create_default_context(cafile=ca)
if tls == "implicit":
    server = smtplib.SMTP_SSL("127.0.0.1", int(port), context=context, timeout=60)
else:
    server = smtplib.SMTP("127.0.0.1", int(port), timeout=60)
with server:
    if tls == "starttls":
        server.starttls(context=context)
    server.ehlo()
    if mechanism:
        offered = server.esmtp_features.get("auth", "").split()
        if mechanism not in offered:
            sys.exit(f"{mechanism} is not offered, only {offered}")
        # As login() does, but by this mechanism only.
        server.user, server.password = user, password
        method = "auth_" + mechanism.lower().replace("-", "_")
        code, text = server.auth(mechanism, getattr(server, method))
        if code != 235:
            sys.exit(f"AUTH {mechanism}: {code} {text}")
    refused = server.send_message(message)
    if refused:
        sys.exit(f"refused: {refused}")
