package delivery

import "github.com/printerrelay/printer-relay/relay/senderdns"

// PublicKeys are the DNS records of the keys that an upstream's mail is signed
// with; none where it is not signed, or its keys cannot be used, which the next
// attempt tells.
func (d *Delivery) PublicKeys(upstream string) (out []senderdns.Key) {
	r := d.route(upstream)
	if r == nil {
		return nil
	}
	s, err := d.signer(r)
	if s == nil || err != nil {
		return nil
	}
	for _, k := range s.Keys {
		name, value := k.Record(s.Selector, s.Domain)
		out = append(out, senderdns.Key{Name: name, Value: value})
	}
	return out
}
