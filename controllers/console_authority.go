package controllers

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay/console"
)

// consoleAudience is that of tokens which open the console and nothing else:
// kubectl create token NAME --audience printer-relay-console.
const consoleAudience = "printer-relay-console"

// consoleAuthority asks the API server who people are and what they may see, and
// takes its word for a while.
type consoleAuthority struct {
	api kubernetes.Interface

	mu    sync.Mutex
	users map[[sha256.Size]byte]remembered[*console.User]
	may   map[[sha256.Size]byte]remembered[bool]
}

type remembered[T any] struct {
	value T
	until time.Time
}

// Bounds of what is remembered: a right that was taken away counts no longer than
// that.
const (
	rememberFor  = 20 * time.Second
	rememberMost = 4096
)

// User implements console.Authority. A token for the console is asked about first;
// one for the API server, as an OIDC login has it, is good as well.
func (a *consoleAuthority) User(ctx context.Context, token string) (*console.User, error) {
	key := sha256.Sum256([]byte(token))
	if u, ok := recall(&a.mu, a.users, key); ok {
		return u, nil
	}
	for _, audiences := range [][]string{{consoleAudience}, nil} {
		review, err := a.api.AuthenticationV1().TokenReviews().Create(ctx, &authenticationv1.TokenReview{
			Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: audiences},
		}, metav1.CreateOptions{})
		if err != nil {
			return nil, fmt.Errorf("the API server does not say whose token it is: %w", err)
		}
		if !review.Status.Authenticated || review.Status.User.Username == "" {
			continue
		}
		u := &console.User{Name: review.Status.User.Username, Groups: review.Status.User.Groups, UID: review.Status.User.UID, Extra: map[string][]string{}}
		for k, v := range review.Status.User.Extra {
			u.Extra[k] = v
		}
		remember(&a.mu, &a.users, key, u)
		return u, nil
	}
	return nil, console.ErrNobody
}

// May implements console.Authority: `get printerrelays` of the namespace, or
// `get printerrelays/queue`.
func (a *consoleAuthority) May(ctx context.Context, u *console.User, namespace string, private bool) (bool, error) {
	key := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q %q %v", u.Name, u.UID, u.Groups, u.Extra, namespace, private))
	if ok, known := recall(&a.mu, a.may, key); known {
		return ok, nil
	}
	wanted := &authorizationv1.ResourceAttributes{Namespace: namespace, Verb: "get", Group: v1alpha1.GroupVersion.Group, Resource: "printerrelays"}
	if private {
		wanted.Subresource = "queue"
	}
	spec := authorizationv1.SubjectAccessReviewSpec{User: u.Name, Groups: u.Groups, UID: u.UID, ResourceAttributes: wanted, Extra: map[string]authorizationv1.ExtraValue{}}
	for k, v := range u.Extra {
		spec.Extra[k] = v
	}
	review, err := a.api.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{Spec: spec}, metav1.CreateOptions{})
	if err != nil {
		return false, fmt.Errorf("the API server does not say what %s may see: %w", u.Name, err)
	}
	ok := review.Status.Allowed && !review.Status.Denied
	remember(&a.mu, &a.may, key, ok)
	return ok, nil
}

func recall[T any](mu *sync.Mutex, m map[[sha256.Size]byte]remembered[T], key [sha256.Size]byte) (value T, ok bool) {
	mu.Lock()
	defer mu.Unlock()
	r, ok := m[key]
	if !ok || time.Now().After(r.until) {
		return value, false
	}
	return r.value, true
}

func remember[T any](mu *sync.Mutex, m *map[[sha256.Size]byte]remembered[T], key [sha256.Size]byte, value T) {
	mu.Lock()
	defer mu.Unlock()
	if *m == nil || len(*m) >= rememberMost {
		*m = map[[sha256.Size]byte]remembered[T]{} // asking again costs less than choosing
	}
	(*m)[key] = remembered[T]{value, time.Now().Add(rememberFor)}
}
