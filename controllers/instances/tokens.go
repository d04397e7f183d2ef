package instances

import (
	"context"
	"fmt"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/printerrelay/printer-relay/relay/admin/access"
)

// tokenTime is what a token is asked for. The API server may give less.
const tokenTime = 4 * time.Hour

// tokensAtOnce are made: when an operator begins, it asks about all relays.
const tokensAtOnce = 8

// ServiceAccountTokens are tokens of the operator's ServiceAccount, each for
// one relay. They are kept until a fifth of their time is left.
type ServiceAccountTokens struct {
	ServiceAccounts corev1.ServiceAccountInterface // of the operator's namespace
	Name            string                         // of the operator's ServiceAccount

	mu     sync.Mutex
	kept   map[types.NamespacedName]token
	making chan struct{} // holds one for each that is made just now
}

type token struct {
	value string
	renew time.Time
}

// Token implements Tokens.
func (s *ServiceAccountTokens) Token(ctx context.Context, relay types.NamespacedName) (string, error) {
	s.mu.Lock()
	t, ok := s.kept[relay]
	if s.making == nil {
		s.making = make(chan struct{}, tokensAtOnce)
	}
	s.mu.Unlock()
	if ok && time.Now().Before(t.renew) {
		return t.value, nil
	}
	select {
	case s.making <- struct{}{}:
		defer func() { <-s.making }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	now := time.Now()
	seconds := int64(tokenTime / time.Second)
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	got, err := s.ServiceAccounts.CreateToken(ctx, s.Name, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{Audiences: []string{access.AudienceOf(relay.Namespace, relay.Name)}, ExpirationSeconds: &seconds},
	}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("ServiceAccount %q: %w", s.Name, err)
	}
	t = token{value: got.Status.Token, renew: now.Add(got.Status.ExpirationTimestamp.Sub(now) * 4 / 5)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept == nil {
		s.kept = map[types.NamespacedName]token{}
	}
	s.kept[relay] = t
	return t.value, nil
}

// Forget drops the token of a relay that is gone.
func (s *ServiceAccountTokens) Forget(relay types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.kept, relay)
}
