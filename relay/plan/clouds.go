package plan

import (
	"net/url"
	"strings"
)

// Cloud is one of Microsoft's clouds: where its Exchange Online and its Graph are.
type Cloud struct {
	SMTPHost string
	Scope    string // of a token for SMTP
	Graph    string // URL
}

var (
	worldwide = &Cloud{"smtp.office365.com", "https://outlook.office365.com/.default", "https://graph.microsoft.com"}
	usGov     = &Cloud{"smtp.office365.us", "https://outlook.office365.us/.default", "https://graph.microsoft.us"}
	china     = &Cloud{"smtp.partner.outlook.cn", "https://partner.outlook.cn/.default", "https://microsoftgraph.chinacloudapi.cn"}
)

// clouds by the host of their Microsoft Entra ID, under its present names and those
// of before.
var clouds = map[string]*Cloud{
	"login.microsoftonline.com": worldwide, "login.windows.net": worldwide, "login.microsoft.com": worldwide, "sts.windows.net": worldwide,
	"login.microsoftonline.us": usGov, "login.usgovcloudapi.net": usGov,
	"login.partner.microsoftonline.cn": china, "login.chinacloudapi.cn": china,
}

// CloudOf gives the cloud of an authority, by any URL of it; nil: it is none of
// Microsoft's.
func CloudOf(authority string) *Cloud {
	u, err := url.Parse(authority)
	if err != nil {
		return nil
	}
	return clouds[strings.ToLower(u.Hostname())]
}
