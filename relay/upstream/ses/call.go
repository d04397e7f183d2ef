package ses

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/sesv2"
	"github.com/aws/aws-sdk-go-v2/service/sesv2/types"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/httpapi"
)

// call makes one SendEmail. blame is not nil where SES named recipients that it
// refused the call for.
func (d *attempt) call(ctx context.Context, batch []int) (upstream.Outcome, *blame) {
	in := d.request(batch)
	x := &exchange{http: d.t.http, message: d.m.Open, marker: make([]byte, 24)}
	rand.Read(x.marker)
	in.Content = &types.EmailContent{Raw: &types.RawMessage{Data: x.marker}}
	reply, err := d.t.api.SendEmail(ctx, in, x.options(d.cred)...)
	if err != nil || reply.MessageId == nil {
		return d.refusal(ctx, x, err, batch)
	}
	d.t.took.Store(time.Now().UnixNano())
	return upstream.Outcome{
		Kind: upstream.Accepted, Code: x.status, Text: "accepted", Remote: d.t.http.Host(), RemoteID: *reply.MessageId,
	}, nil
}

// request is what is asked of SES but for the content.
func (d *attempt) request(batch []int) *sesv2.SendEmailInput {
	s := &d.t.c.SES
	in := &sesv2.SendEmailInput{Destination: &types.Destination{}}
	// With a Destination SES looks for recipients nowhere else, and leaves the raw
	// header as it is: the envelope alone decides.
	for _, i := range batch {
		in.Destination.ToAddresses = append(in.Destination.ToAddresses, d.to[i])
	}
	if a := d.m.Sender; !a.IsNull() { // else it is the header's From: SES knows no null sender
		if ascii, err := a.ToASCII(); err == nil {
			a = ascii
		}
		a.Domain = strings.ToLower(a.Domain) // ses:FromAddress in a policy is compared with case
		in.FromEmailAddress = aws.String(a.String())
	}
	if s.ConfigurationSet != "" {
		in.ConfigurationSetName = &s.ConfigurationSet
	}
	if s.FromIdentityARN != "" {
		in.FromEmailAddressIdentityArn = &s.FromIdentityARN
	}
	for name, value := range s.Tags {
		in.EmailTags = append(in.EmailTags, types.MessageTag{Name: aws.String(name), Value: aws.String(value)})
	}
	slices.SortFunc(in.EmailTags, func(a, b types.MessageTag) int { return strings.Compare(*a.Name, *b.Name) })
	return in
}

// exchange is one call of the API, by our own HTTP client. A SendEmail has a
// message: where the SDK wrote the marker, it is streamed.
type exchange struct {
	http    *httpapi.Client
	message func() (io.ReadCloser, error)
	marker  []byte
	payload *payload

	status int   // of the reply; 0: none came
	lost   error // *httpapi.Error: none came
	source error // the message could not be read for its checksum
}

func (x *exchange) options(cred aws.Credentials) []func(*sesv2.Options) {
	return []func(*sesv2.Options){func(o *sesv2.Options) {
		o.HTTPClient = x
		o.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return cred, nil })
		if x.message != nil {
			o.APIOptions = append(slices.Clip(o.APIOptions), func(s *middleware.Stack) error { return s.Serialize.Add(x, middleware.After) })
		}
	}}
}

// ID implements middleware.SerializeMiddleware.
func (x *exchange) ID() string { return "StreamMessage" }

// HandleSerialize takes the serialised body apart where the message belongs, and
// reads the message a first time: the signature needs the checksum of it all.
func (x *exchange) HandleSerialize(ctx context.Context, in middleware.SerializeInput, next middleware.SerializeHandler) (
	out middleware.SerializeOutput, metadata middleware.Metadata, err error,
) {
	req, ok := in.Request.(*smithyhttp.Request)
	if !ok || req.GetStream() == nil {
		return out, metadata, errors.New("the SDK made a request without a body")
	}
	body, err := io.ReadAll(req.GetStream())
	if err != nil {
		return out, metadata, err
	}
	before, after, ok := bytes.Cut(body, []byte(base64.StdEncoding.EncodeToString(x.marker)))
	if !ok {
		return out, metadata, errors.New("the SDK made a request without the message")
	}
	x.payload = &payload{before: before, after: after, message: x.message}
	sum, length, err := x.payload.sum(ctx)
	if err != nil {
		if ctx.Err() == nil {
			x.source = err
		}
		return out, metadata, err
	}
	if req, err = req.SetStream(nil); err != nil {
		return out, metadata, err
	}
	req.ContentLength = length
	in.Request = req
	return next.HandleSerialize(v4.SetPayloadHash(ctx, sum), in)
}

// Do implements the SDK's HTTPClient.
func (x *exchange) Do(req *http.Request) (*http.Response, error) {
	var body func() (io.ReadCloser, error)
	if x.payload != nil {
		body = x.payload.Open
	}
	r, err := x.http.Send(req, body)
	if err != nil {
		x.lost = err
		return nil, err
	}
	x.status = r.Status
	return &http.Response{
		StatusCode: r.Status, Status: http.StatusText(r.Status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: r.Header, Body: io.NopCloser(bytes.NewReader(r.Body)), ContentLength: int64(len(r.Body)), Request: req,
	}, nil
}
