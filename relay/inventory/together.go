package inventory

import (
	"net/netip"
	"slices"
)

// Together makes one list of what several instances have seen, the device that
// connected last first, and chooses by f. f has to choose here and not at the
// instances: who was refused by one may have been accepted by another since.
func Together(f Filter, lists ...[]Copier) []Copier {
	at := map[string]int{}
	all := []Copier{}
	for _, list := range lists {
		for i := range list {
			if k, known := at[list[i].Device]; known {
				all[k].Join(&list[i])
				continue
			}
			at[list[i].Device] = len(all)
			all = append(all, list[i].clone())
		}
	}
	all = slices.DeleteFunc(all, func(c Copier) bool { return !f.takes(&c, keyOf(c.Device)) })
	slices.SortFunc(all, func(a, b Copier) int { return order(&a, b.Last, b.Device) })
	return all
}

// keyOf is the network that show wrote.
func keyOf(device string) netip.Prefix {
	if a, err := netip.ParseAddr(device); err == nil {
		return netip.PrefixFrom(a, a.BitLen())
	}
	p, _ := netip.ParsePrefix(device) //nolint:errcheck // what is none lies in no network
	return p
}

// Join adds what another instance saw of the same device: the newest of what
// happened, and the sums of what is counted. Peaks are those of one instance: how they
// lay in time is not known.
func (c *Copier) Join(d *Copier) {
	newest, other := c.clone(), d.clone()
	if other.Last.After(newest.Last) {
		newest, other = other, newest
	}
	if newest.Auth.Mechanism == "" {
		newest.Auth = other.Auth
	}
	if other.First.Before(newest.First) {
		newest.First = other.First
	}
	newest.Known = newest.Known || other.Known
	newest.Accepted += other.Accepted
	newest.Refused += other.Refused
	newest.Aborted += other.Aborted
	newest.Names = union(newest.Names, other.Names)
	newest.Listeners = union(newest.Listeners, other.Listeners)
	newest.Instances = union(newest.Instances, other.Instances)
	slices.Sort(newest.Instances)
	if s := other.LastScan; s != nil && (newest.LastScan == nil || s.At.After(newest.LastScan.At)) {
		newest.LastScan = s
	}
	if r := other.LastRefusal; r != nil && (newest.LastRefusal == nil || r.At.After(newest.LastRefusal.At)) {
		newest.LastRefusal = r
	}
	newest.Senders = joinCounted(newest.Senders, other.Senders)
	newest.Recipients = joinCounted(newest.Recipients, other.Recipients)
	newest.DryRun = joinDryRuns(newest.DryRun, other.DryRun)
	if other.Peak.Minute > newest.Peak.Minute {
		newest.Peak, other.Peak = other.Peak, newest.Peak
	}
	newest.Peak.MessagesPerMinute = max(newest.Peak.MessagesPerMinute, other.Peak.MessagesPerMinute)
	newest.Peak.RecipientsPerDay = max(newest.Peak.RecipientsPerDay, other.Peak.RecipientsPerDay)
	*c = newest
}

func union(a, b []string) []string {
	for _, s := range b {
		if !slices.Contains(a, s) {
			a = append(a, s)
		}
	}
	return a
}

// joinCounted sums by value; what came last is first.
func joinCounted(a, b []Counted) []Counted {
	for _, x := range b {
		i := slices.IndexFunc(a, func(y Counted) bool { return y.Value == x.Value })
		if i < 0 {
			a = append(a, x)
			continue
		}
		a[i].Accepted += x.Accepted
		a[i].Refused += x.Refused
		if x.Last.After(a[i].Last) {
			a[i].Last = x.Last
		}
	}
	slices.SortStableFunc(a, func(x, y Counted) int { return y.Last.Compare(x.Last) })
	return a
}

// joinDryRuns is the same for what would change.
func joinDryRuns(a, b []DryRun) []DryRun {
	for _, x := range b {
		i := slices.IndexFunc(a, func(y DryRun) bool {
			return y.Policy == x.Policy && y.Rule == x.Rule && y.Now == x.Now && y.Would == x.Would
		})
		if i < 0 {
			a = append(a, x)
			continue
		}
		sum := a[i].Count + x.Count
		if x.Last.After(a[i].Last) {
			a[i] = x
		}
		a[i].Count = sum
	}
	slices.SortStableFunc(a, func(x, y DryRun) int { return y.Last.Compare(x.Last) })
	return a
}
