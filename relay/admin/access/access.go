// Package access holds what the operator tells a relay's Pod besides its
// manifests: who may use its admin port, and which instances drain. Both are
// small JSON files in the relay's ConfigMap. Plain data: the operator writes
// it, the relay judges by it.
//
// It may import the standard library only.
package access

import "encoding/json"

// The files' names, which are their keys in the ConfigMap.
const (
	File          = "admin.json"
	InstancesFile = "instances.json"
)

// Audience is the audience of tokens that people make, for any relay:
// `kubectl create token OFFICE-queue --audience printer-relay`.
const Audience = "printer-relay"

// AudienceOf is the audience of tokens for one relay only. The operator asks
// with these: a token for one relay is worth nothing to another, nor to
// somebody who answers in its place.
func AudienceOf(namespace, name string) string {
	return Audience + ":" + namespace + "/" + name
}

// ServiceAccount is the subject of a ServiceAccount's tokens.
func ServiceAccount(namespace, name string) string {
	return "system:serviceaccount:" + namespace + ":" + name
}

// Access says which bearer tokens open state and queue control. A token needs
// a signature by one of Keys, this Issuer, one of Subjects, one of Audiences,
// and to be within its time.
type Access struct {
	Issuer    string          `json:"issuer"`
	Keys      json.RawMessage `json:"keys"`      // a JSON Web Key Set (RFC 7517 5)
	Subjects  []string        `json:"subjects"`  // see ServiceAccount
	Audiences []string        `json:"audiences"` // see Audience, AudienceOf
}

// Instances says what the instances of a relay are to do.
type Instances struct {
	Draining []string `json:"draining"` // names; they refuse new mail and deliver what they have
}
