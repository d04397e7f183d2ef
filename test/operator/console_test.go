package operator

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/printerrelay/printer-relay/controllers"
	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/traffic"
)

// Ask implements controllers.InstanceDocuments: what the admin port of a relay in a
// Pod would tell.
func (n *node) Ask(relay types.NamespacedName, _ string) admin.Ask {
	return func(_ context.Context, path string, _ url.Values, into any) error {
		var document any
		switch path, _, _ := strings.Cut(path, "?"); path {
		case "/state":
			document = admin.State{Relays: []admin.RelayState{{Namespace: relay.Namespace, Name: relay.Name, Ready: true, Intake: "Accept"}}}
		case "/traffic":
			document = traffic.Day{Steps: make([]traffic.Counts, traffic.Steps)}
		case "/queue":
			document = queue.Page{Messages: []queue.Summary{{ID: "M1", Sender: "secret-sender@corp.example", State: queue.Held}}}
		default:
			document = struct{}{}
		}
		b, err := json.Marshal(document)
		if err != nil {
			return err
		}
		return json.Unmarshal(b, into)
	}
}

// browser asks the console, and follows no redirection.
type browser struct {
	*rig
	base string
	http *http.Client
}

var consoleOpen = regexp.MustCompile(`msg="console open" address=(\S+)`)

// console runs an operator with a console, for the rig's namespace and others.
func (r *rig) console(o controllers.ConsoleOptions, others ...string) *browser {
	r.Helper()
	watched, _ := rights(r)
	for _, ns := range others {
		r.role(ns, "watched", watched)
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "console-" + r.ns}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "system:auth-delegator"},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: r.home, Name: account}},
	}
	if err := r.client.Create(r.ctx(), binding); err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() {
		if err := r.client.Delete(context.WithoutCancel(r.ctx()), binding); err != nil {
			r.Error(err)
		}
	})
	o.Address = "127.0.0.1:0"
	r.run(func(all *controllers.Options) {
		all.Console = o
		all.WatchNamespaces = append(all.WatchNamespaces, others...)
	})
	b := &browser{rig: r, http: &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}, //nolint:gosec // the console made it for itself
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	scheme := "http://"
	if o.TokenReview {
		scheme = "https://"
	}
	r.eventually("the console is open", func() string {
		found := consoleOpen.FindStringSubmatch(r.log.String())
		if found == nil {
			return "it has not said so:\n" + r.log.String()
		}
		b.base = scheme + found[1]
		return ""
	})
	return b
}

type answer struct {
	code     int
	body, to string
	cookies  []*http.Cookie
}

func (b *browser) ask(method, path, body string, header ...string) answer {
	b.Helper()
	req, err := http.NewRequestWithContext(b.ctx(), method, b.base+path, strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := b.http.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.Fatal(err)
	}
	return answer{resp.StatusCode, string(text), resp.Header.Get("Location"), resp.Cookies()}
}

// person makes a ServiceAccount with rights in a namespace, and a token of it.
func (r *rig) person(name, namespace, audience string, resources ...string) string {
	r.Helper()
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	if err := r.client.Create(r.ctx(), sa); err != nil {
		r.Fatal(err)
	}
	if len(resources) > 0 {
		r.grant(name, namespace, rbacv1.Subject{Kind: "ServiceAccount", Namespace: namespace, Name: name}, resources...)
	}
	var audiences []string
	if audience != "" {
		audiences = []string{audience}
	}
	token := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: audiences}}
	if err := r.client.SubResource("token").Create(r.ctx(), sa, token); err != nil {
		r.Fatal(err)
	}
	return token.Status.Token
}

func (r *rig) grant(name, namespace string, to rbacv1.Subject, resources ...string) {
	r.Helper()
	role := &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{"printerrelay.dev"}, Resources: resources, Verbs: []string{"get"}}},
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name}, Subjects: []rbacv1.Subject{to},
	}
	if err := r.client.Create(r.ctx(), role); err != nil {
		r.Fatal(err)
	}
	if err := r.client.Create(r.ctx(), binding); err != nil {
		r.Fatal(err)
	}
}

const audience = "printer-relay-console"

// TestConsole: who sees what, by tokens of a real API server.
func TestConsole(t *testing.T) {
	r := newRig(t)
	elsewhere := r.server.Namespace(t)
	r.kubectl(smarthost + "\n---\n" + office + "\n---\n" + copiers())
	b := r.console(controllers.ConsoleOptions{TokenReview: true, Proxies: []string{"127.0.0.1/32"}, Version: "v1"}, elsewhere)
	r.ready("copiers")
	viewer := r.person("viewer", r.ns, audience, "printerrelays")
	auditor := r.person("auditor", r.ns, audience, "printerrelays", "printerrelays/queue")
	ordinary := r.person("ordinary", r.ns, "", "printerrelays") // as for kubectl
	nobody := r.person("nobody", r.ns, audience)
	other := r.person("other", elsewhere, audience, "printerrelays", "printerrelays/queue")
	wrong := r.person("wrong", r.ns, "https://elsewhere.example", "printerrelays")
	r.grant("alice", r.ns, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: "User", Name: "alice"}, "printerrelays")
	r.grant("office", r.ns, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: "Group", Name: "office"}, "printerrelays", "printerrelays/queue")
	bearer := func(token string) []string { return []string{"Authorization", "Bearer " + token} }
	relay, list := "/console/relays/"+r.ns+"/copiers/", "/console/"

	type page struct {
		path   string
		header []string
		code   int
		says   string
		not    string
	}
	pages := map[string]page{
		"nobody is logged in":              {path: relay, code: 303},
		"not even for an asset's path":     {path: "/console/nothing", code: 303},
		"no token":                         {path: list, header: bearer("x.y.z"), code: 401, says: "not valid"},
		"a viewer":                         {path: list, header: bearer(viewer), code: 200, says: r.ns + "/copiers"},
		"a viewer's relay":                 {path: relay, header: bearer(viewer), code: 200, says: "Works"},
		"a viewer's card":                  {path: relay + "setup", header: bearer(viewer), code: 200, says: "SMTP server"},
		"a viewer may not see mail":        {path: relay + "queue", header: bearer(viewer), code: 403, says: "printerrelays/queue", not: "secret-sender"},
		"nor devices":                      {path: relay + "copiers", header: bearer(viewer), code: 403},
		"nor sessions":                     {path: relay + "sessions", header: bearer(viewer), code: 403},
		"nor a transcript":                 {path: relay + "sessions/ABC", header: bearer(viewer), code: 403},
		"nor a message":                    {path: relay + "queue/M1", header: bearer(viewer), code: 403},
		"nor devices by another page":      {path: relay + "why?client=10.1.1.1&from=a%40b.example", header: bearer(viewer), code: 200, says: "Rule by rule", not: "What was refused from there"},
		"an auditor":                       {path: relay + "queue", header: bearer(auditor), code: 200, says: "secret-sender@corp.example"},
		"a token for the API server":       {path: list, header: bearer(ordinary), code: 200, says: r.ns + "/copiers"},
		"a token for somebody else":        {path: list, header: bearer(wrong), code: 401},
		"no rights, no relays":             {path: list, header: bearer(nobody), code: 200, says: "no relay that you may see", not: "copiers"},
		"no rights, not even its name":     {path: relay, header: bearer(nobody), code: 404},
		"rights elsewhere":                 {path: relay, header: bearer(other), code: 404},
		"rights elsewhere, nothing listed": {path: list, header: bearer(other), code: 200, not: r.ns + "/copiers"},
		"a proxy's user":                   {path: relay, header: []string{"X-Forwarded-User", "alice"}, code: 200, says: "alice"},
		"a proxy's user may not see mail":  {path: relay + "queue", header: []string{"X-Forwarded-User", "alice"}, code: 403},
		"a proxy's group":                  {path: relay + "queue", header: []string{"X-Forwarded-User", "bob", "X-Forwarded-Groups", "x, office"}, code: 200, says: "secret-sender"},
		"a proxy's unknown":                {path: relay, header: []string{"X-Forwarded-User", "bob"}, code: 404},
		"a proxy makes nobody an admin":    {path: relay, header: []string{"X-Forwarded-User", "bob", "X-Forwarded-Groups", "system:masters"}, code: 404},
		"nor a part of the cluster":        {path: relay, header: []string{"X-Forwarded-User", "system:admin"}, code: 401},
		"nor two people":                   {path: relay, header: []string{"X-Forwarded-User", "bob", "X-Forwarded-User", "alice"}, code: 401},
	}
	// Rights reach the API server's authorizer a moment later, and the console remembers for
	// some time what it said; nor is the console's cache what the test reads.
	for name, tc := range pages {
		if tc.code != 200 {
			continue
		}
		r.eventually(name, func() string {
			if a := b.ask("GET", tc.path, "", tc.header...); a.code != tc.code || !strings.Contains(a.body, tc.says) {
				return fmt.Sprint(a.code, " ", a.body)
			}
			return ""
		})
	}
	for name, tc := range pages {
		a := b.ask("GET", tc.path, "", tc.header...)
		if a.code != tc.code || !strings.Contains(a.body, tc.says) || tc.not != "" && strings.Contains(a.body, tc.not) {
			t.Errorf("%s: %d, want %d with %q and without %q\n%s", name, a.code, tc.code, tc.says, tc.not, a.body)
		}
		if tc.code == 303 && !strings.HasPrefix(a.to, "/console/login?to=%2Fconsole%2F") {
			t.Errorf("%s: leads to %q", name, a.to)
		}
	}
	b.sessions(auditor, relay)
	if strings.Contains(r.log.String(), auditor) || strings.Contains(r.log.String(), viewer) {
		t.Error("a token is in the log")
	}
}

// sessions: logging in by the page, and out.
func (b *browser) sessions(token, relay string) {
	b.Helper()
	form := func(token, to string) string { return url.Values{"token": {token}, "to": {to}}.Encode() }
	if a := b.ask("POST", "/console/login", form("nonsense", relay)); a.code != 401 || len(a.cookies) != 0 {
		b.Errorf("nonsense logs in: %+v", a)
	}
	if a := b.ask("POST", "/console/login", form(token, relay), "Sec-Fetch-Site", "cross-site"); a.code != 403 || len(a.cookies) != 0 {
		b.Errorf("another site's form logs in: %+v", a)
	}
	for _, to := range []string{"https://evil.example/console/", "//evil.example/console/", "/elsewhere", "/console/../x", "/\\evil.example", "/console/login"} {
		if a := b.ask("POST", "/console/login", form(token, to)); a.code != 303 || a.to != "/console/" {
			b.Errorf("logging in leads to %q for %q", a.to, to)
		}
	}
	a := b.ask("POST", "/console/login", form(" "+token+"\n", relay+"queue"))
	if a.code != 303 || a.to != relay+"queue" || len(a.cookies) != 1 {
		b.Fatalf("logging in: %+v", a)
	}
	k := a.cookies[0]
	if !k.HttpOnly || !k.Secure || k.SameSite != http.SameSiteStrictMode || k.Path != "/" || k.Domain != "" || !strings.HasPrefix(k.Name, "__Host-") || strings.Contains(token, k.Value) {
		b.Errorf("the cookie: %+v", k)
	}
	cookie := []string{"Cookie", k.Name + "=" + k.Value}
	if a := b.ask("GET", relay+"queue", "", cookie...); a.code != 200 || !strings.Contains(a.body, "secret-sender") || !strings.Contains(a.body, "Log out") {
		b.Errorf("with a session: %d %s", a.code, a.body)
	}
	if a := b.ask("GET", relay+"queue", "", "Cookie", k.Name+"=A"+k.Value[1:]+"x"); a.code != 303 {
		b.Errorf("with another session: %d", a.code)
	}
	if a := b.ask("POST", "/console/logout", "x=y", cookie...); a.code != 303 || len(a.cookies) != 1 || a.cookies[0].MaxAge >= 0 {
		b.Errorf("logging out: %+v", a)
	}
	if a := b.ask("GET", relay+"queue", "", cookie...); a.code != 303 {
		b.Errorf("with a session that was ended: %d", a.code)
	}
}

// TestConsoleOnLoopback: without TokenReview whoever reaches loopback may see, by its
// own name, and no header makes a difference.
func TestConsoleOnLoopback(t *testing.T) {
	r := newRig(t)
	r.kubectl(smarthost + "\n---\n" + office + "\n---\n" + copiers())
	b := r.console(controllers.ConsoleOptions{})
	r.ready("copiers")
	if a := b.ask("GET", "/console/", ""); a.code != 200 || !strings.Contains(a.body, r.ns+"/copiers") {
		t.Errorf("%+v", a)
	}
	if a := b.ask("GET", "/console/", "", "Host", "evil.example"); a.code != 403 {
		t.Errorf("by another name: %+v", a)
	}
	if a := b.ask("GET", "/console/login", ""); a.code != 404 {
		t.Errorf("there is nothing to log in to: %+v", a)
	}
}
