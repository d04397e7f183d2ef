package relay_test

import (
	"slices"
	"testing"

	"github.com/printerrelay/printer-relay/relay"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/secrets"
)

// The operator points at the field that names a Secret, so it needs the name;
// a Secret that is there and cannot be read is not missing.
func TestAbsentSecretsAreNames(t *testing.T) {
	src := secrets.Map{"there": {"key": []byte("value")}}
	p := &plan.Plan{SecretRefs: []string{"gone", "there", "gone-too"}}
	if got := relay.AbsentSecrets(p, src); !slices.Equal(got, []string{"gone", "gone-too"}) {
		t.Errorf("got %q", got)
	}
}
