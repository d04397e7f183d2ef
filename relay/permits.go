package relay

import (
	"bytes"
	"fmt"
	"io"

	"github.com/printerrelay/printer-relay/relay/message"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/policy"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/relay/smtpd"
	"github.com/printerrelay/printer-relay/relay/spool"
)

// permits says why the relay would not take m in now: what a session looks at from
// MAIL on, but the kinds of its attachments and the rate. src is nil where Secrets are
// not to be had.
func permits(pl *plan.Plan, src secrets.Source, sp *spool.Spool, m *queue.Message) error {
	c := policy.Client{Addr: m.Client.Addr, Hidden: m.Client.Hidden || pl.HiddenClients.Hides(m.Client.Addr), User: m.Client.User, TLSVersion: m.Client.TLS}
	if c.User != "" && src != nil && !knowsUser(pl, src, c.User) {
		return fmt.Errorf("no listener has the login %q any more", c.User)
	}
	d := pl.Policies.AtMail(c, m.Sender)
	if d.Reply != nil {
		return d.Reply
	}
	if domain, ok := pl.SendsAs(m.Sender); !ok && !d.Force {
		return fmt.Errorf("every upstream has sender.rewrite: Never, and sends as %s only", domain)
	}
	force, err := replaced(d.Rule, sp, m)
	if err != nil {
		return err
	}
	if (force || d.Force) && !m.ForceIdentity {
		return fmt.Errorf("rule %s/%s replaces its sender now (senders.otherwise: Rewrite), and it was taken in without that", d.Rule.Policy, d.Rule.Name)
	}
	given := map[string]bool{}
	for _, r := range m.Recipients {
		if r.Copy {
			continue
		}
		if refusal := d.Rule.CheckRecipient(r.Address, 0, 1); refusal != nil {
			return refusal
		}
		as := r.Original
		if as.IsNull() {
			as = r.Address
		}
		given[as.Key()] = true
	}
	if most := d.Rule.Recipients.Maximum; most > 0 && len(given) > most {
		return fmt.Errorf("%d recipients, more than recipients.maximum of rule %s/%s", len(given), d.Rule.Policy, d.Rule.Name)
	}
	if most := d.Rule.MessageSize; most > 0 && m.Size-m.HeaderSize > most {
		return fmt.Errorf("%d octets, more than content.messageSize of rule %s/%s", m.Size, d.Rule.Policy, d.Rule.Name)
	}
	return nil
}

// replaced looks at From: and Sender:, which the spool has, as Rule.CheckHeader does.
func replaced(r *policy.Rule, sp *spool.Spool, m *queue.Message) (bool, error) {
	if r.Senders.EnvelopeOnly || len(r.Senders.Allowed) == 0 {
		return false, nil
	}
	body, err := sp.Body(m.ID)
	if err != nil {
		return false, fmt.Errorf("its header cannot be read: %w", err)
	}
	defer body.Close() //nolint:errcheck // it was only read
	b, err := io.ReadAll(io.LimitReader(body, m.HeaderSize))
	if err != nil {
		return false, fmt.Errorf("its header cannot be read: %w", err)
	}
	senders, err := message.ParseHeader(bytes.TrimSuffix(b, []byte("\r\n"))).Senders()
	if err != nil {
		return false, fmt.Errorf("its From or Sender cannot be read: %w", err)
	}
	force, refusal := r.CheckHeader(senders)
	if refusal != nil {
		return false, refusal
	}
	return force, nil
}

// knowsUser tells whether a listener would let a user log in.
func knowsUser(pl *plan.Plan, src secrets.Source, user string) bool {
	for i := range pl.Listeners {
		if a := &pl.Listeners[i].Auth; a.Mode != plan.AuthNone && a.Secret != "" && smtpd.HasLogin(src, a.Secret, user) {
			return true
		}
	}
	return false
}
