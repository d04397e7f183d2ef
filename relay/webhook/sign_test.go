package webhook

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/secrets"
)

func TestSigningSecrets(t *testing.T) {
	for text, want := range map[string]int{
		secret(0): 1, secret(0) + "\n": 1, "\r\n" + secret(0) + "\r\n  " + secret(1) + "\n": 2, secret(0) + "\n" + secret(1) + "\n" + secret(2) + "\n" + secret(3): 4,
		"": 0, "\n": 0, "whsec_": 0, "whsec_c2hvcnQ=": 0, strings.TrimPrefix(secret(0), secretPrefix): 0, secret(0) + "!": 0, secretPrefix + strings.Repeat("YWFh", 30): 0,
		strings.Repeat(secret(0)+"\n", 5): 0, secret(0) + "\nhunter2": 0,
	} {
		keys, err := signingSecrets(secrets.Map{"s": {SecretKey: []byte(text)}}, "s")
		if (err == nil) != (want > 0) || len(keys) != want {
			t.Errorf("%q: %d, %v", text, len(keys), err)
		}
		if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "c2hv") || !strings.Contains(err.Error(), `"s"`)) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// A vector of Standard Webhooks' own.
func TestSignature(t *testing.T) {
	keys, err := signingSecrets(secrets.Map{"s": {SecretKey: []byte("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")}}, "s")
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{}
	sign(h, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`), keys)
	if got := h.Get(headerSignature); got != "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" || h.Get(headerTimestamp) != "1614265330" {
		t.Error(h)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 26, 8, 0, 0, 0, time.UTC)
	for field, want := range map[string]time.Duration{
		"": 0, "120": 2 * time.Minute, "-1": 0, "soon": 0, "99999999999999999999": 0,
		now.Add(time.Hour).Format(http.TimeFormat): time.Hour, now.Add(-time.Hour).Format(http.TimeFormat): 0,
	} {
		if got := retryAfter(field, now); got != want {
			t.Errorf("%q: %s, want %s", field, got, want)
		}
	}
}

func FuzzSigningSecrets(f *testing.F) {
	f.Add(secret(0) + "\n" + secret(1))
	f.Add("whsec_\nx")
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := signingSecrets(secrets.Map{"s": {SecretKey: []byte(text)}}, "s")
		if err == nil && (len(keys) == 0 || len(keys) > maxSecrets) {
			t.Errorf("%d keys", len(keys))
		}
		for _, k := range keys {
			if len(k) < minSecret || len(k) > maxSecret {
				t.Errorf("a key of %d octets", len(k))
			}
		}
	})
}
