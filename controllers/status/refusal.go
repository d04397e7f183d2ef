package status

import "strings"

// Refused writes why the API server does not take something, in its own words, and
// what to do about it where that is known. Words that are long make no room for
// themselves at the remedy's cost.
func Refused(words string) string {
	remedy := remedyFor(words)
	if remedy == "" {
		return words
	}
	return cut(words, maxMessage-maxRemedy) + "; " + remedy
}

// maxRemedy is room for a remedy and the names before it, in octets.
const maxRemedy = 384

// refusals are told by the words that Kubernetes' own admission, its authorizer
// and server-side apply write: their reason is Forbidden for all.
var refusals = []struct{ words, remedy string }{
	{"exceeded quota: ", "raise the ResourceQuota of the namespace, or want less (spec.replicas, spec.pod.resources, spec.spool, spec.service.type)"},
	{"failed quota: ", "set spec.pod.resources, which the ResourceQuota of the namespace asks for"},
	{"minimum ", remedyLimit},
	{"maximum ", remedyLimit},
	{" limit to request ratio per ", remedyLimit},
	{"failed calling webhook", "see that it runs and is reached; or exempt objects with the label app.kubernetes.io/managed-by: printer-relay in its configuration"},
	{"denied the request", remedyPolicy},
	{" denied request: ", remedyPolicy},
	{undeclared, "the CustomResourceDefinitions in the cluster are not those of this operator's version: apply config/crd of its release"},
	{` is forbidden: User "`, "give the operator its rights back: ClusterRole printer-relay-operator, or in a namespace the Role of that name (config/rbac)"},
}

const (
	remedyLimit  = "change the LimitRange of the namespace, or spec.spool.persistentVolume.size and spec.pod.resources"
	remedyPolicy = "meet it, or have it exempt objects with the label app.kubernetes.io/managed-by: printer-relay"
)

// undeclared is what server-side apply says of a field that a schema has not.
const undeclared = "field not declared in schema"

// Undeclared tells whether the API server does not know a field of ours.
func Undeclared(words string) bool { return strings.Contains(words, undeclared) }

// remedyFor is what to do about the words of an API server that refuses something; empty
// if nothing is known.
func remedyFor(words string) string {
	for _, r := range refusals {
		if strings.Contains(words, r.words) && (r.remedy != remedyLimit || strings.Contains(words, " is forbidden: ")) {
			return r.remedy
		}
	}
	return ""
}
