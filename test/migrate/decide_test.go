package migrate

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay"
	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/importpostfix"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/policy"
	"github.com/printerrelay/printer-relay/test/env"
	"github.com/printerrelay/printer-relay/test/postfix"
)

// Whom both are asked about: every client with every sender and recipient.
var (
	clients    = []string{"127.0.0.1", "127.0.0.2", "127.0.3.7", "127.0.3.8", "127.8.0.1", "127.9.9.9"}
	logins     = []string{"", "mfp1", "mfp2"}
	senders    = []string{"mfp@copier.example", "boss@corp.example", "x@sub.corp.example", "who@else.example"}
	recipients = []string{"pat@corp.example", "it@sub.corp.example", "out@other.example", "pat@old.example", own}
)

// own is a recipient in a domain that Postfix takes mail for from everybody, which
// the manifests do not.
const own = "it@own.example"

// fixture is what a main.cf says beside the names of things.
type fixture struct {
	main  string
	files map[string]string
	same  bool // the manifests let in exactly whom Postfix lets
}

var fixtures = map[string]fixture{
	"networks":   {main: "mynetworks = 127.0.3.0/24, 127.8.0.1\n", same: true},
	"exception":  {main: "mynetworks = !127.0.3.7/32 127.0.0.0/16\n", same: true},
	"file":       {main: "mynetworks = $config_directory/nets\n", files: map[string]string{"nets": "127.0.3.7\n# one more\n127.8.0.0/16\n"}, same: true},
	"table":      {main: "mynetworks = cidr:$config_directory/nets\n", files: map[string]string{"nets": "127.0.3.0/24 yes\n127.8.0.0/16 yes\n"}, same: true},
	"logins":     {main: "mynetworks = 127.0.3.7\nsmtpd_sasl_auth_enable = yes\n", same: true},
	"login only": {main: "mynetworks =\nsmtpd_sasl_auth_enable = yes\nsmtpd_relay_restrictions = permit_sasl_authenticated, reject\n", same: true},
	"own domains": {
		main: "mynetworks = 127.0.3.0/24\nsmtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination\nsmtpd_recipient_restrictions = check_recipient_access inline:{corp.example=OK, own.example=OK}, reject\n",
	},
	"senders": {
		main:  "mynetworks = 127.0.0.0/8\nsmtpd_sender_restrictions = check_sender_access hash:$config_directory/senders, reject\n",
		files: map[string]string{"senders": "copier.example OK\nboss@corp.example OK\n"}, same: true,
	},
	"senders refused": {
		main:  "mynetworks = 127.0.0.0/16\nsmtpd_sender_restrictions = check_sender_access hash:$config_directory/senders\n",
		files: map[string]string{"senders": "corp.example REJECT\nboss@corp.example OK\n"}, same: true,
	},
	"clients": {
		main:  "mynetworks = 127.0.0.0/8\nsmtpd_client_restrictions = check_client_access cidr:$config_directory/clients, permit_mynetworks, reject\n",
		files: map[string]string{"clients": "127.0.3.7 OK\n127.0.3.0/24 REJECT stolen\n127.9.0.0/16 554 5.7.1 no\n"}, same: true,
	},
	"clients by octets": {
		main:  "mynetworks = 127.0.0.0/8\nsmtpd_client_restrictions = check_client_access hash:$config_directory/clients\n",
		files: map[string]string{"clients": "127.0.3 REJECT\n127.0.3.8 OK\n127.9 REJECT\n"}, same: true,
	},
	"owners": {
		main:  "mynetworks =\nsmtpd_sasl_auth_enable = yes\nsmtpd_sender_login_maps = hash:$config_directory/owners\nsmtpd_sender_restrictions = reject_sender_login_mismatch\n",
		files: map[string]string{"owners": "mfp@copier.example mfp1\n@corp.example mfp2 mfp1\nboss@corp.example mfp2\n"}, same: true,
	},
	"classes": {
		main:  "mynetworks = 127.0.0.0/8\nsmtpd_restriction_classes = inside\ninside = check_recipient_access inline:{corp.example=OK}, reject\nsmtpd_recipient_restrictions = check_client_access hash:$config_directory/clients, permit_mynetworks, reject\n",
		files: map[string]string{"clients": "127.0.3 inside\n"}, same: true,
	},
	"recipients refused": {main: "mynetworks = 127.0.0.0/8\nsmtpd_recipient_restrictions = check_recipient_access inline:{pat@corp.example=REJECT}, permit_mynetworks, reject\n"},
	"regexp":             {main: "mynetworks = 127.0.0.0/8\nsmtpd_client_restrictions = check_client_access regexp:$config_directory/clients\n", files: map[string]string{"clients": "/^127.0.3/ REJECT\n"}},
	"tls":                {main: "mynetworks = 127.0.0.0/8\nsmtpd_recipient_restrictions = reject_plaintext_session, permit_mynetworks, reject\n", same: true},
	"open":               {main: "mynetworks = 0.0.0.0/0\n"},
	"open in two":        {main: "mynetworks = 0.0.0.0/1 128.0.0.0/1\n"},
}

// ask tries every client, login, sender and recipient: which were taken.
func ask(t *testing.T, port int, withLogins bool) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for _, c := range clients {
		for _, u := range logins {
			if u != "" && !withLogins {
				continue
			}
			session(t, port, c, u, out)
		}
	}
	return out
}

func session(t *testing.T, port int, from, user string, out map[string]bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.DialContext(ctx, "tcp", env.Loopback(port))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	say := func(line string) string {
		if line != "" {
			fmt.Fprintf(conn, "%s\r\n", line)
		}
		for {
			reply, err := r.ReadString('\n')
			if err != nil {
				t.Fatalf("%s from %s: %v", line, from, err)
			}
			if len(reply) < 4 || reply[3] != '-' {
				return reply
			}
		}
	}
	say("")
	say("EHLO copier")
	if user != "" {
		if reply := say("AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00secret"))); reply[0] != '2' {
			t.Fatalf("AUTH: %s", reply)
		}
	}
	batch := "" // all at once: round trips are what takes time
	for _, sender := range senders {
		batch += "RSET\r\nMAIL FROM:<" + sender + ">\r\n"
		for _, recipient := range recipients {
			batch += "RCPT TO:<" + recipient + ">\r\n"
		}
	}
	fmt.Fprint(conn, batch)
	for _, sender := range senders {
		say("")
		mail := say("")
		for _, recipient := range recipients {
			out[strings.Join([]string{from, user, sender, recipient}, " ")] = say("")[0] == '2' && mail[0] == '2'
		}
	}
}

// converted is who may send by the manifests.
func converted(t *testing.T, dir string, withLogins bool) (map[string]bool, *importpostfix.Result) {
	t.Helper()
	users := []string(nil)
	if withLogins {
		users = logins[1:]
	}
	r, err := importpostfix.Import(os.DirFS(dir), importpostfix.Options{Users: users})
	if err != nil {
		t.Fatal(err)
	}
	p := compiled(t, r)
	out := map[string]bool{}
	for _, c := range clients {
		for _, u := range logins {
			if u != "" && !withLogins {
				continue
			}
			for _, s := range senders {
				for _, to := range recipients {
					out[strings.Join([]string{c, u, s, to}, " ")] = accepts(t, p, c, u, s, to)
				}
			}
		}
	}
	return out, r
}

// compiled is the plan of manifests: validate takes them.
func compiled(t *testing.T, r *importpostfix.Result) *plan.Plan {
	t.Helper()
	manifests := t.TempDir()
	env.WriteFile(t, filepath.Join(manifests, "m.yaml"), string(r.Manifests))
	conf, err := relay.LoadConfiguration(manifests, "")
	if err != nil {
		t.Fatalf("%v\n%s", err, r.Manifests)
	}
	return conf.Plans[0]
}

func accepts(t *testing.T, p *plan.Plan, from, user, sender, to string) bool {
	t.Helper()
	parse := func(s string) envelope.Address {
		a, err := envelope.ParseAddress(s)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	if user == "" && p.Listeners[0].Auth.Mode == plan.AuthRequired {
		return false
	}
	d := p.Policies.AtMail(policy.Client{Addr: netip.MustParseAddr(from), User: user}, parse(sender))
	if d.Reply != nil {
		return false
	}
	for _, a := range p.RewriteRecipient(parse(to)) {
		if d.Rule.CheckRecipient(a, 0, 100) != nil {
			return false
		}
	}
	return true
}

// base is what all fixtures have in common: what trivial-rewrite(8) looks at is one
// for all services.
const base = "myhostname = scan.corp.example\nsmtpd_tls_security_level = none\nmydestination =\nrelay_domains = own.example\nrelayhost = [127.0.0.1]:1\n"

// listen starts one Postfix with a service for each fixture; it gives their ports.
func listen(t *testing.T, all map[string]fixture) (map[string]int, *postfix.Server) {
	t.Helper()
	dir, ports, services := env.SharedDir(t), map[string]int{}, ""
	for name, f := range all {
		under := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
		for file, content := range f.files {
			env.WriteFile(t, filepath.Join(under, file), content)
			if err := errors.Join(os.Chmod(under, 0o755), os.Chmod(filepath.Join(under, file), 0o644)); err != nil { //nolint:gosec // Postfix reads it as its own user
				t.Fatal(err)
			}
		}
		ports[name] = env.FreePort(t)
		services += fmt.Sprintf("127.0.0.1:%d inet n - n - - smtpd", ports[name])
		lines := "smtpd_sasl_auth_enable = no\n" + f.main
		for line := range strings.Lines(strings.ReplaceAll(strings.ReplaceAll(lines, "$config_directory", under), "hash:", "texthash:")) {
			services += " -o {" + strings.TrimSpace(line) + "}"
		}
		services += "\n"
	}
	s := postfix.Start(t, postfix.Options{
		Extra:    base + "smtpd_recipient_restrictions =\nsmtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination\nvirtual_mailbox_domains =\nsmtpd_tls_auth_only = no\nsmtpd_soft_error_limit = 1000\nsmtpd_hard_error_limit = 1000",
		Services: services, Users: map[string]string{"mfp1": "secret", "mfp2": "secret"},
	})
	return ports, s
}

// compare has Postfix and the manifests judge the same clients: whom Postfix
// refuses, they refuse; with same also the other way round.
func compare(t *testing.T, f fixture, port int) {
	t.Helper()
	withLogins := strings.Contains(f.main, "smtpd_sasl_auth_enable = yes")
	files := map[string]string{"main.cf": "compatibility_level = 3.6\n" + base + strings.ReplaceAll(f.main, "$config_directory", "/etc/postfix")}
	maps.Copy(files, f.files)
	got, r := converted(t, folder(t, files), withLogins)
	want, taken := ask(t, port, withLogins), 0
	for _, who := range slices.Sorted(maps.Keys(want)) {
		if want[who] {
			taken++
		}
		if got[who] && !want[who] {
			t.Errorf("%s: Postfix refuses, the manifests do not", who)
		}
		if f.same && want[who] && !got[who] && !strings.HasSuffix(who, own) {
			t.Errorf("%s: Postfix takes it, the manifests do not", who)
		}
	}
	if t.Failed() {
		t.Logf("%s\n%s", f.main, r.Manifests)
	}
	t.Logf("Postfix takes %d of %d", taken, len(want))
}

// TestNeverWider: who is refused by Postfix is refused by the manifests, and in
// fixtures that can be carried whole who is taken is taken. Others are made up.
func TestNeverWider(t *testing.T) {
	all := maps.Clone(fixtures)
	for seed := range uint64(10) {
		all[fmt.Sprint("random ", seed)] = random(rand.New(rand.NewPCG(seed, 2))) //nolint:gosec // a test's
	}
	ports, s := listen(t, all)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.Log())
		}
	})
	t.Run("all", func(t *testing.T) {
		for name, f := range all {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				compare(t, f, ports[name])
			})
		}
	})
}

// TestOpenIsNotCarried: an open relay is said to be one, and nobody may send.
func TestOpenIsNotCarried(t *testing.T) {
	t.Parallel()
	for name, main := range map[string]string{
		"open": fixtures["open"].main, "open in two": fixtures["open in two"].main,
		// Postfix itself does not start so.
		"open by permit": "mynetworks = 127.0.3.7\nsmtpd_relay_restrictions = permit\nsmtpd_recipient_restrictions = check_recipient_access inline:{corp.example=OK}, permit, reject\n",
	} {
		got, r := converted(t, folder(t, map[string]string{"main.cf": "compatibility_level = 3.6\n" + base + main}), false)
		if !slices.ContainsFunc(r.Findings, func(f importpostfix.Finding) bool { return f.Level == importpostfix.Open }) {
			t.Errorf("%s: no finding says that it is open: %v", name, r.Findings)
		}
		for who, taken := range got {
			if taken && !strings.HasPrefix(who, "127.0.3.7 ") {
				t.Errorf("%s: %s is taken", name, who)
			}
		}
	}
}

func random(r *rand.Rand) fixture {
	f := fixture{files: map[string]string{}}
	access := func(name string, keys ...string) string {
		text := ""
		for _, k := range keys {
			if r.IntN(2) == 0 {
				text += k + " " + pick(r, "OK", "REJECT", "DUNNO", "permit_mynetworks", "450 4.7.1 later", "reject", "permit_sasl_authenticated, reject") + "\n"
			}
		}
		f.files[name] = text
		return "hash:$config_directory/" + name
	}
	addresses := []string{"copier.example", "corp.example", "sub.corp.example", "boss@corp.example", "pat@corp.example", "other.example", "own.example", "mfp@copier.example"}
	lists := ""
	for i, name := range []string{"client", "sender", "relay", "recipient"} {
		var words []string
		for k := range r.IntN(4) {
			table := fmt.Sprintf("%s%d", name, k)
			words = append(words, pick(r, "permit_mynetworks", "permit_sasl_authenticated", "reject_unauth_destination", "reject_non_fqdn_sender",
				"check_client_access "+access("c"+table, "127.0.0", "127.0.3", "127.0.3.7", "127.8", "127.0.0.2"),
				"check_sender_access "+access("s"+table, addresses...),
				"check_recipient_access "+access("r"+table, addresses...)))
		}
		if i >= 2 {
			words = append(words, pick(r, "permit_mynetworks, reject", "permit_sasl_authenticated, permit_mynetworks, reject", "permit_mynetworks, reject_unauth_destination"))
		}
		lists += "smtpd_" + name + "_restrictions = " + strings.Join(words, ", ") + "\n"
	}
	f.main = "mynetworks = " + pick(r, "127.0.0.0/8", "127.0.3.0/24 127.8.0.0/16", "!127.0.3.7 127.0.0.0/16", "") + "\n" + lists
	if r.IntN(2) == 0 {
		f.main += "smtpd_sasl_auth_enable = yes\n"
	}
	return f
}
