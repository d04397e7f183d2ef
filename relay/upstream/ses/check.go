package ses

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sesv2"
	"github.com/aws/aws-sdk-go-v2/service/sesv2/types"

	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/httpapi"
)

// checkWait bounds one Check.
const checkWait = 20 * time.Second

// Check implements upstream.Checker: the credential, the account's state and
// quota, and the identity of the sender domain, as far as the credential may read
// them.
func (t *Transport) Check(ctx context.Context) upstream.Health {
	ctx, cancel := context.WithTimeout(ctx, checkWait)
	defer cancel()
	cred, err := t.credentials.retrieve(ctx)
	if err != nil {
		return upstream.Health{Credentials: upstream.Bad, Text: t.credentials.missing(ctx, err).Text}
	}
	x := &exchange{http: t.http}
	out, err := t.api.GetAccount(ctx, &sesv2.GetAccountInput{}, x.options(cred)...)
	if err != nil {
		return t.unwell(x, err, cred)
	}
	t.account.learn(out)
	h := healthOf(out, t.c.SES.Region)
	t.identity(ctx, cred, &h)
	return h
}

// unwell is the health where GetAccount failed. A credential that may only send
// is none the worse for that.
func (t *Transport) unwell(x *exchange, err error, cred aws.Credentials) upstream.Health {
	if x.lost != nil {
		return upstream.Health{Reachable: upstream.Bad, Text: httpapi.Lost(x.lost).Text}
	}
	code, said := said(err, cred)
	h := upstream.Health{Text: join(code, said)}
	if h.Text == "" {
		h.Text = words(err.Error(), cred)
	}
	switch {
	case x.status == 0: // it was not sent
		return h
	case strings.HasPrefix(code, "AccessDenied") && !strings.Contains(strings.ToLower(said), "security token"):
		h.Text = "the account's state is not known: the credential may not ses:GetAccount. Allow it, and ses:GetEmailIdentity, to see quota, sandbox and identity here"
	case slices.Contains(ours, code):
		h.Credentials = upstream.Bad
	}
	h.Reachable = upstream.Good
	return h
}

// healthOf reads the account's state.
func healthOf(out *sesv2.GetAccountOutput, region string) upstream.Health {
	h := upstream.Health{Reachable: upstream.Good, Credentials: upstream.Good}
	if q := out.SendQuota; q != nil {
		h.Quota = upstream.Quota{PerSecond: q.MaxSendRate, DailyLimit: max(0, int64(q.Max24HourSend)), DailyUsed: int64(q.SentLast24Hours)}
		h.Text = fmt.Sprintf("%d of %d recipients in the last 24 hours, %g a second", h.Quota.DailyUsed, h.Quota.DailyLimit, h.Quota.PerSecond)
		if h.Quota.DailyLimit > 0 && h.Quota.DailyUsed >= h.Quota.DailyLimit*9/10 {
			h.Warnings = append(h.Warnings, fmt.Sprintf("the daily quota is nearly used up: %d of %d", h.Quota.DailyUsed, h.Quota.DailyLimit))
		}
	}
	if !out.ProductionAccessEnabled {
		h.Warnings = append(h.Warnings, "the account is in the SES sandbox in "+region+": it sends to verified recipients only. Request production access in the SES console")
	}
	switch enforcement := aws.ToString(out.EnforcementStatus); {
	case !out.SendingEnabled:
		h.Credentials, h.Text = upstream.Bad, "sending is switched off for the account in "+region+" ("+enforcement+"): see the SES console, Account dashboard"
	case enforcement == "SHUTDOWN":
		h.Credentials, h.Text = upstream.Bad, "SES has stopped the account's sending (SHUTDOWN): see the SES console, Account dashboard"
	case enforcement == "PROBATION":
		h.Warnings = append(h.Warnings, "SES has the account under review (PROBATION): too many bounces or complaints")
	}
	return h
}

// identity looks at the sender domain, or at one above it, which covers it. That
// of another account cannot be read.
func (t *Transport) identity(ctx context.Context, cred aws.Credentials, h *upstream.Health) {
	if t.c.Domain == "" || t.c.SES.FromIdentityARN != "" {
		return
	}
	for name := t.c.Domain; strings.Contains(name, "."); _, name, _ = strings.Cut(name, ".") {
		x := &exchange{http: t.http}
		out, err := t.api.GetEmailIdentity(ctx, &sesv2.GetEmailIdentityInput{EmailIdentity: aws.String(name)}, x.options(cred)...)
		if err == nil {
			identityHealth(name, t.c.SES.Region, out, h)
			return
		}
		if code, _ := said(err, cred); code != "NotFoundException" {
			return // not told
		}
	}
	h.Warnings = append(h.Warnings, fmt.Sprintf("SES in %s has no identity for %s: mail is refused unless each From address is verified itself. Verify the domain in the SES console", t.c.SES.Region, t.c.Domain))
}

func identityHealth(name, region string, out *sesv2.GetEmailIdentityOutput, h *upstream.Health) {
	if !out.VerifiedForSendingStatus {
		h.Credentials = upstream.Bad
		h.Text = fmt.Sprintf("the identity %s is not verified in %s (%s): publish the DKIM records that SES shows for it", name, region, out.VerificationStatus)
		return
	}
	if d := out.DkimAttributes; d != nil && (!d.SigningEnabled || d.Status != types.DkimStatusSuccess) {
		h.Warnings = append(h.Warnings, fmt.Sprintf("SES does not sign as %s (Easy DKIM: %s): DMARC may fail", name, d.Status))
	}
}
