package semantics

import (
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/test/rig"
)

// go-smtp's gap 8: control characters, NUL, 8-bit octets and lengths beyond RFC 5321
// 4.5.3.1 are in no address and no HELO, whatever is lenient, and the session goes on.
func TestGap08WhatIsInNoAddress(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	for _, syntax := range []string{"Strict", "Lenient"} {
		r := rig.Start(t, strings.Replace(manifests("  addresses: {defaultDomain: corp.example}\n", `    recipients: {allowed: ["*@corp.example"]}`, u.YAML("out", "")), "tls: {mode: None}", "tls: {mode: None}, compatibility: {commandSyntax: "+syntax+"}", 1))
		for _, local := range []string{"a\x00b", "a\x01b", "a\x1b[2Jb", "a\x7fb", "a\xffb", "\xc3\xbc", strings.Repeat("a", 65), strings.Repeat("a", 500), "\"a\x00\"", "a\rb", "a b c", "a>b"} {
			c := r.Dial()
			c.Want("250", "EHLO copier.test")
			panelLine(t, c.Want("5", "MAIL FROM:<%s@corp.example>", local))
			c.Want("250", "MAIL FROM:<mfp@corp.example>")
			panelLine(t, c.Want("5", "RCPT TO:<%s@corp.example>", local))
			c.Want("250", "RCPT TO:<%s@corp.example>", strings.Repeat("a", 64))
			c.Close()
		}
		for _, domain := range []string{strings.Repeat("a.", 130) + "corp.example", strings.Repeat("a", 64) + ".corp.example", "corp..example", "-corp.example", "corp.example\x00", "[300.1.1.1]", "corp_\x01.example"} {
			c := r.Dial()
			c.Want("250", "EHLO copier.test")
			panelLine(t, c.Want("5", "MAIL FROM:<mfp@%s>", domain))
			c.Close()
		}
		for _, helo := range []string{"a\x00b", "a\x1b[2J", "a\x7f"} {
			c := r.Dial()
			panelLine(t, c.Want("501 5.5.4 ", "EHLO %s", helo))
			c.Want("250", "EHLO copier.test")
			c.Close()
		}
	}
}
