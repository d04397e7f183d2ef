package controllers

import (
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
)

// TestConsoleOptions: nothing but loopback is served to whoever comes.
func TestConsoleOptions(t *testing.T) {
	for name, tc := range map[string]struct {
		o      ConsoleOptions
		how    string
		review bool
		bad    string
	}{
		"none":                        {},
		"loopback":                    {o: ConsoleOptions{Address: "127.0.0.1:8090"}},
		"IPv6 loopback":               {o: ConsoleOptions{Address: "[::1]:8090"}},
		"loopback, with a login":      {o: ConsoleOptions{Address: "127.0.0.1:8090"}, how: ConsoleTokenReview, review: true},
		"everywhere":                  {o: ConsoleOptions{Address: ":8090"}, review: true},
		"everywhere, by an address":   {o: ConsoleOptions{Address: "0.0.0.0:8090"}, review: true},
		"everywhere, open":            {o: ConsoleOptions{Address: ":8090"}, how: ConsoleNone, bad: "no loopback address"},
		"a name, open":                {o: ConsoleOptions{Address: "localhost:8090"}, how: ConsoleNone, bad: "no loopback address"},
		"no port":                     {o: ConsoleOptions{Address: "127.0.0.1"}, bad: "ADDRESS:PORT"},
		"a word":                      {o: ConsoleOptions{Address: ":1"}, how: "Open", bad: "TokenReview"},
		"a proxy on open loopback":    {o: ConsoleOptions{Address: "127.0.0.1:1", Proxies: []string{"10.0.0.0/8"}}, bad: "--console-proxies"},
		"a certificate of no proxies": {o: ConsoleOptions{Address: ":1", ProxyCA: "ca.crt"}, bad: "--console-proxy-ca"},
		"a proxy":                     {o: ConsoleOptions{Address: ":1", Proxies: []string{"10.0.0.0/8"}, ProxyCA: "ca.crt"}, review: true},
	} {
		o := tc.o
		err := o.Authenticate(tc.how)
		if tc.bad == "" && (err != nil || o.TokenReview != tc.review) || tc.bad != "" && (err == nil || !strings.Contains(err.Error(), tc.bad)) {
			t.Errorf("%s: %v, TokenReview %v", name, err, o.TokenReview)
		}
	}
	s := &consoleServer{ConsoleOptions: ConsoleOptions{TokenReview: true, Proxies: []string{"10.0.0.5"}}}
	if _, err := s.handler(); err == nil || !strings.Contains(err.Error(), "10.0.0.5/32") {
		t.Errorf("a proxy that is no network: %v", err)
	}
}

func TestPurposeOf(t *testing.T) {
	for want, r := range map[string]v1alpha1.DNSRecordStatus{
		"SPF": {Name: "a.example", Expected: "v=spf1 -all"}, "DMARC": {Name: "_dmarc.a.example"}, "DKIM": {Name: "s._domainkey.a.example"}, "provider": {Name: "x.a.example"},
	} {
		if got := purposeOf(&r); got != want {
			t.Errorf("%+v: %s, want %s", r, got, want)
		}
	}
}

func TestFindingsOf(t *testing.T) {
	condition := func(kind string, status metav1.ConditionStatus) metav1.Condition {
		return metav1.Condition{Type: kind, Status: status, Message: "why"}
	}
	for name, tc := range map[string]struct {
		conditions []metav1.Condition
		want       []string
	}{
		"a new one": {},
		"all is well": {conditions: []metav1.Condition{
			condition(v1alpha1.ConditionReady, metav1.ConditionTrue), condition(v1alpha1.ConditionDurable, metav1.ConditionTrue), condition(v1alpha1.ConditionHolding, metav1.ConditionFalse),
		}},
		"not ready, and nobody says why": {conditions: []metav1.Condition{condition(v1alpha1.ConditionReady, metav1.ConditionFalse)}, want: []string{v1alpha1.ConditionReady}},
		"not ready, and why": {conditions: []metav1.Condition{
			condition(v1alpha1.ConditionReady, metav1.ConditionFalse), condition(v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse),
		}, want: []string{v1alpha1.ConditionResolvedRefs}},
		"stalled": {conditions: []metav1.Condition{condition(v1alpha1.ConditionStalled, metav1.ConditionTrue)}, want: []string{v1alpha1.ConditionStalled}},
	} {
		r := &v1alpha1.PrinterRelay{}
		r.Status.Conditions = tc.conditions
		var got []string
		for _, f := range findingsOf(r) {
			got = append(got, f.What)
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}
