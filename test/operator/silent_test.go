package operator

import (
	"fmt"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
)

// TestSilentPods: relays whose Pods do not answer keep no other from being served, however
// long that takes: more of them than are worked on at once are waited for, and a policy
// reaches the relay whose Pod answers all the same.
func TestSilentPods(t *testing.T) {
	r := newRig(t)
	r.run()
	r.copiersReady()
	const more = 12
	var silent, blocked []string
	answer := make(chan struct{})
	for n := range more {
		name := fmt.Sprint("silent-", n)
		silent = append(silent, name)
		r.kubectl(strings.Replace(copiers("service: {type: ClusterIP}"), "{name: copiers}", "{name: "+name+"}", 1))
	}
	for _, name := range silent {
		r.ready(name)
		blocked = append(blocked, name+"-0")
	}
	for _, name := range blocked {
		r.node.set(name, func(i *instance) { i.block = answer })
	}
	for _, name := range silent {
		r.annotate(name, "example.com/nudge", "1")
	}
	r.eventually("all are waited for at once", func() string { return r.node.notWaitedFor(blocked) })
	edit(r, "office", func(p *v1alpha1.SenderPolicy) { p.Spec.Rules[0].Name = "floor-4" })
	r.eventually("the other relay has the policy", func() string { return r.rule("floor-4") })
	r.ready("copiers")
	close(answer)
	r.eventually("those have it when they answer", func() string {
		for _, name := range silent {
			if text := r.manifests(name); !strings.Contains(text, "floor-4") {
				return text
			}
		}
		return ""
	})
	for _, name := range silent {
		r.ready(name)
	}
}
