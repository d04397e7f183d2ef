// Package migrate holds `printer-relay import postfix` to Debian's Postfix: what
// its reader makes of a configuration to what postconf does, and who may send what
// by the manifests to whom Postfix lets.
package migrate

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/importpostfix"
	"github.com/printerrelay/printer-relay/test/env"
)

// folder writes a configuration; there is always a master.cf, since postconf wants one.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	if files["master.cf"] == "" {
		env.WriteFile(t, filepath.Join(dir, "master.cf"), "smtp inet n - n - - smtpd\n")
	}
	for name, text := range files {
		env.WriteFile(t, filepath.Join(dir, name), text)
	}
	return dir
}

// postconf gives the parameters that postconf prints, with what flags say.
func postconf(t *testing.T, dir string, flags ...string) map[string]string {
	t.Helper()
	env.FindOrFail(t, "postconf")
	out := map[string]string{}
	for line := range strings.Lines(env.MustRun(t, "", "postconf", append([]string{"-c", dir}, flags...)...)) {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if !ok || strings.HasPrefix(name, "postconf: warning") {
			continue
		}
		out[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	return out
}

// spaced is a value with one space for each run of white space.
func spaced(s string) string { return strings.Join(strings.Fields(s), " ") }

// agree compares the reader with postconf. config_directory is the test's folder
// for postconf, and what the machine is called the reader does not know.
func agree(t *testing.T, main string) {
	t.Helper()
	dir := folder(t, map[string]string{"main.cf": main})
	got, err := importpostfix.Parameters(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	want := postconf(t, dir, "-x")
	compared := 0
	for _, name := range slices.Sorted(maps.Keys(got)) {
		w, known := want[name]
		if name == "config_directory" || !known {
			continue
		}
		compared++
		if spaced(got[name]) != spaced(w) {
			t.Errorf("%s: read as %q, postconf says %q, of\n%s", name, got[name], w, main)
		}
	}
	if compared < 50 {
		t.Errorf("only %d parameters were compared", compared)
	}
}

const named = "myhostname = scan.corp.example\nmynetworks = 127.0.0.0/8\n"

// TestReaderAgreesWithPostconf: defaults, of every compatibility level, and all that
// a main.cf may be written like.
func TestReaderAgreesWithPostconf(t *testing.T) {
	t.Parallel()
	for name, main := range map[string]string{
		"old":       "",
		"one":       "compatibility_level = 1\n",
		"two":       "compatibility_level = 2\n",
		"three":     "compatibility_level = 3.6\n",
		"continued": "relayhost =\n  [a.example]\n# a comment\n\n\t:587\nmydestination = $myhostname,\n   localhost\n",
		"twice":     "relayhost = a.example\nrelayhost = b.example\n",
		"empty":     "smtpd_banner =\nrelayhost = ${smtpd_banner:none}\n",
		"brackets":  "relayhost = $(myhostname)\nalways_bcc = ${relayhost}x$$y\n",
		"ternary":   "relayhost = ${{$compatibility_level} == {3.6} ? {a} : {b}}\nalways_bcc = ${relayhost?{yes}:{no}}\nsmtpd_banner = ${always_bcc?x$always_bcc}\n",
		"numbers":   "smtpd_recipient_limit = ${{10} < {9} ? {1} : {2}}\nsmtpd_timeout = ${{abc} < {b} ? {3}:{4}}s\n",
		"domain":    "mydomain = other.example\nmyorigin = $mydomain\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			agree(t, named+main)
		})
	}
}

// TestReaderAgreesOnRandom: settings that refer to each other in every form.
func TestReaderAgreesOnRandom(t *testing.T) {
	t.Parallel()
	free := []string{"smtpd_banner", "mail_name", "relayhost", "always_bcc", "smtp_helo_name", "mydestination", "canonical_maps", "sender_canonical_maps", "smtpd_client_restrictions", "smtp_generic_maps", "smtp_fallback_relay", "smtpd_sasl_path"}
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a test's
			main := named + fmt.Sprintf("compatibility_level = %s\n", pick(r, "0", "1", "2", "3.6"))
			for i, name := range free {
				value := ""
				for range r.IntN(4) {
					value += pick(r, " ", ", ", "") + expression(r, append([]string{"myhostname", "mydomain"}, free[:i]...), 2)
				}
				main += name + pick(r, " = ", "=", " =") + strings.ReplaceAll(value, " ", pick(r, " ", "\n  ", "  ")) + "\n"
			}
			agree(t, main)
		})
	}
}

func pick(r *rand.Rand, of ...string) string { return of[r.IntN(len(of))] }

// expression makes something that refers to names.
func expression(r *rand.Rand, names []string, depth int) string {
	name := pick(r, names...)
	if depth == 0 {
		return pick(r, "$"+name, "word", "a.example", "${"+name+"}")
	}
	in := expression(r, names, depth-1)
	return pick(r, "$"+name, "${"+name+"}", "$("+name+")", "${"+name+"?"+in+"}", "${"+name+":"+in+"}", "${"+name+"?{"+in+"}:{no}}",
		"${{$"+name+"} == {"+in+"} ? {same} : {"+in+"}}", "${{"+in+"} != {x} ? {differs}}", "$$", "text")
}

// full is a configuration in which as much as possible has an effect.
func full() map[string]string {
	return map[string]string{
		"main.cf": named + `compatibility_level = 3.6
myorigin = corp.example
mydomain = corp.example
mynetworks = 127.0.0.0/8 10.20.0.0/16
relayhost = [smtp.provider.example]:587
smtp_tls_security_level = encrypt
smtp_sasl_auth_enable = yes
smtp_sasl_password_maps = inline:{[smtp.provider.example]:587=user:secret}
smtpd_tls_security_level = may
smtpd_tls_cert_file = /etc/ssl/relay.pem
smtpd_tls_key_file = /etc/ssl/relay.key
smtpd_sasl_auth_enable = yes
smtpd_tls_auth_only = yes
`,
		"master.cf": "smtp inet n - n - - smtpd\nsmtp unix - - n - - smtp\nrelay unix - - n - - smtp\n",
	}
}

// without are parameters of which a change has no effect that could be reported, and why.
var without = map[string]string{
	"config_directory":                     "is where the folder is",
	"virtual_maps":                         "is the default of virtual_alias_maps",
	"stress":                               "is set by Postfix itself",
	"process_id":                           "is set by Postfix itself",
	"process_name":                         "is set by Postfix itself",
	"service_name":                         "is set by Postfix itself",
	"mail_name":                            "is part of smtpd_banner",
	"parent_domain_matches_subdomains":     "counts for tables, of which the baseline has none",
	"smtp_enforce_tls":                     "smtp_tls_security_level overrides it",
	"smtp_use_tls":                         "smtp_tls_security_level overrides it",
	"smtpd_use_tls":                        "smtpd_tls_security_level overrides it",
	"smtp_sender_dependent_authentication": "counts where a password belongs to a sender",
	"smtp_tcp_port":                        "the port is given",
	"smtpd_forbid_bare_newline":            "yes is what lineEndings does by default",
}

// TestNothingIsDropped: whatever parameter Postfix knows is set otherwise, the
// manifests change, or a finding says so.
func TestNothingIsDropped(t *testing.T) {
	t.Parallel()
	run := func(files map[string]string) string {
		fsys := os.DirFS(folder(t, files))
		r, err := importpostfix.Import(fsys, importpostfix.Options{})
		if err != nil {
			return "error: " + err.Error()
		}
		return string(r.Manifests) + fmt.Sprint(r.Findings)
	}
	base := run(full())
	all := postconf(t, folder(t, map[string]string{"main.cf": named}), "-d")
	if len(all) < 800 {
		t.Fatalf("postconf knows %d parameters only", len(all))
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		files := full()
		if without[name] != "" || strings.Contains(files["main.cf"], "\n"+name+" = "+otherwise(all[name])+"\n") {
			continue
		}
		files["main.cf"] += name + " = " + otherwise(all[name]) + "\n"
		if run(files) == base {
			t.Errorf("%s = %s changes nothing, and nothing is said of it", name, otherwise(all[name]))
		}
	}
}

// otherwise is another value than value.
func otherwise(value string) string {
	switch {
	case value == "yes":
		return "no"
	case value == "no":
		return "yes"
	case value == "":
		return "other.example"
	case strings.Trim(value, "0123456789") == "":
		return value + "1"
	case len(value) > 1 && strings.Trim(value[:len(value)-1], "0123456789") == "":
		return "9" + value
	}
	return "other.example"
}
