package controllers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/controllers/render"
	"github.com/printerrelay/printer-relay/controllers/status"
)

// report writes the status, if it says anything new, and tells the other
// reconcilers what was seen.
func (p *pass) report(ctx context.Context) (v1alpha1.PrinterRelayStatus, error) {
	settings := p.settings()
	now := time.Now()
	next := status.Of(status.Relay{
		Object: p.relay, Now: now,
		Upstreams: p.upstreams, Policies: p.policies, Diagnostics: p.diagnostics, Failures: p.failures, CertManager: settings.CertManager, Clients: p.clients(),
		Plan: p.set.Plan, Service: p.there.service, ClusterDomain: p.clusterDomain, Instances: p.instancesSeen(),
	})
	before, known := p.sightings.get(p.key())
	seen := p.sighting(before)
	if p.sightings.put(p.key(), seen) {
		p.news(ctx, p.relay)
		if known {
			p.turnedUpstreams(before.unwell, seen.unwell)
		}
		p.turnedOpen(before.open, seen.open, known)
	}
	old := p.relay.Status
	since := now.Sub(status.LastWrite(p.relay, fieldManager))
	worth := next
	if since < copiersEvery && !status.CopierNews(old.Copiers, next.Copiers) {
		worth.Copiers = old.Copiers // they go along with what else is written
	}
	if !status.Changed(old, worth, since >= p.figuresEvery) {
		return next, nil
	}
	c := status.ForRelay(p.relay, next)
	if err := p.client.Status().Apply(ctx, c, client.FieldOwner(fieldManager), client.ForceOwnership); err != nil {
		err = statusError(p.name(), err)
		if err != nil && status.Undeclared(err.Error()) {
			p.event(corev1.EventTypeWarning, "CRDOutdated", actionReconcile, "%s", err.Error())
		}
		return next, err
	}
	p.written.keep(p.relay, c.ResourceVersion, next)
	p.transition(old.Conditions, next.Conditions)
	return next, nil
}

// statusError says whose status the API server did not take, and what to do where
// that is known. That of an object that is gone is no error.
func statusError(name string, err error) error {
	text := status.Refused("status of " + name + ": " + err.Error())
	if apierrors.IsNotFound(err) {
		return nil
	}
	return errors.New(text)
}

// clients is what is known of their addresses.
func (p *pass) clients() status.Clients {
	declared := len(p.nodes.declared) > 0
	out := status.Clients{Hidden: p.hidden.All, Nodes: p.cluster.nodes || declared, Pods: true}
	for _, pod := range p.there.pods {
		if a, err := netip.ParseAddr(pod.Status.PodIP); err == nil && !p.cluster.owns(a) {
			out.Pods = false
		}
	}
	return out
}

// transition makes an event of a change of Ready.
func (p *pass) transition(old, next []metav1.Condition) {
	was, is := meta.FindStatusCondition(old, v1alpha1.ConditionReady), meta.FindStatusCondition(next, v1alpha1.ConditionReady)
	if is == nil || was != nil && was.Status == is.Status && was.Reason == is.Reason {
		return
	}
	if is.Reason == v1alpha1.ReasonOpenRelay || p.terminating {
		return // turnedOpen has said it; or nobody takes it
	}
	moving := meta.IsStatusConditionTrue(next, v1alpha1.ConditionReconciling)
	p.event(eventType(is.Status == metav1.ConditionFalse && !moving), is.Reason, actionReconcile, "%s", is.Message)
}

// turnedOpen makes an event of each instance that finds itself an open relay, and of
// the end of it: once, also by an operator that started since.
func (p *pass) turnedOpen(before, now map[string]string, known bool) {
	ready := meta.FindStatusCondition(p.relay.Status.Conditions, v1alpha1.ConditionReady)
	told := !known && ready != nil && ready.Reason == v1alpha1.ReasonOpenRelay
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if before[name] != now[name] && !told {
			p.event(corev1.EventTypeWarning, v1alpha1.ReasonOpenRelay, actionReconcile, "instance %q would relay for anybody, as it found by trying (listener %s): set spec.intake: Refuse, and report it (SECURITY.md)", name, now[name])
		}
	}
	if len(now) == 0 && (len(before) > 0 || told && len(p.there.reports) > 0) {
		p.event(corev1.EventTypeNormal, "OpenRelayEnded", actionReconcile, "no instance would relay for anybody any more")
	}
}

// turnedUpstreams makes an event of each upstream by which mail no longer passes, or
// passes again: the relay's fallbacks take over, and give way.
func (p *pass) turnedUpstreams(before, now map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if _, was := before[name]; !was {
			p.event(corev1.EventTypeWarning, "UpstreamDown", actionReconcile, "no mail passes by MailUpstream %q, so it waits or goes by the next: %s", name, now[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if _, is := now[name]; !is && p.upstreams[name] != nil {
			p.event(corev1.EventTypeNormal, "UpstreamUp", actionReconcile, "mail passes by MailUpstream %q again", name)
		}
	}
}

// instancesSeen are those that are to be and those that are there, by number.
func (p *pass) instancesSeen() []status.Instance {
	numbers := p.there.numbers()
	for _, i := range p.set.Instances {
		numbers = append(numbers, i.Number)
	}
	slices.Sort(numbers)
	var out []status.Instance
	for _, n := range slices.Compact(numbers) {
		out = append(out, status.Instance{
			Name: render.InstanceName(p.relay.Name, n), Draining: slices.Contains(p.draining, n),
			Deployment: p.there.deployments[n], Outdated: p.outdated[n], Volume: p.there.volumes[n],
			Report: p.there.reports[n], ReportErr: p.there.silent[n],
		})
	}
	return out
}

// sighting is what this pass saw that concerns what the relay names; before is what
// the last one did.
func (p *pass) sighting(before sighting) sighting {
	s := sighting{upstreams: map[string]int64{}, policies: map[string]int64{}, diagnostics: p.diagnostics}
	for name, u := range p.upstreams {
		s.upstreams[name] = u.Generation
	}
	for name, o := range p.policies {
		s.policies[name] = o.Generation
	}
	for _, i := range p.instancesSeen() {
		s.missingSecrets = append(s.missingSecrets, i.SecretsMissing()...)
		if i.Report != nil {
			s.reports = append(s.reports, i.Report.Upstreams...)
		}
	}
	s.open = p.openRelays(before.open)
	slices.Sort(s.missingSecrets)
	s.missingSecrets = slices.Compact(s.missingSecrets)
	s.judge(before.unwell)
	return s
}

// openRelays are the instances that would relay for anybody. One that does not tell
// is what it was before.
func (p *pass) openRelays(before map[string]string) map[string]string {
	out := map[string]string{}
	for _, i := range p.instancesSeen() {
		switch {
		case i.Report != nil && len(i.Report.OpenRelay) > 0:
			out[i.Name] = strings.Join(i.Report.OpenRelay, ", ")
		case i.Report == nil && before[i.Name] != "":
			out[i.Name] = before[i.Name]
		}
	}
	return out
}

// counts says how many messages a queue has.
func counts(waiting, held, failed int) string {
	var parts []string
	for _, c := range []struct {
		n    int
		what string
	}{{waiting, "to deliver"}, {held, "held"}, {failed, "failed"}} {
		if c.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", c.n, c.what))
		}
	}
	if len(parts) == 0 {
		return nothing
	}
	return strings.Join(parts, ", ")
}
