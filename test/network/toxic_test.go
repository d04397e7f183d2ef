package network

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"github.com/printerrelay/printer-relay/test/rig"
)

// proxied is an upstream behind a network that can be spoilt.
type proxied struct {
	*rig.Upstream
	t     *testing.T
	proxy *toxiproxy.Proxy
}

// behind puts u behind a network of its own until the end of the test.
func behind(t *testing.T, u *rig.Upstream) *proxied {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	p := &proxied{u, t, toxiproxy.NewProxy(server, "upstream", "127.0.0.1:0", fmt.Sprintf("127.0.0.1:%d", u.Port))}
	if err := p.proxy.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.proxy.Stop)
	return p
}

// yaml is the MailUpstream that leads through the network.
func (p *proxied) yaml(name string, connections int) string {
	_, port, _ := strings.Cut(p.proxy.Listen, ":")
	return fmt.Sprintf(`---
apiVersion: printerrelay.dev/v1alpha1
kind: MailUpstream
metadata: {name: %s}
spec:
  type: SMTP
  smtp: {host: 127.0.0.1, port: %s, tls: {mode: None}}
%s`, name, port, limits(connections))
}

// spoil adds a toxic, in toxiproxy's words: stream is upstream or downstream.
func (p *proxied) spoil(kind, stream, attributes string) {
	p.t.Helper()
	json := fmt.Sprintf(`{"name": "%s_%s", "type": %q, "stream": %q, "attributes": {%s}}`, kind, stream, kind, stream, attributes)
	if _, err := p.proxy.Toxics.AddToxicJson(strings.NewReader(json)); err != nil {
		p.t.Fatal(err)
	}
}

// mend takes all toxics away, and the connections that they have spoilt.
func (p *proxied) mend() {
	p.t.Helper()
	p.proxy.Toxics.ResetToxics(context.Background())
}

// Networks that only make mail slow: everything arrives once, whole.
// Networks that cut it off: nothing is lost, nothing comes twice, they are left alone
// after a few attempts, and when they work again everything arrives.
func TestNetworks(t *testing.T) {
	t.Parallel()
	const scans, size = 6, 20 << 10
	cases := map[string]struct {
		cuts  bool
		spoil func(*proxied)
	}{
		"latency": {false, func(p *proxied) {
			p.spoil("latency", "upstream", `"latency": 30, "jitter": 20`)
			p.spoil("latency", "downstream", `"latency": 30, "jitter": 20`)
		}},
		"slicer": {false, func(p *proxied) {
			p.spoil("slicer", "upstream", `"average_size": 61, "size_variation": 60, "delay": 10`)
			p.spoil("slicer", "downstream", `"average_size": 2, "size_variation": 1, "delay": 10`)
		}},
		"reset":     {true, func(p *proxied) { p.spoil("reset_peer", "downstream", `"timeout": 0`) }},
		"cutinbody": {true, func(p *proxied) { p.spoil("limit_data", "upstream", `"bytes": 4000`) }},
		"cutearly":  {true, func(p *proxied) { p.spoil("limit_data", "downstream", `"bytes": 20`) }},
		// Half-open: the connection is there, and what is sent by it goes nowhere.
		"halfopenout":  {true, func(p *proxied) { p.spoil("timeout", "upstream", `"timeout": 0`) }},
		"halfopenback": {true, func(p *proxied) { p.spoil("timeout", "downstream", `"timeout": 0`) }},
		"refused":      {true, func(p *proxied) { p.proxy.Stop() }},
	}
	well := rig.StartUpstream(t, rig.Script{})
	upstreams := map[string]string{"well": well.YAML("well", "")}
	nets := map[string]*proxied{}
	for name := range cases {
		nets[name] = behind(t, rig.StartUpstream(t, rig.Script{}))
		upstreams[name] = nets[name].yaml(name, few)
		cases[name].spoil(nets[name])
	}
	w := start(t, impatient, "", upstreams)
	for name := range nets {
		w.scanOf(name, scans, size)
	}
	w.scan("well", scans)
	w.all("well", scans, func() map[string]int { return taken(well) })
	for name, c := range cases {
		if !c.cuts {
			continue
		}
		reason := "outcome=Deferred"
		if name == "cutinbody" {
			reason = "outcome=Unknown" // all of it is in the sockets' buffers: that not all arrived only the server knows
		}
		w.broken(name, few, reason)
		if n := len(nets[name].Messages()); n != 0 {
			t.Errorf("%s: %d scans came through: it does not cut", name, n)
		}
		if name == "refused" {
			if err := nets[name].proxy.Start(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		nets[name].mend()
	}
	for name, p := range nets {
		w.all(name, scans, func() map[string]int { return taken(p.Upstream) })
		for _, m := range p.Messages() {
			if !strings.Contains(m.Data, strings.Repeat("0123456789abcdef", 4)) || !strings.HasSuffix(strings.TrimSpace(m.Data), "--xyz--") || len(m.Data) < size {
				t.Errorf("%s: a scan of %d octets arrived, which is not whole", name, len(m.Data))
			}
		}
	}
}

// The server has taken the whole message and its answer does not come: it closes, or
// the network swallows the answer. Whether the scan is there nobody can tell, and
// onUnknown says what then.
func TestTheAnswerToTheFinalDotIsLost(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		onUnknown string
		more      int // copies at the upstream at most, for each answer that was lost
		elsewhere int // at the fallback
	}{
		{"RetrySame", 1, 0},
		{"Hold", 0, 0},
		{"FailOver", 0, 1},
	} {
		for _, how := range []string{"closes", "halfopen"} {
			t.Run(c.onUnknown+"/"+how, func(t *testing.T) {
				other := rig.StartUpstream(t, rig.Script{})
				u := rig.StartUpstream(t, rig.Script{})
				p := behind(t, u)
				var once sync.Once
				lose := rig.Script{Data: func(rig.Received) (err error) {
					once.Do(func() { // the first scan's answer only
						if how == "closes" {
							err = rig.ErrCut
							return
						}
						p.spoil("timeout", "downstream", `"timeout": 0`)
					})
					return err
				}}
				u.Script(lose)
				w := start(t, impatient, "    onUnknown: "+c.onUnknown+"\n", map[string]string{
					"sick": p.yaml("sick", few), "other": other.YAML("other", ""), "well": other.YAML("well", ""),
				})
				w.scan("sick", 1)
				w.Eventually("the outcome is Unknown", func() bool { return w.attempts("sick", "Unknown") > 0 })
				p.mend()
				switch c.onUnknown {
				case "Hold":
					w.Eventually("it is held", func() bool { return w.held() == 1 })
				case "FailOver":
					w.Eventually("it is at the fallback", func() bool { return len(other.Messages()) == 1 })
				default:
					w.all("sick", 1, func() map[string]int { return taken(u) })
					w.Eventually("it was sent again", func() bool { return len(u.Messages()) > 1 })
				}
				more := c.more * w.attempts("sick", "Unknown")
				if n := len(u.Messages()); n < 1 || n > 1+more {
					t.Errorf("the server has it %d times", n)
				}
				if n := len(other.Messages()); n != c.elsewhere {
					t.Errorf("the fallback has it %d times, want %d", n, c.elsewhere)
				}
			})
		}
	}
}

// A network that was away comes back with a few hundred scans waiting for it: no
// more connections are made, in all, than the upstream may have at once. That they
// begin with one is shown in relay/queue, where time does not depend on the machine.
func TestNoStormOfConnections(t *testing.T) {
	t.Parallel()
	const scans, connections = 300, 8
	u := rig.StartUpstream(t, rig.Script{})
	p := behind(t, u)
	p.proxy.Stop()
	w := start(t, impatient, "", map[string]string{"sick": p.yaml("sick", connections), "well": u.YAML("well", "")})
	w.scan("sick", scans)
	w.broken("sick", connections, "outcome=Deferred")
	before := w.attempts("sick", "Deferred")
	if err := p.proxy.Start(); err != nil {
		t.Fatal(err)
	}
	w.all("sick", scans, func() map[string]int { return taken(u) })
	// One connection carries 200 messages; one more is the check that finds the network
	// back. An attempt that fails on a slow machine needs another.
	most := connections + scans/200 + 2 + w.attempts("sick", "Deferred") - before + w.attempts("sick", "Unknown")
	if n := u.Sessions(); n > most {
		t.Errorf("%d connections for %d scans, want at most %d", n, scans, most)
	}
}
