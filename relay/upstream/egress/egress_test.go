package egress

import "testing"

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		address         string
		public, private bool // allowed without and with allowPrivateHosts
	}{
		{"192.0.2.10:25", true, true},
		{"[2a00:1450::1]:25", true, true},
		{"127.0.0.1:25", false, true},
		{"[::1]:25", false, true},
		{"[::ffff:127.0.0.1]:25", false, true},
		{"10.1.2.3:25", false, true},
		{"172.16.0.1:25", false, true},
		{"192.168.1.1:25", false, true},
		{"[::ffff:10.0.0.1]:25", false, true},
		{"[fd12::1]:25", false, true},
		{"100.64.0.1:25", false, true},
		{"[64:ff9b::a00:1]:25", false, true},
		{"[2002:a00:1::]:25", false, true},
		{"[::10.0.0.1]:25", false, true},
		{"169.254.169.254:25", false, false},
		{"[::ffff:169.254.169.254]:25", false, false},
		{"[fe80::1%lo]:25", false, false},
		{"[fd00:ec2::254]:25", false, false},
		{"[fd00:ec2::23]:25", false, false},
		{"[fd20:ce::254]:25", false, false},
		{"100.100.100.200:25", false, false},
		{"192.0.0.192:25", false, false},
		{"100.100.100.201:25", false, true},
		{"192.0.0.193:25", false, true},
		{"[fd20:ce::253]:25", false, true},
		{"[64:ff9b::a9fe:a9fe]:25", false, false},
		{"[64:ff9b::6464:64c8]:25", false, false},
		{"[64:ff9b::c000:20a]:25", false, true},
		{"[64:ff9b:1::a9fe:a9fe]:25", false, false},
		{"[64:ff9b:1:a9fe:a9:fe00::]:25", false, false},
		{"[64:ff9b:1:a9:fe:a9fe::]:25", false, false},
		{"[64:ff9b:1:1:a9:fea9:fe00:0]:25", false, false},
		{"[64:ff9b:1::a00:1]:25", false, true},
		{"[2002:a9fe:a9fe::]:25", false, false},
		{"[2002:a9fe:a9fe::1]:25", false, false},
		{"[::169.254.169.254]:25", false, false},
		{"[::100.100.100.200]:25", false, false},
		{"[::ffff:0:169.254.169.254]:25", false, false},
		{"[::ffff:0:10.0.0.1]:25", false, true},
		{"[::ffff:0:192.0.2.10]:25", false, true},
		{"[2001:0:a9fe:a9fe::]:25", false, false},
		{"[2001::5601:5601]:25", false, false},
		{"[2001:0:c000:20a::f5ff:fffe]:25", false, true},
		{"[fd12::a9fe:a9fe]:25", false, true},
		{"[2a00:1450::a9fe:a9fe]:25", true, true},
		{"0.0.0.0:25", false, false},
		{"[::]:25", false, false},
		{"224.0.0.1:25", false, false},
		{"nonsense", false, false},
	} {
		for rules, want := range map[Rules]bool{{}: c.public, {Private: true}: c.private, {Private: true, Near: true}: c.private && !c.public, {Near: true}: false} {
			if err := rules.Judge(c.address); (err == nil) != want {
				t.Errorf("%s, %+v: %v", c.address, rules, err)
			}
		}
	}
}
