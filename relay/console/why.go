package console

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"github.com/printerrelay/printer-relay/relay/explain"
)

// whyForm is what a person asks about, as it was filled in.
type whyForm struct {
	Client, User, From, To string
	TLS                    bool
	Field                  string // that cannot be read
	Problem                string
}

// why is the page that says what the relay would do with a scan, rule by rule, and
// what it did with the last ones from there.
func (c *Console) why(r *http.Request, v *view) error {
	v.Page, v.Title, v.Tab = "why", "Why was this refused? "+v.Relay.Key(), "why"
	if v.Relay.Plan == nil {
		return fmt.Errorf("the manifests of %s make no plan: see its first page", v.Relay.Key())
	}
	q := r.URL.Query()
	var out struct {
		whyForm
		Answer  *explain.Answer
		Devices []device
	}
	f := &out.whyForm
	f.Client, f.User = strings.TrimSpace(q.Get("client")), strings.TrimSpace(q.Get("user"))
	f.From, f.To, f.TLS = strings.TrimSpace(q.Get("from")), strings.TrimSpace(q.Get("to")), q.Get("tls") != ""
	v.Body = &out
	if len(q) == 0 {
		return nil
	}
	client, err := netip.ParseAddr(f.Client)
	if err != nil {
		f.Field, f.Problem = "client", "Enter the copier's IP address, such as 10.20.3.7: it is on its network settings page."
		v.status = http.StatusBadRequest
		return nil //nolint:nilerr // the page says it
	}
	ask := explain.Question{Client: client, User: f.User, From: f.From, To: f.To}
	if f.TLS {
		ask.TLS = tls.VersionTLS13
	}
	if out.Answer, err = explain.Ask(v.Relay.Plan, ask); err != nil {
		var bad *explain.FieldError
		if !errors.As(err, &bad) {
			return err
		}
		f.Field, f.Problem = bad.Field, fmt.Sprintf("This cannot be read as an address (%v). Write it as scanner@corp.example.", bad.Err)
		v.status = http.StatusBadRequest
		return nil
	}
	if v.Private {
		out.Devices = devicesOf(r, v, client.Unmap().WithZone("").String())
	}
	return nil
}
