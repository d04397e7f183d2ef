#!/usr/bin/env bash
# Says how to send a scan to the relay that `make run` starts.
# Usage: how-to-send.sh STATE
set -euo pipefail

cat <<TEXT

The relay listens on 127.0.0.1:2525 and takes mail from this machine for
anybody@example.com. From another terminal, send a scan with one of

  printf 'From: scanner@copier.example.com\r\nTo: it@example.com\r\nSubject: Scan from MFP\r\n\r\nHello\r\n' |
    curl smtp://127.0.0.1:2525 --mail-from scanner@copier.example.com --mail-rcpt it@example.com -T -

  swaks --server 127.0.0.1:2525 --from scanner@copier.example.com --to it@example.com \\
        --header 'Subject: Scan from MFP' --attach @/etc/hostname

  python3 -c 'import smtplib; smtplib.SMTP("127.0.0.1", 2525).sendmail("scanner@copier.example.com",
    "it@example.com", "From: scanner@copier.example.com\nTo: it@example.com\nSubject: Scan from MFP\n\nHello")'

and find it, a file a scan, with

  find $1 -path '*/new/*'

Try what is refused, too: --to it@elsewhere.example. Ctrl-C ends the relay.

TEXT
