package privilege

import (
	"fmt"
	"slices"
	"strings"

	"github.com/printerrelay/printer-relay/relay/plan"
)

// rbac is RBAC for Applications: the application may act as one mailbox.
func (a *Advice) rbac(clientID, mailbox, role string) string {
	a.What, a.Language = "Exchange Online role assignment (RBAC for Applications)", "powershell"
	a.note("OBJECT_ID is that of Enterprise applications, not of App registrations; it can take two hours to be in effect")
	a.note("do not also grant the application this permission in Microsoft Entra: that one is for every mailbox")
	own := parseOne(strings.ToLower(mailbox))
	others := slices.DeleteFunc(slices.Clone(a.Need.senders), func(p pattern) bool { return covers(own, p) })
	if len(others) > 0 {
		a.note("scans also leave as %s: Exchange takes only the mailbox's own address; set sender.rewrite: Always with its local part, or give the mailbox the right to send as these", strings.Join(others.strings(), ", "))
	}
	if len(a.Need.Recipients) > 0 {
		a.note("who may receive is not part of the role: the policies name %s; a transport rule can hold the mailbox to them", strings.Join(a.Need.Recipients, ", "))
	}
	name := quotePS(a.name())
	return "Connect-ExchangeOnline\n" +
		fmt.Sprintf("New-ServicePrincipal -AppId %s -ObjectId OBJECT_ID -DisplayName %s\n", quotePS(clientID), name) +
		fmt.Sprintf("New-ManagementScope -Name %s -RecipientRestrictionFilter %s\n", name, quotePS("PrimarySmtpAddress -eq "+quotePS(mailbox))) +
		fmt.Sprintf("New-ManagementRoleAssignment -Name %s -App OBJECT_ID -Role %s -CustomResourceScope %s\n", name, quotePS(role), name) +
		fmt.Sprintf("Test-ServicePrincipalAuthorization -Identity OBJECT_ID -Resource %s\n", quotePS(mailbox))
}

func (a *Advice) exchangeSMTP(u *plan.Upstream) {
	clientID, mailbox := "CLIENT_ID", ""
	if u.SMTP != nil && u.SMTP.Auth != nil {
		mailbox = u.SMTP.Auth.User
		if o := u.SMTP.Auth.OAuth; o != nil {
			clientID = o.ClientID
		}
	}
	a.Document = a.rbac(clientID, mailbox, "Application SMTP.SendAsApp") +
		fmt.Sprintf("Set-CASMailbox -Identity %s -SmtpClientAuthenticationDisabled $false\n", quotePS(mailbox))
}

func (a *Advice) graph(u *plan.Upstream) {
	a.Document = a.rbac(u.Graph.OAuth.ClientID, u.Graph.Mailbox, "Application Mail.Send")
	a.note("scans of more than about 3 MB need the role 'Application Mail.ReadWrite' as well, which reads the mailbox; without it they go by the next upstream")
}

// egressAddresses stands where the relay's public addresses belong.
const egressAddresses = "EGRESS_ADDRESSES"

// egressOf gives the public addresses that the manifest tells, as far as a
// connector takes them.
func egressOf(u *plan.Upstream) string {
	var out []string
	if u.DNS != nil {
		for _, p := range u.DNS.Egress {
			switch a := p.Addr().Unmap(); {
			case a.Is4() && p.IsSingleIP():
				out = append(out, quotePS(a.String()))
			case a.Is4() && p.Bits() >= 24:
				out = append(out, quotePS(p.String()))
			}
		}
	}
	if len(out) == 0 {
		return egressAddresses
	}
	return strings.Join(out, ",")
}

// mx writes what an Exchange Online that receives the mail can hold its sender to;
// other receivers have names of their own for the same.
func (a *Advice) mx(u *plan.Upstream) {
	from := domains(a.Need.senders)
	name := quotePS(a.name())
	const exchange = ".mail.protection.outlook.com"
	known := false
	for _, h := range u.MX.Hosts {
		known = known || strings.HasSuffix(strings.ToLower(h), exchange)
	}
	if len(from) == 1 && from[0] == "*" {
		a.note("policies let scans leave as any sender: set sender.domain of the upstream, so that the connector can name it")
		from = []string{"SENDER_DOMAIN"}
	}
	list := func(values []string) string {
		out := make([]string, len(values))
		for i, v := range values {
			out[i] = quotePS(v)
		}
		return strings.Join(out, ",")
	}
	egress := egressOf(u)
	a.What, a.Language = "Exchange Online inbound connector and transport rule", "powershell"
	a.Document = "Connect-ExchangeOnline\n" +
		fmt.Sprintf("New-InboundConnector -Name %s -ConnectorType Partner -SenderDomains %s -RequireTls $true -RestrictDomainsToIPAddresses $true -SenderIPAddresses %s\n", name, list(from), egress)
	if to := domains(a.Need.recipients); len(a.Need.Recipients) > 0 {
		a.Document += fmt.Sprintf("New-TransportRule -Name %s -SenderDomainIs %s -ExceptIfRecipientDomainIs %s -RejectMessageReasonText %s -RejectMessageEnhancedStatusCode '5.7.1'\n",
			quotePS(a.name()+": recipients"), list(from), list(to), quotePS("scans go to these domains only"))
	}
	a.Document += fmt.Sprintf("New-TransportRule -Name %s -SenderIpRanges %s -ExceptIfSenderDomainIs %s -RejectMessageReasonText %s -RejectMessageEnhancedStatusCode '5.7.1'\n",
		quotePS(a.name()+": senders"), egress, list(from), quotePS("the relay sends as these domains only"))
	if egress == egressAddresses {
		a.note("%s are the public addresses that the relay sends from, IPv4, each alone or up to a /24: set dns.egressAddresses of the upstream", egressAddresses)
	}
	a.note("where other senders share the relay's addresses leave out the last rule")
	a.note("the connector is of type Partner: it lets nobody in as one of your own, and refuses these domains from elsewhere. Direct delivery has no credential that could be stolen; what counts is who can use the address")
	if !known {
		a.note("no host of the upstream is one of Exchange Online (%s): receivers of another kind need the same said in their own words", "*"+exchange)
	}
}
