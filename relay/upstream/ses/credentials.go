package ses

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// credentials are where an upstream's AWS credential comes from: a Secret, or
// what the SDK finds around it (IRSA, Pod Identity, instance role, environment);
// then a role, if one is to be assumed.
//
// The services that give credentials away are asked by the SDK's own HTTP client:
// they are at link-local addresses, where no upstream may be. Their addresses come
// from the Pod's environment, never from a MailUpstream.
type credentials struct {
	c Config

	secret *secretProvider // nil: it is around us

	mu       sync.Mutex
	provider aws.CredentialsProvider // nil: not made yet
}

// patience bounds how long a credential is waited for.
const patience = 30 * time.Second

func newCredentials(c Config) *credentials {
	out := &credentials{c: c}
	if c.SES.Secret != "" {
		out.secret = &secretProvider{secrets: c.Secrets, name: c.SES.Secret, last: secrets.Last{Upstream: c.Name, Log: c.Log}}
	}
	return out
}

// retrieve gives the credential to sign with now.
func (c *credentials) retrieve(ctx context.Context) (aws.Credentials, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	p, err := c.source(ctx)
	if err != nil {
		return aws.Credentials{}, err
	}
	return p.Retrieve(ctx)
}

// drop forgets a credential that AWS did not take, so that the next one is asked
// for.
func (c *credentials) drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cache, ok := c.provider.(*aws.CredentialsCache); ok {
		cache.Invalidate()
	}
}

func (c *credentials) source(ctx context.Context) (aws.CredentialsProvider, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.provider != nil {
		return c.provider, nil
	}
	if c.secret != nil && c.c.SES.RoleARN == "" {
		c.provider = c.secret
		return c.provider, nil
	}
	loaded, err := config.LoadDefaultConfig(ctx, config.WithRegion(c.c.SES.Region))
	if err != nil {
		return nil, err
	}
	if c.secret != nil {
		loaded.Credentials = c.secret
	}
	c.provider = loaded.Credentials
	if role := c.c.SES.RoleARN; role != "" {
		assume := stscreds.NewAssumeRoleProvider(sts.NewFromConfig(loaded), role, func(o *stscreds.AssumeRoleOptions) { o.RoleSessionName = "printer-relay" })
		c.provider = aws.NewCredentialsCache(assume, func(o *aws.CredentialsCacheOptions) { o.ExpiryWindow = 5 * time.Minute })
	}
	return c.provider, nil
}

// missing is the outcome where there is nothing to sign with. What STS says may
// hold what the question to it was signed with.
func (c *credentials) missing(ctx context.Context, err error) upstream.Outcome {
	o := upstream.Outcome{Kind: upstream.Deferred, Scope: upstream.ScopeUpstream}
	var own aws.Credentials
	if c.secret != nil {
		own = c.secret.held()
	}
	var secret *secretError
	var operation *smithy.OperationError
	switch code, said := said(err, own); {
	case ctx.Err() != nil:
		o.Text, o.Cause = "stopped before it was sent", ctx.Err()
	case errors.As(err, &secret):
		o.Text, o.Cause = secret.Error(), secret
	case code != "" && errors.As(err, &operation):
		o.Text = "no AWS credential: " + operation.Service() + " " + operation.Operation() + ": " + join(code, said)
	default:
		o.Text = words("no AWS credential: "+err.Error(), own)
	}
	return o
}

// secretProvider gives what a Secret holds now, so that a new value counts at
// once. While the Secret is not whole, what it was before counts; one that is gone
// was taken away, and so is what it held.
type secretProvider struct {
	secrets func() secrets.Source
	name    string
	last    secrets.Last

	mu    sync.Mutex
	given aws.Credentials // last
}

type secretError struct{ err error }

func (e *secretError) Error() string {
	return fmt.Sprintf("no AWS credential: %v: it has to have accessKeyID and secretAccessKey, and sessionToken for a temporary one", e.err)
}

func (e *secretError) Unwrap() error { return e.err }

// Retrieve implements aws.CredentialsProvider.
func (p *secretProvider) Retrieve(context.Context) (aws.Credentials, error) {
	var now aws.Credentials
	err := p.last.Use(p.secrets(), p.name, func(s secrets.Source) (err error) {
		now, err = p.read(s)
		return err
	})
	if err != nil {
		now, err = aws.Credentials{}, &secretError{err}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.given = now
	return now, err
}

// held is what was given last.
func (p *secretProvider) held() aws.Credentials {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.given
}

func (p *secretProvider) read(s secrets.Source) (out aws.Credentials, err error) {
	out.Source = "Secret"
	if out.AccessKeyID, err = secrets.Key(s, p.name, "accessKeyID"); err != nil {
		return aws.Credentials{}, err
	}
	if out.SecretAccessKey, err = secrets.Key(s, p.name, "secretAccessKey"); err != nil {
		return aws.Credentials{}, err
	}
	data, err := s.Get(p.name)
	if err == nil && len(data["sessionToken"]) > 0 {
		out.SessionToken, err = secrets.Key(s, p.name, "sessionToken")
	}
	return out, err
}
