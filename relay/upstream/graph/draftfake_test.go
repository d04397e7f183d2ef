package graph

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/printerrelay/printer-relay/relay/upstream/conformance"
)

// draftMail is a draft in the fake's mailbox.
type draftMail struct {
	Subject    string                         `json:"subject"`
	From       *personJSON                    `json:"from"`
	To         []personJSON                   `json:"toRecipients"`
	Cc         []personJSON                   `json:"ccRecipients"`
	Bcc        []personJSON                   `json:"bccRecipients"`
	ReplyTo    []personJSON                   `json:"replyTo"`
	MessageID  string                         `json:"internetMessageId"`
	Importance string                         `json:"importance"`
	Headers    []struct{ Name, Value string } `json:"internetMessageHeaders"`
	Body       struct {
		ContentType string `json:"contentType"`
		Content     string `json:"content"`
	} `json:"body"`

	files    []*fileMail
	sessions map[string]*fileMail
}

type personJSON struct {
	EmailAddress struct {
		Name    string `json:"name"`
		Address string `json:"address"`
	} `json:"emailAddress"`
}

// fileMail is an attachment.
type fileMail struct {
	Name, Type, ContentID string
	Inline                bool
	Size                  int64
	Sum                   string // SHA-256

	hash hash.Hash
	at   int64
	to   *draftMail
}

func addresses(lists ...[]personJSON) (out []string) {
	for _, list := range lists {
		for _, p := range list {
			out = append(out, p.EmailAddress.Address)
		}
	}
	return out
}

// strict reads JSON that has no field which the reference does not have.
func strict(r io.Reader, v any) error {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one value")
	}
	return nil
}

// messages answers for drafts: user-post-messages, message-post-attachments,
// attachment-createuploadsession, message-send and message-delete.
func (f *fake) messages(w http.ResponseWriter, r *http.Request, rest string) {
	if f.noDrafts {
		refuse(w, http.StatusForbidden, "ErrorAccessDenied", "Access is denied. Check credentials and try again.")
		return
	}
	if r.Method == http.MethodPost && !strings.HasSuffix(rest, "/send") && r.Header.Get("Content-Type") != "application/json" {
		f.t.Errorf("%s with Content-Type %q", rest, r.Header.Get("Content-Type"))
	}
	if rest == "" && r.Method == http.MethodPost {
		f.createDraft(w, r)
		return
	}
	id, verb, _ := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
	f.mu.Lock()
	d := f.drafts[id]
	f.mu.Unlock()
	if d == nil {
		refuse(w, http.StatusNotFound, "ErrorItemNotFound", "The specified object was not found in the store.")
		return
	}
	switch {
	case verb == "" && r.Method == http.MethodDelete:
		f.mu.Lock()
		delete(f.drafts, id)
		f.mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	case verb == "attachments" && r.Method == http.MethodPost:
		f.attachment(w, r, d)
	case verb == "attachments/createUploadSession" && r.Method == http.MethodPost:
		f.createSession(w, r, id, d)
	case verb == "send" && r.Method == http.MethodPost:
		if r.Header.Get("Content-Length") != "0" && r.ContentLength != 0 {
			f.t.Errorf("send with a body of %d", r.ContentLength)
		}
		f.send(w, r, id, d)
	default:
		f.t.Errorf("%s %s is not in the reference", r.Method, r.URL)
	}
}

func (f *fake) createDraft(w http.ResponseWriter, r *http.Request) {
	d := &draftMail{sessions: map[string]*fileMail{}}
	if err := strict(r.Body, d); err != nil || d.Body.ContentType != "text" && d.Body.ContentType != "html" {
		f.t.Errorf("draft: %v, body %q", err, d.Body.ContentType)
		refuse(w, http.StatusBadRequest, "ErrorInvalidRequest", "bad")
		return
	}
	if len(d.Headers) > 5 || slices.ContainsFunc(d.Headers, func(h struct{ Name, Value string }) bool { return !strings.HasPrefix(strings.ToLower(h.Name), "x-") }) {
		refuse(w, http.StatusBadRequest, "InvalidInternetMessageHeader", "The internet message header name should start with 'x-' or 'X-'.")
		return
	}
	if slices.Contains(addresses(d.To, d.Cc, d.Bcc), conformance.Refused) {
		refuse(w, http.StatusBadRequest, "ErrorInvalidRecipients", "At least one recipient is not valid.")
		return
	}
	f.mu.Lock()
	f.next++
	id := fmt.Sprintf("AAMkADNlNYjS-%d_A=", f.next)
	f.drafts[id] = d
	f.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	// The reply has the content too, behind the id.
	fmt.Fprintf(w, `{"@odata.context":"https://graph.microsoft.com/v1.0/$metadata#users('x')/messages/$entity","@odata.etag":"W/\"CQ\"","id":%q,"categories":[],"isDraft":true,"body":{"contentType":"text","content":%q}}`, id, d.Body.Content)
}

func (f *fake) attachment(w http.ResponseWriter, r *http.Request, d *draftMail) {
	var a struct {
		Kind      string `json:"@odata.type"`
		Name      string `json:"name"`
		Type      string `json:"contentType"`
		Inline    bool   `json:"isInline"`
		ContentID string `json:"contentId"`
		Bytes     string `json:"contentBytes"`
	}
	if err := strict(r.Body, &a); err != nil || a.Kind != "#microsoft.graph.fileAttachment" || a.Name == "" {
		f.t.Errorf("attachment: %v %q %q", err, a.Kind, a.Name)
	}
	b, err := base64.StdEncoding.Strict().DecodeString(a.Bytes)
	if err != nil {
		f.t.Errorf("attachment: %v", err)
	}
	if len(b) >= 3<<20 {
		refuse(w, http.StatusBadRequest, "ErrorAttachmentSizeLimitExceeded", "The attachment size exceeds the allowable limit.")
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	d.files = append(d.files, &fileMail{Name: a.Name, Type: a.Type, ContentID: a.ContentID, Inline: a.Inline, Size: int64(len(b)), Sum: fmt.Sprintf("%x", sha256.Sum256(b))})
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, `{"id":"AAMkADNkN2R","name":%q,"contentBytes":%q}`, a.Name, a.Bytes)
}

// authToken is what an upload session's address proves itself by.
const authToken = "eyJhbGciOi.upload-s3cr3t+/="

func (f *fake) createSession(w http.ResponseWriter, r *http.Request, id string, d *draftMail) {
	var a struct {
		Item struct {
			Kind      string `json:"attachmentType"`
			Name      string `json:"name"`
			Size      int64  `json:"size"`
			Type      string `json:"contentType"`
			Inline    bool   `json:"isInline"`
			ContentID string `json:"contentId"`
		} `json:"AttachmentItem"`
	}
	if err := strict(r.Body, &a); err != nil || a.Item.Kind != "file" || a.Item.Name == "" {
		f.t.Errorf("upload session: %v %+v", err, a)
	}
	if a.Item.Size < f.minSession {
		refuse(w, http.StatusBadRequest, "ErrorAttachmentSizeShouldNotBeLessThanMinimumSize", "The attachment size is less than the minimum.")
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next++
	key := strconv.Itoa(f.next)
	d.sessions[key] = &fileMail{Name: a.Item.Name, Type: a.Item.Type, ContentID: a.Item.ContentID, Inline: a.Item.Inline, Size: a.Item.Size, hash: sha256.New(), to: d}
	u := f.outlook.URL + "/api/v2.0/Users('a8e8e219@72aa88bf')/Messages('" + id + "')/AttachmentSessions('" + key + "')?authtoken=" + url.QueryEscape(authToken)
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, `{"@odata.context":"https://graph.microsoft.com/v1.0/$metadata#microsoft.graph.uploadSession","uploadUrl":%q,"expirationDateTime":"2026-11-26T01:09:30.7671707Z","nextExpectedRanges":["0-"]}`, u)
}

// upload answers at the other host.
func (f *fake) upload(w http.ResponseWriter, r *http.Request) {
	f.note("PUT " + r.Header.Get("Content-Range"))
	if f.fault == conformance.CutsEarly {
		io.CopyN(io.Discard, r.Body, 1000) //nolint:errcheck // it is cut next
		hangUp(f.t, w)
		return
	}
	if f.answer != nil && f.answer(w, r) {
		return
	}
	if r.Method != http.MethodPut || r.Header.Get("Authorization") != "" || r.Header.Get("Content-Type") != "application/octet-stream" || r.URL.Query().Get("authtoken") != authToken {
		f.t.Errorf("upload: %s %s, %v", r.Method, r.URL, r.Header)
	}
	key := strings.TrimSuffix(r.URL.Path[strings.LastIndex(r.URL.Path, "('")+2:], "')")
	var a *fileMail
	f.mu.Lock()
	for _, d := range f.drafts {
		if s := d.sessions[key]; s != nil {
			a = s
		}
	}
	f.mu.Unlock()
	var from, to, total int64
	if _, err := fmt.Sscanf(r.Header.Get("Content-Range"), "bytes %d-%d/%d", &from, &to, &total); err != nil {
		f.t.Errorf("upload to %s: %q, %v", r.URL.Path, r.Header.Get("Content-Range"), err)
		return
	}
	if a == nil { // the draft is gone: who broke this upload off has deleted it already
		http.NotFound(w, r)
		return
	}
	n := to - from + 1
	if total != a.Size || from != a.at || to >= total || r.ContentLength != n || n >= 4_000_000 || to+1 < total && n%f.unit != 0 {
		f.t.Errorf("upload of %q at %d of %d with %d octets", r.Header.Get("Content-Range"), a.at, a.Size, r.ContentLength)
	}
	if k, err := io.Copy(a.hash, r.Body); err != nil || k != n {
		return // it broke off
	}
	a.at += n
	if a.at < a.Size {
		fmt.Fprintf(w, `{"ExpirationDateTime":"2026-11-26T01:09:30.7671707Z","nextExpectedRanges":["%d"]}`, a.at)
		return
	}
	a.Sum = fmt.Sprintf("%x", a.hash.Sum(nil))
	f.mu.Lock()
	a.to.files = append(a.to.files, a)
	f.mu.Unlock()
	w.Header().Set("Location", f.outlook.URL+"/api/v2.0/Attachments('AAMk')")
	w.WriteHeader(http.StatusCreated)
}

func (f *fake) send(w http.ResponseWriter, r *http.Request, id string, d *draftMail) {
	if !slices.Contains(f.sendAs, d.From.EmailAddress.Address) {
		refuse(w, http.StatusForbidden, "ErrorSendAsDenied", "The user account which was used to submit this request does not have the right to send mail on behalf of the specified sending account.")
		return
	}
	f.mu.Lock()
	delete(f.drafts, id)
	f.sent = append(f.sent, d)
	f.mu.Unlock()
	f.submit(w, r, conformance.Received{Sender: d.From.EmailAddress.Address, Recipients: addresses(d.To, d.Cc, d.Bcc)})
}

func (f *fake) submitted() []*draftMail {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.sent)
}

func (f *fake) left() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.drafts)
}
