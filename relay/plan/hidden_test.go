package plan_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/policy"
	"github.com/printerrelay/printer-relay/test/manifests"
)

func prefixes(in ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range in {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// annotated puts text into the annotation of the small manifests' relay.
func annotated(yaml, text string) string {
	return strings.Replace(yaml, "metadata: {name: office}\nspec:\n  hostname", fmt.Sprintf("metadata: {name: office, annotations: {%s: %q}}\nspec:\n  hostname", v1alpha1.AnnotationHiddenClients, text), 1)
}

func TestHides(t *testing.T) {
	for text, tc := range map[string]struct{ hidden, shown string }{
		"":    {"", "10.0.0.1 2001:db8::1"},
		"all": {"10.0.0.1 203.0.113.9 2001:db8::1 ::ffff:10.0.0.1", ""},
		"10.0.0.4, 10.244.0.0/16": {
			"10.0.0.4 10.244.0.0 10.244.255.255 ::ffff:10.0.0.4 ::ffff:10.244.3.1", // IPv4-mapped is IPv4
			"10.0.0.3 10.0.0.5 10.243.255.255 10.245.0.0 ::10.0.0.4 64:ff9b::10.0.0.4 2001:db8::1",
		},
		"fd00:10::/48,2001:db8::7,fe80::1": {"fd00:10::1 2001:db8::7 fe80::1%eth0", "fd00:11::1 2001:db8::8 10.0.0.1"},
		"::ffff:10.0.0.0/104":              {"10.0.0.1 10.255.255.255", "11.0.0.1"},
		"::ffff:10.0.0.9":                  {"10.0.0.9", "10.0.0.8"},
		"0.0.0.0/0":                        {"10.0.0.1 203.0.113.9", "2001:db8::1"},
		"10.0.0.0/25,10.0.0.128/25":        {"10.0.0.0 10.0.0.127 10.0.0.128 10.0.0.255", "10.0.1.0"},
		"10.0.0.4,all":                     {"203.0.113.9", ""},
	} {
		p, found := compileYAML(t, annotated(small, text))
		if found.Failed() {
			t.Fatalf("%q: %v", text, found)
		}
		for want, all := range map[bool]string{true: tc.hidden, false: tc.shown} {
			for _, a := range strings.Fields(all) {
				if got := p.HiddenClients.Hides(netip.MustParseAddr(a)); got != want {
					t.Errorf("%q hides %s: %v", text, a, got)
				}
			}
		}
	}
	if (&plan.HiddenClients{Networks: prefixes("10.0.0.0/8")}).Hides(netip.Addr{}) {
		t.Error("no address is hidden")
	}
	if _, found := compileYAML(t, annotated(small, "10.0.0.4,node-3")); !found.Failed() || !strings.Contains(found[0].Error(), `"node-3" is neither a network nor an address nor all`) {
		t.Errorf("%v", found)
	}
}

func TestNetworks(t *testing.T) {
	for _, tc := range []struct{ in, want []netip.Prefix }{
		{nil, nil},
		{prefixes("10.0.1.0/24", "10.0.0.0/24", "10.0.3.0/24", "10.0.2.0/24"), prefixes("10.0.0.0/22")},
		{prefixes("10.0.1.0/24", "10.0.2.0/24"), prefixes("10.0.1.0/24", "10.0.2.0/24")}, // not of one /23
		{prefixes("10.0.0.0/8", "10.1.0.0/16", "10.0.0.0/8", "10.0.0.7/32"), prefixes("10.0.0.0/8")},
		{prefixes("0.0.0.0/1", "128.0.0.0/1", "::/0"), prefixes("0.0.0.0/0", "::/0")},
		{prefixes("fd00::/64", "fd00:0:0:1::/64", "10.0.0.1/32", "10.0.0.0/32"), prefixes("10.0.0.0/31", "fd00::/63")},
	} {
		if got := plan.Networks(tc.in); !slices.Equal(got, tc.want) {
			t.Errorf("%v: %v, want %v", tc.in, got, tc.want)
		}
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		var in []netip.Prefix
		for range rng.IntN(40) {
			bits := 24 + rng.IntN(9)
			in = append(in, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(rng.IntN(4)), byte(rng.IntN(256))}), bits).Masked())
		}
		out := plan.Networks(in)
		h := plan.HiddenClients{Networks: out}
		for i := range 4 << 8 {
			a := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
			held := slices.ContainsFunc(in, func(n netip.Prefix) bool { return n.Contains(a) })
			if h.Hides(a) != held {
				t.Fatalf("%v\nas %v: %s %v", in, out, a, held)
			}
		}
	}
}

// What the annotation holds is what matters to the relay, and so it is the same
// while nodes come and go that have nothing to do with it.
func TestWithHidden(t *testing.T) {
	const more = "  routes: [{name: r, clientNetworks: [10.50.0.0/16], upstreamRef: {name: out}}]\n  listeners:"
	few := strings.Replace(strings.Replace(small, "[10.0.0.0/8]", "[10.20.0.0/16, \"2001:db8:20::/48\"]", 1), "  listeners:", more, 1)
	pods, nodes := prefixes("10.244.0.0/16", "fd00::/56"), prefixes("192.168.7.1/32", "192.168.7.9/32")
	for name, tc := range map[string]struct {
		yaml   string
		hidden plan.HiddenClients
		want   string
	}{
		"nothing":               {few, plan.HiddenClients{}, ""},
		"elsewhere":             {few, plan.HiddenClients{Networks: slices.Concat(nodes, pods)}, ""},
		"a node in a rule":      {few, plan.HiddenClients{Networks: prefixes("10.20.0.7/32", "10.21.0.7/32")}, "10.20.0.7"},
		"a node in a route":     {few, plan.HiddenClients{Networks: prefixes("10.50.0.7/32", "10.51.0.7/32")}, "10.50.0.7"},
		"IPv6":                  {few, plan.HiddenClients{Networks: prefixes("2001:db8:20::5/128", "2001:db8:21::5/128")}, "2001:db8:20::5"},
		"a rule among Pods":     {few, plan.HiddenClients{Networks: prefixes("10.0.0.0/8")}, "10.20.0.0/16,10.50.0.0/16"},
		"Pods in a wide rule":   {small, plan.HiddenClients{Networks: slices.Concat(pods, nodes, prefixes("10.0.0.1/32"))}, "10.0.0.1,10.244.0.0/16"},
		"every client":          {few, plan.HiddenClients{All: true}, "all"},
		"what is said already":  {annotated(few, "172.17.0.1"), plan.HiddenClients{Networks: prefixes("10.20.0.7/32")}, "172.17.0.1,10.20.0.7"},
		"said, and nothing new": {annotated(few, "172.17.0.1"), plan.HiddenClients{}, "172.17.0.1"},
		"a trusted proxy":       {strings.Replace(few, "{name: smtp, port: 25}", "{name: smtp, port: 25, proxyProtocol: {trustedNetworks: [10.60.0.0/16]}}", 1), plan.HiddenClients{Networks: prefixes("10.60.0.7/32")}, "10.60.0.7"},
		"an override":           {strings.Replace(few, "{name: smtp, port: 25}", "{name: smtp, port: 25, clientOverrides: [{name: x, clientNetworks: [10.70.0.0/16], hideStartTLS: true}]}", 1), plan.HiddenClients{Networks: prefixes("10.70.0.7/32")}, "10.70.0.7"},
	} {
		t.Run(name, func(t *testing.T) {
			in := manifests.Only(t, tc.yaml)
			before := in.Relay.DeepCopy()
			tc.hidden.Networks = plan.Networks(tc.hidden.Networks)
			out := plan.WithHidden(in.Relay, tc.hidden, in.Policies)
			if got := out.Annotations[v1alpha1.AnnotationHiddenClients]; got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
			if !reflect.DeepEqual(in.Relay, before) {
				t.Error("what was given has changed")
			}
			a, _ := plan.Compile(in)
			in.Relay = out
			b, found := plan.Compile(in)
			if found.Failed() || (a.Hash == b.Hash) != (out.Annotations[v1alpha1.AnnotationHiddenClients] == before.Annotations[v1alpha1.AnnotationHiddenClients]) {
				t.Errorf("hash %s, then %s: %v", a.Hash, b.Hash, found)
			}
		})
	}
}

// Warnings, where something cannot be so since clients are hidden.
func TestHiddenWarnings(t *testing.T) {
	const lan = "match: {clientNetworks: [10.0.0.0/8]}"
	trusted := strings.Replace(small, "{name: smtp, port: 25}", "{name: smtp, port: 25, proxyProtocol: {trustedNetworks: [10.60.0.0/16]}}", 1)
	rule := strings.Replace(small, "[10.0.0.0/8]", "[10.244.3.0/24, 10.244.9.7/32]", 1)
	for name, tc := range map[string]struct{ yaml, hidden, want string }{
		"nothing hidden":        {small, "", ""},
		"a part of a rule":      {small, "10.244.0.0/16", ""},
		"all of a rule":         {rule, "10.244.0.0/16", "SenderPolicy default/office: spec.rules[0].match.clientNetworks: match nobody, since they hold only addresses of the cluster's own nodes and Pods: let who sends from there log in, and name them in match.users alone"},
		"all of a rule but one": {rule, "10.244.3.0/24", ""},
		"every client":          {small, "all", "SenderPolicy default/office: spec.rules[0].match.clientNetworks: match nobody, since every client's address is hidden: set spec.service.externalTrafficPolicy: Local of the PrinterRelay, or let the devices log in and name them in match.users alone"},
		"every client rejected": {strings.Replace(small, lan, lan+"\n    action: Reject", 1), "all", "SenderPolicy default/office: spec.rules[0].match.clientNetworks: every client's address is hidden and may be in them, so that all are rejected: set spec.service.externalTrafficPolicy: Local of the PrinterRelay, or remove the rule"},
		"a trusted node":        {trusted, "10.60.0.7", "PrinterRelay default/office: spec.listeners[0].proxyProtocol.trustedNetworks: hold addresses of the cluster's own nodes or Pods: whoever connects from one may say to be any client; name the load balancer's own addresses"},
		"a node not trusted":    {trusted, "10.61.0.7", ""},
		"a proxy, and Cluster":  {strings.Replace(trusted, lan, "match: {users: [mfp]}", 1), "all", "PrinterRelay default/office: spec.listeners[0].proxyProtocol.trustedNetworks: the clients that PROXY headers name are in no network, since every client's address is hidden, and so who sends the header: set spec.service.externalTrafficPolicy: Local of the PrinterRelay"},
	} {
		t.Run(name, func(t *testing.T) {
			_, found := compileYAML(t, annotated(tc.yaml, tc.hidden))
			var got []string
			for _, d := range found {
				if strings.Contains(d.Field, "clientNetworks") || strings.Contains(d.Field, "trustedNetworks") {
					got = append(got, d.Error())
				}
			}
			if strings.Join(got, "\n") != tc.want {
				t.Errorf("want %s\ngot  %s", tc.want, strings.Join(got, "\n     "))
			}
		})
	}
}

// Whatever is hidden: no plan lets a client in by a network whose address it
// hides, whatever of it went through the annotation.
func TestNoNetworkLetsAHiddenClientIn(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	random := func() netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(rng.IntN(4)), byte(rng.IntN(4)), byte(rng.IntN(4))}), 8+rng.IntN(25)).Masked()
	}
	base := manifests.Only(t, small)
	let, kept := 0, 0
	for range 2000 {
		in := plan.Input{Relay: base.Relay, Upstreams: base.Upstreams, Policies: map[string]*v1alpha1.SenderPolicy{"office": base.Policies["office"].DeepCopy()}}
		rules := &in.Policies["office"].Spec.Rules
		(*rules)[0].Match.ClientNetworks = nil
		for range 1 + rng.IntN(3) {
			(*rules)[0].Match.ClientNetworks = append((*rules)[0].Match.ClientNetworks, v1alpha1.CIDR(random().String()))
		}
		var cluster []netip.Prefix
		for range rng.IntN(6) {
			cluster = append(cluster, random())
		}
		h := plan.HiddenClients{All: rng.IntN(10) == 0, Networks: plan.Networks(cluster)}
		in.Relay = plan.WithHidden(in.Relay, h, in.Policies)
		p, found := plan.Compile(in)
		if found.Failed() {
			t.Fatal(found)
		}
		for range 50 {
			a := netip.AddrFrom4([4]byte{10, byte(rng.IntN(4)), byte(rng.IntN(4)), byte(rng.IntN(4))})
			hidden := h.All || slices.ContainsFunc(cluster, func(n netip.Prefix) bool { return n.Contains(a) })
			named := slices.ContainsFunc((*rules)[0].Match.ClientNetworks, func(n v1alpha1.CIDR) bool { return netip.MustParsePrefix(string(n)).Contains(a) })
			d := p.Policies.AtMail(policy.Client{Addr: a, Hidden: p.HiddenClients.Hides(a)}, envelope.Address{Local: "a", Domain: "copier.example"})
			if in := d.Reply == nil; in != (named && !hidden) {
				t.Fatalf("%s, hidden %v, named %v: let in %v\nrule %v\ncluster %v\nannotation %v", a, hidden, named, in, (*rules)[0].Match.ClientNetworks, cluster, p.HiddenClients)
			}
			if named && hidden {
				kept++
			} else if named {
				let++
			}
		}
	}
	if let < 1000 || kept < 1000 {
		t.Errorf("%d let in, %d kept out: it shows nothing", let, kept)
	}
}
