package controllers

import (
	"reflect"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/printerrelay/printer-relay/controllers/status"
	"github.com/printerrelay/printer-relay/relay/plan"
)

// sighting is what the reconciler of PrinterRelays saw of one that concerns the
// MailUpstreams and SenderPolicies that it names.
type sighting struct {
	upstreams, policies map[string]int64 // generations by name, of those that are there
	diagnostics         plan.Diagnostics
	missingSecrets      []string // as the instances say
	reports             []status.UpstreamReport
	unwell              map[string]string // upstreams by which an instance cannot hand mail over, and why
	open                map[string]string // instances that would relay for anybody -> the listeners
}

// judge finds what is unwell. An upstream of which no instance tells is what it was
// before: one that restarts has nothing to say of it yet.
func (s *sighting) judge(before map[string]string) {
	s.unwell = map[string]string{}
	told := map[string]bool{}
	for i := range s.reports {
		r := &s.reports[i]
		told[r.Name] = true
		if why := r.Why(); why != "" && s.unwell[r.Name] == "" {
			s.unwell[r.Name] = why
		}
	}
	for name, why := range before {
		if _, named := s.upstreams[name]; named && !told[name] {
			s.unwell[name] = why
		}
	}
}

// sightings are the newest of all relays. A restart forgets them: the other
// reconcilers write nothing about an object until all relays that name it have
// been seen again.
type sightings struct {
	mu sync.Mutex
	of map[types.NamespacedName]sighting
}

// put keeps a sighting and tells whether it is news.
func (s *sightings) put(relay types.NamespacedName, now sighting) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.of[relay]
	if ok && reflect.DeepEqual(old, now) {
		return false
	}
	if s.of == nil {
		s.of = map[types.NamespacedName]sighting{}
	}
	s.of[relay] = now
	return true
}

func (s *sightings) get(relay types.NamespacedName) (sighting, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.of[relay]
	return found, ok
}

func (s *sightings) forget(relay types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.of, relay)
}
