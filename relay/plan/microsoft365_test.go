package plan_test

import (
	"fmt"
	"strings"
	"testing"
)

// Mail server, token URL and scope go by the cloud; each cloud's SMTP is STARTTLS on
// 587 (465 is not served), and an endpoint takes its place.
func TestMicrosoft365(t *testing.T) {
	const secret = "credentials: {type: Secret, secretRef: {name: app}}"
	const pod = "credentials: {type: WorkloadIdentity}"
	for name, tc := range map[string]struct{ fields, want string }{
		"worldwide":  {secret, "smtp.office365.com:587 StartTLS https://login.microsoftonline.com/t/oauth2/v2.0/token https://outlook.office365.com/.default app false"},
		"US":         {"authorityHost: https://login.microsoftonline.us/, " + secret, "smtp.office365.us:587 StartTLS https://login.microsoftonline.us/t/oauth2/v2.0/token https://outlook.office365.us/.default app false"},
		"US DoD":     {`authorityHost: https://login.microsoftonline.us, endpoint: "smtp://outlook-dod.office365.us", ` + secret, "outlook-dod.office365.us:587 StartTLS https://login.microsoftonline.us/t/oauth2/v2.0/token https://outlook-dod.office365.us/.default app false"},
		"China":      {"authorityHost: https://login.partner.microsoftonline.cn, " + secret, "smtp.partner.outlook.cn:587 StartTLS https://login.partner.microsoftonline.cn/t/oauth2/v2.0/token https://partner.outlook.cn/.default app false"},
		"China, old": {"authorityHost: https://login.chinacloudapi.cn, " + secret, "smtp.partner.outlook.cn:587 StartTLS https://login.chinacloudapi.cn/t/oauth2/v2.0/token https://partner.outlook.cn/.default app false"},
		"other":      {`authorityHost: "http://127.0.0.1:8080", endpoint: "smtp://[::1]:2525", ` + secret, "::1:2525 StartTLS http://127.0.0.1:8080/t/oauth2/v2.0/token https://outlook.office365.com/.default app false"},
		"TLS":        {`endpoint: "smtps://mail.example", ` + secret, "mail.example:465 Implicit https://login.microsoftonline.com/t/oauth2/v2.0/token https://outlook.office365.com/.default app false"},
		"the Pod's":  {pod, "smtp.office365.com:587 StartTLS https://login.microsoftonline.com/t/oauth2/v2.0/token https://outlook.office365.com/.default  true"},
		"named":      {"authorityHost: https://login.microsoftonline.com, " + pod, "smtp.office365.com:587 StartTLS https://login.microsoftonline.com/t/oauth2/v2.0/token https://outlook.office365.com/.default  false"},
	} {
		t.Run(name, func(t *testing.T) {
			p, found := compileYAML(t, strings.Replace(small, "  type: SMTP\n  smtp: {host: mail.example}",
				"  type: Microsoft365\n  microsoft365: {tenantID: t, clientID: c, mailbox: scans@corp.example, "+tc.fields+"}", 1))
			if found.Failed() {
				t.Fatal(found)
			}
			u := p.Upstreams["out"]
			s, o := u.SMTP, u.SMTP.Auth.OAuth
			got := fmt.Sprintf("%s:%d %s %s %s %s %v", s.Host, s.Port, s.TLS, o.TokenURL, strings.Join(o.Scopes, " "), o.Secret, o.AuthorityOfPod)
			if got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
			if s.Auth.Mechanism != "XOAUTH2" || s.Auth.User != "scans@corp.example" || s.Auth.Secret != "" || !o.Entra || o.ClientID != "c" || u.Private {
				t.Errorf("%+v %+v %+v", u, s.Auth, o)
			}
			if u.Connections != 3 || u.PerMinute != 30 { // the tenant's limits
				t.Errorf("%d connections, %d a minute", u.Connections, u.PerMinute)
			}
			if p.WorkloadIdentity() != (o.Secret == "") || (len(p.SecretRefs) > 0) != (o.Secret != "") {
				t.Errorf("workload identity %v, secrets %v", p.WorkloadIdentity(), p.SecretRefs)
			}
		})
	}
}

func TestOAuthOfAnyServer(t *testing.T) {
	for mechanism, want := range map[string]string{"XOAuth2": "XOAUTH2", "OAuthBearer": "OAUTHBEARER"} {
		p, found := compileYAML(t, strings.Replace(small, "{host: mail.example}",
			"{host: mail.example, authentication: {mechanism: "+mechanism+", secretRef: {name: app}, oauth2: {tokenURL: https://login.example/token, clientID: c, scopes: [mail]}}}", 1))
		if found.Failed() {
			t.Fatal(found)
		}
		a := p.Upstreams["out"].SMTP.Auth
		if a.Mechanism != want || a.Secret != "app" || a.OAuth.Secret != "app" || a.OAuth.TokenURL != "https://login.example/token" || a.OAuth.Entra || p.WorkloadIdentity() {
			t.Errorf("%+v %+v", a, a.OAuth)
		}
	}
}
