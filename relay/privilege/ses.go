package privilege

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/printerrelay/printer-relay/relay/plan"
)

// policyDocument is an IAM policy.
type policyDocument struct {
	Version   string
	Statement []statement
}

type statement struct {
	Sid       string
	Effect    string
	Action    []string
	Resource  []string
	Condition map[string]map[string]any `json:",omitempty"`
}

// account stands where the number of the AWS account belongs.
const account = "ACCOUNT_ID"

// ses writes the IAM policy of the user or role that the upstream sends as.
func (a *Advice) ses(u *plan.Upstream) {
	a.What, a.Language = "IAM policy", "json"
	number := accountOf(u.SES.RoleARN)
	partition := "aws"
	switch {
	case strings.HasPrefix(u.SES.Region, "cn-"):
		partition = "aws-cn"
	case strings.HasPrefix(u.SES.Region, "us-gov-"):
		partition = "aws-us-gov"
	}
	arn := func(rest string) string {
		return "arn:" + partition + ":ses:" + u.SES.Region + ":" + number + ":" + rest
	}
	send := statement{Sid: "SendScans", Effect: "Allow", Action: []string{"ses:SendEmail", "ses:SendRawEmail"}}
	switch {
	case u.SES.FromIdentityARN != "":
		send.Resource = []string{u.SES.FromIdentityARN}
	default:
		for _, d := range domains(a.Need.senders) {
			send.Resource = append(send.Resource, arn("identity/"+d))
		}
	}
	if u.SES.ConfigurationSet != "" {
		send.Resource = append(send.Resource, arn("configuration-set/"+u.SES.ConfigurationSet))
	}
	send.Condition = map[string]map[string]any{"Bool": {"aws:SecureTransport": "true"}}
	if operator, values := fromAddresses(a.Need.senders); operator != "" {
		send.Condition[operator] = map[string]any{"ses:FromAddress": values}
	} else {
		a.note("policies let scans leave as any sender: name senders in them, or set sender.domain of the upstream, and the condition ses:FromAddress can be written")
	}
	if !a.Need.senders.any() && starred(a.Need.senders) || slices.ContainsFunc(a.Need.recipients, func(p pattern) bool { return p.local != "*" }) {
		a.note("upper and lower case count where a condition is StringLike, and in policies of the relay they do not: what is written otherwise is refused by SES")
	}
	if len(a.Need.Recipients) > 0 {
		send.Condition["ForAllValues:StringLike"] = map[string]any{"ses:Recipients": globs(a.Need.recipients)}
	} else {
		a.note("policies let scans go to any recipient, so there is no condition ses:Recipients")
	}
	a.Document = indented(policyDocument{"2012-10-17", []statement{send, {
		Sid: "SeeState", Effect: "Allow", Action: []string{"ses:GetAccount", "ses:GetEmailIdentity"}, Resource: []string{"*"},
	}}})
	if strings.Contains(a.Document, account) {
		a.note("replace %s by the number of the account that has the identity", account)
	}
	a.note("SendRawEmail is in it because SES asks for it where a message is sent raw; SeeState lets the relay see quota, sandbox and identity, and may be left out")
	a.note("an identity may be a domain above the sender's: then its name takes the place in Resource")
	if u.SES.RoleARN != "" {
		a.note("the policy is for %s; the credential of the relay itself needs sts:AssumeRole on it and nothing else", u.SES.RoleARN)
	}
}

// accountOf is the account in an ARN.
func accountOf(arn string) string {
	if parts := strings.SplitN(arn, ":", 6); len(parts) == 6 && parts[4] != "" {
		return parts[4]
	}
	return account
}

// fromAddresses is the narrowest condition on the sender.
func fromAddresses(ps patterns) (operator string, values any) {
	operator, list := "StringEqualsIgnoreCase", ps.strings()
	switch {
	case ps.any():
		return "", nil
	case starred(ps):
		operator, list = "StringLike", globs(ps)
	}
	if len(list) == 1 {
		return operator, list[0]
	}
	return operator, list
}

func starred(ps patterns) bool {
	return slices.ContainsFunc(ps, func(p pattern) bool { return strings.Contains(p.String(), "*") })
}

// globs are patterns as StringLike reads them: its ? and $ stand for themselves in
// braces.
func globs(ps patterns) []string {
	out := make([]string, len(ps))
	for i, p := range ps {
		out[i] = strings.NewReplacer("?", "${?}", "$", "${$}").Replace(p.String())
	}
	return out
}

func indented(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return err.Error() // no such value is made here
	}
	return b.String()
}
