package kubectl

import (
	"strings"
	"testing"
)

// What a credential looks like wherever it may come up: no bundle has it, with addresses
// or without.
func TestCredentialsAreTakenOut(t *testing.T) {
	const planted = "hunter2-planted"
	for _, s := range []string{
		`password: ` + planted, `"password":"` + planted + `"`, `"password" : "two words ` + planted + `"`, `client_secret=` + planted + `&x=1`, `X-Api-Key: ` + planted,
		`msg="answer {\"access_token\":\"` + planted + `\",\"token_type\":\"x\"}"`, `{"body":"{\\\"password\\\":\\\"` + planted + `\\\"}"}`,
		`refresh_token='` + planted + `'`, `x-postmark-server-token: ` + planted, `smtp://user:` + planted + `@mail.example`, `Authorization: Bearer ` + planted + `aaaa`,
	} {
		for _, addresses := range []bool{true, false} {
			if got := newRedactor(addresses).text(s); strings.Contains(got, planted) {
				t.Errorf("%s\nleaves %s", s, got)
			}
		}
	}
	for _, s := range []string{
		"key-0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdef-01234567-89abcdef", "abc8Q~0123456789_0123456789.0123456789-ab",
		"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "$2a$10$abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0", "AKIAIOSFODNN7EXAMPLE", "SG.0123456789abcdef0.0123456789abcdef0",
	} {
		if got := newRedactor(false).text("said " + s + " then"); got != "said "+removed+" then" {
			t.Errorf("%s leaves %q", s, got)
		}
	}
	for _, s := range []string{
		"secretRef: {name: smtp}", `printer_relay_secrets_missing{relay="a/b"} 0`, "password is wrong", "the token has expired", `"secretRef":{"name":"smtp"}`, "tokenURL: https://login.example",
	} {
		if got := newRedactor(false).text(s); got != s {
			t.Errorf("%q is of use, and became %q", s, got)
		}
	}
}

// An address has one stand-in however it is written, and nothing of a person is left.
func TestAddressesHaveStandIns(t *testing.T) {
	r := newRedactor(true)
	want := r.text("anna.b@corp.example")
	if want != "person-2@domain-1.invalid" {
		t.Errorf("%q", want)
	}
	for _, s := range []string{"Anna.B@Corp.example", "<anna.b@corp.example>", "client=10.20.3.7&from=anna.b%40corp.example&to", "level=INFO sender=anna.b@corp.example size=7"} {
		if got := r.text(s); !strings.Contains(got, want) || strings.Contains(strings.ToLower(got), "anna") {
			t.Errorf("%s: %s", s, got)
		}
	}
	for _, s := range []string{`"anna b"@corp.example`, `{"sender":"\"anna b\"@corp.example"}`, "anna@[10.20.3.7]", "anna@[IPv6:2001:db8::7]", "änna@bücher.example"} {
		got := r.text(s)
		for _, left := range []string{"anna", "änna", "10.20.3.7", "2001:db8", "corp", "bücher"} {
			if strings.Contains(got, left) {
				t.Errorf("%s leaves %q: %s", s, left, got)
			}
		}
	}
	if got := r.text("10.20.3.7 and ::ffff:10.20.3.7, at 12:34:56, by 127.0.0.1"); got != "address-1 and address-1, at 12:34:56, by 127.0.0.1" {
		t.Errorf("%q", got)
	}
}
