package resolver

import (
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"
)

// conf is what resolv.conf(5) says.
type conf struct {
	servers  []netip.AddrPort
	timeout  time.Duration // of one question
	attempts int           // rounds over the servers
	trustAD  bool          // the administrator trusts the path to the servers too

	checked  time.Time
	modified time.Time
}

const (
	confEvery   = 5 * time.Second // how often the file is looked at
	maxServers  = 3
	maxTimeout  = 10 * time.Second
	maxAttempts = 3
)

// configuration is that of the file, read anew where it has changed.
func (r *Resolver) configuration() conf {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if len(r.conf.servers) > 0 && now.Sub(r.conf.checked) < confEvery {
		return r.conf
	}
	modified := time.Time{}
	if st, err := os.Stat(r.file); err == nil {
		modified = st.ModTime()
	}
	if len(r.conf.servers) == 0 || !modified.Equal(r.conf.modified) {
		text, err := os.ReadFile(r.file)
		if err != nil {
			text = nil // then it is on this machine, as for glibc
		}
		c := parse(string(text))
		if r.conf.trustAD && !c.trustAD {
			r.cache = cache{} // what was trusted is no longer
		}
		r.conf = c
		r.conf.modified = modified
	}
	r.conf.checked = now
	return r.conf
}

// parse reads resolv.conf. AD counts from other machines with `options
// trust-ad` only, which is how glibc is told of a path that can be trusted.
func parse(text string) conf {
	c := conf{timeout: 5 * time.Second, attempts: 2}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "nameserver":
			if a, err := netip.ParseAddr(f[1]); err == nil && len(c.servers) < maxServers {
				c.servers = append(c.servers, netip.AddrPortFrom(a, 53))
			}
		case "options":
			for _, o := range f[1:] {
				c.option(o)
			}
		}
	}
	if len(c.servers) == 0 {
		c.servers = []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 53)}
	}
	return c
}

func (c *conf) option(o string) {
	name, value, _ := strings.Cut(o, ":")
	n, err := strconv.Atoi(value)
	switch {
	case name == "trust-ad":
		c.trustAD = true
	case err != nil || n < 1:
	case name == "timeout":
		c.timeout = min(time.Duration(n)*time.Second, maxTimeout)
	case name == "attempts":
		c.attempts = min(n, maxAttempts)
	}
}
