package ses

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// fit tells why SES cannot take the message at all, before anything is sent; nil:
// it can.
func (t *Transport) fit(m *upstream.Message) *upstream.Outcome {
	var o upstream.Outcome
	switch {
	case m.Size > maxSize:
		o = cannot(552, "5.3.4", "the message has %d octets, SES takes %d", m.Size, int64(maxSize))
	case m.MaxLine > maxLine:
		o = cannot(554, "5.6.0", "the message has a line of %d octets, SES takes %d", m.MaxLine, maxLine)
		o.Cause = upstream.ErrUnencoded
	case m.UTF8:
		o = cannot(553, "5.6.7", "an address or a header needs SMTPUTF8, which SES does not have")
	default:
		twice, err := repeated(m)
		if err != nil {
			o = unreadable(err)
			return &o
		}
		if twice == "" {
			return nil
		}
		o = cannot(554, "5.6.0", "the header has more than one %s field, SES takes one", twice)
	}
	return &o
}

func cannot(code int, enhanced, format string, a ...any) upstream.Outcome {
	return upstream.Outcome{Kind: upstream.Failed, Scope: upstream.ScopeMessage, Code: code, Enhanced: enhanced, Text: fmt.Sprintf(format, a...)}
}

// unreadable is the outcome for a message that the spool does not give back.
func unreadable(err error) upstream.Outcome {
	return upstream.Outcome{Kind: upstream.Deferred, Scope: upstream.ScopeMessage, Text: "the stored message cannot be read", Cause: err}
}

// carried gives a recipient as SES takes it: name@domain.tld. SES has neither
// quoted local parts nor address literals, and refuses the others with them.
func carried(a envelope.Address) (string, error) {
	a, err := a.ToASCII()
	if err != nil {
		return "", fmt.Errorf("SES does not take it: %w", err)
	}
	s := a.String()
	host := func(r rune) bool {
		return !(r == '.' || r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z')
	}
	if strings.HasPrefix(s, `"`) || !strings.Contains(a.Domain, ".") || strings.ContainsFunc(a.Domain, host) {
		return "", errors.New("SES takes addresses of the form name@domain.tld only")
	}
	return s, nil
}

// once are the header fields that SES takes once, beside those whose name begins
// with Content-: see "Amazon SES header fields" in its Developer Guide.
var once = func() map[string]bool {
	set := map[string]bool{}
	for f := range strings.FieldsSeq(`accept-language acceptlanguage archived-at auto-submitted bounces-to comments
		date delivered-to disposition-notification-options disposition-notification-to dkim-signature domainkey-signature
		errors-to from importance in-reply-to keywords list-archive list-help list-id list-owner list-post list-subscribe
		list-unsubscribe list-unsubscribe-post message-context message-id mime-version organization original-from
		original-message-id original-recipient original-subject precedence priority references reply-to return-path
		return-receipt-to sender solicitation sensitivity subject thread-index thread-topic user-agent vbr-info`) {
		set[f] = true
	}
	return set
}()

// repeated gives a field of the header that stands there twice and must not.
func repeated(m *upstream.Message) (string, error) {
	r, err := m.Open()
	if err != nil {
		return "", err
	}
	defer r.Close() //nolint:errcheck // read-only
	seen := map[string]bool{}
	lines := bufio.NewReaderSize(r, 2<<10)
	for begun := false; ; { // begun: the last piece was the beginning of a longer line
		line, err := lines.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF):
			return "", nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return "", err
		}
		if !begun {
			if len(line) <= 2 {
				return "", nil
			}
			name, _, isField := strings.Cut(string(line), ":")
			key := strings.ToLower(strings.TrimSpace(name))
			if isField && line[0] != ' ' && line[0] != '\t' && (once[key] || strings.HasPrefix(key, "content-")) {
				if seen[key] {
					return strings.TrimSpace(name), nil
				}
				seen[key] = true
			}
		}
		begun = err != nil
	}
}
