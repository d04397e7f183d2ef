package graph

import (
	"slices"
	"sync"
	"time"

	"github.com/printerrelay/printer-relay/relay/oauth"
)

// knowledge is what tokens and refusals have told of our permissions.
type knowledge struct {
	mu      sync.Mutex
	token   string // the last one
	roles   []string
	noDraft time.Time // until when no draft is tried: Graph refused one
}

// noDraftFor is how long a refusal to make a draft counts. A grant in Entra shows in
// the token; one in Exchange (RBAC for Applications) shows only when it is tried.
const noDraftFor = 15 * time.Minute

// learn reads a token that is about to be used. Its roles are a hint: Graph judges
// the token, and what Exchange grants by its own RBAC does not stand in it. A token
// that is no JWT says nothing.
func (k *knowledge) learn(token string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if token == k.token {
		return
	}
	had := k.may("Mail.ReadWrite")
	k.token, k.roles = token, oauth.DecodeClaims(token).Roles
	if !had && k.may("Mail.ReadWrite") {
		k.noDraft = time.Time{}
	}
}

func (k *knowledge) may(role string) bool { return slices.Contains(k.roles, role) }

// held gives the roles of the last token.
func (k *knowledge) held() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.roles)
}

// draftRefused remembers that Graph lets us make no drafts.
func (k *knowledge) draftRefused(now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.noDraft = now.Add(noDraftFor)
}

func (k *knowledge) noDrafts(now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return now.Before(k.noDraft)
}
