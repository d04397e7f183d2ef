package smtpd

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// placed is a device that a test takes the place of.
func (o *office) placed(client string) *device {
	o.t.Helper()
	conn, err := o.s.Dial("", netip.MustParseAddr(client))
	if err != nil {
		o.t.Fatal(err)
	}
	return o.greeted(conn, "printer-relay-test")
}

// Tests with a wrong password do not have the device turned away whose place they
// take, nor do they cost it time; they are slowed themselves, as guessing is. And a
// login of a test makes no stranger trusted.
func TestATestWithAWrongPasswordIsNotTheDevices(t *testing.T) {
	const copier = "192.0.2.1"
	synctest.Test(t, func(t *testing.T) {
		o := openOffice(t, withLogins("PLAIN"), t.TempDir(), users("mfp1:pw1"))
		defer o.close()
		var last time.Duration
		for range lockFailures + 1 {
			d := o.placed(copier)
			last = d.login("535 5.7.8 PR-023 ", "mfp1", "wrong")
			d.conn.Close()
		}
		if last != longestDelay {
			t.Errorf("the last of many tests waited %s, want %s", last, longestDelay)
		}
		if d := o.device(copier).login("535 5.7.8 PR-023 ", "mfp1", "mistyped"); d != failureDelay {
			t.Errorf("the device waits %s for what was tested in its place", d)
		}
		o.placed(copier).login("235", "mfp1", "pw1")
		o.guess(copier, "mfp1", lockFailures)
		o.device(copier).say("421 4.7.0 PR-024 ", "AUTH PLAIN")
		o.placed(copier).say("421 4.7.0 PR-024 ", "AUTH PLAIN") // a test shows what the device gets
	})
}
