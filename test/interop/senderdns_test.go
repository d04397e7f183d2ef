package interop

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/test/env"
)

// nameServer is a Knot DNS that knows all names there are: its zone is the root.
type nameServer struct {
	dir, address string
	zone         string
	knot         *env.Process
}

const rootZone = `$ORIGIN .
$TTL 60
. SOA ns.example. it.example. 1 3600 600 86400 60
. NS ns.example.
ns.example. A 192.0.2.53
`

// serve starts it anew with further lines of its zone.
func (s *nameServer) serve(t *testing.T, lines string) {
	t.Helper()
	if s.knot != nil {
		s.knot.Stop()
	}
	s.zone += lines
	env.WriteFile(t, filepath.Join(s.dir, "root.zone"), rootZone+s.zone)
	for range 5 {
		s.address = fmt.Sprintf("127.0.0.1:%d", env.FreePort(t))
		host, port, err := net.SplitHostPort(s.address)
		if err != nil {
			t.Fatal(err)
		}
		env.WriteFile(t, filepath.Join(s.dir, "knot.conf"), "server:\n  rundir: "+s.dir+"\n  listen: "+host+"@"+port+
			"\nlog:\n- target: stderr\n  any: info\ndatabase:\n  storage: "+s.dir+"\nzone:\n- domain: .\n  file: "+filepath.Join(s.dir, "root.zone")+
			"\n  journal-content: none\n  zonefile-sync: -1\n  semantic-checks: on\n")
		s.knot = env.Start(t, s.dir, "knotd", "-c", filepath.Join(s.dir, "knot.conf"))
		env.Eventually(t, "Knot answers, or gives up", s.knot.Output, func() bool {
			return !s.knot.Running() || strings.Contains(s.knot.Output(), "server started")
		})
		if out := s.knot.Output(); strings.Contains(out, "[.] zone file") && strings.Contains(out, "error") {
			t.Fatalf("the zone is not taken:\n%s\n%s", out, s.zone)
		}
		if s.knot.Running() && !strings.Contains(s.knot.Output(), "cannot bind") {
			return
		}
		s.knot.Stop()
	}
	t.Fatalf("Knot does not start:\n%s", s.knot.Output())
}

const domainUpstream = `apiVersion: printerrelay.dev/v1alpha1
kind: MailUpstream
metadata: {name: out}
spec:
  type: SMTP
  smtp: {host: mail.provider.example}
  sender: {domain: copier.corp.example}
  dkim: {selector: scans1, secretRef: {name: dkim}}
  dns:
    egressAddresses: [192.0.2.25/32, "2001:db8::/64"]
    vendorRecords: [{name: copier.corp.example, type: MX, value: 10 mx.corp.example}, {name: go.copier.corp.example, type: CNAME, value: u1.provider.example}]
---
`

// dns runs the command and gives its status and what it printed.
func (s *nameServer) dns(t *testing.T, manifests string, args ...string) (code int, out string) {
	t.Helper()
	dir := t.TempDir()
	env.WriteFile(t, filepath.Join(dir, "m.yaml"), manifests)
	out, err := env.Run(t, "", binary, append([]string{"dns", "out", "-f", dir, "--server", s.address}, args...)...)
	if err != nil {
		if _, err := fmt.Sscanf(err.Error(), "exit status %d", &code); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	return code, out
}

func newNameServer(t *testing.T) *nameServer { return &nameServer{dir: env.SharedDir(t)} }

// TestDNSIsPublishedAsSaid: what the command prints for a zone file is taken by
// Knot as it is, and then everything is well; the black hole likewise.
func TestDNSIsPublishedAsSaid(t *testing.T) {
	k := newKeys(t)
	manifests := domainUpstream + k.secret(t, "dkim", "copier.corp.example", "rsa.pem", "ed25519.pem")
	s := newNameServer(t)
	s.serve(t, "provider.example. TXT \"v=spf1 -all\"\n")
	code, out := s.dns(t, manifests)
	if code != 1 || strings.Count(out, "\nMissing ") != 6 || strings.Contains(out, "\nOK") {
		t.Errorf("status %d:\n%s", code, out)
	}
	for name, value := range k.records {
		if !strings.Contains(out, "DKIM  TXT "+name+"\n  to be:     "+value) {
			t.Errorf("no %s %s in\n%s", name, value, out)
		}
	}

	code, zone := s.dns(t, manifests, "-o", "zone")
	if code != 1 {
		t.Errorf("status %d", code)
	}
	s.serve(t, zone)
	if code, out = s.dns(t, manifests); code != 0 || strings.Count(out, "\nOK ") != 6 {
		t.Errorf("published as it was printed, and status %d:\n%s", code, out)
	}

	// A private key goes to nobody.
	for _, o := range []string{"text", "json", "yaml", "zone"} {
		if _, out := s.dns(t, manifests, "-o", o); strings.Contains(out, "PRIVATE") {
			t.Errorf("-o %s:\n%s", o, out)
		}
	}

	code, out = s.dns(t, manifests, "--black-hole")
	if code != 1 || strings.Count(out, "\nDifferent ") != 6 || strings.Count(out, "\nMissing ") != 1 {
		t.Errorf("status %d:\n%s", code, out)
	}
	_, zone = s.dns(t, manifests, "--black-hole", "-o", "zone")
	s.zone = ""
	s.serve(t, zone)
	if code, out = s.dns(t, manifests, "--black-hole"); code != 0 {
		t.Errorf("a black hole as it was printed, and status %d:\n%s", code, out)
	}
	if code, out = s.dns(t, manifests); code != 1 || strings.Count(out, "\nOK ") != 1 { // but DMARC
		t.Errorf("in the black hole little is well: status %d:\n%s", code, out)
	}
}

// TestDNSThatIsWrong: what a real name server says of domains where something is
// wrong, and what the command says of it.
func TestDNSThatIsWrong(t *testing.T) {
	many := ""
	for i := range 11 {
		many += fmt.Sprintf(" include:s%d.provider.example", i)
	}
	zone := `copier.corp.example. MX 10 mx.corp.example.
_dmarc.corp.example. TXT "v=DMARC1; p=none; sp=reject"
two.corp.example. TXT "v=spf1 mx -all"
two.corp.example. TXT "v=spf1 " "a -all"
many.corp.example. TXT "v=spf1` + many + ` -all"
merge.corp.example. TXT "v=spf1 include:s0.provider.example" " -all"
merge.corp.example. TXT "something=else"
loop.corp.example. TXT "v=spf1 include:loop.corp.example -all"
alias.corp.example. CNAME merge.corp.example.
scans1._domainkey.merge.corp.example. TXT "v=DKIM1; k=rsa; p=AAAA"
nullmx.corp.example. MX 0 .
go.merge.corp.example. CNAME elsewhere.example.
`
	for i := range 11 {
		zone += fmt.Sprintf("s%d.provider.example. TXT \"v=spf1 ip4:198.51.100.%d -all\"\n", i, i)
	}
	s := newNameServer(t)
	s.serve(t, zone)
	manifests := domainUpstream + newKeys(t).secret(t, "dkim", "copier.corp.example", "rsa.pem")
	for name, want := range map[string][]string{
		"two":    {"there are 2 SPF records", "to be:     v=spf1 a mx ip4:192.0.2.25 ip6:2001:db8::/64 -all"},
		"many":   {"needs 11 DNS lookups, and receivers stop at 10", "it lacks ip4:192.0.2.25 ip6:2001:db8::/64"},
		"merge":  {"to be:     v=spf1 include:s0.provider.example ip4:192.0.2.25 ip6:2001:db8::/64 -all", "it is another key", "published: elsewhere.example\n  to be:     u1.provider.example", "published: at _dmarc.corp.example: v=DMARC1; p=none; sp=reject"},
		"loop":   {"loop.corp.example includes itself"},
		"alias":  {"to be:     v=spf1 include:s0.provider.example ip4:192.0.2.25 ip6:2001:db8::/64 -all"},
		"nullmx": {"published: 0 .\n  to be:     10 mx.corp.example"},
		"none":   {"Missing    SPF  TXT none.corp.example\n  to be:     v=spf1 ip4:192.0.2.25 ip6:2001:db8::/64 ~all"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out := s.dns(t, strings.ReplaceAll(manifests, "copier.corp", name+".corp"))
			if code != 1 {
				t.Errorf("status %d", code)
			}
			for _, w := range want {
				if !strings.Contains(out, w) {
					t.Errorf("no %q in\n%s", w, out)
				}
			}
		})
	}
}

// TestDNSCannotBeAsked: that is no finding.
func TestDNSCannotBeAsked(t *testing.T) {
	s := &nameServer{address: fmt.Sprintf("127.0.0.1:%d", env.FreePort(t))}
	manifests := domainUpstream + newKeys(t).secret(t, "dkim", "copier.corp.example", "ed25519.pem")
	if code, out := s.dns(t, manifests); code != 2 || !strings.Contains(out, "no name server answers") {
		t.Errorf("status %d:\n%s", code, out)
	}
	postmark := strings.Replace(manifests, "type: SMTP\n  smtp: {host: mail.provider.example}", "type: Postmark\n  postmark: {secretRef: {name: dkim}}", 1)
	postmark = strings.Replace(postmark, "  dkim: {selector: scans1, secretRef: {name: dkim}}\n", "", 1)
	if code, out := s.dns(t, postmark); code != 2 || !strings.Contains(out, "no name server answers") {
		t.Errorf("where one record cannot be asked for: status %d:\n%s", code, out)
	}
	if code, out := s.dns(t, strings.Replace(manifests, "{name: out}", "{name: other}", 1)); code != 2 || !strings.Contains(out, `holds no MailUpstream "out" that is valid; there are: default/other`) {
		t.Errorf("status %d:\n%s", code, out)
	}
}

// TestDNSSamples: the upstreams of docs/dns.md are valid.
func TestDNSSamples(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(env.Root(t), "docs", "dns.md"))
	if err != nil {
		t.Fatal(err)
	}
	samples := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(samples) == 0 {
		t.Fatal("no sample")
	}
	s := newNameServer(t)
	s.serve(t, "")
	for _, m := range samples {
		if code, out := s.dns(t, m[1]); code != 1 {
			t.Errorf("status %d:\n%s\n%s", code, out, m[1])
		}
	}
}
