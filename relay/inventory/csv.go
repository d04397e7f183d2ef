package inventory

import (
	"encoding/csv"
	"io"
	"strconv"
	"strings"
	"time"
)

// csvHeader names the columns of WriteCSV.
var csvHeader = []string{
	"device", "address", "hidden", "known", "names", "listeners", "tls", "cipher", "starttls_unused", "tls_failed", "auth", "user", "auth_ok",
	"first", "last", "accepted", "refused", "aborted", "last_scan", "last_scan_id", "last_scan_sender", "last_scan_octets",
	"last_refusal", "refusal_kind", "refusal_code", "refusal_reply", "refusal_why", "refusal_sender", "refusal_recipient_domain", "senders", "recipient_domains", "dry_run",
}

// WriteCSV writes devices for a spreadsheet (RFC 4180), with a line of titles.
func WriteCSV(w io.Writer, copiers []Copier) error {
	out := csv.NewWriter(w)
	if err := out.Write(csvHeader); err != nil {
		return err
	}
	for i := range copiers {
		row := csvRow(&copiers[i])
		for k := range row {
			row[k] = cell(row[k])
		}
		if err := out.Write(row); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

func csvRow(c *Copier) []string {
	row := []string{
		c.Device, c.Address, strconv.FormatBool(c.Hidden), strconv.FormatBool(c.Known), strings.Join(c.Names, " "), strings.Join(c.Listeners, " "),
		c.TLS.Version, c.TLS.Cipher, strconv.FormatBool(c.TLS.Offered), c.TLS.Failed, c.Auth.Mechanism, c.Auth.User, strconv.FormatBool(c.Auth.OK),
		moment(c.First), moment(c.Last), strconv.FormatUint(c.Accepted, 10), strconv.FormatUint(c.Refused, 10), strconv.FormatUint(c.Aborted, 10),
	}
	if s := c.LastScan; s != nil {
		row = append(row, moment(s.At), s.ID, "<"+s.Sender+">", strconv.FormatInt(s.Octets, 10))
	} else {
		row = append(row, "", "", "", "")
	}
	if r := c.LastRefusal; r != nil {
		sender := ""
		if r.Sender != nil {
			sender = "<" + *r.Sender + ">"
		}
		row = append(row, moment(r.At), r.Kind, r.Code, r.Reply, r.Why, sender, r.RecipientDomain)
	} else {
		row = append(row, "", "", "", "", "", "", "")
	}
	var dry []string
	for _, d := range c.DryRun {
		dry = append(dry, d.Text())
	}
	return append(row, values(c.Senders), values(c.Recipients), strings.Join(dry, "; "))
}

// Text says in a few words what a policy would change.
func (d *DryRun) Text() string {
	return d.Policy + "/" + d.Rule + ": " + string(d.Would) + " in place of " + string(d.Now) + " (" + strconv.FormatUint(d.Count, 10) + ")"
}

func values(l []Counted) string {
	var out []string
	for i := range l {
		out = append(out, l[i].Value)
	}
	return strings.Join(out, " ")
}

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// cell keeps a spreadsheet from reading what a device says as a formula (CWE-1236):
// with an apostrophe before it, it is text. It is printable even where the devices are
// what another relay told.
func cell(s string) string {
	s = clean(s, len(s))
	if s != "" && strings.ContainsRune("=+-@\t\r\n|%", rune(s[0])) {
		return "'" + s
	}
	return s
}
