package delivery

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/preflight"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// Targets are the upstreams that can be checked: those whose transport can, and
// that are not suspended.
func (d *Delivery) Targets() []preflight.Target {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var out []preflight.Target
	for name, r := range d.upstreams {
		c, ok := r.transport.(upstream.Checker)
		if !ok || r.plan.Suspend {
			continue
		}
		out = append(out, preflight.Target{Name: name, Type: r.plan.Type, Checker: c, Print: d.print(r.plan)})
	}
	return out
}

// printKey keeps prints from telling anything to who has seen one.
var printKey = func() []byte {
	b := make([]byte, sha256.Size)
	rand.Read(b) //nolint:errcheck // never fails
	return b
}()

// print changes with the way of an upstream, and with the Secrets that it names.
func (d *Delivery) print(u *plan.Upstream) string {
	way := stripped(u)
	text, err := json.Marshal(&way)
	if err != nil {
		return "" // plain data
	}
	h := hmac.New(sha256.New, printKey)
	h.Write(text)
	e := json.NewEncoder(h)
	for _, name := range secretsIn(text) {
		data, err := d.Secrets().Get(name)
		if err != nil {
			e.Encode(err.Error()) //nolint:errcheck // a hash takes all
		}
		for _, key := range slices.Sorted(maps.Keys(data)) {
			e.Encode([]any{name, key, data[key]}) //nolint:errcheck // a hash takes all
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// secretsIn are the Secrets that the JSON of a plan's upstream names: the values of
// all fields called so.
func secretsIn(text []byte) []string {
	var names []string
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, field := range v {
				if name, ok := field.(string); ok && strings.HasSuffix(strings.ToLower(k), "secret") {
					names = append(names, name)
				}
				walk(field)
			}
		case []any:
			for _, x := range v {
				walk(x)
			}
		}
	}
	var v any
	if json.NewDecoder(bytes.NewReader(text)).Decode(&v) == nil {
		walk(v)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
