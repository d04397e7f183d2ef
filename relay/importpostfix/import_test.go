package importpostfix_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/printerrelay/printer-relay/relay"
	"github.com/printerrelay/printer-relay/relay/importpostfix"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGolden converts the folders of testdata; the manifests are such as validate
// takes, and no password is in them.
func TestGolden(t *testing.T) {
	folders, err := filepath.Glob("testdata/*/main.cf")
	if err != nil || len(folders) < 3 {
		t.Fatal(folders, err)
	}
	for _, main := range folders {
		dir := filepath.Dir(main)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			r, err := importpostfix.Import(os.DirFS(dir), importpostfix.Options{})
			if err != nil {
				t.Fatal(err)
			}
			got := string(r.Manifests)
			for _, f := range r.Findings {
				if f.Level == importpostfix.NoNeed {
					got += fmt.Sprintf("# no need: %s %s: %s\n", f.Where, f.Parameter, f.Why)
				}
			}
			golden := dir + ".yaml"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s is not what came (go test ./relay/importpostfix -update writes it):\n%s", golden, got)
			}
			validate(t, r.Manifests)
			for _, secret := range []string{"nobody-may-see", "not-to-be-seen"} {
				if strings.Contains(got, secret) || strings.Contains(fmt.Sprint(r.Findings), secret) {
					t.Errorf("a password is in what came: %s", got)
				}
			}
		})
	}
}

func validate(t *testing.T, manifests []byte) *relay.Configuration {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "m.yaml"), manifests, 0o600); err != nil {
		t.Fatal(err)
	}
	conf, err := relay.LoadConfiguration(dir, "")
	if err != nil {
		t.Errorf("validate does not take it: %v\n%s", err, manifests)
	}
	return conf
}

// TestFindings: what cannot be carried is said, with its level.
func TestFindings(t *testing.T) {
	const base = "compatibility_level = 3.6\nmyhostname = a.example\nmynetworks = 10.0.0.0/8\nrelayhost = [b.example]\n"
	for name, tc := range map[string]struct {
		main, parameter string
		level           importpostfix.Level
		files           map[string]string
	}{
		"open":             {"mynetworks = 0.0.0.0/0", "mynetworks", importpostfix.Open, nil},
		"open of IPv6":     {"mynetworks = [::]/0 10.0.0.0/8", "mynetworks", importpostfix.Open, nil},
		"subnets":          {"mynetworks_style = subnet\nmynetworks =\n", "smtpd_nothing", "", nil},
		"regexp":           {"transport_maps = regexp:/etc/postfix/t", "transport_maps", importpostfix.Decide, map[string]string{"t": "/x/ smtp:y"}},
		"database":         {"smtpd_client_restrictions = check_client_access mysql:/etc/postfix/m", "smtpd_client_restrictions", importpostfix.Decide, nil},
		"policy service":   {"smtpd_client_restrictions = check_policy_service unix:private/p", "smtpd_client_restrictions", importpostfix.Decide, nil},
		"filter":           {"content_filter = amavis:[127.0.0.1]:10024", "content_filter", importpostfix.Weaker, nil},
		"header checks":    {"header_checks = regexp:/x", "header_checks", importpostfix.Weaker, nil},
		"MX of smarthost":  {"relayhost = b.example", "relayhost", importpostfix.Differs, nil},
		"a certificate":    {"smtpd_tls_security_level = may\nsmtpd_tls_cert_file = /c.pem", "smtpd_tls_cert_file", importpostfix.Create, nil},
		"own mailboxes":    {"mydestination = corp.example", "mydestination", importpostfix.Differs, nil},
		"unknown":          {"no_such_parameter = 1", "no_such_parameter", importpostfix.LeftOut, nil},
		"how it runs":      {"queue_directory = /q", "queue_directory", importpostfix.NoNeed, nil},
		"client cert":      {"smtpd_tls_req_ccert = yes", "smtpd_tls_req_ccert", importpostfix.Decide, nil},
		"unreadable nets":  {"mynetworks = !mysql:/etc/postfix/m 10.0.0.0/8", "mynetworks", importpostfix.Decide, nil},
		"load balancer":    {"smtpd_upstream_proxy_protocol = haproxy", "smtpd_upstream_proxy_protocol", importpostfix.Create, nil},
		"recipient copies": {"recipient_bcc_maps = hash:/x", "recipient_bcc_maps", importpostfix.LeftOut, nil},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := fstest.MapFS{"main.cf": {Data: []byte(base + tc.main + "\n")}}
			for f, text := range tc.files {
				fsys[f] = &fstest.MapFile{Data: []byte(text)}
			}
			r, err := importpostfix.Import(fsys, importpostfix.Options{})
			if err != nil {
				t.Fatal(err)
			}
			validate(t, r.Manifests)
			if tc.level != "" && !slices.ContainsFunc(r.Findings, func(f importpostfix.Finding) bool {
				return f.Level == tc.level && f.Parameter == tc.parameter && f.Where != "" && f.Why != "" && f.Remedy != ""
			}) {
				t.Errorf("no finding %s of %s: %+v", tc.level, tc.parameter, r.Findings)
			}
		})
	}
}

// TestNobodyOfDecide: where a check cannot be followed, nobody gets in by it.
func TestNobodyOfDecide(t *testing.T) {
	for _, restriction := range []string{"check_policy_service unix:p", "check_client_access mysql:/x", "check_helo_access hash:/x", "no_such_restriction", "check_sender_access pcre:/x"} {
		fsys := fstest.MapFS{"main.cf": {Data: []byte("compatibility_level = 3.6\nmyhostname = a.example\nmynetworks = 10.0.0.0/8\nrelayhost = [b.example]\nsmtpd_client_restrictions = " + restriction + "\n")}}
		r, err := importpostfix.Import(fsys, importpostfix.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(r.Manifests), "action: Allow") {
			t.Errorf("%s: somebody is allowed:\n%s", restriction, r.Manifests)
		}
	}
}

// TestHostileTexts: comments hold one line, whatever a file holds.
func TestHostileTexts(t *testing.T) {
	fsys := fstest.MapFS{"main.cf": {Data: []byte("myhostname = a.example\nrelayhost = [b.example]\nmynetworks = 10.0.0.0/8\nalways_bcc = x\u0085y: [\u2028 @z\x1b[31m\nheader_checks = a\rkind: Secret\n")}}
	r, err := importpostfix.Import(fsys, importpostfix.Options{})
	if err != nil {
		t.Fatal(err)
	}
	validate(t, r.Manifests)
	for line := range strings.Lines(string(r.Manifests)) {
		if strings.HasPrefix(line, "kind: Secret") || strings.ContainsAny(line, "\x1b\r\u0085\u2028") {
			t.Errorf("line %q", line)
		}
	}
}

// FuzzImport: no configuration makes it panic, or manifests that validate refuses for
// their form.
func FuzzImport(f *testing.F) {
	for _, dir := range []string{"debian", "null-client", "department"} {
		main, err := os.ReadFile(filepath.Join("testdata", dir, "main.cf"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(main), "corp.example OK\n127.0.0 REJECT\n@x y@z\n")
	}
	f.Fuzz(func(t *testing.T, main, text string) {
		fsys := fstest.MapFS{"main.cf": {Data: []byte(main)}}
		for _, name := range []string{"clients", "owners", "networks", "transport", "sasl_passwd", "passwords", "aliases", "relayhosts"} {
			fsys[name] = &fstest.MapFile{Data: []byte(text)}
		}
		r, err := importpostfix.Import(fsys, importpostfix.Options{})
		if err != nil || len(r.Manifests) > 1<<20 {
			return
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "m.yaml"), r.Manifests, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := relay.LoadConfiguration(dir, ""); err != nil {
			t.Errorf("%v\n%s", err, r.Manifests)
		}
	})
}
