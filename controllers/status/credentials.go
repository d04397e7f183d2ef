package status

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
)

// expiresSoon is how long before its end a credential is worth a person's time.
const expiresSoon = 14 * 24 * time.Hour

// What instances found, at the beginning of a message.
const (
	credentialRefused = "the credential is refused" //nolint:gosec // words
	notReached        = "it cannot be reached"
)

func refused(c Check) bool   { return c.Credentials == Bad }
func unreached(c Check) bool { return c.Reachable == Bad }
func taken(c Check) bool     { return c.Credentials == Good }

// any tells whether an instance found so.
func (in *Upstream) any(so func(Check) bool) bool {
	return slices.ContainsFunc(in.reports(), func(r UpstreamReport) bool { return so(r.Check) })
}

// saying is what instances found, how many, and the reason that the first of them gives.
func (in *Upstream) saying(what string, so func(Check) bool) string {
	var found []Check
	all := in.reports()
	for _, r := range all {
		if so(r.Check) {
			found = append(found, r.Check)
		}
	}
	return fmt.Sprintf("%s (%d of %s): %s", what, len(found), count(len(all), "instance", "instances"), withRemedy(found[0].Text, found[0].Remedy))
}

func withRemedy(text, remedy string) string {
	if remedy == "" {
		return text
	}
	return text + "; " + remedy
}

// credentialsValid is whether the provider takes the credential, as the instances
// found when they looked. Until one has looked, what was known of the same spec holds.
func (in *Upstream) credentialsValid(refs verdict) verdict {
	const kind = v1alpha1.ConditionCredentialsValid
	old := apimeta.FindStatusCondition(in.Object.Status.Conditions, kind)
	known := old != nil && old.ObservedGeneration == in.Object.Generation && old.Reason != v1alpha1.ReasonSuspended && old.Status != metav1.ConditionUnknown
	reports := in.reports()
	switch {
	case !in.needsCredential():
		return yes(v1alpha1.ReasonNotNeeded, "the spec has no credential")
	case in.Object.Spec.Suspend:
		return unknown(v1alpha1.ReasonSuspended, "spec.suspend is true: it is not looked at")
	case refs.status == metav1.ConditionFalse:
		return refs
	case in.any(refused):
		return no(v1alpha1.ReasonRejected, in.saying(credentialRefused, refused))
	case in.any(taken):
		return yes(v1alpha1.ReasonValid, "the provider takes the credential"+in.warnings())
	case in.any(func(c Check) bool { return c.Done && c.Reachable != Bad }):
		return unknown(v1alpha1.ReasonUnknown, "it cannot be told without sending mail"+in.warnings())
	case known:
		return verdict{old.Status, old.Reason, old.Message}
	case in.any(unreached):
		return unknown(v1alpha1.ReasonUnreachable, in.saying(notReached, unreached))
	case len(in.UsedBy) == 0:
		return unknown(v1alpha1.ReasonPending, "no PrinterRelay names it, so nobody has looked")
	case len(reports) == 0:
		return unknown(v1alpha1.ReasonPending, "no instance of the relays that use it has told yet")
	}
	return unknown(v1alpha1.ReasonPending, "no instance has looked yet")
}

// needsCredential tells whether the type, as it is set up, shows who it is.
func (in *Upstream) needsCredential() bool {
	s := &in.Object.Spec
	switch s.Type {
	case v1alpha1.UpstreamMX, v1alpha1.UpstreamMaildir:
		return false
	case v1alpha1.UpstreamSMTP:
		return s.SMTP != nil && (s.SMTP.Authentication != nil || s.SMTP.TLS.ClientCertificateRef != nil)
	case v1alpha1.UpstreamSES, v1alpha1.UpstreamSendGrid, v1alpha1.UpstreamMailgun, v1alpha1.UpstreamPostmark, v1alpha1.UpstreamMicrosoft365:
	}
	return true
}

// warnings are what works today and needs a person, for the end of a message; empty:
// nothing does.
func (in *Upstream) warnings() string {
	var all []string
	for _, r := range in.reports() {
		if e := r.Check.Expires; !e.IsZero() && e.Sub(in.Now) < expiresSoon {
			all = append(all, fmt.Sprintf("the credential expires on %s: put a new one into its Secret", e.UTC().Format(time.DateOnly)))
		}
		all = append(all, r.Check.Warnings...)
	}
	if len(all) == 0 {
		return ""
	}
	slices.Sort(all)
	return "; warning: " + firstOf(slices.Compact(all))
}

// quota that the provider told an instance; what it was until one has looked.
func (in *Upstream) quota() *v1alpha1.UpstreamQuota {
	var out v1alpha1.UpstreamQuota
	looked := false
	for _, r := range in.reports() {
		c := r.Check
		looked = looked || c.Done && c.Reachable != Bad
		if c.PerSecond > 0 {
			out.MessagesPerSecond = strconv.FormatFloat(c.PerSecond, 'f', -1, 64)
		}
		if c.DailyLimit > 0 {
			out.DailyLimit = c.DailyLimit
			out.DailyUsed = max(out.DailyUsed, c.DailyUsed)
		}
	}
	switch {
	case !looked:
		return in.Object.Status.Quota
	case out == v1alpha1.UpstreamQuota{}:
		return nil
	}
	return &out
}

// unwell tells whether no mail can pass by an upstream, as an instance sees it.
func (r *UpstreamReport) unwell() bool { return r.Down || refused(r.Check) || unreached(r.Check) }

// Why says what keeps mail from passing; empty: nothing does.
func (r *UpstreamReport) Why() string {
	switch {
	case !r.unwell():
		return ""
	case refused(r.Check), !r.Down:
		return withRemedy(strings.TrimSpace(r.Check.Text), r.Check.Remedy)
	}
	return withRemedy(r.LastError, r.Remedy)
}
