package ses

import (
	"bufio"
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"strings"
	"sync"
	"testing"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/relay/upstream/conformance"
)

// fake stands for SES where a fault is wanted that the real thing and its local
// stand-in do not show on demand. Its replies are those of the API reference v2
// (SendEmail: "Errors"; GetAccount and GetEmailIdentity: "Response Syntax") and of
// the Developer Guide ("Amazon SES email sending errors"). That what we send is
// what SES takes is shown with other people's programs, in test/interop.
type fake struct {
	*httptest.Server
	fault   conformance.Fault
	reached chan struct{}
	ended   chan struct{} // closed with the test

	mu         sync.Mutex
	mail       []conformance.Received
	asked      []request
	secret     map[string][]byte
	valid      string                  // the access key that is taken
	any        bool                    // all are taken
	refuse     func(request) *apiError // nil: the mail is taken
	account    any                     // of GetAccount; *apiError: that
	accounts   int                     // how often it was asked for
	identities map[string]string       // name -> GetEmailIdentity's answer
	tokens     []string                // X-Amz-Security-Token of each request
}

// request is the JSON of SendEmail without the content.
type request struct {
	FromEmailAddress            string
	FromEmailAddressIdentityArn string
	ConfigurationSetName        string
	Destination                 struct{ ToAddresses, CcAddresses, BccAddresses []string }
	EmailTags                   []struct{ Name, Value string }
	Content                     struct{ Raw *struct{ Data string } }
}

type apiError struct {
	status        int
	code, message string
}

func (e *apiError) write(w http.ResponseWriter) {
	w.Header().Set("X-Amzn-ErrorType", e.code)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.status)
	fmt.Fprintf(w, `{"message":%q}`, e.message)
}

const (
	keyID  = "AKIAIOSFODNN7EXAMPLE"
	secret = "wJalrXUtnFEMI-K7MDENG-bPxRfiCYEXAMPLEKEY"
	token  = "IQoJb3JpZ2luX2VjEXAMPLETOKEN"
)

func startFake(t testing.TB, f conformance.Fault) *fake {
	t.Helper()
	s := &fake{
		fault: f, reached: make(chan struct{}), ended: make(chan struct{}), valid: keyID,
		secret: map[string][]byte{"accessKeyID": []byte(keyID), "secretAccessKey": []byte(secret), "sessionToken": []byte(token)},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v2/email/outbound-emails", s.sendEmail)
	mux.HandleFunc("GET /v2/email/account", s.getAccount)
	mux.HandleFunc("GET /v2/email/identities/{name}", s.getIdentity)
	s.Server = httptest.NewUnstartedServer(mux)
	s.Config.ErrorLog = nil
	s.Listener = conformance.Narrow{Listener: s.Listener}
	s.StartTLS()
	t.Cleanup(func() { close(s.ended); s.Close() })
	return s
}

func (s *fake) transport(t testing.TB, p plan.SES) *Transport {
	t.Helper()
	p.Region, p.Endpoint = "eu-central-1", s.URL
	if p.Secret == "" {
		p.Secret = "aws"
	}
	pool := x509.NewCertPool()
	if s.fault != conformance.Downgrades {
		pool.AddCert(s.Certificate())
	}
	tr, err := New(Config{SES: p, Domain: "copier.test", Private: true, MaxIdle: 4, RootCAs: pool, Secrets: s.source})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	return tr
}

func (s *fake) source() secrets.Source {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.secret == nil {
		return secrets.Map{}
	}
	return secrets.Map{"aws": maps.Clone(s.secret)}
}

func (s *fake) received(*testing.T) []conformance.Received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]conformance.Received(nil), s.mail...)
}

// refused tells why a request's credential is not taken.
func (s *fake) refused(r *http.Request) *apiError {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens = append(s.tokens, r.Header.Get("X-Amz-Security-Token"))
	auth := r.Header.Get("Authorization")
	switch {
	case !strings.HasPrefix(auth, "AWS4-HMAC-SHA256 Credential=") || !strings.Contains(auth, "/eu-central-1/ses/aws4_request"):
		return &apiError{http.StatusForbidden, "IncompleteSignature", "no signature of this service: " + auth}
	case s.fault == conformance.WrongCredentials: // as AWS words it, with all that was signed
		return &apiError{http.StatusForbidden, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.\n\nThe Canonical String for this request should have been\n'POST\n/v2/email/outbound-emails\n\nx-amz-security-token:" + r.Header.Get("X-Amz-Security-Token") + "'"}
	case s.fault == conformance.ExpiresToken && s.valid == keyID:
		s.valid = "AKIAI44QH8DHBEXAMPLE"
		s.secret["accessKeyID"] = []byte(s.valid)
		return &apiError{http.StatusForbidden, "ExpiredTokenException", "The security token included in the request is expired"}
	case !s.any && !strings.Contains(auth, "Credential="+s.valid+"/"):
		return &apiError{http.StatusForbidden, "UnrecognizedClientException", "The security token included in the request is invalid."}
	}
	return nil
}

func (s *fake) getAccount(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.accounts++
	account := s.account
	s.mu.Unlock()
	if s.fault != conformance.ExpiresToken { // there it is the mail's turn to find out
		if e := s.refused(r); e != nil {
			e.write(w)
			return
		}
	}
	if e, ok := account.(*apiError); ok {
		e.write(w)
		return
	}
	if account == nil {
		account = map[string]any{"ProductionAccessEnabled": true, "SendingEnabled": true, "EnforcementStatus": "HEALTHY", "SendQuota": map[string]any{"Max24HourSend": 50000.0, "MaxSendRate": 14.0, "SentLast24Hours": 123.0}}
	}
	json.NewEncoder(w).Encode(account) //nolint:errcheck // the client sees it
}

func (s *fake) getIdentity(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	answer, ok := s.identities[r.PathValue("name")]
	s.mu.Unlock()
	if !ok {
		(&apiError{http.StatusNotFound, "NotFoundException", "Email identity " + r.PathValue("name") + " does not exist."}).write(w)
		return
	}
	io.WriteString(w, answer) //nolint:errcheck // the client sees it
}

func (s *fake) sendEmail(w http.ResponseWriter, r *http.Request) {
	if s.fault == conformance.CutsEarly {
		io.CopyN(io.Discard, r.Body, 1000) //nolint:errcheck // it is cut now
		panic(http.ErrAbortHandler)
	}
	if e := s.refused(r); e != nil {
		io.Copy(io.Discard, r.Body) //nolint:errcheck // as a real one reads it
		e.write(w)
		return
	}
	q, m, err := readRequest(r.Body)
	if err != nil || r.ContentLength <= 0 {
		(&apiError{http.StatusBadRequest, "BadRequestException", fmt.Sprint("not whole: ", err, r.ContentLength)}).write(w)
		return
	}
	switch s.fault {
	case conformance.RefusesMessage:
		(&apiError{http.StatusBadRequest, "MessageRejected", "Message content is not allowed."}).write(w)
		return
	case conformance.Throttles:
		(&apiError{http.StatusTooManyRequests, "TooManyRequestsException", "Maximum sending rate exceeded."}).write(w)
		return
	case conformance.Stalls:
		close(s.reached)
		<-s.ended
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, q)
	if s.refuse != nil {
		if err := s.refuse(q); err != nil {
			err.write(w)
			return
		}
	}
	s.mail = append(s.mail, m)
	if s.fault == conformance.CutsLate {
		panic(http.ErrAbortHandler)
	}
	fmt.Fprintf(w, `{"MessageId":"0107018f-%04d-000000"}`, len(s.mail))
}

// readRequest reads the JSON without holding the content.
func readRequest(body io.Reader) (request, conformance.Received, error) {
	var q request
	var m conformance.Received
	in := bufio.NewReaderSize(body, 64<<10)
	const key = `"Data":"`
	var text []byte
	for !bytes.HasSuffix(text, []byte(key)) {
		c, err := in.ReadByte()
		if err != nil {
			return q, m, err
		}
		text = append(text, c)
	}
	var head bytes.Buffer
	content := base64.NewDecoder(base64.StdEncoding, &untilQuote{in: in})
	if err := m.Read(io.TeeReader(content, &first{b: &head, left: 8 << 10})); err != nil {
		return q, m, err
	}
	rest, err := io.ReadAll(in)
	if err != nil {
		return q, m, err
	}
	if err := json.Unmarshal(append(append(text, '"'), rest...), &q); err != nil {
		return q, m, err
	}
	m.Sender = q.FromEmailAddress
	if m.Sender == "" {
		if parsed, err := mail.ReadMessage(&head); err == nil {
			if from, err := mail.ParseAddress(parsed.Header.Get("From")); err == nil {
				m.Sender = from.Address
			}
		}
	}
	m.Recipients = q.Destination.ToAddresses
	return q, m, nil
}

// untilQuote reads up to the quote that ends a JSON string, and takes that.
type untilQuote struct {
	in   *bufio.Reader
	done bool
}

func (u *untilQuote) Read(p []byte) (int, error) {
	if u.done {
		return 0, io.EOF
	}
	if _, err := u.in.Peek(1); err != nil {
		return 0, io.ErrUnexpectedEOF
	}
	have, _ := u.in.Peek(min(len(p), u.in.Buffered()))
	n := bytes.IndexByte(have, '"')
	if n < 0 {
		return u.in.Read(p[:len(have)])
	}
	copy(p, have[:n])
	u.in.Discard(n + 1) //nolint:errcheck // it is buffered
	u.done = true
	return n, nil
}

// first keeps the first octets of what is written.
type first struct {
	b    *bytes.Buffer
	left int
}

func (f *first) Write(p []byte) (int, error) {
	n := min(f.left, len(p))
	f.left -= n
	f.b.Write(p[:n])
	return len(p), nil
}
