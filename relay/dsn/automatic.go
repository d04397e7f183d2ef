package dsn

import (
	"strings"

	"github.com/printerrelay/printer-relay/relay/message"
)

// Automatic tells by a message's header what answers by itself, or is a report, and so
// must get no answer (RFC 3834 2): a notification that came back to us, with a sender
// that is not null any more, would have the next one go the same way. What says that it
// was made by itself is a scan all the same, but for what is from whom our own are from
// (ours).
func Automatic(head []byte, ours bool) bool {
	h := message.ParseHeader(head)
	word := func(name string) string {
		w, _, _ := strings.Cut(h.Get(name), ";")
		return strings.ToLower(strings.TrimSpace(w))
	}
	how := word("Auto-Submitted")
	return how == "auto-replied" || ours && strings.HasPrefix(how, "auto-") || word("Content-Type") == "multipart/report"
}
