package relay

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay/manifest"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/secrets"
)

// OneUpstream is a MailUpstream of a manifest folder by itself, for what needs no
// relay.
type OneUpstream struct {
	Namespace string
	Plan      *plan.Upstream // its limits are whole
	Secrets   secrets.Map    // of its namespace, in the manifests
}

// LoadUpstream reads the MailUpstream name, or namespace/name, of the manifests in
// dir. What is wrong with other objects does not matter.
func LoadUpstream(dir, name string) (*OneUpstream, error) {
	set, problems, err := manifest.Load(dir)
	if err != nil {
		return nil, err
	}
	var found []*v1alpha1.MailUpstream
	var all []string
	for _, u := range set.Upstreams {
		full := u.Namespace + "/" + u.Name
		all = append(all, full)
		if name == u.Name || name == full {
			found = append(found, u)
		}
	}
	switch len(found) {
	case 0:
		err := fmt.Errorf("%s: holds no MailUpstream %q that is valid; there are: %s", dir, name, cmp.Or(strings.Join(all, ", "), "none"))
		if len(problems) > 0 {
			err = errors.Join(err, problems)
		}
		return nil, err
	case 1:
		u := found[0]
		out := &OneUpstream{Namespace: u.Namespace, Secrets: set.Secrets[u.Namespace]}
		out.Plan, _ = plan.One(u)
		return out, nil
	}
	return nil, fmt.Errorf("%s: holds %d MailUpstreams %q: write NAMESPACE/NAME", dir, len(found), name)
}
