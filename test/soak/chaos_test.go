//go:build soak

package soak

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/test/cluster"
)

// chaos is what is done to the site meanwhile.
type chaos struct {
	*site
	load *load
	rng  *rand.Rand

	life  int // of the upstream's count
	kills map[int]room
	done  map[string]int // by kind
	turn  int            // numbers of what is made anew
}

// event is a kind of thing that is done. It waits until what it did has its effect.
type event struct {
	name     string
	kills    bool // transactions with the upstream may be cut: what was accepted may come again
	restarts bool // the Pods or processes of office
	early    bool // only in the first half of a long soak: it ends the operators, or has them lose their lease, which does, and their memory is judged in the other
	do       func(*testing.T)
}

func (c *chaos) events() []event {
	return []event{
		{name: "relay Pod deleted", restarts: true, do: c.deletePod},
		{name: "relay killed", restarts: true, kills: true, do: c.killRelay},
		{name: "relay rolled out again", restarts: true, do: c.rollOut},
		{name: "relay scaled to 2 and to 1", restarts: true, do: c.scale},
		{name: "operator killed", early: true, do: c.killOperator},
		{name: "API server killed", early: true, do: func(t *testing.T) { c.component(t, "kube-apiserver", "KILL") }},
		{name: "kubelet restarted", do: func(t *testing.T) { c.component(t, "kubelet", c.signal()) }},
		{name: "containerd restarted", do: func(t *testing.T) { c.component(t, "containerd", c.signal()) }},
		{name: "upstream restarted", kills: true, do: func(t *testing.T) { c.cutUpstream(t, 0) }},
		{name: "upstream away", kills: true, do: func(t *testing.T) { c.cutUpstream(t, 4*time.Second+c.upTo(8*time.Second)) }},
		{name: "policy edited", do: c.editPolicy},
		{name: "copiers' Secret rotated", do: c.rotateLogins},
		{name: "upstream's Secret rotated", do: c.rotateUpstream},
		{name: "certificate rotated", do: c.rotateCertificate},
	}
}

func (c *chaos) upTo(d time.Duration) time.Duration { return time.Duration(c.rng.Int64N(int64(d))) }

func (c *chaos) signal() string { return []string{"TERM", "KILL"}[c.rng.IntN(2)] }

// run does all kinds, each round in another order, until the time is over; the
// first round is whole however long it takes.
func (c *chaos) run(t *testing.T, lasts time.Duration) {
	t.Helper()
	begun, events := time.Now(), c.events()
	for round := 0; ; round++ {
		c.rng.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
		for _, e := range events {
			past := time.Since(begun)
			if round > 0 && past > lasts {
				return
			}
			if round > 0 && e.early && past > lasts/2 {
				continue
			}
			time.Sleep(c.upTo(min(10*time.Second, lasts/100))) // another moment, for each seed
			c.happen(t, e)
		}
	}
}

// happen has one event happen, and waits until all is well again.
func (c *chaos) happen(t *testing.T, e event) {
	t.Helper()
	begun := time.Now()
	before := map[string]map[string]string{}
	for _, r := range relays {
		before[r] = c.Pods(t, namespace, r)
	}
	if e.kills {
		c.mark()
	}
	e.do(t)
	acted := time.Since(begun)
	c.well(t)
	if e.kills {
		c.mark()
	}
	for _, r := range relays {
		if now := c.Pods(t, namespace, r); fmt.Sprint(now) != fmt.Sprint(before[r]) && (r == steady || !e.restarts) {
			t.Fatalf("%s: the Pods of %s were %v and are %v", e.name, r, before[r], now)
		}
	}
	c.done[e.name]++
	t.Logf("%s  %-28s %5.1f s, all well after %.1f s", begun.UTC().Format(time.TimeOnly), e.name, acted.Seconds(), time.Since(begun).Seconds())
}

// mark begins another life in the upstream's count.
func (c *chaos) mark() {
	c.upstream.Mark()
	c.life++
}

// open notes how many transactions the kill of this life can have cut.
func (c *chaos) open(r room) {
	had := c.kills[c.life]
	c.kills[c.life] = room{scans: had.scans + r.scans, notices: had.notices + r.notices}
}

// well waits until both relays are ready and take scans.
func (c *chaos) well(t *testing.T) {
	t.Helper()
	for _, r := range relays {
		c.Ready(t, namespace, r)
		from := c.load.acknowledged(r)
		c.Eventually(t, namespace, r+" takes 5 more scans", func() bool { return c.load.acknowledged(r) >= from+5 })
	}
}

// gone waits until none of the Pods of before is there, and others are ready.
func (c *chaos) gone(t *testing.T, before map[string]string) {
	t.Helper()
	c.Eventually(t, namespace, "other Pods of "+office, func() bool {
		now := c.Pods(t, namespace, office)
		for name, id := range now {
			if before[name] == id {
				return false
			}
		}
		return len(now) > 0
	})
}

func (c *chaos) deletePod(t *testing.T) {
	before := c.Pods(t, namespace, office)
	for name := range before {
		c.Kubectl(t, "delete", "pod", "-n", namespace, name, "--wait=false")
	}
	c.gone(t, before)
}

func (c *chaos) killRelay(t *testing.T) {
	before := c.Pods(t, namespace, office)
	c.open(relayKill)
	c.Run(t, "", c.Script, "node", "pkill", "-KILL", "-f", "printer-relay relay --manifests .* --name "+namespace+"/"+office+" ")
	c.gone(t, before)
}

func (c *chaos) rollOut(t *testing.T) {
	before := c.Pods(t, namespace, office)
	c.Kubectl(t, "rollout", "restart", "-n", namespace, "deployment/"+office+"-0")
	c.gone(t, before)
}

func (c *chaos) scale(t *testing.T) {
	for _, n := range []int{2, 1} {
		c.Kubectl(t, "patch", "-n", namespace, "printerrelay/"+office, "--type=merge", "-p", fmt.Sprintf(`{"spec": {"replicas": %d}}`, n))
		c.Eventually(t, namespace, fmt.Sprintf("%d instances", n), func() bool {
			out, err := c.Try(t, "", c.Script, "kubectl", "get", "deployments", "-n", namespace, "-l", "app.kubernetes.io/instance="+office, "-o", "name")
			return err == nil && len(strings.Fields(out)) == n && len(c.Pods(t, namespace, office)) == n // a Pod that ends outlasts its Deployment
		})
		c.well(t)
	}
}

func (c *chaos) killOperator(t *testing.T) {
	before := c.operators(t)
	if len(before) == 0 {
		t.Fatal("no operator is there to be killed")
	}
	c.Run(t, "", c.Script, "node", "pkill", "-KILL", "-f", "printer-relay operator ")
	c.Eventually(t, namespace, "the operators run again", func() bool {
		for name, id := range c.operators(t) {
			if before[name] == id {
				return false
			}
		}
		return true
	})
	c.operatorReady(t)
}

// operators are the operator's Pods by name, each with what changes when it is restarted.
func (c *chaos) operators(t *testing.T) map[string]string {
	t.Helper()
	return c.PodsOf(t, cluster.OperatorNamespace, "app.kubernetes.io/name=printer-relay-operator")
}

// component restarts one of the node's.
func (c *chaos) component(t *testing.T, name, signal string) {
	c.Run(t, "", c.Script, "restart", name, signal)
}

func (c *chaos) cutUpstream(t *testing.T, away time.Duration) {
	open := c.upstream.Cut()
	c.open(room{scans: open, notices: open})
	time.Sleep(away)
	if err := c.upstream.Resume(); err != nil {
		t.Fatal(err)
	}
	count := c.upstream.Count()
	c.Eventually(t, namespace, "the upstream gets scans again", func() bool { return c.upstream.Count() > count })
}
