package queue

import "hash/maphash"

// strs keeps one copy of what many messages share. It is bounded: full, it
// starts anew, and what comes later costs its own memory.
type strs struct {
	m       map[string]string
	origins map[uint64]*Origin // by their hash
	sorts   map[answerKind]*answerKind
}

var originSeed = maphash.MakeSeed()

const maxStrs = 1 << 14

func (s *strs) get(v string) string {
	if v == "" {
		return ""
	}
	if k, ok := s.m[v]; ok {
		return k
	}
	if s.m == nil || len(s.m) >= maxStrs {
		s.m = make(map[string]string)
	}
	s.m[v] = v
	return v
}

// answer gives what res said, with what it shares with others.
func (s *strs) answer(res *result, by string) *answer {
	k := answerKind{kind: res.Kind, scope: res.Scope, code: res.Code, enhanced: res.Enhanced, remote: res.Remote, by: by}
	p := s.sorts[k]
	if p == nil {
		k.enhanced, k.remote, k.by = s.get(k.enhanced), s.get(k.remote), s.get(k.by)
		if s.sorts == nil || len(s.sorts) >= maxStrs {
			s.sorts = make(map[answerKind]*answerKind)
		}
		p = &k
		s.sorts[k] = p
	}
	return &answer{answerKind: p, text: s.get(res.Text), remoteID: res.RemoteID}
}

// origin gives the one copy of what o holds.
func (s *strs) origin(o *Origin) *Origin {
	if o == nil {
		o = &Origin{}
	}
	hash := maphash.Comparable(originSeed, *o)
	if k := s.origins[hash]; k != nil && *k == *o {
		return k
	}
	k := *o
	k.Relay, k.Listener, k.Policy, k.Rule = s.get(k.Relay), s.get(k.Listener), s.get(k.Policy), s.get(k.Rule)
	k.Client.HELO, k.Client.User = s.get(k.Client.HELO), s.get(k.Client.User)
	k.Identity.LocalPart, k.Identity.DisplayName = s.get(k.Identity.LocalPart), s.get(k.Identity.DisplayName)
	k.Sender.Local, k.Sender.Domain = s.get(k.Sender.Local), s.get(k.Sender.Domain)
	if s.origins == nil || len(s.origins) >= maxStrs {
		s.origins = make(map[uint64]*Origin)
	}
	s.origins[hash] = &k
	return &k
}

// share replaces what repeats from message to message.
func (s *strs) share(m *Message) {
	m.Origin = s.origin(m.Origin)
	m.Held = s.get(m.Held)
	for i := range m.Recipients {
		r := &m.Recipients[i]
		r.Address.Local, r.Address.Domain = s.get(r.Address.Local), s.get(r.Address.Domain)
		r.Original.Local, r.Original.Domain = s.get(r.Original.Local), s.get(r.Original.Domain)
	}
}
